//! Length prefix: every shape under the laws, its limits and its errors.

use drywire::frame::length_prefix::{Counts, LengthPrefix, Oversize, Width};
use drywire::frame::{ConfigError, Encode, EncodeError, Eof, ErrorKind, Framing, Meta};
use proptest::prelude::*;

use super::harness::{Event, check, stepped};

const WIDTHS: [Width; 7] =
    [Width::U8, Width::U16, Width::U24, Width::U32, Width::U64, Width::Varint32, Width::Varint64];

prop_compose! {
    /// Any shape that the builder accepts.
    fn shape()(
        width in prop::sample::select(&WIDTHS),
        max in 0usize..300,
        little: bool,
        offset in 0u32..4,
        counts in prop_oneof![
            Just(Counts::Body),
            Just(Counts::AfterField),
            Just(Counts::FieldAndBody),
            Just(Counts::WholeFrame),
            (-12i32..12).prop_map(Counts::Adjusted),
        ],
        type_width in prop::sample::select(&[0u8, 1, 2, 4]),
        extra in 0u32..3,
        show in 0u32..12,
        skip: bool,
    ) -> Option<LengthPrefix> {
        let mut builder = LengthPrefix::builder(width, max)
            .offset(offset)
            .counts(counts)
            .type_width(type_width)
            .extra(extra)
            .oversize(if skip { Oversize::Skip } else { Oversize::Fatal });
        if little {
            builder = builder.little_endian();
        }
        match show {
            0 | 1 => builder = builder.keep_header(true),
            2..6 => builder = builder.strip(show),
            _ => {}
        }
        builder.build().ok()
    }
}

fn any_shape() -> impl Strategy<Value = LengthPrefix> {
    shape().prop_filter_map("the builder refuses it", |shape| shape)
}

/// Numbers as a length field may hold them: mostly small, sometimes near the edges.
fn numbers() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![4 => 0u8..4, 1 => Just(0x80u8), 1 => Just(0xffu8), 1 => any::<u8>()],
        0..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn laws_hold_for_arbitrary_bytes(shape in any_shape(), input in numbers(), seed: u64) {
        check(&shape, &input, seed);
    }

    #[test]
    fn laws_hold_for_frames_and_what_follows(
        shape in any_shape(),
        lens in prop::collection::vec(0usize..300, 0..6),
        tail in numbers(),
        seed: u64,
    ) {
        let mut wire = Vec::new();
        let mut sent = Vec::new();
        for (i, len) in lens.into_iter().enumerate() {
            let payload = vec![i as u8; len];
            if shape.encode(Meta::default(), &payload, &mut wire).is_ok() {
                sent.push(wire.len());
            }
        }
        let good = wire.len() as u64;
        wire.extend(tail);
        let told = check(&shape, &wire, seed);
        // Every frame that was sent is there, and ends where it was sent.
        let ends: Vec<usize> = told.events.iter().filter_map(|event| match event {
            Event::Frame { at, bytes, .. } if *at < good => Some(*at as usize + bytes.len()),
            _ => None,
        }).collect();
        prop_assert_eq!(ends, sent);
    }

    /// Equal lengths are guessed after a while; everything else in the frames differs.
    #[test]
    fn laws_hold_in_a_run(
        shape in any_shape(),
        len in 0usize..20,
        kinds in prop::collection::vec(0u32..256, 8..20),
        last in 0usize..40,
        seed: u64,
    ) {
        let mut wire = Vec::new();
        let lens = core::iter::repeat_n(len, kinds.len() - 2).chain([last, len]);
        for (len, kind) in lens.zip(kinds) {
            // Shapes without a type word take no kind; some lengths are over the limit.
            let payload = vec![kind as u8; len];
            if shape.encode(Meta::kind(kind), &payload, &mut wire).is_err() {
                let _ = shape.encode(Meta::default(), &payload, &mut wire);
            }
        }
        check(&shape, &wire, seed);
    }

    #[test]
    fn round_trips_and_is_canonical(shape in any_shape(), len in 0usize..300, kind in 0u32..300) {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let meta = Meta::kind(kind);
        let mut wire = Vec::new();
        match shape.encode(meta, &payload, &mut wire) {
            Ok(n) => {
                prop_assert_eq!(n, wire.len());
                let told = stepped(&shape, &wire, &[]);
                prop_assert_eq!(told.events.len(), 1);
                let Event::Frame { bytes, payload: read, meta: read_meta, .. } = &told.events[0]
                else { panic!("{told:?}") };
                prop_assert_eq!(bytes, &wire);
                prop_assert_eq!(*read_meta, meta);
                prop_assert!(read.ends_with(&payload) || payload.ends_with(read));
                let mut slice = vec![0; n];
                prop_assert_eq!(shape.encode_slice(meta, &payload, &mut slice), Ok(n));
                prop_assert_eq!(&slice, &wire);
                let short = shape.encode_slice(meta, &payload, &mut slice[..n - 1]);
                prop_assert_eq!(short, Err(EncodeError::NoRoom { needed: n }));
                let mut begun = b"before".to_vec();
                let open = shape.begin(&mut begun);
                begun.extend_from_slice(&payload);
                prop_assert_eq!(shape.finish(open, meta, &mut begun), Ok(n));
                prop_assert_eq!(&begun[6..], &wire[..]);
            }
            Err(_) => {
                prop_assert!(wire.is_empty(), "an error writes nothing");
                let mut begun = b"before".to_vec();
                let open = shape.begin(&mut begun);
                begun.extend_from_slice(&payload);
                prop_assert!(shape.finish(open, meta, &mut begun).is_err());
                prop_assert_eq!(&begun[..], b"before");
            }
        }
    }
}

