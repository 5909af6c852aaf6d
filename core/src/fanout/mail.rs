//! The mail between the engines of a service, and how much of it may be under way.
//!
//! Between each two engines runs a lane, both ways. Nobody waits for the other side:
//!
//! - Requests towards a home count until they are answered. Over [`Config::window`] connections
//!   stop asking ([`Exchange::may_ask`]); a connection that asks as it opens is refused at twice
//!   as much.
//! - What a home tells counts until it is confirmed. Over the window nothing is queued but the
//!   answers, of which there are no more than requests; the messages stay in the topic's log,
//!   where the engine is a position, as any receiver is. One that falls out of the log gets the
//!   log anew, and its receivers a gap, which is for their fate to judge.
//!
//! So what two engines have under way is bounded whatever one of them does, and what one engine
//! tells another about a topic keeps its order.

use crate::conn::Place;
use crate::engine::ConnId;
use crate::fanout::exchange::{At, Effect, Exchange, receiver};
use crate::fanout::home::{Join, Member, Opening, home_of};
use crate::fanout::log::Entry;
use crate::fanout::stats::Stats;
use crate::fanout::topic::Seed;
use crate::fanout::{Draft, Mark, Refusal, Reply};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;

#[expect(unused_imports, reason = "for the documentation")]
use crate::fanout::Config;

/// What a letter counts for beside its payload: more than it takes.
pub(super) const LETTER: usize = 256;

/// Mail between the engines of a service.
#[derive(Debug)]
pub(crate) enum Letter {
    /// To the home: a connection wants in.
    Join(Join),
    /// From the home: it is in, or not.
    Joined { conn: ConnId, number: u64, topic: Bytes, result: Result<Opening, Refusal> },
    /// To the home: a connection is out, and may want to hear that.
    Leave { topic: Bytes, conn: ConnId, went: Option<Draft>, answer: bool },
    /// From the home: it is out.
    Left { topic: Bytes, conn: ConnId, answer: bool },
    /// To the home: a message.
    Say { topic: Bytes, draft: Draft, conn: ConnId, number: u64, create: bool },
    /// From the home: a message has its place. The number is the log's next.
    Said { topic: Bytes, number: u64, entry: Entry },
    /// From the home: the log anew, for an engine that fell out of it.
    Again { topic: Bytes, life: u64, seed: Seed },
    /// From the home, after [`Letter::Said`]: the sender's part of the window is free.
    Took { topic: Bytes, conn: ConnId, number: u64, cost: usize, result: Result<u64, Refusal> },
    /// To the home: who is there?
    Who { topic: Bytes, conn: ConnId, most: usize },
    /// From the home: something for a connection, and whether it had asked.
    Tell { conn: ConnId, reply: Reply, asked: bool },
    /// To any engine and the bridge: what do you hold? With a number for the answer.
    Count(u64),
    /// That.
    Counted(u64, Stats),
    /// So much of what was told has arrived.
    Confirm(usize),
    /// From the home to the bridge: a message that wants a place.
    Out { topic: Bytes, bytes: Vec<u8>, origin: Origin },
    /// From the bridge to the home: the next message in the broker's order.
    Ordered { topic: Bytes, draft: Draft, unix_ms: u64, origin: Option<Origin> },
    /// From the bridge to the home: a message has no place.
    Unplaced { topic: Bytes, origin: Origin, why: Refusal },
    /// From the bridge to all.
    Link(Mark),
}

/// Who waits for a message to have its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(super) member: Member,
    pub(super) number: u64,
    pub(super) cost: usize,
}

impl Letter {
    /// What a request counts for until it is answered.
    fn asks(&self) -> usize {
        match self {
            Self::Say { draft, .. } => LETTER + draft.bytes.len(),
            Self::Join(_) | Self::Leave { .. } | Self::Who { .. } | Self::Count(_) => LETTER,
            _ => 0,
        }
    }

    /// What an answer frees of that.
    fn answers(&self) -> usize {
        match self {
            Self::Took { cost, .. } => *cost,
            Self::Tell { asked: false, .. } => 0,
            Self::Joined { .. } | Self::Left { .. } | Self::Tell { .. } | Self::Counted(..) => {
                LETTER
            }
            _ => 0,
        }
    }

    /// What it counts for until it is confirmed.
    pub(super) fn tells(&self) -> usize {
        match self {
            Self::Said { entry, .. } => LETTER + entry.bytes().len() + entry.key().len(),
            Self::Again { seed, .. } => LETTER + seed.bytes(),
            Self::Joined { result: Ok(Opening { seed: Some(seed), .. }), .. } => {
                LETTER + seed.bytes()
            }
            Self::Tell { reply: Reply::Roster { labels, .. }, .. } => {
                LETTER
                    + labels
                        .iter()
                        .map(|label| size_of_val(label) + label.name.len())
                        .sum::<usize>()
            }
            Self::Ordered { draft, .. } => LETTER + draft.bytes.len() + draft.key.len(),
            Self::Joined { .. } | Self::Left { .. } | Self::Took { .. } | Self::Tell { .. } => {
                LETTER
            }
            Self::Unplaced { .. } | Self::Link(_) | Self::Counted(..) => LETTER,
            _ => 0,
        }
    }
}

