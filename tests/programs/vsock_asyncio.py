#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A server and a client on Python's asyncio over AF_VSOCK, as one would write them for virtual machines.

    vsock_asyncio.py serve PORT                     echoes, and after the end of a stream adds the SHA-256 of what came
    vsock_asyncio.py connect CID PORT COUNT BYTES   COUNT connections at once, BYTES random bytes each; checks what comes back

The server prints "CID PORT" of each peer. SIGTERM ends it, with status 0.
"""

import asyncio
import hashlib
import os
import signal
import socket
import sys

CHUNK = 50000


async def echo(reader, writer):
    print("peer %d" % writer.get_extra_info("peername")[0], flush=True)
    total = hashlib.sha256()
    while data := await reader.read(CHUNK):
        total.update(data)
        writer.write(data)
        await writer.drain()
    writer.write(total.digest())
    writer.write_eof()
    await writer.drain()
    writer.close()


async def serve(port):
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, port))
    server = await asyncio.start_server(echo, sock=listener)
    print("listening on port %d" % listener.getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()
    await server.wait_closed()


async def connect_one(cid, port, size):
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (cid, port))
    reader, writer = await asyncio.open_connection(sock=sock)
    if writer.get_extra_info("peername") != (cid, port):
        raise ValueError("the peer is %r" % (writer.get_extra_info("peername"),))
    sent = os.urandom(size)
    reading = asyncio.create_task(reader.read())
    for start in range(0, size, CHUNK):
        writer.write(sent[start:start + CHUNK])
        await writer.drain()
    writer.write_eof()
    received = await reading
    writer.close()
    await writer.wait_closed()
    if received != sent + hashlib.sha256(sent).digest():
        raise ValueError("%d bytes came back that are not those that were sent" % len(received))


async def connect(cid, port, count, size):
    await asyncio.gather(*(connect_one(cid, port, size) for _ in range(count)))
    print("%d connections, %d bytes each way" % (count, count * size))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "connect": connect}[sys.argv[1]](*map(int, sys.argv[2:])))
