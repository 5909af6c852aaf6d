//! The sums of a campaign that is run in parts, in a file: which seeds were run, and what came of
//! them. Adding up is exact: the parts give the same digest as one run over all of their seeds.

use crate::Failure as Failed;
use core::ops::Range;
use core::time::Duration;
use drywire_sim::{Campaign, Experiment, Fault, Summary, replay};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Seeds between two times that the file is written: what a crash costs at most.
pub(super) const PART: u64 = 20_000;
/// Seeds by which a program is known to behave as the one that began the file.
const PROBE: u64 = 20;

pub(super) struct Tally {
    path: PathBuf,
    trials: BTreeMap<String, Sums>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Sums {
    /// The digest of the first few seeds.
    probe: String,
    /// First and last seed of each stretch.
    seeds: Vec<(u64, u64)>,
    operations: u64,
    events: u64,
    simulated_ns: u64,
    wall_ms: u64,
    undecided: u64,
    digest: String,
    /// Fault, phase, hits.
    matrix: Vec<(String, String, u64)>,
    /// How many seeds came to each mark.
    #[serde(default)]
    marks: BTreeMap<String, u64>,
    /// Replay files.
    failures: Vec<String>,
}

impl Tally {
    /// What the file holds; nothing if there is none yet.
    pub(super) fn open(path: &Path) -> Result<Self, Failed> {
        let wrong = |e: &dyn core::fmt::Display| Failed::usage(format!("{}: {e}", path.display()));
        let trials = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(wrong(&error)),
        };
        Ok(Self { path: path.to_owned(), trials })
    }

    /// What was run of `trial` before, and the parts of `seeds` that were not.
    pub(super) fn of(
        &mut self,
        trial: &dyn Experiment,
        seeds: Range<u64>,
    ) -> Result<(Summary, Vec<Range<u64>>), Failed> {
        let probe = format!("{:016x}", Campaign::new(trial, 0..PROBE).run().digest);
        let sums = self.trials.entry(trial.name().to_owned()).or_default();
        if sums.seeds.is_empty() {
            sums.probe.clone_from(&probe);
        }
        let path = self.path.display();
        if sums.probe != probe {
            return Err(Failed::usage(format!(
                "{path}: begun by a program in which the same seeds were other runs; begin a new file"
            )));
        }
        let before = sums.summary(trial).ok_or_else(|| {
            Failed::usage(format!("{path}: the sums of {} are damaged", trial.name()))
        })?;
        Ok((before, left(&sums.seeds, seeds)))
    }

    /// `seeds` of `trial` were run, and altogether it came to `total`. Replaces the file as a
    /// whole.
    pub(super) fn add(
        &mut self,
        trial: &dyn Experiment,
        seeds: Range<u64>,
        total: &Summary,
    ) -> Result<(), Failed> {
        let sums = self.trials.entry(trial.name().to_owned()).or_default();
        sums.take(seeds, total);
        let wrong =
            |e: &dyn core::fmt::Display| Failed::system(format!("{}: {e}", self.path.display()));
        let directory = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or_else(|| Path::new(".")))
            .map_err(|e| wrong(&e))?;
        let json = serde_json::to_vec_pretty(&self.trials).map_err(|e| wrong(&e))?;
        file.write_all(&json).map_err(|e| wrong(&e))?;
        file.persist(&self.path).map_err(|e| wrong(&e))?;
        Ok(())
    }
}

impl Sums {
    fn take(&mut self, seeds: Range<u64>, total: &Summary) {
        if !seeds.is_empty() {
            self.seeds.push((seeds.start, seeds.end - 1));
            self.seeds.sort_unstable();
            self.seeds.dedup_by(|next, last| {
                let joined = last.1 + 1 == next.0;
                if joined {
                    last.1 = next.1;
                }
                joined
            });
        }
        self.operations = total.ops;
        self.events = total.events;
        self.simulated_ns = u64::try_from(total.time.as_nanos()).unwrap_or(u64::MAX);
        self.wall_ms = u64::try_from(total.wall.as_millis()).unwrap_or(u64::MAX);
        self.undecided = total.undecided;
        self.digest = format!("{:016x}", total.digest);
        let cells = total.matrix.cells();
        self.matrix = cells.map(|(f, phase, n)| (f.name().into(), phase.into(), n)).collect();
        self.marks = total.marks.iter().map(|(mark, n)| ((*mark).to_owned(), *n)).collect();
        self.failures = total.failures.iter().map(replay::write).collect();
    }

