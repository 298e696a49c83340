# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains by name, by UUID and by a route: what programs reach, and what they are told when they don't.

The rules that tell a link_mgr names are written here as idc-setup writes them (docs/xenstore.md, "Rules")."""

import errno
import itertools
import os
import threading
import time
import xmlrpc.client

from case import IdcTestCase
from world import wait_until

SERVICE = "org.example.sql"
UUID = "00112233-4455-6677-8899-aabbccddeeff"


def written(name):
    """As in a TEXT of the rules."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 or chr(byte) in "._-/+:" else "%%%02x" % byte
                   for byte in name.encode())


class NamesCase(IdcTestCase):
    roles = "abc"

    def setUp(self):
        self.generations = itertools.count(1000)  # idc-setup has published some
        super().setUp()

    def tell(self, domain, peers=(), name=None, routes=(), rules=()):
        """Tells a domain its name, those of others ((domain or domid, name, uuid)...) and routes ((service, domains)...), and
        waits until its link_mgr knows. It does by the UUID, which is another one each time."""
        generation = next(self.generations)
        mark = "ffffffff-0000-0000-0000-%012d" % generation
        lines = ["version 1", "self%s uuid=%s" % (" name=" + written(name) if name else "", mark)] + list(rules)
        for peer, peer_name, uuid in sorted((getattr(peer, "domid", peer), *rest) for peer, *rest in peers):
            lines.append("peer %d%s%s" % (peer, " name=" + written(peer_name) if peer_name else "", " uuid=" + uuid if uuid else ""))
        for service, domains in routes:
            lines.append("route %s %s at=test:1" % (service, ",".join(str(one.domid) for one in domains)))
        self.world.write_rules(domain, generation, "\n".join(lines + ["end", ""]))
        with domain.rpc() as proxy:
            wait_until(lambda: proxy.domid()["uuid"] == mark, what="rules in link_mgr: " + domain.log()[-500:])

    def echo(self, domain, *services):
        """idc cat serves these in the domain, each with one line: its domid."""
        for service in services:
            option = ["--port", str(service)] if isinstance(service, int) else ["--name", service]
            domain.spawn(["idc", "cat", "-lk"] + option + ["-c", "echo served by %d" % domain.domid])
            self.assertEqual(domain.run(["idc", "wait", "self", str(service)]).returncode, 0)

    def served_by(self, domain, service):
        """Who answers a program in a, as libidc and a plain client see it."""
        result = self.a.run(["idc", "cat", "-d", domain, str(service)])
        self.assertEqual(result.returncode, 0, result.stderr)
        member = {"port": service} if isinstance(service, int) else {"name": service}
        with self.a.rpc() as proxy:
            self.assertEqual(b"served by %d\n" % proxy.connect({"domain": domain, **member})["peer_domid"], result.stdout)
        return int(result.stdout.split()[-1])

    def assert_refused(self, code, words, domain, service=80, **more):
        """For a plain client, a program that waits for the outcome, one that doesn't, and a person."""
        member = {"port": service} if isinstance(service, int) else {"name": service}
        with self.a.rpc() as proxy, self.assertRaises(xmlrpc.client.Fault) as fault:
            proxy.connect({"domain": domain, **member, **more})
        self.assertEqual(fault.exception.faultCode, code, fault.exception)
        self.assertIn(words, fault.exception.faultString)
        puppet = self.a.puppet()
        for way in {}, {"nowait": 1}:
            error = self.assert_errno(code, puppet.do, "connect", 1, domain=domain, **member, **way)
            self.assertTrue(way or words in error.text, error.text)
        puppet.end()
        result = self.a.run(["idc", "cat", domain, str(service)])
        self.assertEqual((result.returncode, result.stdout), (1, b""), result.stderr)
        self.assertIn(words, result.stderr.decode())
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)


