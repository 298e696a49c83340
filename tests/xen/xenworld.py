# SPDX-License-Identifier: GPL-2.0-or-later
"""Real Xen in QEMU, driven from Python.

    from xenworld import XenWorld
    with XenWorld("build", guests=2) as world:
        dom0, g1, g2 = world.domains
        print(g1.domid, g1.run(["uname", "-a"]).stdout)
        server = g1.spawn(["test_accept", "80"])
        ...

XenWorld(build_dir, guests=2, ...) boots Xen with a PV dom0 and guests g1, g2, ... by QEMU's TCG (image.py says of what), in about
half a minute; start() and stop() do the same without `with`. $XEN_RELEASE says of which release of Debian all of it is, and
$XEN_GUESTS what kind the guests are: pv (unless it says otherwise) or pvh. Programs of build_dir (and `programs=`) are in
/usr/bin of every domain; `guest_tools=` (of Xen's) and `guest_modules=` (of the kernel's) only in the guests;
`dom0_modules=` are dom0's. With `systemd=True`
the guests' first process is systemd (systemd_image.py). One boot serves many tests. All commands in all domains run as children
of an agent (agent.c), over a line that adds nothing to the guests' grants, event channels, watches or store nodes (consoles.h).

The machine's time (`clock`, CLOCKS): "own", the default, or "skipping", or "host" ($XEN_CLOCK says otherwise for those that
don't ask for one).

A domain:
    domain.name, domain.domid            "dom0" or "gN"; the domid is the present one (None: it isn't running)
    domain.spawn(argv, env=, stdin=, uid=, gid=, cwd=)   a Process (agentlink.py). stdin=b"...": give it that, then end of
                                         file; stdin=None (default): open, write to it with process.write
    domain.run(argv, input=b"", timeout=, check=, ...)   runs to the end; Result(returncode, stdout, stderr)
    domain.put_file(path, data, mode=), domain.get_file(path)
    domain.kill_all()                    kills what spawn started here and still runs
    domain.clear(mark)                   kills whatever has this beginning of an assignment ("NAME=") in its environment, whoever
                                         started it, until there is none

The machine (xl in dom0):
    world.create(N) -> domain            starts guest gN (again, under a new domid). With begin=: a function that makes it run,
                                         called when it was made and is paused. restore has this too
    world.create_by(N, make), restore_by(domain, make)       the same, where make calls xl itself
    world.destroy(domain), world.pause(domain), world.unpause(domain)
    world.save(domain, file), world.restore(domain, file)    file is in dom0, where /run has room for one
    world.shutdown(domain)               wait until it has ended; world.list() -> [(name, domid, state)]
    world.store(path) -> value or None;  world.store_list(path) -> {path: value} of everything below
    world.grants() -> {domid: count of active grants}; world.event_channels(domid) -> [line of lsevtchn]
    world.diagnosis(domain) -> why a guest does not answer: text for somebody who looks for it
    world.log(name) -> text so far of "dom0", "g1", "xen" (the serial console)

    world.now()                          seconds of the machine's clock, by which things that must be quick are measured

Whatever waits has a timeout; world.slowness, found at boot, is by how much longer they all are than they say. QEMU ends with
the program that started it, however that ends, and after `limit` seconds at the latest.
"""

import collections
import ctypes
import fcntl
import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agentlink  # noqa: E402
import image  # noqa: E402

LinkLost = agentlink.LinkLost
ImageError = image.ImageError
Result = collections.namedtuple("Result", "returncode stdout stderr")

