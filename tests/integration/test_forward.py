# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc forward`: programs that know nothing of IDC, joined to each other by it."""

import contextlib
import errno
import fcntl
import os
import re
import pty
import resource
import select
import signal
import socket

from case import IdcTestCase
from forward_case import ForwardCase, exchange, linger, pattern, read_all, read_exactly
from world import wait_until


class Chain(ForwardCase):
    """client - Unix socket - forward in a - link - forward in b - server, which is a Unix socket or TCP."""

    def start(self, target, source=None):
        self.at_b = self.forward(self.b, "idc-listen:org.example.chain", target)
        self.wait_listener(self.b, "org.example.chain")
        self.at_a = self.forward(self.a, source or "unix-listen:" + self.path("a"), "idc:%d:org.example.chain" % self.b.domid)

    def pair(self):
        """(client, server) through all of it."""
        self.server = self.unix_server("b")
        self.start("unix:" + self.path("b"))
        client = self.unix("a")
        return client, self.accept(self.server)

    def test_the_client_ends_first(self):
        client, server = self.pair()
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(server), (b"question", 0))
        for part in (b"answer", b" and", b" more"):
            server.sendall(part)
            self.assertEqual(client.recv(100), part)
        server.close()
        self.assertEqual(read_all(client), (b"", 0))

    def test_the_server_ends_first(self):
        client, server = self.pair()
        server.sendall(b"greeting")
        server.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"greeting", 0))
        for part in (b"what", b" comes", b" later"):
            client.sendall(part)
            self.assertEqual(server.recv(100), part)
        client.close()
        self.assertEqual(read_all(server), (b"", 0))

    def test_a_client_that_goes_altogether(self):
        """The server has ended nothing and says nothing; it finds its connection closed."""
        client, server = self.pair()
        client.close()
        self.assertEqual(read_all(server), (b"", 0))
        wait_until(lambda: not self.b.status()["connections"], what="the end of the connection")
        self.assert_errno(errno.EPIPE, server.sendall, b"to nobody")

    def test_bytes_both_ways(self):
        data = pattern(20 << 20)
        self.start("exec:cat")
        self.assertEqual(exchange(self.unix("a"), data), (data, 0))

    def test_over_tcp(self):
        data, first, second = pattern(5 << 20), self.free_port(), self.free_port()
        server = self.b.spawn(["idc", "forward", "tcp-listen:127.0.0.1:%d" % second, "exec:cat"])
        self.start("tcp:localhost:%d" % second, "tcp-listen:127.0.0.1:%d" % first)
        self.tcp(second).close()
        self.assertEqual(exchange(self.tcp(first), data), (data, 0))
        self.assertIsNone(server.returncode)

    def test_over_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
                port = probe.getsockname()[1]
        except OSError:
            self.skipTest("no IPv6 here")
        self.start("exec:cat", "tcp-listen:[::1]:%d" % port)
        with socket.socket(socket.AF_INET6) as client:
            wait_until(lambda: client.connect_ex(("::1", port)) == 0, what="a listener")
            self.assertEqual(exchange(client, b"six"), (b"six", 0))

    def test_a_reset_from_tcp(self):
        port = self.free_port()
        server = self.unix_server("b")
        self.start("unix:" + self.path("b"), "tcp-listen:127.0.0.1:%d" % port)
        client = self.tcp(port)
        taken = self.accept(server)
        client.sendall(b"some")
        self.assertEqual(taken.recv(100), b"some")
        taken.sendall(b"answer")
        self.assertEqual(client.recv(100), b"answer")
        linger(client)
        client.close()
        self.assert_reset(taken)

    def test_a_reset_to_tcp(self):
        port = self.free_port()
        server = self.unix_server("b")
        self.start("unix:" + self.path("b"), "tcp-listen:127.0.0.1:%d" % port)
        client = self.tcp(port)
        taken = self.accept(server)
        client.sendall(b"never read")
        wait_until(lambda: self.at_b.stderr.pending() or taken.recv(1, socket.MSG_PEEK), what="the bytes")
        taken.close()
        self.assert_reset(client)

    def check_killed(self, victim):
        client, server = self.pair()
        client.sendall(b"a")
        self.assertEqual(server.recv(10), b"a")
        server.sendall(b"b")
        self.assertEqual(client.recv(10), b"b")
        victim()
        self.assert_reset(client)
        self.assert_reset(server)

    def test_a_bridge_is_killed(self):
        self.check_killed(lambda: self.at_a.kill())

    def test_the_other_bridge_is_killed(self):
        self.check_killed(lambda: self.at_b.kill())

    def test_a_bridge_is_ended(self):
        self.check_killed(lambda: self.at_a.kill(signal.SIGTERM))
        self.assertEqual(self.at_a.wait(), 0)
        self.assertFalse(os.path.exists(self.path("a")))

    def test_the_link_is_lost(self):
        self.check_killed(lambda: self.b.restart(*self.options))

    def check_broken_after_a_half(self, breaker):
        """A client that has ended its half must not take a part of the answer for all of it."""
        client, server = self.pair()
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(server), (b"request", 0))
        server.sendall(b"half of ")
        self.assertEqual(read_exactly(client, 8), b"half of ")
        breaker()
        self.assertEqual(read_all(client), (b"", errno.ECONNRESET))
        closed = select.poll()
        closed.register(server, 0)  # it has read an end already, and would again
        self.assertTrue(closed.poll(60000 * self.world.slowness), "the server's connection is still there")
        self.assertEqual(read_all(server), (b"", errno.ECONNRESET))

    def test_a_bridge_is_killed_after_a_half(self):
        self.check_broken_after_a_half(lambda: self.at_a.kill())

    def test_the_other_bridge_is_killed_after_a_half(self):
        self.check_broken_after_a_half(lambda: self.at_b.kill())

    def test_a_permission_is_withdrawn_after_a_half(self):
        self.check_broken_after_a_half(lambda: self.world.setup(self.a, self.b, remove=True))

    def test_the_link_is_lost_after_a_half(self):
        self.check_broken_after_a_half(lambda: self.b.restart(*self.options))

    def tcp_server(self):
        """(a listener, its port)"""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(60 * self.world.slowness)
        self.addCleanup(listener.close)
        return listener, listener.getsockname()[1]

    def answer_half(self, listener):
        """A server that resets in the midst of its answer. Its client has ended its half."""
        server = self.accept(listener)
        self.assertEqual(read_all(server), (b"request", 0))
        server.sendall(b"half of ")
        return server

    def test_a_server_resets_after_a_half(self):
        listener, port = self.tcp_server()
        self.start("tcp:127.0.0.1:%d" % port)
        client = self.unix("a")
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        server = self.answer_half(listener)
        self.assertEqual(read_exactly(client, 8), b"half of ")
        linger(server)
        server.close()
        self.assertEqual(read_all(client), (b"", errno.ECONNRESET))

    def test_a_server_of_cat_resets_after_a_half(self):
        listener, port = self.tcp_server()
        self.start("tcp:127.0.0.1:%d" % port)
        cat = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.chain"])
        cat.write(b"request")
        cat.close_stdin()
        server = self.answer_half(listener)
        self.assertEqual(cat.stdout.read_exactly(8, 60), b"half of ")
        linger(server)
        server.close()
        self.assertEqual((cat.wait(), cat.stdout.read_all(60)), (1, b""))

    def test_an_upload_breaks_after_the_answer(self):
        """The command has answered, and ended that, before it has all that it is to get."""
        port = self.free_port()
        code = ("import socket, sys\n"
                "peer = socket.socket(fileno=0)\n"
                "peer.sendall(b'go')\n"
                "peer.shutdown(socket.SHUT_WR)\n"
                "try:\n"
                "    while peer.recv(65536): pass\n"
                "    end = 'end'\n"
                "except OSError as error: end = str(error.errno)\n"
                "open(sys.argv[1], 'w').write(end)\n")
        with open(self.path("code"), "w", encoding="ascii") as stream:
            stream.write(code)
        self.start("exec:trap '' TERM; exec python3 %s %s" % (self.path("code"), self.path("out")),
                   "tcp-listen:127.0.0.1:%d" % port)
        client = self.tcp(port)
        client.sendall(bytes(50000))
        self.assertEqual(read_all(client), (b"go", 0))
        linger(client)
        client.close()
        wait_until(lambda: os.path.exists(self.path("out")) and os.path.getsize(self.path("out")), what="the command's end")
        with open(self.path("out"), encoding="ascii") as stream:
            self.assertEqual(stream.read(), str(errno.ECONNRESET))

    def test_link_mgrs_are_restarted(self):
        """Services are back by themselves, and the next client is served."""
        data = pattern(100000)
        self.start("exec:cat")
        self.assertEqual(exchange(self.unix("a"), data), (data, 0))
        for domain in (self.b, self.a):
            domain.restart(*self.options)
            self.wait_listener(self.b, "org.example.chain")
            self.assertEqual(exchange(self.unix("a"), data), (data, 0))

    def test_a_reader_that_does_not_read(self):
        """Its writer stops, and other connections go on. It gets all of it later."""
        client, server = self.pair()
        other = self.unix("a")
        beside = self.accept(self.server)
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 256 << 20:
                sent += client.send(bytes(65536))

        def stopped():
            nonlocal sent
            before = sent
            with contextlib.suppress(BlockingIOError):
                while sent < 256 << 20:
                    sent += client.send(bytes(65536))
            return sent == before

        wait_until(stopped, what="the writer to be stopped", interval=0.5)
        self.assertLess(sent, 256 << 20)
        other.sendall(b"not stopped")
        self.assertEqual(beside.recv(100), b"not stopped")
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(len(read_all(server)[0]), sent)

    def assert_room(self, writer, reader):
        """A program with a small buffer sends by poll, and is not stopped by a byte that is held."""
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        data, got, sent = pattern(200000), bytearray(), 0
        writer.setblocking(False)
        reader.setblocking(False)
        while len(got) < len(data):
            ready = select.select([reader], [writer] if sent < len(data) else [], [], 30 * self.world.slowness)
            self.assertTrue(ready[0] or ready[1], "%d bytes sent, %d received" % (sent, len(got)))
            if ready[1]:
                sent += writer.send(data[sent:sent + 20000])
            if ready[0]:
                got += reader.recv(65536)
        self.assertEqual(bytes(got), data)

    def test_writers_with_small_buffers(self):
        client, server = self.pair()
        self.assert_room(client, server)
        self.assert_room(server, client)

    def test_a_command_with_a_small_buffer(self):
        code = ("import os, select, socket; s = socket.socket(fileno=1); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1);"
                " s.setblocking(False); left = 200000\n"
                "while left: select.select([], [s], []); left -= s.send(bytes(min(left, 20000)))")
        self.forward(self.a, "unix-listen:" + self.path("a"), "exec:exec python3 -c '%s'" % code)
        self.assertEqual(read_all(self.unix("a")), (bytes(200000), 0))

    def test_nobody_serves(self):
        """The client gets a reset, although it says something only when all is over. forward says why, and goes on."""
        self.start("unix:" + self.path("nobody"))
        client = self.unix("a")
        wait_until(self.at_b.stderr.pending, what="the failure, before the client says something")
        client.sendall(b"hello")
        self.assertEqual(read_all(client), (b"", errno.ECONNRESET))
        self.assertIn(b"nobody: No such file", self.at_b.stderr.read_until(b"\n", 60))
        self.assertIsNone(self.at_b.returncode)

    def test_a_full_queue(self):
        """A server whose queue has one place gets all of them, one after the other."""
        server = self.unix_server("b")
        server.listen(0)
        self.forward(self.b, "unix-listen:" + self.path("x"), "unix:" + self.path("b"))
        clients = [self.unix("x") for _ in range(8)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        got = set()
        for _ in clients:
            taken = self.accept(server)
            got.add(taken.recv(1))
        self.assertEqual(got, {b"%d" % number for number in range(8)})

    def test_a_bound(self):
        """With --max 2 a third client waits until one of the two has gone."""
        server = self.unix_server("b")
        self.forward(self.b, "unix-listen:" + self.path("x"), "unix:" + self.path("b"), "--max", "2")
        clients = [self.unix("x") for _ in range(3)]
        for client in clients:
            client.sendall(b"hello")
        taken = [self.accept(server) for _ in range(2)]
        server.settimeout(0.3)
        self.assertRaises(TimeoutError, server.accept)
        server.settimeout(60)
        clients[0].close()
        taken[0].close()
        third = self.accept(server)
        self.assertEqual(third.recv(10), b"hello")


class FromPipe(ForwardCase):
    """`producer | idc forward stdio idc:...`, and one of the two is killed."""

    def setUp(self):
        super().setUp()
        self.server = self.b.puppet()
        self.server.do("listen", 1, port=80)

    def start(self):
        """The pids of the producer and of idc forward; the server has got something."""
        words = [self.world.find_program("idc"), "forward", "stdio", "idc:%d:80" % self.b.domid]
        script = "sh -c 'echo $$ >&2; exec yes' | %s" % " ".join(words)
        shell = self.a.spawn(["sh", "-c", script])
        producer = int(shell.stderr.read_until(b"\n", 60))
        self.server.do("accept", 1, 2)
        self.assertEqual(self.server.do("recv", 2, max=1)["n"], 1)
        forward, = [pid for pid in self.children(shell) if pid != producer]
        return producer, forward

    def test_the_bridge_is_killed(self):
        for _ in range(5):
            _, forward = self.start()
            os.kill(forward, signal.SIGKILL)
            self.assert_errno(errno.ECONNRESET, self.read_to_the_end)
            self.server.do("close", 2)

    def test_the_producer_is_killed(self):
        """Nobody can tell that from the producer's end."""
        producer, _ = self.start()
        os.kill(producer, signal.SIGKILL)
        self.read_to_the_end()

    def read_to_the_end(self):
        while self.server.do("recv", 2, max=65536)["n"] > 0:
            pass


class Advised(ForwardCase):
    """What is said of a connect that failed is what `idc cat` says, and whole."""

    WHAT = rb"(?:domain \d+, \w+ [^:]*: )?([^\n]*)\n"  # a long name of a service is not repeated

    def assert_said(self, process, end, service, words):
        result = self.a.run(["idc", "cat", str(self.b.domid), service])
        by_cat = re.fullmatch(rb"idc cat: cannot connect to domain \d+ \w+ [^:]*: " + self.WHAT, result.stderr)
        said = re.fullmatch(rb"idc forward: %s: " % re.escape(end.encode()) + self.WHAT, process.stderr.read_until(b"\n", 60))
        self.assertIn(words, said.group(1))
        self.assertEqual(said.group(1), by_cat.group(1))

    def test_one_connect(self):
        long_name = "org.example." + "x" * 60
        offers = b" (what it offers: idc services %d)" % self.b.domid
        for service, words in (("80", offers), (long_name, offers)):
            end = "idc:%d:%s" % (self.b.domid, service)
            process = self.forward(self.a, "stdio", end)
            self.assert_said(process, end, service, words)
            self.assertEqual(process.wait(), 1)
        self.world.setup(self.a, self.b, remove=True)
        for service in ("80", long_name):
            end = "idc:%d:%s" % (self.b.domid, service)
            process = self.forward(self.a, "stdio", end)
            self.assert_said(process, end, service, b"; to allow it, where the toolstack runs: idc-setup allow ")
            self.assertEqual(process.wait(), 1)

    def test_a_port_that_the_client_names(self):
        self.world.setup(self.a, self.b, remove=True)
        end = "idc:%d:*" % self.b.domid
        process = self.forward(self.a, "unix-listen:%s,connect" % self.path("s"), end)
        for port in (81, 82):
            client = self.unix("s")
            client.sendall(b"CONNECT %d\n" % port)
            self.assert_said(process, end, str(port), b" %d %d" % (self.b.domid, port))
            self.assert_reset(client)


class Many(ForwardCase):
    COUNT = 500

    def test_at_once(self):
        """Each has its own bytes. They come in one burst, which is not refused."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        service = self.forward(self.b, "idc-listen:many", "unix:" + self.path("b"))
        server = self.unix_server("b")
        self.wait_listener(self.b, "many")
        self.forward(self.a, "unix-listen:" + self.path("a"), "idc:%d:many" % self.b.domid)
        service.kill(signal.SIGSTOP)
        clients = []
        for number in range(self.COUNT):
            client = self.unix("a")
            client.sendall(b"%08d" % number)
            clients.append(client)
        wait_until(lambda: any(one["waiting"] >= self.COUNT - 1 for one in self.b.status()["listeners"]), what="all of them to wait")
        service.kill(signal.SIGCONT)
        for _ in range(self.COUNT):
            taken = self.accept(server)
            number = read_exactly(taken, 8)
            taken.sendall(number * 10)
            taken.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            self.assertEqual(read_all(client), (b"%08d" % number * 10, 0))


class Ends(ForwardCase):
    def service(self, target="exec:tr a-z A-Z"):
        self.forward(self.b, "idc-listen:2000", target)
        self.wait_listener(self.b, 2000)
        return "idc:%d:2000" % self.b.domid

    def test_stdio(self):
        result = self.a.run(["idc", "forward", "stdio", self.service()], b"hello")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"HELLO", b""))

    def test_stdio_from_a_file(self):
        with open(self.path("in"), "wb") as stream:
            stream.write(b"from a file\n")
        command = "idc forward stdio %s < %s > %s" % (self.service(), self.path("in"), self.path("out"))
        result = self.a.run(["sh", "-c", "PATH=%s:$PATH; %s" % (os.path.dirname(self.world.find_program("idc")), command)])
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        with open(self.path("out"), "rb") as stream:
            self.assertEqual(stream.read(), b"FROM A FILE\n")

    def test_a_descriptor(self):
        code = ("import socket, subprocess, sys\n"
                "ours, its = socket.socketpair()\n"
                "forward = subprocess.Popen([sys.argv[1], 'forward', 'fd:%d' % its.fileno(), sys.argv[2]], pass_fds=[its.fileno()])\n"
                "its.close()\n"
                "ours.sendall(b'hello')\n"
                "ours.shutdown(socket.SHUT_WR)\n"
                "print(ours.recv(100), ours.recv(100), forward.wait())\n")
        result = self.a.run(["python3", "-c", code, self.world.find_program("idc"), self.service()])
        self.assertEqual((result.stdout, result.stderr), (b"b'HELLO' b'' 0\n", b""))

    def test_standard_descriptors_that_are_closed(self):
        """What came could not be written, or never was read."""
        service = self.service()
        for end, how, text in (("stdio", "<&-", "stdio: standard input"), ("stdio", ">&-", "stdio: standard output"),
                               ("stdio", "<&- >&-", "stdio: standard input"),
                               ("stdio", "</dev/null >&0", "stdio: standard output"),
                               ("fd:0", "<&-", "fd:0"), ("fd:1", ">&-", "fd:1")):
            with self.subTest(end=end, how=how):
                command = "exec '%s' forward %s %s %s" % (self.world.find_program("idc"), end, service, how)
                result = self.a.run(["sh", "-c", command], b"hello")
                self.assertEqual((result.returncode, result.stdout, result.stderr.decode()),
                                 (1, b"", "idc forward: %s: Bad file descriptor\n" % text))

    def test_descriptors_that_nobody_has_opened(self):
        """Whatever number idc forward has taken for itself."""
        for number in range(3, 14):
            with self.subTest(number=number):
                self.assert_one_line(self.forward(self.a, "fd:%d" % number, "exec:cat"),
                                     "idc forward: fd:%d: Bad file descriptor" % number)

    def test_sockets_of_messages(self):
        """A message would not be one at the other end. So they are refused, before something is lost."""
        code = ("import socket, subprocess, sys\n"
                "for type in socket.SOCK_SEQPACKET, socket.SOCK_DGRAM:\n"
                "    ours, its = socket.socketpair(socket.AF_UNIX, type)\n"
                "    for end in 'stdio', 'fd:%d' % its.fileno():\n"
                "        print(subprocess.run([sys.argv[1], 'forward', end, 'exec:cat'], stdin=its, stdout=its,\n"
                "                             stderr=subprocess.PIPE, pass_fds=[its.fileno()]).stderr.decode(), end='')\n")
        result = self.a.run(["python3", "-c", code, self.world.find_program("idc")])
        lines = result.stdout.decode().splitlines()
        self.assertEqual((len(lines), result.stderr), (4, b""), lines)
        for line in lines:
            self.assertRegex(line, "^idc forward: (stdio: standard input|fd:[0-9]+): it is a socket of messages, not of a stream")

    def test_a_command_as_from(self):
        """It is run once, and forward ends with it."""
        result = self.a.run(["idc", "forward", "exec:echo once", self.service("file:" + self.path("log"))])
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        wait_until(lambda: os.path.exists(self.path("log")) and os.path.getsize(self.path("log")), what="the line")
        with open(self.path("log"), "rb") as stream:
            self.assertEqual(stream.read(), b"once\n")

    def test_a_file_is_appended_and_reopened(self):
        with open(self.path("log"), "wb") as stream:
            stream.write(b"before\n")
        logger = self.forward(self.b, "unix-listen:" + self.path("x"), "file:" + self.path("log"))
        client = self.unix("x")
        client.sendall(b"first\n")
        wait_until(lambda: os.path.getsize(self.path("log")) == 13, what="the line")
        os.rename(self.path("log"), self.path("log.1"))
        logger.kill(signal.SIGHUP)
        self.wait_path("log")
        client.sendall(b"second\n")
        wait_until(lambda: os.path.getsize(self.path("log")) == 7, what="the line")
        with open(self.path("log.1"), "rb") as stream:
            self.assertEqual(stream.read(), b"before\nfirst\n")

    def test_a_file_that_would_wait(self):
        """A pipe without a reader, or a full one, would stop all connections: also one that comes later."""
        os.mkfifo(self.path("fifo"))
        for path in self.path("fifo"), "/dev/ptmx":
            self.assert_one_line(self.forward(self.b, "unix-listen:" + self.path("x"), "file:" + path), "no regular file")
        logger = self.forward(self.b, "unix-listen:" + self.path("x"), "file:" + self.path("log"))
        client = self.unix("x")
        os.rename(self.path("fifo"), self.path("log"))
        logger.kill(signal.SIGHUP)
        self.assertIn(b"no regular file", logger.stderr.read_until(b"\n", 60))
        client.sendall(b"to the file that was")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"", 0))
        logger.kill(signal.SIGTERM)
        self.assertEqual(logger.wait(), 0)

    def test_devices_as_files(self):
        self.forward(self.b, "unix-listen:" + self.path("null"), "file:/dev/null")
        full = self.forward(self.b, "unix-listen:" + self.path("full"), "file:/dev/full")
        self.assertEqual(exchange(self.unix("null"), b"data"), (b"", 0))
        exchange(self.unix("full"), b"data")
        self.assertIn(b"No space left", full.stderr.read_until(b"\n", 60))

    def test_a_pty(self):
        """It stays, with its link, while programs and connections come and go."""
        server = self.unix_server("b")
        forward = self.forward(self.a, "pty:" + self.path("tty"), self.service("unix:" + self.path("b")))
        for _ in range(2):
            taken = self.accept(server)
            self.wait_path("tty")
            with open(self.path("tty"), "r+b", buffering=0) as terminal:
                terminal.write(b"raw \x03\x04\r\n")
                self.assertEqual(read_exactly(taken, 8), b"raw \x03\x04\r\n")
                taken.sendall(b"answer\n")
                self.assertEqual(terminal.read(7), b"answer\n")
            taken.close()
        forward.kill(signal.SIGTERM)
        self.assertEqual(forward.wait(), 0)
        self.assertFalse(os.path.lexists(self.path("tty")))

    def test_a_link_in_the_way_of_a_pty(self):
        """A terminal's is replaced, whether the terminal is there or not. Another one is not, nor what it leads to."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        os.symlink(os.ttyname(slave), self.path("tty"))
        service = self.service("exec:cat")
        for target in "tty", "/dev/pts/99999", os.ttyname(slave):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path("link"))
            os.symlink(target, self.path("link"))
            forward = self.forward(self.a, "pty:" + self.path("link"), service)
            wait_until(lambda before=target: os.readlink(self.path("link")) != before, what="the link")
            self.assertRegex(os.readlink(self.path("link")), "^/dev/pts/[0-9]+$")
            forward.kill(signal.SIGTERM)
            self.assertEqual(forward.wait(), 0)
            self.assertFalse(os.path.lexists(self.path("link")))
        with open(self.path("precious"), "wb"):
            pass
        for target in "precious", "missing", "/dev/null", "/dev/pts/", "/dev/pts/1x", "/dev/pts/../null":
            with self.subTest(target=target):
                os.symlink(target, self.path("link"))
                self.assert_one_line(self.forward(self.a, "pty:" + self.path("link"), "exec:cat"),
                                     "it is a link to %s, which is no terminal, and stays" % target, "File exists")
                self.assertEqual(os.readlink(self.path("link")), target)
                os.unlink(self.path("link"))

    def test_a_pair_is_joined_again(self):
        """Neither listens. What is not there is waited for, and said once."""
        pair = self.forward(self.a, "unix:" + self.path("left"), "unix:" + self.path("right"))
        self.assertIn(b"right: No such file", pair.stderr.read_until(b"\n", 60))
        right, left = self.unix_server("right"), self.unix_server("left")
        for _ in range(2):
            one, two = self.accept(left), self.accept(right)
            one.sendall(b"over")
            one.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(two), (b"over", 0))
            two.close()
            self.assertEqual(read_all(one), (b"", 0))

    def test_the_hybrid_form(self):
        forward = self.forward(self.a, "unix-listen:%s,connect" % self.path("v"), "idc:%d:*" % self.b.domid)
        self.service()
        client = self.unix("v")
        client.sendall(b"CONNECT 2000\nhello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"OK 2000\nHELLO", 0))
        for line in (b"CONNECT 2001\n", b"CONNECT x\n", b"GET / HTTP/1.0\r\n", b"CONNECT 99999999999\n", b"CONNECT 4294969296\n",
                     b"CONNECT" + 100 * b" ", b"CONNECT" + 24 * b" "):
            client = self.unix("v")
            client.sendall(line)
            self.assertEqual(read_all(client), (b"", errno.ECONNRESET))
        self.assertIn(b"nothing listens", forward.stderr.read_until(b"\n", 60))

    def hypervisor(self):
        """(the server of a Unix socket for many ports, a forward from "x" to port 52 of it)"""
        server = self.unix_server("v")
        return server, self.forward(self.a, "unix-listen:" + self.path("x"), "unix:%s,connect=52" % self.path("v"))

    def named(self, server):
        """The next connection to the server, which has said which port it wants."""
        taken = self.accept(server)
        self.assertEqual(read_exactly(taken, 11), b"CONNECT 52\n")
        return taken

    def test_a_port_of_a_hypervisor(self):
        """The answer comes byte by byte, or with data behind it. What the client sends meanwhile comes after the port."""
        server, forward = self.hypervisor()
        for parts in [b"OK 1073741824\nhello"], [b"OK 3\n"] + [b"hello"], [bytes([one]) for one in b"OK 12\nhello"]:
            client = self.unix("x")
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            taken = self.named(server)
            for part in parts:
                taken.sendall(part)
            self.assertEqual(read_all(taken), (b"question", 0))
            self.assertEqual(read_exactly(client, 5), b"hello")
            for part in b"one", b"two":
                taken.sendall(part)
                self.assertEqual(read_exactly(client, 3), part)
            taken.close()
            self.assertEqual(read_all(client), (b"", 0))
        self.assertEqual(forward.stderr.pending(), b"")

    def test_a_port_of_a_hypervisor_that_is_refused(self):
        server, forward = self.hypervisor()
        for answer, word in ((b"", b"nobody serves that port"), (b"OK 5", b"nobody serves that port"), (b"OK\n", b'"OK"'),
                             (b"OK x\n", b'"OK x"'), (b"OK 12345678901\n", b'"OK 12345678901"'), (b"ok 5\n", b'"ok 5"'),
                             (b"\n", b'""'), (b"HTTP/1.1 400 Bad \x1b[7m\r\n" + bytes(60), b'"HTTP/1.1 400 Bad \\x1b[7m\\x0d"'),
                             (b"x" * 100, b'"xxxxx')):
            with self.subTest(answer=answer):
                client = self.unix("x")
                client.sendall(b"hello")
                taken = self.named(server)
                taken.sendall(answer)
                taken.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(client), (b"", errno.ECONNRESET))
                line = forward.stderr.read_until(b"\n", 60)
                self.assertIn(b"unix:%s,connect=52: " % self.path("v").encode(), line)
                self.assertIn(word, line)
                self.assertTrue(line[:-1].decode("ascii").isprintable(), line)

    def test_a_reset_from_behind_a_port(self):
        """A program that has said nothing but its line is told of a reset too."""
        server, forward = self.hypervisor()
        client = self.unix("x")
        taken = self.named(server)
        taken.sendall(b"OK 1\n")
        client.sendall(b"never read")
        taken.recv(1, socket.MSG_PEEK)
        forward.kill()
        self.assertEqual(read_all(taken), (b"never read", errno.ECONNRESET))

    def test_one_port_form_to_the_other(self):
        """Both directions of the form, one behind the other, also with the port that the client names."""
        self.service()
        self.forward(self.a, "unix-listen:%s,connect" % self.path("v"), "idc:%d:*" % self.b.domid)
        self.wait_path("v")
        self.forward(self.a, "unix-listen:%s,connect" % self.path("w"), "unix:%s,connect=*" % self.path("v"))
        self.forward(self.a, "unix-listen:" + self.path("x"), "unix:%s,connect=2000" % self.path("w"))
        self.assertEqual(exchange(self.unix("x"), b"hello"), (b"HELLO", 0))
        client = self.unix("w")
        client.sendall(b"CONNECT 2001\n")
        self.assertEqual(read_all(client), (b"", errno.ECONNRESET))

    def test_once(self):
        forward = self.forward(self.a, "unix-listen:" + self.path("x"), "exec:cat", "--once")
        self.assertEqual(exchange(self.unix("x"), b"data"), (b"data", 0))
        self.assertEqual((forward.wait(), forward.stderr.read_all(60)), (0, b""))

    def test_a_socket_left_by_a_killed_one(self):
        for _ in range(2):
            forward = self.forward(self.a, "unix-listen:" + self.path("x"), "exec:cat", "--mode", "600")
            self.assertEqual(exchange(self.unix("x"), b"data"), (b"data", 0))
            self.assertEqual(os.stat(self.path("x")).st_mode & 0o777, 0o600)
            forward.kill()
            forward.wait()

    def test_what_is_no_socket_stays(self):
        """A path may be a mistake. Somebody's file must not be its price."""
        def make_file(path):
            with open(path, "w", encoding="ascii") as stream:
                stream.write("valuable")

        for make in make_file, os.mkfifo, lambda path: os.symlink("elsewhere", path):
            make(self.path("x"))
            before = os.lstat(self.path("x"))
            self.assert_one_line(self.forward(self.a, "unix-listen:" + self.path("x"), "exec:cat"), "is no socket, and stays")
            after = os.lstat(self.path("x"))
            self.assertEqual((after.st_ino, after.st_mode, after.st_size), (before.st_ino, before.st_mode, before.st_size))
            os.unlink(self.path("x"))

    def test_only_the_own_socket_is_taken_away(self):
        forward = self.forward(self.a, "unix-listen:" + self.path("x"), "exec:cat")
        self.unix("x")
        os.unlink(self.path("x"))
        other = self.unix_server("x")
        forward.kill(signal.SIGTERM)
        self.assertEqual(forward.wait(), 0)
        self.unix("x")
        self.accept(other)

    def test_commands_count_until_they_end(self):
        """A client that has gone leaves a command, which may run for as long as it likes. They are bounded too."""
        forward = self.forward(self.a, "unix-listen:" + self.path("x"), "exec:exec sleep 300", "--max", "2")
        for _ in range(5):
            self.unix("x").close()
        wait_until(lambda: len(self.children(forward)) == 2, what="two commands")
        seen = set()
        while len(seen) < 5:
            self.assertLessEqual(len(self.children(forward)), 2)
            wait_until(lambda: set(self.children(forward)) - seen, what="a new command")
            victim = min(set(self.children(forward)) - seen)
            seen.add(victim)
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not self.children(forward), what="no command, and no zombie")

    def test_a_terminal_keeps_its_mode(self):
        """O_NONBLOCK is not left on what the shell has too."""
        master, slave = pty.openpty()
        try:
            command = "exec %s forward stdio %s <>%s >&0" % (self.world.find_program("idc"), self.service("exec:true"),
                                                             os.ttyname(slave))
            self.a.run(["sh", "-c", command])
            self.assertEqual(fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK, 0)
        finally:
            os.close(master)
            os.close(slave)


