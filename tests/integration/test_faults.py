# SPDX-License-Identifier: GPL-2.0-or-later
"""A lack of memory, descriptors or room in the kernel: the n-th call of a kind fails (tests/programs/faults.c), in link_mgr or in a
program, while a session of connections goes on: connect in three ways, listen, accept, data, half-close, short and long messages, a
refusal. Whatever comes of it: link_mgr lives, what arrived is what was sent, an end of file comes after the last byte, each failure
says why, nothing is left over, and the next session works.

In `make check` some of the n are tried; FAULTS=all tries all of them, up to 500 of a kind;
FAULT_KINDS="malloc sendmsg" only those kinds. FAULT_SHIFT=0 to 999 picks other n."""

import errno
import mmap
import os
import struct

from case import IdcTestCase

KINDS = ("malloc", "epoll_ctl", "sendmsg", "recvmsg", "socketpair", "mmap", "memfd", "dup", "accept", "setsockopt", "bind", "socket",
         "eventfd")
OF_PROGRAM = ("epoll_ctl", "sendmsg", "recvmsg", "socketpair", "memfd", "dup", "setsockopt", "bind", "socket")
MOST = 500  # n of a kind
SOME = 6    # ... in make check
WAIT_S = 10  # for a step that hangs
# What a lack may be told as, at this end and at the other one.
LACKS = {errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENOSPC, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
         errno.ECONNABORTED, errno.ECONNREFUSED}
PORT = 1000
VSOCK_PORT = 5000
# A program with a sanitizer in it would refuse to have a library before the sanitizer's.
ANY_ORDER = {"ASAN_OPTIONS": "verify_asan_link_order=0"}
LONG = 400000


