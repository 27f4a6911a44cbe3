/* The Python type MessageQueue: multiprocessing.Queue's calls, over mqueue.h.
 *
 * A call first tries with the interpreter lock held, which is enough almost always.  Only
 * if it has to wait does it release that lock, and then never for longer than a tick
 * without looking for signals.  Nothing of Python runs while a shared lock is held. */
#include "native.h"

static __thread unsigned char scratch[ZI_MANY][ZI_INLINE_MAX];

/* --- Errors and time --------------------------------------------------------------------- */

PyObject *native_raise(zi_state *state, zi_status status, const zi_view *view)
{
    switch (status) {
    case ZI_EMPTY: PyErr_SetNone(state->empty); break;
    case ZI_FULL: PyErr_SetNone(state->full); break;
    case ZI_SHUT: PyErr_SetString(state->shut, "the queue is shut down"); break;
    case ZI_STALE: PyErr_SetString(state->closed, "the queue does not exist any more: its last holder is gone"); break;
    case ZI_NO_MEMORY:
        PyErr_Format(state->arena_full, "the arena is full: limit=%llu bytes, reserved=%llu; receive or "
                     "drop arrays that are in use", (unsigned long long)view->arena->limit,
                     (unsigned long long)view->arena->reserved);
        break;
    case ZI_NO_SPACE:
        PyErr_Format(state->arena_full, "no memory is left in /dev/shm: the arena has reserved %llu bytes; "
                     "remove files there, or mount it larger", (unsigned long long)view->arena->reserved);
        break;
    case ZI_NO_ENTRY:
        PyErr_Format(state->arena_full, "a table of the arena is full: at most %d processes, %d queues, %d blocks",
                     (int)ZI_PARTICIPANTS, (int)ZI_QUEUES, (int)ZI_BLOCKS);
        break;
    case ZI_DAMAGED: PyErr_SetString(state->damaged, "the arena is damaged, or of another layout"); break;
    case ZI_BUSY: PyErr_SetString(PyExc_TimeoutError, "a lock of the arena is held by a stopped process"); break;
    default: PyErr_Format(PyExc_RuntimeError, "unexpected status %d", (int)status);
    }
    return NULL;
}

/* *timeout* in seconds, None for ever; negative is zero, as in the standard library. */
int native_deadline(PyObject *timeout, uint64_t *deadline)
{
    *deadline = ZI_FOREVER;
    if (timeout == NULL || timeout == Py_None) return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) return -1;
    if (seconds < 0) seconds = 0;
    if (seconds < 1e9) *deadline = zi_now() + (uint64_t)(seconds * 1e9);
    return 0;
}

/* How long to wait for a lock: a tick, so that a call without patience still succeeds against
 * the short critical sections of others, and one with patience looks for signals. */
static uint64_t lock_deadline(uint64_t deadline)
{
    uint64_t tick = zi_now() + ZI_TICK_NS;
    return deadline == 0 || deadline > tick ? tick : deadline;
}

static int is_late(uint64_t deadline) { return deadline == 0 || zi_now() >= deadline; }

/* --- Waiting loops ------------------------------------------------------------------------ */

/* A thread that waits while its process ends: the process has left the arena, and only a
 * daemon thread can still be here.  It must not wake up with an error. */
static void park_at_exit(const zi_view *view)
{
    while (view->me == 0) pause();
}

/* One wait of at most a tick and one try, without the interpreter lock. */
#define WAIT_AND_TRY(await, try)                                     \
    Py_BEGIN_ALLOW_THREADS                                           \
    uint64_t until = lock_deadline(deadline);                        \
    zi_status waited = await;                                        \
    if (waited != ZI_INTERRUPTED) status = try;                      \
    park_at_exit(view);                                              \
    Py_END_ALLOW_THREADS                                             \
    arena_idle(self->arena, 0);                                      \
    first = 0;

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

