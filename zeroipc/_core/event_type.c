/* The Python type Event: multiprocessing.Event's calls, over lock.h. */
#include "patience.h"

static zi_lock *words(const zi_hold *self) { return lock_at(&self->arena->view, self->slot); }

static PyObject *event_attach(PyObject *object, PyObject *args)
{
    if (hold_attach((zi_hold *)object, args, ZI_ROLE_LOCK) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *event_is_set_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyBool_FromLong(ZI_LOAD(words((zi_hold *)object)->value) != 0);
}

static PyObject *event_store(PyObject *object, uint32_t value)
{
    zi_hold *self = (zi_hold *)object;
    if (!hold_check(self)) return NULL;
    if (ZI_LOAD(words(self)->value) == value && self->arena->view.me != 0) Py_RETURN_NONE;
    zi_status status;
    ZI_STUBBORNLY(status, event_set(&self->arena->view, self->slot, self->generation, value, until));
    if (status != ZI_OK) return hold_raise(self, status);
    Py_RETURN_NONE;
}

static PyObject *event_set_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    return event_store(object, 1);
}

static PyObject *event_clear(PyObject *object, PyObject *unused)
{
    (void)unused;
    return event_store(object, 0);
}

static PyObject *event_wait(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    zi_hold *self = (zi_hold *)object;
    PyObject *timeout = NULL;
    uint64_t deadline;
    int first = 1;
    if (!hold_check(self) || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", names, &timeout)) return NULL;
    if (native_deadline(timeout, &deadline) < 0) return NULL;
    zi_view *view = &self->arena->view;
    uint32_t seq = ZI_LOAD(words(self)->seq);
    while (!event_is_set(words(self), seq) && !is_late(deadline)) {
        Py_BEGIN_ALLOW_THREADS
        event_await(view, self->slot, seq, lock_deadline(deadline), first);
        park_at_exit(view);
        Py_END_ALLOW_THREADS
        first = 0;
        if (PyErr_CheckSignals() < 0) return NULL;
    }
    return PyBool_FromLong(event_is_set(words(self), seq));
}

static PyMethodDef event_methods[] = {
    {"is_set", event_is_set_py, METH_NOARGS, "is_set($self, /)\n--\n\nReturn whether it is set."},
    {"set", event_set_py, METH_NOARGS, "set($self, /)\n--\n\nSet it, and wake everybody who waits."},
    {"clear", event_clear, METH_NOARGS, "clear($self, /)\n--\n\nLet it be not set."},
    {"wait", (PyCFunction)(void (*)(void))event_wait, METH_VARARGS | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\nWait until it is set; return whether it was in time."},
    {"_attach", event_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyType_Slot event_slots[] = {
    {Py_tp_methods, event_methods},
    {Py_tp_doc, "An event of an arena."},
    {0, NULL},
};

PyType_Spec event_spec = {"zeroipc._native.Event", sizeof(zi_hold), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                          event_slots};
