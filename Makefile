# IDC. `make help` lists what can be made.
#
# Everything made goes below $(BUILD), so builds of different kinds stand side by side: the sanitizers' in build/asan, the
# fuzzers' in build/fuzz. Sources are found by wildcard: a new file needs no line here. V=1 shows whole commands.

VERSION := 0.1.0
BUILD   ?= build
PREFIX  ?= /usr/local
CC      := gcc
CFLAGS  ?= -O2 -g
SAN     ?=

# Findings of the compiler are errors where WERROR is set, as in lint and CI; not for whoever builds with a later compiler.
WERROR ?=
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings \
        -Wformat=2 -Wundef $(if $(WERROR),-Werror)
# The daemon reads what hostile domains write. The sanitizers bring checks of their own, which fortification would hide.
# Both kinds of jumps are checked where the processor can do it (CET).
CET     := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-fcf-protection)
HARDEN  := $(if $(SAN),,-fstack-protector-strong -fstack-clash-protection $(CET) -D_FORTIFY_SOURCE=2)
CPPFLAGS_ALL := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DIDC_VERSION='"$(VERSION)"' -Iinclude -I.
CFLAGS_ALL   := $(CPPFLAGS_ALL) $(WARN) $(HARDEN) $(CFLAGS) $(SAN) -MMD -MP
override LDFLAGS += -Wl,-z,relro,-z,now $(SAN)

all: ## the daemon, the library, the tools (default); installs nothing
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

# Python would write __pycache__ beside the sources.
export PYTHONDONTWRITEBYTECODE := 1

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- what is built from what ------------------------------------------------------------------------------------------------

