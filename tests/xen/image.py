# SPDX-License-Identifier: GPL-2.0-or-later
"""What is booted: Xen, kernel, tools and libraries of one release of Debian, and the project's programs, as images for QEMU.

Everything goes below DIR, the "xen" directory of a build directory:

    DIR/RELEASE/tree       Debian's packages, unpacked (release.py). Kept.
    DIR/RELEASE/vmlinux    the kernel, unpacked (PV loaders take it as it is, and unpacking it in dom0 takes seconds)
    DIR/RELEASE/agent      the agent (agent.c), compiled
    DIR/RELEASE/build      the project's programs, built for the release, when this machine runs another one
    DIR/run-*/             images and logs of one run

Nothing needs root, and images are cpio archives that are written here. Everything in an image is of the release: shared libraries
are those of its packages. The project's programs are those of the build directory when the machine runs the same release, since
that is what is to be tested. Otherwise they are built once more, with the release's headers and libraries.
"""

import fcntl
import glob
import lzma
import os
import shutil
import stat
import struct
import subprocess
import zlib

import systemd_image
from release import ImageError, Release, run

# What HVM guests need besides: QEMU once more, as their device model in dom0, with what it loads.
DEVICE_MODEL_PACKAGES = ["qemu-system-xen", "qemu-system-data", "seabios"]
DEVICE_MODEL = "usr/libexec/xen-qemu-system-i386"
DEVICE_MODEL_DATA = ["usr/share/seabios/bios-256k.bin", "usr/share/qemu/linuxboot.bin", "usr/share/qemu/linuxboot_dma.bin",
                     "usr/share/qemu/kvmvapic.bin", "usr/share/qemu/keymaps/en-us"]
# Besides what is named after a version: hypervisor, tools and kernel. The second line is what programs are built with.
PACKAGES = ["xen-utils-common", "xenstore-utils", "busybox-static", "zstd",
            "libc6-dev", "libxmlrpc-core-c3-dev", "libexpat1-dev", "libmicrohttpd-dev", "libevent-dev", "libseccomp-dev", "libxen-dev", "libuv1-dev"]
DOM0_TOOLS = ["xl", "xenstored", "xen-init-dom0", "libxl-save-helper", "lsevtchn", "xenstore-control", "xen-diag", "xenctx",
              "vchan-socket-proxy"]
STORE_TOOLS = ["usr/bin/xenstore-" + name for name in ("read", "write", "ls", "list", "rm", "chmod", "watch", "exists")]
# The last one is loaded by the kernel itself where there is a modprobe.
GUEST_MODULES = ["drivers/xen/xen-privcmd", "drivers/xen/xenfs/xenfs", "drivers/xen/xen-evtchn", "drivers/xen/xen-gntdev",
                 "drivers/xen/xen-gntalloc", "net/unix/unix_diag"]
