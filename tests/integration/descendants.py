# SPDX-License-Identifier: GPL-2.0-or-later
"""All that this process has started, and that those have started, in whatever session and with whatever parent by now.

adopt() makes this process the parent of what loses its own, so nothing gets out of reach.
"""

import ctypes
import os
import select
import signal

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 60  # seconds for a killed process to end


def adopt():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _processes():
    """{pid: (parent's pid, whether it has ended and nobody has heard of it)}"""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % name, "rb") as stream:
                state, parent = stream.read().rpartition(b")")[2].split()[:2]
            found[int(name)] = int(parent), state in (b"Z", b"X")
        except (OSError, ValueError):  # not a process, or not any more
            pass
    return found


def descendants():
    """Their pids, without those that have ended."""
    processes = _processes()
    found = [os.getpid()]
    for pid in found:  # it grows
        found += [child for child, (parent, _) in processes.items() if parent == pid]
    return [pid for pid in found[1:] if not processes[pid][1]]


def _end(pid):
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not select.select([pidfd], [], [], PATIENCE)[0]:
            raise TimeoutError("process %d does not end" % pid)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def _reap(pids):
    """Those that were adopted. Of its own children, whoever started them has heard, or is about to."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def kill_descendants():
    while True:
        left = descendants()
        if not left:
            return
        for pid in left:
            _end(pid)
        _reap(left)
