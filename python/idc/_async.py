# SPDX-License-Identifier: LGPL-2.1-or-later
"""What streams and messages of asyncio share: connecting without waiting, and servers.

A connect uses libidc's nonblocking form. libidc returns a socket at once, the loop says when it is
writable, and libidc says what came of it. So there is no thread, and whoever cancels it closes the
socket. link_mgr watches the time limit. The loop has one a little later, in case link_mgr hangs.

libidc has no listen that does not wait: link_mgr answers it at once, or hangs. That call alone runs
in a thread of the loop's executor. If it is cancelled, what comes of it is closed.

A Server takes connections when its listener is readable, and runs a task for each. The task has
the connection, and closes it when it ends, however it ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from . import _library
from ._address import Address, type_argument
from ._library import call
from ._sockets import Listener, Socket, _Path, adopt, listen

GRACE = 2.0  # seconds after a connect's own limit, as libidc has it (idc.h, Time)
PAUSE_FIRST, PAUSE_MAX = 0.005, 0.1  # between attempts, while no link_mgr serves
ACCEPTS_AT_ONCE = 64  # then others of the loop have their turn
ACCEPT_PAUSE = 0.1  # seconds, when something lacks for the next connection
LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


# ---- connecting ----


async def _begin(to: tuple[bytes, bytes], options: _library.Options, wait: bool,
                 deadline: float | None) -> Socket:
    """A socket whose connect is under way. The own link_mgr may have to be waited for."""
    pause = PAUSE_FIRST
    while True:
        if deadline is not None:
            left = deadline - time.monotonic()
            options.timeout_ms = _library.timeout_argument(max(left, 0.001))
        try:
            connection = adopt(call("idc_connect_to", *to, ctypes.byref(options)))
            break
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError) as error:
            if not wait:
                raise
            if deadline is not None and time.monotonic() >= deadline:
                why = f"{error.strerror} (it was waited for)"
                raise TimeoutError(errno.ETIMEDOUT, why) from None
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)
    connection.setblocking(False)
    return connection


async def _finish(connection: Socket) -> None:
    loop = asyncio.get_running_loop()
    fd = connection.fileno()
    while True:
        waiter: asyncio.Future[None] = loop.create_future()
        loop.add_writer(fd, wake, waiter)
        try:
            await waiter
        finally:
            loop.remove_writer(fd)
        try:
            call("idc_connect_finish", fd)
            return
        except BlockingIOError:
            pass  # it is under way


async def connect_socket(domain: str | int, service: str | int, type: int,
                         timeout: float | None, wait: bool, path: _Path) -> Socket:
    to = _library.domain_argument(domain), _library.service_argument(service)
    options = _library.make_options(type_argument(type), timeout, wait, path, nonblocking=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    connection = await _begin(to, options, wait, deadline)
    try:
        left = None if deadline is None else max(deadline - time.monotonic(), 0) + GRACE
        try:
            async with asyncio.timeout(left) as limit:
                await _finish(connection)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(errno.ETIMEDOUT, "link_mgr does not answer") from None
        return connection
    except BaseException:
        connection.close()
        raise


# ---- listening ----


def _close_result(made: asyncio.Future[Listener]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()


async def make_listener(service: str | int | None, **options: Any) -> Listener:
    made = asyncio.get_running_loop().run_in_executor(
        None, functools.partial(listen, service, **options))
    try:
        listener = await asyncio.shield(made)
    except asyncio.CancelledError:
        made.add_done_callback(_close_result)
        raise
    listener.settimeout(0)
    return listener


class Server(asyncio.AbstractServer):
    """Accepts connections, and runs a task for each."""

    def __init__(self, listener: Listener, serve: Callable[[Socket], Awaitable[None]]) -> None:
        self._listener = listener
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._error: OSError | None = None
        self._loop.add_reader(listener.fileno(), self._take)

    def __repr__(self) -> str:
        return f"<idc.Server {self._listener!r}, {len(self._tasks)} connections>"

    @property
    def address(self) -> Address:
        return self._listener.address

    # ---- connections ----

    async def _run(self, connection: Socket) -> None:
        with connection:
            await self._serve(connection)

    def _take(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._accept_failed(error)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._run(connection), name=f"idc: {peer}")
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._done, connection))

    def _done(self, connection: Socket, task: asyncio.Task[None]) -> None:
        connection.close()  # a task that is cancelled before its first step has run nothing
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._report("an error in the callback of a connection", task.exception())

    def _report(self, what: str, error: BaseException | None) -> None:
        self._loop.call_exception_handler(
            {"message": f"idc: {what}", "exception": error, "server": self})

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in LACKS:
            self._report("accept", error)
            self._loop.remove_reader(self._listener.fileno())
            self._loop.call_later(ACCEPT_PAUSE, self._resume)
        elif error.errno in (errno.ECONNABORTED, errno.EBADF, errno.EINVAL):
            self._error = error
            self.close()
        else:
            self._report("accept", error)  # of a listener that is kept: it goes on

    def _resume(self) -> None:
        if self.is_serving():
            self._loop.add_reader(self._listener.fileno(), self._take)

    # ---- asyncio.AbstractServer ----

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._listener.fileno() >= 0

    async def start_serving(self) -> None:
        """It has begun already."""

    def close(self) -> None:
        """No more connections are accepted. Those that are there go on."""
        if self.is_serving():
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            wake(self._ended)

    def close_clients(self) -> None:
        """Cancels what runs for connections, which closes them."""
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until the server is closed and nothing runs for a connection. Raises the error that has
        ended the listener, if one has."""
        await asyncio.shield(self._ended)
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    async def serve_forever(self) -> None:
        """Until the listener ends. If this is cancelled, it ends, and so do its connections."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            await self._end()
            raise

    async def _end(self) -> None:
        self.close()
        self.close_clients()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._end()
