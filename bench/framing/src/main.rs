//! Framing beside tokio-util and beside the hand-written limit, in one run:
//! `cargo run --release -p drywire-bench-framing`. Explained in `docs/benchmarks.md`.
//!
//! Each number is the best of many rounds over a stream that fits the cache, in nanoseconds per
//! frame: what the code costs when the machine does nothing else. Compare within one run only.
//!
//! Options: `--only prefix|mixed|lines|tlv|chunks|encode` for one section, `--quick` for 3 rounds
//! instead of 301, `--count` for instructions instead of time (needs valgrind; frames of 16 and
//! 64 bytes), which are the same on a busy machine.

mod hand;
mod limit;
mod measure;
mod paths;

use measure::{Mode, Table, Verdicts};
use paths::CHUNK;

/// Sizes of payloads.
const SIZES: [usize; 4] = [16, 64, 1024, 65_536];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().position(|arg| arg == flag);
    let mode = match has("--walk") {
        Some(i) => {
            let number = |at: usize| args[at].parse().expect("a number");
            Mode::Walk { row: args[i + 1].clone(), size: number(i + 2), rounds: number(i + 3) }
        }
        None if has("--count").is_some() => Mode::Count,
        None => Mode::Time { rounds: if has("--quick").is_some() { 3 } else { 301 } },
    };
    let only = has("--only").map(|i| args[i + 1].as_str());
    let mut run = Run { mode, must: Verdicts::default() };
    let sections: [(&str, Section); 6] = [
        ("prefix", length_prefix),
        ("mixed", mixed),
        ("lines", lines),
        ("tlv", tlv),
        ("chunks", small_chunks),
        ("encode", encoding),
    ];
    for (name, section) in sections {
        if only.is_none_or(|only| only == name) {
            section(&mut run);
        }
    }
    if matches!(run.mode, Mode::Time { .. }) {
        run.must.print();
    }
}
type Section = fn(&mut Run);

struct Run {
    mode: Mode,
    must: Verdicts,
}

impl Run {
    fn table(&self, title: &str) -> Table {
        Table::new(&self.mode, title, &SIZES)
    }

    fn limit(&self) -> limit::Limit {
        if matches!(self.mode, Mode::Time { .. }) { limit::run() } else { limit::Limit::default() }
    }
}

