//! Timestamped records: the laws, and inner lengths that lie.

use drywire::frame::record::{Record, Records};
use drywire::frame::{Encode, EncodeError, Eof, ErrorKind, Frame, Meta};
use proptest::prelude::*;

use super::harness::{Event, Random, check};

prop_compose! {
    fn parts()(
        version: u16,
        timestamp: i64,
        host in prop::collection::vec(any::<u8>(), 0..20),
        tag in prop::collection::vec(any::<u8>(), 0..10),
        message in prop::collection::vec(any::<u8>(), 0..60),
    ) -> (u16, i64, Vec<u8>, Vec<u8>, Vec<u8>) {
        (version, timestamp, host, tag, message)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn laws_hold(
        records in prop::collection::vec(parts(), 0..4),
        max in 12usize..100,
        skip: bool,
        damage: Option<u64>,
        seed: u64,
    ) {
        let mut wire = Vec::new();
        for (version, timestamp, host, tag, message) in &records {
            let record = Record { version: *version, timestamp: *timestamp, host, tag, message };
            record.encode(&Records::new(), &mut wire).unwrap();
        }
        if let Some(seed) = damage && !wire.is_empty() {
            let mut random = Random(seed);
            let at = random.below(wire.len() as u64) as usize;
            wire[at] = random.next() as u8;
        }
        check(&Records::new().max(max).skip_bad(skip), &wire, seed);
        let told = check(&Records::new(), &wire, seed);
        if damage.is_none() {
            prop_assert_eq!(told.payloads().len(), records.len());
        }
    }

    #[test]
    fn round_trips_and_is_canonical((version, timestamp, host, tag, message) in parts(), seed: u64) {
        let record = Record { version, timestamp, host: &host, tag: &tag, message: &message };
        let codec = Records::new();
        let mut wire = Vec::new();
        prop_assert_eq!(record.encode(&codec, &mut wire), Ok(wire.len()));
        let told = check(&codec, &wire, seed);
        let Event::Frame { at, bytes, payload, meta } = &told.events[0] else { panic!() };
        let frame = Frame { at: *at, bytes, payload, meta: *meta };
        prop_assert_eq!(Record::of(&frame), Some(record));
        let mut again = Vec::new();
        codec.encode(*meta, payload, &mut again).unwrap();
        prop_assert_eq!(again, wire);
    }
}

/// A record body with the inner lengths as given.
fn wire(length: u16, host_len: u16, tag_len: u16, rest: &[u8]) -> Vec<u8> {
    let mut wire = vec![0, 1];
    wire.extend(length.to_be_bytes());
    wire.extend([0; 8]);
    wire.extend(host_len.to_be_bytes());
    wire.extend(tag_len.to_be_bytes());
    wire.extend(rest);
    wire
}

#[test]
fn inner_lengths_that_do_not_fit_are_refused_without_underflow() {
    let good = wire(12, 0, 0, b"");
    for (bad, at, declared, limit) in [
        (wire(12, 1, 0, b""), 15, 2, 1), // the host name leaves one byte for the tag's length
        (wire(12, 2, 0, b""), 16, 2, 0), // and here none
        (wire(12, 0x7fff, 0, b""), 12, 0x7fff, 2),
        (wire(12, 0x8000, 0, b""), 12, 0x8000, 0x7fff), // negative
        (wire(12, 0xffff, 0, b""), 12, 0xffff, 0x7fff),
        (wire(14, 0, 3, b"ab"), 14, 3, 2),
        (wire(14, 0, 0xffff, b"ab"), 14, 0xffff, 0x7fff),
    ] {
        let codec = Records::new().skip_bad(true);
        let told = check(&codec, &[&bad[..], &good].concat(), 5);
        assert_eq!(told.payloads().len(), 1, "{bad:x?}");
        let [error] = told.errors()[..] else { panic!("{told:?}") };
        assert_eq!(error.kind, ErrorKind::BadField);
        assert_eq!((error.at, error.declared, error.limit), (at, declared, limit), "{bad:x?}");
        let fatal = check(&Records::new(), &bad, 5);
        assert!(fatal.errors()[0].fatal && fatal.payloads().is_empty());
    }
}

#[test]
fn lengths_outside_their_range_end_the_stream() {
    for (length, bound) in [(0, 12), (11, 12), (0x8000, 0x7fff), (0xffff, 0x7fff)] {
        let told = check(&Records::new().skip_bad(true), &wire(length, 0, 0, b"")[..4], 0);
        let [Event::Error(error)] = told.events[..] else { panic!("{told:?}") };
        assert_eq!((error.kind, error.fatal, error.at), (ErrorKind::BadLength, true, 2));
        assert_eq!((error.declared, error.limit), (u64::from(length), bound));
    }
    let told = check(&Records::new(), &wire(0x7fff, 0, 0, b""), 0);
    assert_eq!(told.eof, Eof::Partial { have: 16, need: 0x7fff + 4 });
}

#[test]
fn limits_and_versions_are_refused_by_both_sides() {
    let codec = Records::new().max(20).version(1);
    let record = Record { version: 1, timestamp: 0, host: b"", tag: b"", message: b"12345678" };
    let mut out = Vec::new();
    assert_eq!(record.encode(&codec, &mut out), Ok(24));
    let longer = Record { message: b"123456789", ..record };
    let refused = Err(EncodeError::TooLarge { len: 21, limit: 20 });
    assert_eq!(longer.encode(&codec, &mut out), refused);
    let other = Record { version: 2, ..record };
    assert_eq!(other.encode(&codec, &mut out), Err(EncodeError::BadMeta));
    let huge = vec![0; 40_000];
    let refused = Record { host: &huge, ..record }.encode(&Records::new(), &mut out);
    assert_eq!(refused, Err(EncodeError::TooLarge { len: 40_000, limit: 32_767 }));
    assert_eq!(out.len(), 24, "errors write nothing");
    assert_eq!(
        codec.encode(Meta::kind(1), b"too short", &mut out),
        Err(EncodeError::Forbidden { at: 8 })
    );
    let mut wrong = out.clone();
    wrong[1] = 2;
    assert_eq!(check(&codec, &wrong, 0).errors()[0].kind, ErrorKind::BadVersion);
    assert_eq!(check(&codec, &wrong[..2], 0).errors()[0].at, 0);
}
