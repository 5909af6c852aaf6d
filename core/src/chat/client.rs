//! The client's side of extended chat, without a socket, over any number of connections.
//!
//! [`Client`] knows its rooms, how far it has heard each of them, and what it said that was not
//! heard yet. When a connection is lost, [`Client::disconnected`] says so; [`Client::connected`]
//! says hello on the next one, rejoins each room behind the last message heard, and says again
//! what may not have been heard, marked as such. So a room has no gap and no repeat that is not
//! reported.
//!
//! Its ledger: each say has one outcome, [`Event::Said`] with [`Message::own`], or
//! [`Event::Refused`], or it is named by [`Client::next_failed`].
//!
//! ```
//! use drywire::chat::client::{Client, Event, Step};
//! use drywire::conn::Outbox;
//! use drywire::Tick;
//!
//! let mut client = Client::new(7, b"ann").unwrap(); // an id of its own: random in real life
//! let mut out = Outbox::new();
//! client.join(b"den", 10, &mut out); // before or after a connection stands
//! client.connected(Tick::ZERO, &mut out);
//! client.say(b"den", b"", b"hello", &mut out).unwrap();
//! // ... the host sends `out`, and hands what it receives to `step`:
//! let Ok(Step::Need(4)) = client.step(Tick::ZERO, b"", &mut out) else { panic!() };
//! ```

use crate::chat::codec::{self, KEY_MAX, MAGIC, NAME_MAX, ROOM_MAX, Request, TEXT_MAX};
use crate::conn::{Fault, FaultKind, Outbox};
use crate::fanout::Start;
use crate::frame::length_prefix::State;
use crate::frame::{Framing, Step as Frame};
use crate::tick::Tick;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// What a client says and was not heard yet, at most: further says are refused.
pub const UNHEARD_MAX: usize = 1024;
/// The same in bytes of text.
pub const UNHEARD_BYTES: usize = 4 << 20;

/// A chat client, across connections.
#[derive(Clone, Debug)]
pub struct Client {
    id: u64,
    name: Vec<u8>,
    frames: State,
    phase: Phase,
    rooms: BTreeMap<Vec<u8>, Room>,
    /// Said and not heard, oldest first.
    unheard: VecDeque<Unheard>,
    unheard_bytes: usize,
    /// Says that will not be heard.
    failed: VecDeque<u64>,
    /// The number of the next say.
    next: u64,
    heartbeat: Duration,
    heard_at: Tick,
    ping: Option<Tick>,
    round_trip: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    /// Hello is said; frames before the welcome are none of ours.
    Greeting,
    Up,
}

#[derive(Clone, Copy, Debug)]
struct Room {
    /// Asked for when it is joined for the first time.
    history: u32,
    /// In which life of the room, and up to which message, it was heard.
    heard: Option<(u64, u64)>,
    /// While it is in: up to where it has to hear what it missed, before it says anything.
    joined: Option<u64>,
    /// As far as it knows.
    members: u64,
}

impl Room {
    /// Whether this happened before it was in.
    fn is_past(&self, seq: u64) -> bool {
        self.joined.is_none_or(|end| seq < end)
    }

    fn may_say(&self) -> bool {
        match (self.joined, self.heard) {
            (Some(end), Some((_, heard))) => heard + 1 >= end,
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Unheard {
    number: u64,
    room: Vec<u8>,
    key: Vec<u8>,
    text: Vec<u8>,
    /// On its way on the present connection.
    sent: bool,
    /// It was on its way on an earlier one.
    again: bool,
}

/// What [`Client::step`] found at the front of the input.
pub type Step<'a> = crate::client::Step<Event<'a>>;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing that concerns the caller.
    Nothing,
    /// The server knows us.
    Welcome,
    /// We are in, or in again after a lost connection.
    Joined {
        /// The room.
        room: &'a [u8],
        /// Its members, us included.
        members: u64,
        /// Whether we were in before.
        again: bool,
    },
    /// We are out.
    Left {
        /// The room.
        room: &'a [u8],
    },
    /// Someone said something.
    Said(Message<'a>),
    /// Someone came or went.
    Presence {
        /// The room.
        room: &'a [u8],
        /// Who.
        name: &'a [u8],
        /// Came, or went.
        came: bool,
        /// It was before we were in.
        past: bool,
    },
    /// Who is in a room.
    Roster {
        /// The room.
        room: &'a [u8],
        /// How many, those without names and those beyond the list included.
        total: u64,
        /// The first names.
        names: codec::Names<'a>,
    },
    /// What the server holds: lines of a key and a number.
    Stats {
        /// Those.
        text: &'a [u8],
    },
    /// A gap: messages of a room that we do not get.
    Lost {
        /// The room.
        room: &'a [u8],
        /// How many; `None` if nobody knows.
        count: Option<u64>,
    },
    /// The server lost its link to the other servers that share the room, or has it back.
    Link {
        /// The room.
        room: &'a [u8],
        /// What it says about that.
        text: &'a [u8],
    },
    /// A request was not granted.
    Refused {
        /// The room.
        room: &'a [u8],
        /// The say it was, if it was one: it is not heard and will not be.
        number: Option<u64>,
        /// Why.
        reason: &'a [u8],
    },
    /// A ping came back: [`Client::round_trip`].
    Pong,
    /// The server ends the connection.
    Bye {
        /// Why.
        reason: &'a [u8],
    },
}

/// A message in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What and where.
    pub said: codec::Said<'a>,
    /// We said it: the number is that of [`Client::say`].
    pub own: bool,
    /// It may be a repeat: its sender did not know whether it was heard.
    pub maybe_repeat: bool,
    /// It was said before we were in: history, or what we missed.
    pub past: bool,
}

/// Why something cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A name, room or key breaks its rule: UTF-8, no control characters, not too long.
    BadName,
    /// The text is over 65,536 bytes, or begins as a hello does.
    BadText,
    /// Not in this room.
    NotMember,
    /// Too much was said that was not heard yet.
    Unheard,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadName => "names are UTF-8 without control characters: of people up to 32 bytes, of rooms and keys up to 64",
            Self::BadText => "a message has up to 65,536 bytes",
            Self::NotMember => "not in this room",
            Self::Unheard => "too much was said that was not heard yet",
        })
    }
}

