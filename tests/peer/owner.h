/* Owner tags, by which a dead holder is known: SPECIFICATION.md, "Mutex". */
#ifndef PEER_OWNER_H
#define PEER_OWNER_H

#include "segment.h"

/* Field 22 of /proc/self/stat; the second is in brackets and may hold blanks. */
static uint64_t own_start_time(void) {
    char text[1024] = "";
    uint64_t start = 0;
    FILE *file = fopen("/proc/self/stat", "r");
    if (file) {
        size_t length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[length] = '\0';
    }
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at) {
        start = strtoull(at, NULL, 10);
    }
    return start;
}

static uint32_t own_tag(void) {
    uint64_t start = own_start_time();
    return start ? (uint32_t)(start & 0x3FF) << 22 | ((uint32_t)getpid() & 0x3FFFFF) : 0;
}

#endif
