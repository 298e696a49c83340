# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured, and how it is shown: for tests/bench/run (local) and for real Xen.

A Case is one test of the bench program with its parameters; CASES are all. Results are the dicts that `bench run` prints (a list of
them, with several of each case: medians are taken), completed by what a runner counts besides, under the same keys:

    test, transport, size, streams, idle     which case, over what
    any other key                            a figure

A Group is one table: rows of figures, a column for each transport that has any. Beside each figure of another transport stands
how IDC compares with it, in parentheses: 2.00 is twice as good, 0.50 half as good, whether more or less of it is better.
"""

import collections
import statistics

Case = collections.namedtuple("Case", "test size streams idle only")
Row = collections.namedtuple("Row", "label case figure scale better")
Group = collections.namedtuple("Group", "title unit rows note")

KIB = 1024
IDC_ONLY = ("idc",)
# On real Xen only (tests/bench/xen/peers.py). The proxies take one connection at a time.
VCHANS, PROXIES = ("vchan", "vchan-64k"), ("proxy-256k", "proxy")
NETWORKS = ("net-tcp", "idc-dom0", "net-tcp-dom0")
MESSAGES = ("idc", "idc-seqpacket", "idc-vsock", "unix", "socketpair", "tcp", "vsock", "chain") + VCHANS + PROXIES + NETWORKS
# Those in which a connection is a descriptor, and there can be several to one server.
SOCKETS = ("idc", "idc-vsock", "unix", "socketpair", "tcp", "vsock", "chain") + NETWORKS
CONNECTING = ("idc", "idc-vsock", "unix", "tcp", "vsock", "chain") + VCHANS + NETWORKS


def case(test, size=64, streams=1, idle=0, only=None):
    return Case(test, size, streams, idle, only)


SIZES = [(64, "64 B"), (4 * KIB, "4 KiB"), (64 * KIB, "64 KiB"), (1024 * KIB, "1 MiB")]
THROUGHPUT = {(size, streams): case("throughput", size, streams, only=SOCKETS + VCHANS + (PROXIES if streams == 1 else ()))
              for size, _ in SIZES for streams in (1, 16)}
ROUND_TRIP = {size: case("round_trip", size, only=MESSAGES) for size in (1, 64, 4096)}
CONNECT = case("connect", only=CONNECTING)
LOADED = case("loaded", only=SOCKETS + VCHANS)
FAIRNESS = case("fairness", 64 * KIB, 16, only=SOCKETS + VCHANS)
IDLE = {count: case("round_trip", 1, idle=count, only=IDC_ONLY) for count in (10, 1000, 10000)}
MEMORY = {count: case("memory", 64, 1, count, only=IDC_ONLY + ("chain",) * (count == 1000))
          for count in (1000, 10000)}
# What the daemons do when there is nothing to do; no test of the bench program.
QUIET = case("quiet", 0, only=IDC_ONLY)

CASES = (list(THROUGHPUT.values()) + list(ROUND_TRIP.values()) + [CONNECT, LOADED, FAIRNESS] + list(IDLE.values()) +
         list(MEMORY.values()))


def rows(cases, labels, figure, scale, better):
    return [Row(label, one, figure, scale, better) for one, label in zip(cases, labels)]


def both_ends(figure):
    """Sent and received, as the link_mgr of the client's domain counts them: it sees all of the link."""
    return lambda result: result[figure + "_sent"] + result[figure + "_received"] if figure + "_sent" in result else None


def _streams_label(size, streams):
    name = dict(SIZES)[size]
    return "writes of %s, %s" % (name, "one connection" if streams == 1 else "%d connections" % streams)


_WORK = [(THROUGHPUT[4 * KIB, 1], "MiB, in writes of 4 KiB"), (THROUGHPUT[64 * KIB, 1], "MiB, in writes of 64 KiB"),
         (ROUND_TRIP[1], "round trip of 1 byte"), (CONNECT, "connect, exchange, close")]
