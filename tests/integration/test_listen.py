# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may listen on what (idc-listen(5)): what the file allows and refuses, and what ends when it changes."""

import errno
import os
import pty
import re
import shutil
import signal
import socket
import subprocess

from case import IdcTestCase
from world import wait_until

READ = b"who may listen: "
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class ListenCase(IdcTestCase):
    def setUp(self):
        super().setUp()
        if not self.world.can_change_uid:
            self.skipTest("needs root, to be somebody else")
        self.loads = 0

    def path(self, domain):
        if self.world.platform == "xen":
            return "/etc/idc/listen"
        return os.path.join(self.world.store_directory, "listen-%d" % domain.domid)

    def put_file(self, domain, text, mode="644"):
        self.addCleanup(domain.run, ["rm", "-f", self.path(domain)])
        result = domain.run(["sh", "-c", 'mkdir -p "${1%/*}" && cat > "$1" && chmod "$2" "$1"', "sh", self.path(domain), mode],
                            text.encode())
        self.assertEqual(result.returncode, 0, result.stderr)
        if domain.daemon:  # it may not be root
            owner = domain.read_file("/proc/%d/status" % domain.daemon.pid).partition(b"Uid:")[2].split()[0].decode()
            domain.run(["chown", owner, self.path(domain)])

    def rules(self, text, mode="644"):
        """They are in force in b when this returns."""
        self.put_file(self.b, text, mode)
        self.loads += 1
        self.b.daemon.kill(signal.SIGHUP)
        self.b.wait_log(READ, count=self.loads)

    def listen(self, puppet, **where):
        """The error's text, or "" if it is allowed; then it has been given back."""
        try:
            puppet.do("listen", 99, **where)
        except OSError as error:
            self.assertEqual(error.errno, errno.EACCES)
            return error.text
        puppet.do("unlisten", 99)
        return ""

    def assert_allowed(self, puppet, **where):
        self.assertEqual(self.listen(puppet, **where), "", where)

    def assert_refused(self, puppet, text, **where):
        self.assertEqual(self.listen(puppet, **where), text, where)