class Names(NamesCase):
    platforms = ("local",)  # link_mgr --name, and one that comes back under another domid: on Xen test_xen_rules has both

    def test_every_form(self):
        self.tell(self.a, [(self.b, "web", UUID), (self.c, "Domain-0", None)], name="work")
        for domain in self.domains:
            self.echo(domain, 80, SERVICE)
        forms = {self.b: ["web", "name:web", "uuid:" + UUID, "uuid:" + UUID.upper(), "3000", "domid:3000"],
                 self.c: ["dom0", "0", "Domain-0"], self.a: ["self", "work", "name:work", "1", "32752"]}
        for domain, texts in forms.items():
            for text in texts:
                for service in 80, SERVICE:
                    self.assertEqual(self.served_by(text, service), domain.domid, text)
                result = self.a.run(["idc", "ping", "-c", "1", text])
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn(b"%s\n" % SERVICE.encode(), self.a.run(["idc", "services", text]).stdout)
                self.assertEqual(self.a.run(["idc", "wait", text, "80"]).returncode, 0)

    def test_status_has_names(self):
        self.tell(self.a, [(self.b, "web", UUID), (self.c, None, None)], name="b\u00fcro")
        client, _ = self.pair()
        status = self.a.status()
        self.assertEqual({link["peer"]: link["name"] for link in status["links"]}, {3000: "web", 0: ""})
        self.assertEqual((status["name"], status["connections"][0]["peer_name"]), ("b\\xc3\\xbcro", "web"))
        shown = self.a.run(["idc", "status", "--connections"]).stdout.decode()
        self.assertTrue(shown.startswith("domain 1 (b\\xc3\\xbcro), "), shown)
        self.assertIn("name: web", shown)
        self.assertIn("peer: web", shown)
        with self.a.rpc() as proxy:
            self.assertEqual(proxy.resolve({"domain": "uuid:" + UUID}), {"domid": 3000, "name": "web", "uuid": UUID})
            self.assertEqual(proxy.domid()["domid"], 1)
        client.end()

    def test_a_domain_called_7(self):
        self.tell(self.a, [(self.b, "7", None)])
        self.echo(self.b, 80)
        self.assertEqual(self.served_by("name:7", 80), self.b.domid)
        self.assert_refused(errno.EACCES, "policy", "7")  # that is the domid
        self.tell(self.a, [(self.b, "any", None), (self.c, "web:2", None)])
        self.echo(self.c, 80)
        self.assertEqual(self.served_by("name:any", 80), self.b.domid)
        self.assertEqual(self.served_by("name:web:2", 80), self.c.domid)

    def test_two_domains_of_one_name(self):
        self.tell(self.a, [(self.b, "web", UUID), (self.c, "web", None)], name="work")
        self.echo(self.b, 80)
        self.assert_refused(errno.ENOTUNIQ, "2 such domains, with the domids 0, 3000", "web", wait=True)  # which is final
        self.assertEqual(self.served_by("uuid:" + UUID, 80), self.b.domid)
        self.tell(self.a, [(self.b, "web", None)], name="web")
        self.assert_refused(errno.ENOTUNIQ, "domids 1, 3000", "web")
        self.tell(self.a, [(self.b, "web", None)], name="work")
        self.assertEqual(self.served_by("web", 80), self.b.domid)

    def test_unknown_names(self):
        """The answer is the same for a domain that there is and for one that there isn't."""
        self.c.restart(*self.options, "--name", "secret")
        self.tell(self.a, [(self.b, "web", None)], name="work")
        answers = []
        for name in "secret", "nobody", "WEB", "we", "name:7", "n" * 255:
            self.assert_refused(errno.EHOSTUNREACH, "this domain is told of no such domain (it knows work, web), or may not know of it: "
                                "in dom0, idc-setup explain tells", name)
            with self.a.rpc() as proxy, self.assertRaises(xmlrpc.client.Fault) as fault:
                proxy.resolve({"domain": name})
            answers.append((fault.exception.faultCode, fault.exception.faultString.partition(":")[2]))
        self.assertEqual(len(set(answers[:4])), 1, answers)
        self.assert_refused(errno.EHOSTUNREACH, "no such domain", "uuid:" + UUID)

    def test_renaming(self):
        self.tell(self.a, [(self.b, "web", None)])
        self.echo(self.b, 80)
        self.assertEqual(self.served_by("web", 80), self.b.domid)
        client, server = self.pair()
        self.tell(self.a, [(self.b, "www", None), (self.c, "web", None)])
        self.echo(self.c, 80)
        self.assertEqual(self.served_by("www", 80), self.b.domid)
        self.assertEqual(self.served_by("web", 80), self.c.domid)
        client.do("send", 1, len=1000, seed=3)  # the connection has not noticed
        server.do("recv", 1, len=1000, seed=3)

    def test_restart_under_another_domid(self):
        """A program that waits reaches the domain as what it is after its start."""
        self.tell(self.a, [(self.b, "web", None)])
        self.echo(self.b, 80)
        self.assertEqual(self.served_by("web", 80), self.b.domid)
        self.b.kill_programs()
        self.b.stop()
        puppet = self.a.puppet()
        waiting = [puppet.begin("connect", place, domain="web", port=80, wait=1, nowait=place - 1) for place in (1, 2)]
        with self.a.rpc() as proxy, self.assertRaises(xmlrpc.client.Fault) as fault:
            proxy.connect({"domain": "web", "port": 80, "wait": True, "timeout_ms": 50})
        self.assertEqual(fault.exception.faultCode, errno.ETIMEDOUT)
        self.assertIn("domain web (3000)", fault.exception.faultString)
        self.echo(self.c, 80)
        self.tell(self.a, [(self.c, "web", None)])
        for one in waiting:
            self.assertEqual(one.result()["domid"], self.c.domid)

    def test_waiting_for_a_name(self):
        """Of another domain, and of the own one, whose connections need no link."""
        self.tell(self.a)
        for number, domain in enumerate((self.b, self.a)):
            name = "web%d" % number
            self.echo(domain, 80)
            puppet = self.a.puppet()
            waiting = [puppet.begin("connect", place, domain=name, port=80, wait=1, nowait=place - 1) for place in (1, 2)]
            for way in {}, {"nowait": 1}:
                error = self.assert_errno(errno.ETIMEDOUT, self.a.puppet().do, "connect", 1, domain=name, port=80, wait=1,
                                          timeout=50, **way)
                self.assertTrue(way or "told of no such domain" in error.text and "(waited 50 ms)" in error.text, error.text)
            self.assertFalse(any(one.done() for one in waiting))
            self.tell(self.a, [(self.b, "web0", None)], name="web1" if number else None)
            for one in waiting:
                self.assertEqual(one.result()["domid"], domain.domid)
            puppet.end()

    def test_names_of_the_local_platform(self):
        self.b.restart(*self.options, "--name", "web", "--uuid", UUID)
        directory = os.path.join(self.world.store_directory, "domain:3000")
        for leaf, value in ("name", "web"), ("uuid", UUID):
            with open(os.path.join(directory, leaf), encoding="ascii") as stream:
                self.assertEqual(stream.read(), "n0,r3000\n" + value)
        self.b.stop()
        self.assertEqual([leaf for leaf in os.listdir(directory) if leaf in ("name", "uuid")], [])
        self.b.start(*self.options)


