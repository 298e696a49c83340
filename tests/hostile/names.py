# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests that docs/security.md names, and which there are. The forms of the names are explained there."""

import fnmatch
import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INTEGRATION = os.path.join(ROOT, "tests", "integration")
PAGE = "docs/security.md"
PLATFORM = "test_platform.PlatformTest"
LIES = ("test_hostile.Liars", "test_xen_only.Hostile")
DEEDS = ("test_deeds.Deeds.test_%s", "test_deeds.DeedsOnXen")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        return stream.read()


def rows():
    """The rows of the page's tables without those that say what the forms are."""
    tables = read(PAGE).partition("\n## ")[2]
    return [line for line in tables.splitlines() if line.startswith("| ") and "`" in line]


def named():
    """All names in the last cells of the page's rows, in their order."""
    cells = [row.rstrip("| ").rpartition("|")[2] for row in rows()]
    return list(dict.fromkeys(name for cell in cells for name in re.findall(r"`([^`]+)`", cell)))


# ---- what there is ----

def there(path):
    return os.path.exists(os.path.join(ROOT, path))


def unit_tests(program):
    path = "tests/unit/%s.c" % program
    return re.findall(r"^START_TEST\((\w+)\)", read(path), re.MULTILINE) if there(path) else []


def script_tests(program, name):
    """Those of a class in a unit test in Python, with their full names."""
    path = "tests/unit/%s.py" % program
    if not there(path) or not re.search(r"^class %s\(" % name, read(path), re.MULTILINE):
        return []
    return ["%s.%s.%s" % (program, name, test) for test in re.findall(r"^    def (test_\w+)\(", read(path), re.MULTILINE)]


def table(path, array):
    """First members of an array of structs in C."""
    return re.findall(r'^    \{"(\w+)", STAGE_', read(path).partition("const struct %s[]" % array)[2], re.MULTILINE)


def lies():
    return table("tests/programs/hostile_lies.c", "lie lies")


def deeds():
    return table("tests/programs/hostile_deeds.c", "deed deeds")


def integration_tests():
    sys.path.insert(0, INTEGRATION)
    found = []

    def add(suite):
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                add(item)
            else:
                found.append(item.id())

    add(unittest.TestLoader().discover(INTEGRATION, "test_*.py", INTEGRATION))
    return found


def platform_tests():
    return ["%s.%s" % (PLATFORM, name) for name in re.findall(r"^    def (test_\w+)\(", read("tests/xen/test_platform.py"), re.MULTILINE)]


def exists(name, integration):
    kind, colon, rest = name.partition(":")
    if kind == "lie":
        return bool(fnmatch.filter(lies(), rest))
    if kind == "deed":
        return rest in deeds() and DEEDS[0] % rest in integration
    if name.startswith("fuzz_"):
        return there("tests/fuzz/%s.c" % name)
    if name.startswith("make "):
        return re.search(r"^%s:" % re.escape(name[5:]), read("Makefile"), re.MULTILINE) is not None
    if colon:
        return rest in unit_tests(kind)
    if "." not in name:
        return bool(unit_tests(name))
    all_tests = integration + platform_tests() + script_tests(*name.split(".")[:2])
    return any(one == name or one.startswith(name + ".") for one in all_tests)


# ---- what is to be run ----

def to_run(platform):
    """Integration tests: words for the option -k of tests/integration/run."""
    xen = platform == "xen"
    for name in named():
        kind, colon, rest = name.partition(":")
        if kind == "lie":
            yield LIES[xen]
        elif kind == "deed":
            yield DEEDS[xen] % rest if not xen else DEEDS[1]
        elif not colon and "." in name and there("tests/integration/%s.py" % name.partition(".")[0]):
            yield name
