# SPDX-License-Identifier: GPL-2.0-or-later
"""What docs/troubleshooting.md says of a symptom is what one sees when it is made: each message below is provoked, and has to be one
that the page quotes, with `...` for what differs."""

import os
import re

from case import IdcTestCase
from world import ROOT, wait_until

PAGE = os.path.join(ROOT, "docs", "troubleshooting.md")
NOBODY = 4242
NO_DOMAIN = 4711


def quotations():
    with open(PAGE, encoding="utf-8") as stream:
        lines = [line[4:].strip() for line in stream if line.startswith("    ")]
    return [line for line in lines if not re.match(r"\w+# ", line)]


class Symptoms(IdcTestCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.world.setup_rules, "retract", "--all")

    def sees(self, quotation, domain, *argv, **options):
        """It fails, with what the page quotes, here given by how it begins."""
        (pattern,) = [line for line in quotations() if line.startswith(quotation)]
        pattern = re.escape(pattern).replace(r"\.\.\.", ".*")

        def said():
            result = domain.run(list(argv), **options)
            text = (result.stdout + result.stderr).decode()
            return result.returncode != 0 and re.search(pattern, text)
        wait_until(said, what="%s from %s" % (quotation, " ".join(argv)))

    def connects(self, quotation, *where, **options):
        self.sees(quotation, self.a, "idc", "cat", *map(str, where), **options)

    def rule(self, command, *words):
        self.world.setup_rules(command, str(self.a.domid), str(self.b.domid), *words)

    def test_connects(self):
        there = self.b.domid
        self.connects("nothing listens", there, 80)
        self.b.spawn(["idc", "cat", "--listen", "--seqpacket", "--port", "81"])
        self.connects("the listener is of the other type", there, 81)
        self.connects("the rule of this domain", NO_DOMAIN, 80)
        self.connects("...: this domain is told of no such domain", "nobody", 80)
        self.connects("any, service", "any", "org.example.upper")
        self.rule("deny", "82")
        self.connects("... denies it", there, 82)
        self.connects("no rule allows it", NO_DOMAIN, 80)
        self.connects("policy does not allow it", there, 82)
        self.b.stop()
        self.connects("there is no such domain, or no link_mgr", there, 80)
        self.b.start(*self.options)

    def test_a_rule_for_others(self):
        self.world.setup(self.a, self.b, remove=True)
        self.rule("allow", "83", "uid=%d" % NOBODY)
        self.connects("... allows it to uid", self.b.domid, 83)
        self.rule("allow", "84", "type=seqpacket")
        self.connects("... allows it... with type", self.b.domid, 84)
        self.rule("allow", "85", "connections=1")
        self.b.spawn(["idc", "cat", "--listen", "--keep", "-c", "cat", "--port", "85"])
        wait_until(lambda: any(one["port"] == 85 for one in self.b.status()["listeners"]), what="the listener")
        first = self.a.spawn(["idc", "cat", str(self.b.domid), "85"])
        first.write(b"x\n")
        self.assertEqual(first.stdout.readline(60), b"x\n")
        self.connects("the rule that allows it has as many", self.b.domid, 85)

    def test_link_mgr_is_not_reached(self):
        self.sees("no link_mgr serves", self.a, "idc", "status", "--socket", "/nonexistent")
        self.sees("ports up to", self.a, "idc", "cat", "--listen", "--port", "80", uid=NOBODY)
        self.b.spawn(["idc", "cat", "--listen", "--port", "1234"])
        self.sees("a program of uid", self.b, "idc", "cat", "--listen", "--port", "1234")

    def test_another_link_mgr(self):
        start = ["link_mgr", "--platform", "local", "--domid"]
        self.sees("another link_mgr serves", self.a, *start, str(NO_DOMAIN), "--socket", self.a.socket)
        self.sees("domain ... has a link_mgr already", self.a, *start, str(self.a.domid), "--socket", self.a.socket + ".2")
        self.sees("this is not a Xen domain", self.a, "env", "-u", "IDC_STORE", self.world.find_program("link_mgr"), "--platform", "xen")