/// The mail between this engine and another one.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Requests it has not answered, in bytes.
    asked: usize,
    /// What it was told and has not confirmed, in bytes.
    told: usize,
    /// What it told us and we have not confirmed, in bytes.
    heard: usize,
    /// Answers that wait until it confirms something, oldest first.
    owed: VecDeque<Owed>,
    /// Topics at home here of which it has not been told everything.
    behind: BTreeSet<u32>,
    /// Which of them had its turn.
    hand: u32,
}

#[derive(Debug)]
struct Owed {
    answer: Letter,
    topic: Bytes,
    /// It comes behind the topic's messages up to this number.
    upto: u64,
}

impl Exchange {
    /// Whether a connection may ask for something now. If not it is woken when it may: until then
    /// it should stop with [`Stop::Waiting`](crate::conn::Stop::Waiting).
    pub fn may_ask(&mut self, conn: ConnId) -> bool {
        let mut lanes = self.lanes.iter();
        if !self.linked {
            // What waits for the broker holds nobody up: what is said now is refused.
            lanes.next_back();
        }
        let full = lanes.any(|lane| lane.asked >= self.config.window);
        if full
            && let Some(receiver) = receiver(&mut self.receivers, conn)
            && !core::mem::replace(&mut receiver.held_back, true)
        {
            self.held_back.push(conn);
        }
        !full
    }

    /// Bytes of mail from this engine, payloads that logs hold too included, that others have not
    /// answered or confirmed, and of answers that wait for that.
    #[must_use]
    pub fn mail(&self) -> usize {
        let lanes = self.lanes.iter();
        lanes.map(|lane| lane.asked + lane.told + lane.owed.len() * size_of::<Owed>()).sum()
    }

    /// Whether so much is under way to an engine that even those that cannot wait are refused.
    pub(super) fn is_jammed(&self, home: usize) -> bool {
        self.lanes.get(home).is_some_and(|lane| lane.asked >= 2 * self.config.window)
    }

    /// Publishes by way of the bridge, wherever the topic's home is.
    pub(super) fn publish_out(
        &mut self,
        at: At,
        topic: &Bytes,
        draft: Draft,
        origin: Origin,
        create: bool,
    ) -> Result<(), Refusal> {
        if !self.linked {
            return Err(Refusal::Unlinked);
        }
        let home = home_of(topic, at.place);
        if home == at.place.index {
            self.forward(at, topic.clone(), draft, origin, create)?;
        } else {
            let (topic, Origin { member, number, .. }) = (topic.clone(), origin);
            let say = Letter::Say { topic, draft, conn: member.conn, number, create };
            self.effects.push(Effect::Mail(home, say));
        }
        self.lane(at.place, at.place.count).asked += origin.cost;
        Ok(())
    }

    /// Sends a request to a topic's home on another engine.
    pub(super) fn ask(&mut self, place: Place, home: usize, letter: Letter) {
        self.lane(place, home).asked += letter.asks();
        self.effects.push(Effect::Mail(home, letter));
    }

    /// Answers another engine, behind all that it is to be told about the topic until now.
    pub(super) fn answer(&mut self, place: Place, to: usize, topic: &Bytes, answer: Letter) {
        let window = self.config.window;
        let lane = self.lane(place, to);
        if lane.told < window && lane.owed.is_empty() {
            return self.tell(to, topic, answer);
        }
        let log = self.names.get(topic).and_then(|i| self.topics[*i as usize].as_ref());
        let upto = log.map_or(0, |topic| topic.log.next());
        self.lanes[to].owed.push_back(Owed { answer, topic: topic.clone(), upto });
    }

    /// Tells the engines that follow a topic about its next entry, or has them follow later.
    pub(super) fn spread(&mut self, place: Place, index: u32, number: u64, entry: &Entry) {
        let Some(home) = self.homes.get_mut(&index) else { return };
        let name = &self.topics[index as usize].as_ref().expect("a home has a topic").name;
        for (to, follower) in home.followers.iter_mut() {
            if self.lanes.len() <= place.count {
                self.lanes.resize_with(place.count + 1, Lane::default);
            }
            let lane = &mut self.lanes[*to];
            if follower.next == Some(number) && lane.told < self.config.window {
                follower.next = Some(number + 1);
                let said = Letter::Said { topic: name.clone(), number, entry: entry.clone() };
                lane.told += said.tells();
                self.effects.push(Effect::Mail(*to, said));
            } else if follower.next.is_some() {
                lane.behind.insert(index);
            }
        }
    }

