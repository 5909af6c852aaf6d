//! Members of chat rooms, drawn: plain ones, and the extended client machine of the core.

use crate::decide::Site;
use crate::workload::{Draw, Heard, Said, Workload};
use drywire::Tick;
use drywire::chat::client::{Client, Event, Step};
use drywire::chat::codec;
use drywire::conn::Outbox;
use std::collections::BTreeMap;

/// What a member asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Let me in, with so many messages of before.
    Join(Room, u32),
    /// Let me out.
    Leave(Room),
    /// The member's own how-manieth, and how many bytes.
    Say(Room, u64, usize),
    /// Who is there?
    Who(Room),
    /// Are you there?
    Ping,
}

/// A room, by its number.
pub(super) type Room = u8;

const ROOMS: [&[u8]; 4] = [b"lobby", b"den", b"hall", b"attic"];
/// Where plain members are.
pub(super) const LOBBY: Room = 0;

/// What a member hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// In its place in a room, as an extended member hears it.
    Said {
        /// The room.
        room: Room,
        /// The room's life.
        life: u64,
        /// Its place.
        seq: u64,
        /// Who said it, from 1; 0 for somebody plain.
        from: u64,
        /// The number that its sender gave it.
        number: u64,
        /// Marked as said again.
        again: bool,
        /// What was said, up to its filling: `who.number.`; empty for a presence.
        text: Vec<u8>,
    },
    /// What a plain member hears.
    Plain(Vec<u8>),
    /// A gap that was told.
    Lost {
        /// The room.
        room: Room,
        /// The room's life.
        life: u64,
        /// The first place.
        from: u64,
        /// How many.
        count: u64,
        /// The reason, as on the wire.
        why: u8,
    },
    /// What a plain member hears of it: how many.
    PlainLost(u64),
    /// Not granted.
    Refused,
    /// The connection ends.
    Bye,
    /// Anything else.
    Other,
}

/// What a client machine does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// Nothing.
    #[default]
    Good,
    /// Comes back behind one message more than it has.
    SkipsOne,
    /// Comes back behind one message less than it has.
    RepeatsOne,
    /// Does not say that it says something again.
    Unmarked,
    /// Says everything about one thing.
    OneKey,
}

/// A member.
#[derive(Debug)]
pub struct Chat {
    who: u32,
    habit: Habit,
    /// None: it speaks the plain protocol.
    client: Option<Client>,
    out: Outbox,
    /// What it says itself, beside its requests.
    aside: Vec<u8>,
    rooms: BTreeMap<Room, Place>,
    /// Its own numbers of says that were not heard, by the client's.
    says: BTreeMap<u64, (Room, u64)>,
    said: u64,
    pinging: bool,
}

/// How far a room is heard.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// In this life of it, the next is that.
    next: Option<(u64, u64)>,
    /// It is in, on this connection.
    joined: bool,
    leaving: bool,
    /// A loss that has to be told before anything else.
    gap: Option<(u64, u64)>,
}

const KIND: Site = Site::new("op.kind");
const ROOM: Site = Site::new("op.key");
const SIZE: Site = Site::new("op.size");
const HISTORY: Site = Site::new("op.history");
/// A text has up to 2^14 bytes of filling.
const FILLING: u64 = 15;

impl Chat {
    /// Member number `who`: each third one is plain.
    #[must_use]
    pub fn new(who: u32) -> Self {
        Self::with(who, Habit::Good)
    }

    /// A member with a habit.
    ///
    /// # Panics
    /// Never: its name is one.
    #[must_use]
    pub fn with(who: u32, habit: Habit) -> Self {
        let client = (who % 3 != 2).then(|| {
            let name = format!("m{who}");
            Client::new(u64::from(who) + 1, name.as_bytes()).expect("a name")
        });
        Self {
            who,
            habit,
            client,
            out: Outbox::new(),
            aside: Vec::new(),
            rooms: BTreeMap::new(),
            says: BTreeMap::new(),
            said: 0,
            pinging: false,
        }
    }

    fn text(&self, number: u64, size: usize) -> Vec<u8> {
        let mut text = format!("{}.{number}.", self.who).into_bytes();
        text.resize(text.len() + size, b'a' + (number % 26) as u8);
        text
    }

    /// Moves what the client machine says to `to`.
    fn flush(&mut self, to: &mut Vec<u8>) {
        let from = to.len();
        for slice in self.out.slices() {
            to.extend_from_slice(slice);
        }
        let n = self.out.len();
        self.out.sent(n);
        if self.habit != Habit::Good {
            misbehave(self.habit, &mut to[from..]);
        }
    }

