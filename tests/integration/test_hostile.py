# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that lies (tests/programs/hostile.c): its link ends, with one line in the victim's log that says why; another link of
the same victim doesn't notice; and a second later the peer, reformed, is welcome again.

The liar has its place in the store and its permission, but no link_mgr: it is a process of its own under a domid of its own
(on the local platform; on Xen it is a domain that has stopped its link_mgr, see test_xen_only.py).
"""

import errno
import os
import re
import subprocess
import sys
import time

from case import IdcTestCase
from world import wait_until


# Each ends the link, and is what honest peers say too, of another version or with old news.
NO_LIES = ("no protocol version in common", "HELLO belonged to another link")


class Liars(IdcTestCase):
    """b is the victim; a has an honest link to it all the time. Each lie is told by a domain of its own."""
    platforms = ("local",)
    timeout = 600

    def lies(self):
        out = subprocess.run([self.world.find_program("hostile"), "list"], stdout=subprocess.PIPE, check=True, timeout=20).stdout
        return [tuple(line.split("|")) for line in out.decode().splitlines()]

    def liar(self, domid, mode, *what):
        self.world.setup(self.b, domid)
        return self.a.spawn(["hostile", mode, "--domid", str(domid), "--victim", str(self.b.domid)] + list(what))

    def ended_lines(self, domid):
        return re.findall(r"link_mgr: domain %d: link ended: (.*)" % domid, self.b.log())

    def expect(self, liar, word):
        line = liar.stdout.readline(30).decode().strip()
        self.assertEqual(line, word, "%r: %r" % (liar, liar.stderr.pending()))

    def tell(self, domid, name, stage, text, victim):
        """One lie, from beginning to end."""
        liar = self.liar(domid, "once", name)
        self.expect(liar, "ready")
        wanted = None
        if stage == "4":
            wanted = victim.begin("connect", 900, domid=domid, port=5)
        self.expect(liar, "ended" if text else "alive")
        self.assertEqual(liar.wait(), 0)
        if wanted:
            self.assert_ends_with_reset(victim, wanted)
        return liar

    def assert_ends_with_reset(self, victim, wanted):
        """The program that wanted a connection to the liar: either it was never there or it is broken off."""
        try:
            wanted.result()
            victim.do("check", 900)
            self.fail("a clean end from a liar")
        except OSError as error:
            self.assertEqual(error.name, "ECONNRESET")

    def check_reason(self, domid, text):
        """By the status, not by the log: of the lines that a peer can cause link_mgr writes ten a second."""
        link = [link for link in self.b.status(False)["links"] if link["peer"] == domid][0]
        prefix = "" if text in NO_LIES else "the peer sent "
        self.assertEqual(link["last_error"], prefix + text if text else link["last_error"])
        if not text:
            self.assertNotIn("the peer sent", link["last_error"])

    def run_lies(self, first_domid):
        client, server = self.pair(4000)
        victim = self.b.puppet()
        victim.do("listen", 1, port=80, backlog=1000)
        victim.do("listen", 2, port=81, type="seqpacket", backlog=1000)
        before = self.b.counters()["protocol_errors"]
        lies = self.lies()
        problems = []
        for number, (name, stage, text) in enumerate(lies):
            try:
                self.tell(first_domid + number, name, stage, text, victim)
                self.check_reason(first_domid + number, text)
            except (AssertionError, OSError, TimeoutError) as problem:
                problems.append("%s: %s" % (name, problem))
            client.do("send", 1, len=1000, seed=number)
            self.assertEqual(server.do("check", 1, len=1000, seed=number)["n"], 1000)
        told = len([text for _, _, text in lies if text and text not in NO_LIES])
        self.assertEqual(problems, [])
        self.assertEqual(self.b.counters()["protocol_errors"] - before, told)

    def test_one_line_of_log_for_a_lie(self):
        """As it is without --verbose."""
        self.b.stop()
        self.b.start("--idle", "3600000")
        self.b.puppet().do("listen", 1, port=80)
        for domid, lie in ((700, "type_0"), (701, "index_far_ahead"), (702, "hello_without_magic")):
            liar = self.liar(domid, "once", lie)
            self.expect(liar, "ready")
            self.expect(liar, "ended")
            self.assertEqual(liar.wait(), 0)
            wait_until(lambda: self.ended_lines(domid), what="line about domain %d" % domid)
        self.assert_link_works()
        self.assertEqual([self.ended_lines(domid) for domid in (700, 701, 702)],
                         [["the peer sent a frame of unknown type"], ["the peer sent a ring index that lies"],
                          ["the peer sent a HELLO without the magic number"]])

    def test_lies_of_higher_domids(self):
        """Each liar offers the rings."""
        self.run_lies(4000)

    def test_lies_of_lower_domids(self):
        """b offers them."""
        self.run_lies(100)

    def test_welcome_again(self):
        victim = self.b.puppet()
        victim.do("listen", 1, port=80)
        for domid in (500,):
            liar = self.liar(domid, "once", "type_0")
            self.expect(liar, "ready")
            self.expect(liar, "ended")
            liar.wait()
            for _ in range(2):
                honest = self.liar(domid, "once", "honest")
                self.expect(honest, "ready")
                self.expect(honest, "alive")
                self.assertEqual(honest.wait(), 0)
        self.assertEqual(self.ended_lines(500)[0], "the peer sent a frame of unknown type")

    def test_flood_of_refused_requests(self):
        """Is slowed down: 1,024 at once and then 1,000 a second. It costs few lines of log."""
        lines = len(self.b.log().splitlines())
        storm = self.a.puppet()
        begin = time.monotonic()
        got = storm.do("storm", 0, domid=self.b.domid, port=9, count=3000)
        self.assertEqual((got["refused"], got["last"]), (3000, "ECONNREFUSED"))
        seconds = time.monotonic() - begin
        # At least: a slow machine takes longer.
        self.assertGreater(seconds, 1.9)
        # Ten in a second, and how many were left out; in as many seconds as it took.
        self.assertLess(len(self.b.log().splitlines()) - lines, 11 * (seconds + 2))


class PortOne(IdcTestCase):
    """Programs that ill-treat port 1, the connection manager. Whatever they do, link_mgr serves everybody else, and SIGTERM ends it."""
    platforms = ("local",)

    # A program that connects to port 1, sends what it is told until that takes too long, says so, and stays.
    SEND = """import ctypes, os, select, socket, sys
