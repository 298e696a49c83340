# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults of a soak: what is done to link_mgrs, the store and the policy while programs work.

A storm is a row of faults, each of which is undone before the next one or left to overlap with it. Between storms it is calm:
then nothing may fail. `number` grows with each storm, so that whoever did something can tell whether one came meanwhile.
dom0's link_mgr (the world's c) is never ended: its counters and its memory are those of the whole run.
"""

import os
import random
import resource
import time

UNITS = ("alive", "want", "offer", "link.socket")


class Weather:
    def __init__(self, world, options_of, seed, tally):
        self.world = world
        self.rng = random.Random("%s faults" % seed)
        self.tally = tally
        self.options_of = options_of
        self.number = 0
        self.stormy = False
        self.limits = {}  # of each process, before it was short of anything
        self.undone = []  # what is still to be undone: (time, function)
        limits = world.local_files  # of processes of this machine; the images have no prlimit
        self.kinds = [(self.kill, 5), (self.terminate, 2), (self.freeze, 5), (self.revoke, 4), (self.forget_nodes, 3),
                      (self.take_descriptors, 4 if limits else 0), (self.take_memory, 3 if limits and world.measures_memory else 0)]

    def storm(self, seconds, check):
        """check() is called between faults; it raises when the soak has failed."""
        self.number += 1
        self.stormy = True
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            kind = self.rng.choices([one for one, _ in self.kinds], [weight for _, weight in self.kinds])[0]
            self.tally.add("fault " + kind.__name__)
            kind()
            self.pause(0, 2)
            self.undo_due()
            self.check_daemons()
            check()
        self.undo_due(everything=True)

    def calm(self):
        self.stormy = False

    # ---- help ----

    def pause(self, least, most):
        time.sleep(self.rng.uniform(least, most))

    def later(self, least, most, function):
        self.undone.append((time.monotonic() + self.rng.uniform(least, most), function))

    def undo_due(self, everything=False):
        now = time.monotonic()
        due = [entry for entry in self.undone if everything or entry[0] <= now]
        self.undone = [entry for entry in self.undone if entry not in due]
        for _, function in due:
            function()

    def check_daemons(self):
        """None has ended by itself."""
        for domain in self.world.domains:
            if domain.daemon and domain.daemon.returncode is not None:
                raise AssertionError("link_mgr of %r ended by itself with status %d" % (domain, domain.daemon.returncode))

    def some_daemon(self, mortal=False):
        """A domain whose link_mgr is there, with no fault in it that is still to be undone."""
        self.undo_due(everything=self.rng.random() < 0.5)
        return self.rng.choice(self.world.domains[:2] if mortal else self.world.domains)

    def some_pair(self):
        return self.rng.sample(self.world.domains, 2)

    # ---- faults ----

    def kill(self):
        domain = self.some_daemon(mortal=True)
        self.undo_due(everything=True)  # what is stopped or short may not be started anew otherwise
        domain.kill()
        self.pause(0, 1.5)
        domain.start(*self.options_of(domain))

    def terminate(self):
        domain = self.some_daemon(mortal=True)
        self.undo_due(everything=True)
        domain.stop()
        self.pause(0, 0.5)
        domain.start(*self.options_of(domain))

    def freeze(self):
        domain = self.some_daemon()
        domain.freeze()
        self.later(0, 4, domain.thaw)

    def revoke(self):
        pair = self.some_pair()
        self.world.tell_setup(*pair, remove=True)
        self.later(0, 3, lambda: self.world.tell_setup(*pair))

    def forget_nodes(self):
        """Nodes of the store disappear: those that link_mgrs have written for each other. idc-setup, told again, mends it."""
        domain = self.rng.choice(self.world.domains)
        for path in self.world.published(domain):
            if os.path.basename(path) in UNITS and self.rng.random() < 0.5 and self.world.unpublish(path):
                self.tally.add("nodes of the store deleted")
        self.later(0, 3, lambda: self.world.tell_setup(*self.world.domains))

    def take_descriptors(self):
        """Hardly any descriptor more than it has."""
        domain = self.some_daemon()
        pid = domain.daemon.pid
        used = [int(name) for name in os.listdir("/proc/%d/fd" % pid)]
        self.limit(domain, resource.RLIMIT_NOFILE, self.rng.randint(len(used), max(used) + 8))

    def take_memory(self):
        """Hardly any memory more than it has."""
        domain = self.some_daemon()
        with open("/proc/%d/status" % domain.daemon.pid, encoding="ascii") as stream:
            size = next(int(line.split()[1]) for line in stream if line.startswith("VmSize"))
        self.limit(domain, resource.RLIMIT_AS, size * 1024 + self.rng.randint(0, 1 << 20))

    def limit(self, domain, what, soft):
        daemon = domain.daemon
        before = self.limits.setdefault((daemon.pid, what), resource.prlimit(daemon.pid, what))  # it may be short already
        resource.prlimit(daemon.pid, what, (soft, before[1]))

        def undo():
            if daemon.returncode is None:
                resource.prlimit(daemon.pid, what, before)

        self.later(0.1, 3, undo)
