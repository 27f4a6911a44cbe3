/* The Python type Arena. */
#include "native.h"

#include <sys/mman.h>

static int arena_attach(zi_arena_object *self, int fd, unsigned long long limit, unsigned long long token)
{
    void *base = mmap(NULL, self->nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    view_map(&self->view, base, fd);
    zi_status status = limit ? arena_format(&self->view, self->nbytes, limit, token)
                             : arena_check(&self->view, self->nbytes);
    if (status == ZI_OK) status = arena_register(&self->view, zi_now() + ZI_LOCK_PATIENCE_NS);
    if (status == ZI_OK) return 0;
    native_raise(self->state, status, &self->view);
    return -1;
}

static PyObject *arena_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "nbytes", "limit", "token", NULL};
    int fd;
    unsigned long long nbytes, limit = 0, token = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iK|KK:Arena", names, &fd, &nbytes, &limit, &token))
        return NULL;
    zi_state *state = PyModule_GetState(PyType_GetModuleByDef(type, &native_module));
    if (native_errors(state) < 0) return NULL;
    zi_arena_object *self = (zi_arena_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->state = state;
    self->parent = getppid();
    self->nbytes = nbytes;
    if (arena_attach(self, fd, limit, token) == 0) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static void arena_dealloc(PyObject *object)
{
    zi_arena_object *self = (zi_arena_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->view.base) {
        trimmer_end(self);
        arena_deregister(&self->view);
        munmap(self->view.base, self->nbytes);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

/* Whether a creation that failed so is worth another try: a sweep, which nobody may have been
 * idle enough to do, gave something back. */
static int is_worth_more(zi_arena_object *self, zi_status status)
{
    uint32_t count;
    if (status != ZI_NO_ENTRY && status != ZI_NO_MEMORY && status != ZI_NO_SPACE) return 0;
    Py_BEGIN_ALLOW_THREADS
    count = arena_sweep(&self->view, zi_now() + ZI_TICK_NS);
    Py_END_ALLOW_THREADS
    return count != 0;
}

/* What a creation made. */
typedef struct {
    uint32_t slot, generation;
} zi_made;

static PyObject *made_result(zi_arena_object *self, zi_status status, zi_made made)
{
    if (status != ZI_OK) return native_raise(self->state, status, &self->view);
    return Py_BuildValue("II", made.slot, made.generation);
}

#define CREATE(status, call)                                         \
    do {                                                             \
        ZI_PATIENTLY(status, call);                                  \
        if (is_worth_more(self, status)) ZI_PATIENTLY(status, call); \
    } while (0)

static PyObject *arena_create_queue(PyObject *object, PyObject *args)
{
    zi_arena_object *self = (zi_arena_object *)object;
    uint32_t maxsize, noting;
    int named;
    if (!PyArg_ParseTuple(args, "O&O&p:create_queue", native_u32, &maxsize, native_u32, &noting, &named)) return NULL;
    zi_made made = {0, 0};
    zi_status status;
    CREATE(status, queue_create(&self->view, maxsize, noting, (uint32_t)named, &made.slot, &made.generation, until));
    return made_result(self, status, made);
}

static PyObject *arena_create_memory(PyObject *object, PyObject *argument)
{
    zi_arena_object *self = (zi_arena_object *)object;
    Py_ssize_t nbytes = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (nbytes < 0) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "nbytes must not be negative: %zd", nbytes);
        return NULL;
    }
    zi_made made = {0, 0};
    zi_status status;
    if (nbytes < ZI_BIG_COPY) {
        CREATE(status, memory_create(&self->view, (uint64_t)nbytes, &made.slot, &made.generation, until));
        return made_result(self, status, made);
    }
    uint64_t patience = zi_now() + ZI_LOCK_PATIENCE_NS;
    do { /* new pages take the system a while */
        Py_BEGIN_ALLOW_THREADS
        status = memory_create(&self->view, (uint64_t)nbytes, &made.slot, &made.generation, patience);
        Py_END_ALLOW_THREADS
    } while (is_worth_more(self, status) && zi_now() < patience);
    return made_result(self, status, made);
}

static PyObject *arena_create_lock(PyObject *object, PyObject *args)
{
    zi_arena_object *self = (zi_arena_object *)object;
    uint32_t kind, value, maxvalue;
    if (!PyArg_ParseTuple(args, "O&O&O&:create_lock", native_u32, &kind, native_u32, &value, native_u32, &maxvalue))
        return NULL;
    zi_made made = {0, 0};
    zi_status status;
    CREATE(status, lock_create(&self->view, kind, value, maxvalue, &made.slot, &made.generation, until));
    return made_result(self, status, made);
}

static PyObject *arena_allocate(PyObject *object, PyObject *argument)
{
    zi_draft draft = {.arena = (zi_arena_object *)object, .patience = zi_now() + ZI_LOCK_PATIENCE_NS};
    uint32_t id;
    Py_ssize_t nbytes = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (nbytes < 0) {
        if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "nbytes must not be negative: %zd", nbytes);
        return NULL;
    }
    if (draft_alloc(&draft, (uint64_t)(nbytes ? nbytes : 1), ZI_KIND_DATA, &id) < 0) return NULL;
    return block_wrap(draft.arena, id, nbytes);
}

