# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion of `idc`: what `idc complete` answers, and what a person sees who presses Tab in bash and zsh, in a terminal."""

import os
import re
import shutil
import tempfile

from case import IdcTestCase
from terminal import Terminal
from world import ROOT, wait_until

BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
NAMES = "version 1\nself uuid=ffffffff-0000-0000-0000-%012d\npeer %d name=%s\nend\n"


class CompletionCase(IdcTestCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="idc-completion-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.world.write_rules(self.a, 1000, NAMES % (self.a.domid, self.b.domid, "database"))
        wait_until(lambda: self.a.run(["idc", "wait", "--timeout", "0", "database"]).returncode == 0, what="the name")
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "org.example.upper", "-c", "tr a-z A-Z"])
        self.b.spawn(["idc", "cat", "-l", "-k", "--name", "org.example.lower", "-c", "tr A-Z a-z"])
        for name in "org.example.upper", "org.example.lower":
            self.assertEqual(self.a.run(["idc", "wait", "database", name]).returncode, 0)

    def complete(self, *words, **options):
        """(kind, words) of what `idc complete` says; nothing on stderr."""
        result = self.a.run(["idc", "complete", "--", *words], **options)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        kind, *lines = result.stdout.decode().splitlines() or [None]
        return kind, [line.partition("\t")[0] for line in lines]


class Answers(CompletionCase):
    def test_commands_and_options_are_those_of_help(self):
        text = self.a.run(["idc", "--help"]).stdout.decode()
        commands = re.findall(r"(?m)^  (\w+) ", text)
        self.assertEqual(self.complete(""), ("words", commands + ["help"]))
        self.assertEqual(self.complete("help", ""), ("words", commands + ["help"]))
        self.assertEqual(self.complete("serv"), ("words", ["serve", "services"]))
        for command in commands:
            text = self.a.run(["idc", command, "--help"]).stdout.decode()
            with self.subTest(command=command):
                self.assertEqual(self.complete(command, "--")[1][:-1], re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)", text))
                self.assertEqual(self.complete(command, "--")[1][-1], "--help")

    def test_each_argument(self):
        both = ["org.example.upper", "org.example.lower"]
        for words, expected in (
                (["ping", "da"], ("words", ["database"])), (["ping", "-c", "3", "da"], ("words", ["database"])),
                (["ping", "-c", "da"], ("words", [])), (["wait", "--timeout=3", "da"], ("words", ["database"])),
                (["ping", str(self.b.domid)], ("words", [str(self.b.domid)])), (["ping", "x"], ("words", [])),
                (["cat", "-N", "database", ""], ("words", both)), (["wait", "database", "org.example.u"], ("words", both[:1])),
                (["cat", "database", both[0], ""], ("words", [])), (["cat", "nobody", ""], ("words", [])),
                (["cat", "--listen", "da"], ("words", [])), (["status", "da"], ("words", [])),
                (["status", "--state", ""], ("files", [])), (["--socket", ""], ("files", [])), (["nothing", ""], (None, [])),
                (["serve", "--name", "x", "l"], ("programs", [])), (["serve", "ls", "-"], ("files", [])),
                (["serve", "--type", ""], ("words", ["stream", "seqpacket"])),
                (["rpc", "unl"], ("words", ["unlisten"])), (["rpc", "system.methodH"], ("words", ["system.methodHelp"])),
                (["rpc", "unse"], ("words", ["unsent"])), (["forward", "tc"], ("parts", ["tcp:", "tcp-listen:"])),
                (["forward", "stdio", "idc:da"], ("parts", ["idc:database:"])),
                (["forward", "stdio", "idc:database:org.example.l"], ("words", ["idc:database:" + both[1]]))):
            with self.subTest(words=words):
                kind, found = self.complete(*words)
                self.assertEqual((kind, sorted(found)), (expected[0], sorted(expected[1])))

    def test_a_link_mgr_that_is_not_there_or_hangs(self):
        self.assertEqual(self.complete("--socket", self.directory + "/none", "ping", "s"), ("words", ["self"]))
        self.a.freeze()
        begin = self.world.now()
        self.assertIn(self.complete("ping", "da"), [("words", []), (None, [])])
        self.assertEqual(self.complete("sta"), ("words", ["status"]))
        self.a.thaw()
        self.assertLess(self.world.now() - begin, 30, "it has a limit, of a second by its own timer")

    def test_the_other_side_hangs(self):
        self.b.freeze()
        self.assertIn(self.complete("cat", "database", ""), [("words", []), (None, [])])
        self.b.thaw()


