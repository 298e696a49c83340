#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr tells when it can be used, and when it ends: by NOTIFY_SOCKET and by --ready-fd. `idc wait` and the option `wait` of
libidc wait for it and for listeners."""

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


if __name__ == "__main__":
    unittest.main(argv=sys.argv, verbosity=1)
