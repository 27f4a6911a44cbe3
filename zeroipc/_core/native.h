/* What the files of the extension share: its objects and its module state. */
#ifndef ZI_NATIVE_H
#define ZI_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>

#include "lock.h"
#include "memory.h"
#include "shrink.h"

typedef struct {
    PyTypeObject *arena_type, *block_type, *queue_type, *memory_type;
    PyTypeObject *slot_type, *lock_type, *event_type, *condition_type;
    PyObject *empty, *full;                            /* of the module queue */
    PyObject *arena_full, *queue_full, *closed, *gone, *shut, *moved, *died, *damaged; /* of zeroipc.errors */
    PyObject *dumps, *loads;                           /* of _pickle */
    PyObject *dump_any;                                /* of zeroipc._core.pickling */
    PyObject *protocol;                                /* 5 */
    PyObject *ndarray, *dtypes, *contiguous;           /* of numpy, once it is loaded */
    PyObject *buffers_name;                            /* ("buffers",) */
    PyObject *str_base, *str_view, *str_setflags, *str_numpy, *str_spill, *str_lock;
} zi_state;

struct zi_block_object;

typedef struct {
    PyObject_HEAD
    zi_state *state;
    zi_view view;
    uint64_t nbytes;
    struct zi_block_object *blocks;  /* those of this process, a doubly linked list */
    uint32_t inherited;              /* how many of them are */
    uint32_t child;                  /* identity reserved for a child about to be forked */
    uint32_t holds[ZI_QUEUES];       /* objects of this process, per slot */
    uint32_t owed_lock, owed_slot, owed_bits;  /* when that lock is given back, who waits there is woken */
    uint32_t kept;                   /* those that may be used until the process is gone */
    pthread_t trimmer;               /* gives idle memory back; runs only when there is some */
    uint32_t trimmer_runs, trimmer_stop;
    pid_t parent;                    /* of this process when it came to the arena */
} zi_arena_object;

typedef struct zi_block_object {
    PyObject_HEAD
    zi_arena_object *arena;
    struct zi_block_object *next, **link;
    uint32_t id, identity;
    Py_ssize_t nbytes, exports;
    int moved;                       /* the receiver has it; this process only shows it */
    int received;                    /* it came with a message */
    int inherited;                   /* through a fork: it shows what it was then */
    unsigned char *bytes;
    size_t mapped;                   /* bytes that are mapped for it alone */
} zi_block_object;

/* A process's hold of a slot: how every object begins that stands for one. */
typedef struct {
    PyObject_HEAD
    zi_arena_object *arena;
    uint32_t slot, generation;
} zi_hold;

typedef struct {
    PyObject_HEAD
    zi_arena_object *arena;
    uint32_t slot, generation;
    char used, closed, spilling, watched;
    uint32_t claimant;
    uint64_t owed_since; /* a worker is to be woken for a task that was put then; 0: none */
} zi_queue_object;

/* A lock or semaphore, of a kind that never changes. */
typedef struct {
    PyObject_HEAD
    zi_arena_object *arena;
    uint32_t slot, generation;
    char kind;
    uint32_t counter;                /* the identity that counts */
    int count;                       /* of a semaphore: how often this process took it and has not given it back */
    uint64_t thread;                 /* of a semaphore: which thread took it last */
} zi_lock_object;

/* A block that moves when a message is sent, and the array that shows it here. */
typedef struct {
    zi_block_object *block;
    PyObject *array;
} zi_loan;

/* A message in the making, and what to undo when it is not sent. */
typedef struct {
    zi_message message;
    zi_arena_object *arena;
    PyObject *keep;                  /* owns the payload */
    zi_loan loans[ZI_MESSAGE_BLOCKS];
    uint32_t nloans;
    uint64_t deadline, patience;     /* until when to wait for memory, and for the arena's lock */
    int busy;                        /* the arena's lock was not free in time */
    int too_large;                   /* no room can ever be found for it */
    unsigned char small[64];
} zi_draft;

/* draft.c */
int draft_alloc(zi_draft *draft, uint64_t nbytes, uint32_t kind, uint32_t *id);
int draft_lends(const zi_draft *draft, uint32_t id);
void draft_sent(zi_draft *draft);
void draft_dropped(zi_draft *draft);

/* codec.c */
int draft_encode(zi_draft *draft, zi_arena_object *arena, PyObject *object, uint64_t deadline, uint64_t patience);
PyObject *message_decode(zi_arena_object *arena, const zi_message *message);
PyObject *native_send_handle(PyObject *module, PyObject *queue);