#[test]
fn each_width_reads_its_number() {
    for (width, be) in [
        (Width::U8, &b"\x02hi"[..]),
        (Width::U16, b"\0\x02hi"),
        (Width::U24, b"\0\0\x02hi"),
        (Width::U32, b"\0\0\0\x02hi"),
        (Width::U64, b"\0\0\0\0\0\0\0\x02hi"),
        (Width::Varint32, b"\x02hi"),
        (Width::Varint64, b"\x02hi"),
    ] {
        let codec = LengthPrefix::builder(width, 9).build().unwrap();
        assert_eq!(stepped(&codec, be, &[]).payloads(), [b"hi"]);
        let mut le = be.to_vec();
        le[..be.len() - 2].reverse();
        let codec = LengthPrefix::builder(width, 9).little_endian().build().unwrap();
        assert_eq!(stepped(&codec, &le, &[]).payloads(), [b"hi"]);
    }
}

#[test]
fn named_shapes_count_what_they_say() {
    let shape =
        |counts| LengthPrefix::builder(Width::U16, 99).offset(1).type_width(1).counts(counts);
    for (counts, length) in [
        (Counts::Body, 2),
        (Counts::AfterField, 3),
        (Counts::FieldAndBody, 5),
        (Counts::WholeFrame, 6),
        (Counts::Adjusted(-4), 7),
    ] {
        let codec = shape(counts).build().unwrap();
        let wire = [0xEE, 0, length, 7, b'h', b'i'];
        let told = stepped(&codec, &wire, &[]);
        let meta = Meta::kind(7);
        let (payload, bytes) = (b"hi".to_vec(), wire.to_vec());
        assert_eq!(told.events, [Event::Frame { at: 0, bytes, payload, meta }]);
        let kept = shape(counts).keep_header(true).build().unwrap();
        assert_eq!(stepped(&kept, &wire, &[]).payloads(), [&wire]);
        let stripped = shape(counts).strip(3).build().unwrap();
        assert_eq!(stepped(&stripped, &wire, &[]).payloads(), [&wire[3..]]);
    }
}

#[test]
fn a_length_below_its_own_header_is_fatal_and_says_so() {
    let codec = LengthPrefix::builder(Width::U32, 99).counts(Counts::WholeFrame).build().unwrap();
    for length in 0..4u8 {
        let told = check(&codec, &[0, 0, 0, length, 1, 2, 3], 0);
        let [Event::Error(error)] = told.events[..] else { panic!("{told:?}") };
        assert_eq!((error.kind, error.fatal), (ErrorKind::BadLength, true));
        assert_eq!((error.declared, error.limit, error.at), (u64::from(length), 4, 0));
        assert_eq!(told.eof, Eof::Failed(error));
    }
    assert_eq!(check(&codec, &[0, 0, 0, 4], 0).payloads(), [b""]);
}

