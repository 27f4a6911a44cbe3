/* Objects to messages and back.
 *
 * Small scalars, str, bytes and plain arrays are encoded here; the rest is pickle protocol
 * 5.  Containers of plain built-in objects go to the C pickler directly; everything else
 * goes through zeroipc._core.pickling, which honours copyreg and ForkingPickler. */
#include "codec.h"

enum { ZI_PLAIN_ITEMS = 64, ZI_PLAIN_DEPTH = 4, ZI_PARTS_MAX = 256, ZI_PART_MIN = 4096 };

/* The message that this thread is encoding or decoding: handles of queues go in and out of
 * it while the pickler runs. */
static __thread zi_draft *sending;
static __thread zi_arena_object *receiving_arena;
static __thread const zi_message *receiving;
static __thread uint32_t received; /* bit per block of `receiving` that was taken out */

/* --- Small objects ----------------------------------------------------------------------------- */

static void draft_small(zi_draft *draft, uint16_t kind, const void *bytes, uint32_t nbytes)
{
    memcpy(draft->small, bytes, nbytes);
    draft->message.kind = kind;
    draft->message.payload = draft->small;
    draft->message.nbytes = nbytes;
}

/* A payload of any length; *owner* keeps it alive. */
static int draft_payload(zi_draft *draft, uint16_t kind, const char *bytes, Py_ssize_t nbytes, PyObject *owner)
{
    draft->keep = Py_NewRef(owner);
    draft->message.kind = kind;
    draft->message.payload = (unsigned char *)bytes;
    draft->message.nbytes = (uint32_t)nbytes;
    if (nbytes <= ZI_INLINE_MAX) return 0;
    uint32_t id;
    uint64_t length = (uint64_t)nbytes;
    if (draft_alloc(draft, length, ZI_KIND_DATA, &id) < 0) return -1;
    copy_bytes(block_bytes(&draft->arena->view, id), bytes, nbytes);
    draft_small(draft, kind | ZI_PAYLOAD_IN_BLOCK, &length, sizeof length);
    return 0;
}

/* Whether pickling *object* runs no code of the user and needs no registration. */
static int is_plain(PyObject *object, int depth, int *items)
{
    PyTypeObject *type = Py_TYPE(object);
    if (--*items < 0) return 0;
    if (object == Py_None || type == &PyBool_Type || type == &PyLong_Type || type == &PyFloat_Type ||
        type == &PyUnicode_Type || type == &PyBytes_Type)
        return 1;
    if (depth == 0) return 0;
    if (type == &PyTuple_Type || type == &PyList_Type) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); i++)
            if (!is_plain(PySequence_Fast_GET_ITEM(object, i), depth - 1, items)) return 0;
        return 1;
    }
    if (type != &PyDict_Type) return 0;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(object, &at, &key, &value);)
        if (!is_plain(key, depth - 1, items) || !is_plain(value, depth - 1, items)) return 0;
    return 1;
}

/* --- Pickles with buffers ------------------------------------------------------------------------ */

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

static int encode_parts(zi_draft *draft, PyObject *pickle, PyObject *buffers)
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

/* What the pickler does with a buffer: a long one goes out of band (false), a short one
 * into the pickle (true). */
static int encode_any(zi_draft *draft, PyObject *object)
{
    PyObject *buffers = PyList_New(0);
    if (buffers == NULL) return -1;
    zi_draft *outer = sending;
    sending = draft;
    PyObject *pickle = PyObject_CallFunctionObjArgs(draft->arena->state->dump_any, object, buffers, NULL);
    sending = outer;
    int result = -1;
    if (pickle && !PyBytes_CheckExact(pickle))
        PyErr_SetString(PyExc_TypeError, "dump_any() returns bytes");
    else if (pickle && PyList_GET_SIZE(buffers) == 0)
        result = draft_payload(draft, ZI_PAYLOAD_PICKLE, PyBytes_AS_STRING(pickle), PyBytes_GET_SIZE(pickle), pickle);
    else if (pickle)
        result = encode_parts(draft, pickle, buffers);
    Py_XDECREF(pickle);
    Py_DECREF(buffers);
    return result;
}

/* --- Encode --------------------------------------------------------------------------------------- */

static int encode_pickle(zi_draft *draft, PyObject *object)
{
    int items = ZI_PLAIN_ITEMS;
    if (!is_plain(object, ZI_PLAIN_DEPTH, &items)) return encode_any(draft, object);
    PyObject *arguments[] = {object, draft->arena->state->protocol};
    PyObject *pickle = PyObject_Vectorcall(draft->arena->state->dumps, arguments, 2, NULL);
    if (pickle == NULL) return -1;
    int result = draft_payload(draft, ZI_PAYLOAD_PICKLE, PyBytes_AS_STRING(pickle), PyBytes_GET_SIZE(pickle), pickle);
    Py_DECREF(pickle);
    return result;
}

