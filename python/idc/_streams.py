# SPDX-License-Identifier: LGPL-2.1-or-later
"""Streams of asyncio over IDC: asyncio's own readers, writers and transports on a Socket. A
Socket's errors say why, so those of the readers and writers do too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ._address import STREAM
from ._async import Server, connect_socket, make_listener
from ._sockets import CONNECT_TIMEOUT, Socket, _Path

LIMIT = 65536  # of a line, in bytes, as asyncio has it

Callback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def open_connection(
        domain: str | int, service: str | int, *, timeout: float | None = CONNECT_TIMEOUT,
        wait: bool = False, limit: int = LIMIT, path: _Path = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects, and returns (reader, writer)."""
    connection = await connect_socket(domain, service, STREAM, timeout, wait, path)
    try:
        return await asyncio.open_connection(sock=connection, limit=limit)
    except BaseException:
        connection.close()
        raise


async def _serve(callback: Callback, limit: int, connection: Socket) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    try:
        await callback(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):  # the callback is done with it, and knows by drain()
            await writer.wait_closed()
    except BaseException:
        writer.transport.abort()
        raise


async def start_server(
        callback: Callback, service: str | int | None = None, backlog: int = 128, *,
        port: int = 0, timeout: float | None = CONNECT_TIMEOUT, wait: bool = False,
        keep: bool = False, limit: int = LIMIT, path: _Path = None) -> Server:
    """Listens, and runs callback(reader, writer) for each connection. When that ends, the
    connection is closed."""
    listener = await make_listener(service, backlog=backlog, port=port, type=STREAM,
                                   timeout=timeout, wait=wait, keep=keep, path=path)
    return Server(listener, lambda connection: _serve(callback, limit, connection))
