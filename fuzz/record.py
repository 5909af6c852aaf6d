#!/usr/bin/env python3
"""Records what clients that others wrote send to a memcached server: corpus/memcached_clients.

    fuzz/record.py HOST:PORT      a running memcached server; it is flushed

Between each client and the server stands a proxy that keeps the bytes of the client, one file a
connection: their first 4 KiB, where no kept file begins with the same but for the numbers in it. Needs
libmemcached-tools (Debian) and makes a virtual environment for pymemcache, pylibmc, python-memcached and
aiomcache (PyPI).

The corpus is replayed by `cargo test -p drywire-ffi` and `ffi/check.sh`, and ffi/check/seeds.py makes
of it seeds for the fuzzer of the C interface. Exit code 0, or 1 if a client failed, 2 for usage.
"""

import hashlib
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "fuzz" / "corpus" / "memcached_clients"
VENV = ROOT / "target" / "record-venv"
LONGEST = 4096

PYTHON_MEMCACHED = """
import memcache, sys
c = memcache.Client([sys.argv[1]])
assert c.set("pm:a", "text") and c.get("pm:a") == "text"
assert c.set_multi({"pm:b": 1, "pm:c": [2]}) == [] and c.get_multi(["pm:b", "pm:c"]) == {"pm:b": 1, "pm:c": [2]}
assert c.incr("pm:b", 4) == 5 and c.decr("pm:b", 9) == 0
assert not c.add("pm:a", "x") and c.replace("pm:a", "y") and c.append("pm:a", "z") and c.prepend("pm:a", "x")
assert c.gets("pm:a") == "xyz" and c.cas("pm:a", "new") and c.touch("pm:a", 100) and c.delete("pm:a")
assert c.get_stats() and c.delete_multi(["pm:b", "pm:c"])
c.flush_all()
c.disconnect_all()
"""
AIOMCACHE = """
import aiomcache, asyncio, sys
async def main():
    host, port = sys.argv[1].split(":")
    c = aiomcache.Client(host, int(port))
    assert await c.set(b"am:a", b"v" * 3000) and len(await c.get(b"am:a")) == 3000
    assert await c.multi_get(b"am:a", b"am:b") == (b"v" * 3000, None)
    assert await c.set(b"am:n", b"1") and await c.incr(b"am:n") == 2 and await c.decr(b"am:n") == 1
    assert not await c.add(b"am:n", b"x") and await c.replace(b"am:n", b"y") and await c.append(b"am:n", b"z")
    value, cas = await c.gets(b"am:n")
    assert await c.cas(b"am:n", b"w", cas) and await c.touch(b"am:n", 100) and await c.delete(b"am:n")
    assert await c.version() and await c.stats()
    await c.flush_all()
    await c.close()
asyncio.run(main())
"""


def commands(server, python, folder):
    """(name, command line, environment) of everything that is recorded."""
    values = [folder / "one", folder / "two", folder / "three"]
    for path, value in zip(values, (b"hello\r\nEND\r\n", bytes(range(256)) * 8, b"")):
        path.write_bytes(value)
    judge = {"MEMCACHED_ADDRESS": server, "PYTHONDONTWRITEBYTECODE": "1"}
    host, port = server.split(":")
    yield "memccapable", ["memccapable", "-h", host, "-p", port, "-a"], {}
    for line in (f"memccp {values[0]} {values[1]}", f"memccp --set --flag 7 --expire 100 {values[0]}", f"memccp --add {values[2]}",
                 f"memccp --replace {values[1]}", "memcexist one", "memctouch --expire 50 one", "memccat one two", "memcstat",
                 "memcping", "memcdump", "memcrm one two", "memcslap --concurrency 2 --execute-number 20 --test set",
                 "memcslap --concurrency 2 --execute-number 20 --initial-load 50 --test mget", "memcflush"):
        tool, *rest = shlex.split(line)
        yield tool, [tool, f"--servers={server}", *rest], {}
    for name in ("pymemcache", "pylibmc"):
        yield name, [python, "-m", "unittest", f"test_{name}"], judge
    yield "python-memcached", [python, "-c", PYTHON_MEMCACHED, server], {}
    yield "aiomcache", [python, "-c", AIOMCACHE, server], {}


class Proxy:
    """Carries bytes both ways and keeps those of the clients."""

    def __init__(self, server):
        self.server = server
        self.streams = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            kept = bytearray()
            self.streams.append(kept)
            upstream = socket.create_connection(self.server)
            for s in (client, upstream):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.carry, args=(client, upstream, kept), daemon=True).start()
            threading.Thread(target=self.carry, args=(upstream, client, None), daemon=True).start()

    @staticmethod
    def carry(source, target, kept):
        try:
            while data := source.recv(1 << 16):
                if kept is not None:
                    kept += data[: LONGEST - len(kept)]
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-") or ":" not in sys.argv[1]:
        print(__doc__, file=sys.stderr)
        return 2
    host, port = sys.argv[1].rsplit(":", 1)
    python = VENV / "bin" / "python"
    if not (VENV / "made").exists():
        venv.create(VENV, clear=True, with_pip=True)
        wanted = ["-r", ROOT / "tests" / "clients" / "requirements.txt", "python-memcached", "aiomcache"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        (VENV / "made").touch()
    found, failed = {}, []
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy((host, int(port)))
        for name, command, environment in commands(proxy.address, str(python), Path(folder)):
            proxy.streams.clear()
            run = subprocess.run(command, cwd=ROOT / "tests" / "clients", env={**os.environ, **environment},
                                 stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
            # memcdump asks for what only some servers have.
            if run.returncode != 0 and name != "memcdump":
                failed.append(f"{name}: {' '.join(command)}: {(run.stdout + run.stderr)[-800:].decode(errors='replace')}")
            found.setdefault(name, []).extend(bytes(stream) for stream in proxy.streams)
    CORPUS.mkdir(parents=True, exist_ok=True)
    for old in CORPUS.iterdir():
        old.unlink()
    kept = []
    for name, streams in found.items():
        for stream in sorted(set(streams), key=lambda stream: (-len(stream), stream)):
            shape = re.sub(rb"\d+", b"0", stream)
            if stream and not any(other.startswith(shape) for other in kept):
                kept.append(shape)
                (CORPUS / f"{name}-{hashlib.sha256(shape).hexdigest()[:8]}").write_bytes(stream)
    print(f"{len(kept)} connections of {len(found)} clients: {CORPUS.relative_to(ROOT)}")
    for failure in failed:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
