//! The bytes of each message: `docs/chat.md`.

use crate::fanout::{Draft, Mark, Refusal, Start};
use crate::frame::length_prefix::LengthPrefix;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// What a hello and its answer begin with. No other plain message may.
pub const MAGIC: &[u8; 13] = b"\0drywire-chat";
/// The version of the extended protocol.
pub const VERSION: u8 = 1;
/// The longest text, and the longest plain message.
pub const TEXT_MAX: usize = 65_536;
/// The longest name.
pub const NAME_MAX: usize = 32;
/// The longest name of a room.
pub const ROOM_MAX: usize = 64;
/// The longest key.
pub const KEY_MAX: usize = 64;
/// The longest payload of an extended frame: a text and its fields.
pub const FRAME_MAX: usize = TEXT_MAX + 512;
/// Names in one roster at most.
pub const ROSTER_MAX: usize = 500;

/// The frames of plain clients.
#[must_use]
pub fn plain() -> LengthPrefix {
    LengthPrefix::u32_be(TEXT_MAX)
}

/// The frames of extended connections, both ways.
#[must_use]
pub fn extended() -> LengthPrefix {
    LengthPrefix::u32_be(FRAME_MAX)
}

mod kind {
    pub(super) const JOIN: u8 = 0x01;
    pub(super) const LEAVE: u8 = 0x02;
    pub(super) const SAY: u8 = 0x03;
    pub(super) const WHO: u8 = 0x04;
    pub(super) const PING: u8 = 0x05;
    pub(super) const PONG: u8 = 0x06;
    pub(super) const STATS: u8 = 0x07;
    pub(super) const JOINED: u8 = 0x81;
    pub(super) const LEFT: u8 = 0x82;
    pub(super) const SAID: u8 = 0x83;
    pub(super) const PRESENCE: u8 = 0x84;
    pub(super) const ROSTER: u8 = 0x85;
    pub(super) const LOST: u8 = 0x86;
    pub(super) const REFUSED: u8 = 0x87;
    pub(super) const BYE: u8 = 0x88;
    pub(super) const LINK: u8 = 0x89;
    pub(super) const COUNTED: u8 = 0x8a;
}

