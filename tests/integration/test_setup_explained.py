# SPDX-License-Identifier: GPL-2.0-or-later
"""A refusal that a program sees and what idc-setup explain says."""

import errno
import os

from rules_case import RulesCase
from world import wait_until


class Explained(RulesCase):
    """A refusal that a program sees and idc-setup explain name the same rule."""

    RULES = ("allow web db 1001\n"
             "deny  web db 1002\n"
             "allow web db 1002-1003 uid=4242\n"
             "allow web db 1004 type=seqpacket\n"
             "allow web db 1005 until=2020-01-01T00:00:00Z\n"
             "allow web db 1006 rate=1/s\n"
             "allow web db 1007 connections=1\n"
             "allow db web org.example.named\n"
             "allow web gone 1001\n"
             "allow web db 1008\n")

    def place(self, line):
        return "%s/policy:%d" % (self.policy, line)

    def refusal(self, port, line, **more):
        """The program is refused, and both name this line (0: none)."""
        error = self.connect(self.web, 50, self.b, port=port, **more)
        self.assertIsNotNone(error, port)
        self.assertEqual(error.errno, errno.EACCES, error)
        words = ["--uid", str(os.getuid())] + (["--type", more["type"]] if "type" in more else [])
        answer = self.explain(*words, "web", "db", str(port))
        self.assertFalse(answer["allowed"], answer)
        rule = answer["rule"] or (answer["but_for"] or [{"rule": None}])[0]["rule"]
        named = "%s:%d" % (rule["file"], rule["line"]) if rule else None
        self.assertEqual(named, self.place(line) if line else None)
        if line:
            self.assertIn(self.place(line), str(error))
        else:
            self.assertNotIn(self.policy, str(error))
        return answer

    def test_constellations(self):
        self.apply(self.RULES)
        self.web, db = self.a.puppet(), self.b.puppet()
        for port in (1001, 1002, 1003, 1004, 1005, 1006, 1007):
            db.do("listen", port, port=port, type="seqpacket" if port == 1004 else None)
        db.do("listen", 1008, port=1008, backlog=1)
        self.until_allowed(self.web, 1, self.b, port=1001)
        self.refusal(999, 0)  # no rule
        self.refusal(1002, 2)  # denied by an earlier line
        self.refusal(1003, 3)  # the wrong uid
        self.refusal(1004, 4)  # the wrong type
        self.refusal(1005, 5)  # expired
        # a half of a rule, by hand: the other side refuses
        self.world.write_policy(self.a, self.b, "out=998")
        wait_until(lambda: self.connect(self.web, 50, self.b, port=998).errno == errno.EACCES, what="refusal")
        answer = self.refusal(998, 0)
        self.assertTrue(answer["sides"]["from"]["allowed"])
        self.assertFalse(answer["sides"]["to"]["allowed"])
        # what is allowed, and yet fails
        for port, line, error in ((1006, 6, errno.ENOBUFS), (1007, 7, errno.ENOBUFS)):  # rate, connections
            last = None
            for place in range(2, 6):
                last = self.connect(self.web, 10 * (port - 1000) + place, self.b, port=port) or last
            self.assertEqual(last.errno, error, last)
            self.assertIn(self.place(line), str(last))
            self.assert_explained_allowed(line, port)
        db.do("unlisten", 1001)
        self.assertEqual(self.connect(self.web, 90, self.b, port=1001).errno, errno.ECONNREFUSED)  # nothing listens
        self.assert_explained_allowed(1, 1001)
        last = None
        for place in range(91, 98):
            last = self.connect(self.web, place, self.b, port=1008) or last
        self.assertEqual(last.errno, errno.ECONNREFUSED)  # the backlog is full
        self.assert_explained_allowed(10, 1008)
        # no link_mgr there, and no such domain
        self.b.kill_programs()
        self.b.stop()
        self.assertEqual(self.connect(self.web, 99, self.b, port=1001).errno, errno.EHOSTUNREACH)
        answer = self.explain("web", "db", "1001")
        self.assertTrue(answer["allowed"])
        self.assertFalse(answer["sides"]["to"]["link_mgr"])
        self.assertTrue(answer["sides"]["from"]["link_mgr"])
        answer = self.explain("web", "gone", "1001")
        self.assertFalse(answer["to_there"])
        self.assertEqual(answer["rule"]["line"], 9)

    def assert_explained_allowed(self, line, port):
        answer = self.explain("web", "db", str(port))
        self.assertTrue(answer["allowed"], answer)
        self.assertEqual(answer["rule"]["line"], line)
        self.assertTrue(answer["sides"]["to"]["link_mgr"])
