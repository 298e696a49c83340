# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors that are slow to close."""

import contextlib
import socket
import struct

LINGER_SECONDS = 1000


class EvilDescriptors:
    """Of a test case."""

    def begin_evil(self):
        self.evil_peers = []
        self.addCleanup(self.let_go)

    def evil(self):
        """A new one. Only the last close of it is slow."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the smallest
            end = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
        self.evil_peers.append(peer)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                end.send(bytes(1 << 20))
        end.setblocking(True)
        return end

    def let_go(self):
        """The peers end with unread data, which resets the connections: nothing lingers any more."""
        for peer in self.evil_peers:
            peer.close()
        self.evil_peers = []

    def send_evil(self, end, data, count=1):
        """False: the kernel has refused it."""
        evils = [self.evil() for _ in range(count)]
        sent = True
        try:
            socket.send_fds(end, [data], [evil.fileno() for evil in evils])
        except PermissionError:
            sent = False
            self.let_go()
        for evil in evils:
            evil.close()
        return sent
