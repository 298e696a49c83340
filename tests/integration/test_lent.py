# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that does not give up the memory of links (tests/programs/hostile.c, churn). Whatever it does, it has no more of the
victim's pages than two links, is told no more than that, and others have their links. On Xen these pages are grants.
"""

import errno
import re

from case import IdcTestCase
from test_xen_only import XenCase
from world import wait_until

LINK = 129  # pages of a link with rings of 256 KiB
CEILING = 2 * LINK
# The liar's links last longer than half of that, so they are not counted as short (docs/protocol.md), and there is no pause.
IDLE = ("--idle", "200", "--verbose")


class Churn:
    """b is the victim, with an honest link to `other` all the time. The churner has a domid below b's, so that b offers."""
    CYCLES = 150

    def begin(self):
        self.b.stop()
        self.b.start(*IDLE)

    def row(self):
        return [link for link in self.b.status(False)["links"] if link["peer"] == self.liar_domid()][0]

    def churn(self, how, cycles):
        liar = self.start_liar("churn", how, str(cycles))
        self.expect(liar, "ready")
        return liar

    def refusal(self):
        return "no link: domain %d still holds %d pages of links that have ended" % (self.liar_domid(), CEILING)

    def churn_and_be_refused(self):
        liar = self.churn("hold", 2)
        self.expect(liar, "made")
        wait_until(lambda: self.row()["last_error"] == self.refusal(), what="refusal of the third link")
        return liar

    def expect(self, liar, word, patience=60):
        line = liar.stdout.readline(patience * self.world.slowness).decode().strip()
        self.assertEqual(line, word, "%r: %r" % (liar, liar.stderr.pending()))

    def exchange(self, client, server, seed):
        client.do("send", 1, len=1000, seed=seed)
        self.assertEqual(server.do("check", 1, len=1000, seed=seed)["n"], 1000)

    def new_connections(self, other, port):
        """More of them with the honest peer, one way and the other."""
        for client, server in ((other, self.b), (self.b, other)):
            accepting, connecting = server.puppet(), client.puppet()
            accepting.do("listen", 1, port=port)
            connecting.do("connect", 2, domid=server.domid, port=port)
            self.assertEqual(accepting.do("accept", 1, 2)["domid"], client.domid)
            accepting.do("close", 1)

    def end_of_churn(self, liar):
        """It lets go, and is welcome."""
        liar.write(b"\n")
        self.expect(liar, "given up")
        self.expect(liar, "welcome")
        wait_until(lambda: self.row()["pages_held"] == 0, what="nothing held")
        self.assertLessEqual(self.row()["pages_shared"], CEILING)
        liar.kill()
        liar.wait()

    def let_go(self, other):
        """It says each time that it has let go."""
        self.begin()
        client, server = self.honest_pair(other)
        liar = self.churn("let-go", self.CYCLES)
        self.expect(liar, "made", 10 * self.CYCLES)
        row = self.row()
        self.assertLessEqual(row["pages_shared"], CEILING)
        self.assertGreaterEqual(row["pages_shared"], LINK)
        self.exchange(client, server, 1)
        self.measure(liar)
        self.new_connections(other, 4100)
        self.end_of_churn(liar)

    def hold(self, other):
        """It doesn't say so, but breaks the protocol. It is refused, with a reason, until it lets go."""
        self.begin()
        client, server = self.honest_pair(other)
        liar = self.churn_and_be_refused()
        row = self.row()
        self.assertEqual((row["pages_held"], row["pages_shared"]), (CEILING, CEILING))
        text = self.refusal()
        self.b.wait_log(text.encode())
        error = self.assert_errno(errno.ENOBUFS, self.b.puppet().do, "connect", 1, domid=self.liar_domid(), port=80)
        self.assertIn(text, error.strerror)
        counters = self.b.counters()
        self.assertEqual(counters["pages_held_now"], CEILING)
        self.assertGreaterEqual(counters["pages_shared_now"], CEILING)
        shown = self.b.run(["idc", "status"]).stdout.decode()
        self.assertIn(text, re.sub(r"\s+", " ", shown))
        self.exchange(client, server, 1)
        self.measure(liar)
        self.new_connections(other, 4100)
        self.end_of_churn(liar)


