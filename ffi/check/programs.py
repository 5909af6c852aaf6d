#!/usr/bin/env python3
"""Runs the example programs against each other and against clients that others wrote.

    programs.py DIRECTORY           the folder with the built programs
    programs.py DIRECTORY old       memcached, client and reframe only, as of an earlier day

Exit code 0 if all do what they should.
"""

import contextlib
import random
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

BUILT = Path(sys.argv[1]).resolve()
# Old hosts are run as they were, with the mistakes they had.
OLD = sys.argv[2:] == ["old"]


@contextlib.contextmanager
def serving(program, *options):
    """The program on a port of its own; it must end well when told to."""
    process = subprocess.Popen([BUILT / program, "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        yield int(line.rsplit(" ", 1)[1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0, f"{program} ended with {process.returncode}"
    finally:
        process.kill()
        process.wait()


def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=120, **more)


def memcached(program, *options):
    with serving(program, *options) as port:
        judge = run("memccapable", "-h", "127.0.0.1", "-p", str(port), "-a", text=True)
        assert judge.returncode == 0, f"{program} {options}: memccapable\n{judge.stdout}{judge.stderr}"
        client = run(BUILT / "client", str(port), "20000", text=True)
        assert client.returncode == 0, f"{program} {options}: client: {client.stdout}{client.stderr}"
        largest = value_of_a_mebibyte(port)
        if not OLD:
            ends_with_its_request(port)
    print(f"{program} {' '.join(options)}: memccapable -a passes; {client.stdout.strip()}; {largest}")


def ends_with_its_request(port):
    """The end of input lies behind the request before the server looks: one readiness for both."""
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(20)
            s.sendall(b"version\r\n")
            s.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := s.recv(1000):
                got += chunk
        assert got.startswith(b"VERSION "), f"half a connection got {got}"


def value_of_a_mebibyte(port):
    """A large value through partial writes, to a client that reads slowly."""
    value = random.Random(1).randbytes(1_000_000)
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(20)
        s.sendall(b"set big 0 0 1000000\r\n" + value + b"\r\nget big\r\nquit\r\n")
        got = b""
        while chunk := s.recv(5000 if len(got) < 200_000 else 1 << 16):
            got += chunk
    assert got == b"STORED\r\nVALUE big 0 1000000\r\n" + value + b"\r\nEND\r\n", "a large value"
    return "1 MB value whole"


def fanout(clients, *options):
    """Everybody speaks once; everybody hears all the others, in one order per speaker."""
    with serving("fanout", *options) as port:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        # Who is connected last is known to the server once it has answered a bad line.
        sockets[-1].sendall(b"x" * 2000 + b"\n")
        assert b"1000 bytes at most\r\n" in sockets[-1].recv(100)
        speakers = sockets[:20]
        for turn in range(3):
            for number, s in enumerate(speakers):
                s.sendall(f"{number} says {turn}\n".encode())
        heard = [bytearray() for _ in sockets]
        missing = {s: 3 * len(speakers) - (3 if s in speakers else 0) for s in sockets}
        with selectors.DefaultSelector() as selector:
            for number, s in enumerate(sockets):
                s.setblocking(False)
                selector.register(s, selectors.EVENT_READ, number)
            until = time.monotonic() + 30
            while any(missing.values()):
                assert time.monotonic() < until, f"{sum(missing.values())} lines are missing"
                for key, _ in selector.select(1):
                    data = key.fileobj.recv(1 << 16)
                    heard[key.data] += data
                    missing[key.fileobj] -= data.count(b"\n")
        for number, lines in enumerate(heard):
            for speaker in range(len(speakers)):
                mine = [l for l in lines.decode().splitlines() if l.startswith(f"{speaker} says")]
                expected = [] if number == speaker else [f"{speaker} says {turn}" for turn in range(3)]
                assert mine == expected, f"{number} heard {mine} from {speaker}"
        for s in sockets:
            s.close()
    print(f"fanout {' '.join(options)}: {clients} clients heard everything once and in order")


def chat(clients, *options):
    """Everybody hears everything, the speaker too, once and in one order for all."""
    with serving("chat", *options) as port:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        said = [f"{number} says {turn}".encode() for number in range(20) for turn in range(3)]
        # Who is not in the room yet does not hear: each speaks once all have heard it.
        first = b"\0\0\0\5hello"
        sockets[-1].sendall(first)
        for s in sockets:
            s.settimeout(30)
            assert exactly(s, len(first)) == first
        for number, line in enumerate(said):
            sockets[number % 20].sendall(len(line).to_bytes(4, "big") + line)
        heard = [exactly(s, sum(len(line) + 4 for line in said)) for s in sockets]
        assert len(set(heard)) == 1, "one order for all"
        lines, rest = [], heard[0]
        while rest:
            size = int.from_bytes(rest[:4], "big")
            lines.append(rest[4 : 4 + size])
            rest = rest[4 + size :]
        assert sorted(lines) == sorted(said), "everything, once"
        for s in sockets:
            s.close()
    print(f"chat {' '.join(options)}: {clients} clients heard everything once and in one order")


def exactly(s, size):
    got = b""
    while len(got) < size:
        chunk = s.recv(size - len(got))
        assert chunk, "the connection ended early"
        got += chunk
    return got


def reframe():
    text = b"".join(b"%d%s\n" % (n, b"x" * (n * 7 % 3000)) for n in range(5000))
    chain = [("lines", "varint"), ("varint", "u32le"), ("u32le", "u32"), ("u32", "u16"), ("u16", "crlf"),
             ("crlf", "lines")]
    data = text
    for source, target in chain:
        step = run(BUILT / "reframe", source, target, input=data)
        assert step.returncode == 0, step.stderr
        data = step.stdout
    assert data == text
    cut = run(BUILT / "reframe", "u32", "lines", input=b"\0\0\0\x05hel")
    assert cut.returncode == 1 and b"TRUNCATED" in cut.stderr
    huge = run(BUILT / "reframe", "u32", "lines", input=b"\0\0\0\x01x\xff\xff\xff\xff")
    assert huge.returncode == 1 and b"byte 5" in huge.stderr, huge.stderr
    assert run(BUILT / "reframe", "lines", "nothing").returncode == 2
    print("reframe: six framings there and back, errors named with their offset")


def a_thousand():
    """Or as many as this machine lets one process open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2000 if most == resource.RLIM_INFINITY else min(most, 2000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough, most))  # the programs inherit it
    return min(1000, enough - 50)


many = a_thousand()
reframe()
for program in ("memcached",) if OLD else ("memcached", "memcached-cpp"):
    memcached(program)
    memcached(program, "--sndbuf", "2048")
if not OLD:
    fanout(many)
    fanout(50, "--sndbuf", "2048")
    chat(many)
    chat(50, "--sndbuf", "2048")
