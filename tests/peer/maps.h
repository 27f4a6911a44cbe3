/* Maps and sets: SPECIFICATION.md, "Map" and "Set". A set is a map whose values have no bytes. */
#ifndef PEER_MAPS_H
#define PEER_MAPS_H

#include "segment.h"

#define HASH_MULTIPLIER 2654435761u
#define HASH_SEED UINT64_C(0xC70F6907)
#define HASH_MURMUR UINT64_C(0xC6A4A7935BD1E995)

typedef struct {
    _Atomic uint32_t size;
    uint32_t capacity, key_size, value_size;
} MapHeader;

_Static_assert(sizeof(MapHeader) == 16, "as the table in the specification");

enum { SLOT_EMPTY, SLOT_OCCUPIED, SLOT_DELETED, SLOT_INSERTING };

typedef struct {
    MapHeader *header;
    uint8_t *entries;
    uint32_t capacity;
    Type key, value;
    uint64_t key_at, value_at, nbytes; /* of an entry */
} Map;

/* What a walk along a chain has seen; an index is -1 if there is none. */
typedef struct {
    int64_t found, noted;
    uint32_t noted_state;
    bool inserting, inserting_key;
} Walk;

static Map map_shape(Type key, Type value) {
    Map map = {.key = key, .value = value};
    uint64_t most = align_of(key) > align_of(value) ? align_of(key) : align_of(value);
    map.key_at = round_up(4, align_of(key));
    map.value_at = round_up(map.key_at + key.nbytes, align_of(value));
    map.nbytes = round_up(map.value_at + value.nbytes, most > 4 ? most : 4);
    return map;
}

static Map map_of(const char *name, const char *key, const char *value) {
    uint64_t size;
    Map map = map_shape(type_of(key), type_of(value));
    map.header = structure(name, sizeof *map.header, &size);
    map.entries = (uint8_t *)(map.header + 1);
    map.capacity = map.header->capacity;
    if (map.capacity == 0 || map.header->key_size != map.key.nbytes ||
        map.header->value_size != map.value.nbytes ||
        size != sizeof *map.header + map.capacity * map.nbytes) {
        fail("%s has not such keys and values", name);
    }
    return map;
}

static uint8_t *map_entry(const Map *map, int64_t i) {
    return map->entries + (uint64_t)i * map->nbytes;
}

static _Atomic uint32_t *map_state(const Map *map, int64_t i) {
    return (_Atomic uint32_t *)(void *)map_entry(map, i);
}

static uint64_t mixed(uint64_t v) { return v ^ v >> 47; }

static uint64_t map_hash(Type type, const Element *key) {
    if (type.kind == 'i' || type.kind == 'u') {
        return (uint64_t)integer_of(type, key) * HASH_MULTIPLIER;
    }
    uint64_t h = HASH_SEED ^ type.nbytes * HASH_MURMUR, word = 0;
    uint32_t at = 0;
    for (; at + 8 <= type.nbytes; at += 8) {
        memcpy(&word, key->bytes + at, 8);
        h = (h ^ mixed(word * HASH_MURMUR) * HASH_MURMUR) * HASH_MURMUR;
    }
    if (at < type.nbytes) {
        word = 0;
        memcpy(&word, key->bytes + at, type.nbytes - at);
        h = (h ^ word) * HASH_MURMUR;
    }
    return mixed(mixed(h) * HASH_MURMUR);
}

/* Whether entry i has the key: numbers by value, others by their bytes. */
static bool has_key(const Map *map, int64_t i, const Element *key) {
    const uint8_t *bytes = map_entry(map, i) + map->key_at;
    if (map->key.kind != 'f') {
        return memcmp(bytes, key->bytes, map->key.nbytes) == 0;
    }
    float single, other_single;
    double twice, other_twice;
    if (map->key.nbytes == 4) {
        memcpy(&single, bytes, sizeof single);
        memcpy(&other_single, key->bytes, sizeof other_single);
        return single == other_single;
    }
    memcpy(&twice, bytes, sizeof twice);
    memcpy(&other_twice, key->bytes, sizeof other_twice);
    return twice == other_twice;
}

