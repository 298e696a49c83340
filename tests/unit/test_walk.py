#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What docs/walk.md says of the code is so: each file:function is defined there, and each state is in a diagram."""

import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
STATES = {
    "link_mgr/core/conn.h": ("conn_phase", "conn_in", "conn_out"),
    "link_mgr/core/peer.h": ("peer_state",),
}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        return stream.read()


def is_defined(path, function):
    """A definition begins at the start of a line and its parameters are not followed by a semicolon."""
    if not os.path.exists(os.path.join(ROOT, path)):
        return False
    return re.search(r"^\w[^\n;={}]*\b%s\([^;{}]*\)\s*\{" % re.escape(function), read(path), re.MULTILINE) is not None


def states_of(path, enum):
    body = re.search(r"enum %s \{(.*?)\};?" % enum, read(path), re.DOTALL).group(1)
    return re.findall(r"\b[A-Z]+_[A-Z_]+\b(?=\s*(?:,|=|$))", re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL), re.MULTILINE)


def problems():
    walk = read("docs/walk.md")
    functions = re.findall(r"`([\w./]+\.c):(\w+)`", walk)
    if len(functions) < 40:
        yield "only %d functions are named" % len(functions)
    for path, function in functions:
        if not is_defined(path, function):
            yield "%s does not define %s" % (path, function)
    for path in set(re.findall(r"`([\w./]+/[\w.]+\.[ch])[:`]", walk)):
        if not os.path.exists(os.path.join(ROOT, path)):
            yield "there is no %s" % path
    for path, enums in STATES.items():
        for enum in enums:
            names = states_of(path, enum)
            if not names:
                yield "%s has no states of %s" % (path, enum)
            for state in names:
                if state not in walk:
                    yield "the state %s of %s is in no diagram" % (state, enum)


found = list(problems())
for problem in found:
    print("docs/walk.md: " + problem)
sys.exit(1 if found else 0)
