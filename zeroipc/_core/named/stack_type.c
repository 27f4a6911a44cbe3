/* Stack: a stack at an offset of a segment, attempts that never block; stack.py is the twin. */
#include "native.h"
#include "stack.h"

typedef struct {
    zi_structure base;
    zi_stack stack;
} stack_object;

static PyObject *stack_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *element, *bell;
    Py_ssize_t offset;
    unsigned int capacity;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnIOO", &buffer, &offset, &capacity, &element, &bell))
        return NULL;
    stack_object *self = (stack_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kind = &self->base.elements[0];
    if (element_init(kind, element) < 0 ||
        structure_hold(&self->base, type, buffer, offset,
                       stack_nbytes(capacity, kind->nbytes)) < 0 ||
        structure_bell(&self->base, 0, bell) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint8_t *at = structure_at(&self->base, offset);
    self->stack = (zi_stack){
        .header = (zi_stack_header *)at,
        .items = at + sizeof(zi_stack_header),
        .states = (uint32_t *)(at + stack_states_at(capacity, kind->nbytes)),
        .capacity = capacity,
        .elem_size = kind->nbytes,
    };
    return (PyObject *)self;
}

static PyObject *stack_try_push(PyObject *object, PyObject *value)
{
    stack_object *self = (stack_object *)object;
    zi_packed packed;
    uint32_t done;
    if (element_pack(&self->base.elements[0], self->base.state, value, &packed) < 0) return NULL;
    zi_status status = stack_push(&self->stack, packed.data, 1, &done);
    if (status == ZI_OK) structure_ring(&self->base, 0);
    Py_XDECREF(packed.keep);
    return structure_status(&self->base, status);
}

typedef zi_status stack_fetch(const zi_stack *stack, uint8_t *item);

static zi_status stack_pop_one(const zi_stack *stack, uint8_t *item)
{
    uint32_t done;
    return stack_pop(stack, item, 1, &done);
}

static PyObject *stack_value(stack_object *self, stack_fetch *fetch)
{
    zi_room room;
    uint8_t *raw = element_room(&self->base.elements[0], &room);
    if (raw == NULL) return NULL;
    zi_status status = fetch(&self->stack, raw);
    if (status == ZI_OK) {
        structure_ring(&self->base, 0);
        return element_take(&self->base.elements[0], &room);
    }
    Py_XDECREF(room.keep);
    return structure_status(&self->base, status);
}

static PyObject *stack_try_pop(PyObject *self, PyObject *none)
{
    (void)none;
    return stack_value((stack_object *)self, stack_pop_one);
}

static PyObject *stack_try_peek(PyObject *self, PyObject *none)
{
    (void)none;
    return stack_value((stack_object *)self, stack_peek);
}

typedef zi_status stack_move(const zi_stack *stack, uint8_t *items, uint32_t many, uint32_t *done);

static zi_status stack_push_from(const zi_stack *stack, uint8_t *items, uint32_t many,
                                 uint32_t *done)
{
    return stack_push(stack, items, many, done);
}

static PyObject *stack_many(stack_object *self, PyObject *buffer, int flags, stack_move *move)
{
    Py_buffer items;
    uint32_t done;
    if (PyObject_GetBuffer(buffer, &items, flags) < 0) return NULL;
    uint64_t many = (uint64_t)items.len / self->stack.elem_size;
    uint32_t most = many < self->stack.capacity ? (uint32_t)many : self->stack.capacity;
    zi_status status = move(&self->stack, items.buf, most, &done);
    PyBuffer_Release(&items);
    if (status == ZI_OK) structure_ring(&self->base, 0);
    return Py_BuildValue("(OI)", self->base.state->statuses[status], done);
}

static PyObject *stack_push_many(PyObject *self, PyObject *items)
{
    return stack_many((stack_object *)self, items, PyBUF_SIMPLE, stack_push_from);
}

static PyObject *stack_pop_many(PyObject *self, PyObject *items)
{
    return stack_many((stack_object *)self, items, PyBUF_WRITABLE, stack_pop);
}

static PyObject *stack_size(PyObject *object, PyObject *none)
{
    const zi_stack *stack = &((stack_object *)object)->stack;
    (void)none;
    int64_t size = (int64_t)ZI_LOAD(stack->header->top) + 1;
    if (size < 0) size = 0;
    return PyLong_FromLongLong(size < (int64_t)stack->capacity ? size : (int64_t)stack->capacity);
}

static PyMethodDef stack_methods[] = {
    {"try_push", stack_try_push, METH_O,
     "Push a value: OK, FULL, or BUSY while the slot is locked by another process."},
    {"try_pop", stack_try_pop, METH_NOARGS,
     "Return the highest value, or EMPTY, or BUSY while it is still being written."},
    {"try_peek", stack_try_peek, METH_NOARGS,
     "Return the highest value, which stays, or EMPTY, or BUSY as try_pop."},
    {"push_many", stack_push_many, METH_O,
     "Push whole elements from a buffer, those that fit; return how many."},
    {"pop_many", stack_pop_many, METH_O,
     "Pop whole elements into a buffer, the highest first; return how many."},
    {"size", stack_size, METH_NOARGS, "Return how many items there are, at some moment."},
    {0},
};

static PyType_Slot stack_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "A stack at an *offset* of a segment: attempts that never block."},
    {Py_tp_new, stack_new},
    {Py_tp_methods, stack_methods},
    {0, NULL},
};

PyType_Spec stack_spec = {
    .name = "zeroipc._named.Stack",
    .basicsize = sizeof(stack_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stack_slots,
};