PROGRAMS = ["link_mgr", "idc-setup", "idc", "libidc-vsock.so", "test_accept", "test_conn"]
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin", "HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb"}
# Without tsc_mode, Xen emulates rdtsc, because QEMU's processor does not promise that its time stamp counter is reliable. In a PVH
# guest each rdtsc then takes 50 to 120 microseconds. The kernel has several of them in its timer interrupt, which comes every
# 4 ms. With a host that is somewhat busy the guest does nothing else any more, and never answers.
GUEST_CONFIG = """name = "{name}"
type = "{type}"
kernel = "/guest/{kernel}"
ramdisk = "/guest/guest.img"
memory = {memory}
vcpus = 1
tsc_mode = "native"
extra = "console=hvc0 quiet panic=-1 {extra}"
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
"""
# What a guest of this type is told besides.
GUEST_CONFIG_MORE = {"pv": "", "pvh": "", "hvm": """device_model_version = "qemu-xen"
device_model_override = "/usr/libexec/xen-qemu-system-i386"
bios = "seabios"
bios_path_override = "/usr/share/seabios/bios-256k.bin"
vga = "none"
vnc = 0
usb = 0
"""}
# How many CPUs, and what QEMU is told about time.
CLOCKS = {
    # It passes as instructions are executed, a nanosecond each, and when there is nothing to do, as it does here. So whatever
    # else the host has to do, it stands still while QEMU waits for the processor: no time limit in the domains notices.
    "own": (1, ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on"]),
    # The same, but it leaps when there is nothing to do: figures that repeat, for benchmarks.
    "skipping": (1, ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]),
    # The host's. Two CPUs that really run at once.
    "host": (2, ["-accel", "tcg,thread=multi"]),
}
USUAL_BOOT = 30  # seconds, with dom0 and two guests
# What QEMU's processor has: for paravirtual guests, and for those in a machine of their own, with nested paging.
CPUS = {"pv": "qemu64,+svm", "pvh": "qemu64,+svm,+npt", "hvm": "qemu64,+svm,+npt"}


class XenError(Exception):
    """Something that the harness itself did has failed; the text has the details."""


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Domain:
    """dom0 or a guest; made by XenWorld."""

    def __init__(self, world, number):
        self.world = world
        self.number = number
        self.name = "g%d" % number if number else "dom0"
        self._processes = []

    def __repr__(self):
        return "<%s, domid %s>" % (self.name, self.domid)

    @property
    def domid(self):
        return self.world.link.domids.get(self.number)

    def spawn(self, argv, env=None, stdin=None, uid=0, gid=None, cwd="/tmp", timeout=agentlink.DEFAULT_TIMEOUT):
        process = self.world.link.spawn(self.number, argv, {**ENVIRONMENT, **(env or {})}, uid, uid if gid is None else gid, cwd)
        process.started(timeout)
        self._processes = [other for other in self._processes if other.returncode is None] + [process]
        if stdin is not None:
            process.write(stdin)
            process.close_stdin()
        return process

    def run(self, argv, input=b"", timeout=agentlink.DEFAULT_TIMEOUT, check=False, **options):
        process = self.spawn(argv, **options)
        try:
            out, err = process.communicate(input, timeout)
        except TimeoutError:
            process.kill_session()
            raise
        if check and process.returncode:
            raise XenError("%s in %s: exit status %d\n%s%s" % (
                " ".join(argv), self.name, process.returncode, out.decode(errors="replace"), err.decode(errors="replace")))
        return Result(process.returncode, out, err)

    def put_file(self, path, data, mode=0o644):
        self.run(["sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", path, "%o" % mode], input=data, check=True)

    def get_file(self, path):
        return self.run(["cat", path], check=True).stdout

    def kill_all(self):
        for process in self._processes:
            if process.returncode is None and not process.lost:
                process.kill_session()
                process.wait()
        self._processes = []


    def clear(self, mark, timeout=agentlink.DEFAULT_TIMEOUT):
        end = time.monotonic() + timeout * self.world.slowness
        while self.world.link.clear(self.number, mark, timeout):
            if time.monotonic() > end:
                raise TimeoutError("processes of %s do not end" % self.name)
        self._processes = []


