# SPDX-License-Identifier: GPL-2.0-or-later
"""XML-RPC with a link_mgr, from the test itself.

connect(path) speaks over the Unix socket as any Python program would. connect_through(process) does the same in a domain that
this process can't reach: the documents go through a rpcpipe that runs there. Both return an Rpc: rpc.status({}),
rpc.connect({...}) and so on, without the `idc.`; a fault is xmlrpc.client.Fault. One Rpc is one HTTP connection: calls that
wait need one each.
"""

import http.client
import io
import socket
import xmlrpc.client


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path, timeout):
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host):
        if not self._connection or self._connection[0] != host:
            connection = http.client.HTTPConnection("idc")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(self._timeout)
            connection.sock.connect(self._path)
            self._connection = host, connection
        return self._connection[1]


class PipeTransport(xmlrpc.client.Transport):
    """The documents go to a rpcpipe (tests/programs/rpcpipe.c)."""

    def __init__(self, process, timeout):
        super().__init__()
        self._process = process
        self._timeout = timeout

    def request(self, host, handler, request_body, verbose=False):
        self._process.write(b"%d\n" % len(request_body) + request_body)
        line = self._process.stdout.readline(self._timeout)
        if not line.strip():
            raise ConnectionError("rpcpipe: %s" % self._process.stderr.read_all(self._timeout).decode(errors="replace"))
        body = self._process.stdout.read_exactly(int(line), self._timeout)
        parser, unmarshaller = self.getparser()
        parser.feed(body)
        parser.close()
        return unmarshaller.close()

    def close(self):
        self._process.close_stdin()


class Rpc:
    def __init__(self, transport):
        self._transport = transport
        self._proxy = xmlrpc.client.ServerProxy("http://idc/", transport=transport)

    def __getattr__(self, method):
        return getattr(self._proxy.idc, method)

    @property
    def system(self):
        return self._proxy.system

    def whole_status(self, detail=True):
        """All pages of idc.status, as one."""
        whole = self.status({"detail": detail})
        following = whole.pop("next", None)
        while following:
            page = self.status({"detail": detail, "from": following})
            for name in ("links", "listeners", "connections", "users", "handles"):
                whole.setdefault(name, []).extend(page.get(name, []))
            following = page.get("next")
        if not detail:
            whole.pop("connections", None)
            whole.pop("handles", None)
        return whole

    def close(self):
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


def connect(path, timeout=60):
    return Rpc(UnixTransport(path, timeout))


def connect_through(process, timeout=60):
    return Rpc(PipeTransport(process, timeout))


def document(method, argument):
    """The body of a call, for curl."""
    return xmlrpc.client.dumps((argument,), "idc." + method).encode()


def parse(body):
    """The result in an answer's body; raises Fault."""
    (result,), _ = xmlrpc.client.loads(io.BytesIO(body).read())
    return result
