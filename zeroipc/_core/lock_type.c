/* The Python type Lock: a lock, a recursive lock or a semaphore, over lock.h.
 *
 * The calls are those of multiprocessing's SemLock.  Whose a lock is stands in the arena; how
 * often this process took a semaphore, which has no holder, is counted here. */
#include "patience.h"
#include "queue_type.h"

static uint64_t this_thread(void) { return (uint64_t)PyThread_get_thread_ident(); }

static zi_lock *words(const zi_lock_object *self) { return lock_at(&self->arena->view, self->slot); }

static PyObject *lock_attach(PyObject *object, PyObject *args)
{
    zi_lock_object *self = (zi_lock_object *)object;
    if (hold_attach((zi_hold *)object, args, ZI_ROLE_LOCK) < 0) return NULL;
    self->kind = (char)words(self)->kind;
    Py_RETURN_NONE;
}

/* --- How often it was taken here ----------------------------------------------------------------- */

/* A forked child starts anew. */
static void count_taken(zi_lock_object *self, int more)
{
    if (self->kind != ZI_LOCK_SEMAPHORE) return;
    if (self->counter != self->arena->view.me) self->count = 0;
    self->counter = self->arena->view.me;
    self->count += more;
    if (more > 0) self->thread = this_thread();
}

static int count_of(const zi_lock_object *self)
{
    const zi_lock *lock = words(self);
    uint32_t me = self->arena->view.me;
    if (self->kind == ZI_LOCK_SEMAPHORE) return self->counter == me ? self->count : 0;
    if (ZI_LOAD(lock->holder) != me) return 0;
    return self->kind == ZI_LOCK_RECURSIVE ? (int)lock->count : 1;
}

/* Whether this thread has it. */
int lock_owned(const zi_lock_object *self)
{
    if (self->kind == ZI_LOCK_SEMAPHORE) return count_of(self) > 0 && self->thread == this_thread();
    return lock_is_mine(&self->arena->view, words(self), this_thread());
}

/* --- Acquire and release ------------------------------------------------------------------------- */

/* Sweep if that is due: whoever only ever tries learns of a death too. */
static zi_status try_after_sweep(zi_lock_object *self, zi_status status)
{
    zi_view *view = &self->arena->view;
    if (words(self)->holder == 0 || zi_now() < ZI_LOAD(view->arena->last_sweep) + ZI_TICK_NS) return status;
    Py_BEGIN_ALLOW_THREADS
    arena_tick(view);
    status = lock_take(view, self->slot, self->generation, this_thread(), lock_deadline(0));
    Py_END_ALLOW_THREADS
    return status;
}

static zi_status take_patiently(zi_lock_object *self, zi_status status, uint64_t deadline)
{
    zi_view *view = &self->arena->view;
    uint64_t thread = this_thread();
    int first = 1;
    if (status == ZI_EMPTY && is_late(deadline)) return try_after_sweep(self, status);
    while ((status == ZI_EMPTY || status == ZI_BUSY) && !(is_late(deadline) && (status == ZI_EMPTY || !first))) {
        WAIT_AND_TRY(status == ZI_BUSY ? ZI_OK : lock_await(view, self->slot, until, first),
                     lock_take(view, self->slot, self->generation, thread, until))
        if (status != ZI_OK && PyErr_CheckSignals() < 0) return ZI_INTERRUPTED;
    }
    return status;
}

/* Whether it was taken before the *deadline*; NULL: an error, or what a signal handler raised. */
PyObject *lock_acquire_by(zi_lock_object *self, uint64_t deadline)
{
    zi_view *view = &self->arena->view;
    uint64_t thread = this_thread();
    if (self->kind == ZI_LOCK_RECURSIVE && lock_is_mine(view, words(self), thread)) {
        words(self)->count++; /* nobody else writes it meanwhile */
        Py_RETURN_TRUE;
    }
    zi_status status = lock_take(view, self->slot, self->generation, thread, 0);
    if (status == ZI_EMPTY || status == ZI_BUSY) status = take_patiently(self, status, deadline);
    if (status == ZI_EMPTY || status == ZI_BUSY) Py_RETURN_FALSE;
    if (status != ZI_OK) return hold_raise((zi_hold *)self, status);
    count_taken(self, 1);
    Py_RETURN_TRUE;
}

static PyObject *lock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    zi_lock_object *self = (zi_lock_object *)object;
    uint64_t deadline = ZI_FOREVER;
    if (!hold_check((zi_hold *)self)) return NULL;
    if ((nargs != 0 || names) && parse_wait(args, nargs, names, NULL, &deadline) < 0) return NULL;
    return lock_acquire_by(self, deadline);
}

/* Wake those who were notified while a lock was held, now that it is given back. */
void wake_owed(zi_arena_object *arena)
{
    uint32_t bits = arena->owed_bits;
    arena->owed_bits = 0;
    if (bits) wait_wake_some(&lock_at(&arena->view, arena->owed_slot)->seq, bits);
}