class ChurnHere(Churn, IdcTestCase):
    platforms = ("local",)
    timeout = 600
    LIAR = 100

    def liar_domid(self):
        return self.LIAR

    def start_liar(self, mode, *what):
        self.world.setup(self.b, self.LIAR)
        return self.a.spawn(["hostile", mode, "--domid", str(self.LIAR), "--victim", str(self.b.domid), *what])

    def honest_pair(self, _other):
        return self.pair(4000)

    def measure(self, liar):
        """The victim has not more descriptors and memory for it."""
        usage = self.b.usage()
        self.assertLess(usage.fds - self.b.base.fds, 40, "%r" % liar)

    def test_one_that_says_it_has_let_go(self):
        self.let_go(self.a)

    def test_one_that_holds(self):
        self.hold(self.a)

    def test_one_that_is_killed(self):
        """What it held is given back, without anybody asking, and the next process of that domid is welcome."""
        self.begin()
        liar = self.churn_and_be_refused()
        liar.kill()
        liar.wait()
        wait_until(lambda: self.row()["pages_shared"] == 0, what="nothing shared")
        liar = self.churn("hold", 1)
        self.expect(liar, "made")

    def test_one_without_a_rule(self):
        """What it holds is counted, and given back when it is gone, without anybody asking."""
        self.begin()
        liar = self.churn_and_be_refused()
        self.world.setup(self.b, self.LIAR, remove=True)
        wait_until(lambda: self.LIAR not in [link["peer"] for link in self.b.status(False)["links"]], what="no row")
        counters = self.b.counters()
        self.assertEqual((counters["pages_held_now"], counters["pages_shared_now"]), (CEILING, CEILING))
        fds = self.b.usage().fds
        liar.kill()
        liar.wait()
        wait_until(lambda: self.b.usage().fds <= fds - 4, what="two memfds and two sockets less")
        self.assertEqual(self.b.counters()["pages_shared_now"], 0)


class ChurnOnXen(Churn, XenCase):
    """a has stopped its link_mgr and is the liar, b is the victim, and dom0 the honest one."""
    timeout = 150
    CYCLES = 220

    def liar_domid(self):
        return self.a.domid

    def start_liar(self, mode, *what):
        if self.a.daemon:
            self.a.stop()
        return self.liar(self.b, mode, *what)

    def honest_pair(self, other):
        return self.connected(other, self.b, port=4000)

    def measure(self, liar):
        """What Xen knows: grants of b that somebody has mapped, and the size of its grant table, in frames of 512."""
        grants = self.xen.grants().get(self.b.domid, 0)
        frames, most = self.xen.grant_frames()[self.b.domid]
        print("         mapped grants of b: %d; its table has %d frames of at most %d: at least %d grants are free" % (
            grants, frames, most, 512 * most - 512 * frames))
        self.assertLessEqual(grants, CEILING + LINK + 20, "%r" % liar)
        self.assertGreaterEqual(512 * (most - frames), 30000)

    def test_one_that_says_it_has_let_go(self):
        self.let_go(self.c)

    def test_one_that_holds(self):
        self.hold(self.c)

    def test_one_whose_domain_is_destroyed(self):
        """Nothing is kept for it, and nothing of it is left in Xen."""
        self.begin()
        self.honest_pair(self.c)
        self.churn_and_be_refused()
        gone = self.a.domid
        before = self.xen.grants()[self.b.domid]
        self.xen.destroy(self.a.xen)
        rows = lambda: [link["pages_shared"] for link in self.b.status(False)["links"] if link["peer"] == gone]  # noqa: E731
        wait_until(lambda: sum(rows()) == 0, what="nothing shared", interval=0.5)
        wait_until(lambda: self.xen.grants()[self.b.domid] == before - CEILING, what="the grants of the two links", interval=1)
        self.assert_no_zombies()
        self.world.setup(gone, remove=True)
        self.assert_no_nodes_of(gone)
        self.revive(self.a)
        self.connected(self.c, self.b, port=4001, place=2)

    def test_one_without_a_rule(self):
        """Its domain is destroyed after its rule was removed. Nobody asks for the status meanwhile."""
        self.begin()
        self.honest_pair(self.c)
        self.churn_and_be_refused()
        gone = self.a.domid
        self.world.setup(self.a, self.b, remove=True)
        wait_until(lambda: gone not in [link["peer"] for link in self.b.status(False)["links"]], what="no row", interval=0.5)
        self.assertEqual(self.b.counters()["pages_held_now"], CEILING)
        before, fds = self.xen.grants()[self.b.domid], self.b.usage().fds
        self.xen.destroy(self.a.xen)
        wait_until(lambda: self.xen.grants()[self.b.domid] == before - CEILING, what="the grants of the two links", interval=1)
        wait_until(lambda: self.b.usage().fds <= fds - 2, what="the kernel has the two links' pages", interval=1)
        self.assertEqual(self.b.counters()["pages_held_now"], 0)
        self.assert_no_zombies()
        self.world.setup(gone, remove=True)
        self.assert_no_nodes_of(gone)
        self.revive(self.a)
        self.connected(self.c, self.b, port=4001, place=2)