class Shell(CompletionCase):
    """Files are where `make install` puts them."""

    def setUp(self):
        super().setUp()
        self.bin = os.path.dirname(self.world.find_program("idc"))

    def shell(self, argv, width=100):
        # A shell of its own: no file of the user's who runs the tests is read.
        env = {**os.environ, "HOME": self.directory, "IDC_SOCKET": self.a.socket, "PATH": self.bin + ":/usr/bin:/bin", "PS1": "$ ",
               "BASH_COMPLETION_USER_DIR": self.directory + "/share", "ZDOTDIR": self.directory}
        terminal = Terminal(self.directory, argv, env, width)
        self.addCleanup(terminal.close)
        return terminal

    def check(self, terminal):
        for keys, shown in ((["idc stat", "Tab"], "idc status"), (["--conn", "Tab"], "idc status --connections"),
                            (["C-u", "idc cat --send-only da", "Tab"], "idc cat --send-only database"),
                            (["org", "Tab"], "idc cat --send-only database org.example."),
                            (["up", "Tab"], "idc cat --send-only database org.example.upper"),
                            (["C-u", "idc forward stdio idc:da", "Tab"], "idc forward stdio idc:database:"),
                            (["org.example.l", "Tab"], "idc forward stdio idc:database:org.example.lower"),
                            (["C-u", "idc serv", "Tab", "Tab"], "services")):
            terminal.type(*keys)
            terminal.wait(shown)
        # Nothing is known, and nothing is said.
        terminal.type("C-u", "idc --socket %s/none ping da" % self.directory, "Tab", "x", "C-u", "idc wait sel", "Tab")
        lines = terminal.wait("idc wait self")
        self.assertNotIn("no link_mgr", "\n".join(lines))

    def test_bash(self):
        if not os.path.exists(BASH_COMPLETION):
            self.skipTest("bash-completion is not here")
        os.makedirs(self.directory + "/share/completions")
        shutil.copy(os.path.join(ROOT, "dist", "idc.bash"), self.directory + "/share/completions/idc")
        with open(self.directory + "/rc", "w", encoding="ascii") as stream:
            stream.write("PS1='$ '\n. %s\n" % BASH_COMPLETION)
        terminal = self.shell(["bash", "--noprofile", "--rcfile", self.directory + "/rc", "-i"])
        terminal.wait("$")
        self.check(terminal)

    def test_bash_without_the_package(self):
        terminal = self.shell(["bash", "--noprofile", "--norc", "-i"])
        terminal.type(". " + os.path.join(ROOT, "dist", "idc.bash"), "Enter", "clear", "Enter", "idc cat --send-only da", "Tab")
        terminal.wait("idc cat --send-only database")
        terminal.type("org.example.l", "Tab")
        terminal.wait("idc cat --send-only database org.example.lower")

    def test_zsh(self):
        if not shutil.which("zsh"):
            self.skipTest("zsh is not here")
        os.makedirs(self.directory + "/functions")
        shutil.copy(os.path.join(ROOT, "dist", "_idc"), self.directory + "/functions")
        with open(self.directory + "/.zshrc", "w", encoding="ascii") as stream:
            stream.write("PS1='$ '\nfpath=(%s/functions $fpath)\nautoload -Uz compinit && compinit -u -D\nbindkey -e\n"
                         % self.directory)
        terminal = self.shell(["zsh", "-i"])
        terminal.wait("$")
        self.check(terminal)
