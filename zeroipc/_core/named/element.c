/* Elements of a dtype that the user chose, to bytes and back; element.py is the twin. */
#include "native.h"

int element_init(zi_element *element, PyObject *fields)
{
    int code;
    unsigned int nbytes, align;
    PyObject *pack, *unpack;
    if (!PyArg_ParseTuple(fields, "OCIIOO", &(PyObject *){NULL}, &code, &nbytes, &align, &pack,
                          &unpack))
        return -1;
    *element = (zi_element){(char)code, nbytes, align, Py_NewRef(pack), Py_NewRef(unpack)};
    return 0;
}

void element_clear(zi_element *element)
{
    Py_CLEAR(element->pack);
    Py_CLEAR(element->unpack);
}

int element_visit(zi_element *element, visitproc visit, void *arg)
{
    Py_VISIT(element->pack);
    Py_VISIT(element->unpack);
    return 0;
}

static int out_of_range(named_state *state, PyObject *number, int bits, int is_signed)
{
    PyErr_Clear();
    if (is_signed) {
        long long high = (long long)(UINT64_MAX >> (65 - bits));
        PyErr_Format(state->range_error, "value must be from %lld to %lld: value=%S", -high - 1,
                     high, number);
    } else {
        PyErr_Format(state->range_error, "value must be from 0 to %llu: value=%S",
                     (unsigned long long)(UINT64_MAX >> (64 - bits)), number);
    }
    return -1;
}

static int pack_integer(named_state *state, PyObject *value, int bits, int is_signed, uint64_t *out)
{
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
        PyErr_Clear();
        PyErr_Format(state->dtype_error, "value must be an integer: value=%R", value);
        return -1;
    }
    int fits;
    if (is_signed) {
        int overflow;
        long long signed_value = PyLong_AsLongLongAndOverflow(number, &overflow);
        long long high = (long long)(UINT64_MAX >> (65 - bits));
        fits = overflow == 0 && signed_value <= high && signed_value >= -high - 1;
        *out = (uint64_t)signed_value;
    } else {
        unsigned long long plain = PyLong_AsUnsignedLongLong(number);
        fits = !PyErr_Occurred() && plain <= UINT64_MAX >> (64 - bits);
        *out = plain;
    }
    int outcome = fits ? 0 : out_of_range(state, number, bits, is_signed);
    Py_DECREF(number);
    return outcome;
}

static int pack_float(named_state *state, PyObject *value, char code, uint8_t *out)
{
    double wide = PyFloat_AsDouble(value);
    if (wide == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
        PyErr_Clear();
        PyErr_Format(state->dtype_error, "value must be a number: value=%R", value);
        return -1;
    }
    float narrow = (float)wide;
    if (code == 'd') memcpy(out, &wide, sizeof wide);
    else memcpy(out, &narrow, sizeof narrow);
    return 0;
}

static int pack_generic(const zi_element *element, PyObject *value, zi_packed *out)
{
    PyObject *raw = PyObject_CallOneArg(element->pack, value);
    if (raw == NULL) return -1;
    if (!PyBytes_Check(raw) || PyBytes_GET_SIZE(raw) != (Py_ssize_t)element->nbytes) {
        Py_DECREF(raw);
        PyErr_SetString(PyExc_TypeError, "pack must return the bytes of one element");
        return -1;
    }
    out->keep = raw;
    out->data = (const uint8_t *)PyBytes_AS_STRING(raw);
    return 0;
}

/* Make the bytes of a value; the caller drops out->keep. */
int element_pack(const zi_element *element, named_state *state, PyObject *value, zi_packed *out)
{
    out->keep = NULL;
    out->data = out->word;
    int bits = (int)element->nbytes * 8;
    switch (element->code) {
    case 'b': case 'h': case 'i': case 'q':
        return pack_integer(state, value, bits, 1, (uint64_t *)(void *)out->word);
    case 'B': case 'H': case 'I': case 'Q':
        return pack_integer(state, value, bits, 0, (uint64_t *)(void *)out->word);
    case 'f': case 'd':
        return pack_float(state, value, element->code, out->word);
    case '?': {
        int truth = PyObject_IsTrue(value);
        out->word[0] = (uint8_t)(truth == 1);
        return truth < 0 ? -1 : 0;
    }
    default:
        return pack_generic(element, value, out);
    }
}

#define UNPACK(type, make) \
    do { \
        type value; \
        memcpy(&value, raw, sizeof value); \
        return make(value); \
    } while (0)

PyObject *element_unpack(const zi_element *element, const uint8_t *raw)
{
    switch (element->code) {
    case 'b': UNPACK(int8_t, PyLong_FromLong);
    case 'h': UNPACK(int16_t, PyLong_FromLong);
    case 'i': UNPACK(int32_t, PyLong_FromLong);
    case 'q': UNPACK(int64_t, PyLong_FromLongLong);
    case 'B': UNPACK(uint8_t, PyLong_FromLong);
    case 'H': UNPACK(uint16_t, PyLong_FromLong);
    case 'I': UNPACK(uint32_t, PyLong_FromUnsignedLong);
    case 'Q': UNPACK(uint64_t, PyLong_FromUnsignedLongLong);
    case 'f': UNPACK(float, PyFloat_FromDouble);
    case 'd': UNPACK(double, PyFloat_FromDouble);
    case '?': return PyBool_FromLong(raw[0] != 0);
    }
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)raw, (Py_ssize_t)element->nbytes);
    if (bytes == NULL) return NULL;
    PyObject *value = PyObject_CallOneArg(element->unpack, bytes);
    Py_DECREF(bytes);
    return value;
}

/* Return where to read an element into: allocated before the structure is touched. */
uint8_t *element_room(const zi_element *element, zi_room *room)
{
    room->keep = NULL;
    if (element->code != 'V') return room->word;
    room->keep = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)element->nbytes);
    return room->keep == NULL ? NULL : (uint8_t *)PyBytes_AS_STRING(room->keep);
}

/* Return the value that was read; the room is used up. */
PyObject *element_take(const zi_element *element, zi_room *room)
{
    if (room->keep == NULL) return element_unpack(element, room->word);
    PyObject *value = PyObject_CallOneArg(element->unpack, room->keep);
    Py_CLEAR(room->keep);
    return value;
}
