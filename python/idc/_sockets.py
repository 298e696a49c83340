# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets and listeners that wait, or have a time limit, as socket.socket.

A Socket is a socket.socket of the descriptor that libidc gives. Bytes of a stream go by the
kernel's own calls. libidc is asked only when one of them has failed, or has found the end: it knows
why, and whether the end was one. Messages go by libidc, which carries those that are too long for
the kernel.

A Listener keeps its descriptor nonblocking and waits by poll. So each wait has its limit, a signal
handler runs meanwhile, and processes and threads may share it.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import select
import socket
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import _library
from ._address import SEQPACKET, STREAM, Address, address_of, make_address, type_argument
from ._library import call

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MESSAGE_MAX = 16 * 1024 * 1024
CONNECT_TIMEOUT = 30.0
REFERENCES_PAUSE = 0.01  # seconds, while too many long messages are under way (idc.h, ETOOMANYREFS)
_Result = TypeVar("_Result")
_Path = str | os.PathLike[str] | None


# ---- waiting ----


def wait_for(fd: int, events: int, deadline: float | None, what: str) -> None:
    """Until fd is ready. deadline: of time.monotonic()."""
    poll = select.poll()
    poll.register(fd, events)
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    ms = None if left is None else min(math.ceil(left * 1000), _library.TIMEOUT_MAX_MS)
    if not poll.poll(ms):
        raise TimeoutError(errno.ETIMEDOUT, f"{what}: timed out")


