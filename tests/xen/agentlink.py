# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's end of the line to the agents (frame.h), and the processes that they run.

A Link reads the line on a thread of its own. A Process is what Domain.spawn returns:

    process.write(bytes), process.close_stdin()
    process.stdout, process.stderr      Stream: read, readline, read_until, read_all
    process.wait(timeout)               exit status; negative: the signal that ended it, as in subprocess
    process.kill(signal), process.kill_session()
    process.communicate(input, timeout) all at once

Whatever waits has a timeout (in seconds of a quick machine: link.slowness stretches it) and raises TimeoutError, or LinkLost
when the domain or the whole machine has gone.
"""

import os
import signal
import struct
import threading
import time
import zlib

MAGIC = 0x1E0FDCF1
HEADER = struct.Struct("<IIIHHII")
PAYLOAD_MAX = 16384
STDIN_WINDOW = 65536

SPAWN, STDIN, KILL, PING, CLEAR = 1, 2, 3, 4, 5
HELLO, STARTED, STDOUT, STDERR, STDIN_TAKEN, EXIT, LOG, ATTACHED, DETACHED, CONSOLE, CLEARED = range(32, 43)

DEFAULT_TIMEOUT = 60


class LinkLost(Exception):
    """The domain was destroyed, or QEMU has ended, while something was waited for."""


class Stream:
    """What a process prints to one descriptor. Bytes wait here until they are read."""

    def __init__(self, process):
        self._process = process
        self._bytes = bytearray()
        self._ended = False

    def _feed(self, data):
        if data:
            self._bytes += data
        else:
            self._ended = True

    def _take(self, count):
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        return data

    def _wait(self, enough, timeout, what):
        def done():
            return self._ended or enough()

        self._process.wait_for(done, timeout, what, lambda: "so far: %r" % bytes(self._bytes[-500:]))

    def read(self, count=PAYLOAD_MAX, timeout=DEFAULT_TIMEOUT):
        """At least one byte, at most count; b"" at the end."""
        with self._process.condition:
            self._wait(lambda: self._bytes, timeout, "output")
            return self._take(count)

    def read_exactly(self, count, timeout=DEFAULT_TIMEOUT):
        """count bytes, fewer only at the end."""
        with self._process.condition:
            self._wait(lambda: len(self._bytes) >= count, timeout, "%d bytes of output" % count)
            return self._take(count)

    def read_until(self, text, timeout=DEFAULT_TIMEOUT):
        """Everything up to and with text (bytes); what there is at the end."""
        with self._process.condition:
            self._wait(lambda: text in self._bytes, timeout, "output %r" % text)
            where = self._bytes.find(text)
            return self._take(where + len(text) if where >= 0 else len(self._bytes))

    def readline(self, timeout=DEFAULT_TIMEOUT):
        return self.read_until(b"\n", timeout)

    def read_all(self, timeout=DEFAULT_TIMEOUT):
        with self._process.condition:
            self._wait(lambda: False, timeout, "the end of the output")
            return self._take(len(self._bytes))

    def pending(self):
        """What has come and was not read, without waiting and without taking it."""
        with self._process.condition:
            return bytes(self._bytes)


class Process:
    """A program in a domain; made by Domain.spawn."""

    def __init__(self, link, target, ident, argv):
        self.condition = link.condition
        self.argv = argv
        self.pid = None
        self.returncode = None
        self.stdout = Stream(self)
        self.stderr = Stream(self)
        self._link = link
        self._target = target
        self._id = ident
        self._error = None
        self.lost = None  # or why it is
        self._outstanding = 0

    def __repr__(self):
        return "<%s in target %d: pid %s, exit status %s>" % (
            " ".join(self.argv), self._target, self.pid, self.returncode)

    def wait_for(self, done, timeout, what, detail=lambda: ""):
        """With the condition held."""
        end = time.monotonic() + max(timeout, self._link.at_least) * self._link.slowness
        while not done():
            if self.lost:
                raise LinkLost("%s while waiting for %s of %r" % (self.lost, what, self))
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no %s of %r in %s s; %s" % (what, self, timeout, detail()))
            self.condition.wait(left)

    def frame(self, kind, payload):
        """Called by the link for each frame about this process, with the condition held."""
        if kind == STDOUT:
            self.stdout._feed(payload)
        elif kind == STDERR:
            self.stderr._feed(payload)
        elif kind == STARTED:
            number = struct.unpack("<i", payload)[0]
            if number > 0:
                self.pid = number
            else:
                self._error = OSError(-number, os.strerror(-number), self.argv[0])
        elif kind == STDIN_TAKEN:
            self._outstanding -= struct.unpack("<I", payload)[0]
        elif kind == EXIT:
            self.returncode = os.waitstatus_to_exitcode(struct.unpack("<i", payload)[0])

    def lose(self, why):
        self.lost = why

    def started(self, timeout):
        with self.condition:
            self.wait_for(lambda: self.pid or self._error, timeout, "start")
        if self._error:
            raise self._error
        return self

    def write(self, data, timeout=DEFAULT_TIMEOUT):
        """Returns when the program's pipe has taken all but the last 64 KiB."""
        view = memoryview(data)
        while view:
            piece = view[:PAYLOAD_MAX]
            view = view[PAYLOAD_MAX:]
            with self.condition:
                self.wait_for(lambda: self._outstanding + len(piece) <= STDIN_WINDOW, timeout, "reading")
                self._outstanding += len(piece)
                self._link.send(self._target, STDIN, self._id, bytes(piece))

    def close_stdin(self):
        self._link.send(self._target, STDIN, self._id, b"")

    def kill(self, number=signal.SIGKILL):
        self._link.send(self._target, KILL, self._id, struct.pack("<iI", number, 0))

    def kill_session(self, number=signal.SIGKILL):
        """Also its children, unless they made a session of their own."""
        self._link.send(self._target, KILL, self._id, struct.pack("<iI", number, 1))

    def poll(self):
        return self.returncode

    def wait(self, timeout=DEFAULT_TIMEOUT):
        with self.condition:
            self.wait_for(lambda: self.returncode is not None, timeout, "end",
                          lambda: "stdout: %r stderr: %r" % (bytes(self.stdout._bytes[-500:]),
                                                             bytes(self.stderr._bytes[-500:])))
        return self.returncode

    def communicate(self, data=None, timeout=DEFAULT_TIMEOUT):
        """Gives data to its standard input, closes that, and returns (stdout, stderr) once it has ended."""
        end = time.monotonic() + timeout * self._link.slowness

        def left():
            return max(0.1, end - time.monotonic()) / self._link.slowness

        if data:
            self.write(data, timeout)
        self.close_stdin()
        out = self.stdout.read_all(left())
        err = self.stderr.read_all(left())
        self.wait(left())
        return out, err


