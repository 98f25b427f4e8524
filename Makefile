# SPDX-License-Identifier: Apache-2.0
#
# The habits, on top of meson. `make demo` is the first thing to type; `make help` lists the rest.

BUILD      ?= build
PREFIX     ?= /usr/local
DESTDIR    ?=
FUZZ_TIME  ?= 60
ROUNDS     ?= 10000
BENCH_FLAGS ?=

SETUP = scripts/setup.sh
MESON_FLAGS = -Dprefix=$(PREFIX)
CONFIGURE = [ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) $(MESON_FLAGS)
SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false -Dguest=false
SANITIZE_THREADS = -Db_sanitize=thread -Db_lundef=false -Dguest=false

.PHONY: all help setup demo check check-long check-asan check-tsan lint format fuzz bench install \
	clean

all:
	$(CONFIGURE)
	ninja -C $(BUILD)

help:
	@echo 'demo        install what is missing, build, and run a command in a sandbox'
	@echo 'all         build'
	@echo 'check       install what is missing, build, and run all tests'
	@echo 'check-long  what is a matter of luck, ROUNDS times (10000): lengths, failed starts, races'
	@echo 'check-asan  the tests that need no virtual machine, with ASan and UBSan'
	@echo 'check-tsan  those of them that use the library, with TSan'
	@echo 'lint        clang-format, clang-tidy, cppcheck, shellcheck'
	@echo 'format      clang-format, in place'
	@echo 'fuzz        each fuzz target for FUZZ_TIME seconds (60)'
	@echo 'bench       the measurements; BENCH_FLAGS=--full for more of them'
	@echo 'install     into PREFIX (/usr/local), below DESTDIR'
	@echo 'setup       install what is missing for building and running (apt)'
	@echo 'clean       remove the build folders'

setup:
	$(SETUP) build

demo: setup
	$(CONFIGURE)
	ninja -C $(BUILD) product
	$(BUILD)/cove run busybox sh -c \
		'echo "Hello from $$(uname -sr) in a sandbox called $$(hostname)"'

check:
	$(SETUP) build test
	$(CONFIGURE)
	ninja -C $(BUILD) all python-image
	scripts/check.sh $(BUILD)

check-long:
	$(SETUP) build test
	$(CONFIGURE)
	ninja -C $(BUILD) all python-image
	COVE_TEST_ROUNDS=$(ROUNDS) meson test -C $(BUILD) --no-rebuild --print-errorlogs \
		--num-processes 1 --verbose start-failures bytes races sessions reattach

check-asan:
	$(SETUP) build test
	[ -f $(BUILD)-asan/build.ninja ] || meson setup $(BUILD)-asan $(SANITIZE)
	ninja -C $(BUILD)-asan
	scripts/check.sh $(BUILD)-asan unit wire process

# A race ends the program at once: some are killed before they could tell in their exit status.
check-tsan:
	$(SETUP) build test
	[ -f $(BUILD)-tsan/build.ninja ] || meson setup $(BUILD)-tsan $(SANITIZE_THREADS)
	ninja -C $(BUILD)-tsan
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 scripts/check.sh $(BUILD)-tsan lib

lint:
	$(SETUP) build lint
	[ -f $(BUILD)-lint/build.ninja ] || CC=clang meson setup $(BUILD)-lint -Dguest=false
	ninja -C $(BUILD)-lint src/wire/cove.pb-c.h
	scripts/lint.sh $(BUILD)-lint

format:
	$(SETUP) lint
	find $(wildcard src include tests examples bench bindings) -name node_modules -prune -o \
		-name '*.[ch]' -print | xargs clang-format -i

fuzz:
	$(SETUP) build fuzz
	[ -f $(BUILD)-fuzz/build.ninja ] || CC=clang meson setup $(BUILD)-fuzz $(SANITIZE) -Dfuzz=true
	ninja -C $(BUILD)-fuzz fuzzers
	scripts/fuzz.sh $(BUILD)-fuzz $(FUZZ_TIME)

bench: setup
	$(CONFIGURE)
	ninja -C $(BUILD) product bench-programs
	$(BUILD)/bench/bench $(BENCH_FLAGS) --json $(BUILD)/bench.json

install: setup
	$(CONFIGURE)
	meson configure $(BUILD) $(MESON_FLAGS)
	ninja -C $(BUILD) product
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
	@# So that programs find the library; a normal user's prefix is not the system's to know.
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-lint $(BUILD)-fuzz
