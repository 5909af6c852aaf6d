import random

import drywire
import pytest
from drywire import BadFrame, FrameError, Framer, length_prefix, lines


@pytest.mark.parametrize("piece", [1, 2, 7, 1000, 10**9])
@pytest.mark.parametrize("framing", [
    lines(300), lines(300, "crlf"), lines(300, b"::"), length_prefix(300), length_prefix(300, "varint"),
    length_prefix(300, 2, byteorder="little", counts="whole frame", offset=3),
])
def test_any_pieces_give_the_frames(framing: drywire.Framing, piece: int) -> None:
    random.seed(1)
    payloads = [bytes(random.choices(b"abc", k=random.randrange(300))) for _ in range(700)]
    writer, reader = Framer(framing), Framer(framing)
    stream = b"".join(map(writer.encode, payloads))
    seen: list[bytes | BadFrame] = []
    for at in range(0, len(stream), piece):
        seen += reader.feed(memoryview(stream)[at:at + piece])
    assert seen == payloads
    reader.finish()
    assert reader.pending == 0
    views = Framer(framing).feed_views(stream)
    assert [bytes(v) for v in views] == payloads


def test_a_broken_stream_says_where_and_keeps_what_was_good() -> None:
    framer = Framer(length_prefix(10))
    with pytest.raises(FrameError) as caught:
        framer.feed(b"\0\0\0\2hi\0\0\0\xff")
    error = caught.value
    assert (error.offset, error.found, error.limit) == (6, 255, 10)
    assert error.frames == [b"hi"]
    with pytest.raises(FrameError):
        framer.feed(b"more")
    framer.reset()
    assert framer.feed(b"\0\0\0\1x") == [b"x"]


def test_skipped_frames_are_visible() -> None:
    framer = Framer(lines(4, oversize="skip"))
    first, bad, last = framer.feed(b"ok\nmuch too long\nfine\n")
    assert (first, last) == (b"ok", b"fine")
    assert isinstance(bad, BadFrame) and bad.offset == 7  # the first byte too many


def test_the_end_inside_a_frame_is_an_error() -> None:
    framer = Framer(lines(10))
    assert framer.feed(b"a\nb") == [b"a"]
    assert framer.pending == 1 and framer.needed >= 1
    with pytest.raises(drywire.Error, match="TRUNCATED"):
        framer.finish()


@pytest.mark.parametrize("make", [lambda: lines(0), lambda: lines(5, b"123456789"),
                                  lambda: Framer(length_prefix(5, 7))])
def test_settings_that_make_no_sense(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(drywire.Misuse):
        make()


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError):
        Framer(lines(10)).encode(b"two\nlines")
