# Two commands for a newcomer: make demo, make test. Everything is kept in .venv and var/ (or ELV_HOME).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ELV_HOME ?= $(CURDIR)/var
export DAGSTER_HOME = $(ELV_HOME)/dagster
export DAGSTER_EVENT_BATCH_SIZE ?= 1000
export DAGSTER_DISABLE_TELEMETRY ?= 1

.PHONY: setup demo test test-slow test-long test-month lint types format ui doctor bench bench-large setup-extras lock lock-extras clean help

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
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: setup ## Run the slow tier
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m slow

test-long: setup ## Simulations too long for .ci/run: false alarms, planted drifts, soft labels (half an hour)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m long

test-month: setup-extras ## Thirty simulated days with faults, next to thirty without (a quarter of an hour)
	$(BIN)/python -m pytest -m month

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

bench: setup ## Measure features next to plain pandas, ingest, learning, extracts, scores, watching, bookkeeping (about 30 minutes)
	$(BIN)/python -m benchmarks.features.run
	$(BIN)/python -m benchmarks.ingest --large
	$(BIN)/python -m benchmarks.learning
	$(BIN)/python benchmarks/extract.py
	$(BIN)/python benchmarks/persist.py
	$(BIN)/python -m benchmarks.monitoring
	$(BIN)/python benchmarks/event_log.py
	$(BIN)/python benchmarks/event_log.py --assets 16 --partitions 365 --skip-stock
	$(BIN)/python benchmarks/interval_coverage.py

bench-large: setup ## Measure features of 5 million leads (8 GB) and what young leads teach (many minutes)
	$(BIN)/python -m benchmarks.features.run --large
	$(BIN)/python -m benchmarks.censoring

LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-strip-extras --quiet

setup-extras: $(VENV)/.installed-extras ## Add the extras that CI tests (Spark is 456 MB) to .venv

$(VENV)/.installed-extras: $(VENV)/.installed requirements-extras.lock requirements-deploy.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements-extras.lock -r requirements-deploy.lock
	$(BIN)/python -m pip check
	touch $@

lock: setup ## Resolve the lock files again (needs uv, not part of the lock)
	$(LOCK) --extra dev --group build --output-file requirements.lock
	$(MAKE) lock-extras

lock-extras: setup
	$(LOCK) --constraint requirements.lock --extra spark --extra remote --extra servers \
	  --output-file requirements-extras.lock
	$(LOCK) --constraint requirements.lock --extra postgres --extra sqlserver --extra kubernetes \
	  --output-file requirements-deploy.lock
	$(BIN)/python tools/trim_lock.py requirements-extras.lock requirements-deploy.lock

clean: ## Remove what can be made again (not var/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
