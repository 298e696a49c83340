# SPDX-License-Identifier: GPL-2.0-or-later
"""How many system calls a process makes, counted by strace: a figure that does not depend on what else the machine does."""

import os
import signal

from world import wait_until


def strace_count(path):
    """The sum in a summary that strace -c has written."""
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            words = line.split()
            if words and words[-1] == "total":
                return int(words[2 if len(words) < 5 else 3])
    return 0


# How many events come at a wake-up, and how the allocator gets along, depends on what else the machine does.
NOT_COUNTED = "epoll_wait,brk,madvise"


def count(domain, action):
    """Those of domain's link_mgr while action() runs, but those of NOT_COUNTED."""
    path = os.path.join(domain.world.directory, "calls")
    strace = domain.spawn(["strace", "-f", "-c", "-e", "trace=!" + NOT_COUNTED, "-o", path, "-p", str(domain.daemon.pid)])
    wait_until(lambda: b"attached" in strace.stderr.pending() or strace.returncode is not None, 60, "strace to attach")
    try:
        action()
    finally:
        strace.kill(signal.SIGINT)
        strace.wait()
    return strace_count(path)
