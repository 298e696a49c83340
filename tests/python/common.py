# SPDX-License-Identifier: GPL-2.0-or-later
"""What the test programs of the Python package share: the two domains, and a check that nothing is left.

A program is started by tests/integration/test_python.py with IDC_HERE and IDC_THERE, the sockets of two link_mgrs that may
connect to each other, and IDC_DOMID, the domid of the one that listens (there). A case fails with an exception. What Python says
of objects that were not closed goes to stderr, which has to stay empty.
"""

import asyncio
import contextlib
import errno
import gc
import os
import sys
import warnings

import idc

HERE, THERE, DOMID = os.environ["IDC_HERE"], os.environ["IDC_THERE"], int(os.environ["IDC_DOMID"])
PATIENCE = 60  # seconds for what never comes
NOT_OURS = (errno.EINVAL, errno.ENOTSOCK, errno.EBADF, errno.ENOTTY)


def is_ours(fd):
    """Is it a connection, an attempt to connect, or a listener?"""
    try:
        idc._address.address_of(fd, False)
    except OSError as error:
        return error.errno not in NOT_OURS
    return True


def ours():
    """All descriptors of IDC in this process, but for what libidc keeps for its calls."""
    gc.collect()
    return [int(name) for name in os.listdir("/proc/self/fd") if is_ours(int(name))]


def connect(service, **options):
    return idc.connect(DOMID, service, path=HERE, **options)


def listen(*arguments, **options):
    return idc.listen(*arguments, path=THERE, **options)


def pair(**options):
    """Two ends of a connection."""
    with listen(**options) as listener:
        client = connect(listener.address.port, **options)
        return client, listener.accept()[0]


def fails(kind, call, *arguments, number=None, text="", **named):
    """call must raise this; returns it."""
    try:
        result = call(*arguments, **named)
    except kind as error:
        assert number is None or error.errno == number, repr(error)
        assert text in str(error), repr(error)
        return error
    raise AssertionError("%r%r returned %r" % (call, arguments, result))


async def fails_async(kind, awaitable, number=None, text=""):
    try:
        result = await awaitable
    except kind as error:
        assert number is None or error.errno == number, repr(error)
        assert text in str(error), repr(error)
        return error
    raise AssertionError("it returned %r" % (result,))


@contextlib.contextmanager
def expect_warnings(*words):
    """Each word is in one ResourceWarning, and there is no other."""
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
        gc.collect()
    texts = sorted(str(one.message) for one in seen if one.category is ResourceWarning)
    assert len(texts) == len(words), texts
    for word, text in zip(sorted(words), texts):
        assert word in text, texts


async def until(condition, what):
    """For what no event tells of."""
    for _ in range(PATIENCE * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never: " + what)


def main(cases):
    """Runs the case that is named, or lists all."""
    names = {name.removeprefix("case_"): value for name, value in cases.items() if name.startswith("case_")}
    if len(sys.argv) < 2:
        print("\n".join(names))
        return
    case = names[sys.argv[1]]
    before = ours()
    if asyncio.iscoroutinefunction(case):
        asyncio.run(case())
    else:
        case()
    left = ours()
    assert left == before, "descriptors left: %r" % [os.readlink("/proc/self/fd/%d" % fd) for fd in left]
