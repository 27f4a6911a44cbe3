/* The crash tests' driver: the C core, without Python, under test.  See README.md. */
#include "stepper.h"

static void basics(void)
{
    basics_classes();
    basics_sizes();
    basics_chunks();
    basics_wrap();
    basics_maxsize_and_state();
    basics_batches();
    basics_no_space();
    basics_limit();
    basics_loans();
    members_fork();
    members_reservation_expires();
    members_adopted_late();
    members_handles();
    members_tasks();
    members_together(0);
    members_together(5);
    puts("basics: ok");
}

static int step(const char *name, uint32_t stride)
{
    step_book = rig_books(sizeof *step_book);
    for (uint32_t i = 0; i < SCENARIOS; i++) {
        if (strcmp(name, scenarios[i].name) != 0) continue;
        step_pin(i);
        step_scenario(&scenarios[i], stride);
        return 0;
    }
    fprintf(stderr, "no scenario %s\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(what, "basics") == 0) {
        basics();
    } else if (strcmp(what, "steps") == 0) {
        for (uint32_t i = 0; i < SCENARIOS; i++) puts(scenarios[i].name);
    } else if (strcmp(what, "steppable") == 0) {
        return !step_possible();
    } else if (strcmp(what, "step") == 0 && argc == 4) {
        return step(argv[2], (uint32_t)atoi(argv[3]));
    } else {
        fprintf(stderr, "usage: %s basics | steps | steppable | step SCENARIO STRIDE\n", argv[0]);
        return 2;
    }
    return 0;
}