COMMON_SRC := $(wildcard common/*.c)
LIBIDC_SRC := $(wildcard libidc/*.c)
VSOCK_SRC  := $(wildcard vsock/*.c)
CORE_SRC   := $(wildcard link_mgr/core/*.c)
LOCAL_SRC  := $(wildcard link_mgr/platform/*.c link_mgr/platform/local/*.c)
XEN_SRC    := $(wildcard link_mgr/platform/xen/*.c)
DAEMON_SRC := link_mgr/options.c $(foreach room,rpc hub program base,$(wildcard link_mgr/$(room)/*.c))
SETUP_SRC  := $(wildcard idc-setup/*.c)
POLICY_SRC := $(wildcard policy/*.c)
MEASURE_SRC := $(wildcard tools/measure/*.c)
PCAP_SRC   := $(wildcard tools/pcap/*.c)
TOOLS_SRC  := $(wildcard tools/*.c)
CHANNELS_SRC := $(wildcard channels/*.c)
BENCH_SRC  := $(wildcard tests/bench/*.c)
DEMO_SRC   := $(wildcard test_accept.c test_conn.c)

# The xen platform is built where libxen-dev is; XEN=no leaves it out.
XEN_ASKED := $(XEN)
XEN ?= $(if $(wildcard /usr/include/libxenvchan.h),yes,no)
ifeq ($(XEN),yes)
XEN_FLAGS := -DIDC_WITH_XEN
XEN_LIBS  := -lxenstore -lxenevtchn -lxengnttab
else
XEN_SRC :=
endif

DAEMON_LIBS := -levent_core -lmicrohttpd -lseccomp -lpthread $(XEN_LIBS)
LIBIDC_LIBS := -lpthread
# Tools that ask for the status read XML.
TOOLS_LIBS  := -lxmlrpc -lxmlrpc_util -levent_core -lmicrohttpd $(LIBIDC_LIBS)

comma := ,
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
pic = $(patsubst %.c,$(BUILD)/pic/%.o,$(1))

# Everything of the daemon but main: for link_mgr, the unit tests, the simulation and the fuzzers.
DAEMON_LIB := $(BUILD)/obj/liblink_mgr.a
# libidc with its internals in reach: for the idc tool and the unit tests.
LIBIDC_ALL := $(BUILD)/pic/libidc_all.a
LIBIDC_A   := $(BUILD)/libidc.a
# Measuring, for the idc tool and for bench.
MEASURE_LIB := $(BUILD)/obj/libmeasure.a
# Files of captures, for the idc tool and its tests.
PCAP_LIB := $(BUILD)/obj/libpcapng.a
# Ends, bridges and channels, for the idc tool and its tests; and the questions to the kernel that link_mgr asks too.
CHANNELS_LIB := $(BUILD)/obj/libchannels.a
# The policy files' language. link_mgr does not need it.
POLICY_LIB := $(BUILD)/obj/libpolicy.a
# All of idc-setup but main, for the unit tests and the fuzzers.
SETUP_LIB := $(BUILD)/obj/libsetup.a
LIBIDC_SO  := $(BUILD)/libidc.so.0
VSOCK_SO   := $(BUILD)/libidc-vsock.so

PROGRAMS := $(BUILD)/link_mgr $(BUILD)/idc-setup $(if $(TOOLS_SRC),$(BUILD)/idc) $(patsubst %.c,$(BUILD)/%,$(DEMO_SRC))
LIBRARIES := $(if $(LIBIDC_SRC),$(LIBIDC_A) $(BUILD)/libidc.so $(BUILD)/libidc.pc $(VSOCK_SO))

all: $(PROGRAMS) $(LIBRARIES)
ifeq ($(XEN_ASKED)$(XEN),no)
	@echo 'make: without the xen platform, which needs libxen-dev (make XEN=no says that it is not wanted)'
endif

# What xmlrpc-c has of our own in place of the C library's (below).
XMLRPC_OWN := malloc calloc realloc free strdup vasprintf regcomp
# What it must not have, since what these give would go to our free.
XMLRPC_OTHERS := strndup|asprintf|__asprintf_chk|reallocarray|aligned_alloc|posix_memalign|memalign|getline|getdelim|open_memstream|wcsdup

# Objects are made anew when the compiler's command line changes, and archives when a source file comes or goes: this file holds
# what they depend on, and is written only when that changes.
CONFIG := $(CC) $(CFLAGS_ALL) $(XEN_FLAGS) $(XMLRPC_OWN) | $(LDFLAGS) | $(LIBIDC_SRC) $(VSOCK_SRC) $(COMMON_SRC) $(DAEMON_SRC) \
          $(CORE_SRC) $(LOCAL_SRC) $(XEN_SRC) $(SETUP_SRC) $(TOOLS_SRC) \
          $(MEASURE_SRC) $(PCAP_SRC) $(BENCH_SRC) $(POLICY_SRC) $(CHANNELS_SRC)
$(BUILD)/config: export CONFIG_TEXT = $(CONFIG)
$(BUILD)/config: FORCE
	@printf '%s\n' "$$CONFIG_TEXT" | cmp -s - $@ || \
	    { scripts/bootstrap --check build && mkdir -p $(@D) && printf '%s\n' "$$CONFIG_TEXT" > $@; }

$(BUILD)/obj/%.o: %.c $(BUILD)/config
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(XEN_FLAGS) -c $< -o $@

# The library is for programs of any compiler, and its archive has names made local: so never with -flto.
$(BUILD)/pic/%.o: %.c $(BUILD)/config
	$(call say,CC pic,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -flto%,$(CFLAGS_ALL)) -fPIC -fvisibility=hidden -c $< -o $@

# xmlrpc-c's objects, which allocate by functions of our own (link_mgr/rpc/xml_memory.h).
XMLRPC_O  := $(BUILD)/obj/xmlrpc_own.o
# Debian 12's has a parser of its own, a copy of expat; Debian 13's takes expat itself.
XMLRPC_DIR = $(dir $(shell $(CC) -print-file-name=libxmlrpc.a))
XMLRPC_A   = $(addprefix $(XMLRPC_DIR)lib,xmlrpc.a xmlrpc_server.a xmlrpc_util.a \
                 $(if $(wildcard $(XMLRPC_DIR)libxmlrpc_xmlparse.a),xmlrpc_xmlparse.a xmlrpc_xmltok.a,expat.a))
$(XMLRPC_O): $(BUILD)/config
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -r -nostdlib -Wl,--whole-archive $(XMLRPC_A) -o $@.all
	$(Q)objcopy $(foreach name,$(XMLRPC_OWN),--redefine-sym $(name)=rpc_xml_$(name)) \
	    --redefine-sym __vasprintf_chk=rpc_xml_vasprintf_chk $@.all $@
	@rm -f $@.all
	@if nm -u $@ | grep -wE '$(XMLRPC_OTHERS)'; then rm -f $@; \
	    echo 'xmlrpc-c allocates memory by a function that is not replaced' >&2; exit 1; fi

$(DAEMON_LIB): $(call obj,$(DAEMON_SRC) $(CORE_SRC) $(LOCAL_SRC) $(XEN_SRC) $(COMMON_SRC)) $(XMLRPC_O)
$(LIBIDC_ALL): $(call pic,$(LIBIDC_SRC) $(COMMON_SRC))
$(MEASURE_LIB): $(call obj,$(MEASURE_SRC))
$(PCAP_LIB): $(call obj,$(PCAP_SRC))
$(POLICY_LIB): $(call obj,$(POLICY_SRC))
# What it has in common with link_mgr.
CHANNELS_BASE := $(addprefix link_mgr/base/,unix_diag.c closer.c numbers.c log.c clock.c)
$(CHANNELS_LIB): $(call obj,$(CHANNELS_SRC) $(CHANNELS_BASE))
$(SETUP_LIB): $(call obj,$(filter-out idc-setup/main.c,$(SETUP_SRC)))
$(DAEMON_LIB) $(LIBIDC_ALL) $(MEASURE_LIB) $(PCAP_LIB) $(POLICY_LIB) $(SETUP_LIB) $(CHANNELS_LIB):
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# One object in which only what idc.h declares is global: the library's own names are in nobody's way. It has no section groups,
# such as those of i386's thunks: a program that has the same group would drop ours, and the names in it are local now.
$(LIBIDC_A): $(call pic,$(LIBIDC_SRC) $(COMMON_SRC))
	$(call say,AR,$@)
	$(Q)$(CC) -r -nostdlib -Wl,--force-group-allocation $^ -o $(BUILD)/pic/libidc_one.o
	$(Q)objcopy --localize-hidden $(BUILD)/pic/libidc_one.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(BUILD)/pic/libidc_one.o

$(LIBIDC_SO): $(call pic,$(LIBIDC_SRC) $(COMMON_SRC)) libidc/libidc.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,$(@F) -Wl,--version-script=libidc/libidc.map -Wl,-z,defs \
	    $(filter %.o,$^) $(LIBIDC_LIBS) -o $@

$(BUILD)/libidc.so: $(LIBIDC_SO)
	@ln -sf $(<F) $@

# Preloaded into programs that know nothing of it: without a sanitizer, whose runtime would have to come first in the program.
preload = $(patsubst %.c,$(BUILD)/$(if $(SAN),preload,pic)/%.o,$(1))
$(BUILD)/preload/%.o: %.c $(BUILD)/config
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SAN),$(CFLAGS_ALL)) -fPIC -fvisibility=hidden -c $< -o $@

# What is linked into it calls these by their usual names, and must not get the library's own (vsock/next.c).
VSOCK_WRAPPED := socket socketpair bind connect getpeername getsockname getsockopt setsockopt recvmsg recv read send sendmsg write fcntl fcntl64 close
$(VSOCK_SO): $(call preload,$(VSOCK_SRC) $(LIBIDC_SRC) $(COMMON_SRC)) vsock/libidc-vsock.map
	$(call say,LD,$@)
	$(Q)$(CC) $(filter-out $(SAN),$(LDFLAGS)) -shared -Wl,-soname,$(@F) -Wl,--version-script=vsock/libidc-vsock.map -Wl,-z,defs \
	    $(addprefix -Wl$(comma)--wrap=,$(VSOCK_WRAPPED)) $(filter %.o,$^) $(LIBIDC_LIBS) -o $@

$(BUILD)/libidc.pc: libidc/libidc.pc.in $(BUILD)/config
	@$(fill) $< > $@

define link
$(call say,LD,$@)
$(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(1) -o $@
endef

$(BUILD)/link_mgr: $(call obj,link_mgr/main.c) $(DAEMON_LIB)
	$(call link,$(DAEMON_LIBS))

$(BUILD)/idc-setup: $(call obj,$(SETUP_SRC)) $(POLICY_LIB) $(DAEMON_LIB)
	$(call link,$(DAEMON_LIBS))

# The project's own programs carry the library in them: each is one file that runs from the build directory and can be
# copied into a guest.
$(BUILD)/idc: $(call obj,$(TOOLS_SRC)) $(CHANNELS_LIB) $(MEASURE_LIB) $(PCAP_LIB) $(LIBIDC_ALL)
	$(call link,$(TOOLS_LIBS))

$(BUILD)/bench: $(call obj,$(BENCH_SRC)) $(MEASURE_LIB) $(LIBIDC_ALL)
	$(call link,$(TOOLS_LIBS))

$(patsubst %.c,$(BUILD)/%,$(DEMO_SRC)): $(BUILD)/%: $(BUILD)/obj/%.o $(LIBIDC_A)
	$(call link,$(LIBIDC_LIBS))

# ---- test programs -----------------------------------------------------------------------------------------------------------

# tests/unit/test_NAME.c is a program; test_xen_*.c are about the xen platform.
UNIT_SRC := $(filter-out $(if $(filter yes,$(XEN)),,tests/unit/test_xen_%),$(wildcard tests/unit/test_*.c))
UNIT     := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
SIM_SRC  := $(wildcard tests/sim/*.c)
SIM      := $(if $(SIM_SRC),$(BUILD)/sim)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ     := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzzers/%,$(FUZZ_SRC))
REPLAYS  := $(patsubst tests/fuzz/%.c,$(BUILD)/replays/%,$(FUZZ_SRC))

# A side of a link by itself, for unit tests and fuzzers.
LONE_LIB := $(BUILD)/obj/liblone.a
$(LONE_LIB): $(call obj,$(wildcard tests/lone/*.c))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(LONE_LIB) $(SETUP_LIB) $(POLICY_LIB) $(CHANNELS_LIB) $(DAEMON_LIB) $(MEASURE_LIB) $(PCAP_LIB) $(LIBIDC_ALL)
	$(call link,$(DAEMON_LIBS) -lcheck -lsubunit -lm -lrt)

# Without the libraries: it is run on the kernels of Xen's guests too.
$(BUILD)/unit/test_af_unix_facts: $(BUILD)/obj/tests/unit/test_af_unix_facts.o
	$(call link)

# What a unit test asks about policy files.
POLICY_JUDGE := $(BUILD)/tests/policy_judge
$(POLICY_JUDGE): $(call obj,tests/programs/policy_judge.c) $(POLICY_LIB) $(DAEMON_LIB)
	$(call link)

$(BUILD)/sim: $(call obj,$(SIM_SRC)) $(DAEMON_LIB)
	$(call link,$(DAEMON_LIBS))

$(BUILD)/fuzzers/%: $(BUILD)/obj/tests/fuzz/%.o $(LONE_LIB) $(SETUP_LIB) $(POLICY_LIB) $(CHANNELS_LIB) $(DAEMON_LIB)
	$(call link,$(DAEMON_LIBS) -fsanitize=fuzzer)

$(BUILD)/replays/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(LONE_LIB) $(SETUP_LIB) $(POLICY_LIB) $(CHANNELS_LIB) $(DAEMON_LIB)
	$(call link,$(DAEMON_LIBS))

unit-programs: $(UNIT) $(POLICY_JUDGE)
sim-program: $(SIM)
fuzzers: $(FUZZ)
replays: $(REPLAYS)

# What integration tests run in the domains; rules in a file of its own, which the tests' runner uses too.
test-programs: all
ifneq ($(wildcard tests/programs/programs.mk),)
	$(SUBMAKE) -f Makefile -f tests/programs/programs.mk $@
endif

# ---- checks: each installs what it needs, and ends with the line "N passed, N failed" ---------------------------------------

# Each goes on in a make of its own: what was installed decides what there is to build, and what that make is told (BUILD, SAN)
# reaches every make below it, also one that a test calls. '+': make doesn't see $(MAKE) in a variable.
DEPS := build $(if $(filter no,$(XEN_ASKED)),,libxen)
BOOTSTRAP = @scripts/bootstrap $(DEPS)
SUBMAKE   = +@$(MAKE) --no-print-directory
# With as many jobs as there are processors, unless the caller says how many.
SUBMAKE_J = $(SUBMAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
CHECK     = @BUILD=$(BUILD) UNIT='$(UNIT)' scripts/check

demo: ## two domains, a connection between them, and one that is refused
	$(BOOTSTRAP)
	$(SUBMAKE_J) run-demo

check: ## unit tests, simulation, integration tests on the local platform (SIM_STEPS, SIM_SEED)
	$(BOOTSTRAP) test programs
	$(SUBMAKE_J) run-check

check-short: ## the same on a smaller scale
	$(BOOTSTRAP) test programs
	$(SUBMAKE_J) run-check-short

check-other: ## that in the other release of Debian, in a system of its own below ~/.cache; needs root
	@scripts/in-release other make WERROR=$(WERROR) check-short

check-compilers: ## all that is compiled, by each compiler of both releases and with other options; 32 bits; arm64 (COMPILERS=WORD: some; BRIEF=1: fewer tests)
	@BRIEF=$(BRIEF) scripts/check-compilers $(COMPILERS)

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
check-asan: ## the same under the address and undefined-behaviour sanitizers
	$(BOOTSTRAP) test programs
	$(SUBMAKE_J) BUILD=$(BUILD)/asan SAN='$(ASAN)' CFLAGS='-O1 -g' run-check-short

# TSan does not know fences (-Wtsan); those of the ring are between processes, where it doesn't look anyway.
TSAN := -fsanitize=thread -Wno-tsan
check-tsan: ## the unit tests of what has threads, under the thread sanitizer
	$(BOOTSTRAP) test
	$(SUBMAKE_J) BUILD=$(BUILD)/tsan SAN='$(TSAN)' CFLAGS='-O1 -g' run-check-tsan

check-valgrind: ## unit tests, and the daemon in some of the integration tests, under valgrind
	$(BOOTSTRAP) test valgrind
	$(SUBMAKE_J) run-check-valgrind

export XEN_TESTS
check-xen: ## the integration tests between domains of a real Xen, in QEMU (XEN_TESTS: words that pick some)
	$(BOOTSTRAP) test programs xen
	$(SUBMAKE_J) run-check-xen

export RECIPES
check-recipes: ## the programs of docs/recipes.md, with all that they need (RECIPES: words that pick some)
	$(BOOTSTRAP) test programs recipes
	$(SUBMAKE_J) all test-programs
	@tests/integration/run --no-build --build $(BUILD) $(addprefix -k ,$(or $(RECIPES),test_recipes test_two_hosts test_capture.Tshark test_metrics.Prometheus))

check-go: ## the Go package's tests, with the race detector, and Go programs between domains (BRIEF=1: some, without it)
	$(BOOTSTRAP) test programs go
	$(SUBMAKE_J) all test-programs
	@tests/unit/test_go.sh $(if $(BRIEF),,--race)
	@tests/integration/run --no-build --build $(BUILD) -k test_go.$(if $(BRIEF),Quick)

check-vsock-kernel: ## the Linux kernel's own tests of AF_VSOCK over IDC; fetches them, 170 MB (KERNEL_TREE: a source that is here)
	$(BOOTSTRAP) test
	$(SUBMAKE) all test-programs
	@tests/vsock/kernel-tests --build $(BUILD) $(if $(KERNEL_TREE),--source '$(KERNEL_TREE)')

demo-xen: ## the demo between two guests of a real Xen, in QEMU
	$(BOOTSTRAP) xen
	$(SUBMAKE_J) run-demo-xen

FUZZ_SECONDS ?= 20
fuzz: ## the fuzzers, each for FUZZ_SECONDS
	$(BOOTSTRAP) fuzz
	$(SUBMAKE_J) BUILD=$(BUILD)/fuzz CC=clang WARN=-w CFLAGS='-O1 -g' \
	    SAN='$(ASAN) -fsanitize=fuzzer-no-link' run-fuzz

COVERAGE := --coverage -fprofile-update=atomic
coverage: ## how much of the code all these tests have run, by directory (scripts/coverage has more)
	$(BOOTSTRAP) test programs
	$(SUBMAKE_J) BUILD=$(BUILD)/coverage SAN='$(COVERAGE)' CFLAGS='-O0 -g' run-coverage

SECONDS ?= 3600
soak: ## programs of several users between three link_mgrs that are killed, stopped and starved, for SECONDS (SOAK='--seed N')
	$(BOOTSTRAP) test programs
	$(SUBMAKE_J) all test-programs
	@tests/soak/run --build $(BUILD) --seconds $(SECONDS) $(SOAK)

model: ## the models of the protocol, checked by spin (MODEL=--large: in 20 minutes)
	$(BOOTSTRAP) model
	@BUILD=$(BUILD) tests/model/run $(MODEL)

run-demo: all
	@BUILD=$(BUILD) scripts/demo
run-demo-xen: all
	@BUILD=$(BUILD) scripts/demo-xen
run-check: all unit-programs sim-program test-programs
	$(CHECK)
run-check-short: all unit-programs sim-program test-programs
	$(CHECK) --short
# The core has no threads, and link_mgr one, so that the daemon in integration tests has nothing to show here.
run-check-tsan: UNIT := $(filter-out $(BUILD)/unit/test_core_parts $(BUILD)/unit/test_grid $(BUILD)/unit/test_pace \
                          $(BUILD)/unit/test_policy $(BUILD)/unit/test_rules_agree $(BUILD)/unit/test_wire,$(UNIT))
run-check-tsan: all unit-programs
	$(CHECK) --short unit
# Valgrind makes system calls of its own, reports buffers that a test gives on purpose though they are not there, and has
# a limit of descriptors that no program can change as it likes.
run-check-valgrind: UNIT := $(filter-out $(BUILD)/unit/test_confine $(BUILD)/unit/test_libidc_misuse \
                              $(BUILD)/unit/test_numbers,$(UNIT))
run-check-valgrind: all unit-programs test-programs
	$(CHECK) --short --valgrind unit integration
# What is counted by a program that runs as another user goes into files that root has made.
run-coverage: all unit-programs sim-program test-programs replays
	@find $(BUILD) -name '*.gcda' -delete
	@umask 0; BUILD=$(BUILD) UNIT='$(UNIT)' scripts/check --short unit sim integration; :
	@umask 0; for fuzzer in $(patsubst $(BUILD)/replays/%,%,$(REPLAYS)); do \
	    $(BUILD)/replays/$$fuzzer tests/fuzz/corpus/$$fuzzer $(BUILD)/../fuzz/corpus/$$fuzzer > /dev/null 2>&1 || \
	        { echo "$$fuzzer: an input fails"; exit 1; }; done
	@scripts/coverage --build $(BUILD)
run-check-xen: all test-programs
	$(CHECK) xen
run-fuzz: fuzzers
	$(CHECK) --fuzz-seconds $(FUZZ_SECONDS) fuzz

# BENCH: more options of tests/bench/run or run-xen, -k WORD or --json FILE for example.
bench: ## IDC measured beside what one would use in its place; two to five minutes (QUICK=1: one)
	$(BOOTSTRAP) test
	$(SUBMAKE_J) all $(BUILD)/bench
	@tests/bench/run --build $(BUILD) $(if $(QUICK),--quick) $(BENCH)

bench-attacks: ## what one user notices of another one who attacks link_mgr; three minutes, needs root (QUICK=1: one)
	$(BOOTSTRAP) test
	$(SUBMAKE_J) all $(BUILD)/bench
	@tests/bench/run-attacks --build $(BUILD) $(if $(QUICK),--quick) $(BENCH)

bench-xen: ## the same between two guests of a real Xen, counted in instructions, in QEMU; a quarter of an hour (BENCH='-k WORD': some)
	$(BOOTSTRAP) xen
	$(SUBMAKE_J) all bench-xen-programs
	@tests/bench/run-xen --build $(BUILD) $(BENCH)

bench-xen-programs:
	$(SUBMAKE) -f Makefile -f tests/bench/xen/programs.mk $@

# ---- lint: findings are errors -----------------------------------------------------------------------------------------------

C_DIRS      := common libidc vsock link_mgr policy idc-setup channels tools tests
LINT_C      := $(shell find $(C_DIRS) -name '*.c' 2>/dev/null | sort) $(DEMO_SRC)
LINT_H      := $(shell find $(C_DIRS) include -name '*.h' 2>/dev/null)
LINT_SCRIPT := $(shell git ls-files -co --exclude-standard -- scripts tests python .ci debian dist 2>/dev/null)
LINT_SH     := $(shell grep -lE '^\#!.*[ /](ba|a)?sh$$' $(LINT_SCRIPT) /dev/null)
LINT_PY     := $(shell grep -lE '^\#!.*[ /]python3$$' $(LINT_SCRIPT) /dev/null) $(filter %.py,$(LINT_SCRIPT))
TIDY        := $(patsubst %.c,$(BUILD)/lint/%.tidy,$(LINT_C))

lint: ## the compiler's warnings, clang-tidy, cppcheck, shellcheck, pyflakes, mypy, clang-format, the length of lines, the rooms of link_mgr, the core without a C library
	$(BOOTSTRAP) test lint
	$(SUBMAKE_J) --output-sync=target -k lint-c lint-cppcheck lint-sh lint-py lint-types \
	    lint-format lint-lines lint-names lint-rooms lint-prose lint-freestanding lint-warnings

lint-c: $(TIDY)

$(BUILD)/lint/%.tidy: %.c $(LINT_H) .clang-tidy $(BUILD)/config
	$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(CPPFLAGS_ALL) $(XEN_FLAGS) > $@.log 2>&1 && touch $@ || \
	    { grep -v 'warnings\? generated\|Suppressed .* warnings\|Use -header-filter' $@.log; exit 1; }

# The compiler's own, in a build of its own; unless every build is so (WERROR).
lint-warnings:
	$(if $(WERROR),,$(SUBMAKE) BUILD=$(BUILD)/lint/build WERROR=1 all unit-programs sim-program test-programs)

lint-cppcheck: scripts/cppcheck.suppressions
	$(call say,CPPCHECK)
	$(Q)cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --inline-suppr --std=c11 \
	    --suppressions-list=$< -DIDC_WITH_XEN -Iinclude -I. $(wildcard $(C_DIRS)) $(DEMO_SRC) \
	    $(addprefix --include=,$(firstword $(wildcard /usr/include/sys/queue.h /usr/include/*/sys/queue.h)))

