# SPDX-License-Identifier: GPL-2.0-or-later
"""The base of tests of rules by idc-setup: domains a and b are called web and db, and nothing is allowed yet."""

import errno
import json
import os
import signal
import subprocess
import tempfile

from case import IdcTestCase
from local_process import LocalProcess
from world import wait_until


class RulesCase(IdcTestCase):
    platforms = ("local",)
    permit = False

    def setUp(self):
        super().setUp()
        self.policy = tempfile.mkdtemp(prefix="policy-", dir=self.world.directory)
        os.chmod(self.policy, 0o755)
        os.mkdir(os.path.join(self.policy, "policy.d"))
        os.chmod(os.path.join(self.policy, "policy.d"), 0o755)
        self.world.give(self.policy, os.path.join(self.policy, "policy.d"))
        self.name(self.a, "web")
        self.name(self.b, "db")

    def idc_setup(self, *words, status=0):
        done = subprocess.run([self.world.find_program("idc-setup"), words[0], "--store", self.world.store_directory, *words[1:]],
                              capture_output=True, timeout=300, **self.world.as_user())
        self.assertEqual(done.returncode, status, "%r: %r" % (words, done.stderr))
        return done.stdout.decode()

    def name(self, domain, name, *uuid):
        self.idc_setup("name", str(domain.domid), *((name,) if name else ()), *uuid)

    def write(self, text, name="policy"):
        path = os.path.join(self.policy, name)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        self.world.give(path + ".new")
        os.rename(path + ".new", path)

    def apply(self, text):
        self.write(text)
        return self.idc_setup("apply", "--policy", self.policy)

    def explain(self, *words):
        done = subprocess.run([self.world.find_program("idc-setup"), "explain", "--json", "--store", self.world.store_directory,
                               *words], capture_output=True, timeout=300, **self.world.as_user())
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