class Any(NamesCase):
    def route(self, *domains):
        self.tell(self.a, [(self.b, "db", None), (self.c, "db-spare", None)], name="work", routes=[(SERVICE, domains)] if domains else [])

    def test_a_refusal_is_plain_text(self):
        """Whatever bytes the name of the policy file has."""
        self.tell(self.a, [(self.b, "db", UUID + " out=1")], rules=["commands 1", "rule 1 deny 80 at=a%0ab%1b%5c%c3%a9:1"])
        self.assert_refused(errno.EACCES, "(a\\x0ab\\x1b\\x5c\\xc3\\xa9:1 denies it)", "db", 80)

    def test_the_first_that_serves(self):
        self.route(self.b, self.c)
        self.assert_refused(errno.ECONNREFUSED, "domain db-spare (%d), number 2 of 2 by the route" % self.c.domid, "any", SERVICE)
        self.echo(self.c, SERVICE)
        self.assertEqual(self.served_by("any", SERVICE), self.c.domid)  # nothing listens in b
        self.echo(self.b, SERVICE)
        self.assertEqual(self.served_by("any", SERVICE), self.b.domid)
        self.route(self.c, self.b)  # the order changes
        self.assertEqual(self.served_by("any", SERVICE), self.c.domid)
        self.c.kill_programs()  # which would listen again
        self.c.kill()
        self.assertEqual(self.served_by("any", SERVICE), self.b.domid)
        self.c.start(*self.options)
        self.assertEqual(self.served_by("any", SERVICE), self.b.domid)

    def test_the_own_domain_is_one_of_them(self):
        self.echo(self.b, SERVICE)
        self.route(self.a, self.b)
        puppet = self.a.puppet()
        for way in {}, {"nowait": 1}, {"wait": 1}, {"nowait": 1, "wait": 1}:
            self.assertEqual(puppet.do("connect", 1, domain="any", name=SERVICE, **way)["domid"], self.b.domid)
            puppet.do("close", 1)
        self.echo(self.a, SERVICE)
        for way in {}, {"nowait": 1}, {"wait": 1}, {"nowait": 1, "wait": 1}:
            self.assertEqual(puppet.do("connect", 1, domain="any", name=SERVICE, **way)["domid"], self.a.domid)
            puppet.do("close", 1)

    def test_what_ends_the_search(self):
        """An answer of a domain that is there is an answer. The next one serves, and is not asked."""
        self.echo(self.c, SERVICE)
        self.route(self.b, self.c)
        server = self.b.puppet()
        server.do("listen", 1, name=SERVICE, type="seqpacket")
        self.assert_refused(errno.EPROTOTYPE, "domain db (%d), number 1 of 2 by the route" % self.b.domid, "any", SERVICE)
        server.do("unlisten", 1)
        server.do("listen", 1, name=SERVICE, backlog=1)
        client = self.a.puppet()
        client.do("connect", 1, domain="db", name=SERVICE)
        self.assert_refused(errno.ECONNREFUSED, "backlog is full", "any", SERVICE)
        self.world.write_policy(self.b, self.a, "in=81 out=*")
        wait_until(lambda: self.fault_of("db") == errno.EACCES, what="the rule at b")
        self.assert_refused(errno.EACCES, "domain db (%d), number 1 of 2" % self.b.domid, "any", SERVICE)
        server.end()

    def test_a_silent_one_has_its_share_of_the_time(self):
        """Of two, half of it. The last one is waited for until the end."""
        self.echo(self.b, SERVICE)
        self.echo(self.c, SERVICE)
        self.route(self.b, self.c)
        self.b.freeze()
        self.addCleanup(self.b.thaw)
        puppet = self.a.puppet()
        for way in {}, {"wait": True}:
            begun = time.monotonic()
            with self.a.rpc() as proxy:
                answer = proxy.connect({"domain": "any", "name": SERVICE, "timeout_ms": 4000, **way})
            self.assertEqual(answer["peer_domid"], self.c.domid)
            self.assertTrue(1.9 < time.monotonic() - begun < 3.9, time.monotonic() - begun)
        begun = time.monotonic()
        self.assertEqual(puppet.do("connect", 1, domain="any", name=SERVICE, timeout=0)["domid"], self.c.domid)
        self.assertTrue(4.9 < time.monotonic() - begun < 20, time.monotonic() - begun)  # no more than 5 s, whatever the limit
        self.c.freeze()
        self.addCleanup(self.c.thaw)
        with self.a.rpc() as proxy, self.assertRaises(xmlrpc.client.Fault) as fault:
            proxy.connect({"domain": "any", "name": SERVICE, "timeout_ms": 2000})
        self.assertEqual(fault.exception.faultCode, errno.ETIMEDOUT)
        self.assertIn("number 2 of 2 by the route", fault.exception.faultString)

    def fault_of(self, domain):
        with self.a.rpc() as proxy:
            try:
                proxy.connect({"domain": domain, "name": SERVICE})
                return 0
            except xmlrpc.client.Fault as fault:
                return fault.faultCode

    def test_no_route(self):
        self.route()
        self.assert_refused(errno.EHOSTUNREACH, "told of no route", "any", SERVICE)
        with self.a.rpc() as proxy:
            for members in {"port": 80}, {"name": SERVICE, "domid": 0}:
                with self.assertRaises(xmlrpc.client.Fault) as fault:
                    proxy.connect({"domain": "any", **members})
                self.assertEqual(fault.exception.faultCode, errno.EINVAL)
        puppet = self.a.puppet()
        waiting = [puppet.begin("connect", place, domain="any", name=SERVICE, wait=1, nowait=place - 1) for place in (1, 2)]
        self.echo(self.c, SERVICE)
        self.route(self.b, self.c)
        for one in waiting:
            self.assertEqual(one.result()["domid"], self.c.domid)


