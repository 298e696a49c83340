# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/programs/moments.c, which measures in the domains what must be quick: so none of the time is the harness's."""

from puppet import parse_values


def begin_start(domain, name, domid, port, options):
    """Starts link_mgr, below a program that notes when it is ready, knows by its rules that it is called name, and has connected
    there. The program and link_mgr end with its standard input."""
    world = domain.world
    link_mgr = [world.find_program("link_mgr"), *world.daemon_options(domain, options)]
    return domain.spawn(["moments", "start", name, str(domid), str(port), *link_mgr])


def end_start(process):
    process.close_stdin()
    status = process.wait()
    if status != 0:
        raise AssertionError("moments ended with status %d: %r" % (status, process.stderr.pending()))


def serve(domain, kept, ended):
    process = domain.spawn(["moments", "serve", str(kept), str(ended)])
    if process.stdout.readline() != b"ready\n":
        raise AssertionError(process.stderr.pending())
    return process


def begin_end(domain, domid, kept, ended, program):
    """Connects to `serve`, and runs program, which takes away the rule of the port `ended`."""
    return domain.spawn(["moments", "end", str(domid), str(kept), str(ended), *program])


def said(process):
    """The line that it prints."""
    line = process.stdout.readline(300).decode()
    if not line:
        raise AssertionError(process.stderr.pending())
    return parse_values(line.split()[1:])


def show(what, values):
    print("         %s: %s" % (what, ", ".join("%s %s" % pair for pair in values.items())))


def judges(world):
    """Whether a time says something about IDC, and nothing about what else the machine does: an instruction is a nanosecond."""
    return world.platform == "xen" and world.xen.own_clock