/// What an extended client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are described in docs/chat.md")]
pub enum Request<'a> {
    /// Let me in.
    Join { room: &'a [u8], start: Start },
    /// I leave.
    Leave { room: &'a [u8] },
    /// Tell the room. `again`: I do not know whether this was heard before.
    Say { room: &'a [u8], number: u64, again: bool, key: &'a [u8], text: &'a [u8] },
    /// Who is there?
    Who { room: &'a [u8] },
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// What do you hold?
    Stats,
}

/// What an extended client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are described in docs/chat.md")]
pub enum Event<'a> {
    /// The answer to a hello.
    Welcome { heartbeat_ms: u32, history: u32, rooms: u16 },
    /// You are in. Messages from `next` to before `end` of this life of the room were there
    /// before you.
    Joined { room: &'a [u8], life: u64, next: u64, end: u64, members: u64 },
    /// You are out.
    Left { room: &'a [u8] },
    /// Someone, maybe you, said something.
    Said(Said<'a>),
    /// Someone came (true) or went.
    Presence { room: &'a [u8], seq: u64, time: u64, came: bool, from: u64, name: &'a [u8] },
    /// Who is there.
    Roster { room: &'a [u8], total: u64, names: Names<'a> },
    /// Messages you do not get. A count of `u64::MAX`: nobody knows how many.
    Lost { room: &'a [u8], from: u64, count: u64, why: u8 },
    /// A request is not granted. `number` is that of a say.
    Refused { request: u8, room: &'a [u8], number: u64, code: u8, reason: &'a [u8] },
    /// Are you there?
    Ping(u64),
    /// I am.
    Pong(u64),
    /// The link to other servers is lost (0), back (1), or has a gap (2).
    Link { room: &'a [u8], seq: u64, time: u64, state: u8, text: &'a [u8] },
    /// What the server holds: lines of a key and a number.
    Stats { text: &'a [u8] },
    /// The end, and why.
    Bye { reason: &'a [u8] },
}

/// A message in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// Where.
    pub room: &'a [u8],
    /// Its place in the room's one order.
    pub seq: u64,
    /// Unix milliseconds, by the server's clock.
    pub time: u64,
    /// The sender's id; zero for a plain client.
    pub from: u64,
    /// The sender's number for it.
    pub number: u64,
    /// The sender did not know whether it was heard before.
    pub again: bool,
    /// The sender's name; empty for a plain client.
    pub name: &'a [u8],
    /// What it is about; empty for nothing in particular.
    pub key: &'a [u8],
    /// What was said.
    pub text: &'a [u8],
}

impl Said<'_> {
    /// Nothing, said by a plain client.
    pub const NOTHING: Said<'static> = Said {
        room: b"",
        seq: 0,
        time: 0,
        from: 0,
        number: 0,
        again: false,
        name: b"",
        key: b"",
        text: b"",
    };
}

/// The names of a roster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let mut fields = Fields(self.0);
        let name = fields.short().ok()?;
        self.0 = fields.0;
        Some(name)
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A field reaches behind the end, or something follows the last one.
    Length,
    /// No such message.
    Kind,
    /// A field breaks its rule.
    Field,
}

impl Error {
    /// What is wrong, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "the fields of a message do not fill its frame",
            Self::Kind => "an unknown message",
            Self::Field => "a field breaks its rule",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Error {}

/// Whether `name` may be a name, room or key of at most `max` bytes: UTF-8, not empty, no
/// control characters.
#[must_use]
pub fn is_name(name: &[u8], max: usize) -> bool {
    let text = core::str::from_utf8(name);
    !name.is_empty() && name.len() <= max && text.is_ok_and(|t| !t.chars().any(char::is_control))
}

/// Reads fields off a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Error::Length)?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| Error::Length)
    }
    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }
    fn flag(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Field),
        }
    }
    /// A length byte and so many bytes.
    fn short(&mut self) -> Result<&'a [u8], Error> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }
    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }
    fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Length) }
    }
}

/// The client's id and name, if `payload` is a hello of this version.
///
/// # Errors
/// It is a hello, but no good one.
pub fn hello(payload: &[u8]) -> Result<Option<(u64, &[u8])>, Error> {
    let Some(rest) = payload.strip_prefix(MAGIC) else { return Ok(None) };
    let mut fields = Fields(rest);
    if fields.u8()? != VERSION {
        return Err(Error::Field);
    }
    let id = fields.u64()?;
    let name = fields.rest();
    if id == 0 || !is_name(name, NAME_MAX) {
        return Err(Error::Field);
    }
    Ok(Some((id, name)))
}

