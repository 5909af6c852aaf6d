//! RESP: the laws, every type, and counts, depths and lengths that lie.

use drywire::frame::resp::{Kind, Resp, Tokens, Writer};
use drywire::frame::{EncodeError, Eof, ErrorKind, FrameError};
use proptest::prelude::*;

use super::harness::{Event, Random, check, stepped};

/// Appends a random value.
fn value(random: &mut Random, depth: usize, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    let choice = if depth >= 5 { random.below(11) } else { random.below(16) };
    let len = random.below(9) as usize;
    let data = random.bytes(len);
    let text: Vec<u8> = data.iter().map(|b| b'a' + b % 26).collect();
    match choice {
        0 => drop(writer.simple(&text)),
        1 => drop(writer.error(&text)),
        2 => drop(writer.integer(random.next() as i64 >> random.below(64))),
        3 => drop(writer.bulk(&data)),
        4 => drop(writer.null()),
        5 => drop(writer.null_bulk()),
        6 => drop(writer.boolean(random.below(2) == 0)),
        7 => drop(writer.double([&b"1.5"[..], b"-inf", b"nan", b"3e-7"][len % 4])),
        8 => drop(writer.big_number(b"-12345678901234567890123")),
        9 => drop(writer.bulk_error(&data)),
        10 => drop(writer.verbatim(*b"txt", &data)),
        _ => {
            let n = random.below(4) as u32;
            let values = match choice {
                11 => (writer.array(n), n).1,
                12 => (writer.set(n), n).1,
                13 => (writer.map(n), 2 * n).1,
                14 => (writer.attribute(n), 2 * n + 1).1,
                _ if depth == 0 => (writer.push(n), n).1,
                _ => (writer.null_array(), 0).1,
            };
            (0..values).for_each(|_| value(random, depth + 1, out));
        }
    }
}