static zi_status queue_send(zi_queue_object *self, zi_message *messages, uint32_t count,
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

/* --- A get that nobody can ever answer --------------------------------------------------- */

/* What a process writes into its row for a queue: it has it; it has it, and its only thread
 * waits for an item of it, for ever. */
enum { ZI_HOLDS = 1, ZI_HOLDS_WAITING = 2 };

static void holding_note(const zi_queue_object *self, uint8_t note)
{
    zi_view *view = &self->arena->view;
    if (view->me != 0) ZI_STORE(participant_row(view, identity_index(view->me))[self->slot], note);
}

/* Whether this process has one thread that can run Python. */
static int is_alone(void)
{
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL;
}

/* Whether this process's parent has died: the system's, or, for a child of a fork server, the
 * one that multiprocessing says.  -1: an error is set. */
static int is_parent_dead(const zi_arena_object *arena)
{
    if (getppid() != arena->parent) return 1;
    PyObject *module = PyImport_ImportModule("multiprocessing.process");
    PyObject *parent = module ? PyObject_CallMethod(module, "parent_process", NULL) : NULL;
    PyObject *alive = parent && parent != Py_None ? PyObject_CallMethod(parent, "is_alive", NULL) : NULL;
    int dead = alive == Py_False;
    Py_XDECREF(alive);
    Py_XDECREF(parent);
    Py_XDECREF(module);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OSError)) PyErr_Clear();
    return PyErr_Occurred() ? -1 : dead;
}

/* Whether every process that has the queue waits for an item of it, so that none can ever
 * come.  A queue with a name may yet be found by it. */
static int is_deserted(const zi_queue_object *self)
{
    zi_view *view = &self->arena->view;
    if (view->queues[self->slot].named) return 0;
    for (uint32_t index = 0; index < ZI_LOAD(view->arena->participants_used); index++)
        if (ZI_LOAD(view->participants[index].pid) != 0 &&
            ZI_LOAD(participant_row(view, index)[self->slot]) == ZI_HOLDS)
            return 0;
    if (arena_lock(view) != ZI_OK) return 0;
    int flying = handle_any(view, self->slot);
    arena_unlock(view);
    return !flying;
}

/* Raise if nothing can ever come; whether an error is set. */
static int raise_orphan(const zi_queue_object *self)
{
    int dead = is_deserted(self) ? is_parent_dead(self->arena) : 0;
    if (dead > 0)
        PyErr_SetString(self->arena->state->died, "nobody is left to put anything into the queue: the parent process "
                        "has died, and whoever else has the queue waits for an item too");
    return dead != 0;
}

static zi_status queue_receive(zi_queue_object *self, zi_message *messages, uint32_t count,
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

/* --- Arguments ------------------------------------------------------------------------------ */

/* Whether __init__ or __setstate__ has run; else an error is set. */
static int is_made(const zi_queue_object *self)
{
    if (self->arena == NULL) PyErr_SetString(PyExc_RuntimeError, "the queue's __init__ was not called");
    return self->arena != NULL;
}

static PyObject *raise_closed(zi_queue_object *self)
{
    if (!is_made(self)) return NULL;
    return PyErr_Format(self->arena->state->closed, "Queue %R is closed", (PyObject *)self);
}

/* (block=True, timeout=None) from position *first* on, as put and get have them. */
static int parse_wait(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t first, PyObject *names,
                      uint64_t *deadline)
{
    PyObject *block = nargs > first ? args[first] : NULL, *timeout = nargs > first + 1 ? args[first + 1] : NULL;
    if (nargs > first + 2) {
        PyErr_Format(PyExc_TypeError, "takes at most %zd arguments: %zd given", first + 2, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (PyUnicode_CompareWithASCIIString(name, "block") == 0 && !block)
            block = args[nargs + i];
        else if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0 && !timeout)
            timeout = args[nargs + i];
        else if (first == 0 || PyUnicode_CompareWithASCIIString(name, "obj") != 0) {
            PyErr_Format(PyExc_TypeError, "unexpected keyword argument %R", name);
            return -1;
        }
    }
    int wait = block == NULL ? 1 : PyObject_IsTrue(block);
    if (wait < 0) return -1;
    if (wait) return native_deadline(timeout, deadline);
    *deadline = 0;
    return 0;
}

static PyObject *find_object(PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs > 0) return args[0];
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "obj") == 0) return args[nargs + i];
    PyErr_SetString(PyExc_TypeError, "put() missing 1 required positional argument: 'obj'");
    return NULL;
}

