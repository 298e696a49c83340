# SPDX-License-Identifier: GPL-2.0-or-later
"""Who connects: the pid and the name of the program behind each connection, as `idc status` shows them; and the lines of the log
about who was refused, and whose permission was withdrawn. (As the journal has them: test_service.)"""

import errno
import os
import re
import shutil

from case import IdcTestCase
from world import wait_until

PORT = 80
ODD = "a\n<3>b\\\x1b[2Jc"  # 15 bytes at most are kept
ODD_PLAIN = "a\\x0a<3>b\\x5c\\x1b[2Jc"


def connections(domain):
    return domain.status()["connections"]


class Programs(IdcTestCase):
    def the_one(self, domain, member, value):
        (one,) = [one for one in connections(domain) if one[member] == value]
        return one

    def test_both_sides_are_shown(self):
        server = self.b.spawn(["idc", "cat", "--listen", "--port", str(PORT)])
        wait_until(lambda: any(one["port"] == PORT for one in self.b.status()["listeners"]), what="a listener")
        (listener,) = [one for one in self.b.status()["listeners"] if one["port"] == PORT]
        self.assertEqual(listener["program"], "idc")
        client = self.a.spawn(["idc", "cat", str(self.b.domid), str(PORT)])
        client.write(b"here\n")
        server.stdout.read_until(b"\n")
        out, into = self.the_one(self.a, "peer_port", PORT), self.the_one(self.b, "local_port", PORT)
        self.assertEqual((out["program"], into["program"]), ("idc", "idc"))
        if self.world.platform == "local":
            self.assertEqual((out["pid"], into["pid"], listener["pid"]), (client.pid, server.pid, server.pid))
        table = self.b.run(["idc", "status", "--connections"]).stdout
        self.assertIn(b"pid: %d" % into["pid"], table)
        self.assertIn(b"program: idc", table)

    def test_the_worker_that_took_it(self):
        """And not the process that listens: known to link_mgr without a call more, also before the worker says anything."""
        server = self.b.spawn(["prefork", str(PORT), "3"])
        workers = set(map(int, server.stdout.read_until(b"\n").split()))
        clients = [self.a.spawn(["idc", "cat", str(self.b.domid), str(PORT)]) for _ in workers]
        serving = {int(client.stdout.read_until(b"\n")) for client in clients}
        self.assertEqual(serving, workers)
        self.assertEqual({one["pid"] for one in connections(self.b) if one["local_port"] == PORT}, workers)

    def test_names_cannot_forge(self):
        if self.world.platform != "local":
            self.skipTest("it needs a program of any name in the domain")
        odd = os.path.join(self.world.directory, ODD)
        shutil.copy(self.world.find_program("idc"), odd)
        self.addCleanup(os.unlink, odd)
        self.b.puppet().do("listen", 1, port=PORT)
        self.a.spawn([odd, "cat", str(self.b.domid), str(PORT)])
        wait_until(lambda: [one for one in connections(self.a) if one["peer_port"] == PORT and one["state"] == "open"], what="it")
        self.assertEqual(self.the_one(self.a, "peer_port", PORT)["program"], ODD_PLAIN)
        table = self.a.run(["idc", "status", "--connections"]).stdout
        self.assertIn(ODD_PLAIN.encode(), table)

    def test_others_are_not_shown(self):
        """A user sees which processes are his own, and root sees all."""
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")
        import rpc as rpc_module
        self.b.puppet().do("listen", 1, port=PORT)
        theirs = self.a.puppet(uid=1000)
        theirs.do("connect", 1, domid=self.b.domid, port=PORT)
        for uid, shown in ((1000, True), (4242, False), (0, True)):
            asking = rpc_module.connect_through(self.a.spawn(["rpcpipe"], uid=uid))
            (one,) = [one for one in asking.status({})["connections"] if one["peer_port"] == PORT]
            self.assertEqual((one["pid"] > 0, one["program"]), (shown, "puppet" if shown else ""))
            asking.close()

    def test_a_client_of_plain_rpc(self):
        """link_mgr holds the connection for it; the program is the client all the same."""
        with self.b.rpc() as server, self.a.rpc() as client:
            handle = server.listen({"port": PORT})["handle"]
            client.connect({"domid": self.b.domid, "port": PORT})
            server.accept({"handle": handle, "timeout_ms": 60000})
            for domain, member in ((self.a, "peer_port"), (self.b, "local_port")):
                one = self.the_one(domain, member, PORT)
                self.assertGreater(one["pid"], 0)
                if self.world.platform == "local":
                    self.assertNotEqual(one["pid"], domain.daemon.pid)
                    self.assertEqual(one["pid"], os.getpid())


class EventsCase(IdcTestCase):
    roles = "abc"

    def lines(self, domain):
        return re.findall(r"(?:refused|revoked|accepted|left out): .*", domain.log())

    def wait_line(self, domain, pattern):
        """Until domain's log has a line of the audit that fits; there must be one only."""
        wait_until(lambda: any(re.fullmatch(pattern, line) for line in self.lines(domain)), what="a line that fits " + pattern)
        self.assertEqual(len([line for line in self.lines(domain) if re.fullmatch(pattern, line)]), 1, self.lines(domain))

    def uid(self):
        return 0 if self.world.platform == "xen" else os.getuid()