lint-sh:
	$(call say,SHELL,$(words $(LINT_SH)) scripts)
	$(Q)shellcheck -x $(LINT_SH)

lint-py:
	$(call say,PYTHON,$(words $(LINT_PY)) files)
	$(Q)$(if $(LINT_PY),pyflakes3 $(LINT_PY))

# The Python package says that it has types.
lint-types:
	$(call say,TYPES,python/idc)
	$(Q)mypy --strict --no-error-summary --cache-dir $(BUILD)/lint/mypy python/idc

# Other versions of clang-format differ in small things, so only version 14 counts.
CLANG_FORMAT = $(shell for name in clang-format-14 clang-format; do \
    $$name --version 2>/dev/null | grep -q 'version 14\.' && echo $$name && break; done)
lint-format:
	$(call say,FORMAT,$(words $(LINT_C) $(LINT_H)) files)
	$(Q)$(if $(CLANG_FORMAT),$(CLANG_FORMAT) --dry-run -Werror $(LINT_C) $(LINT_H), \
	    echo 'lint-format: not checked, there is no clang-format 14 on this machine (Debian 12 has it)')

# What clang-format leaves as it is.
lint-lines:
	$(call say,LINES,$(words $(LINT_C) $(LINT_H)) files)
	$(Q)scripts/lint-lines $(LINT_C) $(LINT_H)

