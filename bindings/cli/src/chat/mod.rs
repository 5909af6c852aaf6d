//! `drywire chat`: talk to others.

mod command;
mod lines;
mod room;
mod screen;
mod talk;
mod tty;

use crate::address::Address;
use crate::{Failure, Verdict, units};
use core::time::Duration;
use drywire::chat::client::Client;
use std::io::{IsTerminal, stdin, stdout};
use talk::Talk;

/// Talk in the rooms of a `drywire serve --chat`.
///
/// On a terminal: type and press Enter to speak. Tab goes to the next room, PageUp and PageDown
/// through what was said, Up and Down through what you typed; Ctrl-C or /quit ends. /help lists
/// the commands: /join, /leave, /room, /rooms, /who, /stats. The line above your input shows the room,
/// who is there, and how long the server takes to answer.
///
/// Anywhere else it is a filter: each line of standard input is said (or is a command, as above),
/// what is said in your rooms goes to standard output and everything else to standard error. It
/// ends when all that you said was heard; with --follow it goes on listening.
///
/// A lost connection is made again, and what was missed comes then; if it cannot come any more,
/// the gap is marked. What you say meanwhile is said as soon as there is a connection.
///
/// Exit codes: 0 good, 1 something was refused or the server could not be reached, 2 wrong
/// command line.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  drywire serve --no-memcache --chat 127.0.0.1:4000 &
  drywire chat 127.0.0.1:4000                        the lobby, under your own name
  drywire chat 127.0.0.1:4000 -n ann -r den -r ops   two rooms
  echo 'build is red' | drywire chat 127.0.0.1:4000 -n ci -r ops
  drywire chat 127.0.0.1:4000 -r ops --json --follow </dev/null | jq -r .text")]
pub(crate) struct Args {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    addr: Address,
    /// What others see you as; taken names are refused [default: the user's]
    #[arg(short, long)]
    name: Option<String>,
    /// A room to be in from the beginning; repeat it for more
    #[arg(short, long = "room", value_name = "ROOM", default_value = "lobby")]
    rooms: Vec<String>,
    /// Messages of before to show on joining; the server has a limit
    #[arg(long, value_name = "N", default_value = "50", value_parser = units::count)]
    history: u64,
    /// Print events as JSON, one a line, with time, number and sender; no screen
    #[arg(long)]
    json: bool,
    /// Without a terminal: go on after the end of input, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Without a terminal: how long to try to reach the server before giving up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::time)]
    retry: Duration,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    let Address::Tcp(addr) = args.addr else {
        return Err(Failure::usage("chat is over TCP: write HOST:PORT"));
    };
    let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
    let name = args.name.clone().or_else(user).ok_or_else(|| {
        Failure::usage("who are you? The environment has no USER: say --name NAME")
    })?;
    let client = Client::new(fastrand::u64(1..), name.as_bytes())
        .map_err(|why| Failure::usage(format!("--name {name:?}: {why}")))?;
    let bad = |room: &&String| !drywire::chat::codec::is_name(room.as_bytes(), 64);
    if let Some(room) = args.rooms.iter().find(bad) {
        return Err(Failure::usage(format!(
            "--room {room:?}: a room has 1 to 64 bytes, without control characters"
        )));
    }
    let history = u32::try_from(args.history).unwrap_or(u32::MAX);
    let runtime = crate::link::runtime()?;
    let result = runtime.block_on(async {
        let talk = Talk::new(addr, client, &args.rooms, history);
        if args.json || !stdin().is_terminal() || !stdout().is_terminal() {
            let (json, follow, retry) = (args.json, args.follow, args.retry);
            lines::run(talk, &lines::Options { json, follow, retry }).await
        } else {
            screen::run(talk, &name).await
        }
    });
    // The thread that reads standard input may be in the middle of it.
    runtime.shutdown_background();
    result
}

/// A gap, in words.
fn gap(count: Option<u64>) -> String {
    match count {
        Some(1) => "1 message is missing here".into(),
        Some(n) => format!("{n} messages are missing here"),
        None => "messages are missing here, nobody knows how many".into(),
    }
}
