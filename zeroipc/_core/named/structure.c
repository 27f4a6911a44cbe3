/* What the object of each structure has: the segment's words, and bells to ring. */
#include "native.h"

int structure_hold(zi_structure *self, PyTypeObject *type, PyObject *buffer, Py_ssize_t offset,
                   uint64_t nbytes)
{
    self->state = PyType_GetModuleState(type);
    if (self->state == NULL) return -1;
    if (PyObject_GetBuffer(buffer, &self->buffer, PyBUF_WRITABLE) < 0) return -1;
    if (offset % 8 == 0 && offset >= 0 && offset <= self->buffer.len &&
        nbytes <= (uint64_t)(self->buffer.len - offset))
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "a structure must start at a multiple of 8 and lie inside %zd bytes: "
                 "offset=%zd, nbytes=%llu",
                 self->buffer.len, offset, (unsigned long long)nbytes);
    return -1;
}

int structure_bell(zi_structure *self, int which, PyObject *bell)
{
    if (bell == Py_None) return 0;
    if (!PyObject_TypeCheck(bell, self->state->bell_type)) {
        PyErr_Format(PyExc_TypeError, "a bell must be a Bell or None: %R", bell);
        return -1;
    }
    self->bells[which] = (bell_object *)Py_NewRef(bell);
    return 0;
}

/* Not the buffer: a memoryview that the collector clears first cannot be released any more. */
int structure_traverse(PyObject *object, visitproc visit, void *arg)
{
    zi_structure *self = (zi_structure *)object;
    Py_VISIT(Py_TYPE(object));
    for (int i = 0; i < 2; i++) {
        Py_VISIT(self->bells[i]);
        int outcome = element_visit(&self->elements[i], visit, arg);
        if (outcome) return outcome;
    }
    return 0;
}

int structure_clear(PyObject *object)
{
    zi_structure *self = (zi_structure *)object;
    for (int i = 0; i < 2; i++) {
        Py_CLEAR(self->bells[i]);
        element_clear(&self->elements[i]);
    }
    return 0;
}

void structure_dealloc(PyObject *object)
{
    zi_structure *self = (zi_structure *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    structure_clear(object);
    if (self->buffer.obj) PyBuffer_Release(&self->buffer);
    type->tp_free(object);
    Py_DECREF(type);
}