# No static function is called by one word alone.
lint-names:
	$(call say,NAMES,$(words $(LINT_C) $(LINT_H)) files)
	$(Q)scripts/lint-names $(LINT_C) $(LINT_H)

# Which room of link_mgr/ may know which.
lint-rooms:
	$(call say,ROOMS,link_mgr)
	$(Q)scripts/lint-rooms

# The core without a C library: what it needs is in needs.h, nothing else. The simulation is run on it, to see that it works.
FREE_DIR := link_mgr/core/freestanding
FREE_SRC := $(CORE_SRC) common/glob.c common/ring.c common/service_name.c
FREE_OBJ := $(patsubst %.c,$(BUILD)/lint/freestanding/%.o,$(FREE_SRC))
FREE_CFLAGS := -std=gnu11 -O2 -g -ffreestanding -nostdinc -isystem $(FREE_DIR) -Iinclude -I. -fno-pie -mgeneral-regs-only

lint-freestanding: $(BUILD)/lint/freestanding/sim
	$(call say,SIM,$<)
	$(Q)$< --steps 20000 --seed 1 > $<.log 2>&1 || { cat $<.log; exit 1; }

$(BUILD)/lint/freestanding/%.o: %.c $(BUILD)/config
	$(call say,CC free,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FREE_CFLAGS) $(WARN) -MD -MP -c $< -o $@

