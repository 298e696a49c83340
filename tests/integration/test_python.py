# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python package (python/idc): its own cases (tests/python), each in a process that has both ends; with programs in C and
with ones that know only AF_VSOCK; and what it is told when connections are cut off.

It is run with all of Python's warnings of objects that were not closed, and nothing may be written to stderr. It is not run on
Xen, whose guests have no ctypes, and not where libidc has a sanitizer in it, which Python would have to load first.
"""

import glob
import os
import re
import signal
import subprocess
import sys
import unittest

from test_names import NamesCase
from world import ROOT, wait_until

CASES = os.path.join(ROOT, "tests", "python")
DOCUMENT = os.path.join(ROOT, "docs", "python.md")
PATIENCE = 60


class PythonCase(NamesCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        if not self.world.measures_memory:
            self.skipTest("Python, and a sanitizer or valgrind in libidc, do not go together")
        self.environment = {"LD_LIBRARY_PATH": self.world.programs, "PYTHONPATH": os.path.join(ROOT, "python"),
                            "PYTHONDONTWRITEBYTECODE": "1", "IDC_HERE": self.a.socket, "IDC_THERE": self.b.socket,
                            "IDC_DOMID": str(self.b.domid)}

    def python(self, domain, *words, **options):
        return domain.spawn([sys.executable, "-u", "-W", "always", *words], env=self.environment, **options)

    def script(self, domain, text, *words, **options):
        return self.python(domain, "-c", "import idc, os, sys\n" + text, *words, **options)

    def ends(self, process, out=None, err=b""):
        """With status 0, and this output."""
        said, wrong = process.communicate(b"", PATIENCE * self.world.slowness)
        if (process.returncode, wrong) != (0, err):
            self.fail("%r\n%s\n%s" % (process, said.decode(), wrong.decode()))
        if out is not None:
            self.assertEqual(said, out)
        return said


class Cases(PythonCase):
    """Filled below."""

    def run_case(self, file, name):
        if name == "unicode":
            self.tell(self.a, [(self.b, "b\u00fcro \u2603", None)])
        self.ends(self.python(self.a, os.path.join(CASES, file), name))


def case_method(file, name):
    return lambda self: self.run_case(file, name)


def fill_cases():
    for path in glob.glob(os.path.join(CASES, "*.py")):
        with open(path, encoding="utf-8") as stream:
            for name in re.findall(r"^(?:async )?def case_(\w+)", stream.read(), re.MULTILINE):
                method = "test_%s_%s" % (os.path.basename(path)[:-3], name)
                setattr(Cases, method, case_method(os.path.basename(path), name))


fill_cases()

ECHO = """
with idc.listen(*[int(word) if word.isdigit() else word for word in sys.argv[1:]]) as listener:
    print("ready")
    for connection, peer in listener:
        with connection:
            print(peer)
            while data := connection.recv(65536):
                connection.sendall(data)
"""

ANSWER = """
with idc.listen(80) as listener:
    print("ready")
    connection, peer = listener.accept()
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(b"you said: " + line)
"""

ASK = """
with idc.connect(int(sys.argv[1]), 80) as connection:
    connection.sendall(b"hello from Python\\n")
    connection.shutdown(1)
    print(connection.makefile().read(), end="")
"""

MESSAGES = """
with idc.connect(int(sys.argv[1]), 80, type=idc.SEQPACKET) as connection:
    for size in map(int, sys.argv[2:]):
        connection.send_message(b"x" * size)
        print(len(connection.recv_message()))
"""


class Others(PythonCase):
    """Programs that are not in Python at the other end."""

    def test_a_service_in_python(self):
        server = self.script(self.b, ECHO, "org.example.python")
        server.stdout.read_until(b"ready\n", PATIENCE)
        asker = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.python"])
        asker.write(b"hello")
        self.ends(asker, b"hello")
        text = b"domain %d, org.example.python, uid %d\n" % (self.a.domid, os.getuid())
        self.assertEqual(server.stdout.readline(PATIENCE), text)

    def test_test_conn(self):
        server = self.script(self.b, ANSWER)
        server.stdout.read_until(b"ready\n", PATIENCE)
        self.ends(self.a.spawn(["test_conn", str(self.b.domid)]), b"you said: hello from test_conn\n")
        self.ends(server, b"")

    def test_test_accept(self):
        server = self.b.spawn(["test_accept", "80"])
        server.stdout.readline(PATIENCE)
        self.ends(self.script(self.a, ASK, str(self.b.domid)), b"you said: hello from Python\n")

    def test_messages_with_a_program_in_c(self):
        self.b.spawn(["idc", "cat", "--listen", "--keep", "--seqpacket", "--port", "80", "--exec", "cat"])
        wait_until(lambda: any(one["port"] == 80 for one in self.b.status()["listeners"]), what="it listens")
        self.ends(self.script(self.a, MESSAGES, str(self.b.domid), "1", "1000", "60000"), b"1\n1000\n60000\n")

    def vsock(self, domain, *words):
        return domain.spawn(["idc", "run", sys.executable, self.world.script("vsock_asyncio.py"), *map(str, words)])

    def test_a_vsock_client(self):
        """It ends when the SHA-256 has come that the server adds."""
        server = self.script(self.b, """
