#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each test that docs/security.md names exists, each of its rows names one, and no lie and no deed of a hostile peer is left out."""

import fnmatch
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hostile"))
import names  # noqa: E402

NAMES_AT_LEAST = 100


def promises():
    """Rows of the tables whose last column says what attacks."""
    page = names.read(names.PAGE)
    for text in page.split("\n\n"):
        lines = text.splitlines()
        if lines and lines[0].endswith("| attacked by |"):
            yield from lines[2:]


def problems():
    named = names.named()
    integration = names.integration_tests()
    if len(named) < NAMES_AT_LEAST:
        yield "only %d tests are named" % len(named)
    for name in named:
        if not names.exists(name, integration):
            yield "there is no test %s" % name
    for row in promises():
        if "`" not in row.rstrip("| ").rpartition("|")[2]:
            yield "nothing attacks: %s" % row
    for kind, there in (("lie", names.lies()), ("deed", names.deeds())):
        patterns = [name.partition(":")[2] for name in named if name.startswith(kind + ":")]
        if not there:
            yield "no %s was found" % kind
        for one in there:
            if not any(fnmatch.fnmatch(one, pattern) for pattern in patterns):
                yield "the %s %s is in no row" % (kind, one)


found = list(problems())
for problem in found:
    print("%s: %s" % (names.PAGE, problem))
sys.exit(1 if found else 0)