$(BUILD)/lint/freestanding/core.o: $(FREE_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) -r -nostdlib -no-pie $^ -o $@
	$(Q)for name in $$(nm -u $@ | sed 's/^ *U //'); do \
	    echo '#include "needs.h"' | $(CC) $(FREE_CFLAGS) -E -P -x c - | tr '\n' ' ' | \
	        sed 's/__attribute__ *((([^()]*([^()]*)[^()]*))//g' | grep -qE "[ *]$$name *(\(|\[|;)" || \
	        { echo "the core needs $$name, which is not in $(FREE_DIR)/needs.h"; exit 1; }; done

# What the archive has of the core too is not taken from it.
$(BUILD)/lint/freestanding/sim: $(BUILD)/lint/freestanding/core.o $(call obj,$(SIM_SRC)) $(DAEMON_LIB)
	$(call link,-no-pie $(DAEMON_LIBS))

LINT_MD := README.md CONTRIBUTING.md $(wildcard docs/*.md)
lint-prose:
	$(call say,PROSE,$(words $(LINT_MD)) files)
	$(Q)scripts/lint-lines $(LINT_MD)

# ---- man pages, installation ---------------------------------------------------------------------------------------------------

# docs/NAME.SECTION.md becomes NAME.SECTION. Without pandoc there are none.
MAN_SRC := $(wildcard docs/*.[1-8].md)
MAN     := $(if $(shell command -v pandoc),$(patsubst docs/%.md,$(BUILD)/man/%,$(MAN_SRC)))

man: ## the man pages, by pandoc
	@scripts/bootstrap docs
	$(SUBMAKE) man-pages

man-pages: $(MAN)

$(BUILD)/man/%: docs/%.md
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)pandoc --standalone --from markdown-smart --to man -o $@ $<

# Below /usr libraries are where Debian has them, by architecture; LIBDIR=DIR is another place.
MULTIARCH := $(if $(filter /usr,$(PREFIX)),$(shell $(CC) -print-multiarch))
LIBDIR    ?= $(PREFIX)/lib$(addprefix /,$(MULTIARCH))
DOCDIR    ?= $(PREFIX)/share/doc/idc
# Where Debian's Python looks: below /usr there is one directory for all its versions, elsewhere one for each.
PYTHON    ?= $(firstword $(wildcard /usr/bin/python3) python3)
PYTHONDIR ?= $(PREFIX)/lib/python3$(if $(filter-out /usr,$(PREFIX)),$(shell $(PYTHON) -c 'import sys; print(".%d" % sys.version_info[1])' \
                 2>/dev/null))/dist-packages
fill = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
           -e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${exec_prefix}/%,$(LIBDIR))|'

# Where things go. Quoted in the recipes, because DESTDIR may hold blanks. What idc run preloads is found from idc.
TO_BIN  := $(DESTDIR)$(PREFIX)/bin
TO_SBIN := $(DESTDIR)$(PREFIX)/sbin
TO_LIB  := $(DESTDIR)$(LIBDIR)
TO_OWN  := $(DESTDIR)$(PREFIX)/lib/idc
TO_INC  := $(DESTDIR)$(PREFIX)/include
TO_MAN  := $(DESTDIR)$(PREFIX)/share/man
TO_DOC  := $(DESTDIR)$(DOCDIR)
TO_UNIT := $(DESTDIR)$(PREFIX)/lib/systemd/system
TO_USER := $(DESTDIR)$(PREFIX)/lib/sysusers.d
TO_UDEV := $(DESTDIR)$(PREFIX)/lib/udev/rules.d
TO_BASH := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
# Debian's zsh reads vendors' functions below /usr; everything else is in site-functions.
TO_ZSH  := $(DESTDIR)$(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
TO_PY   := $(DESTDIR)$(PYTHONDIR)/idc
TO_MODS := $(DESTDIR)$(PREFIX)/lib/modprobe.d
# As they lie in the sources, so that their links work.
DOC_TOP := README.md CONTRIBUTING.md LICENSE $(DEMO_SRC)
DOC_SUB := $(wildcard docs/*.md LICENSES/*)

# Modes are told, so that umask has no say in them.
install: all man-pages ## into $(DESTDIR)$(PREFIX): programs, library, header, Python package, man pages, documents, systemd unit (LIBDIR=, PYTHONDIR=)
	install -d "$(TO_BIN)" "$(TO_SBIN)" "$(TO_LIB)/pkgconfig" "$(TO_OWN)" "$(TO_INC)" "$(TO_UNIT)" "$(TO_USER)" "$(TO_UDEV)" \
	    "$(TO_BASH)" "$(TO_ZSH)" "$(TO_PY)" "$(TO_MODS)" "$(TO_DOC)/docs" "$(TO_DOC)/LICENSES"
	install -m 755 $(BUILD)/link_mgr $(BUILD)/idc-setup "$(TO_SBIN)"
	install -m 755 $(BUILD)/idc "$(TO_BIN)"
	install -m 755 $(BUILD)/test_accept $(BUILD)/test_conn "$(TO_OWN)"
	install -m 644 $(VSOCK_SO) "$(TO_OWN)"
	install -m 644 $(LIBIDC_A) "$(TO_LIB)"
	install -m 755 $(LIBIDC_SO) "$(TO_LIB)/libidc.so.$(VERSION)"
	ln -sf libidc.so.$(VERSION) "$(TO_LIB)/libidc.so.0"
	ln -sf libidc.so.0 "$(TO_LIB)/libidc.so"
	install -m 644 include/idc.h "$(TO_INC)"
	$(fill) libidc/libidc.pc.in | install -m 644 /dev/stdin "$(TO_LIB)/pkgconfig/libidc.pc"
	$(fill) dist/link_mgr.service.in | install -m 644 /dev/stdin "$(TO_UNIT)/link_mgr.service"
	install -m 644 dist/link_mgr.socket "$(TO_UNIT)"
	$(fill) dist/idc-policy.service.in | install -m 644 /dev/stdin "$(TO_UNIT)/idc-policy.service"
	$(fill) dist/idc-channels.service.in | install -m 644 /dev/stdin "$(TO_UNIT)/idc-channels.service"
	$(fill) dist/idc-serve@.service.in | install -m 644 /dev/stdin "$(TO_UNIT)/idc-serve@.service"
	install -m 644 dist/idc.sysusers "$(TO_USER)/idc.conf"
	install -m 644 dist/idc.rules "$(TO_UDEV)/60-idc.rules"
	install -m 644 dist/idc.bash "$(TO_BASH)/idc"
	install -m 644 dist/_idc "$(TO_ZSH)"
	install -m 644 python/idc/*.py python/idc/py.typed "$(TO_PY)"
	install -m 644 dist/idc.modprobe "$(TO_MODS)/idc.conf"
	install -m 755 dist/libvirt-hook "$(TO_OWN)"
	install -m 644 $(DOC_TOP) "$(TO_DOC)"
	@for file in $(DOC_SUB); do install -m 644 $$file "$(TO_DOC)/$$file" || exit 1; done
	@for page in $(MAN); do install -v -D -m 644 $$page "$(TO_MAN)/man$${page##*.}/$${page##*/}" || exit 1; done
	$(if $(MAN),echo '.so man1/test_conn.1' | install -m 644 /dev/stdin "$(TO_MAN)/man1/test_accept.1")
	@$(if $(MAN),,echo 'make: NO MAN PAGES were installed: pandoc, which makes them, is not there (apt-get install pandoc)' >&2)

