# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets between the domains of one Xen host (docs/python.md describes every call).

    with idc.listen("org.example.echo") as listener:      in one domain
        connection, peer = listener.accept()

    connection = idc.connect("web", "org.example.echo")   in another

    _library.py   libidc.so.0 by ctypes, its errors as exceptions
    _address.py   Address and Service
    _sockets.py   Socket, Listener, connect, listen
    _domains.py   domid, resolve, services, wait
    _async.py     connecting and serving without waiting
    _streams.py   asyncio's streams
    _messages.py  messages for asyncio
"""

from ._address import SEQPACKET, STREAM, Address, Service
from ._async import Server
from ._domains import domid, resolve, services, wait
from ._library import DOMID_SELF, version
from ._messages import MessageConnection, open_messages, start_message_server
from ._sockets import MESSAGE_MAX, Listener, Socket, connect, listen
from ._streams import open_connection, start_server

__all__ = [
    "DOMID_SELF", "MESSAGE_MAX", "SEQPACKET", "STREAM", "Address", "Listener", "MessageConnection",
    "Server", "Service", "Socket", "connect", "domid", "listen", "open_connection",
    "open_messages", "resolve", "services", "start_message_server", "start_server", "version",
    "wait",
]

# In representations and pickles they are what users call them.
for _public in (Address, Listener, MessageConnection, Server, Service, Socket):
    _public.__module__ = __name__
