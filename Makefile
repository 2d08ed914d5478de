# `make demo` and `make test` need Python >= 3.11 and nothing else: they set up .venv themselves, once.
.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint bench wheel clean
BIN := .venv/bin
export PYTHON

help:  ## list what can be made
	@echo "make demo     meropenem in sepsis, and in one patient with two levels"
	@echo "make test     all tests"
	@echo "make soak     2,000 jobs while workers and clients are killed"
	@echo "make lint     style, types and import contracts"
	@echo "make bench    this machine against the reference figures"
	@echo "make wheel    dist/*.whl and dist/*.tar.gz"
	@echo "make clean    remove .venv, caches, dist and results"
	@echo
	@echo "PYTHON=/path/to/python3 chooses the interpreter; one >= 3.11 is found otherwise."

setup:
	@.ci/setup

demo: setup  ## run the shipped study and fit the shipped patient, into results/
	@$(BIN)/tdmx run meropenem_sepsis --out results/meropenem_sepsis --overwrite
	@echo
	@$(BIN)/tdmx fit meropenem_tdm --out results/meropenem_tdm --library results/fits --overwrite
	@echo
	@echo "Open results/meropenem_sepsis/report.html and results/meropenem_tdm/report.html in a browser."

test: setup  ## run all tests
	@$(BIN)/python -m pytest

soak: setup  ## jobs while workers and clients are killed
	@$(BIN)/python -m tests.jobs.soak --jobs 2000 --kills 3 --on local
	@echo
	@$(BIN)/python -m tests.jobs.soak --jobs 2000 --kills 3 --on processes

lint: setup  ## check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup  ## measure
	@$(BIN)/tdmx bench

wheel: setup  ## build what is published
	@$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist results mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