uninstall: ## remove what install put there
	rm -f "$(TO_SBIN)/link_mgr" "$(TO_SBIN)/idc-setup" "$(TO_BIN)/idc" "$(TO_INC)/idc.h"
	rm -f "$(TO_LIB)/libidc.a" "$(TO_LIB)/libidc.so" "$(TO_LIB)/libidc.so.0" "$(TO_LIB)/libidc.so.$(VERSION)"
	rm -f "$(TO_LIB)/pkgconfig/libidc.pc" "$(TO_UNIT)/link_mgr.service" "$(TO_UNIT)/link_mgr.socket" "$(TO_UNIT)/idc-policy.service"
	rm -f "$(TO_UNIT)/idc-channels.service" "$(TO_UNIT)/idc-serve@.service"
	rm -f "$(TO_USER)/idc.conf" "$(TO_UDEV)/60-idc.rules" "$(TO_BASH)/idc" "$(TO_ZSH)/_idc" "$(TO_MODS)/idc.conf"
	rm -rf "$(TO_OWN)" "$(TO_DOC)" "$(TO_PY)"
	@for page in test_accept.1 $(patsubst docs/%.md,%,$(MAN_SRC)); do rm -f "$(TO_MAN)/man$${page##*.}/$$page"; done

# ---- Debian packages -------------------------------------------------------------------------------------------------------------

