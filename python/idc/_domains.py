# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which domain is meant, what it offers, and waiting for that."""

from __future__ import annotations

import ctypes
import errno
import os
import time

from . import _library
from ._address import Service, make_service, type_argument, STREAM
from ._library import call

PAUSE_FIRST, PAUSE_MAX = 0.005, 0.2
LOOK_LEAST = 0.25  # seconds for an answer when the time is nearly over
# Nothing that starts later will change these (tools/wait.c has the same).
HOPELESS = (errno.EINVAL, errno.EPROTO, errno.ENOTUNIQ, errno.ENAMETOOLONG, errno.ENOTDIR)


def domid() -> int:
    """The own domid."""
    number = ctypes.c_uint32()
    call("idc_domid", ctypes.byref(number))
    return number.value


def resolve(domain: str | int) -> int:
    """The domid of a domain, as it is now."""
    number = ctypes.c_uint32()
    call("idc_resolve", _library.domain_argument(domain), ctypes.byref(number))
    return number.value


def services(domain: str | int, *, timeout: float | None = 30.0,
             path: str | os.PathLike[str] | None = None) -> list[Service]:
    """What a domain offers to this one."""
    name = _library.domain_argument(domain)
    options = _library.make_options(type_argument(STREAM), timeout, False, path)
    count = 64
    while True:
        places = (_library.ServiceC * count)()
        found = call("idc_services", name, places, count, ctypes.byref(options))
        if found <= count:
            return [make_service(place) for place in places[:found]]
        count = found + 16  # more may have come meanwhile


def _look(domain: str | int | None, service: str | int | None, timeout: float) -> None:
    """Raises OSError while it is not there."""
    if domain is None:
        domid()
        return
    offered = services(domain, timeout=timeout)
    if service is not None and not any(service in (one.port, one.name) for one in offered):
        raise ConnectionRefusedError(errno.ECONNREFUSED,
                                     "nothing listens there that this domain may connect to")


def wait(domain: str | int | None = None, service: str | int | None = None, *,
         timeout: float | None = 30.0) -> None:
    """Until the own link_mgr serves, a domain can be reached, or a program there listens."""
    if domain is None and service is not None:
        raise ValueError("a service is named, and no domain")
    if domain is not None:
        _library.domain_argument(domain)
    if service is not None:
        number = _library.service_argument(service)
        service = int(number) if number.isdigit() else service
    _library.timeout_argument(timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = PAUSE_FIRST
    while True:
        left = 30.0 if deadline is None else deadline - time.monotonic()
        try:
            return _look(domain, service, max(left, LOOK_LEAST))
        except OSError as error:
            if error.errno in HOPELESS or deadline is not None and time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)