class Who(ListenCase):
    def test_without_a_file(self):
        bob = self.b.puppet(uid=1000)
        for where in ({"port": 5000}, {"name": "org.example.sql"}, {"port": 0}, {"port": 1024, "name": "a"}):
            self.assert_allowed(bob, **where)
        self.assert_refused(bob, "ports up to 1023 are for root and for link_mgr's own user", port=1023)
        status = self.b.status()
        self.assertEqual((status["listen_rules"], status["listen_rules_old"], status["counters"]["listens_refused"]), (-1, False, 1))

    def test_the_lines(self):
        root, bob, alice, web = (self.b.puppet(uid=uid) for uid in (0, 1000, 1001, 33))
        self.rules("allow 1000 5432,org.example.sql\nallow 33 80,org.example.web.*\n"
                   "deny * org.example.*,5432\nallow 1000 5000-5010,any\nallow 33 *\n")
        path = self.path(self.b)
        for where in ({"port": 5432}, {"name": "org.example.sql"}, {"port": 5432, "name": "org.example.sql"}, {"port": 5010}):
            self.assert_allowed(bob, **where)
            self.assert_allowed(root, **where)
        self.assert_allowed(web, port=80, name="org.example.web.a")
        self.assert_allowed(web, port=0)
        self.assert_allowed(web, port=7000, name="other")
        self.assert_allowed(root, port=81)
        self.assert_refused(bob, "uid 1000 may not listen on port 5011: no line of %s allows it" % path, port=5011)
        self.assert_refused(alice, "uid 1001 may not listen on port 5432: %s:3" % path, port=5432)
        self.assert_refused(alice, "uid 1001 may not listen on service org.example.sql: %s:3" % path, name="org.example.sql")
        self.assert_refused(web, "uid 33 may not listen on port 81: no line of %s allows it" % path, port=81)
        # a name and a port: both count, unless link_mgr picks the port
        self.assert_allowed(bob, name="any")
        self.assert_refused(bob, "uid 1000 may not listen on port 6000: no line of %s allows it" % path, name="any", port=6000)
        self.assert_refused(bob, "uid 1000 may not listen on service b: no line of %s allows it" % path, name="b", port=5000)
        self.assertRegex(self.listen(bob, port=0), "uid 1000 may not listen on port [2-4][0-9]{9}: no line of")
        self.assertEqual([one for one in self.b.status()["listeners"] if one["port"] != 1], [])
        self.assertEqual(self.b.status()["listen_rules"], 5)
        shown = self.b.run(["idc", "status"]).stdout
        self.assertIn(b"who may listen: 5 rules\n", shown)

    def test_what_one_may_not_read(self):
        """The program learns no more than that; the log says all."""
        bob = self.b.puppet(uid=1000)
        self.rules("# secret\ndeny 1000 5000\n", mode="600")
        self.assert_refused(bob, "uid 1000 may not listen on port 5000: the rules of this domain do not allow it", port=5000)
        self.assert_refused(bob, "uid 1000 may not listen on port 6000: the rules of this domain do not allow it", port=6000)
        self.b.wait_log(b"uid 1000 may not listen on port 5000: %s:2\n" % self.path(self.b).encode())

    def test_names_and_groups_of_this_domain(self):
        if self.world.platform != "local":
            self.skipTest("needs its users")
        self.rules("deny daemon 5000\nallow daemon *\nallow @4711,@daemon 80\n")
        self.assert_allowed(self.b.puppet(uid=1), port=5001)
        self.assertIn(":1", self.listen(self.b.puppet(uid=1), port=5000))
        gid = os.stat(self.b.socket).st_gid
        for groups, allowed in (("4711", True), ("4712,1", True), ("4712", False)):
            puppet = self.b.puppet(wrapper=("setpriv", "--reuid=4242", "--regid=%d" % gid, "--groups=" + groups))
            self.assertEqual(self.listen(puppet, port=80) == "", allowed, groups)

    def test_by_rpc_and_by_bind(self):
        import xmlrpc.client
        if not self.world.has_python:
            self.skipTest("needs Python in the domain")
        self.rules("allow 1000 5000\n")
        bob = self.b.puppet(uid=1000)
        self.assert_allowed(bob, port=5000)
        script = "import socket; s = socket.socket(socket.AF_VSOCK); s.bind((-1, int(__import__('sys').argv[1]))); s.listen()"
        for port, status in ((5000, b""), (5001, b"Permission denied")):
            result = self.b.run(["idc", "run", "python3", "-c", script, str(port)], uid=1000)
            self.assertEqual(status in result.stderr and (result.returncode == 0) == (status == b""), True, result)
        import rpc as rpc_module
        other = rpc_module.connect_through(self.b.spawn(["rpcpipe"], uid=1000))
        with self.assertRaises(xmlrpc.client.Fault) as fault:
            other.listen({"port": 5001})
        self.assertEqual(fault.exception.faultCode, errno.EACCES)
        self.assertIn("no line of", fault.exception.faultString)
        other.close()


class Examples(ListenCase):
    """What the manuals give somebody, nobody else gets."""
    ids = {"postgres": "1000", "www-data": "33", "@web": "@4711"}

    def lines_of(self, document):
        """The rules that it shows, with numbers in place of names."""
        with open(os.path.join(ROOT, document), encoding="utf-8") as stream:
            rules = re.findall(r"^    ((?:allow|deny) +\S+ +\S+)$", stream.read(), re.MULTILINE)
        rules = [rule.split() for rule in rules]
        return [[action, ",".join(self.ids.get(one, one) for one in who.split(",")), what] for action, who, what in rules]

    def places(self, what):
        for item in what.split(","):
            if re.fullmatch("[0-9]+(-[0-9]+)?", item):
                yield from ({"port": int(port)} for port in item.split("-"))
            else:
                yield {"name": item.replace("*", "one")}

    def check(self, document, least):
        lines = self.lines_of(document)
        self.assertEqual(lines[-1], ["allow", "*", "*"])
        self.rules("".join(" ".join(line) + "\n" for line in lines))
        stranger = self.b.puppet(uid=1001)
        asked = 0
        for _, who, what in (line for line in lines if line[0] == "allow" and line[1] != "*"):
            holder = self.b.puppet(uid=int(who.split(",")[0]))
            for where in self.places(what):
                self.assert_allowed(holder, **where)
                self.assertNotEqual(self.listen(stranger, **where), "", where)
                asked += 1
        self.assertGreaterEqual(asked, least)
        self.assertNotEqual(self.listen(stranger, name="org.example.none"), "")
        for where in ({"port": 6000}, {"name": "other"}):
            self.assert_allowed(stranger, **where)

    def test_of_the_manual(self):
        self.check("docs/idc-listen.5.md", 7)

    def test_of_the_readme(self):
        self.check("README.md", 2)


