# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted: Debian's Xen, kernel and tools, and the project's programs, as images for QEMU.

Everything goes below DIR, the "xen" directory of a build directory:

    DIR/packages      Debian packages as downloaded, and unpacked in packages/tree. Kept.
    DIR/vmlinux       the kernel, unpacked (PV loaders take it as it is, and unpacking it in dom0 takes seconds)
    DIR/agent         the agent (agent.c), compiled
    DIR/run-*/        images and logs of one run

Nothing needs root: packages are fetched by `apt-get download` and unpacked by `dpkg -x`, and images are cpio archives
that are written here. Shared libraries come from this machine, which has them because libxen-dev is needed to build.
"""

import fcntl
import glob
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import zlib

PACKAGES = ["xen-hypervisor-4.17-amd64", "xen-utils-4.17", "xen-utils-common", "xenstore-utils", "busybox-static"]
XEN_BIN = "usr/lib/xen-4.17/bin"
DOM0_TOOLS = [XEN_BIN + "/" + name for name in (
    "xl", "xenstored", "xen-init-dom0", "libxl-save-helper", "lsevtchn", "xenstore-control", "xen-diag", "vchan-socket-proxy")]
STORE_TOOLS = ["usr/bin/xenstore-" + name for name in ("read", "write", "ls", "list", "rm", "chmod", "watch", "exists")]
# The last one is loaded by the kernel itself where there is a modprobe.
GUEST_MODULES = ["drivers/xen/xen-privcmd", "drivers/xen/xenfs/xenfs", "drivers/xen/xen-evtchn", "drivers/xen/xen-gntdev",
                 "drivers/xen/xen-gntalloc", "net/unix/unix_diag"]
DOM0_MODULES = GUEST_MODULES + ["drivers/virtio/" + name for name in (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci")] + ["drivers/char/virtio_console"]
AGENT_SOURCES = ["agent.c", "consoles.c", "frame.c", "process.c"]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser1:x:1000:1000::/tmp:/bin/sh\nuser2:x:1001:1001::/tmp:/bin/sh\n"
GROUP = "root:x:0:\nidc:x:900:user1\nuser1:x:1000:\nuser2:x:1001:\n"

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class ImageError(Exception):
    """Something that is needed can't be had; the text says what to do."""


def _run(command, what, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode:
        raise ImageError("%s: '%s' failed:\n%s" % (what, " ".join(command), result.stdout))
    return result.stdout


class Cpio:
    """A cpio archive in the "newc" form, which the kernel unpacks as its first root file system."""

    def __init__(self):
        self._parts = []
        self._names = set()
        self._inode = 0

    def _add(self, name, mode, data=b"", device=(0, 0)):
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]
        self._names.add(name)

    def directory(self, path, mode=0o755):
        path = path.strip("/")
        if path and path not in self._names:
            self.directory(os.path.dirname(path))
            self._add(path, stat.S_IFDIR | mode)

    def data(self, path, data, mode=0o644):
        path = path.strip("/")
        if path not in self._names:
            self.directory(os.path.dirname(path))
            self._add(path, stat.S_IFREG | mode, data)

    def file(self, path, source):
        with open(source, "rb") as stream:
            self.data(path, stream.read(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def link(self, path, target):
        path = path.strip("/")
        if path not in self._names:
            self.directory(os.path.dirname(path))
            self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor):
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFCHR | 0o600, b"", (major, minor))

    def write(self, path):
        self._add("TRAILER!!!", 0)
        with open(path, "wb") as stream:
            stream.write(b"".join(self._parts))


def libraries(programs):
    """The shared libraries that the programs need, as paths of this machine."""
    found = set()
    for program in programs:
        out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        missing = re.findall(r"(\S+) => not found", out)
        if missing:
            raise ImageError("%s needs %s, which isn't installed here (is libxen-dev installed?)" %
                             (program, ", ".join(missing)))
        found.update(re.findall(r"(?:=> )?(/\S+) \(0x", out))
    # Loaded by pthread_cancel only, so ldd doesn't name it.
    found.update(glob.glob("/lib/*-linux-gnu/libgcc_s.so.1"))
    return sorted(found)


