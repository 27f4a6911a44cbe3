/* A process's handle of a queue: made, attached; and the arguments of its calls. */
#include "queue_type.h"

/* --- Arguments ------------------------------------------------------------------------------ */

/* Whether __init__ or __setstate__ has run; else an error is set. */
int is_made(const zi_queue_object *self)
{
    if (self->arena == NULL) PyErr_SetString(PyExc_RuntimeError, "the queue's __init__ was not called");
    return self->arena != NULL;
}

PyObject *raise_closed(zi_queue_object *self)
{
    if (!is_made(self)) return NULL;
    return PyErr_Format(self->arena->state->closed, "Queue %R is closed", (PyObject *)self);
}

/* The first argument, which may also be given by its *name*; else an error is set. */
PyObject *find_first(PyObject *const *args, Py_ssize_t nargs, PyObject *names, const char *name)
{
    if (nargs > 0) return args[0];
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++)
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), name) == 0) return args[nargs + i];
    return PyErr_Format(PyExc_TypeError, "missing 1 required positional argument: '%s'", name);
}

/* (block=True, timeout=None), as put and get have them: behind an argument *own*, or NULL. */
int parse_wait(PyObject *const *args, Py_ssize_t nargs, PyObject *names, const char *own, uint64_t *deadline)
{
    Py_ssize_t first = own != NULL;
    PyObject *block = nargs > first ? args[first] : NULL, *timeout = nargs > first + 1 ? args[first + 1] : NULL;
    if (nargs > first + 2) {
        PyErr_Format(PyExc_TypeError, "takes at most %zd arguments: %zd given", first + 2, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        if (PyUnicode_CompareWithASCIIString(name, "block") == 0 && !block)
            block = args[nargs + i];
        else if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0 && !timeout)
            timeout = args[nargs + i];
        else if (own == NULL || PyUnicode_CompareWithASCIIString(name, own) != 0) {
            PyErr_Format(PyExc_TypeError, "unexpected keyword argument %R", name);
            return -1;
        }
    }
    int wait = block == NULL ? 1 : PyObject_IsTrue(block);
    if (wait < 0) return -1;
    if (wait) return native_deadline(timeout, deadline);
    *deadline = 0;
    return 0;
}

/* --- Lifetime ------------------------------------------------------------------------------- */

PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    zi_queue_object *self = (zi_queue_object *)type->tp_alloc(type, 0);
    if (self) self->claimant = ZI_NONE; /* no worker, until _claim_as */
    return (PyObject *)self;
}

/* _attach(arena, slot, generation): hold the queue. */
PyObject *queue_attach(PyObject *object, PyObject *args)
{
    if (hold_attach((zi_hold *)object, args, ZI_ROLE_QUEUE) < 0) return NULL;
    Py_RETURN_NONE;
}

#define QUEUE_FLAG(name)                                                        \
    static PyObject *queue_get_##name(PyObject *object, void *closure)          \
    {                                                                           \
        (void)closure;                                                          \
        return PyBool_FromLong(((zi_queue_object *)object)->name);              \
    }                                                                           \
    static int queue_set_##name(PyObject *object, PyObject *value, void *closure) \
    {                                                                           \
        (void)closure;                                                          \
        int truth = value ? PyObject_IsTrue(value) : -1;                        \
        if (truth >= 0) ((zi_queue_object *)object)->name = (char)truth;        \
        return truth < 0 ? -1 : 0;                                              \
    }
QUEUE_FLAG(closed)
QUEUE_FLAG(used)
QUEUE_FLAG(spilling)
QUEUE_FLAG(watched)

static PyObject *queue_get_maxsize(PyObject *object, void *closure)
{
    (void)closure;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    return PyLong_FromUnsignedLong(self->arena->view.queues[self->slot].maxsize);
}

PyGetSetDef queue_getset[] = {
    {"_used", queue_get_used, queue_set_used, "Whether put() was called here.", NULL},
    {"_closed", queue_get_closed, queue_set_closed, "Whether close() was called here.", NULL},
    {"_spilling", queue_get_spilling, queue_set_spilling, "Whether puts go to _spill().", NULL},
    {"_watched", queue_get_watched, queue_set_watched, "Whether gets call _taken().", NULL},
    {"_maxsize", queue_get_maxsize, NULL, "Most items; 0: no bound.", NULL},
    {0},
};
