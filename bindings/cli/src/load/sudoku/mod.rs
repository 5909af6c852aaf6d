//! `drywire load sudoku`: the command line and the run.

mod boards;
mod curve;
mod workload;

use super::closed::ClosedLoop;
use super::open::{Arrivals, OpenLoop, schedule};
use super::phase::{Phase, run_phase};
use super::process::Process;
use super::report::Report;
use super::stream::{Stream, allow_open_files, unreachable};
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use boards::Kind;
use core::fmt;
use core::time::Duration;
use curve::Curve;
use drywire::sudoku::{Board, solver};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use workload::Sudoku;

/// Ask a sudoku server for solutions, and check every one by the rules of the game.
///
/// Each board ends in one class: ok, no solution, refused (ServerTooBusy), late (a right answer
/// after --deadline), wrong, or lost (no answer). Exit code 1 if the classes do not add up, if any
/// answer was wrong or missing, or if this tool could not keep to its schedule (--max-lag).
///
/// Modes:
///   local     no network: the solver called in a loop
///   batch     --count boards at once, then wait for all answers
///   pipeline  --depth boards in flight on each connection, each answer replaced by a board
///   open      --rate boards a second, due at times fixed before the run; a latency runs from
///             the moment a board was due
///   stress    --count boards sent without reading, for --hold; then all answers are read
///   curve     first the capacity (so few boards in flight that none is refused) and the cost of
///             an answer without solving, then open loop at each of --loads times the capacity:
///             goodput against its ceiling
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How to ask
    #[arg(value_enum, default_value = "pipeline")]
    mode: Mode,
    /// The server: HOST:PORT
    #[arg(long, default_value = "127.0.0.1:9981")]
    addr: Address,
    /// Which boards
    #[arg(long, value_enum, default_value = "easy")]
    board: Kind,
    /// Connections
    #[arg(long, short, default_value = "100", value_parser = units::count)]
    connections: u64,
    /// pipeline: boards in flight on each connection
    #[arg(long, short, default_value = "4", value_parser = units::count)]
    depth: u64,
    /// batch, stress: how many boards
    #[arg(long, short = 'n', default_value = "10k", value_parser = units::count)]
    count: u64,
    /// open: boards a second
    #[arg(long, default_value = "1k", value_parser = units::count)]
    rate: u64,
    /// open, curve: how they are spread over time
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// curve: offered load, as multiples of the capacity
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.8,1,1.5,2,3,5")]
    loads: Vec<f64>,
    /// local, pipeline, open, curve: how long (each point of) the measurement takes
    #[arg(long, default_value = "5s", value_parser = units::time)]
    duration: Duration,
    /// stress: how long nothing is read
    #[arg(long, default_value = "5s", value_parser = units::time)]
    hold: Duration,
    /// A right answer after this is late
    #[arg(long, default_value = "50ms", value_parser = units::time)]
    deadline: Duration,
    /// open, curve: this tool fails its own run if 1 % of the boards were sent later than this
    #[arg(long, default_value = "5ms", value_parser = units::time)]
    max_lag: Duration,
    /// How long a server that says nothing is waited for
    #[arg(long, default_value = "10s", value_parser = units::time)]
    patience: Duration,
    /// Which boards, and when; equal seeds make equal runs
    #[arg(long, default_value = "1")]
    seed: u64,
    /// The server's process on this machine: report its CPU time and memory too
    #[arg(long)]
    pid: Option<u32>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
    /// open, curve: also write the latencies and the curve as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Local,
    Batch,
    Pipeline,
    Open,
    Stress,
    Curve,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    args.check()?;
    if args.mode == Mode::Local {
        local(args);
        return Ok(Verdict::Good);
    }
    let server = args.pid.map(Process::new).transpose()?;
    allow_open_files(args.connections)?;
    if args.mode == Mode::Curve {
        return Curve::measure(args, server)?.report(args);
    }
    let phase = match args.mode {
        Mode::Batch => {
            let depth = args.count.div_ceil(args.connections);
            args.closed(args.board, args.connections, depth, server)?
        }
        Mode::Pipeline => args.closed(args.board, args.connections, args.depth, server)?,
        Mode::Open => args.open(args.rate as f64, server)?,
        _ => args.stress(server)?,
    };
    let on_time = args.mode != Mode::Open || args.on_time(&phase);
    if let Some(path) = &args.html {
        curve::write_page(path, args, &[(1.0, &phase)], None)?;
    }
    let report = Report { setup: Setup::new(args), preload: None, measured: Some(phase) };
    report.print(args.json);
    if !on_time {
        eprintln!("drywire: this tool was behind its schedule: the latencies are not the server's");
    }
    Ok(if report.good() && on_time { Verdict::Good } else { Verdict::Failed })
}

