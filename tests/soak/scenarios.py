# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs of a soak do, one function each, in the order in which it happens. Each has a worker (worker.py), which gives it
domains, programs, ports and chances, and closes what it opened. Every byte is checked by the program that receives it. A step that fails
raises an OSError; the worker knows whether it may.
"""

import errno
import http.client
import signal
import time
import xmlrpc.client

import rpc

MIB = 1 << 20
MESSAGES = (1, 100, 4000, 60000, 130000, 400000, 1500000)
LONGEST = max(MESSAGES)
PARSE_ERROR = -503


class Wrong(AssertionError):
    """What no fault explains."""


def expect(wanted, got, what):
    if wanted != got:
        raise Wrong("%s: %r, and not %r" % (what, got, wanted))


# ---- connections ----

def connection(worker, type=None):
    """(client, server, place): two programs in any domains, with a connection between them."""
    here, there = worker.domain(), worker.domain()
    client, place, port = worker.program(here), worker.place(), worker.port()
    server = worker.program(there, besides=(client,))
    target = {"name": "org.example.soak%d" % port} if worker.chance(0.3) else {"port": port}
    server.do("listen", place + 1, type=type, **target)
    taking = server.begin("accept", place + 1, place)
    client.do("connect", place, domid=there.domid, type=type, nowait=int(worker.chance(0.3)), **target)
    taking.result()
    server.do("unlisten", place + 1)
    worker.count("connections")
    return client, server, place


def close_both(client, server, place):
    client.do("close", place)
    server.do("close", place)


def half(worker, sender, receiver, place, nbytes):
    """Begins nbytes one way, and the end; returns what finishes it."""
    seed = worker.seed()
    checking = receiver.begin("check", place, seed=seed)
    sending = sender.begin("send", place, len=nbytes, seed=seed)

    def finish():
        try:
            sending.result()
            sender.do("shutdown", place)
        except OSError:
            worker.check_cut_off(checking, nbytes)
            raise
        result = checking.result()
        if (result["n"], result["end"]) != (nbytes, 1):
            worker.early_end("%d of %d bytes, then an end" % (result["n"], nbytes))
        worker.count("bytes", nbytes)

    return finish


def stream(worker):
    client, server, place = connection(worker)
    halves = [half(worker, client, server, place, worker.size()), half(worker, server, client, place, worker.size())]
    if worker.chance(0.2):
        program = worker.pick((client, server))
        program.process.kill(signal.SIGSTOP)
        time.sleep(worker.rng.uniform(0, 0.3))
        program.process.kill(signal.SIGCONT)
    worker.rng.shuffle(halves)
    for finish in halves:
        finish()
    close_both(client, server, place)


def one_way_after_the_other(worker):
    """Question, half-close, answer."""
    client, server, place = connection(worker)
    half(worker, client, server, place, worker.size())()
    half(worker, server, client, place, worker.size())()
    close_both(client, server, place)


def messages(worker):
    client, server, place = connection(worker, "seqpacket")
    for _ in range(worker.rng.randint(1, 12)):
        sender, receiver = worker.rng.sample((client, server), 2)
        nbytes, seed = worker.pick(MESSAGES), worker.seed()
        sending = sender.begin("send", place, len=nbytes, seed=seed)
        result = receiver.do("check", place, len=nbytes, max=LONGEST, seed=seed)
        if result["end"]:
            worker.early_end("an end in place of a message of %d bytes" % nbytes)
        expect(1, result["count"], "messages")
        sending.result()
        worker.count("messages")
        worker.count("bytes", nbytes)
    client.do("close", place)
    expect(0, server.do("check", place)["n"], "bytes after the last message")
    server.do("close", place)


def killed_sender(worker):
    """A program is killed while it sends: what came before is right, and there is an end or an error."""
    client, server, place = connection(worker)
    seed, nbytes = worker.seed(), 8 * MIB
    checking = server.begin("check", place, seed=seed)
    client.begin("send", place, len=nbytes, seed=seed)
    time.sleep(worker.rng.uniform(0, 0.1))
    worker.kill(client)
    worker.check_cut_off(checking, nbytes)
    server.do("close", place)


def unread_close(worker):
    """A program closes with data unread: the sender learns of it, and no more is sent."""
    client, server, place = connection(worker)
    sending = client.begin("send", place, len=64 * MIB, seed=worker.seed())
    server.do("recv", place, max=1)
    server.do("close", place)
    try:
        sending.result()
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE):
            raise
    else:
        raise Wrong("64 MiB were sent to a program that had closed")
    client.do("close", place)


def passed_on(worker):
    """A connection to anywhere is passed to another program of the domain, and goes on there."""
    client, server, place = connection(worker)
    other = worker.program(client.domain, besides=(client, server))
    port, carrier = worker.port(), worker.place()
    other.do("listen", carrier + 1, port=port)
    client.do("connect", carrier, domid=client.domain.domid, port=port)
    other.do("accept", carrier + 1, carrier)
    worker.count("connections")
    taking = other.begin("take", carrier, place)
    client.do("pass", carrier, place)
    taking.result()
    worker.count("descriptors passed")
    half(worker, other, server, place, worker.size())()
    half(worker, server, other, place, worker.size())()
    close_both(other, server, place)
    close_both(client, other, carrier)
    other.do("unlisten", carrier + 1)


def refused(worker):
    here, there = worker.domain(), worker.domain()
    client = worker.program(here)
    result = client.do("storm", domid=there.domid, port=worker.port(), count=20)
    expect(0, result["connected"], "connections to where nobody listens")
    worker.count("refusals", 20)
    if result["last"] != "ECONNREFUSED":
        raise OSError(getattr(errno, result["last"]), "a refusal")


def short_of_descriptors(worker):
    """A program with few descriptors connects until it has none left."""
    here, there = worker.domain(), worker.domain()
    server, client = worker.program(there), worker.program(here, few_descriptors=True)
    place, port, got = worker.place(), worker.port(), []
    server.do("listen", place, port=port)
    try:
        for number in range(100):
            client.do("connect", place + number, domid=there.domid, port=port)
            got.append(place + number)
            worker.count("connections")
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    if len(got) < 3 or len(got) == 100:
        raise Wrong("%d connections of a program with few descriptors" % len(got))
    client.do("close", got[0])
    client.do("connect", got[0], domid=there.domid, port=port)
    worker.count("connections")
    worker.kill(client)
    server.do("unlisten", place)


# ---- many at once ----

def outcome(flow):
    """What a flows program says in the end: (its values or None, errnos)."""
    problems = []
    while True:
        line = flow.process.stdout.readline(flow.patience).decode()
        words = dict(word.partition("=")[::2] for word in line.split())
        if line.startswith("done"):
            return words, problems
        if line.startswith(("error", "failed")):
            problems.append(getattr(errno, words["errno"], 0))
        if not line or line.startswith("failed"):
            return None, problems or [errno.ECONNRESET]


def check_sums(worker, first, second):
    for one in (first, second):
        expect("0", one["bad"], "wrong bytes")
    if first["received"] != second["sent"] or second["received"] != first["sent"]:
        worker.early_end("many flows: %r and %r" % (first, second))
    else:
        expect(first["hash_sent"], second["hash_received"], "hash")
        expect(second["hash_sent"], first["hash_received"], "hash")
    worker.count("bytes", int(first["received"]) + int(second["received"]))


def many(worker):
    here, there = worker.domain(), worker.domain()
    count = worker.pick((2, 10, 50, 200))
    arguments = {"count": count, "bytes": worker.rng.randint(1, 8 * MIB // count), "chunk": worker.pick((100, 5000, 65536))}
    if worker.chance(0.3):
        arguments["type"] = "seqpacket"
    arguments["bytes"] = min(arguments["bytes"], 3000 * arguments["chunk"])
    accept = worker.flows(there, "accept", port=worker.port(), **arguments)
    line = accept.process.stdout.readline(accept.patience).decode()
    if not line.startswith("ready"):
        raise OSError(errno.ECONNREFUSED, "listen: " + line)
    connect = worker.flows(here, "connect", domid=there.domid, port=line.split("port=")[1].split()[0], **arguments)
    connected, problems = outcome(connect)
    if connected is None:  # it opened fewer than the other one waits for
        worker.end_process(accept.process)
        raise OSError(problems[0], "flows connect")
    accepted, others = outcome(accept)
    worker.count("connections", count)
    problems += others
    if accepted is None or problems:
        for one in (connected, accepted):
            expect("0", one["bad"] if one else "0", "wrong bytes")
        raise OSError(problems[0], "flows")
    check_sums(worker, connected, accepted)


# ---- other ways in ----

def as_os_error(call):
    """What an RPC client is told, as the others tell it."""
    def wrapped(worker):
        try:
            call(worker)
        except xmlrpc.client.Fault as fault:
            lacks = fault.faultCode == PARSE_ERROR and "memory" in fault.faultString  # docs/rpc.md, "Faults"
            raise OSError(errno.ENOMEM if lacks else fault.faultCode, fault.faultString) from fault
        except xmlrpc.client.ProtocolError as problem:
            expect(503, problem.errcode, "the status of HTTP")  # docs/rpc.md: it lacks something
            raise OSError(errno.ENOBUFS, problem.errmsg) from problem
        except http.client.HTTPException as problem:
            raise OSError(errno.ECONNRESET, "HTTP: %r" % problem) from problem
        except ConnectionError as problem:
            if problem.errno is None:  # of a rpcpipe, which has ended
                raise OSError(errno.ECONNRESET, str(problem)) from problem
            raise
    wrapped.__name__ = call.__name__
    return wrapped


class OnceTransport(rpc.UnixTransport):
    """Python's own would try a call again on another connection, where a number may be another one's handle."""

    def request(self, host, handler, request_body, verbose=False):
        return self.single_request(host, handler, request_body, verbose)


def rpc_to(domain):
    return rpc.Rpc(OnceTransport(domain.socket, 120)) if domain.world.local_files else domain.rpc()


@as_os_error
def by_rpc(worker):
    here, there = worker.domain(), worker.domain()
    data, received, sent = worker.rng.randbytes(worker.rng.randint(1, 300000)), b"", 0
    with rpc_to(there) as server, rpc_to(here) as client:
        port = worker.port()
        listener = server.listen({"port": port})["handle"]
        handle = client.connect({"domid": there.domid, "port": port})["handle"]
        taken = server.accept({"handle": listener, "timeout_ms": 60000})["handle"]
        worker.count("connections")
        while len(received) < len(data):
            if sent < len(data):
                sent += client.send({"handle": handle, "data": data[sent:sent + 65536]})["accepted"]
            part = server.recv({"handle": taken, "max": 65536, "timeout_ms": 60000})["data"].data
            if not part:
                worker.early_end("by RPC")
                return
            received += part
        expect(data, received, "bytes by RPC")
        client.disconnect({"handle": handle})
        expect(b"", server.recv({"handle": taken, "max": 1, "timeout_ms": 60000})["data"].data, "the end by RPC")
    worker.count("bytes", len(data))
    worker.count("sessions by RPC")


@as_os_error
def bad_rpc(worker):
    """Calls that are wrong have no effect but a fault."""
    with rpc_to(worker.domain()) as client:
        for method, argument in worker.rng.sample((("send", {"handle": 1 << 30, "data": b"x"}), ("recv", {"handle": -1, "max": 1}),
                                                   ("connect", {"domid": 1 << 20, "port": 5}), ("accept", {}), ("listen", {"port": "x"}),
                                                   ("disconnect", {"handle": 0})), 3):
            try:
                getattr(client, method)(argument)
            except xmlrpc.client.Fault:
                worker.count("wrong calls")
            else:
                raise Wrong("idc.%s took %r" % (method, argument))
        client.whole_status()


def vsock(worker):
    """Programs that know nothing of IDC, by the library that is preloaded."""
    here, there = worker.domain(), worker.domain()
    port = worker.port(2)
    tool = ["idc", "run", "--", worker.world.find_program("vsock")]
    server = worker.spawn(there, tool + ["serve", str(port)])
    line = server.stdout.readline(120)
    if line != b"ready\n":
        raise OSError(errno.ECONNREFUSED, "vsock serve: %r" % bytes(server.stderr._bytes))
    cid = 1 if here is there else there.domid + 2
    cases = worker.rng.sample(("connect", "nonblocking", "stream", "shutdown", "messages", "large_messages", "several_messages", "pipe", "fork", "exec"), 2)
    program = worker.spawn(here, tool + ["run", str(cid), str(port), str(here.domid + 2)] + cases)
    out, err = program.communicate(timeout=250)
    worker.end_process(server)
    worker.count("cases of vsock", out.count(b"\nok ") + out.startswith(b"ok "))
    if program.returncode != 0:
        raise OSError(errno.ECONNRESET, "vsock %s: %s" % (cases, (out + err).decode()))


def tools(worker):
    here, there = worker.domain(), worker.domain()
    words = worker.pick((["status"], ["ping", "-c", "3", str(there.domid)], ["services", str(there.domid)]))
    program = worker.spawn(here, ["idc"] + words)
    out, err = program.communicate(timeout=250)
    worker.count("commands")
    if program.returncode != 0:
        raise OSError(errno.ECONNRESET, "idc %s: %s" % (" ".join(words), (out + err).decode()))


ALL = ((stream, 30), (one_way_after_the_other, 12), (messages, 25), (killed_sender, 8), (unread_close, 6), (passed_on, 8), (refused, 6),
       (short_of_descriptors, 2), (many, 10), (by_rpc, 8), (bad_rpc, 3), (vsock, 3), (tools, 3))
