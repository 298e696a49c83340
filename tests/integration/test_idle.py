# SPDX-License-Identifier: GPL-2.0-or-later
"""An idle daemon does nothing at all: with links and connections open, listeners and calls that wait, it isn't scheduled once."""

from case import IdcTestCase
from world import wait_until

SECONDS = 3
SETTLE = 6  # by then the timers that run once after a connection was made, or has ended, are over


class Idle(IdcTestCase):
    roles = "abc"

    def switches(self, domain):
        """How often its thread has gone to sleep so far: a system call that waits can't be made without that."""
        text = domain.read_file("/proc/%d/status" % domain.daemon.pid).decode()
        return [line for line in text.splitlines() if "ctxt_switches" in line]

    def test_no_wakeup(self):
        client, server = self.pair()
        server.begin("recv", 1)
        client.begin("recv", 1)
        server.begin("accept", 101, 5)
        last = {}

        def at_rest():
            nonlocal last
            before, last = last, {domain: self.switches(domain) for domain in self.domains}
            return before == last

        self.world.pass_time(SETTLE)
        wait_until(at_rest, what="rest", interval=0.3)
        before = {domain: self.switches(domain) for domain in self.domains}
        self.world.pass_time(SECONDS)
        after = {domain: self.switches(domain) for domain in self.domains}
        self.assertEqual(before, after, "woken up in %d s of idleness" % SECONDS)