    fn plain(
        owed: &mut dyn Iterator<Item = &Request>,
        who: u32,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let Some(head) = bytes.first_chunk::<4>() else { return Ok(None) };
        let used = 4 + u32::from_be_bytes(*head) as usize;
        if used > 4 + codec::TEXT_MAX {
            return Err(format!("a message of {used} bytes"));
        }
        let Some(text) = bytes.get(4..used) else { return Ok(None) };
        if text.starts_with(b"-- ") {
            let what = match lost_plainly(text) {
                Some(count) => Said::Lost(Reply::PlainLost(count)),
                None => Said::Refusal(Reply::Bye),
            };
            return Ok(Some(Heard { used, what }));
        }
        let text = head_of(text)?;
        let own = |request: &Request| matches!(request, Request::Say(_, n, _) if format!("{who}.{n}.").as_bytes() == text);
        let what = match nth(owed, &own) {
            Some(nth) => Said::Answer(nth, Reply::Plain(text)),
            None => Said::Event(Reply::Plain(text)),
        };
        Ok(Some(Heard { used, what }))
    }

    /// Something with a place in a room: no gap, no repeat.
    fn follow(&mut self, room: Room, seq: u64, count: u64) -> Result<(), String> {
        let Some(place) = self.rooms.get_mut(&room) else { return Ok(()) };
        if let Some((from, count)) = place.gap {
            return Err(format!("{count} messages from {from} on are lost in silence"));
        }
        let Some((_, next)) = &mut place.next else {
            return Err(format!("message {seq} of a room that was not joined"));
        };
        if *next != seq {
            let what = if seq < *next { "a repeat" } else { "a gap" };
            return Err(format!("{what} in room {room}: {seq} came in the place of {next}"));
        }
        *next += count;
        Ok(())
    }

    fn joined(&mut self, room: Room, life: u64, next: u64) -> Result<(), String> {
        let place = self.rooms.entry(room).or_default();
        place.joined = true;
        if let Some((before, due)) = place.next {
            if before != life {
                place.gap = Some((0, u64::MAX));
            } else if next < due {
                return Err(format!("came back to {next} and had everything before {due}"));
            } else if next > due {
                place.gap = Some((due, next - due));
            }
        }
        place.next = Some((life, next));
        Ok(())
    }

    fn lost(&mut self, room: Room, from: u64, count: u64) -> Result<(), String> {
        match self.rooms.get_mut(&room) {
            Some(place) if place.gap == Some((from, count)) => {
                place.gap = None;
                Ok(())
            }
            _ => self.follow(room, from, count),
        }
    }
}

