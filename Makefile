# The desk's commands. `make up` runs it, `make test` proves it; both set up what is missing.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help up down test test-slow bench lint format clean venv

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

up: $(VENV)/runtime-installed ## Set up everything and run the desk; Ctrl-C stops it
	@exec $(MANAGE) up

down: ## Stop the desk from elsewhere
	@if [ -x $(BIN)/python ]; then $(MANAGE) down; else echo "The desk was never set up here."; fi

test: lint $(VENV)/dev-installed ## Set up and run all tests
	$(BIN)/python tests/run.py $(TESTS)

test-slow: $(VENV)/dev-installed ## Run the long proofs
	$(BIN)/python tests/run.py -m slow $(TESTS)

bench: $(VENV)/runtime-installed ## Measure; NAME=... picks one
	$(MANAGE) bench $(NAME)

lint: $(VENV)/dev-installed ## Check style, types, templates and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/djlint templates --check
	$(BIN)/djlint templates --lint --quiet

format: $(VENV)/dev-installed ## Put code and templates into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/djlint templates --reformat --quiet || true

clean: ## Remove what can be made again; your data under .local stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache test-results
	find . -name __pycache__ -not -path './.local/*' -prune -exec rm -rf {} +

venv: $(VENV)/bin/python

# Another Python than 3.11 would install other builds than the ones tested together.
$(VENV)/bin/python:
	@found=$$(command -v $(PYTHON) || command -v python3) \
		|| { echo "Python 3.11 is needed, and none was found: install it, or name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	"$$found" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "Python 3.11 is needed, found $$("$$found" --version): install it, or name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	"$$found" -m venv --clear $(VENV) \
		|| { echo "python3-venv is missing: on Debian run apt-get install python3-venv" >&2; exit 1; }

# torch first and by itself: otherwise pip takes a build with gigabytes of CUDA along, also where there is no such card.
$(VENV)/torch-installed: $(VENV)/bin/python constraints.txt
	@echo "Installing torch (about 200 MB where there is no NVIDIA card) ..."
	@bash scripts/install_torch.sh $(BIN)/python
	@touch $@

$(VENV)/runtime-installed: $(VENV)/torch-installed pyproject.toml constraints.txt
	@echo "Installing the desk's packages (about 250 MB, a minute or two) ..."
	@$(PIP) $$($(BIN)/python scripts/requirements.py demo)
	@touch $@

$(VENV)/dev-installed: $(VENV)/runtime-installed pyproject.toml constraints.txt
	@echo "Installing the test tools ..."
	@$(PIP) $$($(BIN)/python scripts/requirements.py demo dev)
	@touch $@
