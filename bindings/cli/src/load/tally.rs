//! Where every request went, and how long the answered ones took.

use core::ops::AddAssign;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The classes of outcome; each request sent ends up in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The right answer.
    Ok,
    /// The right answer: there is no such item.
    Miss,
    /// An error reply.
    Error,
    /// An answer with a wrong key, length or content, or an outdated value.
    Wrong,
    /// No answer: the connection ended, or the server was silent for too long.
    Lost,
}

/// Counts of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) miss: u64,
    pub(crate) error: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Counts {
    /// Requests that got a reply of any kind.
    pub(crate) fn answered(&self) -> u64 {
        self.ok + self.miss + self.error + self.wrong
    }

    /// Requests without an outcome so far.
    pub(crate) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.answered() + self.lost)
    }

    /// The ledger: every request is in one class, none twice.
    pub(crate) fn balanced(&self) -> bool {
        self.sent == self.answered() + self.lost
    }

    /// Whether the server did all that it was asked.
    pub(crate) fn good(&self) -> bool {
        self.balanced() && self.error + self.wrong + self.lost == 0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.miss += other.miss;
        self.error += other.error;
        self.wrong += other.wrong;
        self.lost += other.lost;
    }
}

/// One thread's counts and latencies of one phase of a run.
pub(crate) struct Tally {
    counts: Counts,
    latency: Histogram<u64>,
    complaint: Option<String>,
}

impl Tally {
    /// Latencies are kept from 100 ns to 60 s with three significant digits.
    pub(crate) fn new() -> Self {
        let latency =
            Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("fixed bounds are valid");
        Self { counts: Counts::default(), latency, complaint: None }
    }

    #[inline]
    pub(crate) fn sent(&mut self) {
        self.counts.sent += 1;
    }

    /// A request sent at `start` ended at `now` (nanoseconds). Only right answers are timed: a
    /// quick refusal must not make the server look fast.
    #[inline]
    pub(crate) fn ended(&mut self, class: Class, start: u64, now: u64) {
        match class {
            Class::Ok => self.counts.ok += 1,
            Class::Miss => self.counts.miss += 1,
            Class::Error => self.counts.error += 1,
            Class::Wrong => self.counts.wrong += 1,
            Class::Lost => self.counts.lost += 1,
        }
        if matches!(class, Class::Ok | Class::Miss) {
            self.latency.saturating_record(now.saturating_sub(start));
        }
    }

    /// Keeps the first complaint: what went wrong, for the report.
    pub(crate) fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.complaint.is_none() {
            self.complaint = Some(complaint());
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    pub(crate) fn latency(&self) -> Latency {
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            mean: self.latency.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: self.latency.max() as f64 / 1000.0,
        }
    }

    /// Takes in what another thread saw of the same phase; nothing is lost.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts += other.counts;
        self.latency.add(other.latency).expect("all tallies have the same bounds");
        self.complaint = self.complaint.take().or(other.complaint);
    }
}

/// Latency in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) p99_99: f64,
    pub(crate) max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_part_of_the_ledger_and_merging_keeps_it() {
        let mut all = Tally::new();
        for class in [Class::Ok, Class::Miss, Class::Error, Class::Wrong, Class::Lost] {
            let mut one = Tally::new();
            one.sent();
            assert!(!one.counts().balanced());
            one.ended(class, 1_000, 3_000);
            assert!(one.counts().balanced());
            assert_eq!(one.counts().good(), matches!(class, Class::Ok | Class::Miss));
            one.complain(|| format!("{class:?}"));
            all.merge(one);
        }
        assert_eq!(all.counts(), Counts { sent: 5, ok: 1, miss: 1, error: 1, wrong: 1, lost: 1 });
        assert_eq!((all.counts().answered(), all.complaint()), (4, Some("Ok")));
        all.ended(Class::Ok, 0, 0);
        assert!(!all.counts().balanced(), "answered twice");
    }

    #[test]
    fn only_right_answers_are_timed() {
        let mut tally = Tally::new();
        tally.ended(Class::Error, 0, 1_000_000_000);
        tally.ended(Class::Lost, 0, 1_000_000_000);
        for micros in 1..=1000 {
            tally.ended(Class::Ok, 5_000, 5_000 + micros * 1000);
        }
        let seen = tally.latency();
        for (found, expected) in
            [(seen.p50, 500.0), (seen.p99, 990.0), (seen.max, 1000.0), (seen.mean, 500.5)]
        {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} for {expected}");
        }
    }
}
