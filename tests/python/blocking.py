# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of sockets and listeners that wait (common.py)."""

import copy
import errno
import os
import pickle
import signal
import socket
import sys
import threading
import time

import idc
from common import DOMID, HERE, PATIENCE, THERE, connect, expect_warnings, fails, listen, main, ours, pair

NAME = "org.example.python"


def case_stream():
    with listen(NAME) as listener, connect(NAME) as client:
        server, peer = listener.accept()
        with server:
            assert isinstance(client, socket.socket) and client.gettimeout() is None
            client.sendall(b"hello ")
            assert client.sendmsg([b"wor", b"ld"]) == 5
            client.shutdown(socket.SHUT_WR)
            with server.makefile("rb") as stream:
                assert stream.read() == b"hello world"
            assert server.recv(10) == b""
            server.sendall(bytes(300000))
            server.shutdown(socket.SHUT_WR)
            room, got = bytearray(100000), 0
            while count := client.recv_into(room):
                got += count
            assert got == 300000
            assert client.recv(0) == b""
            check_addresses(listener, client, server, peer)


def check_addresses(listener, client, server, peer):
    assert peer == server.getpeername(), (peer, server.getpeername())
    assert (peer.uid, peer.service, peer.type) == (os.getuid(), NAME, idc.STREAM)
    assert (peer.domid, peer.port) == (client.getsockname().domid, client.getsockname().port)
    there = client.getpeername()
    assert (there.domid, there.service, there.uid) == (DOMID, NAME, os.getuid())
    assert (listener.address.domid, listener.address.service) == (DOMID, NAME)
    assert str(there) == "domain %d, %s, uid %d" % (DOMID, NAME, os.getuid())
    assert str(there) in repr(client) and "idc.Socket" in repr(client)
    assert NAME in repr(listener)
    with client.dup() as again:
        assert isinstance(again, idc.Socket) and again.getpeername() == there
    with idc.Socket(fileno=os.dup(client.fileno())) as again:
        assert again.getpeername() == there


def case_own_domain():
    """There is no link_mgr in between, and the error says so."""
    for type in (idc.STREAM, idc.SEQPACKET):
        with listen(5000, type=type) as listener, idc.connect("self", 5000, type=type, path=THERE) as client:
            server, peer = listener.accept()
            assert peer.domid == DOMID
            client.sendall(b"unread")
            server.close()
            fails(ConnectionResetError, client.recv, 10, number=errno.ECONNRESET, text="the other program has closed")
            fails(BrokenPipeError, client.send, b"x", number=errno.EPIPE, text="the other program has closed")


def case_messages():
    client, server = pair(type=idc.SEQPACKET)
    with client, server:
        assert client.getpeername().type == idc.SEQPACKET
        long = os.urandom(idc.MESSAGE_MAX)
        for message in (b"", b"one", memoryview(b"two"), long):
            client.send_message(message)
        assert client.send(bytearray(b"cut short")) == 9
        client.sendall(b"x" * 1000)
        client.sendall(long[:1000000])
        assert [server.recv_message() for _ in range(4)] == [b"", b"one", b"two", long]
        assert server.recv(3) == b"cut"
        error = fails(OSError, server.recv_message, 999, number=errno.EMSGSIZE)
        assert "1000 bytes" in str(error)
        assert server.recv_message(1000000) == long[:1000000]
        fails(OSError, client.send_message, bytes(idc.MESSAGE_MAX + 1), number=errno.EMSGSIZE)
        client.shutdown(socket.SHUT_WR)
        assert server.recv_message() is None and server.recv(10) == b""
        server.send_message(b"still")
        assert client.recv_message() == b"still"


def case_messages_in_turn():
    """More than the buffers hold: the sender has to wait, in each of the three ways, and nothing is lost."""
    for timeout in (None, PATIENCE):
        client, server = pair(type=idc.SEQPACKET)
        with client, server:
            client.settimeout(timeout)
            messages = [bytes([n]) * 500000 for n in range(40)]
            sender = threading.Thread(target=lambda: [client.send_message(one) for one in messages])
            sender.start()
            assert [server.recv_message() for _ in messages] == messages
            sender.join()
            client.settimeout(0)
            sent = 0
            try:
                while sent < 1000:
                    client.send_message(messages[0])
                    sent += 1
            except (BlockingIOError, OSError) as error:
                assert error.errno in (errno.EAGAIN, errno.ETOOMANYREFS)
            assert 0 < sent < 1000


def case_timeouts():
    with listen(type=idc.SEQPACKET) as listener:
        listener.settimeout(0)
        fails(BlockingIOError, listener.accept)
        listener.settimeout(0.01)
        fails(TimeoutError, listener.accept, number=errno.ETIMEDOUT, text="accept")
    for type in (idc.STREAM, idc.SEQPACKET):
        client, server = pair(type=type)
        with client, server:
            client.settimeout(0.01)
            fails(TimeoutError, client.recv, 10)
            client.settimeout(0)
            fails(BlockingIOError, client.recv, 10)
            fails(BlockingIOError, server.recv, 10, socket.MSG_DONTWAIT)
            with_room = bytes(100000)
            client.settimeout(0.01)
            fails(TimeoutError, lambda: [client.send(with_room) for _ in range(10000)])
    fails(TimeoutError, connect, 4321, wait=True, timeout=0.05, number=errno.ETIMEDOUT, text="nothing listens")


