/* The rig of the crash tests: an arena in a memfd, children, numbered items, and books that
 * are kept outside the arena so that they can convict it. */
#ifndef RIG_H
#define RIG_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int rig_fallocations = -1; /* how many more reservations succeed; -1: all */

static int rig_fallocate(int fd, int mode, off_t offset, off_t nbytes)
{
    if (mode == 0 && rig_fallocations == 0) {
        errno = ENOSPC;
        return -1;
    }
    if (mode == 0 && rig_fallocations > 0) rig_fallocations--;
    return fallocate(fd, mode, offset, nbytes);
}

#define fallocate rig_fallocate
#include "lock.h"
#include "memory.h"
#include "shrink.h"
#undef fallocate

#define RIG_NBYTES ((uint64_t)512 << 20)
#ifndef RIG_PATIENCE
#define RIG_PATIENCE 20u /* seconds after which a process that should have finished hangs */
#endif

static uint64_t rig_soon(void) { return zi_now() + ZI_LOCK_PATIENCE_NS; }

static zi_view rig;         /* the arena under test, as this process sees it */
static char rig_context[256]; /* what is being done, for messages */

static void rig_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "FAILED %s:%d [%s] ", file, line, rig_context);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) rig_fail(strrchr("/" __FILE__, '/') + 1, __LINE__, #condition ": " __VA_ARGS__); \
    } while (0)

