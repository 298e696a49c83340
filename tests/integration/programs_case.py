# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests with programs of others share: such a program is started, its files are compared, and in the end no process is left.

Each exit status is checked. ProgramsCase starts programs under `idc run`, or as they are.
"""

import signal

from case import IdcTestCase
from world import wait_until

MIB = 1 << 20
PAIRS = ("ab", "bc", "ba", "cb")  # client and server; c is dom0
PATIENCE = {"IDC_VSOCK_TIMEOUT_MS": "60000"}  # an emulated machine needs seconds for a link, a busy one perhaps
REDIRECTED = 'i=$1 o=$2; shift 2; exec "$@" < "$i" > "$o"'
# Every process that says where its link_mgr is was started by this test, in this domain.
OURS = """for p in /proc/[0-9]*; do
    [ $p != /proc/$$ ] && grep -qs "IDC_SOCKET=$1" $p/environ && echo "${p#/proc/} $(tr '\\0' ' ' < $p/cmdline)"
done; true"""


class ProgramsCase(IdcTestCase):
    roles = "abc"
    timeout = 600
    needs_debian = True
    port = 5000

    def setUp(self):
        self.patience = 300 * self.world.slowness
        self.slow = self.world.slowness > 1
        self.size = (2 if self.slow else 32) * MIB
        self.pairs = PAIRS[:2] if self.slow else PAIRS
        super().setUp()

    def _end(self):
        try:
            if all(domain.daemon for domain in self.domains):
                self.assert_no_process_left()
        finally:
            super()._end()

    def assert_no_process_left(self):
        """Of those that have been started by this test, at any depth."""
        for domain in self.domains:
            domain.kill_programs()

            def left():
                return domain.run(["env", "-u", "IDC_SOCKET", "sh", "-c", OURS, "sh", domain.socket]).stdout.decode()
            try:
                wait_until(lambda: not left(), 20 * self.world.slowness, interval=0.2)
            except AssertionError:
                found = left()
                domain.run(["kill", "-9"] + [line.split()[0] for line in found.splitlines()])
                self.fail("processes left in %r:\n%s" % (domain, found))

    # ---- programs ----

    def environment(self):
        return PATIENCE

    def command(self, program, *arguments):
        """A program under `idc run`."""
        return [self.world.find_program("idc"), "run", "--", self.world.debian_program(program)] + list(map(str, arguments))

    def start(self, domain, program, *arguments, stdin=None, stdout=None, env=None, **options):
        argv = self.command(program, *arguments)
        options["env"] = {**(self.environment()), **(env or {})}
        if stdin or stdout:
            argv = ["sh", "-c", REDIRECTED, "sh", stdin or "/dev/null", stdout or "/dev/null"] + argv
        return domain.spawn(argv, **options)

    def serve(self, domain, port, program, *arguments, **options):
        """Started, and listening."""
        process = self.start(domain, program, *arguments, **options)

        def listens():
            if process.returncode is not None:
                raise AssertionError("%r has ended: %r" % (process, process.stderr.pending()))
            # One that is only bound has no backlog, and refuses.
            return port in [listener["port"] for listener in domain.status()["listeners"] if listener["backlog"] > 0]
        wait_until(listens, self.patience, "listener on port %d of %r" % (port, process))
        return process

    def ends(self, process, status=0):
        """It ends, with this status; returns what it printed."""
        out, err = process.stdout.read_all(self.patience), process.stderr.read_all(self.patience)
        self.assertEqual(process.wait(self.patience), status, "%r: %r %r" % (process, out[-1000:], err[-1000:]))
        return out.decode()

    def stop(self, process, status=0):
        process.kill(signal.SIGTERM)
        return self.ends(process, status)

    # ---- files in the domains ----

    def directory(self, domain, **options):
        path = self.shell(domain, "mktemp -d", **options).strip()
        self.addCleanup(self.shell, domain, 'rm -rf "$1"', path)
        return path

    def shell(self, domain, script, *arguments, status=0, **options):
        result = domain.run(["sh", "-c", script, "sh"] + [str(one) for one in arguments], timeout=self.patience, **options)
        self.assertEqual(result.returncode, status, "%s: %s" % (script, result.stderr.decode()))
        return result.stdout.decode()

    def random(self, domain, path, size):
        """Fills a file; its SHA-256."""
        return self.shell(domain, 'head -c "$1" /dev/urandom | tee "$2" | sha256sum', size, path).split()[0]

    def sha256(self, domain, path):
        return self.shell(domain, 'sha256sum < "$1"', path).split()[0]

    def sides(self, names, size=None):
        """Two domains with a file in each: [(domain, directory, SHA-256)] of client and server."""
        sides = []
        for name in names:
            domain = getattr(self, name)
            directory = self.directory(domain)
            sides.append((domain, directory, self.random(domain, directory + "/sent", size or self.size)))
        return sides

    def assert_received(self, domain, directory, expected):
        self.assertEqual(self.sha256(domain, directory + "/received"), expected)
