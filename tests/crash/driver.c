/* The crash tests' driver: the C core, without Python, under test.  See README.md. */
#include "members.h"

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

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "basics") == 0) {
        basics();
        return 0;
    }
    fprintf(stderr, "usage: %s basics\n", argv[0]);
    return 2;
}
