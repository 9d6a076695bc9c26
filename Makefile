# Two commands do everything on a fresh machine with Python 3.11+: `make quickstart` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TESTED := $(VENV)/.installed-for-tests

.PHONY: quickstart test exhaustive coverage tutorials slow check docs reference bench install clean

quickstart: $(STAMP)
	$(BIN)/cifar-tune run studies/quickstart.yaml
	$(BIN)/cifar-tune export quickstart
	@echo "The report lies in reports/quickstart/: begin with report.html; browse the trials with: $(BIN)/cifar-tune dashboard"

test: $(TESTED)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Every other case of the proofs over every entry, kind or moment, of which `make test` runs a few.
exhaustive: $(TESTED)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m exhaustive \
		$$(grep -rlE --include='test_*.py' 'tests\.exhaustive|mark\.exhaustive' tests)

# The tests of `make test`, with the share of lines that they run; fails below the floor in pyproject.toml.
coverage:
	$(MAKE) test ARGS="--cov --cov-report=term"

# Runs every block of the tutorials, as a reader would.
tutorials: $(TESTED)
	$(BIN)/python -m pytest -n auto -m tutorial tests/test_tutorials.py

# Proofs that take minutes each.
slow: $(TESTED)
	$(BIN)/python -m pytest -m slow

check: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/sp-repo-review . --show err
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/zensical build --strict

# The documentation as a site, which changes with the pages.
docs: $(TESTED)
	$(BIN)/zensical serve

# The pages that are made from the code. A test names the one that is out of date.
reference: $(TESTED)
	$(BIN)/python -m cifar_tune.cli.reference > docs/study-file.md
	$(BIN)/python -m cifar_tune.cli.command_reference > docs/command-reference.md
	$(BIN)/python -m cifar_tune.cli.python_reference > docs/python-reference.md
	$(BIN)/python -m tests.web.test_openapi

# Takes an hour or two on a quiet machine and writes docs/performance.md; ARGS="--quick" is a smoke test.
bench: $(TESTED)
	$(BIN)/python -m benchmarks $(ARGS)

install: $(TESTED)

# Both are installed anew only when pyproject.toml changes: what running needs, and what tests need beyond it.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "cifar-tune needs Python 3.11 or newer; this is %d.%d. Name another with: make PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): PyTorch is several GB, so the first time takes minutes."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $(STAMP)

$(TESTED): $(STAMP)
	@echo "Adding what the tests need to $(VENV)."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(TESTED)

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
