/* Objects to messages and back.
 *
 * Small scalars, str, bytes and plain arrays are encoded here; the rest is pickle protocol
 * 5.  Containers of plain built-in objects go to the C pickler directly; everything else
 * goes through zeroipc._core.pickling, which honours copyreg and ForkingPickler. */
#include "codec.h"

enum { ZI_PLAIN_ITEMS = 64, ZI_PLAIN_DEPTH = 4 };

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
int draft_encode(zi_draft *draft, zi_arena_object *arena, PyObject *object, uint64_t deadline, uint64_t patience)
{
    draft->arena = arena;
    draft->keep = NULL;
    draft->nloans = 0;
    draft->deadline = deadline;
    draft->patience = patience;
    draft->too_large = draft->busy = 0;
    draft->message.nblocks = 0;
    draft->message.defers = draft->message.owes = 0;
    if (encode(draft, object) == 0) return 0;
    draft_dropped(draft);
    return -1;
}

/* --- Decode --------------------------------------------------------------------------------------- */

Py_ssize_t block_capacity(zi_arena_object *arena, uint32_t id)
{
    return (Py_ssize_t)(class_pages(arena->view.blocks[id].cls) * ZI_PAGE);
}

/* After an error of unpickling, which stays set: see zeroipc._core.dying. */
static void let_deaths_show(void)
{
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyObject *module = PyImport_ImportModule("zeroipc._core.dying");
    PyObject *done = module ? PyObject_CallMethod(module, "let_deaths_show", NULL) : NULL;
    Py_XDECREF(module);
    if (done) {
        Py_DECREF(done);
        PyErr_Restore(type, error, trace);
        return;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
}

PyObject *codec_loads(zi_arena_object *arena, PyObject *data, PyObject *buffers)
{
    PyObject *arguments[] = {data, buffers};
    PyObject *object = PyObject_Vectorcall(arena->state->loads, arguments, 1, buffers ? arena->state->buffers_name : NULL);
    if (object == NULL) let_deaths_show();
    return object;
}

static PyObject *decode_bytes(zi_arena_object *arena, uint16_t kind, const char *bytes, Py_ssize_t nbytes)
{
    switch (kind) {
    case ZI_PAYLOAD_STR: return PyUnicode_DecodeUTF8(bytes, nbytes, NULL);
    case ZI_PAYLOAD_BYTES: return PyBytes_FromStringAndSize(bytes, nbytes);
    case ZI_PAYLOAD_PICKLE: {
        PyObject *pickle = PyBytes_FromStringAndSize(bytes, nbytes);
        PyObject *object = pickle ? codec_loads(arena, pickle, NULL) : NULL;
        Py_XDECREF(pickle);
        return object;
    }
    default: return native_raise(arena->state, ZI_DAMAGED, &arena->view);
    }
}

/* Block *index* of a message as an object that frees it. */
PyObject *take_block(zi_arena_object *arena, const zi_message *message, uint32_t index)
{
    uint32_t id = message->blocks[index];
    PyObject *block = block_wrap(arena, id, block_capacity(arena, id));
    received |= 1u << index;
    if (block) ((zi_block_object *)block)->received = 1;
    return block;
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

/* send_handle(object): let the message in the making carry its slot; None when there is none, or
 * when it goes through another arena. */
PyObject *native_send_handle(PyObject *module, PyObject *object)
{
    zi_state *state = PyModule_GetState(module);
    if (!PyObject_TypeCheck(object, state->slot_type))
        return PyErr_Format(PyExc_TypeError, "takes what has a slot of an arena");
    zi_hold *hold = (zi_hold *)object;
    if (sending == NULL) Py_RETURN_NONE;
    if (sending->arena != hold->arena) Py_RETURN_FALSE;
    uint32_t id;
    ZI_STORE(hold->arena->view.queues[hold->slot].handled, 1);
    if (draft_alloc(sending, 0, ZI_KIND_HANDLE, &id) < 0) return NULL;
    hold->arena->view.blocks[id].link = hold->slot;
    Py_RETURN_TRUE;
}
