# SPDX-License-Identifier: GPL-2.0-or-later
"""What only real domains can do: be destroyed, started anew, paused, saved and restored; grants, event channels, Xenstore.

Counted: grants by Xen's debug key g (one line for each that is in use), event channels by lsevtchn in dom0, Xenstore requests and
watches by xenstored's own trace, zombies by xl list.
"""

import errno
import itertools
import re

from case import IdcTestCase
from store_trace import StoreTrace
from test_hostile import NO_LIES
from world import wait_until

MIB = 1 << 20


class XenCase(IdcTestCase):
    platforms = ("xen",)
    roles = "abc"
    timeout = 60

    def setUp(self):
        super().setUp()
        self.xen = self.world.xen
        self.ports = itertools.count(9000)

    def resources(self):
        """(grants of each domain, event channels of each domain). Names of domains, for domids change."""
        grants = self.xen.grants()
        return ({domain.role: grants.get(domain.domid, 0) for domain in self.domains},
                {domain.role: len(self.xen.event_channels(domain.domid)) for domain in self.domains})

    def assert_resources(self, expected, totals=False):
        """Back to that, soon. totals: of all domains together."""
        last = None

        def same():
            nonlocal last
            last = self.resources()
            if totals:
                return [sum(counts.values()) for counts in last] == [sum(counts.values()) for counts in expected]
            return last == expected

        try:
            wait_until(same, interval=1)
        except AssertionError:
            self.fail("in use: %r, not %r" % (last, expected))

    def assert_no_zombies(self):
        """Nobody holds a page of a domain that is gone."""
        def clean():
            return all(name != "(null)" and "d" not in state.lower() for name, _, state in self.xen.list())
        wait_until(clean, what="no zombie domain", interval=1)

    def assert_no_nodes_of(self, domid):
        """Of a domain that is gone: as soon as the others' link_mgrs have learnt that they may no longer speak with it."""
        def none_left():
            left = [path for path in self.xen.store_list("/local/domain") if "/data/idc/" in path and
                    (path.startswith("/local/domain/%d/" % domid) or "/data/idc/%d/" % domid in path + "/")]
            return not [path for path in left if not re.search(r"/idc/\d+$", path)]
        wait_until(none_left, what="nodes gone", interval=0.2)

    def liar(self, victim, mode, *what):
        """A program in a (which has stopped its link_mgr) with the privileges of a link_mgr: it does what it likes."""
        return self.a.spawn(["hostile", mode, "--platform", "xen", "--domid", str(self.a.domid), "--victim",
                             str(victim.domid)] + list(what))

    def connected(self, client, server, port=80, place=1):
        """Puppets with a connection that is used."""
        one, other = client.puppet(), server.puppet()
        other.do("listen", 100 + place, port=port)
        one.do("connect", place, domid=server.domid, port=port)
        other.do("accept", 100 + place, place)
        one.do("send", place, len=100, seed=1)
        self.assertEqual(other.do("check", place, len=100, seed=1)["n"], 100)
        return one, other

    def web(self):
        """A link between each two domains, which nobody uses. What is then in use."""
        for client, server in ((self.a, self.b), (self.c, self.b), (self.a, self.c)):
            self.connected(client, server, port=next(self.ports))
        for domain in self.domains:
            domain.kill_programs()
        return self.resources()

    def assert_as_before(self, web, *gone, totals=False):
        """All has been put to rights again: not a grant, an event channel, a zombie or a node has been left. gone: domids."""
        self.assert_no_zombies()
        for domid in gone:
            self.assert_no_nodes_of(domid)
        self.web()
        self.assert_resources(web, totals)
        print("         in use before and afterwards: grants %s, event channels %s" % web)

    def revive(self, domain):
        """The destroyed guest again, with link_mgr and permission."""
        domain.lost()
        self.xen.create(domain.xen.number)
        self.world.setup(*self.domains)
        domain.start(*self.options)


class Kernel(XenCase):
    """The kernels of the domains are as IDC takes kernels to be; test_af_unix_facts.c says in what."""

    def test_facts(self):
        for domain in self.domains:
            result = domain.run(["test_af_unix_facts"], timeout=60)
            self.assertEqual(result.returncode, 0, result.stdout.decode())


