/* What Python says of an answer of the core. */
#include "native.h"

PyObject *native_raise(zi_state *state, zi_status status, const zi_view *view)
{
    switch (status) {
    case ZI_INTERRUPTED: break; /* a signal handler's error is set */
    case ZI_EMPTY: PyErr_SetNone(state->empty); break;
    case ZI_FULL: PyErr_SetNone(state->full); break;
    case ZI_SHUT: PyErr_SetString(state->shut, "the queue is shut down"); break;
    case ZI_STALE: PyErr_SetString(state->closed, "the queue does not exist any more: its last holder is gone"); break;
    case ZI_NO_MEMORY:
        PyErr_Format(state->arena_full, "the arena is full: limit=%llu bytes, reserved=%llu; receive or "
                     "drop arrays that are in use", (unsigned long long)view->arena->limit,
                     (unsigned long long)view->arena->reserved);
        break;
    case ZI_NO_SPACE:
        PyErr_Format(state->arena_full, "no memory is left in /dev/shm: the arena has reserved %llu bytes; "
                     "remove files there, or mount it larger", (unsigned long long)view->arena->reserved);
        break;
    case ZI_NO_ENTRY:
        PyErr_Format(state->arena_full, "a table of the arena is full: at most %d processes, %d slots (queues, "
                     "locks, values), %d blocks",
                     (int)ZI_PARTICIPANTS, (int)ZI_QUEUES, (int)ZI_BLOCKS);
        break;
    case ZI_DAMAGED: PyErr_SetString(state->damaged, "the arena is damaged, or of another layout"); break;
    case ZI_BUSY: PyErr_SetString(PyExc_TimeoutError, "a lock of the arena is held by a stopped process"); break;
    default: PyErr_Format(PyExc_RuntimeError, "unexpected status %d", (int)status);
    }
    return NULL;
}

int native_u32(PyObject *number, void *found)
{
    unsigned long value = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred()) return 0;
    if (value > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "the number does not fit into 32 bits");
        return 0;
    }
    *(uint32_t *)found = (uint32_t)value;
    return 1;
}
