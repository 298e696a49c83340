# SPDX-License-Identifier: GPL-2.0-or-later
"""The domains that an integration test works with.

A World has domains with roles, not numbers: world.a, world.b, world.c. On the local platform they are link_mgr processes on one
store (LocalWorld); on Xen (xen_idc_world.XenIdcWorld) c is dom0 and a and b are guests. Tests are written against what both have:

    domain.domid, domain.socket
    domain.spawn(argv, uid=), domain.run(argv)     programs; IDC_SOCKET is set. Process as in tests/xen/agentlink.py
    domain.puppet(uid=), domain.flows(...)         the test programs
    domain.start(*options), stop(), kill(), restart(*options)       its link_mgr
    domain.status(), domain.rpc(), domain.log(), domain.usage()     what that says and uses
    world.setup(a, b, ports=, remove=)             idc-setup; on Xen, until link_mgrs that run know of it
    world.acquaint(domain, ...)                    waits until all link_mgrs know of those in these domains, and they of them
    world.clean_up()                               ends all that tests have started, whoever knows of it
    world.running()                                what of that still runs, as text
    world.now(), world.pass_time(seconds)          the domains' clock: for what must be quick, or must have had its time
    world.store()                                  {path: value} of what the domains have written in the store
    world.debian_program(name), world.nbdkit_plugin(name), world.script(name), world.user_environment(...)    for
                                                   test_vsock_programs: where things are (debian.py)

and flags that tell what a platform can't: world.has_python (in the domains), world.local_files (the test sees their files),
world.measures_memory (it is link_mgr's own), world.slowness, world.pace (the same by now()), world.platform.

IDC_TEST_USER is the user that link_mgrs become (--user), where the tests run as root. Without it they stay root, or who we are.
"""

import collections
import functools
import glob
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import debian
import descendants
import rpc
from local_process import LocalProcess, Reader
from puppet import Puppet, parse_values

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ["puppet", "flows", "prefork", "moments", "rpcpipe", "hostile", "vsock", "vsock_uv"]
GO_PROBE = "goprobe"  # where there is Go
READY = b" is ready, "
Usage = collections.namedtuple("Usage", "fds rss_kib threads")


def wait_until(condition, timeout=60, what="condition", interval=0.02):
    """For what no event tells of. Returns what condition returned. The time is for what never comes: a busy machine is slow."""
    timeout = max(timeout, wait_until.at_least)
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (timeout, what))
        time.sleep(interval)


wait_until.at_least = 60  # seconds; a slow platform asks for more


class Flows:
    """A flows program (tests/programs/flows.c)."""

    def __init__(self, process, patience):
        self.process = process
        self.patience = patience

    def expect(self, word, timeout=None):
        """The values of the next line that begins with word; any other line fails."""
        line = self.process.stdout.readline(timeout or self.patience).decode()
        words = line.split()
        if not words or words[0] != word:
            raise AssertionError("%r: expected %r, got %r; stderr %r" % (
                self.process, word, line, self.process.stderr.pending()))
        return parse_values(words[1:])

    def say(self, word):
        self.process.write(word.encode() + b"\n")

    def progress(self):
        """Bytes sent and received so far, a list for each."""
        self.say("progress")
        values = self.expect("progress")
        return tuple([int(number) for number in str(values[key]).split(",") if number] for key in ("sent", "received"))

    def done(self, timeout=None):
        """What it counted; it must have found nothing wrong."""
        values = self.expect("done", timeout)
        if values["bad"] or values["errors"]:
            raise AssertionError("%r: %r" % (self.process, values))
        self.process.wait(self.patience)
        return values


