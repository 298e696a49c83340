# SPDX-License-Identifier: GPL-2.0-or-later
"""The bandwidth of a rule, with real bytes.

How close to the limit it gets is tested in virtual time (tests/unit/test_pace.c). A busy machine may be slow, so here nothing
asks for speed: only that no more passes than may.
"""

import time

from rules_case import RulesCase


class Bandwidth(RulesCase):
    def pair(self, port, place, type=None):
        """A connection from web to db, in that place of both."""
        self.db.do("listen", 1000 + place, port=port, type=type)
        self.until_allowed(self.web, place, self.b, port=port, type=type)
        self.db.do("accept", 1000 + place, place)

    def begin(self, rules):
        self.apply(rules)
        self.web, self.db = self.a.puppet(), self.b.puppet()

    def assert_takes(self, start, sent, bandwidth):
        """A tenth of a second's bytes may go at once, and 5 % is how exact it is."""
        least = (sent - bandwidth / 10) / (bandwidth * 1.05)
        took = time.monotonic() - start
        self.assertGreaterEqual(took, least, "%d bytes at %d in a second" % (sent, bandwidth))

    def test_no_more_than_the_limit(self):
        """Of all connections of the line together, streams and messages, and in each direction."""
        self.begin("allow web db 1001-1004 bandwidth=300k\n")
        for place, type in ((1, None), (2, "seqpacket"), (3, None)):
            self.pair(1000 + place, place, type)
        start = time.monotonic()
        moves = []
        for place in (1, 2, 3):
            for source, target in ((self.web, self.db), (self.db, self.web)):
                source.begin("send", place, len=120000, seed=place)
                moves.append(target.begin("check", place, len=120000, max=120000, seed=place))
        for move in moves:
            self.assertEqual(move.result()["n"], 120000)
        self.assert_takes(start, 360000, 300000)

    def test_others_do_not_wait(self):
        """Nor do they when many bytes of this line wait. Another bandwidth holds at once for what waits."""
        rules = "allow web db 1001 bandwidth=%s\nallow web db 1002\n"
        self.begin(rules % "1k")
        self.pair(1001, 1)
        self.pair(1002, 2)
        self.web.begin("send", 1, len=100000, seed=1)
        slow = self.db.begin("check", 1, len=100000, seed=1)
        for number in range(10):
            self.web.begin("send", 2, len=200000, seed=number)
            self.assertEqual(self.db.do("check", 2, len=200000, seed=number)["n"], 200000)
        self.assertFalse(slow.done(), "100,000 bytes at 1,000 in a second")
        start = time.monotonic()
        self.apply(rules % "100M")
        self.assertEqual(slow.result(timeout=60)["n"], 100000)
        self.assertLess(time.monotonic() - start, 60)
