# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of asyncio (common.py)."""

import asyncio
import errno
import os
import pickle
import resource
import time

import idc
from common import DOMID, HERE, PATIENCE, THERE, connect, fails, fails_async, listen, main, ours, until

NAME = "org.example.python"


def open_connection(service=NAME, **options):
    return idc.open_connection(DOMID, service, path=HERE, **options)


def open_messages(service=NAME, **options):
    return idc.open_messages(DOMID, service, path=HERE, **options)


def start_server(callback, *arguments, **options):
    return idc.start_server(callback, *arguments or (NAME,), path=THERE, **options)


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def echo_messages(connection):
    async for message in connection:
        await connection.send(message)


async def never(*_):
    await asyncio.Event().wait()


def ignore_lost(loop, context):
    """A server is told that its client has gone."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


async def ask(data, **options):
    reader, writer = await open_connection(**options)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def case_500_connections():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    count, here, all_here = 500, [], asyncio.Event()

    async def wait_for_all(reader, writer):
        """Answers when all are connected: so they are, at the same time."""
        peer = writer.get_extra_info("peername")
        here.append(peer)
        if len(here) == count:
            all_here.set()
        await all_here.wait()
        writer.write(await reader.read())

    async with await start_server(wait_for_all, backlog=1024):
        texts = [b"%d " % number * 5000 for number in range(count)]
        answers = await asyncio.gather(*(ask(text, timeout=PATIENCE) for text in texts))
        assert answers == texts
    assert len(set(here)) == count and {peer.service for peer in here} == {NAME}


async def case_addresses():
    async def tell(reader, writer):
        told.append((writer.get_extra_info("peername"), writer.get_extra_info("sockname")))

    told = []
    async with await start_server(tell) as server:
        reader, writer = await open_connection()
        assert writer.get_extra_info("peername").service == NAME
        assert await reader.read() == b""  # the callback has ended, so the connection has
        (peer, own), = told
        assert (peer.domid, peer.port) == (writer.get_extra_info("sockname").domid, writer.get_extra_info("sockname").port)
        assert (own.domid, own.port) == (DOMID, server.address.port)
        assert NAME in repr(server) and server.is_serving() and server.get_loop() is asyncio.get_running_loop()
        writer.close()
        await writer.wait_closed()


async def case_refused():
    """At once, and with the reason."""
    await fails_async(ConnectionRefusedError, open_connection(12345), text="port 12345: nothing listens")
    await fails_async(ConnectionRefusedError, open_messages(12345), text="port 12345: nothing listens")
    await fails_async(PermissionError, idc.open_connection(77, 80, path=HERE), text="policy does not allow")
    await fails_async(FileNotFoundError, idc.open_connection(0, 80, path=HERE + ".none"))
    await fails_async(OSError, open_connection(""), number=errno.EINVAL)
    await fails_async(ValueError, open_connection(timeout=0))
    await fails_async(OSError, idc.start_server(echo, "0123", path=THERE), number=errno.EINVAL)
    await fails_async(TimeoutError, open_connection(4321, wait=True, timeout=0.05), errno.ETIMEDOUT, "nothing listens")
    await fails_async(TimeoutError, idc.open_connection(0, 80, path=HERE + ".none", wait=True, timeout=0.05), errno.ETIMEDOUT,
                      "it was waited for")
    async with await start_server(echo):
        await fails_async(OSError, open_messages(), number=errno.EPROTOTYPE)
        await fails_async(OSError, start_server(echo), number=errno.EADDRINUSE)


async def case_waits_for_what_comes():
    asking = asyncio.create_task(ask(b"hello", wait=True))
    await asyncio.sleep(0.1)
    async with await start_server(echo):
        assert await asking == b"hello"


async def case_cancelled_connects():
    before = ours()
    tasks = [asyncio.create_task(open_connection(4321, wait=True, timeout=None)) for _ in range(50)]
    tasks += [asyncio.create_task(open_messages(4321, wait=True, timeout=None)) for _ in range(50)]
    tasks += [asyncio.create_task(idc.open_connection(0, 80, path=HERE + ".none", wait=True)) for _ in range(10)]
    await until(lambda: len(ours()) == len(before) + 100, "attempts under way")
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    assert ours() == before
    await fails_async(TimeoutError, asyncio.wait_for(open_connection(4321, wait=True), 0.05))
    assert ours() == before


async def case_cancelled_at_any_step():
    """A connect that succeeds is cancelled after 0, 1, 2... turns of the loop."""
    before = ours()
    asyncio.get_running_loop().set_exception_handler(ignore_lost)
    async with await start_server(echo):
        for turns in range(30):
            task = asyncio.create_task(open_connection())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                _, writer = await task
            except asyncio.CancelledError:
                pass
            else:
                writer.close()
                await writer.wait_closed()
    await until(lambda: ours() == before, "all closed")


async def case_cancelled_listen():
    before = ours()
    for turns in range(5):
        task = asyncio.create_task(start_server(echo, "org.example.turn%d" % turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await fails_async(asyncio.CancelledError, task)
    await until(lambda: ours() == before, "all closed")


async def case_cancelled_server():
    """Its connections end with it."""
    server = await start_server(never)
    task = asyncio.create_task(server.serve_forever())
    connections = [await open_connection() for _ in range(10)]
    await until(lambda: len(asyncio.all_tasks()) == 12, "all are served")
    task.cancel()
    await fails_async(asyncio.CancelledError, task)
    assert not server.is_serving() and len(asyncio.all_tasks()) == 1
    for reader, writer in connections:
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    async with await start_server(echo, wait=True):
        pass


async def case_closed_server():
    """close() lets connections go on; close_clients() ends them."""
    server = await start_server(echo)
    reader, writer = await open_connection()
    writer.write(b"x")
    assert await reader.read(1) == b"x"
    server.close()
    ended = asyncio.create_task(server.wait_closed())
    writer.write(b"y")
    assert await reader.read(1) == b"y" and not ended.done()
    await fails_async(ConnectionRefusedError, open_connection())
    server.close_clients()
    assert await reader.read() == b""
    await ended
    writer.close()
    await writer.wait_closed()


async def case_error_in_a_callback():
    """It is reported, and the connection closed."""
    async def fail(reader, writer):
        raise KeyError("my fault")

    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    async with await start_server(fail):
        reader, writer = await open_connection()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await until(lambda: reported, "a report")
    assert isinstance(reported[0], KeyError)


async def case_no_descriptors():
    """A server that has none left goes on when there are some again."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    async with await start_server(echo):
        reader, writer = await open_connection()
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        second = connect(NAME)  # the loop has not looked yet
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            await until(lambda: reported, "a report")
            began = time.monotonic()
            for _ in range(30):
                await asyncio.sleep(0)
            # It is tried again after a pause, and not in each turn.
            assert len(reported) <= 2 + (time.monotonic() - began) / idc._async.ACCEPT_PAUSE, len(reported)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert reported[0].errno == errno.EMFILE, reported
        second.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(second, b"later")
        assert await asyncio.get_running_loop().sock_recv(second, 5) == b"later"
        second.close()
        writer.close()
        await writer.wait_closed()


