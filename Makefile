# Each command does its own set-up in a virtual environment and can be run again and again.
#   PYTHON=...   the interpreter to use [python3]
#   VENV=...     the virtual environment [.venv; with PYTHON, one for its version]

PYTHON ?= python3
ifndef VENV
ifeq ($(PYTHON),python3)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
endif
endif
BIN = $(VENV)/bin
SOURCES = pyproject.toml setup.py $(wildcard zeroipc/_core/*.[ch] zeroipc/_core/named/*.[ch]) \
	$(wildcard zeroipc/_fingerprint.py zeroipc/*.pyi zeroipc/_core/layout.py zeroipc/_core/named/layout.py)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST = $(BIN)/python -m pytest

.PHONY: help demo test suite quick kill conformance recipes fuzz bench lint format clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## the solar system, on the standard library and on ZeroIPC
	$(BIN)/python examples/solar_system.py

test: suite kill  ## every test of ours, and a few of the standard library's

suite: $(VENV)/test.stamp  ## the tests that can run side by side
	$(PYTEST) -n 2 -m "not kill"

quick: $(VENV)/test.stamp  ## the tests that take no time
	$(PYTEST) -n 2 -m "not kill and not slow"

kill: $(VENV)/test.stamp  ## the tests that kill processes, one after the other
	$(PYTEST) -m kill

conformance: $(VENV)/test.stamp  ## all of the standard library's tests, on zeroipc.mp
	$(BIN)/python tests/conformance/run_cpython_suite.py --module zeroipc.mp --baseline auto --jobs 2

recipes:  ## scikit-learn, torch, dask and others on ZeroIPC, in a virtual environment of their own
	$(MAKE) --no-print-directory VENV=$(VENV)-recipes run-recipes

fuzz: $(VENV)/test.stamp  ## a hundred thousand damaged segments, in each backend
	$(BIN)/python -m tests.support.fuzz --backend native
	$(BIN)/python -m tests.support.fuzz --backend pure --cases 20000

bench: $(VENV)/bench.stamp  ## ZeroIPC against the standard library and other libraries
	$(BIN)/python -m benchmarks

lint: $(VENV)/dev.stamp  ## formatting, rules, types, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/gen_layout.py --check

format: $(VENV)/dev.stamp  ## formats the code and rewrites the generated files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/gen_layout.py

clean:  ## removes the virtual environments, builds and caches
	rm -rf .venv .venv-* build dist *.egg-info zeroipc/_native*.so zeroipc/_named*.so
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: run-recipes
run-recipes: $(VENV)/torch $(VENV)/recipes.stamp
	$(PYTEST) -n 2 -m recipes tests/examples

# A plain "torch" would be several GB for graphics cards: only a build that lies at hand.
$(VENV)/torch: $(VENV)/ready
	@if $(PIP) --no-index --no-deps torch==2.13.0 2>/dev/null; then $(PIP) torch; \
	else echo "--- no CPU build of torch at hand: what needs it is skipped"; fi
	@touch $@

$(VENV)/ready:
	@tools/check_machine.sh python $(PYTHON)
	@echo "--- making $(VENV) with $$($(PYTHON) -V)"
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(PIP) "setuptools >= 77"
	@touch $@

# One stamp per extra. Where a compiler is present a failed build is an error: nobody should
# measure or test pure Python, or yesterday's C, without knowing.
$(VENV)/%.stamp: $(VENV)/ready $(SOURCES)
	@echo "--- installing zeroipc[$*] into $(VENV)"
	@if tools/check_machine.sh native $(BIN)/python; \
	then export ZEROIPC_REQUIRE_NATIVE=1; \
	else echo "--- no C extension: going on in pure Python, slower"; \
	     suffix=$$($(BIN)/python -c \
	         'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'); \
	     rm -f zeroipc/_native$$suffix zeroipc/_named$$suffix; \
	fi; \
	$(PIP) --no-build-isolation --editable ".[$*]"
	$(BIN)/python -m compileall -q zeroipc  # an editable install has no bytecode of its own
	@touch $@
