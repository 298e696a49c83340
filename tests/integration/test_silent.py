# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that hangs: a program that asks learns of it in its time, nobody else does, and a peer that only is slow is left alone.

The exact times are tested in virtual time (tests/unit/test_life.c).
"""

import time

from case import IdcTestCase
from puppet import PuppetError
from world import wait_until

HANG_MS = 1500
LONG_MS = 60000  # nobody hangs for so long here

KEEPALIVE = """
import socket, sys
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
if sys.argv[3] == "before":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.connect((int(sys.argv[1]), int(sys.argv[2])))
if sys.argv[3] == "after":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), flush=True)
s.recv(1)
"""
ACCEPTS = """
import socket, sys
l = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
l.bind((socket.VMADDR_CID_ANY, int(sys.argv[1])))
l.listen()
l.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
print("listens", flush=True)
s, peer = l.accept()
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), flush=True)
s.recv(1)
"""


class SilentCase(IdcTestCase):
    def pair(self, port, place, of_listener=0, **more):
        self.server.do("listen", 1000 + place, port=port, hang=of_listener)
        self.client.do("connect", place, domid=self.b.domid, port=port, **more)
        self.server.do("accept", 1000 + place, place)

    def begin(self):
        self.server, self.client = self.b.puppet(), self.a.puppet()

    def link(self, domain, peer):
        return next(link for link in domain.status(False)["links"] if link["peer"] == peer.domid)

    def assert_silent(self, puppet, place):
        with self.assertRaises(PuppetError) as failure:
            puppet.do("recv", place, max=1)
        self.assertEqual(failure.exception.name, "ETIMEDOUT")
        self.assertIn("no sign of life", failure.exception.text)

    def assert_passes(self, place, number):
        for source, target in ((self.client, self.server), (self.server, self.client)):
            source.do("send", place, len=1000, seed=number)
            target.do("check", place, len=1000, seed=number)


class Silent(SilentCase):
    def test_who_asks_learns_of_it(self):
        """By the option of a connect, by the option of a listener, later; the others wait, and lose nothing."""
        self.begin()
        self.pair(2000, 1, hang=HANG_MS)
        self.pair(2001, 2)
        self.pair(2002, 3)
        self.client.do("allow", 3, hang=HANG_MS)
        self.pair(2003, 4, hang=LONG_MS)
        start = time.monotonic()
        self.b.freeze()
        self.assert_silent(self.client, 1)
        self.assertGreaterEqual(time.monotonic() - start, HANG_MS / 1000 * 2 / 3)
        self.assert_silent(self.client, 3)
        self.assertGreater(self.link(self.a, self.b)["silent_ms"], 0)
        self.assertIn("silent for ms", self.a.run(["idc", "status"]).stdout.decode())
        self.b.thaw()
        self.assert_passes(2, 1)
        self.assert_passes(4, 2)
        self.assert_silent(self.server, 1)  # it is told why
        self.assertEqual(self.link(self.a, self.b)["silent_ms"], 0)
        self.assertRegex(self.a.log(), r"its link_mgr has not moved for \d+ ms")

    def test_who_accepts_learns_of_it(self):
        self.begin()
        self.pair(2000, 1, of_listener=HANG_MS)
        self.pair(2001, 2)
        self.a.freeze()
        self.assert_silent(self.server, 1)
        self.a.thaw()
        self.assert_passes(2, 1)

    def test_who_goes_on_in_time_keeps_everything(self):
        self.begin()
        self.pair(2000, 1, hang=3 * HANG_MS)
        for number in range(2):
            self.b.freeze()
            wait_until(lambda: self.link(self.a, self.b)["silent_ms"] > HANG_MS, what="silence")
            self.b.thaw()
            self.assert_passes(1, number)

    def test_who_is_slow_is_left_alone(self):
        """Its program never reads, and the writer has no more room."""
        self.begin()
        self.pair(2000, 1, hang=HANG_MS)
        sending = self.client.begin("send", 1, len=8 << 20, seed=1)
        frames = self.link(self.a, self.b)["frames_received"]
        wait_until(lambda: self.link(self.a, self.b)["frames_received"] > frames + 4, what="answers")
        self.world.pass_time(2 * HANG_MS / 1000)
        self.assertFalse(sending.done())
        self.assertEqual(self.link(self.a, self.b)["silent_ms"], 0)
        self.server.do("check", 1, len=8 << 20, seed=1)
        sending.result()

    def test_this_side_stands_still(self):
        """Time in which this side's own link_mgr was stopped does not count."""
        self.begin()
        self.pair(2000, 1, hang=HANG_MS)
        self.a.freeze()
        self.world.pass_time(2 * HANG_MS / 1000)
        self.a.thaw()
        self.assert_passes(1, 1)

    def test_nothing_is_sent_if_nobody_asks(self):
        """Nor when all who have asked are gone, or ask no more."""
        self.begin()
        self.pair(2000, 1)
        self.pair(2001, 2, hang=300)
        frames = lambda: self.link(self.a, self.b)["frames_sent"]  # noqa: E731
        before = frames()
        wait_until(lambda: frames() > before, what="a PING")
        self.client.do("allow", 2, hang=0)
        before = frames()
        self.world.pass_time(1)
        self.assertEqual(frames(), before)


class KeepAlive(SilentCase):
    platforms = ("local",)

    def run_program(self, domain, text, *words):
        env = {"IDC_VSOCK_KEEPALIVE_MS": str(HANG_MS), "ASAN_OPTIONS": "verify_asan_link_order=0"}
        return domain.spawn(["idc", "run", "--", "/usr/bin/python3", "-c", text] + [str(word) for word in words], env=env)

    def assert_reset(self, program):
        _, err = program.communicate(timeout=60 * self.world.slowness)
        self.assertIn("ConnectionResetError", err.decode())

    def test_before_and_after_connect(self):
        self.begin()
        self.server.do("listen", 1, port=5000)
        programs = []
        for when in ("before", "after"):
            programs.append(self.run_program(self.a, KEEPALIVE, self.b.domid + 2, 5000, when))
            self.server.do("accept", 1, 2 + len(programs))
            self.assertEqual(programs[-1].stdout.read_until(b"\n", 60), b"1\n")
        self.b.freeze()
        for program in programs:
            self.assert_reset(program)
        self.b.thaw()

    def test_a_listener_passes_it_on(self):
        self.begin()
        program = self.run_program(self.b, ACCEPTS, 5000)
        program.stdout.read_until(b"listens\n", 60)
        self.client.do("connect", 1, domid=self.b.domid, port=5000)
        self.assertEqual(program.stdout.read_until(b"\n", 60), b"1\n")
        self.a.freeze()
        self.assert_reset(program)
        self.a.thaw()
