//! `drywire load memcached`.

mod local;
mod workload;

use super::content::Shape;
use super::modes::{self, Mode, Options, Protocol};
use super::phase::Runner;
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use core::fmt;
use local::Local;
use serde::Serialize;
use workload::{Memcached, Op};

/// Read and write random keys of a memcached server, and check every answer.
///
/// First each key is stored once. A value follows from its key and its version, so a reply with
/// another key's value, a torn value or an outdated one is found and counted as wrong.
///
/// Each request ends in one class: ok, miss, refused (server too busy), late (a right answer after
/// --deadline), error (another error reply), wrong, or lost (no reply). Exit code 1 if any request
/// was an error, wrong or lost, if the classes do not add up, or if this tool could not keep to its
/// schedule (--max-lag).
///
/// Modes:
///   local     no network: the engine fed in a loop, --depth requests at a time, on one core
///   batch     --count requests at once, then wait for all answers
///   pipeline  --depth requests in flight on each connection, every reply replaced by the next
///             request. A slow server is asked less: compare rates first, latencies at equal rates
///   open      --rate requests a second, due at times fixed before the run; a latency runs from
///             the moment a request was due
///   stress    --count requests sent without reading, for --hold; then all answers are read
///   curve     first the capacity (one in flight on each connection), then open loop at each of
///             --loads times the capacity. A cache refuses nothing because of time, so beyond its
///             capacity an open loop gets late answers: clients have to wait for theirs
///
/// Try: drywire load memcached --op mixed --depth 20
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    /// The server: HOST:PORT or the path of a unix socket
    #[arg(long, default_value = "127.0.0.1:11211")]
    addr: Address,
    /// Connections, over all threads
    #[arg(long, short, default_value = "50", value_parser = units::count)]
    connections: u64,
    /// local, pipeline, and storing the keys: requests in flight on each connection
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
    /// Do not store the keys first: what is missing counts as a miss
    #[arg(long)]
    no_preload: bool,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    args.check()?;
    let shape = Shape::new(args.keys, args.key_size, args.value_size, args.options.seed)?;
    modes::run(&Shaped { args, shape }, &args.options)
}

impl Args {
    fn check(&self) -> Result<(), Failure> {
        let &Self { connections, depth, keys, .. } = self;
        let threads = self.options.threads.max(1);
        // No two sets of one key are in flight together, so that the right answers are known.
        let in_flight = connections.div_ceil(threads).saturating_mul(depth).saturating_mul(threads);
        let allowed = in_flight.saturating_add(threads);
        if keys < allowed {
            return Err(Failure::usage(format!(
                "--keys {keys}: {connections} connections with {depth} in flight need {allowed} or more"
            )));
        }
        Ok(())
    }
}

/// The command line and what the keys and values are.
struct Shaped<'a> {
    args: &'a Args,
    shape: Shape,
}

impl Protocol for Shaped<'_> {
    type Workload = Memcached;
    type Setup = Setup;
    const REFUSES: bool = false;

    fn addr(&self) -> &Address {
        &self.args.addr
    }

    fn connections(&self) -> u64 {
        self.args.connections
    }

    fn depth(&self) -> u64 {
        self.args.depth
    }

    fn setup(&self, mode: Mode) -> Setup {
        let args = self.args;
        Setup {
            protocol: "memcached",
            mode: format!("{mode:?}").to_lowercase(),
            address: args.addr.to_string(),
            op: format!("{:?}", args.op).to_lowercase(),
            connections: args.connections,
            depth: args.depth,
            threads: args.options.threads,
            keys: args.keys,
            key_size: args.key_size,
            value_size: args.value_size,
            seed: args.options.seed,
        }
    }

    fn workload(&self, part: u64, parts: u64) -> Memcached {
        let keys = self.args.keys;
        // Shape::new made sure that they are few enough.
        let range = (keys * part / parts) as u32..(keys * (part + 1) / parts) as u32;
        Memcached::new(self.shape.clone(), range, self.args.op, self.args.options.seed)
    }

    fn preloads(&self) -> bool {
        !self.args.no_preload
    }

    fn local(&self) -> impl Runner {
        let &Args { keys, key_size, value_size, depth, .. } = self.args;
        let memory = keys.saturating_mul(key_size + value_size + 200).saturating_add(64 << 20);
        Local::new(self.workload(0, 1), depth as usize, memory, self.preloads())
    }
}

/// The load that was asked for, as the report repeats it.
#[derive(Serialize)]
pub(crate) struct Setup {
    protocol: &'static str,
    mode: String,
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

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, address, op, connections, depth, keys, key_size, value_size, .. } = self;
        match &**mode {
            "local" => write!(f, "memcached without a network: {op}, {depth} at a time, ")?,
            "pipeline" => write!(
                f,
                "memcached at {address}: {op}, {connections} connections with {depth} in flight, "
            )?,
            _ => write!(f, "memcached at {address}: {mode}, {op}, {connections} connections, ")?,
        }
        write!(f, "{keys} keys of {key_size} bytes, values of {value_size} bytes")
    }
}
