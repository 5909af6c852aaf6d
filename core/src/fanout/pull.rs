//! Filling a receiver's outbox from the logs.

use crate::conn::{Outbox, SHARE_FROM};
use crate::engine::ConnId;
use crate::fanout::exchange::{Exchange, State, Sub, receiver};
use crate::fanout::topic::{Next, Topic};
use crate::fanout::{Fate, Lost, Style, Why};
use alloc::vec::Vec;

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The receiver has everything.
    CaughtUp,
    /// The sink is full.
    Full,
    /// It fell out of the log of a topic whose slow receivers are kicked.
    FellOut,
}

/// What waits for a receiver in the logs, in bytes, by the fate it would meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub(super) kick: u64,
    pub(super) drop: u64,
    pub(super) coalesce: u64,
    pub(super) spill: u64,
}

impl Lag {
    pub(super) fn total(&self) -> usize {
        usize::try_from(self.kick + self.drop + self.coalesce + self.spill).unwrap_or(usize::MAX)
    }
}

/// Which topics to pull from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    All,
    /// What is on disk goes first: nothing may overtake it.
    NotSpilling,
    OnlySpilling,
}

impl From {
    fn takes(self, fate: Fate) -> bool {
        match self {
            Self::All => true,
            Self::NotSpilling => fate != Fate::Spill,
            Self::OnlySpilling => fate == Fate::Spill,
        }
    }
}

/// Where entries go.
pub(super) trait Into {
    fn len(&self) -> usize;
    fn put(&mut self, bytes: &[u8]);
    fn put_shared(&mut self, bytes: &bytes::Bytes, begin: usize);
}

impl Into for Outbox {
    #[inline]
    fn len(&self) -> usize {
        Self::len(self)
    }
    fn put(&mut self, bytes: &[u8]) {
        Self::put(self, bytes);
    }
    #[inline]
    fn put_shared(&mut self, bytes: &bytes::Bytes, begin: usize) {
        if bytes.len() - begin < SHARE_FROM {
            Self::put(self, &bytes[begin..]);
        } else {
            Self::put_shared(self, &bytes.slice(begin..));
        }
    }
}

impl Into for Vec<u8> {
    fn len(&self) -> usize {
        self.len()
    }
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn put_shared(&mut self, bytes: &bytes::Bytes, begin: usize) {
        self.extend_from_slice(&bytes[begin..]);
    }
}

impl Exchange {
    /// Appends what waits for a receiver to its outbox until that holds `full` bytes. Topics
    /// take turns from one call to the next.
    pub fn pull(
        &mut self,
        conn: ConnId,
        style: &impl Style,
        out: &mut Outbox,
        full: usize,
    ) -> Pulled {
        self.pull_from(conn, style, out, full, From::All)
    }