static Walk map_walk(const Map *map, const Element *key) {
    Walk walk = {.found = -1, .noted = -1};
    uint64_t hash = map_hash(map->key, key);
    for (uint64_t n = 0; n < map->capacity; n++) {
        int64_t i = (int64_t)((hash + n) % map->capacity);
        uint32_t state = atomic_load_explicit(map_state(map, i), memory_order_acquire);
        if (state == SLOT_OCCUPIED && has_key(map, i, key)) {
            walk.found = i;
            return walk;
        }
        if (state == SLOT_INSERTING) {
            walk.inserting = true;
            walk.inserting_key |= has_key(map, i, key);
        }
        if ((state == SLOT_EMPTY || state == SLOT_DELETED) && walk.noted < 0) {
            walk.noted = i;
            walk.noted_state = state;
        }
        if (state == SLOT_EMPTY) {
            return walk;
        }
    }
    return walk;
}

static bool claim_entry(const Map *map, int64_t i, uint32_t from) {
    bool claimed = atomic_compare_exchange_strong(map_state(map, i), &from, SLOT_INSERTING);
    atomic_thread_fence(memory_order_release);
    return claimed;
}

static void publish_entry(const Map *map, int64_t i, uint32_t state) {
    atomic_store_explicit(map_state(map, i), state, memory_order_release);
}

/* Claims the entry that has the key, still; false: start over. */
static bool claim_found(const Map *map, int64_t i, const Element *key) {
    if (!claim_entry(map, i, SLOT_OCCUPIED)) {
        return false;
    }
    if (!has_key(map, i, key)) {
        publish_entry(map, i, SLOT_OCCUPIED);
        return false;
    }
    return true;
}

static bool map_find(const Map *map, const Element *key, Element *value) {
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        Walk walk = map_walk(map, key);
        if (walk.found < 0 && !walk.inserting_key) {
            return false;
        }
        if (walk.found < 0) {
            continue;
        }
        const uint8_t *place = map_entry(map, walk.found) + map->value_at;
        memcpy(value->bytes, place, map->value.nbytes);
        atomic_thread_fence(memory_order_acquire);
        bool same = has_key(map, walk.found, key) &&
                    memcmp(value->bytes, place, map->value.nbytes) == 0;
        atomic_thread_fence(memory_order_acquire);
        if (same && atomic_load(map_state(map, walk.found)) == SLOT_OCCUPIED) {
            return true;
        }
    }
}

typedef enum { MAP_FULL, MAP_NEW, MAP_THERE } Insertion;

static Insertion map_insert(const Map *map, const Element *key, const Element *value) {
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        Walk walk = map_walk(map, key);
        if (walk.found >= 0) {
            if (map->value.nbytes == 0) {
                return MAP_THERE;
            }
            if (claim_found(map, walk.found, key)) {
                memcpy(map_entry(map, walk.found) + map->value_at, value->bytes,
                       map->value.nbytes);
                publish_entry(map, walk.found, SLOT_OCCUPIED);
                return MAP_THERE;
            }
        } else if (!walk.inserting) {
            if (walk.noted < 0) {
                return MAP_FULL;
            }
            if (claim_entry(map, walk.noted, walk.noted_state)) {
                uint8_t *entry = map_entry(map, walk.noted);
                memcpy(entry + map->key_at, key->bytes, map->key.nbytes);
                memcpy(entry + map->value_at, value->bytes, map->value.nbytes);
                publish_entry(map, walk.noted, SLOT_OCCUPIED);
                atomic_fetch_add(&map->header->size, 1);
                return MAP_NEW;
            }
        }
    }
}

/* As specified; or, as programs in C++ do, with one swap and without a claim. */
static bool map_erase(const Map *map, const Element *key, bool at_once) {
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        Walk walk = map_walk(map, key);
        if (walk.found < 0 && (at_once || !walk.inserting_key)) {
            return false;
        }
        uint32_t from = SLOT_OCCUPIED;
        bool erased = false;
        if (at_once) {
            erased = atomic_compare_exchange_strong(map_state(map, walk.found), &from,
                                                    SLOT_DELETED);
        } else if (walk.found >= 0 && claim_found(map, walk.found, key)) {
            publish_entry(map, walk.found, SLOT_DELETED);
            erased = true;
        }
        if (erased) {
            atomic_fetch_sub(&map->header->size, 1);
            return true;
        }
    }
}

/* map.create NAME CAPACITY KEY VALUE: types, and the type - makes a set */
static void map_create(char **word) {
    uint64_t capacity = (uint64_t)number(word[1]);
    Map map = map_shape(type_of(word[2]), type_of(word[3]));
    Space space = begin_add(word[0], sizeof(MapHeader) + capacity * map.nbytes);
    *(MapHeader *)space.bytes =
        (MapHeader){0, (uint32_t)capacity, map.key.nbytes, map.value.nbytes};
    end_add(word[0], space);
    answer("");
}

