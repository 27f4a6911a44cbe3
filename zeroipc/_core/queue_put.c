/* Putting objects into a message queue. */
#include "queue_type.h"

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

/* What becomes of an object whose message did not go: an unbounded queue keeps it. */
static PyObject *put_failed(zi_queue_object *self, PyObject *object, zi_status status, int bounded)
{
    zi_state *state = self->arena->state;
    int no_room = status == ZI_NO_MEMORY || status == ZI_NO_SPACE || status == ZI_NO_ENTRY;
    if (status == ZI_INTERRUPTED) return NULL;
    if (!bounded && (no_room || status == ZI_FULL || status == ZI_BUSY)) return spill(self, object);
    native_raise(state, status == ZI_BUSY ? ZI_FULL : status, &self->arena->view);
    return no_room ? raise_full_as_queue(state) : NULL;
}

static int is_bounded(const zi_queue_object *self) { return self->arena->view.queues[self->slot].maxsize != 0; }

static PyObject *put_object(zi_queue_object *self, PyObject *object, uint64_t deadline)
{
    if (!is_made(self)) return NULL;
    self->used = 1;
    zi_draft draft;
    uint32_t done;
    if (self->spilling) return spill(self, object);
    int bounded = is_bounded(self);
    if (draft_encode(&draft, self->arena, object, bounded ? deadline : 0, deadline) < 0) {
        if (draft.busy && bounded)
            return PyErr_Clear(), native_raise(self->arena->state, ZI_FULL, &self->arena->view);
        int no_room = draft.busy || (!draft.too_large && PyErr_ExceptionMatches(self->arena->state->arena_full));
        if (!no_room) return NULL;
        if (bounded) return raise_full_as_queue(self->arena->state);
        PyErr_Clear();
        return spill(self, object);
    }
    zi_status status = queue_send(self, &draft.message, 1, &done, bounded, deadline);
    if (status != ZI_OK) {
        draft_dropped(&draft);
        return put_failed(self, object, status, bounded);
    }
    draft_sent(&draft);
    Py_RETURN_NONE;
}

/* _put_now(obj, timeout): put although the queue is closed here or spilling, waiting for
 * memory; the arena's error when there is none in time. */
PyObject *queue_put_now(PyObject *object, PyObject *args)
{
    zi_queue_object *self = (zi_queue_object *)object;
    PyObject *item, *timeout;
    uint64_t deadline;
    zi_draft draft;
    uint32_t done;
    if (!is_made(self) || !PyArg_ParseTuple(args, "OO:_put_now", &item, &timeout) || native_deadline(timeout, &deadline) < 0 ||
        draft_encode(&draft, self->arena, item, deadline, deadline) < 0)
        return NULL;
    zi_status status = queue_send(self, &draft.message, 1, &done, 1, deadline);
    if (status == ZI_OK) {
        draft_sent(&draft);
        Py_RETURN_NONE;
    }
    draft_dropped(&draft);
    return status == ZI_INTERRUPTED ? NULL : native_raise(self->arena->state, status, &self->arena->view);
}

PyObject *queue_put_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    if (self->closed) return raise_closed(self);
    PyObject *item = find_first(args, nargs, names, "obj");
    if (item == NULL) return NULL;
    if ((nargs != 1 || names) && parse_wait(args, nargs, names, "obj", &deadline) < 0) return NULL;
    return put_object(self, item, deadline);
}

PyObject *queue_put_nowait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    if (self->closed) return raise_closed(self);
    PyObject *item = find_first(args, nargs, names, "obj");
    if (item == NULL) return NULL;
    Py_ssize_t count = nargs + (names ? PyTuple_GET_SIZE(names) : 0);
    if (count != 1) return PyErr_Format(PyExc_TypeError, "takes at most 1 argument: %zd given", count);
    return put_object(self, item, 0);
}

/* Who puts several tasks wakes a worker once, when all are there: a worker on this CPU would
 * take its place for each.  But no task waits longer than this for the next. */
#define ZI_OWED_NS 100000u

PyObject *queue_wake_worker(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_queue_object *self = (zi_queue_object *)object;
    if (self->owed_since != 0) wait_wake(&self->arena->view.queues[self->slot].items_seq, 1);
    self->owed_since = 0;
    Py_RETURN_NONE;
}

static void owe_wake(zi_queue_object *self, int owes)
{
    if (!owes && self->owed_since == 0) return;
    uint64_t now = zi_now();
    if (self->owed_since == 0) self->owed_since = now;
    if (now > self->owed_since + ZI_OWED_NS) queue_wake_worker((PyObject *)self, NULL);
}

/* _put_task(obj): put without waiting; (item number, bytes it takes), None while a process that
 * is stopped has a lock, or the arena's error.  _wake_worker() is to follow. */
