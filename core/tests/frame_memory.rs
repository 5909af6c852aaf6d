//! Law 6 of framing, counted: codecs allocate nothing, whatever the bytes; the joiner allocates
//! for straddling frames only.

use std::ops::ControlFlow;

use drywire::frame::fixed::Fixed;
use drywire::frame::http::{Body, Http, chunk, last_chunk, request_head};
use drywire::frame::length_prefix::LengthPrefix;
use drywire::frame::line::{self, Lines};
use drywire::frame::record::{Record, Records};
use drywire::frame::resp::{Resp, Writer};
use drywire::frame::tlv::{Compact, Damage, Tlv};
use drywire::frame::{Encode, Frame, FrameError, FrameRef, Framing, Joiner, Meta, batch, frames};

/// Walks `wire` and damaged copies of it in every face that must not allocate.
fn allocates_nothing<F: Framing + Copy>(codec: F, wire: &[u8]) {
    let mut damaged = wire.to_vec();
    damaged.iter_mut().step_by(13).for_each(|byte| *byte ^= 0x55);
    for stream in [wire, &damaged] {
        let counted = allocation_counter::measure(|| {
            let mut state = F::State::default();
            let mut it = frames(&codec, &mut state, stream);
            let found = it.by_ref().count();
            let rest = &stream[it.consumed()..];
            let _ = (found, codec.finish(&state, rest));
            let mut out = [FrameRef::default(); 8];
            let _ = batch(&codec, &mut F::State::default(), stream, &mut out);
            // Byte by byte, as if everything came late.
            let (mut state, mut from) = (F::State::default(), 0);
            for end in 1..=stream.len() {
                use drywire::frame::Step;
                while let Step::Frame { consumed, .. }
                | Step::Skip { consumed }
                | Step::Error { consumed, .. } = codec.step(&mut state, &stream[from..end])
                {
                    if consumed == 0 {
                        break;
                    }
                    from += consumed;
                }
            }
        });
        assert_eq!(counted.count_total, 0, "a codec allocated");
    }
}

fn encoded<F: Encode>(codec: &F) -> Vec<u8> {
    let mut wire = Vec::new();
    for len in [0usize, 1, 17, 300] {
        codec.encode(Meta::default(), &vec![b'x'; len], &mut wire).unwrap();
    }
    wire
}

#[test]
fn codecs_allocate_nothing() {
    let fixed = Fixed::new(7).unwrap();
    allocates_nothing(fixed, &[1; 100]);
    let prefix = LengthPrefix::u32_be(1000);
    allocates_nothing(prefix, &encoded(&prefix));
    let varint = LengthPrefix::varint(1000);
    allocates_nothing(varint, &encoded(&varint));
    for lines in [Lines::lf(1000), Lines::any_newline(1000), Lines::crlf(10)] {
        let wire = encoded(&Lines::crlf(1000));
        allocates_nothing(lines.oversize(line::Oversize::Skip), &wire);
    }
    let tlv = Tlv::new(1000).damage(Damage::Resync);
    allocates_nothing(tlv, &encoded(&tlv));
    let compact = Compact::new(1000);
    allocates_nothing(compact, &encoded(&compact));
    let mut wire = Vec::new();
    let record = Record { version: 1, timestamp: 2, host: b"h", tag: b"t", message: b"m" };
    record.encode(&Records::new(), &mut wire).unwrap();
    allocates_nothing(Records::new().skip_bad(true), &wire.repeat(5));
    let mut wire = Vec::new();
    Writer::new(&mut wire).array(2).bulk(b"GET").bulk(b"key");
    allocates_nothing(Resp::requests(), &wire.repeat(5));
    let mut wire = Vec::new();
    let codec = Http::requests();
    request_head(&codec, &mut wire, "PUT", "/", &[("A", b"b")], Body::Chunked, 0).unwrap();
    chunk(&mut wire, b"hello").unwrap();
    last_chunk(&codec, &mut wire, &[]).unwrap();
    allocates_nothing(codec, &wire.repeat(3));
}

#[test]
fn the_joiner_allocates_for_straddlers_only_and_follows_the_bytes() {
    let codec = LengthPrefix::u32_be(1 << 20);
    let wire = encoded(&codec);
    let mut joiner = Joiner::new(codec);
    fn each(_: Result<Frame<'_>, FrameError>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    let whole = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert_eq!(joiner.push(&wire, each), wire.len());
        }
    });
    assert_eq!(whole.count_total, 0, "frames inside a chunk are borrowed from it");
    // A megabyte announced, a kilobyte sent: no more than two are held at any time.
    let received = 1024;
    let counted = allocation_counter::measure(|| {
        joiner.push(&(1u32 << 20).to_be_bytes(), each);
        (0..received).for_each(|_| assert_eq!(joiner.push(b"x", each), 1));
    });
    assert!(counted.bytes_max <= 4 * received, "{} bytes", counted.bytes_max);
    assert!(counted.count_total < 20, "{} allocations", counted.count_total);
}