class Domain:
    """What is the same on all platforms. A subclass has domid, socket, spawn_program, read_file and list_directory."""

    def __init__(self, world, role):
        self.world = world
        self.role = role
        self.daemon = None
        self.base = None
        self._daemons = []
        self._programs = []
        self._control = None

    def __repr__(self):
        return "<domain %s, domid %s>" % (self.role, self.domid)

    # ---- programs ----

    def spawn(self, argv, env=None, uid=0):
        process = self.spawn_program(argv, {"IDC_SOCKET": self.socket, **(env or {})}, uid)
        self._programs.append(process)
        return process

    def run(self, argv, input=b"", timeout=300, **options):
        process = self.spawn(argv, **options)
        out, err = process.communicate(input, timeout)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def puppet(self, uid=0, wrapper=()):
        """wrapper: a command that runs another, and its options. Local platform only."""
        words = [*wrapper, self.world.find_program("puppet")] if wrapper else ["puppet"]
        return Puppet(self.spawn(words, uid=uid), 300 * self.world.slowness)

    def flows(self, side, **arguments):
        words = ["%s=%s" % (key, int(value) if value is True else value) for key, value in arguments.items()]
        return Flows(self.spawn(["flows", side] + words), 300 * self.world.slowness)

    def kill_programs(self):
        self._drop_control()
        for process in self._programs:
            if process.returncode is None:
                process.kill_session()
        for process in self._programs:
            process.wait()
        self._programs = []

    # ---- link_mgr ----

    def begin_start(self, *options):
        """Without waiting until it is ready."""
        self.daemon = self.spawn_program(["link_mgr"] + self.world.daemon_options(self, options), {}, 0)
        self._daemons.append(self.daemon)
        return self.daemon

    def wait_ready(self, timeout=60):
        self.wait_log(READY, timeout)
        self.base = self.usage()

    def start(self, *options):
        self.begin_start(*options)
        self.wait_ready()
        self.world.acquaint(self)

    def _drop_control(self):
        """The connection for status; where that is a program, it may have been killed."""
        if self._control:
            self._control.close()
        self._control = None

    def stop(self, timeout=60):
        """SIGTERM, as the system does it. It must end well."""
        self._drop_control()
        self.daemon.kill(signal.SIGTERM)
        status = self.daemon.wait(timeout * self.world.slowness)
        if status != 0:
            raise AssertionError("link_mgr of %r ended with status %d" % (self, status))
        self.daemon = None

    def kill(self):
        self._drop_control()
        self.daemon.kill(signal.SIGKILL)
        self.daemon.wait()
        self.daemon = None

    def freeze(self):
        """Stops link_mgr, until thaw. Each thread stops when it next runs, so a signal alone may let it see what comes afterwards."""
        tasks = "/proc/%d/task" % self.daemon.pid

        def is_stopped():
            return all(self.task_state("%s/%s" % (tasks, task)) == "T" for task in self.list_directory(tasks))

        self.daemon.kill(signal.SIGSTOP)
        wait_until(is_stopped, 60 * self.world.slowness, what="stop of link_mgr")

    def thaw(self):
        self.daemon.kill(signal.SIGCONT)

    def task_state(self, directory):
        """The letter of proc(5), for a process or thread."""
        return self.read_file(directory + "/stat").rpartition(b")")[2].split()[0].decode()

    def restart(self, *options):
        self.kill()
        self.start(*options)

    def log(self):
        """All that its link_mgrs have said in this test."""
        return "".join(daemon.stderr.pending().decode(errors="replace") for daemon in self._daemons)

    def wait_log(self, text, timeout=60, count=1):
        """Until the present link_mgr has said text (bytes) count times."""
        daemon = self.daemon
        with daemon.condition:
            daemon.wait_for(lambda: daemon.stderr._bytes.count(text) >= count or daemon.returncode is not None,
                            timeout * self.world.slowness, "line %r" % text)
        if daemon.stderr.pending().count(text) < count:
            raise AssertionError("%r ended: %r" % (daemon, daemon.stderr.pending()))

    def kill_everything(self):
        """Whatever a test has started here ends, also what that test no longer knew of."""
        left = [process for process in self._daemons + self._programs if process.returncode is None and not process.lost]
        self._programs, self.daemon, self._control = [], None, None
        for process in left:
            process.kill_session()
        for process in left:
            process.wait()

    def forget_daemons(self):
        """The next test begins: they are not its own."""
        self._daemons = []

    # ---- what link_mgr says and uses ----

    def rpc(self, timeout=60):
        raise NotImplementedError

    def status(self, detail=True):
        if self._control is None:
            self._control = self.rpc()
        return self._control.whole_status(detail)

    def wait_port_free(self, port):
        """Nobody listens there any more: a program that was killed is gone only when link_mgr has heard of it."""
        wait_until(lambda: all(one["port"] != port for one in self.status()["listeners"]), what="the end of the listener")

    def link(self, other):
        """What status says of the link to another domain; {} if nothing."""
        for link in self.status(False)["links"]:
            if link["peer"] == other.domid:
                return link
        return {}

    def links_up(self):
        return [link for link in self.status(False)["links"] if link["state"] != "down"]

    def counters(self):
        return self.status(False)["counters"]

    def usage(self):
        pid = self.daemon.pid
        text = self.read_file("/proc/%d/status" % pid).decode()
        values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return Usage(len(self.list_directory("/proc/%d/fd" % pid)), int(values["VmRSS"].split()[0]), int(values["Threads"]))


