# SPDX-License-Identifier: GPL-2.0-or-later
"""Every error of docs/protocol.md, "Reasons", by a situation that causes it, as three observers see it: a program with libidc,
an XML-RPC client, and a person who reads what a tool prints."""

import errno
import grp
import os
import re
import xmlrpc.client

from case import IdcTestCase
from world import wait_until


# The second one where the domain was given rules: idc-setup gives a domain that has a name some with its policy nodes.
OWN_RULE = ["policy does not allow it (the rule of this domain)", "policy does not allow it (no rule allows it)"]


class Observed(IdcTestCase):
    def observe(self, domid, port, expected, words, **options):
        """A connect from a fails so for all three."""
        if expected == errno.EACCES:
            wait_until(lambda: not self.is_allowed_now(port, domid), what="the rule at both link_mgrs")
        puppet = self.a.puppet()
        error = self.assert_errno(expected, puppet.do, "connect", 1, domid=domid, port=port, **options)
        self.assert_says(words, error.text)
        with self.a.rpc() as rpc, self.assertRaises(xmlrpc.client.Fault) as fault:
            rpc.connect(self.rpc_options(domid, port, options))
        self.assertEqual(fault.exception.faultCode, expected, fault.exception)
        self.assert_says(words, fault.exception.faultString)
        limit = ["--timeout", "%dms" % options["timeout"]] if "timeout" in options else None
        for tool in [["idc", "cat"] + limit] if limit else [["test_conn"], ["idc", "cat"]]:
            result = self.a.run(tool + [str(domid), str(port)])
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assert_says(words, result.stderr.decode())
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        puppet.end()

    def assert_says(self, words, text):
        """words: one text, or several of which each will do."""
        self.assertTrue(any(word in text for word in ([words] if isinstance(words, str) else words)), "%r: %r" % (text, words))

    def is_allowed_now(self, port, domid):
        """A rule takes its time through the store."""
        puppet = self.a.puppet()
        try:
            puppet.do("connect", 1, domid=domid, port=port)
        except OSError as error:
            return error.errno != errno.EACCES
        finally:
            puppet.end()
        return True

    def rpc_options(self, domid, port, options):
        result = {"domid": domid, "port": port}
        if "timeout" in options:
            result["timeout_ms"] = options["timeout"]
        if "type" in options:
            result["type"] = options["type"]
        return result


