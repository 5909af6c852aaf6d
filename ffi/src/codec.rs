//! Framings behind one face, so that one handle type serves all of them.

use crate::guard::try_box;
use crate::sized::Growing;
use crate::status::{Result, drywire_status};
use crate::types::{
    DRYWIRE_EVENT_FRAME, DRYWIRE_EVENT_FRAME_ERROR, OutArray, drywire_bytes, drywire_error_info,
    drywire_event,
};
use drywire::frame::fixed::Fixed;
use drywire::frame::http::Http;
use drywire::frame::length_prefix::{self, Counts, LengthPrefix, Width};
use drywire::frame::line::{self, Lines, Lone};
use drywire::frame::record::Records;
use drywire::frame::resp::Resp;
use drywire::frame::tlv::{Compact, Damage, Tlv};
use drywire::frame::{
    ConfigError, Encode, EncodeError, Eof, ErrorKind, FrameError, Framing, Header, Meta, Step,
    frames,
};
use drywire_status::{
    DRYWIRE_ERR_BUFFER, DRYWIRE_ERR_PROTOCOL, DRYWIRE_ERR_RANGE, DRYWIRE_ERR_TOO_LONG,
    DRYWIRE_ERR_TRUNCATED, DRYWIRE_ERR_UNSUPPORTED,
};

/// A framing: a length, then the payload. Options from `length_width` to `strip`.
pub const DRYWIRE_FRAMING_LENGTH_PREFIX: u32 = 1;
/// A framing: lines, or anything that ends at a delimiter. Options from `terminator` on.
pub const DRYWIRE_FRAMING_LINES: u32 = 2;

/// A framing: records of exactly `max_payload` bytes.
pub const DRYWIRE_FRAMING_FIXED: u32 = 3;
/// A framing: drywire's own, with a 16-byte header and checksums (docs/tlv.md).
pub const DRYWIRE_FRAMING_TLV: u32 = 4;
/// A framing: the same with an 8-byte header and no checksums.
pub const DRYWIRE_FRAMING_TLV_COMPACT: u32 = 5;
/// A framing: records with version, time, host, tag and message; up to 32767 bytes.
pub const DRYWIRE_FRAMING_RECORDS: u32 = 6;
/// A framing: RESP as a Redis server reads it. Only to decode.
pub const DRYWIRE_FRAMING_RESP_REQUESTS: u32 = 7;
/// A framing: RESP as a Redis client reads it. Only to decode.
pub const DRYWIRE_FRAMING_RESP_REPLIES: u32 = 8;
/// A framing: HTTP/1.1 as a server reads it: heads, pieces of bodies (`max_payload` limits a whole
/// body) and trailers. Only to decode.
pub const DRYWIRE_FRAMING_HTTP_REQUESTS: u32 = 9;
/// A framing: HTTP/1.1 as a client reads it. Only to decode.
pub const DRYWIRE_FRAMING_HTTP_RESPONSES: u32 = 10;

/// `flags`: the length and type are little-endian.
pub const DRYWIRE_FRAMING_LITTLE_ENDIAN: u32 = 1;
/// `flags`: the payload shows the header too.
pub const DRYWIRE_FRAMING_KEEP_HEADER: u32 = 2;
/// `flags`: a CR without LF is an error, for `DRYWIRE_LINES_CRLF` and `_LF_OR_CRLF`.
pub const DRYWIRE_FRAMING_LONE_CR_ERROR: u32 = 4;
/// `flags`: an LF without CR is an error, for `DRYWIRE_LINES_CRLF`.
pub const DRYWIRE_FRAMING_LONE_LF_ERROR: u32 = 8;

/// `oversize`: a frame over the limit ends the stream.
pub const DRYWIRE_OVERSIZE_FATAL: u32 = 0;
/// `oversize`: a frame over the limit is one error, then dropped as it arrives.
pub const DRYWIRE_OVERSIZE_SKIP: u32 = 1;
/// `oversize`: a line over the limit is cut there. Lines only.
pub const DRYWIRE_OVERSIZE_TRUNCATE: u32 = 2;

/// `oversize`: as skip, and after a damaged header the next valid one is searched for. TLV only; for
/// files and serial lines.
pub const DRYWIRE_OVERSIZE_RESYNC: u32 = 3;

/// `length_width`: LEB128 of a 32-bit number, as in delimited protobuf. 1, 2, 3, 4 and 8 are
/// widths in bytes.
pub const DRYWIRE_WIDTH_VARINT32: u32 = 32;
/// `length_width`: LEB128 of a 64-bit number.
pub const DRYWIRE_WIDTH_VARINT64: u32 = 64;

