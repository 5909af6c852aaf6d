//! Timing, and the tables.

use std::hint::black_box;
use std::time::Instant;

/// A stream of frames of one size.
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// Frames in it.
    pub(crate) frames: usize,
}

/// What a path through a stream adds up, so that no work can be left out: frames and bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Sum {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

impl Sum {
    /// Counts a payload and touches its first byte.
    #[inline(always)]
    pub(crate) fn add(&mut self, payload: &[u8]) {
        self.frames += 1;
        self.bytes += payload.len() + usize::from(payload.first().copied().unwrap_or(0) & 1);
    }
}

/// One table of nanoseconds, a column for each size.
pub(crate) struct Table {
    title: String,
    sizes: Vec<usize>,
    per_byte: bool,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(title: &str, sizes: &[usize]) -> Self {
        let title = format!("{title}, ns per frame (GB/s)");
        Self { title, sizes: sizes.to_vec(), per_byte: false, rows: Vec::new() }
    }

    pub(crate) fn per_byte(title: &str, sizes: &[usize]) -> Self {
        let title = title.to_owned();
        Self { title, sizes: sizes.to_vec(), per_byte: true, rows: Vec::new() }
    }

    /// Measures a path on each stream; returns the nanoseconds. `path` makes it: what a
    /// connection keeps (buffers, codecs) is made once and used in all rounds.
    pub(crate) fn row<P: FnMut(&Stream) -> Sum>(
        &mut self,
        name: &str,
        rounds: usize,
        streams: &[Stream],
        path: impl Fn() -> P,
    ) -> Vec<f64> {
        let nanos: Vec<f64> =
            streams.iter().map(|stream| self.best(rounds, stream, path())).collect();
        self.rows.push((name.to_owned(), nanos.clone()));
        nanos
    }

    /// A row that was measured elsewhere in this run.
    pub(crate) fn given(&mut self, name: &str, nanos: &[f64]) {
        self.rows.push((name.to_owned(), nanos.to_vec()));
    }

    fn best(&self, rounds: usize, stream: &Stream, mut path: impl FnMut(&Stream) -> Sum) -> f64 {
        let mut best = f64::MAX;
        for _ in 0..rounds {
            let start = Instant::now();
            let sum = path(black_box(stream));
            let nanos = start.elapsed().as_nanos() as f64;
            assert_eq!(black_box(sum).frames, stream.frames, "every frame is read");
            best = best.min(nanos);
        }
        best / (if self.per_byte { stream.bytes.len() } else { stream.frames }) as f64
    }

    pub(crate) fn print(&self) {
        println!("\n### {}\n", self.title);
        let columns: Vec<String> = self.sizes.iter().map(|&size| human(size)).collect();
        println!("| | {} |", columns.join(" | "));
        println!("|---|{}", "---:|".repeat(columns.len()));
        for (name, nanos) in &self.rows {
            let cell = |(i, n): (usize, &f64)| {
                if self.per_byte {
                    format!("{n:.1}")
                } else {
                    format!("{n:.1} ({:.1})", self.sizes[i] as f64 / n)
                }
            };
            let cells: Vec<String> = nanos.iter().enumerate().map(cell).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
    }
}

fn human(size: usize) -> String {
    if size >= 1024 { format!("{} KiB", size / 1024) } else { format!("{size} B") }
}

/// The floors, and what was reached.
#[derive(Default)]
pub(crate) struct Verdicts {
    lines: Vec<String>,
}

impl Verdicts {
    pub(crate) fn at_least(&mut self, what: &str, ratio: f64, floor: f64) {
        let verdict = if ratio >= floor { "yes" } else { "**no**" };
        self.lines.push(format!("| {what} | {ratio:.2} | at least {floor} | {verdict} |"));
    }

    pub(crate) fn at_most(&mut self, what: &str, ratio: f64, ceiling: f64) {
        let verdict = if ratio <= ceiling { "yes" } else { "**no**" };
        self.lines.push(format!("| {what} | {ratio:.2} | at most {ceiling} | {verdict} |"));
    }

    /// A ratio that is only a goal.
    pub(crate) fn goal(&mut self, what: &str, ratio: f64) {
        self.lines.push(format!("| {what} | {ratio:.2} | | |"));
    }

    pub(crate) fn print(&self) {
        println!("\n### Floors\n\n| ratio | reached | floor | met |\n|---|---:|---|---|");
        for line in &self.lines {
            println!("{line}");
        }
    }
}
