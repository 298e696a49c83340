# SPDX-License-Identifier: GPL-2.0-or-later
"""A connect with the option `wait`, by libidc and by XML-RPC: what is not there yet is waited for, as long as its own time limit
allows. Without it nothing is."""

import errno
import signal
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
        self.b.daemon.kill(signal.SIGSTOP)
        error = self.assert_errno(errno.ETIMEDOUT, waiting.result)
        self.b.daemon.kill(signal.SIGCONT)
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


class WaitForNoPermission(IdcTestCase):
    permit = False

    def test_policy_is_final(self):
        for way in Wait.WAYS:
            self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80, wait=1, timeout=-1, **way)