class Guests(IdcTestCase):
    """What needs nothing but the two domains, so that it is run between guests of Xen too."""

    def start(self):
        service = self.b.spawn(["idc", "forward", "idc-listen:org.example.cat", "exec:cat"])
        self.wait_service()
        return service, "idc:%d:org.example.cat" % self.b.domid

    def wait_service(self):
        wait_until(lambda: any(one["service"] == "org.example.cat" for one in self.b.status()["listeners"]), what="the service")

    def check_bytes(self, target):
        data = pattern(3 << 20)
        result = self.a.run(["idc", "forward", "stdio", target], data)
        self.assertEqual((result.returncode, result.stderr, result.stdout == data), (0, b"", True))

    def test_bytes_before_and_after_a_restart(self):
        _, target = self.start()
        self.check_bytes(target)
        self.b.restart(*self.options)
        self.wait_service()
        self.check_bytes(target)

    def test_a_killed_service_is_no_clean_end(self):
        service, target = self.start()
        client = self.a.spawn(["idc", "forward", "stdio", target])
        client.write(b"there and back")
        self.assertEqual(client.stdout.read_exactly(14, 60), b"there and back")
        service.kill()
        self.assertEqual((client.wait(), client.stdout.read_all(60)), (1, b""))
        self.assertEqual(client.stderr.read_all(60).decode(),
                         "idc forward: %s: the program on the other side closed without reading everything\n" % target)

    def test_a_vsock_end(self):
        """Of a program that knows nothing of IDC, and of `idc forward` itself."""
        self.start()
        port = self.b.status()["listeners"]
        port = next(one["port"] for one in port if one["service"] == "org.example.cat")
        data = pattern(1 << 20)
        command = ["idc", "run", "--", self.world.find_program("idc"), "forward", "stdio", "vsock:%d:%d" % (self.b.domid + 2, port)]
        result = self.a.run(command, data, env={"ASAN_OPTIONS": "verify_asan_link_order=0", "IDC_VSOCK_TIMEOUT_MS": "60000"})
        self.assertEqual((result.returncode, result.stderr, result.stdout == data), (0, b"", True))

    def test_a_permission_that_is_withdrawn(self):
        """Both say what has ended the connection, in link_mgr's words."""
        service, target = self.start()
        client = self.a.spawn(["idc", "forward", "stdio", target])
        client.write(b"there and back")
        self.assertEqual(client.stdout.read_exactly(14, 60), b"there and back")
        self.world.setup(self.a, self.b, remove=True)
        self.assertEqual((client.wait(), client.stdout.read_all(60)), (1, b""))
        said = "the permission for this connection was withdrawn\n"
        self.assertEqual(client.stderr.read_all(60).decode(), "idc forward: %s: %s" % (target, said))
        self.assertEqual(service.stderr.read_until(b"\n", 60).decode(), "idc forward: idc-listen:org.example.cat: " + said)

    def test_a_link_mgr_that_has_ended(self):
        _, target = self.start()
        client = self.a.spawn(["idc", "forward", "stdio", target])
        client.write(b"there and back")
        self.assertEqual(client.stdout.read_exactly(14, 60), b"there and back")
        self.a.restart(*self.options)
        self.assertEqual((client.wait(), client.stdout.read_all(60)), (1, b""))
        self.assertEqual(client.stderr.read_all(60).decode(), "idc forward: %s: Connection reset by peer: "
                         "the connection's link_mgr has ended, or does not answer\n" % target)