/* --- Put ------------------------------------------------------------------------------------ */

/* The arena is full and the queue may not block: the subclass keeps the object for later. */
static PyObject *spill(zi_queue_object *self, PyObject *object)
{
    return PyObject_CallMethodOneArg((PyObject *)self, self->arena->state->str_spill, object);
}

/* Turn the ShmFullError that is set into a QueueFullError, which is a queue.Full as well. */
static PyObject *raise_full_as_queue(zi_state *state)
{
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    if (PyObject_SetAttrString(error, "__class__", state->queue_full) == 0) PyErr_SetObject(state->queue_full, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return NULL;
}

static PyObject *put_object(zi_queue_object *self, PyObject *object, uint64_t deadline)
{
    if (!is_made(self)) return NULL;
    self->used = 1;
    zi_queue *queue = &self->arena->view.queues[self->slot];
    zi_draft draft;
    uint32_t done;
    if (self->spilling) return spill(self, object);
    int bounded = queue->maxsize != 0;
    if (draft_encode(&draft, self->arena, object, 0, bounded ? deadline : 0) < 0) {
        if (draft.too_large || !PyErr_ExceptionMatches(self->arena->state->arena_full)) return NULL;
        if (bounded) return raise_full_as_queue(self->arena->state);
        PyErr_Clear();
        return spill(self, object);
    }
    zi_status status = queue_send(self, &draft.message, 1, &done, bounded, deadline);
    if (status == ZI_OK) {
        draft_sent(&draft);
        Py_RETURN_NONE;
    }
    draft_dropped(&draft);
    if (status == ZI_INTERRUPTED) return NULL;
    int no_room = status == ZI_NO_MEMORY || status == ZI_NO_SPACE || status == ZI_NO_ENTRY;
    if (!bounded && (no_room || status == ZI_FULL)) return spill(self, object);
    native_raise(self->arena->state, status == ZI_BUSY ? ZI_FULL : status, &self->arena->view);
    return no_room ? raise_full_as_queue(self->arena->state) : NULL;
}

/* _put_now(obj, timeout): put although the queue is closed here or spilling, waiting for
 * memory; the arena's error when there is none in time. */
static PyObject *queue_put_now(PyObject *object, PyObject *args)
{
    zi_queue_object *self = (zi_queue_object *)object;
    PyObject *item, *timeout;
    uint64_t deadline;
    zi_draft draft;
    uint32_t done;
    if (!is_made(self) || !PyArg_ParseTuple(args, "OO:_put_now", &item, &timeout) || native_deadline(timeout, &deadline) < 0 ||
        draft_encode(&draft, self->arena, item, 0, deadline) < 0)
        return NULL;
    zi_status status = queue_send(self, &draft.message, 1, &done, 1, deadline);
    if (status == ZI_OK) {
        draft_sent(&draft);
        Py_RETURN_NONE;
    }
    draft_dropped(&draft);
    return status == ZI_INTERRUPTED ? NULL : native_raise(self->arena->state, status, &self->arena->view);
}

static PyObject *queue_put_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    if (self->closed) return raise_closed(self);
    PyObject *item = find_object(args, nargs, names);
    if (item == NULL) return NULL;
    if ((nargs != 1 || names) && parse_wait(args, nargs, 1, names, &deadline) < 0) return NULL;
    return put_object(self, item, deadline);
}

static PyObject *queue_put_nowait(PyObject *object, PyObject *item)
{
    zi_queue_object *self = (zi_queue_object *)object;
    return self->closed ? raise_closed(self) : put_object(self, item, 0);
}

