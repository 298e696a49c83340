# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of others between domains, as docs/recipes.md says (recipe_case.py)."""

import glob
import json
import os
import pwd
import re
import signal
import socket
import unittest

import recipe_case
import test_two_hosts
from guest_agent import AsksTheAgent
from programs_case import MIB
from recipe_case import RecipeCase
from ssh_case import HasSsh
from world import wait_until


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


class Agent(AsksTheAgent, RecipeCase):
    heading = "A guest's agent"

    def setUp(self):
        super().setUp()
        size = 10 * MIB if self.world.platform == "local" else MIB
        self.there, self.here = self.directory(self.web), self.directory(self.dom0)
        self.sent = self.random(self.web, self.there + "/sent", size)
        self.begin(self.dom0, self.take("dom0#", "idc forward", ("/run/", self.here + "/")))
        self.wait_file(self.dom0, self.here + "/web.agent")

    def agent(self, mode, old, new):
        program = "%s -t %s -f %s/pid" % (self.world.debian_program("qemu-ga"), self.there, self.there)
        return self.begin(self.web, self.take("web#", "qemu-ga -m " + mode, ("qemu-ga", program), (old, new)))

    def connect(self):
        return self.begin(self.dom0, "socat - UNIX-CONNECT:%s/web.agent" % self.here)

    def resynchronize(self, client):
        client.write(b'{"execute":"guest-sync","arguments":{"id":4712}}\n')
        while json.loads(client.stdout.readline(self.patience)) != {"return": 4712}:
            pass

    def assert_answers(self):
        line = self.take("dom0#", "(echo", ("/run/", self.here + "/"))
        wait_until(lambda: self.ask(self.dom0, line).startswith(b'{"return": {"version": '), what="the version of the agent")
        client = self.connect()
        self.resynchronize(client)
        self.check(client, self.there, self.sent, count=250000)
        return client

    def assert_serves_another(self, client):
        client.kill()
        client = self.connect()
        self.resynchronize(client)
        self.assertIn("supported_commands", self.call(client, "guest-info"))
        client.kill()

    def test_its_socket_and_its_terminal(self):
        agent = self.agent("unix-listen", "/run/", self.there + "/")
        self.wait_file(self.web, self.there + "/agent.sock")
        bridge = self.begin(self.web, self.take("web#", "idc forward", ("/run/", self.there + "/")))
        self.wait_service(self.web, "org.example.agent")
        self.assert_serves_another(self.assert_answers())
        self.stop(agent)
        self.stop(bridge)
        self.shell(self.web, 'echo "$1" > "$2/lines"', self.take("web:", "connection=pty"), self.there)
        self.begin(self.web, "idc channels --config %s/lines --state %s/state --terminals %s" % ((self.there,) * 3))
        self.wait_service(self.web, "org.example.agent")
        agent = self.agent("isa-serial", "/dev/idc-channels/", self.there + "/")
        client = self.assert_answers()
        client.write(b'{"execute":"guest-info"}\n')  # its answer is left unread
        self.assert_serves_another(client)
        self.stop(agent)
        self.assert_all_taken()


