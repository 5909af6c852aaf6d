//! `drywire load`: load on a server, each answer checked.
//!
//! A load is made of independent parts: what to ask and whether the answer is right
//! ([`workload`], one for each protocol), when to ask ([`modes`] with [`closed`] and [`open`]), and
//! where every request went ([`tally`], [`phase`], [`report`], [`curve`]).

mod closed;
mod content;
mod curve;
mod fanout;
mod idle;
mod live;
mod memcached;
mod modes;
mod open;
mod phase;
mod process;
mod report;
mod stream;
mod sudoku;
mod tally;
mod workload;

use crate::{Failure, Verdict};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Memcached(memcached::Args),
    Sudoku(sudoku::Args),
    Idle(idle::Args),
    Fanout(fanout::Args),
}

pub(crate) fn run(command: Command) -> Result<Verdict, Failure> {
    match command {
        Command::Memcached(args) => memcached::run(&args),
        Command::Sudoku(args) => sudoku::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Fanout(args) => fanout::run(&args),
    }
}