/// `counts`: the length counts the payload.
pub const DRYWIRE_COUNTS_BODY: u32 = 0;
/// `counts`: the length counts everything after itself.
pub const DRYWIRE_COUNTS_AFTER_FIELD: u32 = 1;
/// `counts`: the length counts itself and everything after it.
pub const DRYWIRE_COUNTS_FIELD_AND_BODY: u32 = 2;
/// `counts`: the length counts the whole frame.
pub const DRYWIRE_COUNTS_WHOLE_FRAME: u32 = 3;
/// `counts`: the frame ends `length + adjustment` bytes after the length field.
pub const DRYWIRE_COUNTS_ADJUSTED: u32 = 4;

/// `strip`: the whole header, so that the payload is just that.
///
/// cbindgen:ignore
pub const DRYWIRE_STRIP_HEADER: u32 = u32::MAX;

/// `terminator`: LF; a CR is a byte like any other.
pub const DRYWIRE_LINES_LF: u32 = 0;
/// `terminator`: CR LF and nothing else.
pub const DRYWIRE_LINES_CRLF: u32 = 1;
/// `terminator`: LF; one CR right before it belongs to the terminator.
pub const DRYWIRE_LINES_LF_OR_CRLF: u32 = 2;
/// `terminator`: CR, LF or CR LF.
pub const DRYWIRE_LINES_ANY_NEWLINE: u32 = 3;
/// `terminator`: the `delimiter_len` bytes of `delimiter`, in this order.
pub const DRYWIRE_LINES_DELIMITER: u32 = 4;
/// `terminator`: any one of the `delimiter_len` bytes of `delimiter`; the first is written.
pub const DRYWIRE_LINES_ANY_OF: u32 = 5;

/// How a stream is cut into frames. Start with `drywire_framer_options_init`; then set `kind`,
/// `max_payload` and what the kind needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_framer_options {
    /// `sizeof(drywire_framer_options)`.
    pub struct_size: u32,
    /// Which framing: `DRYWIRE_FRAMING_LENGTH_PREFIX` and those after it.
    pub kind: u32,
    /// The longest payload, in bytes, without header and terminator. Must be set.
    pub max_payload: u64,
    /// `DRYWIRE_FRAMING_LITTLE_ENDIAN` and so on, added up.
    pub flags: u32,
    /// What happens to a frame over the limit: a `DRYWIRE_OVERSIZE_*`.
    pub oversize: u32,
    /// Length prefix: width of the length, 1, 2, 3, 4, 8 or a `DRYWIRE_WIDTH_*`. Default 4.
    pub length_width: u32,
    /// Length prefix: opaque bytes before the length.
    pub length_offset: u32,
    /// Length prefix: what the length counts, a `DRYWIRE_COUNTS_*`.
    pub counts: u32,
    /// Length prefix: see `DRYWIRE_COUNTS_ADJUSTED`.
    pub adjustment: i32,
    /// Length prefix: bytes of a type word after the length: 0, 1, 2 or 4.
    pub type_width: u32,
    /// Length prefix: opaque bytes between header and payload.
    pub extra: u32,
    /// Length prefix: bytes at the front of the frame that the payload leaves out.
    pub strip: u32,
    /// Lines: a `DRYWIRE_LINES_*`.
    pub terminator: u32,
    /// Lines: see the terminator.
    pub delimiter: [u8; 8],
    /// Lines: how many bytes of `delimiter` are used, 1 to 8.
    pub delimiter_len: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_framer_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        kind: 0,
        max_payload: 0,
        flags: 0,
        oversize: DRYWIRE_OVERSIZE_FATAL,
        length_width: 4,
        length_offset: 0,
        counts: DRYWIRE_COUNTS_BODY,
        adjustment: 0,
        type_width: 0,
        extra: 0,
        strip: DRYWIRE_STRIP_HEADER,
        terminator: DRYWIRE_LINES_LF,
        delimiter: [0; 8],
        delimiter_len: 0,
        reserved: 0,
    };
}

/// One stream cut into frames by any framing.
pub(crate) trait Codec: Send {
    /// A stream of the same framing, at its start.
    fn fresh(&self) -> Result<Box<dyn Codec>>;
    fn step(&mut self, avail: &[u8]) -> Step;
    fn decode(&mut self, data: &[u8], events: &mut OutArray<drywire_event>) -> Decoded;
    fn finish(&self, rest: &[u8]) -> Eof;
    fn position(&self) -> u64;
    fn max_pending(&self) -> usize;
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize>;
    fn encode(&self, meta: Meta, payload: &[u8], out: &mut [u8]) -> Result<usize>;
    fn header(&self, meta: Meta, len: usize) -> Result<Header>;
}

