//! Framings over the caller's buffers.

use super::support::text;
use crate::codec::*;
use crate::framer::*;
use crate::status::drywire_status::{self, *};
use crate::types::*;
use core::ptr;
use drywire::frame::{frames, length_prefix::LengthPrefix, line::Lines};
use proptest::prelude::*;

struct Framer(*mut drywire_framer);

impl Drop for Framer {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { drywire_framer_free(self.0) };
    }
}

fn options(kind: u32, max_payload: u64) -> drywire_framer_options {
    drywire_framer_options { kind, max_payload, ..crate::sized::Growing::DEFAULT }
}

fn make(options: &drywire_framer_options) -> Result<Framer, drywire_status> {
    let mut framer = ptr::without_provenance_mut(1);
    // SAFETY: valid memory.
    match unsafe { drywire_framer_new(options, &mut framer) } {
        DRYWIRE_OK => Ok(Framer(framer)),
        error => {
            assert!(framer.is_null());
            Err(error)
        }
    }
}

/// What came out: kind, flags, offset, payload.
type Seen = Vec<(u32, u32, u64, Vec<u8>)>;

impl Framer {
    fn decode(&self, data: &[u8], cap: usize) -> (drywire_status, Seen, usize) {
        let mut events = vec![drywire_event::new(0, 0); cap];
        let (mut n, mut consumed) = (0, 0);
        // SAFETY: valid memory.
        let status = unsafe {
            drywire_framer_decode(
                self.0,
                data.as_ptr(),
                data.len(),
                events.as_mut_ptr(),
                cap,
                &mut n,
                &mut consumed,
            )
        };
        let seen = events[..n].iter().map(|e| {
            // SAFETY: points into `data`, or is static text.
            let bytes = unsafe { core::slice::from_raw_parts(e.a.data, e.a.len) };
            (e.kind, e.flags, e.num, bytes.to_vec())
        });
        (status, seen.collect(), consumed)
    }

    /// Decodes a whole stream cut into pieces, keeping what is left over as a caller would.
    fn decode_all(&self, stream: &[u8], pieces: &[usize], cap: usize) -> (drywire_status, Seen) {
        let (mut seen, mut kept, mut at) = (Seen::new(), Vec::new(), 0usize);
        for piece in pieces.iter().cycle() {
            let end = at.saturating_add(*piece).min(stream.len());
            kept.extend_from_slice(&stream[at..end]);
            at = end;
            loop {
                let (status, some, consumed) = self.decode(&kept, cap);
                seen.extend(some);
                kept.drain(..consumed);
                match status {
                    DRYWIRE_MORE => {}
                    DRYWIRE_NEED_INPUT if at == stream.len() => return (status, seen),
                    DRYWIRE_NEED_INPUT => break,
                    error => return (error, seen),
                }
            }
        }
        unreachable!()
    }
}

/// Miri takes a millisecond for what takes nanoseconds.
const STREAM: usize = if cfg!(miri) { 50 } else { 400 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    /// I3 and I6: any cuts and any batch size give the frames of the Rust API.
    #[test]
    fn any_cuts_give_the_frames_of_the_rust_api(
        stream in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0u8), any::<u8>()], 0..STREAM),
        pieces in prop::collection::vec(1usize..60, 1..6),
        cap in 1usize..5,
    ) {
        let lines: Seen = frames(&Lines::lf(50), &mut Default::default(), &stream)
            .map_while(Result::ok)
            .map(|f| (DRYWIRE_EVENT_FRAME, f.meta.kind, f.at, f.payload.to_vec()))
            .collect();
        let framer = make(&options(DRYWIRE_FRAMING_LINES, 50)).unwrap();
        prop_assert_eq!(framer.decode_all(&stream, &pieces, cap).1, lines);

        let prefixed: Seen = frames(&LengthPrefix::u8(), &mut Default::default(), &stream)
            .map_while(Result::ok)
            .map(|f| (DRYWIRE_EVENT_FRAME, f.meta.kind, f.at, f.payload.to_vec()))
            .collect();
        let mut options = options(DRYWIRE_FRAMING_LENGTH_PREFIX, 255);
        options.length_width = 1;
        let framer = make(&options).unwrap();
        prop_assert_eq!(framer.decode_all(&stream, &pieces, cap).1, prefixed);
    }

    /// What is encoded is decoded again, header and payload apart or together.
    #[test]
    fn round_trip(payload in prop::collection::vec(any::<u8>(), 0..300), kind in 0u32..256) {
        let mut options = options(DRYWIRE_FRAMING_LENGTH_PREFIX, 300);
        options.type_width = 1;
        options.length_width = DRYWIRE_WIDTH_VARINT32;
        let framer = make(&options).unwrap();
        let mut out = vec![0; 400];
        let (mut n, mut head) = (0, 0);
        let mut header = [0; 64];
        // SAFETY: valid memory.
        unsafe {
            let ask = drywire_framer_encode(
                framer.0, kind, 0, payload.as_ptr(), payload.len(), ptr::null_mut(), 0, &mut n,
            );
            prop_assert_eq!(ask, DRYWIRE_ERR_BUFFER);
            let needed = n;
            let fill = drywire_framer_encode(
                framer.0, kind, 0, payload.as_ptr(), payload.len(), out.as_mut_ptr(), needed, &mut n,
            );
            prop_assert_eq!((fill, n), (DRYWIRE_OK, needed));
            let parts = drywire_framer_encode_header(
                framer.0, kind, 0, payload.len(), header.as_mut_ptr(), 64, &mut head,
            );
            prop_assert_eq!(parts, DRYWIRE_OK);
        }
        prop_assert_eq!(&out[..head], &header[..head]);
        let (_, seen, consumed) = framer.decode(&out[..n], 4);
        prop_assert_eq!(consumed, n);
        prop_assert_eq!(seen, [(DRYWIRE_EVENT_FRAME, kind, 0, payload)]);
    }
}

