//! The server's side of one connection.

use crate::conn::{
    Cx, Deadline, Fault, FaultKind, Intake, Limits, Outbox, Peer, Session, Stop, Taken, Upkeep,
};
use crate::engine::JobId;
use crate::fanout::{
    self, At, Config, Draft, Entry, Exchange, Feed, Lost, Message, Published, Refusal, Reply,
    SpillDone, SpillJob, Start, Style,
};
use crate::frame::line::State;
use crate::hub::clock::{PERIOD, UTC_TIME, utc_time};
use crate::hub::codec::{self, CONTENT_MAX, Command, TOPIC_MAX};
use crate::tick::Tick;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// What all hub connections of one engine share.
#[derive(Debug)]
pub struct Shared {
    exchange: Exchange,
    /// When the clock topic has its next value; none while nobody listens.
    clock: Option<Tick>,
}

impl Shared {
    /// A server's state.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let config = Config { mark: codec::mark, ..config };
        Self { exchange: Exchange::new(config), clock: None }
    }

    /// The topics, to look at.
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
    fanout::limits(CONTENT_MAX + 2)
}

/// The server's side of one hub connection.
#[derive(Debug, Default)]
pub struct Server {
    lines: State,
    /// The topic whose content comes next.
    topic: Option<Bytes>,
    feed: Feed,
    /// Requests that the exchange has not answered.
    pending: u32,
    ending: bool,
    left: bool,
    /// It was told why it ends: nothing more is done for it.
    kicked: bool,
}

impl Session for Server {
    type Shared = Shared;
    type Message = Message;
    type Job = SpillJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        cx.shared.exchange.attach(cx.id);
        Self::default()
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        if self.kicked {
            return Ok(Taken { used: input.len(), stop: Stop::Closing });
        }
        let codec = codec::lines();
        let mut intake = Intake::new(&codec, self.lines, input);
        loop {
            if !cx.shared.exchange.may_ask(cx.id) {
                intake.stop(Stop::Waiting);
                break;
            }
            let Some(line) = intake.next(cx)? else { break };
            let line = line?.payload;
            match self.topic.take() {
                Some(topic) => self.publish(cx, &topic, line),
                None => self.command(cx, line)?,
            }
        }
        self.lines = intake.state();
        self.feed.watch(cx);
        Ok(intake.taken())
    }

    fn on_end(&mut self, cx: &mut Cx<'_, Self>, rest: &[u8]) -> Result<(), Fault> {
        if !rest.is_empty() || self.topic.is_some() {
            return Err(Fault::new(FaultKind::Truncated, "input ended inside a message"));
        }
        self.end(cx);
        Ok(())
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, message: Message) {
        let Some(reply) = message.into_reply() else { return };
        match reply {
            Reply::Joined { topic, lost, .. } => {
                self.pending = self.pending.saturating_sub(1);
                // Published since it came, and gone before it could have it.
                if let Some(lost) = lost {
                    let mut notice = Vec::new();
                    Whole.lost(&mut notice, &topic, lost);
                    cx.out.put(&notice);
                }
                let conn = cx.id;
                fanout::with(&mut cx.upkeep(), |exchange, _| exchange.begin(conn, &topic));
            }
            Reply::NotJoined { why, .. } => {
                self.pending = self.pending.saturating_sub(1);
                // It has unsubscribed before the answer came.
                if why != Refusal::NotMember {
                    refuse(cx.out, why);
                }
            }
            Reply::Took { result, .. } => {
                self.pending = self.pending.saturating_sub(1);
                if let Err(why) = result {
                    refuse(cx.out, why);
                }
            }
            Reply::Stats(stats) => {
                self.pending = self.pending.saturating_sub(1);
                let mut lines = Vec::new();
                stats.put(&mut lines);
                lines.extend_from_slice(b"END\r\n");
                cx.out.put(&lines);
            }
            Reply::Left { .. } | Reply::Roster { .. } | Reply::Displaced { .. } => {}
        }
        self.feed.watch(cx);
        if self.ending {
            self.end(cx);
        }
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, Self>) {
        self.fill(cx);
    }

    fn has_backlog(&self) -> bool {
        self.feed.has_backlog()
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, done: SpillDone) {
        self.feed.spilled(cx, done, &Whole);
        self.last_words(cx);
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        self.fill(cx);
        self.feed.verdict()
    }

    fn deadline(&self) -> Option<Deadline> {
        self.feed.deadline()
    }

    fn on_lost_time(&mut self, gap: Duration) {
        self.feed.lost_time(gap);
    }

    fn owes(&self) -> bool {
        self.ending && !self.left || self.feed.is_working()
    }

    fn on_drain(&mut self, cx: &mut Cx<'_, Self>) {
        self.end(cx);
    }

    fn refusal(_: &mut Shared) -> &'static [u8] {
        b"error the server takes no more connections\r\n"
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        self.feed.give_up();
        (self.left, self.kicked) = (true, true);
        error(out, fault.what);
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        let conn = cx.id;
        fanout::with(&mut cx.upkeep(), |exchange, at| exchange.detach(at, conn));
    }

    fn upkeep_due(shared: &Shared) -> Option<Deadline> {
        let unused = shared.exchange.upkeep_due().map(|at| Deadline { at, why: "unused topics" });
        let clock = shared.clock.map(|at| Deadline { at, why: "utc_time" });
        [unused, clock].into_iter().flatten().min()
    }

    fn upkeep(up: &mut Upkeep<'_, Self>) {
        fanout::with(up, |exchange, at| exchange.upkeep(at.now));
        if up.shared.clock.is_some_and(|at| at <= up.now) {
            up.shared.clock = None;
            if up.shared.exchange.is_followed(UTC_TIME) {
                strike(up);
            }
        }
    }

    fn on_mail(up: &mut Upkeep<'_, Self>, from: usize, message: Message) {
        if message.joins() == Some(UTC_TIME) && up.shared.clock.is_none() {
            strike(up);
        }
        fanout::with(up, |exchange, at| exchange.receive(at, from, message));
    }

    fn footprint(&self) -> usize {
        self.topic.as_ref().map_or(0, Bytes::len)
    }
}

