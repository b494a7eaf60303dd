# The only list of commands: `make` shows it. Everything runs in .venv, which `setup` makes.
.DEFAULT_GOAL := help
SHELL := bash

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 2
DATA ?= demo
REGISTRY ?= $(DATA)/registry
SOURCE ?=
# A package index with CPU builds of torch, where the default one would bring CUDA's gigabytes.
TORCH_INDEX_URL ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# More options of `python -m model train`, such as --recipe paper.
TRAIN_OPTIONS ?=

.PHONY: help
help:  ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(INSTALLED)  ## Make .venv with the project and its tools, versions pinned.

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX_URL),$(BIN)/pip install --index-url $(TORCH_INDEX_URL) \
		$$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml))
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

.PHONY: demo
demo: setup  ## Train on real data, publish, serve (PORT, WORKERS, DATA, REGISTRY, SOURCE).
	DATA=$(DATA) REGISTRY=$(REGISTRY) SOURCE=$(SOURCE) PYTHON=$(BIN)/python \
		deploy/train-and-publish.sh $(TRAIN_OPTIONS)
	exec $(BIN)/python deploy/demo.py --registry $(REGISTRY) --port $(PORT) --workers $(WORKERS)

.PHONY: serve
serve: setup  ## Serve what is live in REGISTRY (PORT, WORKERS).
	exec $(BIN)/python -m service --registry $(REGISTRY) --port $(PORT) --workers $(WORKERS)

.PHONY: test
test: setup  ## All tests, with a Redis server and service processes of their own.
	$(BIN)/pytest

.PHONY: coverage
coverage: setup  ## All tests with branch coverage.
	$(BIN)/pytest --cov --cov-report=term

.PHONY: check
check: setup  ## Style, types, import directions, delivery files; changes nothing.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(abspath $(BIN)):$$PATH" deploy/check.sh

.PHONY: format
format: setup  ## Rewrite the code in the house style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup  ## Measure all, beside plain versions and, of the service, other serving stacks.
	for file in tests/bench/bench_*.py; do $(BIN)/python $$file || exit; done

.PHONY: contract
contract: setup  ## Rewrite what the contract tests hold: openapi.json, the settings in README.
	$(BIN)/python -m tests.contract.test_openapi
	$(BIN)/python -m tests.contract.test_readme

.PHONY: clean
clean:  ## Remove what demo and tools made, not .venv.
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