    pub(super) fn pull_from(
        &mut self,
        conn: ConnId,
        style: &impl Style,
        out: &mut impl Into,
        full: usize,
        from: From,
    ) -> Pulled {
        let mut notice = Vec::new();
        let mut passed = 0;
        loop {
            let (topics, receivers) = self.parts();
            let Some(receiver) = receiver(receivers, conn) else { return Pulled::CaughtUp };
            if passed == 0 {
                receiver.woken = false;
            }
            if passed >= receiver.ready.len() {
                return Pulled::CaughtUp;
            }
            let index = receiver.ready[0];
            let topic = topics[index as usize].as_mut().expect("a ready topic is held");
            if !from.takes(topic.fate) {
                receiver.ready.rotate_left(1);
                passed += 1;
                continue;
            }
            let Some(sub) = receiver.subs.get_mut(&index) else {
                receiver.ready.pop_front();
                continue;
            };
            loop {
                let limit = sub.until;
                if sub.cut && sub.cursor < limit {
                    let (from, why) = (sub.cursor, Why::Gone);
                    style.lost(&mut notice, &topic.name, Lost { from, count: limit - from, why });
                    out.put(&notice);
                    notice.clear();
                    sub.cursor = limit;
                }
                // What came after it left replaces nothing for it.
                let thin = sub.behind && !sub.is_ending();
                match topic.next(sub.cursor, thin) {
                    _ if sub.cursor >= limit => {
                        if sub.asked {
                            style.left(&mut notice, &topic.name);
                            out.put(&notice);
                            notice.clear();
                        }
                        self.drop_sub(conn, index);
                        break;
                    }
                    Next::CaughtUp => {
                        sub.behind = false;
                        sub.state = State::Waiting(topic.wait(conn.slot));
                        receiver.ready.pop_front();
                        break;
                    }
                    Next::Lost(lost) if lost.why == Why::Slow && topic.fate == Fate::Kick => {
                        return Pulled::FellOut;
                    }
                    _ if out.len() >= full => {
                        receiver.ready.rotate_left(1);
                        for ready in &receiver.ready {
                            if let Some(sub) = receiver.subs.get_mut(ready) {
                                sub.behind = true;
                            }
                        }
                        return Pulled::Full;
                    }
                    Next::Entry(number, entry) => {
                        if let Some(begin) = style.begin(entry) {
                            out.put_shared(entry.bytes(), begin);
                        }
                        sub.cursor = number + 1;
                    }
                    Next::Lost(lost) => {
                        let lost = topic.lost_before(limit, lost);
                        style.lost(&mut notice, &topic.name, lost);
                        out.put(&notice);
                        notice.clear();
                        sub.cursor = lost.from + lost.count;
                    }
                }
            }
        }
    }

    /// What waits for a receiver. Work: its ready topics.
    pub(super) fn lag(&mut self, conn: ConnId) -> Lag {
        let mut lag = Lag::default();
        self.each_ready(conn, |topic, sub| {
            let bytes = topic.log.end_offset() - topic.log.offset(sub.cursor);
            *match topic.fate {
                Fate::Kick => &mut lag.kick,
                Fate::DropOldest => &mut lag.drop,
                Fate::Coalesce => &mut lag.coalesce,
                Fate::Spill => &mut lag.spill,
            } += bytes;
        });
        lag
    }

    /// Moves a slow receiver forward in the topics that drop the oldest, so that `keep` bytes of
    /// each wait for it. The loss is reported when it reads again.
    pub(super) fn skip(&mut self, conn: ConnId, style: &impl Style, out: &mut Outbox, keep: u64) {
        let mut notice = Vec::new();
        self.each_ready(conn, |topic, sub| {
            if topic.fate != Fate::DropOldest {
                return;
            }
            let log = &topic.log;
            let from = sub.cursor;
            let target = log.end_offset().saturating_sub(keep);
            let (mut low, mut high) = (from.max(log.first()), log.next());
            while low < high {
                let middle = low + (high - low) / 2;
                if log.offset(middle) < target { low = middle + 1 } else { high = middle }
            }
            if low > from {
                style.lost(
                    &mut notice,
                    &topic.name,
                    Lost { from, count: low - from, why: Why::Slow },
                );
                sub.cursor = low;
            }
        });
        out.put(&notice);
    }

    /// Has a slow receiver woken when so many bytes wait for it in one of its topics.
    pub(super) fn alarm(&mut self, conn: ConnId, bytes: u64) {
        self.each_ready(conn, |topic, sub| {
            if topic.fate != Fate::Coalesce {
                topic.alarms.remove(&(sub.alarm, conn.slot));
                sub.alarm = topic.log.offset(sub.cursor).saturating_add(bytes);
                topic.alarms.insert((sub.alarm, conn.slot));
            }
        });
    }

    fn each_ready(&mut self, conn: ConnId, mut f: impl FnMut(&mut Topic, &mut Sub)) {
        let (topics, receivers) = self.parts();
        let Some(receiver) = receiver(receivers, conn) else { return };
        for index in &receiver.ready {
            if let Some(topic) = topics[*index as usize].as_mut()
                && let Some(sub) = receiver.subs.get_mut(index)
                && !sub.cut
            {
                f(topic, sub);
            }
        }
    }
}
