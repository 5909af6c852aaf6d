//! HTTP/1.1 framing: the laws, and everything that must be refused. The table of llhttp's strict
//! mode is in `http_strict`.

use drywire::frame::http::{
    Body, Http, Part, Piece, chunk, fields, last_chunk, request_head, response_head,
};
use drywire::frame::{EncodeError, Eof, ErrorKind, FrameError, Framing, Meta, Step};
use proptest::prelude::*;

use super::harness::{Event, Random, Told, check_split};

/// Pieces of one body are one event, however they arrived.
pub(super) fn check(codec: &Http, input: &[u8], seed: u64) -> Told {
    check_split(codec, input, seed, |first: Meta, second: Meta| {
        let pair = (Part::of(first), Part::of(second));
        matches!(pair, (Some(Part::Body(Piece::More)), Some(Part::Body(_))))
    })
}

fn parts(told: &Told) -> Vec<(Part, &[u8])> {
    let part = |event: &Event| match event {
        Event::Frame { meta, .. } => Part::of(*meta),
        Event::Error(_) => None,
    };
    told.events.iter().filter_map(part).zip(told.payloads()).collect()
}

fn refused(codec: &Http, wire: &[u8]) -> FrameError {
    let told = check(codec, wire, 4);
    let Some(Event::Error(error)) = told.events.last() else {
        panic!("{}: {told:?}", wire.escape_ascii())
    };
    assert!(error.fatal);
    *error
}

