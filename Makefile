# One command for each habit. Every target sets up what it needs in .venv; a machine with only Python >= 3.11 is enough.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PYTHON ?=
SEEDS  ?= 1000
CORPUS ?=
ORACLE ?=
TEST_ARGS ?= -q -n 2 --dist worksteal

.PHONY: help install test check demo bench simulate parity clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(READY) ## the fairlead command and everything for development, in .venv
	@echo "$(BIN)/fairlead is ready."

# Made again whenever pyproject.toml or this file changes, so no target ever runs with yesterday's dependencies.
$(READY): pyproject.toml Makefile
	@candidates="$(PYTHON)"; \
	[ -n "$$candidates" ] || candidates="$(BIN)/python python3.13 python3.12 python3.11 python3.14 python3 python"; \
	new_enough='import sys; sys.exit(sys.version_info < (3, 11))'; \
	found=; \
	for candidate in $$candidates; do \
	    if "$$candidate" -c "$$new_enough" >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "error: Fairlead needs Python 3.11 or newer, and none was found (tried: $$candidates)." >&2; \
	    echo "  hint: install one, or name it: make install PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	if ! "$(BIN)/python" -m pip --version >/dev/null 2>&1; then \
	    echo "[1/3] $(VENV) with $$("$$found" --version)"; \
	    if ! "$$found" -m venv "$(VENV)" >/dev/null; then \
	        echo "error: $$found cannot make a virtual environment." >&2; \
	        echo "  hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	fi
	@echo "[2/3] pip that knows dependency groups (25.1 or newer)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25.1'
	@echo "[3/3] fairlead and its development tools (a minute on a fresh machine)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --group dev --editable '.[docker]'
	@touch $@

test: $(READY) ## the whole test suite (TEST_ARGS='-x -k words' narrows it)
	@$(BIN)/python -m pytest $(TEST_ARGS) -m 'not alone'
	@$(BIN)/python -m pytest -q -m alone

check: $(READY) ## lint, format, types, layers; warnings are errors
	@echo "ruff check";        $(BIN)/ruff check --quiet .
	@echo "ruff format";       $(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@echo "mypy --strict";     $(BIN)/mypy --strict --no-error-summary
	@echo "import contract";   $(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@echo "All clean."

demo: $(READY) ## the promise, watched: release, kill, scale and roll back under load (a minute)
	@$(BIN)/python -m examples.quickstart.demo

bench: $(READY) ## measure, and write benchmarks/README.md (some minutes; leave the machine alone meanwhile)
	@$(BIN)/python -m benchmarks.run

simulate: $(READY) ## the seeded simulation (SEEDS=1000)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

parity: $(READY) ## compare our reading of Compose files with Docker's (CORPUS=folder ORACLE=docker-compose binary)
	@if [ -z "$(CORPUS)" ]; then echo "error: name the folder of Compose files: make parity CORPUS=dir" >&2; exit 2; fi
	@$(BIN)/python -m tests.integration.parity $(CORPUS) $(if $(ORACLE),--oracle $(ORACLE))

clean: ## remove .venv, caches and build results
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find . -maxdepth 2 -name '*.egg-info' -type d -prune -exec rm -rf {} +
