# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection: bytes and messages arrive, all, once and in order; both halves end for themselves; every way a program can
end is seen by the other side as what it was.

Order is made by the puppets' answers. What the other side will see after a while is waited for by blocking in the call that
sees it, never by sleeping.
"""

import errno
import xmlrpc.client

from case import IdcTestCase
from world import wait_until

MIB = 1 << 20


class Streams(IdcTestCase):
    def test_half_close_both_ways(self):
        client, server = self.pair()
        client.do("send", 1, len=100000, seed=1)
        client.do("shutdown", 1)
        self.assertEqual(server.do("check", 1, seed=1)["n"], 100000)
        server.do("send", 1, len=70000, seed=2)
        server.do("shutdown", 1)
        self.assertEqual(client.do("check", 1, seed=2)["n"], 70000)

    def test_accepting_side_half_closes_first(self):
        client, server = self.pair()
        server.do("shutdown", 1)
        self.assertEqual(client.do("check", 1)["end"], 1)
        checking = server.begin("check", 1, seed=1)
        client.do("send", 1, len=MIB, seed=1)
        client.do("close", 1)
        self.assertEqual(checking.result()["n"], MIB)

    def test_writing_then_closing_delivers_all(self):
        client, server = self.pair()
        sending = client.begin("send", 1, len=4 * MIB, seed=1)
        checking = server.begin("check", 1, seed=1)
        sending.result()
        client.do("close", 1)
        self.assertEqual(checking.result()["n"], 4 * MIB)

    def test_data_sent_before_accept(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 9, port=1000)
        client.do("connect", 1, domid=self.b.domid, port=1000)
        client.do("send", 1, len=5000, seed=1)
        client.do("close", 1)
        server.do("accept", 9, 1)
        self.assertEqual(server.do("check", 1, seed=1)["n"], 5000)

    def test_closing_with_unread_data_resets(self):
        client, server = self.pair()
        client.do("send", 1, len=5000, seed=1)
        self.assertEqual(server.do("poll", 1, events="in", timeout=20000)["in"], 1)
        server.do("close", 1)
        self.assert_errno(errno.ECONNRESET, client.do, "recv", 1)

    def test_writing_to_one_who_closed(self):
        """The first write may still be taken; then the writer is told, by EPIPE or ECONNRESET, as for any socket."""
        client, server = self.pair()
        server.do("close", 1)
        self.assertEqual(client.do("check", 1)["end"], 1)
        error = None
        for _ in range(200):
            try:
                client.do("send", 1, len=1000)
                client.do("poll", 1, events="rdhup", timeout=50)
            except OSError as caught:
                error = caught
                break
        self.assertIsNotNone(error, "writing to a closed connection never fails")
        self.assertIn(error.errno, (errno.EPIPE, errno.ECONNRESET))

    def test_program_that_stops_reading_only(self):
        """shutdown(SHUT_RD): the writer is told by EPIPE, and the other direction lives. Its end is then a reset, since bytes
        of the writer were lost."""
        client, server = self.pair()
        server.do("shutdown", 1, how="r")
        error = self.assert_errno(errno.EPIPE, client.do, "burst", 1, count=100000, len=1000)
        self.assertLess(error.values["count"], 100000)
        server.do("send", 1, len=10000, seed=2)
        self.assertEqual(client.do("check", 1, len=10000, seed=2)["n"], 10000)
        server.do("close", 1)
        self.assert_errno(errno.ECONNRESET, client.do, "recv", 1)

    def test_small_pieces_are_taken_out_of_the_socket(self):
        """link_mgr may leave them there for some milliseconds, forwarded as they are; then only the last byte stays."""
        client, server = self.pair()
        least = client.do("queued", 1)["n"]
        self.assertGreater(least, 0)
        for count in (1, 40, 2, 60):
            client.do("burst", 1, count=count, len=1, seed=1)
            server.do("check", 1, len=count, seed=1)
            wait_until(lambda: client.do("queued", 1)["n"] <= least, what="an empty socket")

    def test_a_reset_behind_waitall(self):
        """The kernel forgets the reset when a recv that waits for more returns what it has. idc_recv_with asks."""
        client, server = self.pair()
        for number, victim in enumerate((None, self.b, self.a)):
            client, server = self.pair(1001 + number)
            waiting = client.begin("recv", 1, max=200, waitall=1, **{"with": 1})
            server.do("send", 1, len=100)
            wait_until(lambda: server.do("queued", 1)["n"] <= 1000, what="the data")
            if victim:
                victim.kill()
            else:
                client.do("send", 1, len=5000)
                self.assertEqual(server.do("poll", 1, events="in", timeout=20000)["in"], 1)
                server.do("close", 1)
            try:
                self.assertEqual(waiting.result()["n"], 100)
            except OSError as error:
                # they had not arrived
                self.assertEqual(error.errno, errno.ECONNRESET)
            self.assert_errno(errno.ECONNRESET, client.do, "recv", 1, waitall=1, **{"with": 1})
            if victim:
                victim.start(*self.options)

    def assert_told_to_both(self, port, kind):
        """One thread is in a send, and another reads what came before the connection was cut off: neither sees a clean end."""
        client, server = self.pair(port, type=kind)
        server.do("send", 1, len=3000)
        self.assertEqual(client.do("poll", 1, events="in", timeout=20000)["in"], 1)
        sending = client.begin("burst", 1, len=4096, count=100000)
        self.assertEqual(server.do("poll", 1, events="in", timeout=20000)["in"], 1)
        self.world.setup(self.a, self.b, remove=True)
        self.assert_errno(errno.EACCES, sending.result)
        self.assert_errno(errno.EACCES, lambda: client.do("check", 1)["end"])
        self.world.setup(self.a, self.b)

    def test_a_reset_that_another_call_was_told_of(self):
        self.assert_told_to_both(1001, "stream")
        self.assert_told_to_both(1002, "seqpacket")

    def test_a_clean_end_behind_waitall(self):
        client, server = self.pair()
        server.do("send", 1, len=100)
        server.do("close", 1)
        for n, end in ((100, 0), (0, 1)):
            answer = client.do("recv", 1, max=200, waitall=1, **{"with": 1})
            self.assertEqual((answer["n"], answer["end"]), (n, end))

    def test_killed_program(self):
        """Its peer sees the end of what was sent; with unread data, a reset."""
        client, server = self.pair()
        server.do("send", 1, len=3000, seed=1)
        self.assertEqual(client.do("check", 1, len=3000, seed=1)["n"], 3000)
        reading = client.begin("check", 1)
        server.kill()
        self.assertEqual(reading.result()["end"], 1)
        client, server = self.pair(1001)
        client.do("send", 1, len=3000)
        self.assertEqual(server.do("poll", 1, events="in", timeout=20000)["in"], 1)
        server.kill()
        self.assert_errno(errno.ECONNRESET, client.do, "recv", 1)
        self.assert_quiet_links()

    def assert_quiet_links(self):
        for domain in (self.a, self.b):
            domain.kill_programs()
            self.assert_quiet(domain)

    def urgent_between(self, client, server, place, **how):
        """None of the bytes before, at and behind an urgent one is lost, whenever they are read."""
        server.do("listen", 100 + place, port=1000 + place)
        taking = server.begin("accept", 100 + place, place)
        client.do("connect", place, port=1000 + place, **how)
        taking.result()
        for sender, reader in ((client, server), (server, client)):
            for pieces in (((3, 0), (1, 1), (3, 0)), ((1, 1), (1, 1)), ((5, 1),), ((1, 1), (2, 0), (4, 1), (1, 0))):
                for late in (False, True):
                    at = 0
                    for length, urgent in pieces:
                        sender.do("send", place, len=length, offset=at, oob=urgent)
                        if not late:
                            reader.do("check", place, len=length, offset=at)
                        at += length
                    if late:
                        reader.do("check", place, len=at)
        client.do("send", place, oob=1)
        client.do("close", place)
        server.do("check", place, len=1)
        self.assertEqual(server.do("recv", place)["n"], 0)

    def test_urgent_bytes_are_ordinary_ones(self):
        client, server, near = self.a.puppet(), self.b.puppet(), self.a.puppet()
        for place, nowait in enumerate((0, 1), 1):
            self.urgent_between(client, server, place, domid=self.b.domid, nowait=nowait)
            self.urgent_between(client, near, place + 10, domid=self.a.domid, nowait=nowait)

    def test_own_domain(self):
        """Under the own domid and under 0x7FF0, without a link."""
        one, other = self.a.puppet(), self.a.puppet()
        other.do("listen", 9, port=2000, name="here")
        for place, target in enumerate((self.a.domid, 0x7FF0), 1):
            for by in ({"port": 2000}, {"name": "here"}):
                taking = other.begin("accept", 9, place)
                one.do("connect", place, domid=target, **by)
                self.assertEqual(taking.result()["domid"], self.a.domid)
                checking = other.begin("check", place, seed=5)
                one.do("send", place, len=MIB, seed=5)
                one.do("shutdown", place)
                self.assertEqual(checking.result()["n"], MIB)
                other.do("send", place, len=100, seed=6)
                other.do("close", place)
                self.assertEqual(one.do("check", place, seed=6)["n"], 100)
                one.do("close", place)
        self.assertEqual([link["state"] for link in self.a.status()["links"]], ["down"])
        self.assertEqual(self.a.counters()["within_domain"], 4)

    def test_own_domain_never_accepted(self):
        """A reset, as from another domain: for those that wait in the program's listener (64) and those that link_mgr still has."""
        one = self.a.puppet()
        for type in ("stream", "seqpacket"):
            for end in ("unlisten", "close", "kill", "kill link_mgr"):
                server = self.a.puppet()
                server.do("listen", 9, port=2000, type=type, backlog=100)
                for place in range(70):
                    one.do("connect", place, domid=self.a.domid, port=2000, type=type, nowait=place % 2)
                taken = server.do("accept", 9, 1)
                self.assertEqual(taken["domid"], self.a.domid)
                if end == "kill link_mgr":
                    self.a.kill()
                    server.kill()
                    self.a.start(*self.options)
                elif end == "kill":
                    server.kill()
                else:
                    server.do(end, 9)
                    one.do("send", 0, len=100, seed=1)
                    server.do("check", 1, len=100, seed=1)
                    server.do("close", 1)
                    self.assertEqual(one.do("check", 0, seed=2)["n"], 0)
                for place in range(1, 70):
                    self.assert_errno(errno.ECONNRESET, one.do, "recv", place)
                for place in range(70):
                    one.do("close", place)

    def test_own_domain_never_accepted_by_rpc(self):
        with self.a.rpc() as rpc:
            listener = rpc.listen({"port": 2000})["handle"]
            handles = [rpc.connect({"domid": self.a.domid, "port": 2000})["handle"] for _ in range(2)]
            accepted = rpc.accept({"handle": listener})["handle"]
            rpc.unlisten({"handle": listener})
            with self.assertRaises(xmlrpc.client.Fault) as fault:
                rpc.recv({"handle": handles[1]})
            self.assertEqual(fault.exception.faultCode, errno.ECONNRESET)
            rpc.send({"handle": handles[0], "data": b"data"})
            self.assertEqual(rpc.recv({"handle": accepted})["data"].data, b"data")