class Link:
    """The line to dom0's agent, and through it to the guests'."""

    def __init__(self, sock, log):
        self.condition = threading.Condition()
        self.domids = {0: 0}       # target: its present domid, while it has a console
        self.hellos = {}           # target: how often its agent has said hello
        self.lost = None
        self.slowness = 1          # what all timeouts are multiplied by
        self.at_least = 0          # and what none is shorter than, when a process is waited for
        self._sock = sock
        self._log = log
        self._buffer = bytearray()
        self._processes = {}
        self._next_id = 0
        self._cleared = {}         # id of a CLEAR frame: how many it found
        self._seq_out = {}
        self._seq_in = {}
        self._send_lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="agent link", daemon=True)
        self._thread.start()

    def send(self, target, kind, ident, payload):
        with self._send_lock:
            seq = self._seq_out[target] = self._seq_out.get(target, 0) + 1
            rest = struct.pack("<IHHII", len(payload), target, kind, ident, seq)
            crc = zlib.crc32(rest + payload)
            try:
                self._sock.sendall(struct.pack("<II", MAGIC, crc) + rest + payload)
            except OSError as error:
                raise LinkLost("the line to dom0 is lost: %s" % error) from error

    def spawn(self, target, argv, env, uid, gid, cwd):
        with self.condition:
            self._next_id += 1
            process = Process(self, target, self._next_id, argv)
            if self.lost:
                process.lose(self.lost)
            self._processes[self._next_id] = process
        strings = [text.encode() if isinstance(text, str) else text
                   for text in list(argv) + ["%s=%s" % pair for pair in env.items()] + [cwd]]
        payload = struct.pack("<HHII", len(argv), len(env), uid, gid) + b"".join(text + b"\0" for text in strings)
        if len(payload) > PAYLOAD_MAX:
            raise ValueError("command line and environment are longer than %d bytes" % PAYLOAD_MAX)
        self.send(target, SPAWN, process._id, payload)
        return process

    def clear(self, target, mark, timeout=DEFAULT_TIMEOUT):
        """Kills all processes there that have this beginning of an assignment in their environment, and says how many these were.
        They may take a moment to end."""
        with self.condition:
            self._next_id += 1
            ident = self._next_id
        self.send(target, CLEAR, ident, mark.encode())
        self.wait_for(lambda: ident in self._cleared, timeout, "answer of the agent of target %d" % target)
        return self._cleared.pop(ident)

    def wait_for(self, done, timeout, what):
        """Waits for something about the link as a whole."""
        end = time.monotonic() + timeout * self.slowness
        with self.condition:
            while not done():
                if self.lost:
                    raise LinkLost("%s while waiting for %s" % (self.lost, what))
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("no %s in %s s" % (what, timeout))
                self.condition.wait(left)

    def close(self):
        self._sock.close()

    def _read(self):
        why = "the line to dom0 is closed"
        while True:
            try:
                data = self._sock.recv(65536)
            except OSError as error:
                data, why = b"", "the line to dom0 is lost: %s" % error
            if not data:
                break
            self._buffer += data
            with self.condition:
                while self._parse():
                    pass
                self.condition.notify_all()
        with self.condition:
            self.lost = why
            for process in self._processes.values():
                process.lose(why)
            self.condition.notify_all()

    def _parse(self):
        """Takes one frame, or text that is none, off the buffer. False: more is needed."""
        buffer = self._buffer
        where = buffer.find(struct.pack("<I", MAGIC))
        if where:
            if where < 0:
                where = max(0, len(buffer) - 3)
            if where:
                self._log("line", bytes(buffer[:where]))
                del buffer[:where]
            return where > 0
        if len(buffer) < HEADER.size:
            return False
        _, crc, length, target, kind, ident, seq = HEADER.unpack_from(buffer)
        if length > PAYLOAD_MAX:
            del buffer[:1]
            return True
        if len(buffer) < HEADER.size + length:
            return False
        if zlib.crc32(buffer[8:HEADER.size + length]) != crc:
            self._log("line", b"damaged frame\n")
            del buffer[:1]
            return True
        payload = bytes(buffer[HEADER.size:HEADER.size + length])
        del buffer[:HEADER.size + length]
        self._frame(target, kind, ident, seq, payload)
        return True

    def _in_sequence(self, target, kind, seq):
        """False: a guest that was restored repeats what it had sent before it was saved."""
        if kind == HELLO and seq == 1:
            self._seq_in[target] = 1
            self._seq_out[target] = 0
            return True
        last = self._seq_in.get(target, 0)
        if seq <= last:
            self._log("line", b"frame %d of target %d came again\n" % (seq, target))
            return False
        if seq != last + 1:
            self._log("line", b"%d frames of target %d were lost\n" % (seq - last - 1, target))
        self._seq_in[target] = seq
        return True

    def _frame(self, target, kind, ident, seq, payload):
        # What dom0's agent says about a guest counts with its own frames.
        sender = 0 if kind in (ATTACHED, DETACHED, CONSOLE) else target
        if not self._in_sequence(sender, kind, seq):
            return
        if kind == HELLO:
            self.hellos[target] = self.hellos.get(target, 0) + 1
            if seq == 1:
                self._lose_target(target, "the domain was started anew")
        elif kind == ATTACHED:
            self.domids[target] = struct.unpack("<i", payload)[0]
        elif kind == DETACHED:
            if self.domids.get(target) == struct.unpack("<i", payload)[0]:
                del self.domids[target]
        elif kind in (LOG, CONSOLE):
            self._log("dom0" if target == 0 else "g%d" % target, payload)
        elif kind == CLEARED:
            self._cleared[ident] = struct.unpack("<i", payload)[0]
        elif ident in self._processes:
            self._processes[ident].frame(kind, payload)

    def _lose_target(self, target, why):
        for process in self._processes.values():
            if process._target == target and process.returncode is None:
                process.lose(why)

    def lose_target(self, target, why):
        with self.condition:
            self._lose_target(target, why)
            self.condition.notify_all()
