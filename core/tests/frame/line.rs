//! Lines: every terminator under the laws, oversize policies, lone CR and LF.

use drywire::frame::line::{Ending, Lines, Lone, Oversize};
use drywire::frame::{Encode, EncodeError, Eof, ErrorKind, Meta, Span};
use proptest::prelude::*;

use super::harness::{Event, check, stepped};

fn any_lines() -> impl Strategy<Value = Lines> {
    let delimiter = prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 1..9);
    let set = prop::collection::vec(any::<u8>(), 1..14);
    let terminator = (0usize..6, delimiter, set, 1usize..40);
    let lone = || prop::sample::select(&[Lone::Data, Lone::Error]);
    let oversize = prop::sample::select(&[Oversize::Fatal, Oversize::Skip, Oversize::Truncate]);
    (terminator, lone(), lone(), oversize).prop_map(
        |((t, delimiter, set, max), cr, lf, oversize)| {
            let lines = match t {
                0 => Lines::lf(max),
                1 => Lines::crlf(max),
                2 => Lines::lf_or_crlf(max),
                3 => Lines::any_newline(max),
                4 => Lines::delimiter(&delimiter, max).unwrap(),
                _ => Lines::any_of(&set, max).unwrap(),
            };
            lines.lone_cr(cr).lone_lf(lf).oversize(oversize)
        },
    )
}

/// Text made of what terminators are made of.
fn text(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"aaaabbbb\r\r\n\nxyz,;"[..]), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn laws_hold(lines in any_lines(), input in text(90), seed: u64) {
        check(&lines, &input, seed);
    }

    #[test]
    fn laws_hold_for_short_inputs_in_all_splits(lines in any_lines(), input in text(9)) {
        check(&lines, &input, 0);
    }

    #[test]
    fn round_trips_and_is_canonical(lines in any_lines(), input in text(45), seed: u64) {
        let mut wire = Vec::new();
        match lines.encode(Meta::default(), &input, &mut wire) {
            Ok(n) => {
                prop_assert_eq!(n, wire.len());
                let told = check(&lines, &wire, seed);
                prop_assert_eq!(told.payloads(), [&input[..]]);
                prop_assert_eq!(told.eof, Eof::Clean);
                let Event::Frame { meta, .. } = &told.events[0] else { panic!() };
                let mut again = Vec::new();
                lines.encode(*meta, &input, &mut again).unwrap();
                prop_assert_eq!(again, wire);
            }
            Err(error) => {
                // Whatever the encoder refuses, the decoder would not give back as this line.
                prop_assert!(wire.is_empty());
                let terminator = match lines.encode(Meta::default(), b"", &mut wire) {
                    Ok(n) => wire[..n].to_vec(),
                    Err(_) => return Ok(()),
                };
                let told = stepped(&lines, &[&input[..], &terminator].concat(), &[]);
                prop_assert!(told.payloads() != [&input[..]] || told.eof != Eof::Clean, "{error}");
            }
        }
    }

    /// A ten-line reference that knows nothing of chunks.
    #[test]
    fn agrees_with_a_plain_split(input in text(400), seed: u64) {
        let rest_at = input.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let lines: Vec<&[u8]> = input[..rest_at].split_inclusive(|&b| b == b'\n').collect();
        let lf: Vec<_> = lines.iter().map(|l| &l[..l.len() - 1]).collect();
        let either: Vec<_> = lf.iter().map(|l| l.strip_suffix(b"\r").unwrap_or(l)).collect();
        let rest = input.len() - rest_at;
        let eof = if rest == 0 { Eof::Clean } else { Eof::Unterminated(Span { start: 0, end: rest }) };
        let told = check(&Lines::lf(1000), &input, seed);
        prop_assert_eq!((told.payloads(), told.eof), (lf, eof));
        let told = check(&Lines::lf_or_crlf(1000), &input, seed);
        prop_assert_eq!((told.payloads(), told.eof), (either, eof));
    }
}

fn endings(lines: &Lines, input: &[u8]) -> Vec<(Vec<u8>, Option<Ending>)> {
    let told = check(lines, input, 1);
    let pair = |event: &Event| match event {
        Event::Frame { payload, meta, .. } => Some((payload.clone(), Ending::of(*meta))),
        Event::Error(_) => None,
    };
    told.events.iter().filter_map(pair).collect()
}

#[test]
fn each_terminator_ends_what_it_should() {
    let input = b"a\nb\r\nc\rd\r\n";
    let line = |s: &[u8], e| (s.to_vec(), Some(e));
    assert_eq!(
        endings(&Lines::lf(9), input),
        [line(b"a", Ending::Lf), line(b"b\r", Ending::Lf), line(b"c\rd\r", Ending::Lf)]
    );
    assert_eq!(
        endings(&Lines::crlf(9), input),
        [line(b"a\nb", Ending::CrLf), line(b"c\rd", Ending::CrLf)]
    );
    assert_eq!(
        endings(&Lines::lf_or_crlf(9), input),
        [line(b"a", Ending::Lf), line(b"b", Ending::CrLf), line(b"c\rd", Ending::CrLf)]
    );
    assert_eq!(
        endings(&Lines::any_newline(9), input),
        [
            line(b"a", Ending::Lf),
            line(b"b", Ending::Cr),
            line(b"c", Ending::Cr),
            line(b"d", Ending::Cr)
        ]
    );
    assert_eq!(
        endings(&Lines::delimiter(b"\r\n", 9).unwrap(), input),
        [line(b"a\nb", Ending::Delimiter), line(b"c\rd", Ending::Delimiter)]
    );
    assert_eq!(endings(&Lines::any_of(b"\n,", 9).unwrap(), b"a,b\n").len(), 2);
}

