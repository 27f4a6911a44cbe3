/* zeroipc._named: the types of the named structures, the state, nothing else. */
#include "native.h"

static PyObject *fetch(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) return NULL;
    PyObject *found = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return found;
}

static int fetch_statuses(named_state *state)
{
    PyObject *kind = fetch("zeroipc._core.status", "Status");
    if (kind == NULL) return -1;
    for (int i = 0; i <= ZI_REPAIR; i++) {
        PyObject *number = PyLong_FromLong(i);
        state->statuses[i] = number ? PyObject_CallOneArg(kind, number) : NULL;
        Py_XDECREF(number);
        if (state->statuses[i] == NULL) break;
    }
    Py_DECREF(kind);
    return PyErr_Occurred() ? -1 : 0;
}

static int named_exec(PyObject *module)
{
    static PyType_Spec *const specs[] = {
        &entries_spec, &mutex_spec, &pool_spec, &queue_spec,
        &ring_spec, &semaphore_spec, &stack_spec, &word_spec,
    };
    named_state *state = PyModule_GetState(module);
    if (PyModule_AddIntConstant(module, "_fingerprint", ZI_FINGERPRINT) < 0) return -1;
    state->dtype_error = fetch("zeroipc.errors", "DTypeError");
    state->range_error = fetch("zeroipc.errors", "OutOfRangeError");
    state->release_error = fetch("zeroipc.errors", "ReleaseError");
    if (!state->dtype_error || !state->range_error || !state->release_error) return -1;
    if (fetch_statuses(state) < 0 || holder_follow_forks() < 0) return -1;
    state->bell_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &bell_spec, NULL);
    if (state->bell_type == NULL || PyModule_AddType(module, state->bell_type) < 0) return -1;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        int outcome = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
        Py_XDECREF(type);
        if (outcome < 0) return -1;
    }
    return 0;
}

static PyModuleDef_Slot named_slots[] = {
    {Py_mod_exec, named_exec},
    {0, NULL},
};

struct PyModuleDef named_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "zeroipc._named",
    .m_doc = "The named structures in C.  zeroipc._core.named.pure is its twin in Python.",
    .m_size = sizeof(named_state),
    .m_slots = named_slots,
};

PyMODINIT_FUNC PyInit__named(void) { return PyModuleDef_Init(&named_module); }
