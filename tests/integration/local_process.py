# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes on this machine, with the interface of the Xen harness's (tests/xen/agentlink.py).

One thread, the Reader, takes what all of them print and notices their end, so a test never waits for output that
nobody reads, and hundreds of processes cost no threads.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "xen"))
from agentlink import DEFAULT_TIMEOUT, Stream  # noqa: E402

PR_SET_PDEATHSIG = 1
AT_LEAST = 60  # seconds that anything is waited for
libc = ctypes.CDLL(None)


class Reader:
    def __init__(self):
        self.condition = threading.Condition()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        self._new = []
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        threading.Thread(target=self._run, name="reader", daemon=True).start()

    def add(self, fd, action):
        """From any thread: action() will be called, with the condition held, when fd is readable; False ends that."""
        with self.condition:
            self._new.append((fd, action))
        os.write(self._woken, b"x")

    def _take_new(self):
        os.read(self._wake, 4096)
        for fd, action in self._new:
            self._selector.register(fd, selectors.EVENT_READ, action)
        self._new = []

    def _run(self):
        while True:
            ready = self._selector.select()
            with self.condition:
                for key, _ in ready:
                    if key.data is None:
                        self._take_new()
                    elif not key.data():
                        self._selector.unregister(key.fd)
                        os.close(key.fd)
                self.condition.notify_all()


class LocalProcess:
    lost = None  # as on Xen, where a domain can end with all that runs in it

    def __init__(self, reader, argv, env, uid, gid, cwd):
        self.condition = reader.condition
        self.argv = argv
        self.returncode = None
        self.stdout = Stream(self)
        self.stderr = Stream(self)

        def child():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

        user = {"user": uid, "group": gid, "extra_groups": []} if uid else {}
        self._popen = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                       stderr=subprocess.PIPE, start_new_session=True, preexec_fn=child, **user)
        self.pid = self._popen.pid
        for pipe, stream in ((self._popen.stdout, self.stdout), (self._popen.stderr, self.stderr)):
            reader.add(os.dup(pipe.fileno()), self._feeder(pipe, stream))
        reader.add(os.pidfd_open(self.pid), self._ended)

    def __repr__(self):
        return "<%s: pid %d, exit status %s>" % (" ".join(self.argv), self.pid, self.returncode)

    def _feeder(self, pipe, stream):
        fd = pipe.fileno()

        def feed():
            data = os.read(fd, 65536)
            stream._feed(data)
            if not data:
                pipe.close()
            return bool(data)

        return feed

    def _ended(self):
        self.returncode = self._popen.wait()
        return False

    def wait_for(self, done, timeout, what, detail=lambda: ""):
        """The time is for what never comes: a busy machine is slow."""
        end = time.monotonic() + max(timeout, AT_LEAST)
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no %s of %r in %s s; %s; stderr: %r" % (
                    what, self, timeout, detail(), bytes(self.stderr._bytes[-500:])))
            self.condition.wait(left)

    def write(self, data, timeout=DEFAULT_TIMEOUT):
        self._popen.stdin.write(data)

    def close_stdin(self):
        self._popen.stdin.close()

    def kill(self, number=signal.SIGKILL):
        with self.condition:
            if self.returncode is None:
                os.kill(self.pid, number)

    def kill_session(self):
        with self.condition:
            if self.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout=DEFAULT_TIMEOUT):
        with self.condition:
            self.wait_for(lambda: self.returncode is not None, timeout, "end")
        return self.returncode

    def communicate(self, data=None, timeout=DEFAULT_TIMEOUT):
        end = time.monotonic() + timeout
        try:
            if data:
                self.write(data)
            self.close_stdin()
        except BrokenPipeError:
            pass
        out = self.stdout.read_all(max(0.1, end - time.monotonic()))
        err = self.stderr.read_all(max(0.1, end - time.monotonic()))
        self.wait(max(0.1, end - time.monotonic()))
        return out, err
