//! What an exchange holds, and how it gives it back.

use crate::fanout::Exchange;
use crate::fanout::exchange::{Receiver, Sub};
use crate::fanout::home::Home;
use crate::fanout::stats::Counting;
use crate::fanout::topic::Topic;
use crate::tick::Tick;
use alloc::vec::Vec;
use core::time::Duration;

impl Exchange {
    /// When [`Exchange::upkeep`] is due.
    #[must_use]
    pub const fn upkeep_due(&self) -> Option<Tick> {
        self.sweep
    }

    /// Frees topics that have been unused for long enough.
    pub fn upkeep(&mut self, now: Tick) {
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        let keep = self.config.keep_unused;
        let due = self.unused().filter(|(since, _)| *since + keep <= now);
        let due: Vec<u32> = due.map(|(_, index)| index).collect();
        for index in due {
            self.free_topic(index);
        }
        let next = self.homes.values().filter_map(|home| home.unused_since).min();
        self.sweep = next.map(|since| (since + keep).max(now + Duration::from_secs(1)));
    }

    /// Topics that nobody follows and nobody is still to be served from, and since when.
    pub(super) fn unused(&self) -> impl Iterator<Item = (Tick, u32)> {
        self.homes.iter().filter_map(|(index, home)| {
            let topic = self.topics[*index as usize].as_ref();
            let idle = home.followers.is_empty() && topic.is_some_and(|topic| topic.local == 0);
            home.unused_since.filter(|_| idle).map(|since| (since, *index))
        })
    }

    pub(super) fn sweep_after(&mut self, now: Tick) {
        let at = now + self.config.keep_unused;
        self.sweep = Some(self.sweep.map_or(at, |sweep| sweep.min(at)));
    }

    /// Topics on this engine: those at home here and copies of others.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.names.len()
    }

    /// Bytes held: logs, positions, members, mail that is under way.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let subs: usize = self.receivers.iter().flatten().map(|r| r.subs.len()).sum();
        self.bytes
            + self.topics.capacity() * size_of::<Option<Topic>>()
            + self.receivers.capacity() * size_of::<Option<Receiver>>()
            + subs * 2 * size_of::<(u32, Sub)>()
            + self.homes.values().map(Home::footprint).sum::<usize>()
            + self.mail()
            + self.counting.len() * 2 * size_of::<Counting>()
    }

    /// A topic without local receivers that nobody needs any more.
    pub(super) fn free_topic(&mut self, index: u32) {
        self.homes.remove(&index);
        if let Some(topic) = self.topics[index as usize].take() {
            self.bytes -= topic.bytes();
            self.names.remove(&topic.name);
            self.vacant.push(index);
        }
    }

    /// Evicts entries until all topics together are within their cap: from the topic that was
    /// just published to while it holds more than its share, then from others in turn.
    pub(super) fn shrink(&mut self, index: u32) {
        let share = self.config.total_bytes / self.names.len().max(1);
        let mut passed = 0;
        let mut victim = index as usize;
        while self.bytes > self.config.total_bytes && passed <= self.topics.len() {
            let keys = self.config.keys;
            match &mut self.topics[victim] {
                Some(topic) if topic.bytes() > share && topic.evictable() > 1 => {
                    let before = topic.bytes();
                    topic.evict(keys);
                    self.bytes -= before - topic.bytes();
                    passed = 0;
                }
                _ => {
                    self.hand = (self.hand + 1) % self.topics.len();
                    victim = self.hand;
                    passed += 1;
                }
            }
        }
    }
}
