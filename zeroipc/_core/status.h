/* What an operation of the core answers.  "Full" and "empty" are answers, not errors. */
#ifndef ZI_STATUS_H
#define ZI_STATUS_H

typedef enum {
    ZI_OK = 0,
    ZI_EMPTY,       /* nothing to get */
    ZI_FULL,        /* maxsize items are in the queue */
    ZI_SHUT,        /* the queue takes no more puts, or has nothing left to get */
    ZI_STALE,       /* the handle names a queue that is gone */
    ZI_BUSY,        /* a lock was not free in time, or somebody is in the midst of an operation */
    ZI_TIMEOUT,     /* the time is over */
    ZI_INTERRUPTED, /* a signal came in while sleeping */
    ZI_NO_MEMORY,   /* the arena's limit is reached: memory may come back */
    ZI_NO_SPACE,    /* the system has no page left for the arena */
    ZI_NO_ENTRY,    /* a table (participants, queues, blocks) is full */
    ZI_WANT_CHUNK,  /* the ring needs another chunk: allocate it, then try again */
    ZI_DAMAGED,     /* the bytes are not what this layout allows */
    ZI_LOST,        /* tasks of this queue died with the process that had them */
    ZI_REPAIR,      /* the lock's holder died: repair, then call mutex_mended */
} zi_status;

#endif
