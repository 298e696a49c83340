#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What idc-setup explain advises is carried out as it is printed, by a shell, and then the connection is allowed.

    test_advice.py [POLICIES [SEED]]        30 policies of four questions each, and a seed that is printed. With IDC_TEST_SHORT a tenth

The policies are those of test_graph, and two domains have names that a shell or a policy file takes for something else. What is
advised opens no other direction, no other pair, and, if it is only an allow line, no other port.
"""

import itertools
import os
import random
import re
import subprocess
import sys
import tempfile

from test_graph import SETUP, Case, World

NAMES = {1: "web", 2: "my $guest's \"x\\y\"", 3: "a*b"}
FILE = {name: '"%s"' % re.sub(r'(["\\])', r"\\\1", name) for name in NAMES.values()}
PORTS = (1, 2, 3, 4, 4294967295)


class Named(Case):
    """The words of the policy's lines, with the names of these domains in the place of db and x."""

    def __init__(self, r):
        super().__init__(r)
        self.commands = [[{"db": NAMES[2], "x": "3"}.get(word, word) for word in line] for line in self.commands]
        self.lines = [[{"db": FILE[NAMES[2]], "x": FILE[NAMES[3]]}.get(word, word) for word in line] for line in self.lines]


class Asked(World):
    def explain(self, one, other, what, more, status=None):
        done = subprocess.run([SETUP, "explain", *more, one, other, str(what)], env=self.environment, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode not in ((0, 3) if status is None else (status,)):
            raise AssertionError("explain: exit status %d: %r %r" % (done.returncode, done.stdout, done.stderr))
        return done.returncode == 0, done.stdout.decode()

    def give(self, lines, commands):
        """These lines and commands, and no others."""
        with open(os.path.join(self.policy, "policy"), "w", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in lines))
        self.setup("--remove", "1")
        self.setup("retract", "--all")
        self.setup("apply", "--policy", self.policy)
        for command in commands:
            self.setup(*command)

    def allowed(self):
        """Which pairs may reach which ports, for a uid and a type."""
        return {(one, other, port): self.explain(str(one), str(other), port, ["--uid", "1"])[0]
                for one, other in itertools.permutations(NAMES, 2) for port in PORTS}

    def carry_out(self, line):
        path = "%s:%s" % (os.path.abspath(os.path.dirname(SETUP)), os.environ["PATH"])
        done = subprocess.run(["sh", "-c", line], env=dict(self.environment, PATH=path), check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise AssertionError("%s: exit status %d: %r" % (line, done.returncode, done.stderr))


def question(r):
    one, other = r.sample(sorted(NAMES), 2)
    words = [r.choice(("name:" + NAMES[domid], NAMES[domid].replace("a*b", "3"), str(domid), "domid:%d" % domid)) for domid in (one, other)]
    more = ["--uid", str(r.randrange(4))] if r.random() < 0.7 else []
    return one, other, words, r.choice(PORTS + ("a", "ab", "q")), more + ["--type", r.choice(("stream", "seqpacket"))]


def wrong_after(world, before, one, other, what, lines):
    """What is allowed now, and is not what was asked for."""
    only = len(lines) == 1 and " allow " in lines[0]
    for key, is_now in world.allowed().items():
        asked = key[:2] == (one, other) and (not only or key[2] in (1, what))
        if is_now != before[key] and not asked and not any("retract" in line and "*" in line for line in lines):
            return "%s changed to %s" % (key, is_now)
    return None


def ask(world, r):
    """An error or None, and whether something was advised."""
    one, other, words, what, more = question(r)
    was, text = world.explain(*words, what, more)
    lines = re.findall(r"^  to (?:take that away|allow it): (idc-setup .*)$", text, re.M)
    if was or "change that line" in text or "ask with --uid" in text:
        return None, False
    if not lines:
        return "nothing is advised: %s" % text, False
    before = world.allowed()
    for line in lines:
        world.carry_out(line)
    is_now, after = world.explain(*words, what, more)
    if not is_now:
        return "%s\n%s did not help: %s" % (text, lines, after), True
    return wrong_after(world, before, one, other, what, lines), True


# The policy's lines, the commands, the question, and what is told of how to allow it.
CASES = (
    # what remains without a broad deny is enough
    (["allow web three 91 connections=5 log=yes"], [["deny", "*", "*"]], ["91"],
     ["to take that away: idc-setup retract '*' '*' '*'"]),
    # or denies it: no command gets round a line of a file
    (["deny web three 83 uid=5", "allow web three 83"], [["deny", "*", "*"]], ["--uid", "5", "83"],
     ["to take that away: idc-setup retract '*' '*' '*'", "then this denies it: FILE:1: deny web three 83 uid=5",
      "to take that away: change that line, and run idc-setup apply"]),
    # lines that FROM is not told of, since nothing joins the two
    (["deny web three 83"], [], ["83"],
     ["this line denies it too, but nothing joins the two, so FROM is not told of it:", "FILE:1: deny web three 83",
      "to take that away: change that line, and run idc-setup apply"]),
    (["allow web three 91"], [["deny", "web", "three"]], ["91"],
     ["this line denies it too, but nothing joins the two, so FROM is not told of it:", "COMMANDS:2: deny web three *",
      "to take that away: idc-setup retract web three '*'"]),
    # a retract takes more than what denies
    (["allow web three 443 uid=5"], [["allow", "web", "three", "443", "uid=33"], ["deny", "web", "three", "443", "uid=5"]],
     ["--uid", "5", "443"],
     ["to take that away: idc-setup retract web three 443", "this also takes away: COMMANDS:2: allow web three 443 uid=33"]),
    # an allow line opens nothing that a line denies to others
    (["deny web three 83 uid=5"], [], ["--uid", "6", "83"], ["to allow it: idc-setup allow web three 83 uid=6"]),
    (["deny web three 83 uid=5"], [], ["83"], ["a line denies it to some uids: ask with --uid what would allow it"]),
)


def told(world, words):
    """What explain says before the lines about the sides, without its first line."""
    _, text = world.explain("web", "three", words[-1], words[:-1])
    files = {os.path.join(world.policy, "policy"): "FILE", os.path.join(world.environment["IDC_STORE"], "commands.policy"): "COMMANDS"}
    for path, name in files.items():
        text = text.replace(path, name)
    lines = [line.strip() for line in text.splitlines()[1:]]
    return [line for line in lines if not line.startswith(("domain ", "nothing joins them"))]


def wrong_case(world):
    world.setup("name", "3", "three")
    for lines, commands, words, expected in CASES:
        world.give(lines, commands)
        is_told = told(world, words)
        if is_told != expected:
            return "%s with the commands %s, asked %s: %s is told, not %s" % (lines, commands, words, is_told, expected)
    world.setup("name", "3", NAMES[3])
    return None


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6 if os.environ.get("IDC_TEST_SHORT") else 30
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(10 ** 9))
    print("test_advice: seed %s" % seed)
    r = random.Random(seed)
    advised = 0
    with tempfile.TemporaryDirectory() as directory:
        world = Asked(directory)
        for domid, name in NAMES.items():
            world.setup("name", str(domid), name)
        error = wrong_case(world)
        if error:
            print(error)
            return 1
        for number in range(count):
            case = Named(r)
            world.graph(case)
            for _ in range(4):
                error, was_advised = ask(world, r)
                advised += was_advised
                if error:
                    print("policy %d:\n%s\n%s" % (number, case.text(), error))
                    return 1
    if advised < count / 2:
        print("%d of %d questions had advice: the policies are too much alike" % (advised, 4 * count))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
