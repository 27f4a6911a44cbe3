/* The Python type MessageQueue: multiprocessing.Queue's calls, over mqueue.h. */
#include "queue_type.h"

static PyObject *queue_qsize(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_queue_object *self = (zi_queue_object *)object;
    if (!is_made(self)) return NULL;
    return PyLong_FromUnsignedLong(queue_size(&self->arena->view.queues[self->slot]));
}

static PyObject *queue_shutdown(PyObject *object, PyObject *now)
{
    zi_queue_object *self = (zi_queue_object *)object;
    int immediate = PyObject_IsTrue(now);
    if (immediate < 0 || !is_made(self)) return NULL;
    zi_status status;
    ZI_PATIENTLY(status, queue_shut(&self->arena->view, self->slot, self->generation, immediate, until));
    if (status != ZI_OK) return native_raise(self->arena->state, status, &self->arena->view);
    Py_RETURN_NONE;
}

static PyMethodDef queue_methods[] = {
    {"put", (PyCFunction)(void (*)(void))queue_put_py, METH_FASTCALL | METH_KEYWORDS,
     "put($self, /, obj, block=True, timeout=None)\n--\n\nPut obj into the queue; Full when there is no room in time."},
    {"put_nowait", (PyCFunction)(void (*)(void))queue_put_nowait, METH_FASTCALL | METH_KEYWORDS, "put_nowait($self, /, obj)\n--\n\nThe same as put(obj, False)."},
    {"put_many", (PyCFunction)(void (*)(void))queue_put_many, METH_FASTCALL | METH_KEYWORDS,
     "put_many($self, /, items, block=True, timeout=None)\n--\n\nPut the items in order; return how many went in before the time "
     "was over.\n\nFull when not even the first did; an error when one cannot be pickled, after those before it."},
    {"get", (PyCFunction)(void (*)(void))queue_get_py, METH_FASTCALL | METH_KEYWORDS,
     "get($self, /, block=True, timeout=None)\n--\n\nTake the next object; Empty when none comes in time."},
    {"get_nowait", queue_get_nowait, METH_NOARGS, "get_nowait($self, /)\n--\n\nThe same as get(False)."},
    {"get_many", (PyCFunction)(void (*)(void))queue_get_many, METH_FASTCALL | METH_KEYWORDS,
     "get_many($self, /, limit, block=True, timeout=None)\n--\n\nWait for one object, then take up to *limit* that are there."},
    {"qsize", queue_qsize, METH_NOARGS, "qsize($self, /)\n--\n\nHow many objects are in the queue, at some moment."},
    {"_put_now", queue_put_now, METH_VARARGS, "_put_now(obj, timeout): for what was spilled."},
    {"_poll", queue_poll, METH_O, "_poll(timeout): wait until a get would not; whether it would not."},
    {"_poll_room", queue_poll_room, METH_O, "_poll_room(timeout): the same for a put."},
    {"_shutdown", queue_shutdown, METH_O, "Refuse puts; True: drop what is queued."},
    {"_task_done", queue_task_done, METH_NOARGS, "One task is done."},
    {"_join_tasks", queue_join_tasks, METH_O, "Wait until no task is open."},
    {"_claim", queue_claim, METH_O, "_claim(number): the item that worker took last and that is not queued, or None."},
    {"_claim_as", queue_claim_as, METH_O, "_claim_as(number): note this process's gets under a worker's number."},
    {"_put_task", queue_put_task, METH_O, "_put_task(obj): put without waiting; (item number, bytes)."},
    {"_wake_worker", queue_wake_worker, METH_NOARGS, "Wake who sleeps for what _put_task put."},
    {"_queued", queue_queued, METH_O, "_queued(item): whether the item is still queued."},
    {"_cancel", queue_cancel_py, METH_O, "_cancel(item): take a queued item back; whether it was still queued."},
    {"_attach", queue_attach, METH_VARARGS, "_attach(arena, slot, generation)"},
    {0},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_doc, "A message queue of an arena."},
    {0, NULL},
};

PyType_Spec queue_spec = {"zeroipc._native.MessageQueue", sizeof(zi_queue_object), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, queue_slots};
