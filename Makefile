# The verbs of this repository; each makes the environment that it needs.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest

ifdef CONTAINERS
PARTS := --only host
REAL := tests/conformance tests/integration/sinks tests/integration/sqlserver tests/local/consul
# The emulator takes ten connections, and not the topics that `sync_topics` makes.
run: export AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions = 2
run: export AzureWebJobs_sync_topics_Disabled = true
endif

.PHONY: setup demo run test containers check bench package fmt clean

setup: $(VENV)/.ready local/node_modules/.ready ## Python and Node packages, and the ODBC driver manager

demo: setup ## the whole line on this machine: row changes arrive as they are delivered
	$(BIN)/python -m local.demo

run: setup ## the local cloud on fixed ports, until Ctrl-C; CONTAINERS=1: the app alone
	$(BIN)/python -m local --fixed-ports $(PARTS)

test: setup ## every test; CONTAINERS=1: those that know real services, on the containers
ifdef CONTAINERS
	set -a && . tests/containers.env && set +a && $(PYTEST) $(REAL)
else
	$(PYTEST) -n auto --dist loadgroup
endif

containers: setup ## what compose.yaml says, for `make run CONTAINERS=1` and `make test CONTAINERS=1`
	$(BIN)/python -m local.containers
	CONFIG_CHECKSUM="$$(cksum < .local/containers/Config.json)" docker compose up --detach --wait

check: setup ## format, lint, types, import rules, Bicep templates, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy function_app.py shared functions cli local benchmarks tests tools
	$(BIN)/lint-imports
	$(BIN)/python -m tools.bicep
	$(PYTEST) tests/unit -q

bench: setup ## figures, beside the ceilings of the driver and the broker
	$(BIN)/python -m benchmarks.main

package: ## dist/sluice.zip: what is deployed; needs Python 3.13 with pip alone
	./tools/find_python.sh -m tools.package

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## everything that was made here
	rm -rf $(VENV) local/node_modules .local build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.ready: requirements.txt requirements-dev.txt pyproject.toml tools/find_python.sh
	./tools/find_python.sh -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	./tools/install_odbc.sh
	touch $@

local/node_modules/.ready: local/package-lock.json
	@command -v npm > /dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || \
	  { echo "Node 20 or newer with npm is needed: https://nodejs.org/" >&2; exit 1; }
	cd local && npm ci --no-audit --no-fund --loglevel=error
	touch $@
