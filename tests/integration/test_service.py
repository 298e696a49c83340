# SPDX-License-Identifier: GPL-2.0-or-later
"""link_mgr as systemd runs it, by the unit of dist/: what it can no longer do, and that all it is for goes on.

Here a systemd of its own runs the unit, on the local platform (pid1.py). The link_mgr of the other domain, and the programs of
both, are outside, in the network namespace of this machine."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile

import pid1
from case import IdcTestCase
from local_process import LocalProcess
from puppet import Puppet
from world import READY, wait_until

EXPOSURE_MOST = 1.5
WAIT_S = 120
BLOCK = 100000  # bytes: link_mgr holds the last one only as long as it knows that no writer waits
SILENCE_S = 3   # in which a link_mgr that does not know lets it go
OVERRIDES = """[Unit]
ConditionPathExists=
[Service]
ExecStart=
ExecStart=%(prefix)s/sbin/link_mgr --platform local --store %(store)s --domid 1 --confine kill
ReadWritePaths=%(store)s
"""


def status_of(pid, task=None):
    """The lines of /proc/PID/status, or of a thread of it."""
    with open("/proc/%d/task/%d/status" % (pid, task or pid), encoding="ascii", errors="replace") as stream:
        return dict(line.rstrip("\n").split(":\t", 1) for line in stream if ":\t" in line)


def namespace(pid, kind):
    return os.readlink("/proc/%s/ns/%s" % (pid, kind))


class ServiceCase(IdcTestCase):
    platforms = ("local",)
    roles = ""
    permit = False

    def setUp(self):
        super().setUp()
        if pid1.why_not():
            self.skipTest(pid1.why_not())
        # Below /opt, since the unit has a /tmp of its own, and a program of the unit sees no home directories.
        os.makedirs("/opt", exist_ok=True)
        self.prefix = tempfile.mkdtemp(prefix="idc-test-", dir="/opt")
        self.addCleanup(shutil.rmtree, self.prefix)
        self.outside = tempfile.mkdtemp(prefix="idc-test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.outside)
        os.chmod(self.prefix, 0o755)
        os.chmod(self.outside, 0o755)
        os.makedirs(self.prefix + "/sbin")
        for name in ("link_mgr", "idc"):
            shutil.copy(os.path.join(self.world.build_dir, name), self.prefix + "/sbin")
        self.store = self.prefix + "/store"
        os.mkdir(self.store)
        self.begin_system(OVERRIDES % {"prefix": self.prefix, "store": self.store})

    def begin_system(self, overrides):
        self.system = pid1.Systemd(tempfile.mkdtemp(dir=self.outside), self.prefix, overrides)
        self.system.__enter__()
        self.addCleanup(self.system.__exit__)
        self.uid, self.gid = self.user("passwd", "idc"), self.user("group", "idc")
        os.chown(self.store, self.uid, self.gid)
        self.system.ctl("start", "link_mgr.service")
        self.pid = self.system.pid_of("link_mgr.service")
        self.socket = self.system.path("/run/idc/rpc.sock")

    def user(self, table, name):
        with open(self.system.directory + "/etc/" + table, encoding="utf-8") as stream:
            return next(int(line.split(":")[2]) for line in stream if line.startswith(name + ":"))

    def spawn(self, argv, socket, uid=0, gid=0):
        environment = {**self.world.environment, "IDC_STORE": self.store, "IDC_SOCKET": socket}
        program = self.world.find_program(argv[0])
        process = LocalProcess(self.world.reader, [program] + argv[1:], environment, uid, gid, self.outside)
        self.addCleanup(process.kill_session)
        return process

    def other_domain(self):
        """Domain 2: a link_mgr that is not confined by a unit. On the local platform the store's user has to be the same."""
        socket = self.outside + "/2.sock"
        os.chown(self.outside, self.uid, self.gid)
        subprocess.run([self.world.find_program("idc-setup"), "--store", self.store, "1", "2"], check=True, timeout=WAIT_S,
                       stdout=subprocess.DEVNULL, user=self.uid, group=self.gid, extra_groups=[])
        daemon = self.spawn(["link_mgr", "--platform", "local", "--domid", "2", "--socket", socket], socket, self.uid, self.gid)
        with daemon.condition:
            daemon.wait_for(lambda: READY in daemon.stderr._bytes, WAIT_S, "start")
        return socket

    def puppets(self):
        other = self.other_domain()
        return Puppet(self.spawn(["puppet"], self.socket), WAIT_S), Puppet(self.spawn(["puppet"], other), WAIT_S)


