# SPDX-License-Identifier: GPL-2.0-or-later
"""The Go package (go/, docs/go.md): its programs beside those of C and vsock, between domains. tests/programs/go is a static program, so on
Xen it runs in guests that have no Go, and no C library of its own."""

import errno
import os
import re
import shutil
import subprocess
import unittest

from case import IdcTestCase
from world import GO_PROBE, ROOT, wait_until

PORT = 2000
NAME = "org.example.go"
MIB = 1 << 20


class GoCase(IdcTestCase):
    needs_go = True
    timeout = 600

    def setUp(self):
        if not os.path.exists(os.path.join(self.world.build_dir, "tests", GO_PROBE)):
            self.skipTest("there is no Go here: scripts/bootstrap go")
        self.patience = 300 * self.world.slowness
        super().setUp()

    def go(self, domain, *words, **options):
        return domain.spawn([GO_PROBE, *map(str, words)], **options)

    def expect(self, process, pattern):
        line = process.stdout.readline(self.patience).decode().rstrip("\n")
        self.assertRegex(line, "^(%s)$" % pattern, process.stderr.pending())
        return line

    def serve(self, domain, *words):
        process = self.go(domain, *words)
        self.expect(process, "ready [0-9]+")
        return process

    def ends(self, process, *lines, status=0):
        """What it still prints is these lines, as regular expressions. Those that tell of clients are not compared."""
        process.close_stdin()
        said = process.stdout.read_all(self.patience).decode().splitlines()
        said = [line for line in said if not line.startswith("from ")]
        self.assertEqual(process.wait(self.patience), status, said)
        self.assertEqual(len(said), len(lines), said)
        for line, pattern in zip(said, lines):
            self.assertRegex(line, "^(%s)$" % pattern)

    def ask(self, domain, network, address, size, count):
        self.ends(self.go(domain, "ask", network, address, size, count), "done %d" % count, "goroutines true")

    def fails(self, number, text, domain, *words):
        self.ends(self.go(domain, *words), "errno %d .*%s.*" % (number, text), status=1)

    def address(self, service):
        return "%d:%s" % (self.b.domid, service)

    def c_echo(self, *options):
        """A service in C that answers with what it gets."""
        process = self.b.spawn(["idc", "cat", "--listen", "--keep", *options, "--exec", "cat"])
        wait_until(lambda: len(self.b.status()["listeners"]) > 1, what="the listener")
        return process


