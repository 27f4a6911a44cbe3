/* The hash of a key of a map or set: the one of programs in C++ that share them. */
#ifndef ZI_NAMED_HASH_H
#define ZI_NAMED_HASH_H

#include <string.h>

#include "layout.h"

static inline uint64_t hash_word(const uint8_t *bytes, uint64_t nbytes)
{
    uint64_t word = 0;
    memcpy(&word, bytes, nbytes);
    return word;
}

static inline uint64_t hash_fold(uint64_t value) { return value ^ (value >> 47); }

/* std::hash of the GNU C++ library, for the bytes of a string. */
static inline uint64_t hash_bytes(const uint8_t *key, uint64_t nbytes)
{
    uint64_t hash = ZI_HASH_SEED ^ (nbytes * ZI_HASH_MURMUR);
    for (; nbytes >= 8; key += 8, nbytes -= 8) {
        uint64_t word = hash_fold(hash_word(key, 8) * ZI_HASH_MURMUR) * ZI_HASH_MURMUR;
        hash = (hash ^ word) * ZI_HASH_MURMUR;
    }
    if (nbytes > 0) hash = (hash ^ hash_word(key, nbytes)) * ZI_HASH_MURMUR;
    return hash_fold(hash_fold(hash) * ZI_HASH_MURMUR);
}

/* *code* is that of the module struct for a number, anything else for other keys. */
static inline uint64_t hash_key(char code, const uint8_t *key, uint32_t nbytes)
{
    switch (code) {
    case 'b': return (uint64_t)(int64_t)(int8_t)hash_word(key, 1) * ZI_HASH_MULTIPLIER;
    case 'h': return (uint64_t)(int64_t)(int16_t)hash_word(key, 2) * ZI_HASH_MULTIPLIER;
    case 'i': return (uint64_t)(int64_t)(int32_t)hash_word(key, 4) * ZI_HASH_MULTIPLIER;
    case 'B': case '?': return hash_word(key, 1) * ZI_HASH_MULTIPLIER;
    case 'H': return hash_word(key, 2) * ZI_HASH_MULTIPLIER;
    case 'I': return hash_word(key, 4) * ZI_HASH_MULTIPLIER;
    case 'q': case 'Q': return hash_word(key, 8) * ZI_HASH_MULTIPLIER;
    default: return hash_bytes(key, nbytes);
    }
}

#endif
