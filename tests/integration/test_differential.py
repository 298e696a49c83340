# SPDX-License-Identifier: GPL-2.0-or-later
"""The same random script over AF_UNIX sockets and over IDC observes the same.

Two puppets connect, send, receive, half-close and close, in an order that a seed decides (printed; IDC_TEST_SEED=N plays it again).
The script is played twice: over AF_UNIX between two puppets of one domain, and over IDC between two domains. After each step
of the second everything that is under way has arrived before the next (quiesce: what one link_mgr says it has sent the other says
it has received, and nothing changes from one look to the next), since on AF_UNIX each step takes effect at once.

Compared: whether each connect, send, shutdown and close succeeds; of each receive the bytes (checked against the pattern) or the
end of file or the error; message boundaries of seqpacket; what poll says about readability and the other side's end.

Not compared, because the two differ rightly:
  - a send to someone who closed or who closed with data unread. AF_UNIX knows at once and fails with EPIPE or ECONNRESET,
    in an order that depends on whether a receive has fetched the pending error. IDC's first such send may still be taken.
    So both are only asked to fail or succeed, not how, and the script doesn't send again on a connection whose other end
    is known to be closed;
  - how much fits before a send would block: the script keeps less under way than any of the two holds;
  - closing with data unread when both sides have ended their sending: for AF_UNIX it is still a reset, for IDC, as for TCP, both
    directions were over when the end of the stream arrived;
  - shutdown(SHUT_RD), which AF_UNIX tells the writer at once and IDC with the next write.
"""

import os
import random
import time

from case import IdcTestCase
from world import wait_until

UNDER_WAY = 60000  # bytes unread in one direction, at most
MESSAGES = 50      # and messages


class Side:
    """What the script knows of one end of a connection."""

    def __init__(self, puppet, seed):
        self.puppet = puppet
        self.seed = seed
        self.sent = self.received = 0
        self.sizes = []  # of messages that the other side has not read
        self.open = self.writing = True


class Script:
    """Chooses steps, and plays them through `play`, which returns what was observed."""

    def __init__(self, chance, seqpacket):
        self.chance = chance
        self.seqpacket = seqpacket
        self.next_place = 1
        self.connections = []
        self.steps = []

    def make(self, count):
        for _ in range(count):
            self.steps.append(self.choose())
        return self.steps

    def choose(self):
        alive = [pair for pair in self.connections if pair[0].open or pair[1].open]
        if not alive or (len(alive) < 4 and self.chance.random() < 0.1):
            pair = [Side(0, 2 * self.next_place), Side(1, 2 * self.next_place + 1)]
            self.connections.append(pair)
            self.next_place += 1
            return ("connect", self.next_place - 1)
        pair = self.chance.choice(alive)
        which = self.chance.choice([side for side in (0, 1) if pair[side].open])
        place = self.connections.index(pair) + 1
        return self.step(place, which, pair[which], pair[1 - which])

    def step(self, place, which, side, other):
        kind = self.chance.choices(("send", "recv", "poll", "shutdown", "close"), (10, 12, 3, 1, 1))[0]
        if kind == "send":
            return self.send(place, which, side, other)
        if kind == "recv":
            return self.recv(place, which, side, other)
        if kind == "shutdown" and side.writing:
            side.writing = False
            return ("shutdown", which, place)
        if kind == "close" and not side.writing and not other.writing and other.sent > side.received:
            return self.recv(place, which, side, other)
        if kind == "close":
            side.open = side.writing = False
            return ("close", which, place)
        return ("poll", which, place)

    def send(self, place, which, side, other):
        room = UNDER_WAY - (side.sent - other.received)
        if not side.writing or not other.open or room <= 0 or len(side.sizes) >= MESSAGES:
            return ("poll", which, place)
        length = min(room, self.chance.choice((1, 2, 10, 100, 1000, 4096, 20000)))
        step = ("send", which, place, length, side.seed, side.sent)
        side.sent += length
        side.sizes.append(length)
        return step

    def recv(self, place, which, side, other):
        """Nonblocking, so one with nothing there is EAGAIN, or the end."""
        maximum = self.chance.choice((1, 10, 1000, 30000, 65536))
        step = ("recv", which, place, maximum, other.seed, side.received)
        if self.seqpacket:
            side.received += other.sizes.pop(0) if other.sizes else 0
        else:
            taken = min(maximum, other.sent - side.received)
            side.received += taken
            other.sizes = other.sizes[1:]
        return step


