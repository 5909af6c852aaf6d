//! A service that shares its topics with other processes, by way of a broker.
//!
//! The broker keeps one log of messages, in its order, and says them to every process: that order
//! is the one all members hear. A topic's home gives out no place of its own accord; it hands
//! each message to the [`Bridge`], which is one more engine of the service, numbered
//! [`Place::count`], and places what comes back. The bridge has no I/O: a host publishes what
//! [`Bridge::next_publish`] names, and feeds what the broker's log says to [`Bridge::stored`].
//!
//! ```text
//!   session ─ say ─► home ─► Bridge ═ publish ═► broker's log
//!      ▲              │ ▲       ▲                   │
//!      └─── took ─────┘ └───────┴═════ stored ══════╧═══► other processes
//! ```
//!
//! # The ledger
//! Each message carries its process's id and a count. A process's counts come in order, so one
//! that is not above the last of its process is a repeat, and everybody drops it. When its own
//! message comes back it is answered; when a later one does, it will never come: it is refused, or,
//! if it can have come in a gap, takes its place here, as others may have heard it.
//! What was under way as the link broke is kept, looked for in the broker's log once the link is
//! back, and published again if it is not there: heard once, whatever the broker had taken.
//!
//! # The link
//! While the link is down homes refuse what is said, with [`Refusal::Unlinked`], and members are
//! told by a [`Mark`] in each topic. What others said in the meantime follows from the broker's
//! log; if that does not reach back far enough, the gap is a mark as well.

use crate::conn::Place;
use crate::engine;
use crate::fanout::home::home_of;
use crate::fanout::mail::{Letter, Origin};
use crate::fanout::{Config, Draft, Kind, Message, Refusal, Stats};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// What a link to other processes has to say in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// It is lost: nothing is heard of other processes, and what is said is refused.
    Down = 0,
    /// It is back: what was missed follows.
    Up = 1,
    /// It is back, or goes on, and some of what others said cannot be had any more.
    Gap = 2,
}

/// Reads a message that another process encoded, and encodes it anew: what a broker says is input
/// like any other. `None` if it is no message of this topic.
pub type Redraft = fn(topic: &[u8], bytes: &[u8]) -> Option<Draft>;

/// Processes whose counts are remembered: the one that was silent for longest is forgotten.
const PROCESSES: usize = 1024;
/// The version of the envelope, an id, a count.
const HEADER: usize = 1 + 8 + 8;
const VERSION: u8 = 1;

/// The engine that stands for all other processes.
#[derive(Debug)]
pub struct Bridge {
    place: Place,
    id: u64,
    redraft: Redraft,
    window: usize,
    link: Link,
    /// Our messages that did not come back, oldest first.
    pending: VecDeque<Pending>,
    /// How many of them were published on the present link.
    published: usize,
    count: u64,
    /// The last count of each process, and when it was heard.
    processes: BTreeMap<u64, (u64, u64)>,
    heard: u64,
    strange: u64,
    losses: u64,
    lanes: Vec<Lane>,
    mail: VecDeque<engine::Letter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not tried yet: what is said waits.
    New,
    Down,
    /// The broker's log is being read; nothing is published.
    Reading,
    Up,
}

#[derive(Debug)]
struct Pending {
    count: u64,
    topic: Bytes,
    bytes: Vec<u8>,
    origin: Origin,
    way: Way,
}

/// What became of a message of ours, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not published.
    Here,
    /// Published on this link, and on no other.
    Gone,
    /// Published on an earlier link: a copy may be in the broker's log, or on its way there.
    Before,
    /// ... and behind that was a gap in the broker's log, which may have been it.
    Missed,
}

#[derive(Debug, Default)]
struct Lane {
    told: usize,
    waiting: VecDeque<Letter>,
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Names it, for [`Bridge::refused`].
    pub count: u64,
    /// Its topic: any bytes.
    pub topic: Bytes,
    /// What to publish.
    pub payload: Vec<u8>,
}

impl Bridge {
    /// The bridge of a service with so many engines. `id` is this process's own: at random.
    #[must_use]
    pub fn new(engines: usize, id: u64, redraft: Redraft) -> Self {
        Self {
            place: Place { index: engines, count: engines },
            id,
            redraft,
            window: Config::default().window,
            link: Link::New,
            pending: VecDeque::new(),
            published: 0,
            count: 0,
            processes: BTreeMap::new(),
            heard: 0,
            strange: 0,
            losses: 0,
            lanes: (0..engines).map(|_| Lane::default()).collect(),
            mail: VecDeque::new(),
        }
    }