impl core::error::Error for Refusal {}

impl Client {
    /// A client that is not connected and in no room. `id` is not zero and its own: at random,
    /// kept for as long as its name and rooms are.
    ///
    /// # Errors
    /// [`Refusal::BadName`].
    pub fn new(id: u64, name: &[u8]) -> Result<Self, Refusal> {
        if id == 0 || !codec::is_name(name, NAME_MAX) {
            return Err(Refusal::BadName);
        }
        Ok(Self {
            id,
            name: name.into(),
            frames: State::default(),
            phase: Phase::Down,
            rooms: BTreeMap::new(),
            unheard: VecDeque::new(),
            unheard_bytes: 0,
            failed: VecDeque::new(),
            next: 1,
            heartbeat: Duration::from_secs(10),
            heard_at: Tick::ZERO,
            ping: None,
            round_trip: None,
        })
    }

    /// A connection stands.
    pub fn connected(&mut self, now: Tick, out: &mut Outbox) {
        self.phase = Phase::Greeting;
        self.frames = State::default();
        self.heard_at = now;
        self.ping = None;
        out.put(&self.hello());
        for (room, state) in &self.rooms {
            join(out, room, state);
        }
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Down;
        self.ping = None;
        for room in self.rooms.values_mut() {
            room.joined = None;
        }
        for unheard in &mut self.unheard {
            unheard.again |= core::mem::take(&mut unheard.sent);
        }
    }

    /// Joins a room; on the first time with up to `history` messages of before. False if it is in
    /// already, or this is no name for a room.
    pub fn join(&mut self, room: &[u8], history: u32, out: &mut Outbox) -> bool {
        let good = codec::is_name(room, ROOM_MAX) && !self.rooms.contains_key(room);
        if good {
            let state = Room { history, heard: None, joined: None, members: 0 };
            if self.phase != Phase::Down {
                join(out, room, &state);
            }
            self.rooms.insert(room.into(), state);
        }
        good
    }

    /// Leaves a room. What is said until then is still heard.
    pub fn leave(&mut self, room: &[u8], out: &mut Outbox) {
        if self.phase == Phase::Down {
            self.rooms.remove(room);
            self.fail(room);
        } else if self.rooms.contains_key(room) {
            request(out, &Request::Leave { room });
        }
    }

