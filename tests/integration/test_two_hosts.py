# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains of two hosts, joined over a network as docs/recipes.md says ("Two hosts").

A host is a world of its own (world.py), with its own store and link_mgrs, and a network namespace for what speaks to the network.
A guest of the first one connects to org.example.far in its own dom0, and reaches org.example.store in a guest of the second one.
"""

import errno
import os
import subprocess
import time
import unittest

from recipe_case import RecipeCase
from ssh_case import HasSsh
from world import LocalWorld

MIB = 1 << 20
# No two blocks are the same. The sum goes to stderr.
GENERATE = """import hashlib, os, sys
block, sum = os.urandom((1 << 20) - 8), hashlib.sha256()
for number in range(int(sys.argv[1])):
    for part in number.to_bytes(8, "big"), block:
        sum.update(part)
        sys.stdout.buffer.write(part)
print(sum.hexdigest(), file=sys.stderr)"""


@unittest.skipIf(os.geteuid() != 0, "only root can make network namespaces")
class TwoHosts(HasSsh, RecipeCase):
    platforms = ("local",)
    heading = "Two hosts"
    unpacked = ("ssh", "sshd")
    installed = ("ip",)

    def setUp(self):
        self.spaces = ["idc-%d-%d" % (os.getpid(), number) for number in (1, 2)]
        if self.world.platform == "local":
            self.make_network()
        super().setUp()
        self.host2 = LocalWorld(self.world.build_dir)
        self.addCleanup(self.end_host2)
        self.host2.begin()
        self.host2.setup(self.host2.b, self.host2.c)
        for domain in self.host2.b, self.host2.c:
            domain.start(*self.options)
        self.know(self.host2.c, self.host2.b, "web")

    def end_host2(self):
        for domain in self.host2.b, self.host2.c:
            domain.kill_programs()
            self.assert_quiet(domain)
            domain.stop()
        self.assertEqual(self.host2.stray_files(), [])
        self.host2.close()

    def make_network(self):
        first, second = self.spaces
        commands = ["netns add " + first, "netns add " + second,
                    "-n %s link add one type veth peer name two netns %s" % (first, second)]
        for space, link, address in (first, "one", "10.9.0.1/24"), (second, "two", "10.9.0.2/24"):
            commands += ["-n %s address add %s dev %s" % (space, address, link), "-n %s link set %s up" % (space, link)]
        for space in self.spaces:
            self.addCleanup(subprocess.run, ["ip", "netns", "delete", space], check=False, capture_output=True)
        for command in commands:
            done = subprocess.run(["ip"] + command.split(), check=False, capture_output=True)
            if done.returncode != 0:
                self.skipTest("no network namespaces here: " + done.stderr.decode().strip())

    def begin_at(self, number, line, user=(), env=None):
        """In dom0 of this host, with its network."""
        domain = self.host2.c if number == 2 else self.dom0
        return domain.spawn(["ip", "netns", "exec", self.spaces[number - 1], *user, "sh", "-c", "exec " + line],
                            env={**self.run_environment(), **(env or {})})

    # ---- what both ways must do ----

    def serve_sums(self):
        serving = self.host2.b.spawn(["idc", "serve", "--name", "org.example.store", "--", "sha256sum"])
        self.wait_service(self.host2.b, "org.example.store")
        return serving

    def assert_bulk(self, mib):
        """The sum comes back after the end of what was sent."""
        serving = self.serve_sums()
        begin = time.monotonic()
        line = 'python3 -c "$1" "$2" | "$3" cat %d org.example.far' % self.dom0.domid
        result = self.web.run(["sh", "-c", line, "sh", GENERATE, str(mib), self.world.find_program("idc")])
        took = time.monotonic() - begin
        self.assertEqual((result.returncode, result.stdout.decode().split()), (0, result.stderr.decode().split() + ["-"]))
        serving.kill()
        serving.wait()
        return took

    def connected(self):
        self.client.do("connect", 1, domid=self.dom0.domid, name="org.example.far")
        self.server.do("accept", 100, 1)

    def passes(self, sender, receiver, size):
        sender.do("send", 1, len=size, seed=size)
        sender.do("shutdown", 1)
        self.assertEqual(receiver.do("check", 1, seed=size)["n"], size)

    def assert_half_closes(self):
        """Each end ends first once, and the other one goes on as long as it likes."""
        self.client, self.server = self.web.puppet(), self.host2.b.puppet()
        self.server.do("listen", 100, name="org.example.store")
        for first, other in (self.client, self.server), (self.server, self.client):
            self.connected()
            self.passes(first, other, 100000)
            for _ in range(3):
                other.do("send", 1, len=10)
                self.assertEqual(first.do("recv", 1)["n"], 10)
            self.passes(other, first, 300000)
            for end in first, other:
                end.do("close", 1)

    def assert_resets(self):
        """A connection that is broken off at either end."""
        for first, other in (self.client, self.server), (self.server, self.client):
            self.connected()
            first.do("send", 1, len=10)
            self.assertEqual(other.do("recv", 1)["n"], 10)
            other.do("send", 1, len=10)
            self.assertEqual(first.do("recv", 1, max=1)["n"], 1)  # the rest is there, and is left unread
            first.do("close", 1)
            self.assert_broken(other)
            other.do("close", 1)

    def assert_broken(self, end):
        if self.tells_of_resets:
            self.assert_errno(errno.ECONNRESET, end.do, "recv", 1)
        else:
            self.assertEqual(end.do("recv", 1)["n"], 0)

    # ---- the two ways ----

    def begin_far(self, line, **options):
        far = self.begin_at(1, line, **options)
        self.wait_service(self.dom0, "org.example.far")
        return far

    def begin_ssh(self):
        directory, environment = self.prepare(self.host2.c)
        with open(directory + "/key.pub", encoding="ascii") as stream:
            key = stream.read().strip()
        self.configure_sshd(self.host2.c, directory, key)
        config = "Host host2\n HostName 10.9.0.2\n Port 2222\n User user1\n IdentityFile %s/key\n UserKnownHostsFile %s/known\n" \
            " StrictHostKeyChecking yes\n BatchMode yes\n HostKeyAlias host2\n" % (directory, directory)
        for name, text in ("ssh_config", config), ("known", "host2 %s\n" % key):
            with open(os.path.join(directory, name), "w", encoding="ascii") as stream:
                stream.write(text)
        # As the user that logs in, who may use link_mgr by its group.
        user = ["setpriv", "--reuid", str(self.uid), "--regid", str(os.stat(self.host2.c.socket).st_gid), "--clear-groups"]
        line = "%s -D -e -f %s/config -p 2222 -o ListenAddress=10.9.0.2" % (self.world.debian_program("sshd"), directory)
        sshd = self.begin_at(2, line, user, environment)
        sshd.stderr.read_until(b"Server listening on", self.patience)
        moved = ("/run/", directory + "/")
        self.begin_at(2, self.take("host2$", "idc forward unix-listen", moved), user)
        self.wait_file(self.host2.c, directory + "/store.sock")
        self.begin_at(1, self.take("host1$", "ssh -N", moved, (" host2", " -F %s/ssh_config host2" % directory)))
        self.wait_file(self.dom0, directory + "/far.sock")
        self.begin_far(self.take("host1$", "idc forward idc-listen:org.example.far unix:", moved))

    def test_by_tcp_and_by_ssh(self):
        mib = int(os.environ.get("IDC_TEST_BULK_MIB") or 1024)
        self.begin_at(2, self.take("host2$", "idc forward tcp-listen"))
        far = self.begin_far(self.take("host1$", "idc forward idc-listen:org.example.far tcp:"))
        self.tells_of_resets = True
        took = self.assert_bulk(mib)
        self.assert_half_closes()
        self.assert_resets()
        self.client.end()
        self.server.end()
        far.kill()
        far.wait()
        self.begin_ssh()
        self.tells_of_resets = False
        by_ssh = self.assert_bulk(min(mib, 64))
        self.assert_half_closes()
        self.assert_resets()
        print("         between two hosts: %d MiB by TCP in %.1f s, %d MiB by ssh in %.1f s" % (mib, took, min(mib, 64), by_ssh))
        self.assert_all_taken()
