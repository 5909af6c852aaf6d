//! `drywire load`: load on a server, each answer checked.

mod idle;
mod process;
mod stream;

use crate::{Failure, Verdict};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Idle(idle::Args),
}

pub(crate) fn run(command: Command) -> Result<Verdict, Failure> {
    match command {
        Command::Idle(args) => idle::run(&args),
    }
}
