//! The server's side of one connection, plain until it says hello.

use crate::chat::codec::{self, Event, MAGIC, Said, TEXT_MAX};
use crate::chat::extended::Extended;
use crate::conn::{
    Cx, Deadline, Fault, FaultKind, Intake, Limits, Outbox, Peer, Session, Stop, Taken, Upkeep,
};
use crate::engine::JobId;
use crate::fanout::{
    self, Entry, Exchange, Feed, Lost, Message, Refusal, Reply, SpillDone, SpillJob, Start, Style,
};
use crate::frame::length_prefix;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cell::Cell;
use core::time::Duration;

/// What the server is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The room that plain clients are in. Default `lobby`.
    pub lobby: Bytes,
    /// Messages that a client may have repeated when it joins. Default 200.
    pub history: u32,
    /// Rooms that one client may be in. Default 16.
    pub rooms: u16,
    /// After so much silence an extended client is pinged; after three times as much it is
    /// given up. Default 10 s.
    pub heartbeat: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lobby: Bytes::from_static(b"lobby"),
            history: 200,
            rooms: 16,
            heartbeat: Duration::from_secs(10),
        }
    }
}

/// What all chat connections of one engine share.
#[derive(Debug)]
pub struct Shared {
    pub(super) config: Config,
    pub(super) exchange: Exchange,
}

impl Shared {
    /// A server's state.
    #[must_use]
    pub fn new(config: Config, fanout: fanout::Config) -> Self {
        let subscriptions = usize::from(config.rooms);
        let fanout = fanout::Config { subscriptions, mark: codec::mark, ..fanout };
        Self { config, exchange: Exchange::new(fanout) }
    }

    /// The rooms, to look at.
    #[must_use]
    pub const fn exchange(&self) -> &Exchange {
        &self.exchange
    }
}

impl AsMut<Exchange> for Shared {
    fn as_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }
}

/// The limits of a connection that fit this protocol: [`fanout::limits`].
#[must_use]
pub fn limits() -> Limits {
    fanout::limits(codec::FRAME_MAX + 4)
}

/// The server's side of one chat connection.
#[derive(Debug)]
pub struct Server {
    frames: length_prefix::State,
    mode: Mode,
    feed: Feed,
    /// Requests that the exchange has not answered.
    pending: u32,
    /// Said hello before the lobby had answered: that answer is not for the client.
    lobby_pending: bool,
    end: End,
}

#[derive(Debug)]
enum Mode {
    /// Nothing was received.
    New,
    Plain,
    Extended(Box<Extended>),
}

/// How far the connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// It says no more; answers are under way.
    Ending,
    /// It has left all rooms and gets what was said until then.
    Left,
    /// It was told why it ends: nothing more is done for it.
    Kicked,
}

