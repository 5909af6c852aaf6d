"""The server and the client on asyncio.

    server = drywire.Server()
    listener = await drywire.aio.serve(server, "127.0.0.1", 11211)

    async with await drywire.aio.connect("127.0.0.1", 11211) as client:
        await client.set(b"key", b"value")
        assert await client.get(b"key") == b"value"
"""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType

from ._errors import Error
from .client import Client, Done, Event, Outcome, Value
from .server import Connection, Server, Wants


def _now_ns(loop: asyncio.AbstractEventLoop) -> int:
    return int(loop.time() * 1e9)


class _Peer(asyncio.Protocol):
    """One connection: what the socket says goes to the engine, what the engine wants to the socket."""

    def __init__(self, host: _Host) -> None:
        self.host = host
        self.conn: Connection | None = None
        self.transport: asyncio.Transport | None = None
        self.rest = b""
        self.writable = True
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        try:
            self.conn = self.host.server.connect(self.host.now())
        except Error:
            transport.abort()
            return
        self.host.peers[self.conn.id] = self
        self.drive()

    def data_received(self, data: bytes) -> None:
        self.rest += data
        self.drive()

    def eof_received(self) -> bool:
        self.ended = True
        self.drive()
        return True  # the engine says when to close

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self.drive()

    def connection_lost(self, _: Exception | None) -> None:
        if self.conn is not None:
            self.host.peers.pop(self.conn.id, None)
            self.conn.close()
            self.conn = None
        self.host.arm()

    def drive(self) -> None:
        """Does what the connection wants until it wants nothing that can be done now."""
        conn, transport, now = self.conn, self.transport, self.host.now()
        if conn is None or transport is None:
            return
        for _ in range(64):
            wants = conn.wants
            if Wants.CLOSE in wants:
                if Wants.RESET in wants:  # something owed is lost, and the peer must see that
                    transport.abort()
                else:
                    transport.close()
                break
            if Wants.WRITE in wants and self.writable:
                data = conn.data_to_send()
                transport.write(data)
                conn.sent(len(data), now)
            elif Wants.READ in wants and self.rest:
                taken = conn.feed(self.rest, now)
                self.rest = self.rest[taken:]
            elif Wants.SHUTDOWN in wants:
                if transport.can_write_eof():
                    transport.write_eof()
                conn.was_shut_down(now)
            elif Wants.AGAIN in wants:
                conn.resume(now)
            elif self.ended and not self.rest:
                self.ended = False
                conn.eof(now)
            else:
                break
        else:
            asyncio.get_running_loop().call_soon(self.drive)  # the others first
        # Back-pressure reaches the peer: while the engine takes no input, the socket is not read.
        if self.rest and transport.is_reading():
            transport.pause_reading()
        elif not self.rest and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()
        self.host.arm()


class _Host:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.peers: dict[int, _Peer] = {}
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.armed: int | None = None

    def now(self) -> int:
        return _now_ns(self.loop)

    def arm(self) -> None:
        """Keeps one timer at the engine's next deadline."""
        at = self.server.next_deadline()
        if at == self.armed:
            return
        if self.timer is not None:
            self.timer.cancel()
        self.armed = at
        self.timer = None if at is None else self.loop.call_at(at / 1e9 + 1e-6, self.fire)

    def fire(self) -> None:
        """Nobody is given up whose words lie unread."""
        for conn in self.server.due(self.now()):
            if conn.id in self.peers:
                self.peers[conn.id].drive()
        # A loop that looks at its timers first (uvloop's) has looked at its sockets two turns later.
        self.loop.call_soon(self.loop.call_soon, self.tick)

    def tick(self) -> None:
        self.armed = None
        self.server.tick(self.now())
        for conn in self.server.ready(self.now()):
            if conn.id in self.peers:
                self.peers[conn.id].drive()
        self.arm()


