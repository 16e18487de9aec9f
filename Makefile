# make test on a machine that has Python 3.11 or later, apt and pip: everything else is fetched by `make setup`.
# Needs root for the packages and for the tests' private Docker engines.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup packages interop-packages bench-packages test interop check demo bench clean

help:
	@echo "make setup    packages, and a virtual environment in $(VENV)"
	@echo "make check    ruff, mypy, import-linter"
	@echo "make test     setup, then all tests but the next"
	@echo "make interop  archives read and written by other programs"
	@echo "make demo     a service moves to another host, before your eyes"
	@echo "make bench    speed and memory, beside other programs'; docs/performance.md says more"
	@echo "make clean    remove what the above wrote here"

setup: packages $(INSTALLED)

packages:
	scripts/install-packages.sh engine tools

interop-packages:
	scripts/install-packages.sh interop

bench-packages:
	scripts/install-packages.sh bench

# The file is older than pyproject.toml when a dependency has changed.
$(INSTALLED): pyproject.toml
	scripts/make-venv.sh "$(PYTHON)" "$(VENV)"
	touch $@

# Two at a time: tests of engines and servers wait more than they work. Each half has engines of its own.
test: setup
	$(BIN)/python -m pytest tests --ignore=tests/interop -n 2 --dist loadfile

interop: setup interop-packages
	$(BIN)/python -m pytest tests/interop

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

# BENCH_DIR=… names a directory on a real disk, where the data stays for the next time.
bench: setup bench-packages
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