def anyone_can_enter(directory):
    """Also those who are not root."""
    directory = os.path.realpath(directory)
    while directory != "/":
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return False
        directory = os.path.dirname(directory)
    return True


def public_directory():
    """A new directory for all users. The place for temporary files may be the caller's alone."""
    place = next(one for one in (tempfile.gettempdir(), "/tmp", "/var/tmp") if anyone_can_enter(one))
    directory = tempfile.mkdtemp(prefix="idc-world-", dir=place)
    os.chmod(directory, 0o755)
    return directory


def copy_for_all(source, target):
    """A program, with modes by which any user may run it, whatever those of the original are."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)


class LocalDomain(Domain):
    def __init__(self, world, role, domid):
        super().__init__(world, role)
        self.domid = domid
        self.socket = os.path.join(world.directory, "rpc-%d.sock" % domid)

    def spawn_program(self, argv, env, uid=0):
        program = self.world.find_program(argv[0])
        gid = os.stat(self.socket).st_gid if uid else 0
        if argv[0] == "hostile" and self.world.user:  # it plays a link_mgr, so it has to be who those are
            uid, gid = self.world.user.pw_uid, self.world.user.pw_gid
        return LocalProcess(self.world.reader, [program] + argv[1:], {**self.world.environment, **env}, uid, gid,
                            self.world.directory)

    def read_file(self, path):
        with open(path, "rb") as stream:
            return stream.read()

    def list_directory(self, path):
        return os.listdir(path)

    def descriptors(self):
        """How many link_mgr may have: soft and hard limit."""
        text = self.read_file("/proc/%d/limits" % self.daemon.pid).decode()
        soft, hard = re.search(r"^Max open files +(\d+) +(\d+)", text, re.MULTILINE).groups()
        return int(soft), int(hard)

    def limit_descriptors(self, soft):
        """As the user that link_mgr is: for another one's process even root needs CAP_SYS_RESOURCE."""
        command = ["prlimit", "--pid", str(self.daemon.pid), "--nofile=%d:" % soft]
        subprocess.run(command, check=True, **self.world.as_user())

    def rpc(self, timeout=60):
        return rpc.connect(self.socket, timeout)


def test_user():
    """The name of the user that link_mgrs become, or None."""
    return os.environ.get("IDC_TEST_USER") or None