impl Args {
    fn check(&self) -> Result<(), Failure> {
        let allow = |name: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Failure::usage(format!("--{name} {value}: 1 to {most} are allowed")))
        };
        allow("connections", self.connections, 100_000)?;
        allow("depth", self.depth, 1 << 16)?;
        allow("rate", self.rate, 10_000_000)?;
        allow("count", self.count, self.connections << 16)?;
        if self.loads.is_empty() || self.loads.iter().any(|x| !(0.01..=100.0).contains(x)) {
            return Err(Failure::usage("--loads: multiples of the capacity from 0.01 to 100"));
        }
        Ok(())
    }

    fn connect(&self, connections: u64) -> Result<Vec<Stream>, Failure> {
        (0..connections)
            .map(|_| Stream::connect(&self.addr).map_err(|error| unreachable(&self.addr, &error)))
            .collect()
    }

    /// `depth` in flight on each connection: for --duration, or --count in all as a batch.
    fn closed(
        &self,
        kind: Kind,
        connections: u64,
        depth: u64,
        server: Option<Process>,
    ) -> Result<Phase, Failure> {
        let batch = self.mode == Mode::Batch;
        let left = if batch { self.count } else { u64::MAX };
        // A closed loop asks less of a slow server; its answers are never called late.
        let workload = Sudoku::new(kind, self.seed, depth as usize, left, u64::MAX);
        let streams = self.connect(connections)?;
        let runner = ClosedLoop::new(workload, streams, depth as usize, self.patience)
            .map_err(Failure::system)?;
        let name = if batch { "batch" } else { "pipeline" };
        let duration = if batch { None } else { Some(self.duration) };
        Ok(run_phase(name, &mut [runner], duration, server))
    }

    fn open(&self, rate: f64, server: Option<Process>) -> Result<Phase, Failure> {
        let due = schedule(self.arrivals, rate, self.duration, self.seed);
        self.scheduled("open loop", due, Duration::ZERO, self.deadline, server)
    }

    fn stress(&self, server: Option<Process>) -> Result<Phase, Failure> {
        let due = vec![0; self.count as usize];
        self.scheduled("stress", due, self.hold, Duration::MAX, server)
    }

    fn scheduled(
        &self,
        name: &'static str,
        due: Vec<u64>,
        hold: Duration,
        deadline: Duration,
        server: Option<Process>,
    ) -> Result<Phase, Failure> {
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        let workload = Sudoku::new(self.board, self.seed, 1 << 16, u64::MAX, deadline);
        let runner =
            OpenLoop::new(workload, self.connect(self.connections)?, due, hold, self.patience)
                .map_err(Failure::system)?;
        Ok(run_phase(name, &mut [runner], Some(self.duration), server))
    }

    /// Whether this tool sent nearly all boards when they were due.
    fn on_time(&self, phase: &Phase) -> bool {
        phase.lag_us.is_none_or(|lag| lag.p99 <= self.max_lag.as_secs_f64() * 1e6)
    }
}

/// The solver alone, on this thread.
fn local(args: &Args) {
    let mut random = fastrand::Rng::with_seed(args.seed);
    let boards: Vec<_> =
        (0..1000).filter_map(|_| Board::parse(&boards::draw(args.board, &mut random))).collect();
    let (start, mut count, mut worst) = (Instant::now(), 0_u64, Duration::ZERO);
    while start.elapsed() < args.duration && !boards.is_empty() {
        for board in &boards {
            let before = Instant::now();
            core::hint::black_box(solver::solve(board, 10_000));
            worst = worst.max(before.elapsed());
        }
        count += boards.len() as u64;
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / count.max(1) as f64;
    if args.json {
        let (rate, worst) = (1e6 / each, worst.as_secs_f64() * 1e6);
        println!(
            "{}",
            serde_json::json!({ "boards": count, "us_each": each, "rate": rate, "worst_us": worst })
        );
    } else {
        println!(
            "{count} boards, {each:.2} us each, {:.0}/s on one core, worst {worst:?}",
            1e6 / each
        );
    }
}

/// The load that was asked for, as the report repeats it.
#[derive(Serialize)]
struct Setup {
    protocol: &'static str,
    mode: String,
    address: String,
    board: String,
    connections: u64,
    seed: u64,
}

impl Setup {
    fn new(args: &Args) -> Self {
        Self {
            protocol: "sudoku",
            mode: format!("{:?}", args.mode).to_lowercase(),
            address: args.addr.to_string(),
            board: format!("{:?}", args.board).to_lowercase(),
            connections: args.connections,
            seed: args.seed,
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, address, board, connections, .. } = self;
        write!(f, "sudoku at {address}: {mode}, {board} boards, {connections} connections")
    }
}