PyObject *queue_put_task(PyObject *object, PyObject *task)
{
    zi_queue_object *self = (zi_queue_object *)object;
    zi_draft draft;
    uint32_t done;
    if (draft_encode(&draft, self->arena, task, 0, 0) < 0) {
        if (!draft.busy) return NULL;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    unsigned long long nbytes = draft.message.nbytes;
    for (uint32_t i = 0; i < draft.message.nblocks; i++)
        nbytes += class_pages(self->arena->view.blocks[draft.message.blocks[i]].cls) * ZI_PAGE;
    draft.message.defers = 1;
    zi_status status = queue_send(self, &draft.message, 1, &done, 0, 0);
    if (status == ZI_OK) {
        draft_sent(&draft);
        owe_wake(self, draft.message.owes);
        return Py_BuildValue("IK", draft.message.item, nbytes);
    }
    draft_dropped(&draft);
    if (status == ZI_BUSY) Py_RETURN_NONE;
    return status == ZI_INTERRUPTED ? NULL : native_raise(self->arena->state, status, &self->arena->view);
}

/* --- Many at a time ------------------------------------------------------------------------- */

/* Objects that are encoded, to be put in one visit. */
typedef struct {
    zi_draft drafts[ZI_MANY];
    PyObject *objects[ZI_MANY];
    uint32_t count;
    Py_ssize_t went; /* how many were put before */
} zi_batch;

/* Encode one more.  1: it is in the batch; 0: it must be put by itself, which may wait for
 * memory, when those before it have gone; -1: an error is set. */
static int batch_add(zi_queue_object *self, zi_batch *batch, PyObject *object, uint64_t deadline)
{
    if (self->spilling) return 0;
    if (draft_encode(&batch->drafts[batch->count], self->arena, object, 0, deadline) < 0) {
        int later = batch->drafts[batch->count].busy || PyErr_ExceptionMatches(self->arena->state->arena_full);
        if (!later) return -1;
        PyErr_Clear();
        return 0;
    }
    batch->objects[batch->count++] = Py_NewRef(object);
    return 1;
}

/* Put what is in the batch; it is empty afterwards, whatever happens. */
static int batch_put(zi_queue_object *self, zi_batch *batch, uint64_t deadline)
{
    zi_message messages[ZI_MANY];
    uint32_t count = batch->count, done = 0;
    int bounded = is_bounded(self), failed = 0;
    if (count == 0) return 0;
    for (uint32_t i = 0; i < count; i++) messages[i] = batch->drafts[i].message;
    zi_status status = queue_send(self, messages, count, &done, bounded, deadline);
    for (uint32_t i = 0; i < count; i++) i < done ? draft_sent(&batch->drafts[i]) : draft_dropped(&batch->drafts[i]);
    batch->count = 0;
    batch->went += done;
    for (uint32_t i = done; i < count && !failed; i++) {
        PyObject *kept = put_failed(self, batch->objects[i], status, bounded);
        failed = kept == NULL;
        batch->went += !failed;
        Py_XDECREF(kept);
    }
    for (uint32_t i = 0; i < count; i++) Py_DECREF(batch->objects[i]);
    return failed || PyErr_CheckSignals() < 0 ? -1 : 0;
}

/* Put one object of many.  A message with blocks goes at once: who is to free memory for the
 * next one may need it. */
static int put_next(zi_queue_object *self, zi_batch *batch, PyObject *object, uint32_t limit, uint64_t deadline)
{
    int added = batch_add(self, batch, object, deadline);
    if (added < 0) return -1;
    int full = added == 0 || batch->count == limit || batch->drafts[batch->count - 1].message.nblocks != 0;
    if (full && batch_put(self, batch, deadline) < 0) return -1;
    if (added != 0) return 0;
    PyObject *put = put_object(self, object, deadline);
    batch->went += put != NULL;
    Py_XDECREF(put);
    return put ? 0 : -1;
}

/* Put the rest of a batch, also when an error is set. */
static int batch_end(zi_queue_object *self, zi_batch *batch, uint64_t deadline)
{
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    int result = batch_put(self, batch, deadline);
    if (result == 0 && type) {
        PyErr_Restore(type, error, trace);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return result;
}

/* Whether all items are there already, so that none has to wait for the next. */
static int is_container(PyObject *items)
{
    return PyList_CheckExact(items) || PyTuple_CheckExact(items) || PyRange_Check(items) ||
           PyAnySet_CheckExact(items) || PyDict_CheckExact(items);
}

/* put_many(items, block=True, timeout=None): how many went in before the time was over. */
PyObject *queue_put_many(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    zi_batch batch;
    batch.count = 0;
    batch.went = 0;
    PyObject *items = find_first(args, nargs, names, "items");
    if (items == NULL || parse_wait(args, nargs, names, "items", &deadline) < 0) return NULL;
    if (self->closed || !is_made(self)) return raise_closed(self);
    self->used = 1;
    PyObject *iterator = PyObject_GetIter(items), *item;
    uint32_t limit = is_container(items) ? ZI_MANY : 1;
    if (iterator == NULL) return NULL;
    int failed = 0;
    while (!failed && (item = PyIter_Next(iterator)) != NULL) {
        failed = put_next(self, &batch, item, limit, deadline) < 0;
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    if (batch_end(self, &batch, deadline) < 0 || PyErr_Occurred()) {
        if (batch.went == 0 || !PyErr_ExceptionMatches(self->arena->state->full)) return NULL;
        PyErr_Clear();
    }
    return PyLong_FromSsize_t(batch.went);
}
