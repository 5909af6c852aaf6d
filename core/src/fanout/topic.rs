//! One topic on one engine: its log, and who waits for its next message.

use crate::fanout::log::{Entry, Log};
use crate::fanout::{Fate, Lost, Why};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Bytes,
    pub(super) fate: Fate,
    /// Distinguishes this topic from an earlier one of the same name, whose numbers meant others.
    pub(super) life: u64,
    /// False for a copy that has not been seeded by the topic's home.
    pub(super) open: bool,
    pub(super) log: Log,
    /// Coalescing: the latest entry of each key that has left the log, by number.
    kept: BTreeMap<u64, Entry>,
    kept_bytes: usize,
    /// Coalescing: the highest number of an entry that was the latest of its key and had to go.
    forgotten: u64,
    /// Coalescing: the number of the latest entry of each key.
    latest: BTreeMap<Bytes, u64>,
    /// Coalescing: where receivers that leave and are behind end.
    ends: BTreeMap<u64, End>,
    /// Local receivers that have caught up.
    waiters: Vec<u32>,
    /// Local receivers to be woken when the log's end passes an offset: they are slow.
    pub(super) alarms: BTreeSet<(u64, u32)>,
    /// Local receivers, those that are not in yet included.
    pub(super) local: usize,
}

/// The number from which on some receivers get nothing, in a coalescing topic.
#[derive(Debug, Default)]
struct End {
    receivers: usize,
    /// The highest number of an entry that is gone, and that nothing before this end replaced.
    overtaken: u64,
}

/// What is next for a receiver.
pub(super) enum Next<'a> {
    Entry(u64, &'a Entry),
    /// Skip these.
    Lost(Lost),
    CaughtUp,
}

impl Topic {
    pub(super) fn new(name: Bytes, fate: Fate, life: u64, open: bool) -> Self {
        Self {
            name,
            fate,
            life,
            open,
            log: Log::starting_at(1),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            forgotten: 0,
            latest: BTreeMap::new(),
            ends: BTreeMap::new(),
            waiters: Vec::new(),
            alarms: BTreeSet::new(),
            local: 0,
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.log.bytes() as usize + self.kept_bytes
    }

    /// Entries that could be evicted.
    pub(super) fn evictable(&self) -> usize {
        self.log.len() + self.kept.len()
    }

    /// Appends an entry, then forgets what the limits say.
    pub(super) fn append(&mut self, entry: Entry, messages: usize, bytes: usize, keys: usize) {
        if self.fate == Fate::Coalesce && !entry.is_notice() {
            let number = self.log.next();
            if let Some(before) = self.latest.insert(entry.key().clone(), number) {
                if let Some(gone) = self.kept.remove(&before) {
                    self.kept_bytes -= gone.cost();
                    self.overtake(before, number);
                } else {
                    self.log.replace(before, number);
                }
            }
        }
        self.log.push(entry);
        while self.log.len() > messages.max(1) {
            self.evict(keys);
        }
        while self.bytes() > bytes && self.evictable() > 1 {
            self.evict(keys);
        }
    }

    /// Forgets the oldest entry; in a coalescing topic, the oldest that is not the latest of its
    /// key, as long as there are not too many keys.
    pub(super) fn evict(&mut self, keys: usize) {
        if self.log.len() <= 1 && !self.kept.is_empty() {
            return self.forget_kept();
        }
        let Some((number, entry, by)) = self.log.pop() else { return };
        if let Some(by) = by {
            self.overtake(number, by);
        }
        if self.fate == Fate::Coalesce && self.latest.get(entry.key()) == Some(&number) {
            if self.kept.len() >= keys {
                self.forget_kept();
            }
            self.kept_bytes += entry.cost();
            self.kept.insert(number, entry);
        }
    }

    fn forget_kept(&mut self) {
        if let Some((number, entry)) = self.kept.pop_first() {
            self.kept_bytes -= entry.cost();
            self.forgotten = self.forgotten.max(number);
            if self.latest.get(entry.key()) == Some(&number) {
                self.latest.remove(entry.key());
            }
        }
    }

    /// An entry is gone, as another one replaced it.
    fn overtake(&mut self, number: u64, by: u64) {
        for end in self.ends.range_mut(number + 1..=by).map(|(_, end)| end) {
            end.overtaken = end.overtaken.max(number);
        }
    }

    /// A receiver gets nothing from `until` on: what comes then replaces nothing for it.
    pub(super) fn add_end(&mut self, until: u64) {
        if self.fate == Fate::Coalesce {
            self.ends.entry(until).or_default().receivers += 1;
        }
    }

    /// That receiver is gone.
    pub(super) fn remove_end(&mut self, until: u64) {
        if let Some(end) = self.ends.get_mut(&until) {
            end.receivers -= 1;
            if end.receivers == 0 {
                self.ends.remove(&until);
            }
        }
    }

    /// What [`Topic::next`] calls lost, for a receiver that gets nothing from `until` on.
    pub(super) fn lost_before(&self, until: u64, lost: Lost) -> Lost {
        let count = lost.count.min(until - lost.from);
        match self.ends.get(&until) {
            Some(end) if lost.why == Why::Replaced && end.overtaken >= lost.from => {
                let count = count.min(end.overtaken + 1 - lost.from);
                Lost { count, why: Why::Slow, ..lost }
            }
            _ => Lost { count, ..lost },
        }
    }

    /// What a receiver at `cursor` gets next. `thin`: of each key the latest will do.
    #[inline]
    pub(super) fn next(&self, cursor: u64, thin: bool) -> Next<'_> {
        if cursor < self.log.first() {
            return self.before_log(cursor);
        }
        let Some(entry) = self.log.get(cursor) else { return Next::CaughtUp };
        if thin && self.fate == Fate::Coalesce && self.is_replaced(cursor, entry) {
            let fresh = self.log.iter().skip((cursor - self.log.first()) as usize);
            let replaced = fresh.take_while(|(number, entry)| self.is_replaced(*number, entry));
            let count = replaced.count() as u64;
            return Next::Lost(Lost { from: cursor, count, why: Why::Replaced });
        }
        Next::Entry(cursor, entry)
    }

