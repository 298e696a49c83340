# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc cat` in pipelines. Its exit status says whether what was sent may be incomplete: it ends with 1
and a line that says why when the connection is cut off, also when the other side had ended its own half before and cat only
waits for more to send."""

import contextlib
import itertools
import os
import re
import signal
import tempfile

from case import IdcTestCase
from terminal import Terminal
from world import wait_until


class Producer(IdcTestCase):
    def start(self):
        """(consumer, producer): the consumer has ended its half and has the connection in place 2, cat has seen that, and both
        have nothing under way."""
        consumer = self.b.puppet()
        consumer.do("listen", 1, port=80)
        producer = self.a.spawn(["idc", "cat", str(self.b.domid), "80"])
        consumer.do("accept", 1, 2)
        consumer.do("shutdown", 2)
        self.assertEqual(producer.stdout.read_all(60), b"")
        producer.write(b"some")
        self.assertEqual(consumer.do("recv", 2, max=4)["n"], 4)
        return consumer, producer

    def assert_failed(self, producer, words):
        status = producer.wait()
        text = producer.stderr.read_all(60).decode()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn(words, text)

    def test_the_consumers_link_mgr_is_killed(self):
        _, producer = self.start()
        self.b.kill()
        self.assert_failed(producer, "link was lost")
        self.b.start(*self.options)

    def test_the_permission_is_withdrawn(self):
        _, producer = self.start()
        self.world.setup(self.a, self.b, remove=True)
        self.assert_failed(producer, "withdrawn")

    def test_the_consumer_closes_without_reading(self):
        consumer, producer = self.start()
        producer.write(b"more")
        consumer.do("recv", 2, max=1)
        consumer.do("close", 2)
        self.assert_failed(producer, "without reading everything")

    def test_the_own_link_mgr_is_killed(self):
        _, producer = self.start()
        self.a.kill()
        self.assert_failed(producer, "reset")
        self.a.start(*self.options)

    def test_the_consumer_closes_and_has_read_all(self):
        """That is no failure: it wants no more."""
        consumer, producer = self.start()
        consumer.do("close", 2)
        self.assertEqual((producer.wait(), producer.stderr.read_all(60)), (0, b""))


class Keeper(IdcTestCase):
    """`idc cat --listen --keep` with something to say."""

    def start(self, *options):
        keeper = self.b.spawn(["idc", "cat", "--listen", "--keep", "--port", "80", *options])
        self.wait_listening()
        return keeper

    def wait_listening(self):
        wait_until(lambda: any(one["port"] == 80 for one in self.b.status()["listeners"]), what="it listens")

    def assert_answered(self, words, expected):
        asker = self.a.spawn(["idc", "cat", str(self.b.domid), "80"])
        asker.write(words)
        asker.close_stdin()
        self.assertEqual((asker.wait(), asker.stdout.read_all(60), asker.stderr.read_all(60)), (0, expected, b""))

    def test_it_is_there_again_after_its_link_mgr(self):
        keeper = self.start("--exec", "tr a-z A-Z")
        for again in (self.b.restart, lambda: (self.b.stop(), self.b.start(*self.options))):
            self.assert_answered(b"before", b"BEFORE")
            again()
            self.wait_listening()
        self.assert_answered(b"after", b"AFTER")
        keeper.kill()
        self.assertEqual(keeper.stderr.read_all(60), b"")

    def test_its_link_mgr_ends_under_a_connection(self):
        keeper, client = self.start(), self.a.puppet()
        client.do("connect", 1, domid=self.b.domid, port=80)
        keeper.write(b"x")
        self.assertEqual(client.do("recv", 1, max=1)["n"], 1)
        self.b.restart(*self.options)
        self.assertIn(b"receiving: ", keeper.stderr.read_until(b"\n", 60))
        self.wait_listening()
        client.do("connect", 2, domid=self.b.domid, port=80, wait=1)
        keeper.write(b"next")
        self.assertEqual(client.do("recv", 2, max=4)["n"], 4)

    def test_another_has_its_port(self):
        """It says so once, and goes on when the port is free."""
        keeper, other = self.start("--exec", "cat"), self.b.puppet()
        keeper.kill(signal.SIGSTOP)
        self.b.restart(*self.options)
        other.do("listen", 1, port=80)
        keeper.kill(signal.SIGCONT)
        self.assertIn(b"listens on port 80", keeper.stderr.read_until(b"\n", 60))
        other.do("unlisten", 1)
        self.wait_listening()
        self.assert_answered(b"again", b"again")
        keeper.kill()
        self.assertEqual(keeper.stderr.read_all(60), b"")

    def test_a_reader_that_says_nothing_gets_all(self):
        """It has ended its own half at once. What is said after a pause is for it too."""
        keeper = self.start()
        reader = self.a.spawn(["idc", "cat", "-d", str(self.b.domid), "80"])
        for part in (b"x" * 300000, b"y" * 300000):
            keeper.write(part)
            self.assertEqual(reader.stdout.read_exactly(len(part), 60), part)
        keeper.close_stdin()
        self.assertEqual((reader.wait(), reader.stdout.read_all(60), reader.stderr.read_all(60)), (0, b"", b""))

    def test_the_next_one_gets_what_the_first_did_not_wait_for(self):
        keeper, first = self.start(), self.a.puppet()
        first.do("connect", 1, domid=self.b.domid, port=80)
        keeper.write(b"first\n")
        self.assertEqual(first.do("recv", 1, max=6)["n"], 6)
        first.do("close", 1)
        reader = self.a.spawn(["idc", "cat", "-d", str(self.b.domid), "80"])
        wait_until(lambda: [(one["accepted"], one["waiting"]) for one in self.b.status()["listeners"] if one["port"] == 80]
                   == [(2, 0)], what="the second one's turn")
        keeper.write(b"second\n")
        keeper.close_stdin()
        self.assertEqual((reader.wait(), reader.stdout.read_all(60)), (0, b"second\n"))

    def test_no_wait_answers_who_has_asked(self):
        keeper = self.start("-N")
        for _ in range(2):
            asker = self.a.spawn(["idc", "cat", str(self.b.domid), "80"])
            asker.write(b"question\n")
            self.assertEqual(keeper.stdout.read_until(b"\n", 60), b"question\n")
            asker.close_stdin()
            self.assertEqual((asker.wait(), asker.stderr.read_all(60)), (0, b""))


class Messages(IdcTestCase):
    def test_an_empty_message_is_no_end(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80, type="seqpacket")
        reader = self.a.spawn(["idc", "cat", "-d", "--seqpacket", str(self.b.domid), "80"])
        server.do("accept", 1, 2)
        for length in (10, 0, 20):
            server.do("send", 2, len=length)
        server.do("close", 2)
        self.assertEqual((reader.wait(), len(reader.stdout.read_all(60)), reader.stderr.read_all(60)), (0, 30, b""))


class Unreadable(IdcTestCase):
    """Standard input is there, and can't be read. What the other side says is shown, and nothing waits for ever."""

    STDINS = {
        "0<&-": b"Bad file descriptor",
        "0</tmp": b"Is a directory",
        "0>/dev/null": b"Bad file descriptor",
        "0>&1": b"Bad file descriptor",  # the writing end of a pipe
    }

    def setUp(self):
        super().setUp()
        self.server = self.b.puppet()
        self.server.do("listen", 1, port=80)

    def start(self, place, options, stdin):
        command = "exec %s cat %s %d 80 %s" % (self.world.find_program("idc"), options, self.b.domid, stdin)
        cat = self.a.spawn(["sh", "-c", command])
        self.server.do("accept", 1, place)
        self.assertEqual(self.server.do("recv", place, max=1)["n"], 0)  # its sending side is shut down
        return cat

    def assert_failed(self, cat, length, words):
        status, output, errors = cat.wait(), cat.stdout.read_all(60), cat.stderr.read_all(60)
        self.assertEqual((status, len(output), errors), (1, length, b"idc cat: stdin: %s\n" % words))

    def test_the_other_side_is_silent(self):
        cats = [(self.start(10 + place, options, stdin), self.STDINS[stdin])
                for place, (options, stdin) in enumerate(itertools.product(("", "--send-only"), self.STDINS))]
        for cat, words in cats:
            self.assert_failed(cat, 0, words)

    def test_the_other_side_answers(self):
        for stdin, words in self.STDINS.items():
            with self.subTest(stdin=stdin):
                cat = self.start(2, "", stdin)
                self.server.do("send", 2, len=5)
                self.server.do("close", 2)
                self.assert_failed(cat, 5, words)


