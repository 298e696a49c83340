# SPDX-License-Identifier: GPL-2.0-or-later
"""A systemd that runs our units, in namespaces of its own on this machine.

    with Systemd(directory) as system:             directory: an empty one, for /etc and the units
        system.ctl("start", "link_mgr.service")    systemctl; returns its output
        system.path("/run/idc/rpc.sock")           where a file of that system is for a process outside
        system.pid_of("link_mgr.service")          as this machine counts

It is the first process of a process namespace, and has mounts, control groups, an /etc and a /run of its own. The rest of the
file system, the users' sockets and the network are this machine's. Its targets are empty ones: nothing is started but what is
asked for. Root is needed, systemd, and control groups that may be mounted; `why_not` says what is missing.
"""

import contextlib
import ctypes
import glob
import json
import os
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYSTEMD = "/lib/systemd/systemd"
JOURNALD = "/lib/systemd/systemd-journald"
TARGETS = ["sysinit", "basic", "shutdown", "multi-user", "sockets", "timers", "paths", "slices", "umount", "final", "local-fs", "network"]
LIMIT_S = 120
PR_SET_PDEATHSIG = 1
# $1: the directory. What has to be there before systemd: it knows nothing of our tree.
BEGIN = """set -e
mount --make-rprivate /
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
rm -rf /etc/systemd/system
mkdir -p /etc/systemd/system
systemd-sysusers "$1/idc.conf"
mount -t tmpfs tmpfs /lib/systemd/system
cp "$1"/units/* /lib/systemd/system
umount -l /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
exec env -i PATH="$PATH" container=idc-test %s --system --unit=basic.target --log-target=console --show-status=0
""" % SYSTEMD


def why_not():
    """None if it can be had, or the reason."""
    if os.geteuid() != 0:
        return "it takes root"
    if not os.path.exists(SYSTEMD) or not shutil.which("systemd-sysusers"):
        return "there is no systemd"
    if not unified_groups():
        return "control groups of version 2 are not mounted"
    return None


def unified_groups():
    """Where control groups of version 2 are mounted."""
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        return next((line.split()[1] for line in stream if line.split()[2] == "cgroup2"), None)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


class Systemd:
    def __init__(self, directory, prefix, overrides):
        """prefix: where link_mgr is, as for `make install`. overrides: what is different in link_mgr.service here."""
        self.directory = directory
        self._group = os.path.join(unified_groups(), "idc-test-" + os.path.basename(directory))
        units = os.path.join(directory, "units")
        for target in TARGETS:
            write("%s/%s.target" % (units, target), "[Unit]\nDefaultDependencies=no\n")
        with open(ROOT + "/dist/link_mgr.service.in", encoding="utf-8") as stream:
            write(units + "/link_mgr.service", stream.read().replace("@PREFIX@", prefix))
        shutil.copy(ROOT + "/dist/link_mgr.socket", units)
        shutil.copy(ROOT + "/dist/idc.sysusers", directory + "/idc.conf")
        self._overrides = overrides
        self._log = open(directory + "/log", "w+", encoding="utf-8")
        self._process = None
        self._started = []  # in it, by us

    def __enter__(self):
        os.makedirs(self._group)
        libc = ctypes.CDLL(None)

        def child():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            write(self._group + "/cgroup.procs", str(os.getpid()))

        # --kill-child: with this process the whole system ends.
        self._process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--cgroup", "--mount-proc", "--kill-child", "sh", "-c",
                                          BEGIN, "sh", self.directory], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                                         preexec_fn=child)
        try:
            self._wait(lambda: self._run(["systemctl", "is-active", "basic.target"]).returncode == 0, "the system")
            self._run(["sh", "-c", 'mkdir -p /etc/systemd/system/link_mgr.service.d; cat > /etc/systemd/system/link_mgr.service.d/test.conf'],
                      input=self._overrides, check=True)
            self.ctl("daemon-reload")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()
        for process in self._started:
            process.wait()
        self._wait(self._remove_group, "the end of all processes")
        self._log.close()

    def _remove_group(self):
        """False: something is still in it."""
        try:
            for directory, _, _ in os.walk(self._group, topdown=False):
                os.rmdir(directory)
        except OSError:
            return False
        return True

    def _in_group(self):
        pids = []
        for path in glob.glob(self._group + "/**/cgroup.procs", recursive=True):
            with contextlib.suppress(OSError):  # a unit that ends takes its group away
                with open(path, encoding="ascii") as stream:
                    pids += stream.read().split()
        return pids

    def log(self):
        with open(self.directory + "/log", encoding="utf-8", errors="replace") as stream:
            return stream.read()

    def _wait(self, condition, what):
        end = time.monotonic() + LIMIT_S
        while not condition():
            if time.monotonic() > end or (self._process.poll() is not None and what == "the system"):
                raise AssertionError("%s does not come; the log:\n%s" % (what, self.log()[-3000:]))
            time.sleep(0.05)

    @property
    def first(self):
        """The pid of systemd itself, as this machine counts."""
        with open("/proc/%d/task/%d/children" % (self._process.pid, self._process.pid), encoding="ascii") as stream:
            return int(stream.read().split()[0])

    def _inside(self, command):
        return ["nsenter", "--target", str(self.first), "--mount", "--pid", "--cgroup"] + command

    def _run(self, command, **options):
        try:
            inside = self._inside(command)
        except IndexError:  # it has not been begun yet
            return subprocess.CompletedProcess(command, 1, "", "")
        return subprocess.run(inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, **options)

    def run_as(self, uid, gid, command):
        """Runs a program in it as an ordinary user."""
        return self._run(["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", *command])

    def _start(self, command):
        self._started.append(subprocess.Popen(self._inside(command), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log))

    def start_as(self, uid, gid, command):
        """Starts a program in it, which ends with it."""
        self._start(["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", *command])

    def ctl(self, *words):
        result = self._run(["systemctl", *words])
        if result.returncode != 0:
            raise AssertionError("systemctl %s: %s\n%s" % (" ".join(words), result.stderr, self.log()[-3000:]))
        return result.stdout

    def path(self, path):
        return "/proc/%d/root%s" % (self.first, path)

    def start_journal(self):
        """A journald of its own, which has what units print that are started from now on. False: there is no journald."""
        if not os.path.exists(JOURNALD):
            return False
        if not os.path.exists(self.path("/etc/machine-id")) or os.path.getsize(self.path("/etc/machine-id")) < 32:
            write(self.path("/etc/machine-id"), "0123456789abcdef0123456789abcdef\n")
        self._start([JOURNALD])  # it has no unit, since the targets of this system are empty
        self._wait(lambda: os.path.exists(self.path("/run/systemd/journal/stdout")), "the journal")
        return True

    def journal(self, *matches):
        """The entries that match, as structs."""
        result = self._run(["journalctl", "--quiet", "--output=json", "--no-pager", *matches])
        return [json.loads(line) for line in result.stdout.splitlines()]

    def pid_of(self, unit):
        """None: it does not run."""
        inside = self.ctl("show", "--property=MainPID", "--value", unit).strip()
        for pid in self._in_group():
            try:
                with open("/proc/%s/status" % pid, encoding="ascii", errors="replace") as stream:
                    numbers = next(line.split()[1:] for line in stream if line.startswith("NSpid:"))
            except (OSError, StopIteration):
                continue  # it has ended just now
            if numbers[-1] == inside:
                return int(pid)
        return None
