/* The line protocol: one command a line on standard input, one answer a line on standard output.
 *
 * An answer is "ok", then what was asked for, or "error" and the reason. Words have blanks
 * between them. Every command gets ALARM seconds; then the system ends the process, so that a
 * peer that hangs is a test that fails.
 */
#ifndef PEER_WIRE_H
#define PEER_WIRE_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALARM 60
#define WORDS 16

typedef struct {
    const char *name;
    int words; /* that must follow the name */
    void (*run)(char **word);
} Command;

static jmp_buf next_command;

/* Answers what went wrong and goes on with the next command. */
_Noreturn static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    printf("error ");
    vprintf(format, values);
    printf("\n");
    va_end(values);
    longjmp(next_command, 1);
}

static void answer(const char *format, ...) {
    va_list values;
    va_start(values, format);
    printf("ok ");
    vprintf(format, values);
    printf("\n");
    va_end(values);
}

static int64_t number(const char *text) {
    char *end;
    int64_t value = strtoll(text, &end, 0);
    if (*text == '\0' || *end != '\0') {
        fail("not a number: %s", text);
    }
    return value;
}

static int split(char *line, char **word) {
    int count = 0;
    for (char *at = strtok(line, " \n"); at && count < WORDS; at = strtok(NULL, " \n")) {
        word[count++] = at;
    }
    return count;
}

static const Command *find_command(const Command *const *families, const char *name) {
    for (; *families; families++) {
        for (const Command *command = *families; command->name; command++) {
            if (strcmp(command->name, name) == 0) {
                return command;
            }
        }
    }
    fail("no such command: %s", name);
}

/* Runs commands until the input ends. */
static void serve(const Command *const *families) {
    static char line[4096];
    static char *word[WORDS];
    alarm(ALARM);
    while (fgets(line, sizeof line, stdin)) {
        alarm(ALARM);
        if (setjmp(next_command) == 0) {
            memset(word, 0, sizeof word);
            int count = split(line, word);
            const Command *command = find_command(families, count ? word[0] : "");
            if (count - 1 != command->words) {
                fail("%s takes %d words", command->name, command->words);
            }
            command->run(word + 1);
        }
        fflush(stdout);
    }
}

#endif
