/* Plain NumPy arrays as messages: no pickler, one copy in, none out.
 *
 * An array over a block has an inner array between itself and the block.  NumPy makes every
 * view of it a view of the inner one, so the inner one's reference count tells whether
 * views exist, whatever else refers to the array itself.  An array that covers a block
 * that nothing else shows is a loan: putting it moves the block, without a copy. */
#include "codec.h"

enum { ZI_MAX_NDIM = 64, ZI_INLINE_ARRAY = ZI_INLINE_MAX - sizeof(zi_array_head) - 8 * ZI_MAX_NDIM };

static int numpy_ready(zi_state *state)
{
    if (state->ndarray) return 1;
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *numpy = PyDict_GetItemWithError(modules, state->str_numpy);
    if (numpy == NULL) return 0;
    state->contiguous = PyObject_GetAttrString(numpy, "ascontiguousarray");
    state->ndarray = PyObject_GetAttrString(numpy, "ndarray"); /* absent while numpy is being imported */
    if (!state->ndarray || !state->contiguous) PyErr_Clear();
    return state->ndarray != NULL && state->contiguous != NULL;
}

static int numpy_load(zi_state *state)
{
    if (numpy_ready(state)) return 0;
    Py_XDECREF(PyImport_Import(state->str_numpy));
    return !PyErr_Occurred() && numpy_ready(state) ? 0 : -1;
}

/* Whether *object* is exactly an ndarray. */
int array_is(zi_state *state, PyObject *object)
{
    return numpy_ready(state) && Py_TYPE(object) == (PyTypeObject *)state->ndarray;
}

/* --- Loans --------------------------------------------------------------------------------- */

/* The block that *array* shows, if it shows a block's memory at all; borrowed. */
static zi_block_object *loan_of(zi_state *state, PyObject *array, Py_ssize_t *views)
{
    zi_block_object *block = NULL;
    PyObject *inner = array_is(state, array) ? PyObject_GetAttr(array, state->str_base) : NULL;
    if (inner && Py_TYPE(inner) == (PyTypeObject *)state->ndarray) {
        PyObject *base = PyObject_GetAttr(inner, state->str_base);
        if (base && Py_TYPE(base) == state->block_type) block = (zi_block_object *)base;
        *views = Py_REFCNT(inner) - 2; /* ours and the array's own */
        Py_XDECREF(base);
    }
    Py_XDECREF(inner);
    PyErr_Clear();
    return block;
}

