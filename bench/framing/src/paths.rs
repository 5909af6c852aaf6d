//! The paths through the codecs that are measured, and the streams for them.

use std::hint::black_box;
use std::ops::ControlFlow;

use bytes::BytesMut;
use drywire::frame::bytes::split;
use drywire::frame::length_prefix::LengthPrefix;
use drywire::frame::line::Lines;
use drywire::frame::tlv::Tlv;
use drywire::frame::{Encode, FrameRef, Framing, Joiner, Meta, batch, frames};
use tokio_util::codec::{AnyDelimiterCodec, Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

use crate::measure::{Stream, Sum};

/// Bytes of a stream: fits the second-level cache.
const STREAM: usize = 640 * 1024;
/// What a read of a socket gives at most.
pub(crate) const CHUNK: usize = 64 * 1024;
const MAX: usize = 1 << 20;

fn codec() -> LengthPrefix {
    LengthPrefix::u32_be(MAX)
}

fn stream(size: usize, overhead: usize, mut put: impl FnMut(&[u8], &mut Vec<u8>)) -> Stream {
    let frames = (STREAM / (size + overhead)).max(4);
    let payload = vec![b'x'; size];
    let mut bytes = Vec::new();
    (0..frames).for_each(|_| put(&payload, &mut bytes));
    Stream { bytes, frames }
}

fn put<F: Encode>(codec: &F, payload: &[u8], out: &mut Vec<u8>) {
    codec.encode(Meta::default(), payload, out).expect("under the limit");
}

pub(crate) fn length_prefixed(size: usize) -> Stream {
    stream(size, 4, |payload, out| put(&codec(), payload, out))
}

/// Frames of mixed sizes: no length tells the next.
pub(crate) fn length_prefixed_mixed(size: usize) -> Stream {
    mixed(size, 4, |payload, out| put(&codec(), payload, out))
}

/// From half of `size` to one and a half.
fn mixed(size: usize, overhead: usize, mut put: impl FnMut(&[u8], &mut Vec<u8>)) -> Stream {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let payload = vec![b'x'; 2 * size];
    stream(size, overhead, |_, out| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        put(&payload[..size / 2 + (random >> 33) as usize % (size + 1)], out);
    })
}

pub(crate) fn varints(size: usize) -> Stream {
    let codec = LengthPrefix::varint(MAX);
    stream(size, 2, |payload, out| put(&codec, payload, out))
}

pub(crate) fn lines(size: usize, end: &[u8]) -> Stream {
    stream(size, end.len(), |payload, out| {
        out.extend_from_slice(payload);
        out.extend_from_slice(end);
    })
}

pub(crate) fn lines_mixed(size: usize) -> Stream {
    mixed(size, 1, |payload, out| {
        out.extend_from_slice(payload);
        out.push(b'\n');
    })
}

pub(crate) fn tlv(size: usize) -> Stream {
    let codec = Tlv::new(MAX);
    stream(size, 20, |payload, out| put(&codec, payload, out))
}

/// Payloads without any framing, for encoding.
pub(crate) fn payloads(size: usize) -> Stream {
    stream(size, 0, |payload, out| out.extend_from_slice(payload))
}

fn by_frames<F: Framing>(codec: F) -> impl FnMut(&Stream) -> Sum {
    move |stream| {
        let (mut sum, mut state) = (Sum::default(), F::State::default());
        for frame in frames(&codec, &mut state, &stream.bytes) {
            sum.add(frame.expect("a good stream").payload);
        }
        sum
    }
}

fn by_joiner<F: Framing>(codec: F, chunk: usize) -> impl FnMut(&Stream) -> Sum {
    let mut joiner = Joiner::new(codec);
    move |stream| {
        let mut sum = Sum::default();
        for chunk in stream.bytes.chunks(chunk) {
            joiner.push(chunk, |frame| {
                sum.add(frame.expect("a good stream").payload);
                ControlFlow::Continue(())
            });
        }
        sum
    }
}

fn by_decoder<D, T>(mut decoder: D, chunk: usize) -> impl FnMut(&Stream) -> Sum
where
    D: Decoder<Item = T>,
    D::Error: std::fmt::Debug,
    T: AsRef<[u8]>,
{
    let mut buf = BytesMut::with_capacity(2 * CHUNK);
    move |stream| {
        let mut sum = Sum::default();
        for chunk in stream.bytes.chunks(chunk) {
            buf.extend_from_slice(chunk);
            while let Some(frame) = decoder.decode(&mut buf).expect("a good stream") {
                sum.add(frame.as_ref());
            }
        }
        sum
    }
}

pub(crate) fn length_prefix_frames() -> impl FnMut(&Stream) -> Sum {
    by_frames(codec())
}