class Events(EventsCase):
    def test_refused_by_this_side(self):
        self.world.setup(self.a, self.b, ports="81")
        client = self.a.puppet()
        self.assert_errno(errno.EACCES, client.do, "connect", 1, domid=self.b.domid, port=80)
        self.wait_line(self.a, r"refused: from uid %d pid \d+ \(puppet\) to domain %d port 80: policy does not allow it"
                       % (self.uid(), self.b.domid))
        self.assertEqual(self.lines(self.b), [])

    def test_refused_by_the_other_side(self):
        """Both sides have a line, and each knows the program of its own."""
        self.world.setup(self.a, self.b)
        self.world.write_policy(self.b, self.a, "in=81")
        self.b.puppet().do("listen", 1, port=80, name="org.example.x")
        client = self.a.puppet()
        # Until b has seen its policy, the connect is made.
        wait_until(lambda: self.is_refused(client, port=80), what="a refusal")
        self.wait_line(self.a, r"refused: from uid %d pid \d+ \(puppet\) to domain %d port 80: policy does not allow it, says "
                       r"domain %d" % (self.uid(), self.b.domid, self.b.domid))
        self.wait_line(self.b, r"refused: from domain %d uid %d to port 80 service org\.example\.x uid %d pid \d+ \(puppet\): "
                       r"policy does not allow it" % (self.a.domid, self.uid(), self.uid()))

    def is_refused(self, client, **target):
        try:
            client.do("connect", 1, domid=self.b.domid, **target)
        except OSError as error:
            return error.errno == errno.EACCES
        client.do("close", 1)
        return False

    def test_absence_is_no_refusal(self):
        client = self.a.puppet()
        self.assert_errno(errno.ECONNREFUSED, client.do, "connect", 1, domid=self.b.domid, port=80)
        self.assertEqual(self.lines(self.a) + self.lines(self.b), [])

    def test_revoked(self):
        """Both sides have a line for the connection that ended, and none for the others."""
        server, clients = self.b.puppet(), (self.a.puppet(), self.c.puppet())
        server.do("listen", 1, port=80)
        for place, client in enumerate(clients, 2):
            taking = server.begin("accept", 1, place)
            client.do("connect", 1, domid=self.b.domid, port=80)
            taking.result()
        reading = server.begin("recv", 2)
        self.world.setup(self.a, self.b, ports="81")
        self.assert_errno(errno.EACCES, reading.result)
        # Each side says so by itself, or hears it first.
        text = r"the permission for this connection was withdrawn(, says domain \d+)?"
        self.wait_line(self.a, r"revoked: from uid \d+ pid \d+ \(puppet\) to domain %d uid \d+ port 80: %s" % (self.b.domid, text))
        self.wait_line(self.b, r"revoked: from domain %d uid \d+ to port 80 uid \d+ pid \d+ \(puppet\): %s" % (self.a.domid, text))
        self.assertEqual(self.lines(self.c), [])

    def test_a_user_with_too_many(self):
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")
        self.a.stop()
        self.a.start("--quota", "connections=1")
        self.world.acquaint(self.a, self.b)
        self.b.puppet().do("listen", 1, port=80)
        client = self.a.puppet(uid=1000)
        client.do("connect", 1, domid=self.b.domid, port=80)
        with self.assertRaises(OSError):
            client.do("connect", 2, domid=self.b.domid, port=80)
        self.wait_line(self.a, r"refused: from uid 1000 pid \d+ \(puppet\) to domain %d port 80: .*connections.*" % self.b.domid)

    def test_a_flood_is_bounded_and_counted(self):
        self.world.setup(self.a, self.b, ports="81")
        client, count = self.a.puppet(), 1000
        for _ in range(count):
            with self.assertRaises(OSError):
                client.do("connect", 1, domid=self.b.domid, port=80)
        self.a.stop()  # tells what was not told yet
        lines = self.lines(self.a)
        refused = [line for line in lines if line.startswith("refused")]
        left_out = [int(line.split()[2]) for line in lines if line.startswith("left out")]
        self.assertGreaterEqual(len(refused), 20)
        self.assertEqual(len(refused) + sum(left_out), count)
        self.assertTrue(left_out)


RULE = "%2Fetc%2Fidc%2Fpolicy:"


