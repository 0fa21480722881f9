# Every target makes what it needs. Needed on the machine: Python 3.11 or newer, and make.
#   make demo     the main job, step by step, on real files
#   make test     every check: lint, types, import direction, tests (needs node and npm too)
# Environments are made once and brought up to date when pyproject.toml changes.

# The first Python that is new enough; to choose another: make PYTHON=/path/to/python ...
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$name -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$name && break; done)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTEST_JOBS ?= 2

TEST_ENV := .venv
# What dataver works beside: each is installed into .venv-NAME, from the extra test-NAME, and tested by tests/NAME.
BESIDE := azureml dvc mlflow mltable standards telemetry tensorboard
BESIDE_ENVS := $(BESIDE:%=.venv-%)
DEMO_ENV := .venv-demo
BENCH_ENV := .venv-bench
MUTATE_ENV := .venv-mutate
AZURITE := .azurite
KUSTO := .kusto
NATIVE := dataver/_native.c dataver/_blake3.h
# Newer releases need a newer Node than Debian has.
AZURITE_VERSION := 3.35.0
KUSTO_VERSION := 12.4.1

# make_env FOLDER: a virtual environment in FOLDER, unless a whole one is there (pip comes last).
define make_env
	@test -x $(1)/bin/pip || '$(PYTHON)' -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "make: Python 3.11 or newer is needed;" \
		"$(if $(PYTHON),$(PYTHON) is not,none is on PATH). To name one: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(1)/bin/pip || { echo "making $(1) with $(PYTHON)"; '$(PYTHON)' -m venv $(1); }
endef
# install FOLDER PACKAGES: twice quiet leaves pip's errors and drops its warnings.
install = $(1)/bin/python -m pip install -qq --disable-pip-version-check $(2)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench fuzz mutate soak clean $(BESIDE:%=beside-%)

help:
	@sed -n 's/^#   //p' Makefile
	@echo 'also: make lint, format, bench, fuzz, mutate, soak, clean'

$(TEST_ENV)/.made: pyproject.toml $(NATIVE)
	$(call make_env,$(TEST_ENV))
	@echo "installing dataver and its test tools into $(TEST_ENV)"
	@$(call install,$(TEST_ENV),-e '.[test]')
	@touch $@

# Environments of their own: these hold packages back that others want new.
$(BESIDE_ENVS:%=%/.made): .venv-%/.made: pyproject.toml $(NATIVE)
	$(call make_env,.venv-$*)
	@echo "installing dataver and what it is tested beside into .venv-$*"
	@$(call install,.venv-$*,-e '.[test-$*]')
	@touch $@

# mutmut, and of the test tools only those that it runs.
$(MUTATE_ENV)/.made: pyproject.toml $(NATIVE)
	$(call make_env,$(MUTATE_ENV))
	@echo "installing dataver and mutmut into $(MUTATE_ENV)"
	@$(call install,$(MUTATE_ENV),-e '.[mutate]')
	@touch $@

# The demo installs what a user gets, and scikit-learn alone, without its dependencies, for the CSV and JPEG files it ships.
$(DEMO_ENV)/.made: pyproject.toml $(NATIVE)
	$(call make_env,$(DEMO_ENV))
	@echo "installing dataver and the demo's files into $(DEMO_ENV)"
	@$(call install,$(DEMO_ENV),-e .)
	@$(call install,$(DEMO_ENV),--no-deps scikit-learn)
	@touch $@

# The emulator of Azure Blob Storage, for the tests; with its release in the name, so that another one is installed anew.
$(AZURITE)/.made-$(AZURITE_VERSION):
	@command -v npm >/dev/null || { echo "make: the tests run against Azurite, which needs node and npm" >&2; exit 1; }
	@echo "installing Azurite into $(AZURITE)"
	@npm install --prefix $(AZURITE) azurite@$(AZURITE_VERSION) --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

