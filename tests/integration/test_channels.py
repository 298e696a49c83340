# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc channels`: many channels in one process, as lines of files say, and `idc status --channels`."""

import contextlib
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import termios
import threading
import time
import tty

from forward_case import ForwardCase, exchange, pattern, read_all, read_exactly
from world import wait_until

CHANNELS = 100
CONNECTIONS = 1000
TIOCGEXCL = 0x80045440


class ChannelsCase(ForwardCase):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("d"))
        os.chmod(self.path("d"), 0o755)  # whatever the umask, or it would not be read
        os.mkdir(self.path("t"))

    def write(self, *lines, name="d/one"):
        """In one step, as an administrator's editor does it."""
        with open(self.path(name + "~"), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        os.rename(self.path(name + "~"), self.path(name))

    def place_options(self):
        return ["--config", self.path("d"), "--state", self.path("state"), "--terminals", self.path("t")]

    def channels(self, domain=None, ready=True):
        process = (domain or self.a).spawn(["idc", "channels"] + self.place_options())
        if ready:
            self.wait_path("state")
        return process

    def ask(self, argv):
        """(exit status, stdout, stderr)"""
        done = self.a.run(argv)
        return done.returncode, done.stdout, done.stderr

    def text(self):
        status, out, err = self.ask(["idc", "status", "--channels", "--state", self.path("state")])
        self.assertEqual((status, err), (0, b""))
        return out.decode()

    def states(self):
        status, out, err = self.ask(["idc", "status", "--channels", "--json", "--state", self.path("state")])
        self.assertEqual((status, err), (0, b""))
        return {one["name"]: one for one in json.loads(out)["channels"]}

    def wait_state(self, name, *words):
        wait_until(lambda: self.states().get(name, {}).get("state") in words, what="%s of %s" % (words, name))

    def reload(self, process, *names):
        """Until there are these channels."""
        process.kill(signal.SIGHUP)
        wait_until(lambda: set(self.states()) == set(names), what="the channels %s" % (names,))

    def wait_line(self, process, text):
        while text not in process.stderr.read_until(b"\n", 60):
            pass

    def end(self, process):
        process.kill(signal.SIGTERM)
        self.assertEqual(process.wait(), 0)
        left = [name for name in os.listdir(self.place) if name not in ("d", "t")] + os.listdir(self.path("t"))
        self.assertEqual(left, [])


class Files(ChannelsCase):
    def check(self):
        status, out, err = self.ask(["idc", "channels", "--check"] + self.place_options())
        return status, out.decode(), err.decode().splitlines()

    def test_check(self):
        self.write("# nothing", "", "a: unix-listen:%s -> exec:cat" % self.path("a"))
        self.assertEqual(self.check(), (0, "1 channels, 0 mistakes\n", []))
        self.write("b unix:/x", "a: exec:cat -> unix:/y", "c: idc-listen:5 -> exec:tr a b", "d: idc-listen:6 -> exec:cat",
                   "e: idc-listen:6 -> exec:cat", name="d/two")
        with open(self.path("d/three"), "wb") as file:
            file.write(b"f: idc-listen:7 -> exec:c\0at\ng: idc-listen:8 -> exec:cat\n")
        with open(self.path("d/four"), "wb") as file:
            file.write(b"h: unix-listen:/h -> tcp:127.0.0.1:80")
        os.mkfifo(self.path("d/pipe"))
        self.write("wrong", name="d/.hidden")
        self.write("wrong", name="d/old.dpkg-old")
        status, out, lines = self.check()
        self.assertEqual((status, out), (1, "3 channels, 7 mistakes\n"))
        for line, words in zip(sorted(lines), (("d/four:1:38: ", "no newline", "does not count"),
                                               ("d/pipe: it is no file",),
                                               ("d/three:1:26: the byte 0",),
                                               ("d/two:1:2: ", "colon"),
                                               ("d/two:2:1: ", "a channel a already"),
                                               ("d/two:3:28: ", "is no option"),
                                               ("d/two:5:1: ", "channel d has that"))):
            for word in ("idc channels: " + self.place,) + words:
                self.assertIn(word, line)
        self.assertEqual([name for name in os.listdir(self.place) if name not in ("d", "t")], [], "it opens nothing")

    def test_files_of_others(self):
        self.write("a: unix-listen:/a -> exec:cat")
        os.chmod(self.path("d/one"), 0o666)
        status, _, lines = self.check()
        self.assertEqual((status, len(lines)), (1, 1), lines)
        self.assertIn("can be written by everybody", lines[0])

    def test_no_file(self):
        status, out, err = self.ask(["idc", "channels", "--check", "--config", self.path("none")])
        self.assertEqual((status, out, err.count(b"\n")), (1, b"0 channels, 1 mistakes\n", 1), err)
        process = self.a.spawn(["idc", "channels", "--config", self.path("none"), "--state", self.path("state")])
        status, text = process.wait(), process.stderr.read_all(60).decode()
        self.assertEqual((status, text.count("\n")), (1, 2), text)
        self.assertIn("there is no channel", text)

    def test_wrong_usage(self):
        for words in (["x"], ["--terminals", "t"], ["--config"], ["--max", "5"]):
            status, _, err = self.ask(["idc", "channels"] + words)
            self.assertEqual(status, 2, err)
        for words in (["--channels", "--connections"], ["--state", "/x"]):
            status, _, err = self.ask(["idc", "status"] + words)
            self.assertEqual((status, err.count(b"\n")), (2, 1), err)

    def test_nobody_to_ask(self):
        status, out, err = self.ask(["idc", "status", "--channels", "--state", self.path("state")])
        self.assertEqual((status, out, err.count(b"\n")), (1, b"", 1), err)
        self.assertIn(b"no idc channels runs", err)


class Running(ChannelsCase):
    def test_bad_lines_and_what_can_not_begin(self):
        """They hold nobody up; they begin as soon as they can."""
        taken = self.unix_server("taken")
        self.write("good: unix-listen:%s -> exec:cat" % self.path("good"),
                   "bad",
                   "taken: unix-listen:%s -> exec:cat" % self.path("taken"),
                   "nowhere: unix-listen:%s -> exec:cat" % self.path("later/x"),
                   "tty: pty:%s -> unix:%s" % (self.path("later/tty"), self.path("none")))
        process = self.channels()
        self.assertEqual(exchange(self.unix("good"), b"bytes"), (b"bytes", 0))
        states = self.states()
        self.assertEqual({name: one["state"] for name, one in states.items()},
                         {"good": "listening", "taken": "failing", "nowhere": "failing", "tty": "failing"})
        self.assertIn("Address already in use", states["taken"]["last_error"])
        os.mkdir(self.path("later"))
        self.wait_state("nowhere", "listening")
        wait_until(lambda: os.path.islink(self.path("later/tty")), what="the terminal")
        taken.settimeout(2)  # the attempts to have that path are no connections
        with self.assertRaises(socket.timeout):
            taken.accept()
        taken.close()
        self.wait_state("taken", "listening")
        process.kill(signal.SIGTERM)
        self.assertEqual(process.wait(), 0)
        self.assertEqual(os.listdir(self.path("later")), [])
        lines = process.stderr.read_all(60).decode().splitlines()
        self.assertEqual(len([line for line in lines if "taken" in line]), 1, lines)
        self.assertIn("d/one:2:4: ", lines[0])

    def test_status(self):
        name = "n" * 79
        self.write("%s: unix-listen:%s -> exec:%s" % (name, self.path("long"), "x" * 300),
                   "none: unix-listen:%s -> unix:%s" % (self.path("none"), self.path("nobody")),
                   "cat: unix-listen:%s -> exec:cat" % self.path("cat"))
        self.channels()
        client = self.unix("cat")
        client.sendall(pattern(2000))
        got = b""
        while len(got) < 2000:
            got += client.recv(2000 - len(got))
        self.assert_reset_or_end(self.unix("none"))
        wait_until(lambda: self.states()["none"]["failed"] == 1, what="the failure")
        state = self.states()["cat"]
        self.assertEqual((state["state"], state["connections"], state["total"], state["bytes_from"], state["bytes_to"]),
                         ("connected", 1, 1, 2000, 2000))
        text = self.text()
        self.assertLessEqual(max(map(len, text.splitlines())), 80, text)
        for word in (name, "connected 1", "2.0 KiB", "x" * 70, "latest failure: unix:" + self.path("nobody")):
            self.assertIn(word, text)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("state")).st_mode), 0o600)

    def assert_reset_or_end(self, sock):
        """A client that has sent nothing can't always be told of a reset."""
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            read_all(sock)

    def test_slow_readers_of_the_state(self):
        """They hold up neither the channels nor, but for a time, each other."""
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"),
                   *("c%d: unix-listen:%s -> exec:%s" % (i, self.path("c%d" % i), "x" * 400) for i in range(1000)))
        self.channels()
        readers = [self.unix("state") for _ in range(30)]
        for reader in readers:
            self.assertEqual(reader.recv(14, socket.MSG_PEEK)[:5], b"idc-c") if reader in readers[:16] else None
        self.assertEqual(exchange(self.unix("cat"), pattern(1 << 20)), (pattern(1 << 20), 0))
        self.assertIn("cat", self.states_within(60))

    def states_within(self, seconds):
        status, out, err = self.ask(["idc", "status", "--channels", "--json", "--timeout", str(seconds), "--state",
                                       self.path("state")])
        self.assertEqual((status, err), (0, b""))
        return {one["name"] for one in json.loads(out)["channels"]}

    def test_a_second_one(self):
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"))
        first = self.channels()
        self.assertEqual(exchange(self.unix("cat"), b"x"), (b"x", 0))
        self.assert_one_line(self.channels(), "another one runs already", self.path("state"))
        self.assertEqual(exchange(self.unix("cat"), b"y"), (b"y", 0))
        self.end(first)

    def test_killed(self):
        """What it leaves behind is replaced."""
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"), "connection=pty,name=org.example.tty")
        first = self.channels()
        client = self.unix("cat")
        client.sendall(b"x")
        self.assertEqual(client.recv(10), b"x")
        before = os.readlink(self.path("t/org.example.tty"))
        holder = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)  # no terminal gets the number of the one that goes
        self.addCleanup(os.close, holder)
        first.kill()
        first.wait()
        self.assert_reset(client)
        self.assertTrue(os.path.lexists(self.path("state")) and os.path.lexists(self.path("cat")))
        second = self.channels()
        wait_until(lambda: self.ask_quietly() == {"cat", "org.example.tty"}, what="the second one")
        self.assertEqual(exchange(self.unix("cat"), b"again"), (b"again", 0))
        self.assertTrue(os.path.exists(self.path("t/org.example.tty")), before)
        self.end(second)

    def terminal(self, name="tty"):
        fd = os.open(self.path("t/" + name), os.O_RDWR | os.O_NOCTTY)
        return fd

    @staticmethod
    def settings(fd):
        """(exclusive, settings)"""
        return struct.unpack("i", fcntl.ioctl(fd, TIOCGEXCL, bytes(4)))[0], termios.tcgetattr(fd)[:6]

    def test_settings_of_a_terminal(self):
        """They end with the last program that has it open, whoever shares it."""
        self.write("pty: pty:%s -> unix:%s" % (self.path("t/tty"), self.path("server")))
        server, process = self.unix_server("server"), self.channels()
        peer, first = self.accept(server), self.terminal()
        before = self.settings(first)
        wrong = termios.tcgetattr(first)
        wrong[0] |= termios.IXON
        wrong[1] |= termios.OPOST | termios.ONLCR
        termios.tcsetattr(first, termios.TCSANOW, wrong)
        fcntl.ioctl(first, termios.TIOCEXCL)
        termios.tcflow(first, termios.TCOOFF)
        second = self.terminal()  # root may
        os.close(first)
        time.sleep(0.2)
        self.assertEqual(self.settings(second), (1, wrong[:6]))
        peer.sendall(b"\r\3no echo")  # it waits in the terminal
        time.sleep(0.2)
        os.close(second)
        time.sleep(1.5)
        third = self.terminal()
        self.assertEqual(self.settings(third), before)
        self.assertEqual(os.read(third, 100), b"\r\3no echo")
        os.write(third, b"answer\n")
        self.assertEqual(peer.recv(100), b"answer\n")
        os.close(third)
        os.unlink(self.path("server"))
        self.end(process)

    def test_terminal_that_is_opened_very_often(self):
        """While nobody counts: more changes than inotify keeps."""
        self.write("pty: pty:%s -> unix:%s" % (self.path("t/tty"), self.path("server")))
        server, process = self.unix_server("server"), self.channels()
        self.accept(server)
        first = self.terminal()
        before = self.settings(first)
        process.kill(signal.SIGSTOP)
        for _ in range(12000):
            os.close(os.open(self.path("t/tty"), os.O_RDWR | os.O_NOCTTY))
        fcntl.ioctl(first, termios.TIOCEXCL)
        os.close(first)
        process.kill(signal.SIGCONT)
        time.sleep(0.5)
        last = self.terminal()
        self.assertEqual(self.settings(last), before)
        os.close(last)
        os.unlink(self.path("server"))
        self.end(process)

    def ask_quietly(self):
        status, out, _ = self.ask(["idc", "status", "--channels", "--json", "--state", self.path("state")])
        return {one["name"] for one in json.loads(out)["channels"]} if status == 0 else None


    def test_something_else_at_the_path_of_its_state(self):
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"))
        with open(self.path("state"), "w", encoding="ascii") as stream:
            stream.write("valuable")
        self.assert_one_line(self.channels(), "is no socket, and stays")
        self.assertEqual(os.stat(self.path("state")).st_size, 8)
        os.unlink(self.path("state"))
        server = self.unix_server("state")
        self.assert_one_line(self.channels(), "another one runs already")
        self.unix("state")
        self.accept(server)

    def processor_ticks(self, process):
        with open("/proc/%d/stat" % process.pid, encoding="ascii") as stream:
            words = stream.read().rsplit(")", 1)[1].split()
        return int(words[11]) + int(words[12])

    def test_no_descriptor_for_a_reader_of_the_state(self):
        """He waits until there is one, and idc channels does not run in circles meanwhile."""
        self.write("pass: unix-listen:%s -> unix:%s" % (self.path("a"), self.path("b")))
        server = self.unix_server("b")
        process = self.channels()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (60, 60))
        clients = [self.unix("a") for _ in range(60)]
        wait_until(lambda: len(os.listdir("/proc/%d/fd" % process.pid)) == 60, what="no descriptor left")
        self.wait_line(process, b"Too many open files")
        reader = self.unix("state")
        before, end = self.processor_ticks(process), time.monotonic() + 2
        while time.monotonic() < end:
            time.sleep(0.1)
        self.assertLess(self.processor_ticks(process) - before, 20, "of 200, if it never waited")
        for client in clients:
            client.close()
        while self.states_within(5) is None:
            self.accept(server).close()
        self.assertIn(b"idc-channels 1", read_all(reader)[0])

    def few_descriptors(self, count):
        words = [self.world.find_program("idc"), "channels"] + self.place_options()
        process = self.a.spawn(["sh", "-c", "ulimit -n %d; exec %s" % (count, " ".join(words))])
        self.wait_path("state")
        return process

    def test_idle_clients_take_no_more_than_their_share(self):
        """The other channel works the whole time, and who comes beyond the share is told at once."""
        self.write("idle: unix-listen:%s -> unix:%s" % (self.path("idle"), self.path("b")),
                   "works: unix-listen:%s -> exec:cat" % self.path("works"))
        server = self.unix_server("b")
        process = self.few_descriptors(200)  # (200 - 64 - 2) / 2 = 67 connections, 16 for each, and 35 for both
        clients, share = [], 16 + 36 // 2
        for number in range(3 * share):
            clients.append(self.unix("idle"))
            if number >= share:
                self.assertEqual(read_all(clients[-1]), (b"", 0), "it is refused at once")
            if number % 8 == 0:
                self.assertEqual(exchange(self.unix("works"), b"works"), (b"works", 0))
        self.wait_line(process, b"refused: with 34 connections this channel has its share, of 67 that ")
        state = self.states()["idle"]
        self.assertEqual((state["connections"], state["failed"]), (share, 2 * share))
        self.assertIn("has its share", state["last_error"])
        others = [self.unix("works") for _ in range(16)]
        for other in others:
            self.assertEqual(exchange(other, b"at once"), (b"at once", 0))
        for client in clients:
            client.close()
        for _ in range(share):
            self.accept(server).close()
        wait_until(lambda: self.states()["idle"]["connections"] == 0, what="they have gone")
        client = self.unix("idle")
        client.sendall(b"x")
        self.assertEqual(self.accept(server).recv(1), b"x")
        os.unlink(self.path("b"))
        self.end(process)

    def test_too_few_descriptors(self):
        """A line says so. Clients don't take what the listeners and the files need."""
        lines = ["c%d: unix-listen:%s -> unix:%s" % (i, self.path("c%d" % i), self.path("b")) for i in range(40)]
        self.write(*lines)
        server = self.unix_server("b")
        process = self.few_descriptors(98)  # (98 - 40 - 28) / 2 = 15 connections
        self.wait_line(process, b"the limit of 98 descriptors is too small for 40 channels, ")
        clients = [self.unix("c%d" % (i % 40)) for i in range(80)]
        self.wait_line(process, b"refused: there are all 15 connections already that ")
        self.assertEqual(sum(one["connections"] for one in self.states().values()), 15)
        self.write(*lines, "new: unix-listen:%s -> unix:%s" % (self.path("new"), self.path("b")))
        process.kill(signal.SIGHUP)
        self.wait_path("new")
        self.wait_line(process, b"the limit of 98 descriptors is too small for 41 channels, ")
        for client in clients:
            client.close()
        for _ in range(15):
            self.accept(server).close()
        wait_until(lambda: sum(one["connections"] for one in self.states().values()) == 0, what="they have gone")
        client = self.unix("new")
        client.sendall(b"x")
        self.assertEqual(self.accept(server).recv(1), b"x")
        os.unlink(self.path("b"))
        self.end(process)

    def test_the_usual_bound_and_one_that_is_given(self):
        """Beyond max= a client waits. It is refused only where the share ends."""
        self.write("one: unix-listen:%s -> exec:cat max=1" % self.path("one"))
        process = self.few_descriptors(200)
        first, second = self.unix("one"), self.unix("one")
        second.sendall(b"second")
        self.assertEqual(exchange(first, b"first"), (b"first", 0))
        second.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(second), (b"second", 0))
        self.end(process)

    def start_unheard(self):
        """idc channels that still reads its files: it has more to say of them than the pipe takes, which nobody reads yet."""
        os.mkfifo(self.path("said"))
        said = os.open(self.path("said"), os.O_RDWR)
        self.addCleanup(os.close, said)
        fcntl.fcntl(said, fcntl.F_SETPIPE_SZ, 4096)
        words = [self.world.find_program("idc"), "channels"] + self.place_options()
        process = self.a.spawn(["sh", "-c", "exec %s 2>%s" % (" ".join(words), self.path("said"))])
        self.assertTrue(select.select([said], [], [], 60 * self.world.slowness)[0])
        return process, said

    def drain(self, said):
        data = b""
        while not data.endswith(b"that was all"):  # it may come in one piece with what was said before
            data = data[-100:] + os.read(said, 4096)

    def test_signals_before_it_runs(self):
        """SIGHUP and SIGTERM wait until it does. SIGHUP does not end it, and SIGTERM ends it with 0."""
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"), *["wrong" for _ in range(90)])
        for number in signal.SIGHUP, signal.SIGTERM:
            process, said = self.start_unheard()
            process.kill(number)
            reader = threading.Thread(target=self.drain, args=(said,))
            reader.start()
            if number == signal.SIGHUP:
                self.wait_path("state")
                self.assertEqual(self.states()["cat"]["state"], "listening")
                process.kill(signal.SIGTERM)
            status = process.wait()
            os.write(said, b"that was all")
            reader.join()
            os.unlink(self.path("said"))
            self.assertEqual(status, 0)

    def test_systemd_is_told(self):
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(told.close)
        told.bind(self.path("told"))
        told.settimeout(60 * self.world.slowness)
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"), "wrong")
        process = self.a.spawn(["idc", "channels"] + self.place_options(), env={"NOTIFY_SOCKET": self.path("told")})
        self.assertEqual(told.recv(1000), b"READY=1\nSTATUS=1 channels, 1 mistakes in their files")
        self.assertTrue(os.path.exists(self.path("cat")), "it listens")
        self.write("cat: unix-listen:%s -> exec:cat" % self.path("cat"), "b: unix-listen:%s -> exec:cat" % self.path("b"))
        process.kill(signal.SIGHUP)
        self.assertEqual(told.recv(1000), b"STATUS=2 channels, 0 mistakes in their files")
        os.unlink(self.path("told"))
        self.end(process)


