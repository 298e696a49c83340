# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc serve` and systemd: programs that are started by their socket, as they are, and the unit idc-serve@.service.

A systemd of its own runs the units and link_mgr (pid1.py). The other domain is outside, as in test_service.py."""

import os
import shutil
import subprocess

import pid1
from test_service import ServiceCase, status_of
from world import wait_until

WAIT_S = 120
SERVICE = "org.example.unit"
# Bash knows nothing of LISTEN_FDS, and neither does accept(2) of IDC. Python's socket does what any such program does.
ACCEPTS = """import os, socket
assert os.environ["LISTEN_FDS"] == "1" and int(os.environ["LISTEN_PID"]) == os.getpid()
listener = socket.socket(fileno=3)
while True:
    one, _ = listener.accept()
    data = b""
    while some := one.recv(65536):
        data += some
    one.sendall(data.upper() + b" %d" % os.getpid())
    one.close()
"""
SOCKET = "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/unit.sock\nAccept=%s\n"
PROGRAM = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=%s\n%s"
OURS = "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nExecStart=%s/bin/idc serve --name %s --systemd %s\n"


class ServeUnits(ServiceCase):
    def setUp(self):
        super().setUp()
        os.makedirs(self.prefix + "/bin")
        shutil.copy(os.path.join(self.world.build_dir, "idc"), self.prefix + "/bin")
        self.other = self.other_domain()

    def write(self, path, text):
        with open(self.make_way(path), "w", encoding="ascii") as stream:
            stream.write(text)

    def make_way(self, path):
        path = self.system.path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def units(self, **units):
        for name, text in units.items():
            self.write("/etc/systemd/system/" + name.replace("_at_", "@").replace("_dot_", "."), text)
        self.system.ctl("daemon-reload")

    def template(self):
        """As it is installed. This systemd has no units that others depend on by default."""
        with open(pid1.ROOT + "/dist/idc-serve@.service.in", encoding="utf-8") as stream:
            unit = stream.read().replace("@PREFIX@", self.prefix)
        return unit.replace("[Unit]", "[Unit]\nDefaultDependencies=no")

    def ask(self, data, name=SERVICE):
        result = subprocess.run([self.world.find_program("idc"), "--socket", self.other, "cat", "1", name], input=data,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=WAIT_S, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""), self.system.log()[-2000:])
        return result.stdout

    def state(self, unit):
        return self.system.ctl("show", "--property=ActiveState", "--value", unit).strip()

    def test_a_program_that_accepts(self):
        """It is started by the first connection, and gets them all."""
        self.write("/etc/accepts.py", ACCEPTS)
        self.units(unit_dot_socket=SOCKET % "no", unit_dot_service=PROGRAM % ("/usr/bin/python3 /etc/accepts.py", ""),
                   ours_dot_service=OURS % (self.prefix, SERVICE, "unit.service"))
        self.system.ctl("start", "unit.socket", "ours.service")
        self.assertEqual(self.state("unit.service"), "inactive")
        first = self.ask(b"hello").split()
        self.assertEqual((first[0], self.state("unit.service")), (b"HELLO", "active"))
        self.assertEqual(self.ask(b"again").split(), [b"AGAIN", first[1]])

    def test_a_program_for_each_connection(self):
        self.units(unit_dot_socket=SOCKET % "yes",
                   unit_at__dot_service=PROGRAM % ("/usr/bin/tr a-z A-Z", "StandardInput=socket\n"),
                   ours_dot_service=OURS % (self.prefix, SERVICE, "unit"))
        self.system.ctl("start", "unit.socket", "ours.service")
        for text in b"one", b"two", b"x" * 300000:
            self.assertEqual(self.ask(text), text.upper())
        self.assertEqual(self.system.ctl("show", "--property=NAccepted", "--value", "unit.socket").strip(), "3")

    def test_over_a_restart(self):
        self.units(unit_dot_socket=SOCKET % "yes",
                   unit_at__dot_service=PROGRAM % ("/usr/bin/tr a-z A-Z", "StandardInput=socket\n"),
                   idc_serve_at__dot_service=self.template())
        self.write("/etc/systemd/system/idc_serve@unit.service.d/socket.conf", "[Service]\nUser=root\n")
        self.write("/etc/idc/serve/unit.conf", "SERVE=--name %s --systemd unit\n" % SERVICE)
        self.system.ctl("daemon-reload")
        self.system.ctl("start", "unit.socket", "idc_serve@unit.service")
        self.assertEqual(self.ask(b"there"), b"THERE")
        self.system.ctl("restart", "link_mgr.service")
        self.assertEqual(self.ask_again(b"back"), b"BACK")

    def ask_again(self, data):
        """As soon as the link is there again."""
        command = [self.world.find_program("idc"), "--socket", self.other]
        wait_until(lambda: subprocess.run(command + ["wait", "--timeout", "5", "1", SERVICE], check=False,
                                          stderr=subprocess.DEVNULL, timeout=WAIT_S).returncode == 0, what="the service")
        return self.ask(data)

    def test_wrong(self):
        self.units(other_dot_socket="[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=127.0.0.1:5999\n",
                   other_dot_service=PROGRAM % ("/bin/cat", ""), asleep_dot_socket=SOCKET % "no",
                   asleep_dot_service=PROGRAM % ("/bin/cat", ""))
        idc = [self.prefix + "/bin/idc", "serve", "--name", SERVICE]
        for words, status, text in (
                (["--systemd", "none"], 1, "none.socket is not there, or has no ListenStream="),
                (["--systemd", "other"], 1, "other.socket is not there, or has no ListenStream="),
                (["--systemd", "asleep"], 1, "asleep.socket is not active"), (["--systemd", "a b"], 2, "no name of a unit"),
                (["--systemd", "x", "cat"], 2, "goes without"), (["--systemd", "x", "--type", "seqpacket"], 2, "goes without")):
            with self.subTest(words=words):
                result = self.system._run(idc + words)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (status, "", 1), result.stderr)
                self.assertIn(text, result.stderr)

    def test_the_unit(self):
        """As it is installed: one file says what it serves; nobody with privileges runs; it is ready when it says so."""
        self.units(**{"idc-serve_at__dot_service": self.template()})
        self.write("/etc/idc/serve/upper.conf", "SERVE=--name %s -- sh -c 'id -u; exec tr a-z A-Z'\n" % SERVICE)
        self.system.ctl("start", "idc-serve@upper.service")
        uid, text = self.ask(b"hello").split()
        self.assertEqual(text, b"HELLO")
        self.assertNotEqual(int(uid), 0)
        status = status_of(self.system.pid_of("idc-serve@upper.service"))
        self.assertEqual([int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")], [0] * 5)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.system.ctl("restart", "link_mgr.service")
        self.assertEqual(self.ask_again(b"back").split()[1], b"BACK")
        self.system.ctl("stop", "idc-serve@upper.service")
        if not self.world._instrumented():  # at its end a sanitizer makes calls that the unit forbids
            self.assertEqual(self.state("idc-serve@upper.service"), "inactive")

    def test_the_unit_is_sound(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        path = os.path.join(self.prefix, "idc-serve@upper.service")
        with open(pid1.ROOT + "/dist/idc-serve@.service.in", encoding="utf-8") as stream, open(path, "w", encoding="utf-8") as out:
            out.write(stream.read().replace("@PREFIX@", self.prefix).replace("Documentation", "#"))
        told = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=no", path], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=WAIT_S, check=False)
        self.assertEqual((told.returncode, told.stdout), (0, ""))
