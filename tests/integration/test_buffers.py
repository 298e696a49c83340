# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a program does with its socket's buffers, its data arrive. link_mgr holds the last block of a connection unread; that
must keep no writer waiting, however the blocks were made and however small the program has made its buffer. And a connection
still ends by a reset when a link_mgr is killed.

Each transfer is of more than the buffer takes, so that the writer has to wait many times, and every byte is checked."""

import errno
import os

from case import IdcTestCase

MIB = 1 << 20
WAYS = ("write", "more", "sendfile", "splice", "tee", "vmsplice", "uring", "uring_splice")
# The least that the kernel allows, and others at which one block is more than a quarter
BUFFERS = (0, 4608, 20000, 60000, 140000)


class Buffers(IdcTestCase):
    def feed(self, sender, reader, len, max=65536, **how):  # pylint: disable=redefined-builtin
        feeding = sender.begin("feed", 1, len=len, **how)
        self.assertEqual(reader.do("check", 1, len=len, max=max, seed=how.get("seed", 0))["n"], len, how)
        self.assertEqual(feeding.result()["n"], len, how)

    def both_ways(self, client, server, len, **how):  # pylint: disable=redefined-builtin
        self.feed(client, server, len, **how)
        self.feed(server, client, len, **how)

    def test_each_call(self):
        client, server = self.pair()
        for seed, way in enumerate(WAYS):
            for size in (MIB, 3 * MIB):
                self.both_ways(client, server, size, how=way, seed=seed)

    def test_each_call_of_a_connect_that_does_not_wait(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 101, port=1000)
        taking = server.begin("accept", 101, 1)
        client.do("connect", 1, domid=self.b.domid, port=1000, nowait=1)
        taking.result()
        for way in WAYS:
            self.both_ways(client, server, MIB, how=way)

    def test_buffers_of_all_sizes(self):
        """Of writers that block, and of those that poll. The small ones first, on a connection that knows nothing of them."""
        for number, size in enumerate(BUFFERS):
            client, server = self.pair(1000 + number)
            length = MIB if size >= 60000 else MIB // 4
            for poll in (0, 1):
                for way in WAYS:
                    self.both_ways(client, server, length, how=way, sndbuf=size, poll=poll, block=100000)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def test_a_buffer_that_is_made_smaller_later(self):
        """When a large block is held already."""
        for poll in (0, 1):
            client, server = self.pair(1000 + poll)
            self.both_ways(client, server, 65536, how="sendfile")
            self.both_ways(client, server, MIB // 4, how="write", block=1000, sndbuf=4608, poll=poll)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def test_large_writes_and_small_reads(self):
        client, server = self.pair()
        for size in BUFFERS:
            self.feed(client, server, MIB // 2, max=1000, how="write", sndbuf=size, block=200000)

    def test_messages(self):
        for number, size in enumerate(BUFFERS):
            client, server = self.pair(1000 + number, type="seqpacket")
            for poll in (0, 1):
                for block in (1000, 40000, 100000, 130000):
                    if size == 0 or block * 3 < size * 2 or (size > 4608 and block <= 1000):
                        self.both_ways(client, server, 20 * block, how="write", sndbuf=size, poll=poll, block=block, max=MIB)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def test_a_program_in_another_network_namespace(self):
        """link_mgr cannot ask the kernel about a socket pair that such a program has made."""
        if not self.world.local_files or not self.world.can_change_uid:
            self.skipTest("needs root, and programs of this machine")
        client, server = self.a.puppet(wrapper=["unshare", "--net"]), self.b.puppet()
        for kind, block in (("stream", 1000), ("seqpacket", 1000), ("stream", 60000)):
            for poll in (0, 1):
                server.do("listen", 101, port=1000, type=kind)
                taking = server.begin("accept", 101, 1)
                client.do("connect", 1, domid=self.b.domid, port=1000, type=kind, nowait=1)
                taking.result()
                self.both_ways(client, server, 20 * block, how="write", sndbuf=4608, poll=poll, block=block)
                client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def assert_reset(self, victim):
        """After a megabyte by each call, of which the last block is held."""
        client, server, reading = self.a.puppet(), self.b.puppet(), []
        for place, way in enumerate(WAYS, 1):
            self.pair(1000 + place, client, server, place=place)
            for sender, reader in ((client, server), (server, client)):
                feeding = sender.begin("feed", place, len=MIB, how=way)
                self.assertEqual(reader.do("check", place, len=MIB)["n"], MIB)
                feeding.result()
            reading += [client.begin("recv", place), server.begin("recv", place)]
        victim.kill()
        for one in reading:
            self.assert_errno(errno.ECONNRESET, one.result)
        victim.start(*self.options)

    def test_killed_link_mgr_of_the_sender(self):
        self.assert_reset(self.a)

    def test_killed_link_mgr_of_the_peer(self):
        self.assert_reset(self.b)


# Sends three megabytes by the call that is named, and tells their hash.
SENDER = """
import asyncio, hashlib, os, socket, sys, tempfile
data = os.urandom(3 << 20)
file = tempfile.TemporaryFile()
file.write(data), file.flush(), file.seek(0)
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
s.connect((int(sys.argv[2]), 5000))

