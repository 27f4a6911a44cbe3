/* Commands for queues, rings and stacks: each names the kind first. */
#ifndef PEER_BOXES_H
#define PEER_BOXES_H

#include "queue.h"
#include "ring.h"
#include "stack.h"

static const Kind KINDS[] = {
    {"queue", queue_create, queue_open},
    {"ring", ring_create, ring_open},
    {"stack", stack_create, stack_open},
    {"stack_claiming", stack_create, stack_open_claiming},
};

static const Kind *kind_of(const char *name) {
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (strcmp(KINDS[i].name, name) == 0) {
            return &KINDS[i];
        }
    }
    fail("no such kind: %s", name);
}

/* The box of the words KIND NAME TYPE. */
static Box box_of(char **word) { return kind_of(word[0])->open(word[1], type_of(word[2])); }

/* box.create KIND NAME TYPE CAPACITY */
static void box_create(char **word) {
    kind_of(word[0])->create(word[1], (uint32_t)number(word[3]), type_of(word[2]));
    answer("");
}

/* push KIND NAME TYPE VALUE; try_push the same, and answers whether it did */
static void push_command(char **word) {
    Box box = box_of(word);
    Element element = parse_element(box.type, word[3]);
    push(&box, &element);
    answer("");
}

static void try_push_command(char **word) {
    Box box = box_of(word);
    Element element = parse_element(box.type, word[3]);
    answer("%d", box.try_push(&box, &element) == DONE);
}

/* pop KIND NAME TYPE; try_pop answers nothing if there is none */
static void pop_command(char **word) {
    Box box = box_of(word);
    Element element = {{0}};
    pop(&box, &element);
    answer("%s", shown(box.type, &element));
}

static void try_pop_command(char **word) {
    Box box = box_of(word);
    Element element = {{0}};
    answer("%s", box.try_pop(&box, &element) == DONE ? shown(box.type, &element) : "");
}

/* push_range KIND NAME TYPE START COUNT */
static void push_range(char **word) {
    Box box = box_of(word);
    int64_t start = number(word[3]), count = number(word[4]);
    for (int64_t i = start; i < start + count; i++) {
        Element element = element_of(box.type, i);
        push(&box, &element);
    }
    answer("");
}

/* pop_count KIND NAME TYPE COUNT SPAN: answers count and sum; see tally_of */
static void pop_count(char **word) {
    Box box = box_of(word);
    Tally tally = tally_of(number(word[4]));
    for (int64_t left = number(word[3]); left > 0; left--) {
        Element element = {{0}};
        pop(&box, &element);
        tally_add(&tally, integer_of(box.type, &element));
    }
    tally_answer(&tally);
}

/* relay KIND FROM TYPE TO COUNT: pops from one, pushes to the other */
static void relay(char **word) {
    Box from = box_of(word), to = kind_of(word[0])->open(word[3], from.type);
    for (int64_t left = number(word[4]); left > 0; left--) {
        Element element = {{0}};
        pop(&from, &element);
        push(&to, &element);
    }
    answer("");
}

static const Command BOX_COMMANDS[] = {
    {"box.create", 4, box_create},
    {"push", 4, push_command},
    {"try_push", 4, try_push_command},
    {"pop", 3, pop_command},
    {"try_pop", 3, try_pop_command},
    {"push_range", 5, push_range},
    {"pop_count", 5, pop_count},
    {"relay", 5, relay},
    {0},
};

#endif
