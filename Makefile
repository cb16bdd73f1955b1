# Each verb does all the set-up that it needs; see README.md.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 20261121
MINUTES ?= 40
EVENTS ?= 1000000

.PHONY: help install check fix test test-brokers test-platform test-faults test-dapr soak demo docs clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

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

test: check ## the checks, and every test that needs no broker and no platform
	$(BIN)/pytest -m "not broker and not platform"

test-brokers: install ## tests on real brokers: buses, sources, deliveries
	@scripts/ci-packages || echo "components that are missing cost their tests; see above"
	@scripts/kafka-jars > /dev/null || echo "without Kafka its tests are skipped; see above"
	$(BIN)/pytest -m "broker and not platform" --ignore=tests/daprd

test-platform: install ## whole platforms: the command line, edges, samples, documentation
	@scripts/ci-packages || echo "components that are missing cost their tests; see above"
	@scripts/kafka-jars > /dev/null || echo "without Kafka its tests are skipped; see above"
	$(BIN)/pytest -m platform --ignore=tests/faults --ignore=tests/daprd

test-faults: install ## whole platforms under faults: the ledger, crashes, clocks, broken builds
	@scripts/ci-packages || echo "components that are missing cost their tests; see above"
	@scripts/kafka-jars > /dev/null || echo "without Kafka its tests are skipped; see above"
	$(BIN)/pytest -m platform tests/faults

test-dapr: install ## beside a real daprd, and as Dapr's own command
	@scripts/ci-packages || echo "components that are missing cost their tests; see above"
	@scripts/kafka-jars > /dev/null || echo "without Kafka its tests are skipped; see above"
	@scripts/daprd > /dev/null || echo "without daprd its tests are skipped; see above"
	$(BIN)/pytest tests/daprd

soak: install ## the ledger under a long seeded fault schedule; SEED= MINUTES= EVENTS= WORLDS=
	@scripts/kafka-jars > /dev/null
	$(BIN)/python -m benchmarks.soak --seed $(SEED) --minutes $(MINUTES) --events $(EVENTS) $(if $(WORLDS),--worlds $(WORLDS))

demo: install ## fifty vehicles, real MQTT, three functions, from 0 to N and back; KEEP=1 leaves it running
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

docs: fix ## the reference pages

clean: ## remove what install and the tests made in this folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