/* Give it back once, whatever signals come; -1: an error is set. */
static int give(zi_lock_object *self)
{
    zi_status status;
    ZI_STUBBORNLY(status, lock_give(&self->arena->view, self->slot, self->generation, until));
    if (self->arena->owed_bits && self->arena->owed_lock == self->slot) wake_owed(self->arena);
    if (status == ZI_FULL)
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
    else if (status != ZI_OK)
        hold_raise((zi_hold *)self, status);
    else
        count_taken(self, -1);
    return status == ZI_OK ? 0 : -1;
}

PyObject *lock_release(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_lock_object *self = (zi_lock_object *)object;
    if (!hold_check((zi_hold *)self)) return NULL;
    if (self->kind == ZI_LOCK_RECURSIVE) {
        if (!lock_owned(self)) {
            PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
            return NULL;
        }
        if (words(self)->count > 1) {
            words(self)->count--;
            Py_RETURN_NONE;
        }
    }
    if (give(self) < 0) return NULL;
    Py_RETURN_NONE;
}

/* Give it back as often as it was taken, for a wait; returns how often, or -1. */
int lock_release_all(zi_lock_object *self)
{
    int count = count_of(self), times = self->kind == ZI_LOCK_SEMAPHORE ? count : 1;
    while (times-- > 0)
        if (give(self) < 0) return -1;
    return count;
}

/* Take it again after a wait; what a first signal handler raises comes afterwards, a second
 * one gives up.  -1: an error is set. */
int lock_restore(zi_lock_object *self, int count)
{
    PyObject *type, *error, *trace;
    int times = self->kind == ZI_LOCK_SEMAPHORE ? count : 1;
    PyErr_Fetch(&type, &error, &trace);
    while (times > 0) {
        PyObject *taken = lock_acquire_by(self, ZI_FOREVER);
        if (taken == NULL && type != NULL) break;
        if (taken == NULL) PyErr_Fetch(&type, &error, &trace);
        times -= taken != NULL;
        Py_XDECREF(taken);
    }
    if (times != 0) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(trace);
        return -1;
    }
    if (self->kind == ZI_LOCK_RECURSIVE) words(self)->count = (uint32_t)count;
    PyErr_Restore(type, error, trace);
    return type ? -1 : 0;
}

PyObject *lock_enter(PyObject *object)
{
    if (!hold_check((zi_hold *)object)) return NULL;
    return lock_acquire_by((zi_lock_object *)object, ZI_FOREVER);
}

PyObject *lock_exit(PyObject *object) { return lock_release(object, NULL); }

/* --- Queries ----------------------------------------------------------------------------------- */

static PyObject *lock_count(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyLong_FromLong(count_of((zi_lock_object *)object));
}

static PyObject *lock_is_mine_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyBool_FromLong(lock_owned((zi_lock_object *)object));
}

static PyObject *lock_get_value(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (!hold_check((zi_hold *)object)) return NULL;
    const zi_lock *lock = words((zi_lock_object *)object);
    if (lock->kind == ZI_LOCK_SEMAPHORE) return PyLong_FromUnsignedLong(ZI_LOAD(lock->value));
    return PyLong_FromLong(ZI_LOAD(lock->holder) == 0);
}

static PyObject *lock_is_zero(PyObject *object, PyObject *unused)
{
    (void)unused;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyBool_FromLong(!lock_is_free(words((zi_lock_object *)object)));
}

static PyObject *lock_get_maxvalue(PyObject *object, void *closure)
{
    (void)closure;
    if (!hold_check((zi_hold *)object)) return NULL;
    return PyLong_FromUnsignedLong(words((zi_lock_object *)object)->maxvalue);
}

static PyObject *lock_get_kind(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromLong(((zi_lock_object *)object)->kind);
}

static PyObject *lock_get_died(PyObject *object, void *closure)
{
    (void)closure;
    if (!hold_check((zi_hold *)object)) return NULL;
    const zi_lock *lock = words((zi_lock_object *)object);
    return PyBool_FromLong(lock->died && ZI_LOAD(lock->holder) == ((zi_hold *)object)->arena->view.me);
}

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     "acquire($self, /, block=True, timeout=None)\n--\n\nTake it; return whether it came free in time."},
    {"release", lock_release, METH_NOARGS, "release($self, /)\n--\n\nGive it back, whoever took it."},
    {"_count", lock_count, METH_NOARGS, "How often this process has it."},
    {"_is_mine", lock_is_mine_py, METH_NOARGS, "Whether this thread has it."},
    {"_get_value", lock_get_value, METH_NOARGS, "How often it can be taken."},
    {"_is_zero", lock_is_zero, METH_NOARGS, "Whether it cannot be taken."},
    {"_attach", lock_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyGetSetDef lock_getset[] = {
    {"_kind", lock_get_kind, NULL, "LOCK_PLAIN, LOCK_RECURSIVE or LOCK_SEMAPHORE.", NULL},
    {"maxvalue", lock_get_maxvalue, NULL, "The highest value of a semaphore.", NULL},
    {"owner_died", lock_get_died, NULL,
     "Whether this process has it, and got it because its holder before had died with it.", NULL},
    {0},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {Py_tp_doc, "A lock, a recursive lock or a semaphore of an arena."},
    {0, NULL},
};

PyType_Spec lock_spec = {"zeroipc._native.Lock", sizeof(zi_lock_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                         lock_slots};
