//! Draws what the guard does from half to ten times the capacity, in virtual time:
//!
//! ```text
//! cargo run -p drywire --example overload -- docs/overload
//! ```
//!
//! writes `index.html` and the pictures of `docs/overload.md`. The same numbers on every machine.

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../tests/overload/model/mod.rs"]
mod model;
mod picture;

use drywire::guard::AdmitConfig;
use model::report::{End, Figures};
use model::{Kind, Load, MS, Policy, Report, S, Setup};
use picture::{Axis, Line, Picture};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const LOADS: [f64; 11] = [0.5, 0.8, 0.95, 1.0, 1.2, 1.5, 2.0, 4.0, 6.0, 8.0, 10.0];
const SOCKET_LOADS: [f64; 7] = [0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0];
const GUARD: Policy = Policy::Guard(AdmitConfig::DEFAULT);
const COUNT: Policy = Policy::Count(100);
const UNBOUNDED: Policy = Policy::Count(usize::MAX);
const SECONDS: u64 = 4;

fn main() -> std::io::Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "docs/overload".to_owned());
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    let mut page = PAGE_HEAD.to_owned();
    let (goodput, latency, table) = sweep();
    for (name, picture) in [
        ("goodput", goodput),
        ("latency", latency),
        ("pause", pause()),
        ("step", step()),
        ("retries", retries()),
    ] {
        let svg = picture.svg();
        std::fs::write(dir.join(format!("{name}.svg")), &svg)?;
        let _ = writeln!(page, "<figure>{svg}</figure>");
    }
    page.push_str(&table);
    page.push_str(&others());
    page.push_str("</body></html>\n");
    std::fs::write(dir.join("index.html"), page)
}

const PAGE_HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<title>drywire under overload</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}figure{margin:2rem 0}svg{width:100%;height:auto}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}</style></head><body>\n\
<h1>drywire under overload</h1>\n\
<p>One core in virtual time, the real engine on it: 100 us of exponentially distributed work per \
request, 1 % of that to look at a request and 1 % to refuse one, clients that give up after 50 ms. \
The ceiling is the best that any policy can reach at these costs. Made by \
<code>cargo run -p drywire --example overload</code>; the bars are tests \
(<code>core/tests/overload</code>).</p>\n";

fn figures(policy: Policy, load: &Load) -> Figures {
    Setup::new(policy).run(load).figures(S, SECONDS * S)
}

/// Goodput and latency over the offered load, and the numbers behind them.
fn sweep() -> (Picture, Picture, String) {
    let open = |policy| LOADS.map(|x| figures(policy, &Load::open(x, SECONDS)));
    let (guard, count, unbounded) = (open(GUARD), open(COUNT), open(UNBOUNDED));
    let closed = LOADS.map(|x| figures(GUARD, &Load::closed(x, 100_000, SECONDS)));
    let points = |figures: &[Figures; 11], of: fn(&Figures) -> f64| -> Vec<(f64, f64)> {
        figures.iter().zip(LOADS).map(|(f, x)| (x, of(f))).collect()
    };
    let x = || Axis::log("offered load, times the capacity", &[0.5, 1.0, 2.0, 4.0, 6.0, 10.0]);
    let goodput = Picture {
        title: "Answers in time",
        x: x(),
        y: Axis::linear("share of the capacity, %", &[0.0, 25.0, 50.0, 75.0, 100.0]),
        lines: vec![
            Line::dashed("ceiling", points(&guard, |f| f.ceiling * 100.0)),
            Line::new("guard, open loop", 0, points(&guard, |f| f.goodput * 100.0)),
            Line::new("guard, closed loop", 1, points(&closed, |f| f.goodput * 100.0)),
            Line::new("unbounded queue", 3, points(&unbounded, |f| f.goodput * 100.0)),
        ],
    };
    let latency = Picture {
        title: "Latency, 99th percentile",
        x: x(),
        y: Axis::log("ms", &[0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0]),
        lines: vec![
            Line::dashed("the clients' deadline", LOADS.map(|x| (x, 50.0)).to_vec()),
            Line::new("answers, guard", 0, points(&guard, |f| f.p99)),
            Line::new("refusals, guard", 1, points(&guard, |f| f.refusal_p99)),
            Line::new("answers, at most 100 waiting", 2, points(&count, |f| f.p99)),
            Line::new("answers, unbounded queue", 3, points(&unbounded, |f| f.p99)),
        ],
    };
    let mut table = "<h2>Numbers, guard, open loop</h2>\n<table><tr><th>load<th>goodput %<th>ceiling %\
                     <th>of it %<th>late %<th>p50 ms<th>p99 ms<th>p99.9 ms<th>refusals p99 ms</tr>\n"
        .to_owned();
    for (f, x) in guard.iter().zip(LOADS) {
        let _ = writeln!(
            table,
            "<tr><td>{x}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:.2}</tr>",
            f.goodput * 100.0,
            f.ceiling * 100.0,
            f.goodput / f.ceiling * 100.0,
            f.late * 100.0,
            f.p50,
            f.p99,
            f.p999,
            f.refusal_p99
        );
    }
    table.push_str("</table>\n");
    (goodput, latency, table)
}

