# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured on real Xen: IDC, and what one would use in its place, all in one boot (tests/xen/xenworld.py).

A Peer starts its servers, runs one test of the bench program (tests/bench/bench.c) and returns its figures. What crosses
domains is served in g1 (or in dom0, where the name says so) and measured from g2. The kernel's own sockets have both ends
in g2, while g1 has nothing to do. TCP is measured there too, and over Xen's network (network.py) with the other domains.
Sockets' servers stay for the whole boot. Those of vchans, and the proxies, are started for each run: a server of vchans
counts them together with its client, and a pair of proxies serves one connection at a time.
"""

import itertools
import json

from machine import BENCH, LARGE_RINGS
from xenworld import XenError

CID_OF_DOMAIN_0 = 2  # a domain's CID is its domid more (docs/vsock.md)
RUN_TIMEOUT = 240
READY_TIMEOUT = 60


class Stalled(Exception):
    """A test did not come to its end."""


class Peer:
    name = ""
    program = [BENCH]
    carries = True  # there are processes between the programs

    def __init__(self, machine):
        self.machine = machine
        self.server, self.client = machine.guests

    def run(self, arguments, timeout=RUN_TIMEOUT):
        """The figures of one run."""
        self.begin()
        try:
            figures = self._run_client(arguments, timeout)
            del figures["pid"]
            return figures
        finally:
            self.end()

    def count(self, arguments):
        """System calls meanwhile: of what is between the programs, and of that and the programs."""
        self.begin()
        try:
            return self.machine.count_calls(self.between(), lambda: self._run_client(arguments)["pid"])
        finally:
            self.end()

    def count_quiet(self, before, seconds):
        """Those of what is between while nothing happens, and nothing had happened for some seconds before."""
        self.begin()
        try:
            self.sleep(before)
            return self.machine.count_calls(self.between(), lambda: self.sleep(seconds))[0]
        finally:
            self.end()

    def sleep(self, seconds):
        self.client.run(["sleep", str(seconds)])

    def _run_client(self, arguments, timeout=RUN_TIMEOUT):
        process = self.client.spawn(self.program + ["run"] + self.words() + arguments + self.options())
        try:
            out, err = process.communicate(b"", timeout)
        except TimeoutError as error:
            process.kill_session()
            raise Stalled("%s %s: no end in %d s" % (self.name, " ".join(arguments), timeout)) from error
        if process.returncode:
            raise XenError("%s: %s: %s" % (self.name, " ".join(arguments), err.decode(errors="replace").strip()))
        return dict(json.loads(out), transport=self.name, pid=process.pid)

    def begin(self):
        """Has the servers running."""

    def end(self):
        """After a run."""

    def words(self):
        """TRANSPORT ADDRESS of the client."""
        raise NotImplementedError

    def options(self):
        return []

    def between(self):
        """The processes that carry the bytes, as pairs of a guest and a pid, while the servers run."""
        return []

    def spawn(self, domain, argv, ready=b"ready\n", **options):
        process = domain.spawn(argv, **options)
        if ready and not process.stdout.read_until(ready, READY_TIMEOUT).endswith(ready):
            raise XenError("%s: %s" % (" ".join(argv), process.stderr.pending().decode(errors="replace").strip()))
        return process


class Idc(Peer):
    name = "idc"
    port = "90"

    def begin(self):
        if not self.machine.serving(self.name):
            watch = ["--watch", str(self.machine.daemon_of(self.server).pid)]
            self.machine.keep(self.name, self.spawn(self.server, self.program + ["serve", *self.listening(), *watch]))

    def listening(self):
        """TRANSPORT ADDRESS of the server."""
        return [self.name, self.port]

    def words(self):
        return [self.name, "%d:%s" % (self.server.domid, self.port)]

    def options(self):
        return ["--watch", str(self.machine.daemon_of(self.client).pid)]

    def between(self):
        return [(domain, self.machine.daemon_of(domain).pid) for domain in (self.server, self.client)]


class IdcDom0(Idc):
    """Served in dom0."""
    name, port = "idc-dom0", "93"

    def __init__(self, machine):
        super().__init__(machine)
        self.server = machine.world.dom0

    def listening(self):
        return ["idc", self.port]

    def words(self):
        return ["idc", "0:" + self.port]


class IdcMessages(Idc):
    name, port = "idc-seqpacket", "91"


class IdcVsock(Idc):
    """The bench's own vsock, which `idc run` makes IDC's."""
    name, port = "idc-vsock", "92"
    program = ["idc", "run", "--", BENCH]

    def listening(self):
        return ["vsock", "%d:%s" % (self.server.domid + CID_OF_DOMAIN_0, self.port)]

    def words(self):
        return self.listening()


class Vchan(Peer):
    """Raw libxenvchan."""
    name = "vchan"
    carries = False
    numbers = itertools.count()

    def begin(self):
        self.channel = "%s-%d" % (self.name, next(self.numbers))
        self.process = self.spawn(self.server, [BENCH, "serve", self.name, "%d:%s" % (self.client.domid, self.channel)])

    def end(self):
        self.process.kill()
        self.process.wait()

    def words(self):
        return [self.name, "%d:%s" % (self.server.domid, self.channel)]


class Vchan64(Vchan):
    name = "vchan-64k"


class Proxy(Peer):
    """Debian's vchan-socket-proxy in both guests."""
    name = "proxy"
    environment = {}
    numbers = itertools.count()

    def begin(self):
        base = "proxy-%d" % next(self.numbers)
        node = "/local/domain/%d/data/%s" % (self.server.domid, base)
        self.served, self.listening = "/tmp/%s-served" % base, "/tmp/%s" % base
        self.processes = []
        for domain, mode, other, path in ((self.server, "server", self.client, self.served),
                                          (self.client, "client", self.server, self.listening)):
            argv = ["vchan-socket-proxy", "--mode=" + mode, str(other.domid), node, path]
            self.processes.append(self.spawn(domain, argv, ready=None, env=self.environment))
        watch = ["--watch", str(self.processes[0].pid)]
        self.processes.append(self.spawn(self.server, [BENCH, "serve", "proxy", self.served] + watch))
        self.client.run(["sh", "-c", "while [ ! -S %s ]; do sleep 0.01; done; sleep 0.5" % self.listening], check=True)

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def words(self):
        return ["proxy", self.listening]

    def between(self):
        return [(self.server, self.processes[0].pid), (self.client, self.processes[1].pid)]

    def options(self):
        return ["--watch", str(self.processes[1].pid)]


