/* Ring: a ring at an offset of a segment, attempts that never block; ring.py is the twin. */
#include "native.h"
#include "ring.h"

typedef struct {
    zi_structure base;
    zi_ring ring;
} ring_object;

static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *element, *items, *room;
    Py_ssize_t offset;
    unsigned int capacity;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnIOOO", &buffer, &offset, &capacity, &element, &items, &room))
        return NULL;
    ring_object *self = (ring_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kind = &self->base.elements[0];
    if (element_init(kind, element) < 0 ||
        structure_hold(&self->base, type, buffer, offset,
                       sizeof(zi_ring_header) + (uint64_t)capacity) < 0 ||
        structure_bell(&self->base, 0, items) < 0 || structure_bell(&self->base, 1, room) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint8_t *at = structure_at(&self->base, offset);
    self->ring = (zi_ring){(zi_ring_header *)at, at + sizeof(zi_ring_header), capacity,
                           kind->nbytes};
    if (capacity == 0 || capacity % kind->nbytes) {
        PyErr_Format(PyExc_ValueError, "capacity must be a multiple of %u bytes: capacity=%u",
                     kind->nbytes, capacity);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* --- one element --- */

static PyObject *ring_try_push(PyObject *object, PyObject *value)
{
    ring_object *self = (ring_object *)object;
    zi_packed packed;
    uint32_t done;
    if (element_pack(&self->base.elements[0], self->base.state, value, &packed) < 0) return NULL;
    zi_status status = ring_write(&self->ring, packed.data, 1, &done);
    if (status == ZI_OK) structure_ring(&self->base, 0);
    Py_XDECREF(packed.keep);
    return structure_status(&self->base, status);
}

static PyObject *ring_try_pop(PyObject *object, PyObject *none)
{
    ring_object *self = (ring_object *)object;
    zi_room room;
    uint32_t done;
    (void)none;
    uint8_t *raw = element_room(&self->base.elements[0], &room);
    if (raw == NULL) return NULL;
    zi_status status = ring_read(&self->ring, raw, 1, &done);
    if (status == ZI_OK) {
        structure_ring(&self->base, 1);
        return element_take(&self->base.elements[0], &room);
    }
    Py_XDECREF(room.keep);
    return structure_status(&self->base, status);
}

/* --- many elements --- */

static PyObject *ring_moved(ring_object *self, zi_status status, uint32_t done, int bell)
{
    if (status == ZI_OK) structure_ring(&self->base, bell);
    return Py_BuildValue("(OI)", self->base.state->statuses[status], done);
}

static PyObject *ring_do_write(PyObject *object, PyObject *buffer)
{
    ring_object *self = (ring_object *)object;
    Py_buffer items;
    uint32_t done;
    if (PyObject_GetBuffer(buffer, &items, PyBUF_SIMPLE) < 0) return NULL;
    uint64_t many = (uint64_t)items.len / self->ring.elem_size;
    zi_status status = ring_write(&self->ring, items.buf, many, &done);
    PyBuffer_Release(&items);
    return ring_moved(self, status, done, 0);
}

static PyObject *ring_do_read(PyObject *object, PyObject *buffer)
{
    ring_object *self = (ring_object *)object;
    Py_buffer items;
    uint32_t done;
    if (PyObject_GetBuffer(buffer, &items, PyBUF_WRITABLE) < 0) return NULL;
    uint64_t many = (uint64_t)items.len / self->ring.elem_size;
    zi_status status = ring_read(&self->ring, items.buf, many, &done);
    PyBuffer_Release(&items);
    return ring_moved(self, status, done, 1);
}

/* --- windows --- */

typedef zi_status ring_look(const zi_ring *ring, zi_ring_part *part);
typedef zi_status ring_end(const zi_ring *ring, uint64_t start, uint64_t many);

static Py_ssize_t ring_bytes_at(const ring_object *self)
{
    return self->ring.bytes - (uint8_t *)self->base.buffer.buf;
}

static PyObject *ring_window(PyObject *object, PyObject *limit, ring_look *look)
{
    ring_object *self = (ring_object *)object;
    zi_ring_part part = {0};
    Py_ssize_t most = PyLong_AsSsize_t(limit);
    if (most == -1 && PyErr_Occurred()) return NULL;
    zi_status status = look(&self->ring, &part);
    Py_ssize_t many = ring_straight(&self->ring, &part) / self->ring.elem_size;
    return Py_BuildValue("(Onn)", self->base.state->statuses[status],
                         ring_bytes_at(self) + (Py_ssize_t)part.start, many < most ? many : most);
}

static PyObject *ring_close(PyObject *object, PyObject *args, ring_end *end, int bell)
{
    ring_object *self = (ring_object *)object;
    Py_ssize_t at, many;
    if (!PyArg_ParseTuple(args, "nn", &at, &many)) return NULL;
    zi_status status = end(&self->ring, (uint64_t)(at - ring_bytes_at(self)), (uint64_t)many);
    if (status == ZI_OK) structure_ring(&self->base, bell);
    return structure_status(&self->base, status);
}

static PyObject *ring_do_reserve(PyObject *self, PyObject *limit)
{
    return ring_window(self, limit, ring_room);
}

static PyObject *ring_do_peek(PyObject *self, PyObject *limit)
{
    return ring_window(self, limit, ring_filled);
}

static PyObject *ring_do_commit(PyObject *self, PyObject *args)
{
    return ring_close(self, args, ring_commit, 0);
}

static PyObject *ring_do_consume(PyObject *self, PyObject *args)
{
    return ring_close(self, args, ring_consume, 1);
}

static PyObject *ring_size(PyObject *object, PyObject *none)
{
    const zi_ring *ring = &((ring_object *)object)->ring;
    zi_ring_part filled = {0};
    (void)none;
    ring_filled(ring, &filled);
    return PyLong_FromUnsignedLong(filled.nbytes / ring->elem_size);
}

static PyMethodDef ring_methods[] = {
    {"try_push", ring_try_push, METH_O, "Write a value: OK or FULL."},
    {"try_pop", ring_try_pop, METH_NOARGS, "Return the first value, or EMPTY."},
    {"write", ring_do_write, METH_O,
     "Write whole elements from a buffer, those that fit; return how many."},
    {"read", ring_do_read, METH_O,
     "Read whole elements into a buffer, those that are there; return how many."},
    {"reserve", ring_do_reserve, METH_O,
     "Return where in the segment there is room for elements, and for how many."},
    {"peek", ring_do_peek, METH_O,
     "Return where in the segment the first elements lie, and how many of them in a row."},
    {"commit", ring_do_commit, METH_VARARGS,
     "Publish what was written at *at*; STALE if somebody else has written since."},
    {"consume", ring_do_consume, METH_VARARGS,
     "Give back what was read at *at*; STALE if somebody else has read since."},
    {"size", ring_size, METH_NOARGS, "Return how many elements there are, at some moment."},
    {0},
};

static PyType_Slot ring_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "A ring at an *offset* of a segment, of *capacity* bytes: attempts that never "
                "block."},
    {Py_tp_new, ring_new},
    {Py_tp_methods, ring_methods},
    {0, NULL},
};

PyType_Spec ring_spec = {
    .name = "zeroipc._named.Ring",
    .basicsize = sizeof(ring_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ring_slots,
};
