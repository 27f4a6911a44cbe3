/* Pickles with buffers: what a pickle of protocol 5 leaves out lies in blocks of the message.
 *
 * Loans move, each a block of its own; the other buffers are packed into the last block. */
#include "codec.h"

enum { ZI_PARTS_MAX = 256 };

/* --- Encode --------------------------------------------------------------------------------------- */

typedef struct {
    Py_buffer buffer;
    int moved; /* its memory goes along; else it is copied */
} zi_piece;

static void pieces_release(zi_piece *pieces, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) PyBuffer_Release(&pieces[i].buffer);
    PyMem_Free(pieces);
}

/* Say where each buffer goes: loans move, and *total bytes of one block hold the others. */
static int parts_place(zi_draft *draft, zi_piece *pieces, zi_part *parts, Py_ssize_t count, uint64_t *total)
{
    *total = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_buffer *buffer = &pieces[i].buffer;
        parts[i].readonly = buffer->readonly != 0;
        parts[i].array = (uint16_t)array_is(draft->arena->state, buffer->obj);
        parts[i].nbytes = (uint64_t)buffer->len;
        pieces[i].moved = loan_take(draft, buffer->obj, buffer, &parts[i].offset);
        if (pieces[i].moved < 0) return -1;
        parts[i].block = draft->message.nblocks - 1u;
        if (pieces[i].moved) continue;
        parts[i].offset = *total;
        *total = align64(*total + parts[i].nbytes);
    }
    return 0;
}

/* Copy the buffers that do not move into a block, and *beyond* bytes of the pickle after them. */
static int parts_copy(zi_draft *draft, zi_piece *pieces, zi_part *parts, Py_ssize_t count, uint64_t total,
                      const char *pickle, Py_ssize_t beyond)
{
    uint32_t id;
    if (total == 0 && beyond == 0) return 0;
    if (draft_alloc(draft, total + (uint64_t)beyond, ZI_KIND_DATA, &id) < 0) return -1;
    unsigned char *bytes = block_bytes(&draft->arena->view, id);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (pieces[i].moved) continue;
        parts[i].block = draft->message.nblocks - 1u;
        copy_bytes(bytes + parts[i].offset, pieces[i].buffer.buf, pieces[i].buffer.len);
    }
    copy_bytes(bytes + total, pickle, beyond);
    return 0;
}

/* Write the payload: PARTS, PART..., and the pickle if it fits. */
static int parts_finish(zi_draft *draft, zi_piece *pieces, zi_part *parts, Py_ssize_t count, PyObject *pickle)
{
    const char *data = PyBytes_AS_STRING(pickle);
    Py_ssize_t nbytes = PyBytes_GET_SIZE(pickle), table = (Py_ssize_t)(sizeof(zi_parts) + (size_t)count * sizeof(zi_part));
    int inlined = table + nbytes <= ZI_INLINE_MAX;
    uint64_t total;
    if (parts_place(draft, pieces, parts, count, &total) < 0 ||
        parts_copy(draft, pieces, parts, count, total, data, inlined ? 0 : nbytes) < 0)
        return -1;
    zi_parts head = {(uint32_t)count, (uint32_t)inlined, total, (uint64_t)nbytes};
    draft->keep = PyBytes_FromStringAndSize(NULL, table + (inlined ? nbytes : 0));
    if (draft->keep == NULL) return -1;
    unsigned char *payload = (unsigned char *)PyBytes_AS_STRING(draft->keep);
    memcpy(payload, &head, sizeof head);
    memcpy(payload + sizeof head, parts, (size_t)count * sizeof *parts);
    if (inlined) memcpy(payload + table, data, (size_t)nbytes);
    draft->message.kind = ZI_PAYLOAD_PARTS;
    draft->message.payload = payload;
    draft->message.nbytes = (uint32_t)PyBytes_GET_SIZE(draft->keep);
    return 0;
}

int encode_parts(zi_draft *draft, PyObject *pickle, PyObject *buffers)
{
    Py_ssize_t count = PyList_GET_SIZE(buffers), got = 0;
    zi_part parts[ZI_PARTS_MAX];
    zi_piece *pieces = PyMem_Calloc((size_t)count, sizeof *pieces);
    int result = pieces ? 0 : (PyErr_NoMemory(), -1);
    for (; result == 0 && got < count; got += result == 0)
        result = PyObject_GetBuffer(PyList_GET_ITEM(buffers, got), &pieces[got].buffer, PyBUF_FULL_RO);
    if (result == 0) result = parts_finish(draft, pieces, parts, count, pickle);
    if (pieces) pieces_release(pieces, got);
    return result;
}

