//! memcached: the classic text protocol, server and client, and the item store behind it.
//!
//! ```text
//!   get k\r\n            ─►  VALUE k 0 5\r\nhello\r\nEND\r\n
//!   set k 0 0 5\r\nhello\r\n  ─►  STORED\r\n
//! ```
//!
//! Commands: get, gets, gat, gats, set, add, replace, append, prepend, cas, delete, incr, decr,
//! touch, flush_all, version, verbosity, stats, quit; `noreply` where memcached has it. Replies,
//! errors and what is swallowed after them follow memcached 1.6.45; where this server is stricter
//! or kinder, `docs/memcached.md` says so.
//!
//! | limit | value |
//! |---|---|
//! | key | 250 bytes, anything but space and line ends |
//! | command line | 2,048 bytes; a list of keys to get has no limit |
//! | value | the item size limit (1 MiB) less the arithmetic of [`store::item_limit`] |
//! | flags, cas unique, delta | 32, 64, 64 bits |
//!
//! ```
//! use drywire::conn::{Limits, Peer};
//! use drywire::engine::{Engine, Local};
//! use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
//! use drywire::memcache::{Config, Part, Server, Shared};
//! use drywire::Tick;
//!
//! let hasher = Hasher::new(7); // a random seed in real life
//! let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).unwrap();
//! let shared = Shared::new(Config::new(hasher, 1_800_000_000), Local::one(Part::new(store)));
//! let mut engine: Engine<Server<_>> = Engine::new(shared, Limits::default(), 1024);
//!
//! let now = Tick::from_secs(1);
//! let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
//! engine.receive(id, now, b"set k 0 0 5\r\nhello\r\nget k\r\n");
//! let reply: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
//! assert_eq!(reply, b"STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n");
//! engine.sent(id, now, reply.len());
//! ```

pub mod client;
pub mod command;
pub mod expiry;
mod retrieve;
mod server;
mod stats;
pub mod store;

pub use server::{Config, Part, Server, Shared};
pub use stats::Traffic;

/// What `version` answers: the memcached release whose behaviour this server follows. One word of
/// digits and dots, because clients parse it.
pub const VERSION: &[u8] = b"1.6.45";
