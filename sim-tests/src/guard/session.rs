//! A session that keeps all the rules of `drywire::guard` which concern one connection, for a
//! protocol that is made to meet them.
//!
//! ```text
//!   q<text>\n ─► Q\n        b<n>\n ─► n times c<1000 x>\n, then d\n     o\n ─► O\n, or nothing
//!   t<n>\n    ─► T\n, and e<1000 n x>\n to others                      (silence) ─► ?\n, hears !\n
//!   once the server refuses work: q or t ─► x\n, b ─► xb\n, not executed
//! ```

use core::time::Duration;
use drywire::Tick;
use drywire::conn::{
    Cx, Deadline, Fault, FaultKind, Leave, NoJob, Outbox, Peer, Session, Stop, Taken, Upkeep,
};
use drywire::engine::ConnId;
use drywire::guard::{
    Beat, Heartbeat, HeartbeatConfig, Lapse, Line, Patience, PatienceConfig, PeerPing, PingFlood,
    PingFloodConfig, Progress,
};
use std::collections::VecDeque;

/// What the server gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table of planted bugs")]
pub enum Mistake {
    PingsBehindBulk,
    ForgetsProgress,
    AnyByteTaken,
    EveryByteIsProgress,
    DeafToPongs,
    ServesWhileRefusing,
}

/// The rules of one server.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// When a peer is dead.
    pub beat: HeartbeatConfig,
    /// How long a request may take to arrive.
    pub patience: PatienceConfig,
    /// How often a peer may ping.
    pub flood: PingFloodConfig,
    /// What is wrong.
    pub mistake: Option<Mistake>,
}

/// What the connections share.
#[derive(Debug)]
pub struct Shared {
    rules: Rules,
    refusing: bool,
    conns: Vec<ConnId>,
}

impl Shared {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, refusing: false, conns: Vec::new() }
    }

    /// Work is refused: the server goes away.
    pub(super) const fn is_refusing(&self) -> bool {
        self.refusing
    }
}

/// One connection.
#[derive(Debug)]
pub struct Guarded {
    rules: Rules,
    beat: Heartbeat,
    patience: Patience,
    flood: PingFlood,
    /// Up to where the unfinished line was searched.
    searched: usize,
    /// Input that was left.
    waiting: usize,
    /// Pieces of bulk answers that are left, answer by answer; 0 for one that is refused.
    bulk: VecDeque<u32>,
    /// Where in the output the ping ends that did not leave yet.
    ping_end: Option<u64>,
    /// A ping waits behind the bulk.
    late_ping: bool,
    /// A ping is not answered yet.
    asked: bool,
    /// Last words behind the bulk that is owed.
    words: Option<&'static [u8]>,
    /// After the last call: when that was, what the transport had taken and left.
    seen: Tick,
    left: usize,
    line: Line,
}

/// The longest line with its end.
const LINE: usize = 4096;
/// One piece of a bulk answer.
pub(super) const PIECE: usize = 1002;
/// Output at most when bulk is added, the low mark of any limits or more; the rest waits outside.
const BULK: usize = 8 << 10;
/// How many others hear what is told.
const HEARERS: usize = 8;
/// So many thousand bytes may be told them at once.
pub(super) const TELL: u32 = 24;
/// That, as it is sent to each.
pub(super) const TOLD_AT_MOST: u64 = TELL as u64 * 1000 + 2;

