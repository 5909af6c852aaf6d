"""pymemcache 4: pure Python, text protocol, `noreply` by default."""

import socket
import time

from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError, MemcacheUnknownCommandError

from server import HOST, LARGEST, NASTY, PORT, ServerTest


class Pymemcache(ServerTest):
    def setUp(self):
        self.client = Client((HOST, PORT), timeout=10, connect_timeout=10, no_delay=True)
        self.addCleanup(self.client.close)

    def test_values_come_back_as_they_went(self):
        for size, value in enumerate([b"", b"x", NASTY, NASTY * 100]):
            key = self.key(size)
            self.assertTrue(self.client.set(key, value, noreply=False))
            self.assertEqual(self.client.get(key), value)
        self.assertIsNone(self.client.get(self.key("missing")))

    def test_flags_are_kept(self):
        for flags in (0, 1, 65_536, 4_294_967_295):
            self.client.set(self.key(), b"v", noreply=False, flags=flags)
            line = self.client.raw_command(f"get {self.key()}", end_tokens="END\r\n")
            self.assertIn(f" {flags} 1\r\n".encode(), line)

    def test_conditions(self):
        key = self.key()
        self.assertFalse(self.client.replace(key, b"1", noreply=False))
        self.assertFalse(self.client.append(key, b"1", noreply=False))
        self.assertTrue(self.client.add(key, b"2", noreply=False))
        self.assertFalse(self.client.add(key, b"3", noreply=False))
        self.assertTrue(self.client.replace(key, b"4", noreply=False))
        self.assertTrue(self.client.append(key, b"5", noreply=False))
        self.assertTrue(self.client.prepend(key, b"3", noreply=False))
        self.assertEqual(self.client.get(key), b"345")
        self.assertTrue(self.client.delete(key, noreply=False))
        self.assertFalse(self.client.delete(key, noreply=False))
        self.assertFalse(self.client.prepend(key, b"1", noreply=False))

    def test_cas(self):
        key = self.key()
        self.assertIsNone(self.client.cas(key, b"v", b"1"), "not found")
        self.client.set(key, b"one", noreply=False)
        value, unique = self.client.gets(key)
        self.assertEqual(value, b"one")
        self.assertTrue(self.client.cas(key, b"two", unique))
        self.assertIs(self.client.cas(key, b"three", unique), False, "exists")
        self.assertEqual(self.client.gets(key)[0], b"two")

    def test_numbers(self):
        key = self.key()
        self.assertIsNone(self.client.incr(key, 1))
        self.client.set(key, b"18446744073709551614", noreply=False)
        self.assertEqual(self.client.incr(key, 1), 2**64 - 1)
        self.assertEqual(self.client.incr(key, 3), 2, "wraps")
        self.client.set(key, b"100", noreply=False)
        self.assertEqual(self.client.decr(key, 1), 99)
        self.assertEqual(self.client.get(key), b"99 ", "in place, padded")
        self.assertEqual(self.client.decr(key, 1000), 0, "stops at zero")
        self.client.set(key, b"ten", noreply=False)
        with self.assertRaisesRegex(MemcacheClientError, "non-numeric"):
            self.client.incr(key, 1)

    def test_multi_get_of_187_kilobytes_of_keys(self):
        # 250 bytes is the longest key; three quarters of these exist.
        keys = [self.key(f"{n:06}").ljust(250, "k") for n in range(749)]
        present = {key: f"value {n}".encode() for n, key in enumerate(keys) if n % 4}
        self.assertEqual(self.client.set_many(present, noreply=False), [])
        self.assertGreater(sum(len(key) + 1 for key in keys), 187_000)
        self.assertEqual(self.client.get_many(keys), present)
        found = self.client.gets_many(keys)
        self.assertEqual({key: value for key, (value, _) in found.items()}, present)

    def test_a_value_may_be_one_mebibyte_with_its_header_and_no_more(self):
        # The arithmetic is for a one-byte key, so this test cannot use its own name.
        key = "k"
        self.client.set(key, b"old", noreply=False)
        self.assertTrue(self.client.set(key, b"x" * LARGEST, noreply=False))
        self.assertEqual(self.client.get(key), b"x" * LARGEST)
        with self.assertRaisesRegex(MemcacheServerError, "object too large for cache"):
            self.client.set(key, b"y" * (LARGEST + 1), noreply=False)
        self.assertIsNone(self.client.get(key), "the old value went with the failed set")
        self.client.set(key, b"z" * (LARGEST + 1), noreply=True)
        self.assertIsNone(self.client.get(key), "silent, and still in step")
        self.client.set(key, b"w" * LARGEST, noreply=False)
        self.assertFalse(self.client.append(key, b"w", noreply=False), "the result would be too large")

    def test_large_values_in_a_row(self):
        values = {self.key(n): bytes([n]) * (n * 100_000) for n in range(11)}
        self.client.set_many(values, noreply=True)
        self.assertEqual(self.client.get_many(values), values)

    def test_expiry(self):
        self.client.set(self.key("never"), b"v", expire=0)
        self.client.set(self.key("soon"), b"v", expire=1)
        self.client.set(self.key("later"), b"v", expire=100)
        self.client.set(self.key("absolute"), b"v", expire=int(time.time()) + 100)
        self.client.set(self.key("past"), b"v", expire=int(time.time()) - 100)
        self.client.set(self.key("negative"), b"v", expire=-1, noreply=False)
        self.client.set(self.key("touched"), b"v", expire=1, noreply=False)
        self.client.set(self.key("shortened"), b"v", expire=0, noreply=False)
        self.assertTrue(self.client.touch(self.key("touched"), expire=100, noreply=False))
        self.assertTrue(self.client.touch(self.key("shortened"), expire=1, noreply=False))
        self.assertFalse(self.client.touch(self.key("missing"), expire=1, noreply=False))
        alive = ["never", "later", "absolute", "touched"]
        early = self.client.get_many([self.key(n) for n in [*alive, "past", "negative"]])
        self.assertEqual(sorted(early), sorted(map(self.key, alive)))
        time.sleep(2.1)
        late = self.client.get_many([self.key(n) for n in [*alive, "soon", "shortened"]])
        self.assertEqual(sorted(late), sorted(map(self.key, alive)))

    def test_get_and_touch(self):
        keys = [self.key(n) for n in "ab"]
        self.client.set_many(dict.fromkeys(keys, b"v"), expire=1, noreply=False)
        reply = self.client.raw_command(f"gat 100 {keys[0]} {self.key('missing')}", end_tokens="END\r\n")
        self.assertEqual(reply, f"VALUE {keys[0]} 0 1\r\nv\r\n".encode())
        before = self.client.gets(keys[0])
        reply = self.client.raw_command(f"gats 100 {keys[0]}", end_tokens="END\r\n")
        self.assertIn(before[1], reply)
        self.assertEqual(self.client.gets(keys[0]), before, "touching changes no cas number")
        time.sleep(2.1)
        self.assertEqual(self.client.get_many(keys), {keys[0]: b"v"})

    def test_silent_commands_are_silent(self):
        key = self.key()
        for n in range(5_000):
            self.client.set(key, b"%d" % n, noreply=True)
        self.client.add(key, b"no", noreply=True)
        self.client.replace(key, b"10", noreply=True)
        self.client.append(key, b"0", noreply=True)
        self.client.prepend(key, b"2", noreply=True)
        self.client.incr(key, 7, noreply=True)
        self.client.decr(key, 2, noreply=True)
        self.client.touch(key, 100, noreply=True)
        self.client.delete(self.key("missing"), noreply=True)
        self.client.incr(self.key("missing"), 1, noreply=True)
        self.assertEqual(self.client.get(key), b"2105")
        self.client.delete(key, noreply=True)
        self.assertIsNone(self.client.get(key))

    def test_a_long_pipeline_in_one_piece(self):
        count = 10_000
        lines = [f"set {self.key(n)} 0 0 5 noreply\r\n{n:05}\r\n" for n in range(count)]
        keys = [self.key(n) for n in range(count)]
        self.client.raw_command("".join(lines) + "get nothing", end_tokens="END\r\n")
        self.assertEqual(self.client.get_many(keys), {key: b"%05d" % n for n, key in enumerate(keys)})

    def test_a_key_named_like_a_word_of_the_protocol(self):
        for key in ("noreply", "END", "get", "0", "k" * 250):
            self.client.set(key, b"v", noreply=False)
            self.assertEqual(self.client.get(key), b"v")
            self.assertTrue(self.client.touch(key, 100, noreply=False))
            self.assertTrue(self.client.delete(key, noreply=False))

    def test_errors_leave_the_connection_in_step(self):
        # All errors come in one stream here: pymemcache closes its connection after each.
        lines = ["nonsense", "get", "set k 0 0 many", f"get {'k' * 251}", "incr k abc", "touch k abc"]
        probe = f"get {self.key('missing')}"
        with socket.create_connection((HOST, PORT), timeout=10) as stream:
            replies = stream.makefile("rb")
            for line in lines:
                with self.assertRaises((MemcacheClientError, MemcacheUnknownCommandError)):
                    self.client.raw_command(line)
                stream.sendall(f"{line}\r\n{probe}\r\n".encode())
                self.assertRegex(replies.readline(), rb"^(CLIENT_)?ERROR( .*)?\r\n$", line)
                self.assertEqual(replies.readline(), b"END\r\n", f"after {line!r}")

    def test_version_is_one_word_of_numbers(self):
        self.assertRegex(self.client.version(), rb"^[0-9]+(\.[0-9]+)+$")

    def test_statistics_count(self):
        before = self.client.stats()
        for name in (b"pid", b"uptime", b"time", b"version", b"threads", b"limit_maxbytes", b"evictions"):
            self.assertIn(name, before)
        self.client.set(self.key(), b"v", noreply=False)
        self.client.get(self.key())
        self.client.get(self.key("missing"))
        self.client.touch(self.key(), 1, noreply=False)
        after = self.client.stats()
        for name in (b"cmd_get", b"cmd_set", b"cmd_touch", b"get_hits", b"get_misses", b"total_items"):
            self.assertGreater(after[name], before[name], name)
        self.assertGreater(after[b"curr_items"], 0)
        self.assertGreater(after[b"bytes_read"], before[b"bytes_read"])
        self.assertGreaterEqual(after[b"curr_connections"], 1)

    def test_many_clients_at_once(self):
        clients = [Client((HOST, PORT), timeout=10) for _ in range(100)]
        for n, client in enumerate(clients):
            self.addCleanup(client.close)
            client.set(self.key(n), b"%d" % n, noreply=False)
        for n, client in enumerate(reversed(clients)):
            self.assertEqual(client.get(self.key(n)), b"%d" % n)

    def test_a_pooling_client(self):
        pool = HashClient([(HOST, PORT)], use_pooling=True, timeout=10)
        self.addCleanup(pool.close)
        values = {self.key(n): b"v" for n in range(100)}
        self.assertEqual(pool.set_many(values, noreply=False), [])
        self.assertEqual(pool.get_many(values), values)

    def test_zz_flush_all(self):
        self.client.set(self.key("old"), b"v", noreply=False)
        self.assertTrue(self.client.flush_all(noreply=False))
        self.assertIsNone(self.client.get(self.key("old")))
        self.client.set(self.key("new"), b"v", noreply=False)
        self.assertEqual(self.client.get(self.key("new")), b"v", "items of the same second live")
        self.assertTrue(self.client.flush_all(delay=2, noreply=False))
        self.assertEqual(self.client.get(self.key("new")), b"v", "not yet")
        time.sleep(3.1)
        self.assertIsNone(self.client.get(self.key("new")))
        self.client.flush_all(noreply=True)
        self.assertIsNone(self.client.get(self.key("new")), "silent")
