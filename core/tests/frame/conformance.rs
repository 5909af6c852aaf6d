//! The conformance table of `docs/framing.md`: one test for each row, named as there. Each is a
//! defect that was found in a well-known codec; here is what ours does instead.

use drywire::frame::length_prefix::{self, Counts, LengthPrefix, Width};
use drywire::frame::line::{self, Lines, Lone};
use drywire::frame::resp::Resp;
use drywire::frame::{Encode, EncodeError, Eof, ErrorKind, Framing, Joiner, Meta, Span, Step};

use super::harness::{Event, Told, check, stepped};

fn kinds(told: &Told) -> Vec<ErrorKind> {
    told.errors().iter().map(|error| error.kind).collect()
}

#[test]
fn tail_of_a_long_line_never_becomes_a_line() {
    let lines = Lines::lf(8).oversize(line::Oversize::Skip);
    let told = check(&lines, &[&[b'A'; 20][..], b" evil\nok\n"].concat(), 1);
    assert_eq!((told.payloads(), kinds(&told)), (vec![&b"ok"[..]], vec![ErrorKind::TooLarge]));
}

#[test]
fn overflow_and_frame_do_not_depend_on_the_cut() {
    let frames = Lines::delimiter(b"\0", 7).unwrap().oversize(line::Oversize::Skip);
    let told = check(&frames, b"\x01\x01\x01\x01\x01\x01\x01\x01\x03\x07\x07\0\x02\x07\0", 2);
    assert_eq!(told.payloads(), [b"\x02\x07"]);
    assert_eq!(kinds(&told), [ErrorKind::TooLarge]);
}

#[test]
fn a_varint_may_be_cut_anywhere() {
    let codec = LengthPrefix::varint(4 << 20);
    let mut wire = Vec::new();
    let payload = vec![7; 2 << 20];
    codec.encode(Meta::default(), &payload, &mut wire).unwrap();
    assert_eq!(wire.len() - payload.len(), 4);
    for cut in 1..5 {
        let told = stepped(&codec, &wire, &[cut, wire.len() - 1]);
        assert_eq!((told.events.len(), told.errors().len()), (1, 0), "cut at {cut}");
    }
}

#[test]
fn a_prefix_is_not_forgotten_while_its_body_is_late() {
    let codec = LengthPrefix::varint(1000);
    let mut joiner = Joiner::new(codec);
    let mut got = Vec::new();
    for chunk in [&b"\x05"[..], b"", b"he", b"", b"llo\x01"] {
        joiner.push(chunk, |frame| {
            got.push(frame.unwrap().payload.to_vec());
            core::ops::ControlFlow::Continue(())
        });
    }
    assert_eq!((got, joiner.rest()), (vec![b"hello".to_vec()], &b"\x01"[..]));
}

#[test]
fn an_exact_maximum_ending_in_cr_lf_is_legal_in_every_cut() {
    for lines in [Lines::lf_or_crlf(5), Lines::crlf(5)] {
        let told = check(&lines, b"hello\r\n", 3);
        assert_eq!((told.payloads(), told.errors().len()), (vec![&b"hello"[..]], 0));
    }
}

#[test]
fn half_a_delimiter_at_the_edge_of_a_skipped_frame_is_kept() {
    let lines = Lines::delimiter(b"END", 4).unwrap().oversize(line::Oversize::Skip);
    let told = check(&lines, b"far too longENDgoodEND", 4);
    assert_eq!((told.payloads(), kinds(&told)), (vec![&b"good"[..]], vec![ErrorKind::TooLarge]));
}

#[test]
fn no_input_gives_endless_frames() {
    // A length that counts the whole frame, and says zero.
    for width in [Width::U8, Width::U16, Width::U32, Width::U64] {
        let codec =
            LengthPrefix::builder(width, 100).counts(Counts::WholeFrame).strip(0).build().unwrap();
        let told = check(&codec, &[0; 40], 5);
        assert_eq!((told.payloads().len(), kinds(&told)), (0, vec![ErrorKind::BadLength]));
    }
    // Empty frames are legal, and each consumes its header.
    let told = check(&LengthPrefix::u16_be(100), &[0; 40], 5);
    assert_eq!(told.events.len(), 20);
}

#[test]
fn a_fatal_error_is_latched_and_costs_nothing() {
    let codec = LengthPrefix::builder(Width::U16, 100).counts(Counts::WholeFrame).build().unwrap();
    let mut state = Default::default();
    let Step::Error { error, consumed: 0 } = codec.step(&mut state, b"\0\x01rest") else {
        panic!("a frame shorter than its header")
    };
    for more in [&b""[..], b"\0\x05abc", b"anything"] {
        assert_eq!(codec.step(&mut state, more), Step::Error { error, consumed: 0 });
    }
}

#[test]
fn a_length_of_eight_bytes_does_not_overflow() {
    for max in [0, 1000, usize::MAX] {
        let told = check(&LengthPrefix::u64_be(max), &[0xff; 12], 6);
        assert_eq!(kinds(&told), [ErrorKind::TooLarge]);
    }
}

