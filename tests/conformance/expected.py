"""The tests of the standard library that zeroipc.mp does not pass on purpose, each with its reason.

A drop-in keeps this short: at most five, under every start method alike.
"""

EXPECTED = {
    "WithProcessesTestQueue.test_queue_feeder_donot_stop_onexc": (
        "puts an object that cannot be pickled and wants no exception: ours raises it from put, "
        "to whoever made the mistake, and not in a background thread"
    ),
    "WithProcessesTestQueue.test_queue_feeder_on_queue_feeder_error": (
        "wants the same error handed to the feeder thread's private hook: ours has no such thread "
        "and raises the error from put"
    ),
    "TestStartMethod.test_mixed_startmethod": (
        "wants an error when a queue of the fork context is given to a spawned child: ours is no "
        "less usable there"
    ),
    "TestResourceTracker.test_resource_tracker_sigkill": (
        "kills the resource tracker and wants the next semaphore to warn that it was gone: ours "
        "have no names, so nothing of them needs a tracker"
    ),
}
EXPECTED |= {
    f"ProcessPool{method}ProcessPoolExecutorTest.test_python_finalization_error": (
        "lets the second thread that the executor starts fail, and wants its tasks to fail: ours "
        "starts one thread, so they run"
    )
    for method in ("Fork", "Forkserver", "Spawn")
}
# Python 3.14 only, and only where workers are replaced:
EXPECTED |= {
    f"ProcessPool{method}ProcessPoolExecutorTest.{test}": reason
    for method in ("Forkserver", "Spawn")
    for test, reason in {
        "test_shutdown_no_wait_max_tasks_gh119592": (
            "wants tasks to fail when the executor is garbage collected and its last worker has "
            "run its limit of tasks: ours replaces the worker, and they run"
        ),
        "test_gc_during_max_tasks_worker_exit_gh152967": "wants the same without shutdown()",
        "test_force_shutdown_during_max_tasks_worker_exit": (
            "sets a private flag of the standard library's executor, and wants tasks to fail"
        ),
        "test_failed_worker_replacement_breaks_pool": (
            "replaces a private function of concurrent.futures.process that ours does not call"
        ),
    }.items()
}