/* arrays.c */
int array_is(zi_state *state, PyObject *object);
int array_encode(zi_draft *draft, PyObject *array);
PyObject *array_decode(zi_arena_object *arena, const zi_message *message, zi_block_object *block);
PyObject *array_of_bytes(zi_state *state, PyObject *block, const zi_part *part);
int loan_take(zi_draft *draft, PyObject *object, const Py_buffer *buffer, uint64_t *offset);

/* trimmer.c */
void arena_idle(zi_arena_object *arena, int more);
void trimmer_end(zi_arena_object *arena);

/* hold.c */
int hold_attach(zi_hold *self, PyObject *args, uint32_t role);
int hold_check(const zi_hold *self);
PyObject *hold_raise(const zi_hold *self, zi_status status);
extern PyType_Spec slot_spec;

/* lock_type.c, event_type.c, condition_type.c */
extern PyType_Spec lock_spec, event_spec, condition_spec;
int lock_owned(const zi_lock_object *self);
void wake_owed(zi_arena_object *arena);
PyObject *lock_acquire_by(zi_lock_object *self, uint64_t deadline);
PyObject *lock_release(PyObject *object, PyObject *unused);
PyObject *lock_enter(PyObject *object);
PyObject *lock_exit(PyObject *object);
int lock_release_all(zi_lock_object *self);
int lock_restore(zi_lock_object *self, int count);

/* with.c: `with` takes a lock by *enter* and gives it back by *leave*. */
typedef PyObject *(*zi_with_call)(PyObject *lock);
int with_add(PyTypeObject *owner, zi_with_call enter, zi_with_call leave);

/* block_type.c, arena_type.c, queue_type.c, memory_type.c */
extern PyType_Spec arena_spec, block_spec, queue_spec, memory_spec;
PyObject *block_wrap(zi_arena_object *arena, uint32_t id, Py_ssize_t nbytes);
void blocks_inherit(zi_arena_object *arena);

/* status.c */
PyObject *native_raise(zi_state *state, zi_status status, const zi_view *view);

/* Make a *call* without time-out that waits for locks until `until`: at once, else for ticks
 * without the interpreter lock, with *between* after each. */
#define ZI_IN_TICKS(status, call, between)                           \
    do {                                                             \
        uint64_t until = 0, end = 0;                                 \
        status = call;                                               \
        while (status == ZI_BUSY && (end == 0 || until < end)) {     \
            until = zi_now() + ZI_TICK_NS;                           \
            if (end == 0) end = until + ZI_LOCK_PATIENCE_NS;         \
            Py_BEGIN_ALLOW_THREADS                                   \
            status = call;                                           \
            Py_END_ALLOW_THREADS                                     \
            between;                                                 \
        }                                                            \
    } while (0)

/* The same, and between the ticks signals are looked at. */
#define ZI_PATIENTLY(status, call) \
    ZI_IN_TICKS(status, call, if (PyErr_CheckSignals() < 0) status = ZI_INTERRUPTED)

/* The same of a call that must not be given up half-way, and so looks at no signals. */
#define ZI_STUBBORNLY(status, call) ZI_IN_TICKS(status, call, (void)0)

/* status.c: an argument of 32 bits, for "O&", as "I" takes it, but that checks nothing. */
int native_u32(PyObject *number, void *found);

/* patience.c */
uint64_t lock_deadline(uint64_t deadline);
int native_deadline(PyObject *timeout, uint64_t *deadline);
zi_status queue_send(zi_queue_object *self, zi_message *messages, uint32_t count, uint32_t *done, int patient,
                     uint64_t deadline);
zi_status queue_receive(zi_queue_object *self, zi_message *messages, uint32_t count, uint32_t *done, uint64_t deadline);

/* orphan.c: what a process writes into its row for a queue: it has it; it has it, and its only
 * thread waits for an item of it, for ever. */
enum { ZI_HOLDS = 1, ZI_HOLDS_WAITING = 2 };
void holding_note(const zi_queue_object *self, uint8_t note);
int is_alone(void);
int raise_orphan(const zi_queue_object *self);

/* module.c */
extern struct PyModuleDef native_module;
int native_errors(zi_state *state);

#define ZI_BIG_COPY ((Py_ssize_t)256 << 10) /* copies of this size let other threads run */
#define ZI_MANY 8                            /* messages per locked visit of put_many and get_many */

#endif