    /// Mail has come: settles the accounts it belongs to.
    pub(super) fn account(&mut self, at: At, from: usize, letter: &Letter) {
        let window = self.config.window;
        let lane = self.lane(at.place, from);
        lane.heard += letter.tells();
        if lane.heard >= (window / 4).max(1) {
            let heard = core::mem::take(&mut lane.heard);
            self.effects.push(Effect::Mail(from, Letter::Confirm(heard)));
        }
        let answers = letter.answers();
        if answers > 0 {
            let bridged = self.config.bridged && matches!(letter, Letter::Took { .. });
            self.answered(if bridged { at.place.count } else { from }, answers);
        }
    }

    /// An engine has confirmed so much: it is told more.
    pub(super) fn confirmed(&mut self, place: Place, from: usize, bytes: usize) {
        let lane = self.lane(place, from);
        lane.told = lane.told.saturating_sub(bytes);
        while self.lanes[from].told < self.config.window {
            if let Some(owed) = self.lanes[from].owed.pop_front() {
                let index = self.names.get(&owed.topic).copied();
                if index.is_none_or(|index| self.catch_up(from, index, owed.upto)) {
                    self.tell(from, &owed.topic, owed.answer);
                } else {
                    self.lanes[from].owed.push_front(owed);
                }
                continue;
            }
            let lane = &mut self.lanes[from];
            let next = lane.behind.range(lane.hand.saturating_add(1)..).next();
            let Some(&index) = next.or_else(|| lane.behind.first()) else { return };
            lane.hand = index;
            if self.catch_up(from, index, u64::MAX) {
                self.lanes[from].behind.remove(&index);
            }
        }
    }

    /// Tells an engine one piece of a topic, unless it has all before `upto`: then true.
    fn catch_up(&mut self, to: usize, index: u32, upto: u64) -> bool {
        let topic = self.topics.get(index as usize).and_then(Option::as_ref);
        let home = self.homes.get_mut(&index);
        let (Some(topic), Some(home)) = (topic, home) else { return true };
        let Some(follower) = home.followers.get_mut(&to) else { return true };
        let Some(next) = follower.lacks(upto.min(topic.log.next())) else { return true };
        let name = topic.name.clone();
        let letter = match topic.log.get(next) {
            Some(entry) => {
                follower.next = Some(next + 1);
                Letter::Said { topic: name, number: next, entry: entry.clone() }
            }
            None => {
                follower.next = Some(topic.log.next());
                Letter::Again { topic: name, life: topic.life, seed: topic.seed() }
            }
        };
        home.forget_if_done(to);
        self.lanes[to].told += letter.tells();
        self.effects.push(Effect::Mail(to, letter));
        false
    }

    /// Sends an answer; who follows with it gets the log.
    fn tell(&mut self, to: usize, topic: &Bytes, mut answer: Letter) {
        if let Letter::Joined { result: Ok(opening), .. } = &mut answer
            && let Some(&index) = self.names.get(topic)
            && let Some(topic) = &self.topics[index as usize]
        {
            // Who has left in the meantime gets it too, for what else waits there.
            let home = self.homes.get_mut(&index);
            if home.is_none_or(|home| home.begins(to, topic.log.next())) {
                opening.seed = Some(topic.seed());
            }
        }
        self.lanes[to].told += answer.tells();
        self.effects.push(Effect::Mail(to, answer));
    }

    /// Answers a connection, wherever it is.
    pub(super) fn reply(&mut self, at: At, to: Member, topic: &Bytes, reply: Reply, asked: bool) {
        if to.engine == at.place.index {
            self.effects.push(Effect::Post(to.conn, reply));
        } else {
            let tell = Letter::Tell { conn: to.conn, reply, asked };
            self.answer(at.place, to.engine, topic, tell);
        }
    }

    /// Requests to an engine, of so many bytes, are answered.
    pub(super) fn answered(&mut self, home: usize, bytes: usize) {
        let Some(lane) = self.lanes.get_mut(home) else { return };
        lane.asked = lane.asked.saturating_sub(bytes);
        if lane.asked < self.config.window {
            self.let_go();
        }
    }

    /// Those that were held back may ask again.
    pub(super) fn let_go(&mut self) {
        for conn in self.held_back.drain(..) {
            if let Some(receiver) = receiver(&mut self.receivers, conn) {
                receiver.held_back = false;
                self.effects.push(Effect::Wake(conn));
            }
        }
    }

    fn lane(&mut self, place: Place, other: usize) -> &mut Lane {
        if self.lanes.len() <= place.count {
            self.lanes.resize_with(place.count + 1, Lane::default);
        }
        &mut self.lanes[other]
    }
}
