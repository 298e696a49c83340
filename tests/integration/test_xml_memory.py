# SPDX-License-Identifier: GPL-2.0-or-later
"""Each allocation of link_mgr fails once while it serves a call over HTTP and XML: those of libmicrohttpd, of xmlrpc-c, and its own.

The calls stand for all that these libraries do: every type of value in and out, faults, documents that are refused, system.*,
and a body that comes in pieces. For each call, first the allocations are counted. Then the call is made again and again, and the
first, second, third ... of them fails (tests/programs/faults.c). Nothing worse may happen than that this call is not answered,
or answered with an error. So after each one link_mgr serves the next client, and in the end nothing of it is left over.

`make check-asan` runs this too: then the address sanitizer watches what is done with memory that was not there. It does not look
for leaks, since the C library's regcomp, which xmlrpc-c calls, leaks where its own allocations fail."""

import base64
import os
import socket
import xmlrpc.client
from xml.parsers.expat import ExpatError

from case import IdcTestCase
from test_faults import Control

LIMIT_S = 60
WAIT_MS = 10000  # for what a failure has prevented
MORE = 3      # allocations beyond those that were counted: not every time there are as many
PIECE = 1000  # bytes of a body that comes in pieces


def value(inner):
    return "<value>%s</value>" % inner


def member(name, inner):
    return "<member><name>%s</name>%s</member>" % (name, value(inner))


def struct(*members):
    return "<struct>%s</struct>" % "".join(members)


def array(*inner):
    return "<array><data>%s</data></array>" % "".join(value(one) for one in inner)


def call(method, *inner):
    return ("<?xml version=\"1.0\"?><methodCall><methodName>%s</methodName><params>%s</params></methodCall>" % (
        method, "".join("<param>%s</param>" % value(one) for one in inner))).encode()


def part(method, *inner):
    return struct(member("methodName", "<string>%s</string>" % method), member("params", array(*inner)))


ALL_TYPES = array("<int>-1</int>", "<i4>5</i4>", "<i8>5000000000</i8>", "<ex:i8>6</ex:i8>", "<i1>1</i1>", "<i2>2</i2>", "<nil/>", "<ex:nil/>",
                  "<boolean>1</boolean>", "<double>1.5e3</double>", "<dateTime.iso8601>20260101T00:00:00</dateTime.iso8601>",
                  "<string>&lt;&#228;&amp;\u00e4\u20ac&gt;</string>", "no type", "", "<base64>%s</base64>" % base64.b64encode(bytes(300)).decode(),
                  struct(member("a", array(struct(member("b", "1"))))), "<![CDATA[<x>]]>")
DEEP = "".join("<array><data><value>" for _ in range(15)) + "".join("</value></data></array>" for _ in range(15))
STATUS = call("idc.status")
LISTEN = call("idc.listen", struct(member("port", "<int>0</int>"), member("name", "<string>org.example.lack</string>")))
SMALL = call("idc.reason", struct(member("serial", "<i8>99999999999</i8>")))


