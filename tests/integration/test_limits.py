# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr at a limit of its own: who comes is told why, nobody waits without end, and things go on as soon as they can."""

import errno
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xmlrpc.client

import rpc
from case import KEEP_LINKS, IdcTestCase
from world import wait_until

ANSWER_SECONDS = 20
CONNECTIONS = 8192
RPC_CONNECTIONS = "new RPC connections are "


class Limits(IdcTestCase):
    platforms = ("local",)
    roles = "a"

    def dial(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.a.socket)  # waits, where one with a time limit fails as soon as the backlog is full
        client.settimeout(ANSWER_SECONDS * self.world.slowness)
        return client

    def ask(self, body=b"<methodCall><methodName>idc.status</methodName></methodCall>"):
        """What HTTP says to a new client: status, text, does the connection go on?"""
        connection = http.client.HTTPConnection("idc")
        connection.sock = self.dial()
        connection.request("POST", "/", body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text, not response.will_close

    def assert_refused(self, words):
        status, text, goes_on = self.ask()
        self.assertEqual((status, goes_on), (503, False))
        self.assertIn(words, text)

    def assert_served(self):
        self.assertEqual(self.ask()[0], 200)
        self.assertEqual(self.a.run(["idc", "status"], timeout=ANSWER_SECONDS * self.world.slowness).returncode, 0)

    def lines(self):
        return [line for line in self.a.log().splitlines() if RPC_CONNECTIONS in line]

    def switches(self):
        text = self.a.read_file("/proc/%d/status" % self.a.daemon.pid).decode()
        return [line for line in text.splitlines() if "voluntary_ctxt_switches" in line]


class UnreadAnswers(Limits):
    """Clients of plain HTTP that go away with the answer of an idc.recv unread: those who read on are told, however many leave at once."""
    LEAVING = 200

    def test_all_are_noticed(self):
        with self.a.rpc() as call:
            listener = call.listen({"port": 4000, "backlog": 4})["handle"]
            pairs = []
            for _ in range(self.LEAVING):
                near = call.connect({"domid": self.a.domid, "port": 4000})["handle"]
                pairs.append((near, call.accept({"handle": listener})["handle"]))
                call.send({"handle": near, "data": b"first"})
            leaving = [self.dial() for _ in pairs]
            for client, (_, far) in zip(leaving, pairs):
                body = rpc.document("recv", {"handle": far})
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            for client in leaving:
                self.assertEqual(client.recv(1, socket.MSG_PEEK), b"H")
            self.a.freeze()
            for client in leaving:
                client.close()
            self.a.thaw()
            for near, far in pairs:
                call.send({"handle": near, "data": b"second"})
                with self.assertRaises(xmlrpc.client.Fault) as caught:
                    call.recv({"handle": far})
                self.assertEqual(caught.exception.faultCode, errno.ECONNRESET)


class Untaken(IdcTestCase):
    """Connections that nobody has accepted take little, and lose nothing: all arrives as soon as they are accepted."""
    platforms = ("local",)
    CONNECTIONS = 40
    LEN = 300000

    def test_data_before_accept(self):
        for port, type in ((4000, "stream"), (4001, "seqpacket")):  # pylint: disable=redefined-builtin
            client, server = self.a.puppet(), self.b.puppet()
            server.do("listen", 100, port=port, type=type, backlog=self.CONNECTIONS)
            places = range(1, self.CONNECTIONS + 1)
            for place in places:
                client.do("connect", place, domid=self.b.domid, port=port, type=type)
            sending = [client.begin("send", place, len=self.LEN, seed=place) for place in places]

            def all_wait():
                buffered = [c["bytes_received"] for c in self.b.status()["connections"] if c["local_port"] == port]
                return len(buffered) == self.CONNECTIONS and min(buffered) > 0
            wait_until(all_wait, what="the first data of each")
            held = [link for link in self.b.status()["links"] if link["peer"] == self.a.domid][0]["memory_held"]
            if type == "stream":  # of a message, all of it may be there
                received = sum(c["bytes_received"] for c in self.b.status()["connections"] if c["local_port"] == port)
                self.assertLessEqual(received, self.CONNECTIONS * 16384)
                self.assertGreaterEqual(held, received)
            for place in places:
                server.do("accept", 100, place)
                if type == "stream":
                    self.assertEqual(server.do("check", place, len=self.LEN, seed=place)["n"], self.LEN)
                else:
                    answer = server.do("recv", place, max=self.LEN + 1, seed=place, **{"with": 1})
                    self.assertEqual((answer["n"], answer["good"]), (self.LEN, 1))
            for one in sending:
                one.result()


class KernelMemory(IdcTestCase):
    """What a peer makes the kernel hold: data that a program doesn't read, and what programs have left that closed."""
    platforms = ("local",)
    CONNECTIONS = 60
    MEMORY = 4 << 20
    SMALL = 12 << 10  # of what each connection may have besides
    options = KEEP_LINKS + ("--memory", str(MEMORY >> 20))
    LEN = 300000

    def connections(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 100, port=4000, backlog=self.CONNECTIONS)
        for place in range(1, self.CONNECTIONS + 1):
            client.do("connect", place, domid=self.b.domid, port=4000)
            server.do("accept", 100, place)
        return client, server

    def received(self, domain):
        return sum(c["bytes_received"] for c in domain.status()["connections"] if c["peer_domid"] != domain.domid)

    def test_of_who_does_not_read(self):
        client, server = self.connections()
        sending = [client.begin("send", place, len=self.LEN, seed=place) for place in range(1, self.CONNECTIONS + 1)]
        before = [-1]

        def rests():
            last, before[0] = before[0], self.received(self.b)
            return 0 < last == before[0]
        wait_until(rests, what="an end of what is taken", interval=1)
        # Half of it may be in the kernel. The rest is in link_mgr.
        self.assertLessEqual(before[0], self.MEMORY + self.MEMORY // 2 + self.CONNECTIONS * self.SMALL)
        for place in range(1, self.CONNECTIONS + 1):
            self.assertEqual(server.do("check", place, len=self.LEN, seed=place)["n"], self.LEN)
        for one in sending:
            one.result()

    def test_left_by_programs_that_closed(self):
        """After a time they are reset, as far as they are too much. What stays can still be read."""
        LEN = 150000  # pylint: disable=invalid-name
        self.a.restart(*KEEP_LINKS, "--memory", "1")  # so it takes little
        client, server = self.connections()
        for place in range(1, self.CONNECTIONS + 1):
            server.do("send", place, len=LEN, seed=place)
            server.do("close", place)

        def left():
            return sum(LEN - c["bytes_sent"] for c in self.b.status()["connections"])
        self.assertGreater(left(), self.MEMORY // 2)
        wait_until(lambda: left() <= self.MEMORY // 2, what="the end of what is too much")
        self.b.wait_log(b"was reset: its program has closed, the peer does not take the last ")
        read, reset = 0, 0
        for place in range(1, self.CONNECTIONS + 1):
            try:
                read += client.do("check", place, len=LEN, seed=place)["n"] == LEN
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOBUFS)
                reset += 1
        self.assertEqual(read + reset, self.CONNECTIONS)
        self.assertGreater(reset, self.CONNECTIONS // 4)
        self.assertGreater(read, self.CONNECTIONS // 12)


class SmallBuffers(IdcTestCase):
    """With little memory link_mgr's ends have small buffers."""
    options = IdcTestCase.options + ("--memory", "1")
    platforms = ("local",)
    # The program of a connection, which leaves the last byte unread until it is the last one of all.
    READER = """
import array, fcntl, os, select, sys, termios
most, got = int(sys.argv[1]), 0
while got < most:
    select.select([0], [], [])
    queued = array.array("i", [0])
    fcntl.ioctl(0, termios.FIONREAD, queued)
    if got + queued[0] == most or queued[0] > 1:
        got += len(os.read(0, queued[0] if got + queued[0] == most else queued[0] - 1))
    else:
        select.select([], [], [], 0.001)
os.write(1, b"all")
"""

    def test_a_reader_that_leaves_a_byte(self):
        """The kernel would not wake link_mgr, which tries again."""
        most = 200000
        self.b.spawn(["idc", "serve", "--port", "1000", "--", sys.executable, "-c", self.READER, str(most)])
        wait_until(lambda: self.b.status()["listeners"], what="a listener")
        self.assertEqual(self.a.run(["idc", "cat", str(self.b.domid), "1000"], bytes(most)).stdout, b"all")


class LongMessages(IdcTestCase):
    """A long message passes by a descriptor. Without one it waits, on either side, and that is logged; then it arrives."""
    platforms = ("local",)

    def wait_without_descriptors(self, domain, words, len):  # pylint: disable=redefined-builtin
        client, server = self.pair(type="seqpacket")
        before = domain.descriptors()[0]
        domain.limit_descriptors(3)
        client.do("send", 1, len=len, seed=1)
        client.do("close", 1)
        receiving = server.begin("recv", 1, max=len, seed=1)
        domain.wait_log(words)
        self.assertFalse(receiving.done())
        domain.limit_descriptors(before)
        answer = receiving.result()
        self.assertEqual((answer["n"], answer["good"]), (len, 1))
        self.assertEqual(server.do("recv", 1, **{"with": 1})["end"], 1)

    def test_of_the_sender_s_link_mgr(self):
        self.wait_without_descriptors(self.a, b"a long message waits", 200000)

    def test_of_the_receiver_s_link_mgr(self):
        self.wait_without_descriptors(self.b, b"data for a program wait", 400000)


class Beginning(Limits):
    def begin(self, descriptors):
        path = os.path.join(self.world.directory, "rpc-77.sock")
        words = [self.world.find_program("link_mgr"), "--platform", "local", "--domid", "77", "--socket", path]
        return self.a.spawn(["sh", "-c", 'ulimit -n %d; exec "$@"' % descriptors, "sh"] + words)

    def test_too_few_descriptors(self):
        daemon = self.begin(63)
        _, err = daemon.communicate(b"", ANSWER_SECONDS * self.world.slowness)
        self.assertEqual(daemon.returncode, 1, err)
        self.assertIn(b"it may have only 63 descriptors (LimitNOFILE of its service), and needs 64", err)

    def test_just_enough_descriptors(self):
        daemon = self.begin(64)
        wait_until(lambda: b"is ready" in daemon.stderr.pending() or daemon.returncode is not None, 60, "a daemon")
        daemon.kill(signal.SIGTERM)
        daemon.wait(ANSWER_SECONDS * self.world.slowness)
        self.assertEqual(daemon.returncode, 0, daemon.stderr.pending())


class Descriptors(Limits):
    def setUp(self):
        super().setUp()
        self.before = self.a.descriptors()[0]

    def fill(self):
        """A program whose listeners take all descriptors that there are. Returns it and how many it has."""
        holder = self.a.puppet()
        holder.do("listen", 1, port=2001)
        most = self.a.usage().fds + 20
        self.a.limit_descriptors(most)
        count = 1
        with self.assertRaises(OSError) as context:
            for count in range(1, 100):
                holder.do("listen", count + 1, port=2001 + count)
        self.assert_out_of_descriptors(context.exception)
        # One may be left, which a pair of sockets needs two of.
        return holder, count, [self.dial() for _ in range(most - self.a.usage().fds)]

    def assert_out_of_descriptors(self, error):
        """It is not the program's own descriptors that are meant."""
        self.assertEqual(error.errno, errno.ENOBUFS, error)
        self.assertIn("link_mgr has no descriptors left", error.text)

    def test_errno_of_programs(self):
        holder, _, _ = self.fill()
        for options in {}, {"nowait": 1}, {"nowait": 1, "type": "seqpacket"}, {"nowait": 1, "domid": self.b.domid}:
            with self.subTest(options=options):
                connect = {"domid": self.a.domid, "port": 2001, **options}
                self.assert_out_of_descriptors(self.assert_errno(errno.ENOBUFS, holder.do, "connect", 200, **connect))
        self.assertNotIn("its RPC connection ends", self.a.log())

    def test_refused_and_served_again(self):
        holder, count, _ = self.fill()
        self.assertGreater(count, 15)
        for _ in range(5):
            self.assert_refused("LimitNOFILE")
        result = self.a.run(["idc", "status"], timeout=ANSWER_SECONDS * self.world.slowness)
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn("descriptors", result.stderr.decode())
        self.assertEqual(self.ask(b"x" * 3000000)[0], 503)
        self.assertEqual(len(self.lines()), 1, self.lines())
        # The program's RPC connection stays.
        holder.do("unlisten", 1)
        holder.do("unlisten", 2)
        wait_until(lambda: self.ask()[0] == 200, what="descriptors that are free again")
        self.assert_served()
        self.assertEqual(len(self.lines()), 2, self.lines())

    def test_holder_ends(self):
        """As it was seen first: no RPC connection is open any more when the descriptors get free."""
        holder, _, others = self.fill()
        self.assert_refused("LimitNOFILE")
        for other in others:
            other.close()
        holder.end()
        wait_until(lambda: self.ask()[0] == 200, what="descriptors that are free again")
        self.assert_served()

    def test_silent_client_does_not_shut_out_others(self):
        self.fill()
        silent = [self.dial() for _ in range(3)]
        self.assert_refused("LimitNOFILE")
        for client in silent:
            self.assertEqual(client.recv(100), b"")

    def test_at_rest_at_the_limit(self):
        """Nobody waits: no timer, no system call."""
        self.fill()
        self.assert_refused("LimitNOFILE")
        wait_until(self.at_rest, what="rest")

    def at_rest(self):
        before = self.switches()
        time.sleep(1)
        return self.switches() == before

    def test_nothing_is_left_to_refuse_with(self):
        """Not even a spare descriptor: then clients wait, and are served when there is one."""
        used = len(self.a.list_directory("/proc/%d/fd" % self.a.daemon.pid))
        self.a.limit_descriptors(used - 4)
        client = self.dial()
        client.sendall(b"POST / HTTP/1.1\r\nHost: idc\r\nContent-Length: 0\r\n\r\n")
        self.a.wait_log(RPC_CONNECTIONS.encode() + b"refused")
        self.a.limit_descriptors(self.before)
        self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))
        self.assert_served()


class Store(IdcTestCase):
    platforms = ("local",)
    roles = ""

    def setUp(self):
        super().setUp()
        self.store = tempfile.mkdtemp(dir=self.world.directory)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.store], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.store], check=True)

    def write(self, name, permissions, value):
        path = os.path.join(self.store, name)
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="ascii") as stream:
            stream.write(permissions + "\n" + value)
        for directory, _, files in os.walk(self.store):
            self.world.give(directory, *(os.path.join(directory, one) for one in files))

    def fill(self):
        filler = open(os.path.join(self.store, "filler"), "wb", buffering=0)
        self.addCleanup(filler.close)
        with self.assertRaises(OSError):
            while True:
                filler.write(bytes(4096))
        return filler

    def test_full(self):
        """A program hears that the disk is full, and not that the other domain is not there; and no longer than it is full."""
        other, c = self.b.domid, self.c
        self.write("domain:%d/policy/%d" % (c.domid, other), "n0,r%d" % c.domid, "in=* out=*")
        self.write("domain:%d/data:%d/alive" % (other, c.domid), "n%d,r%d" % (other, c.domid), "0123456789abcdef")
        filler = self.fill()
        c.start("--store", self.store, *self.options)
        program = c.puppet()
        for _ in range(2):
            error = self.assert_errno(errno.ENOBUFS, program.do, "connect", 1, domid=other, port=80)
            self.assertIn("No space left", error.text)
        filler.truncate(4096)
        error = self.assert_errno(errno.EHOSTUNREACH, program.do, "connect", 1, domid=other, port=80)
        self.assertIn("no link_mgr", error.text)


