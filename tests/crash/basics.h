/* What the core does when nobody dies. */
#ifndef BASICS_H
#define BASICS_H

#include "check.h"

#define MB ((uint64_t)1 << 20)

static void basics_classes(void)
{
    for (uint64_t pages = 0; pages < 100000; pages++) {
        uint64_t given = class_pages(class_of_pages(pages));
        REQUIRE(given >= pages && given * 4 <= pages * 5, "%lu pages get %lu", pages, given);
    }
    for (uint32_t cls = 0; cls < ZI_CLASSES; cls++)
        REQUIRE(class_of_pages(class_pages(cls)) == cls, "class %u", cls);
}

/* All inline sizes, at all fillings, so that records meet the ring's end everywhere. */
static void basics_sizes(void)
{
    rig_reset(64 * MB);
    rig_queue queue = rig_create(0, 0);
    uint64_t sent = 0, got = 0, id;
    for (uint32_t round = 0; round < 4000; round++) {
        uint32_t burst = round % 7, nbytes = 8 + (round * 97) % (round % 5 ? 700 : ZI_INLINE_MAX - 7);
        for (uint32_t i = 0; i < burst; i++) REQUIRE_OK(item_put(queue, sent++, nbytes, i % 3));
        while (sent - got > round % 11) {
            REQUIRE_OK(item_get(queue, &id));
            REQUIRE(id == got++, "got item %lu", id);
        }
        REQUIRE(queue_size(&rig.queues[queue.slot]) == sent - got, "size");
        if (round % 100 == 0) check(0);
    }
    while (item_get(queue, &id) == ZI_OK) REQUIRE(id == got++, "got item %lu", id);
    REQUIRE(got == sent, "%lu of %lu", got, sent);
    check(0);
}

/* Chunks come as the queue grows and go back as it is read. */
static void basics_chunks(void)
{
    rig_reset(128 * MB);
    rig_queue queue = rig_create(0, 0);
    uint64_t id;
    for (uint64_t sent = 0; sent < 20000; sent++) REQUIRE_OK(item_put(queue, sent, 1000, 0));
    check(0);
    for (uint64_t got = 0; got < 20000; got++) {
        REQUIRE_OK(item_get(queue, &id));
        REQUIRE(id == got, "got item %lu, not %lu", id, got);
    }
    check(0);
    uint32_t queued = 0;
    for (uint32_t block = 0; block < rig.arena->blocks_used; block++) queued += rig.blocks[block].owner == ZI_QUEUED;
    REQUIRE(queued == 1, "%u chunks are left", queued);
    REQUIRE(arena_trim(&rig, 0, 0, rig_soon()) > 0, "nothing to trim");
    check(0);
}

/* Item numbers wrap at 2^29. */
static void basics_wrap(void)
{
    rig_reset(64 * MB);
    rig_queue queue = rig_create(0, 0);
    zi_queue *bytes = &rig.queues[queue.slot];
    zi_cursor start = cursor_load(&bytes->head);
    start.item = ZI_ITEM_MASK - 20;
    bytes->head = bytes->tail = cursor_pack(start);
    uint64_t got = 0, id;
    for (uint64_t sent = 0; sent < 500; sent++) {
        REQUIRE_OK(item_put(queue, sent, 100, sent % 4));
        if (sent >= 10) REQUIRE_OK(item_get(queue, &id));
        if (sent >= 10) REQUIRE(id == got++, "got item %lu", id);
        check(0);
    }
    REQUIRE(queue_size(bytes) == 10, "size %u", queue_size(bytes));
}

static void basics_maxsize_and_state(void)
{
    rig_reset(64 * MB);
    rig_queue queue = rig_create(3, 0), again;
    uint64_t id;
    for (uint64_t sent = 0; sent < 3; sent++) REQUIRE_OK(item_put(queue, sent, 16, 1));
    REQUIRE(item_put(queue, 3, 16, 1) == ZI_FULL, "room for a fourth");
    check(0);
    REQUIRE_OK(item_get(queue, &id));
    REQUIRE_OK(item_put(queue, 3, 16, 1));
    REQUIRE_OK(queue_shut(&rig, queue.slot, queue.generation, 0, rig_soon()));
    REQUIRE(item_put(queue, 4, 16, 1) == ZI_SHUT, "a put after the shutdown");
    for (uint64_t got = 1; got < 4; got++) REQUIRE(item_get(queue, &id) == ZI_OK && id == got, "item %lu", got);
    REQUIRE(item_get(queue, &id) == ZI_SHUT, "an item after the last");
    again = rig_create(0, 0);
    REQUIRE_OK(item_put(again, 0, 16, 1));
    REQUIRE_OK(queue_shut(&rig, again.slot, again.generation, 1, rig_soon()));
    REQUIRE(item_get(again, &id) == ZI_SHUT, "an item after shutdown(immediate)");
    check(0);
}

static void basics_batches(void)
{
    rig_reset(64 * MB);
    rig_queue queue = rig_create(0, 0);
    enum { COUNT = 100 };
    static unsigned char bytes[COUNT][ZI_INLINE_MAX];
    zi_message messages[COUNT];
    uint32_t done;
    for (uint32_t i = 0; i < COUNT; i++) {
        REQUIRE_OK(item_make(&messages[i], i, 8 + 37 * i, i % 2 ? ZI_MESSAGE_BLOCKS : 0));
        memcpy(bytes[i], rig_payload, messages[i].nbytes);
        messages[i].payload = bytes[i];
    }
    REQUIRE_OK(queue_put(&rig, queue.slot, queue.generation, messages, COUNT, &done, zi_now() + ZI_TICK_NS));
    REQUIRE(done == COUNT, "%u went", done);
    check(0);
    REQUIRE_OK(queue_get(&rig, queue.slot, queue.generation, messages, 60, &done, zi_now() + ZI_TICK_NS));
    REQUIRE(done == 60, "%u came", done);
    check(30 * ZI_MESSAGE_BLOCKS);
    REQUIRE_OK(queue_get(&rig, queue.slot, queue.generation, messages + 60, COUNT, &done, 0));
    REQUIRE(done == 40, "%u came", done);
    for (uint32_t i = 0; i < COUNT; i++) REQUIRE(item_check(&messages[i]) == i, "item %u", i);
    for (uint32_t i = 0; i < COUNT; i++) item_free(&messages[i]);
    check(0);
}

