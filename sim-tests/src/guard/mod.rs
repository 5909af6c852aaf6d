//! The rules about one connection under fire: heartbeats, limits on time, gates, a server that
//! goes away in steps. The protocol is a small one that keeps all of them ([`Guarded`]).

mod life;
mod promises;
mod session;
mod work;

pub use promises::{Alive, Asked, Departs, Floods, Gates, Requests};
#[cfg(feature = "scenarios")]
pub(crate) use promises::{Hours, lived};
pub use session::{Guarded, Mistake, Rules, Shared};
pub use work::{Guest, Reply, Request, Taste};

use crate::caller::Habits;
use crate::check::Delivered;
use crate::decide::{Chance, Decider, Key, Site};
use crate::fault::{Covers, Fault, Faults, Rare};
use crate::serve::Serve;
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
use drywire::conn::{Limits, Wants};
use drywire::engine::{ConnId, Engine, Machine};
use drywire::guard::{
    DrainConfig, HeartbeatConfig, OutGateConfig, PatienceConfig, PingFloodConfig,
};

/// The engine under test.
pub type GuardedEngine = Engine<Guarded>;

/// Silence after which the server pings.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Silence after which a peer is dead.
pub const TIMEOUT: Duration = Duration::from_secs(6);
/// What a request may take to arrive.
pub const REQUEST: Duration = Duration::from_secs(5);
/// How a server goes away.
pub const DEPARTURE: DrainConfig = DrainConfig {
    announce: Duration::from_millis(100),
    grace: Duration::from_millis(500),
    spread: Duration::from_millis(400),
    hard: Duration::from_millis(1500),
};

/// Who shows that it is alive, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The server asks.
    Pings,
    /// The peer is to say something in time.
    Expects,
}

/// The limits of one run of a server, drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How silence is judged.
    pub watch: Watch,
    /// Each connection's.
    pub limits: Limits,
}

const WATCH: Site = Site::new("guard.watch");
const OUTPUT: Site = Site::new("guard.output");
const HARD: Site = Site::new("guard.hard");
const SOFT: Site = Site::new("guard.soft");
const PROGRESS: Site = Site::new("guard.progress");
const TURN: Site = Site::new("guard.turn");

impl Shape {
    /// Draws one; all-zero decisions give the first of each.
    pub fn draw(decider: &mut Decider) -> Self {
        let key = Key::default();
        let watch = [Watch::Pings, Watch::Expects];
        let watch = watch[decider.below(WATCH, key, 2) as usize];
        let secs = |n: u64| Duration::from_secs(n);
        let output = OutGateConfig {
            hard: (256 << 10) >> decider.below(HARD, key, 3),
            soft: (56 << 10) >> decider.below(SOFT, key, 3),
            soft_for: secs([8, 2][decider.below(SOFT, key.nth(1), 2) as usize]),
            no_progress: secs([5, 2, 10][decider.below(PROGRESS, key, 3) as usize]),
            ..OutGateConfig::REPLIES
        };
        let mut limits = Limits { output, ..Limits::default() };
        limits.output_high = (32 << 10) >> decider.below(OUTPUT, key, 4);
        limits.output_low = limits.output_high / 4;
        limits.messages_per_turn >>= decider.below(TURN, key, 8);
        Self { watch, limits }
    }

    /// What the sessions are told.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            beat: match self.watch {
                Watch::Pings => HeartbeatConfig::every(INTERVAL),
                Watch::Expects => HeartbeatConfig::expect_every(INTERVAL),
            },
            patience: PatienceConfig { idle: Duration::ZERO, request: REQUEST },
            flood: PingFloodConfig::DEFAULT,
            mistake: None,
        }
    }

    /// A server of this shape.
    #[must_use]
    pub fn engine(&self, rules: Rules) -> GuardedEngine {
        Engine::new(Shared::new(rules), self.limits, 100)
    }

    /// A host of this shape.
    pub fn serve<M: Machine>(&self, machine: M, life: u32) -> Serve<M> {
        // A growing buffer has room for twice what it holds, and holds both while it grows.
        let output = self.limits.output.hard + self.limits.output_high + (62 << 10);
        let serve = Serve::new(machine).life(life).remark(self.remark());
        serve.cap(3 * output + 2 * self.limits.input + (16 << 10)).departing(DEPARTURE)
    }

    /// The shape, for the checkers.
    fn remark(&self) -> u64 {
        let output = &self.limits.output;
        self.watch as u64
            | output.no_progress.as_secs() << 8
            | output.soft_for.as_secs() << 16
            | (output.soft as u64 >> 10) << 24
            | (output.hard as u64 >> 10) << 40
    }
}

/// The server, for each of its lives.
#[must_use]
pub fn serve(decider: &mut Decider) -> Factory {
    let shape = Shape::draw(decider);
    Box::new(move |life| Box::new(shape.serve(shape.engine(shape.rules()), life).phases(phase)))
}

/// The phases of a guarded connection.
fn phase(engine: &GuardedEngine, id: ConnId) -> &'static str {
    let Some(conn) = engine.conn(id) else { return "over" };
    let (pending, limits) = (conn.outgoing_len(), engine.limits());
    if conn.close_reason().is_some() {
        return if engine.wants(id).has(Wants::READ) { "lingering" } else { "draining" };
    }
    let Some(session) = conn.session() else { return "over" };
    if pending > limits.output.soft {
        "fat"
    } else if pending >= limits.output_high {
        "paused"
    } else if engine.world().shared.is_refusing() {
        "refusing"
    } else if session.is_asked() {
        "asked"
    } else if pending > 0 {
        "replying"
    } else if conn.footprint() > 0 {
        "request"
    } else {
        "idle"
    }
}

