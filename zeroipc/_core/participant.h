/* Who is attached to an arena.
 *
 * An identity is generation << 10 | index, so a reused entry is another participant.  An
 * entry counts from the store of its pid to the clearing of its pid, both last.  Before a
 * fork the parent reserves the child's entry and copies its holdings, so that nothing the
 * child inherits can be reclaimed before the child runs. */
#ifndef ZI_PARTICIPANT_H
#define ZI_PARTICIPANT_H

#include "blocks.h"

#define ZI_ADOPT_NS UINT64_C(10000000000) /* a reserved entry nobody adopts is void after this */

static inline uint32_t identity_index(uint32_t identity) { return identity % ZI_PARTICIPANTS; }

static inline uint32_t participant_identity(const zi_view *view, uint32_t index)
{
    return view->participants[index].generation * ZI_PARTICIPANTS + index;
}

static inline uint8_t *participant_row(const zi_view *view, uint32_t index)
{
    return view->rows + (uint64_t)index * ZI_QUEUES;
}

/* Whether the participant is to be swept: decided before any lock is taken. */
static inline int participant_dead(const zi_view *view, uint32_t index)
{
    const zi_participant *one = &view->participants[index];
    uint32_t pid = ZI_LOAD(one->pid);
    if (pid == 0) return 0;
    if (pid == ZI_RESERVED_PID) return zi_now() - one->reserved_at > ZI_ADOPT_NS;
    return !owner_alive(pid, one->start);
}

/* Under A: the entry is another participant's from here on. */
static inline void participant_renew(zi_participant *entry)
{
    ZI_STORE(entry->generation, entry->generation % (UINT32_MAX / ZI_PARTICIPANTS - 1) + 1);
}

/* Under A: an empty entry, its row zeroed and reserved, of a new generation. */
static inline zi_status participant_take(zi_view *view, uint32_t *found)
{
    zi_arena *arena = view->arena;
    uint32_t index = 0;
    while (index < arena->participants_used && view->participants[index].pid != 0) index++;
    if (index == ZI_PARTICIPANTS) return ZI_NO_ENTRY;
    zi_status status = arena_reserve(view, ZI_ROWS_OFFSET + (uint64_t)index * ZI_QUEUES, ZI_QUEUES);
    if (status != ZI_OK) return status;
    memset(participant_row(view, index), 0, ZI_QUEUES);
    zi_participant *entry = &view->participants[index];
    participant_renew(entry);
    entry->born = entry->elder = 0;
    if (index == arena->participants_used) ZI_STORE(arena->participants_used, index + 1);
    *found = index;
    return ZI_OK;
}

/* Under A: this process is the participant from here on. */
static inline void participant_commit(zi_view *view, uint32_t index)
{
    zi_participant *entry = &view->participants[index];
    entry->start = owner_start_time((uint32_t)getpid());
    view->me = participant_identity(view, index);
    ZI_POINT("register.before_pid");
    ZI_STORE(entry->pid, (uint32_t)getpid());
}

/* Register this process.  ZI_NO_ENTRY: sweep, then try again. */
static inline zi_status participant_register(zi_view *view, uint64_t deadline)
{
    uint32_t index;
    zi_status status = arena_lock(view, deadline);
    if (status != ZI_OK) return status;
    status = participant_take(view, &index);
    if (status == ZI_OK) participant_commit(view, index);
    arena_unlock(view);
    return status;
}

/* Before a fork: reserve an entry for the child; *identity is 0 when that failed. */
static inline void participant_reserve(zi_view *view, uint32_t *identity, uint64_t deadline)
{
    uint32_t index;
    *identity = 0;
    if (arena_lock(view, deadline) != ZI_OK) return;
    uint32_t clock = ++view->arena->fork_clock;
    if (participant_take(view, &index) == ZI_OK) {
        zi_participant *entry = &view->participants[index];
        memcpy(participant_row(view, index), participant_row(view, identity_index(view->me)), ZI_QUEUES);
        const zi_participant *parent = &view->participants[identity_index(view->me)];
        entry->born = clock;
        entry->elder = parent->elder ? parent->elder : clock;
        entry->reserved_at = zi_now();
        *identity = participant_identity(view, index);
        ZI_STORE(entry->pid, (uint32_t)ZI_RESERVED_PID);
    }
    arena_unlock(view);
}

/* After a fork, in the child: take the reserved entry, or register anew.  The identity
 * changes, so that a sweeper who just found the reservation void cannot touch the child. */
static inline zi_status participant_adopt(zi_view *view, uint32_t identity, uint64_t deadline)
{
    uint32_t index = identity_index(identity);
    zi_status status = arena_lock(view, deadline);
    if (status != ZI_OK) return status;
    int mine = identity != 0 && view->participants[index].pid == ZI_RESERVED_PID &&
               participant_identity(view, index) == identity;
    if (mine) {
        participant_renew(&view->participants[index]);
        participant_commit(view, index);
    }
    arena_unlock(view);
    if (mine) return ZI_OK;
    status = participant_register(view, deadline);
    if (status == ZI_OK) { /* it may see any block that was in view at any fork */
        view->participants[identity_index(view->me)].born = view->arena->fork_clock;
        view->participants[identity_index(view->me)].elder = 1;
    }
    return status;
}

/* --- Holdings: which slots a process has ------------------------------------------- */

static inline void holding_set(zi_view *view, uint32_t slot)
{
    ZI_STORE(participant_row(view, identity_index(view->me))[slot], 1);
}

static inline void holding_clear(zi_view *view, uint32_t slot)
{
    ZI_STORE(participant_row(view, identity_index(view->me))[slot], 0);
    slot_mark(view, slot);
}

/* Whether any participant holds the slot; the dead count until they are swept. */
static inline int holding_any(const zi_view *view, uint32_t slot)
{
    uint32_t used = ZI_LOAD(view->arena->participants_used);
    for (uint32_t index = 0; index < used; index++)
        if (ZI_LOAD(view->participants[index].pid) != 0 && ZI_LOAD(participant_row(view, index)[slot]))
            return 1;
    return 0;
}

#endif