static int array_freeze(zi_state *state, PyObject *array, int write)
{
    PyObject *done = PyObject_CallMethodOneArg(array, state->str_setflags, write ? Py_True : Py_False);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Whether a loan is this process's to give away, and worth it.  What was received is copied:
 * programs put it into several queues and go on using it.  A message keeps room for a block of
 * buffers that are copied. */
static int loan_may_move(const zi_draft *draft, const zi_block_object *block, const Py_buffer *buffer)
{
    const zi_view *view = &draft->arena->view;
    return block->arena == draft->arena && block->identity == view->me && block->exports == 0 &&
           !block->received && !draft_lends(draft, block->id) &&
           block_lent_by(&view->blocks[block->id], 0) != 0 && !buffer->readonly &&
           buffer->len > (Py_ssize_t)ZI_PAGE && draft->message.nblocks < ZI_MESSAGE_BLOCKS - 1;
}

/* Move the block: it stays pinned as long as this process shows the array. */
static int loan_move(zi_draft *draft, PyObject *array, zi_block_object *block)
{
    if (array_freeze(draft->arena->state, array, 0) < 0) return -1;
    zi_loan loan = {(zi_block_object *)Py_NewRef((PyObject *)block), Py_NewRef(array)};
    draft->loans[draft->nloans++] = loan;
    block_lend(&draft->arena->view, block->id);
    draft->message.blocks[draft->message.nblocks++] = block->id;
    return 0;
}

/* Have the memory that *buffer* of *object* shows move with the message if it is a loan.
 * 1: it is the message's last block now, with the data at *offset; 0: it must be copied;
 * -1: an error is set. */
int loan_take(zi_draft *draft, PyObject *object, const Py_buffer *buffer, uint64_t *offset)
{
    Py_ssize_t views = 0;
    zi_block_object *block = loan_of(draft->arena->state, object, &views);
    if (block == NULL) return 0;
    if (block->moved)
        return PyErr_Format(draft->arena->state->moved, "the array was moved: it was put into a queue before"), -1;
    if (views != 0 || !loan_may_move(draft, block, buffer)) return 0;
    *offset = (uint64_t)((unsigned char *)buffer->buf - block->bytes);
    return loan_move(draft, object, block) < 0 ? -1 : 1;
}

/* --- Encode --------------------------------------------------------------------------------- */

/* NumPy's type character for a buffer format, or 0 when it is not a plain number. */
static char format_char(const char *format)
{
    if (format == NULL) return 0;
    if (format[0] == 'Z' && format[1] && !format[2]) return format[1] == 'f' ? 'F' : format[1] == 'd' ? 'D' : 0;
    if (format[0] == 0 || format[1] != 0) return 0;
    return strchr("?bBhHiIlLqQefdg", format[0]) ? format[0] : 0;
}

static void head_fill(zi_array_head *head, const Py_buffer *buffer, char format, int fortran, uint64_t offset)
{
    memset(head, 0, sizeof *head);
    head->ndim = (uint8_t)buffer->ndim;
    head->fortran = (uint8_t)fortran;
    head->readonly = (uint8_t)(buffer->readonly != 0);
    head->format[0] = format;
    head->offset = offset;
    uint64_t *lengths = (uint64_t *)(head + 1);
    for (int i = 0; i < buffer->ndim; i++) lengths[i] = (uint64_t)buffer->shape[i];
}

static int encode_buffer(zi_draft *draft, PyObject *array, const Py_buffer *buffer, char format)
{
    Py_ssize_t head_nbytes = (Py_ssize_t)sizeof(zi_array_head) + 8 * buffer->ndim;
    int fortran = buffer->ndim > 1 && !PyBuffer_IsContiguous(buffer, 'C'), inlined = 0;
    uint64_t offset = 0;
    uint32_t id;
    int moved = loan_take(draft, array, buffer, &offset);
    if (moved < 0) return -1;
    draft->message.kind = ZI_PAYLOAD_ARRAY;
    if (moved) {
        draft->message.kind |= ZI_PAYLOAD_LOAN;
    } else if (buffer->len <= (Py_ssize_t)ZI_INLINE_ARRAY) {
        inlined = 1;
    } else {
        if (draft_alloc(draft, (uint64_t)buffer->len, ZI_KIND_DATA, &id) < 0) return -1;
        copy_bytes(block_bytes(&draft->arena->view, id), buffer->buf, buffer->len);
    }
    draft->keep = PyBytes_FromStringAndSize(NULL, head_nbytes + (inlined ? buffer->len : 0));
    if (draft->keep == NULL) return -1;
    draft->message.payload = (unsigned char *)PyBytes_AS_STRING(draft->keep);
    draft->message.nbytes = (uint32_t)PyBytes_GET_SIZE(draft->keep);
    head_fill((zi_array_head *)draft->message.payload, buffer, format, fortran, offset);
    if (inlined) memcpy(draft->message.payload + head_nbytes, buffer->buf, (size_t)buffer->len);
    return 0;
}

/* Encode an ndarray of numbers.  1: done; 0: not of this kind, pickle it; -1: error. */
int array_encode(zi_draft *draft, PyObject *array)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(array, &buffer, PyBUF_FULL_RO) < 0) {
        PyErr_Clear(); /* dates, objects: NumPy itself refuses */
        return 0;
    }
    char format = format_char(buffer.format);
    int result = 0;
    if (format && buffer.ndim <= ZI_MAX_NDIM) {
        if (PyBuffer_IsContiguous(&buffer, 'A')) {
            result = encode_buffer(draft, array, &buffer, format) < 0 ? -1 : 1;
        } else {
            PyObject *copy = PyObject_CallOneArg(draft->arena->state->contiguous, array);
            result = copy ? array_encode(draft, copy) : -1;
            Py_XDECREF(copy);
        }
    }
    PyBuffer_Release(&buffer);
    return result;
}

