# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors that a hostile program sends along, in every place where link_mgr receives from programs. Closing one takes a hundred
seconds: it is a TCP socket with SO_LINGER and data that nobody reads. Meanwhile other clients are served.

Two kernels are tried: this one, and an older one that cannot refuse descriptors (tests/programs/faults.c hides SO_PASSRIGHTS)."""

import contextlib
import errno
import os
import socket
import struct
import unittest

import rpc
from case import IdcTestCase
from evil import EvilDescriptors
from forward_case import read_exactly
from world import wait_until

SERVED_SECONDS = 40  # far less than the linger time
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: idc-rpc/1\r\n\r\n"
FILLER, FILLER_LAST = b"\0", b"\1"


class Line:
    """An upgraded RPC connection."""

    def __init__(self, client):
        self.socket = client
        client.sendall(UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert b" 101 " in head, head

    @staticmethod
    def message(method, argument):
        body = rpc.document(method, argument)
        return struct.pack("<II", len(body), 1) + body

    def begin(self, method, argument, fds=()):
        socket.send_fds(self.socket, [self.message(method, argument)], list(fds))

    def call(self, method, argument):
        """Returns the result and the descriptor that came, as a socket."""
        self.begin(method, argument)
        head, fds, _, _ = socket.recv_fds(self.socket, 8, 4)
        (length, _) = struct.unpack("<II", head)
        result = rpc.parse(read_exactly(self.socket, length))
        return result, socket.socket(fileno=fds[0]) if fds else None


class ForeignBase(EvilDescriptors, IdcTestCase):
    platforms = ("local",)
    old_kernel = False

    def setUp(self):
        super().setUp()
        self.begin_evil()
        if self.old_kernel:
            self.begin_old_kernel()

    def begin_old_kernel(self):
        """link_mgr of a, anew."""
        if self.world._instrumented():
            self.skipTest("nothing can be preloaded into it")
        self.a.stop()
        library = os.path.join(self.world.programs, "tests", "libfaults.so")
        environment = {"LD_PRELOAD": library, "IDC_FAULTS_OLD_KERNEL": "1"}
        argv = ["link_mgr"] + self.world.daemon_options(self.a, self.options)
        self.a.daemon = self.a.spawn_program(argv, environment, 0)
        self.a._daemons.append(self.a.daemon)
        self.a.wait_ready()
        self.world.acquaint(*self.domains)

    @contextlib.contextmanager
    def stopped(self):
        """What is sent and closed here is closed last by link_mgr."""
        self.a.freeze()
        try:
            yield
        finally:
            self.a.thaw()

    # ---- clients ----

    def dial(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(SERVED_SECONDS * self.world.slowness)
        client.connect(self.a.socket)
        return client

    def line(self):
        return Line(self.dial())

    def assert_served(self):
        """Another client is answered, and so is one that connects."""
        with rpc.connect(self.a.socket, SERVED_SECONDS * self.world.slowness) as other:
            for _ in range(3):
                other.status({"detail": False})
            listener = other.listen({"port": 3999})["handle"]
            handle = other.connect({"domid": self.a.domid, "port": 3999})["handle"]
            other.accept({"handle": listener})
            other.disconnect({"handle": handle})
            other.unlisten({"handle": listener})

    def pair_of(self, type):  # pylint: disable=redefined-builtin
        """A socket of a program here, connected to another domain, whose other end a puppet has."""
        server = self.b.puppet()
        server.do("listen", 1, port=1000, type=type)
        taking = server.begin("accept", 1, 2)
        _, end = self.line().call("connect", {"domid": self.b.domid, "port": 1000, "type": type, "fd": True})
        taking.result()
        self.addCleanup(end.close)
        return end, server


class Foreign(ForeignBase):
    # ---- the RPC connection ----

    def test_call(self):
        line = self.line()
        with self.stopped():
            self.send_evil(line.socket, line.message("status", {}))
        self.assert_served()

    def test_call_with_many(self):
        """Many more than any call may have: what is too many is not closed by the kernel in link_mgr's name either."""
        line = self.line()
        with self.stopped():
            self.send_evil(line.socket, line.message("status", {}), 20)
        self.assert_served()

    def test_half_a_call(self):
        line = self.line()
        with self.stopped():
            self.send_evil(line.socket, line.message("status", {})[:20])
            line.socket.close()
        self.assert_served()

    def test_calls_that_are_not_read(self):
        """They are in the socket when the connection ends."""
        line = self.line()
        with self.stopped():
            line.socket.sendall(struct.pack("<II", 1 << 30, 1))
            self.send_evil(line.socket, line.message("status", {}))
        self.assert_served()

    def test_calls_behind_one_that_ends_it(self):
        """The first descriptor belongs nowhere, which ends the connection. The second one is not read any more."""
        line = self.line()
        with self.stopped():
            for _ in range(2):
                self.send_evil(line.socket, line.message("status", {}))
        self.assert_served()

    def test_http(self):
        if self.old_kernel:
            self.skipTest("docs/security.md: only newer kernels protect it")
        with self.stopped():
            client = self.dial()
            self.assertFalse(self.send_evil(client, b"GET / HTTP/1.1\r\n"))
        self.assert_served()

    # ---- ends and reservations ----

    def test_far_end(self):
        """It is no end of a socket pair."""
        line = self.line()
        with self.stopped():
            self.send_evil(line.socket, line.message("connect", {"domid": self.b.domid, "port": 1000, "far_end": True}))
        self.assert_served()

    def test_reservation(self):
        line = self.line()
        near, far = socket.socketpair()
        argument = {"domid": self.b.domid, "port": 1000, "far_end": True, "reserved": True}
        with self.stopped():
            evil = self.evil()
            line.begin("connect", argument, (far.fileno(), near.fileno(), evil.fileno()))
            evil.close()
        self.assert_served()

    def filled(self, domid, port, evil_first):
        """A connect whose far end has descriptors in it, with the filler."""
        line = self.line()
        near, far = socket.socketpair()
        if not evil_first:
            near.send(FILLER)
        self.send_evil(near, FILLER)
        near.send(FILLER_LAST)
        argument = {"domid": domid, "port": port, "far_end": True}
        with self.stopped():
            line.begin("connect", argument, (far.fileno(), near.fileno()))
            far.close()
            near.close()

    def test_filler(self):
        server = self.b.puppet()
        server.do("listen", 1, port=1000)
        self.filled(self.b.domid, 1000, True)
        self.assert_served()

    def test_filler_of_a_refused_connect(self):
        self.filled(self.b.domid, 1001, False)
        self.assert_served()

    def test_filler_within_the_domain(self):
        server = self.a.puppet()
        server.do("listen", 1, port=1000)
        self.filled(self.a.domid, 1000, False)
        self.assert_served()

    # ---- listeners and connections ----

    def test_answer_of_a_listener(self):
        _, listener = self.line().call("listen", {"port": 2000, "fd": True})
        with self.stopped():
            self.send_evil(listener, b"a")
            listener.close()
        self.assert_served()

    def test_answer_that_is_awaited(self):
        """Connections wait, so link_mgr reads answers."""
        line = self.line()
        _, listener = line.call("listen", {"port": 2000, "backlog": 1, "fd": True})
        _, end = line.call("connect", {"domid": self.a.domid, "port": 2000, "fd": True})
        with self.stopped():
            self.send_evil(listener, b"a")
        self.assert_served()
        listener.close()
        end.close()

    def test_stream(self):
        end, _ = self.pair_of("stream")
        with self.stopped():
            self.send_evil(end, b"bytes")
            end.close()
        self.assert_served()

    def test_bulk(self):
        """Much at once is read in another way."""
        end, server = self.pair_of("stream")
        with self.stopped():
            end.send(bytes(100000))
            self.send_evil(end, bytes(30000))
            end.send(bytes(30000))
        self.assert_served()
        server.do("close", 2)
        end.close()

    def test_stream_that_is_cut_off(self):
        """The bytes are not read any more."""
        end, server = self.pair_of("stream")
        with self.stopped():
            self.send_evil(end, b"bytes")
            server.do("close", 2)
        self.assert_served()
        end.close()

    def test_message(self):
        for length in (5, 192):
            end, server = self.pair_of("seqpacket")
            with self.stopped():
                end.send(b"first")
                self.send_evil(end, bytes(length))
                end.send(b"last")
                end.close()
            self.assert_served()
            server.do("close", 2)
            server.do("unlisten", 1)
            self.let_go()

    # ---- within the domain ----

    def within(self, call, port=2000):
        """A connection of which the RPC connection has one end, and a program the other."""
        listener = call.listen({"port": port})["handle"]
        _, end = self.line().call("connect", {"domid": self.a.domid, "port": port, "fd": True})
        self.addCleanup(end.close)
        return listener, end

    def test_handle(self):
        with self.a.rpc() as call:
            listener, end = self.within(call)
            handle = call.accept({"handle": listener})["handle"]
            with self.stopped():
                self.send_evil(end, b"bytes")
            call.disconnect({"handle": handle})
            self.assert_served()

    def test_handle_that_receives(self):
        with self.a.rpc() as call:
            listener, end = self.within(call)
            handle = call.accept({"handle": listener})["handle"]
            with self.stopped():
                self.send_evil(end, b"bytes")
            self.assertEqual(call.recv({"handle": handle})["data"].data, b"bytes")
            self.assert_served()

    def test_connection_that_nobody_accepts(self):
        with self.a.rpc() as call:
            listener, end = self.within(call)
            with self.stopped():
                self.send_evil(end, b"bytes")
            call.unlisten({"handle": listener})
            self.assert_served()

    def test_port_1(self):
        _, end = self.line().call("connect", {"domid": self.a.domid, "port": 1, "fd": True})
        with self.stopped():
            self.send_evil(end, b"PING x\n")
        self.assert_served()
        end.close()


