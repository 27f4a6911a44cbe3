/* The Python types Arena and Block. */
#include "native.h"

#include <signal.h>
#include <sys/mman.h>

#define ZI_KEEP ((uint64_t)24 << 20)         /* free bytes that stay warm when all is idle */
#define ZI_IDLE_MAX ((uint64_t)32 << 20)     /* reserved bytes from which on the trimmer stays */
#define ZI_TRIM_PERIOD_NS UINT64_C(500000000)
enum { ZI_TRIM_IDLE = 2, ZI_TRIM_PATIENCE = 4 };

/* --- Trimmer: a thread that exists while there may be idle memory to give back --------- */

static void *trimmer_main(void *argument)
{
    zi_arena_object *self = argument;
    int quiet = 0;
    while (quiet < ZI_TRIM_PATIENCE && !ZI_LOAD(self->trimmer_stop)) {
        uint64_t end = zi_now() + ZI_TRIM_PERIOD_NS;
        while (!ZI_LOAD(self->trimmer_stop) && zi_now() < end) wait_sleep(&self->trimmer_stop, 0, end);
        uint32_t count = ZI_LOAD(self->trimmer_stop) ? 0 : queues_shrink(&self->view), once;
        do {
            once = ZI_LOAD(self->trimmer_stop) ? 0 : arena_trim(&self->view, ZI_KEEP, ZI_TRIM_IDLE);
            count += once;
        } while (once == ZI_TRIM_BATCH);
        quiet = count || ZI_LOAD(self->view.arena->reserved) > ZI_IDLE_MAX ? 0 : quiet + 1;
    }
    ZI_STORE(self->trimmer_runs, 0);
    return NULL;
}

/* Start the trimmer if memory may lie idle; *more*: it does in a ring.  Called by whoever
 * puts, gets, waits or frees; needs the interpreter lock and nothing else of Python, so a
 * finalizer may call it. */