import hashlib
with idc.listen(5000) as listener:
    print("ready")
    for connection, peer in listener:
        total = hashlib.sha256()
        with connection:
            while data := connection.recv(65536):
                total.update(data)
                connection.sendall(data)
            connection.sendall(total.digest())
""")
        server.stdout.read_until(b"ready\n", PATIENCE)
        client = self.vsock(self.a, "connect", self.b.domid + 2, 5000, 1, 30000)
        self.ends(client, b"1 connections, 30000 bytes each way\n")

    def test_a_vsock_server(self):
        server = self.vsock(self.b, "serve", 5000)
        server.stdout.readline(PATIENCE)
        client = self.script(self.a, """
import asyncio, hashlib
async def main():
    data = os.urandom(1000000)
    reader, writer = await idc.open_connection(int(sys.argv[1]), 5000)
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == data + hashlib.sha256(data).digest()
    writer.close()
    await writer.wait_closed()
asyncio.run(main())
""", str(self.b.domid))
        self.ends(client, b"")
        server.kill(signal.SIGTERM)
        self.ends(server)


# Says why a connection ended, for each way to notice it. With 0x100, MSG_WAITALL, the kernel reports the reset to nobody: it returns
# the bytes that have come, and then an end.
CUT_BLOCKING = """
kind, way = sys.argv[2:]
connection = idc.connect(int(sys.argv[1]), 80, type=getattr(idc, kind))
sys.stdout.write("ready\\n")
sys.stdin.readline() if way == "send" else None
try:
    while True:
        if way == "send":
            connection.send(b"x")
        elif kind == "STREAM":
            assert connection.recv(10, 0x100 if way == "all" else 0)
        else:
            assert connection.recv_message()
except OSError as error:
    print(type(error).__name__, error.errno, error.strerror)
connection.close()
"""

CUT_ASYNC = """
import asyncio
kind, way = sys.argv[2:]
async def streams():
    reader, writer = await idc.open_connection(int(sys.argv[1]), 80)
    print("ready")
    try:
        await reader.readexactly(1)
    finally:
        writer.close()
async def messages():
    async with await idc.open_messages(int(sys.argv[1]), 80) as connection:
        print("ready")
        assert await connection.recv()
try:
    asyncio.run(streams() if kind == "STREAM" else messages())
except OSError as error:
    print(type(error).__name__, error.errno, error.strerror)
"""


class Cut(PythonCase):
    """Connections that are cut off: the exception says why."""

    ways = [(CUT_BLOCKING, kind, way) for kind in ("STREAM", "SEQPACKET") for way in ("recv", "send")]
    ways += [(CUT_BLOCKING, "STREAM", "all")]
    ways += [(CUT_ASYNC, kind, "recv") for kind in ("STREAM", "SEQPACKET")]

    def cut(self, action, pattern, again):
        """again puts everything back, for the next way."""
        for text, kind, way in self.ways:
            with self.subTest(kind=kind, way=way, asynchronous=text is CUT_ASYNC):
                server = self.b.puppet()
                server.do("listen", 1, port=80, type=kind.lower())
                client = self.script(self.a, text, str(self.b.domid), kind, way)
                server.do("accept", 1, 2)
                client.stdout.read_until(b"ready\n", PATIENCE)
                if way == "all":
                    server.do("send", 2, len=4)
                action()
                if way == "send":
                    wait_until(lambda: not self.a.daemon or not self.a.status()["connections"], what="the end")
                said = self.ends(client).decode()
                server.end()
                again()
                self.assertRegex(said, pattern)

    def test_permission_withdrawn(self):
        self.cut(lambda: self.world.setup(self.a, self.b, remove=True), r"^PermissionError 13 .*withdrawn",
                 lambda: self.world.setup(self.a, self.b))

    def test_the_other_link_mgr_is_killed(self):
        self.cut(self.b.kill, r"^ConnectionResetError 104 .*link was lost", lambda: self.b.start(*self.options))

    def test_the_own_link_mgr_is_killed(self):
        self.cut(self.a.kill, r"^(ConnectionResetError 104|BrokenPipeError 32) .*link_mgr has ended",
                 lambda: self.a.start(*self.options))


class Refused(PythonCase):
    permit = False

    def test_by_policy(self):
        done = self.script(self.a, """
