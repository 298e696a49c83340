# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of tests of rules by idc-setup on Xen, with guests that come and go. The harness's guests are configured without a
UUID, so that each start gives another one, and another domid.
"""

import errno

from test_xen_only import XenCase
from world import wait_until

POLICY = "/etc/idc/policy"
STATE = "/run/idc-policy"
PORT = 4100


class XenRulesCase(XenCase):
    permit = False
    timeout = 200

    def setUp(self):
        super().setUp()
        self.addCleanup(self.c.shell, "rm -rf %s %s" % (POLICY, STATE))
        self.c.shell("rm -rf %s %s; mkdir -p /etc/idc" % (POLICY, STATE))

    def idc_setup(self, *words, status=0):
        result = self.xen.dom0.run(["idc-setup"] + list(words))
        self.assertEqual(result.returncode, status, result)
        return result.stdout.decode()

    def write(self, text):
        self.xen.dom0.put_file(POLICY + ".new", text.encode())
        self.c.shell("mv %s.new %s" % (POLICY, POLICY))

    def watch(self, text):
        self.write(text)
        watch = self.c.spawn(["idc-setup", "watch"])
        wait_until(lambda: b"watching" in watch.stdout.pending() or watch.returncode is not None, what="idc-setup watch")
        self.assertIsNone(watch.returncode, watch.stderr.pending())
        return watch

    def uuid(self, domain):
        return self.xen.store("/local/domain/%d/vm" % domain.domid).rpartition("/")[2]

    def start_again(self, domain):
        """The guest ends and another one with its name begins. Its link_mgr is there, and nobody has asked it for anything."""
        self.xen.destroy(domain.xen)
        domain.lost()
        self.xen.create(domain.xen.number)
        domain.start(*self.options)

    def refused(self, client, domid, port):
        return self.assert_errno(errno.EACCES, client.do, "connect", 3, domid=domid, port=port)

    def once(self, client, domid, port):
        client.do("connect", 2, domid=domid, port=port)
        client.do("close", 2)

    def connects(self, client, domid, port):
        try:
            self.once(client, domid, port)
        except OSError as error:
            self.assertEqual(error.errno, errno.EACCES)
            return False
        return True