    /// `None` if something in it cannot be.
    fn summary(&self, trial: &dyn Experiment) -> Option<Summary> {
        let mut summary = Summary {
            ops: self.operations,
            events: self.events,
            time: Duration::from_nanos(self.simulated_ns),
            wall: Duration::from_millis(self.wall_ms),
            undecided: self.undecided,
            ..Summary::default()
        };
        for (first, last) in &self.seeds {
            summary.seeds += last.checked_sub(*first)?.checked_add(1)?;
        }
        if summary.seeds > 0 {
            summary.digest = u64::from_str_radix(&self.digest, 16).ok()?;
        }
        // Phases are names in the program; one that is none of a trial's own is kept as it is.
        let known = trial.covers().map_or(&[][..], |covers| covers.phases);
        for (fault, phase, n) in &self.matrix {
            let phase = match known.iter().find(|known| *known == phase) {
                Some(known) => known,
                None => &*Box::leak(phase.clone().into_boxed_str()),
            };
            summary.matrix.add(Fault::named(fault)?, phase, *n);
        }
        for mark in trial.marks() {
            summary.marks.extend(self.marks.get(mark).map(|n| (mark, *n)));
        }
        for failure in &self.failures {
            summary.failures.push(replay::read(failure).ok()?);
        }
        Some(summary)
    }
}

/// What is left of `seeds` without those in `done`, which are sorted.
fn left(done: &[(u64, u64)], seeds: Range<u64>) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut from = seeds.start;
    for (first, last) in done {
        if *last >= from && *first < seeds.end {
            parts.push(from..*first.max(&from));
            from = last + 1;
        }
    }
    parts.push(from..seeds.end);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use drywire_sim::find;

    #[test]
    fn what_is_left_is_what_was_not_run() {
        let done = [(5, 9), (20, 29)];
        let left = |done, seeds| -> Vec<_> {
            left(done, seeds).into_iter().map(|part| (part.start, part.end)).collect()
        };
        assert_eq!(left(&done, 0..40), [(0, 5), (10, 20), (30, 40)]);
        assert_eq!(left(&done, 5..30), [(10, 20)]);
        assert_eq!(left(&done, 7..8), []);
        assert_eq!(left(&done, 8..25), [(10, 20)]);
        assert_eq!(left(&done, 40..50), [(40, 50)]);
        assert_eq!(left(&[], 3..4), [(3, 4)]);
    }

    /// Parts, kept in a file in between and in any order, come to the same as one run.
    #[test]
    fn parts_sum_up_to_the_whole() {
        let trial = find("memcached").expect("the trial");
        let whole = Campaign::new(&*trial, 0..60).run();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tally.json");
        for (part, more) in [(40..60, 20), (0..25, 25), (10..60, 15), (0..60, 0)] {
            let mut tally = Tally::open(&path).expect("a tally");
            let (mut total, parts) = tally.of(&*trial, part).expect("sums");
            let mut run = 0;
            for part in parts {
                total.add(Campaign::new(&*trial, part.clone()).run());
                run += part.end - part.start;
                tally.add(&*trial, part, &total).expect("written");
            }
            assert_eq!(run, more);
        }
        let (total, parts) = Tally::open(&path).expect("a tally").of(&*trial, 0..60).expect("sums");
        assert_eq!(parts, []);
        assert_eq!((total.seeds, total.digest), (60, whole.digest));
        assert_eq!((total.ops, total.events, total.time), (whole.ops, whole.events, whole.time));
        assert_eq!((total.matrix, total.marks), (whole.matrix, whole.marks));
    }

    #[test]
    fn another_program_s_sums_are_refused() {
        let trial = find("memcached").expect("the trial");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tally.json");
        let mut sums = Sums { probe: "other".to_owned(), ..Sums::default() };
        sums.take(0..10, &Summary::default());
        let file = BTreeMap::from([("memcached", sums)]);
        std::fs::write(&path, serde_json::to_vec(&file).expect("JSON")).expect("written");
        let error = Tally::open(&path).expect("a tally").of(&*trial, 0..20).expect_err("refused");
        assert!(error.message.contains("begin a new file"), "{}", error.message);
        std::fs::write(&path, "{").expect("written");
        assert_eq!(Tally::open(&path).err().map(|e| e.code), Some(2));
    }
}