library = ctypes.CDLL(sys.argv[1])
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, library.idc_connect(int(sys.argv[2]), 1))
client.setblocking(False)
left = int(sys.argv[4])
try:
    while left > 0 and select.select([], [client], [], 1)[1]:
        left -= client.send(sys.argv[3].encode() * 1024)
except ConnectionError:
    pass
print("sent", flush=True)
if len(sys.argv) > 5:
    client.setblocking(True)
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    print("ended", flush=True)
sys.stdin.read()"""

    def send(self, text, count, *end):
        library = os.path.join(self.world.programs, "libidc.so")
        client = self.a.spawn([sys.executable, "-c", self.SEND, library, str(self.b.domid), text, str(count), *end])
        self.assertEqual(client.stdout.readline(60 * self.world.slowness), b"sent\n", client.stderr.pending())
        return client

    def assert_served(self):
        self.assertEqual(self.a.run(["idc", "ping", "-c", "1", "-W", "30", str(self.b.domid)], timeout=60).returncode, 0)
        self.assert_link_works()

    def test_long_line(self):
        """It ends that client, when the answers to what it sent before are out."""
        client = self.send("q", 4096, "end")
        self.assertEqual(client.stdout.readline(60 * self.world.slowness), b"ended\n")
        self.assert_served()

    def test_answers_that_nobody_reads(self):
        """Nothing more is read from that client, and it costs nothing."""
        self.send("a\n", 4 << 20)
        self.assert_served()

    def test_one_user_holds_all_it_may(self):
        """Another user of the same domain, and another domain, are served all the same; what one user may have too much, it is told."""
        greedy = self.a.puppet()
        error = None
        for place in range(1, 100):
            try:
                greedy.do("connect", place, domid=self.b.domid, port=1)
            except OSError as refusal:
                error = refusal
                break
        self.assertEqual((error.errno, place), (errno.ENOBUFS, 17))
        self.assertIn("this user", error.strerror)
        if os.geteuid() == 0:
            other = self.a.puppet(uid=12345)
            other.do("connect", 1, domid=self.b.domid, port=1)
        within = self.b.puppet()
        within.do("connect", 1, domid=self.b.domid, port=1)
        greedy.do("close", 1)
        wait_until(lambda: self.a.run(["idc", "ping", "-c", "1", str(self.b.domid)]).returncode == 0, what="a place for one more")