impl Guarded {
    /// Its peer was asked whether it is there, and has not said.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.rules.mistake == Some(mistake)
    }

    /// What the transport did since the last call. Only output that had been blocked shows that
    /// somebody reads.
    fn sense(&mut self, cx: &Cx<'_, Self>) {
        let blocked = self.left > 0 && cx.taken_at > self.seen;
        let any = self.is(Mistake::AnyByteTaken);
        if any || blocked && !self.is(Mistake::ForgetsProgress) {
            self.beat.progressed(cx.taken_at);
        }
        if self.ping_end.is_some_and(|end| cx.out.sent_total() >= end) {
            self.ping_end = None;
            self.beat.ping_left(cx.taken_at);
        }
        if cx.out.is_empty() {
            // Whatever comes next begins to wait then.
            self.left = 0;
        }
    }

    /// What is left for the next call to compare with.
    fn part(&mut self, cx: &Cx<'_, Self>) {
        let had = core::mem::replace(&mut self.left, cx.out.len());
        self.seen = cx.now;
        let begun = if had == 0 { cx.now } else { self.line.progress };
        if self.left > 0 {
            // It is not heard while it does not listen: the output gate judges it.
            self.patience.observe(cx.now, Progress::Busy);
        }
        self.line = Line { pending: self.left, progress: begun.max(cx.taken_at) };
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        while cx.out.len() <= BULK
            && let Some(left) = self.bulk.front_mut()
        {
            if *left == 0 {
                cx.out.put(b"xb\n");
                self.bulk.pop_front();
                continue;
            }
            cx.out.put(b"c");
            cx.out.put(&[b'x'; PIECE - 2]);
            cx.out.put(b"\n");
            *left -= 1;
            if *left == 0 {
                cx.out.put(b"d\n");
                self.bulk.pop_front();
            }
        }
        if let Some(words) = self.words.take_if(|_| self.bulk.is_empty()) {
            cx.out.put(words);
        }
        if self.bulk.is_empty() && core::mem::take(&mut self.late_ping) {
            self.ping(cx);
        }
    }

    fn ping(&mut self, cx: &mut Cx<'_, Self>) {
        cx.out.put(b"?\n");
        self.asked = true;
        self.ping_end = Some(cx.out.sent_total() + cx.out.len() as u64);
    }

    fn serve(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) -> Result<(), Fault> {
        let number = |text: &[u8], most: u32, wrong: &'static str| {
            let n = core::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
            let n = n.filter(|n| (1..=most).contains(n));
            n.ok_or_else(|| Fault::new(FaultKind::Malformed, wrong))
        };
        let refused = cx.shared.refusing && !self.is(Mistake::ServesWhileRefusing);
        match line {
            [b'!'] => {}
            [b'o'] => match self.flood.on_peer_ping(&self.rules.flood, cx.now) {
                PeerPing::Pong => cx.out.put(b"O\n"),
                PeerPing::IgnoreExcess => {}
                PeerPing::KickFlood => {
                    return Err(Fault::new(FaultKind::Refused, "too many pings"));
                }
            },
            [b'q' | b't', ..] if refused => cx.out.put(b"x\n"),
            [b'q', ..] => cx.out.put(b"Q\n"),
            [b'b', pieces @ ..] => {
                let pieces = || number(pieces, 1000, "1 to 1000 pieces are expected");
                self.bulk.push_back(if refused { 0 } else { pieces()? });
                self.fill(cx);
            }
            [b't', size @ ..] => {
                let size = number(size, TELL, "1 to 24 thousand bytes are expected")?;
                let others = cx.shared.conns.iter().filter(|id| **id != cx.id);
                let others: Vec<ConnId> = others.take(HEARERS).copied().collect();
                others.into_iter().for_each(|id| cx.post(id, size));
                cx.out.put(b"T\n");
            }
            _ => return Err(Fault::new(FaultKind::Malformed, "q, b, t, o or ! is expected")),
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let window = &rest[..rest.len().min(LINE)];
            let Some(end) = memchr::memchr(b'\n', &window[self.searched.min(window.len())..])
            else {
                if rest.len() >= LINE {
                    return Err(Fault::new(FaultKind::TooLong, "a line over 4096 bytes"));
                }
                self.searched = rest.len();
                let progress = match (rest.len(), used) {
                    (0, _) => Progress::Idle,
                    (_, 0) if !self.is(Mistake::EveryByteIsProgress) => Progress::Partial,
                    _ => Progress::NextPartial,
                };
                self.patience.observe(cx.now, progress);
                return Ok(Taken { used, stop: Stop::NeedInput(rest.len() + 1) });
            };
            if let Some(stop) = cx.stop() {
                self.patience.observe(cx.now, Progress::Busy);
                return Ok(Taken { used, stop });
            }
            let end = end + core::mem::take(&mut self.searched);
            used += end + 1;
            self.serve(cx, &rest[..end])?;
        }
    }
}

