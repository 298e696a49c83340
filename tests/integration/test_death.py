# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of daemons and of programs, kind and unkind: whoever talked with them is told at once and truthfully, the others are
not disturbed, and whatever starts again is usable at once."""

import errno
import os
import signal
import socket
import time

from case import IdcTestCase
from world import wait_until



class Daemons(IdcTestCase):
    """a, b and c all talk with each other."""
    roles = "abc"

    def traffic(self, client, server, port):
        """Bulk both ways. The two flows programs; data are under way when this returns."""
        accept = server.flows("accept", port=port, count=4, bytes=-1)
        accept.expect("ready")
        connect = client.flows("connect", domid=server.domid, port=port, count=4, bytes=-1)
        connect.expect("open"), accept.expect("open")
        wait_until(lambda: sum(accept.progress()[1]) > 100000 and sum(connect.progress()[1]) > 100000, what="traffic")
        return connect, accept

    def blocked_reader(self, client, server, port, place=1):
        """A puppet in client that waits for data from server."""
        one, other = client.puppet(), server.puppet()
        other.do("listen", 50 + place, port=port)
        taking = other.begin("accept", 50 + place, place)
        one.do("connect", place, domid=server.domid, port=port)
        taking.result()
        return one.begin("recv", place), other.begin("recv", place)

    def assert_all_reset(self, flows):
        """Each of its connections ended with an error, never with a clean end. Who finds out by sending gets EPIPE, as always."""
        for _ in range(4):
            error = flows.expect("error")
            self.assertIn(error["errno"], ("ECONNRESET",) if error["where"] == "recv" else ("ECONNRESET", "EPIPE"))
        self.assertEqual(flows.expect("done")["errors"], 4)

    def goes_on(self, connect, accept):
        before = sum(accept.progress()[1])
        wait_until(lambda: sum(accept.progress()[1]) > before + 1000000, 60 * self.world.slowness, "traffic that goes on")
        for side in (connect, accept):
            side.say("stop")
        connect.done(), accept.done()

    def lose(self, victim, how):
        """victim's link_mgr goes away in mid-traffic with a; a's traffic with the third goes on."""
        survivor = self.c if victim is self.b else self.b
        lost = self.traffic(self.a, victim, 80)
        kept = self.traffic(self.a, survivor, 80)
        waiting, in_victim = self.blocked_reader(self.a, victim, 81)
        how(victim)
        # By an event: nothing looks after a link that is up, so without one this would wait for ever.
        self.assert_errno(errno.ECONNRESET, waiting.result)
        self.assert_errno(errno.ECONNRESET, in_victim.result)
        for side in lost:
            self.assert_all_reset(side)
        client = self.a.puppet()
        # Before the limit of the connect, which would be ETIMEDOUT. (How long exactly it waits for a new start: test_peer.)
        self.assert_errno(errno.EHOSTUNREACH, client.do, "connect", 1, domid=victim.domid, port=80, timeout=300000)
        self.goes_on(*kept)
        victim.start(*self.options)
        server = victim.puppet()
        server.do("listen", 9, port=80)
        client.do("connect", 2, domid=victim.domid, port=80)
        server.do("accept", 9, 2)
        client.do("send", 2, len=1000, seed=1)
        client.do("close", 2)
        self.assertEqual(server.do("check", 2, seed=1)["n"], 1000)

    def kill(self, domain):
        domain.kill()

    def stop(self, domain):
        domain.stop()

    def test_kill_the_one_with_the_higher_domid(self):
        self.lose(self.b, self.kill)

    def test_kill_the_one_with_the_lower_domid(self):
        self.lose(self.c, self.kill)

    def test_sigterm_in_mid_traffic(self):
        self.lose(self.b, self.stop)

    def test_sigterm_in_mid_traffic_lower(self):
        self.lose(self.c, self.stop)

    def test_both_killed_and_started_in_either_order(self):
        for first, second in ((self.a, self.b), (self.b, self.a)):
            self.assert_link_works()
            first.kill()
            second.kill()
            second.start(*self.options)
            first.start(*self.options)

    def test_killed_again_and_again(self):
        for number in range(10):
            victim = (self.a, self.b)[number % 2]
            self.assert_link_works()
            victim.restart(*self.options)

    def test_stopped_link_mgr_is_not_a_dead_one(self):
        """SIGSTOP, as a paused domain: connections wait, and nothing is lost."""
        client, server = self.pair()
        sending = client.begin("send", 1, len=4 << 20, seed=1)
        checking = server.begin("check", 1, len=4 << 20, seed=1)
        self.b.freeze()
        time.sleep(2)
        self.assertFalse(checking.done() and sending.done())
        self.b.thaw()
        self.assertEqual(checking.result()["n"], 4 << 20)
        sending.result()


class Slow(IdcTestCase):
    """A link_mgr that takes longer than any step of making a link usually does, here stopped by SIGSTOP. It is there all the same."""

    def begin_to(self, one, other):
        """A connect from one to other, which is stopped, and whose time is over once."""
        client = one.puppet()
        other.freeze()
        connecting = client.begin("connect", 1, domid=other.domid, port=80)
        one.wait_log(b"link still ", 120)
        self.assertFalse(connecting.done())
        return connecting

    def test_is_waited_for(self):
        for one, other in ((self.a, self.b), (self.b, self.a)):
            server = other.puppet()
            server.do("listen", 1, port=80)
            connecting = self.begin_to(one, other)
            other.thaw()
            connecting.result()
            server.do("accept", 1, 2)
            one.kill_programs(), other.kill_programs()
            for domain in (one, other):
                domain.restart(*self.options)

    def test_but_no_longer_than_the_limit_of_the_connect(self):
        for one, other in ((self.a, self.b), (self.b, self.a)):
            other.freeze()
            error = self.assert_errno(errno.ETIMEDOUT, one.puppet().do, "connect", 1, domid=other.domid, port=80, timeout=6000)
            self.assertIn("did not answer", error.text)
            other.thaw()
        self.assert_link_works()


class Programs(IdcTestCase):
    def test_killed_in_mid_traffic(self):
        for number in range(5):
            accept = self.b.flows("accept", port=80, count=20, bytes=-1)
            accept.expect("ready")
            connect = self.a.flows("connect", domid=self.b.domid, port=80, count=20, bytes=-1)
            connect.expect("open"), accept.expect("open")
            wait_until(lambda: sum(accept.progress()[1]) > 100000, what="traffic")
            victim, other = (accept, connect) if number % 2 else (connect, accept)
            victim.process.kill()
            victim.process.wait()
            for _ in range(20):
                self.assertIn(other.expect("error")["errno"], ("ECONNRESET", "EPIPE"))
            other.expect("done")
            for domain in (self.a, self.b):
                self.assert_quiet(domain)

    def test_killed_while_it_waits(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80)
        accepting = [server.begin("accept", 1, place) for place in range(2, 20)]
        client = self.a.puppet()
        client.do("connect", 1, domid=self.b.domid, port=80)
        wait_until(lambda: any(one.done() for one in accepting), what="the one that was accepted")
        server.kill()
        self.assertEqual(client.do("check", 1)["end"], 1)
        self.assert_quiet(self.b)
        self.assert_errno(errno.ECONNREFUSED, client.do, "connect", 2, domid=self.b.domid, port=80)

    def test_killed_with_a_backlog(self):
        """Connections that waited in the listener of a program that dies are reset."""
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=80)
        for place in range(1, 30):
            client.do("connect", place, domid=self.b.domid, port=80)
        server.kill()
        for place in range(1, 30):
            self.assert_errno(errno.ECONNRESET, client.do, "recv", place)

    def test_killed_while_it_connects(self):
        self.assert_link_works()
        self.b.freeze()
        clients = [self.a.puppet() for _ in range(10)]
        for client in clients:
            client.begin("connect", 1, domid=self.b.domid, port=80)
        wait_until(lambda: self.a.counters()["connects"] >= 11, what="the requests on their way")
        for client in clients:
            client.kill()
        self.b.thaw()
        for domain in (self.a, self.b):
            self.assert_quiet(domain)


class CleanWorld(IdcTestCase):
    """What a test that failed may leave does not concern the next one."""

    def test_daemons_that_nobody_knows(self):
        left = [domain.daemon for domain in (self.a, self.b)]
        program = self.a.puppet().process
        self.a.freeze()
        for domain in (self.a, self.b):
            domain.daemon = None
        self.world.clean_up()
        self.world.begin()
        self.assertEqual([process.returncode for process in left + [program]], [-signal.SIGKILL] * 3)
        self.world.setup(self.a, self.b)
        for domain in (self.a, self.b):
            domain.start(*self.options)
        self.assert_link_works()


class Starting(IdcTestCase):
    """The files of a starting link_mgr."""
    platforms = ("local",)

    def try_start(self, domain, *options):
        """Another link_mgr as domain's; it must give up with one line, which is returned."""
        argv = ["link_mgr"] + self.world.daemon_options(domain, options)
        process = domain.spawn(argv)
        out, err = process.communicate()
        self.assertEqual((process.returncode, out), (1, b""), err)
        self.assertEqual(err.count(b"\n"), 1, err)
        return err.decode()

    def test_second_start_is_refused(self):
        client, server = self.pair()
        for options in ((), ("--socket", self.a.socket + "2")):
            self.assertRegex(self.try_start(self.a, *options), "already|runs|in use")
        client.do("send", 1, len=1000, seed=1)
        client.do("shutdown", 1)
        self.assertEqual(server.do("check", 1, seed=1)["n"], 1000)
        self.assert_link_works()

    def test_busy_socket(self):
        """It belongs to another domain's link_mgr, or to another program."""
        self.try_start(self.c, "--socket", self.a.socket)
        self.assert_link_works()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.c.socket)
            other.listen()
            self.assertIn(self.c.socket, self.try_start(self.c))
        os.unlink(self.c.socket)

    def test_stale_socket(self):
        self.a.kill()
        self.assertTrue(os.path.exists(self.a.socket))
        self.a.start(*self.options)
        self.assert_link_works()

    def test_something_else_in_the_sockets_place(self):
        with open(self.c.socket, "w", encoding="utf-8") as stream:
            stream.write("precious")
        self.try_start(self.c)
        with open(self.c.socket, encoding="utf-8") as stream:
            self.assertEqual(stream.read(), "precious")
        os.unlink(self.c.socket)

    def test_missing_directory_of_the_socket(self):
        """It is not made."""
        self.assertIn("/missing", self.try_start(self.c, "--socket", os.path.join(self.world.directory, "missing", "s")))

    def epochs(self, domain, peer):
        """What each node that domain has for peer says first."""
        prefix = "/local/domain/%d/data/idc/%d/" % (domain.domid, peer.domid)
        return {path[len(prefix):]: value.split(" ")[0] for path, value in self.world.store().items() if path.startswith(prefix)}

    def test_stale_nodes_mislead_nobody(self):
        """Both were killed with a link between them. One comes back: of its own earlier life nothing is left in the store, and for
        it the other is not there. The other comes back: all is well at once."""
        self.assert_link_works()
        for one, other in ((self.a, self.b), (self.b, self.a)):
            before = {domain: self.epochs(domain, peer) for domain, peer in ((one, other), (other, one))}
            self.assertIn("offer", before[self.b])
            for domain in (self.a, self.b):  # at the same instant: neither does anything about the other's end
                domain.freeze()
            for domain in (self.a, self.b):
                domain.kill()
            one.start(*self.options)
            wait_until(lambda: self.epochs(one, other).keys() == {"alive"}, what="a fresh beginning in the store")
            self.assertNotEqual(self.epochs(one, other)["alive"], before[one]["alive"])
            self.assertEqual(self.epochs(other, one), before[other])
            self.assert_errno(errno.EHOSTUNREACH, one.puppet().do, "connect", 1, domid=other.domid, port=80, timeout_s=20)
            other.start(*self.options)
            self.assert_link_works()
            self.assertEqual([domain.counters()["links_made"] for domain in (one, other)], [1, 1])

    def test_nodes_of_another_epoch_are_ignored(self):
        """As an earlier life of a link_mgr could have left them, had it not been able to remove them."""
        for writer, reader, leaf in ((self.b, self.a, "offer"), (self.a, self.b, "want")):
            self.world.write_rendezvous(writer, reader, leaf, "00000000000000ff 4711")
        # What comes later has arrived at both, so these have too.
        self.world.setup(self.a, self.b, ports="80")
        for one, other in ((self.a, self.b), (self.b, self.a)):
            wait_until(lambda: self.refuses(one, other), what="the policy that was written after them")
            self.assertEqual(one.link(other)["state"], "down")
            self.assertNotIn("link down -> ", one.log())
        self.world.setup(self.a, self.b)
        self.assert_link_works()
        self.assertEqual((self.a.counters()["links_made"], self.a.link(self.b)["last_error"]), (1, ""))

    def refuses(self, domain, peer):
        try:
            domain.puppet().do("connect", 1, domid=peer.domid, port=81)
        except OSError as error:
            return error.errno == errno.EACCES

    def test_missing_store_and_wrong_options(self):
        cases = ((["--store", "/nonexistent"], 1), (["--domid", "99999"], 2), (["--nonsense"], 2), (["what"], 2))
        for options, status in cases:
            process = self.c.spawn(["link_mgr"] + self.world.daemon_options(self.c, options))
            out, err = process.communicate()
            self.assertEqual((process.returncode, out), (status, b""), (options, err))
            self.assertTrue(err)

    def test_an_empty_name_of_the_store_is_none(self):
        process = self.c.spawn(["link_mgr", "--platform", "local", "--domid", "0"], env={"IDC_STORE": ""})
        out, err = process.communicate()
        self.assertEqual((process.returncode, out), (2, b""), err)
        self.assertIn(b"needs --store", err)
