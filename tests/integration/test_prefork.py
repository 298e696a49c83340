# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of several processes that accept from one listener (tests/programs/prefork.c). Each connection goes to one worker that
is free. When a worker is killed, its connection ends, and the listener serves all others as before."""

from case import IdcTestCase
from world import wait_until

PORT = 80
WORKERS = 4


class Prefork(IdcTestCase):
    def setUp(self):
        super().setUp()
        self.server = self.b.spawn(["prefork", str(PORT), str(WORKERS)])
        self.workers = sorted(map(int, self.server.stdout.read_until(b"\n").split()))

    def listener(self):
        (listener,) = [one for one in self.b.status()["listeners"] if one["port"] == PORT]
        return listener

    def connect(self, domain):
        return domain.spawn(["idc", "cat", str(self.b.domid), str(PORT)])

    def worker_of(self, client):
        return int(client.stdout.read_until(b"\n"))

    def assert_echoes(self, client, text):
        client.write(text)
        self.assertEqual(client.stdout.read_exactly(len(text), 60), text)
        client.close_stdin()
        self.assertEqual((client.wait(), client.stdout.read_all(60), client.stderr.read_all(60)), (0, b"", b""))

    def kill_worker(self, pid):
        """Until it is dead: one that is dying may still take a connection with it."""
        self.assertEqual(self.b.run(["sh", "-c", "kill -9 %d" % pid]).returncode, 0)
        wait_until(lambda: self.b.task_state("/proc/%d" % pid) == "Z", what="death of a worker")

    def wait_waiting(self, count):
        wait_until(lambda: self.listener()["waiting"] == count, what="%d connections wait" % count)

    def each_worker_once(self, domain):
        clients = [self.connect(domain) for _ in range(WORKERS)]
        self.assertEqual(sorted(map(self.worker_of, clients)), self.workers)
        more = [self.connect(domain) for _ in range(3)]
        self.wait_waiting(3)
        for client in clients:
            self.assert_echoes(client, b"from one that was served at once\n")
        for client in more:
            self.assertIn(self.worker_of(client), self.workers)
            self.assert_echoes(client, b"from one that has waited\n")

    def test_each_worker_gets_a_connection_of_another_domain(self):
        self.each_worker_once(self.a)

    def test_each_worker_gets_a_connection_of_the_same_domain(self):
        self.each_worker_once(self.b)

    def workers_are_killed(self, domain):
        """Up to the last, busy ones and those that wait for a connection."""
        idle = self.workers[-1]
        clients = [self.connect(domain) for _ in range(WORKERS)]
        by_worker = {self.worker_of(client): client for client in clients}
        self.assert_echoes(by_worker.pop(idle), b"this worker waits for the next one\n")
        for worker, client in sorted(by_worker.items())[:2]:
            self.kill_worker(worker)
            self.assertEqual((client.wait(), client.stdout.read_all(60)), (0, b""))  # all that was sent had been read
        third = by_worker[self.workers[2]]
        self.kill_worker(idle)
        waiting = []
        for _ in range(3):  # one after the other, for they are served in this order
            waiting.append(self.connect(domain))
            self.wait_waiting(len(waiting))
        self.assert_echoes(third, b"not disturbed\n")
        for client in waiting:
            self.assertEqual(self.worker_of(client), self.workers[2])
            self.assert_echoes(client, b"served by the last worker\n")

    def test_workers_of_connections_of_another_domain_are_killed(self):
        self.workers_are_killed(self.a)

    def test_workers_of_connections_of_the_same_domain_are_killed(self):
        self.workers_are_killed(self.b)
