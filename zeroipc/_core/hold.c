/* A process's hold of a slot: its row says so as long as there is an object. */
#include "native.h"

/* _attach(arena, slot, generation); -1: an error is set. */
int hold_attach(zi_hold *self, PyObject *args, uint32_t role)
{
    PyObject *arena;
    uint32_t slot, generation;
    if (!PyArg_ParseTuple(args, "OO&O&:_attach", &arena, native_u32, &slot, native_u32, &generation)) return -1;
    zi_state *state = PyModule_GetState(PyType_GetModuleByDef(Py_TYPE(self), &native_module));
    if (Py_TYPE(arena) != state->arena_type || self->arena) {
        PyErr_SetString(PyExc_TypeError, "_attach() takes an Arena, once");
        return -1;
    }
    zi_status status;
    ZI_PATIENTLY(status, slot_hold(&((zi_arena_object *)arena)->view, slot, role, generation, until));
    if (status == ZI_STALE && role != ZI_ROLE_QUEUE)
        PyErr_SetString(state->gone, "it does not exist any more: its last holder is gone");
    else if (status != ZI_OK)
        native_raise(state, status, &((zi_arena_object *)arena)->view);
    if (status != ZI_OK) return -1;
    self->arena = (zi_arena_object *)Py_NewRef(arena);
    self->slot = slot;
    self->generation = generation;
    self->arena->holds[slot]++;
    self->arena->kept += role != ZI_ROLE_QUEUE;
    return 0;
}

/* Whether _attach has run; else an error is set. */
int hold_check(const zi_hold *self)
{
    if (self->arena == NULL) PyErr_SetString(PyExc_RuntimeError, "its __init__ was not called");
    return self->arena != NULL;
}

/* What Python says of an answer that is no answer. */
PyObject *hold_raise(const zi_hold *self, zi_status status)
{
    if (status != ZI_STALE) return native_raise(self->arena->state, status, &self->arena->view);
    PyErr_SetString(self->arena->state->gone, "it does not exist any more: its last holder is gone");
    return NULL;
}

static void hold_drop(zi_hold *self)
{
    self->arena->kept -= !PyObject_TypeCheck(self, self->arena->state->queue_type);
    if (self->arena->view.me != 0 && --self->arena->holds[self->slot] == 0)
        holding_clear(&self->arena->view, self->slot);
}

static void hold_dealloc(PyObject *object)
{
    zi_hold *self = (zi_hold *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->arena) hold_drop(self);
    Py_XDECREF(self->arena);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *hold_get_handle(PyObject *object, void *closure)
{
    (void)closure;
    zi_hold *self = (zi_hold *)object;
    return Py_BuildValue("OII", self->arena ? (PyObject *)self->arena : Py_None, self->slot, self->generation);
}

static PyGetSetDef slot_getset[] = {
    {"_handle", hold_get_handle, NULL, "(arena, slot, generation)", NULL},
    {0},
};

static PyType_Slot slot_slots[] = {
    {Py_tp_dealloc, hold_dealloc},
    {Py_tp_getset, slot_getset},
    {Py_tp_doc, "What stands for a slot of an arena: a queue, a lock, memory."},
    {0, NULL},
};

PyType_Spec slot_spec = {"zeroipc._native.Slot", sizeof(zi_hold), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slot_slots};
