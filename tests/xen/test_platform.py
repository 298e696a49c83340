#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The xen platform alone (link_mgr/platform/xen), on Xen, driven through probe.c.

    tests/xen/test_platform.py [--build DIR] [TEST...]

One boot serves all tests. What is counted: grants by Xen's debug key 'g' (`xl debug-keys g`, `xl dmesg`'s source),
event channels by `lsevtchn`, for each domain, before and after each test; domains by `xl list`.
"""

import glob
import os
import re
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import image  # noqa: E402
from xenworld import XenWorld  # noqa: E402

PROBE_SOURCES = ["tests/xen/probe.c", "common/ring.c", "link_mgr/platform/lent.c"]
WORLD = None
BUILD = "build"


class Probe:
    """A probe in a domain."""

    def __init__(self, domain):
        self.domain = domain
        self.lines = []
        self.process = domain.spawn(["probe"])
        self.domid = int(self.expect("domid ").split()[1])

    def do(self, *words):
        self.process.write((" ".join(str(word) for word in words) + "\n").encode())

    def expect(self, beginning, timeout=20):
        """The next line that begins so; others are passed over. The time is for what never comes: a busy machine is slow."""
        end = time.monotonic() + max(timeout, 60) * WORLD.slowness
        while True:
            line = self.process.stdout.readline(max(0.01, end - time.monotonic())).decode().rstrip("\n")
            if not line:
                raise AssertionError("probe in %s ended; last lines %r, stderr %r" % (
                    self.domain.name, self.lines[-10:], self.process.stderr.pending()))
            _, _, text = line.partition(" ")
            self.lines.append(line)
            if text.startswith(beginning):
                return text

    def expect_event(self, path, value, timeout=20):
        self.expect("event %s %s" % (path, "= " + value if value is not None else "absent"), timeout)

    def quit(self):
        self.do("quit")
        microseconds = int(self.expect("closed").split()[1])
        assert self.process.wait() == 0
        return microseconds


class Pair:
    """Two probes that have found each other: `low` attaches, `high` offers."""

    def __init__(self, low, high):
        self.low, self.high = (low, high) if low.domid < high.domid else (high, low)
        self.high_path = "/local/domain/%d/data/idc/%d" % (self.high.domid, self.low.domid)
        self.low_path = "/local/domain/%d/data/idc/%d" % (self.low.domid, self.high.domid)

    def subscribe(self):
        self.high.do("subscribe", self.low_path)
        self.low.do("subscribe", self.high_path)
        self.high.expect_event(self.low_path, None)
        self.low.expect_event(self.high_path, None)

    def greet(self):
        self.subscribe()
        self.low.do("publish", self.low_path + "/alive", self.high.domid, "low")
        self.high.expect_event(self.low_path + "/alive", "low")
        self.high.do("publish", self.high_path + "/alive", self.low.domid, "high")
        self.low.expect_event(self.high_path + "/alive", "high")

    def offer(self, name="a", size=262144):
        self.high.do("offer", name, self.low.domid, self.high_path + "/link", size)
        self.low.expect("event %s/link/event-channel =" % self.high_path)

    def attach(self, name="a"):
        self.low.do("attach", name, self.high.domid, self.high_path + "/link")
        self.low.expect("channel %s open" % name)
        self.high.expect("channel %s open" % name)

    def link(self, name="a", size=262144):
        self.offer(name, size)
        self.attach(name)

    def exchange(self, count, name="a", timeout=120):
        for verb in ("receive", "send"):
            for probe in (self.low, self.high):
                probe.do(verb, name, count)
        for probe in (self.low, self.high):
            probe.expect("received " + name, timeout)


class PlatformTest(unittest.TestCase):
    def setUp(self):
        self.world = WORLD
        self.dom0, self.g1, self.g2 = WORLD.domains
        self.before = self.counts()

    def tearDown(self):
        for domain in self.world.domains:
            if domain.domid is not None:
                domain.kill_all()
        for number in (1, 2):
            if self.world.domains[number].domid is None:
                self.world.create(number)
        for domain in self.world.domains:
            for entry in self.world.store_list("/local/domain/%d/data/idc" % domain.domid):
                self.dom0.run(["xenstore-rm", entry])

    def counts(self):
        """Grants and event channels of each domain, and what xl lists, by name."""
        grants = self.world.grants()
        return {domain.name: (grants.get(domain.domid, 0), len(self.world.event_channels(domain.domid)))
                for domain in self.world.domains if domain.domid is not None}, sorted(
                    line[0] for line in self.world.list())

    def assert_nothing_leaked(self):
        end = time.monotonic() + 60 * self.world.slowness
        while self.counts() != self.before and time.monotonic() < end:
            time.sleep(0.5)
        self.assertEqual(self.counts(), self.before)

    def assert_no_zombies(self):
        """No dead domain is held by what another has mapped."""
        end = time.monotonic() + 60 * self.world.slowness
        while "(null)" in [line[0] for line in self.world.list()]:
            self.assertLess(time.monotonic(), end, "a dead domain is held")
            time.sleep(0.5)

    def pair(self, one, other):
        pair = Pair(Probe(one), Probe(other))
        pair.greet()
        return pair

    def kernel_complaints(self, domain):
        return domain.run(["sh", "-c", "dmesg | grep -E 'BUG|Oops|recursive fault'"]).stdout.decode()

    # ---- links ----

    def both_ways(self, one, other):
        pair = self.pair(one, other)
        pair.link()
        pair.exchange(1)
        pair.exchange(32 << 20)
        inside = self.counts()[0]
        print("%s and %s: grants and event channels before %s, with a link of 2 x 256 KiB %s" % (
            one.name, other.name, self.before[0], inside))
        self.assertEqual(inside[pair.high.domain.name][0], self.before[0][pair.high.domain.name][0] + 129)
        for probe in (pair.low, pair.high):
            self.assertLess(probe.quit(), 1000000)
        self.assert_nothing_leaked()

    def test_guest_and_guest(self):
        self.both_ways(self.g1, self.g2)

    def test_dom0_and_guest(self):
        self.both_ways(self.dom0, self.g2)

    def test_ring_sizes(self):
        pair = self.pair(self.g1, self.g2)
        for size in (4096, 65536, 1048576):
            pair.link(size=size)
            pair.exchange(3 << 20)
            for probe in (pair.low, pair.high):
                probe.do("close", "a")
        for size in (1, 2048, 12288, 2097152):
            pair.high.do("offer", "b", pair.low.domid, pair.high_path + "/link", size)
            pair.high.expect("error offer")
        for probe in (pair.low, pair.high):
            probe.quit()
        self.assert_nothing_leaked()

    def test_close_is_seen(self):
        pair = self.pair(self.g1, self.g2)
        for closing, other in ((pair.low, pair.high), (pair.high, pair.low)):
            pair.link()
            closing.do("close", "a")
            other.expect("channel a dead", 5)
            other.do("close", "a")
        pair.low.quit()
        pair.high.quit()
        self.assert_nothing_leaked()

    def test_withdrawn_offer(self):
        pair = self.pair(self.g1, self.g2)
        pair.low.do("attach", "a", pair.high.domid, pair.high_path + "/link")
        pair.low.expect("channel a dead", 5)
        pair.low.do("close", "a")
        pair.low.quit()
        pair.high.quit()
        self.assert_nothing_leaked()

    def test_nonsense_at_the_rendezvous(self):
        pair = self.pair(self.g1, self.g2)
        for reference, port in (("x", "1"), ("0", "0"), ("99999", "1"), ("8", "99999"), ("4294967297", "-1"),
                                ("1", "1")):
            for name, value in (("ring-ref", reference), ("event-channel", port)):
                pair.high.do("publish", pair.high_path + "/link/" + name, pair.low.domid, value)
                pair.low.expect_event(pair.high_path + "/link/" + name, value)
            pair.low.do("attach", "a", pair.high.domid, pair.high_path + "/link")
            pair.low.expect("channel a dead", 5)
            pair.low.do("close", "a")
            pair.high.do("retract", pair.high_path + "/link")
            pair.low.expect_event(pair.high_path + "/link/event-channel", None)
        pair.low.quit()
        pair.high.quit()
        self.assert_nothing_leaked()

    def test_scribbled_page(self):
        pair = self.pair(self.g1, self.g2)
        pair.link()
        pair.low.do("receive", "a", 10)
        pair.high.do("scribble", "a")
        pair.high.do("close", "a")
        pair.low.expect("channel a dead", 5)
        pair.low.quit()
        pair.high.quit()

    def test_libxenvchan_as_the_other_side(self):
        """A program that uses libxenvchan itself (vchan-socket-proxy of xen-utils), as client of what we offer."""
        pair = self.pair(self.dom0, self.g2)
        pair.high.do("offer", "a", 0, pair.high_path + "/link", 65536)
        pair.low.expect("event %s/link/event-channel =" % pair.high_path)
        proxy = self.dom0.spawn(
            ["vchan-socket-proxy", "--mode=client", str(pair.high.domid), pair.high_path + "/link", "-"])
        pair.high.expect("channel a open")
        expected = bytes((index * 2654435761 % 2**64 >> 16) & 255 for index in range(200000))
        pair.high.do("send", "a", len(expected))
        self.assertEqual(proxy.stdout.read_exactly(len(expected)), expected)
        pair.high.do("receive", "a", len(expected))
        proxy.write(expected)
        pair.high.expect("received a", 60)
        proxy.kill()
        pair.high.expect("channel a dead", 5)
        pair.low.quit()
        pair.high.quit()
        self.assert_nothing_leaked()

    # ---- sudden ends ----

    def killed(self, one, other):
        for victim in ("low", "high"):
            pair = self.pair(one, other)
            pair.link()
            pair.exchange(1000)
            killed, left = (pair.low, pair.high) if victim == "low" else (pair.high, pair.low)
            begin = time.monotonic()
            killed.process.kill(9)
            left.expect("channel a dead", 5)
            print("%s killed: seen by %s after %.3f s" % (
                killed.domain.name, left.domain.name, time.monotonic() - begin))
            left.do("close", "a")
            left.quit()
            self.dom0.run(["xenstore-rm", "/local/domain/%d/data/idc" % killed.domid])
        self.assert_nothing_leaked()

    def test_killed_guest_and_guest(self):
        self.killed(self.g1, self.g2)

    def test_killed_dom0_and_guest(self):
        self.killed(self.dom0, self.g2)

    def destroyed(self, victim, left_domain):
        pair = self.pair(victim, left_domain)
        pair.link()
        killed, left = (pair.low, pair.high) if pair.low.domain is victim else (pair.high, pair.low)
        for verb in ("receive", "send"):
            for probe in (killed, left):
                probe.do(verb, "a", 1 << 40)
        gone = pair.low_path if killed is pair.low else pair.high_path
        self.world.destroy(victim)
        left.expect_event(gone + "/alive", None, 5)
        left.do("close", "a")
        left.quit()
        self.assert_no_zombies()
        self.world.create(victim.number)
        self.assert_nothing_leaked()

    def test_destroyed_guest_that_offered(self):
        self.destroyed(self.g2 if self.g2.domid > self.g1.domid else self.g1,
                       self.g1 if self.g2.domid > self.g1.domid else self.g2)

    def test_destroyed_guest_that_attached(self):
        self.destroyed(self.g1 if self.g2.domid > self.g1.domid else self.g2,
                       self.g2 if self.g2.domid > self.g1.domid else self.g1)

    def test_destroyed_guest_of_dom0(self):
        self.destroyed(self.g1, self.dom0)

    def test_paused(self):
        pair = self.pair(self.g1, self.g2)
        pair.link()
        for verb in ("receive", "send"):
            for probe in (pair.low, pair.high):
                probe.do(verb, "a", 64 << 20)
        self.world.pause(self.g1)
        time.sleep(2)
        self.world.unpause(self.g1)
        for probe in (pair.low, pair.high):
            probe.expect("received a", 120)
        for probe in (pair.low, pair.high):
            probe.quit()
        self.assert_nothing_leaked()

    def saved(self, offers, traffic=False):
        pair = self.pair(self.g1, self.g2)
        pair.link()
        pair.exchange(1000)
        if traffic:
            for verb in ("receive", "send"):
                for probe in (pair.low, pair.high):
                    probe.do(verb, "a", 1 << 40)
        saved, other = (pair.high, pair.low) if offers else (pair.low, pair.high)
        gone = pair.high_path if offers else pair.low_path
        self.world.save(saved.domain, "/run/save")
        other.expect_event(gone + "/alive", None, 10)
        other.do("close", "a")
        self.assert_no_zombies()
        self.world.restore(saved.domain, "/run/save")
        saved.expect("event domid = %d" % saved.domain.domid, 10)
        saved.do("close", "a")
        saved.domid = saved.domain.domid
        self.assert_nothing_leaked()
        pair = Pair(saved, other)
        pair.greet()
        pair.link("b")
        pair.exchange(1000, "b")
        for probe in (pair.low, pair.high):
            probe.quit()
        self.assertEqual(self.kernel_complaints(saved.domain), "")
        self.assert_nothing_leaked()

    def test_saved_guest_that_offered(self):
        self.saved(True)

    def test_saved_guest_that_attached(self):
        self.saved(False)

    def test_saved_in_traffic_guest_that_offered(self):
        self.saved(True, traffic=True)

    def test_saved_in_traffic_guest_that_attached(self):
        self.saved(False, traffic=True)

    # ---- store ----

    def test_permissions(self):
        pair = self.pair(self.dom0, self.g2)
        pair.link()
        for leaf in ("", "/alive", "/link", "/link/ring-ref", "/link/event-channel"):
            self.assertIsNotNone(self.world.store(pair.high_path + leaf))
            for tool in ("xenstore-read", "xenstore-ls"):
                self.assertNotEqual(self.g1.run([tool, pair.high_path + leaf]).returncode, 0, leaf)
        self.assertNotEqual(self.g1.run(["xenstore-write", pair.high_path + "/alive", "x"]).returncode, 0)
        self.assertNotEqual(self.g2.run(["xenstore-write", pair.low_path + "/alive", "x"]).returncode, 0)
        self.assertEqual(self.g2.run(["xenstore-read", pair.low_path + "/alive"]).stdout, b"low\n")
        pair.low.quit()
        pair.high.quit()
        self.assertNotIn(pair.high_path + "/alive", self.world.store_list("/local/domain/%d/data" % self.g2.domid))

    def test_a_third_domain_cannot_take_the_rings(self):
        """g1 knows (has guessed) what g2 has offered to dom0, and attaches to it by nodes of its own."""
        pair = self.pair(self.dom0, self.g2)
        pair.offer()
        thief = Probe(self.g1)
        path = "/local/domain/%d/data/idc/%d/link" % (thief.domid, self.g2.domid)
        thief.do("subscribe", path)
        thief.expect_event(path, None)
        for leaf in ("ring-ref", "event-channel"):
            value = self.world.store("%s/link/%s" % (pair.high_path, leaf))
            thief.do("publish", "%s/%s" % (path, leaf), self.g2.domid, value)
            thief.expect_event("%s/%s" % (path, leaf), value)
        thief.do("attach", "a", self.g2.domid, path)
        thief.expect("channel a dead")
        thief.quit()
        pair.attach()
        pair.exchange(100000)
        for probe in (pair.low, pair.high):
            probe.quit()
        self.assert_nothing_leaked()

    def test_events(self):
        probe = Probe(self.g1)
        base = "/local/domain/0/data/idc/%d" % probe.domid
        self.dom0.run(["sh", "-c", "xenstore-write %s/alive 1 %s/offer 2; for n in %s %s/alive %s/offer; do "
                       "xenstore-chmod $n n0 r%d; done" % (base, base, base, base, base, probe.domid)], check=True)
        probe.do("subscribe", base)
        probe.expect_event(base + "/alive", "1")
        probe.expect_event(base + "/offer", "2")
        self.dom0.run(["xenstore-write", base + "/offer", "3"])
        probe.expect_event(base + "/offer", "3")
        self.dom0.run(["xenstore-rm", base + "/offer"])
        probe.expect_event(base + "/offer", None)
        self.dom0.run(["xenstore-rm", "/local/domain/0/data"])
        probe.expect_event(base + "/alive", None)
        probe.do("unsubscribe", base)
        probe.quit()

    def test_watches(self):
        """One watch for each subscription, and one for the domid."""
        def watches():
            # (Since 4.18 the most that there ever were stands behind the number.)
            out = self.dom0.run(["sh", "-c", "xenstore-control quota %d" % self.g1.domid]).stdout.decode()
            return int(re.search(r"^watches *: *([0-9]+)", out, re.MULTILINE).group(1))
        before = watches()
        probe = Probe(self.g1)
        for peer in range(100, 110):
            probe.do("subscribe", "/local/domain/%d/data/idc/%d" % (peer, probe.domid))
            probe.expect_event("/local/domain/%d/data/idc/%d" % (peer, probe.domid), None)
        during = watches()
        probe.quit()
        print("watches of g1 before: %s, with 10 subscriptions: %s, after: %s" % (before, during, watches()))
        self.assertEqual(during, before + 10 + 1)
        self.assertEqual(watches(), before)

    def test_limit_of_shared_pages(self):
        pair = self.pair(self.dom0, self.g2)
        for number in range(9):
            pair.high.do("offer", "c%d" % number, 0, "%s/link%d" % (pair.high_path, number), 262144)
        self.assertIn("No space left", pair.high.expect("error offer", 10))
        pair.high.quit()
        pair.low.quit()
        self.assert_nothing_leaked()


def build_probe(build):
    sources = PROBE_SOURCES + sorted(os.path.relpath(path, image.ROOT) for path in glob.glob(image.ROOT + "/link_mgr/platform/xen/*.c"))
    return image.compile_program(image.Packages(os.path.join(build, "xen")).release, "probe", sources, ["-DIDC_WITH_XEN"])


def main():
    global WORLD, BUILD
    arguments = sys.argv[1:]
    if arguments[:1] == ["--build"]:
        BUILD = arguments[1]
        arguments = arguments[2:]
    clock = os.environ.get("XEN_CLOCK") or "host"  # here domains shall meet each other in the middle of things
    with XenWorld(BUILD, guests=2, programs=[build_probe(BUILD)], clock=clock, verbose=True) as WORLD:
        program = unittest.main(argv=sys.argv[:1] + arguments, exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
