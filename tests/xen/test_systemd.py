#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit of dist/ as it is shipped, under the systemd of a guest of a real Xen (systemd_image.py), against dom0.

    tests/xen/test_systemd.py [--build DIR] [TEST...]

It is installed by the commands of README. tests/integration/test_service.py has what the unit takes from link_mgr, on any machine;
here is what only Xen has: the modules that the unit loads, the devices, their owners and the list of those that it may open, the
store, grants and event channels.
"""

import json
import os
import re
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xenworld import XenWorld  # noqa: E402

WORLD = None
BUILD = "build"
INSTALL = """set -e
systemd-sysusers
sed -i '/^idc:/s/$/user1/' /etc/group
udevadm control --reload
systemctl daemon-reload
systemctl enable --now link_mgr
"""
MEMORY_MIB = 320  # the system is in it, twice while it begins


class ServiceTest(unittest.TestCase):
    def setUp(self):
        self.dom0, self.guest = WORLD.domains
        if self.guest.run(["systemctl", "is-enabled", "link_mgr"]).returncode != 0:
            self.shell(INSTALL)
        self.shell("systemctl start link_mgr")
        self.addCleanup(self.end)
        daemon = self.dom0.spawn(["link_mgr"])
        daemon.stderr.read_until(b"is ready")
        self.dom0.run(["idc-setup", "0", str(self.guest.domid)], check=True)

    def end(self):
        for domain in WORLD.domains:
            domain.kill_all()

    def shell(self, script, check=True, **options):
        result = self.guest.run(["sh", "-c", "(%s) 2>&1" % script], **options)
        text = result.stdout.decode(errors="replace")
        if check and result.returncode != 0:
            raise AssertionError("%s\nexit status %d\n%s\n%s" % (script, result.returncode, text, self.journal()))
        return text

    def journal(self):
        return self.guest.run(["journalctl", "--no-pager", "-n", "60"]).stdout.decode(errors="replace")

    def group(self, name):
        return int(self.shell("grep ^%s: /etc/group" % name).split(":")[2])

    def connect(self, server, client, uid=0):
        """A program of each side talks with the other's."""
        accepting = server.spawn(["test_accept", "80"])
        accepting.stdout.read_until(b"listening on port 80\n")
        self.assertEqual(client.run(["idc", "wait", str(server.domid), "80"], timeout=60).returncode, 0, self.journal())
        gid = self.group("idc") if uid and client is self.guest else uid
        result = client.run(["test_conn", str(server.domid), "80"], uid=uid, gid=gid, timeout=60)
        self.assertEqual(result.returncode, 0, "%s\n%s" % (result, self.journal()))
        heard = accepting.stdout.read_until(b"closed\n").decode()
        self.assertIn("domain %d" % client.domid, heard)
        self.assertIn("uid %d" % uid, heard)
        accepting.kill_session()
        accepting.wait()

    def both_ways(self):
        self.connect(self.guest, self.dom0)
        self.connect(self.dom0, self.guest, uid=1000)

    # ---- what it does ----

    def test_connections(self):
        self.both_ways()
        refused = self.guest.run(["idc", "status"], uid=1001, gid=1001)
        self.assertNotEqual(refused.returncode, 0)

    def entries(self, *matches):
        """Of the guest's journal, once there are some."""
        end = time.monotonic() + 60 * WORLD.slowness
        while time.monotonic() < end:
            text = self.guest.run(["journalctl", "--no-pager", "-o", "json", *matches]).stdout.decode(errors="replace")
            found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            if found:
                return found
        raise AssertionError("no entry with %s\n%s" % (" ".join(matches), self.journal()))

    def test_refusals_are_in_the_journal(self):
        """With fields, and the rule of dom0 that refused, as the program is told it."""
        self.addCleanup(self.dom0.run, ["idc-setup", "retract", "--all"])
        self.dom0.run(["idc-setup", "deny", self.guest.name, "dom0", "81"], check=True)
        end = time.monotonic() + 60 * WORLD.slowness
        told = None
        while not told:  # the rule may not have come yet
            said = self.guest.run(["idc", "cat", "0", "81"], uid=1000, gid=self.group("idc")).stderr.decode()
            told = re.search(r"/run/idc-policy/commands\.policy:[0-9]+", said)
            self.assertLess(time.monotonic(), end, self.journal())
        entry = self.entries("IDC_EVENT=refused", "IDC_RULE=" + told.group())[-1]
        fields = {"IDC_PEER": "0", "IDC_DIRECTION": "out", "IDC_PORT": "81", "IDC_UID": "1000", "IDC_PROGRAM": "idc",
                  "IDC_DECIDED_BY": "self", "_SYSTEMD_UNIT": "link_mgr.service"}
        self.assertEqual({name: entry.get(name) for name in fields}, fields, entry)


def main():
    global WORLD, BUILD
    arguments = sys.argv[1:]
    if arguments[:1] == ["--build"]:
        BUILD = arguments[1]
        arguments = arguments[2:]
    with XenWorld(BUILD, guests=1, systemd=True, guest_memory=MEMORY_MIB, verbose=True) as WORLD:
        program = unittest.main(argv=sys.argv[:1] + arguments, exit=False, verbosity=2)
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
