/* Semaphore and Mutex: permits at an offset of a segment; semaphore.py is the twin. */
#include <pthread.h>

#include "holder.h"
#include "native.h"
#include "semaphore.h"

typedef struct {
    zi_structure base;
    zi_semaphore *words;
    PyObject *late;      /* called with the arguments of an acquire that may wait */
    int is_mutex;
    int recovered;       /* the last acquire through this object took it from the dead */
} semaphore_object;

/* --- the tag of this process --- */

static uint32_t known_tag; /* 0: not known yet; a forked child has one of its own */

static void forget_tag(void) { known_tag = 0; }

int holder_follow_forks(void)
{
    static int following;
    if (!following) following = pthread_atfork(NULL, NULL, forget_tag) == 0;
    if (!following) PyErr_NoMemory();
    return following ? 0 : -1;
}

static uint32_t own_tag(void)
{
    if (known_tag == 0) known_tag = holder_tag((uint32_t)getpid());
    return known_tag;
}

/* --- taking --- */

static zi_status semaphore_attempt(semaphore_object *self)
{
    if (!self->is_mutex) return semaphore_take(self->words);
    zi_status status = mutex_take(self->words, own_tag());
    if (status == ZI_OK) self->recovered = 0;
    return status;
}

static PyObject *semaphore_try_acquire(PyObject *object, PyObject *none)
{
    semaphore_object *self = (semaphore_object *)object;
    (void)none;
    return structure_status(&self->base, semaphore_attempt(self));
}

/* Call late(self, ...) with the same arguments. */
static PyObject *semaphore_wait(semaphore_object *self, PyObject *const *args, Py_ssize_t count,
                                PyObject *names)
{
    Py_ssize_t all = count + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject **passed = PyMem_New(PyObject *, (size_t)all + 1);
    if (passed == NULL) return PyErr_NoMemory();
    passed[0] = (PyObject *)self;
    for (Py_ssize_t i = 0; i < all; i++) passed[i + 1] = args[i];
    PyObject *answer = PyObject_Vectorcall(self->late, passed, (size_t)count + 1, names);
    PyMem_Free(passed);
    return answer;
}

static PyObject *semaphore_acquire(PyObject *object, PyObject *const *args, Py_ssize_t count,
                                   PyObject *names)
{
    semaphore_object *self = (semaphore_object *)object;
    if (count == 0 && names == NULL && semaphore_attempt(self) == ZI_OK) Py_RETURN_TRUE;
    return semaphore_wait(self, args, count, names);
}

static PyObject *mutex_do_inherit(PyObject *object, PyObject *heritage)
{
    semaphore_object *self = (semaphore_object *)object;
    unsigned long tag = PyLong_AsUnsignedLong(heritage);
    if (tag == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    int inherited = mutex_inherit(self->words, (uint32_t)tag, own_tag());
    if (inherited) self->recovered = 1;
    return PyBool_FromLong(inherited);
}

/* --- giving back --- */

static PyObject *semaphore_release_many(semaphore_object *self, long permits)
{
    if (semaphore_give(self->words, (int32_t)permits) != ZI_OK) {
        PyErr_Format(self->base.state->release_error, "a semaphore must have at most %d permits",
                     semaphore_most(self->words));
        return NULL;
    }
    structure_ring(&self->base, 0);
    Py_RETURN_NONE;
}

static PyObject *semaphore_release(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    semaphore_object *self = (semaphore_object *)object;
    if (count == 0) return semaphore_release_many(self, 1);
    if (count > 1) {
        PyErr_Format(PyExc_TypeError, "release takes at most 1 argument (%zd given)", count);
        return NULL;
    }
    PyObject *number = PyNumber_Index(args[0]);
    if (number == NULL) return NULL;
    int overflow;
    long permits = PyLong_AsLongAndOverflow(number, &overflow);
    if (overflow != 0 || permits < 1 || permits > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "n must be from 1 to %d: n=%S", INT32_MAX, number);
        Py_DECREF(number);
        return NULL;
    }
    Py_DECREF(number);
    return semaphore_release_many(self, permits);
}

static PyObject *semaphore_exit(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    (void)count;
    return semaphore_release_many((semaphore_object *)object, 1);
}

static PyObject *mutex_release(PyObject *object, PyObject *none)
{
    semaphore_object *self = (semaphore_object *)object;
    (void)none;
    if (mutex_give(self->words) != ZI_OK) {
        PyErr_SetString(self->base.state->release_error, "a mutex must be locked to be released");
        return NULL;
    }
    structure_ring(&self->base, 0);
    Py_RETURN_NONE;
}

static PyObject *mutex_exit(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    (void)args;
    (void)count;
    return mutex_release(object, NULL);
}

/* --- queries --- */

static PyObject *semaphore_count(PyObject *object, PyObject *none)
{
    (void)none;
    return PyLong_FromLong(ZI_LOAD(((semaphore_object *)object)->words->count));
}

