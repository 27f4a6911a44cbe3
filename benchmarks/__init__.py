"""Benchmarks of zeroipc.mp beside the standard library and the libraries users pick instead.

Run ``python -m benchmarks`` from the root of the project; ``--help`` lists the flags.

    scenarios/   what is timed, one file per family
    rivals/      who is timed, one file per library
    limits.py    what the machine itself can do: the floor under each scenario
    runner.py    interleaves the rivals, one fresh process per measurement, with a watchdog
    summary.py   paired ratios, medians and spreads
    targets.py   the numbers to reach
    report.py, plot.py   what a reader sees
"""
