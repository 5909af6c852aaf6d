//! Framing beside tokio-util and beside the hand-written limit, in one run:
//! `cargo run --release -p drywire-bench-framing`. Explained in `docs/benchmarks.md`.
//!
//! Each number is the best of many rounds over a stream that fits the cache, in nanoseconds per
//! frame: what the code costs when the machine does nothing else. Compare within one run only.

mod hand;
mod limit;
mod measure;
mod paths;

use measure::{Table, Verdicts};
use paths::CHUNK;

/// Sizes of payloads.
const SIZES: [usize; 4] = [16, 64, 1024, 65_536];

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 3 } else { 301 };
    let limit = limit::run();
    let mut must = Verdicts::default();
    length_prefix(rounds, &mut must);
    lines(rounds, &limit, &mut must);
    tlv(rounds, &limit, &mut must);
    small_chunks(rounds, &mut must);
    encoding(rounds);
    must.print();
}

fn length_prefix(rounds: usize, must: &mut Verdicts) {
    let mut table = Table::new("Length prefix, u32 big-endian", &SIZES);
    let streams = SIZES.map(paths::length_prefixed);
    let in_place = table.row("hand, in place", rounds, &streams, hand::length_prefix);
    let carry =
        table.row("hand, 64 KiB chunks, carry", rounds, &streams, hand::length_prefix_carry);
    let frames = table.row("**drywire** iterator", rounds, &streams, paths::length_prefix_frames);
    let batch = table.row("**drywire** batch of 256", rounds, &streams, paths::length_prefix_batch);
    let joiner =
        table.row("**drywire** joiner", rounds, &streams, || paths::length_prefix_joiner(CHUNK));
    let bytes = table.row("**drywire** `Bytes`", rounds, &streams, paths::length_prefix_bytes);
    let tokio = table.row("tokio-util", rounds, &streams, || paths::length_prefix_tokio(CHUNK));
    table.row(
        "**drywire** varint, iterator",
        rounds,
        &SIZES.map(paths::varints),
        paths::varint_frames,
    );
    table.print();
    must.at_least("length prefix 16 B: iterator against tokio-util", tokio[0] / frames[0], 10.0);
    must.at_least("length prefix 64 B: iterator against tokio-util", tokio[1] / frames[1], 6.0);
    must.at_least("length prefix 16 B: joiner against tokio-util", tokio[0] / joiner[0], 10.0);
    must.at_least("length prefix 64 B: joiner against tokio-util", tokio[1] / joiner[1], 6.0);
    for (i, size) in SIZES.iter().enumerate() {
        let name = format!("joiner, {size} B: against the limit");
        must.at_most(&name, joiner[i] / carry[i], 1.5);
    }
    must.goal("iterator, 16 B: against the limit (goal 1.25)", frames[0] / in_place[0]);
    must.goal("batch, 16 B: against the limit", batch[0] / in_place[0]);
    must.goal("`Bytes`, 16 B: tokio-util against it (goal 1.8)", tokio[0] / bytes[0]);
}

fn lines(rounds: usize, limit: &limit::Limit, must: &mut Verdicts) {
    let mut table = Table::new("Lines, LF", &SIZES);
    let streams = SIZES.map(|size| paths::lines(size, b"\n"));
    table.given("C, AVX2 bit mask, in place", &limit.lines);
    table.row("hand, memchr per line", rounds, &streams, hand::lines);
    let frames = table.row("**drywire** iterator", rounds, &streams, paths::lines_frames);
    let joiner = table.row("**drywire** joiner", rounds, &streams, || paths::lines_joiner(CHUNK));
    let tokio = table.row("tokio-util LinesCodec", rounds, &streams, || paths::lines_tokio(CHUNK));
    let crlf = SIZES.map(|size| paths::lines(size, b"\r\n"));
    table.row("**drywire** iterator, LF or CRLF", rounds, &crlf, paths::lines_crlf);
    let any =
        table.row("**drywire** iterator, one of `,;LF CR`", rounds, &streams, paths::lines_any);
    let tokio_any =
        table.row("tokio-util AnyDelimiter `,;LF CR`", rounds, &streams, paths::any_tokio);
    table.print();
    must.at_least("lines 16 B: iterator against LinesCodec", tokio[0] / frames[0], 8.0);
    must.at_least("lines 64 B: iterator against LinesCodec", tokio[1] / frames[1], 8.0);
    must.at_least("lines 16 B: joiner against LinesCodec", tokio[0] / joiner[0], 8.0);
    must.at_least("lines 64 B: joiner against LinesCodec", tokio[1] / joiner[1], 8.0);
    must.goal("lines 1 KiB: iterator against LinesCodec (goal 5)", tokio[2] / frames[2]);
    must.goal("set of 4, 1 KiB: against AnyDelimiter (goal 19)", tokio_any[2] / any[2]);
}

