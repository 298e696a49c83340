# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of policy files and of commands, from idc-setup to the programs of two domains.

The tests run idc-setup as a toolstack would, and see what programs get. What idc-setup prints and writes is in
tests/unit/test_setup_rules.sh.
"""

import errno
import os
import re
import socket
import time

from case import KEEP_LINKS
from rules_case import RulesCase
from world import LocalDomain, wait_until

FEW, MANY = 32, 64  # domains


class Commands(RulesCase):
    def test_a_rule_goes_one_way(self):
        self.apply("allow web db 1000\n")
        web, db = self.a.puppet(), self.b.puppet()
        web.do("listen", 1, port=1000)
        db.do("listen", 1, port=1000)
        self.until_allowed(web, 2, self.b, port=1000)
        self.assertEqual(self.connect(db, 2, self.a, port=1000).errno, errno.EACCES)
        self.assertEqual(self.connect(web, 3, self.b, port=1001).errno, errno.EACCES)

    def pairs(self, count, rules):
        """So many connections from web to db, each with another port, in the places from 1 on."""
        self.apply(rules)
        web, db = self.a.puppet(), self.b.puppet()
        for place in range(1, count + 1):
            db.do("listen", 100 + place, port=1000 + place)
            self.until_allowed(web, place, self.b, port=1000 + place)
            db.do("accept", 100 + place, place)
        return web, db

    def assert_ended(self, *sides):
        """With EACCES, each of (puppet, place)."""
        for puppet, place in sides:
            self.assert_errno(errno.EACCES, puppet.do, "recv", place)

    def assert_alive(self, web, db, place):
        web.do("send", place, len=1000, seed=place)
        self.assertEqual(db.do("recv", place, len=1000, seed=place)["n"], 1000)

    def test_deny_ends_what_it_denies_and_nothing_else(self):
        web, db = self.pairs(3, "allow web db 1001-1003\n")
        self.idc_setup("deny", "web", "db", "1002")
        self.assert_ended((web, 2), (db, 2))
        for place in (1, 3):
            self.assert_alive(web, db, place)
        self.idc_setup("retract", "web", "db")
        self.until_allowed(web, 5, self.b, port=1002)

    def test_a_rule_that_goes_ends_what_it_had_allowed(self):
        web, db = self.pairs(2, "allow web db 1001\n\nallow web db 1002\n")
        self.apply("allow web db 1001\n")
        self.assert_ended((web, 2), (db, 2))
        self.assert_alive(web, db, 1)
        # allowed by another rule now: it stays
        self.idc_setup("allow", "web", "db")
        self.apply("\n")
        self.assert_alive(web, db, 1)
        self.idc_setup("retract", "--all")
        self.assert_ended((web, 1), (db, 1))

    def test_a_file_that_is_wrong_ends_nothing(self):
        web, db = self.pairs(1, "allow web db 1001\n")
        self.write("allow web db 1001 uid=root\n")
        self.idc_setup("apply", "--policy", self.policy, status=2)
        self.assert_alive(web, db, 1)
        self.until_allowed(web, 5, self.b, port=1001)

    def test_an_hour_that_is_over(self):
        self.idc_setup("allow", "web", "db", "1001", "until=+4s")
        web, db = self.a.puppet(), self.b.puppet()
        db.do("listen", 101, port=1001)
        try:
            web.do("connect", 1, domid=self.b.domid, port=1001)
        except OSError:
            self.skipTest("this machine took longer than the rule lasts")
        db.do("accept", 101, 1)
        self.assert_ended((web, 1), (db, 1))
        self.until_refused(web, 2, self.b, port=1001)

    def test_command_then_node_then_file(self):
        self.apply("allow web db 1001\n")
        web, db = self.a.puppet(), self.b.puppet()
        for port in (1001, 1002):
            db.do("listen", port, port=port)
        self.world.setup(self.a, self.b, ports="1002")
        self.until_allowed(web, 1, self.b, port=1002)
        self.until_allowed(web, 2, self.b, port=1001)
        self.idc_setup("deny", "web", "db", "1001-1002")
        self.until_refused(web, 3, self.b, port=1002)
        self.until_refused(web, 3, self.b, port=1001)
        self.idc_setup("retract", "--all")
        self.until_allowed(web, 4, self.b, port=1002)
        self.idc_setup("--remove", str(self.a.domid), str(self.b.domid))
        self.until_refused(web, 5, self.b, port=1002)
        self.until_allowed(web, 6, self.b, port=1001)


class Watch(RulesCase):
    platforms = ("local",)  # on Xen: test_xen_rules

    def name(self, domain, name, uuid=None):
        """By hand: idc-setup name would publish the rules too."""
        directory = "domain:%d/" % domain.domid
        for leaf, value in (("uuid", uuid), ("name", name)):
            if value:
                self.world.write_node(directory + leaf, "n0", value)
            elif os.path.exists(os.path.join(self.world.store_directory, directory + leaf)):
                os.unlink(os.path.join(self.world.store_directory, directory + leaf))

    def other_domain(self, domid):
        """A link_mgr of another domid, which ends with the test."""
        domain = LocalDomain(self.world, "d", domid)
        domain.begin_start(*KEEP_LINKS)
        domain.wait_ready()
        self.addCleanup(self.end_domain, domain)
        return domain

    def end_domain(self, domain):
        domain.kill_programs()
        if domain.daemon:
            domain.stop()

    def test_rules_follow_a_name_to_another_domid(self):
        uuid = "00112233-4455-6677-8899-aabbccddeeff"
        self.name(self.a, "web", uuid)
        self.write("allow web db 1001\nallow uuid:%s db 1002\n" % uuid)
        self.begin_watch()
        db = self.b.puppet()
        for port in (1001, 1002):
            db.do("listen", port, port=port)
        web = self.a.puppet()
        self.until_allowed(web, 1, self.b, port=1001)
        self.until_allowed(web, 2, self.b, port=1002)
        # web ends, and is started again as another domain, twice; then somebody else gets its name
        self.name(self.a, None)
        self.until_refused(web, 3, self.b, port=1001)
        for domid in (70, 71):
            later = self.other_domain(domid)
            self.name(later, "web", uuid)
            program = later.puppet()
            self.until_allowed(program, 1, self.b, port=1001)
            self.until_allowed(program, 2, self.b, port=1002)
            self.name(later, None)
            self.until_refused(program, 3, self.b, port=1001)
            self.end_domain(later)
        namesake = self.other_domain(72)
        self.name(namesake, "web", "99999999-4455-6677-8899-aabbccddeeff")
        program = namesake.puppet()
        self.until_allowed(program, 1, self.b, port=1001)
        self.assertEqual(self.connect(program, 2, self.b, port=1002).errno, errno.EACCES)
        self.assertEqual(self.connect(web, 4, self.b, port=1001).errno, errno.EACCES)

    def test_a_file_that_changes(self):
        self.write("allow web db 1001\n")
        watch = self.begin_watch()
        web, db = self.a.puppet(), self.b.puppet()
        db.do("listen", 101, port=1001)
        self.until_allowed(web, 1, self.b, port=1001)
        db.do("accept", 101, 1)
        self.write("allow web db wrong wrong\n")
        wait_until(lambda: b"are not put in force" in watch.stderr.pending(), what="a word about the file")
        self.assertIsNone(self.connect(web, 2, self.b, port=1001))
        self.write("allow web db 1002\n")
        self.assert_errno(errno.EACCES, web.do, "recv", 1)

    def made(self, told):
        """How often the rules were made, as it tells whoever started it. None: it has told nothing since."""
        times = None
        while True:
            try:
                words = told.recv(1000).decode()
            except BlockingIOError:
                return times
            count = re.search("^STATUS=.* the rules were made ([0-9]+) times$", words, re.MULTILINE)
            times = int(count.group(1)) if count else times

    def test_many_that_come(self):
        """One after the other, each in several pieces, and each concerns all others. The rules are made once for each. Then many come
        at once."""
        self.write("group guests = web db guest-*\nallow @guests @guests 1001\n")
        path = os.path.join(self.policy, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(path)
            self.world.give(path)
            told.setblocking(False)
            watch = self.begin_watch(NOTIFY_SOCKET=path)
            before = self.made(told)
            for domid in range(100, 100 + FEW):
                self.come(domid, 0.005)
                now = os.path.join(self.world.store_directory, "domain:%d/policy/rules.now" % domid)
                wait_until(lambda now=now: os.path.exists(now), what="rules of domain %d" % domid, interval=0.005)
            after = self.made(told)
            self.assertLess(after - before, FEW * 3 // 2, "for %d domains that came one after the other" % FEW)
            with open("/proc/%d/schedstat" % watch.pid, encoding="ascii") as stream:
                began = int(stream.read().split()[0])
            for domid in range(200, 200 + MANY):
                self.come(domid)
            last = os.path.join(self.world.store_directory, "domain:%d/policy/rules.now" % (199 + MANY))
            wait_until(lambda: os.path.exists(last), what="rules of the last", interval=0.05)
            with open("/proc/%d/schedstat" % watch.pid, encoding="ascii") as stream:
                cpu = (int(stream.read().split()[0]) - began) / 1e9
            print("         one after the other: made %d times for %d domains; at once: %d times for %d, %.2f s of processor time" %
                  (after - before, FEW, (self.made(told) or after) - after, MANY, cpu))

    def come(self, domid, between=0):
        """A domain as link_mgr makes it known: a directory and node after node, so many seconds apart; and its name changes."""
        for leaf, value in (("name", "new-%d" % domid), ("uuid", "00000000-0000-0000-0000-%012d" % domid), ("name", "guest-%d" % domid)):
            self.world.write_node("domain:%d/%s" % (domid, leaf), "n0", value)
            time.sleep(between)

    def test_idle(self):
        """While nothing changes, it is not scheduled once: no system call can be made without that."""
        self.write("allow * * 1001\n")
        watch = self.begin_watch()

        def switches():
            with open("/proc/%d/status" % watch.pid, encoding="ascii") as stream:
                return [line for line in stream if "ctxt_switches" in line]

        last = None

        def at_rest():
            nonlocal last
            before, last = last, switches()
            return before == last

        wait_until(at_rest, what="rest", interval=0.3)
        before = switches()
        # what link_mgrs write for each other is nothing to it
        web, db = self.a.puppet(), self.b.puppet()
        db.do("listen", 101, port=1001)
        self.until_allowed(web, 1, self.b, port=1001)
        time.sleep(10)
        self.assertEqual(switches(), before, "woken up in 10 s in which no domain and no file has changed")
