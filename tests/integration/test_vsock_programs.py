# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that speak AF_VSOCK run over IDC as they are: those of Debian, Python's asyncio, and one on libuv.

Each is started by `idc run`, and otherwise as its manual says. What is sent is random; its SHA-256, made in the sending
domain, is compared with that of what has arrived in the other; both ways. Every exit status is checked, and that no process is
left. docs/vsock.md has the list of these programs.
"""

import glob
import hashlib
import os
import signal
import time
import unittest

from guest_agent import AsksTheAgent
from programs_case import MIB, ProgramsCase
from ssh_case import HasSsh
from world import wait_until

FIRST_CID = 2  # of dom0
CID_LOCAL = 1
CID_ANY = 0xFFFFFFFF
CONNECT_TIMEOUT = 6  # SO_VM_SOCKETS_CONNECT_TIMEOUT, which this Python does not name
LINES_A_SECOND = 20  # of a server whose listener is dead: one in 50 ms


def cid(domain):
    return domain.domid + FIRST_CID


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


class GuestAgent(AsksTheAgent, ProgramsCase):
    def connect(self, domain, server):
        return self.start(domain, "socat", "-t", 0.2, "-", "VSOCK-CONNECT:%d:%d" % (cid(server), self.port))

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


class Openssh(HasSsh, ProgramsCase):
    """sshd -i on a connection that socat has accepted, and ssh through a command that connects: as an ordinary user."""
    port = 2222

    def start_server(self, domain, directory, environment, authorized):
        self.configure_sshd(domain, directory, authorized)
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