impl<'a> Request<'a> {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// It is no request.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Error> {
        let mut fields = Fields(payload);
        let request = match fields.u8()? {
            kind::JOIN => {
                let room = fields.short()?;
                let start = match fields.u8()? {
                    0 => Start::Next,
                    1 => Start::Last(fields.u32()?),
                    2 => Start::After { life: fields.u64()?, number: fields.u64()? },
                    _ => return Err(Error::Field),
                };
                Self::Join { room, start }
            }
            kind::LEAVE => Self::Leave { room: fields.short()? },
            kind::SAY => {
                let (room, number, again) = (fields.short()?, fields.u64()?, fields.flag()?);
                Self::Say { room, number, again, key: fields.short()?, text: fields.rest() }
            }
            kind::WHO => Self::Who { room: fields.short()? },
            kind::PING => Self::Ping(fields.u64()?),
            kind::PONG => Self::Pong(fields.u64()?),
            kind::STATS => Self::Stats,
            _ => return Err(Error::Kind),
        };
        fields.end()?;
        Ok(request)
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Join { .. } => kind::JOIN,
            Self::Leave { .. } => kind::LEAVE,
            Self::Say { .. } => kind::SAY,
            Self::Who { .. } => kind::WHO,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Stats => kind::STATS,
        }
    }

    /// Appends its frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame(out, self.kind(), |out| match *self {
            Self::Join { room, start } => {
                short(out, room);
                match start {
                    Start::Next => out.push(0),
                    Start::Last(n) => {
                        out.push(1);
                        out.extend_from_slice(&n.to_be_bytes());
                    }
                    Start::After { life, number } => {
                        out.push(2);
                        out.extend_from_slice(&life.to_be_bytes());
                        out.extend_from_slice(&number.to_be_bytes());
                    }
                }
            }
            Self::Leave { room } | Self::Who { room } => short(out, room),
            Self::Stats => {}
            Self::Say { room, number, again, key, text } => {
                short(out, room);
                out.extend_from_slice(&number.to_be_bytes());
                out.push(u8::from(again));
                short(out, key);
                out.extend_from_slice(text);
            }
            Self::Ping(n) | Self::Pong(n) => out.extend_from_slice(&n.to_be_bytes()),
        });
    }
}

/// Appends the frame of a hello.
pub fn encode_hello(out: &mut Vec<u8>, id: u64, name: &[u8]) {
    let start = open(out);
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(name);
    close(out, start);
}

impl<'a> Event<'a> {
    /// Reads the payload of a frame that an extended client gets.
    ///
    /// # Errors
    /// It is no event.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Error> {
        if let Some(rest) = payload.strip_prefix(MAGIC) {
            let mut fields = Fields(rest);
            if fields.u8()? != VERSION {
                return Err(Error::Field);
            }
            let (heartbeat_ms, history) = (fields.u32()?, fields.u32()?);
            let rooms = fields.u16()?;
            fields.end()?;
            return Ok(Self::Welcome { heartbeat_ms, history, rooms });
        }
        let mut fields = Fields(payload);
        let f = &mut fields;
        let event = match f.u8()? {
            kind::JOINED => {
                let room = f.short()?;
                let (life, next, end) = (f.u64()?, f.u64()?, f.u64()?);
                Self::Joined { room, life, next, end, members: f.u64()? }
            }
            kind::LEFT => Self::Left { room: f.short()? },
            kind::SAID => {
                let (room, seq, time) = (f.short()?, f.u64()?, f.u64()?);
                let (from, number, again) = (f.u64()?, f.u64()?, f.flag()?);
                let (name, key) = (f.short()?, f.short()?);
                let len = f.u32()?;
                let text = f.take(usize::try_from(len).map_err(|_| Error::Length)?)?;
                Self::Said(Said { room, seq, time, from, number, again, name, key, text })
            }
            kind::PRESENCE => {
                let (room, seq, time) = (f.short()?, f.u64()?, f.u64()?);
                let (came, from) = (f.flag()?, f.u64()?);
                Self::Presence { room, seq, time, came, from, name: f.short()? }
            }
            kind::ROSTER => {
                let (room, total) = (f.short()?, f.u64()?);
                Self::Roster { room, total, names: Names(f.rest()) }
            }
            kind::LOST => {
                Self::Lost { room: f.short()?, from: f.u64()?, count: f.u64()?, why: f.u8()? }
            }
            kind::REFUSED => {
                let (request, room) = (f.u8()?, f.short()?);
                let (number, code) = (f.u64()?, f.u8()?);
                Self::Refused { request, room, number, code, reason: f.rest() }
            }
            kind::PING => Self::Ping(f.u64()?),
            kind::PONG => Self::Pong(f.u64()?),
            kind::LINK => {
                let (room, seq, time, state) = (f.short()?, f.u64()?, f.u64()?, f.u8()?);
                let len = f.u32()?;
                let text = f.take(usize::try_from(len).map_err(|_| Error::Length)?)?;
                Self::Link { room, seq, time, state, text }
            }
            kind::COUNTED => Self::Stats { text: f.rest() },
            kind::BYE => Self::Bye { reason: f.rest() },
            _ => return Err(Error::Kind),
        };
        fields.end()?;
        Ok(event)
    }

    /// Appends its frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Welcome { heartbeat_ms, history, rooms } => {
                let start = open(out);
                out.extend_from_slice(MAGIC);
                out.push(VERSION);
                out.extend_from_slice(&heartbeat_ms.to_be_bytes());
                out.extend_from_slice(&history.to_be_bytes());
                out.extend_from_slice(&rooms.to_be_bytes());
                close(out, start);
            }
            Self::Joined { room, life, next, end, members } => frame(out, kind::JOINED, |out| {
                short(out, room);
                for n in [life, next, end, members] {
                    out.extend_from_slice(&n.to_be_bytes());
                }
            }),
            Self::Left { room } => frame(out, kind::LEFT, |out| short(out, room)),
            Self::Said(message) => {
                let _ = put_said(out, &message);
            }
            Self::Presence { room, seq, time, came, from, name } => {
                let _ = put_presence(out, (room, seq, time), came, from, name);
            }
            Self::Roster { room, total, names } => frame(out, kind::ROSTER, |out| {
                short(out, room);
                out.extend_from_slice(&total.to_be_bytes());
                out.extend_from_slice(names.0);
            }),
            Self::Lost { room, from, count, why } => frame(out, kind::LOST, |out| {
                short(out, room);
                out.extend_from_slice(&from.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
                out.push(why);
            }),
            Self::Refused { request, room, number, code, reason } => {
                frame(out, kind::REFUSED, |out| {
                    out.push(request);
                    short(out, room);
                    out.extend_from_slice(&number.to_be_bytes());
                    out.push(code);
                    out.extend_from_slice(reason);
                });
            }
            Self::Stats { text } => frame(out, kind::COUNTED, |out| out.extend_from_slice(text)),
            Self::Ping(n) => frame(out, kind::PING, |out| out.extend_from_slice(&n.to_be_bytes())),
            Self::Pong(n) => frame(out, kind::PONG, |out| out.extend_from_slice(&n.to_be_bytes())),
            Self::Link { room, seq, time, state, text } => {
                let _ = put_link(out, (room, seq, time), state, text);
            }
            Self::Bye { reason } => frame(out, kind::BYE, |out| out.extend_from_slice(reason)),
        }
    }
}

