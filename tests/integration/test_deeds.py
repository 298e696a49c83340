# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile peer does for as long as it likes (tests/programs/hostile_deeds.c), on both platforms: what its victim says and
does about it, and that nobody else notices. docs/security.md has the table.

Two bystanders go on meanwhile, and each of their bytes is checked: a domain with a connection to the victim, and a user of the
victim's domain who connects to that domain anew each time. The deed goes on before and after that, which its own count shows.
"""

import errno

from case import KEEP_LINKS, IdcTestCase
from world import wait_until

MIB = 1 << 20
MEMORY = 4  # MiB of the victim for each peer
STREAM, SEQPACKET, SMALL, LARGE = 80, 81, 82, 83  # ports of the victim; these and the numbers below are those of hostile.h
BACKLOG, FEW = 4, 5
NODES = 2000
USER = 12345


class DeedCase(IdcTestCase):
    rounds = 3
    options = KEEP_LINKS + ("--memory", str(MEMORY))
    timeout = 120

    # ---- the parts ----

    def begin(self, victim, other):
        self.victim, self.other = victim, other
        self.host = None
        self.client, self.server, self.service = other.puppet(), victim.puppet(), other.puppet()
        self.user = victim.puppet(uid=USER if self.world.can_change_uid else 0)
        self.server.do("listen", 100, port=4000)
        self.client.do("connect", 1, domid=victim.domid, port=4000)
        self.server.do("accept", 100, 1)
        self.service.do("listen", 100, port=4001)
        self.seed = 0

    def spawn_liar(self, name):
        raise NotImplementedError

    def expect(self, word):
        line = self.liar.stdout.readline(120 * self.world.slowness).decode().strip()
        self.assertEqual(line, word, "%r: %r" % (self.liar, self.liar.stderr.pending()))

    def ask(self, question):
        self.liar.write(question.encode() + b"\n")
        line = self.liar.stdout.readline(120 * self.world.slowness).decode().strip()
        self.assertTrue(line, "%s: %r: %r" % (question, self.liar, self.liar.stderr.pending()))
        return line

    def count(self):
        return int(self.ask("count").split()[1])

    def play(self, name, domid):
        """One deed, from its beginning to its end."""
        self.domid = domid
        if self.host:
            self.host.kill()  # with what the deed before has left in the backlogs
        self.host = self.victim.puppet()
        for place, port in enumerate((STREAM, SEQPACKET, SMALL, LARGE), 1):
            self.host.do("listen", place, port=port, type="seqpacket" if port == SEQPACKET else "stream",
                         backlog=BACKLOG if port == SMALL else 4000)
        self.liar = self.spawn_liar(name)
        self.expect("ready")
        self.expect("begun")
        getattr(self, "see_" + name)()
        self.liar.close_stdin()
        self.assertEqual(self.liar.wait(), 0, self.liar.stderr.pending())

    def link_to_liar(self):
        return [link for link in self.victim.status(False)["links"] if link["peer"] == self.domid][0]

    # ---- the bystanders ----

    def one_round(self):
        self.seed += 1
        for source, target in ((self.client, self.server), (self.server, self.client)):
            source.do("send", 1, len=10000, seed=self.seed)
            self.assertEqual(target.do("check", 1, len=10000, seed=self.seed)["n"], 10000)
        self.user.do("connect", 1, domid=self.other.domid, port=4001)
        self.service.do("accept", 100, 1)
        for source, target in ((self.user, self.service), (self.service, self.user)):
            source.do("send", 1, len=1000, seed=self.seed)
            source.do("shutdown", 1)
            self.assertEqual(target.do("check", 1, seed=self.seed)["n"], 1000)
        self.user.do("close", 1), self.service.do("close", 1)

    def bystand(self, goes_on=False):
        """goes_on: it is something that the liar does, and not something that it leaves undone."""
        before = self.count()
        for _ in range(self.rounds):
            self.one_round()
        if goes_on:
            wait_until(lambda: self.count() > before, what="more of the deed")

    def bystand_and_forgive(self, goes_on=False):
        """The victim bears it: the link stays up, and is of use as soon as the peer is honest."""
        self.bystand(goes_on)
        self.assertEqual(self.ask("link"), "up")
        self.assertEqual(self.link_to_liar()["state"], "up")
        self.assertEqual(self.ask("finish"), "alive")

    def assert_memory_held(self):
        self.assertLessEqual(self.link_to_liar()["memory_held"], MEMORY * MIB)

    # ---- silence ----

    def see_never_hello(self):
        """The link is given up; the peer may try again."""
        wait_until(lambda: self.link_to_liar()["state"] == "greeting", what="a victim that waits for HELLO")
        self.bystand()
        wait_until(lambda: self.ask("link") == "ended", what="end of the link")
        self.assertEqual(self.link_to_liar()["last_error"], "the other side does not answer")
        self.assertEqual(self.ask("finish"), "alive")

    see_half_hello = see_never_hello

    def see_half_frame(self):
        self.bystand_and_forgive()

    def see_no_answer(self):
        """A program of the victim's waits for the liar, as long as it wants to."""
        self.assert_errno(errno.ETIMEDOUT, self.host.do, "connect", 10, domid=self.domid, port=1000, timeout=300)
        self.bystand_and_forgive()

    # ---- connections ----

    def connections(self, port):
        return [one for one in self.victim.status()["connections"] if one["local_port"] == port and one["peer_domid"] == self.domid]

    def accept_small(self, count):
        """As with TCP, what ends before it is accepted keeps its place in the backlog."""
        for _ in range(count):
            self.host.do("accept", 3, 20)
            self.assert_errno(errno.ECONNRESET, self.host.do, "recv", 20)
            self.host.do("close", 20)

    def see_fill_backlog(self):
        self.assertEqual(len(self.connections(SMALL)), BACKLOG)
        self.bystand_and_forgive()
        self.liar.close_stdin()
        self.accept_small(BACKLOG)

    def see_fill_memory(self):
        self.assertGreater(self.count(), 500)
        self.assert_memory_held()
        self.bystand()
        self.assertEqual(self.ask("link"), "up")
        self.assertEqual(self.link_to_liar()["connections"], self.count())

    def write_to_liar(self):
        """Of 16 MiB nothing can be lost, and little is there."""
        self.host.do("accept", 1, 10)
        writing = self.host.begin("send", 10, len=16 * MIB)
        self.bystand()
        self.assertFalse(writing.done())
        self.assert_memory_held()
        self.assertEqual(self.link_to_liar()["state"], "up")
        self.liar.close_stdin()
        with self.assertRaises(OSError) as context:
            writing.result()
        self.assertIn(context.exception.errno, (errno.ECONNRESET, errno.EPIPE))
        self.host.do("close", 10)

    see_never_drain = write_to_liar
    see_no_credit = write_to_liar

    def see_never_last(self):
        """The connections stay for as long as the link, and cost what connections cost."""
        self.host.do("unlisten", 1)
        self.bystand()
        self.assertEqual(self.link_to_liar()["connections"], FEW)
        self.assert_memory_held()
        self.host.do("listen", 1, port=STREAM, backlog=4000)
        self.bystand_and_forgive()

    def see_unfinished_messages(self):
        self.assert_memory_held()
        self.bystand_and_forgive()

    def see_connect_and_reset(self):
        """The listener's program gets all of them, and learns how they ended."""
        self.accept_small(10 * BACKLOG)
        self.bystand_and_forgive(True)

    def see_refused_requests(self):
        self.bystand_and_forgive(True)
        self.assertGreater(self.victim.counters()["requests_refused"], 256)

    # ---- floods ----

    def see_bare_events(self):
        self.bystand_and_forgive(True)

    see_skipped_frames = see_bare_events
    see_same_credit = see_bare_events
    see_same_bye = see_bare_events

    # ---- the store ----

    def see_link_churn(self):
        wait_until(lambda: "ended soon" in self.link_to_liar()["last_error"], what="a pause")
        made = self.victim.counters()["links_made"]
        self.bystand()
        self.assertLess(self.victim.counters()["links_made"] - made, 10)

    def see_flapping_alive(self):
        wait_until(lambda: self.ask("link") == "ended", what="end of the link")
        self.assertRegex(self.link_to_liar()["last_error"], "its link_mgr (has ended|was restarted)")
        self.bystand(True)
        self.assertEqual(self.ask("finish"), "alive")

    def see_false_offers(self):
        made = self.victim.counters()["links_made"]
        self.bystand(True)
        self.assertEqual(self.victim.counters()["links_made"], made)

    def see_odd_values(self):
        self.bystand()
        self.assertEqual(self.ask("finish"), "alive")

    def see_many_nodes(self):
        wait_until(lambda: self.count() > NODES, what="all nodes")
        self.bystand(True)

    def see_store_flood(self):
        """The link is still of use, and so is the store to others: here a permission is taken away and given again."""
        self.bystand(True)
        self.assertEqual(self.link_to_liar()["state"], "up")
        for ports, number in (("4000", errno.EACCES), ("4000,4001", 0)):
            self.world.setup(self.victim, self.other, ports=ports)
            wait_until(lambda: self.user_connects() == number, what="a rule that is in force")
        self.bystand(True)
        self.assertEqual(self.ask("finish"), "alive")

    def user_connects(self):
        """0, or the errno."""
        try:
            self.user.do("connect", 1, domid=self.other.domid, port=4001)
        except OSError as error:
            return error.errno
        self.service.do("accept", 100, 1)
        self.user.do("close", 1), self.service.do("close", 1)
        return 0


