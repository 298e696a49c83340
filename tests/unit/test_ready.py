#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr tells when it can be used, and when it ends: by NOTIFY_SOCKET and by --ready-fd. `idc wait` waits for
it, for other domains and for listeners."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
LIMIT = 60


class Ready(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.here = self.directory.name
        os.mkdir(self.here + "/store")
        self.programs = []

    def tearDown(self):
        for program in self.programs:
            program.kill()
            program.communicate()
        self.directory.cleanup()

    def path(self, domid):
        return "%s/%d.sock" % (self.here, domid)

    def start(self, name, *arguments, domid=1, notify=None, **options):
        env = {**os.environ, "IDC_STORE": self.here + "/store", "IDC_SOCKET": self.path(domid)}
        env.pop("NOTIFY_SOCKET", None)
        if notify:
            env["NOTIFY_SOCKET"] = notify
        program = subprocess.Popen([os.path.join(BUILD, name), *arguments], env=env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **options)
        self.programs.append(program)
        return program

    def daemon(self, domid=1, *arguments, **options):
        return self.start("link_mgr", "--domid", str(domid), *arguments, domid=domid, **options)

    def end(self, program, status=0):
        out, err = program.communicate(timeout=LIMIT)
        self.assertEqual(program.returncode, status, out + err)
        return out, err

    def assert_serves(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path(1))

    def notified(self, address, name):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.settimeout(LIMIT)
            listener.bind(address)
            daemon = self.daemon(notify=name)
            self.assertEqual(listener.recv(4096).split(b"\n")[0], b"READY=1")
            self.assert_serves()
            daemon.send_signal(signal.SIGTERM)
            self.assertEqual(listener.recv(4096), b"STOPPING=1")
            self.end(daemon)

    def test_notify_socket_that_is_a_path(self):
        self.notified(self.here + "/notify", self.here + "/notify")

    def test_notify_socket_that_is_abstract(self):
        self.notified("\0idc-test-%d" % os.getpid(), "@idc-test-%d" % os.getpid())

    def test_notify_socket_that_is_not_there(self):
        daemon = self.daemon(1, "--ready-fd", "1", notify=self.here + "/nobody")
        self.assertEqual(daemon.stdout.read(1), "\n")
        daemon.send_signal(signal.SIGTERM)
        self.assertIn("NOTIFY_SOCKET", self.end(daemon)[1])

    def test_ready_fd(self):
        receive, send = os.pipe()
        self.daemon(1, "--ready-fd", str(send), pass_fds=[send])
        os.close(send)
        with open(receive, "rb") as ready:
            self.assertEqual(ready.read(), b"\n", "a newline, and then the end")
        self.assert_serves()

    def test_ready_fd_that_is_none(self):
        self.assertIn("--ready-fd takes the number of an open descriptor",
                      self.end(self.daemon(1, "--ready-fd", "77"), 2)[1])

    # ---- idc wait ----

    def allow(self, *arguments):
        self.end(self.start("idc-setup", *arguments, "1", "2"))

    def test_wait_for_the_own_daemon(self):
        wait = self.start("idc", "wait")
        self.daemon()
        self.end(wait)
        self.assert_serves()

    def test_wait_for_a_domain_and_the_permission(self):
        self.daemon()
        wait = self.start("idc", "wait", "2")
        self.daemon(2)
        self.end(self.start("idc", "wait", domid=2))
        self.assertIsNone(wait.poll(), "it may not be reached yet")
        self.allow()
        self.end(wait)
        self.end(self.start("idc", "ping", "-c", "1", "2"))

    def test_wait_for_a_service(self):
        self.allow()
        self.daemon()
        for place, how in (("80", ["--port", "80"]), ("org.example.test", ["--name", "org.example.test"])):
            wait = self.start("idc", "wait", "2", place)
            if place == "80":
                self.daemon(2)
                self.end(self.start("idc", "wait", domid=2))
            self.end(self.start("idc", "wait", "--timeout", "0", "2", place), 1)
            self.assertIsNone(wait.poll(), "nothing listens yet")
            server = self.start("idc", "cat", "--listen", *how, domid=2, stdin=subprocess.DEVNULL)
            self.end(wait)
            self.assertIsNone(server.poll(), "the one that listens has not seen a client")
            client = self.start("idc", "cat", "2", place, stdin=subprocess.PIPE)
            client.communicate("hello", timeout=LIMIT)
            self.assertEqual(self.end(server)[0], "hello")

    def test_wait_in_vain(self):
        self.assertIn("no link_mgr serves", self.end(self.start("idc", "wait", "--timeout", "0.2"), 1)[1])
        self.daemon()
        self.end(self.start("idc", "wait"))
        self.assertIn("idc-setup", self.end(self.start("idc", "wait", "--timeout", "100ms", "2"), 1)[1])
        self.allow()
        self.assertRegex(self.end(self.start("idc", "wait", "--timeout", "100ms", "2"), 1)[1],
                         "no link_mgr|did not answer")
        self.daemon(2)
        self.end(self.start("idc", "wait", "2"))
        self.assertIn("domain 2 port 80: nothing listens",
                      self.end(self.start("idc", "wait", "--timeout", "100ms", "2", "80"), 1)[1])
        for wrong in (["--timeout", "x"], ["--timeout", "-1"], ["--timeout", "1h"], ["99999"], ["2", "80", "3"], ["2", ""]):
            self.end(self.start("idc", "wait", *wrong), 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=1)
