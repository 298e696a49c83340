# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are started without some of the descriptors 0, 1 and 2: nothing that they open gets such a number, and what cannot be
printed is an error."""

import itertools
import os
import re
import signal

from case import IdcTestCase
from rules_case import RulesCase
from world import wait_until

PORT = 4000
MISSING = [set(some) for count in range(4) for some in itertools.combinations((0, 1, 2), count)]
# As strace -y shows it: a descriptor that a call returned, or that is in a list of them.
OPENED = re.compile(r"= [012]<|\[[012]<|, [012]<[^>]*>\]")
FILLED = re.compile(r'openat\(.*"/dev/null".*= [012]<')


class Standard(IdcTestCase):
    platforms = ("local",)
    roles = "a"

    def setUp(self):
        super().setUp()
        if not self.world.measures_memory:
            self.skipTest("strace, and a sanitizer or valgrind, do not go together")
        self.trace = os.path.join(self.world.directory, "trace")

    def without(self, missing, argv):
        """strace of argv, which has not the descriptors missing."""
        closed = " ".join("%d>&-" % number for number in missing)
        program = self.world.find_program(argv[0])
        return self.a.spawn(["strace", "-f", "-y", "-o", self.trace, "sh", "-c", 'exec "$@" ' + closed, "sh", program] + argv[1:])

    def check_trace(self, missing):
        with open(self.trace, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
        filled = [place for place, line in enumerate(lines) if FILLED.search(line)]
        if missing:  # the others have their numbers anyway
            self.assertEqual(len(filled), len(missing), lines)
            # What was before is of the shell, and of the loader.
            self.assertEqual([line for line in lines[filled[-1] + 1:] if OPENED.search(line)], [])

    def check(self, argv, printing=True):
        for missing in MISSING:
            with self.subTest(argv=argv, missing=missing):
                program = self.without(missing, argv)
                _, err = program.communicate(b"", 60 * self.world.slowness)
                self.check_trace(missing)
                self.assertEqual(program.returncode, 1 if printing and 1 in missing else 0, err)
                if printing and 1 in missing and 2 not in missing:
                    self.assertRegex(err, b"cannot write the output|stdout: ")

    def child_of(self, program):
        """The process that strace has started; None: there is none yet."""
        path = "/proc/%d/task/%d/children" % (program.pid, program.pid)
        with open(path, encoding="ascii") as stream:
            words = stream.read().split()
        return int(words[0]) if words else None

    def serve(self):
        server = self.a.spawn(["test_accept", str(PORT)])
        server.stdout.readline(60 * self.world.slowness)
        return server

    def test_tools(self):
        cat = ["idc", "cat", "--recv-only", str(self.a.domid), str(PORT)]
        self.a.spawn(["idc", "cat", "--listen", "--keep", "--port", str(PORT), "--exec", "echo hello"])
        wait_until(lambda: self.a.run(cat).stdout == b"hello\n", 60, "an answer")
        self.check(cat)
        self.check(["idc", "status"])
        self.check(["idc", "ping", "-c", "1", str(self.a.domid)])

    def test_idc_setup(self):
        self.check(["idc-setup", "--list"])
        self.check(["idc-setup", str(self.a.domid), "5"], printing=False)

    def test_test_conn(self):
        self.serve()
        self.check(["test_conn", str(self.a.domid), str(PORT)])

    def test_test_accept(self):
        for missing in MISSING:
            with self.subTest(missing=missing):
                server = self.without(missing, ["test_accept", str(PORT)])
                if 1 in missing:
                    server.communicate(b"", 60 * self.world.slowness)
                    self.assertEqual(server.returncode, 1)
                else:
                    server.stdout.readline(60 * self.world.slowness)
                    self.assertEqual(self.a.run(["test_conn", str(self.a.domid), str(PORT)]).returncode, 0)
                    os.kill(self.child_of(server), signal.SIGTERM)
                    server.communicate(b"", 60 * self.world.slowness)
                self.check_trace(missing)

    def test_link_mgr(self):
        path = os.path.join(self.world.directory, "rpc-77.sock")
        for missing in MISSING:
            with self.subTest(missing=missing):
                daemon = self.without(missing, ["link_mgr", "--platform", "local", "--domid", "77", "--socket", path])
                wait_until(lambda: self.a.run(["idc", "--socket", path, "status"]).returncode == 0, 60, "a daemon")
                for words in (["idc", "ping", "-c", "1", "77"], ["idc", "status"]):
                    self.a.run(words, env={"IDC_SOCKET": path})
                os.kill(self.child_of(daemon), signal.SIGTERM)
                _, err = daemon.communicate(b"", 60 * self.world.slowness)
                self.check_trace(missing)
                self.assertEqual(daemon.returncode, 0, err)


class Full(RulesCase):
    """What cannot be written is told in one line, and by the exit status: here the disk is full, as /dev/full says."""

    platforms = ("local",)

    def setUp(self):
        super().setUp()
        self.write("allow web db %d\n" % PORT)
        self.idc_setup("apply", "--policy", self.policy)
        self.b.spawn(["idc", "cat", "--listen", "--keep", "--port", str(PORT), "--exec", "echo hello"])

    def commands(self):
        """All that print, by their words."""
        web, db, port = str(self.a.domid), str(self.b.domid), str(PORT)
        yield from (["idc"] + words for words in (
            ["--help"], ["--version"], ["help"], ["help", "cat"], ["status"], ["status", "--json"], ["status", "--connections"], ["status", "--prometheus"],
            ["status", "--watch", "0.1"], ["top", "--count", "1", "--interval", "0.1"],
            ["services", db], ["cat", "--recv-only", db, port], ["ping", "-c", "1", db], ["rpc", "status"],
            ["rpc", "--get", "domid", "status"], ["complete", "--", ""], ["rpc", "system.listMethods"], ["forward", "exec:echo hello", "stdio"],
            ["channels", "--check", "--config", os.path.join(self.policy, "policy.d")]))
        yield from (["idc", command, "--help"] for command in (
            "status", "ping", "cat", "forward", "channels", "serve", "bench", "run", "wait", "rpc", "services", "complete", "top"))
        yield from (["idc-setup"] + words for words in (
            ["--help"], ["--version"], ["--list"], ["--list", "--json"], ["list"], ["list", "--json"], ["graph"], ["graph", "--dot"],
            ["explain", web, db, port], ["explain", db, web, port], ["explain", "--json", web, db, port],
            ["check", "--policy", self.policy], ["apply", "--dry-run", "--policy", self.policy],
            ["apply", "--policy", self.policy], ["allow", "--help"]))
        yield from (["link_mgr", word] for word in ("--help", "--version"))
        yield from ([program, "--help"] for program in ("test_conn", "test_accept"))

    def test_each_command(self):
        wait_until(lambda: self.a.run(["idc", "cat", "--recv-only", str(self.b.domid), str(PORT)]).stdout == b"hello\n", 60, "an answer")
        for words in self.commands():
            with self.subTest(words=words):
                shell = ["sh", "-c", 'exec "$0" "$@" >/dev/full', self.world.find_program(words[0])] + words[1:]
                done = self.a.run(shell, env={"IDC_STORE": self.world.store_directory})
                self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
                self.assertRegex(done.stderr, b"cannot write the output|stdout: |stdio: ")
