# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a program does with its socket's buffers, its data arrive. link_mgr holds the last block of a connection unread; that
must keep no writer waiting, however the blocks were made and however small the program has made its buffer. And a connection
still ends by a reset when a link_mgr is killed.

Each transfer is of more than the buffer takes, so that the writer has to wait many times, and every byte is checked."""

import errno

from case import IdcTestCase

MIB = 1 << 20
WAYS = ("write", "more", "sendfile", "splice", "tee", "vmsplice")
# The least that the kernel allows, and others at which one block is more than a quarter
BUFFERS = (0, 4608, 20000, 60000, 140000)


class Buffers(IdcTestCase):
    def feed(self, sender, reader, len, max=65536, **how):  # pylint: disable=redefined-builtin
        feeding = sender.begin("feed", 1, len=len, **how)
        self.assertEqual(reader.do("check", 1, len=len, max=max, seed=how.get("seed", 0))["n"], len, how)
        self.assertEqual(feeding.result()["n"], len, how)

    def both_ways(self, client, server, len, **how):  # pylint: disable=redefined-builtin
        self.feed(client, server, len, **how)
        self.feed(server, client, len, **how)

    def test_each_call(self):
        client, server = self.pair()
        for seed, way in enumerate(WAYS):
            for size in (MIB, 3 * MIB):
                self.both_ways(client, server, size, how=way, seed=seed)

    def test_each_call_of_a_connect_that_does_not_wait(self):
        client, server = self.a.puppet(), self.b.puppet()
        server.do("listen", 101, port=1000)
        taking = server.begin("accept", 101, 1)
        client.do("connect", 1, domid=self.b.domid, port=1000, nowait=1)
        taking.result()
        for way in WAYS:
            self.both_ways(client, server, MIB, how=way)

    def test_buffers_of_all_sizes(self):
        """Of writers that block, and of those that poll. The small ones first, on a connection that knows nothing of them."""
        for number, size in enumerate(BUFFERS):
            client, server = self.pair(1000 + number)
            length = MIB if size >= 60000 else MIB // 4
            for poll in (0, 1):
                for way in WAYS:
                    self.both_ways(client, server, length, how=way, sndbuf=size, poll=poll, block=100000)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def test_a_buffer_that_is_made_smaller_later(self):
        """When a large block is held already."""
        for poll in (0, 1):
            client, server = self.pair(1000 + poll)
            self.both_ways(client, server, 65536, how="sendfile")
            self.both_ways(client, server, MIB // 4, how="write", block=1000, sndbuf=4608, poll=poll)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def test_large_writes_and_small_reads(self):
        client, server = self.pair()
        for size in BUFFERS:
            self.feed(client, server, MIB // 2, max=1000, how="write", sndbuf=size, block=200000)

    def test_messages(self):
        for number, size in enumerate(BUFFERS):
            client, server = self.pair(1000 + number, type="seqpacket")
            for poll in (0, 1):
                for block in (1000, 40000, 100000, 130000):
                    if size == 0 or block * 3 < size * 2 or (size > 4608 and block <= 1000):
                        self.both_ways(client, server, 20 * block, how="write", sndbuf=size, poll=poll, block=block, max=MIB)
            client.do("close", 1), server.do("close", 1), server.do("close", 101)

    def assert_reset(self, victim):
        """After a megabyte by each call, of which the last block is held."""
        client, server, reading = self.a.puppet(), self.b.puppet(), []
        for place, way in enumerate(WAYS, 1):
            self.pair(1000 + place, client, server, place=place)
            for sender, reader in ((client, server), (server, client)):
                feeding = sender.begin("feed", place, len=MIB, how=way)
                self.assertEqual(reader.do("check", place, len=MIB)["n"], MIB)
                feeding.result()
            reading += [client.begin("recv", place), server.begin("recv", place)]
        victim.kill()
        for one in reading:
            self.assert_errno(errno.ECONNRESET, one.result)
        victim.start(*self.options)

    def test_killed_link_mgr_of_the_sender(self):
        self.assert_reset(self.a)

    def test_killed_link_mgr_of_the_peer(self):
        self.assert_reset(self.b)