/// How [`Codec::decode`] ended.
pub(crate) struct Decoded {
    pub(crate) consumed: usize,
    /// Bytes missing; 0 if the array was full.
    pub(crate) need: usize,
    pub(crate) error: Option<FrameError>,
}

/// The framing that `options` describe.
pub(crate) fn build(options: &drywire_framer_options) -> Result<Box<dyn Codec>> {
    let max = usize::try_from(options.max_payload).map_err(|_| DRYWIRE_ERR_RANGE)?;
    if max == 0 {
        return Err(DRYWIRE_ERR_RANGE);
    }
    match options.kind {
        DRYWIRE_FRAMING_LENGTH_PREFIX => {
            let framing = length_prefix(options, max)?;
            Stream::boxed(framing, Some(LengthPrefix::header))
        }
        DRYWIRE_FRAMING_LINES => Stream::boxed(lines(options, max)?, None),
        _ => {
            known_flags(options, 0)?;
            build_plain(options, max)
        }
    }
}

/// The framings that have no options of their own.
fn build_plain(options: &drywire_framer_options, max: usize) -> Result<Box<dyn Codec>> {
    let skips = |most: u32| {
        if options.oversize > most { Err(DRYWIRE_ERR_RANGE) } else { Ok(options.oversize) }
    };
    let fatal_only = skips(DRYWIRE_OVERSIZE_FATAL);
    match options.kind {
        DRYWIRE_FRAMING_FIXED => {
            fatal_only?;
            Stream::boxed(Fixed::new(max).map_err(refused)?, None)
        }
        DRYWIRE_FRAMING_TLV if max <= Tlv::MAX => {
            let damage = match options.oversize {
                DRYWIRE_OVERSIZE_FATAL => Damage::Fatal,
                DRYWIRE_OVERSIZE_SKIP => Damage::Skip,
                DRYWIRE_OVERSIZE_RESYNC => Damage::Resync,
                _ => return Err(DRYWIRE_ERR_RANGE),
            };
            Stream::boxed(Tlv::new(max).damage(damage), None)
        }
        DRYWIRE_FRAMING_TLV_COMPACT if max <= Compact::MAX => {
            fatal_only?;
            Stream::boxed(Compact::new(max), None)
        }
        DRYWIRE_FRAMING_RECORDS if (12..=Records::MAX).contains(&max) => {
            let skip = skips(DRYWIRE_OVERSIZE_SKIP)? == DRYWIRE_OVERSIZE_SKIP;
            Stream::boxed(Records::new().max(max).skip_bad(skip), None)
        }
        DRYWIRE_FRAMING_RESP_REQUESTS | DRYWIRE_FRAMING_RESP_REPLIES => {
            fatal_only?;
            let requests = options.kind == DRYWIRE_FRAMING_RESP_REQUESTS;
            let resp = if requests { Resp::requests() } else { Resp::replies() };
            ReadOnly::boxed(resp.max_frame(max).max_bulk(max))
        }
        DRYWIRE_FRAMING_HTTP_REQUESTS | DRYWIRE_FRAMING_HTTP_RESPONSES => {
            fatal_only?;
            let requests = options.kind == DRYWIRE_FRAMING_HTTP_REQUESTS;
            let http = if requests { Http::requests() } else { Http::responses() };
            ReadOnly::boxed(http.max_body(options.max_payload))
        }
        _ => Err(DRYWIRE_ERR_RANGE),
    }
}