class Quick(GoCase):
    def test_streams_between_go_and_c(self):
        server = self.serve(self.b, "serve", "idc", NAME)
        result = self.a.run(["idc", "cat", str(self.b.domid), NAME], input=b"x" * 300000)
        self.assertEqual((result.returncode, result.stdout), (0, b"x" * 300000), result.stderr)
        self.expect(server, "from %d uid 0 service %s" % (self.a.domid, NAME))
        self.ask(self.a, "idc", self.address(NAME), 300000, 20)
        self.ends(server, "goroutines true")
        self.c_echo("--port", str(PORT))
        self.ask(self.a, "idc", self.address(PORT), 300000, 5)

    def test_messages_between_go_and_c(self):
        server = self.serve(self.b, "serve", "idc-seqpacket", PORT)
        client = self.a.puppet()
        client.do("connect", 1, domid=self.b.domid, port=PORT, type="seqpacket")
        for size in 0, 1, 100000, 300000, 16 * MIB:
            client.begin("send", 1, len=size, seed=4)
            self.assertEqual(client.do("recv", 1, max=16 * MIB)["n"], size)
        client.do("close", 1)
        for size in 0, 5, 200000, 16 * MIB:
            self.ask(self.a, "idc-seqpacket", self.address(PORT), size, 2)
            self.ask(self.b, "idc-seqpacket", "self:%d" % PORT, size, 2)
        self.ends(server, "goroutines true")

    def test_refusals(self):
        self.fails(errno.ECONNREFUSED, "dial idc %d:%d: .*nothing listens" % (self.b.domid, PORT), self.a, "hold", self.address(PORT))
        self.fails(errno.EACCES, "policy does not allow", self.a, "hold", "%d:%d" % (self.c.domid, PORT))
        self.fails(errno.EHOSTUNREACH, "no such domain", self.a, "hold", "nobody:%d" % PORT)
        server = self.serve(self.b, "serve", "idc", PORT)
        self.fails(errno.EADDRINUSE, "listen idc %d: " % PORT, self.b, "serve", "idc", PORT)
        self.fails(errno.EPROTOTYPE, "of the other type", self.a, "ask", "idc-seqpacket", self.address(PORT), 1, 1)
        self.ends(server, "goroutines true")

    def test_a_listener_that_was_closed_is_free(self):
        for keep in ("keep", "") * 5:
            self.ends(self.serve(self.b, "serve", "idc", PORT, keep), "goroutines true")

    def test_who_and_what(self):
        server = self.serve(self.b, "serve", "idc-seqpacket", NAME)
        services = ["service 1 idc ", "service [0-9]+ idc-seqpacket %s" % NAME]
        client = self.go(self.a, "list", self.b.domid)
        client.close_stdin()
        said = client.stdout.read_all(self.patience).decode().splitlines()
        self.assertEqual(said[0], "own %d that %d" % (self.a.domid, self.b.domid))
        self.assertTrue(all(any(re.fullmatch(one, line) for one in services) for line in said[1:]) and len(said) == 3, said)
        self.ends(server, "goroutines true")

    def test_uids(self):
        if not self.world.can_change_uid:
            self.skipTest("needs another user")
        server = self.serve(self.b, "serve", "idc", PORT)
        client = self.go(self.a, "hold", self.address(PORT), uid=1000)
        self.expect(client, "connected %d:%d uid 0" % (self.b.domid, PORT))
        self.expect(server, "from %d uid 1000 service " % self.a.domid)
        client.kill()


class Ends(GoCase):
    def hold(self):
        server = self.b.puppet()
        server.do("listen", 100, port=PORT)
        taking = server.begin("accept", 100, 1)
        client = self.go(self.a, "hold", self.address(PORT))
        self.expect(client, "connected .*")
        taking.result()
        return client, server

    def test_a_clean_end(self):
        client, server = self.hold()
        server.do("send", 1, len=100000, seed=1)
        server.do("close", 1)
        self.ends(client, "end 100000")

    def test_a_reset(self):
        client, server = self.hold()
        server.process.kill()
        self.ends(client, "end 0")  # that is what AF_UNIX and TCP do too, with nothing unread

    def test_a_permission_is_revoked(self):
        client, _ = self.hold()
        self.world.setup(self.a, self.b, remove=True)
        self.ends(client, "errno %d read idc .*permission .* withdrawn" % errno.EACCES, status=1)

    def test_either_link_mgr_is_killed(self):
        for domain in self.a, self.b:
            client, server = self.hold()
            domain.restart()
            self.ends(client, "errno %d read idc .*" % errno.ECONNRESET, status=1)
            server.process.kill()
            server.process.wait()

    def test_a_kept_listener_and_clients_outlive_link_mgrs(self):
        server = self.serve(self.b, "serve", "idc", NAME, "keep")
        for domain in self.b, self.a, self.b:
            self.ask(self.a, "idc", self.address(NAME), 1000, 3)
            domain.restart()
            wait_until(lambda: len(self.b.status()["listeners"]) == 2, what="the listener")
        self.ask(self.a, "idc", self.address(NAME), 1000, 3)
        self.ends(server, "goroutines true")

    def test_a_listener_that_is_not_kept_ends(self):
        server = self.serve(self.b, "serve", "idc", NAME)
        self.b.restart()
        self.ends(server, "errno %d accept idc .*" % errno.ECONNABORTED, status=1)

    def test_cancelled(self):
        waiting = self.go(self.a, "cancel", self.address(PORT))  # for a listener
        self.expect(waiting, "waiting")
        wait_until(lambda: self.a.counters()["refused"] > 1, what="attempts")
        self.ends(waiting, "canceled true", "goroutines true")
        self.b.freeze()
        waiting = self.go(self.a, "cancel", self.address(PORT))
        self.expect(waiting, "waiting")
        wait_until(lambda: self.a.status()["connections"], what="the attempt")
        self.ends(waiting, "canceled true", "goroutines true")
        self.b.thaw()