class Expected(IdcTestCase):
    """--expect-uid: nothing is said to an impostor."""

    def setUp(self):
        super().setUp()
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")

    def cat(self, uid, domid, target):
        client = self.a.spawn(["idc", "cat", "--expect-uid", str(uid), str(domid), target])
        with contextlib.suppress(BrokenPipeError):  # it may have found the impostor, and ended, already
            client.write(b"secret")
        return client

    def test_the_right_one_and_an_impostor(self):
        for domain in (self.b, self.a):
            server = domain.puppet(uid=33)
            server.do("listen", 1, name="org.example.sql", port=3000)
            for target in ("3000", "org.example.sql"):
                taking = server.begin("accept", 1, 2)
                client = self.cat(1033, domain.domid, target)
                taking.result()
                self.assertEqual(server.do("recv", 2, max=6)["n"], 0)
                self.assertEqual((client.wait(), client.stdout.read_all(60)), (1, b""))
                self.assertEqual(client.stderr.read_all(60), b"idc cat: a program of uid 33 listens there, not of uid 1033\n")
                taking = server.begin("accept", 1, 3)
                client = self.cat(33, domain.domid, target)
                taking.result()
                self.assertEqual(server.do("recv", 3, max=6)["n"], 6)
                server.do("close", 3)
                self.assertEqual(client.wait(), 0)
                server.do("close", 2)

    def test_wrong_options(self):
        for options in (["--expect-uid", "root", "1", "80"], ["--expect-uid", "4294967295", "1", "80"], ["--listen", "--expect-uid", "0"]):
            result = self.a.run(["idc", "cat"] + options)
            self.assertEqual(result.returncode, 2, options)
            self.assertIn(b"--expect-uid", result.stderr)