class Stray(ForeignBase):
    """A program that sends descriptors where none belong loses that connection, and is told why. Where the kernel refuses them,
    the program is told at once, and nothing is lost."""

    def send(self, puppet, place, refused, **arguments):
        """Whether they were sent."""
        if refused and not self.old_kernel:
            try:
                puppet.do("stray", place, **arguments)
            except OSError as error:
                self.assertEqual(error.errno, errno.EPERM)
                return False
        else:
            puppet.do("stray", place, **arguments)
        return True

    def connection(self, kind, nowait, **arguments):
        """It is a's program that sends them. Only a stream on a pair of link_mgr's refuses them."""
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 101, port=1000, type=kind)
        taking = server.begin("accept", 101, 1)
        client.do("connect", 1, domid=self.b.domid, port=1000, type=kind, nowait=nowait)
        taking.result()
        client.do("send", 1, len=100)
        self.assertEqual(server.do("check", 1, len=100)["n"], 100)
        if self.send(client, 1, kind == "stream" and not nowait, **arguments):
            for puppet in (client, server):
                with self.assertRaises(OSError) as lost:
                    puppet.do("recv", 1)
                self.assertEqual(lost.exception.errno, errno.EPERM)
                self.assertIn("sent descriptors", lost.exception.text)
        else:
            client.do("send", 1, len=100, seed=2)
            self.assertEqual(server.do("check", 1, len=100, seed=2)["n"], 100)
        server.do("unlisten", 101)

    def test_connections(self):
        for kind in ("stream", "seqpacket"):
            for nowait in (0, 1):
                for length in (1, 192, 20000):
                    self.connection(kind, nowait, len=length, count=1)
                self.connection(kind, nowait, count=4)

    def test_listener(self):
        server, client = self.a.puppet(), self.b.puppet()
        server.do("listen", 100, port=1000)
        if self.send(server, 100, True):
            self.assert_errno(errno.ECONNABORTED, server.do, "accept", 100, 1)
            server.do("listen", 100, port=1000)
        taking = server.begin("accept", 100, 1)
        client.do("connect", 1, domid=self.a.domid, port=1000)
        taking.result()

    def test_port_1(self):
        client = self.a.puppet()
        client.do("connect", 1, domid=self.a.domid, port=1)
        self.send(client, 1, False)
        self.assertEqual(client.do("recv", 1)["n"], 0)


