//! The fuzz targets of framing. Input: one byte of fragment size (0 is everything at once), six
//! bytes that choose a codec and its settings, then the stream.
#![allow(dead_code, unreachable_pub, reason = "each user takes a part of it")]

use std::fmt::Debug;

use drywire::frame::fixed::Fixed;
use drywire::frame::http::{Http, Part, Piece};
use drywire::frame::length_prefix::{self, Counts, LengthPrefix, Width};
use drywire::frame::line::{self, Lines, Lone};
use drywire::frame::record::Records;
use drywire::frame::resp::Resp;
use drywire::frame::tlv::fields::{Fields, Limits, Rule};
use drywire::frame::tlv::{Compact, Damage, Tlv};
use drywire::frame::{Encode, Framing, Meta};

use super::harness::{Event, batched, compare, stepped};

/// The longest stream: enough for every state, short enough for many runs.
const LONGEST: usize = 2048;

/// Something to do with the codec that was chosen.
trait Visit {
    fn visit<F: Framing + Clone + Debug>(&mut self, framing: &F);
}

/// The same, with codecs that can encode.
trait VisitEncoder {
    fn visit<F: Encode + Clone + Debug>(&mut self, framing: &F);
}

fn choose(config: &[u8; 6], visitor: &mut impl Visit) {
    struct Both<'a, V>(&'a mut V);
    impl<V: Visit> VisitEncoder for Both<'_, V> {
        fn visit<F: Encode + Clone + Debug>(&mut self, framing: &F) {
            self.0.visit(framing);
        }
    }
    let [which, a, b, ..] = *config;
    match which % 8 {
        6 => {
            let side = if a & 1 == 0 { Resp::requests() } else { Resp::replies() };
            let size = usize::from(b) + 1;
            visitor.visit(&side.max_frame(8 * size).max_line(size).max_count(size).max_bulk(size));
        }
        7 => {
            let side = if a & 1 == 0 { Http::requests() } else { Http::responses() };
            let size = usize::from(b) + 20;
            let lenient = side.leading_empty_line(a & 2 != 0).repeated_content_length(a & 4 != 0);
            visitor.visit(&lenient.max_head(4 * size).max_body(size as u64).max_fields(9));
        }
        _ => choose_encoder(config, &mut Both(visitor)),
    }
}

fn choose_encoder(config: &[u8; 6], visitor: &mut impl VisitEncoder) {
    let [which, a, b, c, d, e] = *config;
    let max = usize::from(e);
    match which % 8 {
        0 => {
            if let Ok(fixed) = Fixed::new(usize::from(a) % 40 + 1) {
                visitor.visit(&fixed);
            }
        }
        1 => {
            let widths = [
                Width::U8,
                Width::U16,
                Width::U24,
                Width::U32,
                Width::U64,
                Width::Varint32,
                Width::Varint64,
            ];
            let counts = match b % 5 {
                0 => Counts::Body,
                1 => Counts::AfterField,
                2 => Counts::FieldAndBody,
                3 => Counts::WholeFrame,
                _ => Counts::Adjusted(i32::from(b as i8)),
            };
            let skip = c & 2 != 0;
            use length_prefix::Oversize::{Fatal, Skip};
            let mut builder = LengthPrefix::builder(widths[usize::from(a) % 7], max)
                .counts(counts)
                .offset(u32::from(c >> 4) % 5)
                .type_width([0, 1, 2, 4][usize::from(d) % 4])
                .extra(u32::from(d >> 4) % 3)
                .oversize(if skip { Skip } else { Fatal });
            if c & 1 != 0 {
                builder = builder.little_endian();
            }
            if let Ok(codec) = builder.build() {
                visitor.visit(&codec);
            }
        }
        2 => {
            let delimiter = [b, c, d];
            let lines = match a % 6 {
                0 => Ok(Lines::lf(max)),
                1 => Ok(Lines::crlf(max)),
                2 => Ok(Lines::lf_or_crlf(max)),
                3 => Ok(Lines::any_newline(max)),
                4 => Lines::delimiter(&delimiter[..usize::from(a >> 5) % 3 + 1], max),
                _ => Lines::any_of(&delimiter, max),
            };
            use line::Oversize::{Fatal, Skip, Truncate};
            let oversize = [Fatal, Skip, Truncate][usize::from(a >> 3) % 3];
            let lone = |bit: u8| if b & bit != 0 { Lone::Error } else { Lone::Data };
            let lines = lines.expect("one to three bytes").oversize(oversize);
            visitor.visit(&lines.lone_cr(lone(1)).lone_lf(lone(2)));
        }
        3 => {
            let damage = [Damage::Fatal, Damage::Skip, Damage::Resync][usize::from(a) % 3];
            visitor.visit(&Tlv::new(max).damage(damage));
        }
        4 => visitor.visit(&Compact::new(max)),
        5 => {
            let records = Records::new().max(max).skip_bad(a & 1 != 0);
            visitor.visit(&if a & 2 == 0 { records } else { records.version(b.into()) });
        }
        _ => {}
    }
}

/// Pieces of one HTTP body are one event.
fn joins(first: Meta, second: Meta) -> bool {
    let pair = (Part::of(first), Part::of(second));
    matches!(pair, (Some(Part::Body(Piece::More)), Some(Part::Body(_))))
}

