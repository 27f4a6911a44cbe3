/* Owner tags: which of our processes holds a mutex.
 *
 * A process id and ten bits of the start time; 0 says nothing.  Programs in other languages
 * leave the word alone. */
#ifndef ZI_NAMED_HOLDER_H
#define ZI_NAMED_HOLDER_H

#include "../owner.h"
#include "layout.h"

/* The tag of a process; 0 when its start time cannot be read. */
static inline uint32_t holder_tag(uint32_t pid)
{
    uint64_t start = owner_start_time(pid);
    return start == 0 ? 0 : pid | (uint32_t)start << ZI_OWNER_PID_BITS;
}

#endif
