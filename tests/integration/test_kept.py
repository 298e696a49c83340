# SPDX-License-Identifier: GPL-2.0-or-later
"""Listeners that outlive their link_mgr (option keep of idc_listen_with): they come back by themselves, whoever waits and however, and
say why if they can't."""

import errno
import os
import signal
import time

from case import IdcTestCase
from test_listen import ListenCase
from world import wait_until

PORT = 2000
ABSENT_S = 10
QUIET_S = 1  # in which nothing may happen
SOON_S = 5   # half a second is promised


class KeptCase(IdcTestCase):
    def setUp(self):
        super().setUp()
        self.server, self.client = self.b.puppet(), self.a.puppet()

    def listening(self, port=PORT, domain=None):
        return [one for one in (domain or self.b).status()["listeners"] if one["port"] == port]

    def wait_listening(self, port=PORT):
        wait_until(lambda: self.listening(port), what="the listener")

    def assert_served(self, taking, server=None, port=PORT, client=None, place=7):
        """A connection comes through to the accept that waits, into `place`, and carries data."""
        client = client or self.client
        client.do("connect", place, domid=self.b.domid, port=port)
        taking.result()
        client.do("send", place, len=1000, seed=5)
        (server or self.server).do("check", place, len=1000, seed=5)
        client.do("close", place)
        (server or self.server).do("close", place)

    def descriptors(self, process):
        return len(self.b.list_directory("/proc/%d/fd" % process.pid))