fn tlv(rounds: usize, limit: &limit::Limit, must: &mut Verdicts) {
    let mut table = Table::new("TLV, header and body checksum", &SIZES);
    let streams = SIZES.map(paths::tlv);
    table.given("C, crc32q in the loop", &limit.tlv);
    let best = [
        table.row("hand, crc-fast", rounds, &streams, hand::tlv_crc_fast),
        table.row("hand, crc32c", rounds, &streams, hand::tlv_crc32c),
        table.row("hand, crc32fast (another polynomial)", rounds, &streams, hand::tlv_crc32fast),
    ];
    let frames = table.row("**drywire** iterator", rounds, &streams, paths::tlv_frames);
    table.row("**drywire** joiner", rounds, &streams, paths::tlv_joiner);
    table.print();
    let best = |i: usize| best.iter().map(|row| row[i]).fold(f64::MAX, f64::min);
    if let Some(c) = limit.tlv.first() {
        must.at_most("TLV 16 B: against the limit in C", frames[0] / c, 1.5);
    }
    must.at_least("TLV 64 KiB: speed against the best crate", best(3) / frames[3], 0.85);
    must.goal("TLV 16 B: best crate against it (goal 2.4)", best(0) / frames[0]);
}

fn small_chunks(rounds: usize, must: &mut Verdicts) {
    for chunk in [7, 1] {
        let title =
            format!("Fed {chunk} byte{} at a time, ns per byte", if chunk == 1 { "" } else { "s" });
        let mut table = Table::per_byte(&title, &SIZES);
        let rounds = rounds.min(15);
        let streams = SIZES.map(paths::length_prefixed);
        let ours = || paths::length_prefix_joiner(chunk);
        let prefix = table.row("**drywire** length prefix", rounds, &streams, ours);
        let theirs = || paths::length_prefix_tokio(chunk);
        table.row("tokio-util length prefix", rounds, &streams, theirs);
        let streams = SIZES.map(|size| paths::lines(size, b"\n"));
        let line = table.row("**drywire** lines", rounds, &streams, || paths::lines_joiner(chunk));
        let theirs = || paths::lines_tokio(chunk);
        table.row("tokio-util LinesCodec", rounds, &streams, theirs);
        table.print();
        // Linear: a byte of a 64 KiB frame costs no more than a byte of a 1 KiB frame.
        let name = |what| format!("{what}, {chunk}-byte feeding: 64 KiB against 1 KiB frames");
        must.at_most(&name("length prefix"), prefix[3] / prefix[2], 1.5);
        must.at_most(&name("lines"), line[3] / line[2], 1.5);
    }
}

fn encoding(rounds: usize) {
    let mut table = Table::new("Encoding, length prefix", &SIZES);
    let payloads = SIZES.map(paths::payloads);
    table.row("**drywire** into a slice", rounds, &payloads, paths::encode_slice);
    table.row("**drywire** header only", rounds, &payloads, paths::encode_header);
    table.row("tokio-util", rounds, &payloads, paths::encode_tokio);
    table.print();
}
