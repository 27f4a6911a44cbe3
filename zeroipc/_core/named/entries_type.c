/* Entries: a map or set at an offset of a segment, nothing here waits; entries.py is the twin. */
#include "native.h"
#include "entries.h"

_Static_assert(sizeof(zi_map_header) == sizeof(zi_set_header) &&
                   offsetof(zi_map_header, size) == offsetof(zi_set_header, size),
               "maps and sets must have their size and entries at the same place");

typedef struct {
    zi_structure base;
    zi_entries entries;
} entries_object;

static PyObject *entries_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *key, *value, *changed;
    Py_ssize_t offset;
    unsigned int capacity;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnIOOO", &buffer, &offset, &capacity, &key, &value, &changed))
        return NULL;
    entries_object *self = (entries_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kinds = self->base.elements;
    zi_entries *entries = &self->entries;
    kinds[1].align = 1; /* a set: no value */
    if (element_init(&kinds[0], key) < 0 || (value != Py_None && element_init(&kinds[1], value) < 0))
        goto fail;
    if (kinds[1].nbytes > ZI_MAP_VALUE_MAX) {
        PyErr_Format(PyExc_ValueError, "a value must have at most %d bytes", ZI_MAP_VALUE_MAX);
        goto fail;
    }
    *entries = (zi_entries){
        .capacity = capacity,
        .key_nbytes = kinds[0].nbytes,
        .value_nbytes = kinds[1].nbytes,
        .code = kinds[0].code,
    };
    entries_shape(entries, kinds[0].align, kinds[1].align);
    if (structure_hold(&self->base, type, buffer, offset,
                       sizeof(zi_map_header) + (uint64_t)capacity * entries->nbytes) < 0 ||
        structure_bell(&self->base, 0, changed) < 0)
        goto fail;
    uint8_t *at = structure_at(&self->base, offset);
    entries->size = &((zi_map_header *)(void *)at)->size;
    entries->first = at + sizeof(zi_map_header);
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

static int entries_pack_key(entries_object *self, PyObject *key, zi_packed *packed)
{
    return element_pack(&self->base.elements[0], self->base.state, key, packed);
}

static int entries_pack_value(entries_object *self, PyObject *value, zi_packed *packed)
{
    packed->keep = NULL;
    packed->data = packed->word;
    if (self->entries.value_nbytes == 0) return 0;
    return element_pack(&self->base.elements[1], self->base.state, value, packed);
}

static PyObject *entries_value(entries_object *self, const uint8_t *value)
{
    if (self->entries.value_nbytes == 0) Py_RETURN_TRUE;
    return element_unpack(&self->base.elements[1], value);
}

typedef zi_status entries_get(const zi_entries *entries, const uint8_t *key, uint8_t *value);

static PyObject *entries_take(entries_object *self, PyObject *key, entries_get *get, int changes)
{
    zi_packed packed;
    uint8_t value[ZI_MAP_VALUE_MAX];
    if (entries_pack_key(self, key, &packed) < 0) return NULL;
    zi_status status = get(&self->entries, packed.data, value);
    Py_XDECREF(packed.keep);
    if (status != ZI_OK) return structure_status(&self->base, status);
    if (changes) structure_ring(&self->base, 0);
    return entries_value(self, value);
}

static PyObject *entries_find_key(PyObject *self, PyObject *key)
{
    return entries_take((entries_object *)self, key, entries_find, 0);
}

static PyObject *entries_erase_key(PyObject *self, PyObject *key)
{
    return entries_take((entries_object *)self, key, entries_erase, 1);
}

static PyObject *entries_insert_key(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    entries_object *self = (entries_object *)object;
    zi_packed key, value;
    int added;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "insert takes a key, a value and whether to replace");
        return NULL;
    }
    int replace = PyObject_IsTrue(args[2]);
    if (replace < 0 || entries_pack_key(self, args[0], &key) < 0) return NULL;
    if (entries_pack_value(self, args[1], &value) < 0) {
        Py_XDECREF(key.keep);
        return NULL;
    }
    zi_status status = entries_insert(&self->entries, key.data, value.data, replace, &added);
    Py_XDECREF(key.keep);
    Py_XDECREF(value.keep);
    if (status != ZI_OK) return structure_status(&self->base, status);
    if (added || replace) structure_ring(&self->base, 0);
    return PyBool_FromLong(added);
}