    /// Whether something more can be said before something is heard: [`UNHEARD_MAX`] and
    /// [`UNHEARD_BYTES`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unheard.len() < UNHEARD_MAX && self.unheard_bytes < UNHEARD_BYTES
    }

    /// Says something in a room it is in or about to be; returns its number. Without a
    /// connection it is said on the next one.
    ///
    /// # Errors
    /// It cannot be said.
    pub fn say(
        &mut self,
        room: &[u8],
        key: &[u8],
        text: &[u8],
        out: &mut Outbox,
    ) -> Result<u64, Refusal> {
        if !key.is_empty() && !codec::is_name(key, KEY_MAX) {
            return Err(Refusal::BadName);
        }
        if text.len() > TEXT_MAX || text.starts_with(MAGIC) {
            return Err(Refusal::BadText);
        }
        let now = self.rooms.get(room).ok_or(Refusal::NotMember)?.may_say();
        if !self.has_room() {
            return Err(Refusal::Unheard);
        }
        let number = self.next;
        self.next += 1;
        self.unheard_bytes += text.len();
        let (room, key, text) = (room.into(), key.into(), text.into());
        let mut say = Unheard { number, room, key, text, sent: false, again: false };
        if now {
            put(out, &mut say);
        }
        self.unheard.push_back(say);
        Ok(number)
    }

    /// Asks who is in a room: [`Event::Roster`].
    pub fn who(&mut self, room: &[u8], out: &mut Outbox) {
        if self.phase != Phase::Down && codec::is_name(room, ROOM_MAX) {
            request(out, &Request::Who { room });
        }
    }

    /// Asks what the server holds: [`Event::Stats`].
    pub fn stats(&mut self, out: &mut Outbox) {
        if self.phase != Phase::Down {
            request(out, &Request::Stats);
        }
    }

    /// Reads one event off the front of `input`; answers go to `out`.
    ///
    /// # Errors
    /// The server broke the protocol: give the connection up.
    pub fn step<'a>(
        &mut self,
        now: Tick,
        input: &'a [u8],
        out: &mut Outbox,
    ) -> Result<Step<'a>, Fault> {
        let (payload, used) = match codec::extended().step(&mut self.frames, input) {
            Frame::Frame { payload, consumed, .. } => (payload.of(input), consumed),
            Frame::Need(more) => return Ok(Step::Need(input.len() + more.get())),
            Frame::Skip { consumed } => (&b""[..], consumed),
            Frame::Error { error, .. } => return Err(error.into()),
        };
        self.heard_at = now;
        if self.phase == Phase::Greeting && !payload.starts_with(MAGIC) {
            // Said in the lobby before the server had heard our hello.
            return Ok(Step::Event { event: Event::Nothing, used });
        }
        if self.phase == Phase::Greeting && self.hello().get(4..) == Some(payload) {
            let what = "the server repeats our hello: it speaks the plain protocol only";
            return Err(Fault::new(FaultKind::Malformed, what));
        }
        let event = codec::Event::parse(payload)
            .map_err(|error| Fault::new(FaultKind::Malformed, error.as_str()))?;
        Ok(Step::Event { event: self.event(now, event, out), used })
    }

    /// Time has passed: pings after silence.
    ///
    /// # Errors
    /// Nothing was heard for three heartbeats: give the connection up.
    pub fn tick(&mut self, now: Tick, out: &mut Outbox) -> Result<(), Fault> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        if now >= self.heard_at + self.heartbeat * 3 {
            return Err(Fault::new(FaultKind::TimedOut, "nothing was heard for too long"));
        }
        if self.phase == Phase::Up && self.ping.is_none() {
            self.ping(now, out);
        }
        Ok(())
    }

    /// When [`Client::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let beats = if self.phase == Phase::Up && self.ping.is_none() { 1 } else { 3 };
        (self.phase != Phase::Down).then(|| self.heard_at + self.heartbeat * beats)
    }

    /// Sends a ping, at most one at a time: [`Event::Pong`].
    pub fn ping(&mut self, now: Tick, out: &mut Outbox) {
        if self.phase == Phase::Up && self.ping.is_none() {
            self.ping = Some(now);
            request(out, &Request::Ping(now.0));
        }
    }

    /// How long the last ping took to come back.
    #[must_use]
    pub const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether the server knows us.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Names a say that will not be heard, each once: its room was left, or refused. One that was
    /// on its way when the connection was lost may have been heard by others.
    pub fn next_failed(&mut self) -> Option<u64> {
        self.failed.pop_front()
    }

    /// The rooms it is in or wants to be in.
    pub fn rooms(&self) -> impl Iterator<Item = &[u8]> {
        self.rooms.keys().map(|room| &room[..])
    }

    /// Members of a room it is in, as far as it knows: those without a name come and go unseen.
    #[must_use]
    pub fn members(&self, room: &[u8]) -> Option<u64> {
        self.rooms.get(room).filter(|room| room.joined.is_some()).map(|room| room.members)
    }

    /// Whether it is in all its rooms and has heard there what was said before it was.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.phase == Phase::Up && self.rooms.values().all(Room::may_say)
    }

    /// Says that were not heard yet.
    #[must_use]
    pub fn unheard(&self) -> usize {
        self.unheard.len()
    }

    fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        codec::encode_hello(&mut hello, self.id, &self.name);
        hello
    }

    fn event<'a>(&mut self, now: Tick, event: codec::Event<'a>, out: &mut Outbox) -> Event<'a> {
        match event {
            codec::Event::Welcome { heartbeat_ms, .. } => {
                self.phase = Phase::Up;
                self.heartbeat = Duration::from_millis(u64::from(heartbeat_ms.max(1)));
                Event::Welcome
            }
            codec::Event::Joined { room, life, next, end, members } => {
                let Some(state) = self.rooms.get_mut(room) else { return Event::Nothing };
                let again = state.heard.is_some();
                state.heard = Some((life, next.saturating_sub(1)));
                state.joined = Some(end);
                state.members = members;
                self.flush(room, out);
                Event::Joined { room, members, again }
            }
            codec::Event::Said(said) => self.said(said, out),
            codec::Event::Presence { room, seq, came, name, .. } => {
                let state = self.rooms.get_mut(room);
                let past = state.as_ref().is_none_or(|state| state.is_past(seq));
                if let Some(state) = state.filter(|_| !past) {
                    let members = &mut state.members;
                    *members = if came { *members + 1 } else { members.saturating_sub(1) };
                }
                self.catch_up(room, seq, out);
                Event::Presence { room, name, came, past }
            }
            codec::Event::Lost { room, from, count, .. } => {
                if count != u64::MAX {
                    self.catch_up(room, from.saturating_add(count).saturating_sub(1), out);
                }
                Event::Lost { room, count: (count != u64::MAX).then_some(count) }
            }
            codec::Event::Link { room, seq, text, .. } => {
                self.catch_up(room, seq, out);
                Event::Link { room, text }
            }
            codec::Event::Left { room } => {
                self.rooms.remove(room);
                self.fail(room);
                Event::Left { room }
            }
            codec::Event::Roster { room, total, names } => {
                if let Some(state) = self.rooms.get_mut(room) {
                    state.members = total;
                }
                Event::Roster { room, total, names }
            }
            codec::Event::Stats { text } => Event::Stats { text },
            codec::Event::Refused { request, room, number, reason, .. } => {
                let say = Request::Say { room, number, again: false, key: b"", text: b"" }.kind();
                let join = Request::Join { room, start: Start::Next }.kind();
                if request == join {
                    self.rooms.remove(room);
                    self.fail(room);
                }
                if request == say {
                    self.forget(|unheard| unheard.number == number);
                }
                let number = (request == say).then_some(number);
                Event::Refused { room, number, reason }
            }
            codec::Event::Ping(n) => {
                request(out, &Request::Pong(n));
                Event::Nothing
            }
            codec::Event::Pong(n) => match self.ping.take_if(|at| at.0 == n) {
                Some(at) => {
                    self.round_trip = Some(now.since(at));
                    Event::Pong
                }
                None => Event::Nothing,
            },
            codec::Event::Bye { reason } => Event::Bye { reason },
        }
    }

    fn said<'a>(&mut self, said: codec::Said<'a>, out: &mut Outbox) -> Event<'a> {
        let own = said.from == self.id;
        if own {
            self.forget(|unheard| unheard.number == said.number);
        }
        let past = self.rooms.get(said.room).is_none_or(|room| room.is_past(said.seq));
        self.catch_up(said.room, said.seq, out);
        Event::Said(Message { said, own, maybe_repeat: said.again, past })
    }

    /// A room is heard up to a message. What was said before and not heard is said now.
    fn catch_up(&mut self, room: &[u8], seq: u64, out: &mut Outbox) {
        if let Some(Room { heard: Some((_, heard)), .. }) = self.rooms.get_mut(room) {
            *heard = (*heard).max(seq);
        }
        self.flush(room, out);
    }

    /// Once what was missed is heard, it is known which says were not.
    fn flush(&mut self, room: &[u8], out: &mut Outbox) {
        if !self.rooms.get(room).is_some_and(Room::may_say) {
            return;
        }
        for unheard in self.unheard.iter_mut().filter(|u| !u.sent && u.room == room) {
            put(out, unheard);
        }
    }

    /// Out of a room: what it said there and did not hear is not said again.
    fn fail(&mut self, room: &[u8]) {
        let lost = self.unheard.iter().filter(|unheard| unheard.room == room);
        self.failed.extend(lost.map(|unheard| unheard.number));
        self.forget(|unheard| unheard.room == room);
    }

    fn forget(&mut self, which: impl Fn(&Unheard) -> bool) {
        self.unheard.retain(|unheard| !which(unheard));
        self.unheard_bytes = self.unheard.iter().map(|unheard| unheard.text.len()).sum();
    }
}

fn join(out: &mut Outbox, room: &[u8], state: &Room) {
    let start = match state.heard {
        Some((life, number)) => Start::After { life, number },
        None if state.history == 0 => Start::Next,
        None => Start::Last(state.history),
    };
    request(out, &Request::Join { room, start });
}

fn put(out: &mut Outbox, say: &mut Unheard) {
    say.sent = true;
    let Unheard { number, ref room, again, ref key, ref text, .. } = *say;
    request(out, &Request::Say { room, number, again, key, text });
}

fn request(out: &mut Outbox, request: &Request<'_>) {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    out.put(&bytes);
}
