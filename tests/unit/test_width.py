#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What people read on a terminal of 80 columns: all help texts, and `idc status` of two domains with the longest names, large
ports, and units. Every counter is explained in docs/rpc.md."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 60
NAME = "org.example." + "a" * 67


class Width(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.here = self.directory.name
        os.mkdir(self.here + "/store")
        self.programs = []

    def tearDown(self):
        for program in self.programs:
            program.kill()
            program.communicate()
        self.directory.cleanup()

    def start(self, domid, name, *arguments):
        env = {**os.environ, "IDC_STORE": self.here + "/store", "IDC_SOCKET": "%s/%d.sock" % (self.here, domid)}
        program = subprocess.Popen([os.path.join(BUILD, name), *arguments], env=env, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.programs.append(program)
        return program

    def run_program(self, domid, name, *arguments, status=0):
        program = self.start(domid, name, *arguments)
        out, err = program.communicate(timeout=LIMIT)
        self.assertEqual(program.returncode, status, out + err)
        return out

    def assert_narrow(self, text, what):
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80, "%s: %r" % (what, line))

    def test_help(self):
        commands = re.findall(r"^  (\w+) ", self.run_program(1, "idc", "help"), re.MULTILINE)
        self.assertIn("status", commands)
        programs = [["idc"], ["link_mgr"], ["idc-setup"], ["idc-setup", "check"], ["test_accept"], ["test_conn"]]
        for words in programs + [["idc", one] for one in commands]:
            text = self.run_program(1, *words, "--help")
            self.assert_narrow(text, words)
            self.assertTrue(text.startswith("usage: "), text)

    def world(self):
        """Domains 32000 and 32001, and 3 that is allowed and absent; a stream and messages."""
        self.run_program(1, "idc-setup", "32000", "32001", "3")
        for domid in 32000, 32001:
            self.start(domid, "link_mgr", "--domid", str(domid))
            self.run_program(domid, "idc", "wait")
        self.start(32000, "idc", "cat", "-l", "-k", "--name", NAME, "-c", "cat")
        self.start(32000, "idc", "cat", "-l", "-k", "--name", "short.name", "-c", "cat", "--seqpacket")
        for name, kind in (NAME, []), ("short.name", ["--seqpacket"]):
            self.run_program(32001, "idc", "wait", "32000", name)
            client = self.start(32001, "idc", "cat", *kind, "32000", name)
            client.stdin.write("x" * 1999 + "\n" if not kind else "x\n")
            client.stdin.flush()
            client.stdout.readline()

    def test_status(self):
        self.world()
        for domid in 32000, 32001:
            text = self.run_program(domid, "idc", "status", "--connections")
            self.assert_narrow(text, "status")
            self.assertRegex(text, r"(?m)^    3 .*yes +no .*\n +not present: ")
            self.assertEqual(text.count(NAME), 2 if domid == 32000 else 1, text)
            self.assertRegex(text, r"2\.0 KiB +2\.0 KiB")
            self.assertIn("\nconnections: 2\n", text)
            self.assertRegex(text, r"(?m)^32\d+ +\d+ +\d+ (in |out) open +seqpacket ")
            self.assert_narrow(self.run_program(domid, "idc", "--socket", "%s/%d.sock" % (self.here, domid), "status"), "status")

    def test_counters_are_explained(self):
        self.start(1, "link_mgr", "--domid", "1")
        self.run_program(1, "idc", "wait")
        with open(os.path.join(ROOT, "docs", "rpc.md"), encoding="utf-8") as document:
            rows = "".join(line.split("|")[1] + "," for line in document if line.startswith("| "))
        explained = set(re.findall(r"\w+", rows))
        counters = json.loads(self.run_program(1, "idc", "status", "--json"))["counters"]
        self.assertEqual([name for name in counters if name not in explained], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=1)