/// A message on its way into its room: sequence number and time are filled in there.
#[must_use]
pub fn said(message: &Said<'_>) -> Draft {
    // Exactly as large as it will be, because it stays for as long as the room's history.
    let fields = message.room.len() + message.name.len() + message.key.len();
    let mut bytes = Vec::with_capacity(4 + 1 + 3 + fields + 4 * 8 + 1 + 4 + message.text.len());
    let (stamp, plain_at) = put_said(&mut bytes, message);
    Draft {
        bytes,
        number_at: Some(stamp),
        time_at: Some(stamp + 8),
        plain_at,
        notice: false,
        key: Bytes::copy_from_slice(message.key),
    }
}

/// Someone came to a room, or went.
#[must_use]
pub fn presence(room: &[u8], came: bool, from: u64, name: &[u8]) -> Draft {
    let mut bytes = Vec::with_capacity(4 + 1 + 2 + room.len() + name.len() + 3 * 8 + 1);
    let stamp = put_presence(&mut bytes, (room, 0, 0), came, from, name);
    let (number_at, time_at) = (Some(stamp), Some(stamp + 8));
    Draft { bytes, number_at, time_at, notice: true, ..Draft::default() }
}

/// What the link to other servers does. It ends with the plain frame of its text, as [`said`].
#[must_use]
pub fn mark(room: &[u8], mark: Mark) -> Draft {
    let text = match mark {
        Mark::Down => "-- no link to the other servers: what is said is refused --",
        Mark::Up => "-- the link to the other servers is back --",
        Mark::Gap => "-- messages of other servers may be lost --",
    };
    let mut bytes = Vec::with_capacity(4 + 1 + 1 + room.len() + 8 + 8 + 1 + 4 + text.len());
    let stamp = put_link(&mut bytes, (room, 0, 0), mark as u8, text.as_bytes());
    let plain_at = (bytes.len() - text.len() - 4) as u32;
    let (number_at, time_at) = (Some(stamp), Some(stamp + 8));
    Draft { bytes, number_at, time_at, plain_at, notice: true, ..Draft::default() }
}