static zi_status entries_insert_all(const zi_entries *entries, const uint8_t *keys,
                                    const uint8_t *values, uint64_t many, uint64_t *done)
{
    zi_status status = ZI_OK;
    int added;
    for (*done = 0; *done < many; ++*done) {
        status = entries_insert(entries, keys + *done * entries->key_nbytes,
                                values + *done * entries->value_nbytes, 1, &added);
        if (status != ZI_OK) break;
    }
    return status;
}

static PyObject *entries_insert_many(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    entries_object *self = (entries_object *)object;
    const zi_entries *entries = &self->entries;
    Py_buffer keys, values;
    PyObject *answer = NULL;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "insert_many takes keys and values");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &keys, PyBUF_SIMPLE) < 0) return NULL;
    if (PyObject_GetBuffer(args[1], &values, PyBUF_SIMPLE) < 0) goto release_keys;
    uint64_t many = (uint64_t)keys.len / entries->key_nbytes, done;
    if ((uint64_t)values.len < many * entries->value_nbytes) {
        PyErr_SetString(PyExc_ValueError, "there must be a value for each key");
    } else {
        zi_status status = entries_insert_all(entries, keys.buf, values.buf, many, &done);
        if (done > 0) structure_ring(&self->base, 0);
        answer = Py_BuildValue("(OK)", self->base.state->statuses[status],
                               (unsigned long long)done);
    }
    PyBuffer_Release(&values);
release_keys:
    PyBuffer_Release(&keys);
    return answer;
}

static PyObject *entries_scan_from(PyObject *object, PyObject *index)
{
    entries_object *self = (entries_object *)object;
    const zi_element *kind = &self->base.elements[0];
    uint8_t raw[ZI_MAP_VALUE_MAX];
    zi_room room;
    unsigned long first = PyLong_AsUnsignedLong(index);
    if (PyErr_Occurred()) return NULL;
    uint32_t at = first < self->entries.capacity ? (uint32_t)first : self->entries.capacity;
    uint8_t *key = element_room(kind, &room);
    if (key == NULL) return NULL;
    zi_status status = entries_scan(&self->entries, &at, key, raw);
    if (status != ZI_OK) {
        Py_XDECREF(room.keep);
        return structure_status(&self->base, status);
    }
    PyObject *taken = element_take(kind, &room);
    PyObject *value = taken ? entries_value(self, raw) : NULL;
    if (value == NULL) {
        Py_XDECREF(taken);
        return NULL;
    }
    return Py_BuildValue("(kNN)", (unsigned long)at + 1, taken, value);
}

static PyObject *entries_count(PyObject *self, PyObject *none)
{
    (void)none;
    return PyLong_FromUnsignedLong(entries_size(&((entries_object *)self)->entries));
}

static PyMethodDef entries_methods[] = {
    {"find", entries_find_key, METH_O,
     "Return the value of a key (True in a set), EMPTY, or BUSY while its entry is claimed."},
    {"insert", (PyCFunction)(void (*)(void))entries_insert_key, METH_FASTCALL,
     "Insert a key, or if it is there and *replace*, give it this value.\n\n"
     "Return whether it is new, FULL, or BUSY while an entry is claimed that it may need."},
    {"erase", entries_erase_key, METH_O,
     "Erase a key; return its value (True in a set), EMPTY, or BUSY as `find`."},
    {"insert_many", (PyCFunction)(void (*)(void))entries_insert_many, METH_FASTCALL,
     "Insert or replace keys from a buffer, values beside them; return how many were."},
    {"scan", entries_scan_from, METH_O,
     "Return where to go on, key and value of the first entry from index *at* on.\n\n"
     "EMPTY if there is none, or BUSY while one before it is claimed."},
    {"size", entries_count, METH_NOARGS, "Return how many keys there are, at some moment."},
    {0},
};

static PyType_Slot entries_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "A map at an *offset* of a segment, or a set if *value* is None; nothing here waits."},
    {Py_tp_new, entries_new},
    {Py_tp_methods, entries_methods},
    {0, NULL},
};

PyType_Spec entries_spec = {
    .name = "zeroipc._named.Entries",
    .basicsize = sizeof(entries_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = entries_slots,
};
