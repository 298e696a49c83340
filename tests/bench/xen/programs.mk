# SPDX-License-Identifier: GPL-2.0-or-later
# What tests/bench/run-xen runs in the guests. A continuation of the Makefile:
#     make -f Makefile -f tests/bench/xen/programs.mk BUILD=build bench-xen-programs

BENCH_VCHAN := $(BUILD)/bench-vchan
LARGE_RINGS := $(BUILD)/large_rings.so

bench-xen-programs: $(BENCH_VCHAN) $(LARGE_RINGS)
# The Makefile's recipe for this target calls make with this file too: here it has nothing more to do.
bench-xen-programs: SUBMAKE = @:

# The bench program, with libxenvchan in it, whose calls of libxenevtchn are counted. The other Xen libraries are shared:
# a watch of a static libxenstore waits for ever.
$(BENCH_VCHAN): $(call obj,$(BENCH_SRC) tests/bench/xen/vchan.c) $(MEASURE_LIB) $(LIBIDC_ALL)
	$(call link,-Wl$(comma)--wrap=xenevtchn_notify -Wl$(comma)--wrap=xenevtchn_pending -l:libxenvchan.a -lxenstore \
	    -lxenevtchn -lxengnttab $(TOOLS_LIBS))

$(LARGE_RINGS): $(call preload,tests/bench/xen/large_rings.c)
	$(call say,LD,$@)
	$(Q)$(CC) $(filter-out $(SAN),$(LDFLAGS)) -shared $(filter %.o,$^) -o $@

.PHONY: bench-xen-programs
