"""A memcached client without I/O."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from ._errors import check, name, text
from ._native import ffi, lib


class Outcome(enum.IntEnum):
    """How a request ended."""

    END = 1
    STORED = 2
    NOT_STORED = 3
    EXISTS = 4
    NOT_FOUND = 5
    DELETED = 6
    TOUCHED = 7
    OK = 8
    NUMBER = 9
    VERSION = 10
    ERROR = 11
    CLIENT_ERROR = 12
    SERVER_ERROR = 13
    FAILED = 14


@dataclass(frozen=True, slots=True)
class Value:
    """A hit of a retrieval that goes on."""

    token: int
    key: bytes
    value: bytes
    flags: int
    cas: int


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of statistics; more follow."""

    token: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The one end of a request. `why` names the status of a FAILED one."""

    token: int
    outcome: Outcome
    number: int
    text: bytes
    why: str


Event = Value | Stat | Done
_STORE = {"set": lib.DRYWIRE_MEMCACHED_SET, "add": lib.DRYWIRE_MEMCACHED_ADD,
          "replace": lib.DRYWIRE_MEMCACHED_REPLACE, "append": lib.DRYWIRE_MEMCACHED_APPEND,
          "prepend": lib.DRYWIRE_MEMCACHED_PREPEND, "cas": lib.DRYWIRE_MEMCACHED_CAS}
BATCH = 64


class Client:
    """One connection. Each request returns a token; each token gets exactly one `Done`, also when
    the connection ends or time runs out."""

    def __init__(self, *, window: int = 1024, value_max: int = 1 << 20,
                 timeout_ns: int | None = None) -> None:
        options = ffi.new("drywire_client_options *")
        check(lib.drywire_client_options_init(options, ffi.sizeof("drywire_client_options")))
        options.window, options.value_max = window, value_max
        if timeout_ns is not None:
            options.timeout_ns = timeout_ns
        out = ffi.new("drywire_client **")
        check(lib.drywire_memcached_client_new(options, out))
        self._client = ffi.gc(out[0], lib.drywire_client_free)
        self._request = ffi.new("drywire_memcached_request *")
        self._events = ffi.new("drywire_event[]", BATCH)
        self._iov = ffi.new("drywire_iov[]", 16)
        self._n = ffi.new("size_t *")
        self._bytes = ffi.new("size_t *")
        self._token = ffi.new("uint64_t *")

    def get(self, *keys: bytes, now_ns: int = 0, cas: bool = False) -> int:
        """Asks for keys: a `Value` for each hit, then `Done` with END."""
        return self._submit(lib.DRYWIRE_MEMCACHED_GET, keys, now_ns, flags=lib.DRYWIRE_REQUEST_CAS * cas)

    def store(self, key: bytes, value: bytes, *, verb: str = "set", now_ns: int = 0, flags: int = 0,
              exptime: int = 0, cas: int = 0) -> int:
        """set, add, replace, append, prepend or cas."""
        return self._submit(_STORE[verb], [key], now_ns, value=value, item_flags=flags,
                            exptime=exptime, num=cas)

    def delete(self, key: bytes, *, now_ns: int = 0) -> int:
        """Deletes an item."""
        return self._submit(lib.DRYWIRE_MEMCACHED_DELETE, [key], now_ns)

    def incr(self, key: bytes, delta: int, *, now_ns: int = 0) -> int:
        """Adds to a number, or subtracts a negative `delta` (which stops at 0)."""
        verb = lib.DRYWIRE_MEMCACHED_INCR if delta >= 0 else lib.DRYWIRE_MEMCACHED_DECR
        return self._submit(verb, [key], now_ns, num=abs(delta))

    def touch(self, key: bytes, exptime: int, *, now_ns: int = 0) -> int:
        """Gives an item a new time to die."""
        return self._submit(lib.DRYWIRE_MEMCACHED_TOUCH, [key], now_ns, exptime=exptime)

    def version(self, *, now_ns: int = 0) -> int:
        """Asks what the server calls its version."""
        return self._submit(lib.DRYWIRE_MEMCACHED_VERSION, [], now_ns)

    def stats(self, *, now_ns: int = 0) -> int:
        """Asks for statistics: a `Stat` for each line, then `Done` with END."""
        return self._submit(lib.DRYWIRE_MEMCACHED_STATS, [], now_ns)

    def flush_all(self, *, now_ns: int = 0) -> int:
        """Forgets all items."""
        return self._submit(lib.DRYWIRE_MEMCACHED_FLUSH_ALL, [], now_ns)

    def _submit(self, verb: int, keys: Sequence[bytes], now_ns: int, *, value: bytes = b"",
                flags: int = 0, item_flags: int = 0, num: int = 0, exptime: int = 0) -> int:
        request = self._request
        check(lib.drywire_memcached_request_init(request, ffi.sizeof("drywire_memcached_request")))
        request.verb, request.flags, request.item_flags = verb, flags, item_flags
        request.num, request.exptime = num, exptime
        alive = [ffi.from_buffer("uint8_t[]", part) for part in (*keys, value)]
        views = ffi.new("drywire_bytes[]", [(a, len(a)) for a in alive[:-1]])
        request.keys, request.key_count = views, len(keys)
        request.value = (alive[-1], len(value))
        check(lib.drywire_client_submit(self._client, now_ns, request, self._token))
        return int(self._token[0])

    def data_to_send(self) -> bytes:
        """The output that waits. Say with `sent` how much of it was sent."""
        check(lib.drywire_client_output(self._client, self._iov, 16, self._n, self._bytes))
        return b"".join(ffi.buffer(i.base, i.len)[:] for i in self._iov[0:self._n[0]])

    def sent(self, n: int) -> None:
        """The first `n` bytes of the output were sent."""
        check(lib.drywire_client_output_consume(self._client, n))

    def feed(self, data: bytes | bytearray | memoryview, now_ns: int = 0) -> list[Event]:
        """Takes input and returns what happened."""
        pointer = ffi.from_buffer("uint8_t[]", data)
        at = 0
        events: list[Event] = []
        while at < len(data):
            check(lib.drywire_client_feed(self._client, now_ns, pointer + at, len(data) - at, self._n))
            at += self._n[0]
            events += self.poll()
            if at < len(data) and self.over:
                break
        return events

    def poll(self) -> list[Event]:
        """What happened and was not told yet; after `eof` and `tick`, the requests that failed."""
        events: list[Event] = []
        while True:
            status = check(lib.drywire_client_poll(self._client, self._events, BATCH, self._n))
            events += [_event(e) for e in self._events[0:self._n[0]]]
            if status != lib.DRYWIRE_MORE:
                return events

    def eof(self) -> list[Event]:
        """The connection has ended. Returns the ends of everything in flight."""
        check(lib.drywire_client_eof(self._client))
        return self.poll()

    def next_deadline(self) -> int | None:
        """When `tick` is due, in nanoseconds."""
        at = lib.drywire_client_next_deadline(self._client)
        return None if at == lib.DRYWIRE_NO_DEADLINE else int(at)

    def tick(self, now_ns: int) -> list[Event]:
        """Time has passed. Returns the ends of everything in flight if a request ran out of it."""
        check(lib.drywire_client_tick(self._client, now_ns))
        return self.poll()

    @property
    def over(self) -> bool:
        """Whether the connection has ended, or the peer broke the protocol."""
        return bool(lib.drywire_client_wants(self._client) & lib.DRYWIRE_WANT_CLOSE)


def _event(e: object) -> Event:
    kind, token = e.kind, int(e.id)  # type: ignore[attr-defined]
    a, b = text(e.a), text(e.b)  # type: ignore[attr-defined]
    if kind == lib.DRYWIRE_EVENT_VALUE:
        return Value(token, a, b, int(e.flags), int(e.num))  # type: ignore[attr-defined]
    if kind == lib.DRYWIRE_EVENT_STAT:
        return Stat(token, a, b)
    outcome = Outcome(e.flags)  # type: ignore[attr-defined]
    why = name(-int(e.aux)) if outcome is Outcome.FAILED else ""  # type: ignore[attr-defined]
    return Done(token, outcome, int(e.num), a, why)  # type: ignore[attr-defined]
