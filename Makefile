# Each verb does all the set-up that it needs; see README.md.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install check fix test demo docs clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: .venv/installed ## the tool and its development tools, in .venv

.venv/installed: pyproject.toml constraints.txt scripts/install
	@PYTHON=$(PYTHON) scripts/install

check: install ## format, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/generate.py --check

fix: install ## format, mend what can be mended, write the generated files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/generate.py

test: check ## everything above and all tests
	$(BIN)/pytest

demo: install ## fifty vehicles, real MQTT, three functions, from 0 to N and back; KEEP=1 leaves it running
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

docs: fix ## the reference pages

clean: ## remove what install and the tests made in this folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
