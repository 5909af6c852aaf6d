"""Cutting byte streams into frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ._errors import FrameError, Misuse, check, name, text
from ._native import ffi, lib

BATCH = 256
Oversize = Literal["fatal", "skip", "truncate"]
_OVERSIZE = {"fatal": lib.DRYWIRE_OVERSIZE_FATAL, "skip": lib.DRYWIRE_OVERSIZE_SKIP,
             "truncate": lib.DRYWIRE_OVERSIZE_TRUNCATE}
_TERMINATORS = {"lf": lib.DRYWIRE_LINES_LF, "crlf": lib.DRYWIRE_LINES_CRLF,
                "lf or crlf": lib.DRYWIRE_LINES_LF_OR_CRLF, "any newline": lib.DRYWIRE_LINES_ANY_NEWLINE}
_COUNTS = {"body": lib.DRYWIRE_COUNTS_BODY, "after field": lib.DRYWIRE_COUNTS_AFTER_FIELD,
           "field and body": lib.DRYWIRE_COUNTS_FIELD_AND_BODY,
           "whole frame": lib.DRYWIRE_COUNTS_WHOLE_FRAME}


class Framing:
    """How a stream is cut: made by `lines` and `length_prefix`, used by any number of framers."""

    def __init__(self, options: Any) -> None:
        self._options = options


def _options(kind: int, max_payload: int, oversize: Oversize) -> Any:
    options = ffi.new("drywire_framer_options *")
    check(lib.drywire_framer_options_init(options, ffi.sizeof("drywire_framer_options")))
    options.kind = kind
    if not 0 < max_payload < 1 << 62:
        raise Misuse("DRYWIRE_ERR_RANGE", f"max_payload is {max_payload}, must be at least 1")
    options.max_payload = max_payload
    options.oversize = _OVERSIZE[oversize]
    return options


def lines(max_payload: int, terminator: str | bytes = "lf", *, oversize: Oversize = "fatal") -> Framing:
    """Lines of at most `max_payload` bytes without their end.

    `terminator` is "lf", "crlf", "lf or crlf", "any newline", or the 1 to 8 bytes of a delimiter.
    """
    options = _options(lib.DRYWIRE_FRAMING_LINES, max_payload, oversize)
    if isinstance(terminator, bytes):
        if not 1 <= len(terminator) <= 8:
            raise Misuse("DRYWIRE_ERR_RANGE", "a delimiter has 1 to 8 bytes")
        options.terminator = lib.DRYWIRE_LINES_DELIMITER
        options.delimiter_len = len(terminator)
        ffi.memmove(options.delimiter, terminator, len(terminator))
    else:
        options.terminator = _TERMINATORS[terminator]
    return Framing(options)


def length_prefix(max_payload: int, width: int | Literal["varint"] = 4, *,
                  byteorder: Literal["big", "little"] = "big", counts: str = "body", offset: int = 0,
                  type_width: int = 0, oversize: Oversize = "fatal") -> Framing:
    """A length of `width` bytes (1, 2, 3, 4, 8 or "varint"), then at most `max_payload` bytes."""
    options = _options(lib.DRYWIRE_FRAMING_LENGTH_PREFIX, max_payload, oversize)
    options.length_width = lib.DRYWIRE_WIDTH_VARINT32 if width == "varint" else width
    options.flags = lib.DRYWIRE_FRAMING_LITTLE_ENDIAN if byteorder == "little" else 0
    options.counts = _COUNTS[counts]
    options.length_offset = offset
    options.type_width = type_width
    return Framing(options)


@dataclass(frozen=True, slots=True)
class BadFrame:
    """In place of a frame that was dropped because it is over the limit or damaged."""

    code: int
    offset: int
    found: int


class Framer:
    """One stream. `feed` it in any pieces; it keeps the part of a frame that is not complete."""

    def __init__(self, framing: Framing) -> None:
        out = ffi.new("drywire_framer **")
        check(lib.drywire_framer_new(framing._options, out))
        self._framer = ffi.gc(out[0], lib.drywire_framer_free)
        self._rest = b""
        self._batch = ffi.new("size_t[]", 4 * BATCH)
        self._n = ffi.new("size_t *")
        self._consumed = ffi.new("size_t *")

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes | BadFrame]:
        """The frames that are complete now, in order; one call of C for each 256.

        Raises FrameError when the stream is broken; the frames before are in its `frames`.
        """
        buffer = self._rest + data if self._rest else bytes(data)
        frame = lib.DRYWIRE_EVENT_FRAME
        return [buffer[start:start + size] if kind == frame else BadFrame(code, start, size)
                for start, size, code, kind in self._walk(buffer)]

    def feed_views(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """As `feed`, without copying payloads and without bad frames; keeps the whole piece alive
        as long as any of its views."""
        buffer = self._rest + data if self._rest else bytes(data)
        view = memoryview(buffer)
        return [view[start:start + size] for start, size, _, kind in self._walk(buffer)
                if kind == lib.DRYWIRE_EVENT_FRAME]

    def _walk(self, buffer: bytes) -> list[tuple[int, int, int, int]]:
        pointer = ffi.from_buffer("uint8_t[]", buffer)
        found: list[tuple[int, int, int, int]] = []
        at = 0
        while True:
            status = lib.drywire_py_batch(self._framer, pointer + at, len(buffer) - at, self._batch,
                                          BATCH, self._n, self._consumed)
            plain = ffi.unpack(self._batch, 4 * self._n[0])
            frame = lib.DRYWIRE_EVENT_FRAME
            found += [(start + at if kind == frame else start, size, flags, kind)
                      for start, size, flags, kind in zip(*[iter(plain)] * 4)]
            at += self._consumed[0]
            if status < 0:
                self._rest = b""
                self._fail(status, buffer, found)
            if status != lib.DRYWIRE_MORE:
                self._rest = buffer[at:]
                return found

    def _fail(self, status: int, buffer: bytes, found: list[tuple[int, int, int, int]]) -> None:
        info = ffi.new("drywire_error_info *")
        info.struct_size = ffi.sizeof("drywire_error_info")
        check(lib.drywire_framer_last_error(self._framer, info))
        if not info.status:
            check(status)
        error = FrameError(name(status), text(info.text).decode(), info.offset, info.found, info.limit)
        error.frames = [buffer[start:start + size] for start, size, _, kind in found
                        if kind == lib.DRYWIRE_EVENT_FRAME]
        raise error

    def finish(self) -> None:
        """The stream has ended. Raises Error if that is inside a frame."""
        check(lib.drywire_framer_finish(self._framer, self._rest, len(self._rest)))

    def encode(self, payload: bytes, kind: int = 0) -> bytes:
        """The frame around `payload`. Raises Misuse for what a decoder would refuse."""
        status = lib.drywire_framer_encode(self._framer, kind, 0, payload, len(payload), ffi.NULL, 0,
                                           self._n)
        if status != lib.DRYWIRE_ERR_BUFFER:
            check(status)
        out = bytearray(self._n[0])
        check(lib.drywire_framer_encode(self._framer, kind, 0, payload, len(payload),
                                        ffi.from_buffer("uint8_t[]", out), len(out), self._n))
        return bytes(out)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._rest = b""
        check(lib.drywire_framer_reset(self._framer))

    @property
    def pending(self) -> int:
        """Bytes kept of a frame that is not complete."""
        return len(self._rest)

    @property
    def needed(self) -> int:
        """At least how many bytes are missing; a hint."""
        return int(lib.drywire_framer_need(self._framer))
