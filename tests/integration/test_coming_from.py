# SPDX-License-Identifier: GPL-2.0-or-later
"""The worked examples of docs/coming-from.md, as they stand there (recipe_case.py)."""

import os
import unittest

import recipe_case
from recipe_case import RecipeCase
from world import wait_until

DOCUMENT = os.path.join("docs", "coming-from.md")
FIRST_CID = 2  # of domain 0


class ComingFrom(RecipeCase):
    document = DOCUMENT

    def setUp(self):
        super().setUp()
        self.there, self.here = self.directory(self.web), self.directory(self.dom0)

    def assert_answer(self, line, expected):
        wait_until(lambda: self.ask_any(line) == expected, what=line)

    def ask_any(self, line):
        """Until it is answered: a terminal, or the other end, may not be there yet."""
        return self.dom0.run(["sh", "-c", line.strip()], env=self.run_environment(), timeout=self.patience).stdout

    def channels(self, domain, directory, beginning, *exchange):
        """This line is a channel of the domain."""
        prompt = "web:" if domain is self.web else "dom0:"
        self.shell(domain, 'echo "$1" > "$2/lines"', self.take(prompt, beginning, *exchange), directory)
        return self.begin(domain, "idc channels --config %s/lines --state %s/state --terminals %s" % ((directory,) * 3))

    def at(self, directory, prefix="/run/"):
        return prefix, directory + "/"


class Vsock(ComingFrom):
    heading = "vsock (virtio)"

    def test_an_unmodified_program_and_others(self):
        self.begin(self.web, self.take("web$", "idc run"))
        wait_until(lambda: any(one["port"] == 5000 and one["backlog"] > 0 for one in self.web.status()["listeners"]), what="the listener")
        line = self.take("dom0$", "echo hello | idc run", ("CONNECT:3:", "CONNECT:%d:" % (self.web.domid + FIRST_CID)))
        self.assertEqual(self.ask(self.dom0, line), b"hello\n")
        self.assertEqual(self.ask(self.dom0, self.take("dom0$", "echo hello | idc cat")), b"hello\n")
        self.begin(self.dom0, self.take("dom0$", "idc forward", self.at(self.here)))
        self.wait_file(self.dom0, self.here + "/web.vsock")
        said = self.ask(self.dom0, self.take("dom0$", "(echo CONNECT", self.at(self.here)))
        self.assertRegex(said, rb"^OK [0-9]+\nhello\n$")
        self.assert_all_taken()


class VirtioSerial(ComingFrom):
    heading = "virtio-serial"

    def test_an_agent(self):
        self.channels(self.web, self.there, "connection=pty")
        self.wait_file(self.web, self.there + "/org.example.agent")
        program = "%s -t %s -f %s/pid" % (self.world.debian_program("qemu-ga"), self.there, self.there)
        agent = self.begin(self.web, self.take("web#", "qemu-ga", ("qemu-ga", program), self.at(self.there, "/dev/idc-channels/")))
        self.channels(self.dom0, self.here, "web: unix-listen", self.at(self.here))
        self.wait_file(self.dom0, self.here + "/web.agent")
        self.assert_answer(self.take("dom0$", "(echo", self.at(self.here)), b'{"return": {}}\n')
        self.stop(agent)
        self.assert_all_taken()


class XlChannels(ComingFrom):
    heading = "xl channels"

    def test_lines_of_xl(self):
        self.channels(self.web, self.there, "connection=pty")
        self.wait_file(self.web, self.there + "/org.example.lines")
        line = self.take("web#", "T=", self.at(self.there, "/dev/idc-channels/"))
        self.web.spawn(["sh", "-c", line], env=self.run_environment())
        self.channels(self.dom0, self.here, "connection=socket", self.at(self.here))
        self.wait_file(self.dom0, self.here + "/web.lines")
        self.assert_answer(self.take("dom0$", "(echo", self.at(self.here)), b"got hello\n")
        self.assert_all_taken()


class Qrexec(ComingFrom):
    heading = "qrexec"
    unpacked = ()

    def test_a_service(self):
        self.begin(self.web, self.take("web$", "idc serve"))
        self.wait_service(self.web, "org.example.Upper")
        said = self.ask(self.dom0, self.take("dom0$", "echo hello"))
        self.assertEqual(said.decode(), "domain %d\nHELLO\n" % self.dom0.domid)
        self.assert_all_taken()


class Argo(ComingFrom):
    heading = "V4V and Argo"
    unpacked = ()

    def test_a_message(self):
        self.begin(self.web, self.take("web$", "idc cat"))
        self.wait_service(self.web, "org.example.messages")
        self.assertEqual(self.ask(self.dom0, self.take("dom0$", "echo hello")), b"hello\n")
        self.assert_all_taken()


class EachSection(unittest.TestCase):
    def test_has_a_test(self):
        classes = (Vsock, VirtioSerial, XlChannels, Qrexec, Argo)
        self.assertEqual(list(recipe_case.sections(DOCUMENT)), [one.heading for one in classes])
