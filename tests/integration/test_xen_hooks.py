# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules without the service that watches: the hook of libvirt and the commands of xl, taken from docs/xen.md word for word. And
four guests that start.

The guests' link_mgrs are started by hand here, as soon as a guest is up. What is looked at is whether the rules are there before
the first program asks. That takes minutes, so CI leaves this file out.
"""

import os
import re

import moments
from store_trace import StoreTrace
from world import ROOT, wait_until
from xen_idc_world import XenDomain
from xen_rules_case import PORT, XenRulesCase

START_MS = 1000  # what an administrator is promised


class HooksOnXen(XenRulesCase):
    @staticmethod
    def from_document(pattern):
        """What docs/xen.md shows, without its indentation."""
        with open(os.path.join(ROOT, "docs", "xen.md"), encoding="utf-8") as stream:
            (found,) = re.findall(pattern, stream.read(), re.MULTILINE)
        return re.sub("^    ", "", found, flags=re.MULTILINE)

    def begin_without_watch(self):
        self.write("allow %s dom0 %d\n" % (self.b.xen.name, PORT))
        dom0 = self.c.puppet()
        dom0.do("listen", 1, port=PORT)

    def assert_first_connect(self):
        """Of a guest that has just begun: the rules are in the store already, and it is allowed."""
        self.assertIsNotNone(self.xen.store("/local/domain/%d/idc/policy/rules/now" % self.b.domid))
        self.b.lost()
        self.b.start(*self.options)
        self.once(self.b.puppet(), 0, PORT)

    def save(self):
        self.addCleanup(self.c.shell, "rm -f /run/b.save")
        self.xen.save(self.b.xen, "/run/b.save")

    def wait_restored(self, client):
        wait_until(lambda: self.b.status(False)["domid"] == self.b.domid, 30, "link_mgr that knows its new domid", interval=0.5)
        wait_until(lambda: self.connects(client, 0, PORT), what="rules of the guest that was restored")

    def hook(self, *arguments):
        """As libvirt calls it, which destroys the guest if it fails. The domain's XML would be on its standard input."""
        self.xen.dom0.run(["/etc/libvirt/hooks/libxl", self.b.xen.name, *arguments], input=b"<domain/>", check=True)

    def libvirt_begins(self):
        """libxlDomainStart: a guest is made, or restored, paused; then it runs; then the hook."""
        self.xen.unpause(self.b.xen)
        self.hook("started", "begin", "-")

    def libvirt_ended(self):
        self.hook("stopped", "end", "-")
        self.hook("release", "end", "-")

    def libvirt_starts(self):
        self.hook("prepare", "begin", "-")
        self.hook("start", "begin", "-")
        self.xen.create(self.b.xen.number, self.libvirt_begins)

    def test_the_hook_of_libvirt(self):
        self.addCleanup(self.c.shell, "rm -rf /etc/libvirt")
        self.c.shell("mkdir -p /etc/libvirt/hooks")
        self.xen.dom0.put_file("/etc/libvirt/hooks/libxl", self.from_document(r"(    #!/bin/sh\n    case (?:    .*|.*)\n    exit 0\n)").encode(), 0o755)
        self.begin_without_watch()
        for _ in range(2):
            self.xen.destroy(self.b.xen)
            self.libvirt_ended()
            self.libvirt_starts()
            self.assert_first_connect()
        client = self.b.puppet()
        self.save()
        self.libvirt_ended()
        self.hook("start", "begin", "-")
        self.xen.restore(self.b.xen, "/run/b.save", self.libvirt_begins)
        self.wait_restored(client)
        # a file that is wrong is no reason to destroy a guest
        self.write("allow wrong wrong\n")
        self.hook("started", "begin", "-")
        self.once(client, 0, PORT)

    def shell_of_document(self, verb, file):
        """Gives the line of xl to dom0's shell, with the harness's names."""
        line = self.from_document(r"^    (xl %s -p web\.\w+ && .*)$" % verb)
        line = re.sub(r"web\.\w+", file, line).replace("unpause web", "unpause " + self.b.xen.name)
        self.c.shell(line, timeout=180)

    def test_the_commands_of_xl(self):
        self.begin_without_watch()
        for _ in range(2):
            self.xen.destroy(self.b.xen)
            self.xen.create_by(self.b.xen.number, lambda _: self.shell_of_document("create", "/tmp/%s.cfg" % self.b.xen.name))
            self.assert_first_connect()
        client = self.b.puppet()
        self.save()
        self.xen.restore_by(self.b.xen, lambda: self.shell_of_document("restore", "/run/b.save"))
        self.wait_restored(client)

    def test_four_guests_that_start(self):
        """All together. Each has its rules before its link_mgr begins, and knows them when its first program asks."""
        names = ["g%d" % number for number in range(1, 5)]
        self.watch("allow * dom0 %d\nallow * %s 22\n" % (PORT, names[3]))
        guests = [self.a, self.b]
        for number, role in ((3, "d"), (4, "e")):
            guest = XenDomain(self.world, role)
            guest.xen = self.xen.create(number)
            self.addCleanup(self.xen.destroy, guest.xen)
            guests.append(guest)
        for guest in self.a, self.b:
            guest.stop()
        self.c.puppet().do("listen", 1, port=PORT)
        for guest in guests:
            self.assertIsNotNone(self.xen.store("/local/domain/%d/idc/policy/rules/now" % guest.domid))
        for guest in guests[2:]:
            self.wait_for_random_numbers(guest)
        self.start_together(guests, "together")
        trace = StoreTrace(self.c)
        self.addCleanup(trace.end)
        trace.begin()
        self.start_together(guests, "together, traced")
        requests = trace.requests()
        moments.show("until all have ended, requests to xenstored, %d" % sum(requests.values()), requests)

    def wait_for_random_numbers(self, guest):
        """A kernel that has just begun may not have any for a second. link_mgr needs some, and waits too."""
        begin = self.xen.now()
        guest.run(["head", "-c", "1", "/dev/random"])
        print("         %s has random numbers after %.2f s" % (guest.xen.name, self.xen.now() - begin))

    def start_together(self, guests, how):
        starts = [moments.begin_start(guest, guest.xen.name, 0, PORT, self.options) for guest in guests]
        try:
            for guest, start in zip(guests, starts):
                values = moments.said(start)
                moments.show("%s, %s, from the start of link_mgr, ms" % (guest.xen.name, how), values)
                self.assertEqual(values["refused"], 0)
                if moments.judges(self.world):
                    self.assertLess(float(values["connected"]), START_MS)
        finally:
            for start in starts:
                moments.end_start(start)
