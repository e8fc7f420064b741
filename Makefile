# Every target does its own set-up. PYTHON and VENV may be given: make test PYTHON=python3.12 VENV=.venv312
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.pyx native/*.pxi native/*.h)

.PHONY: build test test-all test-asan lint demo bench protos wheel clean

build: $(VENV)/.built
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
$(VENV)/.built: $(NATIVE) setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[cpu]'
	touch $@
$(VENV)/.test: pyproject.toml $(VENV)/.built
	$(BIN)/python -m pip install -q -e '.[cpu,test,demo]'
	touch $@
$(VENV)/.demo: pyproject.toml $(VENV)/.built
	$(BIN)/python -m pip install -q -e '.[cpu,demo]'
	touch $@
$(VENV)/.bench: pyproject.toml $(VENV)/.test
	$(BIN)/python -m pip install -q -e '.[cpu,test,bench]'
	touch $@
$(VENV)/.lint: pyproject.toml $(VENV)/.test
	$(BIN)/python -m pip install -q -e '.[cpu,test,lint]'
	touch $@

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m "not extra"

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/cython-lint native

demo: $(VENV)/.demo
	$(BIN)/steelyard demo $(if $(KEEP),--keep)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

protos:
	$(PYTHON) -m venv build/protos-venv
	build/protos-venv/bin/pip install -q grpcio-tools==1.67.1 'setuptools<81'
	build/protos-venv/bin/python protos/generate.py

wheel: $(VENV)/bin/python
	$(BIN)/python -m pip install -q build
	$(BIN)/python -m build

clean:
	rm -rf build dist $(VENV) server/steelyard/_native/*.so