class Player:
    def __init__(self, test, puppets, seqpacket, target, quiesce):
        self.puppets = puppets
        self.type = "seqpacket" if seqpacket else "stream"
        self.target = target
        self.quiesce = quiesce
        self.test = test
        puppets[1].do("listen", 8000, **{**target, "domid": None}, type=self.type)

    def play(self, steps):
        observed = []
        for step in steps:
            observed.append(getattr(self, step[0])(*step[1:]))
            self.quiesce()
        return observed

    def attempt(self, which, *words, **arguments):
        try:
            return self.puppets[which].do(*words, **arguments)
        except OSError as error:
            return error.name

    def connect(self, place):
        taking = self.puppets[1].begin("accept", 8000, place)
        made = self.attempt(0, "connect", place, type=self.type, **self.target)
        taking.result()
        return isinstance(made, dict)

    def send(self, which, place, length, seed, offset):
        got = self.attempt(which, "send", place, len=length, seed=seed, offset=offset, raw=1)
        return got["n"] if isinstance(got, dict) else "failed"

    def recv(self, which, place, maximum, seed, offset):
        got = self.attempt(which, "recv", place, max=maximum, seed=seed, offset=offset, nonblock=1)
        return (got["n"], got["good"]) if isinstance(got, dict) else got

    def shutdown(self, which, place):
        return isinstance(self.attempt(which, "shutdown", place), dict)

    def close(self, which, place):
        return isinstance(self.attempt(which, "close", place), dict)

    def poll(self, which, place):
        got = self.attempt(which, "poll", place)
        return {key: got[key] for key in ("in", "rdhup", "hup")}


class Differential(IdcTestCase):
    timeout = 600

    def quiesce(self):
        """Until all that was said has arrived: both daemons agree, and look after look nothing changes."""
        def look():
            one, other = self.a.link(self.b), self.b.link(self.a)
            return [(one.get(x), other.get(y)) for x, y in (("frames_sent", "frames_received"), ("frames_received", "frames_sent"))]

        last = [None, None]

        def quiet():
            last[0], last[1] = last[1], look()
            return last[0] == last[1] and all(sent == received for sent, received in last[1])

        wait_until(quiet, what="quiet", interval=0)

    def compare(self, seqpacket, seed, count):
        steps = Script(random.Random(seed), seqpacket).make(count)
        path = "%s/differential-%d" % (getattr(self.world, "directory", "/tmp"), seed)
        unix = Player(self, [self.a.puppet(), self.a.puppet()], seqpacket, {"unix": path}, lambda: None)
        idc = Player(self, [self.a.puppet(), self.b.puppet()], seqpacket, {"domid": self.b.domid, "port": 1000 + seed % 1000},
                     self.quiesce)
        expected, observed = unix.play(steps), idc.play(steps)
        for number, (step, one, other) in enumerate(zip(steps, expected, observed)):
            self.assertEqual(one, other, "IDC_TEST_SEED=%d, step %d: %r; AF_UNIX %r, IDC %r; before it: %r" % (
                seed, number, step, one, other, steps[max(0, number - 12):number]))
        for player in (unix, idc):
            for puppet in player.puppets:
                puppet.end()
        if self.world.local_files:
            os.unlink(path)

    def run_seeds(self, seqpacket):
        seed = int(os.environ.get("IDC_TEST_SEED", time.time_ns() // 1000 % 1000000))
        print("         IDC_TEST_SEED=%d" % seed)
        seeds, steps = (10, 300) if self.world.platform == "local" else (1, 60)
        for number in range(seeds):
            self.compare(seqpacket, seed + number, steps)

    def test_streams(self):
        self.run_seeds(False)

    def test_messages(self):
        self.run_seeds(True)
