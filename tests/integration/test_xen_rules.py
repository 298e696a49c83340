# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules by name and by UUID on a host whose guests come and go: idc-setup watch in dom0, and guests that are started anew, saved
and restored. A guest's domid changes each time. Its name stays, and its UUID with it only if it is restored.

The guests' link_mgrs are started by hand here, as soon as a guest is up. What is looked at is whether the rules are there before
the first program asks.
"""

import errno
import json

from world import wait_until
from xen_rules_case import POLICY, PORT, XenRulesCase


class RulesOnXen(XenRulesCase):
    def test_a_guest_that_is_started_again_keeps_its_rule(self):
        """By its name, before its first connect. A rule by UUID was for the one that is gone."""
        self.watch("allow %s dom0 %d\nallow uuid:%s dom0 %d\n" % (self.b.xen.name, PORT, self.uuid(self.b), PORT + 1))
        dom0 = self.c.puppet()
        dom0.do("listen", 1, port=PORT), dom0.do("listen", 2, port=PORT + 1)
        for port in (PORT, PORT + 1):
            wait_until(lambda port=port: self.connects(self.b.puppet(), 0, port), what="rules of the guest that runs")
        for _ in range(2):
            before = self.b.domid
            self.start_again(self.b)
            self.assertGreater(self.b.domid, before)
            client = self.b.puppet()
            self.once(client, 0, PORT)
            self.refused(client, 0, PORT + 1)

    def test_a_guest_that_is_restored_keeps_both(self):
        self.watch("allow %s dom0 %d\nallow uuid:%s dom0 %d\n" % (self.b.xen.name, PORT, self.uuid(self.b), PORT + 1))
        dom0, client = self.c.puppet(), self.b.puppet()
        dom0.do("listen", 1, port=PORT), dom0.do("listen", 2, port=PORT + 1)
        before = self.b.domid
        wait_until(lambda: self.connects(client, 0, PORT), what="rules of the guest that runs")
        self.xen.save(self.b.xen, "/run/b.save")
        self.xen.restore(self.b.xen, "/run/b.save")
        self.c.shell("rm -f /run/b.save")
        self.assertNotEqual(self.b.domid, before)
        wait_until(lambda: self.b.status(False)["domid"] == self.b.domid, 30, "link_mgr that knows its new domid", interval=0.5)
        for port in (PORT, PORT + 1):
            wait_until(lambda port=port: self.connects(client, 0, port), what="rules of the guest that was restored")

    def test_who_may_reach_what(self):
        self.watch("allow %s dom0 %d bandwidth=1M\ndeny %s dom0 23\n" % (self.b.xen.name, PORT, self.a.xen.name))
        self.assertIn("%s -> Domain-0: %d" % (self.b.xen.name, PORT), self.idc_setup("graph"))
        self.assertIn('%d -> 0 [label="%d bandwidth=1M"]' % (self.b.domid, PORT), self.idc_setup("graph", "--dot"))

    def test_a_guest_reads_its_own_rules_and_names_alone(self):
        self.watch("allow %s dom0 %d\nallow dom0 %s 22\ndeny * * 23\n" % (self.a.xen.name, PORT, self.b.xen.name))
        texts = {}
        for guest in (self.a, self.b):
            directory = "/local/domain/%d/idc/policy/rules" % guest.domid
            wait_until(lambda directory=directory: self.xen.store(directory + "/now") is not None, what="rules in Xenstore")
            generation, parts = self.xen.store(directory + "/now").split()
            paths = ["%s/%s/%d" % (directory, generation, part) for part in range(int(parts))]
            reads = [guest.run(["xenstore-read", path]) for path in paths]
            self.assertTrue(all(read.returncode == 0 for read in reads), reads)
            texts[guest] = "".join(read.stdout.decode() for read in reads)
            other = self.b if guest is self.a else self.a
            for path in paths + [directory + "/now"]:
                self.assertNotEqual(other.run(["xenstore-read", path]).returncode, 0, path)
                for argv in (["xenstore-write", path, "0 0"], ["xenstore-rm", path]):
                    self.assertNotEqual(guest.run(argv).returncode, 0, argv)
            self.assertNotIn(other.xen.name, texts[guest].replace("name=%s " % guest.xen.name, ""))
        self.assertIn("allow %d " % PORT, texts[self.a])
        self.assertNotIn("allow 22 ", texts[self.a])
        self.assertIn("allow 22 ", texts[self.b])
        # what a guest knows by name
        self.assertEqual(self.a.run(["idc", "ping", "-c", "1", "dom0"]).returncode, 0)
        said = self.a.run(["idc", "ping", "-c", "1", self.b.xen.name])
        self.assertNotEqual(said.returncode, 0)
        self.assertEqual(said.stderr.replace(self.b.xen.name.encode(), b"?"),
                         self.a.run(["idc", "ping", "-c", "1", "nobody"]).stderr.replace(b"nobody", b"?"))

    def test_a_refusal_names_what_explain_names(self):
        name = self.b.xen.name
        self.watch("deny %s dom0 81\nallow %s dom0 80-90 uid=33\n" % (name, name))
        client = self.b.puppet()
        wait_until(lambda: POLICY in str(self.refused(client, 0, 81)), what="rules")
        for port, line in ((81, 1), (82, 2)):
            self.assertIn("%s:%d" % (POLICY, line), str(self.refused(client, 0, port)))
            explained = self.xen.dom0.run(["idc-setup", "explain", "--uid", "0", name, "dom0", str(port)])
            self.assertEqual(explained.returncode, 3, explained)
            self.assertIn(b"%s:%d" % (POLICY.encode(), line), explained.stdout)

    def test_deny_ends_one_guests_connection_and_no_others(self):
        self.watch("allow * * %d\n" % PORT)
        dom0 = self.c.puppet()
        dom0.do("listen", 1, port=PORT)
        clients = [self.a.puppet(), self.b.puppet()]
        for place, client in enumerate(clients, 2):
            wait_until(lambda client=client: self.connects(client, 0, PORT), what="rules")
            dom0.do("accept", 1, 9)
            client.do("connect", 1, domid=0, port=PORT)
            dom0.do("accept", 1, place)
        waiting = clients[1].begin("recv", 1)
        self.idc_setup("deny", self.b.xen.name, "dom0")
        self.assert_errno(errno.EACCES, waiting.result)
        self.assert_errno(errno.EACCES, dom0.do, "recv", 3)
        clients[0].do("send", 1, len=1000, seed=4)
        self.assertEqual(dom0.do("recv", 2, len=1000, seed=4)["n"], 1000)
        self.refused(clients[1], 0, PORT)

    def test_list_knows_the_connections_of_all_domains(self):
        """Dom0's own, and by their word those between guests. Nobody but the domain and dom0 sees what it says."""
        self.watch("allow * * %d\n" % PORT)
        dom0, a, b = self.c.puppet(), self.a.puppet(), self.b.puppet()
        dom0.do("listen", 1, port=PORT), a.do("listen", 1, port=PORT)
        for server, domid, place in ((dom0, 0, 4), (a, self.a.domid, 5)):
            wait_until(lambda domid=domid: self.connects(b, domid, PORT), what="rules")
            server.do("accept", 1, 9), server.do("close", 9)
            b.do("connect", place, domid=domid, port=PORT)
            server.do("accept", 1, place)

        def uses():
            """None: a guest did not answer within a second, as may be on a busy machine."""
            shown = json.loads(self.idc_setup("list", "--json"))
            told = sorted((use["from"], use["to"], use["rule"], use["from_says"], use["to_says"]) for use in shown["uses"])
            return None if shown["not_known"] else told

        between = [(self.b.domid, 0, 1, 1, 1), (self.b.domid, self.a.domid, 1, 1, 1)]
        wait_until(lambda: uses() == between, what="connections")
        wait_until(lambda: self.idc_setup("graph", "--connected").count(" (1 now)\n") == 2, what="graph")
        ask = "/local/domain/%d/idc/policy/ask" % self.b.domid
        answer = "/local/domain/%d/data/idc/%d/use" % (self.b.domid, self.b.domid)
        self.assertNotEqual(self.b.run(["xenstore-write", ask, "5"]).returncode, 0)
        self.c.shell("xenstore-write %s 5" % ask)
        wait_until(lambda: self.xen.store(answer + "/0") is not None, what="answer in Xenstore")
        self.assertEqual(self.b.run(["xenstore-read", answer + "/0"]).stdout.split()[:2], [b"5", b"0"])
        for path in (answer, answer + "/0", ask):
            self.assertNotEqual(self.a.run(["xenstore-read", path]).returncode, 0, path)
        self.c.shell("xenstore-rm %s" % ask)
        wait_until(lambda: self.xen.store(answer + "/0") is None, what="answer to be taken back")
        for before, words in (("would end: ", ("deny", "--dry-run")), ("ends: ", ("deny",))):
            said = self.idc_setup(*words, self.b.xen.name, "dom0")
            self.assertIn("%s1 connection from %s (%d) to " % (before, self.b.xen.name, self.b.domid), said)
            self.assertEqual(said.count("connection from"), 1)
        self.assert_errno(errno.EACCES, b.do, "recv", 4)
        # the rule of the command is the first one now
        wait_until(lambda: uses() == [(self.b.domid, self.a.domid, 2, 1, 1)], what="end of one connection")