/* --- Get ------------------------------------------------------------------------------------ */

/* Drop a message that its putter took back; whether it was one. */
static int drop_cancelled(zi_queue_object *self, const zi_message *message)
{
    if (!(message->kind & ZI_PAYLOAD_CANCELLED)) return 0;
    for (uint32_t i = 0; i < message->nblocks; i++) block_free(&self->arena->view, message->blocks[i]);
    return 1;
}

/* After a get, with its result or its error: a watched queue may have become empty. */
static PyObject *tell_watch(zi_queue_object *self, PyObject *result)
{
    PyObject *type, *error, *trace;
    if (!self->watched) return result;
    PyErr_Fetch(&type, &error, &trace);
    PyObject *told = PyObject_CallMethod((PyObject *)self, "_taken", NULL);
    if (told) {
        Py_DECREF(told);
        PyErr_Restore(type, error, trace);
        return result;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    Py_XDECREF(result);
    return NULL;
}

static PyObject *get_object(zi_queue_object *self, uint64_t deadline)
{
    zi_message message;
    uint32_t done;
    zi_status status;
    if (self->closed || !is_made(self)) return raise_closed(self);
    do {
        message.payload = scratch[0];
        message.claimant = self->claimant;
        status = queue_receive(self, &message, 1, &done, deadline);
    } while (status == ZI_OK && drop_cancelled(self, &message));
    if (status == ZI_OK) return tell_watch(self, message_decode(self->arena, &message));
    if (status == ZI_INTERRUPTED) return NULL;
    return tell_watch(self, native_raise(self->arena->state, status, &self->arena->view));
}

static PyObject *queue_get_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    uint64_t deadline = ZI_FOREVER;
    if ((nargs != 0 || names) && parse_wait(args, nargs, 0, names, &deadline) < 0) return NULL;
    return get_object((zi_queue_object *)object, deadline);
}

static PyObject *queue_get_nowait(PyObject *object, PyObject *unused)
{
    (void)unused;
    return get_object((zi_queue_object *)object, 0);
}

/* Decode all; an item that cannot be decoded raises, after the others were freed or kept. */
static int append_decoded(zi_queue_object *self, PyObject *list, zi_message *messages, uint32_t count)
{
    int failed = 0;
    unsigned char *copies = PyMem_Malloc((size_t)count * ZI_INLINE_MAX);
    if (copies == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) /* decoding may run code that uses the scratch */
        messages[i].payload = memcpy(copies + (size_t)i * ZI_INLINE_MAX, messages[i].payload, messages[i].nbytes);
    for (uint32_t i = 0; i < count; i++) {
        if (failed) {
            for (uint32_t b = 0; b < messages[i].nblocks; b++) block_free(&self->arena->view, messages[i].blocks[b]);
            continue;
        }
        if (drop_cancelled(self, &messages[i])) continue;
        PyObject *item = message_decode(self->arena, &messages[i]);
        failed = item == NULL || PyList_Append(list, item) < 0;
        Py_XDECREF(item);
    }
    PyMem_Free(copies);
    return failed ? -1 : 0;
}

