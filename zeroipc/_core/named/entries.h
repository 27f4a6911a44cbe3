/* The entries of a map or set, found by the hash of a key: many readers, many writers.
 *
 * An entry has a state, a key and, in a map, a value.  The chain of a key is the entries hash,
 * hash + 1, ... modulo capacity, up to the first EMPTY one.  INSERTING is a claim: only who
 * made it touches key and value, until it publishes the entry or gives it up.
 *
 * Find:   1. walk the chain   2. copy the value   3. entry, key and value must be the same still
 * Insert: 1. walk the chain   2. claim: the key's entry, OCCUPIED -> INSERTING, and the key must
 *            be the same still; or the first DELETED one, or the EMPTY one
 *         3. write key and value   4. publish: OCCUPIED   5. a new key: size + 1
 * Erase:  1. walk the chain   2. claim as insert   3. read the value   4. DELETED   5. size - 1
 *
 * A process that dies between 2 and 4 leaves its entry INSERTING: BUSY for those who need it.  A key
 * that changes its place while it is looked for may be missed, or inserted twice; then the
 * entry that comes first in its chain counts, and erasing that one uncovers the other. */
#ifndef ZI_NAMED_ENTRIES_H
#define ZI_NAMED_ENTRIES_H

#include <stddef.h>
#include <string.h>

#include "../status.h"
#include "hash.h"
#include "words.h"

typedef struct {
    uint32_t *size;
    uint8_t *first;           /* entry; those of maps and sets begin at the same offset */
    uint32_t capacity;
    uint32_t key_nbytes, key_at;
    uint32_t value_nbytes, value_at; /* a set's value has no bytes */
    uint32_t nbytes;          /* of an entry */
    char code;                /* of the key: that of the module struct, or 'V' */
} zi_entries;

/* What a walk along a chain came by. */
typedef struct {
    uint8_t *found;           /* the entry of the key */
    uint8_t *free;            /* where the key could go; NULL: nowhere */
    uint32_t free_state;
    int claimed;              /* somebody may be about to publish the key */
    int key_claimed;          /* somebody has claimed an entry that has, or had, the key */
} zi_walk;

