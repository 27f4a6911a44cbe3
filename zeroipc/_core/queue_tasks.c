/* What a queue knows of tasks: which are open, and which item each worker has. */
#include "queue_type.h"

/* --- Open tasks of a joinable queue --------------------------------------------------------- */

PyObject *queue_task_done(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    zi_status status;
    ZI_PATIENTLY(status, task_done(&self->arena->view, self->slot, self->generation, until));
    if (status == ZI_EMPTY) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    if (status != ZI_OK) return native_raise(self->arena->state, status, &self->arena->view);
    Py_RETURN_NONE;
}

PyObject *queue_join_tasks(PyObject *object, PyObject *timeout)
{
    zi_queue_object *self = (zi_queue_object *)object;
    uint64_t deadline;
    uint32_t lost;
    zi_status status;
    if (!is_made(self) || native_deadline(timeout, &deadline) < 0) return NULL;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = tasks_await(&self->arena->view, self->slot, self->generation, &lost, deadline);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) return NULL;
    } while ((status == ZI_TIMEOUT || status == ZI_INTERRUPTED || status == ZI_BUSY) && zi_now() < deadline);
    if (status == ZI_OK) Py_RETURN_TRUE;
    if (status == ZI_TIMEOUT) Py_RETURN_FALSE;
    if (status != ZI_LOST) return native_raise(self->arena->state, status, &self->arena->view);
    return PyErr_Format(self->arena->state->died,
                        "%u tasks were taken by processes that died before task_done()", lost);
}

/* --- Tasks of workers ----------------------------------------------------------------------- */

/* The number of a worker in a queue with claims; -1: an error is set. */
static long parse_worker(zi_queue_object *self, PyObject *argument)
{
    long number = PyLong_AsLong(argument);
    if (PyErr_Occurred()) return -1;
    if (self->arena->view.queues[self->slot].claims != ZI_NONE && number >= 0 && number < ZI_PARTICIPANTS)
        return number;
    PyErr_Format(PyExc_ValueError, "the queue notes no claims, or there is no such worker: number=%ld", number);
    return -1;
}

PyObject *queue_claim(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    long number = parse_worker(self, argument);
    if (number < 0) return NULL;
    uint32_t item = claim_of(&self->arena->view, self->slot, (uint32_t)number);
    if (item == ZI_NONE) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(item);
}

PyObject *queue_claim_as(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    long number = parse_worker(self, argument);
    if (number < 0) return NULL;
    self->claimant = (uint32_t)number;
    ZI_STORE(queue_claims(&self->arena->view, &self->arena->view.queues[self->slot])[number], (uint32_t)ZI_NONE);
    Py_RETURN_NONE;
}

/* _queued(item): whether nobody got it yet, at some moment. */
PyObject *queue_queued(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    unsigned long item = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(queue_has_item(&self->arena->view.queues[self->slot], (uint32_t)item));
}

PyObject *queue_cancel_py(PyObject *object, PyObject *argument)
{
    zi_queue_object *self = (zi_queue_object *)object;
    unsigned long item = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred()) return NULL;
    zi_status status;
    ZI_PATIENTLY(status, queue_cancel(&self->arena->view, self->slot, self->generation, (uint32_t)item, until));
    if (status == ZI_OK || status == ZI_EMPTY) return PyBool_FromLong(status == ZI_OK);
    return native_raise(self->arena->state, status, &self->arena->view);
}
