# SPDX-License-Identifier: GPL-2.0-or-later
"""`idc cat` as the sending half of a pipeline. Its exit status says whether what was sent may be incomplete: it ends with 1
and a line that says why when the connection is cut off, also when the other side had ended its own half before and cat only
waits for more to send."""

from case import IdcTestCase


class Producer(IdcTestCase):
    def start(self):
        """(consumer, producer): the consumer has ended its half and has the connection in place 2, cat has seen that, and both
        have nothing under way."""
        consumer = self.b.puppet()
        consumer.do("listen", 1, port=80)
        producer = self.a.spawn(["idc", "cat", str(self.b.domid), "80"])
        consumer.do("accept", 1, 2)
        consumer.do("shutdown", 2)
        self.assertEqual(producer.stdout.read_all(60), b"")
        producer.write(b"some")
        self.assertEqual(consumer.do("recv", 2, max=4)["n"], 4)
        return consumer, producer

    def assert_failed(self, producer, words):
        status = producer.wait()
        text = producer.stderr.read_all(60).decode()
        self.assertEqual((status, text.count("\n")), (1, 1), text)
        self.assertIn(words, text)

    def test_the_consumers_link_mgr_is_killed(self):
        _, producer = self.start()
        self.b.kill()
        self.assert_failed(producer, "link was lost")
        self.b.start(*self.options)

    def test_the_permission_is_withdrawn(self):
        _, producer = self.start()
        self.world.setup(self.a, self.b, remove=True)
        self.assert_failed(producer, "withdrawn")

    def test_the_consumer_closes_without_reading(self):
        consumer, producer = self.start()
        producer.write(b"more")
        consumer.do("recv", 2, max=1)
        consumer.do("close", 2)
        self.assert_failed(producer, "without reading everything")

    def test_the_own_link_mgr_is_killed(self):
        _, producer = self.start()
        self.a.kill()
        self.assert_failed(producer, "reset")
        self.a.start(*self.options)

    def test_the_consumer_closes_and_has_read_all(self):
        """That is no failure: it wants no more."""
        consumer, producer = self.start()
        consumer.do("close", 2)
        self.assertEqual((producer.wait(), producer.stderr.read_all(60)), (0, b""))
