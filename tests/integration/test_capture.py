# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc capture`: what passes on links is in the file, each frame once and in its order, seen alike from both sides; who may capture;
and that a reader which is slow, stopped, killed, or has no disk left costs frames, which are counted, and nothing else."""

import os
import shutil
import signal
import subprocess
import time
import unittest

import pcapng
from case import IdcTestCase
from world import wait_until

MIB = 1 << 20
NAME = "org.example.captured"


class CaptureCase(IdcTestCase):
    def capture(self, domain, *options):
        process = domain.spawn(["idc", "capture", *options])
        self.assertIn(b"domain %d: frames on links" % domain.domid, process.stderr.readline(60 * self.world.slowness))
        return process

    def finish(self, process, number=signal.SIGINT):
        """What it wrote, after a signal that it ends by."""
        process.kill(number)
        return self.result(process, 0)

    def result(self, process, status):
        out, err = process.communicate(b"", 60 * self.world.slowness)
        self.assertEqual(process.returncode, status, err)
        return pcapng.parse(out), err.decode()

    def end_point(self, domain, port):
        return (domain.domid + 2, port)

    def connect(self, client, server, place, kind="stream", **target):
        taking = server.begin("accept", 100, place)
        client.do("connect", place, domid=self.b.domid, type=kind, **target)
        taking.result()

    def no_captures(self, domain):
        """All that were there have ended."""
        wait_until(lambda: domain.log().count("a capture of uid") == 2 * domain.log().count("has ended: "), 60,
                   "the end of the captures")


def kinds(capture, port):
    """What passed on connections to that port, and between the client's and it."""
    return [(packet.outgoing, packet.op, packet.virtio) for packet in capture.packets
            if port in (packet.source[1], packet.target[1])]