deb: ## packages for the machine's own release of Debian, into build/deb; without root
	$(BOOTSTRAP) docs deb
	@scripts/make-deb --to $(BUILD)/deb

check-deb: ## these packages: the same bytes each time, lintian, installed, upgraded, removed and purged in a minimal system; needs root
	$(BOOTSTRAP) docs deb release
	@tests/packages/run --build $(BUILD)

clean: ## remove everything that was made
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name what; do \
	    printf '%s\n' "$$what" | fold -s -w 52 | sed -e "1s/^/$$(printf '  make %-19s ' "$$name")/" \
	        -e '2,$$s/^/                           /' -e 's/ *$$//'; done

# Which headers each object was made from, as the compiler found.
-include $(shell find $(BUILD)/obj $(BUILD)/pic $(BUILD)/preload $(BUILD)/lint/freestanding -name '*.d' -type f 2>/dev/null)

FORCE:
.PHONY: bench bench-attacks bench-xen bench-xen-programs
.PHONY: FORCE all help unit-programs sim-program test-programs fuzzers lint lint-c lint-cppcheck lint-freestanding lint-sh lint-py lint-types \
        lint-format lint-lines lint-names lint-rooms lint-prose lint-warnings \
        man man-pages install uninstall deb check-deb clean demo demo-xen check check-asan check-tsan check-valgrind check-xen \
        check-vsock-kernel check-recipes check-go \
        fuzz model coverage run-coverage replays soak \
        check-short check-other check-compilers \
        run-demo run-demo-xen run-check run-check-short run-check-tsan run-check-valgrind run-check-xen run-fuzz
