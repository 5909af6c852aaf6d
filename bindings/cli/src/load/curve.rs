//! Goodput against offered load, and against what is possible.

use super::modes::{Load, Options, Protocol};
use super::phase::Phase;
use super::process::stolen_time;
use super::workload::What;
use crate::{Failure, Verdict};
use core::fmt::{Display, Write as _};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A measured curve.
#[derive(Serialize)]
pub(super) struct Curve {
    /// Requests a second in a closed loop that is never refused: the mean over the curve.
    capacity: f64,
    /// What a refusal costs, of a served request; `None` if this server does not refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
    /// The cores that both this tool and the server may run on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shared_cores: Vec<u32>,
    points: Vec<Point>,
}

/// An answer that takes no work, as a share of the time of a served request. By the server's CPU
/// time if it is watched (--pid), else by the clock, which is too high if this tool is the slower.
#[derive(Clone, Copy, Serialize)]
struct Refusal {
    /// With 16 in flight on each connection: many are read and written at once.
    gathered: f64,
    /// With one in flight on each connection: a read and a write for each.
    alone: f64,
}

#[derive(Serialize)]
struct Point {
    /// Offered load, in capacities as measured right before.
    load: f64,
    /// The capacity, as measured right before and right after: a machine has its moods. What
    /// follows is in units of it.
    capacity: f64,
    /// How little to trust this point: by how much the capacity changed meanwhile, as a share of it,
    /// and ten times the share of a core that this machine did not get. A hundredth of the time
    /// decides a 99th percentile as a tenth does a rate.
    unrest: f64,
    /// The most that can be right in time if refusals come gathered.
    ceiling: f64,
    /// The same if each comes alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling_alone: Option<f64>,
    /// What was right in time.
    goodput: f64,
    /// This tool kept to its schedule.
    on_time: bool,
    #[serde(flatten)]
    phase: Phase,
}

impl Curve {
    pub(super) fn measure<P: Protocol>(load: &mut Load<'_, P>) -> Result<Self, Failure> {
        let shared_cores = load.server.map(|server| server.shared_cores()).unwrap_or_default();
        let connections = load.connections();
        let (mut before, served) = capacity(load)?;
        let refusal = if P::REFUSES {
            let gathered = load.pipeline(What::Unserved, connections, 16)?.seconds_each() / served;
            let alone = load.pipeline(What::Unserved, connections, 1)?.seconds_each() / served;
            Some(Refusal { gathered, alone })
        } else {
            None
        };
        let mut points = Vec::new();
        for &x in &load.options.loads {
            let stolen = stolen_time();
            let phase = load.open(x * before)?;
            let stolen = stolen_time().saturating_sub(stolen).as_secs_f64() / phase.seconds;
            let (after, _) = capacity(load)?;
            let capacity = f64::midpoint(before, after);
            let unrest = (after - before).abs() / capacity + 10.0 * stolen;
            let offered = x * before / capacity;
            let (goodput, on_time) = (phase.rate / capacity, load.options.on_time(&phase));
            let ceiling_alone = refusal.map(|refusal| ceiling(offered, refusal.alone));
            let ceiling = refusal
                .map_or_else(|| offered.min(1.0), |refusal| ceiling(offered, refusal.gathered));
            points.push(Point {
                load: x,
                capacity,
                unrest,
                ceiling,
                ceiling_alone,
                goodput,
                on_time,
                phase,
            });
            before = after;
        }
        let sum: f64 = points.iter().map(|point| point.capacity).sum();
        let capacity = if points.is_empty() { before } else { sum / points.len() as f64 };
        Ok(Self { capacity, refusal, shared_cores, points })
    }

    pub(super) fn report(
        &self,
        setup: &(impl Serialize + Display),
        options: &Options,
    ) -> Result<Verdict, Failure> {
        if let Some(path) = &options.html {
            let phases: Vec<_> = self.points.iter().map(|p| (p.load, &p.phase)).collect();
            write_page(path, &setup.to_string(), &phases, Some(self))?;
        }
        let good = self.points.iter().all(|p| p.on_time && p.phase.good());
        if options.json {
            let mut object = serde_json::json!(self);
            object["setup"] = serde_json::json!(setup);
            object["good"] = good.into();
            println!("{object}");
        } else {
            println!("{setup}");
            print!("{}", self.table());
        }
        if !self.shared_cores.is_empty() {
            let cores = &self.shared_cores;
            eprintln!(
                "drywire: this tool and the server may both run on cores {cores:?} and take time from each other: keep them apart with `taskset -c`"
            );
        }
        Ok(if good { Verdict::Good } else { Verdict::Failed })
    }

    /// Markdown.
    fn table(&self) -> String {
        let mut text = format!("capacity {:.0}/s in the mean", self.capacity);
        if let Some(Refusal { gathered, alone }) = self.refusal {
            let _ = write!(
                text,
                ", a refusal costs {:.1} % of that gathered, {:.1} % alone",
                100.0 * gathered,
                100.0 * alone
            );
        }
        text += "\n\n| offered | goodput | ceiling | share | ceiling, refused alone | accepted p50, first and second half | p99 | p99.9 | late | refused | refusal p99 | wrong, lost | tool lag p99 |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for p in &self.points {
            let (l, c) = (p.phase.latency_us, p.phase.counts);
            let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
            let refusal = p.phase.refusal_us.map_or_else(|| "–".to_owned(), |l| ms(l.p99));
            let lag = p.phase.lag_us.map_or_else(|| "–".to_owned(), |l| ms(l.p99));
            let alone = p.ceiling_alone;
            let alone = alone.map_or_else(|| "–".to_owned(), |c| format!("{:.1} %", 100.0 * c));
            let _ = writeln!(
                text,
                "| {:.2}x | {:.1} % | {:.1} % | {:.1} % | {alone} | {} | {} | {} | {} | {:.1} % | {refusal} | {}, {} | {lag}{} |",
                p.load,
                100.0 * p.goodput,
                100.0 * p.ceiling,
                100.0 * p.goodput / p.ceiling,
                p.phase.halves_us.map_or_else(
                    || ms(l.p50),
                    |[first, second]| format!("{:.1}, {}", first / 1000.0, ms(second))
                ),
                ms(l.p99),
                ms(l.p99_9),
                c.late,
                100.0 * c.refused as f64 / c.sent.max(1) as f64,
                c.wrong,
                c.lost,
                if p.on_time { "" } else { " LAGGED" },
            );
        }
        text
    }
}