    fn before_log(&self, cursor: u64) -> Next<'_> {
        let (next, why) = match self.fate {
            Fate::Coalesce => {
                let next = match self.kept.range(cursor..).next() {
                    Some((number, entry)) if *number == cursor => {
                        return Next::Entry(cursor, entry);
                    }
                    Some((number, _)) => *number,
                    None => self.log.first(),
                };
                // Not everything up to there was replaced.
                match self.forgotten >= cursor {
                    true => (next.min(self.forgotten + 1), Why::Slow),
                    false => (next, Why::Replaced),
                }
            }
            _ => (self.log.first(), Why::Slow),
        };
        Next::Lost(Lost { from: cursor, count: next - cursor, why })
    }

    fn is_replaced(&self, number: u64, entry: &Entry) -> bool {
        !entry.is_notice() && self.latest.get(entry.key()).is_some_and(|latest| *latest > number)
    }

    /// Whether all that is gone from `number` on was replaced.
    pub(super) fn replaces_from(&self, number: u64) -> bool {
        self.fate == Fate::Coalesce && self.forgotten < number
    }

    /// The oldest number that can still be had.
    pub(super) fn oldest(&self) -> u64 {
        self.kept.keys().next().copied().unwrap_or_else(|| self.log.first())
    }

    /// The latest message, if it is held.
    pub(super) fn last_message(&self) -> Option<u64> {
        self.log.iter().rev().find(|(_, entry)| !entry.is_notice()).map(|(number, _)| number)
    }

    /// Registers a receiver that has caught up; returns its place, to leave by.
    #[inline]
    pub(super) fn wait(&mut self, receiver: u32) -> u32 {
        self.waiters.push(receiver);
        self.waiters.len() as u32 - 1
    }

    /// Takes a receiver off its place; returns the receiver that has that place now.
    pub(super) fn unwait(&mut self, place: u32) -> Option<u32> {
        self.waiters.swap_remove(place as usize);
        self.waiters.get(place as usize).copied()
    }

    pub(super) fn take_waiters(&mut self) -> Vec<u32> {
        core::mem::take(&mut self.waiters)
    }

    /// Gives the emptied list back, for its memory.
    pub(super) fn give_waiters(&mut self, list: Vec<u32>) {
        if self.waiters.is_empty() {
            self.waiters = list;
        }
    }

    /// What is to be carried to an engine that begins to follow.
    pub(super) fn seed(&self) -> Seed {
        Seed {
            first: self.log.first(),
            entries: self.log.iter().map(|(_, entry)| entry.clone()).collect(),
            kept: self.kept.iter().map(|(n, e)| (*n, e.clone())).collect(),
            forgotten: self.forgotten,
        }
    }

    pub(super) fn plant(&mut self, life: u64, seed: Seed) {
        if self.life == life {
            // What was said while nobody followed here may have replaced anything.
            self.ends.iter_mut().for_each(|(until, end)| end.overtaken = until.saturating_sub(1));
        } else {
            self.ends.clear();
        }
        self.life = life;
        self.open = true;
        self.log.jump(seed.first);
        self.kept.clear();
        self.kept_bytes = 0;
        self.forgotten = seed.forgotten;
        self.latest.clear();
        let coalesce = self.fate == Fate::Coalesce;
        for (number, entry) in seed.kept.into_iter().filter(|_| coalesce) {
            self.latest.insert(entry.key().clone(), number);
            self.kept_bytes += entry.cost();
            self.kept.insert(number, entry);
        }
        for entry in seed.entries {
            self.append(entry, usize::MAX, usize::MAX, usize::MAX);
        }
    }
}

impl Seed {
    /// What it takes, payloads included.
    pub(super) fn bytes(&self) -> usize {
        let kept = self.kept.iter().map(|(_, entry)| entry);
        self.entries.iter().chain(kept).map(Entry::cost).sum()
    }
}

/// A topic's log on its way to another engine: the payloads are shared.
#[derive(Debug)]
pub(crate) struct Seed {
    first: u64,
    entries: Vec<Entry>,
    kept: Vec<(u64, Entry)>,
    forgotten: u64,
}
