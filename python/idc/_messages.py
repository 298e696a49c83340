# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages for asyncio: connections of type SEQPACKET.

A message is sent or received as a whole, in one step of the loop. So nothing is lost when a send or
a recv is cancelled: it has not begun then. One task at a time sends, and one receives. The others
wait for their turn.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from ._address import SEQPACKET, Address
from ._async import Server, connect_socket, make_listener, wake
from ._sockets import (CONNECT_TIMEOUT, MESSAGE_MAX, REFERENCES_PAUSE, Socket, _Path,
                       message_bytes, receive_once, refuse_pickle, send_once, size_argument)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class MessageConnection:
    """A connection that carries messages, for the tasks of one loop."""

    def __init__(self, connection: Socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._sending, self._receiving = asyncio.Lock(), asyncio.Lock()
        self._waiters: set[asyncio.Future[None]] = set()

    def __repr__(self) -> str:
        return f"<idc.MessageConnection {self._socket!r}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle(self)

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._socket.fileno()

    def getsockname(self) -> Address:
        return self._socket.getsockname()

    def getpeername(self) -> Address:
        return self._socket.getpeername()

    # ---- waiting ----

    def _open_fd(self) -> int:
        fd = self._socket.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, "the connection is closed")
        return fd

    async def _ready(self, writing: bool) -> None:
        """close() ends the wait. The number may be another descriptor's then."""
        fd = self._open_fd()
        waiter: asyncio.Future[None] = self._loop.create_future()
        (self._loop.add_writer if writing else self._loop.add_reader)(fd, wake, waiter)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if self._socket.fileno() == fd:
                (self._loop.remove_writer if writing else self._loop.remove_reader)(fd)

    # ---- messages ----

    async def send(self, data: ReadableBuffer) -> None:
        """Sends one message."""
        message = message_bytes(data)
        async with self._sending:
            while True:
                try:
                    return send_once(self._open_fd(), message)
                except BlockingIOError:
                    await self._ready(True)
                except OSError as error:
                    if error.errno != errno.ETOOMANYREFS:
                        raise
                    await asyncio.sleep(REFERENCES_PAUSE)

    async def recv(self, most: int = MESSAGE_MAX) -> bytes | None:
        """The next message; None at the end. EMSGSIZE: it had more than most bytes, and is lost."""
        size_argument(most)
        async with self._receiving:
            while True:
                try:
                    return receive_once(self._open_fd(), most)
                except BlockingIOError:
                    await self._ready(False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self.recv()) is not None:
            yield message

    # ---- the end ----

    def write_eof(self) -> None:
        """No more will be sent. What the other side sends still comes."""
        self._open_fd()
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """What was sent is delivered. Tasks that wait for this connection are told EBADF."""
        fd = self._socket.fileno()
        if fd < 0:
            return
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._socket.close()
        for waiter in self._waiters:
            wake(waiter)

    async def __aenter__(self) -> MessageConnection:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()


Callback = Callable[[MessageConnection], Awaitable[None]]


async def open_messages(
        domain: str | int, service: str | int, *, timeout: float | None = CONNECT_TIMEOUT,
        wait: bool = False, path: str | os.PathLike[str] | None = None) -> MessageConnection:
    """Connects, for messages."""
    return MessageConnection(
        await connect_socket(domain, service, SEQPACKET, timeout, wait, path))


async def _serve(callback: Callback, connection: Socket) -> None:
    async with MessageConnection(connection) as messages:
        await callback(messages)


async def start_message_server(
        callback: Callback, service: str | int | None = None, backlog: int = 128, *,
        port: int = 0, timeout: float | None = CONNECT_TIMEOUT, wait: bool = False,
        keep: bool = False, path: _Path = None) -> Server:
    """Listens, and runs callback(connection) for each connection. When that ends, the connection is
    closed."""
    listener = await make_listener(service, backlog=backlog, port=port, type=SEQPACKET,
                                   timeout=timeout, wait=wait, keep=keep, path=path)
    return Server(listener, lambda connection: _serve(callback, connection))