/// A message that another server encoded, for [`Bridge`](crate::fanout::Bridge).
#[must_use]
pub fn redraft(room: &[u8], bytes: &[u8]) -> Option<Draft> {
    let (length, payload) = bytes.split_at_checked(4)?;
    let whole = length == u32::try_from(payload.len()).ok()?.to_be_bytes();
    let Event::Said(message) = Event::parse(payload).ok()? else { return None };
    let name = |name: &[u8], max| name.is_empty() || is_name(name, max);
    let good = whole
        && message.room == room
        && is_name(room, ROOM_MAX)
        && name(message.name, NAME_MAX)
        && name(message.key, KEY_MAX)
        && message.text.len() <= TEXT_MAX
        && !message.text.starts_with(MAGIC);
    good.then(|| said(&Said { seq: 0, time: 0, ..message }))
}

/// A request that is not granted.
#[must_use]
pub fn refused<'a>(request: u8, room: &'a [u8], number: u64, why: Refusal) -> Event<'a> {
    let (code, reason) = (why as u8, why.as_str().as_bytes());
    Event::Refused { request, room, number, code, reason }
}

/// Appends a roster frame of at most [`ROSTER_MAX`] names.
pub fn roster<'a>(
    out: &mut Vec<u8>,
    room: &[u8],
    total: u64,
    names: impl Iterator<Item = &'a [u8]>,
) {
    frame(out, kind::ROSTER, |out| {
        short(out, room);
        out.extend_from_slice(&total.to_be_bytes());
        names.take(ROSTER_MAX).for_each(|name| short(out, name));
    });
}

/// Where the sequence number stands, and where the plain frame begins.
fn put_said(out: &mut Vec<u8>, message: &Said<'_>) -> (u32, u32) {
    let (mut stamp, mut plain_at) = (0, 0);
    frame(out, kind::SAID, |out| {
        short(out, message.room);
        stamp = out.len() as u32;
        for n in [message.seq, message.time, message.from, message.number] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.push(u8::from(message.again));
        short(out, message.name);
        short(out, message.key);
        plain_at = out.len() as u32;
        out.extend_from_slice(&(message.text.len() as u32).to_be_bytes());
        out.extend_from_slice(message.text);
    });
    (stamp, plain_at)
}

fn put_presence(
    out: &mut Vec<u8>,
    (room, seq, time): (&[u8], u64, u64),
    came: bool,
    from: u64,
    name: &[u8],
) -> u32 {
    let mut stamp = 0;
    frame(out, kind::PRESENCE, |out| {
        short(out, room);
        stamp = out.len() as u32;
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.push(u8::from(came));
        out.extend_from_slice(&from.to_be_bytes());
        short(out, name);
    });
    stamp
}

fn put_link(
    out: &mut Vec<u8>,
    (room, seq, time): (&[u8], u64, u64),
    state: u8,
    text: &[u8],
) -> u32 {
    let mut stamp = 0;
    frame(out, kind::LINK, |out| {
        short(out, room);
        stamp = out.len() as u32;
        out.extend_from_slice(&seq.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.push(state);
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text);
    });
    stamp
}

fn frame(out: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = open(out);
    out.push(kind);
    fields(out);
    close(out, start);
}

fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn close(out: &mut [u8], start: usize) {
    let len = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&len.to_be_bytes());
}

/// A length byte and the bytes, of which there are at most 255: callers have checked.
fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}
