# SPDX-License-Identifier: GPL-2.0-or-later
"""A refusal that a program sees and what idc-setup explain says."""

import errno
import os
import re
import subprocess

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

    def test_a_name_that_is_not_told(self):
        """The program is told of no such domain, and explain says why, until a rule names it."""
        self.b.puppet().do("listen", 1, port=80)
        unknown = "domain %d (web) does not know the name db: its rules do not name it; add a rule\n" % self.a.domid
        self.assertIn("told of no such domain", self.a.run(["idc", "cat", "db", "80"]).stderr.decode())
        self.assertIn(unknown, self.idc_setup("explain", "web", "db", "80", status=3))
        self.assertFalse(self.explain("web", "db", "80")["name_told"])
        self.idc_setup("allow", "web", "db", "80")
        self.assertEqual(self.a.run(["idc", "wait", "db", "80"]).returncode, 0)
        self.assertNotIn("does not know", self.idc_setup("explain", "web", "db", "80"))
        self.assertTrue(self.explain("web", "db", "80")["name_told"])

    def assert_explained_allowed(self, line, port):
        answer = self.explain("web", "db", str(port))
        self.assertTrue(answer["allowed"], answer)
        self.assertEqual(answer["rule"]["line"], line)
        self.assertTrue(answer["sides"]["to"]["link_mgr"])


