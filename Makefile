# aurora-scheduler: everything starts here. `make help` lists the targets.
#
# One folder of sources = one room = one static library. Three builds side by side:
#   build/        release      (make)
#   build/asan/   sanitizers   (make asan; make test)
#   build/fuzz/   libFuzzer    (make fuzz; needs clang)

MODE ?= release
GEN := build/gen
B := $(if $(filter release,$(MODE)),build,build/$(MODE))
OBJ := $(B)/obj

CC ?= cc
PYTHON ?= /usr/bin/python3
JOBS ?= $(shell nproc)
# Another make, after the packages are there: this one has looked into the folders already, and builds one thing at a time.
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))
WARN := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wvla
CPPFLAGS += -I. -I$(GEN) -I/usr/share/include/llhttp -D_GNU_SOURCE
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 -fno-strict-aliasing -fno-omit-frame-pointer
LDLIBS := -luv -lzookeeper_st -lprotobuf-c -llmdb -lcjson -lpcre2-8 -lz -lcrypto -lsystemd -lpthread -lm

ifeq ($(MODE),asan)
CFLAGS += -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -DSANITIZED=1
LDFLAGS += -fsanitize=address,undefined
endif
ifeq ($(MODE),fuzz)
CC := clang
CFLAGS += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DSANITIZED=1
LDFLAGS += -fsanitize=address,undefined
endif

ROOMS := core net log zk mesos mesos/local admin
# Link order: a room may use those behind it. Programs and tests take what they need from the archives.
lib = $(B)/lib$(subst /,_,$(1)).a
LIBS_core := $(call lib,core)
LIBS_net := $(call lib,net) $(B)/libllhttp.a $(LIBS_core)
LIBS_log := $(call lib,log) $(LIBS_core)
LIBS_zk := $(call lib,zk) $(LIBS_core)
LIBS_mesos := $(call lib,mesos) $(LIBS_net)
LIBS_local := $(call lib,mesos/local) $(LIBS_mesos)
LIBS_admin := $(call lib,admin) $(call lib,log) $(call lib,zk) $(LIBS_mesos)
LIBS_core_deps := -lm

