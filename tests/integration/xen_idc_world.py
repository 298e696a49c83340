# SPDX-License-Identifier: GPL-2.0-or-later
"""World (world.py) of real domains: a and b are guests, c is dom0, on Xen in QEMU (tests/xen/xenworld.py).

link_mgr is an ordinary child of the harness's agent in each domain, idc-setup runs in dom0. One boot serves the whole run:
what a test leaves in the machine is the next one's, so a guest that a test destroyed is made again (begin), and b is to have
the higher domid, as everywhere. What a test starts carries MARK in its environment, by which it is found in the end, whoever knows
of it (clean_up). A guest that does not answer is destroyed, and when dom0 does not, the machine is booted again. That there is Xen
is for link_mgr and idc-setup to find out (--platform auto).
"""

import math
import os
import re
import sys

import debian
import rpc
from world import GO_PROBE, PROGRAMS, ROOT, Domain, test_user, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "xen"))
from release import Release  # noqa: E402
from xenworld import LinkLost, XenError, XenWorld  # noqa: E402

LIBRARY = "/usr/lib/idc/libidc-vsock.so"
SCRIPTS = ["vsock_asyncio.py"]
SOCKET = "/run/idc/rpc.sock"
GROUP_IDC = 900  # of the images
MARK = "IDC_TEST_PROCESS="
WAIT = 60  # seconds that anything is waited for, before it is said not to come


class XenDomain(Domain):
    xen = None

    def __init__(self, world, role):
        super().__init__(world, role)
        self.socket = SOCKET

    @property
    def domid(self):
        return self.xen.domid

    def spawn_program(self, argv, env, uid=0):
        return self.xen.spawn(argv, env={**env, MARK[:-1]: "1"}, uid=uid, gid=GROUP_IDC if uid else 0)

    def read_file(self, path):
        return self.xen.get_file(path)

    def list_directory(self, path):
        return self.xen.run(["ls", path], check=True).stdout.decode().split()

    def rpc(self, timeout=60):
        return rpc.connect_through(self.spawn(["rpcpipe"]), timeout * self.world.slowness)

    def lost(self):
        """The domain was destroyed, with all that ran in it."""
        self.daemon = self._control = None
        self._programs = []

    def shell(self, script, check=True, timeout=60):
        result = self.xen.run(["sh", "-c", script], check=check, timeout=timeout)
        return result.stdout.decode(errors="replace")


FACTS = "unit/test_af_unix_facts"
# Of a domid, with a generation, a text, and what `now` is to say: the part first, then `now`; each only for dom0 and that domain.
WRITE_RULES = """set -e
idc=/local/domain/$1/idc rules=/local/domain/$1/idc/policy/rules reader=r$1
[ "$1" != 0 ] || reader=
xenstore-write "$rules/$2/0" "$3"
for node in "$idc" "$idc/policy" "$rules" "$rules/$2" "$rules/$2/0"; do
    xenstore-chmod "$node" n0 $reader
done
xenstore-write "$rules/now" "$4"
xenstore-chmod "$rules/now" n0 $reader
"""