fn length_prefix(o: &drywire_framer_options, max: usize) -> Result<LengthPrefix> {
    known_flags(o, DRYWIRE_FRAMING_LITTLE_ENDIAN | DRYWIRE_FRAMING_KEEP_HEADER)?;
    let width = match o.length_width {
        1 => Width::U8,
        2 => Width::U16,
        3 => Width::U24,
        4 => Width::U32,
        8 => Width::U64,
        DRYWIRE_WIDTH_VARINT32 => Width::Varint32,
        DRYWIRE_WIDTH_VARINT64 => Width::Varint64,
        _ => return Err(DRYWIRE_ERR_RANGE),
    };
    let counts = match o.counts {
        DRYWIRE_COUNTS_BODY => Counts::Body,
        DRYWIRE_COUNTS_AFTER_FIELD => Counts::AfterField,
        DRYWIRE_COUNTS_FIELD_AND_BODY => Counts::FieldAndBody,
        DRYWIRE_COUNTS_WHOLE_FRAME => Counts::WholeFrame,
        DRYWIRE_COUNTS_ADJUSTED => Counts::Adjusted(o.adjustment),
        _ => return Err(DRYWIRE_ERR_RANGE),
    };
    let oversize = match o.oversize {
        DRYWIRE_OVERSIZE_FATAL => length_prefix::Oversize::Fatal,
        DRYWIRE_OVERSIZE_SKIP => length_prefix::Oversize::Skip,
        _ => return Err(DRYWIRE_ERR_RANGE),
    };
    let type_width = u8::try_from(o.type_width).map_err(|_| DRYWIRE_ERR_RANGE)?;
    let mut builder = LengthPrefix::builder(width, max)
        .offset(o.length_offset)
        .counts(counts)
        .type_width(type_width)
        .extra(o.extra)
        .keep_header(o.flags & DRYWIRE_FRAMING_KEEP_HEADER != 0)
        .oversize(oversize);
    if o.flags & DRYWIRE_FRAMING_LITTLE_ENDIAN != 0 {
        builder = builder.little_endian();
    }
    if o.strip != DRYWIRE_STRIP_HEADER {
        builder = builder.strip(o.strip);
    }
    builder.build().map_err(refused)
}

fn lines(o: &drywire_framer_options, max: usize) -> Result<Lines> {
    known_flags(o, DRYWIRE_FRAMING_LONE_CR_ERROR | DRYWIRE_FRAMING_LONE_LF_ERROR)?;
    let delimiter = o.delimiter.get(..o.delimiter_len as usize).ok_or(DRYWIRE_ERR_RANGE)?;
    let lines = match o.terminator {
        DRYWIRE_LINES_LF => Lines::lf(max),
        DRYWIRE_LINES_CRLF => Lines::crlf(max),
        DRYWIRE_LINES_LF_OR_CRLF => Lines::lf_or_crlf(max),
        DRYWIRE_LINES_ANY_NEWLINE => Lines::any_newline(max),
        DRYWIRE_LINES_DELIMITER => Lines::delimiter(delimiter, max).map_err(refused)?,
        DRYWIRE_LINES_ANY_OF => Lines::any_of(delimiter, max).map_err(refused)?,
        _ => return Err(DRYWIRE_ERR_RANGE),
    };
    let oversize = match o.oversize {
        DRYWIRE_OVERSIZE_FATAL => line::Oversize::Fatal,
        DRYWIRE_OVERSIZE_SKIP => line::Oversize::Skip,
        DRYWIRE_OVERSIZE_TRUNCATE => line::Oversize::Truncate,
        _ => return Err(DRYWIRE_ERR_RANGE),
    };
    let lone = |flag| if o.flags & flag != 0 { Lone::Error } else { Lone::Data };
    Ok(lines
        .oversize(oversize)
        .lone_cr(lone(DRYWIRE_FRAMING_LONE_CR_ERROR))
        .lone_lf(lone(DRYWIRE_FRAMING_LONE_LF_ERROR)))
}

fn known_flags(o: &drywire_framer_options, known: u32) -> Result<()> {
    if o.flags & !known == 0 { Ok(()) } else { Err(DRYWIRE_ERR_RANGE) }
}

fn refused(_: ConfigError) -> drywire_status {
    DRYWIRE_ERR_RANGE
}

/// A framing and where it is in its stream.
struct Stream<F: Framing> {
    framing: F,
    state: F::State,
    header: Option<HeaderOf<F>>,
}

type HeaderOf<F> = fn(&F, Meta, usize) -> core::result::Result<Header, EncodeError>;

impl<F: Encode + Copy + Send + 'static> Stream<F>
where
    F::State: Send,
{
    fn boxed(framing: F, header: Option<HeaderOf<F>>) -> Result<Box<dyn Codec>> {
        Ok(try_box(Self { framing, state: F::State::default(), header })?)
    }
}

impl<F: Encode + Copy + Send + 'static> Codec for Stream<F>
where
    F::State: Send,
{
    fn fresh(&self) -> Result<Box<dyn Codec>> {
        Self::boxed(self.framing, self.header)
    }

    fn step(&mut self, avail: &[u8]) -> Step {
        self.framing.step(&mut self.state, avail)
    }

    fn decode(&mut self, data: &[u8], events: &mut OutArray<drywire_event>) -> Decoded {
        decode(&self.framing, &mut self.state, data, events)
    }

    fn finish(&self, rest: &[u8]) -> Eof {
        self.framing.finish(&self.state, rest)
    }

    fn position(&self) -> u64 {
        self.framing.position(&self.state)
    }

    fn max_pending(&self) -> usize {
        self.framing.max_pending()
    }

    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize> {
        self.framing.encoded_len(meta, payload).map_err(unwritable)
    }

    fn encode(&self, meta: Meta, payload: &[u8], out: &mut [u8]) -> Result<usize> {
        self.framing.encode_slice(meta, payload, out).map_err(unwritable)
    }

    fn header(&self, meta: Meta, len: usize) -> Result<Header> {
        let header = self.header.ok_or(DRYWIRE_ERR_UNSUPPORTED)?;
        header(&self.framing, meta, len).map_err(unwritable)
    }
}

