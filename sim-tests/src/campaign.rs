//! Many seeds of one experiment, on as many threads as wanted.

use crate::decide::{Decider, Decisions};
use crate::fault::{Fault, Matrix};
use crate::trial::Experiment;
use crate::violation::Violation;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// A failing run: all that is needed to have it again, to shrink it and to draw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The experiment's name.
    pub experiment: String,
    /// The seed that found it, if one did.
    pub seed: Option<u64>,
    /// What was broken.
    pub violation: Violation,
    /// Its decisions.
    pub decisions: Decisions,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs made.
    pub seeds: u64,
    /// Things that happened in them.
    pub events: u64,
    /// Operations begun.
    pub ops: u64,
    /// Simulated time.
    pub time: Duration,
    /// Wall time.
    pub wall: Duration,
    /// Questions that no checker could decide.
    pub undecided: u64,
    /// The digests of all runs, combined without regard to their order.
    pub digest: u64,
    /// Which faults hit in which phases.
    pub matrix: Matrix,
    /// Cells of the matrix that so many seeds had to hit and did not.
    pub missing: Vec<(Fault, &'static str)>,
    /// How many seeds came to each of [`Experiment::marks`].
    pub marks: BTreeMap<&'static str, u64>,
    /// Those that so many seeds had to come to and did not.
    pub never: Vec<&'static str>,
    /// The failures, by seed.
    pub failures: Vec<Failure>,
}

/// So many seeds come to every mark of an experiment that does not say how many it takes.
const MARKS_WITHIN: u64 = 1000;

/// Seeds to run. Make one with [`Trial::seeds`](crate::Trial::seeds) or [`Campaign::new`].
pub struct Campaign<'a> {
    experiment: &'a dyn Experiment,
    seeds: Range<u64>,
    jobs: usize,
    failures: usize,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
    stop: Option<&'a AtomicBool>,
}

impl<'a> Campaign<'a> {
    /// These seeds, one after the other, up to the first failure.
    #[must_use]
    pub fn new(experiment: &'a dyn Experiment, seeds: Range<u64>) -> Self {
        Self { experiment, seeds, jobs: 1, failures: 1, progress: None, stop: None }
    }

    /// On so many threads.
    #[must_use]
    pub fn jobs(self, jobs: usize) -> Self {
        Self { jobs: jobs.max(1), ..self }
    }

    /// Until so many failures are found.
    #[must_use]
    pub fn failures(self, failures: usize) -> Self {
        Self { failures, ..self }
    }

    /// Says how many runs were made, each time that some more are.
    #[must_use]
    pub fn progress(self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Begins no further run once `stop` is true.
    #[must_use]
    pub fn stop(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Runs them. However it ends, what was run is the first [`Summary::seeds`] of its seeds: the
    /// rest can be run later.
    #[must_use]
    pub fn run(self) -> Summary {
        let begin = Instant::now();
        // Counts from 0, so that it cannot pass the last seed that there is.
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let all = Mutex::new(Summary::default());
        std::thread::scope(|scope| {
            for _ in 1..self.jobs {
                scope.spawn(|| self.work(&next, &stop, &all));
            }
            self.work(&next, &stop, &all);
        });
        let mut all = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.wall = begin.elapsed();
        all.look_for_gaps(self.experiment);
        all
    }

    fn work(&self, next: &AtomicU64, stop: &AtomicBool, all: &Mutex<Summary>) {
        let mut mine = Summary::default();
        let told = || self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        while !stop.load(Ordering::Relaxed) && !told() {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= self.seeds.end.saturating_sub(self.seeds.start) {
                break;
            }
            let seed = self.seeds.start + nth;
            let report = self.experiment.run(Decider::seeded(seed), false);
            mine.seeds += 1;
            mine.events += report.events;
            mine.ops += report.ops;
            mine.time += report.time;
            mine.undecided += report.undecided;
            mine.digest = mine.digest.wrapping_add(crate::decide::mix(report.digest ^ seed));
            mine.matrix.merge(&report.matrix);
            for mark in report.marks {
                *mine.marks.entry(mark).or_default() += 1;
            }
            if report.violation.is_some()
                && let Some(failure) = reproduce(self.experiment, seed)
            {
                mine.failures.push(failure);
            }
            if mine.seeds.is_multiple_of(64) || !mine.failures.is_empty() {
                self.merge(&mut mine, stop, all);
            }
        }
        self.merge(&mut mine, stop, all);
    }

    fn merge(&self, mine: &mut Summary, stop: &AtomicBool, all: &Mutex<Summary>) {
        let mine = core::mem::take(mine);
        if let Ok(mut all) = all.lock() {
            if let Some(progress) = self.progress {
                progress(mine.seeds);
            }
            all.add(mine);
            if all.failures.len() >= self.failures {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl fmt::Debug for Campaign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Campaign")
            .field("experiment", &self.experiment.name())
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

/// Runs a failing seed again, recording its decisions.
fn reproduce(experiment: &dyn Experiment, seed: u64) -> Option<Failure> {
    let report = experiment.run(Decider::seeded(seed).recording(), false);
    Some(Failure {
        experiment: experiment.name().to_owned(),
        seed: Some(seed),
        violation: report.violation?,
        decisions: report.decisions,
    })
}

impl Summary {
    /// Adds what other seeds of the same experiment came to. Gaps in the matrix are looked for
    /// again with [`Summary::look_for_gaps`].
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.ops += other.ops;
        self.time += other.time;
        self.wall += other.wall;
        self.undecided += other.undecided;
        self.digest = self.digest.wrapping_add(other.digest);
        self.matrix.merge(&other.matrix);
        for (mark, seeds) in other.marks {
            *self.marks.entry(mark).or_default() += seeds;
        }
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|f| f.seed);
    }

    /// Names the cells of the matrix that so many seeds of `experiment` had to hit, and the marks
    /// that they had to come to.
    pub fn look_for_gaps(&mut self, experiment: &dyn Experiment) {
        let enough = experiment.covers().map_or(MARKS_WITHIN, |covers| covers.seeds);
        let marks = if self.seeds >= enough { experiment.marks() } else { Vec::new() };
        self.never = marks.into_iter().filter(|mark| !self.marks.contains_key(mark)).collect();
        self.missing = match experiment.covers() {
            Some(covers) if self.seeds >= covers.seeds => {
                self.matrix.missing(covers.phases, covers.rare)
            }
            _ => Vec::new(),
        };
    }

    /// Nothing failed, every phase met its faults, every mark was come to, and no more than one run
    /// in a thousand was undecided: from there on the checkers do not check.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let whole = self.missing.is_empty() && self.never.is_empty();
        self.failures.is_empty() && whole && self.undecided * 1000 <= self.seeds
    }

    /// With 95 % confidence, fewer than one seed in so many would have failed; 0 if some did.
    #[must_use]
    pub fn findability(&self) -> u64 {
        if self.failures.is_empty() { self.seeds / 3 } else { 0 }
    }
}