class Vsock(ForwardCase):
    """An end of AF_VSOCK. The kernel's own would be this machine's, so it is IDC's here, in unmodified programs."""
    PORT = 5000

    def cid(self, domain):
        return domain.domid + 2

    def run_vsock(self, domain, *words):
        """With a sanitizer's library, whatever comes first."""
        return domain.spawn(["idc", "run", "--", *words], env={"ASAN_OPTIONS": "verify_asan_link_order=0",
                                                               "IDC_VSOCK_TIMEOUT_MS": "60000"})

    def serve(self):
        """A program that knows AF_VSOCK only. Its clients send a word first, which fills a request."""
        server = self.run_vsock(self.b, self.world.find_program("vsock"), "serve", str(self.PORT))
        self.assertEqual(server.stdout.readline(60 * self.world.slowness), b"ready\n")
        return server

    def begin(self, target, source="x"):
        return self.run_vsock(self.a, self.world.find_program("idc"), "forward", "unix-listen:" + self.path(source), target)

    def request(self, word):
        return word.encode().ljust(16, b"\0")

    def test_bytes_and_ends(self):
        self.serve()
        forward = self.begin("vsock:%d:%d" % (self.cid(self.b), self.PORT))
        data = pattern(5 << 20)
        self.assertEqual(exchange(self.unix("x"), self.request("echo") + data), (data, 0))
        client = self.unix("x")
        client.sendall(self.request("echo") + b"one")
        self.assertEqual(read_exactly(client, 3), b"one")
        client.sendall(b"two")
        self.assertEqual(read_exactly(client, 3), b"two")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"", 0))
        client = self.unix("x")
        client.sendall(self.request("answer") + b"x")
        self.assertEqual(read_all(client)[0], b"abcdef")
        self.assertEqual((forward.returncode, forward.stderr.pending()), (None, b""))

    def test_many_at_once(self):
        self.serve()
        self.begin("vsock:%d:%d" % (self.cid(self.b), self.PORT))
        clients = [self.unix("x") for _ in range(50)]
        for number, client in enumerate(clients):
            client.sendall(self.request("echo") + b"%d" % number)
            client.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            self.assertEqual(read_all(client), (b"%d" % number, 0))

    def test_the_port_that_a_client_names(self):
        self.serve()
        self.begin("vsock:%d:*" % self.cid(self.b), "v,connect")
        client = self.unix("v")
        client.sendall(b"CONNECT %d\n" % self.PORT + self.request("echo") + b"hello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"OK %d\nhello" % self.PORT, 0))

    def test_the_link_is_lost(self):
        self.serve()
        self.begin("vsock:%d:%d" % (self.cid(self.b), self.PORT))
        client = self.unix("x")
        client.sendall(self.request("echo") + b"one")
        self.assertEqual(read_exactly(client, 3), b"one")
        self.b.restart(*self.options)
        self.assert_reset(client)

    def check_refused(self, target, *words):
        forward = self.begin(target)
        client = self.unix("x")
        client.sendall(b"hello")
        self.assertEqual(read_all(client), (b"", errno.ECONNRESET))
        line = forward.stderr.read_until(b"\n", 60).decode()
        self.assertTrue(line.startswith("idc forward: %s: " % target), line)
        for word in words:
            self.assertIn(word, line)
        forward.kill(signal.SIGTERM)
        self.assertEqual(forward.wait(), 0)

    def test_what_is_refused(self):
        self.check_refused("vsock:%d:%d" % (self.cid(self.b), self.PORT), "reset by peer: nobody listens on that port")
        self.world.setup(self.a, 77)
        self.check_refused("vsock:79:5", "No such device: no machine has that CID")
        self.check_refused("vsock:0:5", "No such device: no machine has that CID")
        self.world.setup(self.a, self.b, remove=True)
        self.check_refused("vsock:%d:%d" % (self.cid(self.b), self.PORT), "Permission denied")


class Wrong(ForwardCase):
    def test_command_lines(self):
        for words, text in (
                ([], b"needs FROM and TO"), (["stdio"], b"needs FROM and TO"), (["a", "b"], b'"a" is no end'),
                (["stdio", "stdio"], b"one of the two"), (["idc-listen:a", "idc-listen:b"], b"both ends listen"),
                (["stdio", "idc:1:a", "x"], b'unexpected argument "x"'), (["--max", "0", "stdio", "idc:1:a"], b"--max takes"),
                (["--mode", "9", "stdio", "idc:1:a"], b"--mode takes"), (["stdio", "idc::x"], b"idc:DOMAIN:SERVICE"),
                (["stdio", "unix:/v,connect=x"], b"the port of connect="), (["stdio", "unix:/v,connect=*"], b"the port \"*\""),
                (["--nonsense"], b"--nonsense")):
            with self.subTest(words=words):
                result = self.a.run(["idc", "forward"] + words)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (2, b"", 1), result.stderr)
                self.assertIn(text, result.stderr)

    def test_what_is_not_there(self):
        for source, target, words in (
                ("stdio", "idc:%d:nobody" % self.b.domid, "nothing listens"), ("stdio", "unix:" + self.path("x"), "No such file"),
                ("stdio", "tcp:127.0.0.1:%d" % self.free_port(), "refused"), ("stdio", "fd:77", "fd:77: Bad file descriptor"),
                ("unix-listen:" + self.path("no/x"), "exec:cat", "No such file"), ("stdio", "file:" + self.place, "directory"),
                ("pty:" + self.place, "exec:cat", "File exists"), ("tcp-listen:192.0.2.1:80", "exec:cat", "annot assign"),
                ("idc-listen:1", "exec:cat", "idc-listen:1: "), ("stdio", "tcp:nosuch.invalid:1", "nosuch.invalid: ")):
            with self.subTest(source=source, target=target):
                self.assert_one_line(self.forward(self.a, source, target), "idc forward: ", words)

    def test_its_own_client(self):
        """However it is written. What only looks alike is no such thing."""
        os.symlink(self.place, self.path("link"))
        os.symlink(self.path("x"), self.path("y"))
        os.mkdir(self.path("d"))
        port, listen = self.free_port(), "unix-listen:" + self.path("x")
        for source, target in (
                (listen, "unix:" + self.path("x")), (listen, "unix:" + self.path("./x")),
                ("unix:" + self.path("link/x"), listen), (listen, "unix:" + self.path("y")),
                ("tcp-listen:127.0.0.1:%d" % port, "tcp:127.0.0.1:%d" % port),
                ("tcp-listen:127.0.0.1:%d" % port, "tcp:0.0.0.0:%d" % port),
                ("tcp-listen:0.0.0.0:%d" % port, "tcp:127.0.0.1:%d" % port),
                ("tcp-listen:0.0.0.0:%d" % port, "tcp:127.7.7.7:%d" % port),
                ("tcp-listen:0.0.0.0:%d" % port, "tcp:localhost:%d" % port)):
            with self.subTest(source=source, target=target):
                self.assert_one_line(self.forward(self.a, source, target), "idc forward: ", "never stop")
                self.assertFalse(os.path.exists(self.path("x")))
        for source, target in (
                (listen, "unix:" + self.path("d/x")), ("tcp-listen:127.0.0.1:%d" % port, "tcp:127.0.0.2:%d" % port),
                ("tcp-listen:0.0.0.0:%d" % port, "tcp:192.0.2.1:%d" % port)):
            with self.subTest(source=source, target=target):
                forward = self.forward(self.a, source, target)
                if source.startswith("unix"):
                    self.unix("x").sendall(b"x")
                    self.assertIn(b"No such file", forward.stderr.read_until(b"\n", 60))
                else:
                    self.tcp(port)
                forward.kill(signal.SIGTERM)
                self.assertEqual(forward.wait(), 0)

    def test_no_link_mgr(self):
        for source, target in ("idc-listen:x", "exec:cat"), ("stdio", "idc:1:x"):
            process = self.a.spawn(["idc", "--socket", self.path("none"), "forward", source, target])
            self.assert_one_line(process, "idc forward: ", "none")

    def test_wait(self):
        """What can't listen yet listens once link_mgr is there."""
        self.a.stop()
        forward = self.forward(self.a, "idc-listen:late", "exec:cat", "--wait")
        self.assertIn(b"idc-listen:late: ", forward.stderr.read_until(b"\n", 60))
        self.a.start(*self.options)
        self.wait_listener(self.a, "late")
        forward.kill(signal.SIGTERM)
        self.assertEqual((forward.wait(), forward.stderr.read_all(60)), (0, b""))
