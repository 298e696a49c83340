# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr at a limit of its own: who comes is told why, nobody waits without end, and things go on as soon as they can."""

import errno
import http.client
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import xmlrpc.client

import rpc
from case import IdcTestCase
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
            self.a.daemon.kill(signal.SIGSTOP)
            for client in leaving:
                client.close()
            self.a.daemon.kill(signal.SIGCONT)
            for near, far in pairs:
                call.send({"handle": near, "data": b"second"})
                with self.assertRaises(xmlrpc.client.Fault) as caught:
                    call.recv({"handle": far})
                self.assertEqual(caught.exception.faultCode, errno.ECONNRESET)


class LongMessages(IdcTestCase):
    """A long message passes by a descriptor. Without one it waits, on either side, and that is logged; then it arrives."""
    platforms = ("local",)

    def wait_without_descriptors(self, domain, words, len):  # pylint: disable=redefined-builtin
        client, server = self.pair(type="seqpacket")
        before = resource.prlimit(domain.daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(domain.daemon.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        client.do("send", 1, len=len, seed=1)
        client.do("close", 1)
        receiving = server.begin("recv", 1, max=len, seed=1)
        domain.wait_log(words)
        self.assertFalse(receiving.done())
        resource.prlimit(domain.daemon.pid, resource.RLIMIT_NOFILE, before)
        answer = receiving.result()
        self.assertEqual((answer["n"], answer["good"]), (len, 1))
        self.assertEqual(server.do("recv", 1, **{"with": 1})["end"], 1)

    def test_of_the_sender_s_link_mgr(self):
        self.wait_without_descriptors(self.a, b"a long message waits", 200000)

    def test_of_the_receiver_s_link_mgr(self):
        self.wait_without_descriptors(self.b, b"data for a program wait", 400000)


class Descriptors(Limits):
    def setUp(self):
        super().setUp()
        self.before = resource.prlimit(self.a.daemon.pid, resource.RLIMIT_NOFILE)

    def fill(self):
        """A program whose listeners take all descriptors that there are. Returns it and how many it has."""
        holder = self.a.puppet()
        holder.do("listen", 1, port=2001)
        most = self.a.usage().fds + 20
        resource.prlimit(self.a.daemon.pid, resource.RLIMIT_NOFILE, (most, self.before[1]))
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
        self.assert_out_of_descriptors(self.assert_errno(errno.ENOBUFS, holder.do, "connect", 200, domid=self.a.domid, port=2001))

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
        resource.prlimit(self.a.daemon.pid, resource.RLIMIT_NOFILE, (used - 4, self.before[1]))
        client = self.dial()
        client.sendall(b"POST / HTTP/1.1\r\nHost: idc\r\nContent-Length: 0\r\n\r\n")
        self.a.wait_log(RPC_CONNECTIONS.encode() + b"refused")
        resource.prlimit(self.a.daemon.pid, resource.RLIMIT_NOFILE, self.before)
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
