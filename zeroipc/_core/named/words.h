/* The one door to the shared words of named structures, which change by compare-and-swap. */
#ifndef ZI_NAMED_WORDS_H
#define ZI_NAMED_WORDS_H

#include <stdint.h>

#include "../atomics.h"

/* Whether *word* was *expected* and is now *desired*.  Acquires, and releases. */
static inline int word_cas32(uint32_t *word, uint32_t expected, uint32_t desired)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    int swapped = __atomic_compare_exchange_n(word, &expected, desired, 0, __ATOMIC_ACQ_REL,
                                              __ATOMIC_ACQUIRE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return swapped;
}

static inline int word_cas64(uint64_t *word, uint64_t expected, uint64_t desired)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    int swapped = __atomic_compare_exchange_n(word, &expected, desired, 0, __ATOMIC_ACQ_REL,
                                              __ATOMIC_ACQUIRE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return swapped;
}

/* Add to a word, modulo its width; return what it was. */
static inline uint32_t word_add32(uint32_t *word, uint32_t delta)
{
    return __atomic_fetch_add(word, delta, __ATOMIC_ACQ_REL);
}

#endif
