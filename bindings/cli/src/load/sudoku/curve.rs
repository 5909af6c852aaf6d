//! Goodput against offered load, and against what is possible.

use super::{Args, Kind, Setup};
use crate::load::phase::Phase;
use crate::load::process::Process;
use crate::{Failure, Verdict};
use core::fmt::Write as _;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// A measured curve.
#[derive(Serialize)]
pub(super) struct Curve {
    /// Boards a second in a closed loop that is never refused.
    capacity: f64,
    /// Answers a second that need no solving: what reading, replying and system calls allow.
    unsolved: f64,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    /// Offered load, in capacities.
    load: f64,
    /// The most that can be right in time: each refusal costs what an answer without solving does.
    ceiling: f64,
    /// What was right in time.
    goodput: f64,
    /// This tool kept to its schedule.
    on_time: bool,
    #[serde(flatten)]
    phase: Phase,
}

impl Curve {
    pub(super) fn measure(args: &Args, server: Option<Process>) -> Result<Self, Failure> {
        let unsolved = args.closed(Kind::Hopeless, args.connections, 16, server)?.rate;
        let capacity = capacity(args, server)?;
        let mut points = Vec::new();
        for &load in &args.loads {
            let phase = args.open(load * capacity, server)?;
            let (goodput, on_time) = (phase.rate / capacity, args.on_time(&phase));
            let ceiling = ceiling(load, capacity / unsolved);
            points.push(Point { load, ceiling, goodput, on_time, phase });
        }
        Ok(Self { capacity, unsolved, points })
    }

    pub(super) fn report(&self, args: &Args) -> Result<Verdict, Failure> {
        if let Some(path) = &args.html {
            let phases: Vec<_> = self.points.iter().map(|p| (p.load, &p.phase)).collect();
            write_page(path, args, &phases, Some(self))?;
        }
        let good = self.points.iter().all(|p| p.on_time && p.phase.good());
        if args.json {
            let mut object = serde_json::json!(self);
            object["setup"] = serde_json::json!(Setup::new(args));
            object["good"] = good.into();
            println!("{object}");
        } else {
            println!("{}", Setup::new(args));
            print!("{}", self.table());
        }
        Ok(if good { Verdict::Good } else { Verdict::Failed })
    }

    /// Markdown.
    fn table(&self) -> String {
        let mut text = format!(
            "capacity {:.0}/s, answers without solving {:.0}/s\n\n",
            self.capacity, self.unsolved
        );
        text += "| offered | goodput | ceiling | share | accepted p50 | p99 | p99.9 | late | refused | refusal p99 | wrong, lost | tool lag p99 |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for p in &self.points {
            let (l, c) = (p.phase.latency_us, p.phase.counts);
            let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
            let refusal = p.phase.refusal_us.map_or_else(|| "–".to_owned(), |l| ms(l.p99));
            let lag = p.phase.lag_us.map_or_else(|| "–".to_owned(), |l| ms(l.p99));
            let _ = writeln!(
                text,
                "| {:.2}x | {:.1} % | {:.1} % | {:.1} % | {} | {} | {} | {} | {:.1} % | {refusal} | {}, {} | {lag}{} |",
                p.load,
                100.0 * p.goodput,
                100.0 * p.ceiling,
                100.0 * p.goodput / p.ceiling,
                ms(l.p50),
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

/// Boards a second when no time goes into refusing: as many connections as a server needs to be
/// busy, and few enough that no queue stands. A closed loop asks again at once after a refusal, so
/// that one which is refused measures refusals.
fn capacity(args: &Args, server: Option<Process>) -> Result<f64, Failure> {
    for connections in [16, 8, 4, 2, 1] {
        let phase = args.closed(args.board, connections, 1, server)?;
        if phase.counts.refused == 0 {
            return Ok(phase.rate);
        }
    }
    Err(Failure::system("the server refuses boards even one at a time: its capacity is unknown"))
}

/// The share of the capacity that can be served at `load` capacities, if a refusal costs `cost` of
/// a served board: what is left of the server after refusing.
fn ceiling(load: f64, cost: f64) -> f64 {
    if load <= 1.0 { load } else { ((1.0 - load * cost) / (1.0 - cost)).max(0.0) }
}

/// Latencies by percentile for each phase, and the curve if there is one, as one page that needs
/// nothing else.
pub(super) fn write_page(
    path: &Path,
    args: &Args,
    phases: &[(f64, &Phase)],
    curve: Option<&Curve>,
) -> Result<(), Failure> {
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>drywire load</title>\
         <style>body{{font:15px sans-serif;margin:2em;max-width:60em}}svg{{background:#fafafa}}</style>\
         <h1>{}</h1>",
        Setup::new(args)
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
