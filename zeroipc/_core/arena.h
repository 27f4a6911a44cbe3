/* The arena: one sparse segment per process tree, with who is attached to it and its blocks.
 *
 * Callers   any thread of an attached process
 * Crash     the magic word is stored last: an arena that is half made is none
 * Bytes     ARENA, PARTICIPANT, BLOCK in layout.py
 * Source    SPECIFICATION.md, "Arena"
 *
 * Here is how it is mapped, made and checked; blocks.h and alloc.h say how its memory is used. */
#ifndef ZI_ARENA_H
#define ZI_ARENA_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks.h"
#include "layout.h"
#include "owner.h"
#include "wait.h"

/* What this process knows of an arena that it has mapped. */
typedef struct {
    unsigned char *base;
    zi_arena *arena;
    zi_participant *participants;
    uint8_t *rows;
    zi_queue *queues;
    zi_block *blocks;
    int fd;
    struct stat file; /* what fd refers to, unless the program has closed it */
    uint32_t me; /* this process's identity; 0 before it is registered */
} zi_view;

#define ZI_STEP ((uint64_t)16 << 20) /* a signal makes the system start a reservation over */

/* --- Mapping ---------------------------------------------------------------------- */

static inline void view_map(zi_view *view, unsigned char *base, int fd)
{
    view->base = base;
    view->arena = (zi_arena *)base;
    view->participants = (zi_participant *)(base + ZI_PARTICIPANTS_OFFSET);
    view->rows = base + ZI_ROWS_OFFSET;
    view->queues = (zi_queue *)(base + ZI_QUEUES_OFFSET);
    view->blocks = (zi_block *)(base + ZI_BLOCKS_OFFSET);
    view->fd = fd;
    if (fstat(fd, &view->file) != 0) view->file.st_ino = 0;
    view->me = 0;
}

/* Whether the descriptor is still the arena's: a daemon closes all that it does not know, and
 * then this number may be any file of the program's. */
static inline int view_has_file(const zi_view *view)
{
    struct stat found;
    return fstat(view->fd, &found) == 0 && found.st_ino == view->file.st_ino &&
           found.st_dev == view->file.st_dev;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* fallocate, for whoever has lost the descriptor through the mapping.  0, or -1 and errno. */
static inline int arena_fallocate(zi_view *view, int mode, uint64_t offset, uint64_t nbytes)
{
    if (view_has_file(view)) return fallocate(view->fd, mode, (off_t)offset, (off_t)nbytes);
    uint64_t inside = offset % ZI_PAGE;
    return madvise(view->base + offset - inside, nbytes + inside, mode ? MADV_REMOVE : MADV_POPULATE_WRITE);
}

/* Have the system set pages aside, so that touching them cannot fail.  Pages that are
 * there already stay as they are.  The only place that asks for memory. */
static inline zi_status arena_reserve(zi_view *view, uint64_t offset, uint64_t nbytes)
{
    for (uint64_t done = 0; done < nbytes;) {
        uint64_t step = nbytes - done < ZI_STEP ? nbytes - done : ZI_STEP;
        if (arena_fallocate(view, 0, offset + done, step) == 0)
            done += step;
        else if (errno != EINTR)
            return ZI_NO_SPACE;
    }
    return ZI_OK;
}

static inline void arena_punch(zi_view *view, uint64_t offset, uint64_t nbytes)
{
    while (arena_fallocate(view, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, nbytes) != 0 &&
           errno == EINTR) {
    }
}

/* Lay out a new, zeroed file of *nbytes*; the magic word comes last. */
static inline zi_status arena_format(zi_view *view, uint64_t nbytes, uint64_t limit, uint64_t token)
{
    zi_status status = arena_reserve(view, 0, ZI_ROWS_OFFSET);
    if (status != ZI_OK) return status;
    zi_arena *arena = view->arena;
    arena->version = ZI_ARENA_VERSION;
    arena->mutex_nbytes = sizeof(pthread_mutex_t);
    arena->layout_sum = ZI_LAYOUT_SUM;
    arena->token = token;
    arena->nbytes = nbytes;
    arena->limit = limit;
    arena->creator_pid = (uint32_t)getpid();
    arena->creator_start = owner_start_time((uint32_t)getpid());
    arena->frontier = ZI_DATA_OFFSET;
    for (int cls = 0; cls < ZI_CLASSES; cls++) arena->free_head[cls] = ZI_NONE;
    mutex_init(&arena->lock);
    ZI_STORE(arena->magic, ZI_ARENA_MAGIC);
    return ZI_OK;
}

/* Whether the mapped bytes are an arena of this very layout.  ZI_EMPTY: not ready yet. */
static inline zi_status arena_check(const zi_view *view, uint64_t nbytes)
{
    const zi_arena *arena = view->arena;
    if (nbytes < ZI_DATA_OFFSET) return ZI_DAMAGED;
    if (ZI_LOAD(arena->magic) == 0) return ZI_EMPTY;
    if (arena->magic != ZI_ARENA_MAGIC || arena->version != ZI_ARENA_VERSION ||
        arena->mutex_nbytes != sizeof(pthread_mutex_t) || arena->layout_sum != ZI_LAYOUT_SUM ||
        arena->nbytes != nbytes)
        return ZI_DAMAGED;
    return ZI_OK;
}

/* --- Size classes ----------------------------------------------------------------- */

/* 4, 8, 12 KB, then 16, 20, 24, 28, 32, 40, ... KB: at most a quarter is wasted. */
static inline uint32_t class_of_pages(uint64_t pages)
{
    if (pages < 4) return (uint32_t)pages;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(pages);
    uint64_t step = (uint64_t)1 << (power - 2);
    uint64_t quarters = (pages + step - 1) / step; /* 4 to 8; 8 is the next power's 4 */
    return 4 + (power - 2) * 4 + (uint32_t)(quarters - 4);
}

static inline uint64_t class_pages(uint32_t cls)
{
    if (cls < 4) return cls;
    return (uint64_t)((cls - 4) % 4 + 4) << ((cls - 4) / 4);
}

static inline uint64_t pages_of(uint64_t nbytes) { return (nbytes + ZI_PAGE - 1) / ZI_PAGE; }

#endif