class StrayOnAnOldKernel(Stray):
    old_kernel = True


@unittest.skipIf(os.geteuid() != 0, "needs programs of other users")
class OtherUsers(ForeignBase):
    """One user sends hundreds of descriptors whose closes take for ever (link_mgr/base/closer.h). It holds up nobody but itself."""

    EVIL, GOOD = 12345, 12346
    EACH, MANY, AT_ONCE = 4, 1024, 250  # closes at a time; what may wait; what is sent at a time

    @contextlib.contextmanager
    def as_user(self, uid):
        """In the group that may use the socket."""
        os.setegid(os.stat(self.a.socket).st_gid)
        os.seteuid(uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    def line_of(self, uid):
        with self.as_user(uid):
            return self.line()

    def attack(self, count=300):
        """The threads that one user may have are stuck, and hundreds of closes wait."""
        line = self.line_of(self.EVIL)
        with self.stopped():
            for at in range(0, count, 50):
                evils = [self.evil() for _ in range(min(50, count - at))]
                message = line.message("status", {"detail": False}) if at == 0 else b""
                socket.send_fds(line.socket, [message or b"x"], [evil.fileno() for evil in evils])
                for evil in evils:
                    evil.close()
        wait_until(lambda: "%d of %d at a time" % (self.EACH, self.EACH) in self.a.log(), what="closes that are stuck")
        self.a.wait_log(b"uid %d" % self.EVIL)

    def ends(self, client, server, number, **arguments):
        """A connection of two programs ends in both directions: each sees at once that the other one has closed."""
        client.do("connect", number, port=2000, **arguments)
        server.do("accept", 100, number)
        client.do("send", number, len=10)
        self.assertEqual(server.do("recv", number)["n"], 10)
        first, other = (client, server) if number % 2 else (server, client)
        first.do("close", number)
        self.assertEqual(other.do("recv", number)["n"], 0)
        other.do("close", number)

    def assert_all_end(self, domain):
        client, server = self.a.puppet(uid=self.GOOD), domain.puppet(uid=self.GOOD)
        for kind in ("stream", "seqpacket"):
            server.do("listen", 100, port=2000, type=kind)
            for number in range(1, 11):
                self.ends(client, server, number, domid=domain.domid, type=kind, nowait=number % 4 // 2)
            server.do("close", 100)

    def test_connections_within_the_domain(self):
        self.attack()
        self.assert_all_end(self.a)

    def test_connections_between_domains(self):
        self.attack()
        self.assert_all_end(self.b)

    def test_listeners(self):
        self.attack()
        server = self.a.puppet(uid=self.GOOD)
        for number in range(10):
            server.do("listen", 100, port=2000)  # it is free again at once
            server.do("close", 100)

    def test_handles(self):
        """Of plain clients: what ends is in link_mgr's hands only."""
        self.attack()
        with self.as_user(self.GOOD):
            call = rpc.connect(self.a.socket, SERVED_SECONDS * self.world.slowness)
            self.assertEqual(call.status({"detail": False})["domid"], self.a.domid)
        client = self.a.puppet(uid=self.GOOD)
        with call:
            listener = call.listen({"port": 2000})["handle"]
            for number in range(10):
                client.do("connect", number, domid=self.a.domid, port=2000)
                call.disconnect({"handle": call.accept({"handle": listener})["handle"]})
                self.assertEqual(client.do("recv", number)["n"], 0)

    def test_what_another_user_has_sent(self):
        """A user's handles, with what the other user has sent into them, are closed at the other's expense."""
        with self.as_user(self.GOOD):
            call = rpc.connect(self.a.socket, SERVED_SECONDS * self.world.slowness)
            call.status({"detail": False})
        client = self.a.puppet(uid=self.GOOD)
        with call:
            listener = call.listen({"port": 2000, "backlog": 100})["handle"]
            evil_line = self.line_of(self.EVIL)
            ends = [evil_line.call("connect", {"domid": self.a.domid, "port": 2000, "fd": True})[1] for _ in range(20)]
            for end in ends[:10]:  # accepted, and closed; and those that nobody accepts
                handle = call.accept({"handle": listener})["handle"]
                self.send_evil(end, b"x")
                call.disconnect({"handle": handle})
            for end in ends[10:]:
                self.send_evil(end, b"x")
            for end in ends:
                end.close()
            call.unlisten({"handle": listener})
            wait_until(lambda: "uid %d sent takes long (%d of %d" % (self.EVIL, self.EACH, self.EACH) in self.a.log(),
                       what="closes that are stuck")
            self.assertNotIn("uid %d sent" % self.GOOD, self.a.log())
            listener = call.listen({"port": 2000})["handle"]
            client.do("connect", 1, domid=self.a.domid, port=2000)
            call.disconnect({"handle": call.accept({"handle": listener})["handle"]})
            self.assertEqual(client.do("recv", 1)["n"], 0)

    def fill(self):
        self.attack(self.EACH + 1)
        lines = [self.line_of(self.EVIL) for _ in range(1 + self.MANY // self.AT_ONCE)]
        with open("/dev/null", "rb") as null:
            for line in lines:
                socket.send_fds(line.socket, [line.message("status", {})], [null.fileno()] * self.AT_ONCE)

    def is_upgraded(self, uid):
        with self.as_user(uid):
            client = self.dial()
        client.sendall(UPGRADE)
        head = client.recv(4096)
        client.close()
        return head.startswith(b"HTTP/1.1 101 ")

    def test_nobody_sends_more(self):
        """... of that user."""
        quiet, sender, other = self.line_of(self.EVIL), self.line_of(self.EVIL), self.line_of(self.GOOD)
        self.fill()
        wait_until(lambda: not self.is_upgraded(self.EVIL), what="refusal of an upgrade")
        with self.as_user(self.EVIL):
            client = self.dial()
        client.sendall(UPGRADE)
        head = client.recv(4096)
        self.assertTrue(head.startswith(b"HTTP/1.1 503 "), head)
        self.assertIn(b"\r\nConnection: close\r\n", head)
        self.assert_served()
        self.assertTrue(self.is_upgraded(self.GOOD))
        self.assertTrue(quiet.call("status", {"detail": False})[0])
        with open("/dev/null", "rb") as null:
            sender.begin("status", {}, [null.fileno()])
            other.begin("reason", {"serial": 1, "shown": True}, [null.fileno()])
        self.assertEqual(sender.socket.recv(1), b"")
        self.assertEqual(len(other.socket.recv(1)), 1)  # it is answered
        self.let_go()
        wait_until(lambda: self.is_upgraded(self.EVIL), what="an upgrade")


class OtherUsersOnAnOldKernel(OtherUsers):
    old_kernel = True


class OutliveThemselves(ForeignBase):
    """A socket whose own program's end is in its queue, or in that of one that is in its own: it ends with its programs. The end
    of each test finds no listener, connection or descriptor left."""

    @staticmethod
    def send_round(ends):
        """Each through the next one."""
        for end, through in zip(ends, ends[1:] + ends[:1]):
            with contextlib.suppress(PermissionError):
                socket.send_fds(through, [b"x"], [end.fileno()])
        for end in ends:
            end.close()

    def listeners(self, count):
        line = self.line()
        return [line.call("listen", {"port": 2000 + i, "fd": True})[1] for i in range(count)]

    def test_listener(self):
        self.send_round(self.listeners(1))

    def test_two_listeners(self):
        self.send_round(self.listeners(2))

    def test_three_listeners(self):
        self.send_round(self.listeners(3))

    def test_reservation_of_a_port(self):
        _, end = self.line().call("listen", {"port": 2000, "reserve": True, "fd": True})
        self.send_round([end])

    def test_connection(self):
        end, server = self.pair_of("stream")
        self.send_round([end])
        server.do("close", 2)

    def test_connection_of_messages(self):
        end, server = self.pair_of("seqpacket")
        self.send_round([end])
        server.do("close", 2)

    def test_connection_and_listener(self):
        end, server = self.pair_of("stream")
        self.send_round([end] + self.listeners(1))
        server.do("close", 2)

    def test_line(self):
        line = self.line()
        self.send_round([line.socket])


class OutliveThemselvesOnAnOldKernel(OutliveThemselves):
    old_kernel = True


class ForeignOnAnOldKernel(Foreign):
    old_kernel = True
