/* Elements of the types that programs share: "i4", "u8", "f8" and so on as in NumPy, "s5" for text
 * of at most five bytes, "-" for nothing, and "r3" for three 64-bit words that are always equal, so
 * that a torn element shows.
 */
#ifndef PEER_ELEMENT_H
#define PEER_ELEMENT_H

#include "wire.h"

#define ELEMENT_MAX 256

typedef struct {
    char kind; /* i, u, f, r or s */
    uint32_t nbytes;
} Type;

typedef union {
    int64_t words[ELEMENT_MAX / 8];
    uint8_t bytes[ELEMENT_MAX];
} Element;

static Type type_of(const char *text) {
    if (strcmp(text, "-") == 0) {
        return (Type){'s', 0};
    }
    int64_t digits = number(text + 1);
    Type type = {text[0], (uint32_t)(text[0] == 'r' ? 8 * digits : digits)};
    if (!strchr("iufrs", type.kind) || digits < 1 || type.nbytes > ELEMENT_MAX) {
        fail("no such type: %s", text);
    }
    return type;
}

static uint64_t align_of(Type type) {
    return type.kind == 's' ? 1 : type.nbytes < 8 ? type.nbytes : 8;
}

/* The element for an integer. */
static Element element_of(Type type, int64_t value) {
    Element element = {{0}};
    float single = (float)value;
    double twice = (double)value;
    if (type.kind == 'f') {
        memcpy(element.bytes, type.nbytes == 4 ? (void *)&single : (void *)&twice, type.nbytes);
    } else if (type.kind == 'r') {
        for (uint32_t i = 0; i < type.nbytes / 8; i++) {
            element.words[i] = value;
        }
    } else {
        memcpy(element.bytes, &value, type.nbytes);
    }
    return element;
}

/* The integer of an element; an error if the element is torn. */
static int64_t integer_of(Type type, const Element *element) {
    int64_t value = 0;
    if (type.kind == 'f') {
        float single;
        double twice;
        memcpy(&single, element->bytes, sizeof single);
        memcpy(&twice, element->bytes, sizeof twice);
        return (int64_t)(type.nbytes == 4 ? single : twice);
    }
    if (type.kind == 'r') {
        for (uint32_t i = 1; i < type.nbytes / 8; i++) {
            if (element->words[i] != element->words[0]) {
                fail("torn: %" PRId64 " and %" PRId64, element->words[0], element->words[i]);
            }
        }
        return element->words[0];
    }
    memcpy(&value, element->bytes, type.nbytes);
    if (type.kind == 'i' && type.nbytes < 8) { /* sign */
        int shift = 64 - 8 * (int)type.nbytes;
        value = (int64_t)((uint64_t)value << shift) >> shift;
    }
    return value;
}

static Element parse_element(Type type, const char *text) {
    if (type.kind == 's') {
        Element element = {{0}};
        memcpy(element.bytes, text, strnlen(text, type.nbytes));
        return element;
    }
    if (type.kind == 'f') {
        Element element = {{0}};
        double twice = strtod(text, NULL);
        float single = (float)twice;
        memcpy(element.bytes, type.nbytes == 4 ? (void *)&single : (void *)&twice, type.nbytes);
        return element;
    }
    return element_of(type, type.kind == 'u' ? (int64_t)strtoull(text, NULL, 0) : number(text));
}

/* The element as text, in a buffer that the next call uses again. */
static const char *shown(Type type, const Element *element) {
    static char text[ELEMENT_MAX + 1];
    if (type.kind == 's') {
        snprintf(text, sizeof text, "%.*s", (int)type.nbytes, (const char *)element->bytes);
    } else if (type.kind == 'f') {
        float single;
        double twice;
        memcpy(&single, element->bytes, sizeof single);
        memcpy(&twice, element->bytes, sizeof twice);
        snprintf(text, sizeof text, "%.17g", type.nbytes == 4 ? (double)single : twice);
    } else if (type.kind == 'u') {
        snprintf(text, sizeof text, "%" PRIu64, (uint64_t)integer_of(type, element));
    } else {
        snprintf(text, sizeof text, "%" PRId64, integer_of(type, element));
    }
    return text;
}

/* --- many at once: numbers of several producers, counted, summed and in order */

#define PRODUCERS 64

typedef struct {
    int64_t count, sum;
    int64_t last[PRODUCERS];
    int64_t span; /* the numbers of producer p are from p * span to (p + 1) * span - 1 */
} Tally;

static Tally tally_of(int64_t span) {
    Tally tally = {.span = span};
    for (int p = 0; p < PRODUCERS; p++) {
        tally.last[p] = -1;
    }
    return tally;
}

static void tally_add(Tally *tally, int64_t value) {
    tally->count++;
    tally->sum += value;
    if (tally->span > 0) {
        int64_t producer = value / tally->span;
        if (value < 0 || producer >= PRODUCERS) {
            fail("nobody sent %" PRId64, value);
        }
        if (value <= tally->last[producer]) {
            fail("out of order: %" PRId64 " after %" PRId64, value, tally->last[producer]);
        }
        tally->last[producer] = value;
    }
}

static void tally_answer(const Tally *tally) {
    answer("%" PRId64 " %" PRId64, tally->count, tally->sum);
}

#endif