/* get_many(limit, block=True, timeout=None): wait for one, then take what is there. */
static PyObject *queue_get_many(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    if (nargs < 1) return PyErr_Format(PyExc_TypeError, "get_many() takes the most items to get");
    Py_ssize_t limit = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    if (limit < 1) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "limit must be at least 1: limit=%zd", limit);
        return NULL;
    }
    if ((nargs != 1 || names) && parse_wait(args, nargs, 1, names, &deadline) < 0) return NULL;
    if (self->closed || !is_made(self)) return raise_closed(self);
    PyObject *list = PyList_New(0);
    zi_message messages[ZI_MANY];
    while (list && PyList_GET_SIZE(list) < limit) {
        Py_ssize_t left = limit - PyList_GET_SIZE(list);
        uint32_t done;
        for (int i = 0; i < ZI_MANY; i++) {
            messages[i].payload = scratch[i];
            messages[i].claimant = self->claimant;
        }
        uint64_t until = PyList_GET_SIZE(list) ? 0 : deadline;
        zi_status status = queue_receive(self, messages, left < ZI_MANY ? (uint32_t)left : ZI_MANY, &done, until);
        if (status != ZI_OK && PyList_GET_SIZE(list)) {
            if (status == ZI_INTERRUPTED) Py_CLEAR(list);
            break;
        }
        if (status != ZI_OK) {
            Py_CLEAR(list);
            if (status != ZI_INTERRUPTED) native_raise(self->arena->state, status, &self->arena->view);
            break;
        }
        if (append_decoded(self, list, messages, done) < 0) Py_CLEAR(list);
    }
    return tell_watch(self, list);
}

/* --- The rest --------------------------------------------------------------------------------- */

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

static PyObject *queue_poll(PyObject *object, PyObject *timeout)
{
    return poll_side((zi_queue_object *)object, timeout, &get_side);
}

static PyObject *queue_poll_room(PyObject *object, PyObject *timeout)
{
    return poll_side((zi_queue_object *)object, timeout, &put_side);
}

static PyObject *queue_qsize(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    return PyLong_FromUnsignedLong(queue_size(&self->arena->view.queues[self->slot]));
}

static PyObject *queue_shutdown(PyObject *object, PyObject *now)
{
    zi_queue_object *self = (zi_queue_object *)object;
    int immediate = PyObject_IsTrue(now);
    if (immediate < 0 || !is_made(self)) return NULL;
    zi_status status = queue_shut(&self->arena->view, self->slot, self->generation, immediate);
    if (status != ZI_OK) return native_raise(self->arena->state, status, &self->arena->view);
    Py_RETURN_NONE;
}

static PyObject *queue_task_done(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    zi_status status = task_done(&self->arena->view, self->slot, self->generation);
    if (status == ZI_EMPTY) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    if (status != ZI_OK) return native_raise(self->arena->state, status, &self->arena->view);
    Py_RETURN_NONE;
}

static PyObject *queue_join_tasks(PyObject *object, PyObject *timeout)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline;
    uint32_t lost;
    zi_status status;
    if (!is_made(self) || native_deadline(timeout, &deadline) < 0) return NULL;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = tasks_await(&self->arena->view, self->slot, self->generation, &lost, deadline);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) return NULL;
    } while ((status == ZI_TIMEOUT || status == ZI_INTERRUPTED || status == ZI_BUSY) && zi_now() < deadline);
    if (status == ZI_OK) Py_RETURN_TRUE;
    if (status == ZI_TIMEOUT) Py_RETURN_FALSE;
    if (status != ZI_LOST) return native_raise(self->arena->state, status, &self->arena->view);
    return PyErr_Format(self->arena->state->died,
                        "%u tasks were taken by processes that died before task_done()", lost);
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    zi_queue_object *self = (zi_queue_object *)type->tp_alloc(type, 0);
    if (self) self->claimant = ZI_NONE; /* no worker, until _claim_as */
    return (PyObject *)self;
}

static void queue_release(zi_queue_object *self)
{
    if (self->held && self->arena->view.me != 0 && --self->arena->holds[self->slot] == 0)
        holding_clear(&self->arena->view, self->slot);
    self->held = 0;
}

/* _attach(arena, slot, generation): hold the queue. */
static PyObject *queue_attach(PyObject *object, PyObject *args)
{
    zi_queue_object *self = (zi_queue_object *)object;
    PyObject *arena;
    unsigned int slot, generation;
    if (!PyArg_ParseTuple(args, "OII:_attach", &arena, &slot, &generation)) return NULL;
    zi_state *state = PyModule_GetState(PyType_GetModuleByDef(Py_TYPE(self), &native_module));
    if (Py_TYPE(arena) != state->arena_type || self->arena)
        return PyErr_Format(PyExc_TypeError, "_attach() takes an Arena, once");
    zi_status status = queue_hold(&((zi_arena_object *)arena)->view, slot, generation);
    if (status != ZI_OK) return native_raise(state, status, &((zi_arena_object *)arena)->view);
    self->arena = (zi_arena_object *)Py_NewRef(arena);
    self->slot = slot;
    self->generation = generation;
    self->held = 1;
    self->arena->holds[slot]++;
    Py_RETURN_NONE;
}