class Service(ServiceCase):
    # ---- what it may not ----

    def test_no_privileges(self):
        tasks = os.listdir("/proc/%d/task" % self.pid)
        self.assertGreater(len(tasks), 1)
        for task in tasks:
            status = status_of(self.pid, int(task))
            self.assertEqual(status["Uid"].split(), [str(self.uid)] * 4)
            self.assertEqual(status["Gid"].split(), [str(self.gid)] * 4)
            groups = {self.user("group", "idc"), self.user("group", "idc-daemon")}
            self.assertEqual({int(gid) for gid in status["Groups"].split()} | {self.gid}, groups)
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(status[name], 16), 0, name)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        self.assertNotEqual(namespace(self.pid, "net"), namespace("self", "net"))
        self.assertNotEqual(namespace(self.pid, "ipc"), namespace("self", "ipc"))
        self.assertEqual(os.stat(self.socket).st_mode & 0o777, 0o660)
        self.assertEqual(os.stat(self.socket).st_gid, self.gid)
        # Of /dev it sees next to nothing, and nothing of this machine's disks.
        names = os.listdir("/proc/%d/root/dev" % self.pid)
        self.assertFalse([name for name in names if name.startswith(("vd", "sd", "nvme", "mem", "kvm", "loop"))], names)
        self.assertFalse(os.listdir("/proc/%d/root/root" % self.pid))

    def test_exposure(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        unit = self.system.directory + "/units/link_mgr.service"
        told = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", unit], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=WAIT_S, check=False)
        line = [line for line in told.stdout.splitlines() if "exposure level" in line]
        self.assertTrue(line, told)
        exposure = float(line[0].split("link_mgr.service:")[1].split()[0])
        print("         exposure of the unit: %s" % exposure)
        self.assertLessEqual(exposure, EXPOSURE_MOST)

    # ---- what it has to do ----

    def test_connections(self):
        """Between the domains in both directions, and within the domain; programs of root and of a member of group idc."""
        client, server = self.puppets()
        for place, one, other, domid, length in ((1, client, server, 2, 300000), (2, server, client, 1, 300000), (3, client, client, 1, 5000)):
            other.do("listen", place, port=2000 + place)
            one.do("connect", place + 10, domid=domid, port=2000 + place)
            other.do("accept", place, place + 20)
            sending = one.begin("send", place + 10, len=length, seed=place)
            self.assertEqual(other.do("check", place + 20, len=length, seed=place)["n"], length)
            sending.result()
        member = self.system.run_as(12345, self.gid, [self.prefix + "/sbin/idc", "status"])
        self.assertIn("domain 1", member.stdout, member)
        self.assertEqual(self.system.run_as(12345, 12345, [self.prefix + "/sbin/idc", "status"]).returncode, 1)

    def reset_after_silence(self):
        """What a program reads at the end, when link_mgr is killed after a large block and a silence."""
        client, server = self.puppets()
        server.do("listen", 1, port=2000)
        client.do("connect", 2, domid=2, port=2000, nowait=1)  # then the pair is made by the program, in its own namespace
        server.do("accept", 1, 3)
        client.do("send", 2, len=BLOCK, seed=1)
        self.assertEqual(server.do("check", 3, len=BLOCK, seed=1)["n"], BLOCK)
        self.world.pass_time(SILENCE_S)
        os.kill(self.pid, signal.SIGKILL)
        return client

    def test_it_is_told_of_programs_in_the_other_network_namespace(self):
        """So a program whose link_mgr is killed sees a reset, though the block was large; and systemd starts it again."""
        client = self.reset_after_silence()
        self.assert_errno(errno.ECONNRESET, client.do, "check", 2)
        wait_until(lambda: self.system.pid_of("link_mgr.service") not in (None, self.pid), what="a new link_mgr")
        self.system.ctl("start", "link_mgr.service")  # which waits until it is ready
        again = self.spawn(["idc", "status"], self.socket)
        self.assertIn(b"domain 1", again.communicate(timeout=WAIT_S)[0])

    def skip_with_sanitizer(self):
        if self.world._instrumented():
            self.skipTest("at its end a sanitizer makes calls that the unit forbids")

    def test_reload(self):
        """It fails if the rules of who may listen are wrong, or missing, and link_mgr runs on."""
        self.skip_with_sanitizer()
        path = self.system.path("/etc/idc/listen")
        with self.assertRaises(AssertionError):
            self.system.ctl("reload", "link_mgr.service")
        os.mkdir(os.path.dirname(path), 0o755)
        for text, good in (("allow * 8000-8099\n", True), ("allow * 80", False), ("", False), ("allow * *\n", True)):
            pid1.write(path, text)
            os.chmod(path, 0o644)
            if good:
                self.system.ctl("reload", "link_mgr.service")
            else:
                with self.assertRaises(AssertionError):
                    self.system.ctl("reload", "link_mgr.service")
            self.assertEqual(self.system.pid_of("link_mgr.service"), self.pid)

    def test_end(self):
        self.skip_with_sanitizer()
        self.system.ctl("stop", "link_mgr.service")
        self.assertEqual(self.system.ctl("show", "--property=Result", "--value", "link_mgr.service").strip(), "success")
        self.assertFalse(os.path.exists(self.system.path("/run/idc")))

    def expect_entry(self, fields, *matches):
        """One entry of the journal has these fields; it comes within a while."""
        wait_until(lambda: self.system.journal(*matches), what="an entry with %s" % " ".join(matches))
        (entry,) = self.system.journal(*matches)
        self.assertEqual({name: entry.get(name) for name in fields}, fields, entry)

    def test_refusals_are_in_the_journal(self):
        """With fields, which name other users' programs too: of one who connects from here, and of one that listens here."""
        if not self.system.start_journal():
            self.skipTest("no journald")
        self.system.ctl("restart", "link_mgr.service")
        other = self.other_domain()
        subprocess.run([self.world.find_program("idc-setup"), "--store", self.store, "--ports", "80", "1", "2"], check=True,
                       timeout=WAIT_S, stdout=subprocess.DEVNULL, user=self.uid, group=self.gid, extra_groups=[])
        self.assertEqual(self.system.run_as(4711, self.gid, [self.prefix + "/sbin/idc", "cat", "2", "81"]).returncode, 1)
        common = {"IDC_DOMID": "1", "IDC_PEER": "2", "IDC_TYPE": "stream", "PRIORITY": "5", "_SYSTEMD_UNIT": "link_mgr.service"}
        self.expect_entry({**common, "IDC_UID": "4711", "IDC_PROGRAM": "idc", "IDC_PORT": "81", "IDC_DECIDED_BY": "self"},
                          "IDC_EVENT=refused", "IDC_DIRECTION=out")
        there = Puppet(self.spawn(["puppet"], other), WAIT_S)
        self.listen_inside(4712, "org.example.closed")
        # Domain 2 believes that it may, by a file of its own making.
        with open(self.store + "/domain:2/policy/1", "w", encoding="ascii") as stream:
            stream.write("n0,r2\nin=* out=*")
        wait_until(lambda: self.refused_by_the_other(there), what="a refusal by domain 1")
        wait_until(lambda: self.system.journal("IDC_EVENT=refused", "IDC_DIRECTION=in"), what="its entry")
        entry = self.system.journal("IDC_EVENT=refused", "IDC_DIRECTION=in")[0]
        fields = {**common, "IDC_UID": "4712", "IDC_PROGRAM": "idc", "IDC_PEER_UID": "0", "IDC_SERVICE": "org.example.closed"}
        self.assertEqual({name: entry.get(name) for name in fields}, fields, entry)

    def listen_inside(self, uid, name):
        """A program of the system listens; it ends with the system."""
        self.system.start_as(uid, self.gid, [self.prefix + "/sbin/idc", "cat", "--listen", "--name", name])
        wait_until(lambda: name in self.system.run_as(uid, self.gid, [self.prefix + "/sbin/idc", "status"]).stdout, what="a listener")

    def refused_by_the_other(self, client):
        """True once domain 2's link_mgr lets the connect go out."""
        with self.assertRaises(OSError) as refusal:
            client.do("connect", 3, domid=1, name="org.example.closed")
        return "the rule of domain 1" in str(refusal.exception)

    def test_names_are_its_own(self):
        """Nobody outside can take the names of the sockets that it makes."""
        client, server = self.puppets()
        server.do("listen", 1, port=2000)
        client.do("connect", 2, domid=2, port=2000)
        server.do("accept", 1, 3)
        with open("/proc/%d/net/unix" % self.pid, "rb") as stream:
            inside = [line.split()[-1] for line in stream if b"@" in line]
        self.assertTrue(inside)
        with open("/proc/self/net/unix", "rb") as stream:
            outside = stream.read()
        self.assertFalse([name for name in inside if name in outside])
