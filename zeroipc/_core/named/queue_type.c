/* Queue: a queue at an offset of a segment, attempts that never block; queue.py is the twin. */
#include "native.h"
#include "queue.h"

typedef struct {
    zi_structure base;
    zi_named_queue queue;
} queue_object;

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *element, *items, *room;
    Py_ssize_t offset;
    unsigned int capacity;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnIOOO", &buffer, &offset, &capacity, &element, &items, &room))
        return NULL;
    queue_object *self = (queue_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kind = &self->base.elements[0];
    if (element_init(kind, element) < 0 ||
        structure_hold(&self->base, type, buffer, offset,
                       queue_nbytes(capacity, kind->nbytes)) < 0 ||
        structure_bell(&self->base, 0, items) < 0 || structure_bell(&self->base, 1, room) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint8_t *at = structure_at(&self->base, offset);
    self->queue = (zi_named_queue){
        .header = (zi_queue_header *)at,
        .items = at + sizeof(zi_queue_header),
        .sequence = (uint32_t *)(at + queue_sequence_at(capacity, kind->nbytes)),
        .capacity = capacity,
        .elem_size = kind->nbytes,
    };
    return (PyObject *)self;
}

static PyObject *queue_try_push(PyObject *object, PyObject *value)
{
    queue_object *self = (queue_object *)object;
    zi_packed packed;
    uint32_t done;
    if (element_pack(&self->base.elements[0], self->base.state, value, &packed) < 0) return NULL;
    zi_status status = queue_push(&self->queue, packed.data, 1, &done);
    if (status == ZI_OK) structure_ring(&self->base, 0);
    Py_XDECREF(packed.keep);
    return structure_status(&self->base, status);
}

static PyObject *queue_try_pop(PyObject *object, PyObject *none)
{
    queue_object *self = (queue_object *)object;
    zi_room room;
    uint32_t done;
    (void)none;
    uint8_t *raw = element_room(&self->base.elements[0], &room);
    if (raw == NULL) return NULL;
    zi_status status = queue_pop(&self->queue, raw, 1, &done);
    if (status == ZI_OK) {
        structure_ring(&self->base, 1);
        return element_take(&self->base.elements[0], &room);
    }
    Py_XDECREF(room.keep);
    return structure_status(&self->base, status);
}

typedef zi_status queue_move(const zi_named_queue *queue, uint8_t *items, uint32_t many,
                             uint32_t *done);

static zi_status queue_push_from(const zi_named_queue *queue, uint8_t *items, uint32_t many,
                                 uint32_t *done)
{
    return queue_push(queue, items, many, done);
}

static PyObject *queue_many(queue_object *self, PyObject *buffer, int flags, queue_move *move,
                            int bell)
{
    Py_buffer items;
    uint32_t done;
    if (PyObject_GetBuffer(buffer, &items, flags) < 0) return NULL;
    uint64_t many = (uint64_t)items.len / self->queue.elem_size;
    uint32_t most = many < self->queue.capacity ? (uint32_t)many : self->queue.capacity;
    zi_status status = move(&self->queue, items.buf, most, &done);
    PyBuffer_Release(&items);
    if (status == ZI_OK) structure_ring(&self->base, bell);
    return Py_BuildValue("(OI)", self->base.state->statuses[status], done);
}

static PyObject *queue_push_many(PyObject *self, PyObject *items)
{
    return queue_many((queue_object *)self, items, PyBUF_SIMPLE, queue_push_from, 0);
}

static PyObject *queue_pop_many(PyObject *self, PyObject *items)
{
    return queue_many((queue_object *)self, items, PyBUF_WRITABLE, queue_pop, 1);
}

static PyObject *queue_size(PyObject *object, PyObject *none)
{
    const zi_named_queue *queue = &((queue_object *)object)->queue;
    (void)none;
    int32_t size = (int32_t)(ZI_LOAD(queue->header->tail) - ZI_LOAD(queue->header->head));
    if (size < 0) size = 0;
    return PyLong_FromUnsignedLong((uint32_t)size < queue->capacity ? (uint32_t)size
                                                                    : queue->capacity);
}

static PyMethodDef queue_methods[] = {
    {"try_push", queue_try_push, METH_O,
     "Push a value: OK, FULL, or BUSY while the slot is claimed by another process."},
    {"try_pop", queue_try_pop, METH_NOARGS,
     "Return the first value, or EMPTY, or BUSY while it is still being written."},
    {"push_many", queue_push_many, METH_O,
     "Push whole elements from a buffer, those that fit; return how many."},
    {"pop_many", queue_pop_many, METH_O,
     "Pop whole elements into a buffer, those that are there; return how many."},
    {"size", queue_size, METH_NOARGS, "Return how many items there are, at some moment."},
    {0},
};

static PyType_Slot queue_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "A queue at an *offset* of a segment: attempts that never block."},
    {Py_tp_new, queue_new},
    {Py_tp_methods, queue_methods},
    {0, NULL},
};

PyType_Spec queue_spec = {
    .name = "zeroipc._named.Queue",
    .basicsize = sizeof(queue_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = queue_slots,
};
