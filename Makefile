# make serve   set up and serve on 127.0.0.1:$(PORT)
# make test    set up and run every test
# make check   format, lint, types, import contracts
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PORT ?= 8080
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# On a machine with a GPU this may be another build of the same release.
TORCH ?= torch==2.13.0
LLAMA := llama-cpp-python==0.3.36
SETUPTOOLS := setuptools==84.2.1

.PHONY: help serve test check fix setup setup-dev clean lock
.ONESHELL:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# Each stamp holds what it was made from, so that a changed lock file sets up again and nothing else does.
$(VENV)/.torch:
	@test -n "$(PYTHON)" || { echo "Pointsman needs Python 3.11 or 3.12; none was found on PATH" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Pointsman needs Python 3.11 or 3.12, not {v[0]}.{v[1]}; set PYTHON=")'
	@echo "[1/3] virtual environment and $(TORCH)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade $(SETUPTOOLS)
	$(PIP) install --quiet --progress-bar on "$(TORCH)"
	touch $@

$(VENV)/.llama: $(VENV)/.torch
	@echo "[2/3] $(LLAMA): compiled once, some minutes on two cores (needs gcc and g++)"
	$(PIP) install --no-deps --verbose "$(LLAMA)" > $(VENV)/llama-build.log 2>&1 &
	job=$$!
	while kill -0 $$job 2>/dev/null; do
	  step=$$(grep -oE '\[[0-9]+/[0-9]+\]' $(VENV)/llama-build.log 2>/dev/null | tail -n 1 || true)
	  if [ "$$step" != "$${last:-}" ]; then echo "      compiling llama.cpp $$step"; last=$$step; fi
	  sleep 5
	done
	wait $$job || { tail -n 30 $(VENV)/llama-build.log; echo "building llama.cpp failed; the whole log is $(VENV)/llama-build.log" >&2; exit 1; }
	touch $@

$(VENV)/.run: $(VENV)/.llama requirements/run.lock pyproject.toml
	@echo "[3/3] pinned packages"
	$(PIP) install --quiet --no-deps -r requirements/run.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "      packages for tests and checks"
	$(PIP) install --quiet --no-deps -r requirements/dev.lock
	touch $@

setup: $(VENV)/.run
setup-dev: $(VENV)/.dev

serve: setup
	@exec $(BIN)/pointsman serve --port $(PORT)

test: setup-dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup-dev
	$(BIN)/python tools/lock.py

clean:
	rm -rf $(VENV) build *.egg-info
