# DungBeetle. The targets that people use:
#   make            build bin/dungbeetle-fcgi, bin/dungbeetle-worker, bin/dungbeetle-expire
#   make test       install what is missing, build, run every test          make asan | tsan   the same, sanitized
#   make up | down  a private stack in RUN_DIR (default .run)               make demo          a report from POST to rows
#   make lint       format, clang-tidy, who includes whom                   make bench [ONLY=name]
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
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -pthread -I. -I$(BUILD) -MMD -MP -DDUNGBEETLE_VERSION='"$(VERSION)"' \
	$(WARN) $(CFLAGS_$(FLAVOUR)) $(shell pkg-config --cflags $(PKGS_CORE) $(PKGS_DB) 2>/dev/null) $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS_$(FLAVOUR)) $(LDFLAGS)
LIBS_CORE = $(shell pkg-config --libs $(PKGS_CORE))
LIBS_DB = $(shell pkg-config --libs $(PKGS_DB))

CORE_SRC := $(wildcard shared/base/*.c shared/config/*.c shared/sql/*.c shared/tasks/*.c shared/queue/*.c)
DB_SRC := $(wildcard shared/db/*.c)
FCGI_SRC := $(wildcard fcgi/*.c)
EXPIRE_SRC := $(wildcard worker/expire*.c)
WORKER_SRC := $(filter-out $(EXPIRE_SRC),$(wildcard worker/*.c))
LUA := $(wildcard shared/queue/lua/*.lua shared/queue/lua/lib/*.lua)
TEST_SRC := $(wildcard tests/unit/test_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
CORE_OBJ := $(call obj,$(CORE_SRC)) $(BUILD)/shared/queue/scripts_data.o
DB_OBJ := $(call obj,$(DB_SRC))
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(TEST_SRC))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRC))

PROGRAMS := $(BIN)/dungbeetle-fcgi $(BIN)/dungbeetle-worker $(BIN)/dungbeetle-expire

.PHONY: all programs deps venv venv-clickhouse unit integration test asan tsan lint tidy format config-table type-matrix up down demo bench install clean
all: deps
	$(MAKE) -j2 programs
programs: $(PROGRAMS)

# Installs the packages of deploy/packages.txt that are missing; quick when none is.
deps:
	@deploy/install-packages.sh

$(BIN)/dungbeetle-fcgi: $(call obj,$(FCGI_SRC)) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfcgi $(LIBS_CORE)
$(BIN)/dungbeetle-worker: $(call obj,$(WORKER_SRC)) $(DB_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DB) $(LIBS_CORE)
$(BIN)/dungbeetle-expire: $(call obj,$(EXPIRE_SRC)) $(DB_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS_DB) $(LIBS_CORE)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(BUILD)/shared/queue/scripts_data.c: shared/queue/embed.sh shared/queue/scripts.h $(LUA)
	@mkdir -p $(@D)
	shared/queue/embed.sh > $@.tmp && mv $@.tmp $@
$(BUILD)/shared/queue/scripts_data.o: $(BUILD)/shared/queue/scripts_data.c
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Unit tests may use any module of the programs but their main.
TEST_OBJ := $(filter-out $(BUILD)/fcgi/main.o $(BUILD)/worker/main.o $(BUILD)/worker/expire.o,$(call obj,$(FCGI_SRC) $(WORKER_SRC) $(EXPIRE_SRC))) \
	$(DB_OBJ) $(CORE_OBJ)
$(BUILD)/libtest.a: $(TEST_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(BUILD)/libtest.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -lfcgi $(LIBS_DB) $(LIBS_CORE)
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfcgi $(LIBS_DB) $(LIBS_CORE)
.PRECIOUS: $(BUILD)/%.o

unit: $(TESTS)
	@set -e; for t in $(TESTS); do echo "== $$t"; $$t; done

# Real servers, started by the tests themselves. PYTEST= further arguments, e.g. PYTEST="-k cancel -x".
integration: programs venv
	BIN_DIR='$(BIN)' .venv/bin/python -m pytest -q tests/integration $(PYTEST)

test: deps
	$(MAKE) -j2 FLAVOUR=$(FLAVOUR) programs $(TESTS) venv
	$(MAKE) FLAVOUR=$(FLAVOUR) unit integration
asan tsan:
	$(MAKE) FLAVOUR=$@ test

# Static checks. clang-tidy is slow: it looks again at what has changed since it was last content.
C_FILES = $(shell find fcgi shared worker tests -name '*.[ch]')
SH_FILES := .ci/run deploy/install-packages.sh shared/queue/embed.sh
LINT_CFLAGS = $(filter-out -MMD -MP $(WARN) $(CFLAGS_$(FLAVOUR)),$(ALL_CFLAGS))
TIDY = $(patsubst %.c,$(BUILD)/tidy/%.ok,$(filter %.c,$(C_FILES)))
lint: deps
	@clang-format --dry-run -Werror $(C_FILES)
	@$(PYTHON) tests/lint/includes.py $(CC) $(LINT_CFLAGS) $(WARN)
	@if command -v shellcheck >/dev/null; then shellcheck -S warning $(SH_FILES); fi
	@$(MAKE) --no-print-directory -j2 tidy
tidy: $(TIDY)
$(BUILD)/tidy/%.ok: %.c .clang-tidy tests/.clang-tidy
	@mkdir -p $(@D)
	@$(CC) $(LINT_CFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	@echo tidy $<; clang-tidy --quiet $< -- $(LINT_CFLAGS) 2>$(@:.ok=.log) || { cat $(@:.ok=.log); exit 1; }
	@touch $@
format:
	clang-format -i $(C_FILES)

# The table of the README, between its markers <!-- config -->.
config-table: $(BUILD)/tests/test_config_sample
	@$< --print

# The README's table of types, between its markers <!-- types -->.
type-matrix: $(BUILD)/tests/test_types_matrix
	@$< --print

# The virtual environments of the integration tests, each made again when its list changes. The second one has a current
# ClickHouse server; where that cannot be had, the tests that need it fail and say so.
venv: .venv/stamp venv-clickhouse
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

# Programs, systemd units (their paths follow PREFIX), and below share/dungbeetle what an administrator copies from.
SHARE = $(DESTDIR)$(PREFIX)/share/dungbeetle
install: programs
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/systemd/system' '$(DESTDIR)$(PREFIX)/lib/sysusers.d'
	install -d '$(SHARE)/nginx' '$(SHARE)/cron' '$(SHARE)/queries/mysql' '$(SHARE)/queries/clickhouse'
	install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin'
	for unit in deploy/systemd/dungbeetle-*; do \
		sed 's|/usr/local/bin|$(PREFIX)/bin|g' $$unit > '$(DESTDIR)$(PREFIX)'/lib/systemd/system/$${unit##*/} || exit 1; done
	install -m 644 deploy/systemd/dungbeetle.sysusers '$(DESTDIR)$(PREFIX)/lib/sysusers.d/dungbeetle.conf'
	install -m 644 config.sample.yml '$(SHARE)'
	install -m 644 deploy/nginx/*.conf '$(SHARE)/nginx'
	sed 's|/usr/local/bin|$(PREFIX)/bin|g' deploy/cron/dungbeetle-expire > '$(SHARE)/cron/dungbeetle-expire'
	for dir in . mysql clickhouse; do install -m 644 queries/$$dir/*.sql '$(SHARE)/queries/'$$dir || exit 1; done

clean:
	rm -rf build bin

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