/// A framing that can only be read.
struct ReadOnly<F: Framing> {
    framing: F,
    state: F::State,
}

impl<F: Framing + Copy + Send + 'static> ReadOnly<F>
where
    F::State: Send,
{
    fn boxed(framing: F) -> Result<Box<dyn Codec>> {
        Ok(try_box(Self { framing, state: F::State::default() })?)
    }
}

impl<F: Framing + Copy + Send + 'static> Codec for ReadOnly<F>
where
    F::State: Send,
{
    fn fresh(&self) -> Result<Box<dyn Codec>> {
        Self::boxed(self.framing)
    }

    fn step(&mut self, avail: &[u8]) -> Step {
        self.framing.step(&mut self.state, avail)
    }

    fn decode(&mut self, data: &[u8], events: &mut OutArray<drywire_event>) -> Decoded {
        decode(&self.framing, &mut self.state, data, events)
    }

    fn finish(&self, rest: &[u8]) -> Eof {
        self.framing.finish(&self.state, rest)
    }

    fn position(&self) -> u64 {
        self.framing.position(&self.state)
    }

    fn max_pending(&self) -> usize {
        self.framing.max_pending()
    }

    fn encoded_len(&self, _: Meta, _: &[u8]) -> Result<usize> {
        Err(DRYWIRE_ERR_UNSUPPORTED)
    }

    fn encode(&self, _: Meta, _: &[u8], _: &mut [u8]) -> Result<usize> {
        Err(DRYWIRE_ERR_UNSUPPORTED)
    }

    fn header(&self, _: Meta, _: usize) -> Result<Header> {
        Err(DRYWIRE_ERR_UNSUPPORTED)
    }
}

/// All frames at the front of `data`, as far as the array takes them.
fn decode<F: Framing>(
    framing: &F,
    state: &mut F::State,
    data: &[u8],
    events: &mut OutArray<drywire_event>,
) -> Decoded {
    let mut it = frames(framing, state, data);
    let mut error = None;
    while !events.is_full() {
        match it.next() {
            Some(Ok(frame)) => {
                let mut event =
                    drywire_event::new(DRYWIRE_EVENT_FRAME, u64::from(frame.meta.extra));
                event.flags = frame.meta.kind;
                event.num = frame.at;
                event.a = drywire_bytes::of(frame.payload);
                event.b = drywire_bytes::of(frame.bytes);
                events.push(event);
            }
            Some(Err(bad)) if bad.fatal => {
                error = Some(bad);
                break;
            }
            Some(Err(bad)) => events.push(bad_frame(&bad)),
            None => break,
        }
    }
    Decoded { consumed: it.consumed(), need: it.needed(), error }
}

fn bad_frame(error: &FrameError) -> drywire_event {
    let mut event = drywire_event::new(DRYWIRE_EVENT_FRAME_ERROR, error.declared);
    event.flags = u32::from(error.kind.code());
    event.num = error.at;
    event.aux = error.limit;
    event.a = drywire_bytes::of(error.kind.as_str().as_bytes());
    event
}

/// A frame error as callers see it.
pub(crate) fn error_info(error: &FrameError) -> drywire_error_info {
    drywire_error_info {
        status: frame_status(error) as i32,
        code: u32::from(error.kind.code()),
        offset: error.at,
        found: error.declared,
        limit: error.limit,
        text: drywire_bytes::of(error.kind.as_str().as_bytes()),
        ..drywire_error_info::none()
    }
}

pub(crate) fn frame_status(error: &FrameError) -> drywire_status {
    match error.kind {
        ErrorKind::TooLarge | ErrorKind::TooMany | ErrorKind::TooDeep => DRYWIRE_ERR_TOO_LONG,
        ErrorKind::Truncated => DRYWIRE_ERR_TRUNCATED,
        _ => DRYWIRE_ERR_PROTOCOL,
    }
}

fn unwritable(error: EncodeError) -> drywire_status {
    match error {
        EncodeError::NoRoom { .. } => DRYWIRE_ERR_BUFFER,
        _ => DRYWIRE_ERR_RANGE,
    }
}