    /// Mail from an engine of the service.
    pub fn receive(&mut self, letter: engine::Letter) {
        let from = letter.from();
        for Message(kind) in letter.open::<Message>() {
            match kind {
                Kind::Letter(Letter::Out { topic, bytes, origin }) => {
                    if self.link == Link::Down {
                        self.unplaced(topic, origin, Refusal::Unlinked);
                        continue;
                    }
                    self.count += 1;
                    let (count, way) = (self.count, Way::Here);
                    self.pending.push_back(Pending { count, topic, bytes, origin, way });
                }
                Kind::Letter(Letter::Confirm(bytes)) => {
                    let Some(lane) = self.lanes.get_mut(from) else { continue };
                    lane.told = lane.told.saturating_sub(bytes);
                    while self.lanes[from].told < self.window
                        && let Some(letter) = self.lanes[from].waiting.pop_front()
                    {
                        self.send(from, letter);
                    }
                }
                Kind::Letter(Letter::Count(number)) => {
                    if from < self.lanes.len() {
                        self.tell(from, Letter::Counted(number, self.stats()));
                    }
                }
                _ => debug_assert!(false, "mail that is not for a bridge"),
            }
        }
    }

    /// The link stands; what the broker's log holds beyond what was heard is fed to
    /// [`Bridge::stored`] now, and [`Bridge::caught_up`] follows. `gap`: it does not reach back
    /// to what was heard last, or is another log.
    pub fn connected(&mut self, gap: bool) {
        if gap {
            self.gap();
        } else if self.link == Link::Down {
            self.tell_all(Mark::Up);
        }
        self.link = Link::Reading;
        self.published = 0;
        let published = self.pending.iter_mut().filter(|pending| pending.way == Way::Gone);
        published.for_each(|pending| pending.way = Way::Before);
    }

    /// Everything that was in the broker's log as the link stood was fed.
    pub fn caught_up(&mut self) {
        if self.link == Link::Reading {
            self.link = Link::Up;
        }
    }

    /// The link is lost, or could not be had.
    pub fn disconnected(&mut self) {
        if self.link != Link::Down {
            self.losses += u64::from(self.link != Link::New);
            self.link = Link::Down;
            self.tell_all(Mark::Down);
        }
    }

    /// Some of the broker's log was not fed and never will be.
    pub fn gap(&mut self) {
        self.tell_all(Mark::Gap);
        // Ours may have been there, and would be waited for in vain. Who heard them drops them.
        let published = self.pending.iter_mut().filter(|pending| pending.way != Way::Here);
        published.for_each(|pending| pending.way = Way::Missed);
        self.published = 0;
    }

    /// The next message to publish, in this order: each once on a link, and again behind a gap.
    pub fn next_publish(&mut self) -> Option<Outgoing> {
        if self.link != Link::Up {
            return None;
        }
        let pending = self.pending.get_mut(self.published)?;
        self.published += 1;
        if pending.way == Way::Here {
            pending.way = Way::Gone;
        }
        let mut payload = Vec::with_capacity(HEADER + pending.bytes.len());
        payload.push(VERSION);
        payload.extend_from_slice(&self.id.to_be_bytes());
        payload.extend_from_slice(&pending.count.to_be_bytes());
        payload.extend_from_slice(&pending.bytes);
        Some(Outgoing { count: pending.count, topic: pending.topic.clone(), payload })
    }

    /// The broker has refused a message. False if that does not settle it, as a copy from an
    /// earlier link may be in the log or still come: it stays under way, for the host to give this
    /// link up and publish it on the next one.
    #[must_use]
    pub fn refused(&mut self, count: u64) -> bool {
        let Some(at) = self.pending.iter().position(|pending| pending.count == count) else {
            return true;
        };
        if matches!(self.pending[at].way, Way::Before | Way::Missed) {
            return false;
        }
        if let Some(Pending { topic, origin, .. }) = self.pending.remove(at) {
            self.published -= usize::from(at < self.published);
            self.unplaced(topic, origin, Refusal::Unlinked);
        }
        true
    }

