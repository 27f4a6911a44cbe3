/* The Python type Memory: bytes of the arena that processes share, over memory.h. */
#include "native.h"

static PyObject *memory_attach(PyObject *object, PyObject *args)
{
    if (hold_attach((zi_hold *)object, args, ZI_ROLE_MEMORY) < 0) return NULL;
    Py_RETURN_NONE;
}

static int memory_getbuffer(PyObject *object, Py_buffer *buffer, int flags)
{
    zi_hold *self = (zi_hold *)object;
    buffer->obj = NULL;
    if (!hold_check(self)) return -1;
    const zi_view *view = &self->arena->view;
    Py_ssize_t nbytes = (Py_ssize_t)memory_at(view, self->slot)->nbytes;
    return PyBuffer_FillInfo(buffer, object, memory_bytes(view, self->slot), nbytes, 0, flags);
}

static PyObject *memory_get_buffer(PyObject *object, void *closure)
{
    (void)closure;
    return PyMemoryView_FromObject(object);
}

static PyObject *memory_get_nbytes(PyObject *object, void *closure)
{
    (void)closure;
    zi_hold *self = (zi_hold *)object;
    if (!hold_check(self)) return NULL;
    return PyLong_FromUnsignedLongLong(memory_at(&self->arena->view, self->slot)->nbytes);
}

static PyMethodDef memory_methods[] = {
    {"_attach", memory_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyGetSetDef memory_getset[] = {
    {"buffer", memory_get_buffer, NULL, "The bytes, as a writable memoryview that keeps them.", NULL},
    {"nbytes", memory_get_nbytes, NULL, "How many there are.", NULL},
    {0},
};

static PyType_Slot memory_slots[] = {
    {Py_bf_getbuffer, memory_getbuffer},
    {Py_tp_methods, memory_methods},
    {Py_tp_getset, memory_getset},
    {Py_tp_doc, "Bytes of an arena that processes share."},
    {0, NULL},
};

PyType_Spec memory_spec = {"zeroipc._native.Memory", sizeof(zi_hold), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, memory_slots};
