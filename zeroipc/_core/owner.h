/* Who owns something, and whether that process still lives.
 *
 * A process is its pid and its start time (clock ticks since boot, field 22 of
 * /proc/PID/stat); ten milliseconds of resolution are enough against reuse of the pid.
 * Where that file cannot be read (no descriptor is left, it is hidden), only the system's word
 * that there is no such pid makes a process dead. */
#ifndef ZI_OWNER_H
#define ZI_OWNER_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The state letter and start time of *pid*; 0 when they cannot be read. */
static inline char owner_state(uint32_t pid, uint64_t *start)
{
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = 0;
    char *field = strrchr(text, ')'); /* the name may hold anything */
    if (field == NULL || field[1] == 0) return 0;
    char state = field[2];
    for (int skip = 0; skip < 20; skip++) {
        field = strchr(field + 1, ' ');
        if (field == NULL) return 0;
    }
    *start = strtoull(field + 1, NULL, 10);
    return state;
}

static inline uint64_t owner_start_time(uint32_t pid)
{
    uint64_t start = 0;
    return owner_state(pid, &start) ? start : 0;
}

/* Whether the process (pid, start) runs: there, no zombie, and the same one.  A *start* of 0
 * could not be read by the process itself. */
static inline int owner_alive(uint32_t pid, uint64_t start)
{
    uint64_t found;
    char state = owner_state(pid, &found);
    if (state == 0) return kill((pid_t)pid, 0) == 0 || errno != ESRCH;
    return state != 'Z' && state != 'X' && (found == start || start == 0);
}

#endif