void arena_idle(zi_arena_object *self, int more)
{
    if (ZI_LOAD(self->trimmer_runs) || !(more || self->view.arena->reserved > ZI_KEEP)) return;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's threads */
    if (self->trimmer) pthread_join(self->trimmer, NULL);
    self->trimmer = 0;
    self->trimmer_runs = 1;
    if (pthread_create(&self->trimmer, &attr, trimmer_main, self) != 0) {
        self->trimmer = 0;
        self->trimmer_runs = 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

static void trimmer_end(zi_arena_object *self)
{
    if (!self->trimmer) return;
    ZI_STORE(self->trimmer_stop, 1);
    wait_wake(&self->trimmer_stop, 1);
    pthread_join(self->trimmer, NULL);
    self->trimmer = 0;
    self->trimmer_stop = 0;
}

/* --- Block: memory of the arena that this process has ---------------------------------- */

/* Whether there is an object for the block that was inherited through a fork: it shows what
 * it was then, in pages of this process's own, where every other block is shared. */
static int block_is_inherited(const zi_arena_object *arena, uint32_t id)
{
    for (const zi_block_object *block = arena->inherited ? arena->blocks : NULL; block; block = block->next)
        if (block->inherited && block->id == id) return 1;
    return 0;
}

/* Map the pages of a block: at *where*, or anywhere. */
static void *block_map(const zi_arena_object *arena, const zi_block_object *block, void *where, int flags)
{
    return mmap(where, pages_of((uint64_t)block->nbytes) * ZI_PAGE, PROT_READ | PROT_WRITE, flags, arena->view.fd,
                (off_t)arena->view.blocks[block->id].offset);
}

/* Find the bytes of a new object.  A block that was sent back to a child which still shows
 * what it was at the fork is mapped a second time. */
static int block_place(zi_arena_object *arena, zi_block_object *self)
{
    self->bytes = block_bytes(&arena->view, self->id);
    if (!block_is_inherited(arena, self->id)) return 0;
    void *bytes = block_map(arena, self, NULL, MAP_SHARED);
    if (bytes == MAP_FAILED) return PyErr_SetFromErrno(PyExc_OSError), -1;
    self->bytes = bytes;
    self->mapped = pages_of((uint64_t)self->nbytes) * ZI_PAGE;
    return 0;
}

PyObject *block_wrap(zi_arena_object *arena, uint32_t id, Py_ssize_t nbytes)
{
    PyTypeObject *type = arena->state->block_type;
    zi_block_object *self = (zi_block_object *)type->tp_alloc(type, 0);
    if (self == NULL) {
        block_free(&arena->view, id);
        return NULL;
    }
    self->arena = (zi_arena_object *)Py_NewRef((PyObject *)arena);
    self->id = id;
    self->identity = arena->view.me;
    self->nbytes = nbytes;
    self->next = arena->blocks;
    self->link = &arena->blocks;
    if (self->next) self->next->link = &self->next;
    arena->blocks = self;
    if (block_place(arena, self) == 0) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

/* An inherited object goes: where the block lies, it is shared again. */
static void block_disinherit(zi_arena_object *arena, zi_block_object *self)
{
    arena->inherited--;
    if (!block_is_inherited(arena, self->id)) block_map(arena, self, self->bytes, MAP_SHARED | MAP_FIXED);
}

static void block_dealloc(PyObject *object)
{
    zi_block_object *self = (zi_block_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    zi_arena_object *arena = self->arena;
    *self->link = self->next;
    if (self->next) self->next->link = self->link;
    if (self->inherited) block_disinherit(arena, self);
    if (self->mapped) munmap(self->bytes, self->mapped);
    if (self->identity == arena->view.me) { /* else it was inherited through a fork */
        if (self->moved)
            block_unlend(&arena->view, self->id, arena->view.me);
        else
            block_free(&arena->view, self->id);
        arena_idle(arena, 0);
    }
    type->tp_free(object);
    Py_DECREF(arena);
    Py_DECREF(type);
}

static int block_getbuffer(PyObject *object, Py_buffer *buffer, int flags)
{
    zi_block_object *self = (zi_block_object *)object;
    if (PyBuffer_FillInfo(buffer, object, self->bytes, self->nbytes, self->moved, flags) < 0) return -1;
    self->exports++;
    return 0;
}

static void block_releasebuffer(PyObject *object, Py_buffer *buffer)
{
    (void)buffer;
    ((zi_block_object *)object)->exports--;
}

static PyObject *block_get_id(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((zi_block_object *)object)->id);
}

static PyObject *block_get_moved(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(((zi_block_object *)object)->moved);
}

static PyGetSetDef block_getset[] = {
    {"id", block_get_id, NULL, "The block's number in its arena.", NULL},
    {"moved", block_get_moved, NULL, "Whether it was sent away.", NULL},
    {0},
};

static PyType_Slot block_slots[] = {
    {Py_tp_dealloc, block_dealloc},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_bf_releasebuffer, block_releasebuffer},
    {Py_tp_getset, block_getset},
    {Py_tp_doc, "Memory of an arena that this process has; it goes back with its last view."},
    {0, NULL},
};

PyType_Spec block_spec = {"zeroipc._native.Block", sizeof(zi_block_object), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, block_slots};

/* A message that needs all but the last sixteenth would starve the rings themselves. */
static int never_fits(const zi_view *view, uint64_t nbytes)
{
    return nbytes > view->arena->limit - view->arena->limit / 16;
}

/* Raise ShmFullError(message, asked, free). */
static void raise_no_room(zi_draft *draft, zi_status status, uint64_t nbytes)
{
    zi_state *state = draft->arena->state;
    const zi_arena *arena = draft->arena->view.arena;
    unsigned long long asked = nbytes, limit = arena->limit, reserved = arena->reserved;
    unsigned long long unused = limit > reserved ? limit - reserved : 0;
    PyObject *text;
    if (draft->too_large)
        text = PyUnicode_FromFormat("a message must be smaller than the arena by a sixteenth: asked=%llu bytes, "
                                    "limit=%llu; send it in parts", asked, limit);
    else if (status == ZI_NO_SPACE)
        text = PyUnicode_FromFormat("no memory is left in /dev/shm: asked=%llu bytes, the arena has reserved %llu; "
                                    "remove files there, or mount it larger", asked, reserved);
    else
        text = PyUnicode_FromFormat("the arena is full: asked=%llu bytes, limit=%llu, reserved=%llu; receive or "
                                    "drop arrays that are in use", asked, limit, reserved);
    PyObject *error = text ? PyObject_CallFunction(state->arena_full, "OKK", text, asked, unused) : NULL;
    if (error) PyErr_SetObject(state->arena_full, error);
    Py_XDECREF(error);
    Py_XDECREF(text);
}

/* Allocate for a message, waiting for memory until the draft's deadline. */
int draft_alloc(zi_draft *draft, uint64_t nbytes, uint32_t kind, uint32_t *id)
{
    zi_view *view = &draft->arena->view;
    zi_status status;
    if (draft->message.nblocks == ZI_MESSAGE_BLOCKS) {
        PyErr_Format(PyExc_ValueError, "a message carries at most %d blocks", ZI_MESSAGE_BLOCKS);
        return -1;
    }
    if (nbytes < (uint64_t)ZI_BIG_COPY) {
        status = block_alloc(view, nbytes, kind, id);
    } else { /* new pages take the system a while */
        Py_BEGIN_ALLOW_THREADS
        status = block_alloc(view, nbytes, kind, id);
        Py_END_ALLOW_THREADS
    }
    if ((status == ZI_NO_MEMORY || status == ZI_NO_SPACE) && arena_sweep(view) != 0)
        status = block_alloc(view, nbytes, kind, id); /* nobody may have been idle enough to sweep */
    while (status == ZI_NO_MEMORY || status == ZI_NO_SPACE || status == ZI_NO_ENTRY) {
        draft->too_large = never_fits(view, nbytes);
        if (draft->too_large || zi_now() >= draft->deadline) break;
        Py_BEGIN_ALLOW_THREADS
        arena_await_space(view, draft->deadline);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() < 0) return -1;
        status = block_alloc(view, nbytes, kind, id);
    }
    if (status == ZI_NO_MEMORY || status == ZI_NO_SPACE) {
        raise_no_room(draft, status, nbytes);
        return -1;
    }
    if (status != ZI_OK) {
        native_raise(draft->arena->state, status, view);
        return -1;
    }
    arena_idle(draft->arena, 0);
    draft->message.blocks[draft->message.nblocks++] = *id;
    return 0;
}

/* --- Arena ------------------------------------------------------------------------------ */

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
    if (status == ZI_OK) status = arena_register(&self->view);
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

static PyObject *arena_create_queue(PyObject *object, PyObject *args)
{
    zi_arena_object *self = (zi_arena_object *)object;
    unsigned int maxsize, noting;
    int named;
    if (!PyArg_ParseTuple(args, "IIp:create_queue", &maxsize, &noting, &named)) return NULL;
    uint32_t slot = 0, generation = 0;
    zi_status status = queue_create(&self->view, maxsize, noting, (uint32_t)named, &slot, &generation);
    if (status != ZI_OK) return native_raise(self->state, status, &self->view);
    return Py_BuildValue("II", slot, generation);
}

static PyObject *arena_allocate(PyObject *object, PyObject *argument)
{
    zi_draft draft = {.arena = (zi_arena_object *)object};
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
    count = arena_sweep(&((zi_arena_object *)object)->view);
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(count);
}

static PyObject *arena_trim_py(PyObject *object, PyObject *argument)
{
    unsigned long long keep = PyLong_AsUnsignedLongLong(argument);
    if (PyErr_Occurred()) return NULL;
    uint32_t count = 0, once;
    Py_BEGIN_ALLOW_THREADS
    while ((once = arena_trim(&((zi_arena_object *)object)->view, keep, 0)) != 0) count += once;
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
    if (self->blocks == NULL) arena_deregister(&self->view); /* else a sweep, when views cannot be used any more */
    Py_RETURN_NONE;
}

/* Before a fork: the child's entry is reserved, and every block that it will see is marked. */
static PyObject *arena_before_fork(PyObject *object, PyObject *unused)
{
    (void)unused;
    zi_arena_object *self = (zi_arena_object *)object;
    self->child = 0;
    if (self->view.me == 0) Py_RETURN_NONE;
    participant_reserve(&self->view, &self->child);
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
    if (view->me == 0) Py_RETURN_NONE;
    for (zi_block_object *block = self->blocks; block; block = block->next) {
        if (block->nbytes == 0 || block->identity != view->me) continue;
        block_map(self, block, block->bytes, MAP_PRIVATE | MAP_FIXED);
        if (block->mapped) continue; /* that is its own place */
        block->inherited = 1;
        self->inherited++;
    }
    zi_status status = participant_adopt(view, self->child);
    if (status == ZI_NO_ENTRY) status = arena_register(view);
    if (status != ZI_OK) return native_raise(self->state, status, view);
    for (uint32_t slot = 0; slot < ZI_LOAD(view->arena->queues_used); slot++)
        if (self->holds[slot]) holding_set(view, slot);
    Py_RETURN_NONE;
}

/* The slot of a queue; -1: an error is set. */
static long parse_slot(const zi_arena_object *self, PyObject *argument)
{
    long slot = PyLong_AsLong(argument);
    if (PyErr_Occurred() || (slot >= 0 && slot < (long)ZI_LOAD(self->view.arena->queues_used))) return slot;
    PyErr_Format(PyExc_ValueError, "there is no such queue: slot=%ld", slot);
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
    zi_status status = arena_lock(view);
    int flying = status == ZI_OK && handle_any(view, (uint32_t)slot), failed = 0;
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
    for (uint32_t i = 0; i < view->arena->queues_used; i++) queues += view->queues[i].used != 0;
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
    {"allocate", arena_allocate, METH_O, "(nbytes) -> Block"},
    {"sweep", arena_sweep_py, METH_NOARGS, "Return what dead processes held; how many were dead."},
    {"trim", arena_trim_py, METH_O, "Give free memory beyond *keep* bytes back to the system."},
    {"shrink", arena_shrink_py, METH_NOARGS, "Shrink the rings of empty queues; how many there were."},
    {"deregister", arena_deregister_py, METH_NOARGS, "Leave the arena, unless arrays of it are still in use here."},
    {"before_fork", arena_before_fork, METH_NOARGS, "Reserve the child's entry."},
    {"after_fork", arena_after_fork, METH_NOARGS, "In the child: take the reserved entry."},
    {"holders", arena_holders, METH_O, "Ids of the other processes that hold a queue; 0: a handle on its way."},
    {"held", arena_held, METH_O, "How many objects of this process hold a queue."},
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
