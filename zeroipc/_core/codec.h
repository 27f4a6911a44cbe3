/* How a payload is encoded: the kinds of a record, shared by codec.c and arrays.c.
 *
 * The kinds and structs are declared in layout.py (PAYLOAD_...); here is only what C needs
 * besides.  A payload that is too long for the ring lies in the last block of its message
 * (flag PAYLOAD_IN_BLOCK); the ring then holds its length alone. */
#ifndef ZI_CODEC_H
#define ZI_CODEC_H

#include "native.h"

static inline uint64_t align64(uint64_t offset) { return (offset + 63) & ~(uint64_t)63; }

/* memcpy that lets other threads run when it takes long. */
static inline void copy_bytes(void *to, const void *from, Py_ssize_t nbytes)
{
    if (nbytes < ZI_BIG_COPY) {
        memcpy(to, from, (size_t)nbytes);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, from, (size_t)nbytes);
    Py_END_ALLOW_THREADS
}

/* codec.c */
Py_ssize_t block_capacity(zi_arena_object *arena, uint32_t id);
PyObject *take_block(zi_arena_object *arena, const zi_message *message, uint32_t index);
PyObject *codec_loads(zi_arena_object *arena, PyObject *data, PyObject *buffers);

/* parts.c */
int encode_parts(zi_draft *draft, PyObject *pickle, PyObject *buffers);
PyObject *decode_parts(zi_arena_object *arena, const zi_message *message);

#endif