#[test]
fn lines_are_bytes() {
    let told = check(&Lines::lf(99), b"\xff\xfe\xc3\n\xff", 7);
    assert_eq!(told.payloads(), [b"\xff\xfe\xc3"]);
    assert_eq!(told.eof, Eof::Unterminated(Span { start: 0, end: 1 }));
}

#[test]
fn an_encoder_never_writes_a_length_that_does_not_fit() {
    let codec = LengthPrefix::u16_be(8 << 20);
    let mut out = Vec::new();
    let error = codec.encode(Meta::default(), &vec![0; 6 << 20], &mut out);
    assert_eq!(error, Err(EncodeError::TooLarge { len: 6 << 20, limit: 65_535 }));
    assert!(out.is_empty());
}

#[test]
fn a_declared_length_allocates_nothing() {
    let huge = 1 << 30;
    let mut joiner = Joiner::new(LengthPrefix::u32_be(huge));
    joiner.push(&(huge as u32).to_be_bytes(), |_| panic!("nothing is complete"));
    assert_eq!((joiner.buffered(), joiner.needed()), (4, huge));
    assert!(joiner.footprint() <= 512, "{} bytes held", joiner.footprint());
}

#[test]
fn counts_and_nesting_are_bounded_by_what_arrives() {
    let told = check(&Resp::replies(), b"*2147483647\r\n", 8);
    assert_eq!(kinds(&told), [ErrorKind::TooMany]);
    let nested = b"*1\r\n".repeat(100_000);
    let told = stepped(&Resp::replies(), &nested, &[]);
    assert_eq!(kinds(&told), [ErrorKind::TooDeep]);
}

#[test]
fn a_limit_holds_before_the_terminator_comes() {
    let told = check(&Lines::lf(10), &[b'x'; 200], 9);
    assert_eq!((kinds(&told), told.errors()[0].at), (vec![ErrorKind::TooLarge], 10));
}

#[test]
fn a_limit_counts_the_payload_after_adjustment() {
    // The length counts a header of 4 bytes too: 12 on the wire is 8 of payload.
    let codec = LengthPrefix::builder(Width::U32, 8).counts(Counts::WholeFrame).build().unwrap();
    assert_eq!(check(&codec, b"\0\0\0\x0c12345678", 1).payloads(), [b"12345678"]);
    let [Event::Error(error)] = &check(&codec, b"\0\0\0\x0d", 1).events[..] else { panic!() };
    assert_eq!((error.declared, error.limit), (9, 8));
}

#[test]
fn what_is_encoded_is_what_is_decoded_whatever_the_shape() {
    let codec = LengthPrefix::builder(Width::U16, 99)
        .offset(3)
        .extra(2)
        .counts(Counts::Adjusted(1))
        .little_endian()
        .build()
        .unwrap();
    let mut wire = Vec::new();
    codec.encode(Meta::default(), b"payload", &mut wire).unwrap();
    assert_eq!(check(&codec, &wire, 2).payloads(), [b"payload"]);
}

#[test]
fn the_rest_at_the_end_of_input_is_not_a_line() {
    let told = check(&Lines::lf(99), b"whole\nrest", 3);
    assert_eq!(told.payloads(), [b"whole"]);
    assert_eq!(told.eof, Eof::Unterminated(Span { start: 0, end: 4 }));
}

#[test]
fn a_number_has_one_encoding() {
    let told = check(&LengthPrefix::varint(99), b"\x85\x00hello", 4);
    assert_eq!((kinds(&told), told.errors()[0].at), (vec![ErrorKind::NonMinimal], 1));
}

#[test]
fn a_bare_lf_can_be_kept_from_ending_a_line() {
    // SMTP smuggling: one side ends a message at LF . LF, the other does not.
    let strict = Lines::crlf(99).lone_cr(Lone::Error).lone_lf(Lone::Error);
    for smuggled in [&b"text\n.\nMAIL FROM:<x>\r\n"[..], b"text\n.\r\n", b"text\r.\r\n"] {
        let told = check(&strict, smuggled, 5);
        assert_eq!(told.payloads().len(), 0);
        assert!(matches!(kinds(&told)[..], [ErrorKind::BareLf | ErrorKind::BareCr]));
    }
}

#[test]
fn a_limit_is_per_line_not_per_buffer() {
    // A hundred short lines in one read are a hundred lines, in every cut.
    let told = check(&Lines::crlf(10), &b"0123456789\r\n".repeat(20), 6);
    assert_eq!((told.payloads().len(), told.errors().len()), (20, 0));
}

#[test]
fn skipped_frames_cost_one_error_each() {
    let codec = LengthPrefix::builder(Width::U16, 2).oversize(length_prefix::Oversize::Skip);
    let told = check(&codec.build().unwrap(), b"\0\x03abc\0\x03abc\0\x01d", 7);
    assert_eq!((told.payloads(), told.errors().len()), (vec![&b"d"[..]], 2));
    assert!(told.errors().iter().all(|e| (e.declared, e.limit, e.fatal) == (3, 2, false)));
}
