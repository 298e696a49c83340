# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that benchmarks on real Xen run in: one CPU whose time is counted in instructions, dom0 and two guests, a
link_mgr in each of the three, rules that let the guests connect to each other and the second one to dom0, and Xen's network
between all of them (network.py).

One instruction of any of them is one nanosecond for all, and idle time is skipped, so figures don't depend on what else the
host does. Time limits in the domains are in virtual time, and pass at once while everything waits.
"""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "xen"))
import network  # noqa: E402
from xenworld import XenError, XenWorld  # noqa: E402

BENCH = "bench-vchan"
LARGE_RINGS = "/usr/lib/large_rings.so"

VSOCK_MODULES = ["net/vmw_vsock/" + name for name in ("vsock", "vmw_vsock_virtio_transport_common", "vsock_loopback")]
GUEST_MEMORY = 512
GRANTS = 16384
LINK_IDLE_MS = 24 * 3600 * 1000  # the link stays, however much idle time is skipped
CONNECT_TRIES = 20
LIMIT = 3600  # seconds for everything
TRACING = "/sys/kernel/tracing"
SYSTEM_CALLS = TRACING + "/events/raw_syscalls/sys_enter/"


class Machine:
    def __init__(self, build, verbose=False):
        shim = os.path.join(build, os.path.basename(LARGE_RINGS))
        self.world = XenWorld(build, guests=2, programs=[os.path.join(build, BENCH)], files=[(LARGE_RINGS, shim)],
                              clock="skipping", guest_tools=["vchan-socket-proxy"],
                              guest_modules=VSOCK_MODULES + network.GUEST_MODULES, dom0_modules=network.DOM0_MODULES,
                              guest_memory=GUEST_MEMORY, gntalloc_limit=GRANTS, limit=LIMIT, verbose=verbose)
        self._kept = {}
        self.network = network.Network(self.world)

    def __enter__(self):
        self.world.start()
        try:
            self._prepare()
        except BaseException:
            self.world.stop()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.world.stop()

    @property
    def guests(self):
        return self.world.domains[1:]

    def _prepare(self):
        one, two = self.guests
        for first in (one.domid, 0):
            self.world.dom0.run(["idc-setup", str(first), str(two.domid)], check=True)
        self.network.begin()
        two.run(["ip", "link", "set", "lo", "up"], check=True)
        for guest in self.guests:
            guest.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
        self.daemons = []
        self.start_daemons()

    def start_daemons(self):
        """A link_mgr in each domain that has not carried anything yet, and a link between the guests."""
        for process in self.daemons:
            process.kill(signal.SIGTERM)
            process.wait()
        self._kept.clear()
        for domain in self.world.domains:
            domain.kill_all()
        self.daemons = [self._start_daemon(domain) for domain in self.guests + [self.world.dom0]]
        self._make_link()

    def _make_link(self):
        one, two = self.guests
        for _ in range(CONNECT_TRIES):
            result = two.run(["idc", "ping", "-c", "1", str(one.domid)])
            if result.returncode == 0:
                return
            two.run(["sleep", "0.1"])
        raise XenError("no link between the guests: %s" % result.stderr.decode(errors="replace"))

    @staticmethod
    def _start_daemon(domain):
        process = domain.spawn(["link_mgr", "--idle", str(LINK_IDLE_MS)])
        if b"is ready" not in process.stderr.readline():
            raise XenError("link_mgr in %s did not start" % domain.name)
        return process

    def daemon_of(self, domain):
        return self.daemons[(self.guests + [self.world.dom0]).index(domain)]

    # ---- servers that stay ----

    def serving(self, name):
        return name in self._kept and self._kept[name].returncode is None

    def keep(self, name, process):
        self._kept[name] = process

    def kept(self, name):
        return self._kept[name]

    # ---- system calls, counted by the guests' kernels for each thread ----

    def count_calls(self, processes, action):
        """While action() runs, which returns the client's pid: the system calls of the processes, pairs of a guest and a pid,
        and those of them and of the bench programs."""
        for guest in self.guests:
            guest.run(["sh", "-c", "echo hist:key=common_pid.execname > %strigger" % SYSTEM_CALLS], check=True)
        try:
            client = action()
            counts = [self._calls_in(guest, [pid for where, pid in processes if where is guest],
                                     client if guest is self.guests[1] else None) for guest in self.guests]
            return tuple(map(sum, zip(*counts)))
        finally:
            for guest in self.guests:
                guest.run(["sh", "-c", "echo '!hist:key=common_pid.execname' > %strigger" % SYSTEM_CALLS], check=True)

    @staticmethod
    def _calls_in(guest, pids, client):
        """A thread counts under the name that it had with its first call: the client under the agent's, which forked it."""
        commands = ["ls /proc/%d/task" % pid for pid in pids] + ["cat %shist" % SYSTEM_CALLS]
        text = guest.run(["sh", "-c", "; ".join(commands)], check=True).stdout.decode()
        threads = set(re.findall(r"^(\d+)$", text, re.MULTILINE))
        between = everything = 0
        for name, thread, count in re.findall(r"common_pid: +(\S+) +\[ *(\d+)\] .*hitcount: +(\d+)", text):
            between += int(count) if thread in threads else 0
            everything += int(count) if thread in threads or name == BENCH or thread == str(client) else 0
        return between, everything
