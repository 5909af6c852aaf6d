//! What a topic's home keeps, and what it does with its mail.

use crate::conn::Place;
use crate::engine::ConnId;
use crate::fanout::exchange::{At, Effect, Exchange};
use crate::fanout::log::Entry;
use crate::fanout::mail::{LETTER, Letter, Origin};
use crate::fanout::topic::{Seed, Topic};
use crate::fanout::{Draft, Label, Lost, Mark, Refusal, Reply, Start};
use crate::tick::Tick;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;

/// A connection, on whatever engine of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
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
    /// Each other engine that has members, or is to be told what came before the last one left.
    pub(super) followers: BTreeMap<usize, Follower>,
    /// Since when it has no members.
    pub(super) unused_since: Option<Tick>,
}

/// An engine that keeps a copy of the log.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Members there.
    members: usize,
    /// The number of the next entry it is told; none before it was told of its first member.
    pub(super) next: Option<u64>,
    /// The last member there has left, and gets what came before this number.
    ended: Option<u64>,
    /// A member came after that: its engine may have given its copy up.
    anew: bool,
}

impl Follower {
    fn came(&mut self) {
        self.anew |= self.ended.take().is_some();
        self.members += 1;
    }

    fn went(&mut self, log_next: u64) {
        self.members -= 1;
        if self.members == 0 {
            self.ended = Some(log_next);
        }
    }

    /// The next entry it is to be told, of those before `upto`.
    pub(super) fn lacks(&self, upto: u64) -> Option<u64> {
        let upto = self.ended.map_or(upto, |ended| upto.min(ended));
        self.next.filter(|next| *next < upto)
    }

    /// Nobody there waits for anything.
    fn is_done(&self) -> bool {
        self.ended.is_some() && self.lacks(u64::MAX).is_none()
    }
}

impl Home {
    /// Whether the log, up to `next`, goes with the answer to a member on that engine, which is told
    /// now.
    pub(super) fn begins(&mut self, engine: usize, next: u64) -> bool {
        let Some(follower) = self.followers.get_mut(&engine) else { return true };
        let begins = core::mem::take(&mut follower.anew) || follower.next.is_none();
        if begins {
            follower.next = Some(next);
            self.forget_if_done(engine);
        }
        begins
    }

    /// Forgets an engine that lacks nothing and has no members.
    pub(super) fn forget_if_done(&mut self, engine: usize) {
        if self.followers.get(&engine).is_some_and(Follower::is_done) {
            self.followers.remove(&engine);
        }
    }

    pub(super) fn is_used(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn footprint(&self) -> usize {
        (self.members.len() * 2 + self.roster.len() * 3 + self.followers.len()) * 48
    }
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
    /// What the member is not to miss begins here, however late it hears that it is in.
    pub(super) next: u64,
    /// For an engine that did not follow until now: filled in as the letter leaves.
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
        if let Some((_, before)) = held {
            if let Some(name) = home.members.get_mut(&before) {
                *name = Bytes::new();
            }
            let displaced = Reply::Displaced { topic: topic.clone() };
            self.reply(at, before, &topic, displaced, false);
        } else if let Some(came) = came {
            self.append_at_home(at, index, came);
        }
        if engine != at.place.index
            && let Some(home) = self.homes.get_mut(&index)
        {
            home.followers.entry(engine).or_default().came();
        }
        let topic = self.topic(index);
        Ok(Opening { life: topic.life, members, next: topic.log.next(), seed: None })
    }

