//! All topics and receivers of one engine.

use crate::conn::{Place, Session, Upkeep};
use crate::engine::ConnId;
use crate::fanout::home::{Home, Member, home_of};
use crate::fanout::log::Entry;
use crate::fanout::mail::{LETTER, Lane, Letter, Origin};
use crate::fanout::stats::Counting;
use crate::fanout::topic::{Seed, Topic};
use crate::fanout::{Config, Draft, Fate, Kind, Message, Refusal, Reply, Start};
use crate::tick::Tick;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// The topics of a fan-out service on one engine, and who receives them.
///
/// Lives in the shared state of a protocol's sessions, which reach it through [`with`]. Every
/// call does bounded work; publishing costs as much as there are receivers that had caught up.
pub struct Exchange {
    pub(super) config: Config,
    pub(super) topics: Vec<Option<Topic>>,
    pub(super) vacant: Vec<u32>,
    pub(super) names: BTreeMap<Bytes, u32>,
    /// Of the topics whose home is here.
    pub(super) homes: BTreeMap<u32, Home>,
    /// By the slot of the connection.
    pub(super) receivers: Vec<Option<Receiver>>,
    pub(super) effects: Vec<Effect>,
    /// Bytes held by all topics.
    pub(super) bytes: usize,
    /// Where the search for something to evict goes on.
    pub(super) hand: usize,
    lives: u64,
    /// The mail with each other engine, by its number.
    pub(super) lanes: Vec<Lane>,
    /// Counts joins, to tell a late answer from the current one.
    pub(super) joins: u64,
    /// Receivers that wait for room in them.
    pub(super) held_back: Vec<ConnId>,
    /// Whether the bridge has its link, as far as this engine knows.
    pub(super) linked: bool,
    /// When unused topics are looked at next.
    pub(super) sweep: Option<Tick>,
    /// Sums that are not complete, by the number of the question.
    pub(super) counting: BTreeMap<u64, Counting>,
    /// Counts those questions.
    pub(super) asked: u64,
    /// Bytes written to disk, bytes read again, receivers that were too slow.
    pub(super) spilled: u64,
    pub(super) replayed: u64,
    pub(super) kicked: u64,
}

/// When and where a call happens.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The time.
    pub now: Tick,
    /// The engine.
    pub place: Place,
}

impl At {
    /// When and where a session's call happens.
    #[must_use]
    pub fn of<S: Session>(up: &Upkeep<'_, S>) -> Self {
        Self { now: up.now, place: up.place() }
    }

    /// Whether a topic of this name has its home here.
    #[must_use]
    pub fn is_home(&self, topic: &[u8]) -> bool {
        home_of(topic, self.place) == self.place.index
    }
}

/// What a call leaves to be done by the engine.
pub(super) enum Effect {
    Wake(ConnId),
    Post(ConnId, Reply),
    Mail(usize, Letter),
}

/// One connection as a receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) conn: ConnId,
    pub(super) subs: BTreeMap<u32, Sub>,
    /// Topics that have something for it, the next one to be served in front.
    pub(super) ready: VecDeque<u32>,
    pub(super) woken: bool,
    /// In the list of those that wait to publish.
    pub(super) held_back: bool,
}

/// A receiver's part in a topic.
#[derive(Debug)]
pub(super) struct Sub {
    /// The number of the next entry it gets.
    pub(super) cursor: u64,
    pub(super) state: State,
    /// It was slow and has not caught up.
    pub(super) behind: bool,
    /// Where in the topic's alarms it is; zero for nowhere.
    pub(super) alarm: u64,
    /// It has not said goodbye to the home.
    pub(super) member: bool,
    /// It gets no entries from this number on.
    pub(super) until: u64,
    /// It asked to leave and is to hear when it has.
    pub(super) asked: bool,
    /// The log is of another life of the topic: what it has not got is lost.
    pub(super) cut: bool,
    pub(super) went: Option<Draft>,
}

impl Sub {
    /// It gets no more than what is there now, or less if it ended before.
    pub(super) fn end(&mut self, topic: &mut Topic) {
        if !self.is_ending() {
            self.until = topic.log.next();
            topic.add_end(self.until);
        }
    }

    pub(super) const fn is_ending(&self) -> bool {
        self.until != u64::MAX
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// The home has not answered the join of this number.
    Joining(u64, Start),
    /// The session has not begun to listen.
    Joined,
    /// In the topic's list of waiters, at this place.
    Waiting(u32),
    /// In the receiver's list of ready topics.
    Ready,
}

/// Where a published message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It has this sequence number.
    At(u64),
    /// On its way to the topic's home; [`Reply::Took`] will say.
    Sent,
}

