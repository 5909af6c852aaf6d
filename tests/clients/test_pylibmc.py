"""pylibmc: libmemcached under Python. Sends `stats ` and `flush_all ` with a trailing space."""

import time

import pylibmc

from server import ADDRESS, NASTY, ServerTest


class Pylibmc(ServerTest):
    behaviors = {"tcp_nodelay": True}

    def setUp(self):
        self.client = pylibmc.Client([ADDRESS], behaviors=self.behaviors)
        self.addCleanup(self.client.disconnect_all)

    def test_values_of_all_types_come_back(self):
        for n, value in enumerate([b"", NASTY, "text", 7, 2**80, True, {"a": [1, None]}, NASTY * 1000]):
            self.assertTrue(self.client.set(self.key(n), value))
            self.assertEqual(self.client.get(self.key(n)), value)
        self.assertIsNone(self.client.get(self.key("missing")))

    def test_conditions(self):
        key = self.key()
        self.assertFalse(self.client.replace(key, b"1"))
        self.assertTrue(self.client.add(key, b"2"))
        self.assertFalse(self.client.add(key, b"3"))
        self.assertTrue(self.client.append(key, b"3"))
        self.assertTrue(self.client.prepend(key, b"1"))
        self.assertEqual(self.client.get(key), b"123")
        self.assertTrue(self.client.delete(key))
        self.assertFalse(self.client.delete(key))

    def test_many_keys_at_once(self):
        values = {self.key(n): b"value %d" % n for n in range(5_000)}
        self.assertEqual(self.client.set_multi(values), [])
        self.assertEqual(self.client.get_multi([*values, self.key("missing")]), values)
        self.assertTrue(self.client.delete_multi(list(values)))
        self.assertEqual(self.client.get_multi(list(values)), {})

    def test_multi_get_of_187_kilobytes_of_keys(self):
        keys = [self.key(f"{n:06}").ljust(250, "k") for n in range(749)]
        values = {key: b"v" for key in keys}
        self.assertEqual(self.client.set_multi(values), [])
        self.assertEqual(self.client.get_multi(keys), values)

    def test_numbers(self):
        self.client.set(self.key(), 41)
        self.assertEqual(self.client.incr(self.key()), 42)
        self.assertEqual(self.client.incr(self.key(), 100), 142)
        self.assertEqual(self.client.decr(self.key(), 1_000), 0)
        with self.assertRaises(pylibmc.NotFound):
            self.client.incr(self.key("missing"))

    def test_large_values(self):
        for size in (1_000, 100_000, 1_000_000, 1_048_000):
            value = NASTY * (size // len(NASTY))
            self.assertTrue(self.client.set(self.key(size), value))
            self.assertEqual(self.client.get(self.key(size)), value)
        with self.assertRaises(pylibmc.TooBig):
            self.client.set(self.key("too-large"), b"x" * (2 << 20))
        self.assertTrue(self.client.set(self.key("after"), b"v"))
        self.assertEqual(self.client.get(self.key("after")), b"v", "still in step")

    def test_expiry_and_touch(self):
        self.client.set(self.key("soon"), b"v", time=1)
        self.client.set(self.key("touched"), b"v", time=1)
        self.client.set(self.key("later"), b"v", time=100)
        self.assertTrue(self.client.touch(self.key("touched"), 100))
        self.assertFalse(self.client.touch(self.key("missing"), 100))
        time.sleep(2.1)
        self.assertEqual(
            self.client.get_multi([self.key(n) for n in ("soon", "touched", "later")]),
            {self.key("touched"): b"v", self.key("later"): b"v"},
        )

    def test_statistics(self):
        [(name, stats)] = self.client.get_stats()
        self.assertTrue(name)
        self.assertGreater(int(stats["pid"]), 0)
        self.assertIn("curr_items", stats)

    def test_zz_flush_all(self):
        self.client.set(self.key(), b"v")
        self.client.flush_all()
        self.assertIsNone(self.client.get(self.key()))


class PylibmcCas(Pylibmc):
    """The same with `gets` for every read."""

    behaviors = {"tcp_nodelay": True, "cas": True}

    def test_cas(self):
        self.client.set(self.key(), b"one")
        value, unique = self.client.gets(self.key())
        self.assertEqual(value, b"one")
        self.assertTrue(self.client.cas(self.key(), b"two", unique))
        self.assertFalse(self.client.cas(self.key(), b"three", unique))
        self.assertEqual(self.client.get(self.key()), b"two")