class Packages:
    """Debian's packages, downloaded and unpacked once."""

    def __init__(self, directory):
        self.directory = os.path.join(directory, "packages")
        self.tree = os.path.join(self.directory, "tree")
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(directory, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(os.path.join(self.directory, "complete")):
                self._fetch()
            self.vmlinux = os.path.join(directory, "vmlinux")
            if not os.path.exists(self.vmlinux):
                self._unpack_kernel()
        self.release = os.path.basename(glob.glob(os.path.join(self.tree, "lib/modules/*"))[0])

    def _fetch(self):
        kernel = re.search(r"Depends: (linux-image-\S+)", _run(["apt-cache", "depends", "linux-image-amd64"], "kernel"))
        if not kernel:
            raise ImageError("apt knows no linux-image-amd64; run 'apt-get update' (as root) and see sources.list")
        # As many versions as libraries: the tools must be of the version of the libraries installed here.
        version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libxen-dev"], stdout=subprocess.PIPE, text=True,
                                 check=False).stdout
        names = [name + ("=" + version if version and name.startswith("xen") else "") for name in PACKAGES]
        _run(["apt-get", "download"] + names + [kernel.group(1)], "Debian packages", cwd=self.directory)
        for package in glob.glob(os.path.join(self.directory, "*.deb")):
            _run(["dpkg", "-x", package, self.tree], "unpacking")
        with open(os.path.join(self.directory, "complete"), "w", encoding="ascii"):
            pass

    def _unpack_kernel(self):
        with open(glob.glob(os.path.join(self.tree, "boot/vmlinuz-*"))[0], "rb") as stream:
            image = stream.read()
        # The fields setup_sects and payload_offset of the header, Documentation/x86/boot.rst in Linux.
        offset = (image[0x1F1] + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
        vmlinux = lzma.LZMADecompressor().decompress(image[offset:])
        with open(self.vmlinux + ".new", "wb") as stream:
            stream.write(vmlinux)
        os.rename(self.vmlinux + ".new", self.vmlinux)

    def path(self, name):
        return os.path.join(self.tree, name)

    def module(self, name):
        return self.path("lib/modules/%s/kernel/%s.ko" % (self.release, name))

    def hypervisor(self, destination):
        """Writes the hypervisor, unpacked, as QEMU wants it."""
        with open(self.path("boot/xen-4.17-amd64.gz"), "rb") as stream:
            data = zlib.decompress(stream.read(), 31)
        with open(destination, "wb") as stream:
            stream.write(data)


def build_agent(directory):
    """Compiles the agent; returns its path."""
    agent = os.path.join(directory, "agent")
    sources = [os.path.join("tests/xen", name) for name in AGENT_SOURCES]
    newest = max(os.path.getmtime(path) for path in glob.glob(os.path.join(HERE, "*.[ch]")))
    if not os.path.exists(agent) or os.path.getmtime(agent) < newest:
        new = "%s.%d" % (agent, os.getpid())
        _run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-I.", "-Wall", "-Wextra", "-Werror", "-O2", "-g", "-o", new] + sources +
             ["-lxenstore", "-lxenevtchn", "-lxengnttab", "-lpthread"], "compiling the agent", cwd=ROOT)
        os.rename(new, agent)
    return agent


def _common(cpio, packages, agent, tools, modules, programs):
    """What dom0 and guests have both."""
    for path in ("proc", "sys", "dev/xen", "run", "var/run", "var/log", "root", "etc", "usr/sbin"):
        cpio.directory(path)
    cpio.directory("tmp", 0o1777)
    cpio.device("dev/console", 5, 1)
    cpio.device("dev/null", 1, 3)
    cpio.data("etc/passwd", PASSWD.encode())
    cpio.data("etc/group", GROUP.encode())
    cpio.file("bin/busybox", packages.path("bin/busybox"))
    cpio.file("bin/agent", agent)
    cpio.link("init", "etc/init")
    for tool in tools:
        cpio.file("usr/bin/" + os.path.basename(tool), packages.path(tool))
    for number, module in enumerate(modules):
        cpio.file("lib/modules/%02d-%s.ko" % (number, os.path.basename(module)), packages.module(module))
    for program in programs:
        cpio.file("usr/bin/" + os.path.basename(program), program)
    for library in libraries([packages.path(tool) for tool in tools] + [agent] + list(programs)):
        cpio.file(library, library)
    applets = _run([packages.path("bin/busybox"), "--list"], "busybox").split()
    for applet in applets:
        if applet not in ("busybox", "init"):
            cpio.link("bin/" + applet, "busybox")


def build(directory, run, programs, files=(), guest_tools=(), guest_modules=()):
    """Writes xen, vmlinux, dom0.img into the directory run. programs are put into /usr/bin of dom0 and guests; files
    are pairs (path in the domains, path here); guest_tools are names of Xen's programs, and guest_modules of the kernel's
    modules (in the order of their needs), for the guests alone."""
    packages = Packages(directory)
    agent = build_agent(directory)

    guest = Cpio()
    guest.file("etc/init", os.path.join(HERE, "init-guest"))
    dom0 = Cpio()
    dom0.file("etc/init", os.path.join(HERE, "init-dom0"))
    for cpio in (guest, dom0):
        for path, source in files:
            cpio.file(path, source)
    tools = [XEN_BIN + "/" + name for name in ["lsevtchn"] + list(guest_tools)]
    _common(guest, packages, agent, STORE_TOOLS + tools, GUEST_MODULES + list(guest_modules), programs)
    guest.write(os.path.join(run, "guest.img"))

    _common(dom0, packages, agent, STORE_TOOLS + DOM0_TOOLS, DOM0_MODULES, programs)
    dom0.link(XEN_BIN, "/usr/bin")
    dom0.data("etc/xen/xl.conf", b'autoballoon="off"\n')
    for path in ("var/lib/xen", "var/log/xen", "run/xen", "run/lock", "var/lock"):
        dom0.directory(path)
    dom0.file("guest/vmlinux", packages.vmlinux)
    dom0.file("guest/guest.img", os.path.join(run, "guest.img"))
    dom0.write(os.path.join(run, "dom0.img"))
    os.unlink(os.path.join(run, "guest.img"))
    packages.hypervisor(os.path.join(run, "xen"))
    shutil.copyfile(packages.vmlinux, os.path.join(run, "vmlinux"))