/* --- Decode --------------------------------------------------------------------------------- */

static PyObject *dtype_of(zi_state *state, const char *format)
{
    PyObject *name = PyUnicode_FromStringAndSize(format, 1);
    if (name == NULL) return NULL;
    PyObject *dtype = PyDict_GetItemWithError(state->dtypes, name);
    Py_XINCREF(dtype);
    if (dtype == NULL && !PyErr_Occurred()) {
        PyObject *numpy = PyImport_Import(state->str_numpy);
        if (numpy) dtype = PyObject_CallMethod(numpy, "dtype", "O", name);
        if (dtype && PyDict_SetItem(state->dtypes, name, dtype) < 0) Py_CLEAR(dtype);
        Py_XDECREF(numpy);
    }
    Py_DECREF(name);
    return dtype;
}

/* ndarray(shape, dtype, buffer, offset, None, order) */
static PyObject *array_over(zi_state *state, const zi_array_head *head, PyObject *memory)
{
    const uint64_t *lengths = (const uint64_t *)(head + 1);
    PyObject *shape = PyTuple_New(head->ndim), *dtype = dtype_of(state, head->format), *array = NULL;
    for (int i = 0; shape && i < head->ndim; i++) {
        PyObject *length = PyLong_FromUnsignedLongLong(lengths[i]);
        if (length == NULL) Py_CLEAR(shape);
        else PyTuple_SET_ITEM(shape, i, length);
    }
    if (shape && dtype)
        array = PyObject_CallFunction(state->ndarray, "OOOKOs", shape, dtype, memory,
                                      (unsigned long long)head->offset, Py_None, head->fortran ? "F" : "C");
    Py_XDECREF(shape);
    Py_XDECREF(dtype);
    return array;
}

/* The array of a message; *block* is its data, or NULL when that follows the head. */
PyObject *array_decode(zi_arena_object *arena, const zi_message *message, zi_block_object *block)
{
    zi_state *state = arena->state;
    const zi_array_head *head = (const zi_array_head *)message->payload;
    Py_ssize_t head_nbytes = (Py_ssize_t)sizeof *head + 8 * head->ndim;
    if (message->nbytes < sizeof *head || head_nbytes > (Py_ssize_t)message->nbytes)
        return native_raise(state, ZI_DAMAGED, &arena->view);
    zi_array_head copy[1 + ZI_MAX_NDIM / 2]; /* importing NumPy may run code that uses the scratch */
    memcpy(copy, head, (size_t)(head->ndim <= ZI_MAX_NDIM ? head_nbytes : (Py_ssize_t)sizeof *head));
    PyObject *memory = block ? Py_NewRef((PyObject *)block)
                             : PyByteArray_FromStringAndSize((const char *)message->payload + head_nbytes,
                                                             (Py_ssize_t)message->nbytes - head_nbytes);
    PyObject *inner = memory && numpy_load(state) == 0 ? array_over(state, copy, memory) : NULL;
    PyObject *array = inner;
    if (inner && block) {
        array = PyObject_CallMethodNoArgs(inner, state->str_view);
        Py_DECREF(inner);
    }
    if (array && copy->readonly && array_freeze(state, array, 0) < 0) Py_CLEAR(array);
    Py_XDECREF(memory);
    return array;
}

/* A part of a block that nothing else shows, as an array of bytes.  NumPy makes the array of
 * a pickle a view of it, so it becomes the inner one of a loan. */
PyObject *array_of_bytes(zi_state *state, PyObject *block, const zi_part *part)
{
    if (numpy_load(state) < 0) return NULL;
    PyObject *bytes = PyObject_CallFunction(state->ndarray, "(K)sOK", (unsigned long long)part->nbytes, "B", block,
                                            (unsigned long long)part->offset);
    if (bytes && part->readonly && array_freeze(state, bytes, 0) < 0) Py_CLEAR(bytes);
    return bytes;
}
