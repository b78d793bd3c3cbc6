# The front door. Needs git and make; `make deps` brings the rest.
#
#   make deps      prints and runs the apt command for what is missing
#   make build     the release into build/
#   make demo      trains on real data and shows the table of micro-batches
#   make test      every test; last line 'N passed, N failed, N skipped'
#   make install   PREFIX (default /usr/local) and DESTDIR
#   make asan, tsan, lint, fuzz, bench, long   for who changes the code
#
# NO_DEPS=1 leaves the system's packages alone. JOBS sets how many compile at once.
BUILD = build
PREFIX = /usr/local
JOBS := $(shell nproc 2>/dev/null || echo 2)
# Seconds for each fuzz target; FUZZ="npy yaml" picks some.
FUZZ_SECONDS = 600
# make long LONG_FLAGS="--minutes 5 --recipe recipes/llama-small-kjv.yaml"
LONG_FLAGS =
# make bench BENCH_FLAGS="--out page.md fashion seed": where to, which sections, --rounds
BENCH_FLAGS =
PYTHON = python3

PACKAGES = gcc libc6-dev cmake pkg-config python3 libyaml-dev libjansson-dev zlib1g-dev libxxhash-dev \
           libpcre2-dev libutf8proc-dev libcmocka-dev libmpfr-dev librandom123-dev dataset-fashion-mnist
LINT_PACKAGES = clang-tidy cppcheck
FUZZ_PACKAGES = clang

MAKEFLAGS += --no-print-directory
.PHONY: all deps build demo test install asan tsan lint fuzz bench long clean
all: build

# $(call need,packages): installs those that are missing, saying so first.
define need
	@if [ -n "$(NO_DEPS)" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then \
	    echo "No apt here; these must be installed, by Debian's names: $(1)"; exit 0; \
	fi; \
	missing=; for p in $(1); do \
	    dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; fi; \
	echo "$${sudo:+sudo }apt-get update && $${sudo:+sudo }apt-get install -y --no-install-recommends$$missing"; \
	if [ -n "$$sudo" ] && ! command -v sudo >/dev/null; then \
	    echo "Not root and no sudo: run that command as root, then this again (NO_DEPS=1 skips it)."; exit 1; \
	fi; \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends$$missing
endef

deps:
	$(call need,$(PACKAGES))

# CMake runs again by itself when a file appears or the description changes.
$(BUILD)/CMakeCache.txt:
	cmake -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX)

build: deps
	@$(MAKE) $(BUILD)/CMakeCache.txt
	@cmake --build $(BUILD) -j $(JOBS)

demo: build
	$(BUILD)/accrue demo

test: build
	@cmake --build $(BUILD) -j $(JOBS) --target tests
	@$(PYTHON) tests/run.py --build $(BUILD)

install: build
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) cmake --install $(BUILD)

# Memory and undefined behaviour: every C test. Threads: those that share work.
asan: deps
	cmake -S . -B build-asan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DACR_SANITIZE=address
	@cmake --build build-asan -j $(JOBS) --target all tests
	@$(PYTHON) tests/run.py --build build-asan unit property golden fault fuzz

tsan: deps
	cmake -S . -B build-tsan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DACR_SANITIZE=thread
	@cmake --build build-tsan -j $(JOBS) --target all tests
	@$(PYTHON) tests/run.py --build build-tsan pool thread context property

lint: deps
	$(call need,$(LINT_PACKAGES))
	@$(MAKE) $(BUILD)/CMakeCache.txt
	@tests/lint.sh $(BUILD)

fuzz: deps
	$(call need,$(FUZZ_PACKAGES))
	cmake -S . -B build-fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang -DACR_FUZZ=ON
	@cmake --build build-fuzz -j $(JOBS) --target tests
	@set -e; for t in $(or $(FUZZ),$(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))); do \
	    mkdir -p build-fuzz/corpus/$$t build-fuzz/found; \
	    echo "== $$t, $(FUZZ_SECONDS) s"; \
	    build-fuzz/tests/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
	        -print_final_stats=1 -artifact_prefix=build-fuzz/found/$$t- build-fuzz/corpus/$$t tests/fuzz/corpus/$$t; \
	done

bench: build
	@cmake --build $(BUILD) -j $(JOBS) --target benches
	@$(PYTHON) bench/bench.py --build $(BUILD) $(BENCH_FLAGS)

# An hour's training twice, once killed again and again.
long: build
	@$(PYTHON) tests/long.py --accrue $(BUILD)/accrue $(LONG_FLAGS)

clean:
	rm -rf build build-asan build-tsan build-fuzz build-ci
