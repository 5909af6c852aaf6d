"""The server under test, as named by MEMCACHED_ADDRESS (HOST:PORT), and what all tests share."""

import os
import unittest

ADDRESS = os.environ["MEMCACHED_ADDRESS"]
HOST, PORT = ADDRESS.rsplit(":", 1)[0], int(ADDRESS.rsplit(":", 1)[1])

# Any byte a value may hold, with the words and line ends that a careless parser looks for.
NASTY = bytes(range(256)) + b"\r\nEND\r\nVALUE k 0 1\r\nSTORED\r\n"

# The largest value for a one-byte key with flags 0 at the default item size of 1 MiB.
LARGEST = 1_048_516


class ServerTest(unittest.TestCase):
    """One test: its keys start with its name, so that tests do not disturb each other."""

    def key(self, name=""):
        return f"{self.id().rsplit('.', 1)[-1]}:{name}"
