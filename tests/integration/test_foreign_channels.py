# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors that a client of `idc channels`, `idc forward` or `idc serve` sends along. Closing one takes a thousand seconds: it is a
TCP socket with SO_LINGER and data that nobody reads. Meanwhile the other clients of the same process are served.

Two kernels are tried: this one, and an older one that cannot refuse descriptors (tests/programs/faults.c hides SO_PASSRIGHTS)."""

import os
import signal
import socket
import time

from evil import EvilDescriptors
from forward_case import read_all
from test_channels import ChannelsCase
from test_foreign import Line

SERVED_SECONDS = 10  # far less than the linger time


class ForeignChannels(EvilDescriptors, ChannelsCase):
    platforms = ("local",)
    old_kernel = False

    def setUp(self):
        super().setUp()
        self.begin_evil()
        self.server = self.unix_server("server")
        self.write("evil: unix-listen:%s -> unix:%s" % (self.path("evil"), self.path("server")),
                   "good: unix-listen:%s -> exec:cat" % self.path("good"),
                   "hybrid: unix-listen:%s,connect -> idc:self:*" % self.path("hybrid"),
                   "service: idc-listen:77 -> unix:%s" % self.path("server"),
                   "command: unix-listen:%s -> exec:cat" % self.path("command"))
        self.process = self.begin(["idc", "channels"] + self.place_options())
        self.wait_path("state")
        self.assert_served()

    def begin(self, argv):
        if not self.old_kernel:
            return self.a.spawn(argv)
        if self.world._instrumented():
            self.skipTest("nothing can be preloaded into it")
        library = os.path.join(self.world.programs, "tests", "libfaults.so")
        return self.a.spawn(argv, {"LD_PRELOAD": library, "IDC_FAULTS_OLD_KERNEL": "1"})

    def send_evil(self, end, data, count=1):
        """The last close of them is the other process's."""
        self.process.kill(signal.SIGSTOP)
        try:
            return super().send_evil(end, data, count)
        finally:
            self.process.kill(signal.SIGCONT)

    def assert_served(self):
        """By the other channel, at once and to the end."""
        began = time.monotonic()
        client = self.unix("good")
        client.sendall(b"hello")
        self.assertEqual(client.recv(5), b"hello")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(client), (b"", 0))
        self.assertLess(time.monotonic() - began, SERVED_SECONDS * self.world.slowness)

    def attack(self, name, data, count=1, clients=1, before=b""):
        """Returns whether the kernel let them pass."""
        sent = False
        for _ in range(clients):
            client = self.unix(name)
            if before:
                client.sendall(before)
            sent = self.send_evil(client, data, count) or sent
            client.close()
        self.assert_served()
        return sent

    def test_bytes(self):
        self.assertEqual(self.attack("evil", b"some"), self.old_kernel)

    def test_one_byte(self):
        """It is only looked at until more comes."""
        self.assertEqual(self.attack("evil", b"x"), self.old_kernel)

    def test_behind_others(self):
        self.assertEqual(self.attack("evil", b"x", before=b"some"), self.old_kernel)

    def test_many(self):
        self.assertEqual(self.attack("evil", b"x", count=60, clients=4), self.old_kernel)

    def test_many_clients(self):
        self.assertEqual(self.attack("evil", b"some", clients=40), self.old_kernel)

    def test_line(self):
        self.assertEqual(self.attack("hybrid", b"C"), self.old_kernel)
        self.assertEqual(self.attack("hybrid", b"CONNECT 80\n"), self.old_kernel)

    def test_while_the_server_does_not_read(self):
        """It stays in the queue of the socket, which is closed."""
        client = self.unix("evil")
        bridge = self.accept(self.server)
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(65536))
        except BlockingIOError:
            client.setblocking(True)
        time.sleep(0.2)  # all that fits has gone on
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.assertEqual(self.send_evil(client, b"x"), self.old_kernel)
        bridge.close()
        client.close()
        self.assert_served()

    def test_server(self):
        """Who is connected to sends them."""
        client = self.unix("evil")
        client.sendall(b"a question")
        server = self.accept(self.server)
        self.assertEqual(server.recv(10), b"a question")
        self.assertEqual(self.send_evil(server, b"some"), self.old_kernel)
        self.assert_served()
        if self.old_kernel:
            self.assertNotEqual(read_all(client)[1], 0)
            self.wait_line(self.process, b"descriptors came with what it has sent")

    def test_within_the_domain(self):
        """A client of this domain connects by IDC, and sends over its own pair."""
        for _ in range(4):
            client = self.within(77)
            self.accept(self.server)
            self.send_evil(client, b"some")
            client.close()
            self.assert_served()

    def within(self, port):
        """A client of this domain, whose end link_mgr has made."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(self.a.socket)
        _, client = Line(line).call("connect", {"domid": self.a.domid, "port": port, "fd": True})
        line.close()
        self.addCleanup(client.close)
        client.settimeout(60 * self.world.slowness)
        return client

    def test_serve(self):
        """Its own copy of the connection may be the last one."""
        self.process = self.begin(["idc", "serve", "--port", "79", "--", "cat"])
        self.wait_listener(self.a, 79)
        for _ in range(6):
            self.process.kill(signal.SIGSTOP)  # or a program has read it before the last close here
            client = self.within(79)
            super().send_evil(client, b"some")
            client.close()
            self.process.kill(signal.SIGCONT)
            good = self.within(79)
            good.sendall(b"hello")
            self.assertEqual(good.recv(5), b"hello")
            good.close()


class ForeignChannelsOnAnOldKernel(ForeignChannels):
    old_kernel = True
