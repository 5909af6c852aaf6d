//! TLV: both profiles and nested fields under the laws, and the decision table.

use drywire::frame::tlv::fields::{Fields, Limits, Rule, Writer};
use drywire::frame::tlv::{Compact, Damage, Info, Tlv, crc32c, crc32c_append};
use drywire::frame::{Encode, EncodeError, Eof, ErrorKind, FrameError, Meta};
use proptest::prelude::*;

use super::harness::{Event, Random, check, stepped};

prop_compose! {
    fn any_info()(kind: u16, stream: u16, more: bool, padded: bool, unchecked: bool) -> Info {
        Info { kind, stream, more, padded, unchecked }
    }
}

fn any_tlv() -> impl Strategy<Value = Tlv> {
    let damage = prop::sample::select(&[Damage::Fatal, Damage::Skip, Damage::Resync]);
    (0usize..60, damage).prop_map(|(max, damage)| Tlv::new(max).damage(damage))
}

/// Frames of any size, some over a codec's limit, with damage and garbage between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..80);
    let part = (any_info(), body, 0u8..8, any::<u64>());
    prop::collection::vec(part, 0..6).prop_map(|parts| {
        let mut wire = Vec::new();
        for (info, body, what, seed) in parts {
            let start = wire.len();
            Tlv::new(Tlv::MAX).encode(info.meta(), &body, &mut wire).unwrap();
            let mut random = Random(seed);
            let len = (wire.len() - start) as u64;
            match what {
                0 => wire.truncate(start + random.below(len) as usize),
                1 => wire[start + random.below(len) as usize] ^= 1 << random.below(8),
                2 => wire.extend([0xF5, 0xD7, 0x11, 0, 0xF5, 0xF5, 0xD7]),
                3 => wire.extend(random.bytes(20)),
                _ => {}
            }
        }
        wire
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn laws_hold(codec in any_tlv(), input in stream(), seed: u64) {
        check(&codec, &input, seed);
    }

    #[test]
    fn laws_hold_for_the_compact_profile(
        bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
        max in 20usize..40,
        damage: (bool, u16, u8),
        seed: u64,
    ) {
        let mut wire = Vec::new();
        for (kind, body) in bodies {
            Compact::new(40).encode(Meta::kind(kind.into()), &body, &mut wire).unwrap();
        }
        if let (true, at, bits) = damage && !wire.is_empty() {
            let at = usize::from(at) % wire.len();
            wire[at] ^= bits;
        }
        check(&Compact::new(max), &wire, seed);
    }

    #[test]
    fn round_trips_and_is_canonical(
        info in any_info(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        seed: u64,
    ) {
        let codec = Tlv::new(150);
        let mut wire = Vec::new();
        if body.len() > 150 {
            let (len, limit) = (body.len() as u64, 150);
            let refused = codec.encode(info.meta(), &body, &mut wire);
            prop_assert_eq!(refused, Err(EncodeError::TooLarge { len, limit }));
            prop_assert!(wire.is_empty());
            return Ok(());
        }
        let n = codec.encode(info.meta(), &body, &mut wire).unwrap();
        prop_assert_eq!(n, wire.len());
        prop_assert_eq!(codec.encoded_len(info.meta(), &body), Ok(n));
        let told = check(&codec, &wire, seed);
        let Event::Frame { payload, meta, .. } = &told.events[0] else { panic!("{told:?}") };
        prop_assert_eq!((payload, Info::of(*meta)), (&body, info));
        // The other ways of encoding give the same bytes.
        let header = codec.header(info.meta(), body.len()).unwrap();
        let half = body.len() / 2;
        let trailer = codec.trailer(&header, [&body[..half], &body[half..]]);
        prop_assert_eq!([&header, &body[..], &trailer].concat(), &wire[..]);
        let mut begun = Vec::new();
        let open = codec.begin(&mut begun);
        begun.extend_from_slice(&body);
        prop_assert_eq!(codec.finish(open, info.meta(), &mut begun), Ok(n));
        prop_assert_eq!(begun, wire);
    }
}

fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let info = Info { kind, ..Info::default() };
    Tlv::new(Tlv::MAX).encode(info.meta(), body, &mut wire).unwrap();
    wire
}

type Verdict = (Vec<Vec<u8>>, Vec<(ErrorKind, u64, bool)>);

/// What is read of three frames, of which the middle one is `bad`; and kind, place in the middle
/// frame and grade of the errors.
fn verdict(damage: Damage, bad: &[u8]) -> Verdict {
    let wire = [&frame(1, b"one")[..], bad, &frame(3, b"three")].concat();
    let told = check(&Tlv::new(40).damage(damage), &wire, 3);
    let errors = told.errors().iter().map(|e| (e.kind, e.at - 23, e.fatal)).collect();
    (told.payloads().into_iter().map(<[u8]>::to_vec).collect(), errors)
}

#[test]
fn the_decision_table_is_kept() {
    let good = frame(2, b"two");
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        bad
    };
    let mut padded = Vec::new();
    let info = Info { padded: true, unchecked: true, ..Info::default() };
    Tlv::new(9).encode(info.meta(), b"two", &mut padded).unwrap();
    padded[20] = 1;
    let header = [
        (with(0, b'G'), ErrorKind::BadMagic, 0),
        (with(0, 0), ErrorKind::ZeroFill, 0),
        (with(1, 0xD6), ErrorKind::BadMagic, 1),
        (with(2, 0x21), ErrorKind::BadVersion, 2),
        (with(2, 0x19), ErrorKind::Reserved, 2),
        (with(3, 1), ErrorKind::Reserved, 3),
        (with(4, 9), ErrorKind::HeaderChecksum, 12),
        (with(8, 4), ErrorKind::HeaderChecksum, 12),
        (with(12, !good[12]), ErrorKind::HeaderChecksum, 12),
    ];
    let body = [
        (frame(2, &[7; 41]), ErrorKind::TooLarge, 8),
        (with(16, b'T'), ErrorKind::BodyChecksum, 19),
        (with(19, !good[19]), ErrorKind::BodyChecksum, 19),
        (padded, ErrorKind::BadPadding, 20),
    ];
    let (one, both) = (vec![b"one".to_vec()], vec![b"one".to_vec(), b"three".to_vec()]);
    for (bad, kind, at) in header {
        assert_eq!(verdict(Damage::Fatal, &bad), (one.clone(), vec![(kind, at, true)]));
        assert_eq!(verdict(Damage::Skip, &bad), (one.clone(), vec![(kind, at, true)]));
        assert_eq!(verdict(Damage::Resync, &bad), (both.clone(), vec![(kind, at, false)]));
    }
    for (bad, kind, at) in body {
        assert_eq!(verdict(Damage::Fatal, &bad), (one.clone(), vec![(kind, at, true)]));
        assert_eq!(verdict(Damage::Skip, &bad), (both.clone(), vec![(kind, at, false)]));
        assert_eq!(verdict(Damage::Resync, &bad), (both.clone(), vec![(kind, at, false)]));
    }
}