async def case_messages():
    async with await idc.start_message_server(echo_messages, NAME, path=THERE) as server:
        async with await open_messages() as connection:
            long = os.urandom(idc.MESSAGE_MAX)
            for message in (b"", b"abc", long):
                await connection.send(message)
                assert await connection.recv() == message
            await connection.send(bytes(1000))
            await fails_async(OSError, connection.recv(999), errno.EMSGSIZE, "1000 bytes")
            await fails_async(OSError, connection.send(bytes(idc.MESSAGE_MAX + 1)), errno.EMSGSIZE)
            assert (connection.getpeername().type, connection.getpeername().service) == (idc.SEQPACKET, NAME)
            assert connection.getsockname().domid != DOMID and connection.fileno() >= 0
            assert server.address.type == idc.SEQPACKET
            fails(TypeError, pickle.dumps, connection)
            connection.write_eof()
            assert await connection.recv() is None
        assert connection.fileno() == -1
        await fails_async(OSError, connection.send(b""), errno.EBADF)
        connection.close()


async def case_messages_in_turn():
    """Several tasks send more than the buffers hold; each message arrives, and those of one task in order."""
    got = {}

    async def take(connection):
        async for message in connection:
            got.setdefault(message[0], []).append(message[1])

    async with await idc.start_message_server(take, NAME, path=THERE) as server:
        async with await open_messages() as connection:
            async def send(number):
                for turn in range(20):
                    await connection.send(bytes([number, turn]) + bytes(400000))
            await asyncio.gather(*(send(number) for number in range(5)))
        server.close()
        await server.wait_closed()
    assert got == {number: list(range(20)) for number in range(5)}, got


async def case_messages_cancelled():
    """A recv that is cancelled loses nothing; close() ends one that waits."""
    with listen(NAME, type=idc.SEQPACKET) as listener:
        connection = await open_messages()
        server, _ = listener.accept()
        for _ in range(20):
            task = asyncio.create_task(connection.recv())
            await asyncio.sleep(0)
            task.cancel()
            await fails_async(asyncio.CancelledError, task)
        waiting = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        server.send_message(b"one")
        assert await waiting == b"one"
        waiting = asyncio.create_task(connection.recv())
        await asyncio.sleep(0)
        connection.close()
        await fails_async(OSError, waiting, errno.EBADF)
        assert server.recv_message() is None
        server.close()


if __name__ == "__main__":
    main(globals())