/// What system calls do to refusing, and what is gained by a pause.
fn pause() -> Picture {
    let line = |pause: u64| -> Vec<(f64, f64)> {
        let setup = Setup::on_sockets(Duration::from_millis(pause));
        let figures = |x: f64| setup.run(&Load::open(x, SECONDS)).figures(S, SECONDS * S);
        SOCKET_LOADS.map(|x| (x, figures(x).goodput * 100.0)).to_vec()
    };
    let ceiling = |x: f64| (x, model::report::ceiling(x, 0.004, 0.004) * 100.0);
    Picture {
        title: "Answers in time, when a read costs 2 us and a write 5 us of a service time of 61 us",
        x: Axis::log("offered load, times the capacity", &[0.5, 1.0, 2.0, 3.0, 5.0]),
        y: Axis::linear("share of the capacity, %", &[0.0, 25.0, 50.0, 75.0, 100.0]),
        lines: vec![
            Line::dashed("ceiling, if refusals came gathered", SOCKET_LOADS.map(ceiling).to_vec()),
            Line::new("a pause of 4 ms after a refusal", 0, line(4)),
            Line::new("2 ms", 1, line(2)),
            Line::new("none", 3, line(0)),
        ],
    }
}

fn step() -> Picture {
    let load = Load::profile(vec![(2 * S, 0.5), (4 * S, 10.0), (6 * S, 0.5)], 6);
    let line = |policy| -> Vec<(f64, f64)> {
        let windows = Setup::new(policy).run(&load).goodput_by(50 * MS, 6 * S);
        windows.iter().enumerate().map(|(i, g)| (i as f64 * 0.05, g * 100.0)).collect()
    };
    Picture {
        title: "From half to ten times the load at 2 s, and back at 4 s",
        x: Axis::linear("s", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        y: Axis::linear("answers in time, % of the capacity", &[0.0, 50.0, 100.0, 150.0]),
        lines: vec![
            Line::new("guard", 0, line(GUARD)),
            Line::new("unbounded queue", 3, line(UNBOUNDED)),
        ],
    }
}

fn retries() -> Picture {
    let profile = vec![(3 * S, 0.8), (4 * S, 3.8), (9 * S, 0.8)];
    let load = Load { retries: 3, ..Load::profile(profile, 9) };
    let line = |policy| -> Vec<(f64, f64)> {
        let report = Setup::new(policy).run(&load);
        let share = |i: u64| report.calls_answered(i * 250 * MS, (i + 1) * 250 * MS) * 100.0;
        (0..36).map(|i| (i as f64 * 0.25, share(i))).collect()
    };
    Picture {
        title: "A spike of one second, clients that retry three times",
        x: Axis::linear("s", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
        y: Axis::linear("calls answered in time, %", &[0.0, 25.0, 50.0, 75.0, 100.0]),
        lines: vec![
            Line::new("guard", 0, line(GUARD)),
            Line::new("unbounded queue", 3, line(UNBOUNDED)),
        ],
    }
}

/// Bursts and fairness, as a table.
fn others() -> String {
    let mut html = "<h2>Falsely refused in bursts</h2>\n<table><tr><th>work of a burst, of the \
                    deadline<th>guard %<th>at most 100 waiting %</tr>\n"
        .to_owned();
    for percent in [10, 30, 60, 80, 90] {
        let load = Load::bursts(percent * 50 * MS / 100, 10);
        let without = Setup::new(UNBOUNDED).run(&load);
        let falsely = |policy| {
            let with: Report = Setup::new(policy).run(&load);
            let pairs = with.requests.iter().zip(&without.requests);
            let n = pairs.filter(|(r, u)| r.end == End::Refused && without.in_time(u)).count();
            n as f64 * 100.0 / with.requests.len() as f64
        };
        let _ = writeln!(
            html,
            "<tr><td>{percent} %<td>{:.2}<td>{:.2}</tr>",
            falsely(GUARD),
            falsely(COUNT)
        );
    }
    html.push_str(
        "</table>\n<h2>100 polite clients beside one that sends ten times the capacity</h2>\n\
         <table><tr><th>policy<th>polite answered in time %<th>p99 ms</tr>\n",
    );
    for (name, policy) in [("guard", GUARD), ("at most 100 waiting", COUNT)] {
        let kind = Kind::Flood { flooder: 10.0, polite: 0.5 };
        let setup = Setup { conns: 101, ..Setup::new(policy) };
        let mut report = setup.run(&Load { kind, ..Load::open(0.0, SECONDS) });
        report.requests.retain(|r| r.conn > 0);
        let f = report.figures(S, SECONDS * S);
        let share = f.goodput / f.offered * 100.0;
        let _ = writeln!(html, "<tr><td>{name}<td>{share:.1}<td>{:.2}</tr>", f.p99);
    }
    html + "</table>\n"
}
