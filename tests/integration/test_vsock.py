# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that speak AF_VSOCK, under `idc run`.

tests/programs/vsock.c knows nothing of IDC: it makes plain AF_VSOCK calls and checks what comes of them, case by case, against a
server that is the same program. Here it runs between two domains, within one, and where something is wrong.
"""

import json
import os
import struct

from case import IdcTestCase

PORT = 5000


# A program with a sanitizer in it would refuse to have a library before the sanitizer's.
ANY_ORDER = {"ASAN_OPTIONS": "verify_asan_link_order=0"}


class VsockCase(IdcTestCase):
    def cid(self, domain):
        return domain.domid + 2

    def start(self, domain, *words, env=None, uid=0):
        argv = ["idc", "run", "--", self.world.find_program("vsock")] + [str(word) for word in words]
        return domain.spawn(argv, env={**ANY_ORDER, **(env or {})}, uid=uid)

    def serve(self, domain):
        server = self.start(domain, "serve", PORT)
        self.assertEqual(server.stdout.readline(60 * self.world.slowness), b"ready\n")
        return server

    def check_cases(self, domain, cid, *names, env=None, uid=0):
        """All (or the named) cases, run in domain against cid. Returns what the program said on stderr."""
        program = self.start(domain, "run", cid, PORT, self.cid(domain), *names, env=env, uid=uid)
        out, err = program.communicate(timeout=self.timeout * self.world.slowness)
        lines = out.decode().splitlines()
        wrong = [line for line in lines if not line.startswith("ok ")][:-1]
        self.assertEqual(wrong, [], err.decode())
        self.assertEqual(program.returncode, 0, out + err)
        if names:
            self.assertEqual(lines[-1], "%d ok, 0 failed" % len(names))
        return err.decode()


class TestVsock(VsockCase):
    timeout = 600

    def test_between_domains(self):
        self.serve(self.b)
        self.check_cases(self.a, self.cid(self.b))

    def test_within_the_domain(self):
        self.serve(self.a)
        self.check_cases(self.a, 1)

    def test_own_cid_is_the_domain(self):
        self.serve(self.a)
        self.check_cases(self.a, self.cid(self.a), "connect", "nonblocking", "messages")

    def test_other_user_binds_no_privileged_port(self):
        if not self.world.can_change_uid:
            self.skipTest("needs another user")
        self.check_cases(self.a, 1, "privileged", uid=1000)

    def test_time_is_up(self):
        self.b.freeze()
        self.check_cases(self.a, self.cid(self.b), "timeout")
        self.b.thaw()

    def test_interrupted_connect(self):
        self.serve(self.b)
        self.b.freeze()
        program = self.start(self.a, "one", "interrupted", self.cid(self.b), PORT, self.cid(self.a))
        self.assertEqual(program.stdout.readline(60 * self.world.slowness), b"waiting\n")
        self.b.thaw()
        out, err = program.communicate(timeout=self.timeout * self.world.slowness)
        self.assertEqual((out, program.returncode), (b"", 0), err)

    def test_denied(self):
        self.world.setup(self.a, self.b, remove=True)
        said = self.check_cases(self.a, self.cid(self.b), "denied", env={"IDC_VSOCK_VERBOSE": "1"})
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn("idc-vsock: connect: domain %d: policy does not allow it" % self.b.domid, said)

    def test_says_that_no_descriptor_is_left(self):
        self.serve(self.a)
        said = self.check_cases(self.a, 1, "without_descriptors", env={"IDC_VSOCK_VERBOSE": "1"})
        for call in ("bind", "listen", "connect"):
            self.assertIn("idc-vsock: %s: no descriptor is left for the parts of the socket" % call, said)

    def test_no_link_mgr(self):
        said = self.check_cases(self.a, self.cid(self.b), "absent", env={"IDC_SOCKET": "/nonexistent", "IDC_VSOCK_VERBOSE": "1"})
        self.assertIn("idc-vsock: no link_mgr serves /nonexistent", said)

    def test_link_mgr_ends(self):
        server = self.start(self.a, "one", "accept_until_the_end", 1, PORT, self.cid(self.a))
        self.assertEqual(server.stdout.readline(60 * self.world.slowness), b"listening\n")
        self.a.restart(*self.options)
        out, err = server.communicate(timeout=60 * self.world.slowness)
        self.assertEqual((out, server.returncode), (b"ended\n", 0), err)

    def test_link_mgr_ends_with_ports_that_are_bound(self):
        program = self.start(self.a, "one", "bound_before_the_end", 1, PORT, self.cid(self.a), env={"IDC_VSOCK_VERBOSE": "1"})
        self.assertEqual(program.stdout.readline(60 * self.world.slowness), b"bound\n")
        self.a.restart(*self.options)
        program.write(b"\n")
        out, err = program.communicate(timeout=60 * self.world.slowness)
        self.assertEqual((out, program.returncode), (b"ended\n", 0), err)
        self.assertEqual(err.count(b"no reservation of a port"), 3, err)

    def test_a_vsock_program_and_a_program_of_idc(self):
        """The same ports, and connections of either kind."""
        server = self.serve(self.b)
        client = self.a.puppet()
        client.do("connect", 1, domid=self.b.domid, port=PORT)
        client.do("close", 1)
        server.kill()
        self.b.wait_port_free(PORT)
        listener = self.b.puppet()
        listener.do("listen", 1, port=PORT)
        taking = listener.begin("accept", 1, 2)
        asking = self.start(self.a, "one", "nonblocking", self.cid(self.b), PORT, self.cid(self.a))
        peer = taking.result()
        self.assertEqual(peer["domid"], self.a.domid)
        asking.kill()


class TestCost(VsockCase):
    """Calls that have nothing to do with vsock."""
    platforms = ("local",)
    roles = "a"

    def allowed(self, name, alone):
        """Nanoseconds more for a call, or for each of two: less than the cheapest system call costs (close of no descriptor)."""
        return max(50, alone["close_ns"] * 0.4) * (2 if "_close" in name else 1) + alone[name] * 0.05

    def measure(self, *before):
        result = self.a.run(list(before) + [os.path.join(self.world.build_dir, "bench"), "calls"])
        self.assertEqual(result.returncode, 0, result)
        return {name: value for name, value in json.loads(result.stdout).items() if name.endswith("_ns")}

    def test_other_calls(self):
        if not self.world.measures_memory:
            self.skipTest("a sanitizer or valgrind has its own time")
        alone, preloaded = self.measure(), self.measure("idc", "run", "--")
        for _ in range(20):  # other work on the machine makes any of them slower, never faster
            for best, measured in ((alone, self.measure()), (preloaded, self.measure("idc", "run", "--"))):
                best.update({name: min(best[name], value) for name, value in measured.items()})
            dear = {name: (alone[name], preloaded[name]) for name in alone
                    if preloaded[name] - alone[name] >= self.allowed(name, alone)}
            if not dear:
                return
        self.fail("without the library, and with it: %r" % dear)


class TestRun(VsockCase):
    """The command line of `idc run`."""
    platforms = ("local",)
    roles = "a"

    def run_idc(self, *words, env=None):
        return self.a.run(["idc", "run"] + list(words), env={**ANY_ORDER, **(env or {})})

    def check_fails(self, result, status, text):
        self.assertEqual(result.returncode, status, result)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertIn(text, result.stderr)

    def test_errors(self):
        self.check_fails(self.run_idc(), 2, b"needs a PROGRAM")
        self.check_fails(self.run_idc("--nosuch", "true"), 2, b"nosuch")
        self.check_fails(self.run_idc("/nonexistent/program"), 127, b"/nonexistent/program")
        self.check_fails(self.run_idc("no-such-program-anywhere"), 127, b"no-such-program-anywhere")
        self.check_fails(self.run_idc("/etc/passwd"), 126, b"/etc/passwd: Permission denied")

    def test_the_program_s_status_and_arguments(self):
        result = self.run_idc("--", "sh", "-c", "echo $0 $1; exit 7", "--socket", "x")
        self.assertEqual((result.returncode, result.stdout), (7, b"--socket x\n"))

    def test_environment(self):
        result = self.run_idc("--socket", "/some/where", "sh", "-c", "echo $IDC_SOCKET $LD_PRELOAD")
        socket, preload = result.stdout.decode().split()
        self.assertEqual(socket, "/some/where")
        self.assertEqual(os.path.basename(preload), "libidc-vsock.so")
        # (idc may have a sanitizer in it, which would rather be preloaded first.)
        environment = {"LD_PRELOAD": preload, "ASAN_OPTIONS": "verify_asan_link_order=0"}
        result = self.run_idc("sh", "-c", "echo $LD_PRELOAD", env=environment)
        self.assertEqual(result.stdout.decode().strip(), preload + ":" + preload)

    def test_static_program_is_warned_about(self):
        static = os.path.join(self.world.directory, "static")
        source = static + ".s"
        with open(source, "w", encoding="ascii") as stream:
            stream.write(".globl _start\n_start: mov $60, %eax\nmov $3, %edi\nsyscall\n")
        self.a.run(["gcc", "-nostdlib", "-static", "-o", static, source])
        self.check_fails(self.run_idc(static), 3, b"is a static program")

    def compile(self, name, *options, source="int main(void) { return 3; }"):
        """A program, in the world's directory; its path. options are gcc's."""
        program = os.path.join(self.world.directory, name)
        with open(program + ".c", "w", encoding="ascii") as stream:
            stream.write(source)
        made = self.a.run(["gcc", "-o", program, program + ".c"] + list(options))
        self.assertEqual(made.returncode, 0, made.stderr)
        return program

    def test_program_of_another_c_library_is_warned_about(self):
        """As musl's: its loader would not start the program with our library. Here the name of the loader is another."""
        loader = os.path.join(self.world.directory, "ld-musl-x86_64.so.1")
        os.symlink("/lib64/ld-linux-x86-64.so.2", loader)
        self.addCleanup(os.unlink, loader)
        program = self.compile("other", "-Wl,--dynamic-linker=" + loader, source="""#include <stdlib.h>
            int main(void) { return getenv("LD_PRELOAD") ? 4 : 3; }""")
        result = self.run_idc(program)
        self.check_fails(result, 3, b"is linked with another C library than glibc")
        self.assertIn(b"idc cat", result.stderr)
        script = os.path.join(self.world.directory, "script")
        with open(script, "w", encoding="ascii") as stream:
            stream.write("#!%s\n" % program)
        os.chmod(script, 0o755)
        self.check_fails(self.run_idc(script), 3, b"is linked with another C library than glibc")

    def test_program_of_go_is_warned_about(self):
        """The note that Go's linker leaves in a program is what tells; or the section, where notes were joined."""
        note = """__asm__(".pushsection %s,\\"a\\",@%s\\n.balign 4\\n.long 4, 4, 4\\n.asciz \\"Go\\"\\n.balign 4\\n"
            ".ascii \\"abcd\\"\\n.popsection");
            int main(void) { return 3; }"""
        for number, place in enumerate(((".note.any", "note"), (".go.buildinfo", "progbits"))):
            result = self.run_idc(self.compile("go%d" % number, source=note % place))
            self.check_fails(result, 3, b"is written in Go")
            self.assertIn(b"idc cat", result.stderr)

    def test_program_with_address_sanitizer_is_served(self):
        """It would end with a message of the sanitizer. It is told to accept the library, and has it."""
        program = self.compile("sanitized", "-fsanitize=address", source="""#include <sys/socket.h>
            int main(void) { int type = 0; socklen_t len = sizeof(type), fd = socket(AF_VSOCK, SOCK_STREAM, 0);
            struct sockaddr_storage peer; socklen_t peer_len = sizeof(peer);
            return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &type, &len) == 0 && type == AF_VSOCK && fd >= 0 &&
                   recv(fd, &peer, 0, MSG_ERRQUEUE) == -1 && peer_len ? 3 : 4; }""")
        environment = {"ASAN_OPTIONS": "detect_leaks=0"}
        result = self.a.run(["idc", "run", "--", program], env=environment)
        self.check_fails(result, 3, b"is built with AddressSanitizer")
        self.assertIn(b"ASAN_OPTIONS=verify_asan_link_order=0", result.stderr)
        environment["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        self.assertEqual(self.a.run(["idc", "run", "--", program], env=environment).stderr, b"")

    def test_other_files_are_run_as_they_are(self):
        """Cut, and with nonsense behind a header that seems right: what is wrong is execve's to say."""
        with open("/bin/true", "rb") as stream:
            whole = stream.read()
        for length in (4, 63, 64, 100, 1000, len(whole) // 2):
            program = os.path.join(self.world.directory, "cut")
            with open(program, "wb") as stream:
                stream.write(whole[:64] + b"\xff" * (length - 64) if length > 64 else whole[:length])
            os.chmod(program, 0o755)
            self.assertEqual(self.run_idc(program).returncode, self.a.run(["env", program]).returncode)

    def test_setuid_program_is_warned_about(self):
        if not self.world.can_change_uid:
            self.skipTest("needs another user")
        program = os.path.join(self.world.directory, "setuid")
        self.a.run(["cp", "/bin/true", program])
        os.chown(program, 1000, 1000)
        os.chmod(program, 0o4755)
        self.check_fails(self.run_idc(program), 0, b"is setuid or setgid")

    def test_program_with_file_capabilities_is_warned_about(self):
        if not self.world.can_change_uid:
            self.skipTest("needs another user")
        program = os.path.join(self.world.directory, "capable")
        self.a.run(["cp", "/bin/true", program])
        os.chmod(program, 0o755)
        try:  # version 2, effective: CAP_NET_BIND_SERVICE
            os.setxattr(program, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
        except OSError as error:
            self.skipTest("no file capabilities here: %s" % error)
        self.assertEqual(self.run_idc(program).stderr, b"")  # root has them all
        process = self.a.spawn(["idc", "run", "--", program], uid=1000, env=ANY_ORDER)
        out, err = process.communicate(timeout=60 * self.world.slowness)
        self.assertEqual((process.returncode, out, err.count(b"\n")), (0, b"", 1), err)
        self.assertIn(b"has file capabilities", err)