class Frames(CaptureCase):
    """On all platforms."""

    def script(self):
        """Each type of frame."""
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 100, port=1000)
        self.connect(client, server, 1, port=1000)
        client.do("send", 1, len=1000), server.do("check", 1, len=1000, max=MIB)
        client.do("shutdown", 1), server.do("check", 1, len=0, max=MIB)  # half-close
        server.do("send", 1, len=10), client.do("check", 1, len=10, max=MIB)
        server.do("close", 1), client.do("close", 1)
        self.connect(client, server, 2, port=1000)
        sending = client.begin("send", 2, len=2 * MIB)
        server.do("check", 2, len=2 * MIB, max=MIB)  # credit
        sending.result()
        client.do("send", 2, len=5), server.do("recv", 2, max=1)
        server.do("close", 2)  # with data unread: a reset
        wait_until(lambda: not any(one["local_port"] == 1000 for one in self.b.status()["connections"]), 60, "the reset")
        client.do("close", 2)
        server.do("unlisten", 100)
        with self.assertRaises(OSError):
            client.do("connect", 3, domid=self.b.domid, port=1001)
        server.do("listen", 100, name=NAME, type="seqpacket")
        self.connect(client, server, 4, "seqpacket", name=NAME)
        sending = client.begin("send", 4, len=200000)  # in parts
        server.do("recv", 4, max=MIB)
        sending.result()
        client.do("close", 4), server.do("close", 4), server.do("unlisten", 100)

    def check_types(self, packets):
        """packets: as a sees them."""
        seen = {(packet.outgoing, packet.op, packet.virtio, packet.flags) for packet in packets}
        for outgoing, op, virtio, flags in (
                (True, "CONTROL", "", None), (False, "CONTROL", "", None), (True, "CONNECT", "REQUEST", 0),
                (False, "CONNECT", "RESPONSE", 0), (False, "DISCONNECT", "RST", 0), (True, "PAYLOAD", "RW", 0),
                (True, "PAYLOAD", "RW", 1), (False, "PAYLOAD", "RW", 0), (False, "CONTROL", "CREDIT_UPDATE", 0),
                (True, "DISCONNECT", "SHUTDOWN", 2)):
            self.assertIn((outgoing, op, virtio, flags), seen)
        words = [packet.comment for packet in packets]
        for beginning in ("HELLO domain %d " % self.a.domid, "HELLO domain %d " % self.b.domid, "CONNECT_req id ",
                          "CONNECT_rsp id ", "CONNECT_rsp refused: nothing listens", "DISCONNECT_ind NO_MORE_DATA",
                          "DATA_ind of a message of 200000 bytes", "BYE: "):
            self.assertTrue(any(text.startswith(beginning) for text in words), (beginning, words))
        self.assertTrue(any("DISCONNECT_ind" in text and "RESET" in text for text in words), words)
        self.assertTrue(any("service " + NAME in text for text in words if text.startswith("CONNECT_req")), words)
        self.assertTrue(any("service " + NAME in text for text in words if text.startswith("CONNECT_rsp")), words)

    def check_both_sides(self, ours, theirs):
        """What one has sent, the other has received: the same frames, in the same order."""
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            def passed(capture, outgoing):
                return [one._replace(time=0, outgoing=True, comment="") for one in capture.packets if one.outgoing == outgoing]
            sent, received = passed(sender, True), passed(receiver, False)
            for one, other in zip(sent, received):
                self.assertEqual(one._replace(source=0, target=0), other._replace(source=0, target=0))
            self.assertLessEqual(len(sent) - len(received), 1)  # a last BYE may find nobody

    def test_each_type(self):
        begin = time.time_ns()
        captures = [self.capture(domain) for domain in (self.a, self.b)]
        self.script()
        self.b.stop()
        wait_until(lambda: self.a.status()["links"][0]["state"] in ("down", "backoff", "waiting"), 60, "the end of the link")
        ours, _ = self.finish(captures[0])
        theirs, _ = self.result(captures[1], 1)
        self.b.start(*self.options)
        self.check_types(ours.packets)
        self.check_both_sides(ours, theirs)
        self.assertIn("link_mgr has ended", theirs.end[2])
        self.assertEqual(ours.end[:2], (len(ours.packets), 0))
        self.assertTrue(all(packet.data == b"" for packet in ours.packets))
        self.assertEqual(sum(one.length for one in ours.packets if one.target == self.end_point(self.b, 1000)), 1005 + 2 * MIB)
        times = [packet.time for packet in ours.packets]
        self.assertEqual(times, sorted(times))
        if self.world.local_files:
            self.assertTrue(begin <= times[0] and times[-1] <= time.time_ns())
            self.assertTrue(any(one % 1000000 for one in times))
        own = self.a.domid + 2
        for packet in ours.packets:
            self.assertEqual((packet.source if packet.outgoing else packet.target)[0], own)


