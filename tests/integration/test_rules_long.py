# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules in a text of several hundred parts: a link_mgr goes from one to the next at once, and keeps the last good one."""

import os
import threading

import system_calls
from rules_case import RulesCase
from world import wait_until

RULES = 3000
PORT = 1001


def policy(first):
    """PORT is allowed by the first rule, and then denied by the last one; or it is allowed by the last rule. So it is allowed
    by both texts, and denied by one that begins as the second and ends as the first."""
    lines = ["allow web db %d" % PORT] if first else []
    lines += ["allow web db " + ",".join("org.example.%s-%d-%d.*" % ("ab"[first], number, word) for word in range(12))
              for number in range(RULES)]
    return "\n".join(lines + ["%s web db %d" % ("deny" if first else "allow", PORT), ""])


class Long(RulesCase):
    platforms = ("local",)  # it looks at the store's files

    def directory(self, domain):
        return os.path.join(self.world.store_directory, "domain:%d/policy" % domain.domid)

    def now(self, domain):
        """The generation in force, and its number of parts."""
        with open(os.path.join(self.directory(domain), "rules.now"), encoding="ascii") as stream:
            return tuple(int(word) for word in stream.read().splitlines()[1].split())

    def assert_only(self, domain):
        """Nothing but the parts of the generation in force is in the store."""
        generation, parts = self.now(domain)
        self.assertGreater(parts, 200)
        names = {name for name in os.listdir(self.directory(domain)) if name.startswith("rules.")}
        self.assertEqual(names, {"rules.now"} | {"rules.%d.%d" % (generation, part) for part in range(parts)})
        return generation, parts

    def outcome(self, client):
        """Nothing listens on PORT: who may connect is told that."""
        return client.do("storm", domid=self.b.domid, port=PORT)["last"]

    def begin(self):
        self.apply(policy(True))
        client = self.a.puppet()
        wait_until(lambda: self.outcome(client) == "ECONNREFUSED", 120 * self.world.slowness, "rules")
        return client

    def test_switching_while_programs_connect(self):
        client, found, ending = self.begin(), [], threading.Event()

        def connect():
            while not ending.is_set():
                found.append(self.outcome(client))

        thread = threading.Thread(target=connect)
        thread.start()
        try:
            for first in (False, True, False):
                before = self.now(self.a), self.now(self.b), len(found)
                self.apply(policy(first))
                for domain, (generation, _) in zip((self.a, self.b), before):
                    self.assertGreater(self.assert_only(domain)[0], generation)
                wait_until(lambda least=before[2] + 20: len(found) > least or not thread.is_alive(),
                           120 * self.world.slowness, "connects")
        finally:
            ending.set()
            thread.join()
        self.assertEqual(set(found), {"ECONNREFUSED"})
        print("         %d connects, %d parts" % (len(found), self.now(self.b)[1]))
        for domain in (self.a, self.b):
            self.assertNotIn("can't be read", domain.log())
        self.apply("\n")
        wait_until(lambda: self.outcome(client) == "EACCES", 120 * self.world.slowness, "no rules")

    def node(self, leaf, value):
        self.world.write_node("domain:%d/policy/rules.%s" % (self.b.domid, leaf), "n0,r%d" % self.b.domid, value)

    def test_texts_that_are_no_good(self):
        client = self.begin()
        last = self.now(self.b)[0]

        def assert_kept():
            for _ in range(3):
                self.assertEqual(self.outcome(client), "ECONNREFUSED")

        self.world.write_rules(self.b, last + 1, "version 1\nnonsense\nend\n")
        self.b.wait_log(b"the rules of generation %d can't be read, so the former ones stay: line 2" % (last + 1))
        assert_kept()
        self.node("now", "nonsense")
        self.b.wait_log(b"policy/rules/now is not a generation")
        assert_kept()
        self.node("now", "%d 7" % (last + 2))  # which is not there
        assert_kept()
        for part, text in ((0, "version 1\n"), (2, "nd\n")):
            self.node("%d.%d" % (last + 3, part), text)
        self.node("now", "%d 3" % (last + 3))  # part 1 is not there
        assert_kept()
        self.node("%d.1" % (last + 3), "e")
        wait_until(lambda: self.outcome(client) == "EACCES", 60 * self.world.slowness, "the text when it is whole")
        self.assertEqual(self.b.log().count("can't be read"), 2, self.b.log()[-2000:])

    def test_idle(self):
        if not (self.world.local_files and self.world.measures_memory):
            self.skipTest("system calls can't be counted here")
        self.begin()
        wait_until(lambda: system_calls.count(self.b, lambda: self.world.pass_time(3)) == 0, 120 * self.world.slowness,
                   "three seconds without a system call")