impl Server {
    fn command(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) -> Result<(), Fault> {
        let malformed = |what| Fault::new(FaultKind::Malformed, what);
        let conn = cx.id;
        match Command::parse(line).map_err(malformed)? {
            Command::Pub(topic) => self.topic = Some(Bytes::copy_from_slice(topic)),
            Command::Sub(topic) => {
                let topic = Bytes::copy_from_slice(topic);
                let mut up = cx.upkeep();
                let here = At::of(&up).is_home(&topic);
                if topic == UTC_TIME && here && up.shared.clock.is_none() {
                    strike(&mut up);
                }
                let joined = fanout::with(&mut up, |exchange, at| {
                    exchange.join(at, conn, &topic, Start::Last(1), None, (None, None))
                });
                match joined {
                    Ok(()) => self.pending += 1,
                    // To ask again changes nothing.
                    Err(Refusal::AlreadyMember) => {}
                    Err(why) => refuse(cx.out, why),
                }
            }
            Command::Unsub(topic) => {
                fanout::with(&mut cx.upkeep(), |exchange, at| exchange.forget(at, conn, topic));
            }
            Command::Stats => {
                fanout::with(&mut cx.upkeep(), |exchange, at| exchange.count(at, conn));
                self.pending += 1;
            }
            Command::Error(_) => return Err(malformed("an unknown verb: error is the server's")),
        }
        Ok(())
    }

    fn publish(&mut self, cx: &mut Cx<'_, Self>, topic: &Bytes, content: &[u8]) {
        if topic == UTC_TIME {
            return error(cx.out, "utc_time is the server's own topic");
        }
        let conn = cx.id;
        let draft = Draft { bytes: codec::message(topic, content), ..Draft::default() };
        let published = fanout::with(&mut cx.upkeep(), |exchange, at| {
            exchange.publish(at, conn, topic, draft, (0, true))
        });
        match published {
            Ok(Published::At(_)) => {}
            Ok(Published::Sent) => self.pending += 1,
            Err(why) => refuse(cx.out, why),
        }
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        self.feed.fill(cx, &Whole);
        self.last_words(cx);
    }

    /// A connection on its way out has no more ticks: if it is kicked it hears so at once.
    fn last_words(&mut self, cx: &mut Cx<'_, Self>) {
        if self.ending
            && let Err(fault) = self.feed.verdict()
        {
            self.on_fault(fault, cx.out);
        }
    }

    /// It says no more: once all it asked is answered it gets what was published until then.
    fn end(&mut self, cx: &mut Cx<'_, Self>) {
        self.ending = true;
        self.last_words(cx);
        if self.pending == 0 && !self.left {
            let conn = cx.id;
            fanout::with(&mut cx.upkeep(), |exchange, at| exchange.finish(at, conn));
            self.left = true;
            self.fill(cx);
        }
    }
}

/// The clock topic, whose home is here, gets its next value.
fn strike(up: &mut Upkeep<'_, Server>) {
    let unix_ms = up.shared.exchange.config().unix_ms + up.now.0 / 1_000_000;
    // On the second from the next one on.
    let rest = Duration::from_millis(unix_ms % 1000);
    up.shared.clock = Some((up.now + PERIOD - rest).max(up.now + PERIOD / 2));
    let bytes = codec::message(UTC_TIME, &utc_time(unix_ms));
    let topic = Bytes::from_static(UTC_TIME);
    let draft = Draft { bytes, ..Draft::default() };
    // Without room for one more topic there is no clock, and whoever asks for it is told so.
    let _ = fanout::with(up, |exchange, at| exchange.publish_here(at, &topic, draft));
}

/// Subscribers get messages as they are.
struct Whole;

impl Style for Whole {
    fn begin(&self, _: &Entry) -> Option<usize> {
        Some(0)
    }

    /// Values that were replaced are not missed; others are.
    fn lost(&self, out: &mut Vec<u8>, topic: &[u8], lost: Lost) {
        if lost.why != fanout::Why::Replaced {
            let mut digits = itoa::Buffer::new();
            let count = digits.format(lost.count).as_bytes();
            let topic = &topic[..topic.len().min(TOPIC_MAX)];
            for part in [&b"error "[..], count, b" messages lost, too slow: ", topic, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
    }
}

fn refuse(out: &mut Outbox, why: Refusal) {
    error(out, why.as_str());
}

fn error(out: &mut Outbox, what: &str) {
    out.put(b"error ");
    out.put(what.as_bytes());
    out.put(b"\r\n");
}