class Errors(Observed):
    def test_econnrefused_nobody_listens(self):
        self.observe(self.b.domid, 80, errno.ECONNREFUSED, "nothing listens")

    def test_a_user_who_may_not_use_the_socket(self):
        """It is told which group may. (Guests have no /etc/group.)"""
        if self.world.platform != "local":
            self.skipTest("no groups")
        os.chmod(self.a.socket, 0o600)
        result = self.a.run(["idc", "status"], uid=65534)
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        group = grp.getgrgid(os.stat(self.a.socket).st_gid).gr_name
        self.assertTrue(result.stderr.endswith(b"you need to be root or in the group %s\n" % group.encode()), result.stderr)

    def test_the_longest_text_is_whole(self):
        name = "a" * 79
        words = "nothing listens on that port or service"
        for domain in self.a, self.b:
            with self.a.rpc() as rpc, self.assertRaises(xmlrpc.client.Fault) as fault:
                rpc.connect({"domid": domain.domid, "name": name})
            self.assertTrue(fault.exception.faultString.endswith(name + (" of this domain: " if domain is self.a else ": ") + words),
                            fault.exception.faultString)
            for way in {}, {"nowait": 1}:
                error = self.assert_errno(errno.ECONNREFUSED, self.a.puppet().do, "connect", 1, domid=domain.domid, name=name, **way)
                self.assertTrue(error.text.endswith(words), error.text)
                self.assertTrue(way or name in error.text, error.text)
            result = self.a.run(["idc", "cat", str(domain.domid), name])
            self.assertIn(words + " (what it offers: idc services", result.stderr.decode())

    def test_econnrefused_backlog_full(self):
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=80, backlog=2)
        for place in (1, 2):
            client.do("connect", place, domid=self.b.domid, port=80)
        self.observe(self.b.domid, 80, errno.ECONNREFUSED, "backlog")
        server.do("accept", 1, 2)
        client.do("connect", 3, domid=self.b.domid, port=80)

    def test_port_1_ends_a_line_that_does_not_end(self):
        client = self.a.spawn(["idc", "cat", str(self.b.domid), "1"])
        client.write(b"x" * 1000)
        client.wait(30 * self.world.slowness)  # one that is silent is closed after 60 s

    def test_econnrefused_closed_listener(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80)
        server.do("unlisten", 1)
        self.observe(self.b.domid, 80, errno.ECONNREFUSED, "nothing listens")

    def test_econnrefused_listener_for_its_own_domain(self):
        """It is as if nobody listened, whatever else is wrong; and no permission is needed to be told so."""
        own, other = self.b.puppet(), self.a.puppet()
        with self.b.rpc() as rpc:
            rpc.listen({"port": 80, "name": "org.example.inside", "local": True, "backlog": 1})
            self.assertEqual([one["local"] for one in self.b.status()["listeners"] if one["port"] in (1, 80)].count(True), 1)
            self.observe(self.b.domid, 80, errno.ECONNREFUSED, "nothing listens")
            self.assert_errno(errno.ECONNREFUSED, other.do, "connect", 1, domid=self.b.domid, name="org.example.inside")
            self.assert_errno(errno.ECONNREFUSED, other.do, "connect", 1, domid=self.b.domid, port=80, type="seqpacket")
            own.do("connect", 1, domid=self.b.domid, port=80)
            self.observe(self.b.domid, 80, errno.ECONNREFUSED, "nothing listens")  # and not that its backlog is full

    def test_eprototype(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80, type="seqpacket")
        self.observe(self.b.domid, 80, errno.EPROTOTYPE, "type")

    def test_ehostunreach_no_link_mgr(self):
        self.b.stop()
        self.observe(self.b.domid, 80, errno.EHOSTUNREACH, "link_mgr")

    def test_ehostunreach_no_such_domain(self):
        if self.world.platform == "xen":
            self.skipTest("idc-setup permits nothing to a domain that does not exist; see test_xen_only, destroy")
        self.world.setup(self.a, 31000)
        self.observe(31000, 80, errno.EHOSTUNREACH, "no such domain")
        self.world.setup(31000, remove=True)

    def test_eacces_not_allowed(self):
        self.world.setup(self.a, self.b, remove=True)
        self.b.puppet().do("listen", 1, port=80)
        self.observe(self.b.domid, 80, errno.EACCES, OWN_RULE)
        self.observe(29999, 80, errno.EACCES, OWN_RULE)

    def test_eacces_port_not_allowed(self):
        self.world.setup(self.a, self.b, ports="81")
        self.b.puppet().do("listen", 1, port=80)
        self.observe(self.b.domid, 80, errno.EACCES, OWN_RULE)

    def test_eacces_the_other_side_does_not_allow_it(self):
        self.world.write_policy(self.b, self.a, "in=81 out=*")
        self.b.puppet().do("listen", 1, port=80)
        self.observe(self.b.domid, 80, errno.EACCES,
                     ["policy does not allow it (%s)" % rule for rule in ("the rule of domain %d" % self.b.domid,
                                                                          "no rule of domain %d allows it" % self.b.domid)])

    def test_what_is_advised_opens_no_more_than_was_asked_for(self):
        """It works, and nothing that worked before ends. Nothing is opened the other way round."""
        self.world.setup(self.a, self.b, ports="80")
        self.b.puppet().do("listen", 1, port=81)
        client, server = self.pair(80)
        result = self.a.run(["idc", "cat", str(self.b.domid), "81"])
        said = re.search(rb": idc-setup (allow \S+ \S+ 81)\n", result.stderr)
        self.assertTrue(result.returncode == 1 and said, result.stderr)
        self.assertEqual(result.stderr.count(b"\n"), 1)
        self.addCleanup(self.world.setup_rules, "retract", "--all")
        self.world.setup_rules(*said.group(1).decode().split())
        wait_until(lambda: self.is_allowed_now(81, self.b.domid), what="the rule at both link_mgrs")
        client.do("send", 1, len=1000, seed=1)
        client.do("shutdown", 1)
        self.assertEqual(server.do("check", 1, seed=1)["n"], 1000)
        self.assertTrue(self.is_allowed_now(80, self.b.domid))
        back = self.b.run(["idc", "cat", str(self.a.domid), "81"])
        self.assertIn(b"idc-setup allow ", back.stderr)

    def test_econnreset_link_mgr_dies_before_it_answers(self):
        self.assert_link_works()
        puppet = self.a.puppet()
        self.b.freeze()
        one = puppet.begin("connect", 1, domid=self.b.domid, port=80)
        wait_until(lambda: self.a.counters()["connects"] >= 2, what="the request on its way")
        self.b.kill()
        self.assertEqual(self.assert_errno(errno.ECONNRESET, one.result).name, "ECONNRESET")
        self.b.start(*self.options)


class Resources(Observed):
    """b holds no more than 1 MiB for another domain."""
    options = IdcTestCase.options + ("--memory", "1")

    def test_enobufs(self):
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=80, backlog=4096)
        self.a.restart(*IdcTestCase.options)
        client = self.a.puppet()
        place = 0
        with self.assertRaises(OSError) as context:
            for place in range(1, 1000):
                client.do("connect", place, domid=self.b.domid, port=80)
        self.assertEqual(context.exception.errno, errno.ENOBUFS)
        self.assertGreater(place, 50)
        self.observe(self.b.domid, 80, errno.ENOBUFS, "used up")
        client.do("close", 1)
        wait_until(lambda: self.b.link(self.a)["connections"] < place - 1, what="place for one more")
        client.do("connect", 1, domid=self.b.domid, port=80)

    def test_message_longer_than_the_receiver_can_take(self):
        """EMSGSIZE: half of the memory for the peer is the most for one message."""
        client, server = self.pair(type="seqpacket")
        reading = server.begin("recv", 1, max=4 << 20)
        client.begin("send", 1, len=2 << 20)
        self.assertIn(self.assert_errno(errno.EMSGSIZE, reading.result).name, "EMSGSIZE")
        self.assert_link_works()


