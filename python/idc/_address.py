# SPDX-License-Identifier: LGPL-2.1-or-later
"""Addresses of the ends of a connection, and what a domain offers. Plain values: they can be
compared, hashed and pickled."""

from __future__ import annotations

import ctypes
import dataclasses
import socket

from . import _library

STREAM = socket.SOCK_STREAM
SEQPACKET = socket.SOCK_SEQPACKET
_UID_UNKNOWN = 0xFFFFFFFF
_KINDS = {_library.STREAM_C: STREAM, _library.SEQPACKET_C: SEQPACKET}


def type_argument(type: int) -> int:
    """As struct idc_options has it."""
    for number, kind in _KINDS.items():
        if type == kind:
            return number
    raise ValueError(f"a type is idc.STREAM or idc.SEQPACKET, not {type!r}")


@dataclasses.dataclass(frozen=True)
class Address:
    """One end of a connection, or a listener."""

    domid: int
    port: int
    uid: int | None  # of the program, as its own link_mgr vouches for it; None: not known
    type: socket.SocketKind
    service: str | None  # the name that was connected to, if there was one

    def __str__(self) -> str:
        what = self.service if self.service is not None else f"port {self.port}"
        uid = f", uid {self.uid}" if self.uid is not None else ""
        return f"domain {self.domid}, {what}{uid}"


@dataclasses.dataclass(frozen=True)
class Service:
    """What a domain offers."""

    port: int
    type: socket.SocketKind
    name: str | None  # None: it has only a port


def make_address(addr: _library.Addr) -> Address:
    return Address(addr.domid, addr.port, None if addr.uid == _UID_UNKNOWN else addr.uid,
                   _KINDS[addr.type], _library.decode(addr.service) or None)


def make_service(service: _library.ServiceC) -> Service:
    return Service(service.port, _KINDS[service.type], _library.decode(service.name) or None)


def address_of(fd: int, peer: bool) -> Address:
    addr = _library.Addr()
    _library.call("idc_getpeername" if peer else "idc_getsockname", fd, ctypes.byref(addr))
    return make_address(addr)