class Rules(EventsCase):
    """The same, with the rules of policy files: lines have the names of domains and the place of the rule."""
    permit = False
    generation = 0

    def give(self, *rules):
        """Rules for connects from a, which is called web, to b, which is called db."""
        self.generation += 1
        numbers = ",".join(str(number) for number in range(1, len(rules) + 1))
        lines = ["rule %d %s at=%s%d\n" % (number, rule, RULE, number) for number, rule in enumerate(rules, 1)]
        for domain, name, peer, other, way in ((self.a, "web", self.b, "db", "out"), (self.b, "db", self.a, "web", "in")):
            text = "version 1\nself name=%s\n%speer %d name=%s %s=%s\nend\n" % (name, "".join(lines), peer.domid, other, way, numbers)
            self.world.write_rules(domain, self.generation, text)

    def wait_outcome(self, client, error, **target):
        """Until a connect ends so: the rules have reached both."""
        def one():
            try:
                client.do("connect", 9, domid=self.b.domid, **target)
            except OSError as refusal:
                return refusal.errno == error
            client.do("close", 9)
            return error == 0
        wait_until(one, what="a connect that ends with %s" % error)

    def open_one(self, client, server, port):
        server.do("listen", 1, port=port)
        taking = server.begin("accept", 1, 2)
        self.give("allow %d log=yes" % port)
        self.wait_open(client, port)
        taking.result()

    def wait_open(self, client, port):
        def one():
            try:
                client.do("connect", 1, domid=self.b.domid, port=port)
                return True
            except OSError:
                return False
        wait_until(one, what="a connection")

    def test_accepted_where_the_rule_says_so_and_revoked(self):
        client, server = self.a.puppet(), self.b.puppet()
        self.open_one(client, server, 80)
        rule = r" \[/etc/idc/policy:1\]"
        out = r"from uid \d+ pid \d+ \(puppet\) to domain %d \(db\) uid \d+ port 80" % self.b.domid
        into = r"from domain %d \(web\) uid \d+ to port 80 uid \d+ pid \d+ \(puppet\)" % self.a.domid
        self.wait_line(self.a, "accepted: " + out + rule)
        self.wait_line(self.b, "accepted: " + into + rule)
        for domain, member in ((self.a, "peer_port"), (self.b, "local_port")):
            (one,) = [one for one in connections(domain) if one[member] == 80]
            self.assertEqual(one["rule"], "/etc/idc/policy:1")
        table = self.a.run(["idc", "status", "--connections"]).stdout
        self.assertIn("rule: /etc/idc/policy:1", " ".join(table.decode().split()))
        reading = client.begin("recv", 1)
        self.give("deny 80", "allow 80")
        self.assert_errno(errno.EACCES, reading.result)
        text = r": the permission for this connection was withdrawn(, says domain \d+)?"
        self.wait_line(self.a, "revoked: " + out + text + rule)
        self.wait_line(self.b, "revoked: " + into + text + rule)

    def test_not_logged_where_no_rule_says_so(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 1, port=80)
        self.give("allow 80")
        self.wait_open(client, 80)
        self.assertEqual([line for line in self.lines(self.a) + self.lines(self.b) if line.startswith("accepted")], [])

    def test_which_rule_refused(self):
        client = self.a.puppet()
        self.give("allow 81", "deny 80", "allow 82 uid=4242")
        self.wait_outcome(client, errno.ECONNREFUSED, port=81)
        for port, ending in ((80, r" \[/etc/idc/policy:2\]"), (82, r" \[nearly: /etc/idc/policy:3\]"), (83, "")):
            self.assert_errno(errno.EACCES, client.do, "connect", 1, domid=self.b.domid, port=port)
            self.wait_line(self.a, r"refused: from uid \d+ pid \d+ \(puppet\) to domain %d \(db\) port %d: policy does not allow it%s"
                           % (self.b.domid, port, ending))

    def test_a_limit_of_a_rule(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 1, port=80)
        self.give("allow 80 connections=1")
        self.wait_open(client, 80)
        with self.assertRaises(OSError):
            client.do("connect", 2, domid=self.b.domid, port=80)
        wait_until(lambda: [line for line in self.lines(self.a) if "as many connections" in line], what="a line about the limit")
        (line,) = [line for line in self.lines(self.a) if "as many connections" in line]
        self.assertRegex(line, r"refused: from uid \d+ pid \d+ \(puppet\) to domain %d \(db\) port 80: .*\[/etc/idc/policy:1\]" % self.b.domid)

    def test_the_listening_side_names_its_rule(self):
        """The connecting side doesn't know the name of what listens on the port, and so lets it through."""
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 1, port=80, name="org.example.closed")
        self.give("deny org.example.closed", "allow *")

        def refused_there():  # and not here, where the rules may come later
            try:
                client.do("connect", 9, domid=self.b.domid, port=80)
            except OSError as refusal:
                return "says domain" in str(refusal)
            client.do("close", 9)
            return False

        wait_until(refused_there, what="a refusal by the other side")
        self.wait_line(self.b, r"refused: from domain %d \(web\) uid \d+ to port 80 service org.example.closed uid \d+ pid \d+ "
                       r"\(puppet\): policy does not allow it \[/etc/idc/policy:1\]" % self.a.domid)
        self.assertTrue([line for line in self.lines(self.a) if line.endswith("says domain %d" % self.b.domid)], self.lines(self.a))
