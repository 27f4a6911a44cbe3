/* Arrays: SPECIFICATION.md, "Array". */
#ifndef PEER_ARRAY_H
#define PEER_ARRAY_H

#include "segment.h"

typedef struct {
    uint64_t capacity;
    uint8_t elements[];
} ArrayHeader;

static ArrayHeader *array_of(const char *name, Type type) {
    uint64_t size;
    ArrayHeader *array = structure(name, sizeof *array, &size);
    if (array->capacity == 0 || array->capacity > size / type.nbytes ||
        size != sizeof *array + array->capacity * type.nbytes) {
        fail("%s is not an array of such elements", name);
    }
    return array;
}

static uint8_t *array_element(ArrayHeader *array, Type type, int64_t i) {
    if (i < 0 || (uint64_t)i >= array->capacity) {
        fail("no such element: %" PRId64, i);
    }
    return array->elements + (uint64_t)i * type.nbytes;
}

/* array.create NAME CAPACITY TYPE */
static void array_create(char **word) {
    uint64_t capacity = (uint64_t)number(word[1]);
    Space space = begin_add(word[0], sizeof(ArrayHeader) + capacity * type_of(word[2]).nbytes);
    ((ArrayHeader *)space.bytes)->capacity = capacity;
    end_add(word[0], space);
    answer("");
}

/* array.create_c NAME CAPACITY TYPE: as the C library makes them, with another header */
static void array_create_c(char **word) {
    uint64_t capacity = (uint64_t)number(word[1]), nbytes = type_of(word[2]).nbytes;
    Space space = begin_add(word[0], 16 + capacity * nbytes);
    ((uint64_t *)space.bytes)[0] = capacity;
    ((uint64_t *)space.bytes)[1] = nbytes;
    for (uint64_t i = 0; i < capacity; i++) {
        Element element = element_of(type_of(word[2]), (int64_t)i);
        memcpy((uint8_t *)space.bytes + 16 + i * nbytes, element.bytes, nbytes);
    }
    end_add(word[0], space);
    answer("");
}

/* array.set NAME TYPE I VALUE */
static void array_set(char **word) {
    Type type = type_of(word[1]);
    Element element = parse_element(type, word[3]);
    uint8_t *to = array_element(array_of(word[0], type), type, number(word[2]));
    memcpy(to, element.bytes, type.nbytes);
    answer("");
}

/* array.all NAME TYPE: the capacity and the elements */
static void array_all(char **word) {
    Type type = type_of(word[1]);
    ArrayHeader *array = array_of(word[0], type);
    printf("ok %" PRIu64, array->capacity);
    for (uint64_t i = 0; i < array->capacity; i++) {
        Element element = {{0}};
        memcpy(element.bytes, array->elements + i * type.nbytes, type.nbytes);
        printf(" %s", shown(type, &element));
    }
    printf("\n");
}

/* array.add NAME I STRIDE TIMES: adds 1 to the int64 at I, I + STRIDE, ..., so often */
static void array_add(char **word) {
    Type type = type_of("i8");
    ArrayHeader *array = array_of(word[0], type);
    int64_t times = number(word[3]), stride = number(word[2]);
    for (int64_t i = number(word[1]); i < (int64_t)array->capacity; i += stride) {
        volatile int64_t *element = (int64_t *)(void *)array_element(array, type, i);
        for (int64_t n = 0; n < times; n++) {
            ++*element;
        }
    }
    answer("");
}

static const Command ARRAY_COMMANDS[] = {
    {"array.create", 3, array_create},
    {"array.create_c", 3, array_create_c},
    {"array.set", 4, array_set},
    {"array.all", 2, array_all},
    {"array.add", 4, array_add},
    {0},
};

#endif