async def by_asyncio():
    s.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendfile(s, file, fallback=False)

async def by_transport():
    s.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=s)
    await loop.sendfile(transport, file, fallback=False)
    transport.close()

if sys.argv[1] == "socket":
    s.sendfile(file)
else:
    asyncio.run({"sock_sendfile": by_asyncio, "sendfile": by_transport}[sys.argv[1]]())
if s.fileno() >= 0:
    s.close()
print(hashlib.sha256(data).hexdigest())
"""
RECEIVER = """
import hashlib, socket
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
s.bind((0xFFFFFFFF, 5000)), s.listen()
print("ready", flush=True)
while True:
    c, _ = s.accept()
    hash = hashlib.sha256()
    while data := c.recv(65536):
        hash.update(data)
    print(hash.hexdigest(), flush=True)
"""

GIVER = """
import socket
s = socket.socket(socket.AF_UNIX)
s.bind(""), s.listen()
print(s.getsockname()[1:].decode(), flush=True)
while True:
    c, _ = s.accept()
    c.sendall(bytes(3 << 20))
    c.close()
"""
TAKER = """
import socket, sys, time
for _ in range(300):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        s.connect((int(sys.argv[1]), 5000))
        break
    except ConnectionResetError:
        time.sleep(0.1)  # nobody listens yet
count = 0
while data := s.recv(65536):
    count += len(data)
print(count)
"""


class PythonPrograms(IdcTestCase):
    """sendfile of Python's socket module, and of asyncio, under idc run."""

    def test_sendfile(self):
        if not self.world.has_python:
            self.skipTest("no Python in the domains")
        server = self.b.spawn(["idc", "run", "--", "python3", "-c", RECEIVER])
        self.assertEqual(server.stdout.readline(60 * self.world.slowness), b"ready\n")
        for how in ("socket", "sock_sendfile", "sendfile"):
            result = self.a.run(["idc", "run", "--", "python3", "-c", SENDER, how, str(self.b.domid + 2)])
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(server.stdout.readline(60 * self.world.slowness), result.stdout)

    def test_systemd_socket_proxyd(self):
        """It splices. Its server in the domain sends three megabytes to each client."""
        activate, proxy = "/usr/bin/systemd-socket-activate", "/lib/systemd/systemd-socket-proxyd"
        if not (self.world.has_python and os.path.exists(activate) and os.path.exists(proxy)):
            self.skipTest("no systemd in the domains")
        server = self.b.spawn(["python3", "-c", GIVER])
        name = server.stdout.readline(60 * self.world.slowness).decode().strip()
        self.b.spawn(["idc", "run", "--", activate, "-E", "LD_PRELOAD", "-E", "IDC_SOCKET", "-l", "vsock::5000",
                      proxy, "@" + name])
        for _ in range(5):
            result = self.a.run(["idc", "run", "--", "python3", "-c", TAKER, str(self.b.domid + 2)])
            self.assertEqual((result.returncode, result.stdout), (0, b"3145728\n"), result.stderr)