class Demo(XenCase):
    def test_test_accept_and_test_conn(self):
        """From guest to guest, from dom0 to a guest, from a guest to dom0."""
        for client, server in ((self.a, self.b), (self.c, self.b), (self.a, self.c)):
            accept = server.spawn(["test_accept", "80"])
            accept.stdout.read_until(b"listening")
            result = client.run(["test_conn", str(server.domid)])
            self.assertEqual((result.returncode, result.stdout), (0, b"you said: hello from test_conn\n"), result.stderr)
            self.assertIn(b"domain %d port" % client.domid, accept.stdout.read_until(b"hello"))
            accept.kill()
            accept.wait()


class Cost(XenCase):
    timeout = 120

    def row(self, label):
        grants, channels = self.resources()
        requests = self.trace.requests()
        total, watches = sum(requests.values()), requests["WATCH"]
        print("         %-18s grants %s, event channels %s, xenstore requests %d, watches set %d" % (
            label, grants, channels, total, watches))
        return grants, channels, total, watches

    def test_1000_connections_cost_what_one_costs(self):
        self.trace = StoreTrace(self.c)
        self.trace.begin()
        self.addCleanup(self.trace.end)
        for domain in (self.a, self.b):
            domain.restart(*self.options)
        one = self.connected(self.a, self.b)
        before = self.row("1 connection")
        self.assertGreater(before[2], 0, "the trace shows nothing")
        arguments = {"count": 999, "bytes": 2000, "chunk": 1000, "hold": 1}
        accept = self.b.flows("accept", port=81, **arguments)
        accept.expect("ready")
        connect = self.a.flows("connect", domid=self.b.domid, port=81, **arguments)
        for side in (connect, accept):
            side.expect("open", 60 * self.world.slowness)
            side.expect("idle", 60 * self.world.slowness)
        self.assertEqual(self.a.link(self.b)["connections"], 1000)
        after = self.row("1,000 connections")
        self.assertEqual(before, after)
        for side in (connect, accept):
            side.say("close")
        connect.done(60 * self.world.slowness), accept.done()
        del one