_CPU = [(work, "one " + label) for work, label in _WORK]

GROUPS = [
    Group("Throughput", "MB/s",
          [Row(_streams_label(size, streams), one, "bytes_per_second", 1e-6, "more")
           for (size, streams), one in THROUGHPUT.items()], ""),
    Group("Round trip", "us",
          [Row("%d byte%s, %s" % (size, "" if size == 1 else "s", what), one, figure, 1e-3, "less")
           for size, one in ROUND_TRIP.items() for what, figure in (("median", "p50_ns"), ("p99", "p99_ns"))], ""),
    Group("Connect, 16 bytes there, 1 byte back, close", "",
          [Row("a second", CONNECT, "per_second", 1, "more"), Row("us each, median", CONNECT, "p50_ns", 1e-3, "less"),
           Row("us each, p99", CONNECT, "p99_ns", 1e-3, "less")], ""),
    Group("64 bytes there and back while another connection sends as much as it can", "us",
          [Row("median", LOADED, "p50_ns", 1e-3, "less"), Row("p99", LOADED, "p99_ns", 1e-3, "less"),
           Row("median without load", LOADED, "idle_p50_ns", 1e-3, "less"),
           Row("p99 / median without load", LOADED, "p99_over_idle_p50", 1, "less"),
           Row("the bulk stream meanwhile, MB/s", LOADED, "bulk_bytes_per_second", 1e-6, "more")], ""),
    Group("Fairness: 16 equal connections", "",
          [Row("Jain's index", FAIRNESS, "jain", 1, "more"), Row("the least share (of 1)", FAIRNESS, "least_share", 1, "more"),
           Row("the largest share (of 1)", FAIRNESS, "most_share", 1, "less")], ""),
    Group("CPU time, of the programs and of what is between them", "us",
          [Row(label, work, "cpu_ns", 1e-3, "less") for work, label in _CPU] +
          [Row(label + ": between", work, "cpu_between_ns", 1e-3, "less") for work, label in _CPU], ""),
    Group("Executed instructions: both programs, what is between them, both kernels, Xen", "thousand",
          [Row("one " + label, work, "instructions", 1e-3, "less") for work, label in _WORK], ""),
    Group("What both link_mgr (or both relays) do", "",
          [Row("frames on the link, " + label, work, both_ends("frames"), 1, "less") for work, label in _WORK] +
          [Row("notifications, " + label, work, both_ends("notifications"), 1, "less") for work, label in _WORK] +
          [Row("waits, " + label, work, "waits_between", 1, "less") for work, label in _WORK] +
          [Row("system calls, " + label, work, "system_calls", 1, "less") for work, label in _WORK] +
          [Row("system calls, 2 seconds of quiet", QUIET, "system_calls", 1, "less")], ""),
    Group("System calls of all: of both programs and of what is between them", "",
          [Row("one " + label, work, "system_calls_all", 1, "less") for work, label in _WORK], ""),
    Group("A round trip of 1 byte beside idle connections", "",
          [Row("%d idle: us, median" % count, one, "p50_ns", 1e-3, "less") for count, one in IDLE.items()] +
          [Row("%d idle: us of CPU time between" % count, one, "cpu_between_ns", 1e-3, "less") for count, one in IDLE.items()], ""),
    Group("Memory of an idle connection, in both link_mgr (or both relays)", "bytes",
          [Row("of %d, %s" % (count, what), one, figure, 1, "less") for count, one in MEMORY.items()
           for what, figure in (("resident", "resident_bytes"), ("heap", "anonymous_bytes"))],
          "the kernel's socket buffers aside"),
]

KEYS = ("test", "size", "streams", "idle")
BETWEEN_DOMAINS = ("net-tcp", "idc-seqpacket", "idc-vsock") + VCHANS + PROXIES + ("idc-dom0", "net-tcp-dom0")
TRANSPORTS = ("idc",) + BETWEEN_DOMAINS + ("unix", "socketpair", "tcp", "vsock", "chain")
BLOCK = 6  # columns beside that of IDC