class SendOnly(IdcTestCase):
    def received(self, puppet):
        count, got = 0, -1
        while got != 0:
            got = puppet.do("recv", 2, max=65536)["n"]
            count += got
        return count

    def test_what_comes_later_does_no_harm(self):
        """The other side speaks once all is said, and only then reads. If cat had closed, that would be a reset, and what was
        sent would be lost."""
        consumer = self.b.puppet()
        consumer.do("listen", 1, port=80)
        producer = self.a.spawn(["idc", "cat", "--send-only", str(self.b.domid), "80"])
        consumer.do("accept", 1, 2)
        producer.write(b"x" * 100000)
        producer.close_stdin()
        consumer.do("poll", 2, events="rdhup", timeout=60000)
        consumer.do("send", 2, len=1000000)
        self.assertEqual(self.received(consumer), 100000)
        consumer.do("close", 2)
        self.assertEqual((producer.wait(), producer.stdout.read_all(60), producer.stderr.read_all(60)), (0, b"", b""))


class Progress(IdcTestCase):
    """`idc cat --progress`."""
    platforms = ("local",)

    def sink(self):
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "sink", "-c", "cat >/dev/null"])
        self.assertEqual(self.a.run(["idc", "wait", str(self.b.domid), "sink"]).returncode, 0)

    def test_a_pipe_and_a_file(self):
        self.sink()
        result = self.a.run(["idc", "cat", "--progress", str(self.b.domid), "sink"], input=b"x" * 2048)
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertRegex(result.stderr.decode(), r"^sent 2\.0 KiB, received 0 B, [\d.]+ [KMG]?i?B/s, \d+ s\n$")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"y" * 3072)
            file.flush()
            result = self.a.run(["sh", "-c", "%s cat --progress %d sink <%s" % (
                self.world.find_program("idc"), self.b.domid, file.name)])
        self.assertRegex(result.stderr.decode(), r"^sent 3\.0 KiB of 3\.0 KiB \(100 %\), received 0 B, .*/s, \d+ s\n$")

    def test_what_comes(self):
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "source", "-c", "head -c 4096 /dev/zero"])
        self.assertEqual(self.a.run(["idc", "wait", str(self.b.domid), "source"]).returncode, 0)
        result = self.a.run(["idc", "cat", "-d", "--progress", str(self.b.domid), "source"])
        self.assertEqual((result.returncode, len(result.stdout)), (0, 4096))
        self.assertIn("received 4.0 KiB, ", result.stderr.decode())

    def test_a_line_that_is_written_anew(self):
        self.sink()
        env = {**os.environ, "IDC_SOCKET": self.a.socket}
        with tempfile.TemporaryDirectory() as directory:
            terminal = Terminal(directory, ["sh", "-c", "(head -c 1024 /dev/zero; cat) | %s cat --progress %d sink; cat" % (
                self.world.find_program("idc"), self.b.domid)], env)
            self.addCleanup(terminal.close)
            for second in 1, 3:
                wait_until(lambda: re.search(r", (\d+) s$", terminal.screen()[0]) and
                           int(re.search(r", (\d+) s$", terminal.screen()[0])[1]) >= second, what="a line with seconds")
            self.assertEqual([line[:12] for line in terminal.screen() if line], ["sent 1.0 KiB"])
            terminal.close()

    def test_it_is_for_one_connection(self):
        for words in (["-l", "-k"], ["-l", "-c", "cat"]):
            result = self.a.run(["idc", "cat", "--progress", *words])
            self.assertEqual(result.returncode, 2)
            self.assertIn(b"--progress is for one connection", result.stderr)
