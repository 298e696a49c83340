# SPDX-License-Identifier: GPL-2.0-or-later
"""Many domains on one host: what it costs until each knows all the others grows with the number of pairs, and no faster."""

import os
import subprocess

import rpc
from case import IdcTestCase
from world import wait_until

FEW, MANY = 16, 64
# There are 17 times as many pairs, and 4 times as many daemons to start: some 8 times the work was seen. When the work for
# each pair grew with the number of domains, it was 96 times as much.
MOST = 20


class ManyDomains(IdcTestCase):
    roles = "a"

    def setUp(self):
        super().setUp()
        if not self.world.local_files:
            self.skipTest("counts the processes of this machine")

    def cpu_seconds(self, daemons):
        """Of processes, to the nanosecond: what is in their `stat` is too coarse."""
        total = 0
        for daemon in daemons:
            with open("/proc/%d/schedstat" % daemon.pid, encoding="ascii") as stream:
                total += int(stream.read().split()[0]) / 1e9
        return total

    def settle(self, count):
        """CPU seconds of so many link_mgr until all of them are quiet, knowing all others."""
        store = os.path.join(self.world.directory, "many-%d" % count)
        os.mkdir(store)
        domids = range(1, count + 1)
        subprocess.run([self.world.find_program("idc-setup"), "--store", store] + [str(domid) for domid in domids],
                       check=True, stdout=subprocess.DEVNULL, timeout=60)
        daemons = [subprocess.Popen([self.world.find_program("link_mgr"), "--platform", "local", "--store", store, "--domid", str(domid),
                                     "--socket", "%s/%d.sock" % (store, domid)], stderr=subprocess.DEVNULL) for domid in domids]
        try:
            for domid in domids:
                wait_until(lambda domid=domid: self.knows_all("%s/%d.sock" % (store, domid), count), 60 * self.world.slowness,
                           "domain %d to know all others" % domid)
            return self.cpu_seconds(daemons)
        finally:
            for daemon in daemons:
                daemon.terminate()
            for daemon in daemons:
                daemon.wait()

    def knows_all(self, socket, count):
        try:
            with rpc.connect(socket) as connection:
                links = connection.whole_status()["links"]
        except (FileNotFoundError, ConnectionRefusedError):  # not made yet, or nobody listens on it yet
            return False
        return sum(link["present"] for link in links) == count - 1

    def test_cost_grows_with_pairs(self):
        few = self.settle(FEW)
        many = self.settle(MANY)
        print("CPU until %d domains know each other: %.2f s; %d: %.2f s" % (FEW, few, MANY, many))
        self.assertLess(many / few, MOST)
