# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that integration tests run in the domains. A continuation of the Makefile:
#     make -f Makefile -f tests/programs/programs.mk BUILD=build test-programs

TEST_PROGRAMS := $(BUILD)/tests/puppet $(BUILD)/tests/flows $(BUILD)/tests/prefork $(BUILD)/tests/moments $(BUILD)/tests/rpcpipe \
                 $(BUILD)/tests/hostile $(BUILD)/tests/vsock $(BUILD)/tests/vsock_uv $(BUILD)/tests/libfaults.so $(BUILD)/bench \
                 $(BUILD)/unit/test_af_unix_facts

test-programs: $(TEST_PROGRAMS)
# The Makefile's recipe for this target calls make with this file too: here it has nothing more to do.
test-programs: SUBMAKE = @:

$(BUILD)/tests/puppet: $(BUILD)/obj/tests/programs/feed.o $(BUILD)/obj/tests/programs/uring.o
$(BUILD)/tests/puppet $(BUILD)/tests/flows: $(BUILD)/tests/%: $(BUILD)/obj/tests/programs/%.o \
        $(BUILD)/obj/tests/programs/pattern.o $(LIBIDC_A)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LIBIDC_LIBS) -o $@

$(BUILD)/tests/prefork $(BUILD)/tests/moments: $(BUILD)/tests/%: $(BUILD)/obj/tests/programs/%.o $(LIBIDC_A)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(LIBIDC_LIBS) -o $@

$(BUILD)/tests/rpcpipe: $(BUILD)/obj/tests/programs/rpcpipe.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ -o $@

# These know nothing of IDC: a library is preloaded into them. Therefore they are without a sanitizer, as that is.
$(BUILD)/tests/vsock_uv: $(call preload,tests/programs/vsock_uv.c)
	@mkdir -p $(@D)
	$(CC) $(filter-out $(SAN),$(LDFLAGS)) $^ -luv -o $@

$(BUILD)/tests/vsock: $(call preload,$(patsubst %,tests/programs/%.c,vsock vsock_server vsock_cases vsock_data vsock_uring uring vsock_process))
	@mkdir -p $(@D)
	$(CC) $(filter-out $(SAN),$(LDFLAGS)) $^ -lpthread -o $@

# Preloaded into the programs that are to meet a lack of resources.
$(BUILD)/tests/libfaults.so: $(call preload,tests/programs/faults.c)
	@mkdir -p $(@D)
	$(CC) -shared $(filter-out $(SAN),$(LDFLAGS)) $^ -ldl -o $@

# Speaks on the rings itself, with the daemon's own platforms and codec.
$(BUILD)/tests/hostile: $(patsubst %,$(BUILD)/obj/tests/programs/%.o,hostile hostile_lies hostile_deeds hostile_link) $(DAEMON_LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $^ $(DAEMON_LIBS) -o $@

# A Go program, static, where there is Go. All that Go keeps is below build/, and it fetches nothing.
GO_SRC := $(wildcard go/*.go go/go.mod tests/programs/go/*)
GO_ENV := GOFLAGS='-mod=mod -buildvcs=false' GOPROXY=off GOTOOLCHAIN=local GOPATH=$(CURDIR)/build/go GOCACHE=$(CURDIR)/build/go/cache
ifneq ($(shell command -v go),)
test-programs: $(BUILD)/tests/goprobe
endif
$(BUILD)/tests/goprobe: $(GO_SRC)
	@mkdir -p $(@D)
	cd tests/programs/go && $(GO_ENV) CGO_ENABLED=0 go build -ldflags='-s -w' -o $(abspath $@) .

.PHONY: test-programs
