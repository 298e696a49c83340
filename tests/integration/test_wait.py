# SPDX-License-Identifier: GPL-2.0-or-later
"""A connect with the option `wait`, by libidc and by XML-RPC: what is not there yet is waited for, as long as its own time limit
allows. Without it nothing is."""

import contextlib
import ctypes
import errno
import os
import socket
import xmlrpc.client

from case import IdcTestCase
from world import wait_until


class Wait(IdcTestCase):
    WAYS = ({}, {"nowait": 1})

    def begin(self, domid, port=80, ways=WAYS):
        """Pending connects, with no limit."""
        return [self.a.puppet().begin("connect", 1, domid=domid, port=port, wait=1, timeout=-1, **way) for way in ways]

    def finish(self, server, attempts, place=10):
        for attempt in attempts:
            server.do("accept", place, place + 1)
            attempt.result()

    def test_the_listener_is_missing(self):
        for domain in self.b, self.a:
            refused = domain.status(False)["counters"]["requests_refused"]
            attempts = self.begin(domain.domid)
            if domain is self.b:
                wait_until(lambda: domain.status(False)["counters"]["requests_refused"] >= refused + 4,
                           what="they were refused")
            server = domain.puppet()
            self.assertFalse(any(attempt.done() for attempt in attempts))
            server.do("listen", 10, port=80)
            self.finish(server, attempts)
            server.end()

    def test_the_backlog_is_full(self):
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 10, port=80, backlog=1)
        client.do("connect", 1, domid=self.b.domid, port=80)
        self.assert_errno(errno.ECONNREFUSED, client.do, "connect", 2, domid=self.b.domid, port=80)
        attempts = self.begin(self.b.domid)
        server.do("accept", 10, 12)
        self.finish(server, attempts)

    def test_the_other_link_mgr_is_missing(self):
        self.b.stop()
        attempts = self.begin(self.b.domid)
        self.assert_errno(errno.EHOSTUNREACH, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80)
        self.b.start(*self.options)
        server = self.b.puppet()
        server.do("listen", 10, port=80)
        self.finish(server, attempts)

    def test_the_own_link_mgr_is_missing(self):
        self.a.stop()
        server = self.b.puppet()
        server.do("listen", 10, port=80)
        attempts = self.begin(self.b.domid, ways=[{}])
        listening = self.a.puppet().begin("listen", 1, port=90, wait=1)
        self.assertIn(self.assert_errno_of_any(self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80),
                      (errno.ENOENT, errno.ECONNREFUSED))
        self.a.start(*self.options)
        self.finish(server, attempts)
        listening.result()

    def assert_errno_of_any(self, call, *arguments, **named):
        with self.assertRaises(OSError) as context:
            call(*arguments, **named)
        return context.exception.errno

    def test_time_is_up(self):
        for domain in self.a, self.b:
            for way in self.WAYS:
                error = self.assert_errno(errno.ETIMEDOUT, self.a.puppet().do, "connect", 1, domid=domain.domid, port=80, wait=1,
                                          timeout=2000, **way)
                self.assertIn("nothing listens on that port or service", error.text)
            with self.a.rpc() as rpc, self.assertRaises(xmlrpc.client.Fault) as fault:
                rpc.connect({"domid": domain.domid, "port": 80, "wait": True, "timeout_ms": 2000})
            self.assertEqual(fault.exception.faultCode, errno.ETIMEDOUT)
            self.assertIn("nothing listens", fault.exception.faultString)

    def test_time_is_up_while_it_asks_once_more(self):
        """What it has heard is told, and not that an answer is missing."""
        client, refused = self.a.puppet(), self.a.status(False)["counters"]["refused"]
        waiting = client.begin("connect", 1, domid=self.b.domid, port=80, wait=1, timeout=5000)
        wait_until(lambda: self.a.status(False)["counters"]["refused"] > refused, 60)
        self.b.freeze()
        error = self.assert_errno(errno.ETIMEDOUT, waiting.result)
        self.b.thaw()
        self.assertIn("nothing listens on that port or service (waited 5000 ms)", error.text)

    def test_a_program_that_gives_up(self):
        """Nothing is left of it: assert_quiet, and the listener that comes later sees nobody."""
        puppets = [self.a.puppet() for _ in self.WAYS]
        for puppet, way in zip(puppets, self.WAYS):
            puppet.begin("connect", 1, domid=self.b.domid, port=80, wait=1, timeout=-1, **way)
        wait_until(lambda: self.b.status(False)["counters"]["requests_refused"] >= 4, what="they were refused")
        for puppet in puppets:
            puppet.process.kill()
            puppet.process.wait()
        self.assert_quiet(self.a)
        server = self.b.puppet()
        server.do("listen", 10, port=80)
        self.begin(self.b.domid, ways=[{}])[0].result()
        self.assertEqual(server.do("accept", 10, 11)["domid"], self.a.domid)

    def test_rpc(self):
        with self.a.rpc() as rpc:
            server = self.b.puppet()
            server.do("listen", 10, port=80)
            rpc.connect({"domid": self.b.domid, "port": 80, "wait": True})


