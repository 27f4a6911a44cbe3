/* Word: one shared number at an offset of a segment; word.py is the twin. */
#include "native.h"

typedef struct {
    zi_structure base;
    void *at;
} word_object;

/* A number as the bits of its word, and back. */
static uint64_t word_load(const word_object *self)
{
    switch (self->base.elements[0].nbytes) {
    case 1: return ZI_LOAD(*(uint8_t *)self->at);
    case 4: return ZI_LOAD(*(uint32_t *)self->at);
    default: return ZI_LOAD(*(uint64_t *)self->at);
    }
}

static int word_swap(const word_object *self, uint64_t expected, uint64_t desired)
{
    uint8_t small = (uint8_t)expected;
    switch (self->base.elements[0].nbytes) {
    case 1:
        return __atomic_compare_exchange_n((uint8_t *)self->at, &small, (uint8_t)desired, 0,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    case 4: return word_cas32(self->at, (uint32_t)expected, (uint32_t)desired);
    default: return word_cas64(self->at, expected, desired);
    }
}

static uint64_t word_mask(const word_object *self)
{
    return UINT64_MAX >> (64 - 8 * self->base.elements[0].nbytes);
}

static int word_bits(word_object *self, PyObject *value, uint64_t *bits)
{
    zi_packed packed;
    memset(&packed, 0, sizeof packed);
    if (element_pack(&self->base.elements[0], self->base.state, value, &packed) < 0) return -1;
    memcpy(bits, packed.word, sizeof *bits);
    *bits &= word_mask(self);
    return 0;
}

static PyObject *word_value(word_object *self, uint64_t bits)
{
    return element_unpack(&self->base.elements[0], (const uint8_t *)&bits);
}

/* --- operations that give what was there before --- */

typedef uint64_t word_operation(uint64_t old, uint64_t operand);

static uint64_t word_put(uint64_t old, uint64_t operand) { (void)old; return operand; }
static uint64_t word_plus(uint64_t old, uint64_t operand) { return old + operand; }
static uint64_t word_minus(uint64_t old, uint64_t operand) { return old - operand; }
static uint64_t word_and(uint64_t old, uint64_t operand) { return old & operand; }
static uint64_t word_or(uint64_t old, uint64_t operand) { return old | operand; }
static uint64_t word_xor(uint64_t old, uint64_t operand) { return old ^ operand; }

static uint64_t word_float_sum(uint64_t old, uint64_t operand, double sign)
{
    double one, other;
    memcpy(&one, &old, sizeof one);
    memcpy(&other, &operand, sizeof other);
    one += sign * other;
    memcpy(&old, &one, sizeof old);
    return old;
}
static uint64_t word_float_plus(uint64_t old, uint64_t operand)
{
    return word_float_sum(old, operand, 1.0);
}
static uint64_t word_float_minus(uint64_t old, uint64_t operand)
{
    return word_float_sum(old, operand, -1.0);
}

static PyObject *word_change(word_object *self, word_operation *operation, uint64_t operand)
{
    uint64_t old;
    do {
        old = word_load(self);
    } while (!word_swap(self, old, operation(old, operand) & word_mask(self)));
    structure_ring(&self->base, 0);
    return word_value(self, old);
}

/* The operand of arithmetic: any integer, modulo the width; for floats a number. */
static int word_operand(word_object *self, PyObject *value, uint64_t *operand)
{
    if (self->base.elements[0].code == 'd') return word_bits(self, value, operand);
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
        PyErr_Clear();
        PyErr_Format(self->base.state->dtype_error, "value must be an integer: value=%R", value);
        return -1;
    }
    *operand = PyLong_AsUnsignedLongLongMask(number);
    Py_DECREF(number);
    return *operand == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

static PyObject *word_arithmetic(PyObject *object, PyObject *value, word_operation *integers,
                                 word_operation *floats)
{
    word_object *self = (word_object *)object;
    int is_float = self->base.elements[0].code == 'd';
    uint64_t operand;
    if (is_float && floats == NULL) {
        PyErr_SetString(self->base.state->dtype_error, "bits of a float have no such operation");
        return NULL;
    }
    if (word_operand(self, value, &operand) < 0) return NULL;
    return word_change(self, is_float ? floats : integers, operand);
}

static PyObject *word_fetch_add(PyObject *self, PyObject *value)
{
    return word_arithmetic(self, value, word_plus, word_float_plus);
}
static PyObject *word_fetch_sub(PyObject *self, PyObject *value)
{
    return word_arithmetic(self, value, word_minus, word_float_minus);
}
static PyObject *word_fetch_and(PyObject *self, PyObject *value)
{
    return word_arithmetic(self, value, word_and, NULL);
}
static PyObject *word_fetch_or(PyObject *self, PyObject *value)
{
    return word_arithmetic(self, value, word_or, NULL);
}
static PyObject *word_fetch_xor(PyObject *self, PyObject *value)
{
    return word_arithmetic(self, value, word_xor, NULL);
}

static PyObject *word_exchange(PyObject *object, PyObject *value)
{
    uint64_t bits;
    if (word_bits((word_object *)object, value, &bits) < 0) return NULL;
    return word_change((word_object *)object, word_put, bits);
}

/* --- the rest --- */

static PyObject *word_do_load(PyObject *object, PyObject *none)
{
    (void)none;
    return word_value((word_object *)object, word_load((word_object *)object));
}

static PyObject *word_store(PyObject *object, PyObject *value)
{
    word_object *self = (word_object *)object;
    uint64_t bits;
    if (word_bits(self, value, &bits) < 0) return NULL;
    switch (self->base.elements[0].nbytes) {
    case 1: ZI_STORE(*(uint8_t *)self->at, (uint8_t)bits); break;
    case 4: ZI_STORE(*(uint32_t *)self->at, (uint32_t)bits); break;
    default: ZI_STORE(*(uint64_t *)self->at, bits);
    }
    structure_ring(&self->base, 0);
    Py_RETURN_NONE;
}

static PyObject *word_compare_exchange(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    word_object *self = (word_object *)object;
    uint64_t expected, desired;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "compare_exchange takes what is expected and desired");
        return NULL;
    }
    if (word_bits(self, args[0], &expected) < 0 || word_bits(self, args[1], &desired) < 0)
        return NULL;
    int swapped = word_swap(self, expected, desired);
    if (swapped) structure_ring(&self->base, 0);
    return PyBool_FromLong(swapped);
}