#[test]
fn resync_never_looks_inside_a_frame_whose_header_is_valid() {
    let inner = frame(9, b"smuggled");
    let mut outer = frame(2, &inner);
    let last = outer.len() - 1;
    outer[last] ^= 1;
    let (payloads, errors) = verdict(Damage::Resync, &outer);
    assert_eq!(payloads, [&b"one"[..], b"three"]);
    assert_eq!(errors.len(), 1);
}

#[test]
fn the_end_of_input_says_where_it_is() {
    let codec = Tlv::new(100);
    let wire = frame(1, b"hello");
    let eof = |n: usize| check(&codec, &wire[..n], 0).eof;
    assert_eq!(eof(0), Eof::Clean);
    assert_eq!(eof(7), Eof::Partial { have: 7, need: 16 });
    assert_eq!(eof(16), Eof::Partial { have: 16, need: 25 });
    assert_eq!(eof(24), Eof::Partial { have: 24, need: 25 });
    assert_eq!(eof(25), Eof::Clean);
    let hunting = check(&codec.damage(Damage::Resync), b"noise", 0);
    assert_eq!((hunting.eof, hunting.events.len()), (Eof::Discarding, 1));
}

#[test]
fn checksums_are_what_the_document_says() {
    let wire = frame(0x8001, b"body");
    let number = |at: usize| u32::from_le_bytes(wire[at..at + 4].try_into().unwrap());
    assert_eq!(number(12), crc32c(&wire[..12]));
    assert_eq!(number(20), crc32c_append(crc32c(&wire[..12]), b"body"));
    // The body's checksum is that of the header's first twelve bytes and the body in one.
    assert_eq!(number(20), crc32c(&[&wire[..12], b"body"].concat()));
    assert_eq!(wire.len(), 24);
    // An empty body has none.
    assert_eq!(frame(1, b"").len(), 16);
}

#[test]
fn a_misdirected_peer_fails_on_its_first_byte() {
    for hello in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\x1f\x8b", "é".as_bytes(), b"\x80"]
    {
        let told = check(&Tlv::new(100), hello, 0);
        let [Event::Error(error)] = told.events[..] else { panic!("{told:?}") };
        assert_eq!((error.kind, error.at), (ErrorKind::BadMagic, 0));
        let told = stepped(&Tlv::new(100), &hello[..1], &[]);
        assert_eq!(told.errors(), [error]);
    }
}