/* map.put NAME KEY VALUE k v: "full", "new" or "there" */
static void map_put_command(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    Element key = parse_element(map.key, word[3]), value = parse_element(map.value, word[4]);
    static const char *const answers[] = {"full", "new", "there"};
    answer("%s", answers[map_insert(&map, &key, &value)]);
}

/* map.get NAME KEY VALUE k: "there" and the value, or nothing */
static void map_get_command(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    Element key = parse_element(map.key, word[3]), value = {{0}};
    bool found = map_find(&map, &key, &value);
    answer("%s %s", found ? "there" : "", found ? shown(map.value, &value) : "");
}

/* map.erase NAME KEY VALUE k: whether it was there */
static void map_erase_command(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    Element key = parse_element(map.key, word[3]);
    answer("%d", map_erase(&map, &key, false));
}

/* map.claim NAME KEY VALUE k: makes an entry for k, or that of k, INSERTING, with the key in it;
 * answers which; map.publish NAME KEY VALUE ENTRY v: gives it this value */
static void map_claim(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    Element key = parse_element(map.key, word[3]);
    Walk walk = map_walk(&map, &key);
    int64_t i = walk.found >= 0 ? walk.found : walk.noted;
    if (i < 0 || !claim_entry(&map, i, walk.found >= 0 ? SLOT_OCCUPIED : walk.noted_state)) {
        fail("no entry for %s", word[3]);
    }
    memcpy(map_entry(&map, i) + map.key_at, key.bytes, map.key.nbytes);
    answer("%" PRId64, i);
}

static void map_publish(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    Element value = parse_element(map.value, word[4]);
    memcpy(map_entry(&map, number(word[3])) + map.value_at, value.bytes, map.value.nbytes);
    publish_entry(&map, number(word[3]), SLOT_OCCUPIED);
    answer("");
}

static void map_size_command(char **word) {
    const MapHeader *header = structure(word[0], sizeof *header, NULL);
    answer("%" PRIu32, header->size);
}

/* map.put_range NAME KEY VALUE START COUNT: i to 3 i */
static void map_put_range(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    int64_t start = number(word[3]), count = number(word[4]);
    for (int64_t i = start; i < start + count; i++) {
        Element key = element_of(map.key, i), value = element_of(map.value, 3 * i);
        if (map_insert(&map, &key, &value) == MAP_FULL) {
            fail("full at %" PRId64, i);
        }
    }
    answer("");
}

/* map.churn NAME KEY VALUE START COUNT TIMES AT_ONCE: inserts, finds and erases keys of its own */
static void map_churn(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    int64_t start = number(word[3]), count = number(word[4]), times = number(word[5]);
    for (int64_t n = 0; n < times; n++) {
        int64_t i = start + n % count;
        Element key = element_of(map.key, i), value = element_of(map.value, 100 * i + n % 100);
        Element found = {{0}};
        Insertion how = map_insert(&map, &key, &value);
        if (how != MAP_NEW || !map_find(&map, &key, &found) ||
            memcmp(found.bytes, value.bytes, map.value.nbytes) != 0 ||
            !map_erase(&map, &key, number(word[6])) || map_find(&map, &key, &found)) {
            fail("%" PRId64 " went wrong, turn %" PRId64 ", %d", i, n, how);
        }
    }
    answer("");
}

/* map.watch NAME KEY VALUE k TIMES: every value of k that is seen is 100 k and something */
static void map_watch(char **word) {
    Map map = map_of(word[0], word[1], word[2]);
    int64_t k = number(word[3]), seen = 0;
    Element key = element_of(map.key, k), value = {{0}};
    for (int64_t left = number(word[4]); left > 0; left--) {
        if (map_find(&map, &key, &value)) {
            seen++;
            if (integer_of(map.value, &value) / 100 != k) {
                fail("another's value: %s", shown(map.value, &value));
            }
        }
    }
    answer("%" PRId64, seen);
}

static const Command MAP_COMMANDS[] = {
    {"map.create", 4, map_create},
    {"map.put", 5, map_put_command},
    {"map.get", 4, map_get_command},
    {"map.erase", 4, map_erase_command},
    {"map.claim", 4, map_claim},
    {"map.publish", 5, map_publish},
    {"map.size", 1, map_size_command},
    {"map.put_range", 5, map_put_range},
    {"map.churn", 7, map_churn},
    {"map.watch", 5, map_watch},
    {0},
};

#endif