/// Requests a second when no time goes into refusing, and the seconds that one costs. Of a server
/// that refuses: as many connections as it needs to be busy, and few enough that no queue stands. A
/// closed loop asks again at once after a refusal, so that one which is refused measures refusals.
fn capacity<P: Protocol>(load: &mut Load<'_, P>) -> Result<(f64, f64), Failure> {
    let all = load.connections();
    let tries: &[u64] = if P::REFUSES { &[16, 8, 4, 2, 1] } else { &[u64::MAX] };
    for connections in tries {
        let phase = load.pipeline(What::Load, all.min(*connections), 1)?;
        if phase.counts.refused == 0 {
            return Ok((phase.rate, phase.seconds_each()));
        }
    }
    Err(Failure::system("the server refuses requests even one at a time: its capacity is unknown"))
}

/// The share of the capacity that can be served at `load` capacities, if a refusal costs `cost` of
/// a served request: what is left of the server after refusing.
fn ceiling(load: f64, cost: f64) -> f64 {
    if load <= 1.0 { load } else { ((1.0 - load * cost) / (1.0 - cost)).max(0.0) }
}

/// Latencies by percentile for each phase, and the curve if there is one, as one page that needs
/// nothing else.
pub(super) fn write_page(
    path: &Path,
    title: &str,
    phases: &[(f64, &Phase)],
    curve: Option<&Curve>,
) -> Result<(), Failure> {
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>drywire load</title>\
         <style>body{{font:15px sans-serif;margin:2em;max-width:60em}}svg{{background:#fafafa}}</style>\
         <h1>{}</h1>",
        escape(title)
    );
    let most = phases.iter().map(|(_, p)| p.latency_us.max / 1000.0).fold(1.0, f64::max);
    let lines: Vec<_> = phases
        .iter()
        .map(|(load, phase)| {
            let l = phase.latency_us;
            let marks = [l.p50, l.p90, l.p99, l.p99_9, l.p99_99, l.max];
            let at = |i: usize| i as f64 / 5.0;
            let points = marks.iter().enumerate().map(|(i, us)| (at(i), us / 1000.0 / most));
            (format!("{load}x"), points.collect::<Vec<_>>())
        })
        .collect();
    let labels = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(str::to_owned);
    page += &format!("<h2>Latency from the scheduled send, 0 to {most:.1} ms</h2>");
    page += &plot(&lines, &labels);
    if let Some(curve) = curve {
        let widest = curve.points.iter().map(|p| p.load).fold(1.0, f64::max);
        let line = |name: &str, y: &dyn Fn(&Point) -> f64| {
            let points = curve.points.iter().map(|p| (p.load / widest, y(p).min(1.1) / 1.1));
            (name.to_owned(), points.collect::<Vec<_>>())
        };
        let lines = [line("ceiling", &|p| p.ceiling), line("goodput", &|p| p.goodput)];
        page += &format!(
            "<h2>Goodput against offered load (0 to {widest}x), 0 to 110 % of {:.0}/s</h2>",
            curve.capacity
        );
        page += &plot(&lines, &[]);
        page += &format!("<pre>{}</pre>", curve.table());
    }
    fs::write(path, page)
        .map_err(|error| Failure::system(format!("cannot write {}: {error}", path.display())))
}

/// An address may be the path of a socket, which may have any name.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Lines whose points are in the unit square.
fn plot(lines: &[(String, Vec<(f64, f64)>)], labels: &[String]) -> String {
    const COLOURS: [&str; 7] =
        ["#1b6ca8", "#c0392b", "#27ae60", "#8e44ad", "#d68910", "#148f77", "#566573"];
    let (x, y) = (|x: f64| 40.0 + 700.0 * x, |y: f64| 330.0 - 300.0 * y);
    let mut svg =
        "<svg width=860 height=370><path d='M40 30V330H740' fill=none stroke=#888 />".to_owned();
    for (i, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let path: Vec<_> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
        let path = path.join(" ");
        let _ =
            write!(svg, "<polyline points='{path}' fill=none stroke='{colour}' stroke-width=2 />");
        let _ = write!(svg, "<text x=755 y={} fill='{colour}'>{name}</text>", 40 + 20 * i);
    }
    for (i, label) in labels.iter().enumerate() {
        let at = x(i as f64 / (labels.len() - 1).max(1) as f64);
        let _ = write!(svg, "<text x={at:.0} y=350 text-anchor=middle>{label}</text>");
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_what_refusing_leaves() {
        assert_eq!(ceiling(0.5, 0.1), 0.5);
        assert_eq!(ceiling(1.0, 0.1), 1.0);
        assert!((ceiling(5.0, 0.02) - 0.9 / 0.98).abs() < 1e-9);
        assert_eq!(ceiling(20.0, 0.1), 0.0);
    }
}
