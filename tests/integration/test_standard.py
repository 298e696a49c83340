# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are started without some of the descriptors 0, 1 and 2: nothing that they open gets such a number, and what cannot be
printed is an error."""

import itertools
import os
import re
import signal

from case import IdcTestCase
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