def key_of(one):
    return tuple(one[key] for key in KEYS) if isinstance(one, dict) else (one.test, one.size, one.streams, one.idle)


def medians(results):
    """{(case, transport): {figure: median}}."""
    lists = collections.defaultdict(lambda: collections.defaultdict(list))
    for result in results:
        for name, value in result.items():
            if name not in KEYS + ("transport",) and isinstance(value, (int, float)):
                lists[key_of(result), result["transport"]][name].append(value)
    return {key: {name: statistics.median(values) for name, values in figures.items()} for key, figures in lists.items()}


def value_of(row, transport, middle):
    """None: not measured."""
    figures = middle.get((key_of(row.case), transport))
    if figures is None:
        return None
    value = row.figure(figures) if callable(row.figure) else figures.get(row.figure)
    return None if value is None else value * row.scale


def number(value):
    if value is None:
        return "-"
    if value != 0 and abs(value) < 10:
        return "%.3f" % value if abs(value) < 2 else "%.2f" % value
    return "%.1f" % value if abs(value) < 100 else "%.0f" % value


def compare(row, own, other):
    """How much better idc is."""
    if own is None or other is None or own <= 0 or other <= 0:
        return None
    return own / other if row.better == "more" else other / own


def cells(row, transports, middle):
    own = value_of(row, "idc", middle)
    for transport in transports:
        value = value_of(row, transport, middle)
        ratio = None if transport == "idc" else compare(row, own, value)
        yield number(value) + (" (%.2f)" % ratio if ratio is not None else "")


def columns_of(group, middle):
    return [transport for transport in TRANSPORTS
            if any(value_of(row, transport, middle) is not None for row in group.rows)]


def blocks_of(transports):
    """Columns that fit side by side; IDC is in each. If there are too many, those between domains stand apart."""
    others = [transport for transport in transports if transport != "idc"]
    between = [transport for transport in others if transport in BETWEEN_DOMAINS]
    if len(others) <= BLOCK or len(between) in (0, len(others)):
        return [transports]
    return [["idc"] * ("idc" in transports) + block for block in (between, [one for one in others if one not in between])]


def render_block(group, transports, middle):
    """The lines of rows side by side."""
    lines = [[row.label] + list(cells(row, transports, middle)) for row in group.rows
             if any(value_of(row, transport, middle) is not None for transport in transports)]
    if not lines:
        return []
    lines.insert(0, [""] + transports)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  " + line[0].ljust(widths[0]) + "".join("   " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))
            for line in lines]


def render_group(group, middle):
    """The lines of one table; [] when nothing of it was measured."""
    transports = columns_of(group, middle)
    title = group.title + (", " + group.unit if group.unit else "") + (" (%s)" % group.note if group.note else "")
    lines = [line for block in blocks_of(transports) for line in render_block(group, block, middle)]
    return [title] + lines + [""] if lines else []


def render(results):
    middle = medians(results)
    return "\n".join(line for group in GROUPS for line in render_group(group, middle))


def as_data(results):
    """The same tables for programs: [{title, unit, rows: [{label, better, values: {transport: number}}]}]."""
    middle = medians(results)
    return [{"title": group.title, "unit": group.unit,
             "rows": [{"label": row.label, "better": row.better,
                       "values": {transport: value_of(row, transport, middle) for transport in columns_of(group, middle)}}
                      for row in group.rows]} for group in GROUPS]


def arguments(one):
    """The words of a case, behind `bench run TRANSPORT ADDRESS`."""
    words = [one.test, "--size", str(one.size), "--streams", str(one.streams)]
    return words + (["--idle", str(one.idle)] if one.idle else [])


def is_for(one, transport):
    return one.only is None or transport in one.only
