//! Timing and counting, and the tables.

use std::hint::black_box;
use std::process::{Command, exit};
use std::time::Instant;

/// What is done with a path.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// The best of so many rounds counts.
    Time { rounds: usize },
    /// Instructions of this program under valgrind: two runs of different lengths, so that what is
    /// not the path cancels out.
    Count,
    /// What such a run does: walks one path so many times and ends the program.
    Walk { rounds: usize, size: usize, row: String },
}

impl Mode {
    /// No more than so many rounds.
    pub(crate) fn at_most(&self, most: usize) -> Self {
        match self {
            Self::Time { rounds } => Self::Time { rounds: most.min(*rounds) },
            _ => self.clone(),
        }
    }
}

/// What is counted: larger frames differ little.
const COUNTED: usize = 64;

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

/// One table, a column for each size.
pub(crate) struct Table {
    title: String,
    mode: Mode,
    sizes: Vec<usize>,
    per_byte: bool,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(mode: &Mode, title: &str, sizes: &[usize]) -> Self {
        let (title, mode) = (title.to_owned(), mode.clone());
        Self { title, mode, sizes: sizes.to_vec(), per_byte: false, rows: Vec::new() }
    }

    pub(crate) fn per_byte(mode: &Mode, title: &str, sizes: &[usize]) -> Self {
        Self { per_byte: true, ..Self::new(mode, title, sizes) }
    }

    /// Measures a path on each stream; returns the numbers. `path` makes it: what a
    /// connection keeps (buffers, codecs) is made once and used in all rounds.
    pub(crate) fn row<P: FnMut(&Stream) -> Sum>(
        &mut self,
        name: &str,
        streams: &[Stream],
        path: impl Fn() -> P,
    ) -> Vec<f64> {
        let each = streams.iter().zip(&self.sizes);
        let numbers: Vec<f64> = each
            .map(|(stream, &size)| match &self.mode {
                Mode::Time { rounds } => best(*rounds, stream, path()) / self.units(stream),
                Mode::Count if size > COUNTED => f64::NAN,
                Mode::Count => self.counted(name, size) / self.units(stream),
                Mode::Walk { rounds, size: only, row } => {
                    if *only == size && *row == self.id(name) {
                        let mut path = path();
                        for _ in 0..*rounds {
                            black_box(path(black_box(stream)));
                        }
                        exit(0);
                    }
                    f64::NAN
                }
            })
            .collect();
        self.rows.push((name.to_owned(), numbers.clone()));
        numbers
    }

    fn units(&self, stream: &Stream) -> f64 {
        (if self.per_byte { stream.bytes.len() } else { stream.frames }) as f64
    }

    fn id(&self, name: &str) -> String {
        format!("{}: {name}", self.title)
    }

    /// Instructions of one round.
    fn counted(&self, name: &str, size: usize) -> f64 {
        let program = std::env::current_exe().expect("this program");
        let [few, many] = [2, 10].map(|rounds: usize| {
            let output = Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg(&program)
                .args(["--walk", &self.id(name), &size.to_string(), &rounds.to_string()])
                .output()
                .expect("valgrind");
            let text = String::from_utf8_lossy(&output.stderr);
            let count = text.lines().find_map(|line| line.split_once("Collected : "));
            count.and_then(|(_, n)| n.parse().ok()).unwrap_or(f64::NAN)
        });
        (many - few) / 8.0
    }

    /// A row that was measured elsewhere in this run.
    pub(crate) fn given(&mut self, name: &str, nanos: &[f64]) {
        self.rows.push((name.to_owned(), nanos.to_vec()));
    }

    pub(crate) fn print(&self) {
        let timed = matches!(self.mode, Mode::Time { .. });
        let unit = if self.per_byte { "byte" } else { "frame" };
        let what = if timed { "ns" } else { "instructions" };
        let rate = if timed && !self.per_byte { " (GB/s)" } else { "" };
        println!("\n### {}, {what} per {unit}{rate}\n", self.title);
        let columns: Vec<String> = self.sizes.iter().map(|&size| human(size)).collect();
        println!("| | {} |", columns.join(" | "));
        println!("|---|{}", "---:|".repeat(columns.len()));
        for (name, nanos) in &self.rows {
            let cell = |(i, n): (usize, &f64)| {
                if n.is_nan() {
                    String::new()
                } else if self.per_byte || !timed {
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

fn best(rounds: usize, stream: &Stream, mut path: impl FnMut(&Stream) -> Sum) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        let sum = path(black_box(stream));
        let nanos = start.elapsed().as_nanos() as f64;
        assert_eq!(black_box(sum).frames, stream.frames, "every frame is read");
        best = best.min(nanos);
    }
    best
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