impl Session for Server {
    type Shared = Shared;
    type Message = Message;
    type Job = SpillJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        let (conn, lobby) = (cx.id, cx.shared.config.lobby.clone());
        let joined = fanout::with(&mut cx.upkeep(), |exchange, at| {
            exchange.attach(conn);
            exchange.join(at, conn, &lobby, Start::Next, None, (None, None))
        });
        let mut feed = Feed::new();
        if let Err(why) = joined {
            feed.condemn(Fault::new(FaultKind::Refused, why.as_str()));
        }
        let pending = u32::from(joined.is_ok());
        Self {
            frames: Default::default(),
            mode: Mode::New,
            feed,
            pending,
            lobby_pending: false,
            end: End::Open,
        }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        if self.end == End::Kicked {
            return Ok(Taken { used: input.len(), stop: Stop::Closing });
        }
        let mut taken = Taken { used: 0, stop: Stop::NeedInput(input.len() + 1) };
        if self.is_plain() {
            taken = self.plain(cx, input)?;
        }
        if !self.is_plain() && taken.used < input.len() {
            let more = self.extended(cx, &input[taken.used..])?;
            taken = Taken { used: taken.used + more.used, ..more };
        }
        self.feed.watch(cx);
        Ok(taken)
    }

    fn on_end(&mut self, cx: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        if !rest.is_empty() {
            return Err(Fault::new(FaultKind::Truncated, "input ended inside a message"));
        }
        self.end(cx);
        Ok(())
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, message: Message) {
        let Some(reply) = message.into_reply() else { return };
        if !matches!(reply, Reply::Displaced { .. }) {
            self.pending = self.pending.saturating_sub(1);
        }
        if let Reply::Joined { topic, .. } = &reply {
            let (conn, topic) = (cx.id, topic.clone());
            fanout::with(&mut cx.upkeep(), |exchange, _| exchange.begin(conn, &topic));
        }
        let lobby = &cx.shared.config.lobby;
        let about_lobby = matches!(&reply, Reply::Joined { topic, .. } | Reply::NotJoined { topic, .. } if topic == lobby);
        if self.lobby_pending && about_lobby {
            self.lobby_pending = false;
        } else if let Mode::Extended(extended) = &mut self.mode {
            extended.reply(cx, reply, &mut self.feed);
        } else if let Reply::Took { result: Err(why), .. } = reply {
            not_said(cx.out, why);
        } else if let Reply::Joined { topic, lost: Some(lost), .. } = reply {
            // Said since it came, and gone before it could have it.
            let mut notice = Vec::new();
            Plain.lost(&mut notice, &topic, lost);
            cx.out.put(&notice);
        } else if let Reply::NotJoined { why, .. } = reply
            && why != Refusal::NotMember
        {
            self.feed.condemn(Fault::new(FaultKind::Refused, why.as_str()));
        }
        self.feed.watch(cx);
        if self.end == End::Ending {
            self.end(cx);
        }
        self.last_words(cx);
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, Self>) {
        self.fill(cx);
    }

    fn has_backlog(&self) -> bool {
        self.feed.has_backlog()
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, done: SpillDone) {
        if self.is_plain() {
            self.feed.spilled(cx, done, &Plain);
        } else {
            let full = Full::default();
            self.feed.spilled(cx, done, &full);
            self.answered(cx, &full);
        }
        self.last_words(cx);
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        if let Mode::Extended(extended) = &mut self.mode {
            extended.beat(cx)?;
        }
        self.fill(cx);
        self.feed.verdict()
    }

    fn deadline(&self) -> Option<Deadline> {
        let beat = match &self.mode {
            Mode::Extended(extended) if self.end == End::Open => Some(extended.deadline()),
            _ => None,
        };
        [self.feed.deadline(), beat].into_iter().flatten().min()
    }

    fn on_lost_time(&mut self, gap: Duration) {
        self.feed.lost_time(gap);
        if let Mode::Extended(extended) = &mut self.mode {
            extended.lost_time(gap);
        }
    }

    fn owes(&self) -> bool {
        self.end == End::Ending || self.feed.is_working()
    }

    fn on_drain(&mut self, cx: &mut Cx<'_, Self>) {
        self.end(cx);
        if !self.is_plain() {
            say(cx.out, &Event::Bye { reason: b"the server is going away" });
        }
    }

    fn refusal(_: &mut Shared) -> &'static [u8] {
        b"\0\0\0\x2a-- the server takes no more connections --"
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        self.feed.give_up();
        self.end = End::Kicked;
        if self.is_plain() {
            // The lobby may be full, or its home out of reach.
            if matches!(fault.kind, FaultKind::TooSlow | FaultKind::Refused) {
                plain_notice(out, &[fault.what.as_bytes()]);
            }
        } else {
            say(out, &Event::Bye { reason: fault.what.as_bytes() });
        }
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        let conn = cx.id;
        fanout::with(&mut cx.upkeep(), |exchange, at| exchange.detach(at, conn));
    }

    fn upkeep_due(shared: &Shared) -> Option<Deadline> {
        shared.exchange.upkeep_due().map(|at| Deadline { at, why: "unused rooms" })
    }

    fn upkeep(up: &mut Upkeep<'_, Self>) {
        fanout::with(up, |exchange, at| exchange.upkeep(at.now));
    }

    fn on_mail(up: &mut Upkeep<'_, Self>, from: usize, message: Message) {
        fanout::with(up, |exchange, at| exchange.receive(at, from, message));
    }

    fn footprint(&self) -> usize {
        match &self.mode {
            Mode::Extended(_) => size_of::<Extended>(),
            _ => 0,
        }
    }
}

