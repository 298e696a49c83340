# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may connect to what, and what the accepting program learns about who does."""

import errno
import os
import re
import time

from case import IdcTestCase


class Identity(IdcTestCase):
    roles = "abc"

    def test_domid_port_and_name(self):
        server = self.b.puppet()
        server.do("listen", 1, port=2000, name="org.example.echo")
        place = 10
        for caller in (self.a, self.c, self.b):
            client = caller.puppet()
            for by, service in (({"port": 2000}, ""), ({"name": "org.example.echo"}, "org.example.echo")):
                taking = server.begin("accept", 1, place)
                made = client.do("connect", place, domid=self.b.domid, **by)
                who = taking.result()
                self.assertEqual((who["domid"], who["port"], who["uid"], who["service"]),
                                 (caller.domid, made["lport"], 0 if self.world.platform == "xen" else os.getuid(), service))
                self.assertEqual(made["port"], 2000)
                names = server.do("names", place)
                self.assertEqual((names["own_domid"], names["own_port"], names["peer_domid"], names["peer_port"]),
                                 (self.b.domid, 2000, caller.domid, made["lport"]))
                names = client.do("names", place)
                self.assertEqual((names["own_domid"], names["peer_domid"], names["peer_port"]), (caller.domid, self.b.domid, 2000))
                place += 1

    def test_uid_is_the_callers(self):
        if not (self.world.platform == "xen" or os.geteuid() == 0):
            self.skipTest("needs root, to be somebody else")
        server = self.b.puppet()
        server.do("listen", 1, port=2000)
        for place, uid in enumerate((0, 1000, 4242), 2):
            taking = server.begin("accept", 1, place)
            self.a.puppet(uid=uid).do("connect", 1, domid=self.b.domid, port=2000)
            self.assertEqual(taking.result()["uid"], uid)

    def test_the_client_learns_who_listens(self):
        """By libidc, whether it waits or not, from within the domain and from another one; by RPC and in the status too."""
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")
        place = 10
        for uid in (0, 1000, 4242):
            server = self.b.puppet(uid=uid)
            for number, type in enumerate((None, "seqpacket")):
                port = 2000 + uid + number
                server.do("listen", 1 + number, port=port, type=type)
                for caller in (self.a, self.c, self.b):
                    client = caller.puppet(uid=77)
                    for nowait in (0, 1):
                        taking = server.begin("accept", 1 + number, place)
                        client.do("connect", place, domid=self.b.domid, port=port, type=type, nowait=nowait)
                        self.assertEqual(taking.result()["uid"], 77)
                        self.assertEqual(client.do("names", place)["peer_uid"], uid)
                        self.assertEqual(server.do("names", place)["peer_uid"], 77)
                        place += 1
            port = 2000 + uid
            with self.a.rpc() as rpc:
                self.assertEqual(rpc.connect({"domid": self.b.domid, "port": port})["peer_uid"], uid)
                for domain, member in ((self.a, "peer_port"), (self.b, "local_port")):
                    shown = [one["listener_uid"] for one in domain.status()["connections"] if one[member] == port]
                    self.assertTrue(shown and set(shown) == {uid}, shown)

    def test_a_program_cannot_say_who_it_is(self):
        """The RPC has no member for it, and one that has the name is refused."""
        import xmlrpc.client
        self.b.puppet().do("listen", 1, port=2000)
        for name in ("uid", "source_port", "peer_uid", "caller"):
            with self.a.rpc() as rpc, self.assertRaises(xmlrpc.client.Fault) as fault:
                rpc.connect({"domid": self.b.domid, "port": 2000, name: 0})
            self.assertEqual(fault.exception.faultCode, errno.EINVAL)

    def test_anothers_handle(self):
        """Only the same uid, or root, may use what was made by RPC."""
        if self.world.platform != "local" or os.geteuid() != 0:
            self.skipTest("needs root here, to be somebody else")
        import rpc as rpc_module
        import xmlrpc.client
        with self.a.rpc() as owner:
            handle = owner.listen({"port": 2000})["handle"]
            somebody = self.a.spawn(["rpcpipe"], uid=4242)
            other = rpc_module.connect_through(somebody)
            with self.assertRaises(xmlrpc.client.Fault) as fault:
                other.accept({"handle": handle, "timeout_ms": 0})
            self.assertEqual(fault.exception.faultCode, errno.EACCES)
            mine = other.listen({"port": 2001})["handle"]
            with self.assertRaises(xmlrpc.client.Fault) as fault:
                owner.accept({"handle": mine, "timeout_ms": 0})  # root may
            self.assertEqual(fault.exception.faultCode, errno.EAGAIN)
            other.close()

    def test_what_another_uid_learns_and_does(self):
        """Every method is tried on what another uid has. It learns nothing of it, and changes nothing."""
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")
        import rpc as rpc_module
        import xmlrpc.client
        self.b.puppet().do("listen", 1, port=2000)
        owner, other = (rpc_module.connect_through(self.a.spawn(["rpcpipe"], uid=uid)) for uid in (1000, 4242))
        made = owner.connect({"domid": self.b.domid, "port": 2000})
        connection, serial = {"handle": made["handle"]}, {"serial": str(made["serial"])}
        listener = {"handle": owner.listen({"port": 2001, "name": "of.another"})["handle"]}
        refused = {"disconnect": connection, "send": {**connection, "data": b"x"}, "recv": {**connection, "timeout_ms": 0},
                   "accept": {**listener, "timeout_ms": 0}, "unlisten": listener, "reason": serial, "unsent": serial,
                   "peer_timeout": {**serial, "peer_timeout_ms": 100}}
        public = {"connect", "listen", "status", "resolve", "domid", "explain"}  # docs/rpc.md says what they tell
        public.add("capture")  # root's, test_capture.Commands.test_who_may
        methods = {name[len("idc."):] for name in owner.system.listMethods() if name.startswith("idc.")}
        self.assertEqual(methods, public | set(refused), "a method that is not tried here")
        for method, members in refused.items():
            with self.assertRaises(xmlrpc.client.Fault, msg=method) as fault:
                getattr(other, method)(members)
            self.assertEqual(fault.exception.faultCode, errno.EACCES, method)
            self.assertNotIn("1000", fault.exception.faultString, method)
        self.assertEqual(owner.send({**connection, "data": b"x"})["accepted"], 1)
        self.assertEqual(owner.reason(serial)["errno"], 0)
        self.assertIn("bytes", owner.unsent(serial))
        with self.assertRaises(xmlrpc.client.Fault) as fault:
            owner.accept({**listener, "timeout_ms": 0})
        self.assertEqual(fault.exception.faultCode, errno.EAGAIN)
        owner.close(), other.close()


