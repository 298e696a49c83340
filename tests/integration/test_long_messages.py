# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that pass as memory files. A reader that does not read stops their writer after a few of them, wherever they lie."""

import hashlib

from case import IdcTestCase

MIB = 1 << 20
# Five may lie in the writer's socket, or eight if it has made its buffer another size, one in link_mgr's memory or in the
# reader's socket, and one on its way
BETWEEN = 7
BETWEEN_OTHER = 10
WITHIN = 2


class LongMessages(IdcTestCase):
    def setUp(self):
        super().setUp()
        self.length = 16 * MIB if self.world.local_files else 2 * MIB

    def press(self, writer, reader, most, place, **how):
        """The writer ends when nothing was taken for a second, or too many were. Then all of them arrive."""
        sent = writer.do("press", place, len=self.length, count=most + 20, **how)
        self.assertLessEqual(sent["count"], most, how)
        self.assertGreaterEqual(sent["count"], 1, how)
        read = reader.do("check", place, len=sent["count"] * self.length, max=16 * MIB)
        self.assertEqual(read["count"], sent["count"])

    def test_reader_that_never_reads(self):
        for place, sndbuf in enumerate((0, 20000, 4 * MIB), 1):
            client, server = self.pair(1000 + place, type="seqpacket", place=place)
            for poll in (0, 1):
                self.press(client, server, BETWEEN_OTHER if sndbuf else BETWEEN, place, sndbuf=sndbuf, poll=poll)
                self.press(server, client, BETWEEN_OTHER if sndbuf else BETWEEN, place, sndbuf=sndbuf, poll=poll)

    def test_reader_that_never_reads_within_the_domain(self):
        client, server = self.a.puppet(), self.a.puppet()
        for place, sndbuf in enumerate((0, 20000, 4 * MIB), 1):
            server.do("listen", 100 + place, port=1000 + place, type="seqpacket")
            client.do("connect", place, domid=self.a.domid, port=1000 + place, type="seqpacket")
            server.do("accept", 100 + place, place)
            for poll in (0, 1):
                self.press(client, server, WITHIN, place, sndbuf=sndbuf, poll=poll)

    def test_small_buffer(self):
        """A message that the program's own buffer cannot carry goes as a long one does."""
        client, server = self.pair(type="seqpacket")
        for length in (4000, 5000, 60000, 131072):
            self.assertEqual(client.do("press", 1, len=length, count=1, sndbuf=2304)["count"], 1)
            self.assertEqual(server.do("check", 1, len=length, max=MIB)["count"], 1)


class Ceiling(IdcTestCase):
    """Long messages that lie in sockets of programs that do not read count against the memory for a peer."""

    options = IdcTestCase.options + ("--memory", "4")

    def test_many_connections(self):
        client, server = self.a.puppet(), self.b.puppet()
        places = range(1, 31)
        server.do("listen", 100, port=1000, type="seqpacket")
        for place in places:
            client.do("connect", place, domid=self.b.domid, port=1000, type="seqpacket")
            server.do("accept", 100, place)
        for sending in [client.begin("send", place, len=MIB, seed=place) for place in places]:
            sending.result()
        for _ in range(30):
            connections = self.b.status()["connections"]
            self.assertLessEqual(sum(one["bytes_received"] for one in connections), 4 * MIB)
        # They come in any order, each when there is memory for it
        reading = [server.begin("check", place, len=MIB, max=MIB, seed=place) for place in places]
        for one in reading:
            self.assertEqual(one.result()["n"], MIB)


# Receives each message in another way, and prints its length and its hash.
RECEIVER = """
import hashlib, os, socket, subprocess, sys
s = socket.socket(socket.AF_VSOCK, socket.SOCK_SEQPACKET)
s.bind((0xFFFFFFFF, 5000)), s.listen()
print("ready", flush=True)
SIZE = 2 << 20

def by_recv_into():
    buffer = bytearray(SIZE)
    return bytes(buffer[:c.recv_into(buffer)])

def by_recvmsg():
    data, control, flags, _ = c.recvmsg(SIZE, 64)
    assert not control and not flags, (control, flags)
    return data

def by_several_buffers():
    buffers = [bytearray(7), bytearray(0), bytearray(300000), bytearray(SIZE)]
    got = c.recvmsg_into(buffers)[0]
    return b"".join(buffers)[:got]

def by_readv():
    buffers = [bytearray(100), bytearray(SIZE)]
    got = os.readv(c.fileno(), buffers)
    return b"".join(buffers)[:got]

def by_peek():
    data = c.recv(SIZE, socket.MSG_PEEK)
    assert c.recv(SIZE) == data
    return data

def by_child():
    program = "import os, sys; sys.stdout.buffer.write(os.read(0, %d))" % SIZE
    return subprocess.run([sys.executable, "-c", program], stdin=c, stdout=subprocess.PIPE).stdout

def cut():
    data, _, flags, _ = c.recvmsg(350000)
    assert flags == socket.MSG_TRUNC, flags
    return data

def length():
    buffer = bytearray(350000)
    assert c.recv_into(buffer, 0, socket.MSG_PEEK | socket.MSG_TRUNC) == 1000000
    return c.recv(350000)

def without_a_descriptor():
    import resource
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    c.recv(1, socket.MSG_PEEK)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        c.recv(SIZE)
    except OSError as error:
        return error.strerror.encode()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

while True:
    c, _ = s.accept()
    for how in (lambda: c.recv(SIZE), lambda: c.recvfrom(SIZE)[0], lambda: os.read(c.fileno(), SIZE), by_recv_into, by_recvmsg,
                by_several_buffers, by_readv, by_peek, by_child, cut, length, without_a_descriptor):
        data = how()
        print(len(data), hashlib.sha256(data).hexdigest(), flush=True)
"""


def pattern(length):
    """The beginning of tests/programs/pattern.c."""
    state, data, mask = 20131105, bytearray(), (1 << 64) - 1
    while len(data) < length:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        data += (z ^ (z >> 31)).to_bytes(8, "little")
    return bytes(data[:length])


class VsockReceivers(IdcTestCase):
    """A program under idc run gets long messages of a program of libidc as a whole, or an error."""

    def test_each_way_to_receive(self):
        if not self.world.has_python:
            self.skipTest("no Python in the domains")
        whole = pattern(1000000)
        expected = 9 * [whole] + 2 * [whole[:350000]] + [b"Message too long"]
        receiver = self.b.spawn(["idc", "run", "--", "python3", "-c", RECEIVER])
        self.assertEqual(receiver.stdout.readline(60 * self.world.slowness), b"ready\n")
        for sender in (self.a.puppet(), self.b.puppet()):
            sender.do("connect", 1, domid=self.b.domid, port=5000, type="seqpacket")
            for number, data in enumerate(expected):
                sender.do("send", 1, len=len(whole))
                answer = receiver.stdout.readline(60 * self.world.slowness).decode().split()
                self.assertEqual(answer, [str(len(data)), hashlib.sha256(data).hexdigest()], number)
            sender.do("close", 1)