class XenIdcWorld:
    platform = "xen"
    has_python = False
    local_files = False
    can_change_uid = True
    measures_memory = True

    def __init__(self, build_dir, with_debian=False, with_go=False):
        """with_debian: the domains have programs of Debian, and memory for them. with_go: one in Go, where it was built."""
        self.build_dir = os.path.abspath(build_dir)
        programs = [os.path.join(self.build_dir, "tests", name) for name in PROGRAMS] + [os.path.join(self.build_dir, FACTS)]
        probe = os.path.join(self.build_dir, "tests", GO_PROBE)
        programs += [probe] * (with_go and os.path.exists(probe))
        files, memory = self._own_files(), 192
        if with_debian:
            more, their_files = debian.for_image(Release(os.path.join(self.build_dir, "xen")))
            programs += more
            files += their_files
            memory = 448
        self.domains = [XenDomain(self, role) for role in "abc"]
        self.a, self.b, self.c = self.domains
        self._arguments = dict(guests=2, programs=programs, files=files, guest_memory=memory, verbose=True)
        self._boot()

    def _boot(self):
        self.xen = XenWorld(self.build_dir, **self._arguments).start()
        # What is emulated is slower; and the host may have more to do, which the machine's own clock doesn't show.
        self.slowness = math.ceil(8 * self.xen.slowness)
        self.pace = 3 if self.xen.own_clock else self.slowness
        wait_until.at_least = WAIT * self.xen.slowness
        self.xen.link.at_least = WAIT
        for domain, xen in zip(self.domains, self.xen.domains[1:] + self.xen.domains[:1]):
            domain.xen = xen
            domain.lost()

    def close(self):
        self.xen.stop()

    def acquaint(self, *domains):
        """Where both may speak with each other. What a link_mgr writes into Xenstore when it starts reaches another through dom0,
        and a moment after it has said that it is ready."""
        for domain in domains:
            for other in self.domains:
                if other is not domain and other.daemon and other.base:
                    wait_until(lambda: self._know_each_other(domain, other), what="%r and %r know each other" % (domain, other))

    @staticmethod
    def _know_each_other(*pair):
        links = [one.link(other) for one, other in (pair, pair[::-1])]
        return all(link.get("present") for link in links) or not all(link.get("allowed") for link in links)

    def now(self):
        return self.xen.now()

    def pass_time(self, seconds):
        self.xen.dom0.run(["sleep", str(seconds)], check=True)

    def find_program(self, name):
        return name

    # ---- programs of Debian ----

    def _own_files(self):
        return [(LIBRARY, os.path.join(self.build_dir, os.path.basename(LIBRARY)))] + \
            [(self.script(name), os.path.join(ROOT, "tests/programs", name)) for name in SCRIPTS]

    def debian_program(self, name):
        return "/usr/bin/" + name

    def nbdkit_plugin(self, name):
        return debian.plugin_in_image(name)

    def script(self, name):
        return "/usr/lib/" + name

    def user_environment(self, domain, uid, directory):
        """The user is in the images' /etc/passwd."""
        return {}

    def daemon_options(self, domain, options):
        return ["--socket", domain.socket, "--confine", "kill"] + (["--user", test_user()] if test_user() else []) + list(options)

    def clean_up(self):
        """Nothing runs, whatever a test has done. A guest that was destroyed is made again by begin()."""
        try:
            self.c.lost()
            self.c.xen.clear(MARK)
            for guest in (self.a, self.b):
                self._clean_guest(guest)
        except (LinkLost, TimeoutError, XenError) as error:
            print("booting again: %s" % error)
            self.xen.stop(failed=True)
            self._boot()

    def _clean_guest(self, guest):
        guest.lost()
        if guest.domid is None:
            return
        try:
            guest.xen.clear(MARK)
        except TimeoutError as error:
            print("destroying the guest: %s\n%s" % (error, self.xen.diagnosis(guest.xen)))
            self.xen.destroy(guest.xen)

    def running(self):
        return ["%d processes in %r" % (count, domain) for domain, count in (
            (domain, self.xen.link.clear(domain.xen.number, MARK)) for domain in self.domains if domain.domid is not None) if count]

    def begin(self):
        """Both guests, b with the higher domid, and no node of an earlier test in the store."""
        for domain in self.domains:
            if domain.domid is None:
                domain.lost()
                self.xen.create(domain.xen.number)
        if self.a.domid > self.b.domid:
            self.xen.destroy(self.b.xen)
            self.b.lost()
            self.xen.create(self.b.xen.number)
        paths = [path for path in self.xen.store_list("/local/domain")
                 if re.fullmatch(r"/local/domain/[0-9]+(/idc/policy/(rules|[0-9]+)|/data/idc/[0-9]+)", path)]
        if paths:
            self.xen.dom0.run(["xenstore-rm"] + paths, check=True)

    def tell_setup(self, *domains, ports=None, remove=False, add=False):
        """setup, without asking the link_mgrs whether they know it: one may be stopped."""
        argv = ["idc-setup"] + ["--remove"] * remove + ["--add"] * add + (["--ports", ports] if ports else [])
        argv += [str(getattr(domain, "domid", domain)) for domain in domains]
        return self.xen.dom0.run(argv, check=True).stdout.decode()

    def setup(self, *domains, remove=False, **options):
        said = self.tell_setup(*domains, remove=remove, **options)
        self._wait_for_rules([domain for domain in domains if isinstance(domain, XenDomain)], allowed=not remove)
        return said

    def setup_rules(self, command, *words):
        return self.xen.dom0.run(["idc-setup", command, *words], check=True).stdout.decode()

    @staticmethod
    def _wait_for_rules(domains, allowed):
        """Until each link_mgr that runs there knows that it may speak with the others, or may no longer. idc-setup writes into Xenstore,
        and a guest's link_mgr reads it when its watch has come: a connect may be earlier, and ends as it did before.
        Which ports are allowed can't be seen, so who changes only these waits himself."""
        for domain in domains:
            for other in domains:
                if other is not domain and domain.daemon:
                    wait_until(lambda: bool(domain.link(other).get("allowed")) == allowed,
                               what="%r knows the rule about %r" % (domain, other))

    def write_policy(self, domain, peer, value):
        self.xen.dom0.run(["xenstore-write", "/local/domain/%d/idc/policy/%d" % (domain.domid, peer.domid), value], check=True)

    def write_rules(self, domain, generation, text, now=None):
        """A domain's rules (docs/xenstore.md, "Rules"), in place of those before, as idc-setup writes them. generation: one that idc-setup
        has not used for it; setup() publishes names as generation 1, and link_mgr reads no generation twice. now: what that node is
        to say, if it is another generation."""
        self.xen.dom0.run(["sh", "-c", WRITE_RULES, "sh", str(domain.domid), str(generation), text, now or "%d 1" % generation], check=True)

    def list_rules(self):
        return self.xen.dom0.run(["idc-setup", "--list"], check=True).stdout.decode()

    def store(self):
        return {path: value for path, value in self.xen.store_list("/local/domain").items()
                if "/data/idc/" in path and value}

    def published(self, domain):
        """Nodes of what its link_mgr has published for others."""
        return sorted(self.xen.store_list("/local/domain/%d/data/idc" % domain.domid))

    def unpublish(self, path):
        """False: it is not there any more."""
        return self.xen.dom0.run(["xenstore-rm", path]).returncode == 0

    def stray_files(self):
        sockets = [domain for domain in self.domains if domain.domid is not None and "rpc.sock" in domain.list_directory("/run/idc")]
        return sorted(self.store()) + ["%s of %r" % (SOCKET, domain) for domain in sockets]
