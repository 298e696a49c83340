# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of Debian that are tried as they are, without being installed.

Some of them would start a daemon when installed (openssh-server, qemu-guest-agent), take over a name (ncat) or bring a hundred
megabytes of what isn't needed here (nbdkit). So the packages are fetched by `apt-get download` and unpacked by `dpkg -x` below
BUILD/debian, once, and nothing of the machine changes. The shared libraries that they need are installed by scripts/bootstrap,
which reads PACKAGES here and asks apt what those depend on.

    programs = Programs(build_dir)
    programs.path("socat")          where it is on this machine
    programs.plugin("memory")       of nbdkit

The domains of a Xen have those of the release that their images are made of (tests/xen/release.py), and Python with asyncio:

    programs, files = for_image(release)      for tests/xen/image.py
"""

import fcntl
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "xen"))
from release import MULTIARCH, ImageError, run  # noqa: E402

PACKAGES = ["socat", "ncat", "nbdkit", "libnbd-bin", "qemu-guest-agent", "openssh-client", "openssh-server", "libnss-wrapper",
            "rsync", "prometheus-node-exporter"]
PROGRAMS = {"socat": "usr/bin/socat", "ncat": "usr/bin/ncat", "nbdkit": "usr/bin/nbdkit", "nbdcopy": "usr/bin/nbdcopy",
            "qemu-ga": "usr/sbin/qemu-ga", "ssh": "usr/bin/ssh", "ssh-keygen": "usr/bin/ssh-keygen", "sshd": "usr/sbin/sshd",
            "sshd-session": "usr/lib/openssh/sshd-session", "sshd-auth": "usr/lib/openssh/sshd-auth",  # since OpenSSH 9.8, 10.0
            "scp": "usr/bin/scp", "rsync": "usr/bin/rsync", "prometheus-node-exporter": "usr/bin/prometheus-node-exporter"}
NAMES = list(PROGRAMS) + ["python3"]
PLUGINS = ["memory", "file"]
PYTHON = "/usr/bin/python3"
PYTHON_PACKAGES = ["python3-minimal", "libpython3-stdlib"]
PYTHON_IMPORTS = "asyncio, array, hashlib, os, signal, socket, struct, sys"


class Programs:
    def __init__(self, build_dir):
        self.directory = os.path.join(os.path.abspath(build_dir), "debian")
        self.tree = os.path.join(self.directory, "tree")
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mark = os.path.join(self.directory, "complete")
            if not self._has(mark):
                self._download()
                for package in glob.glob(os.path.join(self.directory, "*.deb")):
                    run(["dpkg", "-x", package, self.tree], "unpacking")
                with open(mark, "w", encoding="ascii") as stream:
                    stream.write(" ".join(PACKAGES))

    @staticmethod
    def _has(mark):
        """All of those that are wanted now."""
        if not os.path.exists(mark):
            return False
        with open(mark, encoding="ascii") as stream:
            return stream.read().split() == PACKAGES

    def _download(self):
        command = ["apt-get", "-o", "Acquire::Retries=3", "download"] + PACKAGES
        try:
            run(command, "programs of Debian", cwd=self.directory)
        except ImageError:  # the lists may be older than what the mirror has
            run(["apt-get", "-o", "Acquire::Retries=3", "update"], "programs of Debian")
            run(command, "programs of Debian", cwd=self.directory)

    def move(self, target, copy):
        """From now on what is in target is meant: a copy, made by copy(source, target) of each file."""
        for directory, _, names in os.walk(self.tree):
            there = os.path.join(target, os.path.relpath(directory, self.tree))
            os.makedirs(there)
            os.chmod(there, 0o755)
            for name in names:
                if os.path.isfile(os.path.join(directory, name)):  # not a link into the system that isn't there
                    copy(os.path.join(directory, name), os.path.join(there, name))
        self.tree = target

    def path(self, name):
        return PYTHON if name == "python3" else os.path.join(self.tree, PROGRAMS[name])

    def library(self, name):
        return glob.glob(os.path.join(self.tree, "usr/lib/*-linux-gnu", name))[0]

    def plugin(self, name):
        return self.library("nbdkit/plugins/nbdkit-%s-plugin.so" % name)


def plugin_in_image(name):
    return "/usr/lib/nbdkit-%s-plugin.so" % name


def for_image(release):
    release.fetch("programs", PACKAGES + PYTHON_PACKAGES)
    paths = [release.path(path) for path in PROGRAMS.values()] + [release.path(PYTHON.lstrip("/"))]
    files = [(plugin_in_image(name), release.path("%s/nbdkit/plugins/nbdkit-%s-plugin.so" % (MULTIARCH, name))) for name in PLUGINS]
    return [path for path in paths if os.path.exists(path)], files + _python_library(release)


def _python_library(release):
    """What Python loads for PYTHON_IMPORTS, compiled: compiling takes long in an emulated machine."""
    # Without the site's own additions, and without what needs libraries of its own.
    python = release.command(release.path(PYTHON.lstrip("/"))) + ["-s", "-S", "-P"]
    environment = {"PATH": os.environ["PATH"], "PYTHONHOME": release.path("usr"), "PYTHONDONTWRITEBYTECODE": "1"}
    script = ("import sys\nsys.modules.update(dict.fromkeys(('_ssl', '_hashlib', 'ssl')))\n"
              "import %s, encodings.idna, encodings.latin_1, encodings.ascii\nimport sysconfig\n"
              "print(sysconfig.get_path('stdlib'))\n"
              "for module in list(sys.modules.values()):\n"
              "    path = getattr(module, '__file__', None)\n"
              "    if path: print(path)\n" % PYTHON_IMPORTS)
    what = "Python of Debian %s" % release.name
    stdlib, *paths = run(python + ["-c", script], what, env=environment).split()
    compiled = os.path.join(release.directory, "python")
    files, commands = [], []
    for path in sorted(set(paths + [os.path.join(stdlib, "site.py")])):
        in_image = "/" + os.path.relpath(path, release.tree)
        if path.endswith(".py"):
            target = os.path.join(compiled, os.path.relpath(path, stdlib)) + "c"
            os.makedirs(os.path.dirname(target), exist_ok=True)
            commands.append((path, target))
            files.append((in_image + "c", target))
        else:
            files.append((in_image, path))
    run(python + ["-c", "import py_compile\nfor one in %r: py_compile.compile(*one, doraise=True)" % commands], what, env=environment)
    return files