fn length_prefix(run: &mut Run) {
    let mut table = run.table("Length prefix, u32 big-endian");
    let streams = SIZES.map(paths::length_prefixed);
    let in_place = table.row("hand, in place", &streams, hand::length_prefix);
    let carry = table.row("hand, 64 KiB chunks, carry", &streams, hand::length_prefix_carry);
    let frames = table.row("**drywire** iterator", &streams, paths::length_prefix_frames);
    let batch = table.row("**drywire** batch of 256", &streams, paths::length_prefix_batch);
    let joiner = table.row("**drywire** joiner", &streams, || paths::length_prefix_joiner(CHUNK));
    let bytes = table.row("**drywire** `Bytes`", &streams, paths::length_prefix_bytes);
    let tokio = table.row("tokio-util", &streams, || paths::length_prefix_tokio(CHUNK));
    let varints = SIZES.map(paths::varints);
    table.row("**drywire** varint, iterator", &varints, paths::varint_frames);
    table.print();
    let must = &mut run.must;
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

fn mixed(run: &mut Run) {
    let mut table = run.table("Length prefix, each frame of another size (mean above)");
    let streams = SIZES.map(paths::length_prefixed_mixed);
    table.row("hand, in place", &streams, hand::length_prefix);
    let carry = table.row("hand, 64 KiB chunks, carry", &streams, hand::length_prefix_carry);
    table.row("**drywire** iterator", &streams, paths::length_prefix_frames);
    table.row("**drywire** batch of 256", &streams, paths::length_prefix_batch);
    let joiner = table.row("**drywire** joiner", &streams, || paths::length_prefix_joiner(CHUNK));
    let tokio = table.row("tokio-util", &streams, || paths::length_prefix_tokio(CHUNK));
    table.print();
    run.must.goal("mixed sizes, 16 B: joiner against tokio-util", tokio[0] / joiner[0]);
    run.must.goal("mixed sizes, 16 B: joiner against the limit", joiner[0] / carry[0]);
}

fn lines(run: &mut Run) {
    let mut table = run.table("Lines, LF");
    let streams = SIZES.map(|size| paths::lines(size, b"\n"));
    table.given("C, AVX2 bit mask, in place", &run.limit().lines);
    table.row("hand, memchr per line", &streams, hand::lines);
    let frames = table.row("**drywire** iterator", &streams, paths::lines_frames);
    table.row("**drywire** batch of 256", &streams, paths::lines_batch);
    let joiner = table.row("**drywire** joiner", &streams, || paths::lines_joiner(CHUNK));
    let tokio = table.row("tokio-util LinesCodec", &streams, || paths::lines_tokio(CHUNK));
    let crlf = SIZES.map(|size| paths::lines(size, b"\r\n"));
    table.row("**drywire** iterator, LF or CRLF", &crlf, paths::lines_crlf);
    let any = table.row("**drywire** iterator, one of `,;LF CR`", &streams, paths::lines_any);
    let tokio_any = table.row("tokio-util AnyDelimiter `,;LF CR`", &streams, paths::any_tokio);
    table.print();
    let must = &mut run.must;
    must.at_least("lines 16 B: iterator against LinesCodec", tokio[0] / frames[0], 8.0);
    must.at_least("lines 64 B: iterator against LinesCodec", tokio[1] / frames[1], 8.0);
    must.at_least("lines 16 B: joiner against LinesCodec", tokio[0] / joiner[0], 8.0);
    must.at_least("lines 64 B: joiner against LinesCodec", tokio[1] / joiner[1], 8.0);
    must.goal("lines 1 KiB: iterator against LinesCodec (goal 5)", tokio[2] / frames[2]);
    must.goal("set of 4, 1 KiB: against AnyDelimiter (goal 19)", tokio_any[2] / any[2]);

    let mut table = run.table("Lines, LF, each line of another size (mean above)");
    let streams = SIZES.map(paths::lines_mixed);
    table.row("hand, memchr per line", &streams, hand::lines);
    let frames = table.row("**drywire** iterator", &streams, paths::lines_frames);
    let joiner = table.row("**drywire** joiner", &streams, || paths::lines_joiner(CHUNK));
    let tokio = table.row("tokio-util LinesCodec", &streams, || paths::lines_tokio(CHUNK));
    table.print();
    let must = &mut run.must;
    must.goal("lines of mixed sizes, 16 B: iterator against LinesCodec", tokio[0] / frames[0]);
    must.goal("lines of mixed sizes, 16 B: joiner against LinesCodec", tokio[0] / joiner[0]);
}

fn tlv(run: &mut Run) {
    let mut table = run.table("TLV, header and body checksum");
    let streams = SIZES.map(paths::tlv);
    let limit = run.limit();
    table.given("C, crc32q in the loop", &limit.tlv);
    let best = [
        table.row("hand, crc-fast", &streams, hand::tlv_crc_fast),
        table.row("hand, crc32c", &streams, hand::tlv_crc32c),
        table.row("hand, crc32fast (another polynomial)", &streams, hand::tlv_crc32fast),
    ];
    let frames = table.row("**drywire** iterator", &streams, paths::tlv_frames);
    table.row("**drywire** joiner", &streams, paths::tlv_joiner);
    table.print();
    let best = |i: usize| best.iter().map(|row| row[i]).fold(f64::MAX, f64::min);
    let must = &mut run.must;
    if let Some(c) = limit.tlv.first() {
        must.at_most("TLV 16 B: against the limit in C", frames[0] / c, 1.5);
    }
    must.at_least("TLV 64 KiB: speed against the best crate", best(3) / frames[3], 0.85);
    must.goal("TLV 16 B: best crate against it (goal 2.4)", best(0) / frames[0]);
}

fn small_chunks(run: &mut Run) {
    for chunk in [7, 1] {
        let title = format!("Fed {chunk} byte{} at a time", if chunk == 1 { "" } else { "s" });
        let mut table = Table::per_byte(&run.mode.at_most(15), &title, &SIZES);
        let streams = SIZES.map(paths::length_prefixed);
        let ours = || paths::length_prefix_joiner(chunk);
        let prefix = table.row("**drywire** length prefix", &streams, ours);
        let theirs = || paths::length_prefix_tokio(chunk);
        table.row("tokio-util length prefix", &streams, theirs);
        let streams = SIZES.map(|size| paths::lines(size, b"\n"));
        let line = table.row("**drywire** lines", &streams, || paths::lines_joiner(chunk));
        let theirs = || paths::lines_tokio(chunk);
        table.row("tokio-util LinesCodec", &streams, theirs);
        table.print();
        // Linear: a byte of a 64 KiB frame costs no more than a byte of a 1 KiB frame.
        let name = |what| format!("{what}, {chunk}-byte feeding: 64 KiB against 1 KiB frames");
        run.must.at_most(&name("length prefix"), prefix[3] / prefix[2], 1.5);
        run.must.at_most(&name("lines"), line[3] / line[2], 1.5);
    }
}

fn encoding(run: &mut Run) {
    let mut table = run.table("Encoding, length prefix");
    let payloads = SIZES.map(paths::payloads);
    table.row("**drywire** into a slice", &payloads, paths::encode_slice);
    table.row("**drywire** header only", &payloads, paths::encode_header);
    table.row("tokio-util", &payloads, paths::encode_tokio);
    table.print();
}
