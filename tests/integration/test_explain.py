# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc explain` and idc.explain: what would become of a connect, and what is in its way. What it says is then tried."""

import errno

from rules_case import RulesCase
from world import wait_until


class Explain(RulesCase):
    def idc_explain(self, status, *words, uid=0):
        done = self.a.run(["idc", "explain", *words], uid=uid)
        self.assertEqual((done.returncode, done.stderr), (status, b""), done.stdout)
        return done.stdout.decode()

    def listen(self, port=80, name=None, **more):
        server = self.b.puppet()
        more.update({"name": name} if name else {})
        server.do("listen", 1, port=port, **more)
        return server

    def assert_connects(self, error, **target):
        client = self.a.puppet()
        if error:
            self.assert_errno(error, client.do, "connect", 1, domid=self.b.domid, **target)
        else:
            client.do("connect", 1, domid=self.b.domid, **target)

    def allow(self, *words):
        self.idc_setup("allow", *words)
        wait_until(lambda: self.a.run(["idc", "explain", "db", words[-1]]).stdout.startswith(b"allowed"), what="the rule")

    def test_no_rule(self):
        self.listen()
        text = self.idc_explain(3, str(self.b.domid), "80")
        self.assertRegex(text, r"\Arefused: policy does not allow it")
        self.assertRegex(text, r"\n  rules +none of this domain allows it\n")
        self.assertRegex(text, r"\n  listener +not asked for\n")
        self.assert_connects(errno.EACCES, port=80)

    def test_allowed(self):
        """By a rule, whose place is told."""
        self.listen(name="org.example.upper")
        self.allow("web", "db", "org.example.upper")
        text = self.idc_explain(0, "db", "org.example.upper")
        self.assertRegex(text, r"\Aallowed: a connection would be made\n  domain +db, domid %d\n" % self.b.domid)
        self.assertRegex(text, r"\n  rules +\S+:\d+ allows it")
        self.assertRegex(text, r"\n  quota +uid 0 has 0 connections with other domains, and no limit\n")
        self.assertRegex(text, r"\n  link_mgr +there, in the other domain\n")
        self.assertRegex(text, r"\n  listener +port 80, a stream, org.example.upper\n")

    def test_nobody_listens(self):
        self.allow("web", "db", "81")
        text = self.idc_explain(1, "db", "81")
        self.assertRegex(text, r"\Aallowed, but it would fail now: nothing listens there")
        self.assert_connects(errno.ECONNREFUSED, port=81)

    def test_the_other_type(self):
        self.listen()
        self.allow("web", "db", "80")
        self.assertIn("would fail now: the listener is of the other type", self.idc_explain(1, "--type", "seqpacket", "db", "80"))

    def test_denied_by_the_other_side(self):
        """It does not list the service then: this user may not connect to it, or nobody listens."""
        self.allow("web", "db", "80")
        self.listen()
        self.b.stop()
        text = self.idc_explain(1, "--timeout", "1", "db", "80")
        self.assertRegex(text, r"\Aallowed, but it would fail now: ")
        self.assertRegex(text, r"\n  link_mgr +not seen in the other domain\n")

    def test_the_own_domain(self):
        server = self.a.puppet()
        server.do("listen", 1, port=80)
        self.assertIn("  rules     the own domain needs none\n", self.idc_explain(0, "self", "80"))
        self.idc_explain(1, "self", "81")

    def test_no_such_domain(self):
        done = self.a.run(["idc", "explain", "nobody", "80"])
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"nobody", done.stderr)

    def test_wrong_usage(self):
        for words in ([], ["db"], ["db", "80", "81"], ["any", "org.example.upper"], ["--type", "x", "db", "80"], ["db", "0"],
                      ["--timeout", "0", "db", "80"]):
            done = self.a.run(["idc", "explain", *words])
            self.assertEqual((done.returncode, done.stdout, done.stderr.count(b"\n") > 0), (2, b"", True), words)

    def test_nothing_is_made(self):
        """No connection to the program."""
        server = self.listen()
        self.allow("web", "db", "80")
        self.idc_explain(0, "db", "80")
        waiting = server.begin("accept", 1, 2)
        self.assertFalse(waiting.done())
        self.assert_connects(0, port=80)
        waiting.result()