class XenWorld:
    """One machine with Xen. See the module's documentation."""

    def __init__(self, build_dir="build", guests=2, programs=(), files=(), guest_tools=(), guest_modules=(),
                 dom0_modules=(), clock=None, guest_type=None, guest_memory=192, systemd=False, gntalloc_limit=None, limit=7200, boot_timeout=600,
                 verbose=False):
        self.build_dir = os.path.abspath(build_dir)
        self.programs = list(programs)
        self.files = list(files)
        self.guest_tools = list(guest_tools)
        self.guest_modules = list(guest_modules)
        self.dom0_modules = list(dom0_modules)
        self.domains = []
        self.link = None
        self.boot_seconds = None
        self.slowness = 1
        self._guests = guests
        clock = clock or os.environ.get("XEN_CLOCK") or "own"
        self.own_clock = clock != "host"
        self._cpus, self._clock = CLOCKS[clock]
        self.guest_type = guest_type or os.environ.get("XEN_GUESTS") or "pv"
        if self.guest_type not in CPUS:
            raise ImageError("XEN_GUESTS is '%s', and can be %s" % (self.guest_type, " or ".join(CPUS)))
        self._guest_memory = guest_memory
        self._systemd = systemd
        self._extra = "xen_gntalloc.limit=%d" % gntalloc_limit if gntalloc_limit else ""
        self._limit = limit
        self._boot_timeout = boot_timeout
        self._verbose = verbose
        self._qemu = None
        self._started = None
        self._timer = None
        self._run = None
        self._lock = None
        self._logs = {}
        self._log_lock = threading.Lock()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        self.stop()

    @property
    def pid(self):
        """Of QEMU."""
        return self._qemu.pid

    # ---- boot and end ----

    def start(self):
        directory = os.path.join(self.build_dir, "xen")
        os.makedirs(directory, exist_ok=True)
        self._remove_old_runs(directory)
        self._run = tempfile.mkdtemp(prefix="run-", dir=directory)
        self._lock = open(os.path.join(self._run, "lock"), "w", encoding="ascii")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            packages = image.Packages(directory)
            self._say("Debian %s, %s guests" % (packages.release.name, self.guest_type.upper()))
            image.build(packages, self.build_dir, self._run, self._programs(), self.files, self.guest_tools, self.guest_modules,
                        self.guest_type, self._systemd, self.dom0_modules)
            self._boot()
        except BaseException:
            self.stop(failed=True)
            raise
        return self

    @staticmethod
    def _remove_old_runs(directory):
        """Of runs that were killed: their lock is free."""
        for run in glob.glob(os.path.join(directory, "run-*")):
            try:
                with open(os.path.join(run, "lock"), encoding="ascii") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(run, ignore_errors=True)
            except OSError:
                pass

    def stop(self, failed=False):
        """Ends QEMU, whatever it does. The logs are kept in BUILD/xen/log."""
        if self._timer:
            self._timer.cancel()
        if self._qemu:
            self._kill()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._qemu.wait()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._say("the machine ran for %.0f s, and had the processor for %.0f s of them" % (
                time.monotonic() - self._started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        if self.link:
            self.link.close()
        if failed:
            sys.stderr.write("xen: the last lines of the serial console:\n%s\n" % self.log("xen")[-3000:])
        self._keep_logs()

    def _programs(self):
        found = [os.path.join(self.build_dir, name) for name in PROGRAMS]
        return [path for path in found if os.path.exists(path)] + self.programs

    def _qemu_command(self, fd):
        dom0_memory = 832 + self._guest_memory  # in which its disk is, and to which a guest is saved
        xen = "console=com1 com1=115200,8n1 dom0_mem={0}M,max:{0}M dom0_max_vcpus=1".format(dom0_memory) + \
            " loglvl=warning guest_loglvl=warning bootscrub=0"
        dom0 = "console=hvc0 quiet panic=-1 " + self._extra
        memory = dom0_memory + 256 + max(4, self._guests + 1) * (self._guest_memory + 64)
        return ["qemu-system-x86_64"] + self._clock + [
            "-cpu", CPUS[self.guest_type], "-smp", str(self._cpus), "-m", str(memory), "-nodefaults", "-display",
            "none", "-monitor", "none", "-no-reboot", "-net", "none", "-serial", "file:" + os.path.join(self._run, "serial.log"),
            "-device", "virtio-serial-pci", "-chardev", "socket,id=agent,fd=%d" % fd,
            "-device", "virtserialport,chardev=agent,name=agent",
            "-kernel", os.path.join(self._run, "xen"), "-append", xen,
            "-initrd", "%s %s,%s" % (os.path.join(self._run, "vmlinux"), dom0, os.path.join(self._run, "dom0.img"))]

    def _boot(self):
        started = self._started = time.monotonic()
        ours, theirs = socket.socketpair()
        try:
            with open(os.path.join(self._run, "qemu.log"), "wb") as log:
                self._qemu = subprocess.Popen(self._qemu_command(theirs.fileno()), stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log, pass_fds=[theirs.fileno()], start_new_session=True,
                                              preexec_fn=_die_with_parent)
        except FileNotFoundError as error:
            raise ImageError("qemu-system-x86_64 isn't installed: apt-get install qemu-system-x86") from error
        theirs.close()
        self._timer = threading.Timer(self._limit, self._kill)
        self._timer.daemon = True
        self._timer.start()
        self.link = agentlink.Link(ours, self._write_log)
        self.link.wait_for(lambda: 0 in self.link.hellos, self._boot_timeout, "sign of life of dom0")
        self._say("dom0 is up after %.1f s" % (time.monotonic() - started))
        self.domains = [Domain(self, number) for number in range(self._guests + 1)]
        for name in ("vmlinux", "dom0.img", "xen"):
            os.unlink(os.path.join(self._run, name))
        for domain in self.domains[1:]:
            self._create(domain)
        for domain in self.domains[1:]:
            self._wait_up(domain, 0)
        self.boot_seconds = time.monotonic() - started
        self.slowness = self.link.slowness = max(1, self.boot_seconds / USUAL_BOOT)
        self._say("dom0 and %d guests are up after %.1f s" % (self._guests, self.boot_seconds))

    def _kill(self):
        try:
            os.killpg(self._qemu.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _keep_logs(self):
        if not self._run:
            return
        kept = os.path.join(self.build_dir, "xen", "log")
        os.makedirs(kept, exist_ok=True)
        for path in glob.glob(os.path.join(self._run, "*.log")):
            shutil.copy(path, kept)
        shutil.rmtree(self._run, ignore_errors=True)
        self._lock.close()
        self._run = None

    # ---- logs ----

    def _say(self, text):
        if self._verbose:
            sys.stderr.write("xen: %s\n" % text)

    def _write_log(self, name, data):
        with self._log_lock:
            self._logs.setdefault(name, bytearray()).extend(data)
            if self._run:
                with open(os.path.join(self._run, name + ".log"), "ab") as stream:
                    stream.write(data)

    def log(self, name):
        if name == "xen":
            data = b""
            for path in ("serial.log", "qemu.log"):
                try:
                    with open(os.path.join(self._run, path), "rb") as stream:
                        data += stream.read()
                except (OSError, TypeError):
                    pass
        else:
            with self._log_lock:
                data = bytes(self._logs.get(name, b""))
        return data.decode(errors="replace").replace("\r", "")

    # ---- guests ----

    @property
    def dom0(self):
        return self.domains[0]

    def xl(self, *arguments, timeout=180):
        return self.dom0.run(["xl"] + list(arguments), timeout=timeout, check=True).stdout.decode(errors="replace")

    def _create(self, domain, *options):
        path = "/tmp/%s.cfg" % domain.name
        config = GUEST_CONFIG.format(name=domain.name, type=self.guest_type, memory=self._guest_memory, extra=self._extra,
                                     kernel="vmlinuz" if self.guest_type == "hvm" else "vmlinux") + GUEST_CONFIG_MORE[self.guest_type]
        self.dom0.put_file(path, config.encode())
        self.xl("create", "-q", *options, path)

    def _wait_up(self, domain, hellos):
        self.link.wait_for(lambda: self.link.hellos.get(domain.number, 0) > hellos, self._boot_timeout,
                           "sign of life of " + domain.name)

    def wait_gone(self, domain, domid):
        self.link.wait_for(lambda: self.link.domids.get(domain.number) != domid, 60, "end of %s" % domain.name)
        self.link.lose_target(domain.number, "%s has ended" % domain.name)

    def create_by(self, number, make):
        """Starts guest gN, which isn't running, by what make() does."""
        while len(self.domains) <= number:
            self.domains.append(Domain(self, len(self.domains)))
        domain = self.domains[number]
        hellos = self.link.hellos.get(number, 0)
        make(domain)
        self._wait_up(domain, hellos)
        return domain

    def create(self, number, begin=None):
        def make(domain):
            self._create(domain, *(["-p"] if begin else []))
            if begin:
                begin()

        return self.create_by(number, make)

    def destroy(self, domain):
        domid = domain.domid
        self.xl("destroy", domain.name)
        self.wait_gone(domain, domid)

    def shutdown(self, domain):
        domid = domain.domid
        domain.spawn(["poweroff", "-f"])
        self.wait_gone(domain, domid)

    def pause(self, domain):
        self.xl("pause", domain.name)

    def unpause(self, domain):
        self.xl("unpause", domain.name)

    def save(self, domain, path):
        """The guest ends; its processes come back with restore."""
        domid = domain.domid
        self.xl("save", domain.name, path)
        self.link.wait_for(lambda: self.link.domids.get(domain.number) != domid, 60, "end of %s" % domain.name)

    def restore(self, domain, path, begin=None):
        def make():
            self.xl("restore", *(["-p"] if begin else []), path)
            if begin:
                begin()

        self.restore_by(domain, make)

    def restore_by(self, domain, make):
        hellos = self.link.hellos.get(domain.number, 0)
        make()
        self.link.wait_for(lambda: domain.number in self.link.domids, 60, "console of %s" % domain.name)
        self.link.send(domain.number, agentlink.PING, 0, b"")
        self._wait_up(domain, hellos)

    def list(self):
        """[(name, domid, state)]; a domain that is dead but held by somebody has the name (null)."""
        lines = self.xl("list").splitlines()[1:]
        return [(fields[0], int(fields[1]), fields[4]) for fields in (line.split() for line in lines)]

    # ---- what there is in the machine ----

    def now(self):
        return float(self.dom0.get_file("/proc/uptime").split()[0])

    def store(self, path):
        result = self.dom0.run(["xenstore-read", path])
        return result.stdout.decode().rstrip("\n") if result.returncode == 0 else None

    def store_list(self, path):
        """Everything below path."""
        nodes = {}
        for line in self.dom0.run(["xenstore-ls", "-f", path]).stdout.decode(errors="replace").splitlines():
            name, _, value = line.partition(" = ")
            nodes[name] = value[1:-1]
        return nodes

    def hypervisor_key(self, key, done, timeout=60):
        """What Xen prints for a debug key (xl debug-keys), up to the text done at least."""
        mark = "IDC-%d" % time.monotonic_ns()
        self.dom0.run(["sh", "-c", "echo %s > /dev/hvc0" % mark], check=True)
        self.xl("debug-keys", key)
        end = time.monotonic() + timeout * self.slowness
        while time.monotonic() < end:
            text = self.log("xen").partition(mark)[2]
            if done in text:
                return text
            time.sleep(0.05)
        raise TimeoutError("Xen still prints for key %s" % key)

    def diagnosis(self, domain):
        """Text for somebody who looks for why a guest does not answer: what dom0 and Xen know of it."""
        parts = []
        for words in ("xl vcpu-list", "lsevtchn %d", "kill -USR1 1", "xenctx -a %d", "xenctx -a %d", "xl sysrq %d w",
                      "xl debug-keys q", "xl vcpu-list"):
            command = words % domain.domid if "%" in words else words
            try:
                result = self.dom0.run(command.split())
                parts.append("%s\n%s" % (command, (result.stdout + result.stderr).decode(errors="replace")))
            except (TimeoutError, LinkLost) as error:
                parts.append("%s: %s" % (command, error))
        time.sleep(5 * self.slowness)  # the answer to the last keys, if there is one
        parts += ["log of %s\n%s" % (name, self.log(name)[-size:]) for name, size in (("dom0", 2000), (domain.name, 4000), ("xen", 8000))]
        return "\n---- ".join(["%s does not answer" % domain.name] + parts)

    def grants(self):
        """How many grants each domain has given out and are allocated, as Xen's debug key 'g' shows."""
        counts = collections.Counter()
        domid = None
        for line in self.hypervisor_key("g", "gnttab_usage_print_all ] done").splitlines():
            match = re.search(r"grant-table for remote d(\d+)", line)
            if match:
                domid = int(match.group(1))
                counts[domid] += 0
            elif domid is not None and re.search(r"\[0x[0-9a-f]+\]", line):
                counts[domid] += 1
        return dict(counts)

    def grant_frames(self):
        """For each domain (frames of its grant table, at most so many). A frame has 512 grants."""
        frames = {}
        for line in self.hypervisor_key("g", "gnttab_usage_print_all ] done").splitlines():
            match = re.search(r"grant-table for remote d(\d+)", line)
            if match:
                domid = int(match.group(1))
            match = re.search(r"(\d+) frames \((\d+) max\), \d+ maptrack", line)
            if match:
                frames[domid] = int(match.group(1)), int(match.group(2))
        return frames

    def event_channels(self, domid):
        out = self.dom0.run(["lsevtchn", str(domid)]).stdout.decode()
        return [line for line in out.splitlines() if line.strip()]
