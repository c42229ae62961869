# All commands run in .venv. Stamp files record the installations, so make installs again only after pyproject.toml
# changed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

# `make demo TORCH=cpu` installs the CPU build of PyTorch, which exists for Linux in an index of its own. uv knows this
# index, and takes torch and torchvision from nowhere else: a torch of one build breaks with a torchvision of another.
ifeq ($(TORCH),cpu)
DISK := less than 3 GB
else
DISK := 7 GB, of which 3.2 GB are NVIDIA's libraries; make demo TORCH=cpu does without them
endif

.PHONY: demo test test-oldest soak bench audit pictures docs lint clean

demo: .venv/.installed-focus
	$(BIN)/dcn demo

test: .venv/.installed-test
	$(BIN)/python -m pytest -m "not soak" --numprocesses auto --dist loadfile

# Run the tests that are too long for `make test`, feed thousands of damaged files to every reader, stress the native
# libraries for an hour, and kill runs fifty times at random moments, and fifty times with jobs of a real SLURM:
# tests/soak/fuzz.py, native.py and soak.py.
soak: .venv/.installed-test
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m tests.soak.fuzz
	$(BIN)/python -m tests.soak.native
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.soak --slurm

# Run every benchmark that has a goal, print a table, write benchmarks.json: docs/how-it-works/performance.md.
bench: .venv/.installed-focus
	$(BIN)/python -m benchmarks --json benchmarks.json

# Test with the oldest versions that pyproject.toml allows, in a separate environment.
test-oldest: .venv/bin/python
	$(PIP) uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest --resolution lowest-direct --editable ".[focus,test]"
	.venv-oldest/bin/python -m pytest -m "not slow and not real" --numprocesses auto --dist loadfile

# List known vulnerabilities of the installed packages. Exits with 2 if the database cannot be reached.
audit: .venv/.installed-focus
	$(PIP) pip-audit
	.ci/audit $(BIN)

# Write the pictures of the README and of the guides. Tests say when they are outdated.
pictures: .venv/.installed-focus
	$(BIN)/python -m docs.pictures

# Build the documentation as a site: site/index.html. A broken link is an error. Material for MkDocs gets fixes until
# May 2027, which it prints at each build; its successor Zensical reads the same mkdocs.yml.
docs: .venv/.installed-docs
	$(BIN)/python -m docs.generator
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: .venv/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.installed-focus: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv takes several minutes and $(DISK)."
ifeq ($(TORCH),cpu)
	$(PIP) uv
	$(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu torch torchvision \
	    || { echo "PyTorch's index with its CPU build cannot be reached. Without TORCH=cpu, make takes the usual build." >&2; exit 1; }
endif
	$(PIP) --editable ".[focus]"
	touch $@

.venv/.installed-test: .venv/.installed-focus
	$(PIP) --editable ".[focus,test]"
	touch $@

# mypy also checks the tests, so it needs the types of the libraries that they import.
.venv/.installed-lint: .venv/.installed-test
	$(PIP) --editable ".[focus,test,lint]"
	touch $@

.venv/.installed-docs: .venv/.installed-focus
	$(PIP) --editable ".[focus,docs]"
	touch $@

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .venv-oldest workspace site