static int word_kind(zi_element *kind, int code)
{
    kind->code = (char)code;
    kind->nbytes = code == 'B' ? 1 : code == 'i' || code == 'I' ? 4 : 8;
    kind->align = kind->nbytes;
    if (strchr("BiIqQd", code) != NULL) return 0;
    PyErr_Format(PyExc_ValueError, "code must be one of BiIqQd: %c", code);
    return -1;
}

static PyObject *word_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    PyObject *buffer, *bell;
    Py_ssize_t offset;
    int code;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "OnCO", &buffer, &offset, &code, &bell)) return NULL;
    word_object *self = (word_object *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    zi_element *kind = &self->base.elements[0];
    if (word_kind(kind, code) < 0 ||
        structure_hold(&self->base, type, buffer, offset & ~(Py_ssize_t)7,
                       (uint64_t)(offset & 7) + kind->nbytes) < 0 ||
        structure_bell(&self->base, 0, bell) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    if (offset % kind->align != 0) {
        Py_DECREF(self);
        PyErr_Format(PyExc_ValueError, "a word must be aligned: offset=%zd", offset);
        return NULL;
    }
    self->at = structure_at(&self->base, offset);
    return (PyObject *)self;
}

static PyMethodDef word_methods[] = {
    {"load", word_do_load, METH_NOARGS, "Return the number; acquires."},
    {"store", word_store, METH_O, "Store a number; releases."},
    {"exchange", word_exchange, METH_O, "Store a number; return what was there."},
    {"compare_exchange", (PyCFunction)(void (*)(void))word_compare_exchange, METH_FASTCALL,
     "Store *desired* if the bits are those of *expected*; return whether they were."},
    {"fetch_add", word_fetch_add, METH_O, "Add, modulo the width; return what was there."},
    {"fetch_sub", word_fetch_sub, METH_O, "Subtract, modulo the width; return what was there."},
    {"fetch_and", word_fetch_and, METH_O, "Combine the bits by and; return what was there."},
    {"fetch_or", word_fetch_or, METH_O, "Combine the bits by or; return what was there."},
    {"fetch_xor", word_fetch_xor, METH_O, "Combine the bits by xor; return what was there."},
    {0},
};

static PyType_Slot word_slots[] = {
    ZI_STRUCTURE_SLOTS,
    {Py_tp_doc, "One shared number, of the code of the module struct, one of BiIqQd."},
    {Py_tp_new, word_new},
    {Py_tp_methods, word_methods},
    {0, NULL},
};

PyType_Spec word_spec = {
    .name = "zeroipc._named.Word",
    .basicsize = sizeof(word_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = word_slots,
};