async def serve(server: Server, host: str = "127.0.0.1", port: int = 0, *,
                send_buffer: int | None = None) -> asyncio.Server:
    """Serves on host and port until the listener that it returns is closed.

    `send_buffer` is the SO_SNDBUF of each connection, in bytes; None leaves it to the system.
    """
    loop = asyncio.get_running_loop()
    engine = _Host(server)
    listener = await loop.create_server(lambda: _Peer(engine), host, port)
    if send_buffer is not None:
        for sock in listener.sockets:  # accepted ones inherit it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    return listener


class AsyncClient(asyncio.Protocol):
    """A memcached client: calls from any number of tasks go through one pipelined connection."""

    def __init__(self, timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = Client(timeout_ns=None if timeout is None else int(timeout * 1e9))
        self._waiting: dict[int, asyncio.Future[tuple[Done, list[Event]]]] = {}
        self._parts: dict[int, list[Event]] = {}
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._client.over:
            self._tell(self._client.feed(data, _now_ns(self._loop)))

    def connection_lost(self, _: Exception | None) -> None:
        self._tell(self._client.eof())

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Done):
                future = self._waiting.pop(event.token, None)
                parts = self._parts.pop(event.token, [])
                if future is not None and not future.done():
                    future.set_result((event, parts))
            else:
                self._parts.setdefault(event.token, []).append(event)
        if self._client.over and self._transport is not None:
            self._transport.close()

    def _expire(self) -> None:
        self._timer = None
        self._tell(self._client.tick(_now_ns(self._loop)))
        self._arm()

    def _arm(self) -> None:
        at = self._client.next_deadline()
        if at is not None and self._timer is None:
            self._timer = self._loop.call_at(at / 1e9 + 1e-6, self._expire)

    async def _call(self, token: int) -> tuple[Done, list[Event]]:
        future: asyncio.Future[tuple[Done, list[Event]]] = self._loop.create_future()
        self._waiting[token] = future
        data = self._client.data_to_send()
        assert self._transport is not None
        self._transport.write(data)
        self._client.sent(len(data))
        self._arm()
        done, parts = await future
        if done.outcome is Outcome.FAILED:
            raise ConnectionError(done.why)
        if done.outcome in (Outcome.ERROR, Outcome.CLIENT_ERROR, Outcome.SERVER_ERROR):
            raise Error(done.outcome.name, done.text.decode(errors="replace"))
        return done, parts

    def _now(self) -> int:
        return _now_ns(self._loop)

    async def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return (await self.get_many(key)).get(key)

    async def get_many(self, *keys: bytes) -> dict[bytes, bytes]:
        """The values of those keys that are there, in one round trip."""
        _, parts = await self._call(self._client.get(*keys, now_ns=self._now()))
        return {part.key: part.value for part in parts if isinstance(part, Value)}

    async def set(self, key: bytes, value: bytes, *, exptime: int = 0) -> None:
        """Stores a value."""
        await self._call(self._client.store(key, value, now_ns=self._now(), exptime=exptime))

    async def add(self, key: bytes, value: bytes, *, exptime: int = 0) -> bool:
        """Stores a value if the key is not there."""
        done, _ = await self._call(
            self._client.store(key, value, verb="add", now_ns=self._now(), exptime=exptime))
        return done.outcome is Outcome.STORED

    async def delete(self, key: bytes) -> bool:
        """Deletes a key; False if it was not there."""
        done, _ = await self._call(self._client.delete(key, now_ns=self._now()))
        return done.outcome is Outcome.DELETED

    async def incr(self, key: bytes, delta: int = 1) -> int | None:
        """The new number, or None if the key is not there."""
        done, _ = await self._call(self._client.incr(key, delta, now_ns=self._now()))
        return done.number if done.outcome is Outcome.NUMBER else None

    async def close(self) -> None:
        """Closes the connection; what is in flight fails."""
        if self._transport is not None:
            self._transport.close()
        await asyncio.sleep(0)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()


async def connect(host: str, port: int, *, timeout: float | None = None) -> AsyncClient:
    """Connects to a memcached server; each request may take `timeout` seconds."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: AsyncClient(timeout), host, port)
    return client