    /// The next message of the broker's log, ours among them; feed no more without
    /// [`Bridge::has_room`]. What is none, or a repeat, is dropped; false for what is none.
    pub fn stored(&mut self, topic: &[u8], payload: &[u8], unix_ms: u64) -> bool {
        let Some((process, count, draft)) = self.parse(topic, payload) else {
            self.strange += 1;
            return false;
        };
        self.heard += 1;
        if self.processes.get(&process).is_some_and(|(last, _)| count <= *last) {
            return true;
        }
        self.processes.insert(process, (count, self.heard));
        if self.processes.len() > PROCESSES {
            let oldest = self.processes.iter().min_by_key(|(_, (_, heard))| *heard);
            if let Some(oldest) = oldest.map(|(process, _)| *process) {
                self.processes.remove(&oldest);
            }
        }
        let origin = if process == self.id { self.own(count, unix_ms) } else { None };
        let topic = Bytes::copy_from_slice(topic);
        let home = home_of(&topic, self.place);
        self.tell(home, Letter::Ordered { topic, draft, unix_ms, origin });
        true
    }

    /// Whether the engines have taken what they were told.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lanes.iter().all(|lane| lane.told < self.window && lane.waiting.is_empty())
    }

    /// Mail for an engine, for the host to carry.
    pub fn next_mail(&mut self) -> Option<engine::Letter> {
        self.mail.pop_front()
    }

    /// Our messages that the broker has not said back.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What was in the broker's log and was no message of this service.
    #[must_use]
    pub const fn strange(&self) -> u64 {
        self.strange
    }

    fn stats(&self) -> Stats {
        Stats {
            linked: Some(self.link == Link::Up),
            bridge_pending: self.pending.len() as u64,
            bridge_strange: self.strange,
            bridge_losses: self.losses,
            mail_bytes: self.lanes.iter().map(|lane| lane.told as u64).sum(),
            footprint_bytes: self.footprint() as u64,
            ..Stats::default()
        }
    }

    /// Bytes held and under way.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let pending = self.pending.iter().map(|p| size_of::<Pending>() + p.bytes.len());
        let lanes = self.lanes.iter().map(|l| l.told + l.waiting.len() * size_of::<Letter>());
        pending.chain(lanes).sum::<usize>() + self.processes.len() * 48
    }

    fn parse(&self, topic: &[u8], payload: &[u8]) -> Option<(u64, u64, Draft)> {
        let (header, bytes) = payload.split_at_checked(HEADER)?;
        let number = |at: usize| header[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        let (process, count) = (number(1)?, number(9)?);
        (header[0] == VERSION).then_some(())?;
        Some((process, count, (self.redraft)(topic, bytes)?))
    }

    /// Whose message of ours has come back. Those before it will not.
    fn own(&mut self, count: u64, unix_ms: u64) -> Option<Origin> {
        while let Some(pending) = self.pending.pop_front_if(|first| first.count <= count) {
            let Pending { count: this, topic, bytes, origin, way } = pending;
            self.published = self.published.saturating_sub(1);
            if this == count {
                return Some(origin);
            }
            match (self.redraft)(&topic, &bytes) {
                Some(draft) if way == Way::Missed => {
                    let home = home_of(&topic, self.place);
                    let origin = Some(origin);
                    self.tell(home, Letter::Ordered { topic, draft, unix_ms, origin });
                }
                _ => self.unplaced(topic, origin, Refusal::Unlinked),
            }
        }
        None
    }

    fn unplaced(&mut self, topic: Bytes, origin: Origin, why: Refusal) {
        let home = home_of(&topic, self.place);
        self.tell(home, Letter::Unplaced { topic, origin, why });
    }

    fn tell_all(&mut self, mark: Mark) {
        for to in 0..self.lanes.len() {
            // An engine that sleeps hears the last of several, and of a gap in any case.
            let waiting = &mut self.lanes[to].waiting;
            let passed =
                |letter: &mut Letter| matches!(letter, Letter::Link(Mark::Down | Mark::Up));
            drop(waiting.pop_back_if(passed));
            // Behind a gap the link is up.
            let gap = matches!(waiting.back(), Some(Letter::Link(Mark::Gap)));
            if mark == Mark::Down || !gap {
                self.tell(to, Letter::Link(mark));
            }
        }
    }

    fn tell(&mut self, to: usize, letter: Letter) {
        let lane = &mut self.lanes[to];
        if lane.told < self.window && lane.waiting.is_empty() {
            self.send(to, letter);
        } else {
            lane.waiting.push_back(letter);
        }
    }

    fn send(&mut self, to: usize, letter: Letter) {
        self.lanes[to].told += letter.tells();
        let messages = vec![Message(Kind::Letter(letter))];
        self.mail.push_back(engine::Letter::new(self.place.index, to, messages));
    }
}
