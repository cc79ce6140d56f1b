# Each command does its own set-up in .venv, so it works on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_OPTIONS := --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: demo test test-slow lint format clean

demo: $(VENV)/.installed
	$(BIN)/python docs/demo.py

test: $(VENV)/.installed-test lint
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: a machine with a CPU build of it then installs no CUDA packages.
$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install $(PIP_OPTIONS) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/pip install $(PIP_OPTIONS) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install $(PIP_OPTIONS) --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) out
