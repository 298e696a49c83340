# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that speak AF_VSOCK run over IDC as they are: those of Debian, Python's asyncio, and one on libuv.

Each is started by `idc run`, and otherwise as its manual says. What is sent is random; its SHA-256, made in the sending
domain, is compared with that of what has arrived in the other; both ways. Every exit status is checked, and that no process is
left. docs/vsock.md has the list of these programs.
"""

import base64
import glob
import hashlib
import json
import os
import signal
import time
import unittest

from case import IdcTestCase
from world import wait_until

MIB = 1 << 20
FIRST_CID = 2  # of dom0
CID_LOCAL = 1
CID_ANY = 0xFFFFFFFF
CONNECT_TIMEOUT = 6  # SO_VM_SOCKETS_CONNECT_TIMEOUT, which this Python does not name
PAIRS = ("ab", "bc", "ba", "cb")  # client and server; c is dom0
PATIENCE = {"IDC_VSOCK_TIMEOUT_MS": "60000"}  # an emulated machine needs seconds for a link, a busy one perhaps
REDIRECTED = 'i=$1 o=$2; shift 2; exec "$@" < "$i" > "$o"'
# Every process that says where its link_mgr is was started by this test, in this domain.
OURS = """for p in /proc/[0-9]*; do
    [ $p != /proc/$$ ] && grep -qs "IDC_SOCKET=$1" $p/environ && echo "${p#/proc/} $(tr '\\0' ' ' < $p/cmdline)"
