"""CPython's multiprocessing tests under 'fork', as its own test package does."""

from test._test_multiprocessing import install_tests_in_module_dict

install_tests_in_module_dict(globals(), "fork")
