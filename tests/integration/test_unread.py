# SPDX-License-Identifier: GPL-2.0-or-later
"""Output that nobody reads stops nothing: stderr, and stdout of `idc-setup watch`, are pipes that are full from the start.

A program that waits for its reader would not do what these tests wait for. What it could not write is told later, when the
tests have read their pipe.
"""

import contextlib
import fcntl
import os
import re
import signal
import subprocess

from case import IdcTestCase
from forward_case import exchange
from rules_case import RulesCase
from test_channels import ChannelsCase
from world import wait_until

SMALL = 4096  # what a pipe holds at least
PORT = 4000


class FullPipe:
    """A pipe with no room. It is shared, so nobody may make it nonblocking."""

    def __init__(self):
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, SMALL)
        os.set_blocking(self.writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writing, b"." * SMALL)
        os.set_blocking(self.writing, True)
        os.set_blocking(self.reading, False)
        self.text = b""

    def read(self):
        """All that has come so far, after the dots."""
        with contextlib.suppress(BlockingIOError):
            while some := os.read(self.reading, 65536):
                self.text += some.lstrip(b".")
        return self.text.decode()

    def leave(self):
        """The reader goes away."""
        os.close(self.reading)
        self.reading = -1

    def close(self):
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)


class UnreadCase(IdcTestCase):
    platforms = ("local",)

    def full_pipe(self):
        pipe = FullPipe()
        self.addCleanup(pipe.close)
        return pipe

    def start(self, pipe, *words, stdout=subprocess.DEVNULL, **options):
        """A program of domain a, whose stderr is the pipe."""
        argv = [self.world.find_program(words[0]), *words[1:]]
        program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=pipe.writing, start_new_session=True,
                                   env={**self.world.environment, "IDC_SOCKET": self.a.socket}, cwd=self.world.directory, **options)
        self.addCleanup(self.stop, program)
        return program

    def stop(self, program):
        if program.poll() is None:
            program.kill()
        program.wait()

    def finish(self, program, pipe):
        """It can be ended, and has left the open file as it was."""
        self.assertTrue(os.get_blocking(pipe.writing))
        program.terminate()
        self.assertEqual(program.wait(60 * self.world.slowness), 0)

    def assert_told(self, pipe, name):
        """Once there is room, a line says how many were lost."""
        wait_until(lambda: re.search(r"^%s: lines were lost: [0-9]+\n" % name, pipe.read(), re.MULTILINE), what="lost lines")


class Channels(ChannelsCase, UnreadCase):
    def test_channels(self):
        self.write("works: unix-listen:%s -> exec:cat" % self.path("u"), *["wrong %d" % number for number in range(500)])
        pipe = self.full_pipe()
        program = self.start(pipe, "idc", "channels", *self.place_options())
        self.wait_path("state")
        self.wait_state("works", "listening")
        self.assertEqual(exchange(self.unix("u"), b"hello"), (b"hello", 0))
        self.write("works: unix-listen:%s -> exec:cat" % self.path("v"), "wrong")
        program.send_signal(signal.SIGHUP)
        self.assertEqual(exchange(self.unix("v"), b"hello"), (b"hello", 0))
        self.assert_told(pipe, "idc channels")
        self.finish(program, pipe)

    def test_reader_that_has_gone(self):
        self.write("works: unix-listen:%s -> exec:cat" % self.path("u"), "wrong")
        pipe = self.full_pipe()
        pipe.leave()
        program = self.start(pipe, "idc", "channels", *self.place_options())
        self.assertEqual(exchange(self.unix("u"), b"hello"), (b"hello", 0))
        self.finish(program, pipe)

    def test_forward(self):
        pipe, port = self.full_pipe(), self.free_port()
        program = self.start(pipe, "idc", "forward", "tcp-listen:127.0.0.1:%d" % port, "idc:%d:%d" % (self.a.domid, PORT))
        for _ in range(5):  # a line for each
            self.assert_reset(self.tcp(port))
        self.a.spawn(["idc", "serve", "--port", str(PORT), "cat"])
        self.wait_listener(self.a, PORT)
        self.assertEqual(exchange(self.tcp(port), b"hello"), (b"hello", 0))
        self.finish(program, pipe)

    def test_serve(self):
        """Its first line tells the port that it was given."""
        pipe = self.full_pipe()
        program = self.start(pipe, "idc", "serve", "cat")

        def ports():
            return [one["port"] for one in self.a.status()["listeners"] if one["port"] != 1]

        wait_until(ports, what="a listener")
        client = self.a.spawn(["idc", "cat", str(self.a.domid), str(ports()[0])])
        self.assertEqual(client.communicate(b"hello", 60 * self.world.slowness), (b"hello", b""))
        self.finish(program, pipe)


class Watch(RulesCase, UnreadCase):
    platforms = ("local",)

    def watch(self, pipe):
        return self.start(pipe, "idc-setup", "watch", "--store", self.world.store_directory, "--policy", self.policy, stdout=pipe.writing,
                          **self.world.as_user())

    def allowed(self):
        done = self.run_setup("explain", "web", "db", "80")
        return done.returncode == 0

    def test_watch(self):
        """Files that change are put in force, and other commands find the lock free."""
        pipe = self.full_pipe()
        self.write("allow web db 80\n")
        program = self.watch(pipe)
        wait_until(self.allowed, what="the first rules")
        self.write("wrong\n")
        self.write("deny web db 80\n")
        wait_until(lambda: not self.allowed(), what="the next rules")
        self.idc_setup("allow", "web", "db", "80")
        self.assertTrue(self.allowed())
        self.idc_setup("retract", "--all")
        self.assert_told(pipe, "idc-setup watch")
        self.assertTrue(os.get_blocking(pipe.writing))
        program.terminate()
        program.wait(60 * self.world.slowness)

    def test_readers_that_have_gone(self):
        pipe = self.full_pipe()
        self.write("allow web db 80\n")
        pipe.leave()
        program = self.watch(pipe)
        wait_until(self.allowed, what="the first rules")
        self.write("wrong\n")
        self.write("deny web db 80\n")
        wait_until(lambda: not self.allowed(), what="the next rules")
        self.assertIsNone(program.poll())

    def test_apply_whose_reader_stops(self):
        """A pager, say: what is in force is in force, and the lock is free."""
        pipe = self.full_pipe()
        self.write("".join("allow web db %d\n" % port for port in range(80, 1000)))
        program = self.start(pipe, "idc-setup", "apply", "--store", self.world.store_directory, "--policy", self.policy, stdout=pipe.writing,
                             **self.world.as_user())
        wait_until(self.allowed, what="the rules")
        self.idc_setup("deny", "web", "db", "80")
        self.assertFalse(self.allowed())
        self.assertIsNone(program.poll())
        text = ""

        def ended():
            nonlocal text
            text = pipe.read()
            return program.poll() is not None

        wait_until(ended, what="the end of apply")
        self.assertEqual((program.returncode, text.count("allow web db")), (0, 920))
