# Each target sets itself up from a fresh clone: Python 3.10 or later, a C++20 compiler and make are all it needs.
#
#   make demo     train a small network with the chip in the loop and show the table (at most ten minutes)
#   make test     static checks, then the tests
#   make bench    speed and memory, beside the peers that are installed (make peers installs them)
#   make docs     write the generated parts of README.md and docs/ anew, from records and from the commands' help
#   make lint     static checks alone, with the format
#   make wheel    a wheel in dist/
#   make clean    remove everything that was built, installed or cached here (runs/ stays)
#
# Variables: PYTHON=python3.12 chooses the interpreter, VENV=folder the environment, BENCH="core loop" what is measured,
# RECORDS=folder the records that `make docs` reads, PYTEST_ARGS=... what pytest is told besides.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
RECORDS ?= docs/records
PYTEST_ARGS ?=
BENCH ?=

SUPPORTED := import sys; sys.exit(sys.version_info < (3, 10))
ifeq ($(origin PYTHON),undefined)
  # What made the environment goes on serving it; else the first interpreter that is new enough.
  PYTHON := $(or $(wildcard $(BIN)/python),$(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
    $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done),python3)
endif
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# An empty file for each step that is done; a step is done again when something it read has changed.
CREATED := $(VENV)/.created-$(VERSION)
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tools
SOURCES := pyproject.toml CMakeLists.txt constraints-dev.txt $(wildcard cpp/*)

# Every pip call goes through here: without the constraint, pip may choose another torch than the numbers were made with.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints-dev.txt

.PHONY: help demo test bench peers docs check lint wheel clean toolchain
help:
	@sed -n '3,9s/^#   //p' Makefile

toolchain:
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { \
	  echo "chiploop needs Python 3.10 or later; '$(PYTHON)' is not. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: install its venv module (on Debian and Ubuntu:" \
	    "apt install python$(VERSION)-venv)." >&2; exit 1; }
	@command -v "$${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || { \
	  echo "no C++ compiler (c++, g++ or clang++): install one (on Debian and Ubuntu: apt install g++), or name it in CXX." >&2; \
	  exit 1; }

$(CREATED): | toolchain
	@if [ "$$($(BIN)/python -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$(VERSION)" ]; then \
	  echo "making a virtual environment in $(VENV) (Python $(VERSION))"; $(PYTHON) -m venv --clear "$(VENV)"; fi
	@rm -f $(VENV)/.created-* && touch $@

$(INSTALLED): $(CREATED) $(SOURCES)
	@echo "installing chiploop: its requirements are fetched and its simulator is compiled, once"
	@$(PIP_INSTALL) -e .
	@touch $@

$(TOOLS): $(CREATED) $(SOURCES)
	@echo "installing chiploop and the tools that check it: fetched and compiled once"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(INSTALLED) $@

demo: $(INSTALLED)
	@$(BIN)/chiploop run demo

# Every check has its say, and the tests run whatever the checks say; pytest's closing line comes last.
CHECKS = status=0; for tool in 'ruff check .' mypy lint-imports; do $(BIN)/$$tool || status=1; done;

test: $(TOOLS)
	@$(CHECKS) $(BIN)/python -m pytest $(PYTEST_ARGS) && exit $$status

check: $(TOOLS)
	@$(CHECKS) exit $$status

lint: check
	@$(BIN)/ruff format --check .

bench: $(INSTALLED)
	@$(BIN)/chiploop bench $(BENCH)

# Without what they depend on: some of it would replace torch by another build of it.
PEERS := spikingjelly==2.0.0 snntorch==1.0.0 norse==1.1.0 sinabs==3.1.3 nir nirtorch==2.6
PEERS_NEED := loguru==0.7.3 h5py pbr==7.1.3 tqdm==4.70.1 scipy
peers: $(INSTALLED)
	@$(PIP_INSTALL) --no-deps $(PEERS)
	@$(PIP_INSTALL) $(PEERS_NEED)

docs: $(INSTALLED)
	@$(BIN)/python docs/generate.py --records $(RECORDS)

wheel: $(CREATED) $(SOURCES)
	@$(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls -t dist/*.whl | head -1

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
