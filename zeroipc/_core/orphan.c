/* A get that nobody can ever answer.
 *
 * A process whose only thread waits for an item for ever says so in its row for the queue.
 * When everybody who has the queue says that and the parent process is dead, no item can come. */
#include <signal.h>

#include "native.h"

/* Write one of them into this process's row for the queue. */
void holding_note(const zi_queue_object *self, uint8_t note)
{
    zi_view *view = &self->arena->view;
    if (view->me != 0) ZI_STORE(participant_row(view, identity_index(view->me))[self->slot], note);
}

/* Whether this process has one thread that can run Python. */
int is_alone(void)
{
    return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL;
}

/* Whether this process's parent has died, as multiprocessing says.  -1: an error is set. */
static int is_declared_dead(void)
{
    PyObject *module = PyImport_ImportModule("multiprocessing.process");
    PyObject *parent = module ? PyObject_CallMethod(module, "parent_process", NULL) : NULL;
    PyObject *alive = parent && parent != Py_None ? PyObject_CallMethod(parent, "is_alive", NULL) : NULL;
    int dead = alive == Py_False;
    Py_XDECREF(alive);
    Py_XDECREF(parent);
    Py_XDECREF(module);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OSError)) PyErr_Clear();
    return PyErr_Occurred() ? -1 : dead;
}

/* Whether this process's parent has died: the system's, or, for a child of a fork server, the
 * one that multiprocessing says.  Signals are held back while it is asked: what a handler raises,
 * often a TimeoutError, is no failure to ask.  -1: an error is set. */
static int is_parent_dead(const zi_arena_object *arena)
{
    if (getppid() != arena->parent) return 1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int dead = PyErr_CheckSignals() < 0 ? -1 : is_declared_dead(); /* those that came before */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return dead;
}

/* Whether every process that has the queue waits for an item of it, so that none can ever
 * come.  A queue with a name may yet be found by it. */
static int is_deserted(const zi_queue_object *self)
{
    zi_view *view = &self->arena->view;
    if (view->queues[self->slot].named) return 0;
    for (uint32_t index = 0; index < ZI_LOAD(view->arena->participants_used); index++)
        if (ZI_LOAD(view->participants[index].pid) != 0 &&
            ZI_LOAD(participant_row(view, index)[self->slot]) == ZI_HOLDS)
            return 0;
    if (arena_lock(view, 0) != ZI_OK) return 0;
    int flying = handle_any(view, self->slot);
    arena_unlock(view);
    return !flying;
}

/* Raise if nothing can ever come; whether an error is set. */
int raise_orphan(const zi_queue_object *self)
{
    int dead = is_deserted(self) ? is_parent_dead(self->arena) : 0;
    if (dead > 0)
        PyErr_SetString(self->arena->state->died, "nobody is left to put anything into the queue: the parent process "
                        "has died, and whoever else has the queue waits for an item too");
    return dead != 0;
}
