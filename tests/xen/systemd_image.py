# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose first process is systemd, with udev, and with IDC as `make install` leaves it below /usr/local.

    fetch(packages)                     has the release's packages
    add(cpio, packages, programs, modules)      puts all of it into a guest's image, before what all domains have

It is small, so that it boots quickly: systemd's targets, its journal, udev with the rules of its own package that give devices
their owners, and kmod with the modules that the guest needs. The agent is a service there. Users and groups of IDC are not in
the image, and link_mgr is neither enabled nor running: that is for the test to do, by the commands of README.
"""

import glob
import os
import shutil
import subprocess
import tempfile

from release import MERGED, MULTIARCH

# idc-channels.service needs the program install, which busybox doesn't have.
TOOLS = ["coreutils"]
PACKAGES = ["systemd", "udev", "kmod", "libkmod2", "libmount1", "libseccomp2"]
# The first program in some releases only: systemd there starts each service by way of it.
OPTIONAL_PROGRAMS = ["usr/lib/systemd/systemd-executor"]
PROGRAMS = ["usr/lib/systemd/systemd", "usr/lib/systemd/systemd-journald", "usr/lib/systemd/systemd-shutdown", "usr/bin/systemctl",
            "usr/bin/journalctl", "usr/bin/systemd-sysusers", "usr/bin/udevadm", "usr/bin/kmod", "usr/bin/install"]
LINKS = {"usr/lib/systemd/systemd-udevd": "/usr/bin/udevadm", "usr/sbin/modprobe": "/usr/bin/kmod"}
# systemd loads these when it wants them, so they aren't listed as needed.
LIBRARIES = ["libkmod.so.2", "libmount.so.1", "libseccomp.so.2"]
UNITS = ["*.target", "*.slice", "systemd-journald*", "systemd-udevd*", "systemd-udev-trigger.service", "modprobe@.service",
         "systemd-reboot.service"]
RULES = ["usr/lib/udev/rules.d/50-udev-default.rules"]
HERE = os.path.dirname(os.path.abspath(__file__))
DIST = os.path.join(os.path.dirname(os.path.dirname(HERE)), "dist")
PREFIX = "/usr/local"
# What `make install` does with dist/; the programs come besides.
INSTALLED = {"link_mgr.service.in": "lib/systemd/system/link_mgr.service", "link_mgr.socket": "lib/systemd/system/link_mgr.socket",
             "idc.sysusers": "lib/sysusers.d/idc.conf", "idc.rules": "lib/udev/rules.d/60-idc.rules"}
INSTALLED_PROGRAMS = {"link_mgr": "sbin", "idc": "bin"}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser1:x:1000:1000::/tmp:/bin/sh\nuser2:x:1001:1001::/tmp:/bin/sh\n"
GROUP = "root:x:0:\ntty:x:5:\nuser1:x:1000:\nuser2:x:1001:\n"
# With one, the system has been booted before. In its first boot systemd would enable every unit, link_mgr's too.
MACHINE_ID = "1dc0" * 8 + "\n"
AGENT = """[Unit]
Description=The agent of the test harness
After=basic.target systemd-udev-trigger.service

[Service]
ExecStart=/bin/agent guest /dev/hvc0
"""


def fetch(packages):
    packages.release.fetch("systemd", PACKAGES)
    packages.release.fetch("coreutils", TOOLS)


def add(cpio, packages, programs, modules):
    for name in MERGED:
        cpio.directory("usr/" + name)
        cpio.link(name, "usr/" + name)
    cpio.file("etc/init", os.path.join(HERE, "init-systemd"))
    cpio.data("etc/passwd", PASSWD.encode())
    cpio.data("etc/group", GROUP.encode())
    cpio.data("etc/machine-id", MACHINE_ID.encode())
    _add_system(cpio, packages)
    _add_modules(cpio, packages, modules)
    _add_idc(cpio, programs)


def _add_system(cpio, packages):
    wanted = PROGRAMS + [name for name in OPTIONAL_PROGRAMS if os.path.exists(packages.path(name))]
    for name in wanted:
        cpio.file(name, packages.path(name))
    for target, library in packages.release.libraries([packages.path(name) for name in wanted]).items():
        cpio.file(target, library)
    for library in LIBRARIES:
        path = os.path.join(MULTIARCH, library)
        cpio.file(path, packages.path(path))
        for target, needed in packages.release.libraries([packages.path(path)]).items():
            cpio.file(target, needed)
    for path, target in LINKS.items():
        cpio.link(path, target)
    for path in RULES:
        cpio.file(path, packages.path(path))
    _add_units(cpio, packages)
    cpio.link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
    cpio.data("etc/systemd/system/agent.service", AGENT.encode())
    cpio.link("etc/systemd/system/multi-user.target.wants/agent.service", "../agent.service")


def _add_units(cpio, packages):
    directory = packages.path("usr/lib/systemd/system")
    names = {os.path.basename(path) for pattern in UNITS for path in glob.glob(os.path.join(directory, pattern))}
    for name in sorted(names):
        path = "usr/lib/systemd/system/" + name
        if os.path.islink(packages.path(path)):
            cpio.link(path, os.readlink(packages.path(path)))
        elif os.path.isfile(packages.path(path)):
            cpio.file(path, packages.path(path))
    for path in glob.glob(directory + "/*.target.wants/*"):
        if os.path.basename(path) in names:
            cpio.link(os.path.relpath(path, packages.release.tree), os.readlink(path))


def _add_modules(cpio, packages, modules):
    """With the lists by which modprobe finds them."""
    with tempfile.TemporaryDirectory() as root:
        where = os.path.join("lib/modules", packages.kernel_version)
        for module in modules:
            data = packages.module(module)
            if data:
                path = os.path.join(root, where, "kernel", module + ".ko")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as stream:
                    stream.write(data)
        for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            shutil.copy(packages.path(os.path.join(where, name)), os.path.join(root, where))
        subprocess.run(packages.release.command(packages.path("usr/sbin/depmod")) + ["-b", root, packages.kernel_version], check=True)
        for directory, _, names in os.walk(root):
            for name in names:
                path = os.path.join(directory, name)
                cpio.file("usr/" + os.path.relpath(path, root), path)


def _add_idc(cpio, programs):
    """programs: the project's, of which those that are installed are taken."""
    for source, target in INSTALLED.items():
        with open(os.path.join(DIST, source), encoding="utf-8") as stream:
            cpio.data("%s/%s" % (PREFIX, target), stream.read().replace("@PREFIX@", PREFIX).encode())
    for program in programs:
        directory = INSTALLED_PROGRAMS.get(os.path.basename(program))
        if directory:
            cpio.file("%s/%s/%s" % (PREFIX, directory, os.path.basename(program)), program)