# Of these, later kernels have some built in.
DOM0_MODULES = GUEST_MODULES + ["drivers/virtio/" + name for name in (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci")] + ["drivers/char/virtio_console"]
AGENT_SOURCES = ["tests/xen/" + name for name in ("agent.c", "consoles.c", "frame.c", "process.c")]
# idc and idc-daemon as dist/idc.sysusers makes them: init gives the devices to that group, as dist/idc.rules does.
PASSWD = "root:x:0:0:root:/root:/bin/sh\nidc:x:900:900::/:/bin/false\nuser1:x:1000:1000::/tmp:/bin/sh\nuser2:x:1001:1001::/tmp:/bin/sh\n"
GROUP = "root:x:0:\nidc:x:900:user1\nidc-daemon:x:901:idc\nuser1:x:1000:\nuser2:x:1001:\n"

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


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


class Packages:
    """The packages of a release, fetched once, and what of them is needed."""

    def __init__(self, directory):
        self.release = Release(directory)
        self.release.fetch("xen", self._names)
        self.path = self.release.path
        self._tools = glob.glob(self.path("usr/lib/xen-[0-9]*/bin"))[0]
        self._modules = glob.glob(self.path("lib/modules/*"))[0]
        self.vmlinux = os.path.join(self.release.directory, "vmlinux")
        with open(os.path.join(self.release.directory, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(self.vmlinux):
                self._unpack_kernel()

    def _names(self):
        """The latest Xen and kernel of the release."""
        latest = self.release.depends("xen-system-amd64", "linux-image-amd64")
        return [name for name in latest if name.startswith(("xen-hypervisor-4", "xen-utils-4", "linux-image-"))] + PACKAGES

    def _unpack_kernel(self):
        with open(glob.glob(self.path("boot/vmlinuz-*"))[0], "rb") as stream:
            image = stream.read()
        # The fields setup_sects, payload_offset and payload_length of the header, Documentation/arch/x86/boot.rst in Linux.
        offset, length = struct.unpack_from("<II", image, 0x248)
        payload = image[(image[0x1F1] + 1) * 512 + offset:][:length]
        if payload.startswith(b"\x28\xb5\x2f\xfd"):
            # Its size follows, which the tool doesn't expect.
            vmlinux = subprocess.run(self.release.command(self.path("usr/bin/zstd")) + ["-dc"], input=payload[:-4],
                                     stdout=subprocess.PIPE, check=True).stdout
        else:
            vmlinux = lzma.LZMADecompressor().decompress(payload)
        with open(self.vmlinux + ".new", "wb") as stream:
            stream.write(vmlinux)
        os.rename(self.vmlinux + ".new", self.vmlinux)

    @property
    def kernel_version(self):
        return os.path.basename(self._modules)

    @property
    def tools_in_image(self):
        """Where Xen's own tools look for each other."""
        return os.path.relpath(self._tools, self.release.tree)

    def tool(self, name):
        """Xen's own tools, which are only for its version."""
        return os.path.join(self._tools, name)

    def module(self, name):
        """The module; None if it is a part of the kernel."""
        path = os.path.join(self._modules, "kernel", name + ".ko")
        for path, unpack in ((path, bytes), (path + ".xz", lzma.decompress)):
            if os.path.exists(path):
                with open(path, "rb") as stream:
                    return unpack(stream.read())
        with open(os.path.join(self._modules, "modules.builtin"), encoding="ascii") as stream:
            if "kernel/%s.ko\n" % name in stream.read():
                return None
        raise ImageError("the kernel of %s has no module %s" % (self.release.name, name))

    def hypervisor(self, destination):
        """Writes the hypervisor, unpacked, as QEMU wants it."""
        with open(glob.glob(self.path("boot/xen-*-amd64.gz"))[0], "rb") as stream:
            data = zlib.decompress(stream.read(), 31)
        with open(destination, "wb") as stream:
            stream.write(data)


def compile_program(release, name, sources, flags=()):
    """Compiles a program of the harness (sources are relative to the project) for the release; returns its path."""
    program = os.path.join(release.directory, name)
    new = "%s.%d" % (program, os.getpid())
    run(release.compiler() + ["-std=gnu11", "-D_GNU_SOURCE", "-Iinclude", "-I.", "-Wall", "-Wextra", "-Werror", "-O2", "-g", *flags,
                              "-o", new, *sources, "-lxenstore", "-lxenevtchn", "-lxengnttab", "-lpthread"],
        "compiling " + name, cwd=ROOT)
    os.rename(new, program)
    return program


class Programs:
    """Where the project's programs are, for a release."""

    def __init__(self, release, build_dir):
        self._release = release
        self._build_dir = os.path.abspath(build_dir)
        self._target = os.path.join(release.directory, "build")

    def _is_built(self, path):
        inside = os.path.relpath(os.path.abspath(path), self._build_dir)
        return not inside.startswith("../") and not os.path.abspath(path).startswith(os.path.dirname(self._release.directory) + "/")

    def path(self, path):
        if self._release.native or not self._is_built(path):
            return path
        return os.path.join(self._target, os.path.relpath(os.path.abspath(path), self._build_dir))

    def build(self, paths):
        """Makes those that are built here."""
        wanted = [self.path(path) for path in paths if self.path(path) != path]
        if not wanted:
            return
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        files = [word for name in ("Makefile", "tests/programs/programs.mk", "tests/bench/xen/programs.mk") for word in ("-f", name)]
        os.makedirs(self._target, exist_ok=True)
        with open(os.path.join(self._target, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run(["make", "-j%d" % os.cpu_count()] + files + ["BUILD=" + self._target, "XEN=yes",
                                                             "CC=" + " ".join(self._release.compiler())] + wanted,
                "building for %s" % self._release.name, cwd=ROOT, env=environment)


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
    for number, module in enumerate(modules):
        data = packages.module(module)
        if data:
            cpio.data("lib/modules/%02d-%s.ko" % (number, os.path.basename(module)), data)
    for program in tools + programs:
        cpio.file("usr/bin/" + os.path.basename(program), program)
    for target, library in packages.release.libraries(tools + [agent] + programs).items():
        cpio.file(target, library)
    for applet in run([packages.path("bin/busybox"), "--list"], "busybox").split():
        if applet not in ("busybox", "init"):
            cpio.link("bin/" + applet, "busybox")


def _device_model(cpio, packages):
    """For HVM guests. They boot as a PC does, so from a kernel as it is in a package."""
    packages.release.fetch("device-model", DEVICE_MODEL_PACKAGES)
    cpio.file(DEVICE_MODEL, packages.path(DEVICE_MODEL))
    for target, library in packages.release.libraries([packages.path(DEVICE_MODEL)]).items():
        cpio.file(target, library)
    for path in DEVICE_MODEL_DATA:
        cpio.file(path, packages.path(path))
    for path in glob.glob(packages.path("usr/lib/xen-[0-9]*/boot/hvmloader")):
        cpio.file(os.path.relpath(path, packages.release.tree), path)
    cpio.file("guest/vmlinuz", glob.glob(packages.path("boot/vmlinuz-*"))[0])


def build(packages, build_dir, destination, programs, files=(), guest_tools=(), guest_modules=(), guest_type="pv", systemd=False,
          dom0_modules=()):
    """Writes xen, vmlinux, dom0.img into the directory destination. programs are put into /usr/bin of dom0 and guests; files
    are pairs (path in the domains, path here); guest_tools are names of Xen's programs, and guest_modules of the kernel's
    modules (in the order of their needs), for the guests alone, as dom0_modules are for dom0. What of these is in build_dir is taken as it is built for the
    release. systemd: the guests have systemd (systemd_image.py)."""
    built = Programs(packages.release, build_dir)
    built.build(list(programs) + [source for _, source in files])
    programs = [built.path(program) for program in programs]
    agent = compile_program(packages.release, "agent", AGENT_SOURCES)

    guest = Cpio()
    modules = GUEST_MODULES + list(guest_modules)
    if systemd:
        systemd_image.fetch(packages)
        systemd_image.add(guest, packages, programs, modules)
        modules = []
    guest.file("etc/init", os.path.join(HERE, "init-guest"))
    dom0 = Cpio()
    dom0.file("etc/init", os.path.join(HERE, "init-dom0"))
    for cpio in (guest, dom0):
        for path, source in files:
            cpio.file(path, built.path(source))
    store_tools = [packages.path(tool) for tool in STORE_TOOLS]
    tools = store_tools + [packages.tool(name) for name in ["lsevtchn"] + list(guest_tools)]
    _common(guest, packages, agent, tools, modules, programs)
    guest.write(os.path.join(destination, "guest.img"))

    _common(dom0, packages, agent, store_tools + [packages.tool(name) for name in DOM0_TOOLS],
            DOM0_MODULES + list(dom0_modules), programs)
    dom0.link(packages.tools_in_image, "/usr/bin")
    dom0.data("etc/xen/xl.conf", b'autoballoon="off"\n')
    for path in ("var/lib/xen", "var/log/xen", "run/xen", "run/lock", "var/lock"):
        dom0.directory(path)
    if guest_type == "hvm":
        _device_model(dom0, packages)
    else:
        dom0.file("guest/vmlinux", packages.vmlinux)
    dom0.file("guest/guest.img", os.path.join(destination, "guest.img"))
    dom0.write(os.path.join(destination, "dom0.img"))
    os.unlink(os.path.join(destination, "guest.img"))
    packages.hypervisor(os.path.join(destination, "xen"))
    shutil.copyfile(packages.vmlinux, os.path.join(destination, "vmlinux"))
