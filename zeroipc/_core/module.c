/* zeroipc._native: the method table, the state, nothing else. */
#include "native.h"

static int fetch(PyObject **slot, const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) return -1;
    *slot = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *slot ? 0 : -1;
}

/* Names of other modules, looked up when the first arena is made. */
int native_errors(zi_state *state)
{
    if (state->dump_any) return 0;
    if (fetch(&state->empty, "queue", "Empty") < 0 || fetch(&state->full, "queue", "Full") < 0 ||
        fetch(&state->arena_full, "zeroipc.errors", "ShmFullError") < 0 ||
        fetch(&state->queue_full, "zeroipc.errors", "QueueFullError") < 0 ||
        fetch(&state->closed, "zeroipc.errors", "ClosedQueueError") < 0 ||
        fetch(&state->gone, "zeroipc.errors", "ClosedError") < 0 ||
        fetch(&state->shut, "zeroipc.errors", "ShutDown") < 0 ||
        fetch(&state->moved, "zeroipc.errors", "MovedError") < 0 ||
        fetch(&state->died, "zeroipc.errors", "OwnerDiedError") < 0 ||
        fetch(&state->damaged, "zeroipc.errors", "SegmentFormatError") < 0 ||
        fetch(&state->dumps, "_pickle", "dumps") < 0 || fetch(&state->loads, "_pickle", "loads") < 0)
        return -1;
    return fetch(&state->dump_any, "zeroipc._core.pickling", "dump_any");
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **slot)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return *slot == NULL ? -1 : PyModule_AddType(module, *slot);
}

static int native_exec(PyObject *module)
{
    zi_state *state = PyModule_GetState(module);
    state->dtypes = PyDict_New();
    state->buffers_name = Py_BuildValue("(s)", "buffers");
    state->protocol = PyLong_FromLong(5);
    state->str_base = PyUnicode_InternFromString("base");
    state->str_view = PyUnicode_InternFromString("view");
    state->str_setflags = PyUnicode_InternFromString("setflags");
    state->str_numpy = PyUnicode_InternFromString("numpy");
    state->str_lock = PyUnicode_InternFromString("_lock");
    state->str_spill = PyUnicode_InternFromString("_spill");
    if (PyErr_Occurred()) return -1;
    if (PyModule_AddIntConstant(module, "_fingerprint", ZI_FINGERPRINT) < 0 ||
        PyModule_AddIntConstant(module, "DATA_OFFSET", ZI_DATA_OFFSET) < 0 ||
        PyModule_AddIntConstant(module, "PARTICIPANTS", ZI_PARTICIPANTS) < 0 ||
        PyModule_AddIntConstant(module, "LOCK_PLAIN", ZI_LOCK_PLAIN) < 0 ||
        PyModule_AddIntConstant(module, "LOCK_RECURSIVE", ZI_LOCK_RECURSIVE) < 0 ||
        PyModule_AddIntConstant(module, "LOCK_SEMAPHORE", ZI_LOCK_SEMAPHORE) < 0 ||
        PyModule_AddIntConstant(module, "LOCK_EVENT", ZI_LOCK_EVENT) < 0 ||
        PyModule_AddIntConstant(module, "LOCK_CONDITION", ZI_LOCK_CONDITION) < 0 ||
        PyModule_AddIntConstant(module, "NOTE_NOTHING", ZI_NOTE_NOTHING) < 0 ||
        PyModule_AddIntConstant(module, "NOTE_TASKS", ZI_NOTE_TASKS) < 0 ||
        PyModule_AddIntConstant(module, "NOTE_CLAIMS", ZI_NOTE_CLAIMS) < 0)
        return -1;
    if (add_type(module, &arena_spec, NULL, &state->arena_type) < 0) return -1;
    if (add_type(module, &block_spec, NULL, &state->block_type) < 0) return -1;
    if (add_type(module, &slot_spec, NULL, &state->slot_type) < 0) return -1;
    PyTypeObject *base = state->slot_type;
    if (add_type(module, &memory_spec, base, &state->memory_type) < 0) return -1;
    if (add_type(module, &lock_spec, base, &state->lock_type) < 0) return -1;
    if (with_add(state->lock_type, lock_enter, lock_exit) < 0) return -1;
    if (add_type(module, &event_spec, base, &state->event_type) < 0) return -1;
    if (add_type(module, &condition_spec, base, &state->condition_type) < 0) return -1;
    return add_type(module, &queue_spec, base, &state->queue_type);
}

static PyMethodDef native_methods[] = {
    {"send_handle", native_send_handle, METH_O,
     "Let the message in the making carry a slot: True; None: there is none; False: another arena's."},
    {0},
};

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
    {0, NULL},
};

struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "zeroipc._native",
    .m_doc = "The core in C: arenas and message queues.  zeroipc._core.transport is its twin in Python.",
    .m_size = sizeof(zi_state),
    .m_methods = native_methods,
    .m_slots = native_slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&native_module); }