class Ssh(HasSsh, RecipeCase):
    """As user1 in both domains."""
    heading = "A shell in a guest"
    unpacked = ("socat", "ssh", "rsync", "sshd")
    MAKE_TREE = 'mkdir -p "$1/tree/a b/c" "$1/tree/empty" && for i in 1 2 3 4 5 6 7 8; do ' \
        'head -c $((i * $2)) /dev/urandom > "$1/tree/a b/file $i" || exit; done'
    SUMS = 'cd "$1" && find . | sort && find . -type f | sort | while read -r name; do sha256sum "$name"; done'

    def setUp(self):
        super().setUp()
        (self.here, client), (self.there, server) = self.prepare(self.dom0), self.prepare(self.web)
        self.client_env = {**client, **self.run_environment()}
        self.server_env = {**server, **self.run_environment()}
        self.add_home(self.dom0, self.here)
        self.add_home(self.web, self.there)

    def add_home(self, domain, directory):
        """On Xen the home of user1 is /tmp."""
        if self.world.platform == "xen":
            self.addCleanup(self.shell, domain, "rm -rf /tmp/.ssh /tmp/copied /tmp/mirrored")

    def home(self, directory):
        return "/tmp" if self.world.platform == "xen" else directory

    def configure(self):
        path = "SetEnv PATH=%s\n" % self.server_env["PATH"] if "PATH" in self.server_env else ""
        self.configure_sshd(self.web, self.there, self.shell(self.dom0, 'cat "$1"/key.pub', self.here).strip(),
                            "Subsystem sftp internal-sftp\n" + path)
        host_key = self.shell(self.web, 'cat "$1"/key.pub', self.there).strip()
        lines = [self.take("dom0:", "Host web"), self.take("dom0:", "ProxyCommand"), "User user1", "IdentityFile %s/key" % self.here,
                 "UserKnownHostsFile %s/known" % self.here, "StrictHostKeyChecking yes", "BatchMode yes"]
        self.shell(self.dom0, 'echo "web $3" > "$1"/known && mkdir -p "$2"/.ssh && cat > "$2"/.ssh/config', self.here,
                   self.home(self.here), host_key, uid=self.uid, input="\n".join(lines + [""]).encode())

    def serve_inetd(self):
        sshd = "%s -i -e -f %s/config" % (self.world.debian_program("sshd"), self.there)
        line = self.take("web#", "idc serve", ("/usr/sbin/sshd -i", sshd))
        serving = self.begin(self.web, line, uid=self.uid, env=self.server_env)
        self.wait_service(self.web, "ssh")
        return [serving]

    def serve_tcp(self):
        if self.world.platform == "xen":
            self.shell(self.web, "ifconfig lo 127.0.0.1 up")
        port = free_port()
        sshd = self.begin(self.web, "%s -D -e -f %s/config -p %s -o ListenAddress=127.0.0.1" % (
            self.world.debian_program("sshd"), self.there, port), uid=self.uid, env=self.server_env)
        sshd.stderr.read_until(b"Server listening on", self.patience)
        forward = self.begin(self.web, self.take("web#", "idc forward", ("22", port)))
        self.wait_service(self.web, "ssh")
        return [forward, sshd]

    def run_here(self, beginning, *exchange, **options):
        return self.ask(self.dom0, "cd %s && %s" % (self.here, self.take("dom0$", beginning, *exchange)), uid=self.uid,
                        env=self.client_env, **options)

    def sums(self, domain, path):
        return self.shell(domain, self.SUMS, path, uid=self.uid)

    def assert_works(self, sum_of_file):
        self.assertEqual(self.run_here("ssh web", status=7).decode().split(), [sum_of_file, "-"])
        self.run_here("scp", ("scp -q", "scp -q -S " + self.world.debian_program("ssh")))
        copied, mirrored = self.home(self.there) + "/copied", self.home(self.there) + "/mirrored"
        self.assertEqual(self.sums(self.web, copied), self.sums(self.dom0, self.here + "/tree"))
        self.shell(self.dom0, 'ln -s "a b" "$1/tree/link"', self.here, uid=self.uid)
        for _ in range(2):
            self.run_here("rsync")
            self.assertEqual(self.sums(self.web, mirrored), self.sums(self.dom0, self.here + "/tree"))
            self.shell(self.web, 'rm "$1/a b/file 5" "$1/link"', mirrored, uid=self.uid)  # the second time these only
        self.shell(self.web, 'rm -r "$1" "$2"', copied, mirrored, uid=self.uid)
        self.shell(self.dom0, 'rm "$1/tree/link"', self.here, uid=self.uid)

    def test_commands_and_trees(self):
        self.configure()
        size = 200000 if self.world.platform == "local" else 20000
        self.shell(self.dom0, self.MAKE_TREE, self.here, size, uid=self.uid)
        sum_of_file = self.shell(self.dom0, 'head -c "$2" /dev/urandom | tee "$1/file" | sha256sum', self.here, 20 * size,
                                 uid=self.uid).split()[0]
        for serve in self.serve_inetd, self.serve_tcp:
            serving = serve()
            self.assert_works(sum_of_file)
            for process in serving:
                process.kill(signal.SIGTERM)
                process.wait()
        self.assert_all_taken()


