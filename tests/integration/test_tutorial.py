# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of docs/tutorial.md, typed as they stand there, on a real Xen.

A line of a code block is a prompt, which says where, and a command. Lines below it without a prompt are what it prints. `...` stands
there for anything, and blanks are compared as words. A comment above a block may say `not run: WHY`, or `exits with N`, which is
about the block's last command. The others must succeed. All that is not run is listed.

The machine is one of its own (tests/xen/xenworld.py): both guests begin with systemd, and nothing of IDC is in them or in dom0 but
the file that the document packs. dom0's first process is the harness's agent. So what idc-policy.service would start there is
started here. Guests have no disk. What a disk would keep over a reboot is added to the image before the guest is started again.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

from case import IdcTestCase
from world import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "xen"))
from release import Release  # noqa: E402
from xenworld import XenWorld  # noqa: E402

DOCUMENT = os.path.join(ROOT, "docs", "tutorial.md")
PROMPT = re.compile(r"(build\$|dom0#|db#|web#) +(.*)")
GUESTS = {"db": 1, "web": 2}  # gN in the harness, in the order of their first domids
ANYTHING = "..."
PACKED = "/tmp/idc.tar.gz"
UNPACKED = "/root/idc.tar.gz"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEMORY_MIB = 512  # the system is in it, twice while it begins
PATIENCE_S = 300
# The image has the programs for other tests: here only what the document installs counts.
NOTHING_INSTALLED = "rm -rf /usr/local/* /usr/bin/idc /usr/bin/idc-setup /usr/bin/link_mgr /usr/bin/test_accept /usr/bin/test_conn"
# What a disk would keep and the test changes, as further archives for the kernel's first file system. The second one is large, and is
# made in dom0, where the document has unpacked the same files.
KEPT = "cd / && find etc var/log/idc-channels | cpio -o -H newc | gzip -1"
INSTALLED = "cd / && find usr/local | cpio -o -H newc | gzip -1 >> /guest/guest.img"
SUMS = "find /usr/local -type f | sort | xargs sha256sum | sha256sum"


class Command:
    def __init__(self, where, line):
        self.where, self.line = where, line
        self.output = []
        self.status, self.left_out = 0, None

    def __repr__(self):
        return "%s %s" % (self.where, self.line)


def commands(text):
    """Of the document, in their order."""
    found = []
    for comment, block in re.findall(r"(?:<!-- ([^>]*) -->\n\n)?((?:^    .*\n)+)", text, re.MULTILINE):
        begin = len(found)
        for line in re.sub(r"\\\n +", "", block).splitlines():
            match = PROMPT.fullmatch(line.strip())
            if match:
                found.append(Command(*match.groups()))
            else:
                found[-1].output.append(line.strip())
        mark, _, value = comment.partition(": ")
        if mark == "not run":
            for command in found[begin:]:
                command.left_out = value
        elif comment:
            found[-1].status = int(re.fullmatch(r"exits with (\d+)", comment).group(1))
    return found


def read_document():
    with open(DOCUMENT, encoding="utf-8") as stream:
        return commands(stream.read())


def in_harness(text):
    """With the guests' names there."""
    return re.sub(r"(?<![\w./@-])(%s)(?![\w./@-])" % "|".join(GUESTS), lambda match: "g%d" % GUESTS[match.group()], text)


def fits(said, expected):
    """Each line, word by word."""
    pattern = ""
    for line in expected:
        words = re.escape(" ".join(in_harness(line).split()))
        pattern += "(?:.*\n)*" if line == ANYTHING else words.replace(re.escape(ANYTHING), ".*") + "\n"
    return re.fullmatch(pattern, "".join(" ".join(line.split()) + "\n" for line in said.strip().splitlines()))


