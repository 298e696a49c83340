# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc status --prometheus`: each line is in the text format, the values are those of idc.status, and whoever asks over HTTP gets them
whatever others do. A real Prometheus scrapes two domains, where it is installed."""

import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import tempfile

from case import IdcTestCase
from world import wait_until

NAMES = "version 1\nself uuid=ffffffff-0000-0000-0000-%012d\npeer %d name=%s\nend\n"
LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"([a-z_]+)(?:\{(%s(?:,%s)*)\})? (-?[0-9.]+)" % (LABEL, LABEL))


def parse(text):
    """{metric: {labels as (name, value) pairs: value}}; it asserts what the format and its conventions ask for."""
    types, found = {}, {}
    if not text.endswith("\n"):
        raise AssertionError("no newline at the end")
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("# HELP "):
            name = line.split()[2]
            kind = re.fullmatch("# TYPE %s (counter|gauge)" % name, next(lines))[1]
            if name in types or (kind == "counter") != name.endswith("_total"):
                raise AssertionError("%s: twice, or a wrong name for a %s" % (name, kind))
            types[name], found[name] = kind, {}
            continue
        sample = SAMPLE.fullmatch(line)
        if not sample or sample[1] != name:
            raise AssertionError("%r below %s" % (line, name))
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2] or "")
        key = tuple((label, re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], value)) for label, value in labels)
        if key in found[name]:
            raise AssertionError("%r is there twice" % line)
        found[name][key] = float(sample[3])
    return found


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.host)


class MetricsCase(IdcTestCase):
    platforms = ("local",)

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp(prefix="idc-metrics-")
        self.addCleanup(shutil.rmtree, self.directory)

    def once(self):
        result = self.a.run(["idc", "status", "--prometheus"])
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return parse(result.stdout.decode())

    def serve(self, domain, place):
        return domain.spawn(["idc", "status", "--prometheus", "--listen", place])


class Format(MetricsCase):
    def test_what_idc_status_says(self):
        client, server = self.pair()
        client.do("send", 1, len=1000, seed=1)
        self.assertEqual(server.do("recv", 1, max=1000)["n"], 1000)
        found, status = self.once(), self.a.status()
        who = (("domain", str(self.b.domid)), ("domid", str(self.b.domid)))
        link = status["links"][0]
        self.assertEqual(found["idc_up"], {(): 1})
        self.assertEqual(found["idc_links"][(("state", "up"),)], 1)
        self.assertEqual(found["idc_connections"], {who: 1})
        self.assertEqual(found["idc_bytes_total"], {who + (("direction", "sent"),): link["bytes_sent"],
                                                    who + (("direction", "received"),): link["bytes_received"]})
        self.assertGreaterEqual(link["bytes_sent"], 1000)
        self.assertEqual(found["idc_connects_total"], {(): status["counters"]["connects"]})
        names = {"idc_" + re.sub("_now$", "", name) + ("_bytes" if "memory" in name else "" if name.endswith("_now") else "_total")
                 for name in status["counters"]}
        self.assertEqual(names - set(found), set())
        self.assertEqual(found["idc_listeners"], {(): len(status["listeners"])})
        self.assertEqual(dict(next(iter(found["idc_info"])))["domid"], str(self.a.domid))

    def test_a_name_is_escaped(self):
        self.world.write_rules(self.a, 1000, NAMES % (self.a.domid, self.b.domid, "a%22b%5cc"))
        wait_until(lambda: self.a.status()["links"][0]["name"], what="the name")
        labels = dict(next(iter(self.once()["idc_connections"])))
        self.assertEqual(labels, {"domain": self.a.status()["links"][0]["name"], "domid": str(self.b.domid)})
        self.assertIn('"', labels["domain"])

    def test_wrong_options(self):
        for words in (["--listen", "unix:/x"], ["--prometheus", "--json"], ["--prometheus", "--listen", "udp:1:2"],
                      ["--prometheus", "--listen", "unix:"], ["--prometheus", "--channels"], ["--prometheus", "--watch"]):
            with self.subTest(words=words):
                self.assertEqual(self.a.run(["idc", "status", *words]).returncode, 2)


class Served(MetricsCase):
    def setUp(self):
        super().setUp()
        self.path = self.directory + "/metrics"

    def ask(self, path=None, method="GET", url="/metrics"):
        connection = UnixConnection(path or self.path)
        connection.request(method, url)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, body

    def begin(self):
        server = self.serve(self.a, "unix:" + self.path)
        wait_until(lambda: os.path.exists(self.path), what="the socket")
        return server

    def up(self):
        status, _, body = self.ask()
        self.assertEqual(status, 200)
        return parse(body)["idc_up"][()]

    def test_get_and_nothing_else(self):
        server = self.begin()
        status, headers, body = self.ask()
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertEqual(parse(body)["idc_up"], {(): 1})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o660)
        self.assertEqual(self.ask(url="/")[0], 404)
        self.assertEqual(self.ask(url="/metrics/x", method="POST")[0], 404)
        for method in "POST", "HEAD", "PUT", "DELETE":
            status, headers, _ = self.ask(method=method)
            self.assertEqual((status, headers["Allow"]), (405, "GET"), method)
        server.kill(signal.SIGTERM)
        self.assertEqual((server.wait(), os.path.exists(self.path)), (0, False))

    def test_link_mgr_comes_and_goes(self):
        self.begin()
        self.assertEqual(self.up(), 1)
        self.a.kill()
        wait_until(lambda: self.up() == 0, what="idc_up 0")
        self.a.start(*self.options)
        wait_until(lambda: self.up() == 1, what="idc_up 1")

    def test_many_clients_and_slow_ones(self):
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 4096)), before[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        server, idle = self.begin(), []
        for number in range(1000):
            one = socket.socket(socket.AF_UNIX)
            self.addCleanup(one.close)
            one.settimeout(60)
            one.connect(self.path)
            if number % 2:
                one.send(b"GET /metr")
            idle.append(one)
        for _ in range(20):
            self.assertEqual(self.up(), 1)
        for one in idle:
            one.close()
        self.assertEqual(self.up(), 1)
        self.assertIsNone(server.returncode)

    def test_tcp_is_at_the_address_only(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.serve(self.a, "tcp:127.0.0.1:%d" % port)

        def answers():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/metrics")
                return parse(connection.getresponse().read().decode())["idc_up"][()] == 1
            except ConnectionRefusedError:
                return False

        wait_until(answers, what="an answer")
        with socket.socket() as other:
            self.assertNotEqual(other.connect_ex(("127.0.0.2", port)), 0)


class Prometheus(MetricsCase):
    """With the programs of Debian's package prometheus."""
    timeout = 600

    def setUp(self):
        if not shutil.which("prometheus") or not shutil.which("promtool"):
            self.skipTest("prometheus is not installed")
        super().setUp()

    def test_promtool(self):
        self.pair()
        text = self.a.run(["idc", "status", "--prometheus"]).stdout
        result = self.a.run(["sh", "-c", "exec %s check metrics" % shutil.which("promtool")], input=text)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))

    def test_it_scrapes_two_domains(self):
        self.pair()
        ports = []
        for _ in range(3):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        for domain, port in zip((self.a, self.b), ports):
            self.serve(domain, "tcp:127.0.0.1:%d" % port)
        config = self.directory + "/prometheus.yml"
        with open(config, "w", encoding="ascii") as stream:
            json.dump({"scrape_configs": [{"job_name": "idc", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [
                {"targets": ["127.0.0.1:%d" % port for port in ports[:2]]}]}]}, stream)
        self.c.spawn([shutil.which("prometheus"), "--config.file=" + config, "--storage.tsdb.path=" + self.directory + "/data",
                      "--web.listen-address=127.0.0.1:%d" % ports[2]])

        def scraped():
            """{(instance, domid): value} of a metric that each of them has of the other."""
            try:
                connection = http.client.HTTPConnection("127.0.0.1", ports[2], timeout=60)
                connection.request("GET", "/api/v1/query?query=idc_connections")
                answer = json.load(connection.getresponse())
                return {one["metric"]["domid"]: one["value"][1] for one in answer["data"]["result"]}
            except (OSError, ValueError, KeyError):
                return {}

        wait_until(lambda: scraped() == {str(self.a.domid): "1", str(self.b.domid): "1"}, what="both domains in Prometheus",
                   timeout=300)
