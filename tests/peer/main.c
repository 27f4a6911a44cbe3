/* Another implementation of ZeroIPC's named segments, for the tests.
 *
 * It is written from SPECIFICATION.md alone and shares no line with the package, so what both
 * understand is what the specification says. Like other C and C++ programs it polls: it sleeps on
 * no futex, wakes nobody, and does not know of the entry `.wait`.
 */
#define _GNU_SOURCE /* flock, shm_open, posix_fallocate under -std=c11 */
#include <stdbool.h>
#include <stddef.h>

#include "array.h"
#include "atomic.h"
#include "boxes.h"
#include "channel.h"
#include "function.h"
#include "future.h"
#include "gates.h"
#include "guarded.h"
#include "lazy.h"
#include "maps.h"
#include "pool.h"
#include "semaphore.h"
#include "stream.h"

int main(void) {
    const Command *const families[] = {
        SEGMENT_COMMANDS, ARRAY_COMMANDS,   ATOMIC_COMMANDS, BOX_COMMANDS,
        POOL_COMMANDS,    MAP_COMMANDS,     GATE_COMMANDS,   SEMAPHORE_COMMANDS,
        GUARDED_COMMANDS, CHANNEL_COMMANDS, STREAM_COMMANDS, FUTURE_COMMANDS,
        LAZY_COMMANDS,    FUNCTION_COMMANDS, NULL,
    };
    serve(families);
    return 0;
}