class Permission(XenCase):
    permit = False

    def test_a_guest_cannot_give_permission(self):
        self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80)
        for path in ("/local/domain/%d/idc/policy/%d" % (self.a.domid, self.b.domid),
                     "/local/domain/%d/idc/policy/%d" % (self.b.domid, self.a.domid),
                     "/local/domain/%d/data/idc/%d/alive" % (self.b.domid, self.a.domid)):
            result = self.a.run(["xenstore-write", path, "in=* out=*"])
            self.assertNotEqual(result.returncode, 0, path)
            self.assertIsNone(self.xen.store(path), path)
        self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80)
        result = self.a.run(["idc-setup", "--platform", "xen", str(self.a.domid), str(self.b.domid)])
        self.assertEqual(result.returncode, 1)
        self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.b.domid, port=80)

    def test_a_guest_cannot_change_or_widen_its_policy(self):
        self.world.setup(self.a, self.b, ports="80")
        path = "/local/domain/%d/idc/policy/%d" % (self.a.domid, self.b.domid)
        value = self.xen.store(path)
        for argv in (["xenstore-write", path, "in=* out=*"], ["xenstore-rm", path],
                     ["xenstore-chmod", path, "b%d" % self.a.domid]):
            self.assertNotEqual(self.a.run(argv).returncode, 0, argv)
        self.assertEqual(self.xen.store(path), value)

    def test_a_guest_cannot_read_anothers_rendezvous(self):
        """a looks at what b and dom0 have between them, while they have a link."""
        self.world.setup(self.b, self.c)
        self.connected(self.c, self.b)
        paths = [path for path in self.world.store() if "/data/idc/" in path]
        self.assertTrue(any(path.endswith("ring-ref") for path in paths), paths)
        for path in paths:
            self.assertNotEqual(self.a.run(["xenstore-read", path]).returncode, 0, "%s is readable by a third domain" % path)
        self.assertNotEqual(self.a.run(["xenstore-read", "/local/domain/%d/idc/policy/%d" % (
            self.b.domid, self.c.domid)]).returncode, 0)

    def test_the_callers_domid_is_the_links(self):
        """Whatever a caller is, the accepting program sees its real domid."""
        self.world.setup(self.a, self.b, self.c)
        server = self.b.puppet()
        server.do("listen", 1, port=80)
        for place, caller in enumerate((self.a, self.c), 2):
            caller.puppet().do("connect", 1, domid=self.b.domid, port=80)
            self.assertEqual(server.do("accept", 1, place)["domid"], caller.domid)

    def test_a_guest_that_minds_no_policy(self):
        """Its link_mgr is one that doesn't mind that its permission was taken away. The others look at their own, and answer
        nothing: b, which would offer, and dom0, which would attach."""
        self.world.setup(self.a, self.b, self.c)
        self.connected(self.a, self.b), self.connected(self.a, self.c)
        self.world.setup(self.a, self.b, remove=True)
        self.world.setup(self.a, self.c, remove=True)
        for domain in self.domains:
            domain.kill_programs()
        self.a.stop()
        for victim in (self.b, self.c):
            wait_until(lambda: victim.links_up() == [], what="end of the links")
        base = self.resources()
        for victim in (self.b, self.c):
            victim.puppet().do("listen", 1, port=80)
            self.world.write_policy(self.a, victim, "in=* out=*")
            liar = self.liar(victim, "hold")
            # It waits a minute for the victim.
            self.assertEqual((liar.stdout.readline(), liar.stdout.read_all(180)), (b"ready\n", b""))
            self.assertIn(b"the victim does not come", liar.stderr.read_all())
            self.assertEqual(victim.links_up(), [])
            self.assert_resources(base)
        self.a.start(*self.options)  # removes the nodes of the liar

    def test_a_guest_that_minds_no_ports(self):
        """Its link_mgr asks for a port that is not allowed."""
        self.a.stop()
        self.world.setup(self.a, self.b, ports="81")
        server = self.b.puppet()
        server.do("listen", 1, port=80)
        liar = self.liar(self.b, "hold")
        self.assertEqual((liar.stdout.readline(), liar.stdout.read_all()), (b"ready\n", b""))
        self.assertIn(b"the victim does not accept", liar.stderr.read_all())
        self.assertEqual(self.b.status()["connections"], [])
        self.a.start(*self.options)  # removes the nodes of the liar

    def test_remove_ends_what_runs(self):
        self.world.setup(self.a, self.b, self.c)
        one, other = self.connected(self.a, self.b)
        third, _ = self.connected(self.c, self.b, port=81)
        waiting = one.begin("recv", 1)
        self.world.setup(self.a, self.b, remove=True)
        self.assert_errno(errno.EACCES, waiting.result)
        self.assert_errno(errno.EACCES, other.do, "recv", 1)
        self.assert_errno(errno.EACCES, one.do, "connect", 2, domid=self.b.domid, port=80)
        third.do("send", 1, len=10)
        self.assertNotRegex(self.world.list_rules(), r"\b%d +%d\b" % (self.a.domid, self.b.domid))


