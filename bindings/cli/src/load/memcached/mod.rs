//! `drywire load memcached`.

mod workload;

use super::closed::ClosedLoop;
use super::content::Shape;
use super::phase::run_phase;
use super::process::Process;
use super::report::Report;
use super::stream::{Stream, allow_open_files, unreachable};
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use core::fmt;
use core::ops::Range;
use core::time::Duration;
use serde::Serialize;
use workload::{Memcached, Op};

/// Read and write random keys of a memcached server in a closed loop, and check every answer.
///
/// Each connection keeps --depth requests in flight; every reply is replaced by the next
/// request. First each key is stored once. A value follows from its key and its version, so a
/// reply with another key's value, a torn value or an outdated one is found and counted as wrong.
///
/// Each request ends in one class: ok, miss, error (an error reply), wrong, or lost (no reply).
/// Exit code 1 if any request was an error, wrong or lost, or if the classes do not add up.
///
/// A latency runs from the moment the request was made to the moment its reply was read. In a
/// closed loop a slow server is asked less: compare rates first, latencies at equal rates.
///
/// Try: drywire load memcached --op mixed --depth 20
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The server: HOST:PORT or the path of a unix socket
    #[arg(long, default_value = "127.0.0.1:11211")]
    addr: Address,
    /// Connections, over all threads
    #[arg(long, short, default_value = "50", value_parser = units::count)]
    connections: u64,
    /// Requests in flight on each connection
    #[arg(long, short, default_value = "1", value_parser = units::count)]
    depth: u64,
    /// What to ask for
    #[arg(long, value_enum, default_value = "get")]
    op: Op,
    /// How many different keys, over all threads
    #[arg(long, default_value = "100k", value_parser = units::count)]
    keys: u64,
    /// Bytes of each key, at most 250
    #[arg(long, default_value = "10", value_parser = units::size)]
    key_size: u64,
    /// Bytes of each value, at least 4
    #[arg(long, default_value = "100", value_parser = units::size)]
    value_size: u64,
    /// How long to measure; 0 only stores the keys
    #[arg(long, default_value = "10s", value_parser = units::time)]
    duration: Duration,
    /// Threads of this tool; the keys and connections are divided among them
    #[arg(long, short, default_value = "1", value_parser = units::count)]
    threads: u64,
    /// Do not store the keys first: what is missing counts as a miss
    #[arg(long)]
    no_preload: bool,
    /// How long a server that says nothing is waited for
    #[arg(long, default_value = "10s", value_parser = units::time)]
    patience: Duration,
    /// Which random keys and values; equal seeds make equal requests
    #[arg(long, default_value = "1")]
    seed: u64,
    /// The server's process on this machine: report its CPU time and memory too
    #[arg(long)]
    pid: Option<u32>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    let setup = Setup::new(args)?;
    let shape = Shape::new(args.keys, args.key_size, args.value_size, args.seed)?;
    let server = args.pid.map(Process::new).transpose()?;
    allow_open_files(args.connections)?;
    let mut loops = connect(args, &shape)?;
    let mut report = Report { setup, preload: None, measured: None };
    if !args.no_preload {
        report.preload = Some(run_phase("storing the keys", &mut loops, None, server));
    }
    if !args.duration.is_zero() {
        for closed_loop in &mut loops {
            closed_loop.workload().ask_for(args.op);
        }
        report.measured = Some(run_phase("measuring", &mut loops, Some(args.duration), server));
    }
    report.print(args.json);
    Ok(if report.good() { Verdict::Good } else { Verdict::Failed })
}

/// Divides keys and connections among the threads, and connects.
fn connect(args: &Args, shape: &Shape) -> Result<Vec<ClosedLoop<Memcached>>, Failure> {
    let mut loops = Vec::new();
    for thread in 0..args.threads {
        let share =
            |whole: u64| (whole * thread / args.threads)..(whole * (thread + 1) / args.threads);
        let streams =
            share(args.connections).map(|_| Stream::connect(&args.addr)).collect::<Result<_, _>>();
        let streams = streams.map_err(|error| unreachable(&args.addr, &error))?;
        let Range { start, end } = share(args.keys);
        // Setup::new made sure that both numbers are small enough.
        let depth = args.depth as usize;
        let workload = Memcached::new(shape.clone(), start as u32..end as u32, depth, args.seed);
        loops.push(
            ClosedLoop::new(workload, streams, depth, args.patience).map_err(Failure::system)?,
        );
    }
    Ok(loops)
}

/// The load that was asked for, as the report repeats it.
#[derive(Serialize)]
struct Setup {
    protocol: &'static str,
    address: String,
    op: String,
    connections: u64,
    depth: u64,
    threads: u64,
    keys: u64,
    key_size: u64,
    value_size: u64,
    seed: u64,
}

impl Setup {
    fn new(args: &Args) -> Result<Self, Failure> {
        let &Args { connections, depth, threads, keys, .. } = args;
        if threads == 0 || threads > connections {
            return Err(Failure::usage(format!(
                "--threads {threads}: 1 to {connections} are allowed, one for each connection"
            )));
        }
        if depth == 0 || depth > 100_000 {
            return Err(Failure::usage(format!("--depth {depth}: 1 to 100000 are allowed")));
        }
        // No two sets of one key are in flight together, so that the right answers are known.
        let in_flight = connections.div_ceil(threads).saturating_mul(depth).saturating_mul(threads);
        if keys < in_flight + threads {
            let allowed = in_flight + threads;
            return Err(Failure::usage(format!(
                "--keys {keys}: {connections} connections with {depth} in flight need {allowed} or more"
            )));
        }
        Ok(Self {
            protocol: "memcached",
            address: args.addr.to_string(),
            op: format!("{:?}", args.op).to_lowercase(),
            connections,
            depth,
            threads,
            keys,
            key_size: args.key_size,
            value_size: args.value_size,
            seed: args.seed,
        })
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, op, connections, depth, keys, key_size, value_size, .. } = self;
        write!(
            f,
            "memcached at {address}: {op}, {connections} connections with {depth} in flight, "
        )?;
        write!(f, "{keys} keys of {key_size} bytes, values of {value_size} bytes")
    }
}