#define REQUIRE_OK(call) \
    do { \
        zi_status status_ = (call); \
        REQUIRE(status_ == ZI_OK, #call " said %d", status_); \
    } while (0)

/* Memory outside the arena that children share with this process. */
static void *rig_books(size_t nbytes)
{
    void *books = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(books != MAP_FAILED, "errno %d", errno);
    return books;
}

/* A new arena in the old place; this process is its first participant. */
static void rig_reset(uint64_t limit)
{
    static int fd = -1;
    static unsigned char *base;
    if (fd < 0) {
        fd = memfd_create("zeroipc-crash", MFD_CLOEXEC);
        base = mmap(NULL, RIG_NBYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        REQUIRE(base != MAP_FAILED, "errno %d", errno);
    }
    REQUIRE(ftruncate(fd, 0) == 0 && ftruncate(fd, RIG_NBYTES) == 0, "errno %d", errno);
    view_map(&rig, base, fd);
    REQUIRE_OK(arena_format(&rig, RIG_NBYTES, limit, 1));
    REQUIRE_OK(arena_check(&rig, RIG_NBYTES));
    REQUIRE_OK(arena_register(&rig, rig_soon()));
}

/* A child that is not registered yet, dies with its parent, and cannot hang for ever. */
static pid_t rig_fork(void)
{
    pid_t pid = fork();
    REQUIRE(pid >= 0, "errno %d", errno);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(RIG_PATIENCE);
        rig.me = 0;
    }
    return pid;
}

static int rig_reap(pid_t pid)
{
    int how;
    REQUIRE(waitpid(pid, &how, 0) == pid, "errno %d", errno);
    return how;
}

/* Run *work* in a registered child, which must end well. */
static void rig_run(void (*work)(void))
{
    pid_t pid = rig_fork();
    if (pid == 0) {
        REQUIRE_OK(arena_register(&rig, rig_soon()));
        work();
        _exit(0);
    }
    int how = rig_reap(pid);
    REQUIRE(how == 0, "the child %s %d", WIFSIGNALED(how) ? "hung or crashed, signal" : "failed, exit",
            WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
}

/* Run *work* in a registered child, which is killed at its end if it lives so long. */
static void rig_run_and_die(void (*work)(void))
{
    pid_t pid = rig_fork();
    if (pid == 0) {
        REQUIRE_OK(arena_register(&rig, rig_soon()));
        work();
        kill(getpid(), SIGKILL);
    }
    int how = rig_reap(pid);
    REQUIRE(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL, "wait status %d", how);
}

/* --- Items: an id, a pattern inline, and blocks that carry the id at both ends ------------ */

typedef struct {
    uint32_t slot, generation;
} rig_queue;

static unsigned char rig_payload[ZI_INLINE_MAX];
static uint32_t rig_claimant = ZI_NONE; /* this process's worker number, of task queues */

static rig_queue rig_create(uint32_t maxsize, uint32_t noting)
{
    rig_queue made;
    REQUIRE_OK(queue_create(&rig, maxsize, noting, 0, &made.slot, &made.generation, rig_soon()));
    return made;
}

static uint64_t item_word(uint64_t id, uint32_t part) { return (id + 1) * UINT64_C(0x9E3779B97F4A7C15) + part; }

static unsigned char item_byte(uint64_t id) { return (unsigned char)(id * 31 + 7); }

static uint32_t item_block_nbytes(uint64_t id, uint32_t part) { return ZI_PAGE * (1 + (uint32_t)(id + part) % 3); }

static void item_mark(uint64_t id, uint32_t block, uint32_t part)
{
    unsigned char *bytes = block_bytes(&rig, block);
    uint64_t word = item_word(id, part);
    memcpy(bytes, &word, 8);
    memcpy(bytes + item_block_nbytes(id, part) - 8, &word, 8);
}

/* Fill a message with *nbytes* inline, 8 or more, and *nblocks* new blocks. */
static zi_status item_make(zi_message *message, uint64_t id, uint32_t nbytes, uint32_t nblocks)
{
    message->payload = rig_payload;
    message->nbytes = nbytes;
    message->kind = (uint16_t)id;
    message->nblocks = 0;
    message->defers = message->owes = 0;
    message->claimant = ZI_NONE;
    memcpy(rig_payload, &id, 8);
    memset(rig_payload + 8, item_byte(id), nbytes - 8);
    for (uint32_t part = 0; part < nblocks; part++) {
        uint32_t block;
        zi_status status = block_alloc(&rig, item_block_nbytes(id, part), ZI_KIND_DATA, &block, rig_soon());
        if (status != ZI_OK) return status;
        message->blocks[message->nblocks++] = block;
        item_mark(id, block, part);
    }
    return ZI_OK;
}

static void item_free(const zi_message *message)
{
    for (uint32_t part = 0; part < message->nblocks; part++) block_free(&rig, message->blocks[part]);
}

/* Put one item; what it allocated goes back when it cannot be put. */
static zi_status item_put(rig_queue queue, uint64_t id, uint32_t nbytes, uint32_t nblocks)
{
    zi_message message;
    uint32_t done;
    zi_status status = item_make(&message, id, nbytes, nblocks);
    if (status == ZI_OK)
        status = queue_put(&rig, queue.slot, queue.generation, &message, 1, &done, zi_now() + ZI_LOCK_PATIENCE_NS);
    if (status != ZI_OK) item_free(&message);
    return status;
}

/* Every byte of a received item is as it was sent, and its blocks are ours. */
static uint64_t item_check(const zi_message *message)
{
    uint64_t id, word;
    memcpy(&id, message->payload, 8);
    REQUIRE(message->kind == (uint16_t)id, "item %lu has kind %u", id, message->kind);
    const unsigned char *bytes = message->payload + 8;
    uint32_t nbytes = message->nbytes - 8;
    REQUIRE(nbytes == 0 || (bytes[0] == item_byte(id) && memcmp(bytes, bytes + 1, nbytes - 1) == 0), "item %lu", id);
    for (uint32_t part = 0; part < message->nblocks; part++) {
        uint32_t block = message->blocks[part];
        const unsigned char *first = block_bytes(&rig, block);
        if (rig.blocks[block].kind == ZI_KIND_HANDLE) continue;
        REQUIRE(rig.blocks[block].owner == rig.me, "item %lu, block %u has owner %x", id, block,
                rig.blocks[block].owner);
        memcpy(&word, first, 8);
        REQUIRE(word == item_word(id, part), "item %lu, first word of block %u", id, block);
        memcpy(&word, first + item_block_nbytes(id, part) - 8, 8);
        REQUIRE(word == item_word(id, part), "item %lu, last word of block %u", id, block);
    }
    return id;
}

/* Get one item, check it and free its blocks. */
static zi_status item_get(rig_queue queue, uint64_t *id)
{
    zi_message message = {.payload = rig_payload, .claimant = rig_claimant};
    uint32_t done;
    zi_status status = queue_get(&rig, queue.slot, queue.generation, &message, 1, &done, zi_now() + ZI_LOCK_PATIENCE_NS);
    if (status != ZI_OK) return status;
    *id = item_check(&message);
    item_free(&message);
    return ZI_OK;
}

#endif