class Waiting(KeptCase):
    def test_accept_waits_over_a_restart(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        for again in (self.b.restart, lambda: (self.b.stop(), self.b.start())):
            taking = self.server.begin("accept", 1, 7)
            self.assert_served(taking)
            taking = self.server.begin("accept", 1, 7)
            again()
            self.wait_listening()
            self.assertFalse(taking.done())
            self.assert_served(taking)

    def test_it_is_back_at_once(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        self.b.restart()
        begin = time.monotonic()
        self.wait_listening()
        self.assertLess(time.monotonic() - begin, SOON_S * self.world.slowness)

    def test_absent_for_ten_seconds(self):
        """Nobody is disturbed meanwhile: not one that waits, not one that polls, and the processor is not busy with it."""
        self.server.do("listen", 1, port=PORT, keep=1)
        self.server.do("listen", 2, name="org.example.kept", keep=1, nowait=1)
        self.b.kill()
        taking = self.server.begin("accept", 1, 7)
        polling = self.server.begin("poll", 2, events="in", timeout=120000)
        used = self.ticks(self.server.process)
        time.sleep(ABSENT_S)
        self.assertLess(self.ticks(self.server.process) - used, 0.5 * os.sysconf("SC_CLK_TCK"))
        self.assertFalse(taking.done() or polling.done())
        self.assert_errno(errno.EAGAIN, self.server.do, "accept", 2, 3)
        self.b.start()
        self.wait_listening()
        self.assert_served(taking)
        self.assertFalse(polling.done())
        self.client.do("connect", 8, domid=self.b.domid, name="org.example.kept", wait=1)
        self.assertEqual(polling.result()["in"], 1)
        self.server.do("accept", 2, 8)

    def ticks(self, process):
        words = self.b.read_file("/proc/%d/stat" % process.pid).rpartition(b")")[2].split()
        return int(words[11]) + int(words[12])

    def test_many_threads(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        for _ in range(3):
            taking = [self.server.begin("accept", 1, 100 + i) for i in range(30)]
            self.b.restart()
            self.wait_listening()
            for i in range(30):
                self.client.do("connect", 100 + i, domid=self.b.domid, port=PORT)
            for one in taking:
                one.result()
            for i in range(30):
                self.server.do("close", 100 + i)
                self.client.do("close", 100 + i)

    def test_many_listeners(self):
        for i in range(100):
            self.server.do("listen", i, port=PORT + i, keep=1)
        before = self.descriptors(self.server.process)
        for _ in range(5):
            self.b.restart()
            wait_until(lambda: len(self.b.status()["listeners"]) == 101, what="all listeners")
        self.assertEqual(self.descriptors(self.server.process), before)
        for i in range(0, 100, 7):
            self.assert_served(self.server.begin("accept", i, 200), port=PORT + i, place=200)

    def test_a_hung_link_mgr(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        taking = self.server.begin("accept", 1, 7)
        self.b.freeze()
        time.sleep(QUIET_S)
        self.b.thaw()
        self.assertFalse(taking.done())
        self.assert_served(taking)

    def test_ports(self):
        picked = int(self.server.do("listen", 1, keep=1)["port"])
        self.server.do("listen", 2, name="org.example.kept", keep=1)
        self.b.restart()
        wait_until(lambda: len(self.b.status()["listeners"]) == 3, what="both")
        self.assertTrue(self.listening(picked))
        self.assert_served(self.server.begin("accept", 1, 7), port=picked)

    def test_messages(self):
        self.server.do("listen", 1, port=PORT, keep=1, type="seqpacket")
        self.b.restart()
        self.wait_listening()
        taking = self.server.begin("accept", 1, 7)
        self.client.do("connect", 7, domid=self.b.domid, port=PORT, type="seqpacket")
        taking.result()
        self.client.do("send", 7, len=300000, seed=2)
        self.assertEqual(self.server.do("recv", 7, max=400000)["n"], 300000)

    def test_who_had_waited(self):
        """From within the domain the connection lives on; from another one it is over. Both, and their answers, do no harm."""
        self.server.do("listen", 1, port=PORT, keep=1)
        near = self.b.puppet()
        self.client.do("connect", 7, domid=self.b.domid, port=PORT)
        near.do("connect", 7, domid=self.b.domid, port=PORT)
        wait_until(lambda: self.listening()[0]["waiting"] == 2, what="both wait")
        self.b.restart()
        self.wait_listening()
        self.server.do("accept", 1, 10)
        self.assert_errno(errno.ECONNRESET, self.server.do, "recv", 10, max=1)
        self.server.do("accept", 1, 11)
        near.do("send", 7, len=100, seed=1)
        self.server.do("check", 11, len=100, seed=1)
        self.assert_served(self.server.begin("accept", 1, 7))
        self.assertEqual(self.listening()[0]["accepted"], 1)

    def test_backlog(self):
        """It bounds who waits, also after a restart."""
        self.server.do("listen", 1, port=PORT, keep=1, backlog=2)
        self.b.restart()
        self.wait_listening()
        for place in 1, 2:
            self.client.do("connect", place, domid=self.b.domid, port=PORT)
        self.assert_errno(errno.ECONNREFUSED, self.client.do, "connect", 3, domid=self.b.domid, port=PORT)
        self.server.do("accept", 1, 5)
        self.client.do("connect", 3, domid=self.b.domid, port=PORT)
        self.assertEqual(self.listening()[0]["waiting"], 2)

    def test_test_accept(self):
        accepting = self.b.spawn(["test_accept", str(PORT)])
        accepting.stdout.read_until(b"\n", 60)
        self.b.restart()
        self.wait_listening()
        result = self.a.run(["test_conn", str(self.b.domid), str(PORT)])
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertIsNone(accepting.returncode)


class Ended(KeptCase):
    def test_by_unlisten(self):
        """With link_mgr there, and without. Whoever waits wakes up."""
        for place in 1, 2:
            self.server.do("listen", place, port=PORT, keep=1)
            taking = self.server.begin("accept", place, 7)
            if place == 2:
                self.b.kill()
            self.server.do("unlisten", place)
            with self.assertRaises(OSError) as context:
                taking.result()
            self.assertIn(context.exception.errno, (errno.ECONNABORTED, errno.EBADF))  # by then it may be closed
            if place == 1:
                self.assertEqual(self.listening(), [])
        self.b.start()
        time.sleep(QUIET_S)
        self.assertEqual(self.listening(), [])

    def test_by_close(self):
        before = self.descriptors(self.server.process)
        for _ in range(20):
            self.server.do("listen", 1, port=PORT, keep=1)
            self.server.do("close", 1)
        self.server.do("listen", 1, port=PORT, keep=1)
        self.server.do("close", 1)
        wait_until(lambda: not self.listening(), what="its end")
        wait_until(lambda: self.descriptors(self.server.process) <= before + 2, what="no descriptors")  # a line, the thread's set
        self.server.do("listen", 1, port=PORT, keep=1)
        self.b.kill()
        self.server.do("close", 1)
        self.b.start()
        time.sleep(QUIET_S)
        self.assertEqual(self.listening(), [])

    def test_by_its_program(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        self.b.restart()
        self.wait_listening()
        self.server.kill()
        wait_until(lambda: not self.listening(), what="its end")

    def test_without_keep(self):
        self.server.do("listen", 1, port=PORT)
        taking = self.server.begin("accept", 1, 7)
        self.b.restart()
        self.assert_errno(errno.ECONNABORTED, taking.result)

    def test_wrong(self):
        self.server.do("listen", 1, port=PORT, keep=1)
        self.assert_errno(errno.EADDRINUSE, self.server.do, "listen", 2, port=PORT, keep=1)
        self.assert_errno(errno.EINVAL, self.server.do, "listen", 2, port=PORT + 1, keep=2)
        self.assert_errno(errno.EINVAL, self.server.do, "listen", 2, name="a/b", keep=1)
        before = self.descriptors(self.server.process)
        self.b.kill()
        for _ in range(10):
            with self.assertRaises(OSError) as context:
                self.server.do("listen", 2, port=PORT + 1, keep=1)
            self.assertIn(context.exception.errno, (errno.ENOENT, errno.ECONNREFUSED))
        self.assertLessEqual(self.descriptors(self.server.process), before)
        self.b.start()

    def test_a_program_that_answers_nonsense(self):
        """Bytes that are no answer end it for good; nobody keeps such a one."""
        self.server.do("listen", 1, port=PORT, keep=1)
        taking = self.server.begin("accept", 1, 7)
        self.server.do("send", 1, len=3, raw=1)
        self.assert_errno(errno.ECONNABORTED, taking.result)
        wait_until(lambda: not self.listening(), what="its end")


class Refused(ListenCase):
    listening, wait_listening = KeptCase.listening, KeptCase.wait_listening

    def test_taken_by_another(self):
        """One accept says so, once; a poll sees it. When it is free again, all goes on."""
        server, other, client = self.b.puppet(), self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=PORT, keep=1)
        taking = server.begin("accept", 1, 7)
        server.process.kill(signal.SIGSTOP)
        self.b.restart(*self.options)
        other.do("listen", 1, port=PORT)
        server.process.kill(signal.SIGCONT)
        error = self.assert_errno(errno.EADDRINUSE, taking.result)
        self.assertIn("listens on port %d" % PORT, error.text)
        taking = server.begin("accept", 1, 7)
        time.sleep(QUIET_S)
        self.assertFalse(taking.done(), "told once")
        other.do("unlisten", 1)
        client.do("connect", 7, domid=self.b.domid, port=PORT, wait=1)
        taking.result()

    def test_no_longer_allowed(self):
        """By a restart, and by new rules while link_mgr goes on; and allowed again."""
        self.rules("allow 1000 *\n")
        server, client = self.b.puppet(uid=1000), self.a.puppet()
        server.do("listen", 1, port=PORT, keep=1)
        self.put_file(self.b, "deny * *\n")
        self.b.restart(*self.options)
        self.assertEqual(server.do("poll", 1, events="in", timeout=60000)["in"], 1)
        self.assert_errno(errno.EACCES, server.do, "accept", 1, 7)
        self.loads = self.b.log().count("who may listen: ") and 1
        self.put_file(self.b, "allow 1000 *\n")
        self.b.daemon.kill(signal.SIGHUP)
        self.wait_listening()
        self.put_file(self.b, "deny * *\n")
        self.b.daemon.kill(signal.SIGHUP)
        self.assert_errno(errno.EACCES, server.do, "accept", 1, 7)
        self.assertEqual(self.listening(), [])
        self.put_file(self.b, "allow 1000 *\n")
        self.b.daemon.kill(signal.SIGHUP)
        client.do("connect", 7, domid=self.b.domid, port=PORT, wait=1)
        server.do("accept", 1, 7)


class Shared(KeptCase):
    def test_workers_that_were_forked(self):
        server = self.b.spawn(["prefork", str(PORT), "4", "keep"])
        workers = sorted(map(int, server.stdout.read_until(b"\n").split()))
        for _ in range(3):
            self.b.restart()
            self.wait_listening()
            clients = [self.a.spawn(["idc", "cat", str(self.b.domid), str(PORT)]) for _ in workers]
            self.assertEqual(sorted(int(one.stdout.read_until(b"\n", 60)) for one in clients), workers)
            for one in clients:
                one.close_stdin()
                self.assertEqual(one.wait(), 0)
        self.assertIsNone(server.returncode)

    def test_one_that_was_passed_on(self):
        """It is kept by who made it. After that one's end it lives as long as its link_mgr."""
        path = os.path.join(self.world.store_directory, "pass") if self.world.platform == "local" else "/tmp/pass"
        taker = self.b.puppet()
        self.addCleanup(self.b.run, ["rm", "-f", path])
        taker.do("listen", 1, unix=path)
        self.server.do("connect", 2, unix=path)
        taker.do("accept", 1, 2)
        self.server.do("listen", 1, port=PORT, keep=1)
        self.server.do("pass", 2, 1)
        taker.do("take", 2, 3)
        self.b.restart()
        self.wait_listening()
        self.assert_served(taker.begin("accept", 3, 7), taker)
        self.server.kill()
        self.assert_served(taker.begin("accept", 3, 7), taker)
        taking = taker.begin("accept", 3, 7)
        self.b.restart()
        self.assert_errno(errno.ECONNABORTED, taking.result)
