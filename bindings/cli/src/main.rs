//! `drywire`: the program that serves, loads and tests the protocols of the drywire engine.
//!
//! Exit codes, the same for each command: 0 good, 1 the thing tested (or the system) failed,
//! 2 the command line was wrong.

mod address;
mod chat;
mod hub;
mod lines;
mod link;
mod load;
mod serve;
mod sim;
mod units;

use clap::{Parser, Subcommand};
use core::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Chat(chat::Args),
    /// Publish to and follow the topics of a `drywire serve --hub`
    #[command(subcommand)]
    Hub(hub::Command),
    /// Put a server under load, check each answer, and report rate and latency
    #[command(subcommand)]
    Load(load::Command),
    Serve(Box<serve::Args>),
    /// Put the protocols under every network fault, in virtual time; shrink, replay and draw
    #[command(subcommand)]
    Sim(sim::Command),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Chat(args) => chat::run(&args),
        Command::Hub(command) => hub::run(command),
        Command::Load(command) => load::run(command),
        Command::Serve(args) => serve::run(&args),
        Command::Sim(command) => sim::run(command),
    };
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(failure) => {
            // Also if nobody is left to read it.
            let _ = writeln!(std::io::stderr(), "drywire: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// What a command that ran to its end found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// The report has been printed and says why.
    Failed,
}

/// Why a command could not run to its end.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The command line asks for something impossible: say what is allowed.
    fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// The system or the peer did not do what the command needs.
    fn system(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }
}
