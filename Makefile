# Everything happens in .venv. The stamps make an installation happen once, and again when pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint clean

demo: .venv/.installed-focus
	$(BIN)/dcn demo

test: .venv/.installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: .venv/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed-focus: pyproject.toml | .venv/bin/python
	$(PIP) --editable ".[focus]"
	touch $@

.venv/.installed-test: .venv/.installed-focus
	$(PIP) --editable ".[focus,test]"
	touch $@

.venv/.installed-lint: .venv/.installed-focus
	$(PIP) --editable ".[focus,lint]"
	touch $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv workspace
