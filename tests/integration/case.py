# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of all integration tests.

Each test begins in a clean world, whatever the one before has left, and gets fresh link_mgrs in the domains of `roles`, which may connect to each other if `permit`. After each test, whatever
it did: its programs are killed; then in every link_mgr no connection and no listener is left, it has as many descriptors as after
its start (and a few for each link that is up or was) and one thread; SIGTERM ends it with status 0, and no node of the store,
socket or file is left. A test has `timeout` seconds (times the slowness of the platform, LONGEST at most; or IDC_TEST_TIMEOUT).

`platforms` says where a class makes sense; runner.platform is decided by tests/integration/run, which sets IdcTestCase.world.
"""

import os
import signal
import unittest

from world import wait_until

FDS_OF_A_LINK = 6
LONGEST = 1200  # seconds for a test
KEEP_LINKS = ("--idle", "3600000", "--verbose")


class TestTimeout(KeyboardInterrupt):
    """Of a kind that nothing on the way up takes for a failure of its own."""


def _alarm(number, frame):
    raise TestTimeout("the test takes too long")


class IdcTestCase(unittest.TestCase):
    world = None
    platforms = ("local", "xen")
    roles = "ab"
    permit = True
    options = KEEP_LINKS  # of link_mgr
    timeout = 300  # for a test that hangs: none comes near it, on a busy machine neither
    maxDiff = None

    def setUp(self):
        if self.world.platform not in self.platforms:
            self.skipTest("not on " + self.world.platform)
        signal.signal(signal.SIGALRM, _alarm)
        signal.alarm(int(os.environ.get("IDC_TEST_TIMEOUT") or min(self.timeout * self.world.slowness, LONGEST)))
        self.a, self.b, self.c = self.world.a, self.world.b, self.world.c
        self.domains = [getattr(self.world, role) for role in self.roles]
        self.world.clean_up()
        for domain in self.world.domains:
            domain.forget_daemons()
        self.world.begin()
        self.addCleanup(self._end)
        if self.permit and len(self.domains) > 1:
            self.world.setup(*self.domains)
        for domain in self.domains:
            domain.begin_start(*self.options)
        for domain in self.domains:
            domain.wait_ready()
        self.world.acquaint(*self.domains)

    # ---- the end ----

    def _tell_state(self):
        """How a failed test left things: what is in the store, and what each link_mgr thinks of its links."""
        try:
            print("---- the store: %r" % self.world.store())
            for domain in self.world.domains:
                if domain.daemon:
                    print("---- %r: %r" % (domain, domain.status(False)["links"]))
        except Exception as problem:  # pylint: disable=broad-except; it was about to fail anyway
            print("---- %r" % problem)

    def _end(self):
        signal.alarm(int(min(300 * self.world.slowness, LONGEST)))
        try:
            for domain in self.world.domains:
                if domain.daemon:
                    domain.thaw()  # a test that failed may have stopped it
            if not self._outcome.success:
                self._tell_state()
            for domain in self.world.domains:
                domain.kill_programs()
            for domain in self.world.domains:
                if domain.daemon:
                    self._check_and_stop(domain)
            self.assertEqual(self.world.stray_files(), [])
        finally:
            self.world.clean_up()
            signal.alarm(0)

    def _check_and_stop(self, domain):
        self.assert_quiet(domain)
        domain.stop()

    def assert_quiet(self, domain, timeout=60):
        """Nothing is left of what programs did with its link_mgr."""
        def left():
            status = domain.status()
            usage = domain.usage()
            # Memory that is kept for the next link has descriptors too.
            links = sum(link["state"] not in ("down", "backoff") or link["pages_shared"] > 0 for link in status["links"])
            spare = usage.fds - domain.base.fds - 1 - links * FDS_OF_A_LINK
            return (status["connections"], [one for one in status["listeners"] if one["port"] != 1], max(0, spare),
                    usage.threads - domain.base.threads)

        last = None

        def nothing_left():
            nonlocal last
            last = left()
            return last == ([], [], 0, 0)

        try:
            wait_until(nothing_left, timeout * self.world.slowness)
        except AssertionError:
            self.fail("left in link_mgr of %r: connections %r, listeners %r, %d descriptors, %d threads" % ((domain,) + last))

    # ---- help ----

    def pair(self, port=1000, client=None, server=None, type=None, place=1):
        """Two puppets (new, unless given) with a connection from a to b in place (the listener is in place + 100)."""
        client = client or self.a.puppet()
        server = server or self.b.puppet()
        server.do("listen", place + 100, port=port, type=type)
        taking = server.begin("accept", place + 100, place)
        client.do("connect", place, domid=self.b.domid, port=port, type=type)
        taking.result()
        return client, server

    def assert_errno(self, expected, call, *arguments, **named):
        """call must raise an OSError with this errno; returns it."""
        with self.assertRaises(OSError) as context:
            call(*arguments, **named)
        self.assertEqual(context.exception.errno, expected, context.exception)
        return context.exception

    def assert_link_works(self, client=None, server=None, port=4999):
        """A connection from a to b with data both ways and a clean end."""
        client, server = self.pair(port, client, server, place=40)
        client.do("send", 40, len=1000, seed=3)
        client.do("shutdown", 40)
        self.assertEqual(server.do("check", 40, seed=3)["n"], 1000)
        server.do("send", 40, len=2000, seed=4)
        server.do("close", 40)
        self.assertEqual(client.do("check", 40, seed=4)["n"], 2000)
        client.do("close", 40)
        server.do("unlisten", 140)