class Server(threading.Thread):
    """Serves SERVICE in a domain until it is told to stop, one client after the other. It notes what it has answered."""

    def __init__(self, domain, answered):
        super().__init__()
        self.domain, self.answered, self.ending = domain, answered, False
        self.start()

    def run(self):
        with self.domain.rpc() as proxy:
            listener = proxy.listen({"name": SERVICE, "backlog": 200})["handle"]
            while not self.ending:
                try:
                    self.serve(proxy, proxy.accept({"handle": listener, "timeout_ms": 20})["handle"])
                except xmlrpc.client.Fault as fault:
                    if fault.faultCode not in (errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE):
                        raise
            proxy.unlisten({"handle": listener})

    def serve(self, proxy, handle):
        request = proxy.recv({"handle": handle, "timeout_ms": 5000})["data"].data
        self.answered.append(request)
        proxy.send({"handle": handle, "data": b"answer to " + request, "end": True})
        proxy.disconnect({"handle": handle})

    def stop(self):
        self.ending = True
        self.join()


class Client(threading.Thread):
    """Makes its requests one after the other, each over a connection of its own, until each has its answer."""

    def __init__(self, domain, number, requests):
        super().__init__()
        self.domain, self.number, self.requests, self.got, self.failures = domain, number, requests, {}, 0
        self.start()

    def run(self):
        with self.domain.rpc() as proxy:
            for request in range(self.requests):
                text = b"%d/%d" % (self.number, request)
                while text not in self.got:
                    self.attempt(proxy, text)

    def attempt(self, proxy, text):
        try:
            handle = proxy.connect({"domain": "any", "name": SERVICE, "wait": self.number % 2 == 0})["handle"]
            proxy.send({"handle": handle, "data": text, "end": True})
            answer = b""
            while not answer.endswith(text):
                part = proxy.recv({"handle": handle, "timeout_ms": 30000})
                if not part["data"].data:
                    break
                answer += part["data"].data
            if answer:
                self.got[text] = answer
            proxy.disconnect({"handle": handle})
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.EBADF):
                raise
            self.failures += 1
            time.sleep(0.002)


