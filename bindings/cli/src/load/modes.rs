//! The modes of a load, the same for each protocol: what is asked when, and what is reported.

use super::closed::ClosedLoop;
use super::curve::{self, Curve};
use super::open::{Arrivals, Due, OpenLoop, schedule};
use super::phase::{Phase, Runner, run_phase};
use super::process::Process;
use super::report::Report;
use super::stream::{Stream, allow_open_files, unreachable};
use super::workload::{Ask, What, Workload};
use crate::address::Address;
use crate::units;
use crate::{Failure, Verdict};
use core::fmt::Display;
use core::time::Duration;
use serde::Serialize;
use std::path::PathBuf;

/// What a protocol brings to the modes.
pub(crate) trait Protocol {
    type Workload: Workload<Conn: Send> + Send;
    /// What was asked for, as the report repeats it.
    type Setup: Serialize + Display;

    /// Whether the server refuses what it cannot do in time. One that does not can serve its
    /// capacity at most.
    const REFUSES: bool;

    fn addr(&self) -> &Address;
    fn connections(&self) -> u64;
    fn depth(&self) -> u64;
    fn setup(&self, mode: Mode) -> Self::Setup;

    /// Thread `part` of `parts`.
    fn workload(&self, part: u64, parts: u64) -> Self::Workload;

    /// Whether there is something to be stored before the load.
    fn preloads(&self) -> bool;

    /// The same work without a network, on this thread.
    fn local(&self) -> impl Runner;
}

/// The options that all protocols have.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How to ask
    #[arg(value_enum, default_value = "pipeline")]
    pub(crate) mode: Mode,
    /// batch, stress: how many requests
    #[arg(long, short = 'n', default_value = "10k", value_parser = units::count)]
    count: u64,
    /// open: requests a second
    #[arg(long, default_value = "1k", value_parser = units::count)]
    rate: u64,
    /// open, curve: how they are spread over time
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// curve: offered load, as multiples of the capacity
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.8,1,1.5,2,3,5")]
    pub(super) loads: Vec<f64>,
    /// local, pipeline, open, curve: how long (each point of) the measurement takes
    #[arg(long, default_value = "5s", value_parser = units::time)]
    pub(super) duration: Duration,
    /// stress: how long nothing is read
    #[arg(long, default_value = "5s", value_parser = units::time)]
    hold: Duration,
    /// open, curve: a right answer after this is late
    #[arg(long, default_value = "50ms", value_parser = units::time)]
    deadline: Duration,
    /// open, curve: this tool fails its own run if 1 % of the requests were sent later than this
    #[arg(long, default_value = "5ms", value_parser = units::time)]
    max_lag: Duration,
    /// Threads of this tool; the connections are divided among them
    #[arg(long, short, default_value = "1", value_parser = units::count)]
    pub(super) threads: u64,
    /// How long a server that says nothing is waited for
    #[arg(long, default_value = "10s", value_parser = units::time)]
    patience: Duration,
    /// What is asked, and when; equal seeds make equal runs
    #[arg(long, default_value = "1")]
    pub(super) seed: u64,
    /// The server's process on this machine: report its CPU time and memory too
    #[arg(long)]
    pid: Option<u32>,
    /// Report as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Also write the latencies, and the curve, as a page
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    Local,
    Batch,
    Pipeline,
    Open,
    Stress,
    Curve,
}

/// In flight on one connection at most, where the schedule decides how many there are.
const WINDOW: usize = 1 << 16;

pub(crate) fn run<P: Protocol>(protocol: &P, options: &Options) -> Result<Verdict, Failure> {
    options.check(protocol)?;
    let setup = protocol.setup(options.mode);
    let mut report = Report { setup, preload: None, measured: None };
    if options.mode == Mode::Local {
        let mut runner = [protocol.local()];
        report.measured = Some(run_phase("local", &mut runner, Some(options.duration), None));
        return options.finish(&report);
    }
    allow_open_files(protocol.connections())?;
    let mut load = Load::new(protocol, options)?;
    report.preload = load.preload()?;
    if options.mode == Mode::Curve {
        return Curve::measure(&mut load)?.report(&report.setup, options);
    }
    report.measured = load.measure()?;
    let on_time =
        options.mode != Mode::Open || report.measured.as_ref().is_none_or(|p| options.on_time(p));
    let verdict = options.finish(&report)?;
    if !on_time {
        eprintln!("drywire: this tool was behind its schedule: the latencies are not the server's");
    }
    Ok(if on_time { verdict } else { Verdict::Failed })
}

impl Options {
    fn check(&self, protocol: &impl Protocol) -> Result<(), Failure> {
        let allow = |name: &str, value: u64, most: u64, why: &str| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Failure::usage(format!("--{name} {value}: 1 to {most} are allowed{why}")))
        };
        let connections = protocol.connections();
        allow("connections", connections, 100_000, "")?;
        allow("threads", self.threads, connections, ", one for each connection")?;
        allow("depth", protocol.depth(), 100_000, "")?;
        allow("rate", self.rate, 10_000_000, "")?;
        allow("count", self.count, connections << 16, "")?;
        if self.loads.is_empty() || self.loads.iter().any(|x| !(0.01..=100.0).contains(x)) {
            return Err(Failure::usage("--loads: multiples of the capacity from 0.01 to 100"));
        }
        Ok(())
    }

    /// Whether this tool sent nearly all requests when they were due.
    pub(super) fn on_time(&self, phase: &Phase) -> bool {
        phase.lag_us.is_none_or(|lag| lag.p99 <= self.max_lag.as_secs_f64() * 1e6)
    }

    fn finish<S: Serialize + Display>(&self, report: &Report<S>) -> Result<Verdict, Failure> {
        if let (Some(path), Some(phase)) = (&self.html, &report.measured) {
            curve::write_page(path, &report.setup.to_string(), &[(1.0, phase)], None)?;
        }
        report.print(self.json);
        Ok(if report.good() { Verdict::Good } else { Verdict::Failed })
    }
}