impl Workload for Chat {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let kind = draw.below(KIND, 24);
        let size = draw.size(SIZE, FILLING);
        let size = if size == 0 { 0 } else { 1 << (size - 1) };
        let Some(client) = &self.client else {
            self.said += u64::from(kind > 0);
            return (kind > 0).then_some(Request::Say(0, self.said, size));
        };
        let room = draw.below(ROOM, ROOMS.len() as u64) as Room;
        let place = self.rooms.get(&room).copied();
        let wanted = client.rooms().any(|r| r == ROOMS[usize::from(room)]);
        let history = [0, 1, 5, 200][draw.below(HISTORY, 4) as usize];
        Some(match (kind, place) {
            (0, _) => return None,
            (1, _) => Request::Who(room),
            (2, _) if client.is_up() && !self.pinging => Request::Ping,
            // What it said on this connection and has not heard it hears before it is out. Seldom: who
            // leaves early fills no disk.
            (3, Some(place))
                if place.joined
                    && !place.leaving
                    && (!self.says.values().any(|s| s.0 == room)
                        || client.is_current() && history == 0) =>
            {
                Request::Leave(room)
            }
            (_, Some(place)) if client.is_current() && wanted && place.joined && !place.leaving => {
                self.said += 1;
                Request::Say(room, self.said, size)
            }
            _ if !wanted => Request::Join(room, history),
            _ => return None,
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let name = |room: &Room| ROOMS[usize::from(*room)];
        if let (Request::Say(_, number, size), None) = (request, &self.client) {
            let text = self.text(*number, *size);
            to.extend_from_slice(&(text.len() as u32).to_be_bytes());
            to.extend_from_slice(&text);
            return;
        }
        let text = match request {
            Request::Say(_, number, size) => self.text(*number, *size),
            _ => Vec::new(),
        };
        let Some(client) = &mut self.client else { return };
        match request {
            Request::Join(room, history) => {
                client.join(name(room), *history, &mut self.out);
            }
            Request::Leave(room) => {
                self.rooms.entry(*room).or_default().leaving = true;
                client.leave(name(room), &mut self.out);
            }
            Request::Say(room, number, _) => {
                let key = if self.habit == Habit::OneKey { KEYS[0] } else { key_of(*number) };
                match client.say(name(room), key, &text, &mut self.out) {
                    Ok(n) => drop(self.says.insert(n, (*room, *number))),
                    Err(why) => unreachable!("drawn so that it can be said: {why}"),
                }
            }
            Request::Who(room) => client.who(name(room), &mut self.out),
            Request::Ping => {
                self.pinging = true;
                client.ping(Tick::ZERO, &mut self.out);
            }
        }
        self.flush(to);
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let Some(client) = &mut self.client else { return Self::plain(owed, self.who, bytes) };
        let mut out = core::mem::take(&mut self.out);
        // Before the welcome, what is heard is not for this client.
        let up = client.is_up();
        let step = client.step(Tick::ZERO, bytes, &mut out).map_err(|fault| fault.to_string());
        self.out = out;
        let Step::Event { event, used } = step? else { return Ok(None) };
        let mut aside = core::mem::take(&mut self.aside);
        self.flush(&mut aside);
        self.aside = aside;
        let raw = codec::Event::parse(&bytes[4..used]);
        let room = |name: &[u8]| ROOMS.iter().position(|r| *r == name).unwrap_or(99) as Room;
        let mut answer = |reply: Reply, is: &dyn Fn(&Request) -> bool| match nth(owed, is) {
            Some(nth) => Said::Answer(nth, reply),
            None => Said::Event(reply),
        };
        let what = match (event, raw) {
            (Event::Joined { .. }, Ok(codec::Event::Joined { room: name, life, next, .. })) => {
                let room = room(name);
                self.joined(room, life, next)?;
                answer(Reply::Other, &|r| matches!(r, Request::Join(at, _) if *at == room))
            }
            (Event::Said(message), _) => {
                let (said, room) = (message.said, room(message.said.room));
                self.follow(room, said.seq, 1)?;
                let text = head_of(said.text)?;
                let life = self.rooms.get(&room).and_then(|p| p.next).unwrap_or_default().0;
                let (seq, from, number, again) = (said.seq, said.from, said.number, said.again);
                let own = if message.own { self.says.remove(&number) } else { None };
                let reply = Reply::Said { room, life, seq, from, number, again, text };
                let mine = own.map(|(_, n)| n);
                answer(reply, &|r| matches!(r, Request::Say(_, n, _) if Some(*n) == mine))
            }
            (_, Ok(codec::Event::Presence { room: name, seq, from, .. })) if up => {
                let room = room(name);
                self.follow(room, seq, 1)?;
                let life = self.rooms.get(&room).and_then(|p| p.next).unwrap_or_default().0;
                let (number, again, text) = (0, false, Vec::new());
                Said::Event(Reply::Said { room, life, seq, from, number, again, text })
            }
            (_, Ok(codec::Event::Lost { room: name, from, count, why })) if up => {
                let room = room(name);
                self.lost(room, from, count)?;
                let life = self.rooms.get(&room).and_then(|p| p.next).unwrap_or_default().0;
                Said::Lost(Reply::Lost { room, life, from, count, why })
            }
            (Event::Left { room: name }, _) => {
                let room = room(name);
                self.rooms.remove(&room);
                answer(Reply::Other, &|r| matches!(r, Request::Leave(at) if *at == room))
            }
            (Event::Roster { room: name, .. }, _) => {
                let room = room(name);
                answer(Reply::Other, &|r| matches!(r, Request::Who(at) if *at == room))
            }
            (Event::Refused { room: name, number, .. }, _) => {
                let room = room(name);
                let mine = number.and_then(|n| self.says.remove(&n)).map(|(_, n)| n);
                if number.is_none() {
                    self.rooms.remove(&room);
                    self.says.retain(|_, say| say.0 != room);
                }
                answer(Reply::Refused, &|r| match r {
                    Request::Join(at, _) | Request::Leave(at) => number.is_none() && *at == room,
                    Request::Say(_, n, _) => Some(*n) == mine,
                    _ => false,
                })
            }
            (Event::Pong, _) => {
                self.pinging = false;
                answer(Reply::Other, &|r| *r == Request::Ping)
            }
            (Event::Bye { .. }, _) => Said::Refusal(Reply::Bye),
            // Before its hello was read it is told as a plain one.
            _ if !up && is_notice(&bytes[4..used]) => Said::Refusal(Reply::Bye),
            _ => Said::Event(Reply::Other),
        };
        Ok(Some(Heard { used, what }))
    }

    fn lost_with(&self, request: &Request, loss: &Reply) -> bool {
        match (request, loss) {
            (Request::Say(at, ..), Reply::Lost { room, .. }) => at == room,
            (Request::Say(at, ..), Reply::PlainLost(_)) => *at == LOBBY,
            _ => false,
        }
    }

    fn connected(&mut self) {
        self.out = Outbox::new();
        self.aside.clear();
        self.pinging = false;
        for place in self.rooms.values_mut() {
            (place.joined, place.leaving, place.gap) = (false, false, None);
        }
        if let Some(client) = &mut self.client {
            client.disconnected();
            client.connected(Tick::ZERO, &mut self.out);
        }
    }

    fn react(&mut self, to: &mut Vec<u8>) {
        to.append(&mut self.aside);
        self.flush(to);
    }

    fn listens(&self) -> bool {
        true
    }
}

/// The head of a text, `who.number.`, if the rest is the filling that its sender gave it.
fn head_of(text: &[u8]) -> Result<Vec<u8>, String> {
    let dot = |from: usize| text[from..].iter().position(|b| *b == b'.').map(|n| from + n + 1);
    let garbled =
        || format!("a text that nobody said: {}", text[..text.len().min(40)].escape_ascii());
    let Some((first, second)) = dot(0).and_then(|a| Some((a, dot(a)?))) else {
        // The mob says nothing whole: its pieces are no message.
        return Err(garbled());
    };
    let number = core::str::from_utf8(&text[first..second - 1]).ok();
    let number: u64 = number.and_then(|n| n.parse().ok()).ok_or_else(garbled)?;
    let filling = b'a' + (number % 26) as u8;
    if text[second..].iter().any(|b| *b != filling) {
        return Err(garbled());
    }
    Ok(text[..second].to_vec())
}

/// Changes requests on their way out: frames of one message each.
fn misbehave(habit: Habit, mut bytes: &mut [u8]) {
    while bytes.len() > 4 {
        let len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let (frame, rest) = bytes.split_at_mut(4 + len);
        let frame = &mut frame[4..];
        let name = frame.get(1).map_or(0, |n| usize::from(*n));
        let at = frame.len().saturating_sub(8);
        match frame.first() {
            Some(1) if frame.get(2 + name) == Some(&2) => {
                let seq = u64::from_be_bytes(frame[at..].try_into().unwrap_or_default());
                let seq = match habit {
                    Habit::SkipsOne => seq + 1,
                    Habit::RepeatsOne => seq.saturating_sub(1),
                    _ => seq,
                };
                frame[at..].copy_from_slice(&seq.to_be_bytes());
            }
            // The mark stands behind the room and the number.
            Some(3) if habit == Habit::Unmarked => frame[2 + name + 8] = 0,
            _ => {}
        }
        bytes = rest;
    }
}

/// Which of the requests it is that waits.
fn nth(owed: &mut dyn Iterator<Item = &Request>, is: &dyn Fn(&Request) -> bool) -> Option<usize> {
    owed.enumerate().find(|(_, request)| is(request)).map(|(nth, _)| nth)
}

/// What members speak about.
const KEYS: [&[u8]; 3] = [b"k0", b"k1", b"k2"];

fn key_of(number: u64) -> &'static [u8] {
    KEYS[(number % 3) as usize]
}

/// What the message with this head is about; what plain members say is about nothing.
pub(super) fn key(head: &[u8]) -> &'static [u8] {
    let mut parts = head.split(|b| *b == b'.');
    let mut part = || core::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
    match (part(), part()) {
        (Some(who), Some(number)) if who % 3 != 2 => key_of(number),
        _ => b"",
    }
}

/// How many messages a plain member is told to have lost.
fn lost_plainly(text: &[u8]) -> Option<u64> {
    let count = text.strip_prefix(b"-- ")?.strip_suffix(b" messages lost --")?;
    core::str::from_utf8(count).ok()?.parse().ok()
}

/// Why a plain connection ends.
fn is_notice(text: &[u8]) -> bool {
    text.starts_with(b"-- ") && lost_plainly(text).is_none()
}
