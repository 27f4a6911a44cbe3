/* Getting objects from a message queue. */
#include "queue_type.h"

static __thread unsigned char scratch[ZI_MANY][ZI_INLINE_MAX];

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

PyObject *queue_get_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    uint64_t deadline = ZI_FOREVER;
    if ((nargs != 0 || names) && parse_wait(args, nargs, names, NULL, &deadline) < 0) return NULL;
    return get_object((zi_queue_object *)object, deadline);
}

PyObject *queue_get_nowait(PyObject *object, PyObject *unused)
{
    (void)unused;
    return get_object((zi_queue_object *)object, 0);
}

/* Decode all; an item that cannot be decoded raises, after the others were freed or kept. */
static int append_decoded(zi_queue_object *self, PyObject *list, zi_message *messages, uint32_t count)
{
    int failed = 0;
    size_t nbytes = 0;
    for (uint32_t i = 0; i < count; i++) nbytes += pad8(messages[i].nbytes);
    unsigned char *copies = PyMem_Malloc(nbytes + 1), *copy = copies;
    failed = copies == NULL;
    if (failed) PyErr_NoMemory();
    for (uint32_t i = 0; i < count && !failed; i++) { /* decoding may run code that uses the scratch */
        messages[i].payload = memcpy(copy, messages[i].payload, messages[i].nbytes);
        copy += pad8(messages[i].nbytes);
    }
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
PyObject *queue_get_many(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline = ZI_FOREVER;
    PyObject *most = find_first(args, nargs, names, "limit");
    if (most == NULL) return NULL;
    Py_ssize_t limit = PyNumber_AsSsize_t(most, PyExc_OverflowError);
    if (limit < 1) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "limit must be at least 1: limit=%zd", limit);
        return NULL;
    }
    if ((nargs != 1 || names) && parse_wait(args, nargs, names, "limit", &deadline) < 0) return NULL;
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
