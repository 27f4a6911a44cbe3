/* The Python type Block: memory of the arena that this process has. */
#include "native.h"

#include <sys/mman.h>

/* Whether there is an object for the block that was inherited through a fork: it shows what
 * it was then, in pages of this process's own, where every other block is shared. */
static int block_is_inherited(const zi_arena_object *arena, uint32_t id)
{
    for (const zi_block_object *block = arena->inherited ? arena->blocks : NULL; block; block = block->next)
        if (block->inherited && block->id == id) return 1;
    return 0;
}

/* Map the pages of a block: at *where*, or anywhere.  A program that has closed the arena's
 * descriptor keeps what is mapped. */
static void *block_map(const zi_arena_object *arena, const zi_block_object *block, void *where, int flags)
{
    if (!view_has_file(&arena->view)) return errno = EBADF, MAP_FAILED;
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

/* After a fork, in the child: its objects keep what they show, and its writes stay its own. */
void blocks_inherit(zi_arena_object *arena)
{
    for (zi_block_object *block = arena->blocks; block; block = block->next) {
        if (block->nbytes == 0 || block->identity != arena->view.me) continue;
        block_map(arena, block, block->bytes, MAP_PRIVATE | MAP_FIXED);
        if (block->mapped) continue; /* that is its own place */
        block->inherited = 1;
        arena->inherited++;
    }
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