/// A protocol under load, phase by phase.
pub(crate) struct Load<'a, P: Protocol> {
    protocol: &'a P,
    pub(super) options: &'a Options,
    pub(super) server: Option<Process>,
    /// One for each thread.
    workloads: Vec<P::Workload>,
}

impl<'a, P: Protocol> Load<'a, P> {
    fn new(protocol: &'a P, options: &'a Options) -> Result<Self, Failure> {
        let server = options.pid.map(Process::new).transpose()?;
        let parts = options.threads;
        let workloads = (0..parts).map(|part| protocol.workload(part, parts)).collect();
        Ok(Self { protocol, options, server, workloads })
    }

    pub(super) fn connections(&self) -> u64 {
        self.protocol.connections()
    }

    fn preload(&mut self) -> Result<Option<Phase>, Failure> {
        if !self.protocol.preloads() {
            return Ok(None);
        }
        let (connections, depth) = (self.connections(), self.protocol.depth());
        self.closed("preload", What::Preload, connections, depth, u64::MAX, None).map(Some)
    }

    fn measure(&mut self) -> Result<Option<Phase>, Failure> {
        let (options, connections) = (self.options, self.connections());
        match options.mode {
            Mode::Batch => {
                let depth = options.count.div_ceil(connections);
                self.closed("batch", What::Load, connections, depth, options.count, None)
            }
            Mode::Open => self.open(options.rate as f64),
            Mode::Stress => {
                let due = |part| {
                    let count = share(options.count, part, options.threads) as usize;
                    (0..count).map(|on| Due { at: 0, on }).collect()
                };
                self.scheduled("stress", due, options.hold, Duration::MAX)
            }
            _ if options.duration.is_zero() => return Ok(None),
            _ => self.pipeline(What::Load, connections, self.protocol.depth()),
        }
        .map(Some)
    }

    /// `depth` in flight on each of so many connections for --duration. A closed loop asks less of
    /// a slow server; its answers are never called late.
    pub(super) fn pipeline(
        &mut self,
        what: What,
        connections: u64,
        depth: u64,
    ) -> Result<Phase, Failure> {
        let duration = Some(self.options.duration);
        self.closed("pipeline", what, connections, depth, u64::MAX, duration)
    }

    /// Requests due at `rate` a second for --duration, whatever the server does.
    pub(super) fn open(&mut self, rate: f64) -> Result<Phase, Failure> {
        let Options { arrivals, duration, seed, threads, deadline, .. } = *self.options;
        let rate = rate / threads as f64;
        let due = |part| schedule(arrivals, rate, duration, seed.wrapping_add(part));
        self.scheduled("open loop", due, Duration::ZERO, deadline)
    }

    fn closed(
        &mut self,
        name: &'static str,
        what: What,
        connections: u64,
        depth: u64,
        left: u64,
        duration: Option<Duration>,
    ) -> Result<Phase, Failure> {
        let (parts, depth) = (self.options.threads, depth as usize);
        let mut runners = Vec::new();
        for (part, mut workload) in (0..).zip(core::mem::take(&mut self.workloads)) {
            let left = if left == u64::MAX { left } else { share(left, part, parts) };
            workload.begin(&Ask { what, left, deadline: u64::MAX, window: depth });
            let streams = self.connect(share(connections, part, parts))?;
            let runner = ClosedLoop::new(workload, streams, depth, self.options.patience);
            runners.push(runner.map_err(Failure::system)?);
        }
        let phase = run_phase(name, &mut runners, duration, self.server);
        self.workloads = runners.into_iter().map(ClosedLoop::into_workload).collect();
        Ok(phase)
    }

    fn scheduled(
        &mut self,
        name: &'static str,
        due: impl Fn(u64) -> Vec<Due>,
        hold: Duration,
        deadline: Duration,
    ) -> Result<Phase, Failure> {
        let deadline = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        let mut runners = Vec::new();
        for (part, mut workload) in (0..).zip(core::mem::take(&mut self.workloads)) {
            workload.begin(&Ask { what: What::Load, left: u64::MAX, deadline, window: WINDOW });
            let streams = self.connect(share(self.connections(), part, self.options.threads))?;
            let patience = self.options.patience;
            let runner = OpenLoop::new(workload, streams, due(part), hold, patience);
            runners.push(runner.map_err(Failure::system)?);
        }
        let phase = run_phase(name, &mut runners, Some(self.options.duration), self.server);
        self.workloads = runners.into_iter().map(OpenLoop::into_workload).collect();
        Ok(phase)
    }

    fn connect(&self, connections: u64) -> Result<Vec<Stream>, Failure> {
        let addr = self.protocol.addr();
        (0..connections)
            .map(|_| Stream::connect(addr).map_err(|error| unreachable(addr, &error)))
            .collect()
    }
}

/// What `part` of `parts` gets of a whole; the shares add up to it.
pub(crate) fn share(whole: u64, part: u64, parts: u64) -> u64 {
    whole * (part + 1) / parts - whole * part / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (whole, parts) in [(0, 3), (1, 3), (100, 7), (400_000, 256)] {
            assert_eq!((0..parts).map(|part| share(whole, part, parts)).sum::<u64>(), whole);
        }
    }
}