fn fields(body: &[u8], limits: Limits) -> Result<Vec<(usize, u32, Vec<u8>)>, FrameError> {
    let rules = |_, kind| match kind {
        0..10 => Rule::Once,
        10..20 => Rule::Many,
        20..30 => Rule::Nested,
        30..40 => Rule::NestedMany,
        _ => Rule::Unknown,
    };
    Fields::new(body, limits, rules)
        .map(|f| f.map(|f| (f.depth, f.kind, f.value.to_vec())))
        .collect()
}

#[test]
fn nested_fields_keep_their_rules() {
    let refused = |body: &[u8]| fields(body, Limits::default()).unwrap_err();
    let kind_at = |body: &[u8]| (refused(body).kind, refused(body).at);
    assert_eq!(fields(b"", Limits::default()), Ok(vec![]));
    assert_eq!(kind_at(b"\x01\x01a\x01\x01b"), (ErrorKind::Duplicate, 3));
    assert_eq!(kind_at(b"\x02\x00\x01\x00"), (ErrorKind::Duplicate, 2));
    assert!(fields(b"\x0a\x01a\x0a\x01b", Limits::default()).is_ok());
    assert_eq!(kind_at(b"\x01\x05abc"), (ErrorKind::BadField, 1));
    assert_eq!(kind_at(b"\x01"), (ErrorKind::Truncated, 1));
    assert_eq!(kind_at(b"\x01\x80"), (ErrorKind::Truncated, 2));
    assert_eq!(kind_at(b"\x81\x00\x00"), (ErrorKind::NonMinimal, 1));
    assert_eq!(kind_at(b"\x01\xff\xff\xff\xff\x1f"), (ErrorKind::NonMinimal, 5));
    assert_eq!(kind_at(b"\x01\xff\xff\xff\xff\x0f"), (ErrorKind::BadField, 1));
    assert_eq!(kind_at(b"\x64\x00"), (ErrorKind::UnknownType, 0));
    // An inner field must not reach past its own level, though the body goes on.
    assert_eq!(kind_at(b"\x14\x02\x01\x05abcdefgh"), (ErrorKind::BadField, 3));
    let limits = Limits { depth: 2, count: 3 };
    assert_eq!(fields(b"\x14\x04\x14\x02\x01\x00", limits).unwrap_err().kind, ErrorKind::TooDeep);
    let many = fields(&b"\x0a\x00".repeat(4), limits).unwrap_err();
    assert_eq!((many.kind, many.declared, many.limit), (ErrorKind::TooMany, 4, 3));
}

#[test]
fn a_nest_of_any_depth_is_bounded() {
    // 5000 levels, each holding the next, innermost first.
    let mut body = vec![1, 0];
    for _ in 0..5000 {
        let mut outer = Vec::new();
        let mut writer = Writer::new(&mut outer);
        writer.field(20, &body).unwrap();
        body = outer;
    }
    let limits = Limits { depth: usize::MAX, count: usize::MAX };
    assert_eq!(fields(&body, limits).unwrap_err().kind, ErrorKind::TooDeep);
}

#[test]
fn the_field_writer_refuses_what_the_reader_would() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.field(5, b"x").unwrap();
    assert_eq!(writer.field(4, b""), Err(EncodeError::BadMeta));
    assert_eq!(writer.close(), Err(EncodeError::BadMeta));
    for _ in 0..15 {
        writer.open(20).unwrap();
    }
    assert!(matches!(writer.open(20), Err(EncodeError::TooLarge { len: 17, limit: 16 })));
    assert_eq!(writer.finish(), Err(EncodeError::BadMeta));
}

proptest! {
    #[test]
    fn fields_round_trip(values in prop::collection::vec((0u32..40, prop::collection::vec(any::<u8>(), 0..200)), 0..12)) {
        let mut sorted = values;
        sorted.sort_by_key(|(kind, _)| *kind);
        sorted.dedup_by_key(|(kind, _)| *kind);
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        let mut expected = Vec::new();
        for (kind, value) in &sorted {
            if *kind < 20 {
                writer.field(*kind, value).unwrap();
                expected.push((0, *kind, value.clone()));
            } else {
                writer.open(*kind).unwrap();
                writer.field(1, value).unwrap();
                writer.close().unwrap();
                expected.push((1, 1, value.clone()));
            }
        }
        writer.finish().unwrap();
        let read = fields(&body, Limits::default()).unwrap();
        let leaves: Vec<_> = read.into_iter().filter(|(depth, kind, _)| *depth > 0 || *kind < 20).collect();
        prop_assert_eq!(leaves, expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(0u8..45, 0..120)) {
        let total: usize = fields(&body, Limits::default()).map_or(0, |fields| fields.len());
        prop_assert!(total <= body.len() / 2);
    }
}
