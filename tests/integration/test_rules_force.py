# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules that change under connections which carry data: whose rule goes ends with EACCES in both domains, and nobody else's does.

The texts are written here as idc-setup writes them (docs/xenstore.md, "Rules"): so one domain can learn of a change first."""

import concurrent.futures
import errno
import itertools
import time

from case import IdcTestCase
from world import wait_until

KEPT = (1001, 1002)  # the ports of the connections that stay: EACH of them on each
EACH = 10
ENDED = 1003
BOUND = 30  # seconds until both domains know: on a machine on which nothing else runs it is a tenth of one
LENGTH = 1 << 40  # more than is sent


class Force(IdcTestCase):
    permit = False

    def setUp(self):
        self.generations = itertools.count(1)
        super().setUp()

    # ---- rules ----

    def tell(self, domain, until=None, allow=True, deny=False):
        """Allows both ports of KEPT by a rule each, and ENDED by a third if allow, which deny stands before."""
        rules = ["rule 1 deny %d at=test:9" % ENDED] if deny else []
        rules += ["rule %d allow %d at=test:%d" % (number, port, number) for number, port in enumerate(KEPT, 2)]
        if allow:
            rules.append("rule 4 allow %d%s at=test:4" % (ENDED, " until=%d" % until if until else ""))
        numbers = ",".join(rule.split()[1] for rule in rules)
        way, peer = ("out", self.b) if domain is self.a else ("in", self.a)
        lines = ["version 1", *rules, "peer %d %s=%s" % (peer.domid, way, numbers), "end", ""]
        self.world.write_rules(domain, next(self.generations), "\n".join(lines))

    # ---- connections ----

    def connect(self, client, server):
        """The one whose rule will go, as soon as both domains know of the rule; with data under way both ways. What runs on it."""
        def connected():
            try:
                client.do("connect", 1, domid=self.b.domid, port=ENDED)
                return True
            except OSError as error:
                self.assertEqual(error.errno, errno.EACCES)
                return False

        wait_until(connected, what="connect")
        server.do("accept", 101, 1)
        running = [side.begin(verb, 1, **arguments) for side, seed in ((client, 1), (server, 2))
                   for verb, arguments in (("send", {"len": LENGTH, "seed": seed}), ("check", {"seed": 3 - seed}))]
        self.wait_for_data(1)
        return running

    def received(self):
        """By each connection that stays, in each domain."""
        return [flows.progress()[1] for flows in self.flows]

    def wait_for_data(self, least):
        """On each connection that stays, and on the other one if there is one, in both domains."""
        before = self.received()
        totals = [domain.links_up()[0] for domain in (self.a, self.b)]
        self.assertTrue(all(one["connections"] in (len(KEPT) * EACH, len(KEPT) * EACH + 1) for one in totals), totals)
        wait_until(lambda: all(now >= then + least for a, b in zip(self.received(), before) for now, then in zip(a, b)),
                   120 * self.world.slowness, "data on each connection")

    def begin_flows(self):
        self.flows = []
        for port in KEPT:
            accept = self.b.flows("accept", port=port, count=EACH, bytes=-1, chunk=4096)
            accept.expect("ready")
            connect = self.a.flows("connect", domid=self.b.domid, port=port, count=EACH, bytes=-1, chunk=4096)
            self.flows += [connect, accept]
        for one in self.flows:
            self.assertEqual(one.expect("open")["n"], EACH)

    def end_flows(self):
        """Every byte has arrived, in its place, or done() says what went wrong."""
        for one in self.flows:
            one.say("stop")
        done = [one.done() for one in self.flows]
        for connect, accept in zip(done[::2], done[1::2]):
            self.assertEqual([connect["sent"], connect["hash_sent"], connect["received"], connect["hash_received"]],
                             [accept["received"], accept["hash_received"], accept["sent"], accept["hash_sent"]])
        return sum(one["received"] for one in done)

    # ---- the end of one of them ----

    def seconds_to_end(self, running, take_away):
        """take_away() returns the time (time.time) at which the rule goes. How long until all that runs has ended."""
        def end_of(one):
            """A reset is told once: what a program's send has heard of, its recv in another thread sees as an end."""
            try:
                self.assertEqual(one.result().get("end"), 1)  # send never ends well: it has too much to send
            except OSError as error:
                self.assertEqual(error.errno, errno.EACCES, error)
            return time.time()

        with concurrent.futures.ThreadPoolExecutor(len(running)) as pool:
            ends = [pool.submit(end_of, one) for one in running]
            self.assertFalse(any(one.done() for one in running))
            begin = take_away()
            return max(one.result() for one in ends) - begin

    def run_each(self, take_away):
        """take_away(domains): from these. Each domain by itself, and both at once."""
        both = (self.a, self.b)
        for domain in both:
            self.tell(domain)
        client, server = self.a.puppet(), self.b.puppet()
        wait_until(lambda: self.is_allowed(client, ENDED), what="rules")
        server.do("listen", 101, port=ENDED)
        self.begin_flows()
        for name, domains in ("connecting", (self.a,)), ("listening", (self.b,)), ("both", both):
            for domain in both:
                self.tell(domain)
            seconds = self.seconds_to_end(self.connect(client, server), lambda domains=domains: take_away(domains))
            print("         %s: %d ms until both programs know" % (name, seconds * 1000))
            self.assertLess(seconds, BOUND * self.world.slowness)
            for side in (client, server):
                side.do("close", 1)
            self.wait_for_data(100000)
            self.assertEqual([domain.links_up()[0]["connections"] for domain in both], [len(KEPT) * EACH] * 2)
        print("         %d MB on the connections that stay" % (self.end_flows() / 1e6))

    def is_allowed(self, client, port):
        """Nothing listens there yet."""
        try:
            client.do("connect", 1, domid=self.b.domid, port=port)
        except OSError as error:
            return error.errno == errno.ECONNREFUSED
        return False

    def write_all(self, domains, **change):
        begin = time.time()
        for domain in domains:
            self.tell(domain, **change)
        return begin

    def test_new_rules(self):
        self.run_each(lambda domains: self.write_all(domains, allow=False))

    def test_deny_before_it(self):
        self.run_each(lambda domains: self.write_all(domains, deny=True))

    def test_until(self):
        if self.world.platform == "xen":
            self.skipTest("the clocks of guests are not this machine's")

        def expire(domains):
            until = int(time.time()) + 3
            written = self.write_all(domains, until=until)
            return max(until, written)

        self.run_each(expire)
