"""Framing, a memcached server and a memcached client without I/O, for any event loop.

Nothing here opens a socket or reads a clock: bytes and times go in, bytes, events and deadlines come
out. `drywire.aio` ties it to asyncio.

    >>> framer = Framer(lines(max_payload=80))
    >>> framer.feed(b"one\\ntwo\\nthr")
    [b'one', b'two']
    >>> framer.feed(b"ee\\n")
    [b'three']
"""

from ._errors import Error, FrameError, Misuse
from .client import Client, Done, Event, Outcome, Stat, Value
from .framing import BadFrame, Framer, Framing, length_prefix, lines
from .server import CloseReason, Connection, Server, Wants

__all__ = [
    "BadFrame", "Client", "CloseReason", "Connection", "Done", "Error", "Event", "FrameError", "Framer",
    "Framing", "Misuse", "Outcome", "Server", "Stat", "Value", "Wants", "length_prefix", "lines",
]
