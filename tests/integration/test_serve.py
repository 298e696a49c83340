# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc serve`: a program for each connection, which knows nothing of IDC."""

import errno
import fcntl
import os
import pwd
import signal

from case import IdcTestCase
from forward_case import ForwardCase, pattern
from world import wait_until

ENVIRONMENT = 'echo "$IDC_PEER_DOMID $IDC_PEER_PORT $IDC_PEER_UID $IDC_SERVICE $(id -u)"'


class Guests(IdcTestCase):
    """What needs nothing but the two domains, so that it is run between guests of Xen too."""

    def serve(self, *words, name="org.example.served", **options):
        process = self.b.spawn(["idc", "serve", "--name", name, *words], **options)
        self.wait_service(name)
        return process

    def wait_service(self, name="org.example.served"):
        wait_until(lambda: any(one["service"] == name for one in self.b.status()["listeners"]), what="the service")

    def ask(self, data=b"", name="org.example.served", **options):
        return self.a.run(["idc", "cat", str(self.b.domid), name], data, **options)

    def check_bytes(self):
        data = pattern(3 << 20)
        result = self.ask(data)
        self.assertEqual((result.returncode, result.stderr, result.stdout == data), (0, b"", True))

    def test_bytes_before_and_after_a_restart(self):
        self.serve("--", "cat")
        self.check_bytes()
        self.b.restart(*self.options)
        self.wait_service()
        self.check_bytes()

    def test_who_calls(self):
        self.serve("sh", "-c", ENVIRONMENT)
        words = self.ask().stdout.decode().split()
        self.assertEqual([words[0], words[2], words[3]], [str(self.a.domid), "0", "org.example.served"])
        self.assertGreater(int(words[1]), 1 << 31)

    def test_several_at_once(self):
        self.serve("cat")
        clients = [self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.served"]) for _ in range(5)]
        for number, client in enumerate(clients):
            client.write(b"%d" % number)
        for number, client in enumerate(clients):
            self.assertEqual(client.stdout.read_exactly(1, 60), b"%d" % number)
        for client in clients:
            client.close_stdin()
            self.assertEqual(client.wait(), 0)


class Here(ForwardCase):
    serve, wait_service, ask = Guests.serve, Guests.wait_service, Guests.ask

    def test_a_name_of_the_peer(self):
        text = "version 1\nself uuid=ffffffff-0000-0000-0000-000000000001\npeer %d name=web\nend\n" % self.a.domid
        self.world.write_rules(self.b, 1, text)
        self.serve("sh", "-c", "echo =$IDC_PEER_NAME=")
        wait_until(lambda: self.ask().stdout == b"=web=\n", what="the name")

    def test_a_program_that_is_gone(self):
        """A line for all of them, and each peer gets a reset; the next one is served when it is back."""
        with open(self.path("program"), "w", encoding="ascii") as stream:
            stream.write("#!/bin/sh\ncat\n")
        os.chmod(self.path("program"), 0o755)
        serve = self.serve(self.path("program"))
        os.rename(self.path("program"), self.path("away"))
        for _ in range(3):
            self.wait_service()
            result = self.ask()
            self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (1, b"", 1), result.stderr)
        os.rename(self.path("away"), self.path("program"))
        self.wait_service()
        self.assertEqual(self.ask(b"again").stdout, b"again")
        serve.kill(signal.SIGTERM)
        self.assertEqual((serve.wait(), serve.stderr.read_all(60)),
                         (0, b"idc serve: %s: No such file or directory\n" % self.path("program").encode()))

    def test_a_program_that_cannot_be_run(self):
        """It is found, but its interpreter is not. What the peer has sent makes it a reset."""
        serve, client, _ = self.call_what_cannot_be_run()
        client.do("send", 1, len=10)
        self.assert_errno(errno.ECONNRESET, client.do, "recv", 1, max=1)
        self.assertIsNone(serve.returncode)

    def call_what_cannot_be_run(self):
        """(idc serve, a client, the process that waits for something to leave unread)"""
        if not os.path.exists(self.path("program")):
            with open(self.path("program"), "w", encoding="ascii") as stream:
                stream.write("#!/nowhere/sh\n")
            os.chmod(self.path("program"), 0o755)
        serve = self.serve("--port", "2000", self.path("program"))
        client = self.a.puppet()
        client.do("connect", 1, domid=self.b.domid, port=2000)
        self.assertIn(b"No such file", serve.stderr.read_until(b"\n", 60))
        return serve, client, self.children(serve)[0]

    def test_a_signal_to_a_process_that_runs_no_program(self):
        """It ends that process, and not idc serve, whose handlers it had."""
        serve, _, child = self.call_what_cannot_be_run()
        os.kill(child, signal.SIGTERM)
        wait_until(lambda: child not in self.children(serve), what="its end")
        os.rename(self.path("program"), self.path("away"))
        os.symlink("/bin/cat", self.path("program"))
        self.assertEqual(self.ask(b"after it").stdout, b"after it")
        self.assertIsNone(serve.returncode)

    def test_killed_while_a_program_cannot_be_run(self):
        """Its process has nothing of idc serve: the service does not seem to be served."""
        serve, _, child = self.call_what_cannot_be_run()
        with open("/proc/%d/stat" % child, encoding="ascii") as stream:
            self.assertEqual(stream.read().split()[3], str(serve.pid))
        place = "/proc/%d/fd/" % child
        files = {name: os.readlink(place + name) for name in os.listdir(place)}
        others = {name: file for name, file in files.items() if name not in ("0", "1", "2")}
        self.assertEqual(set(others.values()) - {files["2"]}, set(), files)  # its log, opened again
        serve.kill()
        serve.wait()
        self.b.wait_port_free(2000)
        os.kill(child, 0)  # it is there for a while
        os.kill(child, signal.SIGKILL)

    def test_a_bound(self):
        serve = self.serve("--max", "2", "cat")
        clients = [self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.served"]) for _ in range(3)]
        wait_until(lambda: len(self.children(serve)) == 2, what="two processes")
        wait_until(lambda: [one["waiting"] for one in self.b.status()["listeners"] if one["service"]] == [1], what="the third waits")
        self.assertEqual(len(self.children(serve)), 2)
        for client in clients:
            client.write(b"x")
            client.close_stdin()
        for client in clients:
            self.assertEqual((client.stdout.read_all(60), client.wait()), (b"x", 0))
        wait_until(lambda: not self.children(serve), what="no process, and no zombie")

    def check_clients_that_have_gone(self, client_domain, of_type):
        """While the only program is busy, clients come. Two say something, one of which closes, and one wants an answer. Only the
        others have gone, and cost no process. An empty message is something. Within the domain, messages can't be told from
        none, and all are served."""
        name = "org.example." + of_type + client_domain.role
        out = self.path(name)
        program = "cat >> %s; echo . >> %s; echo hello 2> /dev/null" % (out, out)
        serve = self.serve("--max", "1", "--type", of_type, "--", "sh", "-c", program, name=name)
        target = {"domid": self.b.domid, "name": name, "type": of_type}
        client = client_domain.puppet()
        client.do("connect", 0, **target)
        wait_until(lambda: len(self.children(serve)) == 1, what="the busy program")
        for place in range(1, 11):
            client.do("connect", place, **target)
        for place in range(1, 8):
            client.do("close", place)
        client.do("send", 8, len=3, seed=8)
        client.do("close", 8)
        client.do("send", 9, len=3, seed=9)
        client.do("shutdown", 9)
        client.do("shutdown", 10)
        served = 4
        if of_type == "seqpacket":
            client.do("connect", 11, **target)
            client.do("send", 11, len=0)
            client.do("close", 11)
            served = 5 if client_domain is not self.b else 12
        if client_domain is not self.b:
            wait_until(lambda: len(self.b.status()["connections"]) == 3, what="0, 9 and 10 are left")
        client.do("close", 0)
        for place in (9, 10):
            self.assertEqual(client.do("recv", place, max=6)["n"], 6)

        def programs():
            with open(out, "rb") as stream:
                return stream.read().count(b".\n")
        wait_until(lambda: programs() >= served, what="all have been served")
        self.assertEqual(programs(), served)
        serve.kill(signal.SIGTERM)
        self.assertEqual((serve.wait(), serve.stderr.read_all(60)), (0, b""))

    def test_clients_that_have_gone(self):
        for domain in (self.a, self.b):
            for of_type in ("stream", "seqpacket"):
                with self.subTest(of_type, domain=domain):
                    self.check_clients_that_have_gone(domain, of_type)

    def test_sigterm_ends_the_programs(self):
        serve = self.serve("sh", "-c", "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.1; done")
        client = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.served"])
        self.assertEqual(client.stdout.read_until(b"\n", 60), b"ready\n")
        serve.kill(signal.SIGTERM)
        self.assertEqual(client.stdout.read_all(60), b"bye\n")
        self.assertEqual(serve.wait(), 0)

    def test_sigterm_ends_one_that_does_not_listen(self):
        serve = self.serve("sh", "-c", "trap '' TERM; echo ready; exec sleep 1000")
        client = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.served"])
        client.stdout.read_until(b"\n", 60)
        serve.kill(signal.SIGTERM)
        self.assertEqual(serve.wait(), 0)
        client.wait()

    def test_programs_survive_their_link_mgr(self):
        """They only lose the connection, as an error or an end."""
        self.serve("sh", "-c", "echo ready; cat > /dev/null; echo over > %s" % self.path("over"))
        client = self.a.spawn(["idc", "cat", str(self.b.domid), "org.example.served"])
        client.stdout.read_until(b"\n", 60)
        self.b.restart(*self.options)
        self.assertEqual(client.wait(), 1)
        wait_until(lambda: os.path.exists(self.path("over")), what="the program's end")

    def test_messages(self):
        self.serve("--type", "seqpacket", "cat")
        result = self.a.run(["idc", "cat", "--seqpacket", str(self.b.domid), "org.example.served"], b"a message")
        self.assertEqual((result.returncode, result.stdout), (0, b"a message"))

    def test_another_user(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        self.serve("--user", "nobody", "sh", "-c", "id -u; echo $HOME; id -G")
        user = pwd.getpwnam("nobody")
        self.assertEqual(self.ask().stdout.decode().split("\n"), [str(user.pw_uid), user.pw_dir, str(user.pw_gid), ""])

    def test_a_port_that_is_picked(self):
        serve = self.b.spawn(["idc", "serve", "--", "cat"])
        port = serve.stderr.read_until(b"\n", 60).split()[-1].decode()
        for _ in range(2):
            wait_until(lambda: any(str(one["port"]) == port for one in self.b.status()["listeners"]), what="the same port")
            self.assertEqual(self.ask(b"data", port).stdout, b"data")
            self.b.restart(*self.options)

    def test_wrong_and_nobody_reads_why(self):
        """Its stderr is a full pipe. It ends all the same, as idc forward does."""
        os.mkfifo(self.path("full"))
        full = os.open(self.path("full"), os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, full)
        fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096)
        os.write(full, 4096 * b"-")
        idc = self.world.find_program("idc")
        for words, status in (("serve --name x -- /no/such/program", 1), ("serve --nonsense", 2), ("serve --systemd x cat", 2),
                              ("forward --nonsense", 2), ("forward idc-listen:1 exec:cat", 1)):
            with self.subTest(words):
                process = self.b.spawn(["sh", "-c", "exec %s %s 2>%s" % (idc, words, self.path("full"))])
                self.assertEqual(process.wait(), status)

    def test_wrong(self):
        for words, status, text in (
                ([], 2, b"needs a PROGRAM"), (["--port", "0", "cat"], 2, b"PORT must be"), (["--max", "x", "cat"], 2, b"--max takes"),
                (["--type", "x", "cat"], 2, b"--type takes"), (["--name", "a b", "cat"], 2, b"SERVICE must be"),
                (["--user", "no-such-user", "cat"], 1, b'no user "no-such-user"'), (["--nonsense", "cat"], 2, b"--nonsense"),
                (["--name", "x", "/no/such/program"], 1, b"/no/such/program: No such file"),
                (["--name", "x", "no-such-program"], 1, b"no-such-program: No such file"),
                (["--name", "x", "/etc/passwd"], 1, b"/etc/passwd: Permission denied"), (["--port", "1", "cat"], 1, b"cannot listen"),
                (["--socket", self.path("none"), "cat"], 1, b"cannot listen")):
            with self.subTest(words=words):
                result = self.b.run(["idc", "serve"] + words)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (status, b"", 1), result.stderr)
                self.assertIn(text, result.stderr)
