//! Chat: everyone in a room hears every message, the sender included, all in one order.
//!
//! The plain protocol is a length and bytes, both ways. A client that begins with a hello speaks
//! the extended one from there on: names, rooms, history, presence, heartbeats, resuming after a
//! lost connection. A plain client never meets it. `docs/chat.md` has each message in bytes.
//!
//! ```text
//!   plain     00 00 00 02 h i  ─►  ─► 00 00 00 02 h i      to everyone in the lobby
//!   extended  len SAY room number flags key text  ─►
//!                 ─► len SAID room seq time from number flags name key │ 00 00 00 02 h i │
//! ```
//!
//! A `SAID` ends with the plain frame of its text: one allocation serves both kinds of client.
//!
//! | limit | value |
//! |---|---|
//! | text | 65,536 bytes |
//! | name, room, key | 32, 64, 64 bytes of UTF-8 without control characters |
//! | rooms of one client | [`Config::rooms`] |
//! | history asked for | [`Config::history`] messages |
//!
//! ```
//! use drywire::chat::{Config, Server, Shared, limits};
//! use drywire::conn::Peer;
//! use drywire::engine::Engine;
//! use drywire::fanout;
//! use drywire::Tick;
//!
//! let shared = Shared::new(Config::default(), fanout::Config::default());
//! let mut engine: Engine<Server> = Engine::new(shared, limits(), 1024);
//! let now = Tick::from_secs(1);
//! let ann = engine.accept(now, &Peer::Virtual(1)).unwrap();
//! let bob = engine.accept(now, &Peer::Virtual(2)).unwrap();
//! engine.receive(ann, now, b"\0\0\0\x02hi");
//! while let Some(id) = engine.next_dirty(now) {
//!     engine.resume(id, now); // they have been woken
//!     let heard: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
//!     assert_eq!(heard, b"\0\0\0\x02hi");
//! }
//! # let _ = bob;
//! ```

pub mod client;
pub mod codec;
mod extended;
mod server;

pub use server::{Config, Server, Shared, limits};
