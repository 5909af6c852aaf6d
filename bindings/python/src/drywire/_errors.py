"""What can go wrong, and how a status becomes an exception."""

from __future__ import annotations

from ._native import ffi, lib


class Error(Exception):
    """Something went wrong. `status` is the name that drywire.h gives it."""

    def __init__(self, status: str, text: str = "") -> None:
        super().__init__(f"{status}: {text}" if text else status)
        self.status = status


class Misuse(Error, ValueError):
    """The call is not allowed, or a value is outside its range."""


class FrameError(Error):
    """A stream that breaks its framing beyond repair, at byte `offset`.

    `frames` are those before the break that no call has returned.
    """

    def __init__(self, status: str, text: str, offset: int, found: int, limit: int) -> None:
        super().__init__(status, f"{text} at byte {offset} ({found} found, {limit} allowed)")
        self.offset, self.found, self.limit = offset, found, limit
        self.frames: list[object] = []


def name(status: int) -> str:
    return str(ffi.string(lib.drywire_status_name(status)).decode())


def check(status: int) -> int:
    """The status, if it is no failure."""
    if status < 0:
        raise (Misuse if status > -100 else MemoryError if status == -200 else Error)(name(status))
    return status


def text(view: object) -> bytes:
    """A copy of a drywire_bytes."""
    return bytes(ffi.buffer(view.data, view.len))  # type: ignore[attr-defined]