class Lives(XenCase):
    """Guests end, start again, sleep and travel."""
    timeout = 120

    def endless(self, client, server, port=80):
        """Four connections with traffic both ways: the two flows programs."""
        accept = server.flows("accept", port=port, count=4, bytes=-1)
        accept.expect("ready")
        connect = client.flows("connect", domid=server.domid, port=port, count=4, bytes=-1)
        connect.expect("open"), accept.expect("open")
        self.moves(connect, accept)
        return connect, accept

    def moves(self, *sides):
        """Each has received more than it had."""
        before = [sum(side.progress()[1]) for side in sides]
        wait_until(lambda: all(sum(side.progress()[1]) > value + 100000 for side, value in zip(sides, before)), what="traffic")

    def test_destroy_in_mid_traffic(self):
        for victim, other, third in ((self.b, self.a, self.c), (self.b, self.c, self.a)):
            base = self.web()
            connect, _ = self.endless(other, victim)
            kept = self.connected(other, third)
            domid = victim.domid
            self.xen.destroy(victim.xen)
            for _ in range(4):
                self.assertIn(connect.expect("error")["errno"], ("ECONNRESET", "EPIPE"))
            kept[0].do("send", 1, len=100, seed=2)
            self.assertEqual(kept[1].do("check", 1, len=100, seed=2)["n"], 100)
            self.assert_errno(errno.EHOSTUNREACH, other.puppet().do, "connect", 1, domid=domid, port=80)
            self.world.setup(domid, remove=True)
            self.revive(victim)
            self.assertNotEqual(victim.domid, domid)
            for domain in (other, third):
                domain.kill_programs()
                self.assert_quiet(domain)
            self.assert_as_before(base, domid)

    def test_nothing_leaks_when_link_mgr_is_killed(self):
        """Ten times, with traffic, in the guest that offers and in the one that attaches."""
        base = self.web()
        for victim in (self.b, self.a) * 5:
            self.endless(self.a, self.b)
            victim.restart(*self.options)
            self.a.kill_programs()
            self.b.kill_programs()
        self.assert_as_before(base)

    def test_dom0_link_mgr_started_anew(self):
        base = self.web()
        one, _ = self.connected(self.c, self.b)
        self.endless(self.c, self.b, port=88)
        waiting = one.begin("recv", 1)
        self.c.kill()
        self.assert_errno(errno.ECONNRESET, waiting.result)
        self.c.start(*self.options)
        self.c.kill_programs()
        self.b.kill_programs()
        self.connected(self.c, self.b, port=81)
        self.connected(self.b, self.c, port=81)
        self.assert_as_before(base)

    def test_a_paused_guest_loses_nothing(self):
        base = self.web()
        connect, accept = self.endless(self.a, self.b)
        self.xen.pause(self.b.xen)
        self.world.pass_time(2)
        before = connect.progress()
        self.world.pass_time(3)
        self.assertEqual(connect.progress(), before, "the paused guest goes on")
        self.assertEqual(self.a.link(self.b)["state"], "up")
        self.assertLessEqual(self.a.link(self.b)["memory_held"], 64 * MIB)
        self.connected(self.a, self.c, port=82, place=2)
        self.xen.unpause(self.b.xen)
        self.moves(connect, accept)
        for side in (connect, accept):
            side.say("stop")
        out, back = connect.done(), accept.done()
        self.assertEqual((out["sent"], out["hash_sent"]), (back["received"], back["hash_received"]))
        self.assertEqual((out["received"], out["hash_received"]), (back["sent"], back["hash_sent"]))
        self.assert_as_before(base)

    def test_a_paused_guest_is_noticed_by_who_asks(self):
        base = self.web()
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=84)
        for place, hang in ((2, 2000), (3, 0), (4, 600000)):
            client.do("connect", place, domid=self.b.domid, port=84, hang=hang)
            server.do("accept", 1, place)
        waiting = client.begin("recv", 2, max=1)
        self.xen.pause(self.b.xen)
        self.assert_errno(errno.ETIMEDOUT, waiting.result)
        self.assertGreater(self.a.link(self.b)["silent_ms"], 0)
        self.xen.unpause(self.b.xen)
        self.assert_errno(errno.ETIMEDOUT, server.begin("recv", 2, max=1).result)
        for place in (3, 4):
            for source, target in ((client, server), (server, client)):
                source.do("send", place, len=1000, seed=place)
                target.do("check", place, len=1000, seed=place)
        self.assertEqual(self.a.link(self.b)["silent_ms"], 0)
        for puppet in (server, client):
            for place in (2, 3, 4):
                puppet.do("close", place)
        server.do("unlisten", 1)
        self.assert_as_before(base)

    def test_save_and_restore(self):
        base = self.web()
        one, other = self.connected(self.a, self.b)
        before = self.b.domid
        waiting, in_guest = one.begin("recv", 1), other.begin("recv", 1)
        self.xen.save(self.b.xen, "/run/b.save")
        # By an event in both: nothing looks after a link that is up.
        self.assert_errno(errno.ECONNRESET, waiting.result)
        self.xen.restore(self.b.xen, "/run/b.save")
        self.assert_errno(errno.ECONNRESET, in_guest.result)
        self.c.shell("rm -f /run/b.save")
        self.assertNotEqual(self.b.domid, before)
        self.world.setup(before, remove=True)
        self.world.setup(*self.domains)
        # The listener of before still accepts.
        wait_until(lambda: self.b.status(False)["domid"] == self.b.domid, 30, "link_mgr that knows its new domid", interval=0.5)
        client = self.a.puppet()
        client.do("connect", 2, domid=self.b.domid, port=80)
        self.assertEqual(other.do("accept", 101, 2)["domid"], self.a.domid)
        client.do("send", 2, len=1000, seed=5)
        client.do("close", 2)
        self.assertEqual(other.do("check", 2, seed=5)["n"], 1000)
        self.assert_as_before(base, before)