class Changed(ListenCase):
    """A program that has become somebody else asks as who it is now, also over a line that it keeps."""

    def setUp(self):
        super().setUp()
        self.rules("allow 1000 5000\nallow @4711 6000\n")
        self.puppet_of_root = self.b.puppet()

    def group(self):
        """Whose members may use link_mgr's socket."""
        if self.world.platform == "xen":
            from xen_idc_world import GROUP_IDC
            return GROUP_IDC
        return os.stat(self.b.socket).st_gid

    def sockets(self, puppet):
        directory = "/proc/%d/fd" % puppet.process.pid
        links = (os.readlink(os.path.join(directory, name)) for name in os.listdir(directory))
        return {link for link in links if link.startswith("socket:")}

    def test_root_that_gives_it_up(self):
        daemon = self.puppet_of_root
        daemon.do("listen", 1, port=80)
        self.assert_allowed(daemon, port=81)
        daemon.do("become", uid=1000, gid=self.group())
        self.assertIn("uid 1000 may not listen on port 81", self.listen(daemon, port=81))
        self.assert_allowed(daemon, port=5000)
        # what it had before is its own, as any descriptor is
        taking = daemon.begin("accept", 1, 2)
        self.a.puppet().do("connect", 1, domid=self.b.domid, port=80)
        taking.result()

    def test_for_a_while(self):
        daemon = self.puppet_of_root
        for _ in range(5):
            self.assert_allowed(daemon, port=81)
            daemon.do("become", uid=1000, gid=self.group(), for_now=1)
            self.assertIn("uid 1000", self.listen(daemon, port=81))
            self.assert_allowed(daemon, port=5000)
            daemon.do("become", uid=0, for_now=1)

    def test_the_group(self):
        if self.world.platform != "local":
            self.skipTest("needs its users")
        gid = self.group()
        daemon = self.b.puppet(wrapper=("setpriv", "--regid=4711", "--groups=%d" % gid))
        self.assert_allowed(daemon, port=6000)
        who = {}
        for one, uid in ((4711, 1001), (4712, 1001)):
            daemon.do("become", gid=one, for_now=1)
            daemon.do("become", uid=uid, for_now=1)
            who[one] = self.listen(daemon, port=6000)
            daemon.do("become", uid=0, for_now=1)
        self.assertEqual(who[4711], "")
        self.assertIn("uid 1001 may not listen on port 6000", who[4712])

    def test_the_one_who_connects(self):
        daemon, server = self.puppet_of_root, self.a.puppet()
        server.do("listen", 1, port=7000)
        for place, uid in ((2, 0), (3, 1000)):
            daemon.do("become", uid=uid, gid=self.group())
            taking = server.begin("accept", 1, place)
            daemon.do("connect", place, domid=self.a.domid, port=7000)
            taking.result()
            self.assertEqual(server.do("names", place)["peer_uid"], uid)

    def test_no_line_of_root_is_left(self):
        """It is closed, so nobody in that process can use it."""
        if self.world.platform != "local":
            self.skipTest("looks into /proc")
        daemon = self.puppet_of_root
        daemon.do("become")  # it has started
        none = self.sockets(daemon)
        self.assert_allowed(daemon, port=81)
        lines_of_root = self.sockets(daemon) - none
        self.assertEqual(len(lines_of_root), 1)
        daemon.do("become", uid=1000, gid=self.group())
        self.assert_allowed(daemon, port=5000)
        lines = self.sockets(daemon) - none
        self.assertEqual((len(lines), lines & lines_of_root), (1, set()))


