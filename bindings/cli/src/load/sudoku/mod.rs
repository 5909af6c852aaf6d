//! `drywire load sudoku`.

mod boards;
mod local;
mod workload;

use super::modes::{self, Mode, Options, Protocol};
use super::phase::Runner;
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use boards::Kind;
use core::fmt;
use local::Local;
use serde::Serialize;
use workload::Sudoku;

/// Ask a sudoku server for solutions, and check every one by the rules of the game.
///
/// Each board ends in one class: ok, no solution, refused (ServerTooBusy), late (a right answer
/// after --deadline), wrong, or lost (no answer). Exit code 1 if the classes do not add up, if any
/// answer was wrong or missing, or if this tool could not keep to its schedule (--max-lag).
///
/// Modes:
///   local     no network: the solver called in a loop, on one core
///   batch     --count boards at once, then wait for all answers
///   pipeline  --depth boards in flight on each connection, each answer replaced by a board
///   open      --rate boards a second, due at times fixed before the run; a latency runs from
///             the moment a board was due
///   stress    --count boards sent without reading, for --hold; then all answers are read
///   curve     first the capacity (so few boards in flight that none is refused) and the cost of
///             a refusal (boards that are answered without solving: many at once, and alone), then
///             open loop at each of --loads times the capacity: goodput against its ceiling
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// The server: HOST:PORT
    #[arg(long, default_value = "127.0.0.1:9981")]
    addr: Address,
    /// Which boards
    #[arg(long, value_enum, default_value = "easy")]
    board: Kind,
    /// Connections, over all threads
    #[arg(long, short, default_value = "100", value_parser = units::count)]
    connections: u64,
    /// pipeline: boards in flight on each connection
    #[arg(long, short, default_value = "4", value_parser = units::count)]
    depth: u64,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    modes::run(args, &args.options)
}

impl Protocol for Args {
    type Workload = Sudoku;
    type Setup = Setup;
    const REFUSES: bool = true;

    fn addr(&self) -> &Address {
        &self.addr
    }

    fn connections(&self) -> u64 {
        self.connections
    }

    fn depth(&self) -> u64 {
        self.depth
    }

    fn setup(&self, mode: Mode) -> Setup {
        Setup {
            protocol: "sudoku",
            mode: format!("{mode:?}").to_lowercase(),
            address: self.addr.to_string(),
            board: format!("{:?}", self.board).to_lowercase(),
            connections: self.connections,
            seed: self.options.seed,
        }
    }

    fn workload(&self, part: u64, _: u64) -> Sudoku {
        Sudoku::new(self.board, self.options.seed.wrapping_add(part))
    }

    fn preloads(&self) -> bool {
        false
    }

    fn local(&self) -> impl Runner {
        Local::new(self.board, self.options.seed)
    }
}

/// The load that was asked for, as the report repeats it.
#[derive(Serialize)]
pub(crate) struct Setup {
    protocol: &'static str,
    mode: String,
    address: String,
    board: String,
    connections: u64,
    seed: u64,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, address, board, connections, .. } = self;
        if mode == "local" {
            return write!(f, "sudoku without a network: {board} boards");
        }
        write!(f, "sudoku at {address}: {mode}, {board} boards, {connections} connections")
    }
}