type Verdict = (Vec<Vec<u8>>, Vec<(ErrorKind, u64, bool)>);

/// The lines of `input`, and kind, place and grade of its errors.
fn verdict(lines: &Lines, input: &[u8]) -> Verdict {
    let told = check(lines, input, 2);
    let errors = told.errors().iter().map(|e| (e.kind, e.at, e.fatal)).collect();
    (told.payloads().into_iter().map(<[u8]>::to_vec).collect(), errors)
}

#[test]
fn lone_cr_and_lf_are_errors_where_that_is_set() {
    let strict = Lines::crlf(20).lone_cr(Lone::Error).lone_lf(Lone::Error);
    let skip = strict.oversize(Oversize::Skip);
    let bare_lf = |at, fatal| (ErrorKind::BareLf, at, fatal);
    let bare_cr = |at, fatal| (ErrorKind::BareCr, at, fatal);
    assert_eq!(verdict(&strict, b"ok\r\na\nb\r\n"), (vec![b"ok".to_vec()], vec![bare_lf(5, true)]));
    assert_eq!(verdict(&skip, b"a\nb\r\nok\r\n"), (vec![b"ok".to_vec()], vec![bare_lf(1, false)]));
    assert_eq!(
        verdict(&skip, b"a\rb\nc\r\nok\r\n"),
        (vec![b"ok".to_vec()], vec![bare_cr(1, false)])
    );
    assert_eq!(verdict(&skip, b"\r\r\nok\r\n"), (vec![b"ok".to_vec()], vec![bare_cr(0, false)]));
    let either = Lines::lf_or_crlf(20).lone_cr(Lone::Error).oversize(Oversize::Skip);
    assert_eq!(verdict(&either, b"a\rb\nok\n"), (vec![b"ok".to_vec()], vec![bare_cr(1, false)]));
}

#[test]
fn the_limit_counts_the_content_only() {
    for lines in [Lines::crlf(5), Lines::lf_or_crlf(5), Lines::delimiter(b"\r\n", 5).unwrap()] {
        assert_eq!(verdict(&lines, b"hello\r\n"), (vec![b"hello".to_vec()], vec![]));
        let (_, errors) = verdict(&lines, b"hello!\r\n");
        assert_eq!(errors, [(ErrorKind::TooLarge, 5, true)]);
    }
}

#[test]
fn a_line_too_long_costs_one_error_and_one_line() {
    let lines = Lines::lf(8).oversize(Oversize::Skip);
    let input = b"AAAAAAAAAAAAAAAAAAAA evil\nok\n";
    assert_eq!(
        verdict(&lines, input),
        (vec![b"ok".to_vec()], vec![(ErrorKind::TooLarge, 8, false)])
    );
    let cut = Lines::lf(3).oversize(Oversize::Truncate);
    assert_eq!(
        endings(&cut, b"abcdef\nok\n"),
        [(b"abc".to_vec(), Some(Ending::Cut)), (b"ok".to_vec(), Some(Ending::Lf))]
    );
}

#[test]
fn the_rest_is_never_promoted() {
    let rest = |end| Eof::Unterminated(Span { start: 0, end });
    assert_eq!(check(&Lines::lf(9), b"a\nbc", 0).eof, rest(2));
    assert_eq!(check(&Lines::crlf(9), b"bc\r", 0).eof, rest(3));
    assert_eq!(check(&Lines::any_newline(9), b"a\r", 0).eof, Eof::Clean);
    let skip = Lines::lf(1).oversize(Oversize::Skip);
    assert_eq!(check(&skip, b"abc", 0).eof, Eof::Discarding);
    assert_eq!(check(&skip, b"abc\n", 0).eof, Eof::Clean);
}

#[test]
fn encoders_refuse_what_would_end_the_line() {
    let refuses = |lines: Lines, payload: &[u8], at| {
        let refused = lines.encoded_len(Meta::default(), payload);
        assert_eq!(refused, Err(EncodeError::Forbidden { at }), "{lines:?}");
    };
    refuses(Lines::lf(9), b"a\nb", 1);
    refuses(Lines::crlf(9), b"a\r\nb", 2);
    refuses(Lines::crlf(9).lone_lf(Lone::Error), b"a\nb", 1);
    refuses(Lines::lf_or_crlf(9).lone_cr(Lone::Error), b"a\rb", 1);
    refuses(Lines::any_newline(9), b"a\r", 1);
    refuses(Lines::delimiter(b"aa", 9).unwrap(), b"ba", 1);
    refuses(Lines::any_of(b",;", 9).unwrap(), b"ab;", 2);
    let lf_after_cr = Lines::lf_or_crlf(9).encoded_len(Ending::Lf.meta(), b"a\r");
    assert_eq!(lf_after_cr, Err(EncodeError::Forbidden { at: 1 }));
}