pub(crate) fn varint_frames() -> impl FnMut(&Stream) -> Sum {
    by_frames(LengthPrefix::varint(MAX))
}

fn by_batch<F: Framing>(codec: F) -> impl FnMut(&Stream) -> Sum {
    let mut refs = [FrameRef::default(); 256];
    move |stream| {
        let (mut sum, mut state) = (Sum::default(), F::State::default());
        let mut rest = &stream.bytes[..];
        loop {
            let done = batch(&codec, &mut state, rest, &mut refs);
            refs[..done.count].iter().for_each(|frame| sum.add(frame.payload_of(rest)));
            rest = &rest[done.consumed..];
            if done.need > 0 {
                return sum;
            }
        }
    }
}

pub(crate) fn length_prefix_batch() -> impl FnMut(&Stream) -> Sum {
    by_batch(codec())
}

pub(crate) fn lines_batch() -> impl FnMut(&Stream) -> Sum {
    by_batch(Lines::lf(MAX))
}

pub(crate) fn length_prefix_joiner(chunk: usize) -> impl FnMut(&Stream) -> Sum {
    by_joiner(codec(), chunk)
}

pub(crate) fn length_prefix_bytes() -> impl FnMut(&Stream) -> Sum {
    let mut buf = BytesMut::with_capacity(2 * CHUNK);
    move |stream| {
        let (mut sum, mut state) = (Sum::default(), Default::default());
        for chunk in stream.bytes.chunks(CHUNK) {
            buf.extend_from_slice(chunk);
            let split = split(&codec(), &mut state, &mut buf, |frame| {
                sum.add(&frame.expect("a good stream").0);
            });
            split.expect("a good stream");
        }
        sum
    }
}

fn tokio_prefix() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX).new_codec()
}

pub(crate) fn length_prefix_tokio(chunk: usize) -> impl FnMut(&Stream) -> Sum {
    by_decoder(tokio_prefix(), chunk)
}

pub(crate) fn lines_frames() -> impl FnMut(&Stream) -> Sum {
    by_frames(Lines::lf(MAX))
}

pub(crate) fn lines_crlf() -> impl FnMut(&Stream) -> Sum {
    by_frames(Lines::lf_or_crlf(MAX))
}

pub(crate) fn lines_any() -> impl FnMut(&Stream) -> Sum {
    by_frames(Lines::any_of(b",;\n\r", MAX).expect("a set"))
}

pub(crate) fn lines_joiner(chunk: usize) -> impl FnMut(&Stream) -> Sum {
    by_joiner(Lines::lf(MAX), chunk)
}

pub(crate) fn lines_tokio(chunk: usize) -> impl FnMut(&Stream) -> Sum {
    by_decoder(LinesCodec::new_with_max_length(MAX), chunk)
}

pub(crate) fn any_tokio() -> impl FnMut(&Stream) -> Sum {
    let codec = AnyDelimiterCodec::new_with_max_length(b",;\n\r".to_vec(), b"\n".to_vec(), MAX);
    by_decoder(codec, CHUNK)
}

pub(crate) fn tlv_frames() -> impl FnMut(&Stream) -> Sum {
    by_frames(Tlv::new(MAX))
}

pub(crate) fn tlv_joiner() -> impl FnMut(&Stream) -> Sum {
    by_joiner(Tlv::new(MAX), CHUNK)
}

pub(crate) fn encode_slice() -> impl FnMut(&Stream) -> Sum {
    let (mut out, codec) = (vec![0; 70_000], codec());
    each_payload(move |payload| {
        codec.encode_slice(Meta::default(), payload, black_box(&mut out)).expect("room")
    })
}

pub(crate) fn encode_header() -> impl FnMut(&Stream) -> Sum {
    let codec = codec();
    each_payload(move |payload| {
        let header = codec.header(Meta::default(), black_box(payload).len());
        usize::from(header.expect("room")[3])
    })
}

pub(crate) fn encode_tokio() -> impl FnMut(&Stream) -> Sum {
    let (mut out, mut codec) = (BytesMut::with_capacity(70_000), tokio_prefix());
    each_payload(move |payload| {
        out.clear();
        codec.encode(payload, &mut out).expect("room");
        black_box(&mut out).len()
    })
}

fn each_payload(mut each: impl FnMut(&[u8]) -> usize) -> impl FnMut(&Stream) -> Sum {
    move |stream| {
        let mut sum = Sum::default();
        for payload in stream.bytes.chunks_exact(stream.bytes.len() / stream.frames) {
            sum.frames += 1;
            sum.bytes += each(payload);
        }
        sum
    }
}