DEEDS = [name[4:] for name in dir(DeedCase) if name.startswith("see_")]


class Deeds(DeedCase):
    """a has a link to b all the time. Each deed is done by a domain that attaches to what b offers, and by one that offers."""
    platforms = ("local",)
    LOWER, HIGHER = 100, 4000
    SLOW = {"never_hello": LOWER, "half_hello": HIGHER, "many_nodes": HIGHER}  # once is enough

    def spawn_liar(self, name):
        self.world.setup(self.b, self.domid)
        return self.a.spawn(["hostile", "deed", "--domid", str(self.domid), "--victim", str(self.b.domid), name])

    def both(self, name):
        self.begin(self.b, self.a)
        for domid in (self.SLOW[name],) if name in self.SLOW else (self.LOWER, self.HIGHER):
            self.play(name, domid)


def _add_tests():
    for name in DEEDS:
        setattr(Deeds, "test_" + name, lambda self, name=name: self.both(name))


_add_tests()


class DeedsOnXen(DeedCase):
    """A program takes the place of a's link_mgr."""
    platforms = ("xen",)
    roles = "abc"
    timeout = 300
    rounds = 1
    LEFT_OUT = ("half_hello",)  # takes as long as never_hello
    # Those for which it makes a difference who offers. What passes on a link that is up is the same.
    OF_SETUP = ("never_hello", "flapping_alive", "odd_values", "many_nodes", "store_flood", "link_churn", "false_offers")

    def spawn_liar(self, name):
        return self.a.spawn(["hostile", "deed", "--platform", "xen", "--domid", str(self.a.domid), "--victim",
                             str(self.victim.domid), name])

    def all_to(self, victim, other, deeds):
        self.a.stop()
        self.begin(victim, other)
        for name in deeds:
            with self.subTest(deed=name):
                began = self.world.now()
                self.play(name, self.a.domid)
                print("         %-20s %6.2f s" % (name, self.world.now() - began), flush=True)
        self.a.start(*self.options)

    def test_to_one_that_offers(self):
        others = [name for name in DEEDS if name not in self.OF_SETUP + self.LEFT_OUT]
        self.all_to(self.b, self.c, others + list(self.OF_SETUP))  # pauses follow the last ones

    def test_to_dom0_that_attaches(self):
        """It has links with both guests, and has granted nothing to either."""
        before = self.world.xen.grants().get(self.c.domid, 0)
        self.all_to(self.c, self.b, self.OF_SETUP)
        self.assertEqual(self.c.link(self.b)["state"], "up")
        self.assertEqual(self.world.xen.grants().get(self.c.domid, 0), before)