class Commands(CaptureCase):
    platforms = ("local",)

    def echo(self, port=80, text=b"some words"):
        """One connection, over which that passes."""
        listener = self.b.spawn(["idc", "cat", "--listen", "--port", str(port)])
        listener.close_stdin()
        self.a.run(["idc", "wait", str(self.b.domid), str(port)])
        done = self.a.run(["idc", "cat", "--send-only", str(self.b.domid), str(port)], input=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        listener.communicate()

    def test_data(self):
        for option, wanted in (("--data", b"some words"), ("--data=4", b"some"), ("--port=81", b"")):
            capture = self.capture(self.b, option, *(["--port", "80"] if option != "--port=81" else []))
            self.echo()
            found, err = self.finish(capture, signal.SIGTERM)
            self.assertEqual(b"".join(packet.data for packet in found.packets), wanted)
            if option == "--port=81":
                self.assertEqual(found.packets, [])
            else:
                self.assertEqual({packet.op for packet in found.packets}, {"CONNECT", "PAYLOAD", "DISCONNECT"})
            self.assertIn("%d frames, 0 more were lost" % len(found.packets), err)

    def test_only_one_peer(self):
        other = str(self.c.domid)
        captures = [self.capture(self.a, "--peer", domid) for domid in (str(self.b.domid), other)]
        self.echo()
        self.assertGreater(len(self.finish(captures[0])[0].packets), 4)
        self.assertEqual(self.finish(captures[1])[0].packets, [])

    def test_own_domain(self):
        """Connections within the domain are not captured, and that is said."""
        done = self.a.run(["idc", "capture", "--peer", "self"])
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"connections within a domain have no link", done.stderr)
        capture = self.capture(self.a)
        listener = self.a.spawn(["idc", "cat", "--listen", "--port", "80"])
        listener.close_stdin()
        self.a.run(["idc", "wait", "self", "80"])
        self.a.run(["idc", "cat", "--send-only", "self", "80"], input=b"x")
        listener.communicate()
        found, _ = self.finish(capture)
        self.assertEqual(found.packets, [])
        self.assertIn("connections within the domain", found.comment)

    def test_count_and_file(self):
        path = os.path.join(self.world.directory, "x.pcapng")
        capture = self.capture(self.a, "-c", "5", "-w", path)
        self.echo()
        _, err = capture.communicate(b"")
        self.assertEqual(capture.returncode, 0, err)
        with open(path, "rb") as stream:
            found = pcapng.parse(stream.read())
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        os.unlink(path)
        self.assertEqual((len(found.packets), found.end[:2]), (5, (5, 0)))

    def test_who_may(self):
        if not self.world.can_change_uid:
            self.skipTest("needs another uid")
        for uid in (4242, 1):
            done = self.a.run(["idc", "capture"], uid=uid)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertEqual(done.stderr, b"idc capture: only root, and the user that link_mgr runs as, may capture what "
                             b"passes on links\n")
        self.assertNotIn("a capture of uid", self.a.log())

    def test_as_many_as_may_be(self):
        """The places of those that were killed are free again."""
        for _ in range(2):
            captures = [self.capture(self.a) for _ in range(4)]
            done = self.a.run(["idc", "capture"])
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertIn(b"4 captures are under way", done.stderr)
            for capture in captures:
                capture.kill()
                capture.wait()
            self.no_captures(self.a)


class Lost(CaptureCase):
    """A reader that does not read in time."""
    platforms = ("local",)

    def flood(self, count=16):
        sink, source = self.b.puppet(), self.a.puppet()
        sink.do("listen", 100, port=80)
        self.connect(source, sink, 1, port=80)
        sending = source.begin("send", 1, len=count * MIB)
        sink.do("check", 1, len=count * MIB, max=MIB)
        sending.result()
        for puppet in (source, sink):
            puppet.do("close", 1)

    def test_each_is_counted(self):
        """With what was lost, there are as many frames as the link has counted."""
        capture = self.capture(self.a, "--data")
        capture.kill(signal.SIGSTOP)
        self.flood()
        link = self.a.status()["links"][0]
        capture.kill(signal.SIGCONT)
        found, err = self.finish(capture)
        received, lost, text = found.end
        self.assertGreater(lost, 0)
        self.assertEqual(len(found.packets) + lost, received)
        self.assertGreaterEqual(received, link["frames_sent"] + link["frames_received"])
        self.assertLessEqual(received, sum(self.a.status()["links"][0][key] for key in ("frames_sent", "frames_received")))
        self.assertGreaterEqual(lost, sum(packet.lost for packet in found.packets))
        self.assertIn("%d frames, %d more were lost" % (len(found.packets), lost), text)
        self.assertIn(text, err)

    def test_killed_while_it_does_not_read(self):
        capture = self.capture(self.a, "--data")
        capture.kill(signal.SIGSTOP)
        self.flood()
        capture.kill()
        capture.wait()
        self.no_captures(self.a)

    def test_a_reader_behind_it_that_never_reads(self):
        """Ctrl-C ends it all the same, and says that the end is missing."""
        pipe = os.path.join(self.world.directory, "pipe")
        os.mkfifo(pipe, 0o666)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.unlink, pipe)
        self.addCleanup(os.close, reader)
        capture = self.capture(self.a, "--data", "-w", pipe)
        self.flood(4)
        capture.kill(signal.SIGINT)
        _, err = capture.communicate(b"", 60)
        self.assertEqual(capture.returncode, 1, err)
        self.assertIn(b"nobody reads the output", err)
        self.no_captures(self.a)

    def test_disk_full(self):
        path = os.path.join(self.world.directory, "full.pcapng")
        capture = self.a.spawn(["sh", "-c", "ulimit -f 100; exec %s capture --data -w %s" % (
            self.world.find_program("idc"), path)])
        self.assertIn(b"frames on links", capture.stderr.readline(60))
        self.flood(4)
        _, err = capture.communicate(b"", 60)
        self.assertEqual(capture.returncode, 1, err)
        self.assertIn(b"cannot write " + path.encode(), err)
        with open(path, "rb") as stream:
            found = pcapng.parse(stream.read())
        os.unlink(path)
        self.assertIsNone(found.end)
        self.assertGreaterEqual(len(found.packets), 2)
        self.no_captures(self.a)

    def test_link_mgr_is_killed_and_starts_again(self):
        capture = self.capture(self.a)
        self.a.kill()
        found, err = self.result(capture, 1)
        self.assertIn("link_mgr was lost", found.end[2])
        self.assertIn("link_mgr was lost", err)
        self.a.start(*self.options)
        self.finish(self.capture(self.a))

    def test_link_mgr_stands_still(self):
        """The file is whole all the same."""
        capture = self.capture(self.a)
        self.a.freeze()
        capture.kill(signal.SIGTERM)
        found, _ = self.result(capture, 1)
        self.assertIn("did not say how many were lost", found.end[2])
        self.a.thaw()