static void queue_dealloc(PyObject *object)
{
    zi_queue_object *self = (zi_queue_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->arena) queue_release(self);
    Py_XDECREF(self->arena);
    type->tp_free(object);
    Py_DECREF(type);
}

#define QUEUE_FLAG(name)                                                        \
    static PyObject *queue_get_##name(PyObject *object, void *closure)          \
    {                                                                           \
        (void)closure;                                                          \
        return PyBool_FromLong(((zi_queue_object *)object)->name);              \
    }                                                                           \
    static int queue_set_##name(PyObject *object, PyObject *value, void *closure) \
    {                                                                           \
        (void)closure;                                                          \
        int truth = value ? PyObject_IsTrue(value) : -1;                        \
        if (truth >= 0) ((zi_queue_object *)object)->name = (char)truth;        \
        return truth < 0 ? -1 : 0;                                              \
    }
QUEUE_FLAG(closed)
QUEUE_FLAG(used)
QUEUE_FLAG(spilling)
QUEUE_FLAG(watched)

static PyObject *queue_get_handle(PyObject *object, void *closure)
{
    (void)closure;
    zi_queue_object *self = (zi_queue_object *)object;
    return Py_BuildValue("OII", self->arena ? (PyObject *)self->arena : Py_None, self->slot, self->generation);
}

static PyObject *queue_get_maxsize(PyObject *object, void *closure)
{
    (void)closure;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    return PyLong_FromUnsignedLong(self->arena->view.queues[self->slot].maxsize);
}

/* The number of a worker in a queue with claims; -1: an error is set. */
static long parse_worker(zi_queue_object *self, PyObject *argument)
{
    long number = PyLong_AsLong(argument);
    if (PyErr_Occurred()) return -1;
    if (self->arena->view.queues[self->slot].claims != ZI_NONE && number >= 0 && number < ZI_PARTICIPANTS)
        return number;
    PyErr_Format(PyExc_ValueError, "the queue notes no claims, or there is no such worker: number=%ld", number);
    return -1;
}

static PyObject *queue_claim(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    long number = parse_worker(self, argument);
    if (number < 0) return NULL;
    uint32_t item = claim_of(&self->arena->view, self->slot, (uint32_t)number);
    if (item == ZI_NONE) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(item);
}

static PyObject *queue_claim_as(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    long number = parse_worker(self, argument);
    if (number < 0) return NULL;
    self->claimant = (uint32_t)number;
    ZI_STORE(queue_claims(&self->arena->view, &self->arena->view.queues[self->slot])[number], (uint32_t)ZI_NONE);
    Py_RETURN_NONE;
}

/* _put_task(obj): put without waiting; (item number, bytes it takes), or the arena's error.
 * Programs pass what a task returned to several others, so received arrays stay theirs. */
static PyObject *queue_put_task(PyObject *object, PyObject *task)
{
    zi_queue_object *self = (zi_queue_object *)object;
    zi_draft draft;
    uint32_t done;
    if (draft_encode(&draft, self->arena, task, 1, 0) < 0) return NULL;
    unsigned long long nbytes = draft.message.nbytes;
    for (uint32_t i = 0; i < draft.message.nblocks; i++)
        nbytes += class_pages(self->arena->view.blocks[draft.message.blocks[i]].cls) * ZI_PAGE;
    zi_status status = queue_send(self, &draft.message, 1, &done, 0, 0);
    if (status == ZI_OK) {
        draft_sent(&draft);
        return Py_BuildValue("IK", draft.message.item, nbytes);
    }
    draft_dropped(&draft);
    return status == ZI_INTERRUPTED ? NULL : native_raise(self->arena->state, status, &self->arena->view);
}

