# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc forward` in dom0, to a service of a guest that comes and goes. Only the guest's name stays, which xl has given it, and the
rules are by that name. The bridge in dom0 is never started again.
"""

from forward_case import pattern
from world import wait_until
from xen_rules_case import XenRulesCase

NEAR = "/run/near.sock"
SERVICE = "org.example.answers"
FILE = "/run/b.save"


class Bridges(XenRulesCase):
    def setUp(self):
        super().setUp()
        self.name = self.b.xen.name
        self.addCleanup(self.c.shell, "rm -f %s %s" % (NEAR, FILE))
        self.watch("allow dom0 %s org.example.*\n" % self.name)
        self.bridge = self.c.spawn(["idc", "forward", "unix-listen:" + NEAR, "idc:%s:%s" % (self.name, SERVICE)])
        wait_until(lambda: self.c.run(["test", "-e", NEAR]).returncode == 0, what=NEAR)
        self.serve()

    def serve(self):
        self.b.spawn(["idc", "serve", "--name", SERVICE, "--", "cat"])
        self.wait_served()

    def wait_served(self):
        result = self.c.run(["idc", "wait", "--timeout", "60", self.name, SERVICE])
        self.assertEqual(result.returncode, 0, result.stderr)

    def dial(self):
        """A program in dom0 that has had an answer."""
        client = self.c.spawn(["idc", "forward", "stdio", "unix:" + NEAR])
        client.write(b"a question")
        self.assertEqual(client.stdout.read_exactly(10), b"a question")
        return client

    def assert_served(self):
        data = pattern(300000)
        result = self.c.run(["idc", "forward", "stdio", "unix:" + NEAR], data)
        self.assertEqual((result.returncode, result.stderr, result.stdout == data), (0, b"", True))

    def assert_broken(self, client):
        out, err = client.stdout.read_all(), client.stderr.read_all()
        self.assertEqual((client.wait(), out, err.count(b"\n")), (1, b"", 1), err)

    def test_a_guest_that_is_started_again(self):
        for _ in range(2):
            self.assert_served()
            client, before = self.dial(), self.b.domid
            self.start_again(self.b)
            self.assert_broken(client)
            self.assertGreater(self.b.domid, before)
            self.serve()
        self.assert_served()
        self.assertIsNone(self.bridge.returncode)

    def test_a_guest_that_is_restored(self):
        """Its service is there without being started again."""
        self.assert_served()
        client, before = self.dial(), self.b.domid
        self.xen.save(self.b.xen, FILE)
        self.assert_broken(client)
        self.xen.restore(self.b.xen, FILE)
        self.assertNotEqual(self.b.domid, before)
        wait_until(lambda: self.b.status(False)["domid"] == self.b.domid, what="link_mgr that knows its new domid", interval=0.5)
        self.wait_served()
        self.assert_served()
        self.assertIsNone(self.bridge.returncode)