class Messages(IdcTestCase):
    SIZES = (1, 2, 63, 64, 65, 1000, 4095, 4096, 16383, 16384, 65519, 65520, 65535, 65536, 65537, 131071, 131072, 131073,
             262144, 1 << 20, (4 << 20) + 1, 16 << 20)

    def send_and_check(self, client, server, place, size, seed):
        sending = client.begin("send", place, len=size, seed=seed)
        got = server.do("recv", place, max=16 * MIB, seed=seed)
        self.assertEqual((got["n"], got["good"]), (size, 1), "message of %d bytes" % size)
        self.assertEqual(sending.result()["n"], size)

    def test_all_sizes_both_ways(self):
        client, server = self.pair(type="seqpacket")
        for size in self.SIZES:
            self.send_and_check(client, server, 1, size, size)
            self.send_and_check(server, client, 1, size, size + 1)
        client.do("close", 1)
        self.assertEqual(server.do("recv", 1)["n"], 0)

    def test_boundaries_are_kept(self):
        """Many messages on their way at once arrive as many messages."""
        client, server = self.pair(type="seqpacket")
        sending = client.begin("burst", 1, count=20000, len=37, seed=4)
        got = server.do("check", 1, len=20000 * 37, seed=4, max=MIB)
        self.assertEqual((got["n"], got["count"]), (20000 * 37, 20000))
        sending.result()

    def test_many_long_messages(self):
        """Each fills a good part of the socket's buffer, so the writer waits often; the last one stays in the buffer."""
        client, server = self.pair(type="seqpacket")
        server.do("listen", 9, port=2000, type="seqpacket")
        client.do("connect", 2, domid=self.b.domid, port=2000, type="seqpacket", nowait=1)
        server.do("accept", 9, 2)
        for place in (1, 2):
            for size in (40000, 49152, 65536, 100000, 131072):
                for one, other in ((client, server), (server, client)):
                    sending = one.begin("burst", place, count=40, len=size, seed=size)
                    got = other.do("check", place, len=40 * size, seed=size, max=MIB)
                    self.assertEqual((got["n"], got["count"]), (40 * size, 40))
                    sending.result()

    def test_long_message_is_cut(self):
        client, server = self.pair(type="seqpacket")
        for size in (1000, 300000):
            client.do("send", 1, len=size, seed=1)
            client.do("send", 1, len=10, seed=2)
            self.assertEqual(server.do("recv", 1, max=100, seed=1)["n"], 100)
            got = server.do("recv", 1, max=100, seed=2)
            self.assertEqual((got["n"], got["good"]), (10, 1))

    def test_plain_receivers_get_the_beginning(self):
        """recv(2) gets a long message's first bytes, as of any message that is too long, and then the next message."""
        between, within = self.pair(type="seqpacket"), (self.a.puppet(), self.a.puppet())
        within[1].do("listen", 101, port=1500, type="seqpacket")
        taking = within[1].begin("accept", 101, 1)
        within[0].do("connect", 1, domid=self.a.domid, port=1500, type="seqpacket")
        taking.result()
        for (one, other), most in ((between, 320 << 10), (between[::-1], 320 << 10), (within, 128 << 10)):
            # Two pairs with the longest messages are more than the memory of a guest.
            most_tried = 16 * MIB if self.world.local_files else MIB
            for size in (128 << 10, 320 << 10, (320 << 10) + 1, MIB, most_tried):
                sending = one.begin("send", 1, len=size, seed=size)
                got = other.do("recv", 1, max=most_tried, seed=size, raw=1)
                self.assertEqual((got["n"], got["good"]), (min(size, most), 1))
                sending.result()
                self.send_and_check(one, other, 1, size, 7)

    def test_empty_messages_are_not_the_end(self):
        client, server = self.pair(type="seqpacket")
        for length in (0, 0, 3, 400000, 0):
            client.do("send", 1, len=length)
        client.do("close", 1)
        for length in (0, 0, 3, 400000, 0):
            for room, peek in ((1, 1), (2, 0)):
                answer = server.do("recv", 1, max=room, peek=peek, **{"with": 1})
                self.assertEqual((answer["n"], answer["length"], answer["end"]), (min(length, room), length, 0))
        self.assertEqual(server.do("recv", 1, **{"with": 1})["end"], 1)

    def test_too_long_a_message(self):
        client, server = self.pair(type="seqpacket")
        self.assert_errno(errno.EMSGSIZE, client.do, "send", 1, len=16 * MIB + 1)
        self.send_and_check(client, server, 1, 100, 1)

    def test_a_long_message_does_not_delay_another_connection(self):
        """16 MiB under way to a reader that does not read, meanwhile small ones pass on the same link."""
        client, server = self.pair(type="seqpacket")
        self.pair(1001, client, server, place=2)
        sending = client.begin("send", 1, len=16 * MIB, seed=1)
        for number in range(20):
            client.do("send", 2, len=100, seed=number)
            self.assertEqual(server.do("check", 2, len=100, seed=number)["n"], 100)
        self.assertEqual(server.do("recv", 1, max=16 * MIB, seed=1)["n"], 16 * MIB)
        sending.result()