static PyObject *arena_sweep_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    uint32_t count;
    Py_BEGIN_ALLOW_THREADS
    count = arena_sweep(&((zi_arena_object *)object)->view, zi_now() + 10 * (uint64_t)ZI_TICK_NS);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(count);
}

static PyObject *arena_trim_py(PyObject *object, PyObject *argument)
{
    unsigned long long keep = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred()) return NULL;
    uint32_t count = 0, once;
    Py_BEGIN_ALLOW_THREADS
    uint64_t deadline = zi_now() + 10 * (uint64_t)ZI_TICK_NS;
    while ((once = arena_trim(&((zi_arena_object *)object)->view, keep, 0, deadline)) != 0) count += once;
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(count);
}

static PyObject *arena_shrink_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    uint32_t count;
    Py_BEGIN_ALLOW_THREADS
    count = queues_shrink(&((zi_arena_object *)object)->view);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(count);
}

static PyObject *arena_deregister_py(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_arena_object *self = (zi_arena_object *)object;
    trimmer_end(self);
    if (self->blocks == NULL && self->kept == 0)
        arena_deregister(&self->view); /* else a sweep, when what is left cannot be used any more */
    Py_RETURN_NONE;
}

/* Before a fork: the child's entry is reserved, and every block that it will see is marked. */
static PyObject *arena_before_fork(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_arena_object *self = (zi_arena_object *)object;
    self->child = 0;
    if (self->view.me == 0) Py_RETURN_NONE;
    Py_BEGIN_ALLOW_THREADS
    participant_reserve(&self->view, &self->child, zi_now() + ZI_LOCK_PATIENCE_NS);
    Py_END_ALLOW_THREADS
    for (zi_block_object *block = self->blocks; block; block = block->next) {
        zi_block *shared = &self->view.blocks[block->id];
        if (block->identity == self->view.me && shared->inherited_from == 0)
            shared->inherited_from = self->view.arena->fork_clock;
    }
    Py_RETURN_NONE;
}

/* In the child: its views keep what they show, and its writes stay its own. */
static PyObject *arena_after_fork(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_arena_object *self = (zi_arena_object *)object;
    zi_view *view = &self->view;
    self->trimmer = 0;
    self->trimmer_runs = self->trimmer_stop = 0;
    self->parent = getppid();
    self->owed_bits = 0; /* the parent's */
    if (view->me == 0) Py_RETURN_NONE;
    blocks_inherit(self);
    uint64_t deadline = zi_now() + ZI_LOCK_PATIENCE_NS;
    zi_status status = participant_adopt(view, self->child, deadline);
    if (status == ZI_NO_ENTRY) status = arena_register(view, deadline);
    if (status != ZI_OK) return native_raise(self->state, status, view);
    for (uint32_t slot = 0; slot < ZI_LOAD(view->arena->queues_used); slot++)
        if (self->holds[slot]) holding_set(view, slot);
    Py_RETURN_NONE;
}

/* A slot; -1: an error is set. */
static long parse_slot(const zi_arena_object *self, PyObject *argument)
{
    long slot = PyLong_AsLong(argument);
    if (PyErr_Occurred() || (slot >= 0 && slot < (long)ZI_LOAD(self->view.arena->queues_used))) return slot;
    PyErr_Format(PyExc_ValueError, "there is no such slot: slot=%ld", slot);
    return -1;
}

static int append_number(PyObject *list, unsigned long number)
{
    PyObject *object = PyLong_FromUnsignedLong(number);
    int result = object ? PyList_Append(list, object) : -1;
    Py_XDECREF(object);
    return result;
}