class Moving(NamesCase):
    platforms = ("local",)  # a hundred clients are threads of this process

    CLIENTS, REQUESTS = 100, 6

    def test_a_service_moves_while_clients_reconnect(self):
        """Whoever got an answer got it whole, from a server that knows of it; and everybody gets one in the end."""
        answered, moves = [], 0
        domains = itertools.cycle((self.b, self.c))
        self.tell(self.a, [(self.b, "db", None), (self.c, "db-spare", None)], routes=[(SERVICE, (self.b, self.c))])
        server = Server(next(domains), answered)
        clients = [Client(self.a, number, self.REQUESTS) for number in range(self.CLIENTS)]
        while any(client.is_alive() for client in clients):
            before = len(answered)
            wait_until(lambda: len(answered) > before + 30 or not any(client.is_alive() for client in clients))
            if moves % 2:  # the new server is there before the old one ends; or there is none between
                server.stop()
                server = Server(next(domains), answered)
            else:
                old, server = server, Server(next(domains), answered)
                old.stop()
            moves += 1
        server.stop()
        served = set(answered)
        for client in clients:
            client.join()
            self.assertEqual(len(client.got), self.REQUESTS)
            for text, answer in client.got.items():
                self.assertEqual(answer, b"answer to " + text)
                self.assertIn(text, served)
        self.assertGreater(moves, 4)
        print("         %d requests, %d moves, %d attempts that failed" % (
            self.CLIENTS * self.REQUESTS, moves, sum(client.failures for client in clients)))
