/* One wait of a call that waits; see patience.c. */
#ifndef ZI_PATIENCE_H
#define ZI_PATIENCE_H

#include "native.h"

static inline int is_late(uint64_t deadline) { return deadline == 0 || zi_now() >= deadline; }

/* A thread that waits while its process ends: the process has left the arena, and only a
 * daemon thread can still be here.  It must not wake up with an error. */
static inline void park_at_exit(const zi_view *view)
{
    while (view->me == 0) pause();
}

/* One wait of at most a tick and one try, without the interpreter lock. */
#define WAIT_AND_TRY(await, try)                                     \
    Py_BEGIN_ALLOW_THREADS                                           \
    uint64_t until = lock_deadline(deadline);                        \
    zi_status waited = await;                                        \
    if (waited != ZI_INTERRUPTED) status = try;                      \
    park_at_exit(view);                                              \
    Py_END_ALLOW_THREADS                                             \
    arena_idle(self->arena, 0);                                      \
    first = 0;

#endif
