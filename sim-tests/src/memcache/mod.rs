//! memcached under fire: a workload, a sequential model, and the trial that brings them together
//! with the server of the core.

mod model;
mod witness;
mod work;

pub use model::{Item, KeyOp, Model};
pub use witness::{ClientSide, Witness};
pub use work::{Memcache, Reply, Request, Verb};

use crate::check::Delivered;
use crate::decide::{Decider, Key, Site};
use crate::fault::{Covers, Fault, Rare};
use crate::serve::Serve;
use crate::trial::Trial;
use crate::world::Factory;
use drywire::conn::Limits;
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};

/// The engine under test.
pub type MemcacheEngine = Engine<Server<Local<Part>>>;

/// The limits of one run of a server, drawn: small ones reach what large ones hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Each connection's.
    pub limits: Limits,
    /// Largest item, in bytes.
    pub item_max: u32,
    /// Connections held.
    pub connections: usize,
    /// Parts of the store.
    pub shards: usize,
}

const INPUT: Site = Site::new("memcache.input");
const OUTPUT: Site = Site::new("memcache.output");
const TURN: Site = Site::new("memcache.turn");
const ITEM: Site = Site::new("memcache.item");
const CONNECTIONS: Site = Site::new("memcache.connections");
const SHARDS: Site = Site::new("memcache.shards");
/// Room for the items of a run, so that nothing is evicted.
const MEMORY: u64 = 64 << 20;

impl Shape {
    /// Draws one; all-zero decisions give the defaults.
    pub fn draw(decider: &mut Decider) -> Self {
        let key = Key::default();
        let mut limits = Limits::default();
        limits.input >>= decider.below(INPUT, key, 5);
        limits.output_high >>= decider.below(OUTPUT, key, 12);
        limits.output_low = limits.output_high / 4;
        limits.messages_per_turn >>= decider.below(TURN, key, 8);
        Self {
            limits,
            item_max: (1 << 20) >> decider.below(ITEM, key, 11),
            connections: 1024 >> decider.below(CONNECTIONS, key, 10),
            shards: 1 << decider.below(SHARDS, key, 3),
        }
    }

    /// A server of this shape, empty.
    #[must_use]
    pub fn engine(&self) -> MemcacheEngine {
        let hasher = Hasher::new(7);
        let part = |_| {
            let mut config = StoreConfig::new(MEMORY / self.shards as u64, hasher.clone());
            config.item_max = self.item_max;
            Part::new(Store::new(config).expect("a limit that the store accepts"))
        };
        let shards = Local::new((0..self.shards).map(part).collect());
        let shared = Shared::new(Config::new(hasher.clone(), 1_800_000_000), shards);
        Engine::new(shared, self.limits, self.connections)
    }

    /// What one connection may hold (I2): input, output up to its mark and one reply beyond it,
    /// each with the slack of a growing buffer, or a recycled output buffer.
    #[must_use]
    pub fn cap(&self) -> usize {
        let reply = self.item_max as usize + 512;
        2 * self.limits.input + (2 * (self.limits.output_high + reply)).max(128 << 10) + 2048
    }
}

/// The server, for each of its lives.
#[must_use]
pub fn serve(decider: &mut Decider) -> Factory {
    let shape = Shape::draw(decider);
    Box::new(move |life| {
        let serve = Serve::new(shape.engine()).phases(phase).cap(shape.cap());
        Box::new(serve.life(life).remark(u64::from(shape.item_max)))
    })
}

/// The phases of a memcached connection.
fn phase(engine: &MemcacheEngine, id: ConnId) -> &'static str {
    let Some(conn) = engine.conn(id) else { return "over" };
    if conn.close_reason().is_some() {
        return if conn.session().is_some() { "ending" } else { "refused" };
    }
    if conn.outgoing_len() >= engine.limits().output_high {
        "full"
    } else if conn.outgoing_len() > 0 {
        "replying"
    } else {
        conn.session().map_or("over", Server::phase)
    }
}

const COVERS: Covers = Covers {
    phases: &[
        "opening", "idle", "line", "keys", "value", "swallow", "replying", "full", "ending",
        "refused", "closed", "down",
    ],
    rare: &[Rare {
        phase: "keys",
        faults: Fault::OF_CALLERS,
        why: "a list of keys is served at once, or in the next turns of the host",
    }],
    seeds: 20_000,
};

/// memcached under everything.
#[must_use]
pub fn trial() -> Trial<Memcache> {
    Trial::of("memcached", serve, Memcache::new)
        .expect(Witness)
        .expect(Delivered)
        .covers(COVERS)
        .sometimes("a hit of several keys", |run| {
            run.heard(|_, reply| matches!(reply, Reply::Values(values) if values.len() > 1))
        })
        .sometimes("a value over 64 KiB came back", |run| {
            let large = |(_, _, _, bytes): &(_, _, _, Vec<u8>)| bytes.len() > 64 << 10;
            run.heard(|_, reply| matches!(reply, Reply::Values(values) if values.iter().any(large)))
        })
        .sometimes("a cas that somebody else was before", |run| {
            run.heard(|_, reply| *reply == Reply::Word("EXISTS"))
        })
        .sometimes("a number was counted", |run| {
            run.heard(|_, reply| matches!(reply, Reply::Number(_)))
        })
        .sometimes("a value was too large", |run| {
            run.heard(|_, reply| matches!(reply, Reply::Error(text) if text.contains("too large")))
        })
}
