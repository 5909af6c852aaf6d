//! Serves drywire protocols on TCP and unix sockets, with [mio](https://docs.rs/mio).
//!
//! A [`Host`] runs one or more event loops. Each loop has its own [`Machine`] for each service:
//! an [`Engine`](drywire::engine::Engine) whose protocol the host does not know. The host moves
//! bytes and time, and follows what each connection [wants](drywire::conn::Wants).
//!
//! ```text
//!             ┌────────────────── loop 0 ──────────────────┐      ┌──── loop 1 .. n ────┐
//!  listeners ─► accept, count, refuse ── dealt round-robin ┼──────► inbox               │
//!  signals   ─► drain, then end         ▼                  │      │   ▼                 │
//!             │ read ► Machine ► one vectored write        │      │ read ► Machine ► …  │
//!             └──────────▲───────────────┬─────────────────┘      └────▲──────┬─────────┘
//!                        └─ results ── job pool (threads) ◄────────────┴──────┘
//! ```
//!
//! A line echo, served and asked:
//!
//! ```
//! use drywire::conn::{Cx, Fault, Limits, NoJob, Peer, Session, Stop, Taken};
//! use drywire::engine::Engine;
//! use drywire_mio::{Host, Listen};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! struct Echo;
//!
//! impl Session for Echo {
//!     type Shared = ();
//!     type Message = ();
//!     type Job = NoJob;
//!
//!     fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self {
//!         Echo
//!     }
//!
//!     fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
//!         let mut used = 0;
//!         while let Some(end) = input[used..].iter().position(|b| *b == b'\n') {
//!             if let Some(stop) = cx.stop() {
//!                 return Ok(Taken { used, stop });
//!             }
//!             cx.out.put(&input[used..=used + end]);
//!             used += end + 1;
//!         }
//!         Ok(Taken { used, stop: Stop::NeedInput(input.len() - used + 1) })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Host::new()
//!     .max_conns(100)
//!     .serve([Listen::tcp(([127, 0, 0, 1], 0))], || Engine::<Echo>::new((), Limits::default(), 100))
//!     .bind()?;
//! let (addr, handle) = (server.tcp_addrs()[0], server.handle());
//! let thread = std::thread::spawn(move || server.run());
//!
//! let mut client = TcpStream::connect(addr)?;
//! client.write_all(b"hello\n")?;
//! let mut answer = [0; 6];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"hello\n");
//!
//! handle.stop(); // as SIGTERM would, with `stop_on_signals`
//! drop(client);
//! assert_eq!(thread.join().unwrap()?.cut, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What it keeps to
//! - Edge-triggered: readiness that arrives while a connection wants no input is remembered.
//! - A read shorter than the buffer means the socket is drained (epoll(7), question 9), so the
//!   common request costs one read and one write. After a hang-up or urgent data, which that rule
//!   does not cover, it reads until the system says so.
//! - Connections that could go on at once queue at the tail: a turn is one pass of the session
//!   over what it holds and one over one read, each within its budget, and one write.
//! - Out of descriptors it neither spins nor leaves peers hanging: a spare one is given up to
//!   accept, refuse and close; if that fails too, the listener pauses.
//! - The clock is read once per batch of events, and once more before a sleep with a deadline.

#[cfg(not(unix))]
compile_error!("drywire-mio serves unix systems");

mod acceptor;
mod event_loop;
mod host;
mod listen;
mod locked;
mod pool;
mod service;

pub use drywire::engine::Machine;
pub use host::{Clock, Ended, Event, Handle, Host, HostError, Server};
pub use listen::Listen;
pub use locked::Locked;
