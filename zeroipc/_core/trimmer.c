/* The trimmer: a thread that exists while there may be idle memory to give back. */
#include "native.h"

#include <signal.h>

#define ZI_KEEP ((uint64_t)24 << 20)         /* free bytes that stay warm when all is idle */
#define ZI_IDLE_MAX ((uint64_t)32 << 20)     /* reserved bytes from which on the trimmer stays */
#define ZI_TRIM_PERIOD_NS UINT64_C(500000000)
enum { ZI_TRIM_IDLE = 2, ZI_TRIM_PATIENCE = 4 };

static void *trimmer_main(void *argument)
{
    zi_arena_object *self = argument;
    int quiet = 0;
    while (quiet < ZI_TRIM_PATIENCE && !ZI_LOAD(self->trimmer_stop)) {
        uint64_t end = zi_now() + ZI_TRIM_PERIOD_NS;
        while (!ZI_LOAD(self->trimmer_stop) && zi_now() < end) wait_sleep(&self->trimmer_stop, 0, end);
        uint32_t count = ZI_LOAD(self->trimmer_stop) ? 0 : queues_shrink(&self->view), once;
        do {
            once = ZI_LOAD(self->trimmer_stop) ? 0 : arena_trim(&self->view, ZI_KEEP, ZI_TRIM_IDLE, 0);
            count += once;
        } while (once == ZI_TRIM_BATCH);
        quiet = count || ZI_LOAD(self->view.arena->reserved) > ZI_IDLE_MAX ? 0 : quiet + 1;
    }
    ZI_STORE(self->trimmer_runs, 0);
    return NULL;
}

/* Start the trimmer if memory may lie idle; *more*: it does in a ring.  Called by whoever
 * puts, gets, waits or frees; needs the interpreter lock and nothing else of Python, so a
 * finalizer may call it. */
void arena_idle(zi_arena_object *self, int more)
{
    if (ZI_LOAD(self->trimmer_runs) || !(more || self->view.arena->reserved > ZI_KEEP)) return;
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's threads */
    if (self->trimmer) pthread_join(self->trimmer, NULL);
    self->trimmer = 0;
    self->trimmer_runs = 1;
    if (pthread_create(&self->trimmer, &attr, trimmer_main, self) != 0) {
        self->trimmer = 0;
        self->trimmer_runs = 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

/* Stop it. */
void trimmer_end(zi_arena_object *self)
{
    if (!self->trimmer) return;
    ZI_STORE(self->trimmer_stop, 1);
    wait_wake(&self->trimmer_stop, 1);
    pthread_join(self->trimmer, NULL);
    self->trimmer = 0;
    self->trimmer_stop = 0;
}
