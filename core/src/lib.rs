//! drywire: a protocol engine that can be run dry.
//!
//! Framing, protocol state machines and the rules of overload and liveness as pure functions: no
//! socket, thread, clock, file or random source inside. Bytes and time go in; bytes, deadlines and
//! jobs come out. A host (mio, tokio, C, a simulator) moves them.
//!
//! # The run loop
//! Whatever the protocol, a host does this with each connection, in any order it likes:
//!
//! ```
//! use drywire::conn::{Peer, Scratch, Wants};
//! use drywire::engine::Machine;
//! use drywire::Tick;
//! use std::io::{Read, Write};
//!
//! /// Serves one connection to its end. A real host serves many, and waits for readiness.
//! fn serve(machine: &mut dyn Machine, stream: &mut (impl Read + Write), scratch: &mut Scratch) {
//!     let now = Tick::ZERO; // nanoseconds of a monotonic clock; read once per turn
//!     let Some(id) = machine.accept(now, &Peer::Virtual(1)) else { return };
//!     loop {
//!         let wants = machine.wants(id); // facts: may be read at any time
//!         if wants.has(Wants::CLOSE) {
//!             return machine.release(id, now);
//!         }
//!         if wants.has(Wants::WRITE) {
//!             let slice = machine.outgoing(id).next().unwrap_or_default();
//!             let n = stream.write(slice).unwrap_or(0); // part of it is fine
//!             machine.sent(id, now, n);
//!         } else if wants.has(Wants::SHUTDOWN) {
//!             machine.was_shut_down(id, now); // after shutdown(SHUT_WR)
//!         } else if wants.has(Wants::AGAIN) {
//!             machine.resume(id, now); // after the other connections had their turn
//!         } else if wants.has(Wants::READ) {
//!             match stream.read(machine.room(id, scratch)).unwrap_or(0) {
//!                 0 => machine.end_of_input(id, now),
//!                 n => machine.ingest(id, now, scratch, n),
//!             }
//!         }
//!     }
//! }
//! # use drywire::{conn::Limits, engine::{Engine, Local}};
//! # use drywire::memcache::{Config, Part, Server, Shared, store};
//! # struct Pipe(&'static [u8], Vec<u8>);
//! # impl Read for Pipe {
//! #     fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> { self.0.read(buf) }
//! # }
//! # impl Write for Pipe {
//! #     fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> { self.1.write(buf) }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let hasher = store::Hasher::new(1);
//! # let part = Part::new(store::Store::new(store::Config::new(1 << 22, hasher.clone())).unwrap());
//! # let shared = Shared::new(Config::new(hasher, 0), Local::one(part));
//! # let mut engine: Engine<Server<_>> = Engine::new(shared, Limits::default(), 8);
//! # let mut pipe = Pipe(b"set k 0 0 2\r\nhi\r\nget k\r\n", Vec::new());
//! # serve(&mut engine, &mut pipe, &mut Scratch::new(&Limits::default()));
//! # assert_eq!(pipe.1, b"STORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\n");
//! ```
//!
//! A host that sleeps also looks at [`next_dirty`](engine::Engine::next_dirty) (connections that
//! others touched), runs [`next_job`](engine::Engine::next_job) on some thread, and wakes up for
//! [`tick`](engine::Engine::tick) at the [`deadline`](engine::Engine::deadline).
//!
//! # Where to look
//! | module | what |
//! |---|---|
//! | [`conn`] | one connection: the [`Session`](conn::Session) trait that a protocol implements, its buffers, its life |
//! | [`engine`] | many connections around one shared state |
//! | [`frame`] | framing codecs: pure steps on borrowed bytes, usable alone |
//! | [`guard`] | admission, gates, heartbeat, drain, balancing: pure policies, usable alone |
//! | [`memcache`], [`sudoku`], [`chat`], [`hub`] | the protocols |
//! | [`client`] | what the clients of all protocols have in common |
//! | [`fanout`] | one message to many, with a fate for each slow receiver |
//!
//! The crate is `no_std` (with `alloc`) and forbids unsafe code.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod chat;
pub mod client;
pub mod conn;
pub mod engine;
pub mod fanout;
pub mod frame;
pub mod guard;
pub mod hub;
pub mod memcache;
pub mod sudoku;
mod tick;

pub use tick::Tick;