class Client:
    """One HTTP connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(path)
        self.got = b""

    def send(self, body, head="Host: idc\r\n", piece=0):
        request = ("POST /RPC2 HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (head, len(body))).encode() + body
        try:
            for start in range(0, len(request), piece or len(request)):
                self.socket.sendall(request[start:start + (piece or len(request))])
        except BrokenPipeError:
            pass  # it was closed at once

    def answer(self):
        """(code of HTTP, body); (0, b"") if it was closed without one."""
        try:
            while b"\r\n\r\n" not in self.got:
                self._more()
            head, _, body = self.got.partition(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            while len(body) < length:
                self.got = b""
                self._more()
                body += self.got
            self.got = body[length:]
            return int(head.split()[1]), body[:length]
        except (ConnectionError, EOFError):
            return 0, b""

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.got += data

    def ask(self, body, **options):
        self.send(body, **options)
        return self.answer()

    def close(self):
        self.socket.close()


def result(answer):
    """What a call returned; raises Fault."""
    return xmlrpc.client.loads(answer[1])[0][0]


class XmlMemory(IdcTestCase):
    platforms = ("local",)
    roles = "a"
    timeout = 1200

    def setUp(self):
        super().setUp()
        with open(os.path.join(self.world.build_dir, "link_mgr"), "rb") as stream:
            program = stream.read()
        if not program.startswith(b"\x7fELF") or b"__tsan_" in program:
            self.skipTest("its memory is another's")
        self.control = Control(os.path.join(self.world.directory, "faults-xml"))
        self.a.stop()
        self.begin_faulty()

    def begin_faulty(self):
        argv = ["link_mgr"] + self.world.daemon_options(self.a, self.options)
        library = os.path.join(self.world.programs, "tests", "libfaults.so")
        environment = {**self.control.environment(library), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        self.a.daemon = self.a.spawn_program(argv, environment, 0)
        self.a._daemons.append(self.a.daemon)
        self.a.wait_ready()

    # ---- the calls: each is a function that makes one call on a new connection, and returns its answer ----

    def whole(self, body, **options):
        def make():
            client = Client(self.a.socket)
            answer = client.ask(body, **options)
            client.close()
            return answer
        return make

    def several(self, *bodies):
        """One after the other on one connection; the answer to the last."""
        def make():
            client = Client(self.a.socket)
            answer = 0, b""
            for body in bodies:
                answer = client.ask(body)
            client.close()
            return answer
        return make

    def pair_of_handles(self):
        """Connects within the domain, accepts, sends and receives: with the handles that there were."""
        client = Client(self.a.socket)
        try:
            listener = result(client.ask(LISTEN))
            connected = result(client.ask(call("idc.connect", struct(
                member("domid", "<int>32752</int>"), member("port", "<i8>%d</i8>" % listener["port"])))))
            accepted = result(client.ask(call("idc.accept", struct(
                member("handle", "<int>%d</int>" % listener["handle"]), member("timeout_ms", "<int>%d</int>" % WAIT_MS)))))
            data = base64.b64encode(bytes(5000)).decode()
            result(client.ask(call("idc.send", struct(member("handle", "<int>%d</int>" % connected["handle"]), member("end", "<boolean>1</boolean>"),
                                                      member("data", "<base64>%s</base64>" % data)))))
            answer = client.ask(call("idc.recv", struct(member("handle", "<int>%d</int>" % accepted["handle"]),
                                                        member("timeout_ms", "<int>%d</int>" % WAIT_MS))))
            client.ask(call("idc.disconnect", struct(member("handle", "<int>%d</int>" % connected["handle"]))))
            client.ask(call("idc.unlisten", struct(member("handle", "<int>%d</int>" % listener["handle"]))))
            return answer
        except (xmlrpc.client.Fault, ExpatError):
            return 0, b""
        finally:
            client.close()

    def calls(self):
        multicall = call("system.multicall", array(part("idc.status"), part("idc.listen", struct(member("port", "<int>0</int>"))),
                                                   part("idc.nothing"), part("idc.recv", struct(member("handle", "<int>77</int>")))))
        return {
            "status": self.whole(STATUS),
            "status of an old client": self.whole(STATUS, head="Host: x\r\nConnection: close\r\nUser-Agent: x\r\n"),
            "several on one connection": self.several(SMALL, STATUS, SMALL),
            "in pieces": self.whole(call("idc.listen", struct(member("name", "<string>%s</string>" % ("x" * 5000)))), piece=PIECE),
            "listen": self.whole(LISTEN),
            "connections": self.pair_of_handles,
            "a fault": self.whole(SMALL),
            "no such method": self.whole(call("idc.nothing", "<int>1</int>")),
            "all types": self.whole(call("idc.status", ALL_TYPES, ALL_TYPES)),
            "all types in a member": self.whole(call("idc.listen", struct(member("port", ALL_TYPES)))),
            "deep": self.whole(call("idc.status", DEEP)),
            "wide": self.whole(call("idc.status", array(*["<int>1</int>"] * 40))),
            "malformed": self.whole(STATUS[:-20]),
            "no XML": self.whole(b"hello"),
            "no call": self.whole(b"<?xml version='1.0' encoding='UTF-8'?><a b='c'><d/>&lt;<!-- e --></a>"),
            "wrong entity": self.whole(call("idc.status", "&nothing;")),
            "wrong number": self.whole(call("idc.status", "<int>x</int>")),
            "wrong base64": self.whole(call("idc.status", "<base64>?</base64>")),
            "wrong UTF-8": self.whole(b"<?xml version='1.0'?><methodCall><methodName>\xff</methodName></methodCall>"),
            "listMethods": self.whole(call("system.listMethods")),
            "methodHelp": self.whole(call("system.methodHelp", "<string>idc.connect</string>")),
            "methodSignature": self.whole(call("system.methodSignature", "<string>idc.connect</string>")),
            "capabilities": self.whole(call("system.capabilities")),
            "multicall": self.whole(multicall),
        }

    # ---- each allocation fails ----

    def counted(self, make):
        before = self.control.calls("malloc")
        make()
        return self.control.calls("malloc") - before

    def next_client(self):
        """link_mgr's answer to the next client; (0, b"") if it has ended."""
        try:
            client = Client(self.a.socket)
        except ConnectionRefusedError:
            return 0, b""
        answer = client.ask(STATUS)
        client.close()
        return answer

    def assert_serves(self, what):
        answer = self.next_client()
        if answer[0] == 0:
            status = self.a.daemon.wait(LIMIT_S)
            self.begin_faulty()  # for the other calls
            self.fail("%s: link_mgr ended with status %d" % (what, status))
        self.assertEqual(answer[0], 200, what)
        self.assertEqual(result(answer)["domid"], self.a.domid, what)

    def fail_each(self, what, make):
        good = make()
        self.assertEqual(good[0], 200, what)
        count = max(self.counted(make), self.counted(make))
        self.assertGreater(count, 0, what)
        answers = {}
        for number in range(1, count + MORE + 1):
            self.control.arm("malloc", number)
            answer = make()
            self.control.disarm()
            answers[answer[0]] = answers.get(answer[0], 0) + 1
            self.assertIn(answer[0], (0, 200, 400, 413, 500, 503), what)
            if answer[0] == 200:
                self.assertTrue(answer[1].rstrip().endswith(b"</methodResponse>"), "%s %d: %r" % (what, number, answer[1][-200:]))
            with self.subTest("%s, allocation %d" % (what, number)):
                self.assert_serves("%s, allocation %d" % (what, number))
        self.assertEqual(make()[0], good[0], what)
        return count, answers

    def test_each_allocation_fails(self):
        total = 0
        for what, make in self.calls().items():
            if os.environ.get("IDC_TEST_CALLS", what) not in what:
                continue
            with self.subTest(what):
                count, answers = self.fail_each(what, make)
                total += count
                print("         %4d allocations: %-28s answers %s" % (count, what, answers))
        print("         %d allocations failed, each once" % total)