import asyncio
for call in (lambda: idc.connect(%d, 80), lambda: asyncio.run(idc.open_connection(%d, 80)),
             lambda: asyncio.run(idc.open_messages(%d, 80)), lambda: idc.services(%d)):
    try:
        call()
    except PermissionError as error:
        print(error.errno, error.strerror)
""" % ((self.b.domid,) * 4))
        lines = self.ends(done).decode().splitlines()
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertRegex(line, r"^13 .*policy does not allow it")


class Listeners(PythonCase):
    """Servers whose link_mgr ends."""

    server = """
import asyncio
async def main():
    async def one(reader, writer):
        writer.write(b"here")
    server = await idc.start_server(one, 80, keep="keep" in sys.argv)
    print("ready")
    try:
        await server.serve_forever()
    except OSError as error:
        print(type(error).__name__, error.strerror)
asyncio.run(main())
"""

    def test_the_listener_ends(self):
        server = self.script(self.b, self.server)
        server.stdout.read_until(b"ready\n", PATIENCE)
        self.b.kill()
        self.ends(server, b"ConnectionAbortedError the listener was ended, or its link_mgr was\n")
        self.b.start(*self.options)

    def test_one_that_is_kept(self):
        server = self.script(self.b, self.server, "keep")
        server.stdout.read_until(b"ready\n", PATIENCE)
        self.b.restart(*self.options)
        client = self.script(self.a, "print(idc.connect(%d, 80, wait=True).makefile().read())" % self.b.domid)
        self.assertEqual(client.stdout.readline(PATIENCE), b"here\n")
        self.assertIsNone(server.returncode)

    def test_blocking(self):
        server = self.script(self.b, """
with idc.listen(80) as listener:
    print("ready")
    try:
        listener.accept()
    except ConnectionAbortedError as error:
        print(error.strerror)
""")
        server.stdout.read_until(b"ready\n", PATIENCE)
        self.b.kill()
        self.ends(server, b"the listener was ended, or its link_mgr was\n")
        self.b.start(*self.options)


@unittest.skipUnless(os.path.exists(DOCUMENT), "there is no docs/python.md")
class Document(PythonCase):
    """The programs of docs/python.md, as they are printed. The first line of each names it."""

    def programs(self):
        with open(DOCUMENT, encoding="utf-8") as stream:
            blocks = re.findall(r"^```python\n(# (\w+\.py)\b.*?)^```$", stream.read(), re.MULTILINE | re.DOTALL)
        return {name: text for text, name in blocks}

    def start(self, domain, name, *words):
        return self.python(domain, "-c", self.programs()[name], *words)

    def wait_listening(self, service):
        wait_until(lambda: any(one["service"] == service for one in self.b.status()["listeners"]), what="it listens")

    def answer(self, text):
        client = self.start(self.a, "ask.py", str(self.b.domid), text)
        return self.ends(client).decode()

    def test_echo(self):
        programs = self.programs()
        self.assertLessEqual(len(programs["echo.py"].splitlines()), 10)
        self.start(self.b, "echo.py")
        self.wait_listening("org.example.echo")
        self.assertEqual(self.answer("hello"), "hello\n")

    def test_asynchronous(self):
        server = self.start(self.b, "server.py")
        self.wait_listening("org.example.echo")
        self.assertEqual(self.answer("hello"), "hello\n")
        self.assertEqual(self.ends(self.start(self.a, "many.py", str(self.b.domid))), b"100 answers\n")
        server.kill(signal.SIGINT)
        server.wait(PATIENCE)
        self.assertEqual(server.returncode, -signal.SIGINT)

    def test_messages(self):
        self.start(self.b, "messages.py")
        self.wait_listening("org.example.messages")
        client = self.script(self.a, """
with idc.connect(%d, "org.example.messages", type=idc.SEQPACKET) as connection:
    for text in (b"one", b"", b"three"):
        connection.send_message(text)
        print(connection.recv_message())
""" % self.b.domid)
        self.ends(client, b"b'3 bytes'\nb'0 bytes'\nb'5 bytes'\n")

    def test_every_name_is_described(self):
        done = subprocess.run([sys.executable, "-c", "import idc; print(*idc.__all__)"], check=True, capture_output=True,
                              env={**os.environ, **self.environment})
        with open(DOCUMENT, encoding="utf-8") as stream:
            text = stream.read()
        for name in done.stdout.decode().split():
            self.assertRegex(text, r"`(await )?(idc\.)?%s\b" % name)