class Options(ctypes.Structure):
    """struct idc_options of idc.h."""
    _fields_ = [("size", ctypes.c_size_t), ("type", ctypes.c_int), ("timeout_ms", ctypes.c_int), ("nonblocking", ctypes.c_int),
                ("socket", ctypes.c_char_p), ("wait", ctypes.c_int), ("reserved", ctypes.c_int * 16)]


class GivenUp(IdcTestCase):
    """A program that goes on closes a socket which connects and waits. link_mgr must not keep it: not until the time is up, and there
    may be no limit."""
    platforms = ("local",)
    COUNT = 20

    def setUp(self):
        super().setUp()
        if not self.world.measures_memory:
            self.skipTest("Python cannot load a library that has a sanitizer")
        self.lib = ctypes.CDLL(os.path.join(self.world.programs, "libidc.so.0"))

    def tearDown(self):
        """The library keeps its idle line to link_mgr; this process goes on, and the line must not."""
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(number))) as copy:
                if copy.getpeername() == self.a.socket:
                    os.close(int(number))
        super().tearDown()

    def connect(self, domid, port, name=None, type=1):  # pylint: disable=redefined-builtin
        options = Options(size=Options.reserved.offset, type=type, timeout_ms=-1, nonblocking=1, socket=self.a.socket.encode(), wait=1)
        fd = self.lib.idc_connect_name_with(domid, name, ctypes.byref(options)) if name else \
            self.lib.idc_connect_with(domid, port, ctypes.byref(options))
        self.assertGreaterEqual(fd, 0)
        return fd

    def test_descriptors_are_given_back(self):
        self.assert_link_works()
        for domain in self.a, self.b:
            with self.subTest(domain):
                os.close(self.connect(domain.domid, 81))  # its line to link_mgr is there already
                calls = self.a.status(False)["counters"]["rpc_calls_now"]
                before = self.a.usage().fds
                fds = [self.connect(domain.domid, 80) for _ in range(self.COUNT)]
                wait_until(lambda: self.a.usage().fds >= before + self.COUNT, what="they were taken")
                for fd in fds:
                    os.close(fd)
                wait_until(lambda: self.a.usage().fds <= before, what="descriptors that are free again")
                wait_until(lambda: self.a.status(False)["counters"]["rpc_calls_now"] <= calls, what="no call is left")

    def test_names_of_those_that_stay(self):
        """The listener comes last, so its port is not known when the client's end is named."""
        for type_number, type_name in ((1, "stream"), (2, "seqpacket")):
            server = self.a.puppet()
            fd = self.connect(self.a.domid, 0, b"org.example.late", type_number)
            server.do("listen", 1, port=4000, name="org.example.late", type=type_name)
            peer = server.do("accept", 1, 2)
            names = server.do("names", 2)
            self.assertEqual((names["own_domid"], names["own_port"]), (self.a.domid, 4000))
            self.assertEqual((names["peer_domid"], names["peer_port"]), (self.a.domid, peer["port"]))
            self.assertGreaterEqual(peer["port"], 0x80000000)
            os.close(fd)
            server.do("unlisten", 1)


class WaitForNoPermission(IdcTestCase):
    permit = False

    def test_policy_is_final(self):
        for way in Wait.WAYS:
            self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80, wait=1, timeout=-1, **way)