/* Whichever reservation fails: a clear answer, nothing lost, and it works once there is room. */
static void basics_no_space(void)
{
    for (int allowed = 0;; allowed++) {
        rig_reset(64 * MB);
        uint32_t held = 0, block;
        rig_queue queue = rig_create(0, 0);
        rig_fallocations = allowed;
        zi_status status = ZI_OK;
        uint64_t sent = 0, got = 0, id;
        while (status == ZI_OK && sent < 40) {
            status = item_put(queue, sent, 3000, 2);
            sent += status == ZI_OK;
        }
        REQUIRE(status == ZI_OK || status == ZI_NO_SPACE, "status %d", status);
        zi_status large = block_alloc(&rig, 40 * MB, ZI_KIND_DATA, &block, rig_soon());
        REQUIRE(large == ZI_OK || large == ZI_NO_SPACE, "status %d", large);
        held += large == ZI_OK;
        check(held);
        while (item_get(queue, &id) == ZI_OK) REQUIRE(id == got++, "got item %lu", id);
        REQUIRE(got == sent, "%lu of %lu", got, sent);
        rig_fallocations = -1;
        REQUIRE_OK(item_put(queue, 0, 3000, 2));
        if (large != ZI_OK) REQUIRE_OK(block_alloc(&rig, 40 * MB, ZI_KIND_DATA, &block, rig_soon()));
        check(1);
        if (status == ZI_OK && large == ZI_OK) return;
    }
}

/* At the arena's limit: an answer, and memory of free blocks of other classes is reused. */
static void basics_limit(void)
{
    rig_reset(8 * MB);
    uint32_t blocks[9], one;
    for (int i = 0; i < 8; i++) REQUIRE_OK(block_alloc(&rig, MB, ZI_KIND_DATA, &blocks[i], rig_soon()));
    REQUIRE(block_alloc(&rig, MB, ZI_KIND_DATA, &blocks[8], rig_soon()) == ZI_NO_MEMORY, "above the limit");
    REQUIRE(block_alloc(&rig, 1, ZI_KIND_DATA, &one, rig_soon()) == ZI_NO_MEMORY, "above the limit");
    check(8);
    for (int i = 0; i < 8; i++) block_free(&rig, blocks[i]);
    REQUIRE_OK(block_alloc(&rig, 8 * MB, ZI_KIND_DATA, &one, rig_soon()));
    check(1);
    block_free(&rig, one);
    REQUIRE_OK(block_alloc(&rig, 0, ZI_KIND_HANDLE, &one, rig_soon()));
    block_free(&rig, one);
    REQUIRE(arena_trim(&rig, 0, 2, rig_soon()) == 0 && arena_trim(&rig, 0, 2, rig_soon()) == 0, "trimmed before it was idle");
    REQUIRE(arena_trim(&rig, 0, 2, rig_soon()) == 1 && rig.arena->reserved == 0, "idle memory stays");
    check(0);
}

/* A lent block is free when the owner and both lenders let go, in any order. */
static void basics_loans(void)
{
    rig_reset(8 * MB);
    uint32_t one;
    for (int order = 0; order < 3; order++) {
        uint32_t other;
        REQUIRE_OK(block_alloc(&rig, 8 * MB, ZI_KIND_DATA, &one, rig_soon()));
        block_lend(&rig, one);
        block_lend(&rig, one);
        REQUIRE(block_lent_by(&rig.blocks[one], rig.me) == 2, "lent %d times", block_lent_by(&rig.blocks[one], rig.me));
        for (int step = 0; step < 3; step++) {
            REQUIRE(block_alloc(&rig, 8 * MB, ZI_KIND_DATA, &other, rig_soon()) == ZI_NO_MEMORY, "order %d, step %d", order, step);
            step == order ? block_free(&rig, one) : block_unlend(&rig, one, rig.me);
        }
        check(0);
    }
}

/* Who sleeps for a lock gets it though nobody wakes him.  The holder does half of an unlock, as
 * if he had died in it and the wake of the kernel had met another. */
static void basics_lost_wake(void)
{
    typedef struct {
        zi_mutex mutex;
        uint32_t held;
    } shared;
    shared *both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(both != MAP_FAILED, "errno %d", errno);
    mutex_init(&both->mutex);
    uint32_t *word = (uint32_t *)&both->mutex;
    pid_t holder = rig_fork();
    if (holder == 0) {
        REQUIRE_OK(mutex_lock(&both->mutex, rig_soon()));
        ZI_STORE(both->held, 1);
        while (!(ZI_LOAD(*word) & FUTEX_WAITERS)) usleep(100);
        ZI_STORE(*word, 0);
        _exit(0);
    }
    while (!ZI_LOAD(both->held)) usleep(100);
    pid_t waiter = rig_fork();
    if (waiter == 0) {
        REQUIRE_OK(mutex_lock(&both->mutex, zi_now() + 2 * ZI_LOCK_PATIENCE_NS));
        _exit(0);
    }
    REQUIRE(rig_reap(holder) == 0, "the holder failed");
    REQUIRE(rig_reap(waiter) == 0, "who waited slept on");
    munmap(both, sizeof *both);
}

#endif