class Postgres(RecipeCase):
    platforms = ("local",)
    needs_debian = False
    heading = "A database"
    unpacked = ()
    BIN = "/usr/lib/postgresql/*/bin"
    installed = (BIN + "/initdb",)
    CONFIG = "listen_addresses=''\nfsync=off\njit=off\nmax_connections=50\nunix_socket_directories='%s'\n"
    SUM = "select md5(string_agg(t::text, '' order by aid)) from pgbench_accounts t"

    def setUp(self):
        super().setUp()
        self.user = pwd.getpwnam("nobody") if self.world.can_change_uid else pwd.getpwuid(os.getuid())
        self.uid = self.user.pw_uid if self.world.can_change_uid else 0  # it runs as anybody but root
        self.there, self.here = self.directory(self.web, uid=self.uid), self.directory(self.dom0)
        self.server = self.start_server()
        self.begin(self.web, self.take("web$", "idc forward", ("/run/postgresql", self.there)), uid=self.uid)
        self.wait_service(self.web, "org.example.sql")
        self.begin(self.dom0, self.take("dom0$", "idc forward", ("/run/sql", self.here)))
        self.wait_file(self.dom0, self.here + "/.s.PGSQL.5432")

    def run_environment(self):
        inherited = super().run_environment()
        return {"PATH": "%s:%s" % (sorted(glob.glob(self.BIN))[-1], inherited["PATH"]), "PGUSER": self.user.pw_name}

    def start_server(self):
        self.ask(self.web, "initdb -D %s/data -A trust --no-sync -E UTF8 --locale C" % self.there, uid=self.uid)
        self.ask(self.web, "cat >> %s/data/postgresql.conf" % self.there, input=(self.CONFIG % self.there).encode(), uid=self.uid)
        self.ask(self.web, "sed -i '1i local seen all peer' %s/data/pg_hba.conf" % self.there, uid=self.uid)
        server = self.begin(self.web, "postgres -D %s/data" % self.there, uid=self.uid)
        ready = ["sh", "-c", "pg_isready -q -h " + self.there]
        wait_until(lambda: self.web.run(ready, env=self.run_environment()).returncode == 0, what="the database", interval=0.1)
        return server

    def sql(self, text, where=None, database="bench", **options):
        line = 'psql -X -A -t -h %s -c "%s" %s' % (where or self.here, text, database)
        return self.ask(self.dom0, line, **options).decode().strip()

    def sql_line(self, beginning):
        return self.ask(self.dom0, self.take("dom0$", beginning, ("/run/sql", self.here))).decode()

    def assert_cancelled(self):
        psql = self.begin(self.dom0, "psql -X -h %s -c 'select pg_sleep(600)' bench" % self.here)
        count = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)' and state = 'active'"
        wait_until(lambda: self.sql(count) == "1", what="the query")
        psql.kill(signal.SIGINT)
        self.assertIn(b"canceling statement due to user request", psql.stderr.read_all(self.patience))
        self.assertEqual(psql.wait(), 1)

    def assert_peer_is_the_bridge(self):
        """Root asks, but it is the other user's `idc forward` that PostgreSQL sees."""
        self.ask(self.web, "createdb -h %s seen" % self.there)
        self.assertEqual(self.sql("select current_user", database="seen"), self.user.pw_name)
        if self.world.can_change_uid:
            self.ask(self.web, "psql -h %s seen" % self.there, status=2)  # root itself, without a bridge

    def test_clients_dump_and_restore(self):
        for name in "bench", "copy":
            self.ask(self.web, "createdb -h %s %s" % (self.there, name))
        self.sql_line("pgbench -h /run/sql -q -i")
        said = self.sql_line("pgbench -h /run/sql -c")
        self.assertIn("number of transactions actually processed: 1000/1000", said)
        self.sql_line("pg_dump")
        self.sql_line("pg_restore")
        self.assertRegex(self.sql_line("psql"), r"\n +500000\n")
        self.assertEqual(self.sql(self.SUM, database="copy"), self.sql(self.SUM, where=self.there))
        self.assert_cancelled()
        self.assert_peer_is_the_bridge()
        self.server.kill(signal.SIGINT)
        self.assertEqual(self.server.wait(self.patience), 0)
        self.assert_all_taken()


