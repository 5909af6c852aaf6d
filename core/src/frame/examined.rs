//! Law 7: bytes are looked at a constant number of times. Counted, not timed.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use super::http::Http;
use super::length_prefix::LengthPrefix;
use super::line::{Lines, Lone, Oversize};
use super::resp::Resp;
use super::tlv::{Compact, Damage, Tlv};
use super::track::EXAMINED;
use super::{Framing, Joiner};

/// Bytes looked at for each byte of `stream`, fed in pieces of `piece` bytes to a joiner.
fn examined_per_byte<F: Framing>(framing: F, stream: &[u8], piece: usize) -> f64 {
    EXAMINED.set(0);
    let mut joiner = Joiner::new(framing);
    for chunk in stream.chunks(piece) {
        joiner.push(chunk, |_| ControlFlow::Continue(()));
    }
    EXAMINED.get() as f64 / stream.len() as f64
}

/// At most `bound` for each byte, and no more for a longer stream.
fn linear<F: Framing + Clone + core::fmt::Debug>(
    name: &str,
    framing: &F,
    stream: &[u8],
    bound: f64,
) {
    for piece in [1, 7, 1000, usize::MAX] {
        let once = examined_per_byte(framing.clone(), stream, piece);
        let twice = examined_per_byte(framing.clone(), &stream.repeat(2), piece);
        assert!(
            once <= bound,
            "{name}, {piece} at a time: {once:.2} looks per byte by {framing:?}"
        );
        assert!(
            twice <= once.max(0.01) * 1.15,
            "{name}: {once:.3}, then {twice:.3} looks per byte"
        );
    }
}

const N: usize = 20_000;

#[test]
fn lines_are_searched_once() {
    let long = vec![b'x'; N];
    let crs = vec![b'\r'; N];
    let short: Vec<u8> = b"a line of some bytes\r\n".repeat(N / 22);
    // A CR is looked at again with the byte after it, which may be its LF.
    let streams =
        [("no terminator", &long, 2.2), ("all CR", &crs, 3.2), ("short lines", &short, 2.2)];
    for (name, stream, bound) in streams {
        for max in [100, 2 * N + 10] {
            for oversize in [Oversize::Skip, Oversize::Truncate, Oversize::Fatal] {
                let strict = Lines::crlf(max).lone_cr(Lone::Error).lone_lf(Lone::Error);
                for lines in
                    [Lines::lf(max), Lines::lf_or_crlf(max), Lines::any_newline(max), strict]
                {
                    linear(name, &lines.oversize(oversize), stream, bound);
                }
            }
        }
    }
    // A delimiter that is nearly found everywhere.
    let nearly = b"aaaaaaab".repeat(N / 8);
    let delimiter = Lines::delimiter(b"aaaaaaac", 2 * N + 10).expect("8 bytes");
    linear("nearly a delimiter", &delimiter, &nearly, 2.2);
}

#[test]
fn lengths_are_read_once() {
    for codec in [LengthPrefix::u32_be(N), LengthPrefix::varint(N)] {
        linear("zero lengths", &codec, &[0; N], 2.0);
        linear("a long frame", &codec, &[&[0, 0, 0x40, 0][..], &[7; 0x4000]].concat(), 2.0);
    }
    linear("non-minimal", &LengthPrefix::varint(N), &[0x80; N], 2.0);
}

#[test]
fn checksums_are_computed_once() {
    use super::{Encode, Meta};
    let codec = Tlv::new(N).damage(Damage::Resync);
    let mut wire = Vec::new();
    for _ in 0..N / 320 {
        codec.encode(Meta::default(), &[7; 300], &mut wire).expect("under the limit");
    }
    linear("frames", &codec, &wire, 2.0);
    let mut compact = Vec::new();
    for _ in 0..N / 308 {
        Compact::new(400)
            .encode(Meta::default(), &[7; 300], &mut compact)
            .expect("under the limit");
    }
    linear("compact frames", &Compact::new(400), &compact, 2.0);
    // The worst for a search: magic bytes everywhere, and headers that are nearly valid.
    linear("all magic", &codec, &[0xF5; N], 16.0);
    linear("all magic pairs", &codec, &[0xF5, 0xD7].repeat(N / 2), 16.0);
    linear("nearly headers", &codec, &wire[..12].repeat(N / 12), 16.0);
    // Valid headers inside a body that claim more bodies: skipped with the outer frame.
    let mut nested = wire[..16].to_vec();
    (0..20).for_each(|_| nested.extend_from_slice(&wire[..16]));
    linear("nested valid headers", &codec, &nested.repeat(N / 320), 16.0);
}

#[test]
fn resp_and_http_are_walked_once() {
    let simple = [b"+".as_slice(), &vec![b'x'; 3000], b"\r\n"].concat();
    let replies = Resp::replies().max_frame(1 << 20);
    linear("long lines", &replies, &simple.repeat(N / 3000), 3.0);
    linear("tiny elements", &replies, &[&b"*1000\r\n"[..], &b":1\r\n".repeat(1000)].concat(), 3.0);
    linear("bulk strings", &replies, &b"$10\r\n0123456789\r\n".repeat(N / 17), 3.0);
    let head = [&b"GET / HTTP/1.1\r\n"[..], &b"name: value\r\n".repeat(30), b"\r\n"].concat();
    linear("heads", &Http::requests(), &head.repeat(20), 3.0);
    let chunks = [
        &b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
        &b"a;x=y\r\n0123456789\r\n".repeat(200),
        b"0\r\n\r\n",
    ];
    linear("chunks", &Http::requests(), &chunks.concat(), 3.0);
}

/// Who takes one frame and leaves the rest (back-pressure, one frame a call) throws away what was
/// found ahead: that must not be much, and not more where there is more to find.
#[test]
fn one_frame_at_a_time_costs_one_frame() {
    fn most<F: Framing>(codec: &F, mut stream: &[u8]) -> u64 {
        let mut state = F::State::default();
        let mut most = 0;
        while !stream.is_empty() {
            EXAMINED.set(0);
            let mut it = super::frames(codec, &mut state, stream);
            assert!(matches!(it.next(), Some(Ok(_))));
            stream = stream.get(it.consumed()..).unwrap_or_default();
            most = most.max(EXAMINED.get());
        }
        most
    }
    use super::{Encode, Meta};
    let mut wire = Vec::new();
    for _ in 0..100 {
        Tlv::new(N).encode(Meta::default(), b"sixteen bytes...", &mut wire).expect("fits");
    }
    assert!(most(&Tlv::new(N), &wire) <= 36);
    assert!(most(&Lines::lf(N), &b"fifteen bytes..\n".repeat(100)) <= 64);
    assert!(most(&LengthPrefix::u32_be(N), &b"\0\0\0\x05hello".repeat(100)) <= 9);
}
