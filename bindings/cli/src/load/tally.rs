//! Where every request went, and how long the answered ones took.

use core::fmt;
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
    /// The right answer: there is no solution.
    NoSolution,
    /// Told that the server is too busy.
    Refused,
    /// A right answer, after the client's deadline.
    Late,
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
    pub(crate) no_solution: u64,
    pub(crate) refused: u64,
    pub(crate) late: u64,
    pub(crate) error: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Counts {
    /// Requests that got the right answer in time.
    pub(crate) fn right(&self) -> u64 {
        self.ok + self.miss + self.no_solution
    }

    /// Requests that got a reply of any kind.
    pub(crate) fn answered(&self) -> u64 {
        self.right() + self.refused + self.late + self.error + self.wrong
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
        self.no_solution += other.no_solution;
        self.refused += other.refused;
        self.late += other.late;
        self.error += other.error;
        self.wrong += other.wrong;
        self.lost += other.lost;
    }
}

/// One thread's counts and latencies of one phase of a run.
pub(crate) struct Tally {
    counts: Counts,
    /// Of requests sent before `middle`, and from then on.
    latency: [Histogram<u64>; 2],
    middle: u64,
    refusal: Histogram<u64>,
    lag: Histogram<u64>,
    complaint: Option<String>,
}

impl Tally {
    /// Latencies are kept from 100 ns to 60 s with three significant digits.
    pub(crate) fn new() -> Self {
        Self::in_halves(u64::MAX)
    }

    /// One that also tells what was sent before `middle` (nanoseconds) from what was sent after.
    pub(crate) fn in_halves(middle: u64) -> Self {
        let [first, second, refusal, lag] = [(); 4].map(|()| {
            Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("fixed bounds are valid")
        });
        let latency = [first, second];
        Self { counts: Counts::default(), latency, middle, refusal, lag, complaint: None }
    }

    #[inline]
    pub(crate) fn sent(&mut self) {
        self.counts.sent += 1;
    }

    /// A request was written to its socket this long after it was due, by this tool's own fault.
    #[inline]
    pub(crate) fn lagged(&mut self, nanos: u64) {
        self.lag.saturating_record(nanos);
    }

    /// A request sent at `start` ended at `now` (nanoseconds). Right answers are timed, late ones
    /// among them; refusals by themselves, because a quick refusal must not make the server look
    /// fast.
    #[inline]
    pub(crate) fn ended(&mut self, class: Class, start: u64, now: u64) {
        match class {
            Class::Ok => self.counts.ok += 1,
            Class::Miss => self.counts.miss += 1,
            Class::NoSolution => self.counts.no_solution += 1,
            Class::Refused => self.counts.refused += 1,
            Class::Late => self.counts.late += 1,
            Class::Error => self.counts.error += 1,
            Class::Wrong => self.counts.wrong += 1,
            Class::Lost => self.counts.lost += 1,
        }
        let took = now.saturating_sub(start);
        match class {
            Class::Ok | Class::Miss | Class::NoSolution | Class::Late => {
                self.latency[usize::from(start >= self.middle)].saturating_record(took);
            }
            Class::Refused => self.refusal.saturating_record(took),
            Class::Error | Class::Wrong | Class::Lost => {}
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
        let [first, second] = &self.latency;
        let mut both = first.clone();
        both.add(second).expect("both have the same bounds");
        Latency::of(&both)
    }

    /// The median latency of each half in microseconds, if there are two: where a queue grows, the
    /// second takes longer.
    pub(crate) fn halves(&self) -> Option<[f64; 2]> {
        let halved = self.latency.iter().all(|half| !half.is_empty());
        halved.then(|| self.latency.each_ref().map(|half| Latency::of(half).p50))
    }

    /// How long refusals took.
    pub(crate) fn refusal(&self) -> Latency {
        Latency::of(&self.refusal)
    }

    /// How far this tool was behind its schedule.
    pub(crate) fn lag(&self) -> Latency {
        Latency::of(&self.lag)
    }

    /// Takes in what another thread saw of the same phase; nothing is lost.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts += other.counts;
        let [first, second] = &mut self.latency;
        let [other_first, other_second] = other.latency;
        for (mine, theirs) in [
            (first, other_first),
            (second, other_second),
            (&mut self.refusal, other.refusal),
            (&mut self.lag, other.lag),
        ] {
            mine.add(theirs).expect("all tallies have the same bounds");
        }
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

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            mean: histogram.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, p50, p90, p99, p99_9, p99_99, max } = self;
        write!(f, "mean {mean:.0} us, p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, ")?;
        write!(f, "p99.9 {p99_9:.0}, p99.99 {p99_99:.0}, max {max:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_part_of_the_ledger_and_merging_keeps_it() {
        let mut all = Tally::new();
        let classes = [
            Class::Ok,
            Class::Miss,
            Class::NoSolution,
            Class::Refused,
            Class::Late,
            Class::Error,
            Class::Wrong,
            Class::Lost,
        ];
        for class in classes {
            let mut one = Tally::new();
            one.sent();
            assert!(!one.counts().balanced());
            one.ended(class, 1_000, 3_000);
            assert!(one.counts().balanced());
            let bad = matches!(class, Class::Error | Class::Wrong | Class::Lost);
            assert_eq!(one.counts().good(), !bad);
            one.complain(|| format!("{class:?}"));
            all.merge(one);
        }
        assert_eq!((all.counts().sent, all.counts().right()), (8, 3));
        assert_eq!((all.counts().answered(), all.complaint()), (7, Some("Ok")));
        all.ended(Class::Ok, 0, 0);
        assert!(!all.counts().balanced(), "answered twice");
    }

    #[test]
    fn a_queue_that_grows_shows_in_the_halves() {
        let mut tally = Tally::in_halves(500_000);
        tally.ended(Class::Ok, 0, 1_000);
        assert_eq!(tally.halves(), None, "only one of them so far");
        for start in (1_000..1_000_000).step_by(1_000) {
            tally.ended(Class::Ok, start, 2 * start);
            tally.ended(Class::Refused, start, start + 1);
        }
        let [first, second] = tally.halves().expect("both have answers");
        assert!((first / 250.0 - 1.0).abs() < 0.01, "{first}");
        assert!((second / 750.0 - 1.0).abs() < 0.01, "{second}");
        assert!((tally.latency().p50 / 500.0 - 1.0).abs() < 0.01);
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