# Microsoft's own parser of Kusto's language, for the tests of the queries that come with dataver.
$(KUSTO)/.made-$(KUSTO_VERSION):
	@command -v npm >/dev/null || { echo "make: the tests of queries run in node, which comes from npm" >&2; exit 1; }
	@echo "installing the parser of Kusto's language into $(KUSTO)"
	@npm install --prefix $(KUSTO) @kusto/language-service-next@$(KUSTO_VERSION) --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

demo: $(DEMO_ENV)/.made
	@PATH="$(CURDIR)/$(DEMO_ENV)/bin:$$PATH" sh docs/demo/demo.sh

test: lint $(AZURITE)/.made-$(AZURITE_VERSION) $(KUSTO)/.made-$(KUSTO_VERSION) $(BESIDE_ENVS:%=%/.made)
	$(TEST_ENV)/bin/python -m pytest -n $(PYTEST_JOBS) -q
	@$(MAKE) --no-print-directory --output-sync=target -j $(PYTEST_JOBS) $(BESIDE:%=beside-%)

# The tests of one of them: make beside-mlflow
$(BESIDE:%=beside-%): beside-%: .venv-%/.made
	@echo tests/$*
	@.venv-$*/bin/python -m pytest -q tests/$*
beside-azureml beside-mlflow: $(AZURITE)/.made-$(AZURITE_VERSION) .venv-mlflow/.made
beside-telemetry: $(KUSTO)/.made-$(KUSTO_VERSION)

lint: $(TEST_ENV)/.made
	$(TEST_ENV)/bin/python -m ruff check
	$(TEST_ENV)/bin/python -m ruff format --check
	$(TEST_ENV)/bin/python -m mypy
	$(TEST_ENV)/bin/lint-imports --no-logo

format: $(TEST_ENV)/.made
	$(TEST_ENV)/bin/python -m ruff check --fix
	$(TEST_ENV)/bin/python -m ruff format

# Figures beside other tools on the same data. What comes from PyPI gets an environment of its own; borg, restic and casync come from Debian.
bench: $(TEST_ENV)/.made
	PYTHON='$(PYTHON)' benchmarks/setup-peers
	$(TEST_ENV)/bin/python -m benchmarks

# A hundred times the examples of `make test`, other ones at each run: properties and malformed bytes. Then every
# reader of bytes and text by atheris, guided by what it has been through, or at random where atheris has no wheel.
FUZZ_SECONDS ?= 600
fuzz: $(TEST_ENV)/.made $(AZURITE)/.made-$(AZURITE_VERSION)
	-@$(call install,$(TEST_ENV),-e '.[fuzz]')
	$(TEST_ENV)/bin/python -m tests.fuzzing --guided --seconds $(FUZZ_SECONDS)
	HYPOTHESIS_PROFILE=long $(TEST_ENV)/bin/python -m pytest -n $(PYTEST_JOBS) -q $(wildcard tests/property)

# What the tests say to code that is a little wrong, where it may lose data. One group: make mutate GROUPS=gc
mutate: $(MUTATE_ENV)/.made
	$(MUTATE_ENV)/bin/python -m tests.mutation $(GROUPS)

# Long lives: the models of a repository, crashes and faults, simulated machines, and every test marked `soak`.
SIMULATION_SEEDS ?= 0..2000
soak: $(TEST_ENV)/.made $(AZURITE)/.made-$(AZURITE_VERSION)
	HYPOTHESIS_PROFILE=long $(TEST_ENV)/bin/python -m pytest -n $(PYTEST_JOBS) -q -m '' $(wildcard tests/stateful tests/fault)
	$(TEST_ENV)/bin/python -m tests.simulation --seeds $(SIMULATION_SEEDS)
	$(TEST_ENV)/bin/python -m pytest -q -m soak --ignore=tests/stateful --ignore=tests/fault || test $$? -eq 5

clean:
	rm -rf .venv .venv-* $(AZURITE) $(KUSTO) build dist *.egg-info .hypothesis .fuzz .mutation .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dataver/*.so
	find dataver tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