/* --- Decode --------------------------------------------------------------------------------------- */

/* The blocks that the parts of a message lie in. */
typedef struct {
    PyObject *blocks[ZI_MESSAGE_BLOCKS]; /* those that were taken out of the message */
    uint32_t parts[ZI_MESSAGE_BLOCKS];   /* how many lie in each */
} zi_shelf;

/* Count the parts in each block; 0: one lies in none. */
static int parts_check(zi_arena_object *arena, const zi_message *message, const zi_part *parts, uint32_t count,
                       zi_shelf *shelf)
{
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].block >= message->nblocks) return 0;
        uint64_t capacity = (uint64_t)block_capacity(arena, message->blocks[parts[i].block]);
        if (parts[i].offset > capacity || parts[i].nbytes > capacity - parts[i].offset) return 0;
        shelf->parts[parts[i].block]++;
    }
    return 1;
}

/* Some bytes of a block of the message as a memoryview that keeps the block. */
static PyObject *shelf_view(zi_arena_object *arena, const zi_message *message, zi_shelf *shelf, uint32_t index,
                            uint64_t offset, uint64_t nbytes)
{
    PyObject **block = &shelf->blocks[index];
    if (*block == NULL) *block = take_block(arena, message, index);
    PyObject *whole = *block ? PyMemoryView_FromObject(*block) : NULL;
    PyObject *view = whole ? PySequence_GetSlice(whole, (Py_ssize_t)offset, (Py_ssize_t)(offset + nbytes)) : NULL;
    Py_XDECREF(whole);
    return view;
}

/* What the pickler gets for a part.  An array that has a block to itself shows it as bytes. */
static PyObject *part_buffer(zi_arena_object *arena, const zi_message *message, zi_shelf *shelf, const zi_part *part)
{
    if (part->array && shelf->parts[part->block] == 1) {
        PyObject *block = shelf->blocks[part->block] = take_block(arena, message, part->block);
        return block ? array_of_bytes(arena->state, block, part) : NULL;
    }
    PyObject *view = shelf_view(arena, message, shelf, part->block, part->offset, part->nbytes);
    if (view && part->readonly) {
        PyObject *frozen = PyObject_CallMethod(view, "toreadonly", NULL);
        Py_DECREF(view);
        view = frozen;
    }
    return view;
}

static PyObject *parts_buffers(zi_arena_object *arena, const zi_message *message, zi_shelf *shelf,
                               const zi_part *parts, uint32_t count)
{
    PyObject *buffers = PyList_New(0);
    for (uint32_t i = 0; buffers && i < count; i++) {
        PyObject *buffer = part_buffer(arena, message, shelf, &parts[i]);
        if (buffer == NULL || PyList_Append(buffers, buffer) < 0) Py_CLEAR(buffers);
        Py_XDECREF(buffer);
    }
    return buffers;
}

/* The object of a pickle with buffers; they keep their blocks. */
PyObject *decode_parts(zi_arena_object *arena, const zi_message *message)
{
    zi_parts head;
    zi_part parts[ZI_PARTS_MAX];
    zi_shelf shelf = {0};
    if (message->nbytes < sizeof head) return native_raise(arena->state, ZI_DAMAGED, &arena->view);
    memcpy(&head, message->payload, sizeof head);
    size_t table = sizeof head + head.count * sizeof *parts;
    if (head.count > ZI_PARTS_MAX || table + (head.inlined ? head.nbytes : 0) > message->nbytes)
        return native_raise(arena->state, ZI_DAMAGED, &arena->view);
    memcpy(parts, message->payload + sizeof head, head.count * sizeof *parts);
    if (!parts_check(arena, message, parts, head.count, &shelf))
        return native_raise(arena->state, ZI_DAMAGED, &arena->view);
    PyObject *buffers = parts_buffers(arena, message, &shelf, parts, head.count), *pickle = NULL, *object = NULL;
    if (buffers && head.inlined)
        pickle = PyBytes_FromStringAndSize((const char *)message->payload + table, (Py_ssize_t)head.nbytes);
    else if (buffers)
        pickle = shelf_view(arena, message, &shelf, message->nblocks - 1u, head.offset, head.nbytes);
    if (pickle) object = codec_loads(arena, pickle, buffers);
    Py_XDECREF(pickle);
    Py_XDECREF(buffers);
    for (uint32_t i = 0; i < message->nblocks; i++) Py_XDECREF(shelf.blocks[i]);
    return object;
}