/// Where callers that talk get to.
const TALK: Covers = Covers {
    phases: &[
        "opening",
        "idle",
        "request",
        "asked",
        "replying",
        "paused",
        "refusing",
        "draining",
        "lingering",
        "closed",
        "down",
    ],
    rare: &[
        Rare {
            phase: "paused",
            faults: Fault::OF_CALLERS,
            why: "small answers seldom fill the output, and who does not read them asks no more",
        },
        Rare {
            phase: "draining",
            faults: &[Fault::Storm],
            why: "a storm begins with an operation, and nothing is asked on a connection that ends",
        },
    ],
    seeds: 20_000,
};

/// Where those get to that are sent much.
const LOAD: Covers = Covers {
    phases: &[
        "opening",
        "idle",
        "request",
        "asked",
        "replying",
        "paused",
        "fat",
        "refusing",
        "draining",
        "lingering",
        "closed",
        "down",
    ],
    rare: &[
        Rare {
            phase: "draining",
            faults: Fault::OF_CALLERS,
            why: "nothing is asked on a connection that ends",
        },
        Rare {
            phase: "refusing",
            faults: Fault::OF_CALLERS,
            why: "servers seldom leave here, and are gone soon",
        },
        Rare {
            phase: "down",
            faults: &[Fault::Flip, Fault::Storm],
            why: "both are rare, and servers are seldom down here",
        },
        Rare {
            phase: "fat",
            faults: &[Fault::Storm],
            why: "storms are rare, and so is asking then",
        },
        Rare { phase: "paused", faults: &[Fault::Storm], why: "the same" },
        Rare { phase: "asked", faults: &[Fault::Storm], why: "the same" },
    ],
    seeds: 20_000,
};

/// A trial of a server of the guarded protocol.
pub(crate) fn trial(
    name: &str,
    taste: Taste,
    serve: impl Fn(&mut Decider) -> Factory + Send + Sync + 'static,
) -> Trial<Guest> {
    let ops = match taste {
        Taste::Talk | Taste::Behave => 24,
        Taste::Load => 12,
    };
    let stay = Duration::from_secs(10);
    let habits = Habits { ops, stay, depth: 8, ..Habits::default() };
    expect(Trial::of(name, serve, move |_| Guest::new(taste)).habits(habits))
}

/// All that must hold; a peer's machine that is gone is noticed by the server itself.
pub(crate) fn expect(trial: Trial<Guest>) -> Trial<Guest> {
    trial
        .keepalive(Duration::from_secs(20))
        .expect(Alive)
        .expect(Asked)
        .expect(Requests)
        .expect(Floods)
        .expect(Gates)
        .expect(Departs)
        .expect(Delivered)
}

/// Peers that are silent, slow, switched off, behind links that swallow and stall.
#[must_use]
pub fn heartbeat() -> Trial<Guest> {
    heartbeat_of("heartbeat", serve).covers(TALK).sometimes("a silent peer was given up", |run| {
        run.transcripts().iter().any(|link| link.timed_out.is_some())
    })
}

pub(crate) fn heartbeat_of(
    name: &str,
    serve: impl Fn(&mut Decider) -> Factory + Send + Sync + 'static,
) -> Trial<Guest> {
    let faults = Faults::all()
        .with(Fault::Hole, Chance::one_in(30))
        .with(Fault::Thin, Chance::one_in(40))
        .with(Fault::Vanish, Chance::one_in(40))
        .with(Fault::Clock, Chance::one_in(60))
        .with(Fault::Freeze, Chance::one_in(20));
    trial(name, Taste::Talk, serve).faults(faults)
}

/// Readers that are deaf, drip, or have no room, and much that is sent to them.
#[must_use]
pub fn gates() -> Trial<Guest> {
    gates_of("gates", serve).covers(LOAD).sometimes("a slow reader was given up", |run| {
        run.transcripts().iter().any(|link| link.kicked.is_some())
    })
}

pub(crate) fn gates_of(
    name: &str,
    serve: impl Fn(&mut Decider) -> Factory + Send + Sync + 'static,
) -> Trial<Guest> {
    let faults = Faults::all()
        .with(Fault::Deaf, Chance::one_in(15))
        .with(Fault::Drip, Chance::one_in(15))
        .with(Fault::Thin, Chance::one_in(40));
    // How a byte at a time goes, the others show.
    trial(name, Taste::Load, serve).faults(faults.coarse(64)).callers(1..=5)
}

/// A server that goes away again and again, while everything else goes wrong too.
#[must_use]
pub fn drain() -> Trial<Guest> {
    drain_of("drain", serve)
        .covers(TALK)
        .sometimes("a request was refused as not executed", |run| {
            run.heard(|_, reply| *reply == Reply::Refused)
        })
        .sometimes("a drain ended a connection in peace", |run| {
            run.transcripts().iter().any(|link| link.drained.is_some() && link.in_peace)
        })
}

pub(crate) fn drain_of(
    name: &str,
    serve: impl Fn(&mut Decider) -> Factory + Send + Sync + 'static,
) -> Trial<Guest> {
    let faults = Faults::all().with(Fault::Drain, Chance::one_in(40));
    trial(name, Taste::Talk, serve).faults(faults).callers(1..=10)
}
