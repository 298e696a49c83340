#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr becomes an ordinary user (--user), in all its threads, for ever; and says why when it can't."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
USER = "backup"  # of every Debian
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
LIMIT = 60
AS_ROOT = os.geteuid() == 0


def instrumented():
    with open(BUILD + "/link_mgr", "rb") as stream:
        program = stream.read()
    return b"__asan_" in program or b"__tsan_" in program


def no_mounts():
    """In a chroot, for example, that is no mount point."""
    return subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0


def threads(pid):
    """What /proc says of each."""
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="utf-8") as stream:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in stream if ":\t" in line)


class Privileges(unittest.TestCase):
    def setUp(self):
        # For all users. Where the programs are they may not enter.
        place = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(place.cleanup)
        self.here = place.name
        os.chmod(self.here, 0o755)
        shutil.copy(BUILD + "/link_mgr", self.here)
        os.mkdir(self.here + "/run")
        os.mkdir(self.here + "/store")
        for name in "/run", "/store":
            os.chmod(self.here + name, 0o755)  # whatever the umask is
        self.daemon = None

    def give(self, *names):
        user = pwd.getpwnam(USER)
        for name in names:
            os.chown(self.here + name, user.pw_uid, user.pw_gid)

    def command(self, *options, socket=None):
        return [self.here + "/link_mgr", "--platform", "local", "--store", self.here + "/store", "--domid", "1", "--socket",
                socket or self.here + "/run/rpc.sock", *options]

    def start(self, *options, before=(), socket=None, **more):
        """Until it serves programs."""
        ready, told = os.pipe()
        self.daemon = subprocess.Popen([*before, *self.command("--ready-fd", str(told), *options, socket=socket)], pass_fds=[told],
                                       stderr=subprocess.PIPE, text=True, **more)
        self.addCleanup(self.end_hard)
        os.close(told)
        with os.fdopen(ready, "rb") as stream:
            self.assertEqual(stream.read(), b"\n", "it did not start")

    def end_hard(self):
        self.daemon.kill()
        self.daemon.communicate()

    def end(self):
        self.daemon.send_signal(signal.SIGTERM)
        _, err = self.daemon.communicate(timeout=LIMIT)
        self.assertEqual(self.daemon.returncode, 0, err)
        return err

    def refused(self, *options, status=1, before=(), **more):
        done = subprocess.run([*before, *self.command(*options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT, check=False,
                              **more)
        self.assertEqual(done.returncode, status, done)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def assert_unprivileged(self, uid, gid, groups, privileged=()):
        """privileged: sets of capabilities that may hold some."""
        all_threads = list(threads(self.daemon.pid))
        self.assertGreater(len(all_threads), 1)
        for status in all_threads:
            self.assertEqual(status["Uid"].split(), [str(uid)] * 4)
            self.assertEqual(status["Gid"].split(), [str(gid)] * 4)
            self.assertEqual({int(word) for word in status["Groups"].split()} | {gid}, groups | {gid})
            for name in CAPABILITIES:
                if name not in privileged:
                    self.assertEqual(int(status[name], 16), 0, name)
            self.assertEqual(status["NoNewPrivs"], "1")

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "a sanitizer looks at the process, which may not be looked at any more")
    def test_the_user(self):
        user = pwd.getpwnam(USER)
        self.give("/store", "/run")
        # Groups that the starter has are not the user's.
        self.start("--user", USER, extra_groups=[0, 4, 12345])
        self.assert_unprivileged(user.pw_uid, user.pw_gid, set(os.getgrouplist(USER, user.pw_gid)))
        made = os.stat(self.here + "/run/rpc.sock")
        self.assertEqual(made.st_uid, user.pw_uid)
        self.end()
        self.assertEqual(os.listdir(self.here + "/run"), [])

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "see above")
    def test_the_user_that_it_is_already(self):
        """As after User= in a unit. What capabilities it was left with are gone too."""
        user = pwd.getpwnam(USER)
        self.give("/store", "/run")
        caps = "+net_admin,+chown"
        self.start("--user", USER, before=["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps])
        self.assert_unprivileged(user.pw_uid, user.pw_gid, set(), privileged=("CapBnd",))
        self.end()

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "see above")
    @unittest.skipIf(no_mounts(), "a namespace of mounts can't be made here")
    def test_the_usual_directory(self):
        """It is made for the user, and what is there is left as it is. Here /run is another one."""
        user = pwd.getpwnam(USER)
        self.give("/store")
        script = 'mount -t tmpfs tmpfs /run && exec "$@"'
        self.start("--user", USER, before=["unshare", "--mount", "sh", "-c", script, "sh"], socket="/run/idc/rpc.sock")
        made = os.stat("/proc/%d/root/run/idc" % self.daemon.pid)
        self.assertEqual((made.st_uid, made.st_gid, made.st_mode & 0o7777), (user.pw_uid, user.pw_gid, 0o755))
        self.end()

    @unittest.skipUnless(AS_ROOT, "it takes root")
    def test_a_directory_of_another(self):
        self.give("/store")
        self.assertIn("Permission denied", self.refused("--user", USER))

    @unittest.skipUnless(AS_ROOT, "it takes root")
    def test_a_store_of_another(self):
        self.give("/run")
        os.chmod(self.here + "/store", 0o700)
        self.assertIn("Permission denied", self.refused("--user", USER))

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "see above")
    def test_root_stays_root(self):
        """Without --user. No program that it could start would be more than it is."""
        self.start()
        self.assert_unprivileged(0, 0, set(os.getgroups()), privileged=("CapPrm", "CapEff", "CapInh"))
        self.end()

    def test_no_such_user(self):
        self.assertIn("there is no user nobody-of-that-name (--user)", self.refused("--user", "nobody-of-that-name"))

    def test_root_is_no_ordinary_user(self):
        self.assertIn("--user root is root", self.refused("--user", "root"))

    def test_no_name(self):
        self.assertIn("--user needs the name of a user", self.refused("--user", "", status=2))

    @unittest.skipUnless(AS_ROOT, "it takes root")
    def test_only_root_can(self):
        user = pwd.getpwnam(USER)
        told = self.refused("--user", "daemon", user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        self.assertIn("cannot become user daemon: Operation not permitted; only root can", told)

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "see above")
    def test_root_behind_the_user(self):
        """The effective uid is the user's. The real one is root's, and would be a way back."""
        told = self.refused("--user", USER, before=["setpriv", "--ruid", "0", "--euid", USER])
        self.assertIn("cannot become user %s: Operation not permitted; only root can" % USER, told)

    @unittest.skipUnless(AS_ROOT, "it takes root")
    @unittest.skipIf(instrumented(), "see above")
    @unittest.skipIf(no_mounts(), "a namespace of mounts can't be made here")
    def test_a_group_that_it_is_not_in(self):
        """The socket stays its own, and the log says so. Here /etc/group knows of group idc."""
        self.give("/store", "/run")
        with open("/etc/group", encoding="utf-8") as stream:
            lines = [line for line in stream if not line.startswith("idc:")]
        with open(self.here + "/group", "w", encoding="utf-8") as stream:
            stream.write("".join(lines) + "idc:x:54321:\n")
        script = 'mount --bind "$1" /etc/group && shift && exec "$@"'
        self.start("--user", USER, before=["unshare", "--mount", "sh", "-c", script, "sh", self.here + "/group"])
        made = os.stat(self.here + "/run/rpc.sock")
        self.assertEqual((made.st_mode & 0o777, made.st_gid), (0o600, pwd.getpwnam(USER).pw_gid))
        self.assertIn("cannot be given to group idc", self.end())


if __name__ == "__main__":
    sys.exit(unittest.main())
