# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of sockets in the abstract name space are anybody's. Who takes those that would come next stops nobody."""

import socket

import rpc
from case import IdcTestCase
from test_foreign import Line

SERIAL = slice(5, 11)  # of a name (common/handover_name.c)
TAKEN = 1000


class Squatter(IdcTestCase):
    platforms = ("local",)
    roles = "a"

    def listen(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.a.socket)
        _, listener = Line(client).call("listen", {"port": 2000, "fd": True})
        return listener

    def test_next_names(self):
        with self.listen() as listener:
            name = listener.getpeername()
        serial = int.from_bytes(name[SERIAL], "little")
        for number in range(serial + 1, serial + 1 + TAKEN):
            squatter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.addCleanup(squatter.close)
            squatter.bind(name[:5] + (number % (1 << 48)).to_bytes(6, "little") + name[11:])
        with self.listen() as listener:
            self.assertEqual(listener.getpeername()[11:], name[11:])
        with rpc.connect(self.a.socket) as call:
            self.assertTrue(call.status({"detail": False}))