class Tutorial(unittest.TestCase):
    own_machine = True

    def setUp(self):
        if IdcTestCase.world.platform != "xen":
            self.skipTest("not on " + IdcTestCase.world.platform)
        self.build = os.path.abspath(IdcTestCase.world.build_dir)
        if not Release(os.path.join(self.build, "xen")).native:
            self.skipTest("the programs are those of this machine's release")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.place = temporary.name
        self.steps = read_document()

    def test_each_command(self):
        self.tell_what_is_left_out()
        first = [step for step in self.steps if step.where == "build$"]
        for step in first:
            self.type(step, self.on_this_machine)
        with XenWorld(self.build, guests=len(GUESTS), systemd=True, guest_memory=MEMORY_MIB, verbose=True,
                      files=[(UNPACKED, self.place + PACKED)]) as self.xen:
            self.domains = {"dom0#": self.xen.dom0, **{name + "#": self.xen.domains[number] for name, number in GUESTS.items()}}
            for domain in self.domains.values():
                domain.run(["sh", "-c", NOTHING_INSTALLED], check=True)
            for step in self.steps:
                if step not in first:
                    self.type(step, self.in_domain)
            left = self.domains["db#"].run(["find", "/usr/local", "/etc/idc", "-type", "f"]).stdout
            self.assertEqual(left, b"", "what the document takes away")

    def tell_what_is_left_out(self):
        for step in self.steps:
            if step.left_out:
                print("         not run: %s (%s)" % (step, step.left_out))

    def type(self, step, how):
        if step.left_out and step.line != "systemctl enable --now idc-policy":
            return
        said, status = how(step)
        print("%s\n%s" % (step, said), file=sys.stderr)
        self.assertEqual(status, step.status, "%s\n%s%s" % (step, said, self.journal(step)))
        self.assertTrue(not step.output or fits(said, step.output), "%s printed\n%s" % (step, said))

    def journal(self, step):
        domain = self.domains.get(step.where) if step.where in ("db#", "web#") else None
        return domain.run(["journalctl", "--no-pager", "-n", "40"]).stdout.decode(errors="replace") if domain else ""

    def on_this_machine(self, step):
        line = step.line.replace("/tmp/", self.place + "/tmp/")
        os.makedirs(self.place + "/tmp", exist_ok=True)
        done = subprocess.run(["sh", "-c", line], cwd=ROOT, env={**os.environ, "BUILD": self.build}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode(errors="replace"), done.returncode

    def in_domain(self, step):
        domain = self.domains[step.where]
        if step.line == "systemctl enable --now idc-policy":
            return self.begin_policy(domain)
        if step.line == "systemctl reboot":
            return self.reboot(domain)
        done = domain.run(["sh", "-c", "(%s) 2>&1" % in_harness(step.line)], env={"PATH": PATH}, timeout=PATIENCE_S)
        return done.stdout.decode(errors="replace"), done.returncode

    def begin_policy(self, dom0):
        unit = dom0.get_file("/usr/local/lib/systemd/system/idc-policy.service").decode()
        dom0.run(["mkdir", "-p", "-m", "700", "/run/idc-policy"], check=True)
        words = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE).group(1))
        dom0.spawn(words, env={"PATH": PATH})
        return "", 0

    def reboot(self, guest):
        """The guest ends, as the harness configures guests, and is started again."""
        domid, dom0 = guest.domid, self.xen.dom0
        self.assertEqual(guest.run(["sh", "-c", SUMS], check=True).stdout, dom0.run(["sh", "-c", SUMS], check=True).stdout)
        kept = guest.run(["sh", "-c", KEPT], check=True).stdout
        guest.spawn(["systemctl", "reboot"])
        self.xen.wait_gone(guest, domid)
        dom0.run(["sh", "-c", INSTALLED], check=True)
        dom0.run(["sh", "-c", "cat >> /guest/guest.img"], input=kept, check=True)
        self.xen.create(guest.number)
        self.assertNotEqual(guest.domid, domid)
        return "", 0


class Text(unittest.TestCase):
    """Without Xen."""

    def test_all_of_it_is_understood(self):
        steps = read_document()
        self.assertGreater(len(steps), 30)
        for where in ("build$", "dom0#", "db#", "web#"):
            self.assertTrue([step for step in steps if step.where == where and not step.left_out], where)


if __name__ == "__main__":
    unittest.main()