class Monitor(RecipeCase):
    heading = "Figures for a monitor"
    unpacked = ("prometheus-node-exporter",)
    installed = ("curl",)

    def test_figures(self):
        if self.world.platform == "xen":
            self.shell(self.web, "ifconfig lo 127.0.0.1 up")
            self.shell(self.dom0, "ifconfig lo 127.0.0.1 up")
        here, port, other = self.directory(self.dom0), free_port(), free_port()
        exporter = self.begin(self.web, self.take("web$", "prometheus", ("9100", port)))
        exporter.stderr.read_until(b"istening on", self.patience)
        self.begin(self.web, self.take("web$", "idc forward", ("9100", port)))
        self.wait_service(self.web, "org.example.metrics")
        answers = [self.by_port(other)]
        if self.world.platform == "local":
            answers.append(self.by_socket(here))
            self.assert_all_taken()
        for answer in answers:
            self.assertRegex(answer, r"\nnode_load1 [0-9]")
            self.assertRegex(answer, r"\npromhttp_metric_handler_requests_total{code=\"503\"} 0\n$")
        self.assertEqual(*[set(re.findall("^# TYPE node_.*", answer, re.MULTILINE)) for answer in (answers[0], answers[-1])])

    def by_port(self, port):
        self.begin(self.dom0, self.take("dom0$", "idc forward tcp-listen", ("9101", port)))
        curl = [("curl -s", "wget -q -O -")] if self.world.platform == "xen" else []  # busybox
        line = self.take("dom0$", "curl -s http:", ("9101", port), *curl)
        wait_until(lambda: self.dom0.run(["sh", "-c", line]).returncode == 0, what="the port")
        return self.ask(self.dom0, line).decode()

    def by_socket(self, here):
        self.begin(self.dom0, self.take("dom0$", "idc forward unix-listen", ("/run/", here + "/")))
        self.wait_file(self.dom0, here + "/web.metrics")
        return self.ask(self.dom0, self.take("dom0$", "curl -s --unix", ("/run/", here + "/"))).decode()


class Clipboard(RecipeCase):
    platforms = ("local",)
    needs_debian = False
    heading = "A clipboard"
    unpacked = ()
    installed = ("Xvfb", "xclip")

    def display(self, domain):
        """A new one: the environment of its programs."""
        server = self.begin(domain, "Xvfb -displayfd 1 -nolisten tcp -screen 0 64x64x24")
        return {"DISPLAY": ":" + server.stdout.readline(self.patience).decode().strip()}

    def copy(self, domain, env, text):
        self.ask(domain, "xclip -selection clipboard -in > /dev/null 2>&1", env=env, input=text)

    def paste(self, domain, env):
        return self.ask(domain, "xclip -selection clipboard -out", env=env)

    def test_a_selection_there_and_back(self):
        web, dom0 = self.display(self.web), self.display(self.dom0)
        for name in "set", "get":
            self.begin(self.web, self.take("web$", "idc serve --name org.example.clip." + name), env=web)
            self.wait_service(self.web, "org.example.clip." + name)
        for size in 10, 300000:  # a large one goes through X in parts
            there, back = os.urandom(size).hex().encode(), os.urandom(size).hex().encode()
            self.copy(self.dom0, dom0, there)
            self.ask(self.dom0, self.take("dom0$", "xclip"), env=dom0)
            wait_until(lambda: self.paste(self.web, web) == there, what="the selection in web")
            self.assertEqual(self.paste(self.dom0, dom0), there)
            self.copy(self.web, web, back)
            self.ask(self.dom0, self.take("dom0$", "idc cat") + " > /dev/null 2>&1", env=dom0)
            self.assertEqual(self.paste(self.dom0, dom0), back)
        self.assert_all_taken()


class EachSection(unittest.TestCase):
    def test_has_a_test(self):
        classes = (Agent, Ssh, Postgres, Monitor, Clipboard, test_two_hosts.TwoHosts)
        self.assertEqual(list(recipe_case.sections()), [one.heading for one in classes])
