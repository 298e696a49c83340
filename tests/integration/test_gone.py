# SPDX-License-Identifier: GPL-2.0-or-later
"""Those that have gone before link_mgr has noticed: nobody connects to a listener that is closed, and no listener gets a connect
that its program has given up.

link_mgr is stopped while things happen, so that it finds all of them at once and in whatever order it looks.
"""

import contextlib
import errno

from case import IdcTestCase
from world import wait_until

COUNT = 30
PORT = 3000


class Gone(IdcTestCase):
    @contextlib.contextmanager
    def stopped(self, domain):
        domain.freeze()
        try:
            yield
        finally:
            domain.thaw()

    def connecting(self, domain):
        return sum(one["state"] == "connecting" for one in domain.status()["connections"])

    def wait_requested(self, domain, count):
        wait_until(lambda: self.connecting(domain) == count, 60 * self.world.slowness, what="%d requests" % count)

    def wait_asked(self, domain, puppet):
        """Until all that the puppet was told to do waits for an answer."""
        tasks = "/proc/%d/task" % puppet.process.pid

        def waits():
            states = [domain.task_state("%s/%s" % (tasks, task)) for task in domain.list_directory(tasks)]
            return len(states) > 1 and set(states) == {"S"}

        wait_until(waits, 60 * self.world.slowness, what="a call of link_mgr")

    def assert_one_waits(self, domain, port):
        waiting = [one["waiting"] for one in domain.status()["listeners"] if one["port"] == port]
        self.assertEqual(waiting, [1])


class ClosedListener(Gone):
    def listening(self, domain):
        server = domain.puppet()
        for i in range(COUNT):
            server.do("listen", i, port=PORT + i)
        return server

    def begin_connects(self, client, domid):
        return [client.begin("connect", i, domid=domid, port=PORT + i) for i in range(COUNT)]

    def assert_all_refused(self, connects):
        for connect in connects:
            self.assert_errno(errno.ECONNREFUSED, connect.result)

    def test_between_domains(self):
        self.assert_link_works()
        server, client = self.listening(self.b), self.a.puppet()
        with self.stopped(self.b):
            for i in range(COUNT):
                server.do("close", i)
            connects = self.begin_connects(client, self.b.domid)
            self.wait_requested(self.a, COUNT)
        self.assert_all_refused(connects)

    def test_within_the_domain(self):
        server, client = self.listening(self.a), self.a.puppet()
        client.do("listen", COUNT, port=PORT + COUNT)  # its line to link_mgr is there already
        with self.stopped(self.a):
            for i in range(COUNT):
                server.do("close", i)
            last = client.begin("connect", COUNT + 1, domid=self.a.domid, port=PORT + COUNT - 1)
            self.wait_asked(self.a, client)
            connects = [last] + self.begin_connects(client, self.a.domid)
        self.assert_all_refused(connects)

    def test_shut_down(self):
        """shutdown(2) ends a listener as close(2) does, in whichever direction."""
        for number, how in enumerate(("r", "w", "rw")):
            for domain in (self.a, self.b):
                with self.subTest(how=how, domain=domain):
                    server, client, port = self.b.puppet(), domain.puppet(), PORT + number
                    server.do("listen", 1, port=port)
                    server.do("shutdown", 1, how=how)
                    self.assert_errno(errno.ECONNREFUSED, client.do, "connect", 1, domid=self.b.domid, port=port)
                    server.end()

    def test_port_and_name_of_two_that_are_closed(self):
        """One listener had the port, another the name: both are free at once."""
        server, other = self.a.puppet(), self.a.puppet()
        other.do("listen", 1, port=PORT + 1)  # its line to link_mgr is there already
        server.do("listen", 1, port=PORT)
        server.do("listen", 2, name="org.example.gone")
        with self.stopped(self.a):
            listening = other.begin("listen", 3, port=PORT, name="org.example.gone")
            self.wait_asked(self.a, other)
            server.do("close", 1)
            server.do("close", 2)
        listening.result()


class GivenUp(Gone):
    def assert_served(self, server, client, domid, port=PORT):
        """The listener's only place is free for one that is meant."""
        client.do("connect", 1, domid=domid, port=port)
        self.assert_one_waits(self.b if domid == self.b.domid else self.a, port)
        server.do("accept", 1, 2)
        client.do("send", 1, len=10, seed=7)
        client.do("close", 1)
        self.assertEqual(server.do("check", 2, seed=7)["n"], 10)

    def test_request_in_the_ring(self):
        """The other link_mgr finds the requests and the new listener at the same time, in either order."""
        self.assert_link_works()
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 3, port=PORT - 1)  # its line to link_mgr is there already
        for i in range(10):
            self.give_up_in_the_ring(client, server, PORT + i)
            self.assert_served(server, client, self.b.domid, PORT + i)

    def give_up_in_the_ring(self, client, server, port):
        """One that is told so, and one that is killed; then somebody listens."""
        other = self.a.puppet()
        with self.stopped(self.b):
            before = self.connecting(self.a)
            impatient = client.begin("connect", 1, domid=self.b.domid, port=port, timeout=100)
            self.wait_requested(self.a, before + 1)
            other.begin("connect", 1, domid=self.b.domid, port=port)
            self.wait_requested(self.a, before + 2)
            self.assert_errno(errno.ETIMEDOUT, impatient.result)
            other.kill()
            listening = server.begin("listen", 1, port=port, backlog=1)
            self.wait_asked(self.b, server)
        listening.result()

    def test_own_link_mgr_has_not_begun(self):
        self.assert_link_works()
        server, client, other = self.b.puppet(), self.a.puppet(), self.a.puppet()
        other.do("listen", 1, port=PORT + 1)  # its line to link_mgr is there already
        with self.stopped(self.a):
            other.begin("connect", 2, domid=self.b.domid, port=PORT)
            self.wait_asked(self.a, other)
            other.kill()
            server.do("listen", 1, port=PORT, backlog=1)
        self.assert_served(server, client, self.b.domid)

    def test_within_the_domain(self):
        for nowait in (0, 1):
            with self.subTest(nowait=nowait):
                server, client, other = self.a.puppet(), self.a.puppet(), self.a.puppet()
                server.do("listen", 3, port=PORT + 1)
                other.do("listen", 1, port=PORT + 2)
                with self.stopped(self.a):
                    listening = server.begin("listen", 1, port=PORT, backlog=1)
                    self.wait_asked(self.a, server)
                    other.begin("connect", 2, domid=self.a.domid, port=PORT, nowait=nowait)
                    self.wait_asked(self.a, other)
                    other.kill()
                listening.result()
                self.assert_served(server, client, self.a.domid)
                server.end()
                client.end()

