# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of tests of rules by idc-setup: domains a and b are called web and db, and nothing is allowed yet.

On Xen idc-setup runs in dom0, and the guests are renamed while the test lasts.
"""

import errno
import json
import os
import signal
import subprocess
import tempfile

from case import IdcTestCase
from local_process import LocalProcess
from world import wait_until

POLICY_ON_XEN = "/run/idc-test-policy"
STATE_ON_XEN = "/run/idc-policy"


class RulesCase(IdcTestCase):
    permit = False

    def setUp(self):
        super().setUp()
        if self.world.platform == "xen":
            self.prepare_xen()
        else:
            self.prepare_local()

    def prepare_local(self):
        self.policy = tempfile.mkdtemp(prefix="policy-", dir=self.world.directory)
        os.chmod(self.policy, 0o755)
        os.mkdir(os.path.join(self.policy, "policy.d"))
        os.chmod(os.path.join(self.policy, "policy.d"), 0o755)
        self.world.give(self.policy, os.path.join(self.policy, "policy.d"))
        self.name(self.a, "web")
        self.name(self.b, "db")

    def prepare_xen(self):
        self.policy = POLICY_ON_XEN
        self.addCleanup(self.c.shell, "rm -rf %s %s" % (POLICY_ON_XEN, STATE_ON_XEN))
        self.c.shell("rm -rf {0} {1}; mkdir -p {0}/policy.d".format(POLICY_ON_XEN, STATE_ON_XEN))
        for domain, name in ((self.a, "web"), (self.b, "db")):
            self.addCleanup(self.world.xen.xl, "rename", str(domain.domid), domain.xen.name)
            self.world.xen.xl("rename", str(domain.domid), name)

    def run_setup(self, *words):
        if self.world.platform == "xen":
            return self.world.xen.dom0.run(["idc-setup", *words])
        return subprocess.run([self.world.find_program("idc-setup"), words[0], "--store", self.world.store_directory, *words[1:]],
                              capture_output=True, timeout=300, check=False, **self.world.as_user())

    def idc_setup(self, *words, status=0):
        done = self.run_setup(*words)
        self.assertEqual(done.returncode, status, "%r: %r" % (words, done.stderr))
        return done.stdout.decode()

    def name(self, domain, name, *uuid):
        self.idc_setup("name", str(domain.domid), *((name,) if name else ()), *uuid)

    def write(self, text, name="policy"):
        path = os.path.join(self.policy, name)
        if self.world.platform == "xen":
            self.world.xen.dom0.put_file(path, text.encode())
            return
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        self.world.give(path + ".new")
        os.rename(path + ".new", path)

    def apply(self, text):
        self.write(text)
        return self.idc_setup("apply", "--policy", self.policy)

    def explain(self, *words):
        done = self.run_setup("explain", "--json", *words)
        self.assertIn(done.returncode, (0, 3, 4), done.stderr)
        return json.loads(done.stdout)

    def connect(self, client, place, domain, **service):
        """None, or the errno: when rules have just changed, the domain may learn of it a moment later."""
        try:
            client.do("connect", place, domid=domain.domid, **service)
        except OSError as error:
            return error
        return None

    def until_allowed(self, client, place, domain, **service):
        wait_until(lambda: self.connect(client, place, domain, **service) is None, what="connect")

    def until_refused(self, client, place, domain, **service):
        """With EACCES; returns the error."""
        last = None

        def refused():
            nonlocal last
            last = self.connect(client, place, domain, **service)
            if last is None:
                client.do("close", place)
            return last is not None and last.errno == errno.EACCES

        wait_until(refused, what="refusal")
        return last

    def begin_watch(self, **environment):
        argv = [self.world.find_program("idc-setup"), "watch", "--store", self.world.store_directory, "--policy", self.policy]
        user = self.world.user
        watch = LocalProcess(self.world.reader, argv, {**self.world.environment, **environment}, user.pw_uid if user else 0, user.pw_gid if user else 0,
                             self.world.directory)
        self.addCleanup(self.end_watch, watch)
        wait_until(lambda: b"watching" in watch.stdout.pending() or watch.returncode is not None, what="watch")
        return watch

    def end_watch(self, watch):
        if watch.returncode is None:
            watch.kill(signal.SIGTERM)
        watch.wait()
