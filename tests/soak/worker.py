# SPDX-License-Identifier: GPL-2.0-or-later
"""One thread of a soak, which plays one scenario after the other with programs of its own.

It knows whether a failure is excused: a storm raged when the scenario began, or has begun since. Then the errors of a lack or a loss are
allowed (EXCUSED), and a clean end before the last byte is counted as an early end. In the calm nothing is. Wrong bytes never are.
"""

import errno
import random
import threading

import scenarios
from puppet import Puppet
from world import Flows

PATIENCE = 150  # seconds for one step: more than a connect waits
EXCUSED = {getattr(errno, name) for name in (
    "ECONNRESET", "EPIPE", "ECONNREFUSED", "ECONNABORTED", "ETIMEDOUT", "EHOSTUNREACH", "ENOBUFS", "ENOMEM", "EMFILE", "ENFILE", "ENOSPC",
    "EACCES", "ENOENT")}
USERS = (0, 0, 1000, 1001, 1002)
PLACES = 8000
FEW_DESCRIPTORS = ["sh", "-c", 'ulimit -n 20; exec "$@"', "sh"]


class Program(Puppet):
    def __init__(self, domain, process):
        super().__init__(process, PATIENCE)
        self.domain = domain


class Worker(threading.Thread):
    def __init__(self, soak, number):
        super().__init__(name="worker %d" % number, daemon=True)
        self.world, self.weather, self.tally = soak.world, soak.weather, soak.tally
        self.soak = soak
        self.number = number
        self.rng = random.Random("%s worker %d" % (soak.seed, number))
        self.programs = []
        self.processes = []
        self.next_port = self.next_place = 0
        self.excused = False
        self.doing = "nothing"

    def run(self):
        while self.soak.may_go_on(self):
            try:
                self.play(self.rng.choices([one for one, _ in scenarios.ALL], [weight for _, weight in scenarios.ALL])[0])
            except BaseException as problem:  # pylint: disable=broad-except; it is told by the main thread
                self.soak.fail(self, problem)
                return

    def play(self, scenario):
        self.doing = scenario.__name__
        storm = self.weather.number
        self.excused = self.weather.stormy
        self.tally.add("scenario " + scenario.__name__)
        try:
            scenario(self)
        except OSError as error:
            self.judge(error, self.excused or storm != self.weather.number)
        else:
            if self.rng.random() < 0.1:
                self.drop_programs()

    def judge(self, error, excused):
        if not excused or error.errno not in EXCUSED:
            raise error
        self.tally.add("error " + errno.errorcode[error.errno])
        self.drop_programs()

    def is_excused(self):
        return self.excused or self.weather.stormy

    # ---- what scenarios ask for ----

    def chance(self, part):
        return self.rng.random() < part

    def pick(self, some):
        return self.rng.choice(some)

    def domain(self):
        return self.pick(self.world.domains)

    def port(self, count=1):
        self.next_port = (self.next_port + count) % 2000
        return 10000 + 2000 * self.number + self.next_port

    def place(self):
        self.next_place = (self.next_place + 200) % PLACES
        return self.next_place

    def seed(self):
        return self.rng.randrange(1 << 30)

    def size(self):
        return int(2 ** self.rng.uniform(0, 22))

    def count(self, name, number=1):
        self.tally.add(name, number)

    def spawn(self, domain, argv, few_descriptors=False):
        uid = self.pick(USERS) if self.world.can_change_uid else 0
        process = domain.spawn(FEW_DESCRIPTORS * few_descriptors + argv, uid=uid)
        self.processes.append(process)
        return process

    def program(self, domain, besides=(), few_descriptors=False):
        """A puppet in the domain, none of `besides`: a new one, or one that has done other things before."""
        known = [one for one in self.programs if one.domain is domain and one not in besides]
        if known and not few_descriptors and self.chance(0.8):
            return self.pick(known)
        program = Program(domain, self.spawn(domain, [self.world.find_program("puppet")], few_descriptors))
        if not few_descriptors:
            self.programs.append(program)
        return program

    def flows(self, domain, side, **arguments):
        process = self.spawn(domain, ["flows", side] + ["%s=%s" % pair for pair in arguments.items()])
        return Flows(process, PATIENCE)

    # ---- ends ----

    def kill(self, program):
        self.programs = [one for one in self.programs if one is not program]
        self.end_process(program.process)
        self.tally.add("programs killed")

    def end_process(self, process):
        process.kill_session()
        process.wait()
        self.forget_ended()

    def forget_ended(self):
        self.processes = [one for one in self.processes if one.returncode is None]
        for domain in self.world.domains:
            domain._programs = [one for one in domain._programs if one.returncode is None]

    def drop_programs(self):
        for process in self.processes:
            process.kill_session()
        for process in self.processes:
            process.wait()
        self.programs = []
        self.forget_ended()

    def check_cut_off(self, checking, nbytes):
        """The receiver's side of a half whose sender did not come to its end: right bytes, then an end or a reset."""
        try:
            result = checking.result()
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EACCES, errno.EPIPE, errno.ENOBUFS, errno.EHOSTUNREACH, errno.ETIMEDOUT):
                raise
            result = error.values
        if result["n"] > nbytes:
            raise scenarios.Wrong("%d bytes came of %d" % (result["n"], nbytes))
        self.tally.add("bytes", result["n"])

    def early_end(self, what):
        if not self.is_excused():
            raise scenarios.Wrong("an early end: " + what)
        self.tally.add("early ends in storms")
        self.soak.note("early end: %s: %s" % (self.doing, what))
        raise OSError(errno.ECONNRESET, what)
