//! One phase of a run: all threads work until it is over; what it brought and what it cost.

use super::closed::Progress;
use super::live::Live;
use super::process::{Process, own_cpu_time};
use super::tally::{Counts, Latency, Tally};
use anstyle::AnsiColor;
use core::fmt;
use core::time::Duration;
use indicatif::HumanCount;
use serde::Serialize;
use std::thread;
use std::time::Instant;

/// One thread's share of a load: sockets, a schedule, a workload.
pub(crate) trait Runner: Send {
    /// Asks until `duration` is over or there is nothing left to ask, then waits for the answers
    /// still owed. What has no outcome after that is lost.
    fn run(&mut self, duration: Option<Duration>, progress: &Progress) -> Tally;
}

/// What a phase brought, over all threads.
#[derive(Serialize)]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    /// Right answers in time, per second.
    pub(crate) rate: f64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) latency_us: Latency,
    /// Its median in each half of a schedule: where a queue grows, the second takes longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) halves_us: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal_us: Option<Latency>,
    /// How far this tool was behind its schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_us: Option<Latency>,
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
pub(crate) fn run_phase<R: Runner>(
    name: &'static str,
    runners: &mut [R],
    duration: Option<Duration>,
    server: Option<Process>,
) -> Phase {
    let before = observe(server);
    let progress: Vec<Progress> = runners.iter().map(|_| Progress::default()).collect();
    let (tally, wall, tool_cpu) = thread::scope(|scope| {
        let threads: Vec<_> = runners
            .iter_mut()
            .zip(&progress)
            .map(|(runner, progress)| {
                scope.spawn(move || {
                    let (start, cpu) = (Instant::now(), own_cpu_time());
                    let tally = runner.run(duration, progress);
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
            rate: counts.right() as f64 / seconds.max(1e-9),
            counts,
            latency_us: tally.latency(),
            halves_us: tally.halves(),
            refusal_us: (counts.refused > 0).then(|| tally.refusal()),
            lag_us: Some(tally.lag()).filter(|lag| lag.max > 0.0),
            tool_cpu_seconds: tool_cpu.as_secs_f64(),
            server,
            complaint: tally.complaint().map(str::to_owned),
        }
    }

    /// What a request cost: the server's CPU time if it was watched, else the time between answers.
    pub(crate) fn seconds_each(&self) -> f64 {
        let seconds = self.server.map_or(self.seconds, |server| server.cpu_seconds);
        seconds / (self.counts.sent.max(1) as f64)
    }

    /// Whether each request was answered once, and rightly.
    pub(crate) fn good(&self) -> bool {
        self.counts.good()
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.counts;
        writeln!(f, "  rate     {}/s over {:.2} s", HumanCount(self.rate as u64), self.seconds)?;
        write!(f, "  sent     {} = ok {}", HumanCount(c.sent), HumanCount(c.ok))?;
        for (name, count, bad) in [
            ("miss", c.miss, false),
            ("no solution", c.no_solution, false),
            ("refused", c.refused, false),
            ("late", c.late, true),
            ("error", c.error, true),
            ("wrong", c.wrong, true),
            ("lost", c.lost, true),
        ] {
            if bad && count > 0 {
                let style = AnsiColor::Red.on_default();
                write!(f, " + {style}{name} {}{style:#}", HumanCount(count))?;
            } else {
                write!(f, " + {name} {}", HumanCount(count))?;
            }
        }
        writeln!(f, "{}", if c.balanced() { "" } else { "  (DOES NOT ADD UP)" })?;
        let sent = c.sent;
        writeln!(f, "  latency  {}", self.latency_us)?;
        if let Some([first, second]) = self.halves_us {
            writeln!(f, "  halves   p50 {first:.0} us, then {second:.0}")?;
        }
        for (name, times) in [("refusals", &self.refusal_us), ("tool lag", &self.lag_us)] {
            if let Some(times) = times {
                writeln!(f, "  {name} {times}")?;
            }
        }
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