class Control:
    """The file by which calls are made to fail."""

    def __init__(self, path):
        self.path = path
        size = 4 * (4 + len(KINDS))
        with open(path, "wb") as stream:
            stream.write(bytes(size))
        with open(path, "r+b") as stream:
            self._map = mmap.mmap(stream.fileno(), size)

    def _numbers(self):
        return struct.unpack("=%di" % (len(self._map) // 4), self._map)

    def arm(self, kind, left):
        """Fails call number `left` of the kind."""
        self._map[0:12] = struct.pack("=iii", 0, left, 0)
        self._map[0:4] = struct.pack("=i", KINDS.index(kind) + 1)

    def disarm(self):
        """True: a call has failed."""
        self._map[0:4] = bytes(4)
        return self._numbers()[2] > 0

    def calls(self, kind):
        return self._numbers()[4 + KINDS.index(kind)]

    def environment(self, library):
        return {"LD_PRELOAD": library, "IDC_FAULTS": self.path}


class Faults(IdcTestCase):
    platforms = ("local",)
    timeout = 1200

    def setUp(self):
        super().setUp()
        if self.world._instrumented():
            self.skipTest("its memory is its own")
        self.library = os.path.join(self.world.programs, "tests", "libfaults.so")
        self.port = PORT
        self.puppets = None

    def control(self, name):
        return Control(os.path.join(self.world.directory, "faults-" + name))

    def begin_faulty(self, domain, control):
        """link_mgr of the domain, anew."""
        self.faulty = domain, control
        if domain.daemon.returncode is None:
            domain.stop()
        argv = ["link_mgr"] + self.world.daemon_options(domain, self.options)
        domain.daemon = domain.spawn_program(argv, control.environment(self.library), 0)
        domain._daemons.append(domain.daemon)
        domain.wait_ready()

    # ---- a session: what it does, or an OSError of one of its steps ----

    def new_puppets(self, client_env=None):
        for domain in self.domains:
            domain.kill_programs()
        self.client_env = client_env
        client = self.a.spawn(["puppet"], env=client_env)
        self.puppets = type(self.b.puppet())(client, WAIT_S), self.b.puppet()

    def exchange(self, client, server, place, taking, nbytes):
        """Bytes both ways, with a half-close; each end sees all, and then the end, or an error."""
        taking.result(WAIT_S)
        checking = server.begin("check", place, seed=place)
        client.do("send", place, len=nbytes, seed=place)
        client.do("shutdown", place)
        self.assertEqual(checking.result(WAIT_S)["n"], nbytes)
        checking = client.begin("check", place, seed=place + 1)
        server.do("send", place, len=nbytes, seed=place + 1)
        server.do("close", place)
        self.assertEqual(checking.result(WAIT_S)["n"], nbytes)
        client.do("close", place)

    def session(self, client, server):
        port = self.port = PORT + (self.port - PORT + 2) % 20000
        server.do("listen", 1, port=port)
        server.do("listen", 2, port=port + 1, type="seqpacket")
        client.do("listen", 3, port=port)
        for place, domid, listener, options in ((11, self.b.domid, 1, {}), (12, self.b.domid, 1, {"nowait": 1}),
                                                (13, self.a.domid, 3, {})):
            taker = server if listener == 1 else client
            if taker is server:
                client.do("connect", place, domid=domid, port=port, **options)
                self.exchange(client, server, place, server.begin("accept", listener, place), 100000)
            else:
                client.do("connect", place, domid=domid, port=port, **options)
                client.do("accept", listener, 14)
                client.do("send", place, len=5000, seed=1)
                client.do("close", place)
                self.assertEqual(client.do("check", 14, seed=1)["n"], 5000)
                client.do("close", 14)
        client.do("connect", 15, domid=self.b.domid, port=port + 1, type="seqpacket")
        server.do("accept", 2, 15)
        for number, nbytes in enumerate((100, LONG, 7)):
            client.do("send", 15, len=nbytes, max=LONG, seed=number)
            self.assertEqual(server.do("check", 15, len=nbytes, max=LONG, seed=number)["count"], 1)
        client.do("close", 15)
        self.assertEqual(server.do("check", 15, max=LONG)["n"], 0)
        server.do("close", 15)
        self.refused(client)
        self.services()
        for puppet, place in ((server, 1), (server, 2), (client, 3)):
            puppet.do("unlisten", place)

    def refused(self, client):
        try:
            client.do("connect", 16, domid=self.b.domid, port=999)
        except OSError as error:
            self.assertIn(error.errno, LACKS)
            self.assertTrue(error.strerror)
            if error.errno != errno.ECONNREFUSED:
                raise
        else:
            self.fail("connected to where nobody listens")

    def services(self):
        """Port 1 of the other domain, by a program that lacks nothing."""
        result = self.a.run(["idc", "services", str(self.b.domid)], timeout=WAIT_S)
        if result.returncode != 0:
            self.assertTrue(result.stderr)
            raise OSError(errno.ENOBUFS, result.stderr.decode())
        for port, type in ((self.port, "stream"), (self.port + 1, "seqpacket")):
            self.assertRegex(result.stdout.decode(), r"(?m)^%d +%s" % (port, type))

    def good_session(self, what):
        """What comes after a lack works; a link that it has cost may be in the way for a moment."""
        try:
            self.session(*self.puppets)
        except OSError as error:
            self.fail("%s: the next session: %s" % (what, error))

    def faulty_session(self, what):
        try:
            self.session(*self.puppets)
        except OSError as error:
            self.assertIn(error.errno, LACKS, "%s: %s" % (what, error))
            self.assertTrue(error.strerror, what)
            return False
        return True

    # ---- n over all kinds ----

    def kinds(self, usual):
        return [kind for kind in os.environ.get("FAULT_KINDS", " ".join(usual)).split() if kind in usual]

    def numbers(self, calls):
        """Those n of 1 to calls that are tried."""
        most = min(calls, MOST)
        if os.environ.get("FAULTS") == "all" or most <= SOME:
            return range(1, most + 1)
        step = most / SOME
        shift = int(os.environ.get("FAULT_SHIFT", "0")) % 1000 / 1000
        return sorted({1 + int(step * (i + shift)) for i in range(SOME)})

    def settle(self, what):
        """No descriptor more than before; the links may come and go."""
        for domain in self.domains:
            if domain.daemon.returncode is not None:
                status = domain.daemon.returncode
                self.begin_faulty(*self.faulty)
                self.new_puppets(self.client_env)
                self.fail("%s: link_mgr of %r ended with status %d" % (what, domain, status))
            self.assert_quiet(domain, 20)

    def check_kind(self, control, kind, env):
        before = control.calls(kind)
        self.good_session(kind)
        for number in self.numbers(control.calls(kind) - before):
            what = "%s number %d" % (kind, number)
            with self.subTest(what):
                control.arm(kind, number)
                whole = self.faulty_session(what)
                control.disarm()
                if not whole:
                    self.new_puppets(env)
                    self.settle(what)
                self.good_session(what)
        self.settle(kind)

    def test_link_mgr_that_connects(self):
        control = self.control("a")
        self.begin_faulty(self.a, control)
        self.new_puppets()
        for kind in self.kinds(KINDS):
            self.check_kind(control, kind, None)

    def test_link_mgr_that_accepts(self):
        control = self.control("b")
        self.begin_faulty(self.b, control)
        self.new_puppets()
        for kind in self.kinds(KINDS):
            self.check_kind(control, kind, None)

    def test_program(self):
        control = self.control("program")
        env = control.environment(self.library)
        self.new_puppets(env)
        for kind in self.kinds(OF_PROGRAM):
            self.check_kind(control, kind, env)

    # ---- a program that speaks AF_VSOCK ----

    # Only those in which nobody waits for a program that may have failed.
    VSOCK_CASES = ("bind", "connect", "nonblocking", "stream", "shutdown", "messages", "large_messages", "several_messages")

    def vsock(self, domain, *words, env=None):
        argv = ["idc", "run", "--", self.world.find_program("vsock")] + [str(word) for word in words]
        return domain.spawn(argv, env={**ANY_ORDER, **(env or {})})

    def run_vsock(self, env, cases):
        """What it says, and its status."""
        program = self.vsock(self.a, "run", self.b.domid + 2, VSOCK_PORT, self.a.domid + 2, *cases, env=env)
        out, err = program.communicate(timeout=self.timeout)
        return (out + err).decode(), program.returncode

    def check_vsock(self, what, control, env, cases):
        text, status = self.run_vsock(env, cases)
        failed = control.disarm()
        self.assertNotRegex(text, r"status -", what)  # a signal: a crash, or SIGALRM for what hangs
        self.assertGreaterEqual(status, 0, what + text)
        if status != 0:
            self.assertTrue(failed, "%s: without a failure: %s" % (what, text))
            self.assertTrue(any(os.strerror(number) in text for number in LACKS | {0}), "%s: %s" % (what, text))

    def test_vsock_program(self):
        """What a lack does to the preloaded library: an errno of a lack, a retry that nobody notices, but no crash and no hang."""
        server = self.vsock(self.b, "serve", VSOCK_PORT)
        self.assertEqual(server.stdout.readline(60), b"ready\n")
        control = self.control("vsock")
        env = control.environment(self.library)
        for kind in self.kinds(OF_PROGRAM):
            for cases in (("bind",), self.VSOCK_CASES):
                before = control.calls(kind)
                self.assertEqual(self.run_vsock(env, cases)[1], 0)
                calls = control.calls(kind) - before
                # What bind does is little, so all of it is tried.
                for number in range(1, calls + 1) if cases == ("bind",) else self.numbers(calls):
                    what = "%s number %d of %s" % (kind, number, cases)
                    with self.subTest(what):
                        control.arm(kind, number)
                        self.check_vsock(what, control, env, cases)
        text, status = self.run_vsock(env, self.VSOCK_CASES)
        self.assertEqual(status, 0, text)
        server.kill()
