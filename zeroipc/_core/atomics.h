/* The one door to shared words that are read or written without a lock.
 *
 * The transport changes shared words under a queue's lock or the arena's lock.  What is
 * left for this file are single-writer stores and the reads that watch them. */
#ifndef ZI_ATOMICS_H
#define ZI_ATOMICS_H

#include <stdint.h>

#define ZI_LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)

/* A process may be killed after any instruction, so the steps of an operation must be made
 * in the order written.  Release keeps earlier stores before this one; the barriers keep
 * the compiler from making later ones first.  (A death is precise: no CPU need be told.) */
#define ZI_STORE(word, value) \
    do { \
        __atomic_signal_fence(__ATOMIC_SEQ_CST); \
        __atomic_store_n(&(word), (value), __ATOMIC_RELEASE); \
        __atomic_signal_fence(__ATOMIC_SEQ_CST); \
    } while (0)

/* Every store before it is visible before any load after it is done. */
static inline void zi_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Tells the CPU that this is a spin: about 25 ns on current x86-64. */
static inline void zi_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