/// Fragment size, codec, stream.
fn split(data: &[u8]) -> Option<(usize, &[u8; 6], &[u8])> {
    let (&fragment, rest) = data.split_first()?;
    let (config, stream) = rest.split_first_chunk()?;
    (stream.len() <= LONGEST).then_some((fragment.into(), config, stream))
}

fn cuts(stream: &[u8], fragment: usize) -> Vec<usize> {
    (1..stream.len()).filter(|i| fragment > 0 && i % fragment == 0).collect()
}

/// Every way of cutting and walking a stream tells the same, and each step keeps its contract.
pub fn step_any(data: &[u8]) {
    struct Run<'a>(usize, &'a [u8], bool);
    impl Visit for Run<'_> {
        fn visit<F: Framing + Clone + Debug>(&mut self, framing: &F) {
            let Self(fragment, stream, http) = *self;
            let joins = if http { joins } else { |_, _| false };
            compare(framing, stream, &cuts(stream, fragment), joins);
        }
    }
    if let Some((fragment, config, stream)) = split(data) {
        choose(config, &mut Run(fragment, stream, config[0] % 8 == 7));
    }
}

/// What is encoded is decoded; what is decoded is encoded to the same bytes; and both sides
/// refuse the same.
pub fn encode_decode(data: &[u8]) {
    struct Run<'a>(&'a [u8], Meta, bool);
    impl VisitEncoder for Run<'_> {
        fn visit<F: Encode + Clone + Debug>(&mut self, framing: &F) {
            let Self(payload, meta, canonical) = *self;
            let mut wire = Vec::new();
            if framing.encode(meta, payload, &mut wire).is_ok() {
                let told = stepped(framing, &wire, &[]);
                let [Event::Frame { bytes, payload: read, .. }, ..] = &told.events[..] else {
                    panic!("{framing:?} encoded {payload:x?} as {wire:x?} and read {told:?}")
                };
                assert_eq!(read, payload);
                // A lone CR ends a line at once; the LF that is written with it is skipped.
                assert!(*bytes == wire || bytes.len() + 1 == wire.len());
            } else {
                assert!(wire.is_empty());
            }
            if !canonical {
                return;
            }
            for event in stepped(framing, payload, &[]).events {
                let Event::Frame { bytes, payload, meta, .. } = event else { continue };
                let mut again = Vec::new();
                framing.encode(meta, &payload, &mut again).expect("what was read can be written");
                assert_eq!(again, bytes, "{framing:?}");
            }
        }
    }
    if let Some((kind, config, payload)) = split(data) {
        // Opaque header bytes, cut lines and lone CRs are not in the meta.
        let canonical = match config[0] % 8 {
            1 => config[3] >> 4 == 0 && config[4] >> 4 == 0,
            2 => false,
            _ => true,
        };
        let meta = if kind & 1 == 0 { Meta::default() } else { Meta::kind(kind as u32) };
        choose_encoder(config, &mut Run(payload, meta, canonical));
    }
}

/// Damaged TLV streams: what is delivered is valid to the byte; and nested fields.
pub fn resync(data: &[u8]) {
    let Some((fragment, config, stream)) = split(data) else { return };
    let codec = Tlv::new(config[0].into()).damage(Damage::Resync);
    // The second byte plants real headers, which no fuzzer would guess.
    let mut wire = Vec::new();
    for (i, part) in stream.chunks(usize::from(config[1]) + 1).enumerate() {
        if config[2] >> (i % 8) & 1 == 1 {
            codec.encode(Meta::default(), part, &mut wire).unwrap_or_default();
        } else {
            wire.extend_from_slice(part);
        }
    }
    compare(&codec, &wire, &cuts(&wire, fragment), |_, _| false);
    for event in stepped(&codec, &wire, &[]).events {
        let Event::Frame { bytes, payload, meta, .. } = event else { continue };
        let mut again = Vec::new();
        codec.encode(meta, &payload, &mut again).expect("what was read can be written");
        assert_eq!(again, bytes);
        let rule = |_, kind: u32| if kind & 1 == 0 { Rule::NestedMany } else { Rule::Many };
        let fields = Fields::new(&payload, Limits::default(), rule).count();
        assert!(fields <= payload.len() / 2 + 1);
    }
}

/// Batches of any size tell what single steps tell.
pub fn batches(data: &[u8]) {
    struct Run<'a>(usize, &'a [u8]);
    impl Visit for Run<'_> {
        fn visit<F: Framing + Clone + Debug>(&mut self, framing: &F) {
            let told = batched(framing, self.1, self.0 % 9 + 1);
            assert_eq!(told, stepped(framing, self.1, &[]).events);
        }
    }
    if let Some((size, config, stream)) = split(data) {
        choose(config, &mut Run(size, stream));
    }
}

/// At every prefix the verdict on the end of input is the same, whole or byte by byte.
pub fn eof(data: &[u8]) {
    struct Run<'a>(&'a [u8]);
    impl Visit for Run<'_> {
        fn visit<F: Framing + Clone + Debug>(&mut self, framing: &F) {
            for end in 0..=self.0.len() {
                let prefix = &self.0[..end];
                let whole = stepped(framing, prefix, &[]).eof;
                assert_eq!(whole, stepped(framing, prefix, &cuts(prefix, 1)).eof);
                if let drywire::frame::Eof::Partial { have, need } = whole {
                    assert!(have < need && have <= end as u64, "{have} of {need}");
                }
            }
        }
    }
    if let Some((_, config, stream)) = split(data) {
        choose(config, &mut Run(&stream[..stream.len().min(80)]));
    }
}
