# Each target makes .venv itself; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
LOCK_HASH := $(firstword $(shell sha256sum requirements.lock 2>/dev/null || shasum -a 256 requirements.lock))
INSTALLED := $(VENV)/.installed-$(LOCK_HASH)
WORKERS ?= auto
PACKAGES := models activities workflows adapters workers api cli sandbox bench tests

.PHONY: help setup servers lint types imports test demo dev bench fault-matrix race s3 format openapi histories lock licenses clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED):
	@bash tools/make-venv $(VENV) requirements.lock
	@touch $@

setup: $(INSTALLED) servers ## The Python environment and the servers' programs

servers: $(INSTALLED)
	@$(BIN)/python -m sandbox.servers

lint: $(INSTALLED) ## ruff: rules and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: $(INSTALLED) ## mypy --strict
	@$(BIN)/mypy

imports: $(INSTALLED) ## The arrows between the packages
	@$(BIN)/lint-imports --no-cache

test: setup ## Everything CI checks: lint, types, imports, all tests against real servers
	@started=$$SECONDS; \
	for step in lint types imports; do \
	  from=$$SECONDS; $(MAKE) --no-print-directory $$step; echo "[test] $$step passed in $$((SECONDS - from)) s"; \
	done; \
	from=$$SECONDS; $(BIN)/pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder; \
	echo "[test] tests passed in $$((SECONDS - from)) s, everything in $$((SECONDS - started)) s"

demo: setup ## The whole stack and a story told on it; ONCE=1 ends after the summary
	@exec $(BIN)/visitnow demo $(if $(ONCE),--once)

dev: setup ## The whole stack with seed data, until Ctrl-C
	@exec $(BIN)/visitnow dev

bench: setup ## What the stack can carry, against baselines of the same machine
	@exec $(BIN)/python -m bench

fault-matrix: setup ## Every fault at every step of a booking; most of its time is waiting, so three stacks run side by side
	@exec $(BIN)/pytest -m fault_matrix -n 3 tests

race: setup ## A thousand clients after one slot
	@exec $(BIN)/pytest -m race tests

s3: setup ## Object storage by its S3 protocol, on a server that is built once
	@$(BIN)/python -m sandbox.servers object-storage
	@$(BIN)/pytest -m s3 tests/adapters

format: $(INSTALLED) ## Apply ruff's format and safe fixes
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

COMPILE := $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

histories: setup ## tests/histories from real runs: what replays on every later release
	@exec $(BIN)/python -m tools.histories

openapi: $(INSTALLED) ## docs/openapi.json, errors.md, configuration.md and export.schema.json from the code
	@$(BIN)/python -m tools.documents

lock: $(INSTALLED) ## requirements.lock from pyproject.toml, and what of it runs in the image; UPGRADE=1 takes the newest
	@$(COMPILE) --all-extras $(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml
	@$(COMPILE) --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml

licenses: $(INSTALLED) ## LICENSES.md from what is installed
	@$(BIN)/python tools/licenses.py > LICENSES.md

clean: ## Remove the environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info build