class LargeProxy(Proxy):
    """The same with rings of 256 KiB in place of 1 and 2 KiB (large_rings.c)."""
    name = "proxy-256k"
    environment = {"LD_PRELOAD": LARGE_RINGS}


class Loopback(Peer):
    """Sockets of the kernel, within g2."""
    carries = False
    address = ""

    def begin(self):
        if not self.machine.serving(self.name):
            self.machine.keep(self.name, self.spawn(self.client, [BENCH, "serve", self.name, self.address]))

    def words(self):
        return [self.name, self.address]


class Unix(Loopback):
    name, address = "unix", "/tmp/bench.sock"


class SocketPair(Peer):
    name = "socketpair"

    def words(self):
        return ["socketpair"]


class Tcp(Loopback):
    name, address = "tcp", "5000"


class NetTcp(Peer):
    """TCP over Xen's network: netfront in g2 and g1, netback and a bridge in dom0."""
    name, port = "net-tcp", 5001
    carries = False

    def begin(self):
        if not self.machine.serving(self.name):
            self.machine.keep(self.name, self.spawn(self.server, [BENCH, "serve"] + self.words()))

    def words(self):
        return ["tcp", "%s:%d" % (self.machine.network.address(self.server), self.port)]


class NetTcpDom0(NetTcp):
    """Served in dom0, at the bridge itself: netfront in g2 and netback in dom0."""
    name, port = "net-tcp-dom0", 5002

    def __init__(self, machine):
        super().__init__(machine)
        self.server = machine.world.dom0


class Vsock(Loopback):
    name, address = "vsock", "1:5000"


class Chain(Loopback):
    name, address = "chain", "/tmp/chain.sock"
    carries = True

    def between(self):
        pid = self.machine.kept(self.name).pid
        children = self.client.run(["cat", "/proc/%d/task/%d/children" % (pid, pid)], check=True).stdout
        return [(self.client, int(child)) for child in children.split()]


PEERS = [Idc, NetTcp, IdcMessages, IdcVsock, Vchan, Vchan64, LargeProxy, Proxy, IdcDom0, NetTcpDom0, Unix, SocketPair, Vsock, Tcp,
         Chain]