class Revoked(ListenCase):
    def test_many_are_few_lines(self):
        bob = self.b.puppet(uid=1000)
        for place in range(1, 41):
            bob.do("listen", place, port=5000 + place)
        self.rules("deny 1000 5000-5999\nallow * *\n")
        self.rules("allow * *\n")
        self.assertEqual(self.b.status()["listeners"], [one for one in self.b.status()["listeners"] if one["port"] < 5000])
        self.assertLessEqual(self.b.log().count("a listener is ended"), 10 + 10)  # in two seconds, at most

    def test_the_listener_and_all_that_came_by_it(self):
        """One connection is accepted, one waits, and one has outlived its listener."""
        bob, client, within = self.b.puppet(uid=1000), self.a.puppet(), self.b.puppet()
        bob.do("listen", 1, port=5000, name="org.example.sql")
        bob.do("listen", 2, port=5001)
        bob.do("listen", 3, port=6000)
        for place, (listener, port) in enumerate(((1, 5000), (2, 5001), (3, 6000)), 10):
            taking = bob.begin("accept", listener, place)
            client.do("connect", place, domid=self.b.domid, port=port)
            taking.result()
        taking = bob.begin("accept", 1, 20)
        within.do("connect", 20, domid=self.b.domid, name="org.example.sql")
        taking.result()
        client.do("connect", 13, domid=self.b.domid, port=5000)
        bob.do("unlisten", 2)
        ending = [client.begin("recv", place) for place in (10, 11, 13)] + [bob.begin("recv", place) for place in (10, 11)]
        staying = [client.begin("recv", 12), bob.begin("recv", 12), bob.begin("recv", 20)]
        accepting = bob.begin("accept", 1, 30)
        # the one that waited is taken just now, or is not; it is cut off in both cases
        self.rules("deny 1000 5000-5999,org.example.*\nallow * *\n")
        for reader in ending:
            self.assert_errno(errno.EACCES, reader.result)
        try:
            accepting.result()
            accepting = bob.begin("accept", 1, 31)
        except OSError as error:
            self.assertEqual(error.errno, errno.ECONNABORTED)
        else:
            self.assert_errno(errno.ECONNABORTED, accepting.result)
        self.assertFalse(any(reader.done() for reader in staying))
        self.b.wait_log(b"a listener is ended: uid 1000 may not listen on service org.example.sql: %s:1\n" % self.path(self.b).encode())
        self.b.wait_log(b"what a listener has left is ended: uid 1000 may not listen on port 5001: ")
        self.assertEqual(self.b.status()["counters"]["listeners_revoked"], 1)
        # the place is free, for those who may
        self.assertIn(":1", self.listen(bob, port=5000))
        self.assert_allowed(self.b.puppet(uid=33), port=5000, name="org.example.sql")
        client.do("send", 12, len=10)
        self.assertEqual(staying[1].result()["n"], 10)
        within.do("send", 20, len=10)
        self.assertEqual(staying[2].result()["n"], 10)

    def test_what_is_allowed_stays(self):
        """Rules come and go in mid traffic, and the listener's own permission is never taken."""
        self.rules("allow 1000 5000\n")
        bob, client = self.b.puppet(uid=1000), self.a.puppet()
        bob.do("listen", 1, port=5000)
        taking = bob.begin("accept", 1, 2)
        client.do("connect", 2, domid=self.b.domid, port=5000)
        taking.result()
        checking = bob.begin("check", 2, seed=1)
        sending = client.begin("send", 2, len=50000000, seed=1)
        for number in range(20):
            self.rules("deny * %d\nallow 1000 5000\n" % (5001 + number))
        sending.result()
        client.do("shutdown", 2)
        self.assertEqual(checking.result()["n"], 50000000)
        taking = bob.begin("accept", 1, 3)
        client.do("connect", 3, domid=self.b.domid, port=5000)
        taking.result()

    def test_a_file_that_goes(self):
        """Nobody gets more by that: it may just be being replaced. The rules stay until there is a file, or a new link_mgr."""
        self.rules("allow 1000 80,5000\n")
        bob = self.b.puppet(uid=1000)
        bob.do("listen", 1, port=80)
        self.b.run(["rm", self.path(self.b)])
        self.b.daemon.kill(signal.SIGHUP)
        self.b.wait_log(self.path(self.b).encode() + b": No such file or directory; the rules of who may listen stay as they were\n")
        status = self.b.status()
        self.assertEqual((status["listen_rules"], status["listen_rules_old"]), (1, True))
        self.assertIn("no line of", self.listen(bob, port=6000))
        self.assert_allowed(bob, port=5000)
        taking = bob.begin("accept", 1, 3)
        self.a.puppet().do("connect", 1, domid=self.b.domid, port=80)
        taking.result()
        self.rules("allow * *\n")
        self.assert_allowed(bob, port=6000)
        self.assertFalse(self.b.status()["listen_rules_old"])

    def test_many_at_once(self):
        """Fifty listeners with two hundred connections, all in one go; those of root stay."""
        self.rules("allow 1000 *\n")
        bob, root, client = self.b.puppet(uid=1000), self.b.puppet(), self.a.puppet()
        for number in range(50):
            server = root if number % 5 == 0 else bob
            server.do("listen", number, port=5000 + number)
            for place in range(4):
                taking = server.begin("accept", number, 100 + 4 * number + place)
                client.do("connect", 100 + 4 * number + place, domid=self.b.domid, port=5000 + number)
                taking.result()
        self.rules("deny * *\n")
        for number in range(50):
            for place in range(4):
                if number % 5 == 0:
                    client.do("send", 100 + 4 * number + place, len=1)
                    self.assertEqual(root.do("recv", 100 + 4 * number + place)["n"], 1)
                else:
                    self.assert_errno(errno.EACCES, client.do, "recv", 100 + 4 * number + place)
        status = self.b.status()
        self.assertEqual(len([one for one in status["listeners"] if one["port"] != 1]), 10)
        self.assertEqual(len(status["connections"]), 40)
        self.assertEqual(status["counters"]["listeners_revoked"], 40)