class Connections(Limits):
    timeout = 120

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CONNECTIONS + 200, "RLIMIT_NOFILE is too low")
    def test_as_many_as_there_may_be(self):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 200, before[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        clients = [self.dial() for _ in range(CONNECTIONS)]
        for _ in range(3):
            self.assert_refused(str(CONNECTIONS))
        clients.pop().close()
        wait_until(lambda: self.ask()[0] == 200, what="place for one more")
        self.assert_served()
        for client in clients:
            client.close()


@unittest.skipIf(os.geteuid() != 0, "needs programs of other users")
class Quotas(IdcTestCase):
    """What one user may have; others, and root, do not notice."""
    platforms = ("local",)
    options = KEEP_LINKS + ("--quota", "listeners=2", "--quota", "connections=3", "--quota", "rpc-connections=4",
                            "--quota", "unaccepted=3")
    USER, OTHER = 12345, 12346

    def refused(self, number, words, call, *arguments, **named):
        self.assertIn(words, self.assert_errno(number, call, *arguments, **named).strerror)

    def test_connections(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80, backlog=100)
        user, other, root = self.a.puppet(uid=self.USER), self.a.puppet(uid=self.OTHER), self.a.puppet()
        for place in range(1, 4):
            user.do("connect", place, domid=self.b.domid, port=80)
        before = self.a.counters()
        self.refused(errno.EDQUOT, "uid 12345 has as many connections to other domains as one user may have, 3",
                     user.do, "connect", 4, domid=self.b.domid, port=80)
        after = self.a.counters()
        self.assertEqual([after[name] - before[name] for name in ("connects", "connected", "refused")], [1, 0, 1])
        for place in range(1, 6):
            root.do("connect", place, domid=self.b.domid, port=80)
        other.do("connect", 1, domid=self.b.domid, port=80)
        for place in range(1, 10):
            server.do("accept", 1, place + 1)
        user.do("close", 1)
        server.do("close", 2)

        def connects():
            try:
                user.do("connect", 4, domid=self.b.domid, port=80)
            except OSError as error:
                self.assertEqual(error.errno, errno.EDQUOT)
                return False
            return True
        wait_until(connects, what="a connection in the place of another")

    def test_unaccepted_connections(self):
        """Each takes a descriptor of link_mgr, even if nobody is left at the near end."""
        server = self.a.puppet()
        for place, port in (1, 80), (2, 81):
            server.do("listen", place, port=port, backlog=100)
        user, other, root = self.a.puppet(uid=self.USER), self.a.puppet(uid=self.OTHER), self.a.puppet()
        for place, port in (1, 80), (2, 80), (3, 81):
            user.do("connect", place, domid=self.a.domid, port=port)
            user.do("close", place)
        for place in range(1, 6):  # root is not limited
            root.do("connect", place, domid=self.a.domid, port=80)
        self.refused(errno.EDQUOT, "uid 12345 has as many unaccepted connections within the domain as one user may have, 3",
                     user.do, "connect", 4, domid=self.a.domid, port=81)
        other.do("connect", 1, domid=self.a.domid, port=80)
        for place in range(3, 5):
            server.do("accept", 1, place)
        for place in 4, 5:
            user.do("connect", place, domid=self.a.domid, port=80)
        self.assert_errno(errno.EDQUOT, user.do, "connect", 6, domid=self.a.domid, port=80)
        (shown,) = [one for one in self.a.status()["users"] if one["uid"] == self.USER]
        self.assertEqual(shown["unaccepted"], 3)
        server.kill()
        wait_until(lambda: all(one.get("unaccepted", 0) == 0 for one in self.a.status()["users"]), what="the end of all")

    def test_accepted_connections(self):
        """They are those of the listener's user."""
        server = self.b.puppet(uid=self.USER)
        server.do("listen", 1, port=2000, backlog=100)
        client = self.a.puppet()
        for place in range(1, 4):
            client.do("connect", place, domid=self.b.domid, port=2000)
        self.assert_errno(errno.ENOBUFS, client.do, "connect", 4, domid=self.b.domid, port=2000)
        self.b.wait_log(b"a connection from it was refused: uid 12345 has as many connections")

    def test_shares_of_accepted_connections(self):
        """One remote user does not take all that a service may have. The error says what it is."""
        for domain in self.a, self.b:
            domain.restart(*KEEP_LINKS, "--quota", "connections=60")
        server = self.b.puppet(uid=self.USER)
        server.do("listen", 100, port=2000, backlog=100)
        greedy, other = self.a.puppet(uid=self.USER), self.a.puppet(uid=self.OTHER)
        place = 0
        with self.assertRaises(OSError) as caught:
            for place in range(1, 60):
                greedy.do("connect", place, domid=self.b.domid, port=2000)
        self.assertEqual(caught.exception.errno, errno.ENOBUFS)
        self.assertIn("too many connections there: of its user, of this domain, or of this user", caught.exception.text)
        self.b.wait_log(b"it, or that user of it, has its share of the connections that uid %d may have" % self.USER)
        self.assertEqual(place, 21)  # a third, and this one
        other.do("connect", 1, domid=self.b.domid, port=2000)
        server.do("accept", 100, 1)

    def test_listeners(self):
        user, root = self.a.puppet(uid=self.USER), self.a.puppet()
        user.do("listen", 1, port=2000)
        user.do("listen", 2, name="org.example.two")
        self.refused(errno.EDQUOT, "as many listeners as one user may have, 2", user.do, "listen", 3, port=2002)
        for place in range(1, 6):
            root.do("listen", place, port=3000 + place)
        user.do("unlisten", 2)
        user.do("listen", 3, name="org.example.two")

    def test_programs(self):
        """Each has a connection to link_mgr."""
        users = [self.a.puppet(uid=self.USER) for _ in range(5)]
        for user in users[:4]:
            user.do("connect", 1, domid=self.a.domid, port=1)
        self.assert_errno(errno.ENOBUFS, users[4].do, "connect", 1, domid=self.a.domid, port=1)
        self.a.puppet(uid=self.OTHER).do("connect", 1, domid=self.a.domid, port=1)