static inline uint32_t entries_up(uint32_t n, uint32_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* Lay out the entries as the C struct of state, key and value. */
static inline void entries_shape(zi_entries *entries, uint32_t key_align, uint32_t value_align)
{
    uint32_t align = key_align > value_align ? key_align : value_align;
    entries->key_at = entries_up(sizeof(uint32_t), key_align);
    entries->value_at = entries_up(entries->key_at + entries->key_nbytes, value_align);
    entries->nbytes = entries_up(entries->value_at + entries->value_nbytes,
                                 align > sizeof(uint32_t) ? align : sizeof(uint32_t));
}

static inline uint32_t *entry_state(uint8_t *entry) { return (uint32_t *)(void *)entry; }

/* Values of whole words move in one piece. */
static inline void entry_move(uint8_t *to, const uint8_t *from, uint32_t nbytes)
{
    switch (nbytes) {
    case 8: memcpy(to, from, 8); break;
    case 4: memcpy(to, from, 4); break;
    case 2: memcpy(to, from, 2); break;
    default: memcpy(to, from, nbytes);
    }
}

/* Whether an entry has this key: numbers are equal by ==, all else by its bytes. */
static inline int entry_equal(const zi_entries *entries, const uint8_t *entry, const uint8_t *key)
{
    const uint8_t *stored = entry + entries->key_at;
    double doubles[2];
    float floats[2];
    switch (entries->code) {
    case 'd':
        memcpy(&doubles[0], stored, sizeof(double));
        memcpy(&doubles[1], key, sizeof(double));
        return doubles[0] == doubles[1];
    case 'f':
        memcpy(&floats[0], stored, sizeof(float));
        memcpy(&floats[1], key, sizeof(float));
        return floats[0] == floats[1];
    case 'q': case 'Q': return hash_word(stored, 8) == hash_word(key, 8);
    case 'i': case 'I': return hash_word(stored, 4) == hash_word(key, 4);
    default: return memcmp(stored, key, entries->key_nbytes) == 0;
    }
}

/* Whether key and value, just copied, are still those of the entry, and it is OCCUPIED: then no
 * writer was at work between, or it has left nothing that differs. */
static inline int entry_unchanged(const zi_entries *entries, uint8_t *entry, const uint8_t *key,
                                  const uint8_t *value)
{
    /* [entry.again] acquire: after what was copied; a writer has claimed before it writes */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (memcmp(entry + entries->key_at, key, entries->key_nbytes) != 0 &&
        !entry_equal(entries, entry, key))
        return 0;
    if (memcmp(entry + entries->value_at, value, entries->value_nbytes) != 0) return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return ZI_LOAD(*entry_state(entry)) == ZI_SLOT_OCCUPIED;
}

/* Walk the chain of a key: OK if it is there, EMPTY if not. */
static inline zi_status entries_walk(const zi_entries *entries, const uint8_t *key, zi_walk *walk)
{
    uint64_t hash = hash_key(entries->code, key, entries->key_nbytes);
    *walk = (zi_walk){0};
    for (uint32_t i = 0; i < entries->capacity; i++) {
        uint8_t *entry = entries->first + (hash + i) % entries->capacity * entries->nbytes;
        /* [entry.published] acquire: key and value are those that were published */
        uint32_t state = ZI_LOAD(*entry_state(entry));
        if (state == ZI_SLOT_OCCUPIED) {
            if (!entry_equal(entries, entry, key)) continue;
            walk->found = entry;
            return ZI_OK;
        }
        if (state == ZI_SLOT_INSERTING) {
            walk->claimed = 1;
            walk->key_claimed |= entry_equal(entries, entry, key);
            continue;
        }
        if (state > ZI_SLOT_INSERTING) return ZI_DAMAGED;
        if (walk->free == NULL) {
            walk->free = entry;
            walk->free_state = state;
        }
        if (state == ZI_SLOT_EMPTY) break;
    }
    return ZI_EMPTY;
}

/* Claim an entry in this state, and *key* must be in it, if there is one. */
static inline int entry_claim(const zi_entries *entries, uint8_t *entry, uint32_t state,
                              const uint8_t *key)
{
    if (!word_cas32(entry_state(entry), state, ZI_SLOT_INSERTING)) return 0;
    /* [entry.again] release: the claim before what is written under it */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (key == NULL || entry_equal(entries, entry, key)) return 1;
    ZI_STORE(*entry_state(entry), state); /* another key has taken its place */
    return 0;
}

/* Find a key: OK and its value, EMPTY, or BUSY while its entry is claimed. */
static inline zi_status entries_find(const zi_entries *entries, const uint8_t *key, uint8_t *value)
{
    zi_walk walk;
    for (;;) {
        zi_status status = entries_walk(entries, key, &walk);
        if (status == ZI_EMPTY && walk.key_claimed) return ZI_BUSY;
        if (status != ZI_OK) return status;
        entry_move(value, walk.found + entries->value_at, entries->value_nbytes);
        if (entry_unchanged(entries, walk.found, key, value)) return ZI_OK;
    }
}

/* Insert a key, or give the one that is there this value if *replace*; *added* is whether it is
 * new.  FULL, or BUSY while an entry is claimed that may become the key's. */
static inline zi_status entries_insert(const zi_entries *entries, const uint8_t *key,
                                       const uint8_t *value, int replace, int *added)
{
    zi_walk walk;
    for (;;) {
        zi_status status = entries_walk(entries, key, &walk);
        *added = status == ZI_EMPTY;
        if (*added && walk.claimed) return ZI_BUSY;
        if (*added && walk.free == NULL) return ZI_FULL;
        if (status != ZI_OK && !*added) return status;
        if (!*added && !replace) { /* any value will do */
            if (entry_unchanged(entries, walk.found, key, walk.found + entries->value_at))
                return ZI_OK;
            continue;
        }
        uint8_t *entry = *added ? walk.free : walk.found;
        if (!entry_claim(entries, entry, *added ? walk.free_state : ZI_SLOT_OCCUPIED,
                         *added ? NULL : key))
            continue;
        if (*added) memcpy(entry + entries->key_at, key, entries->key_nbytes);
        entry_move(entry + entries->value_at, value, entries->value_nbytes);
        /* [entry.published] release; pairs with entries_walk */
        ZI_STORE(*entry_state(entry), ZI_SLOT_OCCUPIED);
        if (*added) word_add32(entries->size, 1);
        return ZI_OK;
    }
}

/* Erase a key: OK and the value it had, EMPTY, or BUSY while its entry is claimed. */
static inline zi_status entries_erase(const zi_entries *entries, const uint8_t *key, uint8_t *value)
{
    zi_walk walk;
    for (;;) {
        zi_status status = entries_walk(entries, key, &walk);
        if (status == ZI_EMPTY && walk.key_claimed) return ZI_BUSY;
        if (status != ZI_OK) return status;
        if (!entry_claim(entries, walk.found, ZI_SLOT_OCCUPIED, key)) continue;
        entry_move(value, walk.found + entries->value_at, entries->value_nbytes);
        ZI_STORE(*entry_state(walk.found), ZI_SLOT_DELETED);
        word_add32(entries->size, (uint32_t)-1);
        return ZI_OK;
    }
}

/* Copy the first entry from index *at* on: OK, EMPTY, or BUSY while one before it is claimed. */
static inline zi_status entries_scan(const zi_entries *entries, uint32_t *at, uint8_t *key,
                                     uint8_t *value)
{
    while (*at < entries->capacity) {
        uint8_t *entry = entries->first + (uint64_t)*at * entries->nbytes;
        uint32_t state = ZI_LOAD(*entry_state(entry)); /* [entry.published] */
        if (state > ZI_SLOT_INSERTING) return ZI_DAMAGED;
        if (state == ZI_SLOT_INSERTING) return ZI_BUSY;
        if (state == ZI_SLOT_OCCUPIED) {
            memcpy(key, entry + entries->key_at, entries->key_nbytes);
            entry_move(value, entry + entries->value_at, entries->value_nbytes);
            if (entry_unchanged(entries, entry, key, value)) return ZI_OK;
        } else {
            ++*at;
        }
    }
    return ZI_EMPTY;
}

static inline uint32_t entries_size(const zi_entries *entries)
{
    int32_t size = (int32_t)ZI_LOAD(*entries->size); /* below 0 while an insert is late */
    if (size < 0) size = 0;
    return (uint32_t)size < entries->capacity ? (uint32_t)size : entries->capacity;
}

#endif
