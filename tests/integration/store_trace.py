# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests that xenstored gets, by its own trace. Xen only."""

import collections
import re

FILE = "/tmp/xenstored-trace.log"


class StoreTrace:
    """From begin() to end()."""

    def __init__(self, dom0):
        self._dom0 = dom0

    def _switch(self, state):
        self._dom0.shell("xenstore-control logfile %s && xenstore-control log %s" % (FILE, state))

    def begin(self):
        self._dom0.shell("rm -f " + FILE)
        self._switch("on")

    def end(self):
        self._switch("off")

    def requests(self):
        """{kind: how many}, so far. What xenstore-control itself asks is left out."""
        text = self._dom0.shell("cat %s 2>/dev/null || true" % FILE)
        kinds = re.findall(r"^(?:\S+ )?IN .*? ([A-Z_]+) ?\(", text, re.MULTILINE)
        return collections.Counter(kind for kind in kinds if kind != "CONTROL")