done; true"""


def cid(domain):
    return domain.domid + FIRST_CID
LINES_A_SECOND = 20  # of a server whose listener is dead: one in 50 ms



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


class Socat(ProgramsCase):
    def exchange(self, pair, address, port):
        """Files both ways at once. Each side ends when both directions have."""
        (client, here, sent), (server, there, answer) = self.sides(pair)
        serving = self.serve(server, port, "socat", "-t", 600, "-", "VSOCK-LISTEN:%d" % port,
                             stdin=there + "/sent", stdout=there + "/received")
        calling = self.start(client, "socat", "-t", 600, "-", "VSOCK-CONNECT:%d:%d" % (address, port),
                             stdin=here + "/sent", stdout=here + "/received")
        self.ends(calling)
        self.ends(serving)
        self.assert_received(server, there, sent)
        self.assert_received(client, here, answer)

    def test_files_both_ways(self):
        for number, pair in enumerate(self.pairs):
            self.exchange(pair, cid(getattr(self, pair[1])), self.port + number)

    def test_the_own_domain(self):
        self.exchange("aa", CID_LOCAL, self.port)
        self.exchange("bb", cid(self.b), self.port)

    def test_a_forking_server_that_becomes_another_program(self):
        """The connections are handed to sha256sum as its stdin and stdout. It answers after the end of the stream only."""
        (client, here, sent), _ = self.sides("ab")
        serving = self.serve(self.b, self.port, "socat", "VSOCK-LISTEN:%d,fork,reuseaddr" % self.port, "EXEC:sha256sum,nofork")
        calls = [self.start(client, "socat", "-t", 600, "-", "VSOCK-CONNECT:%d:%d" % (cid(self.b), self.port),
                            stdin=here + "/sent", stdout=here + "/answer%d" % number) for number in range(5)]
        for number, call in enumerate(calls):
            self.ends(call)
            self.assertEqual(self.shell(client, 'cat "$1"', here + "/answer%d" % number).split()[0], sent)
        # socat that was ended by SIGTERM says so.
        self.stop(serving, 128 + signal.SIGTERM)

    def test_a_server_that_is_killed_resets(self):
        serving = self.serve(self.b, self.port, "socat", "VSOCK-LISTEN:%d" % self.port, "EXEC:sleep 1000,nofork")
        calling = self.start(self.a, "socat", "-u", "/dev/zero", "VSOCK-CONNECT:%d:%d" % (cid(self.b), self.port))
        wait_until(lambda: self.b.status()["connections"], self.patience, "connection")
        serving.kill()
        self.ends_with(calling, "Connection reset by peer|Broken pipe")

    def ends_with(self, process, pattern):
        err = process.stderr.read_all(self.patience).decode()
        self.assertEqual((process.wait(self.patience), process.stdout.pending()), (1, b""), err)
        self.assertRegex(err, pattern)

    def refused(self, address, pattern):
        self.ends_with(self.start(self.a, "socat", "-", address), pattern)

    def test_what_is_refused(self):
        serving = self.serve(self.b, self.port, "socat", "VSOCK-LISTEN:%d,fork" % self.port, "EXEC:cat")
        self.refused("VSOCK-CONNECT:%d:%d" % (cid(self.b), self.port + 1), "Connection (refused|reset by peer)")
        self.ends_with(self.start(self.b, "socat", "-", "VSOCK-LISTEN:%d" % self.port), "Address already in use")
        self.world.setup(self.a, self.b, remove=True)
        self.refused("VSOCK-CONNECT:%d:%d" % (cid(self.b), self.port), "Permission denied")
        self.stop(serving, 128 + signal.SIGTERM)


class Ncat(ProgramsCase):
    def test_both_ways_at_once(self):
        for number, pair in enumerate(self.pairs):
            (client, here, sent), (server, there, answer) = self.sides(pair)
            port = self.port + number
            serving = self.serve(server, port, "ncat", "--vsock", "-l", "-p", port, stdin=there + "/sent", stdout=there + "/received")
            self.ends(self.start(client, "ncat", "--vsock", cid(server), port, stdin=here + "/sent", stdout=here + "/received"))
            self.ends(serving)
            self.assert_received(server, there, sent)
            self.assert_received(client, here, answer)

    def test_many_clients(self):
        """-k: a program of its own for each. ncat also says who connected."""
        (client, here, _), (server, there, sent) = self.sides("ab")
        serving = self.serve(server, self.port, "ncat", "-v", "--vsock", "-l", "-k", "-p", self.port, "--sh-exec",
                             "cat %s/sent" % there)
        calls = [self.start(client, "ncat", "--vsock", cid(server), self.port, "--recv-only",
                            stdout="%s/received%d" % (here, call)) for call in range(5)]
        for call, process in enumerate(calls):
            self.ends(process)
            self.assertEqual(self.sha256(client, "%s/received%d" % (here, call)), sent)
            serving.stderr.read_until(b"Connection from %d:" % cid(client), self.patience)
        self.stop(serving, -signal.SIGTERM)

    def test_with_socat(self):
        (client, here, sent), (server, there, _) = self.sides("ab")
        serving = self.serve(server, self.port, "socat", "-u", "VSOCK-LISTEN:%d" % self.port, "-", stdout=there + "/received")
        self.ends(self.start(client, "ncat", "--vsock", cid(server), self.port, "--send-only", stdin=here + "/sent"))
        self.ends(serving)
        self.assert_received(server, there, sent)

    def test_nothing_listens(self):
        calling = self.start(self.a, "ncat", "--vsock", cid(self.b), self.port)
        err = calling.stderr.read_all(self.patience).decode()
        self.assertEqual(calling.wait(self.patience), 1, err)
        self.assertRegex(err, "Connection (refused|reset by peer)")


class Asyncio(ProgramsCase):
    def test_many_connections_at_once(self):
        """Streams of asyncio, connections without waiting, and the peer's address."""
        script = self.world.script("vsock_asyncio.py")
        count, size = (10, 50000) if self.slow else (100, 300000)
        for number, pair in enumerate(self.pairs):
            client, server = getattr(self, pair[0]), getattr(self, pair[1])
            port = self.port + number
            serving = self.serve(server, port, "python3", script, "serve", port)
            self.assertEqual(serving.stdout.readline(self.patience), b"listening on port %d\n" % port)
            out = self.ends(self.start(client, "python3", script, "connect", cid(server), port, count, size))
            self.assertEqual(out, "%d connections, %d bytes each way\n" % (count, count * size))
            self.assertEqual(self.stop(serving), ("peer %d\n" % cid(client)) * count)

    def test_a_refused_connection_is_an_exception(self):
        calling = self.start(self.a, "python3", self.world.script("vsock_asyncio.py"), "connect", cid(self.b), self.port, 1, 1)
        self.assertRegex(calling.stderr.read_all(self.patience).decode(), "Connection(Refused|Reset)Error")
        self.assertEqual(calling.wait(self.patience), 1)


