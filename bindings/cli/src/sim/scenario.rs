//! `drywire sim scenario`: a file of faults at times, in three worlds.

use super::say;
use crate::units;
use crate::{Failure as Failed, Verdict};
use clap::ValueEnum;
use drywire_sim::scenario::{Arm, Scenario};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenario files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only this arm; all three if not given
    #[arg(long, value_enum)]
    arm: Option<Which>,
    /// How many seeds; as many as the file says if not given
    #[arg(long, value_parser = units::count)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, default_value = "0", value_parser = units::count)]
    from: u64,
    /// Write the report as JSON, and nothing else, to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// The simulator: the engine alone, virtual links and time
    Core,
    /// The tokio host in turmoil: several hosts, virtual time
    Turmoil,
    /// The mio host on loopback sockets behind a bad proxy, real time
    Kernel,
}

#[derive(Serialize)]
struct Row {
    scenario: String,
    arm: &'static str,
    /// The faults that the arm cannot bring about: nothing was run then.
    refused: Vec<String>,
    runs: u64,
    operations: u64,
    answered: u64,
    undecided: u64,
    seconds: f64,
    violations: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failed> {
    let mut scenarios = Vec::new();
    for file in &args.files {
        scenarios.push(Scenario::load(file).map_err(Failed::usage)?);
    }
    let arms = match args.arm {
        None => Arm::ALL.to_vec(),
        Some(Which::Core) => Vec::from([Arm::Core]),
        Some(Which::Turmoil) => Vec::from([Arm::Turmoil]),
        Some(Which::Kernel) => Vec::from([Arm::Kernel]),
    };
    // Before anything is run: whoever names an arm gets all of a scenario there, or nothing.
    for scenario in &scenarios {
        let refusals = scenario.refusals(arms[0]);
        if args.arm.is_some() && !refusals.is_empty() {
            let (name, arm) = (&scenario.name, arms[0]);
            let why = refusals.join("; ");
            return Err(Failed::usage(format!("{name} cannot be run in {arm}: {why}")));
        }
    }
    let mut rows = Vec::new();
    for scenario in &scenarios {
        for arm in &arms {
            let row = runs(args, scenario, *arm);
            if !args.json {
                tell(&row);
            }
            rows.push(row);
        }
    }
    if args.json {
        let json = serde_json::to_string_pretty(&rows)
            .map_err(|e| Failed::system(format!("no JSON: {e}")))?;
        say(format_args!("{json}"));
    }
    let good = rows.iter().all(|row| row.violations.is_empty());
    Ok(if good { Verdict::Good } else { Verdict::Failed })
}

fn runs(args: &Args, scenario: &Scenario, arm: Arm) -> Row {
    let mut row = Row {
        scenario: scenario.name.clone(),
        arm: arm.name(),
        refused: scenario.refusals(arm),
        runs: 0,
        operations: 0,
        answered: 0,
        undecided: 0,
        seconds: 0.0,
        violations: Vec::new(),
    };
    if !row.refused.is_empty() {
        return row;
    }
    let seeds = args.seeds.unwrap_or(scenario.seeds);
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new(seeds);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} seeds") {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{} in {arm}", scenario.name));
    for seed in args.from..args.from.saturating_add(seeds) {
        let Ok(report) = scenario.run(arm, seed) else { break };
        row.runs += 1;
        row.operations += report.operations;
        row.answered += report.answered;
        row.undecided += report.undecided;
        row.seconds += report.time.as_secs_f64();
        row.violations.extend(report.violation.map(|v| format!("seed {seed}: {v}")));
        bar.inc(1);
    }
    bar.finish_and_clear();
    row
}

fn tell(row: &Row) {
    let (name, arm) = (&row.scenario, row.arm);
    if !row.refused.is_empty() {
        say(format_args!("{name:20} {arm:8} cannot be run: {}", row.refused.join("; ")));
        return;
    }
    let word = if row.violations.is_empty() { "good" } else { "FAILED" };
    say(format_args!(
        "{name:20} {arm:8} {word}: {} runs, {} operations, {} answered, {} undecided, {:.1} s of its time",
        row.runs, row.operations, row.answered, row.undecided, row.seconds
    ));
    for violation in &row.violations {
        say(format_args!("  {violation}"));
    }
}
