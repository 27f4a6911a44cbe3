/* The crash tests' driver: the C core, without Python, under test.  See README.md. */
#include "limits.h"
#include "stepper.h"

static int basics(void)
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
    basics_lost_wake();
    members_fork();
    members_reservation_expires();
    members_adopted_late();
    members_handles();
    members_tasks();
    members_together(0);
    members_together(5);
    puts("basics: ok");
    return 0;
}

static int limits(void)
{
    limits_queues();
    limits_table();
    limits_idle();
    return 0;
}

static int step(const char *name, uint32_t kills)
{
    step_book = rig_books(sizeof *step_book);
    for (uint32_t i = 0; i < SCENARIOS; i++) {
        if (strcmp(name, scenarios[i].name) != 0) continue;
        step_pin(i);
        step_scenario(&scenarios[i], kills);
        return 0;
    }
    fprintf(stderr, "no scenario %s\n", name);
    return 2;
}

/* load SEED KILLS PRODUCERS CONSUMERS MAXSIZE all|first|only POINT... */
static int run_load(int count, char **arguments)
{
    load_plan plan = {
        .kills = (uint32_t)atoi(arguments[1]),
        .producers = (uint32_t)atoi(arguments[2]),
        .consumers = (uint32_t)atoi(arguments[3]),
        .maxsize = (uint32_t)atoi(arguments[4]),
        .one_point = strcmp(arguments[5], "all") != 0,
        .only_points = strcmp(arguments[5], "only") == 0,
        .points = arguments + 6,
        .point_count = count - 6,
    };
    load_test(plan);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 2) srand((uint32_t)atoi(argv[2]));
    if (strcmp(what, "basics") == 0) return basics();
    if (strcmp(what, "steppable") == 0) return !step_possible();
    if (strcmp(what, "step") == 0 && argc == 7) {
        step_ask = atoi(argv[5]);
        step_answer = atoi(argv[6]);
    }
    if (strcmp(what, "step") == 0 && (argc == 5 || argc == 7)) return step(argv[4], (uint32_t)atoi(argv[3]));
    if (strcmp(what, "limits") == 0 && argc == 3) return limits();
    if (strcmp(what, "load") == 0 && argc > 7) return run_load(argc - 2, argv + 2);
    if (strcmp(what, "scenarios") == 0) {
        for (uint32_t i = 0; i < SCENARIOS; i++) puts(scenarios[i].name);
        return 0;
    }
    fprintf(stderr, "usage: %s basics | steppable | scenarios | step SEED KILLS SCENARIO [ASK ANSWER] | limits SEED |\n"
            "  load SEED KILLS PRODUCERS CONSUMERS MAXSIZE all|first|only POINT...\n", argv[0]);
    return 2;
}