class Advised(RulesCase):
    """The command that a refusal advises is carried out as it is printed, by a shell."""

    def advised(self, program, *words):
        """What idc says at the end of its only line."""
        result = program.run(["idc", "cat", *words])
        said = re.fullmatch(rb"idc cat: [^\n]*: (idc-setup [^\n]*)\n", result.stderr)
        self.assertTrue(result.returncode == 1 and said, result.stderr)
        if program is self.a and len(words) == 2:
            self.assert_forward_says_it(result.stderr, *words)
        return said.group(1).decode()

    def assert_forward_says_it(self, said_by_cat, domain, service):
        """Whole. Only what it has named already may be missing."""
        said = self.a.run(["idc", "forward", "stdio", "idc:%s:%s" % (domain, service)]).stderr
        before = b"idc forward: idc:%s:%s: " % (domain.encode(), service.encode())
        self.assertTrue(said.startswith(before), said)
        self.assertIn(said[len(before):], said_by_cat)

    def carry_out(self, command, status=0):
        program, rest = command.split(" ", 1)
        if self.world.platform == "xen":
            done = self.world.xen.dom0.run(["sh", "-c", command])
        else:
            done = self.carry_out_here(program, rest)
        self.assertEqual(done.returncode, status, "%s: %r" % (command, done.stderr))
        return done.stdout.decode()

    def carry_out_here(self, program, rest):
        return subprocess.run(["sh", "-c", self.world.find_program(program) + " " + rest], capture_output=True, timeout=60,
                              check=False, env=dict(self.world.environment, IDC_STORE=self.world.store_directory),
                              **self.world.as_user())

    def carry_out_explained(self, command):
        """It tells what takes the line away, and that is carried out."""
        told = re.findall(r"  to take that away: (.*)\n", self.carry_out(command, status=3))
        self.assertEqual(len(told), 1)
        self.carry_out(told[0])

    def begin(self):
        self.b.puppet().do("listen", 1, port=80)
        self.client = self.a.puppet()

    def assert_advice_helps(self, *words):
        self.carry_out(self.advised(self.a, *words))
        self.until_allowed(self.client, 1, self.b, port=80)

    def test_without_any_rule(self):
        self.begin()
        self.assertEqual(self.advised(self.a, str(self.b.domid), "80"), "idc-setup allow %d %d 80" % (self.a.domid, self.b.domid))
        self.assert_advice_helps(str(self.b.domid), "80")

    def test_with_policy_nodes(self):
        """They stay as they were, and nothing is opened the other way round."""
        self.world.setup(self.a, self.b, ports="81")
        self.begin()
        wait_until(lambda: self.a.link(self.b).get("allowed"), what="the node")
        self.assert_advice_helps(str(self.b.domid), "80")
        self.assertIn("in=81 out=81", self.idc_setup("list"))
        self.assertFalse(self.explain("db", "web", "80")["allowed"])

    def test_domids_stand_for_names(self):
        """Other domains may have these names, of which this one isn't told."""
        self.apply("allow web db 81\n")
        self.begin()
        self.until_refused(self.client, 1, self.b, port=80)
        wait_until(lambda: "db" in self.a.run(["idc", "status"]).stdout.decode(), what="names")
        for domain in "db", str(self.b.domid):
            self.assertEqual(self.advised(self.a, domain, "80"), "idc-setup allow %d %d 80" % (self.a.domid, self.b.domid))
        self.assert_advice_helps("db", "80")

    def test_a_rule_for_another_uid(self):
        """It is opened for this user only."""
        self.apply("allow web db 80 uid=4242\n")
        self.begin()
        wait_until(lambda: "4242" in self.a.run(["idc", "cat", "db", "80"]).stderr.decode(), what="the rule")
        self.assert_advice_helps("db", "80")
        self.assertFalse(self.explain("web", "db", "80", "--uid", "4243")["allowed"])

    def until_denied(self, words):
        wait_until(lambda: words in self.a.run(["idc", "cat", "db", "80"]).stderr.decode(), what="the deny rule")

    def test_denied_by_a_command(self):
        self.apply("allow web db 80,81\n")
        self.begin()
        self.idc_setup("deny", "w*b", "db", "80")
        self.until_denied("commands.policy:2 denies it")
        self.carry_out_explained(self.advised(self.a, "db", "80"))
        self.until_allowed(self.client, 1, self.b, port=80)

    def test_denied_by_commands_and_allowed_by_nothing(self):
        """What explain tells is carried out, each command in its turn, and then it works; nothing is opened the other way."""
        self.apply("allow web db 81\n")
        self.begin()
        self.idc_setup("deny", "web", "db", "80")
        self.idc_setup("deny", "w*b", "db", "70-80")
        self.until_denied("commands.policy:3 denies it")
        told = re.findall(r"  to [a-z ]*: (idc-setup .*)\n", self.carry_out(self.advised(self.a, "db", "80"), status=3))
        self.assertEqual(told, ["idc-setup retract 'w*b' db 70-80", "idc-setup retract web db 80",
                                "idc-setup allow %d %d 80" % (self.a.domid, self.b.domid)])
        for command in told:
            self.carry_out(command)
        self.until_allowed(self.client, 1, self.b, port=80)
        self.assertFalse(self.explain("db", "web", "80")["allowed"])

    def test_denied_by_a_file(self):
        self.apply("deny web db 80 type=stream\nallow web db 80\n")
        self.begin()
        self.until_denied("policy:1 denies it")
        said = self.carry_out(self.advised(self.a, "db", "80"), status=3)
        self.assertIn("refused: %s/policy:1: deny web db 80" % self.policy, said)
        self.assertIn("change that line, and run idc-setup apply", said)
        self.apply("allow web db 80\n")
        self.until_allowed(self.client, 1, self.b, port=80)

    def test_denied_for_messages_only(self):
        """The question that is advised is about the type that was refused."""
        self.apply("deny web db 80 type=seqpacket\nallow web db 80\n")
        self.begin()
        self.until_allowed(self.client, 1, self.b, port=80)
        self.assertIn("policy:1: deny", self.carry_out(self.advised(self.a, "--seqpacket", "db", "80"), status=3))

    def test_any(self):
        self.apply("allow web db org.example.other\nroute web org.example.a db\n")
        self.begin()
        wait_until(lambda: "not allow" in self.a.run(["idc", "cat", "any", "org.example.a"]).stderr.decode(), what="the route")
        self.assertIn("no line fits", self.carry_out(self.advised(self.a, "any", "org.example.a"), status=3))