class Libuv(ProgramsCase):
    def test_many_connections_at_once(self):
        count, size = (10, 50000) if self.slow else (100, 1000000)
        for number, pair in enumerate(self.pairs):
            client, server = getattr(self, pair[0]), getattr(self, pair[1])
            port = self.port + number
            serving = self.serve(server, port, "vsock_uv", "serve", port)
            out = self.ends(self.start(client, "vsock_uv", "connect", cid(server), port, count, size))
            self.assertEqual(out, "%d connections, %d bytes each way\n" % (count, count * size))
            self.assertEqual(self.stop(serving, -signal.SIGTERM), "")


class Nbd(ProgramsCase):
    timeout = 600

    def uri(self, server, port):
        return "nbd+vsock://%d:%d/" % (cid(server), port)

    def download(self, client, server, port):
        """The SHA-256 of a whole disk, which nbdcopy reads to stdout."""
        script = '{ "$@" && echo complete >&2; } | sha256sum'
        argv = self.command("nbdcopy", self.uri(server, port), "-")
        result = client.run(["sh", "-c", script, "sh"] + argv, timeout=self.patience, env=self.environment())
        self.assertEqual(result.stderr, b"complete\n")
        return result.stdout.decode().split()[0]

    def test_a_disk_there_and_back(self):
        """nbdcopy opens several connections, and each has many requests under way."""
        size = 16 * MIB if self.world.platform == "xen" else int(os.environ.get("IDC_TEST_BULK_MIB") or 1024) * MIB
        (client, here, sent), _ = self.sides("ab", size)
        serving = self.serve(self.b, self.port, "nbdkit", "-f", "--vsock", "--port", self.port,
                             self.world.nbdkit_plugin("memory"), "size=%d" % size)
        begin = time.monotonic()
        self.ends(self.start(client, "nbdcopy", here + "/sent", self.uri(self.b, self.port)))
        written = time.monotonic()
        self.assertEqual(self.download(client, self.b, self.port), sent)
        print("         nbdcopy: %d MiB written in %.1f s, read back (and its SHA-256 made) in %.1f s" % (
            size // MIB, written - begin, time.monotonic() - written))
        self.stop(serving)

    def test_a_server_in_the_background(self):
        """It goes on in another process than the one that has opened its socket; it serves a file of dom0."""
        (client, _, _), (server, there, sent) = self.sides("ac")
        self.addCleanup(self.shell, server, 'kill -9 $(cat "$1"/pid) 2>/dev/null; true', there)
        self.ends(self.start(server, "nbdkit", "--vsock", "--port", self.port, "-P", there + "/pid",
                             self.world.nbdkit_plugin("file"), "file=%s/sent" % there))
        self.assertEqual(self.download(client, server, self.port), sent)
        self.shell(server, 'kill $(cat "$1"/pid)', there)


    def test_a_server_whose_link_mgr_has_ended(self):
        """It never gives up, and says so each time. That must take neither the processor nor the disk with its log: what counts is
        how many lines there are in the time in which they can have come, be that long or short."""
        serving = self.serve(self.b, self.port, "nbdkit", "-f", "--vsock", "--port", self.port,
                             self.world.nbdkit_plugin("memory"), "size=1M")
        begin = time.monotonic()
        self.b.stop()
        for _ in range(2 * LINES_A_SECOND):
            self.assertRegex(serving.stderr.readline(self.patience), b"accept: Invalid argument")
        lines = 2 * LINES_A_SECOND + serving.stderr.pending().count(b"\n")
        self.assertLess(lines, (time.monotonic() - begin + 1) * LINES_A_SECOND * 2)
        self.stop(serving)


class GuestAgent(ProgramsCase):
    def call(self, client, name, **arguments):
        """A command of the agent; its result."""
        command = {"execute": name, **({"arguments": arguments} if arguments else {})}
        client.write(json.dumps(command).encode() + b"\n")
        answer = json.loads(client.stdout.readline(self.patience))
        self.assertIn("return", answer, command)
        return answer["return"]

    def connect(self, domain, server):
        return self.start(domain, "socat", "-t", 0.2, "-", "VSOCK-CONNECT:%d:%d" % (cid(server), self.port))

    def execute(self, client, path, arguments, data):
        started = self.call(client, "guest-exec", path=path, arg=arguments, **{
            "input-data": base64.b64encode(data).decode(), "capture-output": True})

        def ended():
            status = self.call(client, "guest-exec-status", pid=started["pid"])
            return status["exited"] and status
        status = wait_until(ended, self.patience, "end of %s" % path, interval=0.1)
        return status["exitcode"], base64.b64decode(status.get("out-data", ""))

    def check(self, client, directory, sent):
        self.assertEqual(self.call(client, "guest-sync", id=4711), 4711)
        data = os.urandom(30000)
        status, out = self.execute(client, "/bin/sh", ["-c", "sha256sum; exit 3"], data)
        self.assertEqual((status, out.decode().split()[0]), (3, hashlib.sha256(data).hexdigest()))
        handle = self.call(client, "guest-file-open", path=directory + "/sent", mode="r")
        received, end = hashlib.sha256(), False
        while not end:
            part = self.call(client, "guest-file-read", handle=handle, count=100000)
            received.update(base64.b64decode(part["buf-b64"]))
            end = part["eof"]
        self.assertEqual(received.hexdigest(), sent)
        self.call(client, "guest-file-close", handle=handle)

    def leave_unread(self, domain, server):
        """A client that reads ten bytes of the answer, and closes."""
        script = self.directory(domain) + "/script"
        self.shell(domain, "cat > $1", script, input=b"""echo '{"execute":"guest-info"}'; exec dd bs=10 count=1 >&2\n""")
        client = self.start(domain, "socat", "VSOCK-CONNECT:%d:%d" % (cid(server), self.port), "EXEC:sh %s,nofork" % script)
        self.assertIn(b'{"return":', client.stderr.read_all(self.patience))
        self.assertEqual(client.wait(self.patience), 0)

    def test_a_client_that_leaves_its_answer_unread(self):
        """Of another domain, and of the agent's own: the agent goes on, for it reads an end and no error, as on vsock."""
        there = self.directory(self.b)
        serving = self.serve(self.b, self.port, "qemu-ga", "-m", "vsock-listen", "-p", "%d:%d" % (CID_ANY, self.port),
                             "-t", there, "-f", there + "/pid")
        for domain in (self.a, self.b):
            for _ in range(5):
                self.leave_unread(domain, self.b)
                client = self.connect(domain, self.b)
                self.assertEqual(self.call(client, "guest-sync", id=4711), 4711)
                client.close_stdin()
                self.ends(client)
        self.stop(serving)

    def test_one_client_after_another(self):
        """As a host asks its guest; here dom0, and then another guest, ask the agent in b."""
        _, (server, there, sent) = self.sides("cb", 300000)
        serving = self.serve(server, self.port, "qemu-ga", "-m", "vsock-listen", "-p", "%d:%d" % (CID_ANY, self.port),
                             "-t", there, "-f", there + "/pid")
        for domain in (self.c, self.a):
            client = self.connect(domain, server)
            self.check(client, there, sent)
            client.close_stdin()
            self.ends(client)
        self.stop(serving)


class Openssh(ProgramsCase):
    """sshd -i on a connection that socat has accepted, and ssh through a command that connects: as an ordinary user."""
    port = 2222

    def setUp(self):
        super().setUp()
        self.uid = 1000 if self.world.can_change_uid else os.getuid()

    def prepare(self, domain):
        """Keys, and (where the user is unknown to the machine) a passwd file in which there is one."""
        directory = self.directory(domain, uid=self.uid)
        environment = {**self.environment(), **self.world.user_environment(domain, self.uid, directory)}
        self.shell(domain, '"$1" -q -t ed25519 -N "" -f "$2"/key', self.world.debian_program("ssh-keygen"), directory,
                   uid=self.uid, env=environment)
        return directory, environment

    def sshd_parts(self, domain):
        """A newer sshd runs other programs for each connection, and would look for them where they are not installed."""
        parts = [(option, self.world.debian_program(name)) for option, name in
                 (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth"))]
        there = self.shell(domain, 'for each; do [ ! -e "$each" ] || echo "$each"; done', *[path for _, path in parts]).split()
        return "".join("%s %s\n" % part for part in parts if part[1] in there)

    def start_server(self, domain, directory, environment, authorized):
        config = "HostKey %s/key\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM no\nPidFile none\n" % (
            directory, directory) + self.sshd_parts(domain)
        self.shell(domain, 'cat > "$1"/config && echo "$2" > "$1"/authorized', directory, authorized, uid=self.uid,
                   input=config.encode())
        sshd = "EXEC:%s -i -e -f %s/config,nofork" % (self.world.debian_program("sshd"), directory)
        return self.serve(domain, self.port, "socat", "VSOCK-LISTEN:%d,fork" % self.port, sshd, uid=self.uid, env=environment)

    def ssh(self, client, proxy, directory, environment, command, data=b""):
        argv = [self.world.debian_program("ssh"), "-F", "none", "-i", directory + "/key", "-o", "ProxyCommand=" + " ".join(proxy),
                "-o", "UserKnownHostsFile=%s/known" % directory, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
                "-o", "HostKeyAlias=server", "user1@server", command]
        return client.run(argv, data, self.patience, uid=self.uid, env=environment)

    def test_commands_data_and_exit_status(self):
        for client, server in ((self.a, self.b), (self.c, self.a)):
            here, environment = self.prepare(client)
            there, server_environment = self.prepare(server)
            serving = self.start_server(server, there, server_environment, self.shell(client, 'cat "$1"/key.pub', here).strip())
            host_key = self.shell(server, 'cat "$1"/key.pub', there).strip()
            self.shell(client, 'echo "server $2" > "$1"/known', here, host_key, uid=self.uid)
            data = os.urandom(self.size // 4)
            proxy = self.command("socat", "-", "VSOCK-CONNECT:%d:%d" % (cid(server), self.port))
            result = self.ssh(client, proxy, here, environment, "id -u; tee %s/received | sha256sum; exit 7" % there, data)
            self.assertEqual(result.returncode, 7, result.stderr.decode() + serving.stderr.pending().decode())
            self.assertEqual(result.stdout.decode().split()[:2], [str(self.uid), hashlib.sha256(data).hexdigest()])
            proxy = [self.world.find_program("idc"), "cat", str(server.domid), str(self.port)]
            result = self.ssh(client, proxy, here, environment, "cat %s/received" % there)
            self.assertEqual((result.returncode, result.stdout == data), (0, True), result.stderr)
            self.stop(serving, 128 + signal.SIGTERM)


class LibidcListener(ProgramsCase):
    """A program that calls libidc too: what idc_listen gives is for it a vsock listener like any other."""
    platforms = ("local",)
    SHOW = """import ctypes, os, socket, sys
listener = socket.socket(fileno=ctypes.CDLL(sys.argv[1]).idc_listen(%d, 5))
client = socket.socket(socket.AF_VSOCK)
client.connect((1, %d))  # 1: VMADDR_CID_LOCAL
print(listener.family == socket.AF_VSOCK, listener.type == socket.SOCK_STREAM, listener.accept()[0].type == socket.SOCK_STREAM)"""

    def test_its_type(self):
        library = os.path.join(self.world.programs, "libidc.so")
        result = self.a.run(self.command("python3", "-c", self.SHOW % (self.port, self.port), library))
        self.assertEqual((result.stdout, result.stderr), (b"True True True\n", b""))


class Timeout(ProgramsCase):
    """A program that knows no SO_VM_SOCKETS_CONNECT_TIMEOUT can be given more, or less, time to connect."""
    platforms = ("local",)
    SHOW = """import ctypes, socket
vsock, value, size = socket.socket(socket.AF_VSOCK), (ctypes.c_long * 2)(), ctypes.c_uint(16)
ctypes.CDLL(None).getsockopt(vsock.fileno(), socket.AF_VSOCK, %d, value, ctypes.byref(size))
print(value[0])""" % CONNECT_TIMEOUT

    def default(self, **environment):
        result = self.a.run(self.command("python3", "-c", self.SHOW), env=environment)
        return result.stdout.decode(), result.stderr.decode()

    def test_the_default(self):
        self.assertEqual(self.default(), ("2\n", ""))
        self.assertEqual(self.default(IDC_VSOCK_TIMEOUT_MS="77000"), ("77\n", ""))
        for wrong in ("77s", "-1", "0", "99999999999"):
            out, err = self.default(IDC_VSOCK_TIMEOUT_MS=wrong, IDC_VSOCK_VERBOSE="1")
            self.assertEqual(out, "2\n")
            self.assertIn("IDC_VSOCK_TIMEOUT_MS=%s is not a number of milliseconds" % wrong, err)

    def test_it_is_waited_for(self):
        """The other side's link_mgr is stopped."""
        self.ends(self.start(self.a, "python3", "-c", "import socket as s\ntry: s.socket(s.AF_VSOCK).connect((%d, %d))\n"
                             "except ConnectionError: pass" % (cid(self.b), self.port)))
        self.b.freeze()
        begin = self.world.now()
        calling = self.start(self.a, "socat", "-", "VSOCK-CONNECT:%d:%d" % (cid(self.b), self.port),
                             env={"IDC_VSOCK_TIMEOUT_MS": "3500"})
        self.assertIn(b"Connection timed out", calling.stderr.read_all(self.patience))
        self.assertGreaterEqual(self.world.now() - begin, 3.4)  # at least, by the same clock, which Xen's shows in hundredths
        self.assertEqual(calling.wait(self.patience), 1)
        self.b.thaw()


class Backlog(ProgramsCase):
    """As many may wait as with Linux's vsock: one more than the program has asked for, and many if that is negative."""
    platforms = ("local",)
    # socket.listen() takes a negative number for 0.
    LISTEN = """import ctypes, socket, sys
for number in (0, 1, 5, -1):
    listener = socket.socket(socket.AF_VSOCK)
    listener.bind((socket.VMADDR_CID_ANY, %d + number))
    ctypes.CDLL(None).listen(listener.detach(), number)
sys.stdin.read()"""
    CONNECT = """import socket
for number in (0, 1, 5, -1):
    made = [socket.socket(socket.AF_VSOCK) for _ in range(20)]
    print(sum(each.connect_ex((%d, %d + number)) == 0 for each in made))"""

    def test_backlog(self):
        self.serve(self.b, self.port - 1, "python3", "-c", self.LISTEN % self.port)
        out = self.ends(self.start(self.a, "python3", "-c", self.CONNECT % (cid(self.b), self.port)))
        self.assertEqual(out.split(), ["1", "2", "6", "20"])


class Untouched(ProgramsCase):
    """A program of `idc run` that has no AF_VSOCK socket, or other sockets too, is what it was."""
    platforms = ("local",)

    def test_other_sockets(self):
        directory = self.directory(self.a)
        serving = self.start(self.a, "socat", "-u", "UNIX-LISTEN:%s/socket" % directory, "-")
        wait_until(lambda: glob.glob(directory + "/socket"), self.patience, "socket")
        self.ends(self.start(self.a, "socat", "-u", "EXEC:echo hello", "UNIX-CONNECT:%s/socket" % directory))
        self.assertEqual(self.ends(serving), "hello\n")

    def test_exit_status_and_arguments(self):
        result = self.a.run(self.command("python3", "-c", "import sys; print(sys.argv[1:]); sys.exit(5)", "--", "-x", "a b"))
        self.assertEqual((result.returncode, result.stdout), (5, b"['--', '-x', 'a b']\n"))


if __name__ == "__main__":
    unittest.main()
