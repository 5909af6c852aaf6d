//! `drywire sim run`: a campaign with a progress bar and a matrix.

use super::tally::{self, Tally};
use super::{chosen, save, say, summary};
use crate::units;
use crate::{Failure as Failed, Verdict};
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use drywire_sim::{Campaign, Effort, Experiment, Failure, Summary, items, replay, shrink};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which trials; `all`, or none named, is all of them
    trials: Vec<String>,
    /// How many seeds of each trial
    #[arg(long, default_value = "10k", value_parser = units::count)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value = "0", value_parser = units::count)]
    from: u64,
    /// Threads; one for each core if not given
    #[arg(short, long)]
    jobs: Option<usize>,
    /// Stop after so many failures of a trial
    #[arg(long, default_value_t = 3)]
    failures: usize,
    /// Where replay files of failures are written
    #[arg(long, default_value = "failures", value_name = "DIR")]
    into: PathBuf,
    /// Keep the sums in this file and run only seeds that are not in it yet: a long run can be
    /// interrupted and taken up again, or be run in parts
    #[arg(long, value_name = "FILE")]
    tally: Option<PathBuf>,
    /// Write a page with the results, the matrices, the command and the commit here, for people
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the report as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    trial: String,
    seeds: u64,
    events: u64,
    operations: u64,
    simulated_seconds: f64,
    wall_seconds: f64,
    undecided: u64,
    digest: String,
    /// Cells of the matrix, `fault in phase`, that so many seeds had to hit.
    missing: Vec<String>,
    failures: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    seed: Option<u64>,
    checker: String,
    text: String,
    items: usize,
    file: String,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failed> {
    if args.seeds == 0 || args.from.checked_add(args.seeds).is_none() {
        return Err(Failed::usage(format!(
            "--from {} --seeds {}: at least one seed, and none above {}",
            args.from,
            args.seeds,
            u64::MAX - 1
        )));
    }
    let mut verdict = Verdict::Good;
    let mut reports = Vec::new();
    let mut summaries = Vec::new();
    let mut tally = args.tally.as_deref().map(Tally::open).transpose()?;
    let stop = on_interrupt()?;
    for trial in chosen(&args.trials)? {
        if stop.load(Relaxed) {
            break;
        }
        let summary = campaign(args, &*trial, tally.as_mut(), &stop)?;
        let mut found = Vec::new();
        for failure in &summary.failures {
            found.push(keep(args, &*trial, failure)?);
        }
        if !summary.is_good() {
            verdict = Verdict::Failed;
        }
        if !args.json {
            say(format_args!("{}", story(trial.name(), &summary, &found).trim_end()));
            say(format_args!(""));
        }
        reports.push(Report {
            trial: trial.name().to_owned(),
            seeds: summary.seeds,
            events: summary.events,
            operations: summary.ops,
            simulated_seconds: summary.time.as_secs_f64(),
            wall_seconds: summary.wall.as_secs_f64(),
            undecided: summary.undecided,
            digest: format!("{:016x}", summary.digest),
            missing: never_hit(&summary),
            failures: found,
        });
        if let Some(path) = &args.markdown {
            // After each trial: what is interrupted leaves what it had.
            summaries.push((trial.name().to_owned(), summary));
            let command: Vec<String> = std::env::args().skip(1).collect();
            let command = format!("drywire {}", command.join(" "));
            save(path, summary::markdown(&command, &summaries).as_bytes())?;
        }
    }
    if args.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|e| Failed::system(format!("no JSON: {e}")))?;
        say(format_args!("{json}"));
    }
    if stop.load(Relaxed) {
        let again = match &args.tally {
            Some(_) => "the same command goes on",
            None => "with --tally FILE, the same command would go on",
        };
        let _ = writeln!(std::io::stderr(), "interrupted: {again}");
        verdict = Verdict::Failed;
    }
    Ok(verdict)
}

/// The first Ctrl-C asks for the summary so far; one more ends at once.
fn on_interrupt() -> Result<Arc<AtomicBool>, Failed> {
    let stop = Arc::new(AtomicBool::new(false));
    // In this order: the first signal must not find the flag set by itself.
    let handlers = flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&stop))
        .and_then(|_| flag::register(SIGINT, Arc::clone(&stop)));
    handlers.map_err(|e| Failed::system(format!("no handler for Ctrl-C: {e}")))?;
    Ok(stop)
}

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