    /// At the home: a member is gone.
    pub(super) fn dismiss(&mut self, at: At, member: Member, topic: &[u8], went: Option<Draft>) {
        let Some(&index) = self.names.get(topic) else { return };
        let next = self.topic(index).log.next();
        let Some(home) = self.homes.get_mut(&index) else { return };
        let Some(name) = home.members.remove(&member) else { return };
        if let Some(follower) = home.followers.get_mut(&member.engine) {
            follower.went(next);
            home.forget_if_done(member.engine);
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

    /// At the home of a topic that is shared: hands a message to the bridge.
    pub(super) fn forward(
        &mut self,
        at: At,
        topic: Bytes,
        draft: Draft,
        origin: Origin,
        create: bool,
    ) -> Result<(), Refusal> {
        if !self.linked {
            return Err(Refusal::Unlinked);
        }
        if create {
            self.home_topic(at, &topic)?;
        } else if !self.names.contains_key(&topic) {
            return Err(Refusal::NotMember);
        }
        let out = Letter::Out { topic, bytes: draft.bytes, origin };
        self.effects.push(Effect::Mail(at.place.count, out));
        Ok(())
    }

    /// At the home: a message has its place in the order of all processes.
    fn ordered(
        &mut self,
        at: At,
        topic: &Bytes,
        draft: Draft,
        unix_ms: u64,
    ) -> Result<u64, Refusal> {
        let index = self.home_topic(at, topic)?;
        let home = self.homes.entry(index).or_default();
        if !home.is_used() {
            home.unused_since = Some(at.now);
        }
        Ok(self.append_stamped(at, index, draft, unix_ms))
    }

    /// At the home: who published a shared message hears what became of it.
    fn settle(&mut self, at: At, topic: Bytes, origin: Origin, result: Result<u64, Refusal>) {
        let Origin { member, number, cost } = origin;
        if member.engine == at.place.index {
            self.answered(at.place.count, cost);
            self.effects.push(Effect::Post(member.conn, Reply::Took { number, topic, result }));
        } else {
            let (name, conn) = (topic.clone(), member.conn);
            let took = Letter::Took { topic, conn, number, cost, result };
            self.answer(at.place, member.engine, &name, took);
        }
    }

    /// The bridge says how its link is: so do the topics whose home is here.
    fn link(&mut self, at: At, mark: Mark) {
        let was = core::mem::replace(&mut self.linked, mark != Mark::Down);
        let changed = mark == Mark::Gap || was != self.linked;
        let homes = self.homes.iter();
        // A gap is one for those who come back, too.
        let marked = homes.filter(|(_, home)| changed && (mark == Mark::Gap || home.is_used()));
        let marked: Vec<u32> = marked.map(|(index, _)| *index).collect();
        for index in marked {
            let draft = (self.config.mark)(&self.topic(index).name, mark);
            self.append_at_home(at, index, draft);
        }
        self.let_go();
    }

    fn append_at_home(&mut self, at: At, index: u32, draft: Draft) -> u64 {
        let unix_ms = self.config.unix_ms.saturating_add(at.now.0 / 1_000_000);
        self.append_stamped(at, index, draft, unix_ms)
    }

    fn append_stamped(&mut self, at: At, index: u32, draft: Draft, unix_ms: u64) -> u64 {
        let topic = self.topic(index);
        let number = topic.log.next();
        let entry = Entry::seal(draft, number, unix_ms);
        self.spread(at.place, index, number, &entry);
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

    /// Mail from another engine.
    pub(super) fn open_letter(&mut self, at: At, from: usize, letter: Letter) {
        self.account(at, from, &letter);
        match letter {
            Letter::Join(join) => {
                let (conn, number, topic) = (join.conn, join.number, join.topic.clone());
                let result = self.admit(at, from, join);
                let joined = Letter::Joined { conn, number, topic: topic.clone(), result };
                self.answer(at.place, from, &topic, joined);
            }
            Letter::Joined { conn, number, topic, result } => {
                self.joined((conn, number), &topic, result);
            }
            Letter::Leave { topic, conn, went, answer } => {
                self.dismiss(at, Member { engine: from, conn }, &topic, went);
                let left = Letter::Left { topic: topic.clone(), conn, answer };
                self.answer(at.place, from, &topic, left);
            }
            Letter::Left { topic, conn, answer } => {
                if answer {
                    self.left(conn, &topic);
                }
            }
            Letter::Say { topic, draft, conn, number, create } => {
                let cost = LETTER + draft.bytes.len();
                if self.config.bridged {
                    let origin = Origin { member: Member { engine: from, conn }, number, cost };
                    if let Err(why) = self.forward(at, topic.clone(), draft, origin, create) {
                        self.settle(at, topic, origin, Err(why));
                    }
                    return;
                }
                let result = self.place(at, &topic, draft, create);
                let took = Letter::Took { topic: topic.clone(), conn, number, cost, result };
                self.answer(at.place, from, &topic, took);
            }
            Letter::Said { topic, number, entry } => self.said(&topic, number, entry),
            Letter::Again { topic, life, seed } => {
                if let Some(&index) = self.names.get(&topic) {
                    self.plant(index, life, seed);
                }
            }
            Letter::Took { topic, conn, number, result, .. } => {
                self.effects.push(Effect::Post(conn, Reply::Took { number, topic, result }));
            }
            Letter::Who { topic, conn, most } => {
                let reply = self.roster(&topic, most);
                self.reply(at, Member { engine: from, conn }, &topic, reply, true);
            }
            Letter::Tell { conn, reply, .. } => self.effects.push(Effect::Post(conn, reply)),
            Letter::Count(number) => {
                let counted = Letter::Counted(number, self.stats());
                self.answer(at.place, from, &Bytes::new(), counted);
            }
            Letter::Counted(number, stats) => self.counted(number, &stats),
            Letter::Confirm(bytes) => self.confirmed(at.place, from, bytes),
            Letter::Ordered { topic, draft, unix_ms, origin } => {
                let result = self.ordered(at, &topic, draft, unix_ms);
                if let Some(origin) = origin {
                    self.settle(at, topic, origin, result);
                }
            }
            Letter::Unplaced { topic, origin, why } => self.settle(at, topic, origin, Err(why)),
            Letter::Link(mark) => self.link(at, mark),
            Letter::Out { .. } => debug_assert!(false, "mail for a bridge"),
        }
    }
}

/// What a receiver that begins at `start` gets first, and what it cannot have. It has been a member
/// since the message `since` was the next one: what came from then on is not history.
pub(super) fn begin(topic: &Topic, start: Start, since: u64) -> (u64, Option<Lost>) {
    let next = topic.log.next();
    let history = match start {
        Start::Next => next,
        Start::Last(1) => topic.last_message().unwrap_or(next),
        Start::Last(count) => topic.log.last(count),
        Start::After { life, number } if life == topic.life => {
            let from = number.saturating_add(1).min(next);
            return reach(topic, from, from);
        }
        Start::After { .. } => {
            let oldest = topic.log.first();
            return (oldest, Some(Lost { from: 0, count: u64::MAX, why: super::Why::Gone }));
        }
    };
    reach(topic, history.min(since), since.min(next))
}

/// Begins at `from`, or as soon after it as the log reaches back; what is missing from `due` on is
/// a loss.
fn reach(topic: &Topic, from: u64, due: u64) -> (u64, Option<Lost>) {
    let oldest = topic.oldest();
    if due >= oldest {
        return (from, None);
    }
    let why = if topic.replaces_from(due) { super::Why::Replaced } else { super::Why::Gone };
    (oldest, Some(Lost { from: due, count: oldest - due, why }))
}