/// The same bytes, written again from the tokens of a value.
fn rewritten(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for token in Tokens::new(frame) {
        let text = core::str::from_utf8(token.data).unwrap_or("");
        let pairs = token.count / 2;
        match token.kind {
            Kind::Simple => drop(writer.simple(token.data).unwrap()),
            Kind::Error => drop(writer.error(token.data).unwrap()),
            Kind::Integer => drop(writer.integer(text.parse().unwrap())),
            Kind::Bulk => drop(writer.bulk(token.data)),
            Kind::BulkError => drop(writer.bulk_error(token.data)),
            Kind::Verbatim => {
                let (format, text) = token.data.split_first_chunk::<3>().unwrap();
                writer.verbatim(*format, &text[1..]);
            }
            Kind::Null => drop(writer.null()),
            Kind::Boolean => drop(writer.boolean(token.data == b"t")),
            Kind::Double => drop(writer.double(token.data).unwrap()),
            Kind::BigNumber => drop(writer.big_number(token.data).unwrap()),
            Kind::Array => drop(writer.array(token.count)),
            Kind::Set => drop(writer.set(token.count)),
            Kind::Push => drop(writer.push(token.count)),
            Kind::Map => drop(writer.map(pairs)),
            Kind::Attribute => drop(writer.attribute(pairs)),
            _ => panic!("{token:?}"),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn laws_hold_for_values_and_damage(
        seed: u64,
        values in 0usize..4,
        damage in prop::option::of((any::<u16>(), prop::sample::select(&b"\r\n*$+0-9%a|>?"[..]))),
        small: bool,
    ) {
        let mut random = Random(seed);
        let mut wire = Vec::new();
        (0..values).for_each(|_| value(&mut random, 0, &mut wire));
        if let Some((at, byte)) = damage && !wire.is_empty() {
            let at = usize::from(at) % wire.len();
            wire[at] = byte;
        }
        wire.truncate(600);
        let replies = if small {
            Resp::replies().max_frame(60).max_bulk(6).max_count(4).max_depth(3).max_line(12)
        } else {
            Resp::replies()
        };
        check(&replies, &wire, seed);
        check(&Resp::requests().max_frame(50).max_line(20), &wire, seed);
    }

    #[test]
    fn laws_hold_for_arbitrary_text(
        input in prop::collection::vec(prop::sample::select(&b"\r\n\r\n\r\n*$+-:%|>_#,(=!~0123t"[..]), 0..60),
        max in 1usize..70,
        seed: u64,
    ) {
        check(&Resp::replies().max_frame(max).max_line(max / 2), &input, seed);
        check(&Resp::requests().max_frame(max).max_line(max / 2), &input, seed);
    }

    #[test]
    fn round_trips(seed: u64) {
        let mut wire = Vec::new();
        value(&mut Random(seed), 0, &mut wire);
        let told = stepped(&Resp::replies(), &wire, &[]);
        prop_assert_eq!((told.payloads(), told.eof), (vec![&wire[..]], Eof::Clean));
        // A null of RESP2 is written as one of RESP3; everything else is written one way only.
        let again = rewritten(&wire);
        let two = wire.windows(5).any(|w| w == b"$-1\r\n" || w == b"*-1\r\n");
        prop_assert!(again == wire || two, "{:?} from {:?}", again, wire);
    }
}

#[test]
fn each_type_is_one_frame() {
    for value in [
        &b"+OK\r\n"[..],
        b"+\r\n",
        b"-ERR no\r\n",
        b":0\r\n",
        b":+7\r\n",
        b":-9223372036854775808\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n$5\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*2\r\n*1\r\n:1\r\n*0\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5e10\r\n",
        b",inf\r\n",
        b"(123\r\n",
        b"!5\r\nERR x\r\n",
        b"=6\r\ntxt:ab\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n:1\r\n",
        b">2\r\n+pubsub\r\n:1\r\n",
        b"|1\r\n+ttl\r\n:3\r\n+value\r\n",
        b"*1\r\n|1\r\n+ttl\r\n:3\r\n+value\r\n",
    ] {
        let told = check(&Resp::replies(), &[value, value].concat(), 1);
        assert_eq!(told.payloads(), [value, value], "{}", value.escape_ascii());
        assert_eq!(told.eof, Eof::Clean);
    }
}

fn refused(codec: &Resp, wire: &[u8]) -> FrameError {
    let told = check(codec, wire, 2);
    let [Event::Error(error)] = told.events[..] else {
        panic!("{}: {told:?}", wire.escape_ascii())
    };
    assert!(error.fatal);
    error
}

#[test]
fn lies_are_refused_where_they_are_told() {
    let replies = Resp::replies().max_frame(1000).max_bulk(100).max_count(10).max_depth(3);
    for (wire, kind, at) in [
        (&b"$101\r\n"[..], ErrorKind::TooLarge, 1),
        (b"$99999999999999999999\r\n", ErrorKind::TooLarge, 1),
        (b"*11\r\n", ErrorKind::TooMany, 1),
        (b"%6\r\n", ErrorKind::TooMany, 1),
        (b"*18446744073709551615\r\n", ErrorKind::TooMany, 1),
        (b"%9223372036854775808\r\n", ErrorKind::TooMany, 1),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n", ErrorKind::TooDeep, 12),
        (b"$-2\r\n", ErrorKind::BadLength, 1),
        (b"%-1\r\n", ErrorKind::BadLength, 1),
        (b"$01\r\n", ErrorKind::Syntax, 1),
        (b"$+1\r\n", ErrorKind::Syntax, 1),
        (b"$\r\n", ErrorKind::Syntax, 1),
        (b"$1a\r\n", ErrorKind::Syntax, 1),
        (b"$?\r\n", ErrorKind::Unsupported, 1),
        (b"*?\r\n", ErrorKind::Unsupported, 1),
        (b"=3\r\ntxt\r\n", ErrorKind::BadLength, 1),
        (b"$1\r\nab\r\n", ErrorKind::Syntax, 5),
        (b"$1\r\na\rb", ErrorKind::Syntax, 6),
        (b"+a\nb\r\n", ErrorKind::BareLf, 2),
        (b"+a\rb\r\n", ErrorKind::BareCr, 2),
        (b":1.5\r\n", ErrorKind::Syntax, 1),
        (b":9223372036854775808\r\n", ErrorKind::Syntax, 1),
        (b":123456789012345678901", ErrorKind::TooLarge, 21),
        (b"#x\r\n", ErrorKind::Syntax, 1),
        (b"_x\r\n", ErrorKind::Syntax, 1),
        (b",1.\r\n", ErrorKind::Syntax, 1),
        (b",.5\r\n", ErrorKind::Syntax, 1),
        (b",1e\r\n", ErrorKind::Syntax, 1),
        (b"(\r\n", ErrorKind::Syntax, 1),
        (b"*1\r\n>1\r\n", ErrorKind::UnknownType, 4),
        (b"GET\r\n", ErrorKind::UnknownType, 0),
        (b"\0", ErrorKind::UnknownType, 0),
    ] {
        let error = refused(&replies, wire);
        assert_eq!((error.kind, error.at), (kind, at), "{}", wire.escape_ascii());
    }
}

#[test]
fn a_count_without_data_holds_nothing_and_waits() {
    let told = check(&Resp::replies().max_count(1 << 30), b"*1000000000\r\n", 0);
    assert_eq!((told.events.len(), told.eof), (0, Eof::Partial { have: 13, need: 14 }));
    let told = check(&Resp::replies(), b"$1000000\r\n", 0);
    assert_eq!(told.eof, Eof::Partial { have: 10, need: 10 + 1_000_001 });
}

#[test]
fn a_value_is_bounded_as_a_whole() {
    let codec = Resp::replies().max_frame(40).max_count(1000);
    let error = refused(&codec, &[&b"*1000\r\n"[..], &b":1\r\n".repeat(1000)].concat());
    assert_eq!((error.kind, error.declared, error.limit), (ErrorKind::TooLarge, 41, 40));
    let error = refused(&codec, b"*2\r\n$30\r\n");
    assert_eq!((error.kind, error.limit), (ErrorKind::TooLarge, 40));
    assert!(
        check(&codec, b"*2\r\n$20\r\n01234567890123456789\r\n:12345\r\n", 0).errors().is_empty()
    );
}

#[test]
fn requests_are_arrays_of_bulk_strings_or_inline() {
    let requests = Resp::requests();
    let told = check(&requests, b"*1\r\n$4\r\nPING\r\nPING\r\nSET a 1\n\r\n", 0);
    assert_eq!(told.payloads(), [&b"*1\r\n$4\r\nPING\r\n"[..], b"PING", b"SET a 1", b""]);
    for wire in [&b"*1\r\n:1\r\n"[..], b"*1\r\n*1\r\n", b"*1\r\n+x\r\n"] {
        assert_eq!(refused(&requests, wire).kind, ErrorKind::UnknownType);
    }
    assert_eq!(refused(&requests, b"*-1\r\n").kind, ErrorKind::BadLength);
    assert_eq!(refused(&requests, b"*1\r\n$-1\r\n").kind, ErrorKind::BadLength);
    assert_eq!(refused(&requests, b"*1025\r\n").kind, ErrorKind::TooMany);
    assert_eq!(refused(&requests.inline(false), b"PING").kind, ErrorKind::UnknownType);
    let long = refused(&requests.max_line(4), b"PINGS\r\n");
    assert_eq!((long.kind, long.at, long.limit), (ErrorKind::TooLarge, 4, 4));
    assert_eq!(check(&requests.max_line(4), b"PING\r\n", 0).payloads(), [b"PING"]);
}

#[test]
fn the_writer_refuses_line_ends_in_lines() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    assert_eq!(writer.simple(b"a\nb").err(), Some(EncodeError::Forbidden { at: 1 }));
    assert_eq!(writer.error(b"ab\r").err(), Some(EncodeError::Forbidden { at: 2 }));
    assert!(writer.double(b"1,5").is_err() && writer.big_number(b"0x1").is_err());
    assert!(out.is_empty());
}