fn campaign(
    args: &Args,
    trial: &dyn Experiment,
    mut tally: Option<&mut Tally>,
    stop: &AtomicBool,
) -> Result<Summary, Failed> {
    let cores = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    let all = args.from..args.from + args.seeds;
    let (mut total, parts) = match &mut tally {
        Some(tally) => tally.of(trial, all)?,
        None => (Summary::default(), Vec::from_iter([all])),
    };
    let part_of = if tally.is_some() { tally::PART } else { u64::MAX };
    let progress = Progress::new(args, trial.name(), parts.iter().map(|p| p.end - p.start).sum());
    let tell = |n| progress.inc(n);
    for mut left in parts {
        while !left.is_empty() && !stop.load(Relaxed) && total.failures.len() < args.failures.max(1)
        {
            let part = left.start..left.end.min(left.start.saturating_add(part_of));
            let summary = Campaign::new(trial, part.clone())
                .jobs(args.jobs.unwrap_or(cores))
                .failures(args.failures.saturating_sub(total.failures.len()))
                .progress(&tell)
                .stop(stop)
                .run();
            let done = part.start..part.start + summary.seeds;
            left.start = done.end;
            total.add(summary);
            if let Some(tally) = &mut tally {
                tally.add(trial, done, &total)?;
            }
        }
    }
    total.look_for_gaps(trial);
    progress.bar.finish_and_clear();
    Ok(total)
}

/// A bar on a terminal, now and then a line elsewhere.
struct Progress {
    bar: ProgressBar,
    /// When the next line is due, if lines are wanted.
    line: Option<Mutex<Instant>>,
}

const LINE_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    fn new(args: &Args, name: &str, seeds: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !args.json {
            ProgressBar::new(seeds)
        } else {
            ProgressBar::with_draw_target(Some(seeds), ProgressDrawTarget::hidden())
        };
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} {wide_bar} {human_pos}/{human_len} seeds, {per_sec:.0}, {eta} left",
        ) {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        let lines = !terminal && !args.json;
        Self { bar, line: lines.then(|| Mutex::new(Instant::now() + LINE_EVERY)) }
    }

    fn inc(&self, seeds: u64) {
        self.bar.inc(seeds);
        let Some(Ok(mut due)) = self.line.as_ref().map(Mutex::lock) else { return };
        let now = Instant::now();
        if now >= *due {
            *due = now + LINE_EVERY;
            let (done, of) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(1e-9);
            let _ = writeln!(
                std::io::stderr(),
                "{}: {} of {} seeds, {rate:.0} seeds/s",
                self.bar.prefix(),
                HumanCount(done),
                HumanCount(of),
            );
        }
    }
}

/// Shrinks a failure and writes its file.
fn keep(args: &Args, trial: &dyn Experiment, failure: &Failure) -> Result<Found, Failed> {
    let small =
        shrink(trial, failure, Effort::default()).map_or_else(|| failure.clone(), |s| s.failure);
    std::fs::create_dir_all(&args.into)
        .map_err(|e| Failed::system(format!("{}: {e}", args.into.display())))?;
    let seed = failure.seed.unwrap_or_default();
    let path = args.into.join(format!("{}-{seed}.trial", trial.name()));
    save(&path, replay::write(&small).as_bytes())?;
    Ok(Found {
        seed: failure.seed,
        checker: small.violation.checker.to_owned(),
        text: small.violation.text.clone(),
        items: items(&small.decisions),
        file: path.display().to_string(),
    })
}

/// Cells and marks.
fn never_hit(summary: &Summary) -> Vec<String> {
    let cells = summary.missing.iter().map(|(fault, phase)| format!("{fault} in {phase}"));
    cells.chain(summary.never.iter().map(|mark| (*mark).to_owned())).collect()
}

/// What a campaign came to, for people.
fn story(name: &str, summary: &Summary, found: &[Found]) -> String {
    let wall = summary.wall.as_secs_f64().max(1e-9);
    let mut out = format!(
        "{name}: {} seeds in {:.1} s, {:.0} seeds/s, {:.2} M events/s, {} operations, {} simulated \
         ({:.0} times faster), {} undecided, digest {:016x}\n\n\
         faults by the phase of the connection that they hit (. = never; empty = cannot):\n{}\n\n",
        HumanCount(summary.seeds),
        wall,
        summary.seeds as f64 / wall,
        summary.events as f64 / wall / 1e6,
        HumanCount(summary.ops),
        HumanDuration(summary.time),
        summary.time.as_secs_f64() / wall,
        summary.undecided,
        summary.digest,
        summary.matrix,
    );
    for f in found {
        let seed = f.seed.unwrap_or_default();
        let _ = writeln!(out, "seed {seed}: {}: {}", f.checker, f.text);
        let again = &f.file;
        let _ = writeln!(out, "  {} items; run it again with: drywire sim replay {again}", f.items);
        let _ = writeln!(out, "  look at it with: drywire sim draw {again} --html picture.html\n");
    }
    for (mark, seeds) in &summary.marks {
        let _ = writeln!(out, "{} seeds came to: {mark}", HumanCount(*seeds));
    }
    let never = never_hit(summary);
    if !never.is_empty() {
        let _ = writeln!(
            out,
            "so many seeds must hit every cell and come to every mark, and never did: {}",
            never.join(", ")
        );
    }
    if summary.undecided * 1000 > summary.seeds {
        let _ = writeln!(out, "too many runs were undecided: at most one in a thousand may be");
    }
    if found.is_empty() && summary.seeds > 0 {
        let _ = writeln!(
            out,
            "no failure: with 95 % confidence, failure rate < 3/{} per seed\n",
            summary.seeds,
        );
    }
    out
}
