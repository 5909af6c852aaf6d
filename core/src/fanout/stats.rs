//! What a service holds, summed up over its engines by mail, as everything between them is.

use crate::conn::Place;
use crate::engine::ConnId;
use crate::fanout::exchange::{At, Effect, Exchange};
use crate::fanout::mail::Letter;
use crate::fanout::{Reply, home::Home};
use alloc::vec::Vec;

/// What the engines of a service hold: gauges, but for the counters since the start at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Engines that were asked, the bridge not counted.
    pub engines: u64,
    /// Connections.
    pub receivers: u64,
    /// Topics.
    pub topics: u64,
    /// Members of all topics.
    pub members: u64,
    /// Bytes in the logs of topics and their copies.
    pub log_bytes: u64,
    /// Bytes that engines and the bridge have under way to each other.
    pub mail_bytes: u64,
    /// Bytes of all that, of positions and members, and of the bridge.
    pub footprint_bytes: u64,
    /// With a bridge: whether its link stands.
    pub linked: Option<bool>,
    /// Messages that the broker has not said back.
    pub bridge_pending: u64,
    /// What was in the broker's log and was no message of this service.
    pub bridge_strange: u64,
    /// How often the bridge's link was lost.
    pub bridge_losses: u64,
    /// Bytes written to disk for slow receivers.
    pub spilled_bytes: u64,
    /// Bytes of those that were read again.
    pub replayed_bytes: u64,
    /// Receivers that were kicked for being slow.
    pub kicked: u64,
}

impl Stats {
    /// Appends a line `key value` for each; those of a bridge only with one.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut put = |key: &str, value: u64| {
            let mut digits = itoa::Buffer::new();
            for part in [key, " ", digits.format(value), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        for (key, value) in [
            ("engines", self.engines),
            ("curr_connections", self.receivers),
            ("topics", self.topics),
            ("members", self.members),
            ("log_bytes", self.log_bytes),
            ("mail_bytes", self.mail_bytes),
            ("footprint_bytes", self.footprint_bytes),
            ("spilled_bytes", self.spilled_bytes),
            ("replayed_bytes", self.replayed_bytes),
            ("slow_readers", self.kicked),
        ] {
            put(key, value);
        }
        if let Some(linked) = self.linked {
            put("bridge_linked", u64::from(linked));
            put("bridge_losses", self.bridge_losses);
            put("bridge_pending", self.bridge_pending);
            put("bridge_strange", self.bridge_strange);
        }
    }

    fn add(&mut self, other: &Self) {
        self.engines += other.engines;
        self.receivers += other.receivers;
        self.topics += other.topics;
        self.members += other.members;
        self.log_bytes += other.log_bytes;
        self.mail_bytes += other.mail_bytes;
        self.footprint_bytes += other.footprint_bytes;
        self.linked = self.linked.or(other.linked);
        self.bridge_pending += other.bridge_pending;
        self.bridge_strange += other.bridge_strange;
        self.bridge_losses += other.bridge_losses;
        self.spilled_bytes += other.spilled_bytes;
        self.replayed_bytes += other.replayed_bytes;
        self.kicked += other.kicked;
    }
}

/// A sum that is not complete.
#[derive(Debug)]
pub(super) struct Counting {
    conn: ConnId,
    sum: Stats,
    /// Answers that are missing.
    left: usize,
}

impl Exchange {
    /// Asks what all engines of the service hold. [`Reply::Stats`] follows when all have said.
    pub fn count(&mut self, at: At, conn: ConnId) {
        let Place { index, count } = at.place;
        let others = (0..count + usize::from(self.config.bridged)).filter(|other| *other != index);
        self.asked += 1;
        let number = self.asked;
        let mut left = 0;
        for other in others {
            self.ask(at.place, other, Letter::Count(number));
            left += 1;
        }
        let sum = self.stats();
        self.counting.insert(number, Counting { conn, sum, left });
        self.complete(number);
    }

    /// What this engine holds. Work: its connections and topics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            engines: 1,
            receivers: self.receivers.iter().flatten().count() as u64,
            topics: self.homes.len() as u64,
            members: self.homes.values().map(Home::members).sum::<usize>() as u64,
            log_bytes: self.bytes as u64,
            mail_bytes: self.mail() as u64,
            footprint_bytes: self.footprint() as u64,
            spilled_bytes: self.spilled,
            replayed_bytes: self.replayed,
            kicked: self.kicked,
            ..Stats::default()
        }
    }

    /// Another engine, or the bridge, has said what it holds.
    pub(super) fn counted(&mut self, number: u64, stats: &Stats) {
        if let Some(counting) = self.counting.get_mut(&number) {
            counting.sum.add(stats);
            counting.left -= 1;
        }
        self.complete(number);
    }

    fn complete(&mut self, number: u64) {
        if self.counting.get(&number).is_some_and(|counting| counting.left == 0)
            && let Some(Counting { conn, sum, .. }) = self.counting.remove(&number)
        {
            self.effects.push(Effect::Post(conn, Reply::Stats(sum)));
        }
    }
}
