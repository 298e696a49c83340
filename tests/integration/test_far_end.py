# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that connects within its domain without waiting makes the socket pair, and may keep a copy of the far end, which
becomes the server's. Whatever it does with that, the server is not told wrong addresses, is not ended and not held up, and
link_mgr has no more to do than before."""

import errno
import os
import socket
import struct
import xmlrpc.client

import rpc
from forward_case import read_exactly
from test_foreign import FILLER, FILLER_LAST, SERVED_SECONDS, ForeignBase
from world import wait_until

FAR_TEXT = 14  # where the text begins in the name of a far end that failed (common/connecting.c), without the first NUL
SO_PEEK_OFF = 42


class FarEnds(ForeignBase):
    def pair(self, kind="stream"):
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if kind == "seqpacket" else socket.SOCK_STREAM)
        for end in ends:
            end.settimeout(SERVED_SECONDS * self.world.slowness)
            self.addCleanup(end.close)
        self.addCleanup(self.let_go)  # comes first, so that closing these ends doesn't take long
        return ends

    def post(self, near, far, kind="stream", duplicate=True, line=None, **to):
        """The client keeps far. duplicate: of which near end, or whether of near."""
        near.send(FILLER)
        near.send(FILLER_LAST)
        argument = {"domid": self.a.domid, "type": kind, "far_end": True, **to}
        sent = [far.fileno()]
        if duplicate:
            sent.append((near if duplicate is True else duplicate).fileno())
        (line or self.line()).begin("connect", argument, sent)
        return near, far

    def outcome(self, near):
        """None: it is connected. Else the errno and the text."""
        wait_until(near.getpeername, what="the outcome")
        name = near.getpeername()[1:]
        if name[:4] == b"IDC\1":
            return None
        return struct.unpack("<H", name[12:14])[0], name[FAR_TEXT:].decode()

    def server(self, kind="stream"):
        server = self.a.puppet()
        server.do("listen", 100, port=1000, type=kind)
        return server

    def assert_refused(self, near, text):
        error, why = self.outcome(near)
        self.assertEqual(error, errno.EINVAL, why)
        self.assertIn(text, why)

    def assert_accepts(self, server, taking):
        """What the server has waited for."""
        client = self.a.puppet()
        client.do("connect", 1, domid=self.a.domid, port=1000)
        self.assertEqual(int(taking.result()["domid"]), self.a.domid)
        client.do("send", 1, len=10)
        self.assertEqual(server.do("check", 1, len=10)["n"], 10)

    # ---- addresses ----

    def test_without_the_near_end(self):
        """Its program would give it a name, and the server would believe that."""
        server = self.server()
        taking = server.begin("accept", 100, 1)
        for to in ({"port": 1000}, {"port": 1000, "wait": True}):
            near, far = self.pair()
            self.post(near, far, duplicate=False, **to)
            self.assert_refused(near, "the near end has to come with the far end")
        self.assert_accepts(server, taking)

    def test_near_end_of_another_pair(self):
        server = self.server()
        taking = server.begin("accept", 100, 1)
        for to in ({"port": 1000}, {"port": 1000, "wait": True}):
            near, far = self.pair()
            other, _ = self.pair()
            self.post(near, far, duplicate=other, **to)
            self.assert_refused(near, "not the far end's peer")
        self.assert_accepts(server, taking)

    def test_near_end_with_a_name(self):
        self.server()
        near, far = self.pair()
        line = self.line()
        with self.stopped():
            self.post(near, far, line=line, port=1000)
            near.bind(b"\0IDC\1" + bytes(23))
        (length, _) = struct.unpack("<II", read_exactly(line.socket, 8))
        with self.assertRaises(xmlrpc.client.Fault) as refused:
            rpc.parse(read_exactly(line.socket, length))
        self.assertEqual(refused.exception.faultCode, errno.EINVAL)
        self.assertIn("not an end of an AF_UNIX socket pair", refused.exception.faultString)

    def test_the_name_is_link_mgrs(self):
        server = self.server()
        near, far = self.pair()
        self.post(near, far, port=1000)
        server.do("accept", 100, 1)
        self.assertIsNone(self.outcome(near))
        with self.assertRaises(OSError) as refused:
            near.bind(b"\0IDC\1" + bytes(23))
        self.assertEqual(refused.exception.errno, errno.EINVAL)
        self.assertEqual(int(server.do("names", 1)["peer_uid"]), os.getuid())

    # ---- the mark ----

    def steal(self, kind):
        """Connects, and takes the mark out before the server accepts."""
        near, far = self.pair(kind)
        self.post(near, far, kind, port=1000)
        self.assertIsNone(self.outcome(near))
        while far.recv(1) != FILLER_LAST:
            pass
        return near, far

    def test_stolen_mark(self):
        for kind in ("stream", "seqpacket"):
            server = self.server(kind)
            self.steal(kind)
            near, far = self.steal(kind)
            far.close()
            near.close()
            client = self.a.puppet()
            connecting = client.begin("connect", 1, domid=self.a.domid, port=1000, type=kind)
            server.do("accept", 100, 1)
            connecting.result()
            client.do("send", 1, len=10)
            self.assertEqual(server.do("check", 1, len=10)["n"], 10)
            server.do("close", 1)
            server.do("unlisten", 100)

    def evil_mark(self, kind):
        """In the place of the mark, after link_mgr has looked."""
        near, far = self.steal(kind)
        self.send_evil(near, FILLER_LAST)
        far.close()
        return near

    def test_mark_with_a_descriptor(self):
        """Its close would hold up the server."""
        for kind in ("stream", "seqpacket"):
            server = self.server(kind)
            self.evil_mark(kind)
            taking = server.begin("accept", 100, 1)
            client = self.a.puppet()
            client.do("connect", 1, domid=self.a.domid, port=1000, type=kind)
            taking.result()
            client.do("send", 1, len=10)
            self.assertEqual(server.do("check", 1, len=10)["n"], 10)
            server.do("close", 1)
            server.do("unlisten", 100)
            self.let_go()

    def test_filler_with_a_descriptor(self):
        """It would stay beside the mark."""
        server = self.server()
        taking = server.begin("accept", 100, 1)
        near, far = self.pair()
        near.send(FILLER)
        self.assertTrue(self.send_evil(near, FILLER_LAST))
        self.line().begin("connect", {"domid": self.a.domid, "port": 1000, "far_end": True}, [far.fileno(), near.fileno()])
        self.assert_accepts(server, taking)

    # ---- idc forward ----

    def test_forward(self):
        """It goes on, and says what was the matter with that client."""
        forward = self.a.spawn(["idc", "forward", "idc-listen:1000", "exec:cat"])
        self.a.run(["idc", "wait", "self", "1000"])
        near, far = self.steal("stream")
        near.close()
        far.close()
        line = forward.stderr.readline(SERVED_SECONDS * self.world.slowness).decode()
        self.assertIn("has a copy of this socket has read from it", line)
        self.assertEqual(self.a.run(["idc", "cat", "self", "1000"], input=b"bytes").stdout, b"bytes")

    # ---- link_mgr's loop ----

    def busy(self):
        """How many milliseconds link_mgr has run."""
        with open("/proc/%d/stat" % self.a.daemon.pid, encoding="ascii") as stat:
            return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13])) * 1000 // os.sysconf("SC_CLK_TCK")

    def test_peek_offset(self):
        """A call that waits gets what comes, wherever the client wants the server to look."""
        for kind in ("stream", "seqpacket"):
            with self.a.rpc() as call:
                listener = call.listen({"port": 2000, "type": kind})["handle"]
                near, far = self.pair(kind)
                self.post(near, far, kind, port=2000)
                handle = call.accept({"handle": listener})["handle"]
                far.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 1000)
                near.send(b"some bytes")
                limit = int(SERVED_SECONDS * 1000 * self.world.slowness)
                try:
                    got = call.recv({"handle": handle, "timeout_ms": limit})
                except xmlrpc.client.Fault as fault:
                    self.fail("%s; link_mgr was busy for %d ms" % (fault.faultString, self.busy()))
                self.assertEqual(got["data"].data, b"some bytes")
                call.disconnect({"handle": handle})
                call.unlisten({"handle": listener})
