"""A memcached server without I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from ._errors import check, text
from ._native import ffi, lib


class Wants(enum.IntFlag):
    """What a connection wants from its host: facts that may be asked at any time."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    AGAIN = 4
    SHUTDOWN = 8
    CLOSE = 16
    RESET = 32


class CloseReason(enum.IntEnum):
    """Why a connection ended."""

    OPEN = 0
    PEER_DONE = 1
    FINISHED = 2
    LOCAL = 3
    REFUSED = 4
    FAULT = 5
    SLOW_READER = 6
    TRANSPORT = 7
    IDLE = 8


class Server:
    """All connections around one item store. `now_ns` is any clock that does not go back."""

    def __init__(self, *, memory: int = 64 << 20, item_max: int = 1 << 20, max_connections: int = 1024,
                 seed: int = 0, unix_start: int = 0, output_high: int = 64 << 10) -> None:
        options = ffi.new("drywire_server_options *")
        settings = ffi.new("drywire_memcached_options *")
        check(lib.drywire_server_options_init(options, ffi.sizeof("drywire_server_options")))
        check(lib.drywire_memcached_options_init(settings, ffi.sizeof("drywire_memcached_options")))
        options.max_connections = max_connections
        options.output_high = output_high
        options.output_low = output_high // 4
        settings.memory, settings.item_max = memory, item_max
        settings.seed, settings.unix_start = seed, unix_start
        out = ffi.new("drywire_server **")
        check(lib.drywire_memcached_server_new(options, settings, out))
        self._server = ffi.gc(out[0], lib.drywire_server_free)
        self._ready = ffi.new("drywire_ready[]", 64)
        self._n = ffi.new("size_t *")
        self._conns: dict[int, Connection] = {}

    def connect(self, now_ns: int) -> Connection:
        """A new connection. Raises Error when the server is overloaded: close the socket."""
        out = ffi.new("drywire_conn **")
        check(lib.drywire_conn_open(self._server, now_ns, ffi.NULL, out))
        conn = Connection(self, out[0])
        self._conns[conn.id] = conn
        return conn

    def next_deadline(self) -> int | None:
        """When `tick` is due, in nanoseconds."""
        at = lib.drywire_server_next_deadline(self._server)
        return None if at == lib.DRYWIRE_NO_DEADLINE else int(at)

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        check(lib.drywire_server_tick(self._server, now_ns))

    def drain(self, now_ns: int) -> None:
        """The server is going away: connections finish what they owe."""
        check(lib.drywire_server_drain(self._server, now_ns))

    def ready(self, now_ns: int) -> list[Connection]:
        """Connections that something other than their own socket touched."""
        return self._listed(lib.drywire_server_ready, now_ns)

    def due(self, now_ns: int) -> list[Connection]:
        """Connections to bring waiting input to before `tick`, which may give them up."""
        return self._listed(lib.drywire_server_due, now_ns)

    def _listed(self, ask: Callable[..., int], now_ns: int) -> list[Connection]:
        found: list[Connection] = []
        while True:
            status = check(ask(self._server, now_ns, self._ready, 64, self._n))
            found += [self._conns[self._ready[i].id] for i in range(self._n[0])
                      if self._ready[i].id in self._conns]
            if status != lib.DRYWIRE_MORE:
                return found

    @property
    def stats(self) -> dict[str, int]:
        """Counters and gauges of the server and its store."""
        found: dict[str, int] = {}
        for kind, get in (("drywire_server_stats", lib.drywire_server_get_stats),
                          ("drywire_memcached_stats", lib.drywire_server_get_memcached_stats)):
            stats = ffi.new(kind + " *")
            stats.struct_size = ffi.sizeof(kind)
            check(get(self._server, stats))
            for field, _ in ffi.typeof(kind).fields:
                if field not in ("struct_size", "reserved"):
                    found["store_" + field if field in found else field] = getattr(stats, field)
        return found


class Connection:
    """One connection: bytes in, bytes out. Closed by `close`, or with its last reference."""

    def __init__(self, server: Server, conn: Any) -> None:
        self._conn = ffi.gc(conn, lib.drywire_conn_free)
        self._server = server
        self._n = ffi.new("size_t *")
        self._buffer = bytearray(64 << 10)
        self._pointer = ffi.from_buffer("uint8_t[]", self._buffer)
        self.id = int(lib.drywire_conn_id(self._conn))

    def feed(self, data: bytes | bytearray | memoryview, now_ns: int) -> int:
        """Takes input; returns how many bytes it took. Offer the rest when READ is wanted again.

        Bytes that break the protocol are no exception: see `wants`, and `reason` afterwards.
        """
        pointer = ffi.from_buffer("uint8_t[]", data)
        status = lib.drywire_conn_feed(self._conn, now_ns, pointer, len(data), self._n)
        if status > -100:
            check(status)
        return int(self._n[0])

    def data_to_send(self) -> bytes:
        """Up to 64 KiB of the output that waits. Say with `sent` how much of it was sent."""
        check(lib.drywire_conn_output_copy(self._conn, self._pointer, len(self._buffer), self._n))
        return bytes(memoryview(self._buffer)[:self._n[0]])

    def sent(self, n: int, now_ns: int) -> None:
        """The first `n` bytes of the output were sent."""
        check(lib.drywire_conn_output_consume(self._conn, now_ns, n))

    def eof(self, now_ns: int) -> None:
        """The peer will send no more."""
        check(lib.drywire_conn_eof(self._conn, now_ns))

    def resume(self, now_ns: int) -> None:
        """Goes on after AGAIN."""
        check(lib.drywire_conn_resume(self._conn, now_ns))

    def was_shut_down(self, now_ns: int) -> None:
        """The write side is shut down, as SHUTDOWN asked."""
        check(lib.drywire_conn_was_shut_down(self._conn, now_ns))

    def abort(self, now_ns: int) -> None:
        """The transport failed."""
        check(lib.drywire_conn_abort(self._conn, now_ns, lib.DRYWIRE_TRANSPORT_OTHER))

    @property
    def wants(self) -> Wants:
        """What it wants now."""
        return Wants(lib.drywire_conn_wants(self._conn))

    @property
    def reason(self) -> tuple[CloseReason, str]:
        """Why it ended or is ending, in words."""
        info = ffi.new("drywire_error_info *")
        info.struct_size = ffi.sizeof("drywire_error_info")
        check(lib.drywire_conn_last_error(self._conn, info))
        return CloseReason(info.code), text(info.text).decode()

    def close(self) -> None:
        """Frees the connection; one that was not over is aborted. Any other call fails then."""
        self._server._conns.pop(self.id, None)
        ffi.release(self._conn)
        self._conn = ffi.NULL