static int encode_int(zi_draft *draft, PyObject *object)
{
    int overflow;
    int64_t value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow) return encode_pickle(draft, object);
    draft_small(draft, ZI_PAYLOAD_INT, &value, sizeof value);
    return 0;
}

static int encode_str(zi_draft *draft, PyObject *object)
{
    Py_ssize_t nbytes;
    const char *bytes = PyUnicode_AsUTF8AndSize(object, &nbytes);
    if (bytes) return draft_payload(draft, ZI_PAYLOAD_STR, bytes, nbytes, object);
    PyErr_Clear(); /* lone surrogates: pickle knows how */
    return encode_pickle(draft, object);
}

static int encode(zi_draft *draft, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyLong_Type) return encode_int(draft, object);
    if (type == &PyUnicode_Type) return encode_str(draft, object);
    if (type == &PyBytes_Type)
        return draft_payload(draft, ZI_PAYLOAD_BYTES, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), object);
    if (type == &PyFloat_Type) {
        double value = PyFloat_AS_DOUBLE(object);
        return draft_small(draft, ZI_PAYLOAD_FLOAT, &value, sizeof value), 0;
    }
    if (object == Py_None) return draft_small(draft, ZI_PAYLOAD_NONE, "", 0), 0;
    if (type == &PyBool_Type)
        return draft_small(draft, object == Py_True ? ZI_PAYLOAD_TRUE : ZI_PAYLOAD_FALSE, "", 0), 0;
    if (array_is(draft->arena->state, object)) {
        int done = array_encode(draft, object);
        if (done) return done < 0 ? -1 : 0;
    }
    return encode_pickle(draft, object);
}

/* Encode *object*; nothing is sent yet.  On error everything is undone. */
int draft_encode(zi_draft *draft, zi_arena_object *arena, PyObject *object, int keeps_received, uint64_t deadline)
{
    draft->arena = arena;
    draft->keep = NULL;
    draft->nloans = 0;
    draft->keeps_received = keeps_received;
    draft->deadline = deadline;
    draft->too_large = 0;
    draft->message.nblocks = 0;
    if (encode(draft, object) == 0) return 0;
    draft_dropped(draft);
    return -1;
}

/* The message is the queue's now. */
void draft_sent(zi_draft *draft)
{
    Py_XDECREF(draft->keep);
    for (uint32_t i = 0; i < draft->nloans; i++) {
        draft->loans[i].block->moved = 1;
        Py_DECREF(draft->loans[i].block);
        Py_DECREF(draft->loans[i].array);
    }
}

/* The message was not sent: its blocks go back, loans stay what they were. */
void draft_dropped(zi_draft *draft)
{
    PyObject *type, *value, *trace;
    zi_view *view = &draft->arena->view;
    PyErr_Fetch(&type, &value, &trace);
    for (uint32_t i = 0; i < draft->message.nblocks; i++)
        if (!draft_lends(draft, draft->message.blocks[i])) block_free(view, draft->message.blocks[i]);
    for (uint32_t i = 0; i < draft->nloans; i++) {
        zi_loan *loan = &draft->loans[i];
        block_unlend(view, loan->block->id, view->me);
        Py_XDECREF(PyObject_CallMethodOneArg(loan->array, draft->arena->state->str_setflags, Py_True));
        Py_DECREF(loan->block);
        Py_DECREF(loan->array);
    }
    Py_XDECREF(draft->keep);
    PyErr_Restore(type, value, trace);
}

/* --- Decode --------------------------------------------------------------------------------------- */

static Py_ssize_t block_capacity(zi_arena_object *arena, uint32_t id)
{
    return (Py_ssize_t)(class_pages(arena->view.blocks[id].cls) * ZI_PAGE);
}

static PyObject *loads(zi_arena_object *arena, PyObject *data, PyObject *buffers)
{
    PyObject *arguments[] = {data, buffers};
    return PyObject_Vectorcall(arena->state->loads, arguments, 1, buffers ? arena->state->buffers_name : NULL);
}

static PyObject *decode_bytes(zi_arena_object *arena, uint16_t kind, const char *bytes, Py_ssize_t nbytes)
{
    switch (kind) {
    case ZI_PAYLOAD_STR: return PyUnicode_DecodeUTF8(bytes, nbytes, NULL);
    case ZI_PAYLOAD_BYTES: return PyBytes_FromStringAndSize(bytes, nbytes);
    case ZI_PAYLOAD_PICKLE: {
        PyObject *pickle = PyBytes_FromStringAndSize(bytes, nbytes);
        PyObject *object = pickle ? loads(arena, pickle, NULL) : NULL;
        Py_XDECREF(pickle);
        return object;
    }
    default: return native_raise(arena->state, ZI_DAMAGED, &arena->view);
    }
}

