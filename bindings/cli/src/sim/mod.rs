//! `drywire sim`: runs seeds under faults, shrinks, replays and draws what fails.

mod run;
mod scenario;
mod step;
mod summary;
mod tally;

use crate::{Failure as Failed, Verdict};
use clap::{Args, Subcommand};
use drywire_sim::decide::Decider;
use drywire_sim::{Effort, Experiment, Failure, draw, find, items, replay, shrink, trials};
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run many seeds; shrink what fails and write it to a file
    ///
    /// Every seed is another world: how many callers, what they ask, which limits the server
    /// has, which faults hit and when. The same seed is the same world on every machine. A seed
    /// fails when a rule is broken: a request answered twice or never, memory over its cap,
    /// something that waits for ever, a reply that no correct server could give, a panic.
    #[command(after_help = "Examples:\n  \
        drywire sim run --seeds 20k            the first twenty thousand worlds of every trial\n  \
        drywire sim run memcached --from 1M    other worlds\n  \
        drywire sim run --seeds 1M --tally million.json   interrupted, it goes on\n  \
        drywire sim replay failures/memcached-4711.trial")]
    Run(run::Args),
    /// Run a scenario file: faults at times, in the simulator, in turmoil, on real sockets
    ///
    /// The same callers, requests and rules in three worlds. A fault that a world cannot bring
    /// about is named, and the scenario is not run there.
    #[command(after_help = "Examples:\n  \
        drywire sim scenario sim-tests/scenarios/*.toml --arm core --seeds 100\n  \
        drywire sim scenario sim-tests/scenarios/reset.toml")]
    Scenario(scenario::Args),
    /// Run a failing world again, from its file
    Replay(File),
    /// Make a failing world smaller, in its file
    Shrink(ShrinkArgs),
    /// Show a world: as text, as a page with swim-lanes, or as a capture for Wireshark
    #[command(after_help = "Examples:\n  \
        drywire sim draw failures/memcached-4711.trial --html picture.html\n  \
        diff <(drywire sim draw hub:7) <(other-build/drywire sim draw hub:7)   # where they part")]
    Draw(DrawArgs),
    /// Print a Rust test that holds the whole world
    Test(File),
    /// Decide everything yourself: faults, requests, delays, one question at a time
    Step(step::Args),
    /// Name the trials
    List,
}

#[derive(Args)]
pub(crate) struct File {
    /// A replay file, as `drywire sim run` writes them
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    file: File,
    /// Write the smaller world here instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Runs to spend at most
    #[arg(long, default_value_t = 20_000)]
    runs: u32,
}

#[derive(Args)]
#[group(required = false, multiple = true)]
pub(crate) struct DrawArgs {
    /// A replay file, as `drywire sim run` writes them, or a trial and a seed: `memcached:4711`
    world: PathBuf,
    /// Write one self-contained page with swim-lanes here
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a capture for Wireshark and tshark here
    #[arg(long, value_name = "FILE")]
    pcapng: Option<PathBuf>,
    /// The server's port in the capture: Wireshark chooses the dissector by it
    #[arg(long, default_value_t = 11_211)]
    port: u16,
}

pub(crate) fn run(command: Command) -> Result<Verdict, Failed> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Replay(file) => again(&file.file),
        Command::Shrink(args) => smaller(&args),
        Command::Draw(args) => picture(&args),
        Command::Test(file) => {
            let (_, failure) = load(&file.file)?;
            let name = format!("{}_replayed", failure.experiment.replace('-', "_"));
            let experiment =
                format!("*drywire_sim::find({:?}).expect(\"the trial\")", failure.experiment);
            say(format_args!("{}", replay::as_test(&failure, &name, &experiment).trim_end()));
            Ok(Verdict::Good)
        }
        Command::Step(args) => step::run(&args),
        Command::List => {
            for trial in trials() {
                say(format_args!("{}", trial.name()));
            }
            Ok(Verdict::Good)
        }
    }
}

/// The trials with these names; all if none is named, or `all`.
fn chosen(names: &[String]) -> Result<Vec<Box<dyn Experiment>>, Failed> {
    if names.is_empty() || names == ["all"] {
        return Ok(trials());
    }
    names.iter().map(|name| named(name)).collect()
}

fn named(name: &str) -> Result<Box<dyn Experiment>, Failed> {
    find(name).ok_or_else(|| {
        let all: Vec<String> = trials().iter().map(|t| t.name().to_owned()).collect();
        Failed::usage(format!("no trial is called `{name}`; there are: {}", all.join(", ")))
    })
}

fn load(path: &Path) -> Result<(Box<dyn Experiment>, Failure), Failed> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failed::system(format!("{}: {e}", path.display())))?;
    let failure =
        replay::read(&text).map_err(|e| Failed::usage(format!("{}: {e}", path.display())))?;
    Ok((named(&failure.experiment)?, failure))
}

/// A line on standard output. A closed pipe is the reader's choice.
fn say(line: core::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    std::fs::write(path, bytes).map_err(|e| Failed::system(format!("{}: {e}", path.display())))
}

fn again(path: &Path) -> Result<Verdict, Failed> {
    let (trial, failure) = load(path)?;
    let report = replay::replay(&*trial, &failure, false);
    say(format_args!("{} events, digest {:016x}", report.events, report.digest));
    match report.violation {
        Some(violation) => {
            say(format_args!("{violation}"));
            Ok(Verdict::Failed)
        }
        None => {
            say(format_args!("nothing is wrong (any more)"));
            Ok(Verdict::Good)
        }
    }
}

fn smaller(args: &ShrinkArgs) -> Result<Verdict, Failed> {
    let path = &args.file.file;
    let (trial, mut failure) = load(path)?;
    // What is shrunk is what it does now, which may not be what the file says.
    let report = replay::replay(&*trial, &failure, false);
    let Some(violation) = report.violation else {
        say(format_args!("nothing is wrong (any more)"));
        return Ok(Verdict::Good);
    };
    failure.violation = violation;
    let effort = Effort { runs: args.runs, ..Effort::default() };
    let Some(small) = shrink(&*trial, &failure, effort) else {
        return Err(Failed::system("the run is not the same twice: that is a bug by itself"));
    };
    say(format_args!(
        "{} items -> {} items in {} runs, {:.1?}",
        small.items_before, small.items, small.runs, small.wall
    ));
    say(format_args!("{}", small.failure.violation));
    let to = args.output.as_ref().unwrap_or(path);
    save(to, replay::write(&small.failure).as_bytes())?;
    Ok(Verdict::Failed)
}

/// The parts of `TRIAL:SEED`.
fn seed_of(world: &Path) -> Option<(&str, u64)> {
    let (name, seed) = world.to_str()?.rsplit_once(':')?;
    Some((name, seed.parse().ok()?))
}

fn picture(args: &DrawArgs) -> Result<Verdict, Failed> {
    let (name, report) = match seed_of(&args.world) {
        Some((name, seed)) if !args.world.exists() => {
            let report = named(name)?.run(Decider::seeded(seed).recording(), true);
            (format!("{name}:{seed}"), report)
        }
        _ => {
            let (trial, failure) = load(&args.world)?;
            let mut report = replay::replay(&*trial, &failure, true);
            report.decisions = failure.decisions;
            (failure.experiment, report)
        }
    };
    let trace = report.trace.unwrap_or_default();
    let story = report.violation.map_or_else(|| "nothing is wrong".to_owned(), |v| v.to_string());
    if let Some(path) = &args.html {
        let count = items(&report.decisions);
        let title = format!("{name}: {count} items, {} events", report.events);
        save(path, draw::html(&trace, &title, &story).as_bytes())?;
    }
    if let Some(path) = &args.pcapng {
        save(path, &draw::pcapng(&trace, args.port))?;
    }
    if args.html.is_none() && args.pcapng.is_none() {
        say(format_args!("{}{story}", draw::text(&trace)));
    }
    Ok(Verdict::Good)
}
