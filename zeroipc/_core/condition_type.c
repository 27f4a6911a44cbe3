/* The Python type Condition: multiprocessing.Condition's calls, over waiters.h.
 *
 * Its lock is the attribute `_lock`: a Lock of ours, or anything that has the calls of
 * multiprocessing's locks. */
#include "patience.h"

static zi_lock *words(const zi_hold *self) { return lock_at(&self->arena->view, self->slot); }

static PyObject *condition_attach(PyObject *object, PyObject *args)
{
    if (hold_attach((zi_hold *)object, args, ZI_ROLE_LOCK) < 0) return NULL;
    Py_RETURN_NONE;
}

/* --- The lock, whatever it is ---------------------------------------------------------------- */

static PyObject *lock_of(zi_hold *self)
{
    if (!hold_check(self)) return NULL;
    return PyObject_GetAttr((PyObject *)self, self->arena->state->str_lock);
}

static int is_ours(const zi_hold *self, PyObject *lock) { return PyObject_TypeCheck(lock, self->arena->state->lock_type); }

/* lock._semlock.NAME() as a number; -1: an error is set. */
static long ask(PyObject *lock, const char *name)
{
    PyObject *semlock = PyObject_GetAttrString(lock, "_semlock");
    PyObject *answer = semlock ? PyObject_CallMethod(semlock, name, NULL) : NULL;
    long number = answer ? PyLong_AsLong(answer) : -1;
    Py_XDECREF(answer);
    Py_XDECREF(semlock);
    return number;
}

/* -1: an error is set, AssertionError unless this thread has the lock. */
static int check_owned(const zi_hold *self, PyObject *lock, const char *message)
{
    long owned = is_ours(self, lock) ? lock_owned((zi_lock_object *)lock) : ask(lock, "_is_mine");
    if (owned == 0) PyErr_SetString(PyExc_AssertionError, message);
    return owned > 0 ? 0 : -1;
}

static int release_all(const zi_hold *self, PyObject *lock)
{
    if (is_ours(self, lock)) return lock_release_all((zi_lock_object *)lock);
    int count = (int)ask(lock, "_count");
    for (int i = 0; i < count; i++) {
        PyObject *done = PyObject_CallMethod(lock, "release", NULL);
        if (done == NULL) return -1;
        Py_DECREF(done);
    }
    return count;
}

/* Take the lock again; an error that is set stays.  -1: one is set. */
static int restore(const zi_hold *self, PyObject *lock, int count)
{
    if (is_ours(self, lock)) return lock_restore((zi_lock_object *)lock, count);
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    while (count > 0) {
        PyObject *taken = PyObject_CallMethod(lock, "acquire", NULL);
        if (taken == NULL) break;
        Py_DECREF(taken);
        count--;
    }
    if (count == 0) {
        PyErr_Restore(type, error, trace);
        return type ? -1 : 0;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return -1;
}

/* --- Wait and notify --------------------------------------------------------------------------- */

/* Whether the entry was notified, in *notified, before the *deadline*.  The entry is given up in
 * any case; what a waiter was notified of that cannot act on it goes to the next. */
static zi_status await_notice(zi_hold *self, uint32_t index, uint64_t deadline, int *notified)
{
    zi_view *view = &self->arena->view;
    int over = 0, first = 1, raised = 0;
    zi_status status = ZI_EMPTY;
    while (status == ZI_EMPTY && !over) {
        Py_BEGIN_ALLOW_THREADS
        if (waiter_sleep(view, self->slot, index, lock_deadline(deadline), first) == ZI_TIMEOUT) arena_tick(view);
        park_at_exit(view);
        Py_END_ALLOW_THREADS
        first = 0;
        raised = PyErr_CheckSignals() < 0;
        over = raised || is_late(deadline);
        ZI_STUBBORNLY(status, waiter_settle(view, self->slot, self->generation, index, over, until));
    }
    *notified = status == ZI_OK;
    if (raised && *notified) ZI_STUBBORNLY(status, waiters_notify(view, self->slot, self->generation, 1, NULL, until));
    return raised ? ZI_INTERRUPTED : status == ZI_EMPTY ? ZI_OK : status;
}

/* With the lock: wait for a notify without it. */
static PyObject *wait_without(zi_hold *self, PyObject *lock, uint64_t deadline)
{
    uint32_t index;
    zi_status status;
    int notified = 0;
    ZI_STUBBORNLY(status, waiter_enter(&self->arena->view, self->slot, self->generation, &index, until));
    if (status != ZI_OK) return hold_raise(self, status);
    int count = release_all(self, lock);
    if (count < 0) {
        ZI_STUBBORNLY(status, waiter_settle(&self->arena->view, self->slot, self->generation, index, 1, until));
        return NULL;
    }
    status = await_notice(self, index, deadline, &notified);
    if (status != ZI_OK && !PyErr_Occurred()) hold_raise(self, status);
    return restore(self, lock, count) < 0 ? NULL : PyBool_FromLong(notified);
}

static PyObject *condition_wait(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    zi_hold *self = (zi_hold *)object;
    PyObject *timeout = NULL;
    uint64_t deadline;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", names, &timeout)) return NULL;
    if (native_deadline(timeout, &deadline) < 0) return NULL;
    PyObject *lock = lock_of(self), *result = NULL;
    if (lock && check_owned(self, lock, "must acquire() condition before using wait()") == 0)
        result = wait_without(self, lock, deadline);
    Py_XDECREF(lock);
    return result;
}

/* Where to note whom to wake when the lock is given back; NULL: wake them at once. */
static uint32_t *owed_for(const zi_hold *self, PyObject *lock)
{
    zi_arena_object *arena = self->arena;
    if (!is_ours(self, lock) || ((zi_hold *)lock)->arena != arena) return NULL;
    if (arena->owed_lock != ((zi_hold *)lock)->slot || arena->owed_slot != self->slot) wake_owed(arena);
    arena->owed_lock = ((zi_hold *)lock)->slot;
    arena->owed_slot = self->slot;
    return &arena->owed_bits;
}

static PyObject *notify_some(zi_hold *self, uint64_t count)
{
    PyObject *lock = lock_of(self);
    int owned = lock ? check_owned(self, lock, "lock is not owned") : -1;
    uint32_t *owed = owned < 0 ? NULL : owed_for(self, lock);
    Py_XDECREF(lock);
    if (owned < 0) return NULL;
    zi_status status;
    ZI_STUBBORNLY(status, waiters_notify(&self->arena->view, self->slot, self->generation, count, owed, until));
    if (status != ZI_OK) return hold_raise(self, status);
    Py_RETURN_NONE;
}

static PyObject *condition_notify(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"n", NULL};
    Py_ssize_t count = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:notify", names, &count)) return NULL;
    return notify_some((zi_hold *)object, count < 0 ? 0 : (uint64_t)count);
}

