/* Putting objects into a message queue. */
#include "queue_type.h"

static PyObject *find_object(PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    if (nargs > 0) return args[0];
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "obj") == 0) return args[nargs + i];
    PyErr_SetString(PyExc_TypeError, "put() missing 1 required positional argument: 'obj'");
    return NULL;
}

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
PyObject *queue_put_now(PyObject *object, PyObject *args)
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

PyObject *queue_put_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    if (self->closed) return raise_closed(self);
    PyObject *item = find_object(args, nargs, names);
    if (item == NULL) return NULL;
    if ((nargs != 1 || names) && parse_wait(args, nargs, 1, names, &deadline) < 0) return NULL;
    return put_object(self, item, deadline);
}

PyObject *queue_put_nowait(PyObject *object, PyObject *item)
{
    zi_queue_object *self = (zi_queue_object *)object;
    return self->closed ? raise_closed(self) : put_object(self, item, 0);
}

/* _put_task(obj): put without waiting; (item number, bytes it takes), or the arena's error.
 * Programs pass what a task returned to several others, so received arrays stay theirs. */
PyObject *queue_put_task(PyObject *object, PyObject *task)
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
