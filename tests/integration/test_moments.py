# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon a link_mgr that starts knows its rules, and how soon a connection ends whose rule goes.

The figures are printed. They are judged where nothing else has a part in them: on Xen with the machine's own clock
(moments.judges).
"""

import errno
import os

import moments
from rules_case import RulesCase
from store_trace import StoreTrace

KEPT, ENDED = 1001, 1003
TIMES = 3
START_MS, END_MS = 1000, 100  # what an administrator is promised
# A link_mgr that starts asks xenstored this often, until it is connected with dom0; dom0's link_mgr is among them.
REQUESTS_MAX = 120


class Moments(RulesCase):
    roles = "abc"
    timeout = 120

    # ---- starts ----

    def start_once(self):
        process = moments.begin_start(self.b, "db", self.c.domid, KEPT, self.options)
        values = moments.said(process)
        moments.show("from the start of link_mgr, ms", values)
        moments.end_start(process)
        self.assertEqual(values["refused"], 0)
        return values

    def prepare_start(self):
        """Rules are there before link_mgr. The link to dom0 is made for the connection."""
        self.idc_setup("allow", "*", "dom0", str(KEPT))
        self.c.puppet().do("listen", 1, port=KEPT)
        self.b.stop()

    def test_start(self):
        self.prepare_start()
        for _ in range(TIMES):
            values = self.start_once()
            if moments.judges(self.world):
                self.assertLess(float(values["connected"]), START_MS)
        self.b.start(*self.options)

    def test_requests_of_a_start(self):
        if self.world.platform != "xen":
            self.skipTest("there is no xenstored")
        trace = StoreTrace(self.c)
        self.prepare_start()
        trace.begin()
        self.addCleanup(trace.end)
        process = moments.begin_start(self.b, "db", self.c.domid, KEPT, self.options)
        moments.said(process)
        requests = trace.requests()
        moments.end_start(process)
        moments.show("requests to xenstored, %d" % sum(requests.values()), requests)
        self.assertGreater(requests["READ"], 0, "the trace shows nothing")
        self.assertLess(sum(requests.values()), REQUESTS_MAX)
        self.b.start(*self.options)

    # ---- ends ----

    def end(self, what, program):
        """The connection to ENDED ends by program, and the one to KEPT stays."""
        serve = moments.serve(self.b, KEPT, ENDED)
        values = moments.said(moments.begin_end(self.c, self.b.domid, KEPT, ENDED, program))
        moments.show("from the start of %s, ms" % what, values)
        self.assertEqual(serve.wait(), 0, serve.stderr.pending())
        self.assertEqual((values["errno_here"], values["errno_there"]), (errno.EACCES, errno.EACCES))
        if moments.judges(self.world):
            self.assertLess(max(float(values[side]) for side in ("here", "there")), END_MS)

    def texts(self, *ports):
        """Rules of dom0 and of b, as idc-setup writes them."""
        rules = ["rule %d allow %d at=test:%d" % (number, port, port) for number, port in enumerate(ports, 1)]
        numbers = ",".join(rule.split()[1] for rule in rules)
        return [(domain, "\n".join(["version 1", *rules, "peer %d %s=%s" % (peer.domid, way, numbers), "end", ""]))
                for domain, way, peer in ((self.c, "out", self.b), (self.b, "in", self.c))]

    def prepare_switch(self, generation):
        """All but `now`, which still names the generation before, allows the connection to KEPT alone. Returns a program that writes
        `now`, on Xen in one transaction."""
        paths, moves = [], []
        now = "%d 1" % generation
        for domain, text in self.texts(KEPT):
            if self.world.platform == "xen":
                self.world.write_rules(domain, generation, text, "%d 1" % (generation - 1))
                paths += ["/local/domain/%d/idc/policy/rules/now" % domain.domid, now]
                continue
            directory = "domain:%d/policy/" % domain.domid
            self.world.write_node(directory + "rules.%d.0" % generation, "n0,r%d" % domain.domid, text)
            self.world.write_node(directory + ".tmp-next", "n0,r%d" % domain.domid, now)
            moves.append("mv {0}/.tmp-next {0}/rules.now".format(os.path.join(self.world.store_directory, directory)))
        return ["xenstore-write", *paths] if paths else ["sh", "-c", " && ".join(moves)]

    def test_end_by_the_store(self):
        """From the write to the end that both programs see."""
        first = 1000  # after the generations of idc-setup name
        for generation in range(first, first + 2 * TIMES, 2):
            for domain, text in self.texts(KEPT, ENDED):
                self.world.write_rules(domain, generation, text)
            program = self.prepare_switch(generation + 1)
            self.end(program[0], program)

    def test_end_by_idc_setup(self):
        """deny reads the files and the store, asks what will end, and writes."""
        store = [] if self.world.platform == "xen" else ["--store", self.world.store_directory]
        for _ in range(TIMES):
            self.idc_setup("allow", "dom0", "db", "%d,%d" % (KEPT, ENDED))
            self.end("idc-setup deny", [self.world.find_program("idc-setup"), "deny", *store, "dom0", "db", str(ENDED)])
            self.idc_setup("retract", "dom0", "db", str(ENDED))
