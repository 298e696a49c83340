# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever options a program sets on a socket that it holds, the next operation works, and link_mgr keeps no descriptor (the
end of each test counts them)."""

import socket

from case import IdcTestCase

# Of SOL_SOCKET, as x86 and arm64 number them
NAMES = {"SO_DEBUG": 1, "SO_DONTROUTE": 5, "SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_KEEPALIVE": 9, "SO_OOBINLINE": 10,
         "SO_PRIORITY": 12, "SO_PASSCRED": 16, "SO_RCVLOWAT": 18, "SO_TIMESTAMP": 29, "SO_PASSSEC": 34, "SO_TIMESTAMPNS": 35,
         "SO_MARK": 36, "SO_TIMESTAMPING": 37, "SO_RXQ_OVFL": 40, "SO_WIFI_STATUS": 41, "SO_PEEK_OFF": 42, "SO_NOFCS": 43,
         "SO_SELECT_ERR_QUEUE": 45, "SO_BUSY_POLL": 46, "SO_INCOMING_CPU": 49, "SO_ZEROCOPY": 60, "SO_PASSPIDFD": 76}
MIB = 1 << 20


class Options(IdcTestCase):
    def option(self, puppet, place, name, value):
        try:
            puppet.do("option", place, name=NAMES[name], value=value)
            return True
        except OSError:
            return False  # this kernel does not know it, or not for this user

    def talk(self, one, other, place, size):
        for sender, reader in ((one, other), (other, one)):
            sending = sender.begin("send", place, len=size)
            self.assertEqual(reader.do("check", place, len=size, max=MIB)["n"], size)
            sending.result()

    def connect(self, client, server, domid, place, kind):
        taking = server.begin("accept", 100, place)
        client.do("connect", place, domid=domid, port=1000, type=kind, nowait=place % 2)
        taking.result()

    def each_option(self, kind, client, server, domid):
        """Of connections and of the listener."""
        server.do("listen", 100, port=1000, type=kind)
        for place, name in enumerate(NAMES, 1):
            self.connect(client, server, domid, place, kind)
            for value in (1, 0):
                if name == "SO_PEEK_OFF":
                    value -= 1  # a program that peeks at an offset reads that for itself
                done = [self.option(puppet, place, name, value) for puppet in (client, server)]
                if name != "SO_PEEK_OFF":
                    done.append(self.option(server, 100, name, value))
                if any(done):
                    for size in (1, 5000, MIB // 2):
                        self.talk(client, server, place, size)
                    self.connect(client, server, domid, 200 + place, kind)
                    self.talk(client, server, 200 + place, 100)
                    client.do("close", 200 + place), server.do("close", 200 + place)
        server.do("unlisten", 100)

    def test_small_buffer_of_a_listener(self):
        """link_mgr reads answers only now and then. So accept does not wait until they are read, however little the program's
        buffer holds."""
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 100, port=1000, backlog=4096)
        for place in range(1, 61):
            self.assertTrue(self.option(server, 100, "SO_SNDBUF", 1))
            self.connect(client, server, self.b.domid, place, "stream")
        for place in range(101, 181):
            client.do("connect", place, domid=self.b.domid, port=1000)
        for place in range(101, 181):
            self.assertTrue(self.option(server, 100, "SO_SNDBUF", 1))
            server.do("accept", 100, place + 100)
        server.do("unlisten", 100)
        for place in (1, 60):
            self.talk(client, server, place, 100)
        for place in (101, 180):
            client.do("send", place, len=100)
            self.assertEqual(server.do("check", place + 100, len=100, max=MIB)["n"], 100)

    def test_connections_and_listeners(self):
        for kind in ("stream", "seqpacket"):
            client, server, near = self.a.puppet(), self.b.puppet(), self.a.puppet()
            self.each_option(kind, client, server, self.b.domid)
            client = self.a.puppet()
            self.each_option(kind, client, near, self.a.domid)

    def test_rpc_connections(self):
        if not self.world.local_files:
            self.skipTest("needs the socket of link_mgr")
        body = b'<?xml version="1.0"?><methodCall><methodName>idc.status</methodName></methodCall>'
        call = b"POST / HTTP/1.1\r\nHost: idc\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for name, number in NAMES.items():
            for value in (1, 0):
                with socket.socket(socket.AF_UNIX) as rpc:
                    rpc.settimeout(60 * self.world.slowness)
                    rpc.connect(self.a.socket)
                    try:
                        rpc.setsockopt(socket.SOL_SOCKET, number, value if name != "SO_PEEK_OFF" else -1)
                    except OSError:
                        continue
                    for _ in range(2):
                        rpc.sendall(call)
                        answer = b""
                        while not answer.rstrip().endswith(b"</methodResponse>"):
                            more = rpc.recv(65536)
                            self.assertTrue(more, (name, value, answer))
                            answer += more
