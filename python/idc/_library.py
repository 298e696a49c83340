# SPDX-License-Identifier: LGPL-2.1-or-later
"""libidc.so.0, by ctypes: its functions, its structs, and its errors as exceptions.

call() is the only way into the library. A call that fails becomes an OSError with libidc's errno
and its text of why, so Python picks the subclass: PermissionError, ConnectionRefusedError and so
on. Both are read right after the call, in the same thread, where libidc keeps them.

Python runs signal handlers between two of its own steps, so one may run after a call has returned
and before its error is read. Should that handler call libidc too, it saves the error first. The
interrupted call finds it in `calls.kept`.

The GIL is released during each call. Nothing here keeps state of connections: a descriptor tells
everything about itself, also after a fork.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from typing import Any

STREAM_C, SEQPACKET_C = 1, 2  # enum idc_type
DOMID_SELF = 0x7FF0
DOMID_MAX = 0x7FEF
PORT_MAX = 0xFFFFFFFF
TIMEOUT_MAX_MS = 0x7FFFFFFF
END = ctypes.c_size_t(-1).value  # IDC_END


class Addr(ctypes.Structure):
    """struct idc_addr"""

    _fields_ = [
        ("domid", ctypes.c_uint32),
        ("port", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("service", ctypes.c_char * 80),
    ]


class ServiceC(ctypes.Structure):
    """struct idc_service"""

    _fields_ = [
        ("port", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("name", ctypes.c_char * 80),
    ]


class Options(ctypes.Structure):
    """struct idc_options; a later library gives the members that it has more their defaults."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("timeout_ms", ctypes.c_int),
        ("nonblocking", ctypes.c_int),
        ("socket", ctypes.c_char_p),
        ("wait", ctypes.c_int),
        ("keep", ctypes.c_int),
    ]


def _load() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libidc.so.0", use_errno=True)
    except OSError as error:
        raise ImportError(f"the package idc needs libidc.so.0: {error}") from error


_POINTER = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "idc_connect_to": (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, _POINTER),
    "idc_connect_finish": (ctypes.c_int, ctypes.c_int),
    "idc_listen_with": (ctypes.c_int, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_int, _POINTER),
    "idc_accept": (ctypes.c_int, ctypes.c_int, _POINTER),
    "idc_unlisten": (ctypes.c_int, ctypes.c_int),
    "idc_send": (ctypes.c_ssize_t, ctypes.c_int, _POINTER, ctypes.c_size_t),
    "idc_recv_with": (ctypes.c_ssize_t, ctypes.c_int, _POINTER, ctypes.c_size_t, ctypes.c_int,
                      _POINTER),
    "idc_resolve": (ctypes.c_int, ctypes.c_char_p, _POINTER),
    "idc_domid": (ctypes.c_int, _POINTER),
    "idc_services": (ctypes.c_int, ctypes.c_char_p, _POINTER, ctypes.c_size_t, _POINTER),
    "idc_getsockname": (ctypes.c_int, ctypes.c_int, _POINTER),
    "idc_getpeername": (ctypes.c_int, ctypes.c_int, _POINTER),
    "idc_last_error": (ctypes.c_char_p,),
    "idc_version": (ctypes.c_char_p,),
}
_library = _load()
for _name, (_result, *_arguments) in _SIGNATURES.items():
    getattr(_library, _name).restype = _result
    getattr(_library, _name).argtypes = _arguments


class _Calls(threading.local):
    depth = 0  # above 1: in a signal handler that came between a call and its error
    kept: tuple[int, str] | None = None  # the error of the call that was interrupted so


_calls = _Calls()


def decode(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def version() -> str:
    return decode(_library.idc_version())


def _failure() -> tuple[int, str]:
    return ctypes.get_errno(), decode(_library.idc_last_error())


def call(name: str, *arguments: Any) -> int:
    """Calls a function of libidc. Raises OSError if it fails."""
    function = getattr(_library, name)
    before = (_calls.kept or _failure()) if _calls.depth else None
    try:
        _calls.kept = None
        _calls.depth += 1  # no handler runs between this and the call, which is CPython's next step
        result: int = function(*arguments)
        if result < 0:
            error = _failure()
            raise OSError(*(_calls.kept or error))
        return result
    finally:
        _calls.depth -= 1
        _calls.kept = before


# ---- arguments ----


def _number(what: str, value: int, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{what} is {least} to {most}, not {value}")
    return value


def encode(what: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str or an int, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError(f"{what} has a NUL in it")
    return value.encode("utf-8", "surrogateescape")


def domain_argument(domain: str | int) -> bytes:
    if isinstance(domain, str) or not isinstance(domain, int):
        return encode("a domain", domain)
    if domain == DOMID_SELF:
        return b"self"
    return b"%d" % _number("a domid", domain, 0, DOMID_MAX)


def service_argument(service: str | int) -> bytes:
    if isinstance(service, str) or not isinstance(service, int):
        return encode("a service", service)
    return b"%d" % _number("a port", service, 1, PORT_MAX)


def port_argument(port: int) -> int:
    return _number("a port", port, 0, PORT_MAX)


def timeout_argument(timeout: float | None) -> int:
    """In milliseconds, as struct idc_options has it."""
    if timeout is None:
        return -1
    if not timeout > 0:
        raise ValueError(f"a timeout is more than 0 seconds, or None: not {timeout}")
    return min(math.ceil(min(timeout, 1e9) * 1000), TIMEOUT_MAX_MS)


def make_options(type: int, timeout: float | None, wait: bool, path: str | os.PathLike[str] | None,
                 *, nonblocking: bool = False, keep: bool = False) -> Options:
    return Options(
        size=ctypes.sizeof(Options), type=type, timeout_ms=timeout_argument(timeout),
        nonblocking=nonblocking, wait=bool(wait), keep=keep,
        socket=None if path is None else encode("a path", os.fspath(path)))
