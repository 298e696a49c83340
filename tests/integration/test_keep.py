# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that open a connection to link_mgr for each call: `idc rpc` and curl, a process for each call, and the scripts of
docs/rpc.md as they stand there. Their handles outlive the connections (keep_ms), for their own uid alone, and for their time."""

import errno
import json
import os
import shutil
import signal

from case import KEEP_LINKS, IdcTestCase
from world import ROOT, wait_until

ALL_BYTES = bytes(range(256))
OWNER, OTHER = 1000, 4242
PATIENT = "timeout_ms=240000"  # for a link on a slow machine


def documented(first_line):
    """The indented block of docs/rpc.md that begins with this line."""
    with open(os.path.join(ROOT, "docs", "rpc.md"), encoding="utf-8") as document:
        text = document.read()
    block = text[text.index("    %s\n" % first_line):]
    return "".join(line[4:] + "\n" for line in block[:block.index("\n\n")].splitlines())


class RpcCase(IdcTestCase):
    def tearDown(self):
        """Kept handles would be there for their time."""
        for domain in self.world.domains:
            if domain.daemon:
                self.close_handles(domain)

    def close_handles(self, domain):
        with domain.rpc() as call:
            for one in call.whole_status().get("handles", []):
                (call.unlisten if one["listener"] else call.disconnect)({"handle": one["handle"]})

    def rpc(self, domain, method, *members, input=b"", status=0, uid=0):  # pylint: disable=redefined-builtin
        """What one process of idc rpc prints. It must end with this status, and what is no answer has a line of text."""
        result = domain.run(["idc", "rpc", method, *members], input, uid=uid)
        self.assertEqual(result.returncode, status, result)
        self.assertEqual(result.stderr.count(b"\n"), 0 if status == 0 else 1, result)
        return json.loads(result.stdout) if result.stdout else None

    def handle(self, domain, method, *members, **named):
        return "handle=%d" % self.rpc(domain, method, *members, **named)["handle"]

    def fault(self, code, words, domain, method, *members, **named):
        answer = self.rpc(domain, method, *members, status=1, **named)
        self.assertEqual(answer["faultCode"], code, answer)
        self.assertIn(words, answer["faultString"])
        return answer

    def receive(self, domain, handle, length):
        """That many bytes, by as many calls as it takes."""
        got = b""
        while len(got) < length:
            result = domain.run(["idc", "rpc", "--get", "data", "recv", handle, "max=%d" % min(length - len(got), 1 << 20)])
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertTrue(result.stdout, "the end, after %d bytes" % len(got))
            got += result.stdout
        return got

    def joined(self, keep="keep_ms=600000"):
        """Handles of a listener in b, and of the ends of a connection in a and b."""
        listener = self.handle(self.b, "listen", "port=3000", "keep_ms=600000")
        near = self.handle(self.a, "connect", "domid=%d" % self.b.domid, "port=3000", keep, PATIENT)
        return listener, near, self.handle(self.b, "accept", listener)

    def serve_echo(self, port):
        self.b.spawn(["idc", "cat", "-l", "-k", "--port", str(port), "-c", "cat"])
        wait_until(lambda: any(one["port"] == port for one in self.b.status()["listeners"]), what="the echo listens")

    def shell(self, script, port):
        """The words of a script that finds idc, with this test's domain and port in place of the document's."""
        script = script.replace("domid=3", "domid=%d" % self.b.domid).replace("port=80", "port=%d" % port)
        return ["sh", "-euc", 'PATH="$1:$PATH"\n' + script, "sh", getattr(self.world, "programs", "/usr/bin")]


class Keep(RpcCase):
    def test_words_that_are_no_text(self):
        for words in (("connect", b"name=\xff"), ("listen", b"name=\xff"), ("resolve", b"domain=\xff"), ("send", b"name=\xff"),
                      ("system.methodHelp", b"\xff")):
            with self.subTest(words):
                self.rpc(self.a, *words, status=2)

    def test_documented_client(self):
        self.serve_echo(3001)
        result = self.a.run(self.shell(documented("# say hello, and show what the other side answers"), 3001))
        self.assertEqual((result.stdout, result.stderr, result.returncode), (b'{"accepted": 5}\nhello{}\n', b"", 0))
        self.assertEqual(self.a.status()["handles"], [])

    def test_documented_service(self):
        """Its client goes by another way. The shell is killed in its idc rpc accept, and what it had made ends with its time."""
        service = self.b.spawn(self.shell(documented("# a service that answers in capitals"), 3002))
        wait_until(lambda: any(one["port"] == 3002 for one in self.b.status()["listeners"]), what="the service listens")
        for text in b"hello", b"again", b"a third time":
            self.assertEqual(self.a.run(["idc", "cat", str(self.b.domid), "3002"], text).stdout, text.upper())
        wait_until(lambda: [one["left_ms"] for one in self.b.status()["handles"]] == [-1], what="only accept waits")
        service.kill_session()
        wait_until(lambda: all(one["left_ms"] > 0 for one in self.b.status()["handles"]), what="its time runs")
        handle, = self.b.status()["handles"]
        self.assertEqual((handle["listener"], handle["keep_ms"], handle["port"]), (True, 600000, 3002))
        self.rpc(self.b, "unlisten", "handle=%d" % handle["handle"])
        self.assertEqual([one["port"] for one in self.b.status()["listeners"]], [1])

    def test_a_process_for_each_call(self):
        listener, near, far = self.joined()
        data = ALL_BYTES * 4000  # more than a connection holds: the sender waits, and the rest is sent
        sending = self.a.spawn(["idc", "rpc", "send", near, "data=@-", "end=true"])
        sending.write(data)
        sending.close_stdin()
        self.assertEqual(self.receive(self.b, far, len(data)), data)
        self.assertEqual((sending.wait(), json.loads(sending.stdout.read_all(60))), (0, {"accepted": len(data)}))
        self.assertEqual(self.rpc(self.b, "recv", far), {"data": "", "end": True})
        self.assertEqual(self.rpc(self.b, "send", far, "data=hello"), {"accepted": 5})
        self.assertEqual(self.rpc(self.a, "recv", near, "max=2"), {"data": "aGU="})
        self.assertEqual(self.rpc(self.a, "recv", near), {"data": "bGxv"})
        self.fault(errno.EAGAIN, "nothing to receive", self.a, "recv", near, "timeout_ms=0")
        self.rpc(self.b, "disconnect", far)
        self.assertEqual(self.rpc(self.a, "recv", near), {"data": "", "end": True})
        self.rpc(self.a, "disconnect", near)
        self.rpc(self.b, "unlisten", listener)
        self.fault(errno.EBADF, "any more: it was closed", self.b, "accept", listener)

    def test_messages(self):
        listener = self.handle(self.b, "listen", "name=org.example.messages", "type=seqpacket", "keep_ms=600000")
        near = self.handle(self.a, "connect", "domid=%d" % self.b.domid, "name=org.example.messages", "type=seqpacket",
                           PATIENT)
        far = self.handle(self.b, "accept", listener)
        for length in 1, 300000:
            message = (ALL_BYTES * 1200)[:length]
            self.assertEqual(self.rpc(self.a, "send", near, "data=@-", input=message), {"accepted": length})
            got = self.b.run(["idc", "rpc", "--get", "data", "recv", far, "max=1000000"]).stdout
            self.assertEqual(got, message)

    def test_nobody_is_connected(self):
        """What is sent meanwhile waits, as much as a connection holds; the sender does not get rid of more, and nothing is lost."""
        _, near, far = self.joined()
        data = ALL_BYTES * 12000
        sending = self.a.spawn(["idc", "rpc", "send", near, "data=@-", "timeout_ms=-1"])
        sending.write(data)
        sending.close_stdin()

        def stands():
            amounts = [sum(one["bytes_received"] for one in self.b.status()["connections"]) for _ in range(2)]
            return amounts[0] > 0 and amounts[0] == amounts[1]
        wait_until(stands, what="the sender is held up")
        self.assertIsNone(sending.returncode)
        self.assertLess(sum(one["bytes_received"] for one in self.b.status()["connections"]), len(data) // 2)
        self.assertEqual(self.receive(self.b, far, len(data)), data)
        self.assertEqual(sending.wait(), 0)

    def test_killed_in_a_call(self):
        """Half a call takes nothing away: neither data nor a connection."""
        listener, near, far = self.joined()
        for method, handle in (("recv", far), ("accept", listener)):
            waiting = [self.b.spawn(["idc", "rpc", method, handle]) for _ in range(3)]
            wait_until(lambda: self.b.status()["counters"]["rpc_calls_now"] == 4, what="they wait")
            for one in waiting:
                one.kill(signal.SIGKILL)
            wait_until(lambda: self.b.status()["counters"]["rpc_calls_now"] == 1, what="they are gone")
        self.rpc(self.a, "send", near, "data=hello")
        self.assertEqual(self.receive(self.b, far, 5), b"hello")
        other = self.handle(self.a, "connect", "domid=%d" % self.b.domid, "port=3000")
        self.rpc(self.a, "send", other, "data=other")
        self.assertEqual(self.receive(self.b, self.handle(self.b, "accept", listener), 5), b"other")

    def test_two_connections_at_once(self):
        """Calls of several processes wait on one handle, and are served in their order; one of them closes it."""
        _, near, far = self.joined()
        waiting = []
        for count in range(2, 5):
            waiting.append(self.b.spawn(["idc", "rpc", "--get", "data", "recv", far, "max=5"]))
            wait_until(lambda: self.b.status()["counters"]["rpc_calls_now"] == count, what="it waits")  # pylint: disable=cell-var-from-loop
        self.rpc(self.a, "send", near, "data=helloworld")
        for process, data in zip(waiting, (b"hello", b"world")):
            self.assertEqual((process.wait(), process.stdout.read_all(60)), (0, data))
        self.rpc(self.b, "disconnect", far)
        self.assertEqual(waiting[2].wait(), 1)
        self.assertIn(b"EBADF", waiting[2].stderr.read_all(60))

    def test_time_is_up(self):
        """While a call waits no time passes, however short it is. The other side sees the end as of any client."""
        server = self.b.puppet()
        server.do("listen", 101, port=3003)
        waiting = self.a.rpc()
        made = self.a.rpc()
        near = made.connect({"domid": self.b.domid, "port": 3003, "keep_ms": 1, "timeout_ms": 240000})["handle"]
        server.do("accept", 101, 1)
        server.do("send", 1, len=5, seed=1)
        self.assertEqual(len(waiting.recv({"handle": near})["data"].data), 5)
        reading = self.a.spawn(["idc", "rpc", "recv", "handle=%d" % near])
        wait_until(lambda: self.a.status()["counters"]["rpc_calls_now"] == 2, what="it waits")
        made.close()
        wait_until(lambda: self.a.status()["counters"]["rpc_handles_kept_now"] == 1, what="the handle is kept")
        server.do("send", 1, len=5, seed=1)
        self.assertEqual(reading.wait(), 0)
        self.assertEqual(server.do("recv", 1, max=1)["n"], 0)
        self.fault(errno.EBADF, "its time (keep_ms) is up", self.a, "recv", "handle=%d" % near)
        waiting.close()

    def test_restart(self):
        """All handles are gone, and that is told. No number of before means a new connection."""
        listener, near, far = self.joined()
        self.b.kill()
        self.b.start(*self.options)
        self.joined()
        for method, handle in (("accept", listener), ("recv", far), ("disconnect", far)):
            self.fault(errno.EBADF, "has not given it out; handles end with link_mgr", self.b, method, handle)
        self.fault(errno.ECONNRESET, "", self.a, "recv", near)

    def test_bad_input(self):
        domid = "domid=%d" % self.b.domid
        for members in (["keep_ms=600001"], ["keep_ms=-1"], ["keep_ms=99999999999"]):
            self.fault(errno.EINVAL, "must be 0 to 600000", self.a, "connect", domid, "port=1", *members)
        self.fault(errno.ENOSYS, "no method", self.a, "frobnicate")
        self.fault(errno.EINVAL, "unknown member", self.a, "domid", "port=1")
        self.fault(errno.ECONNREFUSED, "", self.a, "connect", domid, "port=3999")
        for words in ([], ["connect", "port"], ["connect", "colour=red"], ["connect", "port=high"], ["connect", "keep_ms=soon"],
                      ["connect", "port=1", "port=2"], ["connect", "wait=perhaps"], ["connect", "fd=true"], ["--what", "domid"]):
            result = self.a.run(["idc", "rpc", *words])
            self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (2, b"", 1), result)
        for words in (["send", "handle=1", "data=@/nonexistent/file"], ["--get", "colour", "domid"], ["--get", "domid", "recv", "handle=1"]):
            result = self.a.run(["idc", "rpc", *words])
            self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (1, b"", 1), result)
        result = self.a.run(["idc", "--socket", "/nonexistent", "rpc", "domid"])
        self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (1, b"", 1), result)
        self.assertEqual(self.a.status()["handles"], [])

    def test_help_has_every_method(self):
        text = self.a.run(["idc", "rpc", "--help"]).stdout.decode()
        for method in self.rpc(self.a, "system.listMethods"):
            if method.startswith("idc.") and method != "idc.capture":  # it needs an upgraded connection
                self.assertRegex(text, r"(?m)^  (.*, )?%s\b" % method[len("idc."):])
                self.assertIn("In:", self.rpc(self.a, "system.methodHelp", method))


class AnotherUser(RpcCase):
    options = KEEP_LINKS + ("--quota", "handles=12")

    def setUp(self):
        super().setUp()
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")

    def test_uses(self):
        """What outlives its connection is still its user's alone, and root's."""
        listener = self.handle(self.b, "listen", "port=3000", "keep_ms=600000")
        near = self.handle(self.a, "connect", "domid=%d" % self.b.domid, "port=3000", PATIENT, uid=OWNER)
        far = self.handle(self.b, "accept", listener)
        own = self.handle(self.a, "listen", "port=3001", uid=OWNER)
        self.rpc(self.b, "send", far, "data=secret")
        before = {one["handle"]: one["left_ms"] for one in self.a.status()["handles"]}
        for method, members in (("recv", [near]), ("send", [near, "data=forged"]), ("disconnect", [near]),
                                ("accept", [own, "timeout_ms=0"]), ("unlisten", [own])):
            self.fault(errno.EACCES, "belongs to another uid", self.a, method, *members, uid=OTHER)
        self.assertEqual(self.rpc(self.a, "status", uid=OTHER)["handles"], [])
        self.assertEqual(len(self.rpc(self.a, "status", uid=OWNER)["handles"]), 2)
        after = {one["handle"]: one["left_ms"] for one in self.a.status()["handles"]}
        self.assertEqual(before.keys(), after.keys())
        self.assertTrue(all(after[one] <= before[one] for one in before), "their calls were none on it")
        self.assertEqual(self.rpc(self.a, "recv", near, uid=OWNER), {"data": "c2VjcmV0"})
        self.rpc(self.b, "send", far, "data=more")
        self.assertEqual(self.rpc(self.a, "recv", near), {"data": "bW9yZQ=="})  # root may

    def test_a_flood(self):
        """One user's kept handles end at its quota, others have theirs, and all of it is over when the time is."""
        self.serve_echo(3001)
        made, target = 0, ("domid=%d" % self.b.domid, "port=3001", PATIENT)
        for _ in range(20):
            result = self.a.run(["idc", "rpc", "connect", *target, "keep_ms=600000"], uid=OTHER)
            made += result.returncode == 0
            if result.returncode:
                self.assertIn(b"has as many handles as one user may have, 12", result.stderr)
        self.assertEqual(made, 12)
        near = self.handle(self.a, "connect", *target, uid=OWNER)
        self.rpc(self.a, "send", near, "data=hello", uid=OWNER)
        self.assertEqual(self.rpc(self.a, "recv", near, uid=OWNER), {"data": "aGVsbG8="})
        self.close_handles(self.a)
        for _ in range(12):
            self.handle(self.a, "connect", *target, "keep_ms=1", uid=OTHER)
            wait_until(lambda: self.a.status()["counters"]["rpc_handles_now"] == 0, what="its time is up")


class Curl(RpcCase):
    platforms = ("local",)

    def test_documented_client(self):
        if not shutil.which("curl"):
            self.skipTest("no curl")
        self.serve_echo(3001)
        script = documented("# say hello by curl, and show the answer")
        script = script.replace("/run/idc/rpc.sock", self.a.socket).replace("<int>3</int>", "<int>%d</int>" % self.b.domid)
        result = self.a.run(["sh", "-euc", script.replace("<int>80</int>", "<int>3001</int>")])
        self.assertEqual((result.stdout, result.stderr, result.returncode), (b"5hello", b"", 0))
        self.assertEqual(self.a.status()["handles"], [])