/// A message of any kind, written with the encoder.
fn message(random: &mut Random, out: &mut Vec<u8>) {
    let codec = Http::requests();
    let len = random.below(40) as usize;
    let body = random.bytes(len);
    let named = [("Host", &b"example"[..]), ("X-Empty", b""), ("X-Long", b"value with spaces")];
    let named = &named[..random.below(4) as usize];
    match random.below(3) {
        0 => drop(request_head(&codec, out, "GET", "/", named, Body::None, 0).unwrap()),
        1 => {
            let (body_kind, n) = (Body::Length, len as u64);
            request_head(&codec, out, "POST", "/a?b=c", named, body_kind, n).unwrap();
            out.extend(&body);
        }
        _ => {
            request_head(&codec, out, "PUT", "/chunks", named, Body::Chunked, 0).unwrap();
            for data in body.chunks(1 + random.below(9) as usize) {
                chunk(out, data).unwrap();
            }
            let trailers = [("X-Sum", &b"1"[..])];
            last_chunk(&codec, out, &trailers[..random.below(2) as usize]).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn laws_hold_for_messages_and_damage(
        seed: u64,
        count in 1usize..4,
        damage in prop::option::of((any::<u16>(), prop::sample::select(&b"\r\n ;:0afF=\"\\\x00\xff"[..]))),
        max_head in 20usize..300,
    ) {
        let mut random = Random(seed);
        let mut wire = Vec::new();
        (0..count).for_each(|_| message(&mut random, &mut wire));
        let told = check(&Http::requests(), &wire, seed);
        prop_assert!(told.errors().is_empty(), "{}: {told:?}", wire.escape_ascii());
        prop_assert_eq!(told.eof, Eof::Clean);
        let heads = parts(&told).iter().filter(|(part, _)| matches!(part, Part::Head(_))).count();
        prop_assert_eq!(heads, count);
        if let Some((at, byte)) = damage {
            let at = usize::from(at) % wire.len();
            wire[at] = byte;
            check(&Http::requests(), &wire, seed);
        }
        check(&Http::requests().max_head(max_head).max_body(30), &wire, seed);
    }

    #[test]
    fn laws_hold_for_arbitrary_chunk_lines(
        line in prop::collection::vec(prop::sample::select(&b"0123afAF;;=\"\"\\ab\r\n\r\n x"[..]), 0..40),
        seed: u64,
    ) {
        let wire = [&b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &line].concat();
        check(&Http::requests(), &wire, seed);
    }
}

const CHUNKED: &[u8] = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_chunked_message_is_head_bytes_and_trailers() {
    let wire =
        [CHUNKED, b"5;a=b;c=\"d;\\\"\"\r\nhello\r\n006\r\n world\r\n0\r\nX: 1\r\n\r\n"].concat();
    let told = check(&Http::requests(), &wire, 0);
    assert_eq!(
        parts(&told),
        [
            (Part::Head(Body::Chunked), CHUNKED),
            (Part::Body(Piece::More), b"hello world"),
            (Part::Trailers, b"X: 1\r\n"),
        ]
    );
    let trailers: Vec<_> = fields(b"X: 1\r\n").collect();
    assert_eq!(trailers, [(&b"X"[..], &b"1"[..])]);
}

#[test]
fn responses_have_the_body_that_their_status_and_request_give_them() {
    let body_of = |wire: &[u8], answers_head: bool| {
        let mut state = <Http as Framing>::State::default();
        if answers_head {
            state.answers_head();
        }
        match Http::responses().step(&mut state, wire) {
            Step::Frame { meta, .. } => Part::of(meta),
            other => panic!("{other:?}"),
        }
    };
    for (wire, head, body) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"[..], false, Body::Length),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, Body::None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, Body::None),
        (b"HTTP/1.1 200 OK\r\n\r\n", false, Body::UntilClose),
        (b"HTTP/1.1 200 OK\r\n\r\n", true, Body::None),
        (b"HTTP/1.1 204 \r\n\r\n", false, Body::None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, Body::None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", false, Body::None),
        (b"HTTP/1.1 101 Switching\r\n\r\n", false, Body::UntilClose),
        (b"HTTP/1.0 200 OK\r\n\r\n", false, Body::UntilClose),
    ] {
        assert_eq!(body_of(wire, head), Some(Part::Head(body)), "{}", wire.escape_ascii());
    }
    let told = check(&Http::responses(), b"HTTP/1.1 200 OK\r\n\r\nall the rest", 0);
    assert_eq!((parts(&told)[1].1, told.eof), (&b"all the rest"[..], Eof::Clean));
}

#[test]
fn the_end_of_input_inside_a_message_is_partial() {
    let eof = |wire: &[u8]| check(&Http::requests(), wire, 0).eof;
    assert_eq!(eof(b""), Eof::Clean);
    assert_eq!(eof(b"GET /"), Eof::Partial { have: 5, need: 6 });
    let length = b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\n123";
    assert_eq!(eof(length), Eof::Partial { have: 0, need: 6 });
    assert_eq!(eof(CHUNKED), Eof::Partial { have: 0, need: 1 });
    assert_eq!(eof(&[CHUNKED, b"5\r\nhe"].concat()), Eof::Partial { have: 0, need: 10 });
    assert_eq!(eof(&[CHUNKED, b"0\r\nX"].concat()), Eof::Partial { have: 1, need: 2 });
    assert_eq!(eof(&[CHUNKED, b"0\r\n\r\n"].concat()), Eof::Clean);
}

#[test]
fn limits_hold_on_everything() {
    let codec = Http::requests().max_head(60).max_fields(2).max_body(10);
    let get = |rest: &str| format!("GET / HTTP/1.1\r\n{rest}\r\n\r\n").into_bytes();
    assert_eq!(refused(&codec, &get(&"x".repeat(60))).kind, ErrorKind::TooLarge);
    assert_eq!(refused(&codec, &[b'A'; 60]).limit, 60);
    assert_eq!(refused(&codec, &get("a:1\r\nb:1\r\nc:1")).kind, ErrorKind::TooMany);
    let body = refused(&codec, &get("Content-Length: 11"));
    assert_eq!((body.kind, body.declared, body.limit), (ErrorKind::TooLarge, 11, 10));
    let chunks = |rest: &[u8]| refused(&codec, &[CHUNKED, rest].concat());
    assert_eq!(chunks(b"b\r\n").kind, ErrorKind::TooLarge);
    assert_eq!(chunks(b"6\r\nsixsix\r\n5\r\n").declared, 11);
    assert_eq!(chunks(b"ffffffffffffffff\r\n").declared, u64::MAX);
    assert_eq!(chunks(b"00000000000000001\r\n").kind, ErrorKind::TooLarge);
    assert_eq!(chunks(&[b"0\r\n", &[b'T'; 60][..]].concat()).kind, ErrorKind::TooLarge);
    assert_eq!(chunks(b"0\r\na:1\r\nb:1\r\nc:1\r\n\r\n").kind, ErrorKind::TooMany);
    let long_extension = [b"1;".to_vec(), vec![b'x'; 1100]].concat();
    assert_eq!(chunks(&long_extension).limit, 1024);
}

/// One byte of data behind each long chunk line costs the receiver a thousand: refused early.
#[test]
fn chunk_lines_must_not_outweigh_their_data() {
    let mut wire = CHUNKED.to_vec();
    for _ in 0..100 {
        wire.extend(b"1;");
        wire.extend([b'x'; 900]);
        wire.extend(b"\r\ny\r\n");
    }
    let mut state = Default::default();
    let mut taken = 0;
    let error = loop {
        match Http::requests().step(&mut state, &wire[taken..]) {
            Step::Frame { consumed, .. } | Step::Skip { consumed } => taken += consumed,
            Step::Error { error, .. } => break error,
            Step::Need(_) => panic!("all was taken"),
        }
    };
    assert_eq!((error.kind, error.limit), (ErrorKind::TooLarge, 16 * 1024));
    // Honest small chunks never are.
    let honest = [CHUNKED, &b"1\r\ny\r\n".repeat(500), b"0\r\n\r\n"].concat();
    assert!(check(&Http::requests(), &honest, 0).errors().is_empty());
}

#[test]
fn each_leniency_is_a_named_setting() {
    let get = b"\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(refused(&Http::requests(), get).kind, ErrorKind::Syntax);
    let lenient = Http::requests().leading_empty_line(true);
    assert_eq!(check(&lenient, get, 0).payloads(), [&get[2..]]);
    assert_eq!(refused(&lenient, &[b"\r\n", &get[..]].concat()).kind, ErrorKind::Syntax);
    assert_eq!(refused(&lenient, b"\rGET").kind, ErrorKind::BareCr);
    let twice = |a: &str, b: &str| {
        format!("PUT / HTTP/1.1\r\nContent-Length: {a}\r\nContent-Length: {b}\r\n\r\nx")
            .into_bytes()
    };
    assert_eq!(refused(&Http::requests(), &twice("1", "1")).kind, ErrorKind::Duplicate);
    let lenient = Http::requests().repeated_content_length(true);
    assert_eq!(check(&lenient, &twice("1", "1"), 0).payloads().len(), 2);
    assert_eq!(refused(&lenient, &twice("1", "2")).kind, ErrorKind::Duplicate);
}

#[test]
fn encoders_refuse_what_would_be_read_differently() {
    let codec = Http::requests().max_fields(2).max_head(100);
    let mut out = Vec::new();
    let forbidden = |at| Err(EncodeError::Forbidden { at });
    let mut head = |method: &str, target: &str, named: &[(&str, &[u8])]| {
        request_head(&codec, &mut out, method, target, named, Body::None, 0)
    };
    assert_eq!(head("GE T", "/", &[]), forbidden(0));
    assert_eq!(head("", "/", &[]), forbidden(0));
    assert_eq!(head("GET", "/ HTTP/1.1\r\nX:", &[]), forbidden(1));
    assert_eq!(head("GET", "/", &[("A", b"1\r\nB: 2")]), forbidden(2));
    assert_eq!(head("GET", "/", &[("A", b"1"), ("B ", b"2")]), forbidden(3));
    assert_eq!(head("GET", "/", &[("A", b" padded")]), forbidden(2));
    assert_eq!(head("GET", "/", &[("content-length", b"1")]), forbidden(2));
    assert_eq!(head("GET", "/", &[("Transfer-Encoding", b"chunked")]), forbidden(2));
    assert!(matches!(head("GET", "/", &[("A", &b"1"[..]); 3]), Err(EncodeError::TooLarge { .. })));
    assert!(matches!(head("GET", &"/".repeat(100), &[]), Err(EncodeError::TooLarge { .. })));
    let until_close = request_head(&codec, &mut out, "GET", "/", &[], Body::UntilClose, 0);
    assert_eq!(until_close, Err(EncodeError::BadMeta));
    let with_body = response_head(&codec, &mut out, 204, "", &[], Body::Length, 1);
    assert_eq!(with_body, Err(EncodeError::BadMeta));
    assert_eq!(response_head(&codec, &mut out, 99, "", &[], Body::None, 0), forbidden(0));
    assert_eq!(response_head(&codec, &mut out, 200, "O\nK", &[], Body::None, 0), forbidden(1));
    assert_eq!(chunk(&mut out, b""), Err(EncodeError::WrongLength { len: 0, must: 1 }));
    assert_eq!(last_chunk(&codec, &mut out, &[("Host", b"x")]), forbidden(0));
    assert!(out.is_empty(), "errors write nothing");
}

#[test]
fn responses_are_written_so_that_they_end() {
    let mut out = Vec::new();
    let codec = Http::responses();
    for (status, body) in [
        (200, Body::None),
        (204, Body::None),
        (304, Body::None),
        (100, Body::None),
        (500, Body::Length),
        (200, Body::Chunked),
    ] {
        let from = out.len();
        let length = if body == Body::Length { 2 } else { 0 };
        let n = response_head(&codec, &mut out, status, "why", &[], body, length).unwrap();
        assert_eq!(n, out.len() - from);
        match body {
            Body::Length => out.extend(b"no"),
            Body::Chunked => drop(last_chunk(&codec, &mut out, &[]).unwrap()),
            _ => {}
        }
    }
    let told = check(&codec, &out, 0);
    assert!(told.errors().is_empty(), "{told:?}");
    assert_eq!((told.payloads().len(), told.eof), (8, Eof::Clean));
}
