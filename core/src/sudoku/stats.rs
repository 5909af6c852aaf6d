//! What `stats` tells.

use crate::conn::{CloseReason, Limits, Outbox, micros};
use crate::engine::Held;
use crate::sudoku::codec::Board;
use crate::sudoku::server::Config;
use crate::tick::Tick;
use core::time::Duration;

/// What connections of one engine did.
///
/// `total_requests` is `total_responses` + `dropped_requests` + what is under way + `lost_requests`
/// (their connection was gone). Latencies run from the moment a board was read to the moment its
/// answer was appended, refusals not included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Boards that wait for a worker now.
    pub waiting: u64,
    /// Boards asked.
    pub total_requests: u64,
    /// Boards answered with a solution or that there is none.
    pub total_responses: u64,
    /// Those with a solution.
    pub total_solved: u64,
    /// Lines that were no request.
    pub bad_requests: u64,
    /// Boards refused: at the door, in the queue, or given up by the solver.
    pub dropped_requests: u64,
    /// Those refused in the queue.
    pub expired_requests: u64,
    /// Those refused at the door because the connections together held as much as they may.
    pub shed_requests: u64,
    /// Those that used up their guesses.
    pub given_up_requests: u64,
    /// Boards whose connection was gone before their answer.
    pub lost_requests: u64,
    /// Connections open now.
    pub curr_connections: u64,
    /// Connections ever opened.
    pub total_connections: u64,
    /// Connections given up because their peer took no output for too long.
    pub slow_readers: u64,
    /// Connections ended because nothing happened on them for too long.
    pub idle_kicks: u64,
    latency_sum_us: u64,
    recent: Recent,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            waiting: 0,
            total_requests: 0,
            total_responses: 0,
            total_solved: 0,
            bad_requests: 0,
            dropped_requests: 0,
            expired_requests: 0,
            shed_requests: 0,
            given_up_requests: 0,
            lost_requests: 0,
            curr_connections: 0,
            total_connections: 0,
            slow_readers: 0,
            idle_kicks: 0,
            latency_sum_us: 0,
            recent: Recent::new(),
        }
    }
}

/// How a board ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Solved(Board),
    NoSolution,
    TooBusy,
    GaveUp,
}

impl Stats {
    pub(super) fn opened(&mut self) {
        self.curr_connections += 1;
        self.total_connections += 1;
    }

    pub(super) fn closed(&mut self, lost: u64, why: Option<CloseReason>) {
        self.curr_connections = self.curr_connections.saturating_sub(1);
        self.lost_requests += lost;
        self.slow_readers += u64::from(why == Some(CloseReason::SlowReader));
        self.idle_kicks += u64::from(why == Some(CloseReason::Idle));
    }

    pub(super) fn asked(&mut self) {
        self.total_requests += 1;
    }

    pub(super) fn bad(&mut self) {
        self.bad_requests += 1;
    }

    pub(super) fn expired(&mut self) {
        self.expired_requests += 1;
    }

    pub(super) fn shed(&mut self) {
        self.shed_requests += 1;
    }

    pub(super) fn answered(&mut self, now: Tick, received: Tick, outcome: Outcome) {
        match outcome {
            Outcome::Solved(_) => self.total_solved += 1,
            Outcome::NoSolution => {}
            Outcome::TooBusy => return self.dropped_requests += 1,
            Outcome::GaveUp => {
                self.given_up_requests += 1;
                return self.dropped_requests += 1;
            }
        }
        self.total_responses += 1;
        let us = u64::try_from(now.since(received).as_micros()).unwrap_or(u64::MAX);
        self.latency_sum_us = self.latency_sum_us.saturating_add(us);
        self.recent.add(now.as_secs(), 1, us);
    }

    /// Takes in what another engine counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.waiting += other.waiting;
        self.total_requests += other.total_requests;
        self.total_responses += other.total_responses;
        self.total_solved += other.total_solved;
        self.bad_requests += other.bad_requests;
        self.dropped_requests += other.dropped_requests;
        self.expired_requests += other.expired_requests;
        self.shed_requests += other.shed_requests;
        self.given_up_requests += other.given_up_requests;
        self.lost_requests += other.lost_requests;
        self.curr_connections += other.curr_connections;
        self.total_connections += other.total_connections;
        self.slow_readers += other.slow_readers;
        self.idle_kicks += other.idle_kicks;
        self.latency_sum_us = self.latency_sum_us.saturating_add(other.latency_sum_us);
        self.recent.merge(&other.recent);
    }
}

const SECONDS: usize = 60;

/// Answers and their latencies of the last minute, by the second of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recent {
    /// The newest second that has a place.
    last: u64,
    count: [u64; SECONDS],
    latency_us: [u64; SECONDS],
}

impl Recent {
    const fn new() -> Self {
        Self { last: 0, count: [0; SECONDS], latency_us: [0; SECONDS] }
    }

    /// Adds to a second. One that is older than the minute is dropped: it has no place.
    fn add(&mut self, second: u64, count: u64, us: u64) {
        self.advance(second);
        if self.last - second < SECONDS as u64 {
            let at = (second % SECONDS as u64) as usize;
            self.count[at] += count;
            self.latency_us[at] = self.latency_us[at].saturating_add(us);
        }
    }

    /// Forgets the seconds that fall out of the minute that ends with `second`.
    fn advance(&mut self, second: u64) {
        let gone = second.saturating_sub(self.last).min(SECONDS as u64);
        for i in 0..gone {
            let at = ((second - i) % SECONDS as u64) as usize;
            (self.count[at], self.latency_us[at]) = (0, 0);
        }
        self.last = self.last.max(second);
    }

