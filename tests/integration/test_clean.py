# SPDX-License-Identifier: GPL-2.0-or-later
"""Each test begins in a clean world, whatever the one before has left: tests that leave things in a mess, on purpose, and one after
each that must pass."""

import os
import signal
import unittest

from case import IdcTestCase


class OnPurpose(Exception):
    pass


class Tidy(IdcTestCase):
    """Found by the loader too: by itself it is a test like others."""
    roles = "abc"

    def test_a_link_works(self):
        self.assert_link_works()


def in_a_mess(make):
    """A test that makes a mess and fails."""
    class Messy(IdcTestCase):
        def runTest(self):
            make(self)
            raise OnPurpose
    return Messy()


class CleanTestCase(unittest.TestCase):
    platforms = ("local", "xen")

    def assert_tidy_after(self, make):
        world = IdcTestCase.world
        if world.platform not in self.platforms:
            self.skipTest("not on " + world.platform)
        for test, failed in ((in_a_mess(make), True), (Tidy("test_a_link_works"), False)):
            result = unittest.TestResult()
            test.run(result)
            self.assertEqual(world.running(), [])
            problems = [trace for _, trace in result.failures + result.errors]
            self.assertEqual(any("OnPurpose" in trace for trace in problems), failed, problems)
            if not failed:
                self.assertEqual(problems, [])


class Clean(CleanTestCase):
    def test_a_link_mgr_that_nobody_knows(self):
        """As when its start is not noticed in time."""
        def make(test):
            test.c.spawn_program(["link_mgr"] + test.world.daemon_options(test.c, ()), {}, 0)

        self.assert_tidy_after(make)

    def test_a_link_mgr_in_a_session_of_its_own(self):
        def make(test):
            words = " ".join([test.world.find_program("link_mgr")] + test.world.daemon_options(test.c, ()))
            process = test.c.spawn_program(["sh", "-c", "setsid %s 2>&1 &" % words], {}, 0)
            process.stdout.read_until(b"is ready")
            process.wait()

        self.assert_tidy_after(make)

    def test_a_stopped_link_mgr(self):
        def make(test):
            test.a.freeze()
            test.b.kill()
            test.a.daemon = None

        self.assert_tidy_after(make)

    def test_rules_and_nodes(self):
        def make(test):
            test.world.setup(test.a, test.b, remove=True)
            test.world.write_policy(test.a, test.c, "nonsense")
            test.b.kill()

        self.assert_tidy_after(make)


class CleanXen(CleanTestCase):
    platforms = ("xen",)

    def test_a_paused_guest(self):
        self.assert_tidy_after(lambda test: test.world.xen.pause(test.a.xen))

    def test_a_machine_that_has_gone(self):
        self.assert_tidy_after(lambda test: os.kill(test.world.xen.pid, signal.SIGKILL))