class Wrong(ListenCase):
    def test_the_last_good_ones_stay(self):
        self.rules("allow 1000 5000\n")
        bob = self.b.puppet(uid=1000)
        for text, mode, words in (("allow 1000 5000\n\nallow 1000 5001x,0\n", "644", b":3:18: \"0\" is no port"),
                                  ("allow no.such.user *\n", "644", b":1:7: there is no user \"no.such.user\" in /etc/passwd"),
                                  ("allow * *\n", "664", b": can be written by its group"),
                                  ("allow * *\n" * 1025, "644", b":1025:1: there are more than 1024 rules"),
                                  ("\n" * 65537, "644", b": File too large"),
                                  ("", "644", b": there is no rule in it"),
                                  ("allow 1000 5000\nallow 1000 500", "644", b":2:15: the last line has no newline")):
            self.put_file(self.b, text, mode)
            self.b.daemon.kill(signal.SIGHUP)
            self.b.wait_log(self.path(self.b).encode() + words)
            self.assert_allowed(bob, port=5000)
            self.assertIn("no line of", self.listen(bob, port=5001))
            self.assertTrue(self.b.status()["listen_rules_old"])
        self.assertIn(b"who may listen: 1 rule; their file has something wrong", self.b.run(["idc", "status"]).stdout)
        self.rules("allow 1000 5001\n")
        self.assert_allowed(bob, port=5001)
        self.assertFalse(self.b.status()["listen_rules_old"])

    def test_at_the_start(self):
        """It does not start: nobody should believe that rules are in force. A file that was named has to be there."""
        named = self.path(self.c) + "x"
        for options, text, words in (((), "alow * *\n", b"%s:1:1: \"alow\" is neither allow nor deny\n" % self.path(self.c).encode()),
                                     ((), "# none\n", b"%s: there is no rule in it\n" % self.path(self.c).encode()),
                                     (("--listen-rules", named), "allow 1001 5001\n", b"%s: No such file or directory\n" % named.encode())):
            self.put_file(self.c, text)
            argv = ["link_mgr"] + self.world.daemon_options(self.c, options)
            result = self.c.run(argv)
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            self.assertTrue(result.stderr.endswith(b"link_mgr: " + words), result.stderr)
        self.c.run(["mv", self.path(self.c), named])
        self.addCleanup(self.c.run, ["rm", "-f", named])
        self.c.start("--listen-rules", named, *self.options)
        self.assertEqual(self.c.status()["listen_rules"], 1)
        self.assertIn("no line of " + named, self.listen(self.c.puppet(uid=1000), port=5000))
        self.c.run(["rm", named])
        self.c.daemon.kill(signal.SIGHUP)
        self.c.wait_log(b"stay as they were")
        self.assertEqual(self.c.status()["listen_rules"], 1)


    def test_asked_before(self):
        """--check-listen, which a reload of the service begins with: what would be refused, and nothing else happens."""
        directory = "/tmp/idc-test-%d" % os.getpid()  # of whoever asks
        path = directory + "/listen"
        self.addCleanup(self.c.run, ["rm", "-rf", directory])
        self.assertEqual(self.c.run(["mkdir", "-m", "755", directory]).returncode, 0)
        for text, mode, words in (("allow 1000 5000\n", "644", None),
                                  ("allow 1000 5000", "644", b"%s:1:16: the last line has no newline"),
                                  ("", "644", b"%s: there is no rule in it"),
                                  ("alow * *\n", "644", b"%s:1:1: \"alow\" is neither allow nor deny"),
                                  ("allow * *\n", "666", b"%s: can be written by everybody")):
            self.c.run(["sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", path, mode], text.encode())
            result = self.c.run(["link_mgr", "--check-listen", path])
            self.assertEqual((result.returncode, result.stdout), (1 if words else 0, b""))
            self.assertTrue(result.stderr.startswith(b"link_mgr: " + words % path.encode() if words else b""), result.stderr)
            self.assertEqual(bool(result.stderr), bool(words))
        self.c.run(["rm", path])
        result = self.c.run(["link_mgr", "--check-listen", path])
        self.assertEqual((result.returncode, result.stderr), (1, b"link_mgr: %s: No such file or directory\n" % path.encode()))


