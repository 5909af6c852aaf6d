//! Failing runs as files: decisions by name, not by seed, so that they outlive changes of the
//! generator, of the workload and of the simulator.
//!
//! ```text
//! drywire-sim trial 1
//! experiment memcached
//! seed 4711
//! checker ledger
//! signature caller : an answer without a request:
//! # any number of lines for people
//! fault.reset 3.17.2 = 5
//! op.kind 3.17.0 = 2
//! ```
//! The first line names format and version. Decisions are `site who.op.nth = value`, in any
//! order; those not named are the boring ones. Unknown sites are ignored by the run, so a file
//! written by a newer version still replays as far as it can.

use crate::campaign::Failure;
use crate::decide::{Decider, Decisions, Key};
use crate::trial::{Experiment, Report};
use crate::violation::Violation;
use core::fmt::{self, Write as _};

const HEADER: &str = "drywire-sim trial 1";

/// What is wrong with a replay file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The first line is not `drywire-sim trial 1`.
    Header(String),
    /// A line is none of the allowed ones; lines count from 1.
    Line(usize, String),
    /// No experiment is named.
    NoExperiment,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(found) => {
                write!(f, "a replay file begins with \"{HEADER}\", this one with \"{found}\"")
            }
            Self::Line(n, line) => {
                write!(f, "line {n}: \"{line}\" is not \"site who.op.nth = value\"")
            }
            Self::NoExperiment => f.write_str("no line \"experiment NAME\""),
        }
    }
}

impl core::error::Error for ReplayError {}

/// The file of a failure.
#[must_use]
pub fn write(failure: &Failure) -> String {
    let mut out = format!("{HEADER}\nexperiment {}\n", failure.experiment);
    if let Some(seed) = failure.seed {
        let _ = writeln!(out, "seed {seed}");
    }
    let v = &failure.violation;
    let _ = writeln!(out, "checker {}\nsignature {}", v.checker, v.signature.escape_default());
    for line in v.text.lines() {
        let _ = writeln!(out, "# {line}");
    }
    for ((site, key), value) in &failure.decisions {
        let _ = writeln!(out, "{site} {key} = {value}");
    }
    out
}

/// Reads a file.
///
/// # Errors
/// The line that is wrong.
pub fn read(text: &str) -> Result<Failure, ReplayError> {
    let mut lines = text.lines().map(str::trim).enumerate();
    let (_, first) = lines.next().unwrap_or_default();
    if first != HEADER {
        return Err(ReplayError::Header(first.chars().take(40).collect()));
    }
    let mut experiment = None;
    let mut seed = None;
    let (mut checker, mut signature, mut story) = ("", String::new(), String::new());
    let mut decisions = Decisions::new();
    for (at, line) in lines {
        let wrong = || ReplayError::Line(at + 1, line.chars().take(60).collect());
        if let Some(said) = line.strip_prefix('#') {
            story.push_str(said.trim());
            continue;
        }
        let Some((word, rest)) = line.split_once(' ') else {
            if line.is_empty() || line == "signature" {
                continue;
            }
            return Err(wrong());
        };
        match word {
            "experiment" => experiment = Some(rest.to_owned()),
            "seed" => seed = Some(rest.parse().map_err(|_| wrong())?),
            "checker" => checker = known_checker(rest),
            "signature" => signature = unescape(rest),
            site => {
                let (key, value) = rest.split_once(" = ").ok_or_else(wrong)?;
                let key = parse_key(key).ok_or_else(wrong)?;
                decisions.insert((site.to_owned(), key), value.parse().map_err(|_| wrong())?);
            }
        }
    }
    Ok(Failure {
        experiment: experiment.ok_or(ReplayError::NoExperiment)?,
        seed,
        violation: Violation { checker, signature, text: story },
        decisions,
    })
}

/// Runs a failure again.
#[must_use]
pub fn replay(experiment: &dyn Experiment, failure: &Failure, watch: bool) -> Report {
    experiment.run(Decider::script(&failure.decisions).recording(), watch)
}

/// A Rust test that holds the whole run. `experiment` is an expression for the experiment.
#[must_use]
pub fn as_test(failure: &Failure, name: &str, experiment: &str) -> String {
    let mut out = format!(
        "/// {}\n#[test]\nfn {name}() {{\n    let failure = drywire_sim::replay::read(\n        \
         \"\\\n",
        failure.violation.text.lines().next().unwrap_or_default()
    );
    for line in write(failure).lines() {
        let _ = writeln!(out, "{}\\n\\", line.escape_default());
    }
    let _ = write!(
        out,
        "\",\n    )\n    .expect(\"a replay file\");\n    let report = \
         drywire_sim::replay::replay(&{experiment}, &failure, false);\n    \
         assert_eq!(report.violation, None);\n}}\n"
    );
    out
}

fn parse_key(text: &str) -> Option<Key> {
    let mut numbers = text.split('.').map(|n| n.parse().ok());
    let key = Key { who: numbers.next()??, op: numbers.next()??, nth: numbers.next()?? };
    numbers.next().is_none().then_some(key)
}

/// Checkers' names are few; what is not among them keeps its name too.
fn known_checker(name: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["ledger", "live", "footprint", "leak", "reply", "panic", "linearizable", "order"];
    KNOWN.into_iter().find(|k| *k == name).unwrap_or("other")
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\'", "'").replace("\\\"", "\"").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let decisions = [
            (("op.kind".to_owned(), Key { who: 3, op: 17, nth: 0 }), 2),
            (("fault.reset".to_owned(), Key { who: 3, op: 17, nth: 2 }), u64::MAX),
        ];
        Failure {
            experiment: "memcached".to_owned(),
            seed: Some(4711),
            violation: Violation::new("ledger", "caller 3: it's \"gone\": `x`\nand more"),
            decisions: decisions.into_iter().collect(),
        }
    }

    #[test]
    fn a_file_holds_everything() {
        let read = read(&write(&failure())).expect("what was written");
        assert_eq!(read.decisions, failure().decisions);
        assert_eq!(read.violation.signature, failure().violation.signature);
        assert_eq!((read.experiment, read.seed), (failure().experiment, failure().seed));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(read("hello"), Err(ReplayError::Header("hello".to_owned())));
        assert_eq!(read(HEADER), Err(ReplayError::NoExperiment));
        for line in ["op.kind 1.2 = 3", "op.kind 1.2.3.4 = 3", "op.kind 1.2.3 = x", "lonely"] {
            let file = format!("{HEADER}\nexperiment e\n{line}\n");
            assert_eq!(read(&file), Err(ReplayError::Line(3, line.to_owned())));
        }
    }
}
