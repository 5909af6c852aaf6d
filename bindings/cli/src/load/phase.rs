//! One phase of a run: all threads work until it is over; what it brought and what it cost.

use super::closed::{ClosedLoop, Progress};
use super::live::Live;
use super::process::{Process, own_cpu_time};
use super::tally::{Counts, Latency, Tally};
use super::workload::Workload;
use anstyle::{AnsiColor, Style};
use core::fmt;
use core::time::Duration;
use indicatif::HumanCount;
use serde::Serialize;
use std::thread;
use std::time::Instant;

/// What a phase brought, over all threads.
#[derive(Serialize)]
pub(crate) struct Phase {
    seconds: f64,
    /// Right answers per second.
    rate: f64,
    #[serde(flatten)]
    counts: Counts,
    latency_us: Latency,
    /// CPU time of this tool.
    tool_cpu_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerCost>,
    /// The first thing that went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    complaint: Option<String>,
}

/// What the phase cost the server.
#[derive(Clone, Copy, Serialize)]
struct ServerCost {
    cpu_seconds: f64,
    resident_before: u64,
    resident_after: u64,
}

/// Runs each loop in its own thread for `duration` (or until nothing is left to ask), with a
/// live line on a terminal. `server` is watched meanwhile.
pub(crate) fn run_phase<W: Workload>(
    name: &'static str,
    loops: &mut [ClosedLoop<W>],
    duration: Option<Duration>,
    server: Option<Process>,
) -> Phase
where
    ClosedLoop<W>: Send,
{
    let before = observe(server);
    let progress: Vec<Progress> = loops.iter().map(|_| Progress::default()).collect();
    let (tally, wall, tool_cpu) = thread::scope(|scope| {
        let threads: Vec<_> = loops
            .iter_mut()
            .zip(&progress)
            .map(|(closed_loop, progress)| {
                scope.spawn(move || {
                    let (start, cpu) = (Instant::now(), own_cpu_time());
                    let tally = closed_loop.run(duration, progress);
                    (tally, start.elapsed(), own_cpu_time().saturating_sub(cpu))
                })
            })
            .collect();
        Live::new(name, duration)
            .watch(&progress, || threads.iter().all(|thread| thread.is_finished()));
        let (mut all, mut wall, mut tool_cpu) = (Tally::new(), Duration::ZERO, Duration::ZERO);
        for thread in threads {
            let (tally, time, cpu) = thread.join().expect("a worker does not panic");
            all.merge(tally);
            wall = wall.max(time);
            tool_cpu += cpu;
        }
        (all, wall, tool_cpu)
    });
    let cost = before.zip(observe(server)).map(|(before, after)| ServerCost {
        cpu_seconds: after.0.saturating_sub(before.0).as_secs_f64(),
        resident_before: before.1,
        resident_after: after.1,
    });
    Phase::new(&tally, wall, tool_cpu, cost)
}

/// CPU time and resident memory of a process at this moment; `None` if nobody watches it or it
/// is gone.
fn observe(process: Option<Process>) -> Option<(Duration, u64)> {
    let process = process?;
    Some((process.cpu_time()?, process.resident()?))
}

impl Phase {
    fn new(tally: &Tally, wall: Duration, tool_cpu: Duration, server: Option<ServerCost>) -> Self {
        let (counts, seconds) = (tally.counts(), wall.as_secs_f64());
        Self {
            seconds,
            rate: (counts.ok + counts.miss) as f64 / seconds.max(1e-9),
            counts,
            latency_us: tally.latency(),
            tool_cpu_seconds: tool_cpu.as_secs_f64(),
            server,
            complaint: tally.complaint().map(str::to_owned),
        }
    }

    /// Whether each request was answered once, and rightly.
    pub(crate) fn good(&self) -> bool {
        self.counts.good()
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { sent, ok, miss, error, wrong, lost } = self.counts;
        writeln!(f, "  rate     {}/s over {:.2} s", HumanCount(self.rate as u64), self.seconds)?;
        write!(
            f,
            "  sent     {} = ok {} + miss {}",
            HumanCount(sent),
            HumanCount(ok),
            HumanCount(miss)
        )?;
        for (name, count) in [("error", error), ("wrong", wrong), ("lost", lost)] {
            let style = if count > 0 { AnsiColor::Red.on_default() } else { Style::new() };
            write!(f, " + {style}{name} {}{style:#}", HumanCount(count))?;
        }
        writeln!(f, "{}", if self.counts.balanced() { "" } else { "  (DOES NOT ADD UP)" })?;
        let l = self.latency_us;
        writeln!(
            f,
            "  latency  mean {:.0} us, p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, p99.99 {:.0}, max {:.0}",
            l.mean, l.p50, l.p90, l.p99, l.p99_9, l.p99_99, l.max
        )?;
        let share = |cpu: f64| 100.0 * cpu / self.seconds.max(1e-9);
        let each = |cpu: f64| 1e6 * cpu / (sent.max(1) as f64);
        let tool = self.tool_cpu_seconds;
        write!(f, "  tool     {:.0} % of a core, {:.2} us per request", share(tool), each(tool))?;
        if let Some(server) = self.server {
            let (cpu, before, after) =
                (server.cpu_seconds, server.resident_before, server.resident_after);
            write!(
                f,
                "\n  server   {:.0} % of a core, {:.2} us per request",
                share(cpu),
                each(cpu)
            )?;
            write!(f, ", memory {} -> {} bytes resident", HumanCount(before), HumanCount(after))?;
        }
        if let Some(complaint) = &self.complaint {
            write!(f, "\n  first complaint: {complaint}")?;
        }
        Ok(())
    }
}