class Reload(ChannelsCase):
    def leave_a_command(self, name, process):
        """Its number; its client has gone, and it does not notice."""
        before = self.children(process)
        self.unix(name).close()
        wait_until(lambda: len(self.children(process)) > len(before), what="the command")
        pid, = set(self.children(process)) - set(before)
        wait_until(lambda: os.path.basename(os.readlink("/proc/%d/exe" % pid)) in ("sleep", "coreutils", "busybox"), what="sleep")
        return pid

    def wait_gone(self, pid):
        def gone():
            try:
                with open("/proc/%d/stat" % pid, encoding="ascii") as stream:
                    return stream.read().rsplit(")", 1)[1].split()[0] == "Z"
            except FileNotFoundError:
                return True
        wait_until(gone, what="the end of a command")

    def test_commands_whose_clients_have_gone(self):
        """They end with their channel, and with the process."""
        def line(seconds):
            return 'c: unix-listen:%s -> "exec:exec sleep %d"' % (self.path("c"), seconds)
        stays = 's: unix-listen:%s -> "exec:exec sleep 1000"' % self.path("s")
        self.write(line(1000), stays)
        process = self.channels()
        first, kept = self.leave_a_command("c", process), self.leave_a_command("s", process)
        wait_until(lambda: all(one["connections"] == 0 for one in self.states().values()), what="no connection")
        self.write(line(1001), stays)
        process.kill(signal.SIGHUP)
        self.wait_gone(first)
        self.assertEqual(self.children(process), [kept])
        second = self.leave_a_command("c", process)
        wait_until(lambda: all(one["connections"] == 0 for one in self.states().values()), what="no connection")
        self.end(process)
        self.wait_gone(kept)
        self.wait_gone(second)

    def test_changes_while_data_flow(self):
        def line(name, rest="exec:cat"):
            return "%s: unix-listen:%s -> %s" % (name, self.path(name), rest)

        self.write(line("stays"), line("goes"), line("changes"))
        process = self.channels()
        clients = {name: self.unix(name) for name in ("stays", "goes", "changes")}
        for client in clients.values():
            client.sendall(b"x")
            self.assertEqual(client.recv(10), b"x")
        data, answer = pattern(64 << 20), []
        thread = threading.Thread(target=lambda: answer.append(exchange(clients["stays"], data)))
        thread.start()
        self.write("# other places, other blanks", line("changes", "exec:\"tr a-z A-Z\""), " " + line("stays"), line("comes"))
        self.reload(process, "stays", "changes", "comes")
        self.assert_reset(clients["goes"])
        self.assert_reset(clients["changes"])
        self.assertEqual(exchange(self.unix("changes"), b"abc"), (b"ABC", 0))
        self.assertEqual(exchange(self.unix("comes"), b"abc"), (b"abc", 0))
        self.assertFalse(os.path.exists(self.path("goes")))
        for i in range(20):
            self.write(line("stays"), line("turn%d" % i))
            self.reload(process, "stays", "turn%d" % i)
        thread.join()
        self.assertEqual([(hashlib.sha256(got).digest(), error) for got, error in answer],
                         [(hashlib.sha256(data).digest(), 0)])
        self.assertEqual(self.states()["stays"]["bytes_from"], len(data) + 1)
        self.end(process)

    def test_mistakes_lose_nothing(self):
        """A wrong line, a file and a directory that can't be read: what was there goes on."""
        def line(name):
            return "%s: unix-listen:%s -> exec:cat" % (name, self.path(name))

        self.write(line("a"), line("b"))
        self.write(line("c"), name="d/two")
        process = self.channels()
        clients = [self.unix(name) for name in "abc"]
        self.write("a: unix-listen:", line("b"), line("f"))
        os.chmod(self.path("d/two"), 0o666)
        self.reload(process, "a", "b", "c", "f")
        os.chmod(self.path("d/two"), 0o644)
        os.chmod(self.path("d"), 0o777)
        self.write(line("e"))
        process.kill(signal.SIGHUP)
        self.wait_line(process, b"d: can be written by everybody; what it said before stays\n")
        os.rename(self.path("d"), self.path("moved"))
        process.kill(signal.SIGHUP)
        self.wait_line(process, b"d: No such file or directory; what it said before stays\n")
        for client in clients:
            self.assertEqual(exchange(client, b"still"), (b"still", 0))
        os.rename(self.path("moved"), self.path("d"))
        os.chmod(self.path("d"), 0o755)
        self.reload(process, "c", "e")
        self.end(process)

    def test_a_file_that_was_cut_off(self):
        """Half of a line is a good one, and the other lines are missing: all channels of the file go on, as they were."""
        server, path = self.unix_server("s.longer"), self.path("s")
        self.write("a: unix-listen:%s -> unix:%s.longer" % (self.path("a"), path), "b: unix-listen:%s -> exec:cat" % self.path("b"))
        process = self.channels()
        client = self.unix("b")
        with open(self.path("d/one"), "r+b") as file:
            file.truncate(file.read().index(b".longer"))
        process.kill(signal.SIGHUP)
        self.wait_line(process, b"d/one:1:")
        self.assertEqual(set(self.states()), {"a", "b"})
        self.assertTrue(self.states()["a"]["to"].endswith(".longer"))
        self.unix("a").sendall(b"x")
        self.assertEqual(self.accept(server).recv(1), b"x")
        self.assertEqual(exchange(client, b"still"), (b"still", 0))
        os.unlink(self.path("s.longer"))
        self.end(process)

    def test_two_lines_exchange_their_paths(self):
        self.write("a: unix-listen:%s -> exec:cat" % self.path("a"), "b: unix-listen:%s -> \"exec:tr a b\"" % self.path("b"))
        process = self.channels()
        self.assertEqual(exchange(self.unix("b"), b"a"), (b"b", 0))
        self.write("a: unix-listen:%s -> exec:cat" % self.path("b"), "b: unix-listen:%s -> \"exec:tr a b\"" % self.path("a"))
        process.kill(signal.SIGHUP)
        wait_until(lambda: self.states()["a"]["from"].endswith("/b"), what="the exchange")
        self.assertEqual(exchange(self.unix("b"), b"a"), (b"a", 0))
        self.assertEqual(exchange(self.unix("a"), b"a"), (b"b", 0))
        self.end(process)


