//! What a topic's home keeps, and the mail between homes and the engines that follow.

use crate::conn::Place;
use crate::engine::ConnId;
use crate::fanout::exchange::{At, Effect, Exchange};
use crate::fanout::log::Entry;
use crate::fanout::topic::Seed;
use crate::fanout::{Draft, Label, Lost, Refusal, Reply, Start};
use crate::tick::Tick;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// A connection, on whatever engine of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// The engine's number.
    pub(super) engine: usize,
    /// The connection there.
    pub(super) conn: ConnId,
}

/// Who follows a topic: kept by its home.
#[derive(Debug, Default)]
pub(super) struct Home {
    /// With the name they go by; empty for none.
    members: BTreeMap<Member, Bytes>,
    roster: BTreeMap<Bytes, (u64, Member)>,
    /// Members on each other engine that has any.
    followers: BTreeMap<usize, usize>,
    /// Since when it has no members.
    pub(super) unused_since: Option<Tick>,
}

impl Home {
    pub(super) fn is_used(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn followers(&self) -> impl Iterator<Item = usize> {
        self.followers.keys().copied()
    }

    pub(super) fn footprint(&self) -> usize {
        (self.members.len() * 2 + self.roster.len() * 3 + self.followers.len()) * 48
    }
}

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
    Left { topic: Bytes, conn: ConnId },
    /// To the home: a message.
    Say { topic: Bytes, draft: Draft, conn: ConnId, number: u64, create: bool },
    /// From the home: a message has its place. The number is the log's next.
    Said { topic: Bytes, number: u64, entry: Entry },
    /// From the home, after [`Letter::Said`]: the sender's part of the window is free.
    Took { topic: Bytes, conn: ConnId, number: u64, cost: usize, result: Result<u64, Refusal> },
    /// To the home: who is there?
    Who { topic: Bytes, conn: ConnId, most: usize },
    /// From the home: an answer for a connection.
    Tell { conn: ConnId, reply: Reply },
}

#[derive(Debug)]
pub(crate) struct Join {
    pub(super) topic: Bytes,
    pub(super) conn: ConnId,
    pub(super) number: u64,
    pub(super) label: Option<Label>,
    pub(super) came: Option<Draft>,
}

impl Join {
    pub(super) fn topic(&self) -> &[u8] {
        &self.topic
    }
}

/// What a new member needs to know.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(super) life: u64,
    pub(super) members: u64,
    /// For an engine that did not follow until now.
    pub(super) seed: Option<Seed>,
}

/// Where the topic of this name has its home.
pub(super) fn home_of(topic: &[u8], place: Place) -> usize {
    // FNV-1a: the same on every engine, which is all that is asked of it.
    let hash = topic.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % place.count as u64) as usize
}

