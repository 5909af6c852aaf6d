//! `drywire load idle`: connections that do nothing, and what they cost the server.

use super::process::Process;
use super::stream::{Stream, allow_open_files, unreachable};
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use core::time::Duration;
use serde::Serialize;
use std::io::{ErrorKind, Read, Write};
use std::thread::sleep;
use std::time::Instant;

/// Open connections, hold them without a word, and count those that the server kept.
///
/// With --pid the server's resident memory is read before the first connection and when all
/// are open; the difference is what an idle connection costs. A fresh server that has seen no
/// traffic also pays once for its first buffers, which a large number of connections hides.
///
/// Exit code 1 if the server did not hold every connection to the end.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The server: HOST:PORT or the path of a unix socket
    #[arg(long, default_value = "127.0.0.1:11211")]
    addr: Address,
    /// How many connections to hold
    #[arg(long, short, default_value = "1000", value_parser = units::count)]
    connections: u64,
    /// First send one memcached `get` of a missing key on each connection and read its answer
    #[arg(long)]
    ask: bool,
    /// How long to hold them once all are open
    #[arg(long, default_value = "2s", value_parser = units::time)]
    hold: Duration,
    /// The server's process on this machine: report its memory too
    #[arg(long)]
    pid: Option<u32>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    connections: u64,
    held: u64,
    /// Connections that the server ended, and the first thing it said on one of them.
    ended: u64,
    asked: u64,
    answered: u64,
    last_words: Option<String>,
    open_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Memory>,
}

#[derive(Serialize)]
struct Memory {
    resident_before: u64,
    resident_after: u64,
    bytes_per_connection: f64,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    let server = args.pid.map(Process::new).transpose()?;
    allow_open_files(args.connections)?;
    let before = server.and_then(Process::resident);
    let start = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        let mut stream =
            Stream::connect(&args.addr).map_err(|error| unreachable(&args.addr, &error))?;
        if args.ask {
            // A refused connection may already be closed; the end counts it.
            let _ = stream.write(QUESTION);
        }
        streams.push(stream);
    }
    let asked = if args.ask { streams.len() } else { 0 };
    let answers: Vec<_> = streams.iter_mut().take(asked).map(answer).collect();
    let open_seconds = start.elapsed().as_secs_f64();
    sleep(args.hold);
    let after = server.and_then(Process::resident);
    let memory = before.zip(after).map(|(resident_before, resident_after)| Memory {
        resident_before,
        resident_after,
        bytes_per_connection: (resident_after as f64 - resident_before as f64)
            / args.connections as f64,
    });
    let (held, last_words) = count_held(&mut streams);
    let refusals: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    let report = Report {
        connections: args.connections,
        held,
        ended: args.connections - held,
        asked: asked as u64,
        answered: (asked - refusals.len()) as u64,
        last_words: refusals.into_iter().next().or(last_words),
        open_seconds,
        memory,
    };
    report.print(args.json);
    Ok(if report.ended == 0 && report.answered == report.asked {
        Verdict::Good
    } else {
        Verdict::Failed
    })
}

const QUESTION: &[u8] = b"get drywire-load-idle\r\n";
const MISS: &[u8] = b"END\r\n";

/// Waits up to five seconds for the answer to the question; if it is another one, what it was.
fn answer(stream: &mut Stream) -> Result<(), String> {
    let patience = Instant::now() + Duration::from_secs(5);
    let mut reply = [0; 256];
    let mut got = 0;
    while !reply[..got].contains(&b'\n') && got < reply.len() {
        match stream.read(&mut reply[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < patience => {
                sleep(Duration::from_micros(50));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if reply[..got] == *MISS {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&reply[..got]).trim_end().to_owned())
    }
}

/// How many connections are still open, and what the first of the others said at its end.
fn count_held(streams: &mut [Stream]) -> (u64, Option<String>) {
    let mut held = 0;
    let mut last_words = None;
    let mut buffer = [0; 256];
    for stream in streams {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => held += 1,
            Ok(n) if n > 0 && last_words.is_none() => {
                last_words = Some(String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned());
            }
            _ => {}
        }
    }
    (held, last_words)
}

impl Report {
    fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::json!(self));
            return;
        }
        println!(
            "{} connections opened in {:.2} s, {} held to the end, {} ended by the server",
            self.connections, self.open_seconds, self.held, self.ended
        );
        if self.asked > 0 {
            println!("{} of {} questions answered", self.answered, self.asked);
        }
        if let Some(words) = &self.last_words {
            println!("the server said: {words}");
        }
        if let Some(memory) = &self.memory {
            println!(
                "server memory {} -> {} bytes resident: {:.0} bytes per connection",
                memory.resident_before, memory.resident_after, memory.bytes_per_connection
            );
        }
    }
}
