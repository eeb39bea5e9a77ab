# make demo and make test set up all they need; PYTHON names the interpreter to build on.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint bench soak fuzz clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/tessera-mosaic demo

test: setup
	$(BIN)/python -m pytest -m "not soak" --numprocesses=2

soak: setup
	$(BIN)/python -m pytest -m soak

# As many examples for each parser of foreign bytes as FUZZ_EXAMPLES says: 20,000 take an hour.
fuzz: setup
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-20000} $(BIN)/python -m pytest tests/scenarios/test_fuzz.py --timeout=0 --numprocesses=2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/link_packages.py build/links
	MYPYPATH=build/links $(BIN)/mypy

bench: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks all

clean:
	rm -rf $(VENV) .venv-client build dist demo
