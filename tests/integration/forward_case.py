# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of `idc forward`, `idc serve` and `idc channels` share."""

import contextlib
import errno
import glob
import hashlib
import os
import shutil
import socket
import struct
import tempfile
import threading

from case import IdcTestCase
from world import wait_until


def pattern(size):
    """Bytes in which none can be missing, doubled or exchanged unnoticed."""
    return hashlib.shake_128(b"pattern").digest(size)


def linger(sock):
    """close() of a TCP socket is a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_exactly(sock, size):
    """So many bytes, or fewer if the end comes first. MSG_WAITALL would not wait: a socket with a timeout is nonblocking."""
    data = b""
    while len(data) < size and (some := sock.recv(size - len(data))):
        data += some
    return data


def read_all(sock):
    """Until the end, or (bytes, errno)."""
    data = bytearray()
    while True:
        try:
            some = sock.recv(65536)
        except OSError as error:
            return bytes(data), error.errno
        if not some:
            return bytes(data), 0
        data += some


def exchange(sock, data):
    """Sends all of it, ends that half, and returns what comes as read_all does."""
    def send():
        with contextlib.suppress(OSError):  # the reader tells
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    answer = read_all(sock)
    thread.join()
    return answer


class ForwardCase(IdcTestCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        # short: the path of a socket has 107 bytes at most
        self.place = tempfile.mkdtemp(prefix="idc-fw-", dir="/tmp")
        os.chmod(self.place, 0o755)
        self.addCleanup(shutil.rmtree, self.place, True)

    def path(self, name):
        return os.path.join(self.place, name)

    def forward(self, domain, source, target, *options):
        return domain.spawn(["idc", "forward", *options, source, target])

    def wait_listener(self, domain, name):
        """name: of a service, or its port."""
        wait_until(lambda: any(name in (one["port"], one["service"]) for one in domain.status()["listeners"]),
                   what="%r listens on %r" % (domain, name))

    def wait_path(self, name):
        wait_until(lambda: os.path.exists(self.path(name)), what=name)

    def unix(self, name):
        """A client of a Unix socket that somebody listens on, or will."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60 * self.world.slowness)
        self.addCleanup(sock.close)

        def connected():
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: its backlog is full
                sock.connect(self.path(name))
                return True
            return False

        wait_until(connected, what="a listener at " + name)
        return sock

    def tcp(self, port):
        sock = socket.socket()
        sock.settimeout(60 * self.world.slowness)
        self.addCleanup(sock.close)
        wait_until(lambda: sock.connect_ex(("127.0.0.1", port)) == 0, what="a listener at port %d" % port)
        return sock

    def children(self, process):
        """Of all of its threads: one of them makes new processes, which are the first thread's when that one has ended."""
        numbers = set()
        for path in glob.glob("/proc/%d/task/*/children" % process.pid):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
                numbers.update(int(word) for word in stream.read().split())
        return sorted(numbers)

    def free_port(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def unix_server(self, name):
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(60 * self.world.slowness)
        self.addCleanup(server.close)
        server.bind(self.path(name))
        server.listen(2048)
        return server

    def accept(self, server):
        sock, _ = server.accept()
        sock.settimeout(60 * self.world.slowness)
        self.addCleanup(sock.close)
        return sock

    def assert_one_line(self, process, *words):
        """It has failed, and its only line says why."""
        status, text = process.wait(), process.stderr.read_all(60).decode()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        for word in words:
            self.assertIn(word, text)

    def assert_reset(self, sock):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.assertEqual(read_all(sock)[1], errno.ECONNRESET)
