/* Making and finding segments: SPECIFICATION.md, "Segments"; commands for them and their tables. */
#ifndef PEER_SEGMENT_H
#define PEER_SEGMENT_H

#include "table.h"

static void close_segment(void) {
    if (segment.base) {
        munmap(segment.base, segment.size);
        segment.base = NULL;
    }
    if (segment.file >= 0) {
        close(segment.file);
        segment.file = -1;
    }
}

static void map_segment(uint64_t size) {
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, segment.file, 0);
    if (base == MAP_FAILED) {
        fail("mmap: %s", strerror(errno));
    }
    segment.base = base;
    segment.size = size;
}

static void shm_path(char *path, size_t room, const char *name) {
    snprintf(path, room, "/%s", name + (*name == '/'));
}

/* Waits until a segment has a size and the magic word; maps all of the file. */
static void attach(const char *path) {
    struct stat facts = {0};
    int64_t deadline = now_ms() + 5000;
    for (unsigned tries = 0;; pause_a_little(&tries)) {
        close_segment();
        segment.file = shm_open(path, O_RDWR, 0);
        if (segment.file < 0 || fstat(segment.file, &facts) < 0) {
            fail("%s: %s", path, strerror(errno));
        }
        if (facts.st_size >= (off_t)sizeof(Table)) {
            posix_fallocate(segment.file, 0, facts.st_size);
            map_segment((uint64_t)facts.st_size);
            uint32_t magic = atomic_load_explicit(&((Table *)(void *)segment.base)->magic,
                                                  memory_order_acquire);
            if (magic == MAGIC) {
                return;
            }
            if (magic != 0) {
                fail("not a segment: its magic is %" PRIX32, magic);
            }
        }
        if (now_ms() > deadline) {
            fail("%s is not ready", path);
        }
    }
}

/* Finds which of the forms a segment has, and its slots. */
static void read_table(void) {
    Table *table = (Table *)(void *)segment.base;
    uint64_t file_size = segment.size;
    bool wide = table->memory_size == file_size && table->next_offset >= sizeof(Table) &&
                table->next_offset <= file_size;
    if (table->version != 1 && table->version != 2) {
        fail("version %" PRIu32, table->version);
    }
    segment.early = table->version == 1 && !wide;
    if (!segment.early && table->memory_size < segment.size) {
        segment.size = table->memory_size;
    }
    segment.slots = segment.early ? 0 : table->max_entries;
    if (segment.slots == 0 && table->version == 2) {
        segment.slots = DEFAULT_SLOTS;
    }
    if (segment.slots == 0) { /* version 1 does not say */
        uint64_t header = segment.early ? sizeof(EarlyTable) : sizeof(Table);
        uint64_t entry = segment.early ? sizeof(EarlyEntry) : sizeof(Entry);
        uint64_t end = entry_count() ? entry_at(0).offset : next_offset();
        segment.slots = end < header ? 0 : (end - header) / entry;
    }
    if (segment.slots == 0 || entry_count() > segment.slots || table_end() > next_offset() ||
        next_offset() > segment.size || segment.size > file_size) {
        fail("damaged: the table does not fit");
    }
}

static void open_command(char **word) {
    char path[300];
    shm_path(path, sizeof path, word[0]);
    attach(path);
    read_table();
    answer("%" PRIu32 " %" PRIu64 " %" PRIu64, ((Table *)(void *)segment.base)->version,
           segment.size, segment.slots);
}

/* create SEGMENT SIZE SLOTS FORM: 2, 1, or the other two of version 1: 1r, which records the
 * slots, and 1u, which does not. */
static void create_command(char **word) {
    char path[300];
    uint64_t size = (uint64_t)number(word[1]), slots = (uint64_t)number(word[2]);
    bool wide = strcmp(word[3], "1") != 0, recorded = strcmp(word[3], "1u") != 0;
    shm_path(path, sizeof path, word[0]);
    close_segment();
    segment.file = shm_open(path, O_RDWR | O_CREAT | O_EXCL, 0666);
    if (segment.file < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    if (posix_fallocate(segment.file, 0, (off_t)size) != 0) {
        shm_unlink(path);
        fail("no room for %" PRIu64 " bytes", size);
    }
    map_segment(size);
    segment.early = !wide;
    segment.slots = slots;
    Table *table = (Table *)(void *)segment.base;
    table->version = *word[3] == '1' ? 1 : 2;
    if (wide) {
        table->max_entries = recorded ? (uint32_t)slots : 0;
        table->memory_size = size;
    }
    set_next_offset(table_end());
    atomic_store_explicit(&table->magic, MAGIC, memory_order_release);
    answer("%" PRIu64, table_end());
}

static void close_command(char **word) {
    (void)word;
    close_segment();
    answer("");
}

static void unlink_command(char **word) {
    char path[300];
    shm_path(path, sizeof path, word[0]);
    if (shm_unlink(path) < 0) {
        fail("%s: %s", path, strerror(errno));
    }
    answer("");
}

static void names_command(char **word) {
    (void)word;
    printf("ok");
    for (uint64_t i = 0; i < entry_count(); i++) {
        Entry entry = entry_at(i);
        printf(" %.*s", NAME_MAX_BYTES, entry.name);
    }
    printf("\n");
}

/* table.find NAME: its offset and size */
static void find_command_of_table(char **word) {
    Entry entry = entry_of(word[0]);
    answer("%" PRIu64 " %" PRIu64, entry.offset, entry.size);
}

static void add_command(char **word) {
    Space space = begin_add(word[0], (uint64_t)number(word[1]));
    end_add(word[0], space);
    answer("%" PRIu64, space.offset);
}

/* As C++ programs add, step by step, version 2 only: table.claim SIZE takes space and an entry,
 * table.name I NAME and table.place I OFFSET SIZE write it. */
static void claim_command(char **word) {
    Table *table = (Table *)(void *)segment.base;
    uint64_t offset = up8(table->next_offset);
    table->next_offset = offset + (uint64_t)number(word[0]);
    answer("%" PRIu32 " %" PRIu64, atomic_fetch_add(&table->entry_count, 1), offset);
}

static Entry *claimed(const char *index) {
    return (Entry *)(void *)(segment.base + sizeof(Table)) + number(index);
}

static void name_command(char **word) {
    strncpy(claimed(word[0])->name, word[1], NAME_MAX_BYTES);
    answer("");
}

static void place_command(char **word) {
    Entry *entry = claimed(word[0]);
    entry->size = (uint64_t)number(word[2]);
    entry->offset = (uint64_t)number(word[1]);
    answer("");
}

/* bytes NAME: all of a structure's, in hexadecimal */
static void bytes_command(char **word) {
    uint64_t size;
    const uint8_t *bytes = structure(word[0], 0, &size);
    printf("ok ");
    for (uint64_t i = 0; i < size; i++) {
        printf("%02x", bytes[i]);
    }
    printf("\n");
}

static const Command SEGMENT_COMMANDS[] = {
    {"open", 1, open_command},
    {"create", 4, create_command},
    {"close", 0, close_command},
    {"unlink", 1, unlink_command},
    {"names", 0, names_command},
    {"bytes", 1, bytes_command},
    {"table.find", 1, find_command_of_table},
    {"table.add", 2, add_command},
    {"table.claim", 1, claim_command},
    {"table.name", 2, name_command},
    {"table.place", 3, place_command},
    {0},
};

#endif
