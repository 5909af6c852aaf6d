//! The limits of one run of a fan-out server, drawn.

use super::fate::Promise;
use crate::decide::{Decider, Key, Site};
use crate::serve::Serve;
use core::time::Duration;
use drywire::conn::{Limits, Session};
use drywire::engine::{ConnId, Engine, Machine};
use drywire::fanout::{self, Exchange, Fate, OpenSpill, SpillError, SpillFile};

/// The limits of one run of a fan-out server: small ones reach what large ones hide.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Each connection's.
    pub limits: Limits,
    /// The topics'.
    pub fanout: fanout::Config,
    /// After so much silence a member is pinged, in a protocol that does.
    pub heartbeat: Duration,
    /// Engines.
    pub loops: usize,
    /// Topics that callers can name.
    pub topics: usize,
}

const LOOPS: Site = Site::new("fanout.loops");
const FATE: Site = Site::new("fanout.fate");
const LOG: Site = Site::new("fanout.log");
const FILL: Site = Site::new("fanout.fill");
const HARD: Site = Site::new("fanout.hard");
const PROGRESS: Site = Site::new("fanout.progress");
const GONE: Site = Site::new("fanout.gone");
const KEEP: Site = Site::new("fanout.keep");
const DISK: Site = Site::new("fanout.disk");
const WINDOW: Site = Site::new("fanout.window");
const TURN: Site = Site::new("fanout.turn");
const HEARTBEAT: Site = Site::new("chat.heartbeat");

/// Connections at a time: more than callers and a mob make.
pub(crate) const CONNECTIONS: usize = 4096;
/// Unix time at the beginning of a world, in milliseconds.
const UNIX_MS: u64 = 1_800_000_000_000;
/// ... and how much later each life of the server begins.
const LIFE_MS: u64 = 60_000;
/// The largest message of the workloads, and what is counted beside it.
const LARGEST: usize = 17 << 10;
/// Room for positions that nobody has any more.
const POSITIONS: usize = 128 << 10;
/// What a connection has in the topics: more than a member's position in one or two.
const POSITION: usize = 1 << 10;
/// A log that holds the latest message of every key there is, with room to spare.
const KEEPS_ALL: usize = 128 << 10;

impl Shape {
    /// Draws one; all-zero decisions give the defaults.
    pub fn draw(decider: &mut Decider, mut limits: Limits, topics: usize) -> Self {
        let mut pick = |site, n| decider.below(site, Key::default(), n) as usize;
        let fates = [Fate::Kick, Fate::DropOldest, Fate::Coalesce, Fate::Spill];
        let mut fanout = fanout::Config { fate: fates[pick(FATE, 4)], ..Default::default() };
        fanout.log_bytes >>= pick(LOG, 9);
        fanout.fill = [32 << 10, 4 << 10, 1 << 10][pick(FILL, 3)];
        limits.output_low = limits.output_low.min(fanout.fill / 4);
        limits.messages_per_turn >>= pick(TURN, 8);
        let shift = pick(HARD, 8);
        (fanout.slow.hard, fanout.slow.soft) =
            (fanout.slow.hard >> shift, fanout.slow.soft >> shift);
        let seconds = [10, 1, 3][pick(PROGRESS, 3)];
        fanout.slow.no_progress = Duration::from_secs(seconds);
        fanout.slow.soft_for = Duration::from_secs(seconds);
        limits.output.no_progress = Duration::from_secs([300, 20][pick(GONE, 2)]);
        fanout.keep_unused = Duration::from_secs([600, 1][pick(KEEP, 2)]);
        fanout.spill_bytes >>= [0, 6, 10][pick(DISK, 3)];
        fanout.window >>= [0, 6, 10][pick(WINDOW, 3)];
        let heartbeat = Duration::from_secs([10, 1, 2, 5][pick(HEARTBEAT, 4)]);
        fanout.spill = Some(memory());
        fanout.unix_ms = UNIX_MS;
        Self { limits, fanout, heartbeat, loops: 1 + pick(LOOPS, 4), topics }
    }

    /// What one connection may hold (I2): input; output up to its mark with one message or one
    /// batch from disk on top, with the slack of a growing buffer.
    #[must_use]
    pub fn cap(&self) -> usize {
        let disk = if self.has(Fate::Spill) { 512 << 10 } else { 0 };
        let output = self.fanout.fill + self.limits.input + disk + (16 << 10);
        2 * self.limits.input + (2 * output).max(128 << 10)
    }

