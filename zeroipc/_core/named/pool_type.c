/* Pool: a pool at an offset of a segment, attempts that never block; pool.py is the twin. */
#include "native.h"
#include "pool.h"

typedef struct {
    zi_structure base;
    zi_pool pool;
} pool_object;

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *element, *bell;
    Py_ssize_t offset;
    unsigned int capacity;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnIOO", &buffer, &offset, &capacity, &element, &bell))
        return NULL;
    pool_object *self = (pool_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kind = &self->base.elements[0];
    if (element_init(kind, element) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint64_t node_nbytes = pool_node_nbytes(kind->nbytes, kind->align);
    if (structure_hold(&self->base, type, buffer, offset,
                       sizeof(zi_pool_header) + node_nbytes * capacity) < 0 ||
        structure_bell(&self->base, 0, bell) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    uint8_t *at = structure_at(&self->base, offset);
    self->pool = (zi_pool){
        .header = (zi_pool_header *)at,
        .nodes = at + sizeof(zi_pool_header),
        .capacity = capacity,
        .next_at = (uint32_t)pool_next_at(kind->nbytes),
        .node_nbytes = node_nbytes,
    };
    return (PyObject *)self;
}

static PyObject *pool_do_allocate(PyObject *object, PyObject *none)
{
    pool_object *self = (pool_object *)object;
    uint32_t index;
    (void)none;
    zi_status status = pool_allocate(&self->pool, &index);
    return status == ZI_OK ? PyLong_FromUnsignedLong(index)
                           : structure_status(&self->base, status);
}

static PyObject *pool_do_free(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    pool_object *self = (pool_object *)object;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "free takes an index, and how many nodes to look at");
        return NULL;
    }
    long long index = PyLong_AsLongLong(args[0]);
    if (index == -1 && PyErr_Occurred()) return NULL;
    long long most = PyLong_AsLongLong(args[1]);
    if (most == -1 && PyErr_Occurred()) return NULL;
    if (index < 0 || index >= (long long)self->pool.capacity)
        return PyErr_Format(PyExc_IndexError, "index must be from 0 to %lld: index=%lld",
                            (long long)self->pool.capacity - 1, index);
    uint32_t looked = most < (long long)self->pool.capacity ? (uint32_t)most : self->pool.capacity;
    zi_status status = pool_free(&self->pool, (uint32_t)index, looked);
    if (status == ZI_OK) structure_ring(&self->base, 0);
    return structure_status(&self->base, status);
}

static PyObject *pool_do_size(PyObject *object, PyObject *none)
{
    (void)none;
    return PyLong_FromUnsignedLong(pool_size(&((pool_object *)object)->pool));
}

static PyMethodDef pool_methods[] = {
    {"allocate", pool_do_allocate, METH_NOARGS,
     "Return the index of a node that was free, or EMPTY if none is."},
    {"free", (PyCFunction)(void (*)(void))pool_do_free, METH_FASTCALL,
     "Give a node back: OK, or STALE if it is free already, as far as *most* nodes tell."},
    {"size", pool_do_size, METH_NOARGS, "Return how many nodes are allocated, at some moment."},
    {0},
};

static PyType_Slot pool_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "A pool at an *offset* of a segment: attempts that never block."},
    {Py_tp_new, pool_new},
    {Py_tp_methods, pool_methods},
    {0, NULL},
};

PyType_Spec pool_spec = {
    .name = "zeroipc._named.Pool",
    .basicsize = sizeof(pool_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = pool_slots,
};
