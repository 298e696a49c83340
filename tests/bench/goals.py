# SPDX-License-Identifier: GPL-2.0-or-later
"""What IDC is to reach, on the local platform and on real Xen, and whether it did, beside floors that are measured in the same run.

A Goal: what is measured, its value, its limit (at least or at most), and a remark that tells where the limit or the floor comes
from. Goals of which a part was not measured are left out. Nothing fails when one is missed: figures are for reading.
"""

import collections

import table

KIB = 1024
Goal = collections.namedtuple("Goal", "title unit value limit least remark")


class Figures:
    """Medians of what was measured; KeyError where it was not."""

    def __init__(self, results):
        self.middle = table.medians(results)

    def get(self, one, transport, figure):
        return self.middle[table.key_of(one), transport][figure]

    def speed(self, size, transport):
        return self.get(table.THROUGHPUT[size, 1], transport, "bytes_per_second") / 1e6

    def round_trip(self, transport):
        return self.get(table.ROUND_TRIP[1], transport, "p50_ns") / 1e3

    def cycle(self, transport):
        return self.get(table.CONNECT, transport, "instructions") / 1e3

    def memory(self, count):
        return self.get(table.MEMORY[count], "idc", "anonymous_bytes") / 2

    def beside(self, count, figure):
        return self.get(table.IDLE[count], "idc", figure) / 1e3


# Generators of functions that make one Goal each: what was not measured shows only there.

def _everywhere(of, title, figure):
    """title, figure: of the work for a round trip beside idle connections."""
    yield lambda: Goal("64 bytes there and back under load, p99", "us", of.get(table.LOADED, "idc", "p99_ns") / 1e3,
                       3 * of.get(table.LOADED, "idc", "idle_p50_ns") / 1e3, False, "three times the median without load")
    yield lambda: Goal("Jain's index of 16 streams", "", of.get(table.FAIRNESS, "idc", "jain"), 0.99, True, "")
    for count in table.MEMORY:
        yield lambda count=count: Goal("memory of one of %d idle connections" % count, "bytes in each link_mgr", of.memory(count),
                                       4096, False, "")
    for count in (1000, 10000):
        yield lambda count=count: Goal(title % count, "us", of.beside(count, figure), 1.05 * of.beside(10, figure), False,
                                       "as beside 10, within 5 %")
    yield lambda: Goal("system calls of two idle link_mgr", "", of.get(table.QUIET, "idc", "system_calls"), 0, False, "")


def _local(of):
    yield lambda: Goal("writes of 64 KiB", "MB/s", of.speed(64 * KIB, "idc"), of.speed(64 * KIB, "tcp"), True,
                       "TCP's, which copies each byte twice; here it is four times")
    yield lambda: Goal("writes of 4 KiB", "MB/s", of.speed(4 * KIB, "idc"), 1250, True, "10 Gbit/s")
    yield from _everywhere(of, "CPU time between for a round trip beside %d idle connections", "cpu_between_ns")


def _xen(of):
    yield lambda: Goal("writes of 64 KiB", "MB/s", of.speed(64 * KIB, "idc"), 0.9 * of.speed(64 * KIB, "socketpair") / 2, True,
                       "0.9 of half a socket pair's %.0f: two hops over sockets" % of.speed(64 * KIB, "socketpair"))
    yield lambda: Goal("writes of 4 KiB", "MB/s", of.speed(4 * KIB, "idc"), of.speed(4 * KIB, "unix") / 2, True,
                       "half of AF_UNIX's %.0f" % of.speed(4 * KIB, "unix"))
    yield lambda: Goal("round trip of 1 byte", "us", of.round_trip("idc"), of.round_trip("proxy"), False,
                       "vchan-socket-proxy's; two hops of AF_UNIX and one of vchan: %.0f" %
                       (2 * of.round_trip("unix") + of.round_trip("vchan")))
    yield lambda: Goal("connect, exchange, close", "us of instructions", of.cycle("idc"), 350, False,
                       "vsock's: %.0f; a vchan for each: %.0f" % (of.cycle("vsock"), of.cycle("vchan-64k")))
    yield from _everywhere(of, "round trip beside %d idle connections", "p50_ns")


_PLATFORMS = {"local": _local, "xen": _xen}


def evaluate(results, platform):
    found = []
    for goal in _PLATFORMS[platform](Figures(results)):
        try:
            found.append(goal())
        except KeyError:
            continue  # not measured
    return found


def is_met(goal):
    return goal.value >= goal.limit if goal.least else goal.value <= goal.limit


def render(results, platform):
    """Text; "" where there is none of it."""
    lines = [[goal.title, (table.number(goal.value) + " " + goal.unit).rstrip(),
              ("at least " if goal.least else "at most ") + table.number(goal.limit), "met" if is_met(goal) else "MISSED",
              goal.remark] for goal in evaluate(results, platform)]
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    texts = ["  " + "   ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines]
    return "\n".join(["Goals"] + [text.rstrip() for text in texts] + [""])


def as_data(results, platform):
    return [dict(goal._asdict(), met=is_met(goal)) for goal in evaluate(results, platform)]
