/* The table of a segment, and waiting: SPECIFICATION.md, "Table". */
#ifndef PEER_TABLE_H
#define PEER_TABLE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "element.h"

#define MAGIC 0x5A49504Du
#define DEFAULT_SLOTS 64
#define NAME_MAX_BYTES 31

typedef struct {
    _Atomic uint32_t magic;
    uint32_t version;
    _Atomic uint32_t entry_count;
    uint32_t max_entries;
    uint64_t memory_size;
    _Atomic uint64_t next_offset;
} Table;

typedef struct {
    char name[NAME_MAX_BYTES + 1];
    uint64_t offset, size;
} Entry;

typedef struct {
    _Atomic uint32_t magic;
    uint32_t version;
    _Atomic uint32_t entry_count;
    _Atomic uint32_t next_offset;
} EarlyTable;

typedef struct {
    char name[NAME_MAX_BYTES + 1];
    uint32_t offset, size;
} EarlyEntry;

_Static_assert(sizeof(Table) == 32 && sizeof(Entry) == 48, "version 2");
_Static_assert(sizeof(EarlyTable) == 16 && sizeof(EarlyEntry) == 40, "version 1, early");

/* The segment that this process works on. */
static struct {
    int file;
    uint8_t *base;
    uint64_t size;
    bool early; /* the form with 32-bit offsets */
    uint64_t slots;
} segment = {.file = -1};

static uint64_t round_up(uint64_t n, uint64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

static uint64_t up8(uint64_t n) { return round_up(n, 8); }

/* --- waiting: look, and look again; nobody wakes us */

static void pause_a_little(unsigned *tries) {
    if (++*tries < 64) {
        return;
    }
    if (*tries < 1000) {
        sched_yield();
        return;
    }
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- the table */

static uint32_t entry_count(void) {
    return atomic_load_explicit(&((Table *)(void *)segment.base)->entry_count,
                                memory_order_acquire);
}

/* Copies entry i, of either form. */
static Entry entry_at(uint64_t i) {
    if (!segment.early) {
        return ((Entry *)(void *)(segment.base + sizeof(Table)))[i];
    }
    const EarlyEntry *early = (EarlyEntry *)(void *)(segment.base + sizeof(EarlyTable)) + i;
    Entry entry = {.offset = early->offset, .size = early->size};
    memcpy(entry.name, early->name, sizeof entry.name);
    return entry;
}

static void write_entry(uint64_t i, const char *name, uint64_t offset, uint64_t size) {
    Entry entry = {.offset = offset, .size = size};
    EarlyEntry early = {.offset = (uint32_t)offset, .size = (uint32_t)size};
    memcpy(entry.name, name, strlen(name));
    memcpy(early.name, name, strlen(name));
    if (segment.early) {
        memcpy(segment.base + sizeof(EarlyTable) + i * sizeof early, &early, sizeof early);
    } else {
        memcpy(segment.base + sizeof(Table) + i * sizeof entry, &entry, sizeof entry);
    }
}

static uint64_t table_end(void) {
    return segment.early ? sizeof(EarlyTable) + segment.slots * sizeof(EarlyEntry)
                         : sizeof(Table) + segment.slots * sizeof(Entry);
}

static uint64_t next_offset(void) {
    return segment.early ? ((EarlyTable *)(void *)segment.base)->next_offset
                         : ((Table *)(void *)segment.base)->next_offset;
}

static void set_next_offset(uint64_t next) {
    if (segment.early) {
        ((EarlyTable *)(void *)segment.base)->next_offset = (uint32_t)next;
    } else {
        ((Table *)(void *)segment.base)->next_offset = next;
    }
}

/* Finds an entry, which may be missing. */
static bool find(const char *name, Entry *found) {
    uint64_t count = entry_count();
    if (count > segment.slots) {
        fail("damaged: %" PRIu64 " entries, %" PRIu64 " slots", count, segment.slots);
    }
    for (uint64_t i = 0; i < count; i++) {
        *found = entry_at(i);
        if (strncmp(found->name, name, sizeof found->name) == 0) {
            for (unsigned tries = 0; found->offset == 0 && tries < 2000;) {
                pause_a_little(&tries); /* somebody is writing it */
                *found = entry_at(i);
            }
            if (found->offset % 8 || found->offset < table_end() ||
                found->offset > segment.size || found->size > segment.size - found->offset) {
                fail("damaged: %s is outside the segment", name);
            }
            return true;
        }
    }
    return false;
}

static Entry entry_of(const char *name) {
    Entry entry;
    if (!segment.base) {
        fail("no segment is open");
    }
    if (!find(name, &entry)) {
        fail("no such structure: %s", name);
    }
    return entry;
}

/* The structure NAME, which has at least so many bytes. */
static void *structure(const char *name, uint64_t least, uint64_t *size) {
    Entry entry = entry_of(name);
    if (entry.size < least) {
        fail("%s has only %" PRIu64 " bytes", name, entry.size);
    }
    if (size) {
        *size = entry.size;
    }
    return segment.base + entry.offset;
}

/* The name of a structure's entry, NAME_PART, in a buffer that the next call uses again. */
static const char *part_of(const char *name, const char *part) {
    static char text[4096];
    snprintf(text, sizeof text, "%s_%s", name, part);
    return text;
}

/* Adding: begin takes the writers' lock and gives the space; end makes it a structure. */
typedef struct {
    uint64_t offset, size;
    void *bytes; /* all zero */
} Space;

static Space begin_add(const char *name, uint64_t size) {
    Entry there;
    if (!segment.base) {
        fail("no segment is open");
    }
    if (strlen(name) > NAME_MAX_BYTES) {
        fail("too long: %s", name);
    }
    flock(segment.file, LOCK_EX);
    uint64_t offset = up8(next_offset());
    const char *refused = find(name, &there)                  ? "exists"
                          : entry_count() == segment.slots    ? "finds the table full"
                          : size > segment.size ||
                                  offset > segment.size - size ? "finds no room"
                                                               : NULL;
    if (refused) {
        flock(segment.file, LOCK_UN);
        fail("%s %s", name, refused);
    }
    memset(segment.base + offset, 0, size);
    return (Space){offset, size, segment.base + offset};
}

static void end_add(const char *name, Space space) {
    uint32_t count = entry_count();
    write_entry(count, name, space.offset, space.size);
    set_next_offset(space.offset + space.size);
    atomic_store_explicit(&((Table *)(void *)segment.base)->entry_count, count + 1,
                          memory_order_release);
    flock(segment.file, LOCK_UN);
}

#endif
