#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""idc-setup graph against the plain reading of test_policy_reading, on random policies of few words.

    test_graph.py [POLICIES [SEED]]        200 policies, and a seed that is printed. With IDC_TEST_SHORT set a tenth of that

There are three domains, rules of commands, policy nodes, and a policy file. For each pair of domains and direction, every question
about few ports, names, uids and types is put to the plain reading. There must be an edge exactly if one of them is allowed. It
says that only port 1 is allowed exactly if that is so.
"""

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time

from test_policy_reading import YES, decide, is_domain, read

SETUP = os.path.join(os.environ.get("BUILD", "build"), "idc-setup")
DOMAINS = [{"domid": domid, "name": name, "uuid": None, "complete": True} for domid, name in ((1, "web"), (2, "db"), (3, "x"))]
# All that a policy below can tell apart. Of letters, q stands for those that no policy has. Only a*, *a and ?a* below *a* need four.
PORTS = (1, 2, 3, 4, 4294967295)  # in lines
ASKED_PORTS = (*PORTS, 5)  # that one stands for those within 4-4294967295 that no line names
NAMES = ["=", "qqaq"] + ["".join(name) for length in (1, 2, 3) for name in itertools.product("abq", repeat=length)]
UIDS = (0, 1, 2, 3)


def random_what(r):
    if r.random() < 0.15:
        return "*"
    return ",".join(r.choice((
        lambda: str(r.choice(PORTS)), lambda: r.choice(("1-2", "2-3", "2-4294967295", "1-4294967295", "4-4294967295")),
        lambda: r.choice(("a", "b", "ab")), lambda: r.choice(("a*", "*a", "a?", "?a*", "a*a", "*a*", "a*?", "b*", "*b")),
    ))() for _ in range(r.choice((1, 1, 2, 3))))


def random_line(r, action):
    line = [action, r.choice(("web", "db", "*", "web", "w*")), r.choice(("db", "x", "*", "db")), random_what(r)]
    if r.random() < 0.3:
        line.append("uid=" + r.choice(("0", "1", "0-1", "2-4294967294", "1-4294967294", "0-4294967294")))
    if r.random() < 0.2:
        line.append("type=" + r.choice(("stream", "seqpacket")))
    if r.random() < 0.15:
        line.append("until=" + r.choice(("2000-01-01T00:00:00Z", "9999-01-01T00:00:00Z")))
    return line


def random_lines(r, most):
    """More deny lines above, and few words, so that they often deny all."""
    return [random_line(r, "deny" if r.random() < 0.65 else "allow") for _ in range(r.randrange(most + 1))]


class Node:
    """A policy node, as docs/xenstore.md has it: the same list for both directions."""

    def __init__(self, words):
        self.ports = [(int(word.split("-")[0]), int(word.split("-")[-1])) for word in words if word[0].isdigit()]
        self.names = [word for word in words if not word[0].isdigit()]

    def allows(self, ask):
        if ask["port"] == 1:
            return bool(self.ports or self.names)
        return ask["name"] in self.names or any(first <= ask["port"] <= last for first, last in self.ports)


class Case:
    def __init__(self, r):
        self.commands, self.lines = random_lines(r, 3), random_lines(r, 5) + [random_line(r, "allow")]
        self.words = r.sample(("2", "3-4", "a", "ab"), r.randrange(1, 3)) if r.random() < 0.4 else []

    def text(self):
        node = ["node web db %s" % ",".join(self.words)] if self.words else []
        return "\n".join(["command " + " ".join(line) for line in self.commands] + node + [" ".join(line) for line in self.lines])

    @staticmethod
    def policy(lines, one, other):
        """The rules for these two domains."""
        rules, groups = read("\n".join(" ".join(line) for line in lines) + "\n")
        return [rule for rule in rules if is_domain(rule["from"], one, groups) == YES and is_domain(rule["to"], other, groups) == YES], groups

    def reach(self, one, other):
        """What is allowed from one to other: None, "manager" or "services"."""
        commands, files = self.policy(self.commands, one, other), self.policy(self.lines, one, other)
        node = Node(self.words) if self.words and {one["domid"], other["domid"]} == {1, 2} else None
        ask = {"from": one, "to": other, "now": int(time.time())}
        found = None
        for ask["port"], ask["name"], ask["uid"], ask["type"] in itertools.product(ASKED_PORTS, NAMES, UIDS, ("stream", "seqpacket")):
            if ask["port"] == 1 and ask["name"] != "=" or not self.allows(commands, node, files, ask):
                continue
            if ask["port"] != 1:
                return "services"
            found = "manager"
        return found

    @staticmethod
    def allows(commands, node, files, ask):
        number, _ = decide(commands, ask)
        if number:
            return commands[0][number - 1]["allow"]
        number, _ = decide(files, ask)
        return bool(node and node.allows(ask)) or number > 0 and files[0][number - 1]["allow"]


class World:
    def __init__(self, directory):
        self.policy, self.environment = os.path.join(directory, "etc"), dict(os.environ, IDC_STORE=os.path.join(directory, "store"))
        os.umask(0o022)  # a policy that everybody can write is refused
        os.mkdir(self.policy)
        self.setup("1", "2")  # makes the store
        for it in DOMAINS:
            self.setup("name", str(it["domid"]), it["name"])

    def setup(self, *words):
        return subprocess.run([SETUP, *words], env=self.environment, stdout=subprocess.PIPE, check=True,
                              stderr=subprocess.DEVNULL).stdout.decode()

    def graph(self, case):
        """What idc-setup says, as {(from, to): label}."""
        with open(os.path.join(self.policy, "policy"), "w", encoding="ascii") as file:
            file.write("".join(" ".join(line) + "\n" for line in case.lines))
        self.setup("--remove", "1")
        self.setup("retract", "--all")
        for line in reversed(case.commands):
            self.setup(*line)
        if case.words:
            self.setup("--ports", ",".join(case.words), "1", "2")
        self.setup("apply", "--policy", self.policy)
        edges = [line.split(": ", 1) for line in self.setup("graph").splitlines()]
        return {tuple(pair.split(" -> ")): label for pair, label in edges}


def difference(case, edges):
    for one, other in itertools.permutations(DOMAINS, 2):
        reach, label = case.reach(one, other), edges.get((one["name"], other["name"]))
        only = label is not None and all(part.startswith(("not ", "only port 1 of ")) or part.split()[0] == "1"
                                         for part in label.split("; "))
        said = None if label is None else "manager" if only else "services"
        if said != reach:
            return "from %s to %s the graph has %s, but what is allowed: %s" % (one["name"], other["name"], label, reach)
    return None


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20 if os.environ.get("IDC_TEST_SHORT") else 200
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(10 ** 9))
    print("test_graph: seed %s" % seed)
    r = random.Random(seed)
    edges = 0
    with tempfile.TemporaryDirectory() as directory:
        world = World(directory)
        for number in range(count):
            case = Case(r)
            graph = world.graph(case)
            edges += len(graph)
            wrong = difference(case, graph)
            if wrong:
                print("policy %d: %s\n%s" % (number, wrong, case.text()))
                return 1
    if not 0.2 * count < edges < 5.8 * count:
        print("%d edges in %d policies: the policies are too much alike" % (edges, count))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