static PyObject *condition_notify_all(PyObject *object, PyObject *unused)
{
    (void)unused;
    return notify_some((zi_hold *)object, UINT64_MAX);
}

static PyObject *condition_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_hold *self = (zi_hold *)object;
    PyObject *lock = lock_of(self), *result = NULL;
    if (lock && is_ours(self, lock))
        result = lock_acquire_by((zi_lock_object *)lock, ZI_FOREVER);
    else if (lock)
        result = PyObject_CallMethod(lock, "__enter__", NULL);
    Py_XDECREF(lock);
    return result;
}

static PyObject *condition_exit(PyObject *object, PyObject *args)
{
    zi_hold *self = (zi_hold *)object;
    PyObject *lock = lock_of(self), *exit = NULL, *result = NULL;
    if (lock && is_ours(self, lock))
        result = lock_release(lock, NULL);
    else if (lock && (exit = PyObject_GetAttrString(lock, "__exit__")))
        result = PyObject_CallObject(exit, args);
    Py_XDECREF(exit);
    Py_XDECREF(lock);
    return result;
}

/* --- A place without a wait: who has come to a barrier ------------------------------------------ */

static PyObject *condition_come(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_hold *self = (zi_hold *)object;
    uint32_t index;
    zi_status status;
    if (!hold_check(self)) return NULL;
    ZI_STUBBORNLY(status, waiter_enter(&self->arena->view, self->slot, self->generation, &index, until));
    if (status != ZI_OK) return hold_raise(self, status);
    return PyLong_FromUnsignedLong(index);
}

static PyObject *condition_go(PyObject *object, PyObject *argument)
{
    zi_hold *self = (zi_hold *)object;
    uint32_t index;
    zi_status status;
    if (!hold_check(self) || !native_u32(argument, &index)) return NULL;
    if (index >= words(self)->capacity) return PyErr_Format(PyExc_ValueError, "there is no such place: %u", index);
    ZI_STUBBORNLY(status, waiter_settle(&self->arena->view, self->slot, self->generation, index, 1, until));
    if (status != ZI_OK && status != ZI_EMPTY) return hold_raise(self, status);
    Py_RETURN_NONE;
}

static PyObject *condition_waiting(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_hold *self = (zi_hold *)object;
    if (!hold_check(self)) return NULL;
    zi_view *view = &self->arena->view;
    zi_status status;
    ZI_STUBBORNLY(status, queue_lock(view, self->slot, until));
    if (status != ZI_OK) return hold_raise(self, status);
    uint32_t count = waiters_count(view, words(self));
    queue_unlock(view, self->slot);
    return PyLong_FromUnsignedLong(count);
}

static PyObject *condition_get_lost(PyObject *object, void *closure)
{
    (void)closure;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyLong_FromUnsignedLong(ZI_LOAD(words((zi_hold *)object)->lost));
}

static PyMethodDef condition_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))condition_wait, METH_VARARGS | METH_KEYWORDS,
     "wait($self, /, timeout=None)\n--\n\nGive the lock back until notified; return whether that was in time."},
    {"notify", (PyCFunction)(void (*)(void))condition_notify, METH_VARARGS | METH_KEYWORDS,
     "notify($self, /, n=1)\n--\n\nWake those n who have waited longest."},
    {"notify_all", condition_notify_all, METH_NOARGS, "notify_all($self, /)\n--\n\nWake everybody who waits."},
    {"__enter__", condition_enter, METH_NOARGS, "Take the lock."},
    {"__exit__", condition_exit, METH_VARARGS, "Give it back."},
    {"_come", condition_come, METH_NOARGS, "Take a place among the waiters; its number."},
    {"_go", condition_go, METH_O, "_go(place): give a place up."},
    {"_waiting", condition_waiting, METH_NOARGS, "How many places are taken."},
    {"_attach", condition_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyGetSetDef condition_getset[] = {
    {"_lost", condition_get_lost, NULL, "How many died while they waited.", NULL},
    {0},
};

static PyType_Slot condition_slots[] = {
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {Py_tp_doc, "A condition of an arena."},
    {0, NULL},
};

PyType_Spec condition_spec = {"zeroipc._native.Condition", sizeof(zi_hold), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, condition_slots};