impl Session for Guarded {
    type Shared = Shared;
    /// So many thousand bytes.
    type Message = u32;
    type Job = NoJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        let rules = cx.shared.rules;
        cx.shared.conns.push(cx.id);
        // Any number spreads the first pings.
        let random = u64::from(cx.id.slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            beat: Heartbeat::new(&rules.beat, cx.now, random),
            rules,
            patience: Patience::new(cx.now),
            flood: PingFlood::new(),
            searched: 0,
            waiting: 0,
            bulk: VecDeque::new(),
            ping_end: None,
            late_ping: false,
            asked: false,
            words: None,
            seen: cx.now,
            left: 0,
            line: Line::IDLE,
        }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        self.sense(cx);
        // What had to wait is no new sign of life.
        let fresh = input.len() > self.waiting;
        if fresh && !(self.is(Mistake::DeafToPongs) && input == b"!\n") {
            self.beat.received(cx.now);
            self.asked = false;
        }
        let taken = self.read(cx, input);
        self.waiting = taken.map_or(0, |taken| input.len() - taken.used);
        self.part(cx);
        taken
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, size: u32) {
        self.sense(cx);
        cx.out.put(b"e");
        cx.out.put(&vec![b'x'; 1000 * size as usize]);
        cx.out.put(b"\n");
        self.part(cx);
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, Self>) {
        self.sense(cx);
        self.fill(cx);
        self.part(cx);
    }

    fn has_backlog(&self) -> bool {
        !self.bulk.is_empty()
    }

    fn deadline(&self) -> Option<Deadline> {
        let beat = self.beat.deadline(&self.rules.beat, &self.line);
        let patience = self.patience.deadline(&self.rules.patience);
        let at = [beat, patience].into_iter().flatten().min()?;
        Some(Deadline { at, why: "heartbeat" })
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        self.sense(cx);
        self.part(cx);
        match self.patience.poll(&self.rules.patience, cx.now) {
            Some(Lapse::Request) => return Err(Fault::new(FaultKind::TimedOut, "request")),
            Some(_) => return Err(Fault::new(FaultKind::TimedOut, "idle")),
            None => {}
        }
        loop {
            match self.beat.poll(&self.rules.beat, cx.now, &self.line) {
                Beat::Ping if self.is(Mistake::PingsBehindBulk) && !self.bulk.is_empty() => {
                    self.late_ping = true;
                }
                Beat::Ping => {
                    self.ping(cx);
                    self.part(cx);
                }
                Beat::Suspect(_) => {}
                Beat::Dead(_) => return Err(Fault::new(FaultKind::TimedOut, "dead")),
                Beat::None => return Ok(()),
            }
        }
    }

    fn on_lost_time(&mut self, gap: Duration) {
        self.beat.stalled(gap);
        self.patience.stalled(gap);
        self.seen = self.seen + gap;
        self.line.progress = self.line.progress + gap;
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        let words: &'static [u8] = match (fault.kind, fault.what) {
            (FaultKind::TimedOut, "request") => b"~r\n",
            (FaultKind::TimedOut, _) => b"~s\n",
            (FaultKind::Refused, _) => b"~f\n",
            _ => b"~b\n",
        };
        if fault.kind == FaultKind::TimedOut {
            // Nobody waits for it.
            self.bulk.clear();
        }
        if self.bulk.is_empty() {
            out.put(words);
        } else {
            self.words = Some(words);
        }
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        cx.shared.conns.retain(|id| *id != cx.id);
    }

    fn refusal(_: &mut Shared) -> &'static [u8] {
        b"~x\n"
    }

    fn on_leave(cx: &mut Upkeep<'_, Self>, step: Leave) {
        cx.shared.refusing |= step == Leave::RefuseNew;
    }

    fn footprint(&self) -> usize {
        self.bulk.capacity() * size_of::<u32>()
    }
}