def case_arguments():
    for bad in (0.0, -1, float("nan")):
        fails(ValueError, connect, 1, timeout=bad)
    fails(ValueError, connect, 1, type=socket.SOCK_DGRAM)
    for port in (0, -1, 1 << 32):
        fails(ValueError, connect, port)
    fails(ValueError, listen, -1)
    fails(ValueError, listen, 5000, port=5000)
    fails(ValueError, listen, "a\0b")
    fails(TypeError, connect, 1.5)
    fails(TypeError, connect, True)
    fails(TypeError, connect, None)
    fails(TypeError, connect, b"bytes")
    fails(TypeError, idc.connect, None, 80, path=HERE)
    fails(ValueError, idc.connect, 40000, 80, path=HERE)
    fails(ValueError, idc.wait, None, 80)
    fails(TypeError, idc.Socket)
    fails(OSError, connect, "", number=errno.EINVAL, text="no service is named")
    fails(OSError, connect, "4294967296", number=errno.EINVAL, text="a port is")
    fails(OSError, idc.connect, "uuid:1", 80, path=HERE, number=errno.EINVAL)
    fails(OSError, listen, "0123", number=errno.EINVAL)
    fails(FileNotFoundError, idc.connect, 0, 80, path=HERE + ".none", text="none")
    fails(OSError, idc.Listener, 10000, number=errno.EBADF)
    with open("/dev/null", "rb") as null:
        fails(OSError, idc.Listener, null.fileno(), number=errno.ENOTSOCK)
    client, server = pair()
    with client, server:
        fails(OSError, idc.Listener, client.fileno(), number=errno.EINVAL)
        fails(ValueError, client.recv_message, -1)
        fails(ValueError, client.recv_message, idc.MESSAGE_MAX + 1)
    fails(OSError, client.recv_message, number=errno.EBADF)
    fails(OSError, client.getpeername, number=errno.EBADF)
    with listen(7777) as listener:
        assert listener.address.port == 7777 and listener.fileno() >= 0
        fails(OSError, listen, 7777, number=errno.EADDRINUSE)
        fails(ValueError, listener.settimeout, -1)
    assert listener.fileno() == -1 and "closed" in repr(listener)
    fails(OSError, listener.accept, number=errno.EBADF, text="closed")


def case_unicode():
    """A domain has this name (test_python.py)."""
    with listen(5000) as listener, idc.connect("b\u00fcro \u2603", 5000, path=HERE) as client:
        assert client.getpeername().domid == DOMID
        listener.accept()[0].close()
    fails(OSError, idc.connect, "w\u00fcst", 80, path=HERE, number=errno.EHOSTUNREACH, text="no such domain")
    fails(OSError, idc.connect, "\udcff", 80, path=HERE, number=errno.EHOSTUNREACH)
    fails(OSError, connect, "s\u00fc\u00df", number=errno.EINVAL)
    fails(OSError, listen, "s\u00fc\u00df", number=errno.EINVAL)


def case_domains():
    os.environ["IDC_SOCKET"] = HERE
    own = idc.domid()
    assert own != DOMID and idc.resolve("self") == own and idc.resolve(idc.DOMID_SELF) == own
    assert idc.resolve(7) == 7 and idc.resolve("dom0") == 0
    fails(OSError, idc.resolve, "any", number=errno.EINVAL)
    idc.wait()
    idc.wait(DOMID)
    fails(ConnectionRefusedError, idc.wait, DOMID, NAME, timeout=0.05, text="nothing listens")
    with listen(NAME, type=idc.SEQPACKET) as listener:
        idc.wait(DOMID, NAME)
        idc.wait(DOMID, listener.address.port)
        idc.wait(str(DOMID), str(listener.address.port))
        found = [one for one in idc.services(DOMID) if one.name == NAME]
        assert found == [idc.Service(listener.address.port, idc.SEQPACKET, NAME)], found
        many = [listen("%s.%d" % (NAME, number)) for number in range(100)]
        assert len([one for one in idc.services(DOMID) if one.name]) == 101
        for one in many:
            one.unlisten()
        listener.unlisten()
    with listen(NAME):  # the name is free at once
        pass
    assert idc.version().count(".") == 2


def case_waits_for_what_comes():
    later = threading.Timer(0.1, lambda: listeners.append(listen(NAME)))
    listeners = []
    later.start()
    with connect(NAME, wait=True):
        later.join()
        with listeners[0] as listener:
            listener.accept()[0].close()


def case_iteration():
    with listen(NAME) as listener:
        clients = [connect(NAME) for _ in range(3)]
        for number, (server, peer) in enumerate(listener):
            server.close()
            if number == 2:
                break
        for client in clients:
            assert client.recv(1) == b""
            client.close()


