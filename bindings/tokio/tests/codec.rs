//! The tokio face tells what the core tells, and what tokio-util's own codecs tell where their
//! settings are sane.

#[path = "../../../fuzz/src/tokio_adapter.rs"]
mod tokio_adapter;

use bytes::{Bytes, BytesMut};
use drywire::frame::length_prefix::{Counts, LengthPrefix, Oversize, Width};
use drywire::frame::line::{self, Lines};
use drywire::frame::tlv::{Damage, Tlv};
use drywire::frame::{Encode, Eof, ErrorKind, FrameError, Framing, Meta, frames};
use drywire_tokio::codec::{CodecError, FrameCodec, Item};
use proptest::prelude::*;
use tokio_stream::StreamExt;
use tokio_util::codec::{Decoder, Encoder, FramedRead, LengthDelimitedCodec, LinesCodec};

type Event = Result<Vec<u8>, FrameError>;

/// Everything the decoder gives, fed in pieces of `piece` bytes; and how it ended.
fn decoded<F: Framing>(framing: F, input: &[u8], piece: usize) -> (Vec<Event>, Option<Eof>) {
    let mut codec = FrameCodec::new(framing);
    let (mut buf, mut events) = (BytesMut::new(), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        buf.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut buf) {
                Ok(Some(item)) => events.push(item.map(|item| item.payload.to_vec())),
                Ok(None) => break,
                Err(CodecError::Frame(error)) => {
                    events.push(Err(error));
                    return (events, None);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    loop {
        match codec.decode_eof(&mut buf) {
            Ok(Some(item)) => events.push(item.map(|item| item.payload.to_vec())),
            Ok(None) => return (events, None),
            Err(CodecError::Truncated(eof)) => {
                assert!(matches!(codec.decode_eof(&mut buf), Ok(None)), "told about once");
                return (events, Some(eof));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn in_core<F: Framing>(framing: &F, input: &[u8]) -> Vec<Event> {
    let mut state = F::State::default();
    let events = frames(framing, &mut state, input).map(|event| event.map(|f| f.payload.to_vec()));
    events.collect()
}

fn theirs<D, T>(mut codec: D, input: &[u8], piece: usize) -> Option<Vec<Vec<u8>>>
where
    D: Decoder<Item = T>,
    T: AsRef<[u8]>,
{
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        buf.extend_from_slice(chunk);
        while let Some(frame) = codec.decode(&mut buf).ok()? {
            frames.push(frame.as_ref().to_vec());
        }
    }
    Some(frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn tells_what_the_core_tells(
        input in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0), 0u8..5, any::<u8>()], 0..200),
        piece in 1usize..40,
        max in 1usize..40,
    ) {
        let lines = Lines::lf_or_crlf(max).oversize(line::Oversize::Skip);
        prop_assert_eq!(decoded(lines, &input, piece).0, in_core(&lines, &input));
        let prefix = LengthPrefix::builder(Width::U8, max).oversize(Oversize::Skip).build().unwrap();
        prop_assert_eq!(decoded(prefix, &input, piece).0, in_core(&prefix, &input));
        let tlv = Tlv::new(max).damage(Damage::Resync);
        prop_assert_eq!(decoded(tlv, &input, piece).0, in_core(&tlv, &input));
    }

    /// tokio-util's length codec, where offset, width and adjustment are sane and no frame is
    /// over the limit.
    #[test]
    fn agrees_with_length_delimited(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        width in prop::sample::select(vec![(Width::U8, 1usize), (Width::U16, 2), (Width::U24, 3), (Width::U32, 4), (Width::U64, 8)]),
        offset in 0u32..4,
        whole: bool,
        little: bool,
        cut in 0usize..100,
        piece in 1usize..50,
    ) {
        let (width, bytes) = width;
        let counts = if whole { Counts::WholeFrame } else { Counts::Body };
        let mut builder = LengthPrefix::builder(width, 60).offset(offset).counts(counts);
        let mut theirs_builder = LengthDelimitedCodec::builder();
        theirs_builder
            .length_field_offset(offset as usize)
            .length_field_length(bytes)
            .max_frame_length(200);
        if whole {
            theirs_builder.length_adjustment(-((offset as isize) + bytes as isize));
        }
        if little {
            builder = builder.little_endian();
            theirs_builder.little_endian();
        }
        theirs_builder.num_skip(offset as usize + bytes);
        let ours = builder.build().unwrap();
        let mut wire = Vec::new();
        for payload in &payloads {
            ours.encode(Meta::default(), payload, &mut wire).unwrap();
        }
        wire.truncate(wire.len().saturating_sub(cut));
        let told: Option<Vec<_>> = decoded(ours, &wire, piece).0.into_iter().map(Result::ok).collect();
        prop_assert_eq!(told, theirs(theirs_builder.new_codec(), &wire, piece));
    }

    /// tokio-util's line codec, for text without over-long lines.
    #[test]
    fn agrees_with_lines_codec(text in "[a-c\r\n]{0,120}", piece in 1usize..50) {
        let ours = decoded(Lines::lf_or_crlf(1000), text.as_bytes(), piece).0;
        let told: Option<Vec<_>> = ours.into_iter().map(Result::ok).collect();
        prop_assert_eq!(told, theirs(LinesCodec::new(), text.as_bytes(), piece));
    }

    #[test]
    fn what_is_encoded_is_decoded(payload in prop::collection::vec(any::<u8>(), 0..300), kind: u16) {
        let mut codec = FrameCodec::new(Tlv::new(200));
        let item = Item { payload: payload.into(), meta: Meta::kind(kind.into()) };
        let mut buf = BytesMut::new();
        match codec.encode(item.clone(), &mut buf) {
            Ok(()) => prop_assert_eq!(codec.decode(&mut buf).unwrap(), Some(Ok(item))),
            Err(error) => {
                prop_assert!(item.payload.len() > 200 && buf.is_empty(), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_error_that_costs_a_frame_does_not_end_the_stream() {
    let prefix = LengthPrefix::builder(Width::U8, 3).oversize(Oversize::Skip).build().unwrap();
    let mut framed = FramedRead::new(&b"\x01a\x05vwxyz\x02bc"[..], FrameCodec::new(prefix));
    assert_eq!(framed.next().await.unwrap().unwrap().unwrap().payload, "a");
    let error = framed.next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind, error.declared, error.limit), (ErrorKind::TooLarge, 5, 3));
    assert_eq!(framed.next().await.unwrap().unwrap().unwrap().payload, "bc");
    assert!(framed.next().await.is_none());
}

#[tokio::test]
async fn a_fatal_error_and_a_truncated_frame_end_it() {
    let mut framed = FramedRead::new(&b"\x01a\x09"[..], FrameCodec::new(LengthPrefix::varint(3)));
    assert!(framed.next().await.unwrap().unwrap().is_ok());
    assert!(matches!(framed.next().await, Some(Err(CodecError::Frame(_)))));
    assert!(framed.next().await.is_none());
    let mut framed = FramedRead::new(&b"\x02a"[..], FrameCodec::new(LengthPrefix::varint(3)));
    let Some(Err(error)) = framed.next().await else { panic!("a truncated frame") };
    assert_eq!(error.to_string(), "ends inside a frame: 2 of 3 bytes");
    assert!(framed.next().await.is_none());
}

#[test]
fn what_is_reserved_is_bounded_whatever_is_declared() {
    let mut codec = FrameCodec::new(LengthPrefix::u32_be(1 << 30));
    let mut buf = BytesMut::from(&(1u32 << 30).to_be_bytes()[..]);
    assert!(codec.decode(&mut buf).unwrap().is_none());
    assert!(buf.capacity() <= 128 * 1024, "{} bytes reserved", buf.capacity());
}

#[test]
fn detached_payloads_do_not_keep_their_block() {
    let mut codec = FrameCodec::new(LengthPrefix::u8()).detached();
    let block = [&[16][..], &[7; 16]].concat();
    let mut buf = BytesMut::from(&block[..]);
    let range = buf.as_ptr_range();
    let payload: Bytes = codec.decode(&mut buf).unwrap().unwrap().unwrap().payload;
    assert!(!range.contains(&payload.as_ptr()));
}

/// The committed corpus of the fuzz target, replayed.
#[test]
fn corpus() {
    let dir =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tokio_adapter");
    let mut inputs = 0;
    for entry in std::fs::read_dir(dir).expect("a corpus") {
        let input = std::fs::read(entry.expect("an entry").path()).expect("an input");
        tokio_adapter::tokio_adapter(&input);
        inputs += 1;
    }
    assert!(inputs > 0);
}
