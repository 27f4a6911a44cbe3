/* What the files of the extension for named structures share. */
#ifndef ZI_NAMED_NATIVE_H
#define ZI_NAMED_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "../status.h"
#include "bell.h"

typedef struct {
    PyTypeObject *bell_type;
    PyObject *dtype_error, *range_error, *release_error;    /* of zeroipc.errors */
    PyObject *statuses[ZI_REPAIR + 1];      /* the members of Status, by their numbers */
} named_state;

extern struct PyModuleDef named_module;

/* --- element.c: elements of a dtype that the user chose, to bytes and back --- */

typedef struct {
    char code;               /* that of the module struct, or 'V': through NumPy */
    uint32_t nbytes, align;
    PyObject *pack, *unpack;
} zi_element;

/* A value as bytes: *data* is *word*, or the inside of *keep*. */
typedef struct {
    uint8_t word[8];
    const uint8_t *data;
    PyObject *keep;
} zi_packed;

/* Room for an element that is about to be read. */
typedef zi_packed zi_room;

int element_init(zi_element *element, PyObject *fields);
void element_clear(zi_element *element);
int element_visit(zi_element *element, visitproc visit, void *arg);
int element_pack(const zi_element *element, named_state *state, PyObject *value, zi_packed *out);
PyObject *element_unpack(const zi_element *element, const uint8_t *raw);
uint8_t *element_room(const zi_element *element, zi_room *room);
PyObject *element_take(const zi_element *element, zi_room *room);

/* --- bell_type.c --- */

typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    zi_bell bell;
} bell_object;

extern PyType_Spec bell_spec;

/* --- what each structure's object begins with --- */

typedef struct {
    PyObject_HEAD
    named_state *state;
    Py_buffer buffer;        /* of the segment */
    bell_object *bells[2];   /* rung after a change; NULL: none */
    zi_element elements[2];  /* of its items; a map has keys and values */
} zi_structure;

/* Take the buffer, and check that *nbytes* at *offset*, a multiple of 8, are inside. */
int structure_hold(zi_structure *self, PyTypeObject *type, PyObject *buffer, Py_ssize_t offset,
                   uint64_t nbytes);
int structure_bell(zi_structure *self, int which, PyObject *bell);
void structure_dealloc(PyObject *self);
int structure_traverse(PyObject *self, visitproc visit, void *arg);
int structure_clear(PyObject *self);
static inline uint8_t *structure_at(zi_structure *self, Py_ssize_t offset)
{
    return (uint8_t *)self->buffer.buf + offset;
}
static inline PyObject *structure_status(zi_structure *self, zi_status status)
{
    return Py_NewRef(self->state->statuses[status]);
}
static inline void structure_ring(zi_structure *self, int which)
{
    if (self->bells[which]) bell_ring(&self->bells[which]->bell);
}

#define ZI_STRUCTURE_SLOTS \
    {Py_tp_dealloc, structure_dealloc}, {Py_tp_traverse, structure_traverse}, \
        {Py_tp_clear, structure_clear}

extern PyType_Spec entries_spec, mutex_spec, pool_spec, queue_spec, ring_spec, semaphore_spec;
extern PyType_Spec stack_spec, word_spec;

/* --- semaphore_type.c --- */

/* Forget this process's owner tag in forked children. */
int holder_follow_forks(void);

#endif