class Tshark(CaptureCase):
    """tshark reads it, from a pipe and from a file, and knows each field."""
    platforms = ("local",)
    FIELDS = ("frame.protocols", "vsock.src_cid", "vsock.dst_cid", "vsock.src_port", "vsock.dst_port", "vsock.op",
              "vsock.virtio.op", "vsock.virtio.flags", "vsock.virtio.buf_alloc", "vsock.virtio.type", "frame.comment")

    def setUp(self):
        if shutil.which("tshark") is None:
            raise unittest.SkipTest("there is no tshark")
        super().setUp()

    def wanted(self, packet):
        optional = ["" if value is None else value for value in (
            {name: code for code, name in pcapng.VIRTIO.items()}[packet.virtio],
            packet.flags if packet.flags is None else "0x%08x" % packet.flags, packet.credit, packet.type)]
        operation = {name: code for code, name in pcapng.OPERATIONS.items()}[packet.op]
        return ["vsock", packet.source[0], packet.target[0], packet.source[1], packet.target[1], operation, *optional,
                packet.comment]

    def test_file_and_pipe(self):
        path = os.path.join(self.world.directory, "t.pcapng")
        to_file = self.capture(self.a, "-w", path)
        fields = " ".join("-e " + field for field in self.FIELDS)
        live = self.a.spawn(["sh", "-c", "%s capture -w - | HOME=/nonexistent tshark -l -i - -c 10 -T fields %s" % (
            self.world.find_program("idc"), fields)])
        wait_until(lambda: b"Capturing on" in live.stderr.pending(), 60 * self.world.slowness, "tshark")
        Frames.script(self)
        out, err = live.communicate(b"", 60 * self.world.slowness)  # idc capture ends with its reader
        to_file.kill(signal.SIGINT)
        to_file.communicate(b"", 60)
        with open(path, "rb") as stream:
            packets = pcapng.parse(stream.read()).packets
        done = subprocess.run(["tshark", "-r", path, "-T", "fields"] + fields.split(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=True, env={**os.environ, "HOME": "/nonexistent"})
        os.unlink(path)
        wanted = ["\t".join(str(value) for value in self.wanted(packet)) for packet in packets]
        self.assertEqual(done.stdout.decode().splitlines(), wanted)
        self.assertEqual(out.decode().splitlines(), wanted[:10], err)
        self.assertEqual({packet.op for packet in packets}, set(pcapng.OPERATIONS.values()))