class Many(GoCase):
    def test_500_at_once(self):
        count = 500 // self.world.slowness
        server = self.serve(self.b, "serve", "idc", PORT)
        self.ask(self.a, "idc", self.address(PORT), 20000, count)
        self.ends(server, "goroutines true")

    def test_http(self):
        server = self.serve(self.b, "http", PORT)
        self.ends(self.go(self.a, "get", 50, "http://%s/x" % self.address(PORT)), "done 50")
        self.ends(self.go(self.b, "get", 20, "http://self:%d/x" % PORT), "done 20")
        self.ends(server, "closed")


# A service and a client that speak AF_VSOCK, and know nothing of IDC.
VSOCK_SERVICE = """import socket
s = socket.socket(socket.AF_VSOCK); s.bind((socket.VMADDR_CID_ANY, %d)); s.listen(); print("ready", flush=True)
while True:
    c, _ = s.accept(); got = b"".join(iter(lambda: c.recv(65536), b"")); c.sendall(got); c.close()
"""
VSOCK_CLIENT = """import socket
s = socket.socket(socket.AF_VSOCK); s.connect((%d, %d)); s.sendall(b"x" * 100000); s.shutdown(socket.SHUT_WR)
print(sum(map(len, iter(lambda: s.recv(65536), b""))))
"""


class Local(GoCase):
    """What needs Python or a compiler in the domains."""
    platforms = ("local",)

    def python(self, domain, text):
        return domain.spawn(["idc", "run", "--", "/usr/bin/python3", "-c", text], env={"ASAN_OPTIONS": "verify_asan_link_order=0"})

    def test_with_unmodified_vsock_programs(self):
        service = self.python(self.b, VSOCK_SERVICE % PORT)
        self.assertEqual(service.stdout.readline(self.patience), b"ready\n", service.stderr.pending())
        self.ask(self.a, "idc", self.address(PORT), 100000, 3)
        server = self.serve(self.b, "serve", "idc", PORT + 1)
        client = self.python(self.a, VSOCK_CLIENT % (self.b.domid + 2, PORT + 1))
        self.ends(client, "100000")
        self.ends(server, "goroutines true")

    def test_it_is_static(self):
        with open(os.path.join(self.world.build_dir, "tests", GO_PROBE), "rb") as stream:
            program = stream.read()
        self.assertNotIn(b"ld-linux", program)

    def test_the_service_of_the_document(self):
        """docs/go.md, as it stands there, compiled as it says, and talked to by test_conn."""
        if not shutil.which("go"):
            raise unittest.SkipTest("there is no Go here")
        with open(os.path.join(ROOT, "docs", "go.md"), encoding="utf-8") as stream:
            text = stream.read()
        source = re.search(r"^```go\n(.*?)^```$", text, re.DOTALL | re.MULTILINE).group(1)
        module = re.findall(r"^    ((?:require|replace) .*)$", text, re.MULTILINE)
        self.assertEqual(len(module), 2)
        directory = os.path.join(self.world.directory, "you_said")
        os.mkdir(directory)
        self.addCleanup(shutil.rmtree, directory)
        for name, lines in ("you_said.go", source), ("go.mod", "module you_said\n\ngo 1.19\n\n%s\n" % "\n".join(module).replace(
                "/usr/src/idc", ROOT)):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as stream:
                stream.write(lines)
        made = os.path.join(ROOT, "build", "go")
        env = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPATH": made,
               "GOCACHE": made + "/cache", "CGO_ENABLED": "0"}
        subprocess.run(["go", "build", "-o", "you_said", "."], cwd=directory, env=env, check=True, timeout=self.patience)
        self.b.spawn([directory + "/you_said", "80"])
        wait_until(lambda: len(self.b.status()["listeners"]) > 1, what="the listener")
        result = self.a.run(["test_conn", str(self.b.domid), "80"])
        self.assertEqual((result.returncode, result.stdout), (0, b"you said: hello from test_conn\n"), result.stderr)
