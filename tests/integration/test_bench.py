# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks work, and count what they say. Nothing here depends on how fast anything is."""

import json
import os
import subprocess
import sys

from case import IdcTestCase

SERVICE = "org.idc.bench"
SHORT = ["--seconds", "0.02"]
MIB = 1024 * 1024
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench")


class Benchmark(IdcTestCase):
    timeout = 600

    def serve(self, domain, argv, said=b"ready\n"):
        process = domain.spawn(argv)
        stream = process.stdout if said == b"ready\n" else process.stderr
        self.assertIn(said, stream.readline(60))
        return process

    def run_json(self, argv):
        result = self.a.run(argv, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)


class IdcBench(Benchmark):
    """idc bench, as anybody may use it."""

    def listen(self, *options):
        return self.serve(self.b, ["idc", "bench", "--listen"] + list(options), b"listening")

    def refusal(self, *arguments):
        result = self.a.run(["idc", "bench"] + [str(word) for word in arguments])
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        lines = result.stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        return lines[0]

    def test_all_figures(self):
        self.listen()
        answer = self.run_json(["idc", "bench", "--json"] + SHORT + [str(self.b.domid)])
        self.assertEqual(answer["domid"], self.b.domid)
        self.assertEqual({one["test"] for one in answer["tests"]}, {"throughput", "round_trip", "loaded", "connect"})
        for one in answer["tests"]:
            for name in ("count", "seconds", "bytes_per_second" if one["test"] == "throughput" else "p50_ns"):
                self.assertGreater(one[name], 0, (name, one))

    def test_for_people(self):
        self.listen("--port", "3000")
        result = self.a.run(["idc", "bench", "--port", "3000"] + SHORT + [str(self.b.domid)], timeout=300)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        lines = result.stdout.decode().splitlines()
        self.assertEqual(len(lines), 9)
        self.assertEqual(sum("MB/s" in line for line in lines), 5, lines)
        self.assertEqual(sum(" us median" in line for line in lines), 5, lines)

    def test_nobody_listens(self):
        self.assertIn("to start it there: idc bench --listen)", self.refusal(self.b.domid))
        self.assertIn("idc bench --listen --name some.thing)", self.refusal("--name", "some.thing", self.b.domid))

    def test_somebody_else_listens(self):
        self.serve(self.b, ["idc", "cat", "--listen", "--keep"], b"listening on port ")
        port = [one["port"] for one in self.b.status()["listeners"] if one["port"] != 1][0]
        self.assertIn("is not a benchmark server", self.refusal("--port", port, self.b.domid))


class AllowedBench(IdcBench):
    """A rule for the service alone is enough; without one, it says what to do."""
    permit = False

    def test_all_figures(self):
        self.world.setup(self.a, self.b, ports=SERVICE)
        super().test_all_figures()

    def test_refused(self):
        self.listen()
        self.assertIn("idc-setup allow %d %d %s" % (self.a.domid, self.b.domid, SERVICE), self.refusal(self.b.domid))

    test_for_people = test_nobody_listens = test_somebody_else_listens = None


class BenchProgram(Benchmark):
    """build/bench, which `make bench` runs."""
    platforms = ("local",)

    def bench(self, transport, address, *words):
        watch = ["--watch", str(self.a.daemon.pid), "--watch", str(self.b.daemon.pid)]
        return self.run_json(["bench", "run", transport] + address + list(words) + watch)

    def test_every_transport(self):
        path = self.world.directory
        for transport, listen, connect in (
                ("idc", ["4000"], ["%d:4000" % self.b.domid]), ("idc", ["a.name"], ["%d:a.name" % self.b.domid]),
                ("idc-seqpacket", ["4001"], ["%d:4001" % self.b.domid]), ("unix", [path + "/unix"], [path + "/unix"]),
                ("chain", [path + "/chain"], [path + "/chain"]), ("socketpair", None, [])):
            if listen:
                self.serve(self.b, ["bench", "serve", transport] + listen)
            for test in ("throughput", "round_trip", "connect", "loaded", "fairness", "memory"):
                with self.subTest(transport=transport, test=test):
                    size = ["--size", "4096"] if transport == "idc-seqpacket" else []
                    result = self.bench(transport, connect, test, "--streams", "4", "--idle", "20", *size, *SHORT)
                    self.assertEqual((result["test"], result["transport"]), (test, transport))
                    self.assertGreater(result["seconds"], 0)

    def test_bytes_are_carried_and_counted(self):
        self.serve(self.b, ["bench", "serve", "idc", "4000"])
        address = ["%d:4000" % self.b.domid]
        self.bench("idc", address, "round_trip", "--count", "10")
        before = self.a.link(self.b)
        result = self.bench("idc", address, "throughput", "--size", "65536", "--count", str(16 * MIB))
        after = self.a.link(self.b)
        carried = after["bytes_sent"] - before["bytes_sent"]
        self.assertEqual(result["count"], 16 * MIB)
        self.assertTrue(16 * MIB < carried < 16 * MIB + 1000, carried)  # and a few requests
        self.assertLess(abs(result["frames_sent"] * 16 - (after["frames_sent"] - before["frames_sent"])), 20)
        self.assertGreater(result["cpu_between_ns"], 0)
        self.assertGreater(result["cpu_programs_ns"], 0)

    def test_what_is_not_there(self):
        missing = self.a.run(["bench", "run", "unix", self.world.directory + "/none", "round_trip"])
        self.assertEqual((missing.returncode, missing.stderr), (1, b"bench: connecting: No such file or directory\n"))
        for words in (["run", "unix", "x", "nonsense"], ["run", "nonsense", "x", "connect"], ["run", "unix", "connect"],
                      ["serve", "socketpair"], ["run", "unix", "x", "connect", "--size", "none"], []):
            wrong = self.a.run(["bench"] + words)
            self.assertEqual(wrong.returncode, 2, words)

    def test_the_table(self):
        """One row of it and what it compares with, and one of the goals."""
        path = os.path.join(self.world.directory, "figures")
        command = [sys.executable, TABLE + "/run", "--build", self.world.build_dir, "--quick", "--seconds", "0.02",
                   "-k", "connect-64-1-0-idc", "-k", "connect-64-1-0-unix", "-k", "fairness-65536-16-0-idc", "--json", path]
        result = subprocess.run(command, capture_output=True, timeout=300, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"a second", result.stdout)
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        connect = [table for table in data["tables"] if table["title"].startswith("Connect")][0]
        self.assertGreater(connect["rows"][0]["values"]["idc"], 0)
        self.assertGreater(connect["rows"][0]["values"]["unix"], 0)
        self.assertTrue(any("system_calls" in result for result in data["results"]))
        (goal,) = data["goals"]
        self.assertEqual((goal["title"], goal["met"]), ("Jain's index of 16 streams", goal["value"] >= 0.99))
        self.assertIn(b"\nGoals\n  Jain's index", result.stdout)
