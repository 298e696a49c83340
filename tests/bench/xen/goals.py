# SPDX-License-Identifier: GPL-2.0-or-later
"""What IDC is to reach on real Xen, and whether it did, beside floors that are measured in the same run.

A Goal: what is measured, its value, its limit (at least or at most), and a remark that tells where the limit or the floor comes
from. Goals of which a part was not measured are left out. Nothing fails when one is missed: figures are for reading.
"""

import collections

import table

KIB = 1024
Goal = collections.namedtuple("Goal", "title unit value limit least remark")


def _goals(get):
    """get(case, transport, figure) returns a median or raises KeyError; each entry is tried by itself."""
    def speed(size, transport):
        return get(table.THROUGHPUT[size, 1], transport, "bytes_per_second") / 1e6

    def round_trip(transport):
        return get(table.ROUND_TRIP[1], transport, "p50_ns") / 1e3

    def cycle(transport):
        return get(table.CONNECT, transport, "instructions") / 1e3

    def memory(count):
        return get(table.MEMORY[count], "idc", "anonymous_bytes") / 2

    def event(count):
        return get(table.IDLE[count], "idc", "p50_ns") / 1e3

    yield lambda: Goal("writes of 64 KiB", "MB/s", speed(64 * KIB, "idc"), 0.9 * speed(64 * KIB, "socketpair") / 2, True,
                       "0.9 of half a socket pair's %.0f: two hops over sockets" % speed(64 * KIB, "socketpair"))
    yield lambda: Goal("writes of 4 KiB", "MB/s", speed(4 * KIB, "idc"), speed(4 * KIB, "unix") / 2, True,
                       "half of AF_UNIX's %.0f" % speed(4 * KIB, "unix"))
    yield lambda: Goal("round trip of 1 byte", "us", round_trip("idc"), round_trip("proxy"), False,
                       "vchan-socket-proxy's; two hops of AF_UNIX and one of vchan: %.0f" %
                       (2 * round_trip("unix") + round_trip("vchan")))
    yield lambda: Goal("connect, exchange, close", "us of instructions", cycle("idc"), 350, False,
                       "vsock's: %.0f; a vchan for each: %.0f" % (cycle("vsock"), cycle("vchan-64k")))
    yield lambda: Goal("64 bytes there and back under load, p99", "us", get(table.LOADED, "idc", "p99_ns") / 1e3,
                       3 * get(table.LOADED, "idc", "idle_p50_ns") / 1e3, False, "three times the median without load")
    yield lambda: Goal("Jain's index of 16 streams", "", get(table.FAIRNESS, "idc", "jain"), 0.99, True, "")
    for count in table.MEMORY:
        yield lambda count=count: Goal("memory of one of %d idle connections" % count, "bytes in each link_mgr", memory(count),
                                       4096, False, "")
    for count in (1000, 10000):
        yield lambda count=count: Goal("round trip beside %d idle connections" % count, "us", event(count), 1.05 * event(10),
                                       False, "as beside 10, within 5 %")
    yield lambda: Goal("system calls of two idle link_mgr", "", get(table.QUIET, "idc", "system_calls"), 0, False, "")


def evaluate(results):
    middle = table.medians(results)

    def get(one, transport, figure):
        return middle[table.key_of(one), transport][figure]

    found = []
    for goal in _goals(get):
        try:
            found.append(goal())
        except KeyError:
            continue  # not measured
    return found


def is_met(goal):
    return goal.value >= goal.limit if goal.least else goal.value <= goal.limit


def render(results):
    lines = [[goal.title, (table.number(goal.value) + " " + goal.unit).rstrip(),
              ("at least " if goal.least else "at most ") + table.number(goal.limit), "met" if is_met(goal) else "MISSED",
              goal.remark] for goal in evaluate(results)]
    if not lines:
        return []
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    texts = ["  " + "   ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines]
    return ["Goals"] + [text.rstrip() for text in texts] + [""]


def as_data(results):
    return [dict(goal._asdict(), met=is_met(goal)) for goal in evaluate(results)]
