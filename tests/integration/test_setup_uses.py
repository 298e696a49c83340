# SPDX-License-Identifier: GPL-2.0-or-later
"""What an administrator sees of connections: which rule each of them uses, who is connected, and what a change would end.

The answers come from the link_mgr of each domain. A guest may say what it likes, so the tests also write such answers by hand.
"""

import json
import os
import re
import signal
import subprocess

from case import KEEP_LINKS
from rules_case import RulesCase
from world import LocalDomain, wait_until


def default_signals():
    """The tests may run where these are ignored: in the background, or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


class UsesCase(RulesCase):
    def setUp(self):
        super().setUp()
        self.web, self.db = self.a.puppet(), self.b.puppet()

    def open(self, ports):
        """A connection from web to db for each port, in the places from 1 on."""
        for place, port in enumerate(ports, 1):
            self.db.do("listen", 100 + place, port=port)
            self.until_allowed(self.web, place, self.b, port=port)
            self.db.do("accept", 100 + place, place)

    def line(self, rule, text):
        return "%s:%d: %s" % (os.path.join(self.policy, "policy"), rule, text)

    def now(self, count, port, says=""):
        return "%d connection%s from web (%d) to db (%d), port %d%s" % (count, "s" if count != 1 else "", self.a.domid, self.b.domid, port,
                                                                        says)

    def uses(self):
        return json.loads(self.idc_setup("list", "--json"))


class Uses(UsesCase):
    # ---- list

    def test_each_connection_is_below_the_rule_that_allows_it(self):
        self.apply("allow web db 1001\nallow web db 1002-1003\nallow db web *\n")
        self.open([1001, 1002, 1003])
        self.until_allowed(self.web, 9, self.b, port=1001)
        self.db.do("accept", 101, 9)
        self.assertEqual(self.idc_setup("list").splitlines(), [
            "1     " + self.line(1, "allow web db 1001"),
            "      now: " + self.now(2, 1001),
            "2     " + self.line(2, "allow web db 1002-1003"),
            "      now: " + self.now(1, 1002),
            "      now: " + self.now(1, 1003),
            "3     " + self.line(3, "allow db web *"),
        ])
        uses = self.uses()
        self.assertEqual([(use["rule"], use["port"], use["connections"], use["from_says"], use["to_says"]) for use in uses["uses"]],
                         [(1, 1001, 2, 2, 2), (2, 1002, 1, 1, 1), (2, 1003, 1, 1, 1)])
        self.assertEqual(uses["not_known"], [])
        self.web.do("close", 2)
        self.db.do("close", 2)
        wait_until(lambda: [use["port"] for use in self.uses()["uses"]] == [1001, 1003], what="closed connection to go")

    def test_names_uids_and_nodes(self):
        self.apply("allow web db org.example.one\n")
        self.db.do("listen", 100, name="org.example.one")
        self.until_allowed(self.web, 1, self.b, name="org.example.one")
        self.db.do("accept", 100, 1)
        self.world.setup(self.a, self.b, ports="1002")
        self.db.do("listen", 101, port=1002)
        self.until_allowed(self.web, 2, self.b, port=1002)
        self.db.do("accept", 101, 2)
        by_node, by_rule = sorted(self.uses()["uses"], key=lambda use: use["port"] != 1002)
        self.assertEqual((by_node["rule"], by_node["by_node"], by_node["name"]), (None, True, None))
        self.assertEqual((by_rule["rule"], by_rule["by_node"], by_rule["name"]), (1, False, "org.example.one"))
        listed = self.idc_setup("list").splitlines()
        node = next(i for i, line in enumerate(listed) if line.startswith("node  domain %d for %d:" % (self.a.domid, self.b.domid)))
        self.assertEqual(listed[node + 1], "      now: " + self.now(1, 1002))
        self.assertRegex(listed[-1], re.escape("(org.example.one)"))

    def test_one_that_does_not_answer_is_told(self):
        self.apply("allow web db 1001\n")
        self.open([1001])
        self.b.freeze()
        try:
            listed = self.idc_setup("list")
            uses = self.uses()
        finally:
            self.b.thaw()
        self.assertIn("      now: %s\n" % self.now(1, 1001, "; domain %d says 1, domain %d says nothing" % (self.a.domid, self.b.domid)), listed)
        self.assertIn("not known: db (%d) has not said in time which connections it has\n" % self.b.domid, listed)
        self.assertEqual(uses["not_known"], [{"domid": self.b.domid, "connections": None}])
        self.assertEqual([(use["from_says"], use["to_says"]) for use in uses["uses"]], [(1, None)])

    # ---- graph

    def test_graph_shows_what_is_connected(self):
        self.apply("allow web db 1001-1002\nallow db web 5\n")
        self.open([1001, 1002])
        self.assertEqual(self.idc_setup("graph"), "web -> db: 1001-1002 (2 now)\ndb -> web: 5\n")
        self.assertEqual(self.idc_setup("graph", "--connected"), "web -> db: 1001-1002 (2 now)\n")
        dot = self.idc_setup("graph", "--dot")
        self.assertIn('  %d -> %d [label="1001-1002\\n2 now", style=bold];\n' % (self.a.domid, self.b.domid), dot)
        self.assertIn('  %d -> %d [label="5"];\n' % (self.b.domid, self.a.domid), dot)
        self.assertNotIn("-> %d [label=\"5\"" % self.a.domid, self.idc_setup("graph", "--dot", "--connected"))
        self.idc_setup("graph", "--connected", "--policy", self.policy, status=2)

    # ---- changes

    def test_apply_says_what_ends_before_and_then(self):
        self.apply("allow web db 1001\nallow web db 1002\nallow web db 1003\n")
        self.open([1001, 1002, 1003])
        self.write("allow web db 1001\n\nallow web db 1002-1003 uid=4294967294\nallow * db 1003\n")
        uid = self.uses()["uses"][0]["uid"]
        tail = "end: %s, uid %d\n    allowed by %s\n" % (self.now(1, 1002), uid, self.line(2, "allow web db 1002"))
        self.assertTrue(self.idc_setup("apply", "--policy", self.policy, "--dry-run").endswith("would " + tail))
        self.web.do("send", 2, len=10, seed=1)
        self.assertEqual(self.db.do("recv", 2, len=10, seed=1)["n"], 10)
        done = self.idc_setup("apply", "--policy", self.policy)
        self.assertTrue(done.endswith(tail.replace("end:", "ends:")), done)
        self.assertEqual(done.count("ends:"), 1)
        wait_until(lambda: [use["port"] for use in self.uses()["uses"]] == [1001, 1003], what="end of what the rule had allowed")
        self.assertTrue(self.idc_setup("apply", "--policy", self.policy).endswith("\nno connection ends\n"))

    def test_deny_and_retract_say_what_ends(self):
        self.apply("allow web db 1001\n")
        self.idc_setup("allow", "web", "db", "1002")
        self.open([1001, 1002])
        before = self.idc_setup("list")
        self.assertIn("would end: " + self.now(1, 1001), self.idc_setup("deny", "--dry-run", "web", "db", "1001"))
        self.assertEqual(self.idc_setup("deny", "--dry-run", "web", "db", "1009"), "no connection would end\n")
        self.assertIn("would end: " + self.now(1, 1002), self.idc_setup("retract", "--dry-run", "web", "db"))
        self.idc_setup("allow", "--dry-run", "web", "db", "1003")
        self.assertEqual(self.idc_setup("list"), before)
        retracted = self.idc_setup("retract", "web", "db")
        self.assertRegex(retracted, r"^ends: %s, uid \d+\n    allowed by \S+/commands.policy:2: allow web db 1002\n$" %
                         re.escape(self.now(1, 1002)))
        self.assertIn("ends: " + self.now(1, 1001), self.idc_setup("deny", "web", "db"))
        wait_until(lambda: self.uses()["uses"] == [], what="end of both")
        self.assertEqual(self.uses()["not_known"], [])

    def test_a_guest_that_does_not_answer_delays_no_deny(self):
        """It comes into force though the guest says nothing, and what is not known is told."""
        self.apply("allow web db 1001\n")
        self.open([1001])
        self.b.freeze()
        try:
            self.assertIn("says nothing", self.idc_setup("deny", "web", "db"))
            self.assertIn("deny", self.idc_setup("list"))
        finally:
            self.b.thaw()
        wait_until(lambda: self.uses()["uses"] == [], what="end")
        self.assertEqual(self.uses()["not_known"], [])


class Answers(UsesCase):
    """Nodes of the store. On Xen test_xen_rules looks at them, and tests/fuzz/fuzz_uses.c makes up answers."""

    platforms = ("local",)

    def test_nothing_is_left_in_the_store_and_nothing_is_written_unasked(self):
        self.apply("allow web db 1001\n")
        self.open([1001])

        def nodes():
            return sorted(os.path.join(path, name) for path, _, names in os.walk(self.world.store_directory) for name in names
                          if name == "ask" or name.startswith("use."))

        self.assertEqual(nodes(), [])
        self.assertEqual(len(self.uses()["uses"]), 1)
        wait_until(lambda: nodes() == [], what="answers to be taken back")

    def test_an_interrupted_question_is_taken_back(self):
        """While b's link_mgr is stopped, so that its answer is waited for."""
        ask = os.path.join(self.world.store_directory, "domain:%d" % self.b.domid, "policy", "ask")
        self.apply("allow web db 1001\n")
        self.open([1001])
        self.b.freeze()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            status = 0
            while status == 0:  # this time the signal came too late, after the second that an answer is waited for
                listing = subprocess.Popen([self.world.find_program("idc-setup"), "list", "--store", self.world.store_directory],
                                           stdout=subprocess.DEVNULL, preexec_fn=default_signals, **self.world.as_user())
                wait_until(lambda: os.path.exists(ask) or listing.poll() is not None, what="question", interval=0.001)
                listing.send_signal(number)
                status = listing.wait(60 * self.world.slowness)
            self.assertEqual((status, os.path.exists(ask)), (-number, False))
        self.b.thaw()

    def test_a_stop_does_not_keep_the_lock(self):
        """Ctrl-Z while b's link_mgr is waited for: the command stops when it has given back the lock."""
        ask = os.path.join(self.world.store_directory, "domain:%d" % self.b.domid, "policy", "ask")
        self.apply("allow web db 1001\n")
        self.open([1001])
        self.b.freeze()
        stopped = False
        while not stopped:  # else it came too late
            listing = subprocess.Popen([self.world.find_program("idc-setup"), "list", "--store", self.world.store_directory],
                                       stdout=subprocess.DEVNULL, process_group=0, preexec_fn=default_signals, **self.world.as_user())
            self.addCleanup(listing.kill)
            wait_until(lambda: os.path.exists(ask) or listing.poll() is not None, what="question", interval=0.001)
            listing.send_signal(signal.SIGTSTP)
            _, status = os.waitpid(listing.pid, os.WUNTRACED)
            stopped = os.WIFSTOPPED(status)
        self.assertFalse(os.path.exists(ask))
        self.idc_setup("allow", "web", "db", "1002")
        listing.send_signal(signal.SIGCONT)
        self.assertEqual(listing.wait(60 * self.world.slowness), 0)
        self.b.thaw()

    def answer(self, domain, parts):
        """idc-setup list, while domain's link_mgr is stopped and the parts stand for its answer: text of the number asked."""
        directory = os.path.join(self.world.store_directory, "domain:%d" % domain.domid)
        ask = os.path.join(directory, "policy", "ask")
        domain.freeze()
        own = os.path.join(directory, "data:%d" % domain.domid)
        for name in os.listdir(own) if os.path.exists(own) else ():
            os.unlink(os.path.join(own, name))
        try:
            listing = subprocess.Popen([self.world.find_program("idc-setup"), "list", "--json", "--store", self.world.store_directory],
                                       stdout=subprocess.PIPE, **self.world.as_user())
            wait_until(lambda: os.path.exists(ask), what="question")
            with open(ask, encoding="utf-8") as stream:
                number = stream.read().splitlines()[1]
            for part in reversed(range(len(parts))):
                self.world.write_node("domain:%d/data:%d/use.%d" % (domain.domid, domain.domid, part), "n%d" % domain.domid,
                                      parts[part].replace("ASKED", number))
            out, _ = listing.communicate(timeout=60)
            self.assertEqual(listing.returncode, 0)
            return json.loads(out)
        finally:
            domain.thaw()

    def test_a_guest_may_say_anything(self):
        self.apply("allow web db 1001\n")
        self.open([1001])
        web, db = self.a.domid, self.b.domid
        told = self.answer(self.b, ["ASKED 0 1 0\n%d in 1001 stream 7 5\n" % web])
        self.assertEqual({(use["connections"], use["from_says"], use["to_says"]) for use in told["uses"]}, {(1, 1, 0), (5, 0, 5)})
        told = self.answer(self.b, ["ASKED 0 2 17\n", "ASKED 1 2 17\n%d in 1001 stream 0 4294967295 org.example.x\n" % web])
        self.assertEqual(max(use["connections"] for use in told["uses"]), 4294967295)
        self.assertEqual(told["not_known"], [{"domid": db, "connections": 17}])
        # an answer to another question
        told = self.answer(self.b, ["17 0 1 0\n%d in 1001 stream 0 5\n" % web])
        self.assertEqual([(use["connections"], use["to_says"]) for use in told["uses"]], [(1, None)])
        # of domains that are not there, of itself
        told = self.answer(self.b, ["ASKED 0 1 0\n9999 in 1001 stream 0 1\n%d in 1001 stream 0 1\n" % db])
        self.assertEqual([use["to_says"] for use in told["uses"]], [0])
        wrong = [
            "%d in 1001 stream 0 4294967296\n", "%d in 1001 stream 0 -1\n", "%d in 1001 stream 0 1", "%d in 1001 stream 0 1 \n",
            "%d in 1001 stream 0 1 a\x1b[31m\n", "%d in 1001 stream 0 1 " + "n" * 80 + "\n", "%d in 1001 other 0 1\n", "%d by 1001 stream 0 1\n",
            "%d in 1001 stream 0 1 a b\n", "\n", "%d in  1001 stream 0 1\n",
        ]
        texts = ["ASKED 0 1 0\n" + (line % web if "%" in line else line) for line in wrong]
        texts += ["ASKED 0 1 0", "ASKED 1 1 0\n", "ASKED 0 0 0\n", "ASKED 0 9 0\n", "ASKED 0 2 0\n", "ASKED 0 1 -1\n", "ASKED\n", "", "x" * 4000,
                  "ASKED 0 1 0\n" + "%d in 1001 stream 0 1\n" % web * 150]
        for text in texts[:-1]:
            told = self.answer(self.b, [text])
            self.assertEqual([(use["connections"], use["to_says"]) for use in told["uses"]], [(1, None)], text)
            self.assertEqual(told["not_known"], [{"domid": db, "connections": None}], text)
        # as many lines as there may be, and more
        lines = "%d in 1 stream 0 1\n" % web * 128
        for parts, good in ((4, True), (5, False)):
            told = self.answer(self.b, ["ASKED %d %d 0\n%s" % (part, parts, lines) for part in range(parts)])
            self.assertEqual(any(use["to_says"] == 512 for use in told["uses"]), good, told)
            self.assertEqual(told["not_known"] == [], good)

    def test_of_its_own_connections_dom0_is_believed(self):
        dom0 = LocalDomain(self.world, "d", 0)
        dom0.begin_start(*KEEP_LINKS)
        dom0.wait_ready()
        self.addCleanup(lambda: (dom0.kill_programs(), dom0.stop()))
        self.apply("allow web dom0 1001\nallow dom0 db 1001\n")
        server, client = dom0.puppet(), dom0.puppet()
        server.do("listen", 1, port=1001), self.db.do("listen", 1, port=1001)
        self.until_allowed(self.web, 1, dom0, port=1001)
        self.until_allowed(client, 1, self.b, port=1001)
        for domain, peer in ((self.a, "out"), (self.b, "in")):
            told = self.answer(domain, ["ASKED 0 1 0\n0 %s 1001 stream 0 50\n0 %s 7 stream 0 50\n" % (peer, peer)])
            self.assertEqual([(use["from"], use["to"], use["port"], use["connections"]) for use in told["uses"]],
                             [(0, self.b.domid, 1001, 1), (self.a.domid, 0, 1001, 1)])
