/* How a call waits: try, and only if that says "not now", wait for a tick and try again.
 *
 * The first try has the interpreter lock, which is enough almost always.  Only if it has to
 * wait does a call release that lock, and then never for longer than a tick without looking
 * for signals.  Nothing of Python runs while a shared lock is held. */
#include "patience.h"
#include "queue_type.h"

#include <math.h>

/* *timeout* in seconds, None for ever; negative is zero, as in the standard library. */
int native_deadline(PyObject *timeout, uint64_t *deadline)
{
    *deadline = ZI_FOREVER;
    if (timeout == NULL || timeout == Py_None) return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout must be a number of seconds: timeout=nan");
        return -1;
    }
    if (seconds < 0) seconds = 0;
    if (seconds < 1e9) *deadline = zi_now() + (uint64_t)(seconds * 1e9);
    return 0;
}

/* How long to wait for a lock: a tick, so that a call without patience still succeeds against
 * the short critical sections of others, and one with patience looks for signals. */
uint64_t lock_deadline(uint64_t deadline)
{
    uint64_t tick = zi_now() + ZI_TICK_NS;
    return deadline == 0 || deadline > tick ? tick : deadline;
}

static zi_status await_room(zi_view *view, uint32_t slot, zi_status why, uint64_t until, int first)
{
    if (why == ZI_BUSY) return ZI_OK;
    return why == ZI_FULL ? queue_await_room(view, slot, until, first) : arena_await_space(view, until);
}

/* Whether a put that failed so may succeed later.  A *patient* one waits for memory as it
 * does for room; a queue without bound keeps what it cannot put. */
static int may_wait(int patient, zi_status status)
{
    if (status == ZI_BUSY || !patient) return status == ZI_BUSY;
    return status == ZI_FULL || status == ZI_NO_MEMORY || status == ZI_NO_SPACE || status == ZI_NO_ENTRY;
}

zi_status queue_send(zi_queue_object *self, zi_message *messages, uint32_t count,
                            uint32_t *done, int patient, uint64_t deadline)
{
    zi_view *view = &self->arena->view;
    int first = 1;
    uint32_t went = 0;
    zi_status status = queue_put(view, self->slot, self->generation, messages, count, &went, 0);
    *done = went;
    while (may_wait(patient, status) && !(is_late(deadline) && (status != ZI_BUSY || !first))) {
        WAIT_AND_TRY(await_room(view, self->slot, status, until, first),
                     queue_put(view, self->slot, self->generation, messages + *done, count - *done, &went, until))
        *done += went;
        went = 0;
        if (status != ZI_OK && PyErr_CheckSignals() < 0) return ZI_INTERRUPTED;
    }
    return status;
}

zi_status queue_receive(zi_queue_object *self, zi_message *messages, uint32_t count,
                               uint32_t *done, uint64_t deadline)
{
    zi_view *view = &self->arena->view;
    int first = 1;
    zi_status status = ZI_EMPTY;
    *done = 0;
    /* A look spares the putter the lock. */
    if (deadline == 0 || view->me == 0 || queue_size(&view->queues[self->slot]) != 0)
        status = queue_get(view, self->slot, self->generation, messages, count, done, 0);
    while ((status == ZI_EMPTY || status == ZI_BUSY) && !(is_late(deadline) && (status == ZI_EMPTY || !first))) {
        int alone = deadline == ZI_FOREVER && is_alone();
        if (alone) holding_note(self, ZI_HOLDS_WAITING);
        WAIT_AND_TRY(status == ZI_BUSY ? ZI_OK : queue_await_items(view, self->slot, until, first),
                     queue_get(view, self->slot, self->generation, messages, count, done, until))
        int failed = alone && status == ZI_EMPTY && raise_orphan(self);
        if (alone) holding_note(self, ZI_HOLDS);
        if (failed || (status != ZI_OK && PyErr_CheckSignals() < 0)) return ZI_INTERRUPTED;
    }
    if (status == ZI_OK) arena_idle(self->arena, queue_is_large(view, &view->queues[self->slot]));
    return status == ZI_BUSY ? ZI_EMPTY : status; /* a stopped process holds the lock */
}

/* --- Waiting for a side without using it ------------------------------------------------------ */

/* A side of a queue that can be waited for: whether it is ready, how to wait, whom to wake. */
typedef struct {
    int (*ready)(const zi_queue *queue);
    zi_status (*await)(zi_view *view, uint32_t slot, uint64_t deadline, int first);
    size_t seq, waiters, pending;
} zi_side;

static int get_ready(const zi_queue *queue) { return queue_size(queue) != 0 || queue->state != ZI_STATE_OPEN; }

static int put_ready(const zi_queue *queue)
{
    return queue->maxsize == 0 || queue_size(queue) < queue->maxsize || queue->state != ZI_STATE_OPEN;
}

static const zi_side get_side = {get_ready, queue_await_items, offsetof(zi_queue, items_seq),
                                 offsetof(zi_queue, items_waiters), offsetof(zi_queue, items_pending)};
static const zi_side put_side = {put_ready, queue_await_room, offsetof(zi_queue, room_seq),
                                 offsetof(zi_queue, room_waiters), offsetof(zi_queue, room_pending)};

/* One sleeper is woken per change.  Who only looks has to wake the next, who may act on it. */
static void hand_on(zi_view *view, uint32_t slot, const zi_side *side)
{
    char *queue = (char *)&view->queues[slot];
    uint32_t *seq = (uint32_t *)(queue + side->seq), *waiters = (uint32_t *)(queue + side->waiters);
    if (ZI_LOAD(*waiters) == 0 || queue_lock(view, slot, lock_deadline(ZI_FOREVER)) != ZI_OK) return;
    int wake = wake_decide(seq, waiters, (uint32_t *)(queue + side->pending));
    queue_unlock(view, slot);
    if (wake) wait_wake(seq, 1);
}

/* Wait until *side* is ready, or this handle is closed; whether it is ready. */
static PyObject *poll_side(zi_queue_object *self, PyObject *timeout, const zi_side *side)
{
    if (!is_made(self)) return NULL;
    zi_view *view = &self->arena->view;
    const zi_queue *queue = &view->queues[self->slot];
    uint64_t deadline;
    int first = 1;
    if (native_deadline(timeout, &deadline) < 0) return NULL;
    while (!side->ready(queue) && !self->closed && zi_now() < deadline) {
        Py_BEGIN_ALLOW_THREADS
        side->await(view, self->slot, lock_deadline(deadline), first);
        park_at_exit(view);
        if (side->ready(queue)) hand_on(view, self->slot, side);
        Py_END_ALLOW_THREADS
        first = 0;
        if (PyErr_CheckSignals() < 0) return NULL;
    }
    return PyBool_FromLong(side->ready(queue));
}

PyObject *queue_poll(PyObject *object, PyObject *timeout)
{
    return poll_side((zi_queue_object *)object, timeout, &get_side);
}

PyObject *queue_poll_room(PyObject *object, PyObject *timeout)
{
    return poll_side((zi_queue_object *)object, timeout, &put_side);
}