impl Server {
    fn is_plain(&self) -> bool {
        !matches!(self.mode, Mode::Extended(_))
    }

    fn plain(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let codec = codec::plain();
        let mut intake = Intake::new(&codec, self.frames, input);
        loop {
            if !cx.shared.exchange.may_ask(cx.id) {
                intake.stop(Stop::Waiting);
                break;
            }
            let Some(frame) = intake.next(cx)? else { break };
            let frame = frame?;
            if let Some(rest) = self.first(cx, frame.payload)? {
                self.say_plainly(cx, rest)?;
            } else {
                // What follows is framed otherwise.
                break;
            }
        }
        self.frames = intake.state();
        Ok(intake.taken())
    }

    /// The first message decides what the connection speaks: `None` if that was a hello.
    fn first<'a>(
        &mut self,
        cx: &mut Cx<'_, Self>,
        payload: &'a [u8],
    ) -> Result<Option<&'a [u8]>, Fault> {
        if !matches!(self.mode, Mode::New) {
            return Ok(Some(payload));
        }
        self.mode = Mode::Plain;
        let Some((id, name)) = codec::hello(payload).map_err(malformed)? else {
            return Ok(Some(payload));
        };
        self.lobby_pending = self.pending > 0;
        let (conn, lobby) = (cx.id, cx.shared.config.lobby.clone());
        fanout::with(&mut cx.upkeep(), |exchange, at| exchange.forget(at, conn, &lobby));
        // What is on disk is the lobby, in plain messages.
        self.feed.forget();
        let config = &cx.shared.config;
        let heartbeat_ms = u32::try_from(config.heartbeat.as_millis()).unwrap_or(u32::MAX);
        let (history, rooms) = (config.history, config.rooms);
        say(cx.out, &Event::Welcome { heartbeat_ms, history, rooms });
        let extended = Extended::new(id, Bytes::copy_from_slice(name), cx.now, config.heartbeat);
        self.mode = Mode::Extended(Box::new(extended));
        Ok(None)
    }

    fn say_plainly(&mut self, cx: &mut Cx<'_, Self>, text: &[u8]) -> Result<(), Fault> {
        if text.starts_with(MAGIC) {
            return Err(Fault::new(FaultKind::Refused, "a hello comes first or not at all"));
        }
        let (conn, room) = (cx.id, cx.shared.config.lobby.clone());
        let draft = codec::said(&Said { room: &room, text, ..Said::NOTHING });
        let published = fanout::with(&mut cx.upkeep(), |exchange, at| {
            exchange.publish(at, conn, &room, draft, (0, false))
        });
        match published {
            Ok(fanout::Published::Sent) => self.pending += 1,
            Ok(fanout::Published::At(_)) => {}
            Err(why) => not_said(cx.out, why),
        }
        Ok(())
    }

    fn extended(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let codec = codec::extended();
        let Mode::Extended(extended) = &mut self.mode else {
            return Ok(Taken { used: 0, stop: Stop::NeedInput(input.len() + 1) });
        };
        extended.heard(cx.now);
        let mut intake = Intake::new(&codec, self.frames, input);
        loop {
            if !cx.shared.exchange.may_ask(cx.id) {
                intake.stop(Stop::Waiting);
                break;
            }
            let Some(frame) = intake.next(cx)? else { break };
            let request = codec::Request::parse(frame?.payload).map_err(malformed)?;
            self.pending += u32::from(extended.request(cx, request)?);
        }
        self.frames = intake.state();
        Ok(intake.taken())
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        if self.is_plain() {
            self.feed.fill(cx, &Plain);
        } else {
            let full = Full::default();
            self.feed.fill(cx, &full);
            self.answered(cx, &full);
        }
        self.last_words(cx);
    }

    /// A connection on its way out has no more ticks: if it is kicked it hears so at once.
    fn last_words(&mut self, cx: &mut Cx<'_, Self>) {
        if self.end != End::Open
            && let Err(fault) = self.feed.verdict()
        {
            self.on_fault(fault, cx.out);
        }
    }

    /// Requests to leave were answered in their place in the feed.
    fn answered(&mut self, cx: &mut Cx<'_, Self>, full: &Full) {
        let left = full.left.get();
        self.pending = self.pending.saturating_sub(left);
        if left > 0 && self.end == End::Ending {
            self.end(cx);
        }
    }

    /// It says no more: once all it asked is answered it leaves, and gets what was said so far.
    fn end(&mut self, cx: &mut Cx<'_, Self>) {
        if matches!(self.end, End::Left | End::Kicked) {
            return;
        }
        self.end = End::Ending;
        self.last_words(cx);
        if self.pending == 0 && self.end == End::Ending {
            let conn = cx.id;
            fanout::with(&mut cx.upkeep(), |exchange, at| exchange.finish(at, conn));
            self.end = End::Left;
            self.fill(cx);
        }
    }
}

