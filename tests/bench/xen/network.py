# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's own network between dom0 and the guests, as a host with a bridge has it: netfront in each guest, netback and a bridge
in dom0. What one would use in place of IDC for TCP between domains.

xl attaches an interface to each guest that runs. It starts SCRIPT for that, which does what xen-utils' vif-bridge does with a
bridge alone: no bash, no udev, no firewall rules. Offloads (checksums, TSO, scatter and gather), MTU and the number of queues are
what the kernels choose by themselves. Addresses are by place: 10.93.0.1 is dom0's, and gN has 10.93.0.(N + 1).
"""

BRIDGE = "xenbr0"
SCRIPT = "/etc/xen/scripts/vif-bench"
GUEST_MODULES = ["drivers/net/xen-netfront"]
DOM0_MODULES = ["net/llc/llc", "net/802/stp", "net/bridge/bridge", "drivers/net/xen-netback/xen-netback"]
# xl hands over $vif, $XENBUS_PATH and what has happened, and waits for the node.
SCRIPT_TEXT = """#!/bin/sh
[ "$1" = online ] || exit 0
ip link set "$vif" master %s && ip link set "$vif" up && xenstore-write "$XENBUS_PATH/hotplug-status" connected
""" % BRIDGE
WAIT_FOR_INTERFACE = "n=0; while [ ! -e /sys/class/net/eth0 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done"


class Network:
    def __init__(self, world):
        self._world = world

    @staticmethod
    def address(domain):
        return "10.93.0.%d" % (domain.number + 1)

    def begin(self):
        """Every guest can reach the others and dom0."""
        dom0 = self._world.dom0
        dom0.run(["mkdir", "-p", SCRIPT.rpartition("/")[0]], check=True)
        dom0.put_file(SCRIPT, SCRIPT_TEXT.encode(), 0o755)
        dom0.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
        self._bring_up(dom0, BRIDGE)
        for guest in self._world.domains[1:]:
            self._world.xl("network-attach", str(guest.domid), "script=" + SCRIPT, "bridge=" + BRIDGE)
            guest.run(["sh", "-c", WAIT_FOR_INTERFACE], check=True)
            self._bring_up(guest, "eth0")
            guest.run(["ping", "-c", "1", "-w", "10", self.address(dom0)], check=True)

    def _bring_up(self, domain, interface):
        domain.run(["ip", "address", "add", self.address(domain) + "/24", "dev", interface], check=True)
        domain.run(["ip", "link", "set", interface, "up"], check=True)