static PyObject *arena_holders(PyObject *object, PyObject *argument)
{
    zi_arena_object *self = (zi_arena_object *)object;
    zi_view *view = &self->view;
    long slot = parse_slot(self, argument);
    PyObject *list = slot < 0 ? NULL : PyList_New(0);
    if (list == NULL) return NULL;
    zi_status status;
    ZI_PATIENTLY(status, arena_lock(view, until));
    int flying = status == ZI_OK && handle_any(view, (uint32_t)slot), failed = status == ZI_INTERRUPTED;
    if (status == ZI_OK) arena_unlock(view);
    if (flying) failed = append_number(list, 0);
    for (uint32_t index = 0; !failed && index < ZI_LOAD(view->arena->participants_used); index++)
        if (participant_identity(view, index) != view->me && view->participants[index].pid != 0 &&
            ZI_LOAD(participant_row(view, index)[slot]) && !participant_dead(view, index))
            failed = append_number(list, view->participants[index].pid);
    if (failed) Py_CLEAR(list);
    return list;
}

static PyObject *arena_held(PyObject *object, PyObject *argument)
{
    long slot = parse_slot((zi_arena_object *)object, argument);
    return slot < 0 ? NULL : PyLong_FromUnsignedLong(((zi_arena_object *)object)->holds[slot]);
}

static PyObject *arena_stats(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_view *view = &((zi_arena_object *)object)->view;
    uint32_t live = 0, queues = 0, people = 0;
    for (uint32_t i = 0; i < view->arena->blocks_used; i++) live += view->blocks[i].owner != ZI_FREE;
    for (uint32_t i = 0; i < view->arena->queues_used; i++) queues += view->queues[i].used == ZI_ROLE_QUEUE;
    for (uint32_t i = 0; i < view->arena->participants_used; i++) people += view->participants[i].pid != 0;
    return Py_BuildValue("{sK sK sI sI sI sI}", "reserved", (unsigned long long)view->arena->reserved,
                         "limit", (unsigned long long)view->arena->limit, "blocks",
                         view->arena->blocks_used, "blocks_live", live, "queues", queues,
                         "participants", people);
}

static PyObject *arena_get_identity(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((zi_arena_object *)object)->view.me);
}

static PyObject *arena_get_limit(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((zi_arena_object *)object)->view.arena->limit);
}

static PyObject *arena_get_token(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((zi_arena_object *)object)->view.arena->token);
}

static PyMethodDef arena_methods[] = {
    {"create_queue", arena_create_queue, METH_VARARGS, "(maxsize, noting, named) -> (slot, generation)"},
    {"create_lock", arena_create_lock, METH_VARARGS, "(kind, value, maxvalue) -> (slot, generation)"},
    {"create_memory", arena_create_memory, METH_O, "(nbytes) -> (slot, generation)"},
    {"allocate", arena_allocate, METH_O, "(nbytes) -> Block"},
    {"sweep", arena_sweep_py, METH_NOARGS, "Return what dead processes held; how many were dead."},
    {"trim", arena_trim_py, METH_O, "Give free memory beyond *keep* bytes back to the system."},
    {"shrink", arena_shrink_py, METH_NOARGS, "Shrink the rings of empty queues; how many there were."},
    {"deregister", arena_deregister_py, METH_NOARGS, "Leave the arena, unless something of it is still in use here."},
    {"before_fork", arena_before_fork, METH_NOARGS, "Reserve the child's entry."},
    {"after_fork", arena_after_fork, METH_NOARGS, "In the child: take the reserved entry."},
    {"holders", arena_holders, METH_O, "Ids of the other processes that hold a slot; 0: a handle on its way."},
    {"held", arena_held, METH_O, "How many objects of this process hold a slot."},
    {"stats", arena_stats, METH_NOARGS, "Figures of the arena, true at some moment."},
    {0},
};

static PyGetSetDef arena_getset[] = {
    {"identity", arena_get_identity, NULL, "This process's identity in the arena; 0: none.", NULL},
    {"limit", arena_get_limit, NULL, "Most bytes that blocks may reserve.", NULL},
    {"token", arena_get_token, NULL, "Random number that tells arenas of one name apart.", NULL},
    {0},
};

static PyType_Slot arena_slots[] = {
    {Py_tp_new, arena_new},
    {Py_tp_dealloc, arena_dealloc},
    {Py_tp_methods, arena_methods},
    {Py_tp_getset, arena_getset},
    {Py_tp_doc, "Arena(fd, nbytes, limit=0, token=0): map an arena and register; a limit makes a new one."},
    {0, NULL},
};

PyType_Spec arena_spec = {"zeroipc._native.Arena", sizeof(zi_arena_object), 0, Py_TPFLAGS_DEFAULT,
                          arena_slots};