class LocalWorld:
    platform = "local"
    has_python = True
    local_files = True
    can_change_uid = os.geteuid() == 0

    def __init__(self, build_dir, domids=(1, 3000, 0)):
        self.build_dir = os.path.abspath(build_dir)
        self.measures_memory = not self._instrumented()
        self.slowness = 1 if self.measures_memory else 6  # by how much longer than on an ordinary machine things may take
        self.pace = self.slowness  # the same, by now()
        descendants.adopt()
        self.directory = public_directory()  # programs of other users run in it
        self.user = pwd.getpwnam(test_user()) if test_user() else None
        self.give(self.directory)
        self.programs = self._copy_programs() if self.can_change_uid else self.build_dir
        self.store_directory = os.path.join(self.directory, "store")
        # A sanitizer's library comes after what `idc run` preloads.
        self.environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": self.directory, "LANG": "C.UTF-8",
                            "IDC_STORE": self.store_directory, "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.reader = Reader()
        self._had = []
        self.domains = [LocalDomain(self, role, domid) for role, domid in zip("abc", domids)]
        self.a, self.b, self.c = self.domains

    def _instrumented(self):
        """Is it link_mgr under valgrind (a script then), or with a sanitizer in it, or counted? They have memory and time of their own."""
        with open(os.path.join(self.build_dir, "link_mgr"), "rb") as stream:
            program = stream.read()
        return not program.startswith(b"\x7fELF") or any(mark in program for mark in (b"__asan_", b"__tsan_", b"__gcov_"))

    def _copy_programs(self):
        """What is built may lie where other users, as whom some of it is run, can't enter: below root's home, for example."""
        target = os.path.join(self.directory, "build")
        for part in ("", "tests"):
            source = os.path.join(self.build_dir, part)
            os.makedirs(os.path.join(target, part), 0o755)
            os.chmod(os.path.join(target, part), 0o755)
            for name in os.listdir(source):
                if os.path.isfile(os.path.join(source, name)):
                    copy_for_all(os.path.join(source, name), os.path.join(target, part, name))
        return target

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def give(self, *paths):
        """To the user of link_mgrs."""
        for path in paths:
            if self.user:
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def as_user(self):
        """How subprocess runs a program as that user."""
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def acquaint(self, *domains):
        """They have seen each other's nodes by now: one watch for a directory of files tells."""

    def now(self):
        return time.monotonic()

    def pass_time(self, seconds):
        time.sleep(seconds)

    def find_program(self, name):
        if name in PROGRAMS + [GO_PROBE]:
            return os.path.join(self.programs, "tests", name)
        path = os.path.join(self.programs, name)
        return path if os.path.exists(path) else name

    # ---- programs of Debian ----

    @functools.cached_property
    def debian(self):
        programs = debian.Programs(self.build_dir)
        if self.can_change_uid:
            programs.move(os.path.join(self.directory, "debian"), copy_for_all)
        return programs

    def debian_program(self, name):
        """Where a program of Debian's is, or one of our own."""
        return self.debian.path(name) if name in debian.NAMES else self.find_program(name)

    def nbdkit_plugin(self, name):
        return self.debian.plugin(name)

    def script(self, name):
        return os.path.join(ROOT, "tests", "programs", name)

    def user_environment(self, domain, uid, directory):
        """What makes uid a user with a home and a shell, whether or not this machine knows it: a file in place of /etc/passwd."""
        user, group = "user1:x:%d:%d::%s:/bin/sh\n" % (uid, uid, directory), "user1:x:%d:\n" % uid
        for name, text in (("passwd", user), ("group", group)):
            with open(os.path.join(directory, name), "w", encoding="ascii") as stream:
                stream.write(text)
        # (idc may have a sanitizer in it, which would rather be preloaded first.)
        return {"LD_PRELOAD": self.debian.library("libnss_wrapper.so"), "NSS_WRAPPER_PASSWD": directory + "/passwd",
                "NSS_WRAPPER_GROUP": directory + "/group", "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def daemon_options(self, domain, options):
        # A system call that is missing in link_mgr/base/confine.c ends it. Valgrind and the sanitizers make calls of their own.
        confine = "kill" if self.measures_memory else "no"
        user = ["--user", self.user.pw_name] if self.user else []
        return ["--platform", "local", "--domid", str(domain.domid), "--socket", domain.socket, "--confine", confine] + user + \
            list(options)

    def clean_up(self):
        """Nothing runs, whatever a test has done: also what no domain knows of."""
        for domain in self.domains:
            domain.kill_everything()
        descendants.kill_descendants()

    def running(self):
        return ["process %d" % pid for pid in descendants.descendants()]

    def begin(self):
        """An empty store, and no sockets."""
        self._had = self._directories()
        shutil.rmtree(self.store_directory, ignore_errors=True)
        os.mkdir(self.store_directory)
        os.chmod(self.store_directory, 0o755)  # whatever the umask is: link_mgr minds who may write there
        self.give(self.store_directory)
        for name in os.listdir(self.directory):  # of a test that failed
            if name.endswith(".sock"):
                os.unlink(os.path.join(self.directory, name))

    def setup(self, *domains, ports=None, remove=False, add=False):
        argv = [self.find_program("idc-setup"), "--store", self.store_directory]
        argv += ["--remove"] * remove + ["--add"] * add + (["--ports", ports] if ports else [])
        argv += [str(getattr(domain, "domid", domain)) for domain in domains]
        return subprocess.run(argv, check=True, capture_output=True, timeout=60, **self.as_user()).stdout.decode()

    def tell_setup(self, *domains, **options):
        """setup, without waiting until link_mgrs know it; here nothing waits."""
        return self.setup(*domains, **options)

    def setup_rules(self, command, *words):
        """idc-setup with a command that is a word."""
        argv = [self.find_program("idc-setup"), command, "--store", self.store_directory, *words]
        return subprocess.run(argv, check=True, capture_output=True, timeout=60, **self.as_user()).stdout.decode()

    def write_node(self, name, permissions, value):
        path = os.path.join(self.store_directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = os.path.join(os.path.dirname(path), ".new")
        with open(new, "w", encoding="utf-8") as stream:
            stream.write(permissions + "\n" + value)
        self.give(os.path.dirname(os.path.dirname(path)), os.path.dirname(path), new)
        os.rename(new, path)

    def write_policy(self, domain, peer, value):
        """One half of a rule, as it stands in the store."""
        self.write_node("domain:%d/policy/%d" % (domain.domid, peer.domid), "n0,r%d" % domain.domid, value)

    def write_rules(self, domain, generation, text):
        """A domain's rules (docs/xenstore.md, "Rules"), in place of those before."""
        for leaf, value in ("%d.0" % generation, text), ("now", "%d 1" % generation):
            self.write_node("domain:%d/policy/rules.%s" % (domain.domid, leaf), "n0,r%d" % domain.domid, value)

    def write_rendezvous(self, domain, peer, leaf, value):
        """A node that domain's link_mgr could have written for peer."""
        self.write_node("domain:%d/data:%d/%s" % (domain.domid, peer.domid, leaf),
                         "n%d,r%d" % (domain.domid, peer.domid), value)

    def list_rules(self):
        return subprocess.run([self.find_program("idc-setup"), "--store", self.store_directory, "--list"], check=True,
                              capture_output=True, timeout=60).stdout.decode()

    def store(self):
        nodes = {}
        for path in self._data_files():
            domain, peer, name = path[len(self.store_directory) + 1:].replace("domain:", "").replace("data:", "").split("/")
            with open(path, encoding="utf-8") as stream:
                nodes["/local/domain/%s/data/idc/%s/%s" % (domain, peer, name.replace(".", "/"))] = stream.read().partition("\n")[2]
        return nodes

    def published(self, domain):
        """Files of what its link_mgr has published for others."""
        return self._data_files(domain.domid)

    @staticmethod
    def unpublish(path):
        """False: it is not there any more."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True

    def _data_files(self, domid="*"):
        """Files of what link_mgrs have published for each other."""
        return glob.glob("%s/domain:%s/data:*/*" % (self.store_directory, domid))

    def _directories(self):
        """Those in which the sockets are, or could be."""
        return [path for path in ("/run/idc", self.directory + "/missing") if os.path.exists(path)]

    def stray_files(self):
        """What link_mgrs that have ended have left beside the policy. (A liar that was killed leaves what it likes.)"""
        domids = {str(domain.domid) for domain in self.domains}
        names = os.listdir(self.store_directory)
        return [path for domid in domids for path in self._data_files(domid)] + \
            [name for name in names if not name.startswith("domain:") and name.split("-")[-1] in domids] + \
            [name for name in os.listdir(self.directory) if name.endswith(".sock")] + \
            [path for path in self._directories() if path not in self._had]
