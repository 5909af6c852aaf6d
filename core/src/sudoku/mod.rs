//! sudoku: a service whose requests are slow work, answered in any order.
//!
//! ```text
//!   7:530070000600195000098000060800060003400803001700020006060000280000419005000080079\r\n
//!   └─ id (optional) ─┘└────────── 81 cells, row by row, 0 for blank ──────────────────┘
//!   ─►  7:534678912...\r\n     a solution, one of possibly several
//!   ─►  7:NoSolution\r\n       there is none
//!   ─►  7:ServerTooBusy\r\n    refused, not executed: try later or elsewhere
//! ```
//!
//! | line | answer |
//! |---|---|
//! | `[id:]` and 81 digits | one of the three above, with the same id |
//! | `[id:]` and 81 bytes that are not all digits | `[id:]NoSolution` |
//! | `ping` | `pong`, or `pong draining` from a server that goes away |
//! | `stats` | `key value` lines, then `END` |
//! | an id of more than 16 bytes, a line of more than 98 | `Id too long!`, then the end |
//! | anything else | `Bad Request!`, then the end |
//!
//! What is not obvious:
//!
//! - Boards with an id are answered as they are solved. A board without one is answered before
//!   the next line is looked at, so that answers without ids come in order.
//! - Two boards in flight may have the same id: each gets its own answer.
//! - `Bad Request!` comes after all answers owed, and so does the end after a half-close.
//! - Admission is [`crate::guard::Admission`]: by the predicted wait, and again when a worker is
//!   free. Who asks for little does not wait behind the burst of another. A board that used up its
//!   guesses ([`solver`]) is refused too.
//! - The server is a [`Session`](crate::conn::Session) whose jobs are [`Work`]: a host runs them
//!   on its loop or on a pool, with one engine or several.
//!
//! ```
//! use drywire::conn::{Job, Peer};
//! use drywire::engine::{Engine, Local};
//! use drywire::sudoku::{self, Config, Server, Shared, Stats};
//! use drywire::Tick;
//!
//! let shared = Shared::new(Config::DEFAULT, Local::one(Stats::default()));
//! let mut engine: Engine<Server<_>> = Engine::new(shared, sudoku::limits(), 1024);
//!
//! let now = Tick::from_secs(1);
//! let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
//! let board = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
//! engine.receive(id, now, format!("a:{}\r\n", board.replace('.', "0")).as_bytes());
//! let (job, work) = engine.next_job(now).unwrap();
//! engine.complete(now, job, work.run()); // on any thread
//! let reply: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
//! assert!(reply.starts_with(b"a:534678912672195348198342567"));
//! ```

pub mod balancer;
pub mod client;
pub mod codec;
mod server;
pub mod solver;
mod stats;

pub use codec::{Board, Id, Reply};
pub use server::{Config, Found, Server, Shared, Work, limits};
pub use solver::Verdict;
pub use stats::Stats;
