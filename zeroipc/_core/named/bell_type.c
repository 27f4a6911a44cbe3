/* Bell: waiting for a word of a named structure; bell.py is the twin. */
#include "native.h"

static PyObject *bell_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer;
    unsigned long long count_at, entries_at, word_at;
    unsigned int stride, slots;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "O(KKII)K", &buffer, &count_at, &entries_at, &stride, &slots,
                          &word_at))
        return NULL;
    bell_object *self = (bell_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    if (PyObject_GetBuffer(buffer, &self->buffer, PyBUF_WRITABLE) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint64_t nbytes = (uint64_t)self->buffer.len;
    if (count_at > nbytes - 4 || entries_at + (uint64_t)stride * slots > nbytes ||
        stride <= ZI_ENTRY_NAME_NBYTES) {
        Py_DECREF(self);
        PyErr_SetString(PyExc_ValueError, "the table must lie inside the segment");
        return NULL;
    }
    self->bell = (zi_bell){.base = self->buffer.buf, .nbytes = nbytes, .count_at = count_at,
                           .entries_at = entries_at, .stride = stride, .slots = slots,
                           .word_at = (uint32_t)word_at};
    return (PyObject *)self;
}

static void bell_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    bell_object *self = (bell_object *)object;
    if (self->buffer.obj) PyBuffer_Release(&self->buffer);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *bell_do_find(PyObject *self, PyObject *none)
{
    zi_bell *bell = &((bell_object *)self)->bell;
    (void)none;
    if (bell->bucket == NULL) bell_find(bell);
    return PyBool_FromLong(bell->bucket != NULL);
}

static PyObject *bell_do_ring(PyObject *self, PyObject *none)
{
    (void)none;
    bell_ring(&((bell_object *)self)->bell);
    Py_RETURN_NONE;
}

static zi_bell *bell_found(PyObject *self)
{
    zi_bell *bell = &((bell_object *)self)->bell;
    if (bell->bucket == NULL) PyErr_SetString(PyExc_RuntimeError, "the bell was not found yet");
    return bell->bucket == NULL ? NULL : bell;
}

static PyObject *bell_do_listen(PyObject *self, PyObject *none)
{
    zi_bell *bell = bell_found(self);
    (void)none;
    return bell == NULL ? NULL : PyLong_FromUnsignedLong(bell_listen(bell));
}

static PyObject *bell_do_sleep(PyObject *self, PyObject *args)
{
    unsigned long seen;
    unsigned long long nap;
    zi_bell *bell = bell_found(self);
    if (bell == NULL || !PyArg_ParseTuple(args, "kK", &seen, &nap)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    bell_sleep(bell, (uint32_t)seen, nap);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef bell_methods[] = {
    {"find", bell_do_find, METH_NOARGS,
     "Look for WAIT_NAME when the table has grown; return whether it was found."},
    {"ring", bell_do_ring, METH_NOARGS, "After a change: wake whoever may wait for it."},
    {"listen", bell_do_listen, METH_NOARGS,
     "Say that somebody is about to sleep; return the seq to sleep on. Look again then."},
    {"sleep", bell_do_sleep, METH_VARARGS,
     "Sleep while seq is *seen*, for at most *nap* nanoseconds; a signal ends it too."},
    {0},
};

static PyType_Slot bell_slots[] = {
    {Py_tp_doc, "The bell of one word of a structure: *word_at* is its offset in the segment."},
    {Py_tp_new, bell_new},
    {Py_tp_dealloc, bell_dealloc},
    {Py_tp_methods, bell_methods},
    {0, NULL},
};

PyType_Spec bell_spec = {
    .name = "zeroipc._named.Bell",
    .basicsize = sizeof(bell_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = bell_slots,
};