class Terminal(ListenCase):
    platforms = ("local",)

    def start_on_terminal(self, *wrapper):
        """link_mgr of c on a terminal of its own; (process, the terminal's other end)."""
        self.put_file(self.c, "allow 1000 5000\n")
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        argv = list(wrapper) + [self.world.find_program("link_mgr")] + self.world.daemon_options(self.c, ())
        setsid = shutil.which("setsid")
        # with --wait, setsid ends as link_mgr does
        process = subprocess.Popen([setsid, "--ctty", "--wait"] + argv, stdin=slave, stdout=slave, stderr=slave,
                                   env=self.world.environment, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))  # under nohup too
        os.close(slave)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(self.is_served, what="its socket")
        return process, master

    def is_served(self):
        """The socket has its name a moment before anybody can connect."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.c.socket) == 0

    def rule_count(self):
        with self.c.rpc() as rpc:
            status = rpc.status({})
        return status["pid"], status["listen_rules"]

    def test_a_closed_terminal_behind_redirections(self):
        process, master = self.start_on_terminal("sh", "-c", 'exec "$@" </dev/null >/dev/null 2>&1', "sh")
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), master)
        self.assertEqual(process.wait(60), 0)
        self.assertFalse(os.path.exists(self.c.socket))

    def test_a_signal_is_one_thing_and_a_closed_terminal_another(self):
        process, master = self.start_on_terminal()
        pid, count = self.rule_count()
        self.assertEqual(count, 1)
        self.put_file(self.c, "allow 1000 5000\nallow 1001 5001\n")
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: self.rule_count() == (pid, 2), what="new rules")
        os.close(os.dup(master))
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), master)  # the last copy is closed
        self.assertEqual(process.wait(60), 0)
        self.assertFalse(os.path.exists(self.c.socket))
        self.assertNotIn(".link-%d" % self.c.domid, os.listdir(self.world.store_directory))

    def test_under_nohup(self):
        """A closed terminal means nothing then; the signal does."""
        process, master = self.start_on_terminal("sh", "-c", "trap '' HUP; exec \"$@\"", "sh")
        pid, _ = self.rule_count()
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), master)
        self.put_file(self.c, "allow 1000 5000\nallow 1001 5001\n")
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: self.rule_count() == (pid, 2), what="new rules")
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
