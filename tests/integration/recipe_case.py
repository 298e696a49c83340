# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests that run the commands of docs/recipes.md, or of another document, as they stand there.

A line of a code block is a prompt (`dom0$`, `web#`; `web:` before a line of a file) and what stands behind it. A test names its
section, and takes each line by how it begins. What a test must have elsewhere (a directory, a port, a program that isn't
installed) is exchanged, and has to be there. In the end no line of the section may be left over.

`web` is domain b, and `dom0` domain c, which is dom0, and knows b by that name (WebCase). Each has a directory in place of /run.
"""

import glob
import os
import re
import shutil

from programs_case import ProgramsCase
from world import ROOT, wait_until

DOCUMENT = os.path.join("docs", "recipes.md")
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
GENERATION = 1000  # of the rules with the name; on Xen idc-setup has published some, and link_mgr reads no number twice
NAMES = "version 1\nself uuid=ffffffff-0000-0000-0000-%012d\npeer %d name=%s\nend\n"


def sections(document=DOCUMENT):
    """{heading: [(prompt, line)]} of those that have commands."""
    with open(os.path.join(ROOT, document), encoding="utf-8") as stream:
        _, *parts = re.split(r"^## ", stream.read(), flags=re.MULTILINE)
    found = {part.partition("\n")[0]: re.findall(r"^    (\w+[$#:]) (\s*\S.*)$", part, re.MULTILINE) for part in parts}
    return {heading: lines for heading, lines in found.items() if lines}


class WebCase(ProgramsCase):
    """dom0 and a guest, which it knows as `web`."""
    roles = "bc"
    unpacked = ("socat",)  # programs of debian.py that are found by their names

    def setUp(self):
        super().setUp()
        self.web, self.dom0 = self.b, self.c
        self.know(self.dom0, self.web, "web")

    @staticmethod
    def know(domain, other, name):
        """domain's link_mgr is told other's name."""
        domain.world.write_rules(domain, GENERATION, NAMES % (domain.domid, other.domid, name))
        wait_until(lambda: domain.run(["idc", "wait", "--timeout", "0", name]).returncode == 0, what="the name " + name)

    def run_environment(self):
        if self.world.platform != "local":
            return {}
        places = {os.path.dirname(self.world.debian_program(name)) for name in ("idc",) + self.unpacked}
        return {"PATH": ":".join([*sorted(places), SYSTEM_PATH])}

    def begin(self, domain, line, env=None, **options):
        """A line that goes on until it is ended."""
        return domain.spawn(["sh", "-c", "exec " + line.strip()], env={**self.run_environment(), **(env or {})}, **options)

    def ask(self, domain, line, env=None, status=0, **options):
        """A line that ends by itself: what it printed."""
        env = {**self.run_environment(), **(env or {})}
        result = domain.run(["sh", "-c", line.strip()], timeout=self.patience, env=env, **options)
        self.assertEqual(result.returncode, status, "%s: %r %r" % (line, result.stdout[-1000:], result.stderr[-1000:]))
        return result.stdout

    def wait_service(self, domain, name):
        wait_until(lambda: any(name == one["service"] for one in domain.status()["listeners"]), what="the service " + name)

    def wait_file(self, domain, path):
        wait_until(lambda: domain.run(["test", "-e", path]).returncode == 0, what=path)


class RecipeCase(WebCase):
    document = DOCUMENT
    heading = None
    installed = ()  # programs of the machine, or patterns of their paths, without which the test is skipped

    def setUp(self):
        if not self.world.measures_memory:
            self.skipTest("with a sanitizer other tests of programs run")
        for program in self.installed:
            if self.world.platform == "local" and not shutil.which(program) and not glob.glob(program):
                self.skipTest("%s is not installed (scripts/bootstrap recipes)" % program)
        super().setUp()
        self.lines = sections(self.document)[self.heading]
        self.left = list(self.lines)

    def take(self, prompt, beginning, *exchange):
        """The one line of this prompt that begins so, with each (old, new) exchanged in it."""
        (found,) = [line for line in self.lines if line[0] == prompt and line[1].strip().startswith(beginning)]
        if found in self.left:
            self.left.remove(found)
        text = found[1]
        for old, new in exchange:
            self.assertIn(old, text, self.document)
            text = text.replace(old, new)
        return text

    def assert_all_taken(self):
        self.assertEqual(self.left, [], "the test leaves out a command of %s" % self.document)