#[test]
fn a_broken_stream_stays_broken_until_reset() {
    let framer = make(&options(DRYWIRE_FRAMING_LENGTH_PREFIX, 10)).unwrap();
    let stream = b"\0\0\0\x02hi\0\0\0\x0b";
    let (status, seen, consumed) = framer.decode(stream, 8);
    assert_eq!((status, consumed), (DRYWIRE_ERR_TOO_LONG, 6));
    assert_eq!(seen, [(DRYWIRE_EVENT_FRAME, 0, 0, b"hi".to_vec())]);
    assert_eq!(framer.decode(b"\0\0\0\x01x", 8), (DRYWIRE_ERR_TOO_LONG, vec![], 0));
    let mut info = drywire_error_info::none();
    info.struct_size = size_of::<drywire_error_info>() as u32;
    // SAFETY: live handle, sized struct.
    unsafe {
        assert_eq!(drywire_framer_last_error(framer.0, &mut info), DRYWIRE_OK);
        assert_eq!((info.offset, info.found, info.limit), (6, 11, 10));
        assert_eq!(text(info.text), "frame too large");
        assert_eq!(drywire_framer_finish(framer.0, ptr::null(), 0), DRYWIRE_ERR_TOO_LONG);
        assert_eq!(drywire_framer_reset(framer.0), DRYWIRE_OK);
        assert_eq!(drywire_framer_position(framer.0), 0);
    }
    assert_eq!(framer.decode(b"\0\0\0\x01x", 8).1.len(), 1);
}

#[test]
fn what_is_missing_is_known() {
    let framer = make(&options(DRYWIRE_FRAMING_LENGTH_PREFIX, 10)).unwrap();
    // SAFETY: live handle and valid memory.
    unsafe {
        assert_eq!(drywire_framer_max_pending(framer.0), 14);
        assert_eq!(framer.decode(b"\0\0\0\x05he", 8).0, DRYWIRE_NEED_INPUT);
        assert_eq!(drywire_framer_need(framer.0), 3);
        let rest = b"\0\0\0\x05he";
        assert_eq!(drywire_framer_finish(framer.0, rest.as_ptr(), 6), DRYWIRE_ERR_TRUNCATED);
        assert_eq!(framer.decode(b"\0\0\0\x05hello", 8).0, DRYWIRE_NEED_INPUT);
        assert_eq!(drywire_framer_finish(framer.0, ptr::null(), 0), DRYWIRE_OK);
        assert_eq!(drywire_framer_position(framer.0), 9);
    }
}