class BetweenDomains(ChannelsCase):
    def test_the_form_of_xl(self):
        """As libvirt's and xl's users have it: a socket here, a terminal there."""
        other = self.b.spawn(["idc", "forward", "unix-listen:" + self.path("client"), "idc:%d:org.example.agent" % self.a.domid])
        self.write("connection=pty,name=org.example.agent",
                   "connection=socket,path=%s,name=org.example.socket" % self.path("server"),
                   "there: connection=socket,path=%s,name=org.example.socket,domain=self,mode=600" % self.path("there"))
        server = self.unix_server("server")
        process = self.channels()
        self.wait_listener(self.a, "org.example.agent")
        self.wait_listener(self.a, "org.example.socket")
        terminal = os.open(self.path("t/org.example.agent"), os.O_RDWR | os.O_NOCTTY)
        self.addCleanup(os.close, terminal)
        client = self.unix("client")
        client.sendall(b"question\n")
        self.assertEqual(os.read(terminal, 100), b"question\n")
        os.write(terminal, b"answer\n")
        self.assertEqual(client.recv(100), b"answer\n")
        self.assertEqual(tty.tcgetattr(terminal)[3] & tty.ECHO, 0)
        self.wait_state("org.example.agent", "connected")
        self.assertEqual(stat.S_IMODE(os.stat(self.path("there")).st_mode), 0o600)
        far = self.unix("there")
        near = self.accept(server)
        far.sendall(b"x")
        self.assertEqual(near.recv(10), b"x")
        other.kill(signal.SIGTERM)
        other.wait()
        os.unlink(self.path("server"))
        self.end(process)

    def test_many(self):
        """A hundred services behind one process, with a thousand connections; their link_mgr is killed under them."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        need = 2 * CONNECTIONS + 300
        if hard < need:
            self.skipTest("the limit of descriptors is %d" % hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.write(*("c%d: unix-listen:%s -> idc:%d:org.example.s%d" % (i, self.path("c%d" % i), self.b.domid, i)
                     for i in range(CHANNELS)))
        self.write(*("s%d: idc-listen:org.example.s%d -> unix:%s" % (i, i, self.path("server")) for i in range(CHANNELS)),
                   name="t/services")
        server = self.unix_server("server")
        process = self.channels()
        services = self.b.spawn(["idc", "channels", "--config", self.path("t/services"), "--state", self.path("state-b")])
        self.wait_all_listen()
        pairs = [self.joined(server, i) for i in range(CONNECTIONS)]
        self.exchange_all(pairs)
        states = self.states()
        self.assertEqual((len(states), sum(one["connections"] for one in states.values())), (CHANNELS, CONNECTIONS))
        self.b.kill()
        for near, far in pairs:
            self.assert_reset(near)
            self.assert_reset(far)
        self.b.start()
        self.wait_all_listen()
        self.exchange_all([self.joined(server, i) for i in range(CHANNELS)])
        self.assertIsNone(process.returncode)
        services.kill(signal.SIGTERM)
        self.assertEqual(services.wait(), 0)
        os.unlink(self.path("server"))
        os.unlink(self.path("t/services"))
        self.end(process)

    def wait_all_listen(self):
        """The listeners of link_mgr, of which one is its own."""
        def listening():
            return [one for one in self.b.status()["listeners"] if one["service"].startswith("org.example.s")]

        wait_until(lambda: len(listening()) == CHANNELS, what="all listeners")

    def joined(self, server, number):
        client = self.unix("c%d" % (number % CHANNELS))
        client.sendall(b"%5d" % number)
        taken = self.accept(server)
        self.assertEqual(read_exactly(taken, 5), b"%5d" % number)
        return client, taken

    def exchange_all(self, pairs):
        for number, (near, far) in enumerate(pairs):
            near.sendall(b"to %5d" % number)
            far.sendall(b"back %5d" % number)
        for number, (near, far) in enumerate(pairs):
            self.assertEqual(self.read_exactly(far, 8), b"to %5d" % number)
            self.assertEqual(self.read_exactly(near, 10), b"back %5d" % number)

    def read_exactly(self, sock, size):
        data = b""
        while len(data) < size:
            some = sock.recv(size - len(data))
            self.assertTrue(some)
            data += some
        return data