class WithStranger(Observed):
    """What needs a peer that no link_mgr would be: tests/programs/hostile.c in its place."""
    platforms = ("local",)

    def stranger(self, mode, what, domid=20000):
        self.world.setup(self.a, domid)
        process = self.a.spawn(["hostile", mode, "--domid", str(domid), "--victim", str(self.a.domid), what])
        self.assertEqual(process.stdout.readline(20), b"ready\n")
        return domid

    def test_etimedout(self):
        domid = self.stranger("answer", "-1")
        self.observe(domid, 80, errno.ETIMEDOUT, "not answer", timeout=300)

    def test_eproto(self):
        domid = self.stranger("serve", "hello_newer_version")
        self.observe(domid, 80, errno.EPROTO, "version")
        wait_until(lambda: "no protocol version in common" in self.a.log(), what="line in the log")

    def test_econnreset_protocol(self):
        domid = self.stranger("serve", "response_without_id")
        self.observe(domid, 80, errno.ECONNRESET, "protocol")

    def test_any_reason_of_the_peer(self):
        """Also codes that nobody knows yet."""
        expected = {1: errno.ECONNREFUSED, 3: errno.EACCES, 4: errno.ENOBUFS, 5: errno.EPROTOTYPE, 9: errno.ETIMEDOUT,
                    999: errno.ECONNRESET}
        puppet = self.a.puppet()
        for number, (status, code) in enumerate(expected.items()):
            domid = self.stranger("answer", str(status), 20100 + number)
            self.assert_errno(code, puppet.do, "connect", 1, domid=domid, port=80)


class Listening(IdcTestCase):
    def listen_fault(self, **arguments):
        with self.a.rpc() as rpc, self.assertRaises(xmlrpc.client.Fault) as fault:
            rpc.listen(arguments)
        return fault.exception.faultCode

    def test_eaddrinuse(self):
        one, other = self.a.puppet(), self.a.puppet()
        one.do("listen", 1, port=80, name="the.service")
        self.assert_errno(errno.EADDRINUSE, other.do, "listen", 1, port=80)
        self.assert_errno(errno.EADDRINUSE, other.do, "listen", 1, name="the.service")
        self.assertEqual(self.listen_fault(port=80), errno.EADDRINUSE)
        result = self.a.run(["test_accept", "80"])
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"already", result.stderr)
        one.kill()
        other.do("listen", 1, port=80, name="the.service")

    def test_names_and_ports_that_are_none(self):
        puppet = self.a.puppet()
        for name in ("123", "a/b", "x" * 80):
            self.assert_errno(errno.EINVAL, puppet.do, "listen", 1, name=name)
            self.assertEqual(self.listen_fault(name=name), errno.EINVAL)
            self.assert_errno(errno.EINVAL, puppet.do, "connect", 1, domid=self.b.domid, name=name)
        self.assertEqual(self.listen_fault(port="4294967296"), errno.EINVAL)
        self.assertEqual(puppet.do("listen", 1, name="x" * 79)["service"], "x" * 79)

    def test_ports_that_are_picked(self):
        puppet = self.a.puppet()
        ports = [puppet.do("listen", place, port=0)["port"] for place in range(1, 20)]
        self.assertEqual(len(set(ports)), len(ports))
        self.assertGreaterEqual(min(ports), 0x80000000)

    def test_the_managers_port(self):
        self.assert_errno(errno.EACCES, self.a.puppet().do, "listen", 1, port=1)

    def test_privileged_ports(self):
        if not (self.world.platform == "xen" or os.geteuid() == 0):
            self.skipTest("needs root, to be somebody else")
        somebody = self.a.puppet(uid=4242)
        self.assert_errno(errno.EACCES, somebody.do, "listen", 1, port=1023)
        somebody.do("listen", 1, port=1024)
        somebody.do("listen", 2, name="not.privileged")
        self.a.puppet().do("listen", 1, port=1023)

    def test_no_link_mgr(self):
        puppet = self.a.puppet()
        puppet.do("listen", 1, port=80)
        accepting = puppet.begin("accept", 1, 2)
        self.a.stop()
        self.assert_errno(errno.ECONNABORTED, accepting.result)
        with self.assertRaises(OSError) as context:
            puppet.do("connect", 3, domid=self.b.domid, port=80)
        self.assertIn(context.exception.name, ("ENOENT", "ECONNREFUSED"))
        for tool in (["test_conn", str(self.b.domid)], ["test_accept", "80"], ["idc", "status"], ["idc", "ping", "-c", "1", "3"]):
            result = self.a.run(tool)
            self.assertEqual(result.returncode, 1, tool)
            self.assertIn(b"no link_mgr", result.stderr)
        self.a.start(*self.options)
        puppet.do("listen", 4, port=80)
