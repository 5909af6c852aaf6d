//! `drywire sim run`: a campaign with a progress bar and a matrix.

use super::{chosen, save};
use crate::units;
use crate::{Failure as Failed, Verdict};
use drywire_sim::{Campaign, Effort, Experiment, Failure, Summary, items, replay, shrink};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which trials; all if none is named
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
    let mut verdict = Verdict::Good;
    let mut reports = Vec::new();
    for trial in chosen(&args.trials)? {
        let summary = campaign(args, &*trial);
        let mut found = Vec::new();
        for failure in &summary.failures {
            found.push(keep(args, &*trial, failure)?);
            verdict = Verdict::Failed;
        }
        // More than one in a thousand undecided means that the checkers do not check.
        if summary.undecided * 1000 > summary.seeds {
            verdict = Verdict::Failed;
        }
        if !args.json {
            print(trial.name(), &summary, &found);
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
            failures: found,
        });
    }
    if args.json {
        let json = serde_json::to_string_pretty(&reports)
            .map_err(|e| Failed::system(format!("no JSON: {e}")))?;
        println!("{json}");
    }
    Ok(verdict)
}

fn campaign(args: &Args, trial: &dyn Experiment) -> Summary {
    let cores = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
    let bar = if args.json || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(args.seeds)
    };
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix} {wide_bar} {human_pos}/{human_len} seeds, {per_sec:.0}, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar.set_prefix(trial.name().to_owned());
    let progress = |n| bar.inc(n);
    let summary = Campaign::new(trial, args.from..args.from.saturating_add(args.seeds))
        .jobs(args.jobs.unwrap_or(cores))
        .failures(args.failures)
        .progress(&progress)
        .run();
    bar.finish_and_clear();
    summary
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

fn print(name: &str, summary: &Summary, found: &[Found]) {
    let wall = summary.wall.as_secs_f64().max(1e-9);
    println!(
        "{name}: {} seeds in {:.1} s, {:.0} seeds/s, {:.2} M events/s, {} operations, {} simulated \
         ({:.0} times faster), {} undecided, digest {:016x}",
        HumanCount(summary.seeds),
        wall,
        summary.seeds as f64 / wall,
        summary.events as f64 / wall / 1e6,
        HumanCount(summary.ops),
        HumanDuration(summary.time),
        summary.time.as_secs_f64() / wall,
        summary.undecided,
        summary.digest,
    );
    println!("\nfaults by the phase of the connection that they hit:\n{}\n", summary.matrix);
    for f in found {
        println!("seed {}: {}: {}", f.seed.unwrap_or_default(), f.checker, f.text);
        println!("  {} items; run it again with: drywire sim replay {}", f.items, f.file);
        println!("  look at it with: drywire sim draw {} --html picture.html\n", f.file);
    }
    if found.is_empty() {
        println!(
            "no failure: with 95 % confidence, fewer than one seed in {} fails",
            HumanCount(summary.findability())
        );
    }
}
