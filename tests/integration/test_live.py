# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc status --watch` and `idc top`: in a terminal of 80 and of 200 columns, which is afterwards as it was, and elsewhere."""

import os
import re
import shutil
import signal
import tempfile
import time

from case import IdcTestCase
from terminal import Terminal
from world import wait_until


class LiveCase(IdcTestCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="idc-live-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "org.example.sink", "-c", "cat >/dev/null"])
        self.assertEqual(self.a.run(["idc", "wait", str(self.b.domid), "org.example.sink"]).returncode, 0)
        self.sender = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.sink"])
        self.sender.write(b"x" * 5000)
        wait_until(lambda: self.a.status()["connections"], what="the connection")

    def shell(self, width, height=50):
        """A shell with a line on its screen, to which it has to come back."""
        env = {**os.environ, "IDC_SOCKET": self.a.socket, "PATH": os.path.dirname(self.world.find_program("idc")) + ":/usr/bin:/bin"}
        terminal = Terminal(self.directory, ["bash", "--norc", "--noprofile"], env, width, height)
        self.addCleanup(terminal.close)
        terminal.type("PS1='ready> '; clear; stty -g >%s/before; echo it was here" % self.directory, "Enter")
        terminal.wait("it was here\nready>")
        return terminal

    def assert_as_before(self, terminal):
        terminal.wait("it was here\nready>")
        terminal.type("stty -g >%s/after; echo and is" % self.directory, "Enter")
        terminal.wait("\nand is\n")
        self.assertEqual(terminal.ask("alternate_on"), "0")
        self.assertEqual(terminal.ask("cursor_flag"), "1")
        self.assertEqual(*(open("%s/%s" % (self.directory, name), encoding="ascii").read() for name in ("before", "after")))


class Watch(LiveCase):
    def test_both_widths(self):
        terminal = self.shell(80)
        terminal.type("idc status --connections --watch 0.2", "Enter")
        lines = terminal.wait("links: 1", "connections: 1", "service:\n      org.example.sink")
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertEqual(terminal.ask("alternate_on"), "1")
        terminal.resize(200, 50)
        # The screen may have been drawn in part.
        wanted = re.compile(r"^ *\d+ +\d+ +\d+ out open +stream .* idc +.*org\.example\.sink$")
        wait_until(lambda: any(map(wanted.match, terminal.wait("SERVICE"))), what="a row with the service")
        lines = terminal.wait("SERVICE")
        self.assertNotIn("service:", "\n".join(lines))
        terminal.resize(80, 10)
        terminal.wait("more lines)")
        for height in 2, 1:  # less than what says that there is more
            terminal.resize(80, height)
            time.sleep(0.6)
            self.assertEqual(terminal.ask("alternate_on"), "1")
        terminal.resize(80, 10)
        terminal.wait("more lines)")
        terminal.type("C-c")
        self.assert_as_before(terminal)

    def test_link_mgr_is_restarted(self):
        terminal = self.shell(80)
        terminal.type("idc status --watch=0.2", "Enter")
        terminal.wait("links: 1")
        self.a.kill()
        terminal.wait("no link_mgr", "asking again")
        self.a.start(*self.options)
        terminal.wait("link_mgr was restarted", "links: 1")
        terminal.type("q")
        self.assert_as_before(terminal)

    def test_it_is_stopped_and_goes_on(self):
        terminal = self.shell(80)
        terminal.type("idc status --watch 0.2", "Enter")
        terminal.wait("links: 1")
        terminal.type("C-z")
        terminal.wait("Stopped", "it was here")
        self.assertEqual((terminal.ask("alternate_on"), terminal.ask("cursor_flag")), ("0", "1"))
        terminal.type("fg", "Enter")
        terminal.wait("links: 1")
        self.assertEqual(terminal.ask("alternate_on"), "1")
        terminal.type("C-c")
        terminal.wait("ready>")
        self.assertEqual(terminal.ask("alternate_on"), "0")

    def test_without_a_terminal(self):
        watch = self.a.spawn(["idc", "status", "--watch", "0.1"])
        seen = b""
        for _ in range(200):
            seen += watch.stdout.readline(60)
            if seen.count(b"links: 1") == 2:
                break
        self.assertEqual(seen.count(b"links: 1"), 2)
        self.assertNotIn(b"\x1b", seen)
        watch.kill(signal.SIGTERM)
        self.assertEqual(watch.wait(), -signal.SIGTERM)


class Top(LiveCase):
    def test_both_widths(self):
        terminal = self.shell(80, 24)
        terminal.type("idc top -i 0.3", "Enter")
        self.sender.write(b"x" * 100000)
        lines = terminal.wait("1 links, 1 connections, by rate", "org.example.sink", "B/s")
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertRegex("\n".join(lines), r"(?m)^%d +up +1 " % self.b.domid)
        self.assertRegex("\n".join(lines), r"(?m)^%d +out org\.example\.sink .* idc$" % self.b.domid)
        terminal.type("Right")
        terminal.wait("by sent")
        terminal.type("Left", "Left")
        terminal.wait("by total")
        terminal.resize(200, 24)
        lines = terminal.wait("ALL SENT", "PID")
        self.assertRegex("\n".join(lines), r"(?m)^%d +out org\.example\.sink .*KiB .* %d idc$" % (
            self.b.domid, self.a.status()["connections"][0]["pid"]))
        terminal.type("q")
        self.assert_as_before(terminal)

    def test_the_busiest_is_first(self):
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "org.example.other", "-c", "cat >/dev/null"])
        self.assertEqual(self.a.run(["idc", "wait", str(self.b.domid), "org.example.other"]).returncode, 0)
        second = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.other"])

        def busiest(process, name, sent):
            process.write(b"y" * sent)
            wait_until(lambda: max(one["bytes_sent"] for one in self.a.status()["connections"]) >= sent, what="all is sent")
            result = self.a.run(["idc", "top", "--interval", "0.1", "--count", "1", "--sort", "total"])
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertNotIn(b"\x1b", result.stdout)
            rows = re.findall(r"(?m)^\d+ +out org\.example\.(\S+) ", result.stdout.decode())
            self.assertEqual((len(rows), rows[0]), (2, name), result.stdout)

        busiest(second, "other", 200000)
        busiest(self.sender, "sink", 900000)

    def test_a_rate_is_that_of_the_connection(self):
        top = self.a.spawn(["idc", "top", "--interval", "1", "--count", "3"])
        seen = b""
        while b"SERVICE" not in seen:
            seen += top.stdout.readline(60)
        row = top.stdout.readline(60).decode()
        self.assertRegex(row, r"org\.example\.sink +0 B/s +0 B/s")
        self.sender.write(b"x" * 3000000)
        text = top.stdout.read_all(60).decode()
        self.assertRegex(text, r"org\.example\.sink +[\d.]+ [KM]iB/s +0 B/s")
        self.assertEqual(top.wait(), 0)

    def test_no_link_mgr(self):
        result = self.a.run(["idc", "--socket", self.directory + "/none", "top", "-i", "0.1", "-c", "1"])
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"no link_mgr", result.stderr)