#[test]
fn skipped_frames_are_reported_once() {
    let skip = drywire_framer_options {
        oversize: DRYWIRE_OVERSIZE_SKIP,
        ..options(DRYWIRE_FRAMING_LINES, 4)
    };
    let stream = b"ok\nmuch too long\nfine\n";
    for pieces in [&[100][..], &[1], &[3, 1]] {
        let framer = make(&skip).unwrap();
        let (status, seen) = framer.decode_all(stream, pieces, 2);
        let kinds: Vec<_> = seen.iter().map(|s| (s.0, s.3.as_slice())).collect();
        assert_eq!(status, DRYWIRE_NEED_INPUT);
        assert_eq!(
            kinds,
            [
                (DRYWIRE_EVENT_FRAME, &b"ok"[..]),
                (DRYWIRE_EVENT_FRAME_ERROR, b"frame too large"),
                (DRYWIRE_EVENT_FRAME, b"fine"),
            ]
        );
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let lines = options(DRYWIRE_FRAMING_LINES, 10);
    let prefix = options(DRYWIRE_FRAMING_LENGTH_PREFIX, 10);
    for bad in [
        options(0, 10),
        options(99, 10),
        options(DRYWIRE_FRAMING_LINES, 0),
        options(DRYWIRE_FRAMING_LENGTH_PREFIX, u64::MAX),
        drywire_framer_options { length_width: 5, ..prefix },
        drywire_framer_options { type_width: 3, ..prefix },
        drywire_framer_options { counts: 9, ..prefix },
        drywire_framer_options { oversize: DRYWIRE_OVERSIZE_TRUNCATE, ..prefix },
        drywire_framer_options { flags: DRYWIRE_FRAMING_LONE_CR_ERROR, ..prefix },
        drywire_framer_options { length_offset: 100, ..prefix },
        drywire_framer_options { flags: DRYWIRE_FRAMING_LITTLE_ENDIAN, ..lines },
        drywire_framer_options { terminator: 6, ..lines },
        drywire_framer_options { terminator: DRYWIRE_LINES_DELIMITER, ..lines },
        drywire_framer_options { terminator: DRYWIRE_LINES_DELIMITER, delimiter_len: 9, ..lines },
        drywire_framer_options { oversize: 3, ..lines },
    ] {
        assert_eq!(make(&bad).err(), Some(DRYWIRE_ERR_RANGE), "{bad:?}");
    }
    let all = drywire_framer_options {
        terminator: DRYWIRE_LINES_ANY_OF,
        delimiter: *b";,\0\0\0\0\0\0",
        delimiter_len: 2,
        ..lines
    };
    assert_eq!(make(&all).unwrap().decode(b"a,b;", 4).1.len(), 2);
    let header = {
        let framer = make(&lines).unwrap();
        let mut n = 0;
        // SAFETY: live handle and valid memory.
        unsafe { drywire_framer_encode_header(framer.0, 0, 0, 3, ptr::null_mut(), 0, &mut n) }
    };
    assert_eq!(header, DRYWIRE_ERR_UNSUPPORTED);
}

/// Every framing that can be written reads what it wrote, in any pieces; the others read theirs.
#[test]
fn all_framings_are_there() {
    let payload: Vec<u8> = (0..60).collect();
    let record = b"\0\0\0\0\0\0\0\x07\0\0\0\0a message";
    for (kind, max, payload) in [
        (DRYWIRE_FRAMING_LENGTH_PREFIX, 100, &payload[..]),
        (DRYWIRE_FRAMING_LINES, 100, b"text"),
        (DRYWIRE_FRAMING_FIXED, 60, &payload),
        (DRYWIRE_FRAMING_TLV, 100, &payload),
        (DRYWIRE_FRAMING_TLV_COMPACT, 100, &payload),
        (DRYWIRE_FRAMING_RECORDS, 100, record),
    ] {
        let framer = make(&options(kind, max)).unwrap();
        let (mut out, mut n) = ([0; 200], 0);
        // SAFETY: valid memory.
        let status = unsafe {
            drywire_framer_encode(
                framer.0,
                0,
                0,
                payload.as_ptr(),
                payload.len(),
                out.as_mut_ptr(),
                200,
                &mut n,
            )
        };
        assert_eq!(status, DRYWIRE_OK, "framing {kind}");
        for piece in [200, 1] {
            let framer = make(&options(kind, max)).unwrap();
            let (_, seen) = framer.decode_all(&out[..n].repeat(3), &[piece], 2);
            assert_eq!(seen.len(), 3, "framing {kind} in pieces of {piece}");
            assert!(seen.iter().all(|frame| frame.3 == payload));
        }
    }
    for (kind, stream, frames) in [
        (DRYWIRE_FRAMING_RESP_REQUESTS, &b"*1\r\n$4\r\nPING\r\nPING\r\n"[..], 2),
        (DRYWIRE_FRAMING_RESP_REPLIES, b"+OK\r\n:42\r\n$-1\r\n", 3),
        (DRYWIRE_FRAMING_HTTP_REQUESTS, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (DRYWIRE_FRAMING_HTTP_RESPONSES, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
    ] {
        let framer = make(&options(kind, 1000)).unwrap();
        assert_eq!(framer.decode_all(stream, &[3], 2).1.len(), frames, "framing {kind}");
        let mut n = 0;
        // SAFETY: valid memory.
        let status = unsafe {
            drywire_framer_encode(framer.0, 0, 0, b"x".as_ptr(), 1, ptr::null_mut(), 0, &mut n)
        };
        assert_eq!(status, DRYWIRE_ERR_UNSUPPORTED);
    }
    for (kind, max) in [
        (DRYWIRE_FRAMING_TLV, (1 << 27) + 1),
        (DRYWIRE_FRAMING_TLV_COMPACT, 1 << 16),
        (DRYWIRE_FRAMING_RECORDS, 11),
    ] {
        assert_eq!(make(&options(kind, max)).err(), Some(DRYWIRE_ERR_RANGE));
    }
}
