# SPDX-License-Identifier: GPL-2.0-or-later
"""The domain's own link_mgr is stopped, or hangs: no call and no command waits for it without a limit, each says what it waited for,
and all goes on when link_mgr does. The calls of libidc are in the unit test test_libidc, the_daemon_hangs."""

import json
import os

from case import IdcTestCase
from world import wait_until

# No limit of a command here is above 10 s, and the grace behind it 2 s: what takes longer than this hangs.
HANGS_S = 60


class Hung(IdcTestCase):
    def setUp(self):
        super().setUp()
        self.big = os.path.join(self.world.directory, "big") if self.world.platform == "local" else "/dev/null"
        if self.world.platform == "local":
            with open(self.big, "wb") as stream:
                stream.write(bytes(4 << 20))  # more than link_mgr's socket has room for
            self.addCleanup(os.unlink, self.big)

    def commands(self):
        cid = self.b.domid + 2
        vsock = [self.world.find_program("vsock"), "one", "connect", cid, 5000, self.a.domid + 2]
        return [["idc", "status"], ["idc", "status", "--timeout", "0.2"], ["idc", "ping", "-W", "1", self.b.domid],
                ["idc", "cat", "--timeout", "0.1", self.b.domid, 80], ["idc", "wait", "--timeout", "0.2"],
                ["idc", "rpc", "status"], ["idc", "rpc", "recv", "handle=7"], ["idc", "rpc", "send", "handle=7", "data=@" + self.big],
                ["idc", "run", "--"] + vsock]

    def test_each_command_has_a_limit(self):
        argvs = [[str(word) for word in argv] for argv in self.commands()]
        self.a.freeze()
        programs = [self.a.spawn(argv, env={"IDC_VSOCK_VERBOSE": "1"}) for argv in argvs]
        said = [program.communicate(timeout=HANGS_S * self.world.slowness)[1].decode() for program in programs]
        self.a.thaw()
        for argv, program, text in zip(argvs, programs, said):
            self.assertNotEqual(program.returncode, 0, argv)
            self.assertRegex(text, "link_mgr", argv)
            self.assertIn("answer", text, argv)

    def test_it_goes_on(self):
        server, client = self.b.puppet(), self.a.puppet()
        server.do("listen", 1, port=80)
        client.do("connect", 2, domid=self.b.domid, port=80)
        server.do("accept", 1, 3)
        self.a.freeze()
        late = self.a.spawn(["idc", "cat", "--timeout", "20", str(self.b.domid), "80"])
        self.assertNotEqual(self.a.run(["idc", "status", "--timeout", "0.2"]).returncode, 0)
        self.a.thaw()
        client.do("send", 2, len=100, seed=1)
        server.do("check", 3, len=100, seed=1)
        server.do("accept", 1, 4)
        server.do("close", 4)
        self.assertEqual(late.communicate()[1], b"")


class Waiting(IdcTestCase):
    platforms = ("local",)

    def sockets(self, program):
        place = "/proc/%d/fd" % program.pid
        return sum(os.readlink(os.path.join(place, name)).startswith("socket:") for name in os.listdir(place))

    def test_a_call_that_waits_by_intent(self):
        """It goes on for as long as link_mgr answers another call, which it is asked after 5 s without an answer."""
        listener = self.b.run(["idc", "rpc", "--get", "handle", "listen", "port=4000"]).stdout.decode().strip()
        waiting = self.b.spawn(["idc", "rpc", "accept", "handle=" + listener])
        wait_until(lambda: self.sockets(waiting) == 1, what="the call")
        wait_until(lambda: self.sockets(waiting) == 2, what="the other call")
        self.a.puppet().do("connect", 1, domid=self.b.domid, port=4000)
        out, err = waiting.communicate(timeout=60 * self.world.slowness)
        self.assertEqual((waiting.returncode, err), (0, b""))
        accepted = json.loads(out)
        self.assertEqual(accepted["peer_domid"], self.a.domid)
        for call in (["disconnect", "handle=%d" % accepted["handle"]], ["unlisten", "handle=" + listener]):
            self.assertEqual(self.b.run(["idc", "rpc"] + call).returncode, 0)