def _repeat(attempt: Callable[[], _Result], fd: Callable[[], int], events: int,
            timeout: float | None, what: str) -> _Result:
    """attempt(), as often as it would block, within the timeout of a socket."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return attempt()
        except InterruptedError:
            continue  # the handler of the signal has run, and has raised nothing
        except BlockingIOError:
            if timeout == 0:
                raise
            wait_for(fd(), events, deadline, what)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS or timeout == 0:
                raise
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"{what}: timed out") from error
            time.sleep(REFERENCES_PAUSE)


# ---- an end that nobody explains ----


def unexplained(fd: int, error: OSError) -> OSError:
    """Adds what may be the reason, should no link_mgr have told one. Within a domain there is none
    in between."""
    if error.errno is None or not error.strerror.endswith(os.strerror(error.errno)):
        return error
    try:
        own = address_of(fd, False).domid == address_of(fd, True).domid
    except OSError:
        return error
    why = "the other program has closed it" if own else "its link_mgr has ended, or is silent"
    return OSError(error.errno, f"{error.strerror}: {why}")


# ---- messages, without waiting where fd is nonblocking ----


def _call_on(fd: int, name: str, *arguments: Any) -> int:
    try:
        return call(name, fd, *arguments)
    except (ConnectionResetError, BrokenPipeError) as error:
        raise unexplained(fd, error) from None


def send_once(fd: int, data: bytes) -> None:
    _call_on(fd, "idc_send", data, len(data))


def _receive(fd: int, buffer: bytearray, size: int, flags: int) -> int:
    """The true length of the message, or END."""
    length = ctypes.c_size_t()
    place = ctypes.byref(ctypes.c_char.from_buffer(buffer)) if buffer else None
    _call_on(fd, "idc_recv_with", place, size, flags, ctypes.byref(length))
    return length.value


def receive_once(fd: int, most: int) -> bytes | None:
    """A whole message; None: the end. There must be one reader at a time."""
    size = _receive(fd, bytearray(), 0, socket.MSG_PEEK | socket.MSG_TRUNC | socket.MSG_DONTWAIT)
    if size == _library.END:
        return None
    if size > most:
        _receive(fd, bytearray(), 0, socket.MSG_DONTWAIT)  # it is dropped
        raise OSError(errno.EMSGSIZE, f"a message of {size} bytes came, {most} is the limit")
    buffer = bytearray(max(size, 1))
    _receive(fd, buffer, size, socket.MSG_DONTWAIT)
    return bytes(buffer[:size]) if size < len(buffer) else bytes(buffer)


def message_bytes(data: ReadableBuffer) -> bytes:
    return data if isinstance(data, bytes) else memoryview(data).tobytes()


def size_argument(most: int) -> int:
    if not 0 <= most <= MESSAGE_MAX:
        raise ValueError(f"a message has 0 to {MESSAGE_MAX} bytes, not {most}")
    return most


def refuse_pickle(thing: object) -> NoReturn:
    raise TypeError(f"cannot pickle {type(thing).__name__!r} object")


# ---- sockets ----


class Socket(socket.socket):
    """A connection. It is a socket.socket, whose errors say why a connection was cut off, and whose
    addresses are those of IDC."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1,
                 fileno: int | None = None) -> None:
        if fileno is None:
            raise TypeError("idc.Socket needs fileno: use idc.connect")
        super().__init__(family, type, proto, fileno)
        self._messages = self.type == SEQPACKET
        self._reading = threading.Lock()  # of a message: its length, then itself

    def getsockname(self) -> Address:
        return address_of(self.fileno(), False)

    def getpeername(self) -> Address:
        return address_of(self.fileno(), True)

    # ---- why it ended ----

    def _probe(self, flags: int = 0) -> None:
        """Raises what libidc knows about the end, without taking data. flags: of the call that has
        found the end. After MSG_WAITALL, only link_mgr can say that it was a clean one."""
        probe = ctypes.create_string_buffer(1)
        flags = flags & socket.MSG_WAITALL | socket.MSG_PEEK | socket.MSG_DONTWAIT
        try:
            call("idc_recv_with", self.fileno(), probe, 1, flags, None)
        except (BlockingIOError, InterruptedError):
            pass

    def _why(self, error: OSError, sending: bool) -> OSError:
        """A better error in place of a reset that the kernel has reported."""
        try:
            if sending:
                call("idc_send", self.fileno(), b"", 0)
        except BrokenPipeError:
            pass
        except OSError as reason:
            return unexplained(self.fileno(), reason)
        try:
            self._probe()
        except OSError as reason:
            return unexplained(self.fileno(), reason)
        return unexplained(self.fileno(), error)

    def _send_by(self, send: Callable[..., _Result], *arguments: Any) -> _Result:
        try:
            return send(*arguments)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise self._why(error, True) from None

    def _receive_by(self, receive: Callable[..., _Result], *arguments: Any) -> _Result:
        try:
            return receive(*arguments)
        except ConnectionResetError as error:
            raise self._why(error, False) from None

    # ---- bytes ----

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        if self._messages:
            self.send_message(data)
            return memoryview(data).nbytes
        return self._send_by(super().send, data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        if self._messages:
            self.send_message(data)
        else:
            self._send_by(super().sendall, data, flags)

    def sendmsg(self, buffers: Iterable[ReadableBuffer], *arguments: Any) -> int:
        return self._send_by(super().sendmsg, buffers, *arguments)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if self._messages:
            return self._recv_part(bufsize, flags)
        data = self._receive_by(super().recv, bufsize, flags)
        if not data and bufsize > 0:
            self._probe(flags)
        return data

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        size = nbytes or memoryview(buffer).nbytes
        if self._messages:
            data = self._recv_part(size, flags)
            memoryview(buffer).cast("B")[:len(data)] = data
            return len(data)
        got = self._receive_by(super().recv_into, buffer, nbytes, flags)
        if got == 0 and size > 0:
            self._probe(flags)
        return got

    # ---- messages ----

    def send_message(self, data: ReadableBuffer) -> None:
        """Sends one message, all of it."""
        message = message_bytes(data)
        _repeat(lambda: send_once(self.fileno(), message), self.fileno, select.POLLOUT,
                self.gettimeout(), "send")

    def recv_message(self, most: int = MESSAGE_MAX) -> bytes | None:
        """The next message; None at the end. EMSGSIZE: it had more than most bytes, and is lost."""
        size_argument(most)

        def attempt() -> bytes | None:
            with self._reading:
                return receive_once(self.fileno(), most)

        return _repeat(attempt, self.fileno, select.POLLIN, self.gettimeout(), "recv")

    def _recv_part(self, size: int, flags: int) -> bytes:
        """As recv(2): what is beyond size is lost."""
        if size < 0:
            raise ValueError("negative buffersize in recv")
        buffer = bytearray(size)

        def attempt() -> bytes:
            with self._reading:
                length = _receive(self.fileno(), buffer, size, flags | socket.MSG_DONTWAIT)
            return b"" if length == _library.END else bytes(buffer[:length])

        timeout = 0.0 if flags & socket.MSG_DONTWAIT else self.gettimeout()
        return _repeat(attempt, self.fileno, select.POLLIN, timeout, "recv")


def adopt(fd: int) -> Socket:
    """fd is the Socket's, or is closed."""
    try:
        return Socket(fileno=fd)
    except BaseException:
        os.close(fd)
        raise


def connect(domain: str | int, service: str | int, *, type: int = STREAM,
            timeout: float | None = CONNECT_TIMEOUT, wait: bool = False,
            path: _Path = None) -> Socket:
    """Connects to a port or a named service of a domain."""
    to = _library.domain_argument(domain), _library.service_argument(service)
    options = _library.make_options(type_argument(type), timeout, wait, path)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return adopt(call("idc_connect_to", *to, ctypes.byref(options)))
        except InterruptedError:
            if deadline is not None:
                left = max(deadline - time.monotonic(), 0.001)
                options.timeout_ms = _library.timeout_argument(left)


# ---- listeners ----


class Listener:
    """A listener: accept() gives its connections. Iteration gives them one after the other."""

    __slots__ = ("_fd", "_timeout", "__weakref__")

    def __init__(self, fileno: int) -> None:
        self._fd = -1
        self._timeout: float | None = None
        _check_listener(fileno)
        os.set_blocking(fileno, False)
        self._fd = fileno

    def __repr__(self) -> str:
        if self._fd < 0:
            return "<idc.Listener, closed>"
        try:
            return f"<idc.Listener fd={self._fd}, {self.address}>"
        except OSError as error:
            return f"<idc.Listener fd={self._fd}, {error.strerror}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)

    def __del__(self) -> None:
        if self._fd >= 0:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Socket, Address]]:
        while True:
            yield self.accept()

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._fd

    def _open_fd(self) -> int:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the listener is closed")
        return self._fd

    @property
    def address(self) -> Address:
        return address_of(self._open_fd(), False)

    def getsockname(self) -> Address:
        return self.address

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, timeout: float | None) -> None:
        """For accept(), in seconds. None: it waits without a limit. 0: it does not wait."""
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"a timeout is 0 seconds or more, or None: not {timeout}")
        self._timeout = timeout

    def accept(self) -> tuple[Socket, Address]:
        """The next connection, and who called."""
        return _repeat(self._accept_once, self._open_fd, select.POLLIN, self._timeout, "accept")

    def _accept_once(self) -> tuple[Socket, Address]:
        peer = _library.Addr()
        connection = adopt(call("idc_accept", self._open_fd(), ctypes.byref(peer)))
        return connection, make_address(peer)

    def detach(self) -> int:
        """Gives the descriptor away."""
        fd, self._fd = self._open_fd(), -1
        return fd

    def close(self) -> None:
        """Closes the descriptor. The listener ends with the last one."""
        if self._fd >= 0:
            os.close(self.detach())

    def unlisten(self) -> None:
        """Ends the listener for all that share it. Afterwards port and name are free."""
        call("idc_unlisten", self.detach())


def _check_listener(fd: int) -> None:
    address_of(fd, False)
    try:
        address_of(fd, True)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return
        raise
    raise OSError(errno.EINVAL, f"descriptor {fd} is not a listener")


def listen(service: str | int | None = None, backlog: int = 128, *, port: int = 0,
           type: int = STREAM, timeout: float | None = CONNECT_TIMEOUT, wait: bool = False,
           keep: bool = False, path: _Path = None) -> Listener:
    """Listens on a name, on a port, or on both."""
    name: bytes | None = None
    if isinstance(service, int):
        if port:
            raise ValueError("two ports are given")
        port = service
    elif service is not None:
        name = _library.encode("a service", service)
    port = _library.port_argument(port)
    backlog = min(max(backlog, 1), 4096)
    options = _library.make_options(type_argument(type), timeout, wait, path, keep=keep)
    while True:
        try:
            fd = call("idc_listen_with", port, name, backlog, ctypes.byref(options))
        except InterruptedError:
            continue
        try:
            return Listener(fd)
        except BaseException:
            os.close(fd)
            raise