PROTOS := $(wildcard mesos/*.proto log/*.proto)
PROTO_C := $(PROTOS:%.proto=$(GEN)/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)
IDL := core/idl/api.thrift core/idl/storage.thrift
GEN_H := $(GEN)/api.gen.h $(GEN)/build_info.h $(PROTO_H)
# What /vars says of the build. Written only when it changes; the date is the commit's, so that builds can be repeated.
BUILD_INFO := $(shell git log -1 --format='%H %cd' --date=format:'%Y-%m-%d %H:%M:%S' 2>/dev/null || echo unknown - -)
BUILD_TAG := $(shell git describe --tags --exact-match 2>/dev/null)

room_src = $(filter-out admin/main.c mesos/local/main.c,$(wildcard $(1)/*.c))
room_gen = $(if $(filter core,$(1)),$(GEN)/api.gen.c) $(filter $(GEN)/$(1)/%,$(PROTO_C))
room_obj = $(patsubst %.c,$(OBJ)/%.o,$(call room_src,$(1))) $(patsubst $(GEN)/%.c,$(OBJ)/gen/%.o,$(call room_gen,$(1)))

PROGRAMS := $(if $(wildcard admin/main.c),$(B)/aurora-scheduler) $(if $(wildcard mesos/local/main.c),$(B)/mesos-local)
UNIT_SRC := $(wildcard test/unit/*.c)
UNIT := $(patsubst test/unit/%.c,$(B)/test/%,$(UNIT_SRC))
SIM_SRC := $(wildcard test/sim/*.c)
SIM := $(patsubst test/sim/%.c,$(B)/test/sim_%,$(SIM_SRC))
SIMLIB_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(wildcard test/sim/lib/*.c))
FUZZ_SRC := $(wildcard test/fuzz/*.c)
FUZZ := $(patsubst test/fuzz/%.c,$(B)/test/fuzz_%,$(FUZZ_SRC))
TOOL_SRC := $(wildcard test/lib/tool_*.c)
TOOLS := $(patsubst test/lib/tool_%.c,$(B)/test/tool_%,$(TOOL_SRC))
BENCH_SRC := $(wildcard test/bench/*.c)
BENCH := $(patsubst test/bench/%.c,$(B)/test/bench_%,$(BENCH_SRC))
BENCHLIB_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(wildcard test/bench/lib/*.c))
TESTLIB_SRC := $(filter-out $(TOOL_SRC),$(wildcard test/lib/*.c))
# An archive, so that a test takes only what it uses and needs no more rooms than its own.
TESTLIB := $(B)/libtest.a

.PHONY: all run run-ha test asan sim fuzz fuzz-build bench tidy format check-layers install dist clean help deps deps-ha deps-test deps-bench unit check
.DEFAULT_GOAL := all

all: $(PROGRAMS) ## build the programs into build/

# ---- generated sources ----
$(GEN)/api.gen.h: $(IDL) core/idl/gen.py
	@mkdir -p $(GEN)
	@thrift --gen xml:merge -out $(GEN) core/idl/storage.thrift
	@$(PYTHON) core/idl/gen.py $(GEN)/storage.xml $(GEN)
$(GEN)/api.gen.c: $(GEN)/api.gen.h ;
$(GEN)/%.pb-c.h $(GEN)/%.pb-c.c: %.proto
	@mkdir -p $(@D)
	@protoc-c -I. --c_out=$(GEN) $<

$(GEN)/build_info.h: FORCE
	@mkdir -p $(@D)
	@printf '#define BUILD_REVISION "%s"\n#define BUILD_DATE "%s"\n#define BUILD_TIME "%s"\n#define BUILD_TAG "%s"\n' \
	    $(wordlist 1,3,$(BUILD_INFO)) '$(BUILD_TAG)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
.PHONY: FORCE

# ---- objects ----
# Ordinary sources wait for all generated headers (order only); dependency files do the rest.
$(OBJ)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(WARN) -MMD -MP -c $< -o $@
# What generators and others wrote is compiled without our warnings.
$(OBJ)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -w -MMD -MP -c $< -o $@
$(OBJ)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) -w -MMD -MP -c $< -o $@
$(B)/libllhttp.a: $(patsubst %,$(OBJ)/llhttp/%.o,api http llhttp)
	@rm -f $@ && ar rcs $@ $^
define room_rules
$(call lib,$(1)): $(call room_obj,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

# ---- programs ----
$(B)/aurora-scheduler: $(OBJ)/admin/main.o $(LIBS_admin)
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@
$(B)/mesos-local: $(OBJ)/mesos/local/main.o $(LIBS_local)
	@$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

# ---- tests: the part of the name before the first _ says which rooms are linked ----
testroom = $(firstword $(subst _, ,$(1)))
$(TESTLIB): $(TESTLIB_SRC:%.c=$(OBJ)/%.o)
	@rm -f $@ && ar rcs $@ $^
$(B)/test/%: $(OBJ)/test/unit/%.o $(TESTLIB) $(foreach r,$(ROOMS),$(call lib,$(r))) $(B)/libllhttp.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(TESTLIB) $(LIBS_$(call testroom,$*)) -lcmocka \
	    $(if $(filter core,$(call testroom,$*)),-lm,$(LDLIBS)) -o $@
$(B)/test/sim_%: $(OBJ)/test/sim/%.o $(SIMLIB_OBJ) $(TESTLIB) $(LIBS_admin)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(TESTLIB) $(LIBS_admin) -lcmocka $(LDLIBS) -o $@
$(B)/test/tool_%: $(OBJ)/test/lib/tool_%.o $(LIBS_admin) $(call lib,mesos/local)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(call lib,mesos/local) $(LIBS_admin) $(LDLIBS) -o $@
$(B)/test/bench_%: $(OBJ)/test/bench/%.o $(BENCHLIB_OBJ) $(LIBS_admin)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIBS_admin) $(LDLIBS) -o $@
$(B)/test/fuzz_%: $(OBJ)/test/fuzz/%.o $(LIBS_admin)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $(filter %.o,$^) $(LIBS_admin) $(LDLIBS) -o $@
.PRECIOUS: $(OBJ)/%.o $(OBJ)/gen/%.o

unit: $(UNIT) $(SIM) $(TOOLS) all
check: ## build the sanitizer build and run its C tests only (quick)
	+@$(SUBMAKE) MODE=asan unit
	@$(PYTHON) test/run.py --build build/asan --only unit
asan: ## build everything with AddressSanitizer and UndefinedBehaviorSanitizer
	+@$(SUBMAKE) MODE=asan unit
test: deps-test ## run all tests (sanitizer build); ends with "N passed, M failed"
	+@$(SUBMAKE) MODE=asan unit
	@$(PYTHON) test/run.py --build build/asan
sim: ## run the simulations: make sim SEEDS=1000
	+@$(SUBMAKE) MODE=asan unit
	@$(PYTHON) test/run.py --build build/asan --only sim --seeds $(or $(SEEDS),1000)
fuzz-build:
	+@$(SUBMAKE) MODE=fuzz fuzz-programs
.PHONY: fuzz-programs
fuzz-programs: $(FUZZ)
fuzz: fuzz-build ## run every fuzzer: make fuzz SECONDS_EACH=20
	@$(PYTHON) test/fuzz/run.py --build build/fuzz --seconds $(or $(SECONDS_EACH),20)
bench-programs: $(BENCH)
.PHONY: bench-programs
bench: deps-bench ## measure; prints ratios against the machine's own limits: make bench ONLY=log,http
	+@$(SUBMAKE) all bench-programs
	@$(PYTHON) test/bench/bench.py --build build $(if $(ONLY),--only $(ONLY))
run: deps ## start a master, agents and one scheduler, submit docs/examples/hello.json, follow it
	+@$(SUBMAKE) all
	@$(PYTHON) docs/examples/run.py --build build
run-ha: deps-ha all ## three schedulers with a ZooKeeper; kill the leader, measure the fail-over
	@$(PYTHON) docs/examples/run_ha.py --build build

# ---- habits ----
LINTED = $(wildcard $(foreach r,$(ROOMS) test/unit test/sim test/sim/lib test/fuzz test/bench test/bench/lib test/lib,$(r)/*.c))
FORMATTED = $(LINTED) $(wildcard $(foreach r,$(ROOMS) test/lib test/sim/lib test/bench/lib,$(r)/*.h))
check-layers: ## fail when a room includes what it may not
	@$(PYTHON) test/check_layers.py
format: ## rewrite the sources in the project's format
	@clang-format -i $(FORMATTED)
tidy: compile_commands.json ## format, clang-tidy, lone headers, banned words
	@clang-format --dry-run --Werror $(FORMATTED)
	@$(PYTHON) test/tidy.py
compile_commands.json: $(GEN_H) Makefile $(LINTED)
	@$(PYTHON) test/compile_commands.py "$(CC) $(CPPFLAGS) $(CFLAGS) $(WARN)" $(LINTED) > $@

# ---- Debian packages ----
PKGS_BUILD := gcc make libc6-dev libuv1-dev node-llhttp libprotobuf-c-dev protobuf-c-compiler libzookeeper-st-dev \
    liblmdb-dev libcjson-dev libpcre2-dev thrift-compiler zlib1g-dev libssl-dev libsystemd-dev uthash-dev python3 curl
PKGS_TEST := $(PKGS_BUILD) git libcmocka-dev python3-thrift python3-kazoo clang clang-tidy clang-format \
    libclang-rt-14-dev nginx-light wrk zookeeper default-jre-headless bsh libcurator-recipes-java
PKGS_BENCH := $(PKGS_TEST) etcd-server
PKGS_HA := $(PKGS_BUILD) zookeeper default-jre-headless
define install_missing
missing=""; for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
  echo "installing:$$missing"; \
  if [ "$$(id -u)" = 0 ]; then S=; elif command -v sudo >/dev/null; then S=sudo; \
  else echo "these Debian packages are missing and only root can install them:$$missing" >&2; exit 1; fi; \
  $$S apt-get update -qq && $$S env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef
deps: ## install missing Debian packages (build)
	@$(call install_missing,$(PKGS_BUILD))
deps-ha: ## install missing Debian packages (run-ha)
	@$(call install_missing,$(PKGS_HA))
deps-test: ## install missing Debian packages (tests)
	@$(call install_missing,$(PKGS_TEST))
deps-bench: ## install missing Debian packages (benchmarks)
	@$(call install_missing,$(PKGS_BENCH))

DESTDIR ?=
PREFIX ?= /usr/local
install: all ## install programs, unit file and examples below $(DESTDIR)$(PREFIX)
	install -Dm755 build/aurora-scheduler $(DESTDIR)$(PREFIX)/sbin/aurora-scheduler
	install -Dm755 build/mesos-local $(DESTDIR)$(PREFIX)/bin/mesos-local
	install -Dm644 docs/examples/aurora-scheduler.service $(DESTDIR)/lib/systemd/system/aurora-scheduler.service
	sed -i 's|/usr/local|$(PREFIX)|' $(DESTDIR)/lib/systemd/system/aurora-scheduler.service
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/aurora-scheduler/ $(filter-out %.py,$(wildcard docs/examples/*))
dist: ## a source archive of HEAD in build/
	@mkdir -p build
	git archive --format=tar.gz --prefix=aurora-scheduler/ -o build/aurora-scheduler.tar.gz HEAD
clean: ## remove build/
	rm -rf build compile_commands.json
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /|/' | sort | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
