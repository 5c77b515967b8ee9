# The only runner: everything that is done with this project is a target here. Needs Python 3.11 to 3.13, git and pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
FOR_DEMO := $(VENV)/.installed-demo
FOR_SUITES := $(VENV)/.installed-suites
INSTALLED := $(VENV)/.installed
# What depends on the version of Python: frames, pickles, syntax trees.
SUITES := tests/state tests/analysis tests/propagation tests/replaying/test_marked_code.py tests/e2e/test_state.py
# To compile all modules that are installed takes as long as to unpack them. Those that are used are compiled when they
# are first imported, which must then be kept.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --no-build-isolation -c constraints.txt
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-pythons suites test-s3 soak lint format bench trust docs clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(INSTALLED) ## Create .venv with the pinned dependencies

# The pip that comes with Python may be an old one, which takes twice as long.
$(FOR_DEMO): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "flor_ray needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.13")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) pip setuptools
	$(PIP) -e '.[demo]'
	@touch $@

$(INSTALLED): $(FOR_DEMO)
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(FOR_DEMO) ## Record six versions, add a log statement, fill its column (DIR=... chooses where)
	$(BIN)/flor-ray demo $(if $(DIR),--dir $(DIR))

test: $(INSTALLED) ## Run all tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test-pythons: ## Run the suites that depend on the Python version on each Python that is here (ARGS=--newest)
	$(PYTHON) tests/pythons.py $(ARGS)

$(FOR_SUITES): $(FOR_DEMO)
	$(PIP) -e '.[test]'
	@touch $@

suites: $(FOR_SUITES)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(SUITES) $(ARGS)

test-s3: $(INSTALLED) ## Run the tests of remote stores against a real S3 server (Ceph's radosgw)
	@$(BIN)/python -c 'import sys; from tests import radosgw; sys.exit(radosgw.missing())'
	$(BIN)/python -m pytest --s3 radosgw -k s3 tests/contracts tests/e2e/test_s3.py tests/e2e/test_ways.py $(ARGS)

soak: $(INSTALLED) ## Replay random scripts, statements and faults until one is wrong; prints one JSON line
	$(BIN)/python -m tests.soak $(ARGS)

lint: $(INSTALLED) ## ruff (check and format), strict mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure; results are printed, and kept with --keep under bench/results
	$(BIN)/python bench/cluster.py
	$(BIN)/python bench/end_to_end.py
	$(BIN)/python bench/record.py
	$(BIN)/python bench/kills.py
	$(BIN)/python bench/propagation.py
	$(BIN)/python bench/proposing.py
	$(BIN)/python bench/query.py
	$(BIN)/python bench/replay.py
	$(BIN)/python bench/schedule.py
	$(BIN)/python bench/systems.py
	$(BIN)/python bench/ui.py
	$(BIN)/python bench/ways_in.py

trust: $(INSTALLED) ## Look for values that are wrong without a warning; prints one JSON line
	$(BIN)/python bench/trust.py $(ARGS)

docs: $(INSTALLED) ## Build the pages of docs/ into build/docs; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -d build/doctrees docs build/docs
	@echo "Open build/docs/index.html"

clean: ## Remove what was built
	rm -rf $(VENV) .venv-3.* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