class Hostile(XenCase):
    """a has stopped its link_mgr, and a program with its privileges speaks on the rings instead. b, or dom0, is the victim."""
    timeout = 150
    LIES = ["index_far_ahead", "index_goes_back", "consumed_too_much", "consumed_back", "hello_without_magic", "hello_other_epoch",
            "hello_other_domid", "request_before_hello", "later_frame_before_hello", "second_hello", "notify_for_nothing", "too_long",
            "length_all_ones", "type_8", "unknown_id_data", "too_many_requests", "data_beyond_credit", "data_after_last",
            "data_to_freed_id", "credit_goes_back", "part_too_long", "later_frames", "honest"]

    def texts(self):
        out = self.a.run(["hostile", "list"]).stdout.decode()
        return {line.split("|")[0]: line.split("|")[2] for line in out.splitlines()}

    def expect(self, liar, word):
        line = liar.stdout.readline(120).decode().strip()
        self.assertEqual(line, word, "%r: %r" % (liar, liar.stderr.pending()))

    def lie_to(self, victim, other):
        """To victim, which has a connection with other all the time."""
        texts = self.texts()
        self.a.stop()
        client, server = self.connected(other, victim, port=4000)
        listener = victim.puppet()
        listener.do("listen", 1, port=80, backlog=100)
        listener.do("listen", 2, port=81, type="seqpacket", backlog=100)
        for number, name in enumerate(self.LIES):
            liar = self.liar(victim, "once", name)
            self.expect(liar, "ready")
            self.expect(liar, "ended" if texts[name] else "alive")
            liar.wait(60)
            if texts[name]:
                reason = ("" if texts[name] in NO_LIES else "the peer sent ") + texts[name]
                wait_until(lambda: victim.link(self.a)["last_error"] == reason, 20,
                           "reason for " + name, interval=0.2)
            client.do("send", 1, len=1000, seed=number)
            self.assertEqual(server.do("check", 1, len=1000, seed=number)["n"], 1000)
        self.a.start(*self.options)

    def test_lies_to_the_one_that_offers(self):
        self.lie_to(self.b, self.c)

    def test_lies_to_dom0_that_attaches(self):
        self.lie_to(self.c, self.b)

    def hold(self):
        """A liar takes the place of a's link_mgr and keeps b's rings mapped. Returns it, and a program of b's that waits for its data."""
        self.a.stop()
        listener = self.b.puppet()
        listener.do("listen", 1, port=80)
        holder = self.liar(self.b, "hold")
        self.expect(holder, "ready")
        self.expect(holder, "connected")
        listener.do("accept", 1, 2)
        return holder, listener.begin("recv", 2)

    def test_one_that_never_unmaps(self):
        """It keeps the rings mapped when the victim has ended the link, and then vanishes: neither holds anybody up."""
        base = self.web()
        holder, waiting = self.hold()
        self.world.setup(self.a, self.b, remove=True)
        self.assert_errno(errno.EACCES, waiting.result)
        self.connected(self.c, self.b, port=81)
        self.b.kill_programs()
        self.b.stop(60)  # would wait for ever, if it waited for the pages
        self.b.start(*self.options)
        self.c.kill_programs()
        self.connected(self.c, self.b, port=82)
        holder.kill()
        holder.wait()
        self.world.setup(self.a, self.b)
        self.a.start(*self.options)
        self.assert_as_before(base)

    def test_one_that_vanishes(self):
        base = self.web()
        holder, waiting = self.hold()
        holder.kill()
        self.assert_errno(errno.ECONNRESET, waiting.result)
        self.a.start(*self.options)
        self.assert_as_before(base)

    def test_one_whose_domain_is_destroyed(self):
        """While it has the rings mapped."""
        base = self.web()
        _, waiting = self.hold()
        gone = self.a.domid
        self.xen.destroy(self.a.xen)
        self.assert_errno(errno.ECONNRESET, waiting.result)
        self.connected(self.c, self.b, port=81)
        self.assert_no_zombies()
        self.world.setup(gone, remove=True)
        self.assert_no_nodes_of(gone)
        self.revive(self.a)
        self.assert_as_before(base, totals=True)  # it is a now that offers to b
