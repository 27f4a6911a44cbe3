/* What the files of the type MessageQueue share. */
#ifndef ZI_QUEUE_TYPE_H
#define ZI_QUEUE_TYPE_H

#include "native.h"

/* queue_handle.c */
int is_made(const zi_queue_object *self);
PyObject *raise_closed(zi_queue_object *self);
PyObject *find_first(PyObject *const *args, Py_ssize_t nargs, PyObject *names, const char *name);
int parse_wait(PyObject *const *args, Py_ssize_t nargs, PyObject *names, const char *own, uint64_t *deadline);
PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
extern PyGetSetDef queue_getset[];

/* The methods, from the other files. */
PyObject *queue_put_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
PyObject *queue_get_py(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
PyObject *queue_get_many(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
PyObject *queue_put_nowait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
PyObject *queue_get_nowait(PyObject *object, PyObject *argument);
PyObject *queue_put_many(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *names);
PyObject *queue_put_now(PyObject *object, PyObject *argument);
PyObject *queue_poll(PyObject *object, PyObject *argument);
PyObject *queue_poll_room(PyObject *object, PyObject *argument);
PyObject *queue_task_done(PyObject *object, PyObject *argument);
PyObject *queue_join_tasks(PyObject *object, PyObject *argument);
PyObject *queue_claim(PyObject *object, PyObject *argument);
PyObject *queue_claim_as(PyObject *object, PyObject *argument);
PyObject *queue_put_task(PyObject *object, PyObject *argument);
PyObject *queue_wake_worker(PyObject *object, PyObject *unused);
PyObject *queue_queued(PyObject *object, PyObject *argument);
PyObject *queue_cancel_py(PyObject *object, PyObject *argument);
PyObject *queue_attach(PyObject *object, PyObject *argument);

#endif
