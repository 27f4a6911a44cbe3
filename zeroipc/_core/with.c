/* What `with` calls of a lock.
 *
 * `with` binds `__enter__` and `__exit__` to the lock before it calls them.  For a method of
 * CPython's that makes two objects of the garbage collector's, which takes as long as a free
 * lock does.  What is bound here is no such object, and comes from a few spare ones. */
#include "native.h"

/* A lock and what is to be done with it. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    zi_with_call call;
    PyObject *lock;
} zi_bound;

/* What stands in the class: binds itself to a lock. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    zi_with_call call;
    PyTypeObject *owner; /* which has this in its dict */
} zi_with;

enum { SPARES = 8 }; /* `with` statements inside each other need more, from the allocator */
static zi_bound *spares[SPARES];
static int spare_count;

static PyObject *bound_call(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *names)
{
    (void)args;
    (void)nargs;
    (void)names;
    zi_bound *self = (zi_bound *)callable;
    return self->call(self->lock);
}

static void bound_dealloc(PyObject *object)
{
    zi_bound *self = (zi_bound *)object;
    PyObject *lock = self->lock;
    if (spare_count < SPARES)
        spares[spare_count++] = self;
    else
        PyObject_Free(self);
    Py_DECREF(lock); /* last: it may run anything */
}

static PyTypeObject bound_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "zeroipc._native.bound_with",
    .tp_basicsize = sizeof(zi_bound),
    .tp_dealloc = bound_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(zi_bound, vectorcall),
    .tp_call = PyVectorcall_Call,
};

static int check_owner(const zi_with *self, PyObject *lock)
{
    if (PyObject_TypeCheck(lock, self->owner)) return 1;
    PyErr_Format(PyExc_TypeError, "needs a '%s' object, not a '%s'", self->owner->tp_name, Py_TYPE(lock)->tp_name);
    return 0;
}

static PyObject *with_bind(PyObject *object, PyObject *lock, PyObject *type)
{
    (void)type;
    zi_with *self = (zi_with *)object;
    if (lock == NULL) return Py_NewRef(object);
    if (!check_owner(self, lock)) return NULL;
    zi_bound *bound = spare_count ? spares[--spare_count] : PyObject_Malloc(sizeof *bound);
    if (bound == NULL) return PyErr_NoMemory();
    PyObject_Init((PyObject *)bound, &bound_type);
    bound->vectorcall = bound_call;
    bound->call = self->call;
    bound->lock = Py_NewRef(lock);
    return (PyObject *)bound;
}

/* Called as a function of the class, by contextlib.ExitStack: the lock comes first. */
static PyObject *with_call(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *names)
{
    (void)names;
    zi_with *self = (zi_with *)callable;
    if (PyVectorcall_NARGS(nargs) == 0) return PyErr_Format(PyExc_TypeError, "needs a '%s' object", self->owner->tp_name);
    return check_owner(self, args[0]) ? self->call(args[0]) : NULL;
}

static PyTypeObject with_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "zeroipc._native.with",
    .tp_basicsize = sizeof(zi_with),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_vectorcall_offset = offsetof(zi_with, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = with_bind,
};

static int with_set(PyTypeObject *owner, const char *name, zi_with_call call)
{
    zi_with *self = PyObject_New(zi_with, &with_type);
    if (self == NULL) return -1;
    self->vectorcall = with_call;
    self->call = call;
    self->owner = owner;
    int status = PyObject_SetAttrString((PyObject *)owner, name, (PyObject *)self);
    Py_DECREF(self);
    return status;
}

/* Give a type of locks what `with` looks for. */
int with_add(PyTypeObject *owner, zi_with_call enter, zi_with_call leave)
{
    if (PyType_Ready(&bound_type) < 0 || PyType_Ready(&with_type) < 0) return -1;
    return with_set(owner, "__enter__", enter) < 0 ? -1 : with_set(owner, "__exit__", leave);
}
