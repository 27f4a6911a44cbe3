"""Runs the tests of one CPython test class, or lists classes; one subprocess.

Started by run_cpython_suite.py. Each event is one line of JSON in a file, so that the runner knows
which test is running and can end one that hangs.
"""

# ruff: noqa: N802 - the method names are unittest's

import importlib
import json
import os
import signal
import sys
import unittest
from typing import Any


class Recorder(unittest.TestResult):
    """Writes down what starts and how it ends."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def write(self, **event: str) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(event) + "\n")

    def outcome(self, test: unittest.TestCase, outcome: str, detail: str = "") -> None:
        test = getattr(test, "test_case", test)  # of a subtest, which may be skipped alone
        method = getattr(test, "_testMethodName", None)
        if method is None:  # setUpClass or setUpModule, not a test
            self.write(fixture=outcome, detail=detail)
        else:
            self.write(test=method, outcome=outcome, detail=detail)

    def traceback(self, test: unittest.TestCase, err: Any) -> str:
        return self._exc_info_to_string(err, test)  # type: ignore[attr-defined,no-any-return]

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.write(start=test._testMethodName)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.outcome(test, "passed")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.outcome(test, "failed", self.traceback(test, err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.outcome(test, "error", self.traceback(test, err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcome(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.outcome(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.outcome(test, "failed", "unexpected success")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self.outcome(test, "failed" if failed else "error", self.traceback(test, err))


def where_defined(cls: type, name: str) -> tuple[str, str]:
    """("Class.test" as in the source, file) for a test that CLS may inherit."""
    for base in cls.__mro__:
        if name in vars(base):
            home = sys.modules[base.__module__]
            if base.__module__.startswith("mp_cases_"):
                home = sys.modules["test._test_multiprocessing"]
            return f"{base.__name__}.{name}", str(home.__file__)
    raise LookupError(name)


def list_classes(module_name: str) -> dict[str, dict[str, tuple[str, str]]]:
    module = importlib.import_module(module_name)
    loader, classes = unittest.TestLoader(), {}
    for name, cls in vars(module).items():
        if (
            isinstance(cls, type)
            and issubclass(cls, unittest.TestCase)
            and cls.__module__ == module_name
        ):
            tests = loader.getTestCaseNames(cls)
            classes[name] = {test: where_defined(cls, test) for test in tests}
    return {name: tests for name, tests in classes.items() if tests}


def run_tests(module_name: str, class_name: str, tests: list[str], path: str) -> None:
    script_helper = importlib.import_module("test.support.script_helper")

    # test scripts then start with the environment, so with sitecustomize.py
    vars(script_helper)["__cached_interp_requires_environment"] = True
    os.environ["CONFORMANCE_SCRIPTS"] = "1"
    # a shell that runs us in the background has it ignored, and so would tests
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cls = getattr(importlib.import_module(module_name), class_name)
    unittest.TestSuite(map(cls, tests)).run(Recorder(path))


def main() -> None:
    if module := os.environ.get("CONFORMANCE_INSTALL"):
        importlib.import_module(module).install()  # which reaches the children by itself
    if sys.argv[1] == "--list":
        json.dump([list_classes(module) for module in sys.argv[2:]], sys.stdout)
    else:
        module_name, class_name, path = sys.argv[1:4]
        run_tests(module_name, class_name, sys.argv[4:], path)


if __name__ == "__main__":
    main()
