//! Faults on demand: puts any bytes-in/bytes-out machine under every network fault there is,
//! finds the run that breaks it, shrinks that run, replays it and draws it.
//!
//! ```text
//!   Decider ──► World: nodes, links, time ──► history, transcripts, trace ──► checkers ──► report
//!   seed           Serve (any drywire engine), callers,                           │
//!   script         any Node of yours                       shrink ◄── failure ◄───┘
//!   fuzzer bytes                                              └──► replay file, test, pictures
//!   odometer
//!   a person
//! ```
//!
//! * [`Trial`]: a server, a [`Workload`] that calls it, faults, and what must hold. Seeds are run
//!   by a [`Campaign`], failures made small by [`shrink()`], kept by [`replay`], shown by [`draw`].
//! * [`World`]: the simulator alone, for scenarios written by hand.
//! * [`Node`]: what a machine of your own implements; [`Serve`] makes one of any engine.
//! * [`decide`]: every choice of a run, keyed by what it is about.
//! * `scenario` (feature `scenarios`): files that run here, in turmoil and on real sockets.
//! * [`memcache`], [`sudoku`], [`chat`], [`hub`], [`guard`]: the trials of drywire's protocols, and the pattern for others.
//!
//! What is checked in every run, whatever the protocol: each request is answered once or its
//! connection fails visibly (`ledger`), no promise about memory is broken after any event
//! (`footprint`), nothing waits for ever once faults are over (`live`), nobody's connection stays
//! behind (`leak`), nothing panics (`panic`).

mod caller;
mod campaign;
pub mod chat;
pub mod check;
#[cfg(feature = "tokio")]
pub mod choppy;
mod client;
mod clock;
pub mod decide;
pub mod draw;
pub mod fanout;
mod fault;
pub mod guard;
pub mod hub;
mod io;
mod link;
pub mod memcache;
mod net;
mod node;
#[cfg(feature = "tokio")]
pub mod over_tokio;
mod panics;
pub mod plan;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod replay;
#[cfg(feature = "scenarios")]
pub mod scenario;
mod serve;
mod shrink;
pub mod sudoku;
mod trace;
mod transcript;
mod trial;
mod trials;
mod violation;
mod workload;
mod world;

pub use caller::{Caller, Do, Habits};
pub use campaign::{Campaign, Failure, Summary};
pub use fault::{Covers, Fault, Faults, Matrix, Rare};
pub use io::Io;
pub use link::Pipe;
pub use net::{LinkId, NodeId};
pub use node::{Ending, Memory, Node};
pub use serve::{LONGEST_JOB, LONGEST_MAIL, Leftover, Phase, Serve};
pub use shrink::{Effort, Shrunk, items, shrink};
pub use trace::{Event, Trace, What};
pub use transcript::{Call, Transcript};
pub use trial::{Experiment, Report, Run, Trial};
pub use trials::{find, trials};
pub use violation::Violation;
pub use workload::{Draw, Heard, History, Op, Outcome, Said, Word, Workload};
pub use world::{Factory, World};

/// The guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/test-your-protocol.md")]
struct Guide;
