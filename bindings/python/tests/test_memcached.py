import asyncio
import subprocess
import sys
from pathlib import Path

import drywire
import pytest
from drywire import Client, CloseReason, Done, Outcome, Server, Value, Wants, aio

EXAMPLE = Path(__file__).parents[1] / "examples" / "memcached.py"


@pytest.mark.parametrize("piece", [1, 5, 10**6])
def test_client_and_server_without_sockets(piece: int) -> None:
    server, client = Server(), Client()
    conn = server.connect(0)
    tokens = [client.store(b"a", b"x" * 5000, flags=7), client.get(b"a", b"b"), client.incr(b"a", 1),
              client.delete(b"b"), client.version()]
    assert tokens == [1, 2, 3, 4, 5]
    events: list[drywire.Event] = []
    for _ in range(50_000):
        out = client.data_to_send()[:piece]
        client.sent(len(out))
        conn.feed(out, 0)
        back = conn.data_to_send()[:piece]
        conn.sent(len(back), 0)
        events += client.feed(back)
        if sum(isinstance(e, Done) for e in events) == 5:
            break
    assert events[1] == Value(2, b"a", b"x" * 5000, 7, 0)
    assert [e.outcome for e in events if isinstance(e, Done)] == [
        Outcome.STORED, Outcome.END, Outcome.CLIENT_ERROR, Outcome.NOT_FOUND, Outcome.VERSION]
    assert server.stats["items"] == 1 and server.stats["connections"] == 1


def test_back_pressure_and_the_end() -> None:
    server = Server(output_high=2000)
    conn = server.connect(0)
    flood = b"version\r\n" * 20_000
    taken = conn.feed(flood, 0)
    assert taken < len(flood) and Wants.READ not in conn.wants and Wants.WRITE in conn.wants
    bad = server.connect(0)
    bad.feed(b"x" * 5000, 0)
    assert bad.reason == (CloseReason.FAULT, "a command line over 2048 bytes")
    conn.close()
    with pytest.raises(drywire.Misuse):
        conn.feed(b"late", 0)


def test_who_is_due_is_named_before_the_tick() -> None:
    server = Server()
    reader, sleeper = server.connect(0), server.connect(0)
    for conn in (reader, sleeper):
        conn.feed(b"version\r\n", 0)
    at = server.next_deadline()
    assert at is not None and server.due(at - 1) == []
    assert server.due(at) == [reader, sleeper]
    reader.sent(len(reader.data_to_send()), at)  # the host was late, not the reader
    server.tick(at)
    assert server.ready(at) == [sleeper]
    assert (reader.reason[0], sleeper.reason[0]) == (CloseReason.OPEN, CloseReason.SLOW_READER)


def test_what_is_in_flight_fails_once() -> None:
    client = Client(timeout_ns=100)
    client.get(b"k", now_ns=1)
    assert client.next_deadline() == 101
    assert client.tick(100) == []
    done, = client.tick(101)
    assert isinstance(done, Done) and done.outcome is Outcome.FAILED
    assert done.why == "DRYWIRE_ERR_TIMED_OUT" and client.over and client.eof() == []


def test_asyncio_server_and_clients() -> None:
    async def main() -> None:
        server = Server()
        listener = await aio.serve(server)
        port = listener.sockets[0].getsockname()[1]

        async def one(number: int) -> None:
            async with await aio.connect("127.0.0.1", port, timeout=20) as client:
                key, value = b"key-%d" % number, bytes([number]) * (number * 1000)
                await client.set(key, value)
                assert await client.get(key) == value
                got = await asyncio.gather(*(client.get(key) for _ in range(50)))
                assert got == [value] * 50
                assert await client.add(key, b"no") is False
                assert await client.delete(key) and not await client.delete(key)
                await client.set(key, b"1")
                assert await client.incr(key, 41) == 42
                with pytest.raises(drywire.Error):
                    await client.set(key, b"x" * ((1 << 20) - 10))

        await asyncio.gather(*(one(n) for n in range(40)))
        # A half-closed connection still gets what it is owed.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"get key-1\r\n" * 20_000)
        writer.write_eof()
        assert len(await reader.read()) == 20_000 * len(b"END\r\n")
        writer.close()
        listener.close()
        await asyncio.sleep(0.05)
        assert server.stats["connections"] == 0

    asyncio.run(main())


def test_a_lost_connection_is_an_error() -> None:
    async def main() -> None:
        async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.05)
            writer.close()

        listener = await asyncio.start_server(silent, "127.0.0.1", 0)
        client = await aio.connect("127.0.0.1", listener.sockets[0].getsockname()[1])
        with pytest.raises(ConnectionError, match="CONNECTION_LOST"):
            await client.get(b"k")
        listener.close()

    asyncio.run(main())


@pytest.mark.parametrize("options", [(), ("--sndbuf", "2048")])
def test_the_example_passes_a_judge(options: tuple[str, ...]) -> None:
    with subprocess.Popen([sys.executable, EXAMPLE, "--port", "0", *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().split()[-1]
            judge = subprocess.run(["memccapable", "-h", "127.0.0.1", "-p", port, "-a"],
                                   capture_output=True, text=True, timeout=60)
            assert judge.returncode == 0, judge.stdout + judge.stderr
        finally:
            server.terminate()
        assert server.wait(timeout=10) == 0