def case_unclosed():
    def leave(thing):
        del thing
    before = ours()
    with expect_warnings("unclosed <idc.Listener"):
        leave(listen(NAME))
    with expect_warnings("unclosed <idc.Socket", "unclosed <idc.Socket"):
        leave(pair())
    assert ours() == before
    with listen(NAME):  # it had ended
        pass


def case_pickle():
    client, server = pair()
    with client, server, listen(NAME) as listener:
        for thing in client, listener:
            fails(TypeError, pickle.dumps, thing, text="cannot pickle")
            fails(TypeError, copy.copy, thing)
        address = client.getpeername()
        assert pickle.loads(pickle.dumps(address)) == address and hash(address) == hash(copy.copy(address))


def case_threads():
    """Several accept from one listener, while others fail: each gets its own error, and its text."""
    count, each, served, wrong = 8, 25, [], []
    lock = threading.Lock()

    def serve(listener):
        while True:
            try:
                server, _ = listener.accept()
            except OSError as error:
                return wrong.append(error) if error.errno != errno.EBADF else None
            with server:
                served.append(server.recv(100))
                server.sendall(b"ok")

    def call(number):
        for turn in range(each):
            try:
                with connect(NAME) as client:
                    client.sendall(b"%d %d" % (number, turn))
                    assert client.recv(2) == b"ok"
                error = fails(ConnectionRefusedError, connect, 10000 + number)
                assert "port %d:" % (10000 + number) in str(error), error
                error = fails(PermissionError, idc.connect, 20000 + number, 80, path=HERE)
                assert "domain %d:" % (20000 + number) in str(error), error
            except BaseException as problem:
                with lock:
                    wrong.append(problem)
                raise

    with listen(NAME, 256) as listener:
        servers = [threading.Thread(target=serve, args=(listener,)) for _ in range(4)]
        callers = [threading.Thread(target=call, args=(number,)) for number in range(count)]
        for thread in servers + callers:
            thread.start()
        for thread in callers:
            thread.join()
        listener.unlisten()  # it wakes all of them
        for thread in servers:
            thread.join()
    assert not wrong, wrong
    assert len(set(served)) == count * each


def in_child(action):
    """The exit status of a child that does this."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def case_fork():
    """A child uses what it inherits, and calls by itself. What it closes stays open in the parent."""
    with listen(NAME) as listener, connect(NAME) as client:
        server, _ = listener.accept()

        def child():
            server.sendall(b"from the child")
            server.close()
            with connect(NAME) as own, listener.accept()[0] as its:
                own.sendall(b"x")
                assert its.recv(1) == b"x"
            fails(ConnectionRefusedError, connect, 12345, text="port 12345")
            listener.close()

        assert in_child(child) == 0
        assert client.recv(100) == b"from the child"
        server.sendall(b"from the parent")
        assert client.recv(100) == b"from the parent"
        with connect(NAME), listener.accept()[0]:
            server.close()


def fill(client):
    client.settimeout(0)
    try:
        while True:
            client.send_message(bytes(500000))
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.ETOOMANYREFS)
    client.settimeout(None)


class Stop(Exception):
    pass


def case_signals():
    """A handler runs while a call waits. It may use idc itself; if it raises nothing, the call goes on."""
    runs = []

    def handler(number, frame):
        runs.append(fails(OSError, connect, "4294967296"))
        if len(runs) == 3:
            raise Stop

    signal.signal(signal.SIGALRM, handler)
    for wait in (lambda: listener.accept(), lambda: connect(4321, wait=True),
                 lambda: client.recv_message(), lambda: [client.send_message(bytes(500000)) for _ in range(1000)]):
        client, server = pair(type=idc.SEQPACKET)
        with client, server, listen(4322) as listener:
            fill(client)  # so that a send waits
            runs.clear()
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            try:
                fails(Stop, wait)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(runs) >= 3


def case_error_of_an_interrupted_call():
    """A handler that calls idc between a call and the reading of its error does not change that error. It is called at each line
    from the return of the C function on."""
    def trace(frame, event, argument):
        if "result" in frame.f_locals or frame.f_code is idc._library._failure.__code__:
            sys.settrace(None)
            fails(OSError, idc._library.call, "idc_connect_finish", -1, number=errno.EBADF)
            runs.append(frame.f_lineno)
            sys.settrace(trace)
        return trace

    runs = []
    sys.settrace(trace)
    try:
        error = fails(ConnectionRefusedError, connect, 12345)
    finally:
        sys.settrace(None)
    assert "port 12345" in str(error) and len(set(runs)) >= 4, (error, runs)


def case_closed_meanwhile():
    """unlisten ends an accept of another thread."""
    with listen(NAME) as listener:
        failed = []
        thread = threading.Thread(target=lambda: failed.append(fails(OSError, listener.accept)))
        thread.start()
        while thread.is_alive() and not in_poll(thread):
            time.sleep(0.01)
        listener.unlisten()
        thread.join()
        assert failed[0].errno in (errno.EBADF, errno.ECONNABORTED), failed


def in_poll(thread):
    with open("/proc/self/task/%d/wchan" % thread.native_id, encoding="ascii") as stream:
        return "poll" in stream.read()


if __name__ == "__main__":
    main(globals())