/* _queued(item): whether nobody got it yet, at some moment. */
static PyObject *queue_queued(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    unsigned long item = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(queue_has_item(&self->arena->view.queues[self->slot], (uint32_t)item));
}

static PyObject *queue_cancel_py(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    unsigned long item = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    zi_status status = queue_cancel(&self->arena->view, self->slot, self->generation, (uint32_t)item);
    if (status == ZI_OK || status == ZI_EMPTY) return PyBool_FromLong(status == ZI_OK);
    return native_raise(self->arena->state, status, &self->arena->view);
}

static PyMethodDef queue_methods[] = {
    {"put", (PyCFunction)(void (*)(void))queue_put_py, METH_FASTCALL | METH_KEYWORDS,
     "put(obj, block=True, timeout=None)\n\nPut obj into the queue; Full when there is no room in time."},
    {"put_nowait", queue_put_nowait, METH_O, "put_nowait(obj)\n\nThe same as put(obj, False)."},
    {"get", (PyCFunction)(void (*)(void))queue_get_py, METH_FASTCALL | METH_KEYWORDS,
     "get(block=True, timeout=None)\n\nTake the next object; Empty when none comes in time."},
    {"get_nowait", queue_get_nowait, METH_NOARGS, "get_nowait()\n\nThe same as get(False)."},
    {"get_many", (PyCFunction)(void (*)(void))queue_get_many, METH_FASTCALL | METH_KEYWORDS,
     "get_many(limit, block=True, timeout=None)\n\nWait for one object, then take up to *limit* that are there."},
    {"qsize", queue_qsize, METH_NOARGS, "qsize()\n\nHow many objects are in the queue, at some moment."},
    {"_put_now", queue_put_now, METH_VARARGS, "_put_now(obj, timeout): for what was spilled."},
    {"_poll", queue_poll, METH_O, "_poll(timeout): wait until a get would not; whether it would not."},
    {"_poll_room", queue_poll_room, METH_O, "_poll_room(timeout): the same for a put."},
    {"_shutdown", queue_shutdown, METH_O, "Refuse puts; True: drop what is queued."},
    {"_task_done", queue_task_done, METH_NOARGS, "One task is done."},
    {"_join_tasks", queue_join_tasks, METH_O, "Wait until no task is open."},
    {"_claim", queue_claim, METH_O, "_claim(number): the item that worker took last and that is not queued, or None."},
    {"_claim_as", queue_claim_as, METH_O, "_claim_as(number): note this process's gets under a worker's number."},
    {"_put_task", queue_put_task, METH_O, "_put_task(obj): put without waiting; (item number, bytes)."},
    {"_queued", queue_queued, METH_O, "_queued(item): whether the item is still queued."},
    {"_cancel", queue_cancel_py, METH_O, "_cancel(item): take a queued item back; whether it was still queued."},
    {"_attach", queue_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyGetSetDef queue_getset[] = {
    {"_used", queue_get_used, queue_set_used, "Whether put() was called here.", NULL},
    {"_closed", queue_get_closed, queue_set_closed, "Whether close() was called here.", NULL},
    {"_spilling", queue_get_spilling, queue_set_spilling, "Whether puts go to _spill().", NULL},
    {"_watched", queue_get_watched, queue_set_watched, "Whether gets call _taken().", NULL},
    {"_handle", queue_get_handle, NULL, "(arena, slot, generation)", NULL},
    {"_maxsize", queue_get_maxsize, NULL, "Most items; 0: no bound.", NULL},
    {0},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_doc, "A message queue of an arena."},
    {0, NULL},
};

PyType_Spec queue_spec = {"zeroipc._native.MessageQueue", sizeof(zi_queue_object), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, queue_slots};