/* Block *index* of a message as an object that frees it. */
static PyObject *take_block(zi_arena_object *arena, const zi_message *message, uint32_t index)
{
    uint32_t id = message->blocks[index];
    PyObject *block = block_wrap(arena, id, block_capacity(arena, id));
    received |= 1u << index;
    if (block) ((zi_block_object *)block)->received = 1;
    return block;
}

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

/* What the pickler gets for a part.  An array that has a block to itself may be moved on. */
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
static PyObject *decode_parts(zi_arena_object *arena, const zi_message *message)
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
    if (pickle) object = loads(arena, pickle, buffers);
    Py_XDECREF(pickle);
    Py_XDECREF(buffers);
    for (uint32_t i = 0; i < message->nblocks; i++) Py_XDECREF(shelf.blocks[i]);
    return object;
}

/* A payload that lies in the message's last block. */
static PyObject *decode_block(zi_arena_object *arena, const zi_message *message)
{
    uint32_t last = message->nblocks - 1u;
    uint64_t nbytes = 0;
    zi_block_object *block = (zi_block_object *)take_block(arena, message, last);
    PyObject *object = NULL;
    if (block == NULL) return NULL;
    if ((message->kind & 0xFF) == ZI_PAYLOAD_ARRAY) {
        object = array_decode(arena, message, block);
    } else {
        memcpy(&nbytes, message->payload, sizeof nbytes);
        if (nbytes <= (uint64_t)block->nbytes)
            object = decode_bytes(arena, message->kind & 0xFF, (const char *)block->bytes, (Py_ssize_t)nbytes);
        else
            native_raise(arena->state, ZI_DAMAGED, &arena->view);
    }
    Py_DECREF(block);
    return object;
}

static PyObject *decode_small(zi_arena_object *arena, const zi_message *message)
{
    int64_t integer;
    double real;
    switch (message->kind) {
    case ZI_PAYLOAD_NONE: Py_RETURN_NONE;
    case ZI_PAYLOAD_FALSE: Py_RETURN_FALSE;
    case ZI_PAYLOAD_TRUE: Py_RETURN_TRUE;
    case ZI_PAYLOAD_INT: return memcpy(&integer, message->payload, 8), PyLong_FromLongLong(integer);
    case ZI_PAYLOAD_FLOAT: return memcpy(&real, message->payload, 8), PyFloat_FromDouble(real);
    default: return decode_bytes(arena, message->kind, (const char *)message->payload, message->nbytes);
    }
}

/* The object of a message.  Every block of it becomes part of the object or goes back. */
PyObject *message_decode(zi_arena_object *arena, const zi_message *message)
{
    uint16_t plain = message->kind & 0xFF;
    if (message->nblocks == 0)
        return plain == ZI_PAYLOAD_ARRAY ? array_decode(arena, message, NULL) : decode_small(arena, message);
    zi_message copy = *message; /* unpickling may get from this or another queue */
    unsigned char *payload = PyMem_Malloc(message->nbytes + 1u);
    if (payload == NULL) return PyErr_NoMemory();
    copy.payload = memcpy(payload, message->payload, message->nbytes);
    const zi_message *outer = receiving;
    zi_arena_object *outer_arena = receiving_arena;
    uint32_t outer_received = received;
    receiving = &copy;
    receiving_arena = arena;
    received = 0;
    PyObject *object;
    if (plain == ZI_PAYLOAD_PARTS) object = decode_parts(arena, &copy);
    else if (plain == ZI_PAYLOAD_ARRAY || (message->kind & ZI_PAYLOAD_IN_BLOCK)) object = decode_block(arena, &copy);
    else object = decode_small(arena, &copy);
    for (uint32_t i = 0; i < copy.nblocks; i++)
        if (!(received >> i & 1)) block_free(&arena->view, copy.blocks[i]);
    receiving = outer;
    receiving_arena = outer_arena;
    received = outer_received;
    PyMem_Free(payload);
    return object;
}

/* --- Handles: queues inside messages ----------------------------------------------------------------- */

/* send_handle(queue): let the message in the making carry it; None when there is none, or
 * when it goes through another arena. */
PyObject *native_send_handle(PyObject *module, PyObject *object)
{
    zi_state *state = PyModule_GetState(module);
    if (!PyObject_TypeCheck(object, state->queue_type)) return PyErr_Format(PyExc_TypeError, "takes a MessageQueue");
    zi_queue_object *queue = (zi_queue_object *)object;
    if (sending == NULL) Py_RETURN_NONE;
    if (sending->arena != queue->arena) Py_RETURN_FALSE;
    uint32_t id;
    if (draft_alloc(sending, 0, ZI_KIND_HANDLE, &id) < 0) return NULL;
    queue->arena->view.blocks[id].link = queue->slot;
    Py_RETURN_TRUE;
}