static PyObject *semaphore_add_waiting(PyObject *object, PyObject *change)
{
    long delta = PyLong_AsLong(change);
    if (delta == -1 && PyErr_Occurred()) return NULL;
    word_add32((uint32_t *)&((semaphore_object *)object)->words->waiting, (uint32_t)delta);
    Py_RETURN_NONE;
}

static PyObject *mutex_owner(PyObject *object, PyObject *none)
{
    (void)none;
    return PyLong_FromUnsignedLong(ZI_LOAD(((semaphore_object *)object)->words->owner));
}

static PyObject *mutex_recovered(PyObject *object, PyObject *none)
{
    (void)none;
    return PyBool_FromLong(((semaphore_object *)object)->recovered);
}

/* --- lifetime --- */

static PyObject *permits_new(PyTypeObject *type, PyObject *args, int is_mutex)
{
    PyObject *buffer, *bell, *late;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "OnOO", &buffer, &offset, &bell, &late)) return NULL;
    semaphore_object *self = (semaphore_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    if (structure_hold(&self->base, type, buffer, offset, sizeof(zi_semaphore)) < 0 ||
        structure_bell(&self->base, 0, bell) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->words = (zi_semaphore *)structure_at(&self->base, offset);
    self->late = Py_NewRef(late);
    self->is_mutex = is_mutex;
    return (PyObject *)self;
}

static PyObject *semaphore_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    return permits_new(type, args, 0);
}

static PyObject *mutex_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)keywords;
    return permits_new(type, args, 1);
}

static int semaphore_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((semaphore_object *)object)->late);
    return structure_traverse(object, visit, arg);
}

static int semaphore_clear(PyObject *object)
{
    Py_CLEAR(((semaphore_object *)object)->late);
    return structure_clear(object);
}

static void semaphore_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    Py_CLEAR(((semaphore_object *)object)->late);
    structure_dealloc(object);
}

#define FAST(function) (PyCFunction)(void (*)(void))function

#define COMMON_METHODS \
    {"try_acquire", semaphore_try_acquire, METH_NOARGS, "Take a permit: OK, or EMPTY."}, \
        {"acquire", FAST(semaphore_acquire), METH_FASTCALL | METH_KEYWORDS, \
         "Take a permit, waiting for one unless the arguments say otherwise."}, \
        {"__enter__", FAST(semaphore_acquire), METH_FASTCALL | METH_KEYWORDS, \
         "Take a permit, waiting for one."}, \
        {"count", semaphore_count, METH_NOARGS, \
         "Return how many permits there are, at some moment."}, \
        {"add_waiting", semaphore_add_waiting, METH_O, "Count those who wait."}

static PyMethodDef semaphore_methods[] = {
    COMMON_METHODS,
    {"release", FAST(semaphore_release), METH_FASTCALL, "Give permits back, one if not told."},
    {"__exit__", FAST(semaphore_exit), METH_FASTCALL, "Give a permit back."},
    {0},
};

static PyMethodDef mutex_methods[] = {
    COMMON_METHODS,
    {"release", mutex_release, METH_NOARGS, "Give the mutex back."},
    {"__exit__", FAST(mutex_exit), METH_FASTCALL, "Give the mutex back."},
    {"owner", mutex_owner, METH_NOARGS,
     "Return the tag of the holder; 0 when the mutex is free, or its holder unknown."},
    {"inherit", mutex_do_inherit, METH_O,
     "Take the mutex from a holder that died, by its tag; return whether it worked."},
    {"recovered", mutex_recovered, METH_NOARGS,
     "Return whether the last acquire through this object took it from the dead."},
    {0},
};

#define PERMITS_SLOTS \
    {Py_tp_dealloc, semaphore_dealloc}, {Py_tp_traverse, semaphore_traverse}, \
        {Py_tp_clear, semaphore_clear}

static PyType_Slot semaphore_slots[] = {
    PERMITS_SLOTS,
    {Py_tp_doc, "The permits at an *offset* of a segment.  What has to wait is left to *late*."},
    {Py_tp_new, semaphore_new},
    {Py_tp_methods, semaphore_methods},
    {0, NULL},
};

static PyType_Slot mutex_slots[] = {
    PERMITS_SLOTS,
    {Py_tp_doc, "A semaphore of one permit, and who holds it.  What has to wait is left to *late*."},
    {Py_tp_new, mutex_new},
    {Py_tp_methods, mutex_methods},
    {0, NULL},
};

PyType_Spec semaphore_spec = {
    .name = "zeroipc._named.Semaphore",
    .basicsize = sizeof(semaphore_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_slots,
};

PyType_Spec mutex_spec = {
    .name = "zeroipc._named.Mutex",
    .basicsize = sizeof(semaphore_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mutex_slots,
};