impl Exchange {
    /// At the home: lets a member in.
    pub(super) fn admit(&mut self, at: At, engine: usize, join: Join) -> Result<Opening, Refusal> {
        let Join { topic, conn, label, came, .. } = join;
        let member = Member { engine, conn };
        let most = self.config.members;
        let index = self.home_topic(at, &topic)?;
        let home = self.homes.entry(index).or_default();
        let held = label.as_ref().and_then(|label| home.roster.get(&label.name).copied());
        let refusal = match (&label, held) {
            _ if home.members.contains_key(&member) => Some(Refusal::AlreadyMember),
            _ if home.members.len() >= most => Some(Refusal::TooManyMembers),
            (Some(label), Some((owner, _))) if owner != label.owner => Some(Refusal::NameTaken),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let name = label.as_ref().map(|label| label.name.clone()).unwrap_or_default();
        home.unused_since = None;
        home.members.insert(member, name);
        if let Some(label) = label {
            home.roster.insert(label.name, (label.owner, member));
        }
        let members = home.members.len() as u64;
        let follows = engine == at.place.index || home.followers.contains_key(&engine);
        if let Some((_, before)) = held {
            if let Some(name) = home.members.get_mut(&before) {
                *name = Bytes::new();
            }
            self.tell(at, before, Reply::Displaced { topic });
        } else if let Some(came) = came {
            self.append_at_home(at, index, came);
        }
        if engine != at.place.index
            && let Some(home) = self.homes.get_mut(&index)
        {
            *home.followers.entry(engine).or_default() += 1;
        }
        let topic = self.topic(index);
        let seed = (!follows).then(|| topic.seed());
        Ok(Opening { life: topic.life, members, seed })
    }

    /// At the home: a member is gone.
    pub(super) fn dismiss(&mut self, at: At, member: Member, topic: &[u8], went: Option<Draft>) {
        let Some(&index) = self.names.get(topic) else { return };
        let Some(home) = self.homes.get_mut(&index) else { return };
        let Some(name) = home.members.remove(&member) else { return };
        if let Some(count) = home.followers.get_mut(&member.engine) {
            *count -= 1;
            if *count == 0 {
                home.followers.remove(&member.engine);
            }
        }
        let unused = !home.is_used();
        if unused {
            home.unused_since = Some(at.now);
        }
        // A displaced member's name is someone else's now.
        if home.roster.get(&name).is_some_and(|(_, owner)| *owner == member) {
            home.roster.remove(&name);
            if let Some(went) = went {
                self.append_at_home(at, index, went);
            }
        }
        if unused {
            self.sweep_after(at.now);
        }
    }

    /// At the home: gives a message its place.
    pub(super) fn place(
        &mut self,
        at: At,
        topic: &Bytes,
        draft: Draft,
        create: bool,
    ) -> Result<u64, Refusal> {
        let index = match self.names.get(topic) {
            Some(index) => *index,
            None if create => self.home_topic(at, topic)?,
            None => return Err(Refusal::NotMember),
        };
        let home = self.homes.entry(index).or_default();
        if !home.is_used() {
            home.unused_since = Some(at.now);
        }
        Ok(self.append_at_home(at, index, draft))
    }

    fn append_at_home(&mut self, at: At, index: u32, draft: Draft) -> u64 {
        let unix_ms = self.config.unix_ms.saturating_add(at.now.0 / 1_000_000);
        let topic = self.topic(index);
        let number = topic.log.next();
        let entry = Entry::seal(draft, number, unix_ms);
        let name = topic.name.clone();
        for to in self.homes.get(&index).into_iter().flat_map(Home::followers) {
            let said = Letter::Said { topic: name.clone(), number, entry: entry.clone() };
            self.effects.push(Effect::Mail(to, said));
        }
        self.append(index, entry);
        number
    }

    /// At the home: the first names of a topic.
    pub(super) fn roster(&self, topic: &Bytes, most: usize) -> Reply {
        let home = self.names.get(topic).and_then(|index| self.homes.get(index));
        let labels = home.map_or_else(Vec::new, |home| {
            let entries = home.roster.iter().take(most);
            entries.map(|(name, (owner, _))| Label { name: name.clone(), owner: *owner }).collect()
        });
        let total = home.map_or(0, |home| home.members.len() as u64);
        Reply::Roster { topic: topic.clone(), total, labels }
    }

    /// Answers a connection, wherever it is.
    fn tell(&mut self, at: At, to: Member, reply: Reply) {
        self.effects.push(if to.engine == at.place.index {
            Effect::Post(to.conn, reply)
        } else {
            Effect::Mail(to.engine, Letter::Tell { conn: to.conn, reply })
        });
    }

    /// Mail from another engine.
    pub(super) fn open_letter(&mut self, at: At, from: usize, letter: Letter) {
        match letter {
            Letter::Join(join) => {
                let (conn, number, topic) = (join.conn, join.number, join.topic.clone());
                let result = self.admit(at, from, join);
                self.effects
                    .push(Effect::Mail(from, Letter::Joined { conn, number, topic, result }));
            }
            Letter::Joined { conn, number, topic, result } => {
                self.joined((conn, number), &topic, result);
            }
            Letter::Leave { topic, conn, went, answer } => {
                self.dismiss(at, Member { engine: from, conn }, &topic, went);
                if answer {
                    self.effects.push(Effect::Mail(from, Letter::Left { topic, conn }));
                }
            }
            Letter::Left { topic, conn } => self.left(conn, &topic),
            Letter::Say { topic, draft, conn, number, create } => {
                let cost = draft.bytes.len();
                let result = self.place(at, &topic, draft, create);
                let took = Letter::Took { topic, conn, number, cost, result };
                self.effects.push(Effect::Mail(from, took));
            }
            Letter::Said { topic, number, entry } => self.said(&topic, number, entry),
            Letter::Took { topic, conn, number, cost, result } => {
                self.window_opened(from, cost);
                self.effects.push(Effect::Post(conn, Reply::Took { number, topic, result }));
            }
            Letter::Who { topic, conn, most } => {
                let reply = self.roster(&topic, most);
                self.tell(at, Member { engine: from, conn }, reply);
            }
            Letter::Tell { conn, reply } => self.effects.push(Effect::Post(conn, reply)),
        }
    }
}

/// What a receiver that begins at `start` gets first, and what it cannot have.
pub(super) fn begin(topic: &super::topic::Topic, start: Start) -> (u64, Option<Lost>) {
    use super::Why::Gone;
    let next = topic.log.next();
    match start {
        Start::Next => (next, None),
        Start::Last(1) => (topic.last_message().unwrap_or(next), None),
        Start::Last(count) => (topic.log.last(count), None),
        Start::After { life, number } if life == topic.life => {
            let from = number.saturating_add(1).min(next);
            let oldest = topic.oldest();
            let lost = from.checked_sub(oldest).is_none();
            let lost = lost.then(|| Lost { from, count: oldest - from, why: Gone });
            (from.max(oldest), lost)
        }
        Start::After { .. } => {
            let oldest = topic.log.first();
            (oldest, Some(Lost { from: 0, count: u64::MAX, why: Gone }))
        }
    }
}
