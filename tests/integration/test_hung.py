# SPDX-License-Identifier: GPL-2.0-or-later
"""The domain's own link_mgr is stopped, or hangs: no call and no command waits for it without a limit, each says what it waited for,
and all goes on when link_mgr does. The calls of libidc are in the unit test test_libidc, the_daemon_hangs."""


from case import IdcTestCase

# No limit of a command here is above 5 s, and the grace behind it 2 s: what takes longer than this hangs.
HANGS_S = 60


class Hung(IdcTestCase):
    def commands(self):
        cid = self.b.domid + 2
        vsock = [self.world.find_program("vsock"), "one", "connect", cid, 5000, self.a.domid + 2]
        return [["idc", "status"], ["idc", "status", "--timeout", "0.2"], ["idc", "ping", "-W", "1", self.b.domid],
                ["idc", "cat", "--timeout", "0.1", self.b.domid, 80], ["idc", "wait", "--timeout", "0.2"],
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
