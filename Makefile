# Two commands for a newcomer: make demo, make test. Everything is kept in .venv and var/ (or ELV_HOME).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ELV_HOME ?= $(CURDIR)/var
export DAGSTER_HOME = $(ELV_HOME)/dagster
export DAGSTER_EVENT_BATCH_SIZE ?= 1000
export DAGSTER_DISABLE_TELEMETRY ?= 1

.PHONY: setup demo test test-slow lint types format ui doctor bench lock clean help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## Create .venv from requirements.lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## Take a synthetic advertiser through the whole graph
	$(BIN)/elv demo

test: setup ## Run the tests (without the slow tier)
	$(BIN)/python -m pytest

test-slow: setup ## Run the slow tier
	$(BIN)/python -m pytest -m slow

lint: setup ## Style, types, and that the lock fits pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_lock.py

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: setup ## Open the Dagster UI on the state that the demo left
	$(BIN)/elv ui

doctor: setup ## Check this machine and the home folder
	$(BIN)/elv doctor

bench: setup ## Measure the event log against Dagster's own, and how often the leaderboards' intervals hold
	$(BIN)/python benchmarks/event_log.py
	$(BIN)/python benchmarks/interval_coverage.py

lock: setup ## Resolve requirements.lock again (needs uv, not part of the lock)
	uv pip compile pyproject.toml --extra dev --group build --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-strip-extras --quiet --output-file requirements.lock

clean: ## Remove what can be made again (not var/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
