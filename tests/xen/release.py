# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of one release of Debian, whatever this machine runs, unpacked without being root.

    release = Release(directory)        $XEN_RELEASE, or the release that this machine is
    release.name, release.native        "bookworm" or "trixie"; whether this machine is one too
    release.fetch(set, names)           has these packages, and the libraries that they depend on, in release.tree
    release.depends(name)               the names of the packages that a package depends on
    release.path("usr/bin/x")           where a file of a package is
    release.libraries(programs)         {path in a domain: path here} of the shared libraries that programs need
    release.command(program)            how a program of the release, or one built for it, is run on this machine
    release.compiler()                  a compiler for programs that are to run with the release's libraries

Below directory/NAME are apt (lists of packages, apt's own directories) and tree (packages, unpacked). apt does all the fetching,
with a directory of its own, so it checks the signatures of the release against Debian's keyring. It takes the mirror and the
proxy from this machine's settings. The machine's own lists, packages and libraries have no part in it.

The tree is a system root: it holds headers too, so the machine's compiler makes programs for the release (gcc --sysroot). The
release's own loader says which libraries a program needs, and runs programs of the release here.
"""

import fcntl
import os
import re
import shlex
import subprocess
import tempfile

RELEASES = ("bookworm", "trixie")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRRORS = {"Debian": "http://deb.debian.org/debian/", "Debian-Security": "http://deb.debian.org/debian-security/"}
MULTIARCH = "usr/lib/x86_64-linux-gnu"
OF_SYSTEMD = MULTIARCH + "/systemd"  # whose programs know it by its full name
MERGED = ("bin", "sbin", "lib", "lib64")  # they are links into usr
LOADER = "lib64/ld-linux-x86-64.so.2"
# What packages depend on is unpacked too when it is a library, or headers of one that belong to those of another.
WANTED = re.compile(r"(lib(?!.*-dev$)|libxmlrpc-.*-dev$|zlib1g$|linux-libc-dev$|python3\.\d+-minimal$)")
DEPENDS = ["depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"]


class ImageError(Exception):
    """Something that is needed can't be had; the text says what to do."""


def run(command, what, **options):
    """What the command printed to its standard output."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **options)
    if result.returncode:
        raise ImageError("%s: '%s' failed:\n%s%s" % (what, shlex.join(command), result.stdout, result.stderr))
    return result.stdout


def machines_release():
    """The codename of this machine's Debian; "" if it is something else."""
    try:
        with open("/etc/os-release", encoding="utf-8") as stream:
            return dict(re.findall(r'^(\w+)="?(.*?)"?$', stream.read(), re.MULTILINE)).get("VERSION_CODENAME", "")
    except FileNotFoundError:
        return ""


def chosen_release():
    """$XEN_RELEASE, or this machine's own, or the latest. `other` is one that this machine isn't."""
    machines = machines_release()
    name = os.environ.get("XEN_RELEASE") or (machines if machines in RELEASES else RELEASES[-1])
    if name == "other":
        return RELEASES[0] if machines == RELEASES[-1] else RELEASES[-1]
    if name not in RELEASES:
        raise ImageError("XEN_RELEASE is '%s', and can be %s" % (name, ", ".join(RELEASES + ("other",))))
    return name


def mirror(label):
    """Where this machine's apt gets Debian from."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: " + label],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.split()
    return next((uri for uri in listed if uri.startswith("http")), MIRRORS[label])


class Release:
    """See the module's documentation."""

    def __init__(self, directory, name=None):
        self.name = name or chosen_release()
        self.native = self.name == machines_release()
        self.directory = os.path.join(os.path.abspath(directory), self.name)
        self.tree = os.path.join(self.directory, "tree")
        self._apt_directory = os.path.join(self.directory, "apt")

    # ---- packages ----

    def fetch(self, name, packages):
        """packages: their names, or a function that returns them. What was fetched before stays as it is."""
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mark = os.path.join(self.directory, name + ".complete")
            if os.path.exists(mark):
                return
            self._update()
            self._unpack(self._with_libraries(packages() if callable(packages) else packages))
            with open(mark, "w", encoding="ascii"):
                pass

    def _apt(self, program, *arguments, directory=None):
        here = self._apt_directory
        command = [program, "-q", "-o", "Dir=" + here, "-o", "Dir::State::status=%s/status" % here, "-o", "Acquire::Retries=3",
                   "-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", *arguments]
        return run(command, "packages of Debian %s" % self.name, cwd=directory or here)

    def _update(self):
        """Has the lists of the release's packages. They are fetched each time: a mirror does not keep for long what they name."""
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
            os.makedirs(os.path.join(self._apt_directory, name), exist_ok=True)
        if not os.path.exists(KEYRING):
            raise ImageError("there is no %s: apt-get install debian-archive-keyring" % KEYRING)
        lines = ["deb [signed-by=%s] %s %s main\n" % (KEYRING, mirror(label), suite) for label, suite in (
            ("Debian", self.name), ("Debian", self.name + "-updates"), ("Debian-Security", self.name + "-security"))]
        for path, text in (("etc/apt/sources.list", "".join(lines)), ("status", "")):
            with open(os.path.join(self._apt_directory, path), "w", encoding="ascii") as stream:
                stream.write(text)
        self._apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any")

    def depends(self, *names):
        """On alternatives too. Virtual packages have no name."""
        return re.findall(r"^[ |]+(?:Pre)?Depends: ([^<\s]\S*)$", self._apt("apt-cache", *DEPENDS, *names), re.MULTILINE)

    def _with_libraries(self, names):
        known, new = set(), set(names)
        while new:
            known |= new
            new = {name for name in self.depends(*sorted(new)) if WANTED.match(name)} - known
        return sorted(known)

    def _unpack(self, names):
        for name in MERGED:
            os.makedirs(os.path.join(self.tree, "usr", name), exist_ok=True)
            if not os.path.lexists(os.path.join(self.tree, name)):
                os.symlink("usr/" + name, os.path.join(self.tree, name))
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            self._apt("apt-get", "download", *names, directory=directory)
            for package in sorted(os.listdir(directory)):
                # (dpkg -x would put directories in place of the links above.)
                run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink --no-same-owner -C "$2"', "sh",
                     os.path.join(directory, package), self.tree], "unpacking")
        self._make_links_relative()

    def _make_links_relative(self):
        """A link from the system's root means one in the tree."""
        for directory, directories, files in os.walk(self.tree):
            for path in (os.path.join(directory, name) for name in directories + files):
                if os.path.islink(path) and os.readlink(path).startswith("/"):
                    target = os.path.relpath(self.tree + os.readlink(path), os.path.realpath(directory))
                    os.unlink(path)
                    os.symlink(target, path)

    def path(self, name):
        return os.path.join(self.tree, name)

    # ---- programs ----

    def command(self, program):
        return [self.path(LOADER), "--inhibit-cache", "--library-path", "%s:%s" % (self.path(MULTIARCH), self.path(OF_SYSTEMD)), program]

    def libraries(self, programs):
        found = {}
        for program in programs:
            loader, *words = self.command(program)
            out = subprocess.run([loader, "--list", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 check=False).stdout
            paths = re.findall(r"(?:=> )?(/\S+) \(0x", out)
            strange = re.findall(r"(\S+) => not found", out) + [path for path in paths if not path.startswith(self.tree)]
            if strange:
                raise ImageError("%s needs %s, which isn't in the packages of %s" % (program, ", ".join(strange), self.name))
            found.update((os.path.relpath(path, self.tree), path) for path in paths if path != loader)
        found[LOADER] = self.path(LOADER)
        # Loaded by pthread_cancel only, so it isn't listed.
        found[os.path.join(MULTIARCH, "libgcc_s.so.1")] = self.path(os.path.join(MULTIARCH, "libgcc_s.so.1"))
        return found

    def compiler(self):
        # Start files and libraries beside the compiler's own directory would come before those of the system root.
        return shlex.split(os.environ.get("CC") or "gcc") + ["--sysroot=" + self.tree, "-B" + self.path(MULTIARCH)]