/// Runs `f` on a service's exchange, then does what it leaves behind: wakes, posts, mail.
pub fn with<S, R>(up: &mut Upkeep<'_, S>, f: impl FnOnce(&mut Exchange, At) -> R) -> R
where
    S: Session<Message = Message>,
    S::Shared: AsMut<Exchange>,
{
    let at = At::of(up);
    let exchange = up.shared.as_mut();
    let result = f(exchange, at);
    if !exchange.effects.is_empty() {
        let mut effects = core::mem::take(&mut exchange.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Wake(conn) => up.wake(conn),
                Effect::Post(conn, reply) => up.post(conn, Message(Kind::Reply(reply))),
                Effect::Mail(to, letter) => up.mail(to, Message(Kind::Letter(letter))),
            }
        }
        effects.shrink_to(1024);
        up.shared.as_mut().effects = effects;
    }
    result
}

impl Exchange {
    /// No topics, no receivers.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        // What is over the hard mark is over the soft one: receivers are looked at from there on.
        config.slow.soft = config.slow.soft.min(config.slow.hard);
        config.keys = config.keys.max(1);
        // Processes that share topics must not take each other's numbers for their own.
        let lives = (config.unix_ms << 20) ^ config.process;
        Self {
            config,
            topics: Vec::new(),
            vacant: Vec::new(),
            names: BTreeMap::new(),
            homes: BTreeMap::new(),
            receivers: Vec::new(),
            effects: Vec::new(),
            bytes: 0,
            hand: 0,
            lives,
            lanes: Vec::new(),
            joins: 0,
            held_back: Vec::new(),
            linked: true,
            sweep: None,
            counting: BTreeMap::new(),
            asked: 0,
            spilled: 0,
            replayed: 0,
            kicked: 0,
        }
    }

    /// The limits.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Publishes. `create`: also into a topic that nobody has joined.
    ///
    /// # Errors
    /// What can be said at once; no reply follows.
    pub fn publish(
        &mut self,
        at: At,
        conn: ConnId,
        topic: &Bytes,
        draft: Draft,
        (number, create): (u64, bool),
    ) -> Result<Published, Refusal> {
        if self.config.bridged {
            let member = Member { engine: at.place.index, conn };
            let origin = Origin { member, number, cost: LETTER + draft.bytes.len() };
            return self.publish_out(at, topic, draft, origin, create).map(|()| Published::Sent);
        }
        let home = home_of(topic, at.place);
        if home == at.place.index {
            return self.place(at, topic, draft, create).map(Published::At);
        }
        let topic = topic.clone();
        self.ask(at.place, home, Letter::Say { topic, draft, conn, number, create });
        Ok(Published::Sent)
    }

    /// Publishes on the service's own behalf to a topic whose home is here.
    ///
    /// # Errors
    /// There are too many topics.
    pub fn publish_here(&mut self, at: At, topic: &Bytes, draft: Draft) -> Result<u64, Refusal> {
        self.place(at, topic, draft, true)
    }

    /// Asks who is in a topic: the first `most` names. [`Reply::Roster`] follows.
    pub fn who(&mut self, at: At, conn: ConnId, topic: &Bytes, most: usize) {
        let home = home_of(topic, at.place);
        if home == at.place.index {
            self.effects.push(Effect::Post(conn, self.roster(topic, most)));
        } else {
            self.ask(at.place, home, Letter::Who { topic: topic.clone(), conn, most });
        }
    }

    /// Mail from another engine of the service.
    pub fn receive(&mut self, at: At, from: usize, message: Message) {
        if let Kind::Letter(letter) = message.0 {
            self.open_letter(at, from, letter);
        }
    }

    /// Whether a receiver that takes nothing is kicked, whatever it has had.
    pub(super) fn kicks(&mut self, conn: ConnId) -> bool {
        let Some(receiver) = receiver(&mut self.receivers, conn) else { return true };
        let fates = receiver.subs.keys().filter_map(|index| self.topics[*index as usize].as_ref());
        receiver.subs.is_empty() || fates.into_iter().any(|topic| topic.fate == Fate::Kick)
    }

    /// Whether anyone on any engine follows a topic whose home is here.
    #[must_use]
    pub fn is_followed(&self, topic: &[u8]) -> bool {
        self.names.get(topic).and_then(|i| self.homes.get(i)).is_some_and(Home::is_used)
    }

    #[inline]
    pub(super) fn topic(&mut self, index: u32) -> &mut Topic {
        self.topics[index as usize].as_mut().expect("an index of a topic that is held")
    }

    #[inline]
    pub(super) fn parts(&mut self) -> (&mut [Option<Topic>], &mut [Option<Receiver>]) {
        (&mut self.topics, &mut self.receivers)
    }

    pub(super) fn receiver(&mut self, conn: ConnId) -> Option<&mut Receiver> {
        receiver(&mut self.receivers, conn)
    }

    pub(super) fn sub_indices(&mut self, conn: ConnId) -> Vec<u32> {
        self.receiver(conn).map_or_else(Vec::new, |r| r.subs.keys().copied().collect())
    }

    /// The topic of this name, at its home.
    pub(super) fn home_topic(&mut self, at: At, name: &Bytes) -> Result<u32, Refusal> {
        if let Some(index) = self.names.get(name) {
            return Ok(*index);
        }
        if self.homes.len() >= self.config.topics {
            // Rather than refuse, forget what has been unused for longest.
            let (_, oldest) = self.unused().min().ok_or(Refusal::TooManyTopics)?;
            self.free_topic(oldest);
        }
        self.lives += 1;
        let index = self.new_topic(name, self.lives, true);
        self.homes.entry(index).or_default().unused_since = Some(at.now);
        self.sweep_after(at.now);
        Ok(index)
    }

    pub(super) fn new_topic(&mut self, name: &Bytes, life: u64, open: bool) -> u32 {
        let topic = Topic::new(name.clone(), self.config.fate_of(name), life, open);
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.topics.push(None);
            self.topics.len() as u32 - 1
        });
        self.topics[index as usize] = Some(topic);
        self.names.insert(name.clone(), index);
        index
    }

    /// At an engine that follows: an entry from the topic's home.
    pub(super) fn said(&mut self, name: &Bytes, number: u64, entry: Entry) {
        let Some(&index) = self.names.get(name) else { return };
        let topic = self.topic(index);
        // A copy that waits for its seed will find the entry in it.
        if topic.open && topic.log.next() == number {
            self.append(index, entry);
        }
    }

    /// At an engine that follows: the log from the topic's home.
    pub(super) fn plant(&mut self, index: u32, life: u64, seed: Seed) {
        let topic = self.topics[index as usize].as_mut().expect("a topic that has a name");
        if topic.life != life {
            // Nobody here followed, or the topic would have lived on: who still has a part in it
            // is leaving, and its numbers mean something else now.
            for receiver in self.receivers.iter_mut().flatten() {
                if let Some(sub) = receiver.subs.get_mut(&index) {
                    sub.cut |= sub.is_ending();
                }
            }
        }
        let before = topic.bytes();
        topic.plant(life, seed);
        self.bytes = self.bytes + topic.bytes() - before;
        self.rouse(index);
        if self.bytes > self.config.total_bytes {
            self.shrink(index);
        }
    }

    /// Appends to a log on this engine and wakes whom it concerns.
    pub(super) fn append(&mut self, index: u32, entry: Entry) {
        let Config { log_messages, log_bytes, keys, .. } = self.config;
        let topic = self.topics[index as usize].as_mut().expect("a topic that has a name");
        let before = topic.bytes();
        topic.append(entry, log_messages, log_bytes, keys);
        self.bytes = self.bytes + topic.bytes() - before;
        self.rouse(index);
        if self.bytes > self.config.total_bytes {
            self.shrink(index);
        }
    }

    /// A log has grown: wakes those that had caught up, and those that are slower than allowed.
    pub(super) fn rouse(&mut self, index: u32) {
        let topic = self.topics[index as usize].as_mut().expect("a topic that has a name");
        let mut waiters = topic.take_waiters();
        for slot in waiters.drain(..) {
            let Some(Some(receiver)) = self.receivers.get_mut(slot as usize) else { continue };
            if let Some(sub) = receiver.subs.get_mut(&index) {
                sub.state = State::Ready;
                receiver.ready.push_back(index);
                wake(receiver, &mut self.effects);
            }
        }
        topic.give_waiters(waiters);
        while let Some(&(at, slot)) = topic.alarms.first()
            && at <= topic.log.end_offset()
        {
            topic.alarms.pop_first();
            if let Some(Some(receiver)) = self.receivers.get_mut(slot as usize) {
                wake(receiver, &mut self.effects);
            }
        }
    }
}

pub(super) fn receiver(all: &mut [Option<Receiver>], conn: ConnId) -> Option<&mut Receiver> {
    let receiver = all.get_mut(conn.slot as usize)?.as_mut()?;
    (receiver.conn == conn).then_some(receiver)
}

#[inline]
pub(super) fn wake(receiver: &mut Receiver, effects: &mut Vec<Effect>) {
    if !core::mem::replace(&mut receiver.woken, true) {
        effects.push(Effect::Wake(receiver.conn));
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("topics", &self.names.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