/// What plain clients get: the plain frame at the end of each message.
struct Plain;

impl Style for Plain {
    fn begin(&self, entry: &Entry) -> Option<usize> {
        // Who comes and goes has no plain form.
        (!entry.is_notice() || entry.plain_at() > 0).then(|| entry.plain_at())
    }

    fn lost(&self, out: &mut Vec<u8>, _: &[u8], lost: Lost) {
        let mut digits = itoa::Buffer::new();
        let text = [&b"-- "[..], digits.format(lost.count).as_bytes(), b" messages lost --"];
        out.extend_from_slice(&plain_frame(&text));
    }
}

/// What extended clients get: everything.
#[derive(Default)]
struct Full {
    /// Requests to leave that were answered.
    left: Cell<u32>,
}

impl Style for Full {
    fn begin(&self, _: &Entry) -> Option<usize> {
        Some(0)
    }

    fn lost(&self, out: &mut Vec<u8>, room: &[u8], lost: Lost) {
        let Lost { from, count, why } = lost;
        Event::Lost { room, from, count, why: why as u8 }.encode(out);
    }

    fn left(&self, out: &mut Vec<u8>, room: &[u8]) {
        self.left.set(self.left.get() + 1);
        Event::Left { room }.encode(out);
    }
}

/// What the server itself has to say to a plain client looks like a message.
fn plain_notice(out: &mut Outbox, parts: &[&[u8]]) {
    let text: Vec<u8> = [&b"-- "[..]]
        .iter()
        .chain(parts)
        .chain(&[&b" --"[..]])
        .copied()
        .flatten()
        .copied()
        .collect();
    out.put(&plain_frame(&[&text]));
}

/// A plain client hears why the room did not hear it.
fn not_said(out: &mut Outbox, why: Refusal) {
    plain_notice(out, &[why.as_str().as_bytes()]);
}

fn plain_frame(parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(4 + len);
    frame.extend_from_slice(&(len.min(TEXT_MAX) as u32).to_be_bytes());
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

/// Appends an event to an outbox.
pub(super) fn say(out: &mut Outbox, event: &Event<'_>) {
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    out.put(&bytes);
}

fn malformed(error: codec::Error) -> Fault {
    Fault::new(FaultKind::Malformed, error.as_str())
}
