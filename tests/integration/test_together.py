# SPDX-License-Identifier: GPL-2.0-or-later
"""Links come and go by themselves: both sides want one at the same instant, an idle one ends, in any order of starting and
permission."""

import os
import random
import time

from case import IdcTestCase
from world import wait_until


class SameInstant(IdcTestCase):
    options = ("--idle", "1")  # ms: it goes down as soon as nobody uses it
    timeout = 600

    def test_both_connect_from_no_link(self):
        rounds = 1000 if self.world.platform == "local" else 100
        seed = int(os.environ.get("IDC_TEST_SEED", time.time_ns() % 1000000))
        print("         IDC_TEST_SEED=%d" % seed)
        chance = random.Random(seed)
        puppets = {domain: domain.puppet() for domain in (self.a, self.b)}
        for puppet in puppets.values():
            puppet.do("listen", 9, port=80, backlog=4096)
        for number in range(rounds):
            self.one_round(puppets, chance, number)

    def one_round(self, puppets, chance, number):
        order = [(self.a, self.b), (self.b, self.a)]
        if chance.random() < 0.5:
            order.reverse()
        before = [domain.counters()["links_made"] for domain in (self.a, self.b)]
        pause = chance.choice((0, 0, 0.0001, 0.0003, 0.001))
        pending = []
        for domain, other in order:
            pending.append(puppets[domain].begin("connect", 1, domid=other.domid, port=80))
            if pause and len(pending) == 1:
                time.sleep(pause)  # not for order: to meet the other side in each state of its way
        for one in pending:
            one.result(60 * self.world.slowness)
        made = [domain.counters()["links_made"] for domain in (self.a, self.b)]
        # One whose connection was not there yet when the first connect ended may have seen the idle link end, never two at once.
        self.assertEqual(made, [value + 1 for value in before], "round %d" % number)
        for domain, _ in order:
            puppets[domain].do("accept", 9, 2)
        for puppet in puppets.values():
            puppet.do("close", 1)
            puppet.do("close", 2)
        for domain, other in order:
            wait_until(lambda: domain.link(other)["state"] == "down", what="end of the idle link", interval=0.001)


class Coming(IdcTestCase):
    """Any order works."""
    permit = False

    def test_permission_after_the_start(self):
        self.world.setup(self.a, self.b)
        self.world.acquaint(self.a, self.b)
        self.assert_link_works()

    def test_permission_before_the_start(self):
        for first, second in ((self.a, self.b), (self.b, self.a)):
            self.a.stop()
            self.b.stop()
            self.world.setup(self.a, self.b)
            first.start(*self.options)
            second.start(*self.options)
            self.assert_link_works()
            self.world.setup(self.a, self.b, remove=True)

    def test_peer_that_appears_later(self):
        self.b.stop()
        self.world.setup(self.a, self.b)
        client = self.a.puppet()
        with self.assertRaises(OSError) as context:
            client.do("connect", 1, domid=self.b.domid, port=80)
        self.assertEqual(context.exception.name, "EHOSTUNREACH")
        self.b.start(*self.options)
        self.assert_link_works(client)

    def test_idle_link_ends_and_comes_back(self):
        self.a.stop()
        self.b.stop()
        self.world.setup(self.a, self.b)
        for domain in (self.a, self.b):
            domain.start("--idle", "50", "--verbose")
        for number in range(1, 6):
            self.assert_link_works()
            for domain, other in ((self.a, self.b), (self.b, self.a)):
                wait_until(lambda: domain.link(other)["state"] == "down", what="end of the idle link")
                self.assertEqual(domain.counters()["links_made"], number)
                self.assertEqual(domain.link(other)["last_error"], "")