class Policy(IdcTestCase):
    roles = "abc"

    def expect(self, expected, port_or_name, why=""):
        """A connect from a to b ends so, at the latest when the change of the policy has reached both daemons."""
        by = {"name": port_or_name} if isinstance(port_or_name, str) else {"port": port_or_name}
        outcome = None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            outcome = self.connect(**by)
            if outcome == expected:
                return
            time.sleep(0.1)
        self.assertEqual(outcome, expected, "%s, to %s" % (why, port_or_name))

    def connect(self, **target):
        """The error's name, or "ok"."""
        client = self.a.puppet()
        try:
            client.do("connect", 1, domid=self.b.domid, **target)
            return "ok"
        except OSError as error:
            return error.name
        finally:
            client.end()

    def test_ports_ranges_and_names(self):
        server = self.b.puppet()
        for place, port in enumerate((79, 80, 81, 5000, 5010, 5011), 1):
            server.do("listen", place, port=port)
        server.do("listen", 20, port=7000, name="good.name")
        server.do("listen", 21, port=7001, name="bad.name")
        cases = (
            ("*", {79: "ok", 80: "ok", 5011: "ok", "good.name": "ok", "bad.name": "ok"}),
            ("80", {79: "EACCES", 80: "ok", 81: "EACCES", 6000: "EACCES", "good.name": "EACCES"}),
            ("80,5000-5010", {80: "ok", 81: "EACCES", 5000: "ok", 5010: "ok", 5011: "EACCES", 5005: "ECONNREFUSED"}),
            ("good.name", {"good.name": "ok", "bad.name": "EACCES", 80: "EACCES"}),
            ("7000", {7000: "ok", "good.name": "ok", "bad.name": "EACCES"}),
        )
        for ports, expected in cases:
            self.world.setup(self.a, self.b, ports=ports)
            for target, outcome in expected.items():
                self.expect(outcome, target, "policy " + ports)

    def test_a_change_reaches_running_daemons(self):
        self.b.puppet().do("listen", 1, port=80)
        for _ in range(20):
            self.world.setup(self.a, self.b, remove=True)
            self.expect("EACCES", 80)
            self.world.setup(self.a, self.b)
            self.expect("ok", 80)

    def test_each_side_looks_at_its_own_policy(self):
        server = self.b.puppet()
        server.do("listen", 1, port=80)
        server.do("listen", 2, port=81)
        for of_a, of_b in (("in=* out=81", "in=* out=*"), ("in=* out=*", "in=81 out=*"), ("out=81", "in=81")):
            self.world.write_policy(self.a, self.b, of_a)
            self.world.write_policy(self.b, self.a, of_b)
            self.expect("EACCES", 80, "%s, %s" % (of_a, of_b))
            self.expect("ok", 81, "%s, %s" % (of_a, of_b))
        for of_a, of_b in (("out=rubbish!", "in=*"), ("out=*", "in=80,"), ("in=*", "out=*"), ("", "")):
            self.world.write_policy(self.a, self.b, of_a)
            self.world.write_policy(self.b, self.a, of_b)
            self.expect("EACCES", 81, "%s, %s" % (of_a, of_b))

    def test_one_side_is_enough_to_revoke(self):
        for number, half in enumerate(((self.a, self.b, "in=*"), (self.b, self.a, "out=*"))):
            self.world.setup(self.a, self.b)
            self.expect("ECONNREFUSED", 99)
            client, server = self.pair(1000 + number)
            waiting, other = client.begin("recv", 1), server.begin("recv", 1)
            self.world.write_policy(*half)
            self.assert_revoked([waiting, other])

    def open_three(self, server):
        """Connections a-b on ports 80 and 81, and c-b on port 80. Readers wait on both sides of each."""
        readers = []
        for place, (caller, port) in enumerate(((self.a, 80), (self.a, 81), (self.c, 80)), 1):
            client = caller.puppet()
            server.do("listen", 10 + place, port=port + 100 * place)
            taking = server.begin("accept", 10 + place, place)
            client.do("connect", 1, domid=self.b.domid, port=port + 100 * place)
            taking.result()
            readers.append((client.begin("recv", 1), server.begin("recv", place)))
        return readers

    def assert_revoked(self, readers):
        for reader in readers:
            self.assert_errno(errno.EACCES, reader.result)

    def assert_alive(self, readers):
        self.assertFalse(any(reader.done() for reader in readers))

    def test_revocation_ends_connections_at_once(self):
        server = self.b.puppet()
        first, second, third = self.open_three(server)
        self.world.setup(self.a, self.b, ports="281")
        self.assert_revoked(first)
        self.assert_alive(second + third)
        self.world.setup(self.a, self.b, remove=True)
        self.assert_revoked(second)
        self.assert_alive(third)
        server.do("send", 3, len=10)
        third[0].result()
        self.expect("EACCES", 281)
        self.world.setup(self.a, self.b)
        self.assert_link_works()

    def test_revocation_of_a_name(self):
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 9, port=7000, name="a.name")
        taking = server.begin("accept", 9, 1)
        client.do("connect", 1, domid=self.b.domid, name="a.name")
        taking.result()
        waiting = client.begin("recv", 1)
        self.world.setup(self.a, self.b, ports="other.name,1-6999")
        self.assert_errno(errno.EACCES, waiting.result)
        self.assert_errno(errno.EACCES, server.do, "recv", 1)

    def test_revocation_as_seen_by_rpc(self):
        import xmlrpc.client
        server = self.b.puppet()
        server.do("listen", 9, port=80)
        with self.a.rpc() as rpc:
            made = rpc.connect({"domid": self.b.domid, "port": 80})
            server.do("accept", 9, 1)
            self.world.setup(self.a, self.b, remove=True)
            with self.assertRaises(xmlrpc.client.Fault) as fault:
                rpc.recv({"handle": made["handle"]})
            self.assertEqual(fault.exception.faultCode, errno.EACCES)
            self.assertEqual(rpc.reason({"serial": str(made["serial"])})["errno"], errno.EACCES)

    def test_revocation_in_mid_traffic_and_with_waiting_connects(self):
        accept = self.b.flows("accept", port=80, count=20, bytes=-1)
        accept.expect("ready")
        connect = self.a.flows("connect", domid=self.b.domid, port=80, count=20, bytes=-1)
        connect.expect("open"), accept.expect("open")
        self.world.setup(self.a, self.b, remove=True)
        for side in (connect, accept):
            for _ in range(20):
                error = side.expect("error")
                self.assertIn(error["errno"], ("EACCES",) if error["where"] == "recv" else ("EACCES", "EPIPE", "ECONNRESET"))

    def test_a_file_that_is_no_node_is_logged(self):
        """It allows nothing, and says so."""
        if not self.world.local_files:
            self.skipTest("there are no such files")
        path = "domain:%d/policy/%d" % (self.a.domid, self.c.domid)
        for count, content in enumerate(("in=* out=*", "n0,r1\n" + "x" * 5000), 1):
            with open(os.path.join(self.world.store_directory, path), "w", encoding="ascii") as stream:
                stream.write(content)
            self.a.wait_log(b"/idc/policy/%d can't be read" % self.c.domid, count=count)
        self.assert_errno(errno.EACCES, self.a.puppet().do, "connect", 1, domid=self.c.domid, port=80)

    def test_own_domain_needs_no_permission(self):
        self.world.setup(self.a, self.b, remove=True)
        server = self.a.puppet()
        server.do("listen", 1, port=80)
        self.a.puppet().do("connect", 1, domid=self.a.domid, port=80)

    def test_list_shows_the_truth(self):
        self.world.setup(self.a, self.b, ports="80,5000-5010,ssh")
        out = self.world.list_rules()
        self.assertRegex(out, r"80,5000-5010,ssh")
        self.assertTrue(re.search(r"\b%d\b.*\b%d\b" % (self.a.domid, self.b.domid), out), out)
        self.world.setup(self.a, self.b, remove=True)
        self.assertNotRegex(self.world.list_rules(), r"ssh")