#[test]
fn a_lying_length_of_any_size_is_refused_at_the_header() {
    for (width, wire) in [
        (Width::U32, &b"\xff\xff\xff\xff"[..]),
        (Width::U32, b"\x80\0\0\0"),
        (Width::U64, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        (Width::U64, b"\x7f\xff\xff\xff\xff\xff\xff\xff"),
        (Width::Varint64, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ] {
        for counts in [Counts::Body, Counts::Adjusted(5)] {
            let codec = LengthPrefix::builder(width, 1000).counts(counts).build().unwrap();
            let [Event::Error(error)] = check(&codec, wire, 0).events[..] else { panic!() };
            assert_eq!((error.kind, error.fatal, error.limit), (ErrorKind::TooLarge, true, 1000));
            assert!(error.declared > 1000);
        }
    }
}

#[test]
fn skipping_drops_the_frame_and_nothing_else() {
    let codec = LengthPrefix::builder(Width::U8, 3).oversize(Oversize::Skip).build().unwrap();
    let told = check(&codec, b"\x01a\x05vwxyz\x02bc\x04", 0);
    assert_eq!(told.payloads(), [&b"a"[..], b"bc"]);
    let errors: Vec<_> =
        told.errors().iter().map(|e| (e.kind, e.at, e.declared, e.fatal)).collect();
    let too_large = |at, declared| (ErrorKind::TooLarge, at, declared, false);
    assert_eq!(errors, [too_large(2, 5), too_large(11, 4)]);
    assert_eq!(told.eof, Eof::Discarding);
}

#[test]
fn the_end_of_input_says_what_is_missing() {
    let codec = LengthPrefix::u32_be(100);
    assert_eq!(check(&codec, b"", 0).eof, Eof::Clean);
    assert_eq!(check(&codec, b"\0\0\0\x01x", 0).eof, Eof::Clean);
    assert_eq!(check(&codec, b"\0\0", 0).eof, Eof::Partial { have: 2, need: 4 });
    assert_eq!(check(&codec, b"\0\0\0\x09ab", 0).eof, Eof::Partial { have: 6, need: 13 });
}

#[test]
fn encoders_refuse_what_the_field_cannot_hold() {
    let codec = LengthPrefix::u16_be(1 << 20);
    assert!(codec.encoded_len(Meta::default(), &vec![0; 65_535]).is_ok());
    let error = codec.encoded_len(Meta::default(), &vec![0; 65_536]);
    assert_eq!(error, Err(EncodeError::TooLarge { len: 65_536, limit: 65_535 }));
    let whole = LengthPrefix::builder(Width::U8, 1000).counts(Counts::WholeFrame).build().unwrap();
    assert!(whole.encoded_len(Meta::default(), &[0; 254]).is_ok());
    let error = whole.encoded_len(Meta::default(), &[0; 255]);
    assert_eq!(error, Err(EncodeError::TooLarge { len: 255, limit: 254 }));
    assert_eq!(codec.encoded_len(Meta::kind(1), b""), Err(EncodeError::BadMeta));
}

#[test]
fn senseless_shapes_are_refused_when_built() {
    let build = |b: drywire::frame::length_prefix::Builder| b.build().unwrap_err();
    let u8 = || LengthPrefix::builder(Width::U8, 10);
    assert!(matches!(build(u8().type_width(3)), ConfigError::Contradiction(_)));
    assert!(matches!(build(u8().strip(2)), ConfigError::OutOfRange { .. }));
    assert!(matches!(build(u8().strip(1).keep_header(true)), ConfigError::Contradiction(_)));
    assert!(matches!(build(u8().offset(64)), ConfigError::OutOfRange { .. }));
    assert!(matches!(build(u8().offset(u32::MAX)), ConfigError::OutOfRange { .. }));
    assert!(matches!(build(u8().extra(u32::MAX)), ConfigError::OutOfRange { .. }));
    assert!(matches!(build(u8().counts(Counts::Adjusted(-300))), ConfigError::OutOfRange { .. }));
    assert!(matches!(build(u8().counts(Counts::Adjusted(11))), ConfigError::Contradiction(_)));
    let varint = LengthPrefix::builder(Width::Varint32, 10).counts(Counts::WholeFrame);
    assert!(matches!(build(varint), ConfigError::Contradiction(_)));
    let huge = LengthPrefix::builder(Width::U64, usize::MAX);
    assert!(matches!(build(huge), ConfigError::OutOfRange { .. }));
    // The named shapes take any limit and stay usable.
    assert!(LengthPrefix::u64_be(usize::MAX).max_pending() < isize::MAX as usize);
}