    /// What the topics of all engines may hold (I2): each its log, or its last message; mail under
    /// way; and positions.
    #[must_use]
    pub fn total_cap(&self) -> usize {
        let log = self.fanout.log_bytes.max(LARGEST);
        // Each way with each other engine: the window, a message and a log.
        let mail = 2 * (self.loops - 1) * (2 * self.fanout.window + LARGEST + log);
        self.loops * (self.topics * log + mail + POSITIONS)
    }

    /// What the topics of an engine hold beside the positions of its connections.
    #[must_use]
    pub fn held<S: Session>(exchange: &Exchange, engine: &Engine<S>) -> usize {
        exchange.footprint().saturating_sub(engine.len() * POSITION)
    }

    /// What its checkers hold it to.
    #[must_use]
    pub fn promise(&self) -> Promise {
        let gone = self.limits.output.no_progress;
        let kick = match self.has(Fate::Kick) {
            true => self.fanout.slow.no_progress.min(gone),
            false => gone,
        };
        let usual = fanout::Config::default();
        Promise {
            // Last words may be taken for as long as an ending connection makes progress; one
            // that makes none is over after that time, whatever else ends it meanwhile.
            kicked: kick + self.limits.drain_stall,
            gone: gone + self.limits.drain_stall,
            loops: self.loops,
            disk: self.has(Fate::Spill),
            lasting: self.fanout.keep_unused >= usual.keep_unused,
            roomy: self.fanout.topics >= usual.topics
                && self.fanout.subscriptions >= usual.subscriptions,
            narrow: self.loops > 1 && self.fanout.window < LARGEST,
            keeps: self.fanout.fate == Fate::Coalesce && self.fanout.log_bytes >= KEEPS_ALL,
        }
    }

    fn has(&self, fate: Fate) -> bool {
        self.fanout.fate == fate || self.fanout.fates.iter().any(|(_, f)| *f == fate)
    }

    /// A host of this shape, of the machines that `make` makes.
    pub fn serve<M: Machine>(&self, mut make: impl FnMut(&Self) -> M) -> Serve<M> {
        let serve = Serve::several((0..self.loops).map(|_| make(self)).collect());
        serve.cap(self.cap()).remark(self.promise().remark())
    }

    /// The same, in another life of the server: later.
    #[must_use]
    pub fn at(mut self, life: u32) -> Self {
        self.fanout.unix_ms = Self::unix_ms(life);
        self
    }

    /// Unix time when the world began, by the clock of that life of the server.
    #[must_use]
    pub fn unix_ms(life: u32) -> u64 {
        UNIX_MS + u64::from(life) * LIFE_MS
    }

    /// Unused topics are forgotten while the world is still being looked at.
    #[must_use]
    pub fn forgets_soon(config: &fanout::Config) -> bool {
        config.keep_unused <= Duration::from_secs(1)
    }
}

/// The phases of a connection of a fan-out protocol.
#[must_use]
pub fn phase<S: Session>(engine: &Engine<S>, id: ConnId) -> &'static str {
    let Some(conn) = engine.conn(id) else { return "over" };
    let Some(session) = conn.session() else { return "refused" };
    let more = session.has_backlog() || session.owes();
    if conn.close_reason().is_some() {
        return match conn.outgoing_len() {
            0 if more => "owing",
            0 => "ending",
            _ => "draining",
        };
    }
    if more {
        "behind"
    } else if conn.outgoing_len() > 0 {
        "replying"
    } else if conn.footprint() > session.footprint() {
        "message"
    } else {
        "idle"
    }
}

/// Scratch files in memory.
fn memory() -> OpenSpill {
    OpenSpill::new(|| Ok(Box::new(File::default())))
}

/// A scratch file in memory.
#[derive(Debug, Default)]
struct File(Vec<u8>);

impl SpillFile for File {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
        let (at, end) = (at as usize, at as usize + bytes.len());
        self.0.resize(self.0.len().max(end), 0);
        self.0[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), SpillError> {
        let at = at as usize;
        into.copy_from_slice(self.0.get(at..at + into.len()).ok_or(SpillError)?);
        Ok(())
    }
}