    fn merge(&mut self, other: &Self) {
        for (second, count, us) in other.seconds() {
            self.add(second, count, us);
        }
        self.advance(other.last);
    }

    /// The minute, oldest first: second, answers, sum of latencies.
    fn seconds(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let first = (self.last + 1).saturating_sub(SECONDS as u64);
        (first..=self.last).map(|second| {
            let at = (second % SECONDS as u64) as usize;
            (second, self.count[at], self.latency_us[at])
        })
    }
}

/// What is not counted but read off.
pub(super) struct Gauges {
    pub(super) service: Duration,
    pub(super) standing: bool,
    pub(super) draining: bool,
    pub(super) allowed_wait: Duration,
    pub(super) held: Held,
}

/// Appends the statistics: a key, a space and a value per line.
pub(super) fn put(out: &mut Outbox, now: Tick, stats: &Stats, gauges: &Gauges) {
    let mut recent = stats.recent.clone();
    recent.advance(now.as_secs());
    let (count, us) = recent
        .seconds()
        .fold((0, 0u64), |sum, (_, count, us)| (sum.0 + count, sum.1.saturating_add(us)));
    for (key, value) in [
        ("task_queue_size", stats.waiting),
        ("total_requests", stats.total_requests),
        ("total_responses", stats.total_responses),
        ("total_solved", stats.total_solved),
        ("bad_requests", stats.bad_requests),
        ("dropped_requests", stats.dropped_requests),
        ("expired_requests", stats.expired_requests),
        ("shed_requests", stats.shed_requests),
        ("given_up_requests", stats.given_up_requests),
        ("lost_requests", stats.lost_requests),
        ("curr_connections", stats.curr_connections),
        ("total_connections", stats.total_connections),
        ("slow_readers", stats.slow_readers),
        ("idle_kicks", stats.idle_kicks),
        ("service_ns", u64::try_from(gauges.service.as_nanos()).unwrap_or(u64::MAX)),
        ("queue_stands", gauges.standing.into()),
        ("allowed_wait_us", micros(gauges.allowed_wait)),
        ("draining", gauges.draining.into()),
        ("buffered_bytes", gauges.held.bytes() as u64),
        ("reads_stopped", gauges.held.stopped().into()),
        ("latency_sum_us", stats.latency_sum_us),
        ("latency_us_avg", stats.latency_sum_us / stats.total_responses.max(1)),
        ("last_second", recent.last),
        ("requests_60s", count),
        ("latency_sum_us_60s", us),
        ("latency_us_60s", us / count.max(1)),
    ] {
        line(out, key, core::iter::once(value));
    }
    line(out, "requests_per_second", recent.seconds().map(|(_, count, _)| count));
    line(out, "latency_sum_us_per_second", recent.seconds().map(|(_, _, us)| us));
}

/// Appends what the server was started with, and `END`.
pub(super) fn put_settings(out: &mut Outbox, config: &Config, limits: &Limits) {
    for (key, value) in [
        ("deadline_us", micros(config.deadline)),
        ("guesses", config.guesses.into()),
        ("window", config.under_way.into()),
    ] {
        line(out, key, core::iter::once(value));
    }
    config.host.each(limits, |key, value| line(out, key, core::iter::once(value)));
    out.put(b"END\r\n");
}

fn line(out: &mut Outbox, key: &str, values: impl Iterator<Item = u64>) {
    out.put(key.as_bytes());
    for value in values {
        out.put_u8(b' ');
        out.put_u64(value);
    }
    out.put(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn minute(recent: &Recent) -> Vec<(u64, u64)> {
        recent.seconds().filter(|s| s.1 > 0).map(|(second, count, _)| (second, count)).collect()
    }

    #[test]
    fn the_ring_keeps_a_minute() {
        let mut recent = Recent::new();
        recent.add(100, 1, 5);
        recent.add(100, 1, 5);
        recent.add(101, 1, 5);
        recent.add(159, 1, 5);
        assert_eq!(minute(&recent), [(100, 2), (101, 1), (159, 1)]);
        recent.add(160, 1, 5);
        assert_eq!(minute(&recent), [(101, 1), (159, 1), (160, 1)], "a minute has 60 seconds");
        recent.add(102, 1, 5);
        assert_eq!(minute(&recent), [(101, 1), (102, 1), (159, 1), (160, 1)], "back, in it");
        recent.add(100, 7, 5);
        assert_eq!(minute(&recent), [(101, 1), (102, 1), (159, 1), (160, 1)], "back, out of it");
        recent.add(161 + 60, 1, 5);
        assert_eq!(minute(&recent), [(221, 1)], "ahead, out of it");
    }

    proptest! {
        #[test]
        fn the_ring_is_a_map_of_the_last_minute(
            steps in prop::collection::vec((0u64..200, 1u64..4), 1..80), split in 0usize..80
        ) {
            let mut whole = Recent::new();
            let (mut left, mut right) = (Recent::new(), Recent::new());
            let mut model = std::collections::BTreeMap::new();
            let mut newest = 0;
            for (i, (second, count)) in steps.iter().copied().enumerate() {
                whole.add(second, count, 1);
                if i < split { &mut left } else { &mut right }.add(second, count, 1);
                newest = newest.max(second);
                if newest - second < 60 {
                    *model.entry(second).or_insert(0) += count;
                }
            }
            model.retain(|second, _| newest - second < 60);
            prop_assert_eq!(minute(&whole), model.into_iter().collect::<Vec<_>>());
            left.merge(&right);
            prop_assert_eq!(left.last, newest);
            prop_assert!(minute(&left).iter().map(|s| s.1).sum::<u64>() >= minute(&whole).iter().map(|s| s.1).sum());
        }
    }
}
