# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc channels`, `idc serve`, `idc forward` and a kept listener of libidc between dom0 and a guest, by names (WebCase), on both
platforms. test_channels, test_serve, test_forward and test_kept have more of each, most of it on the local platform only.

A program that sits at an end of a bridge is `idc forward` too, with the test at its standard input and output: there an end and a
reset can be told from each other (docs/channels.md, "The ends").
"""

import hashlib
import json
import os

from forward_case import pattern
from recipe_case import WebCase
from world import wait_until

ANSWERS = "while read -r line; do echo got $line; done"
LINE_OF_XL = "connection=%s,path=%s,name=org.example.%s"
HALF = "org.example.half"


class Web(WebCase):
    def setUp(self):
        super().setUp()
        self.there, self.here = self.directory(self.web), self.directory(self.dom0)

    # ---- ends ----

    def dial(self, path):
        """A program in dom0 that connects to a Unix socket there."""
        return self.begin(self.dom0, "idc forward stdio unix:%s/%s" % (self.here, path))

    def answer(self, path="far"):
        """A program in web that listens on a Unix socket, for one connection."""
        server = self.begin(self.web, "idc forward unix-listen:%s/%s stdio" % (self.there, path))
        self.wait_file(self.web, "%s/%s" % (self.there, path))
        return server

    def said(self, process, data):
        self.assertEqual(process.stdout.read_exactly(len(data), self.patience), data)

    def ended(self, *processes):
        """Cleanly."""
        for process in processes:
            self.assertEqual((process.wait(self.patience), process.stderr.read_all(self.patience)), (0, b""), process)

    def broken(self, process):
        """Nothing more has come, and its exit status and one line say that this was no end."""
        out, err = process.stdout.read_all(self.patience), process.stderr.read_all(self.patience)
        self.assertEqual((process.wait(self.patience), out, err.count(b"\n")), (1, b"", 1), err)

    # ---- idc forward ----

    def bridge(self):
        self.begin(self.web, "idc forward idc-listen:%s unix:%s/far" % (HALF, self.there))
        self.wait_service(self.web, HALF)
        self.begin(self.dom0, "idc forward unix-listen:%s/near idc:web:%s" % (self.here, HALF))
        self.wait_file(self.dom0, self.here + "/near")

    def check_half_close(self, first, second):
        """first ends what it sends. second has all of it, and its end, before it says a word, and goes on as long as it likes."""
        data = pattern(300000)
        first.write(data)
        first.close_stdin()
        self.assertEqual(hashlib.sha256(second.stdout.read_all(self.patience)).digest(), hashlib.sha256(data).digest())
        for part in b"one", b"and another", data:
            second.write(part)
            self.said(first, part)
        self.assertIsNone(first.returncode)
        second.close_stdin()
        self.assertEqual(first.stdout.read_all(self.patience), b"")
        self.ended(first, second)

    def test_each_half_ends_by_itself(self):
        self.bridge()
        for client_first in True, False:
            server, client = self.answer(), self.dial("near")
            self.check_half_close(*((client, server) if client_first else (server, client)))

    # ---- idc channels ----

    def channels(self, domain, directory, *lines):
        """With these lines, and ready."""
        self.shell(domain, 'cat > "$1/lines"', directory, input="".join(line + "\n" for line in lines).encode())
        self.begin(domain, "idc channels --config %s/lines --state %s/state --terminals %s" % ((directory,) * 3))
        self.wait_file(domain, directory + "/state")

    def states(self, domain, directory):
        told = json.loads(self.ask(domain, "idc status --channels --json --state %s/state" % directory))
        return {one["name"]: one["state"] for one in told["channels"]}

    def serve_channels(self):
        """A terminal and a Unix socket in web, each the service of a Unix socket in dom0."""
        self.channels(self.web, self.there, "connection=pty,name=org.example.agent", LINE_OF_XL % ("socket", self.there + "/far", "socket"))
        self.channels(self.dom0, self.here, *("%s: " % name + LINE_OF_XL % ("socket", "%s/%s" % (self.here, name), name) + ",domain=web"
                                              for name in ("agent", "socket")))
        for name in "agent", "socket":
            self.wait_service(self.web, "org.example." + name)
            self.wait_file(self.dom0, "%s/%s" % (self.here, name))
        self.begin(self.web, "sh -c '%s' < %s/org.example.agent > %s/org.example.agent" % (ANSWERS, self.there, self.there))

    def asked(self, client):
        """It was answered."""
        client.write(b"a question\n")
        self.said(client, b"got a question\n")
        return client

    def test_a_terminal_and_a_socket(self):
        self.serve_channels()
        for _ in range(2):
            client = self.asked(self.dial("agent"))
            wait_until(lambda: self.states(self.web, self.there)["org.example.agent"] == "connected", what="the state")
            client.close_stdin()  # which a terminal can't be told, so the connection is over
            self.assertEqual(client.stdout.read_all(self.patience), b"")
            self.ended(client)
            server = self.answer()
            self.check_half_close(self.dial("socket"), server)
        self.assertEqual(set(self.states(self.dom0, self.here)), {"agent", "socket"})

    # ---- idc serve ----

    def serve(self, domain, program):
        self.begin(domain, "idc serve --name org.example.served -- " + program)
        self.wait_service(domain, "org.example.served")

    def test_serve(self):
        """In both directions. The program sees who calls, and the end before its answer."""
        data = os.urandom(300000)
        for server, client, name in (self.web, self.dom0, "web"), (self.dom0, self.web, "dom0"):
            self.serve(server, "sh -c 'sha256sum; echo $IDC_PEER_DOMID $IDC_SERVICE'")
            answer = self.ask(client, "idc cat %s org.example.served" % name, input=data).decode().split()
            self.assertEqual(answer, [hashlib.sha256(data).hexdigest(), "-", str(client.domid), "org.example.served"])

    # ---- the guest's link_mgr is killed ----

    def all_clients(self):
        """One of each kind, in dom0, whose connection has carried data both ways."""
        server = self.answer()
        clients = [self.dial("agent"), self.dial("near"), self.begin(self.dom0, "idc cat web org.example.served")]
        for client in clients[0], clients[2]:
            self.asked(client)
        clients[1].write(b"there")
        self.said(server, b"there")
        server.write(b"and back")
        self.said(clients[1], b"and back")
        return clients + [server]

    def test_the_link_mgr_of_the_guest_is_killed(self):
        """What was connected ends with an error, at either end. All services are back by themselves, and serve."""
        self.serve_channels()
        self.bridge()
        self.serve(self.web, "sh -c '%s'" % ANSWERS)
        services = {"org.example." + name for name in ("agent", "socket", "half", "served")}
        for _ in range(2):
            clients = self.all_clients()
            self.web.kill()
            for client in clients:
                self.broken(client)
            self.web.start(*self.options)
            for name in services:
                self.wait_service(self.web, name)
            self.assertEqual(self.dom0.run(["idc", "wait", "web", HALF]).returncode, 0)
        for client in self.all_clients():
            client.kill()

    def test_a_kept_listener(self):
        """test_accept's, by libidc alone."""
        accepting = self.web.spawn(["test_accept", "2000"])
        accepting.stdout.read_until(b"\n", self.patience)
        for again in (self.web.kill, self.web.stop):
            self.assertIn("you said: hello", self.ask(self.dom0, "test_conn web 2000").decode())
            again()
            self.web.start(*self.options)
            self.ask(self.dom0, "idc wait web 2000")
        self.assertIn("you said: hello", self.ask(self.dom0, "test_conn web 2000").decode())
        self.assertIsNone(accepting.returncode)
