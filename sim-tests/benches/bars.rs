//! The bars of the simulator, each measured, beside turmoil on the same scenario in the same run:
//!
//!     cargo bench -p drywire-sim --bench bars
//!
//! prints Markdown tables for `docs/benchmarks.md`. The scenario: 4 callers of memcached, 50
//! operations each, connected and idle for 30 s after the last answer, all checkers on.

use drywire::Tick;
use drywire::conn::Peer;
use drywire_sim::choppy::Choppy;
use drywire_sim::decide::Decider;
use drywire_sim::memcache::{self, ClientSide, Memcache, Shape, Witness};
use drywire_sim::over_tokio::{Surroundings, call};
use drywire_sim::planted::{canary, planted};
use drywire_sim::{
    Caller, Campaign, Effort, Experiment, Fault, Faults, Habits, History, Outcome, Summary, Trial,
    shrink, trials,
};
use drywire_tokio::host::{Accept, Host};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use turmoil::Builder;
use turmoil::net::{TcpListener, TcpStream};

const CALLERS: u32 = 4;
const HABITS: Habits = Habits {
    ops: 50,
    depth: 32,
    patience: Duration::from_secs(120),
    connections: 40,
    stay: Duration::from_secs(30),
    think: Duration::MAX,
    open_loop: false,
};
const ROUNDS: u64 = 3;
const SEEDS: u64 = 3000;
const IN_CI: u64 = 20_000;
const TURMOIL: Duration = Duration::from_secs(20);
const PORT: u16 = 11211;

fn main() {
    println!("| bar | measured | wanted | |\n|---|--:|--:|---|");
    let faulty = best(&scenario(Faults::all()));
    let seconds = faulty.wall.as_secs_f64();
    let rate = faulty.seeds as f64 / seconds;
    let millions = faulty.events as f64 / seconds / 1e6;
    row("events/s, one core, M", millions, 2, "at least", 1.0);
    row("seeds/s, one core, all checkers and faults", rate, 0, "at least", 500.0);
    let compression = faulty.time.as_secs_f64() / seconds;
    row("simulated time to wall time", compression, 0, "at least", 15_000.0);

    let mut undecided = faulty.undecided;
    let mut wall = 0.0;
    for trial in trials() {
        // As in CI: there are a thousand boards in each of these.
        let seeds = if ["overload", "rolling"].contains(&trial.name()) { 4_000 } else { IN_CI };
        let all = Campaign::new(&*trial, 0..seeds).jobs(2).run();
        good(trial.name(), &all);
        undecided += all.undecided;
        let name = format!("{seeds} seeds of {}, two cores, s", trial.name());
        row(&name, all.wall.as_secs_f64(), 1, "at most", 60.0);
        wall += all.wall.as_secs_f64();
    }
    row("all of these, s", wall, 1, "", 0.0);
    row("undecided runs", undecided as f64, 0, "at most", 0.0);
    row("digests that differ from run to run", mismatches() as f64, 0, "at most", 0.0);
    tester();

    println!(
        "\n| the scenario in | faults | seeds/s | operations/s | simulated time to wall time |"
    );
    println!("|---|---|--:|--:|--:|");
    beside("this simulator", "all", &faulty);
    let plain = best(&scenario(Faults::all().only(&[Fault::Cut, Fault::Short])));
    beside("this simulator", "cut, short", &plain);
    let turmoil = in_turmoil();
    beside("turmoil 0.7, tokio host", "`Choppy`: cut, short", &turmoil);
    let per_second = |s: &Summary| s.seeds as f64 / s.wall.as_secs_f64();
    println!("\n{:.0} times turmoil's seeds/s.", per_second(&plain) / per_second(&turmoil));
}

fn scenario(faults: Faults) -> Trial<Memcache> {
    Trial::of("bars", memcache::serve, Memcache::new)
        .callers(CALLERS..=CALLERS)
        .habits(HABITS)
        .faults(faults)
        .expect(Witness)
}

fn best(trial: &dyn Experiment) -> Summary {
    let rounds = (0..ROUNDS).map(|_| Campaign::new(trial, 0..SEEDS).run());
    let best = rounds.min_by_key(|s| s.wall).expect("at least one round");
    good(trial.name(), &best);
    best
}

/// A rate of runs that fail is none.
fn good(name: &str, summary: &Summary) {
    let failed: Vec<_> = summary.failures.iter().map(|f| f.violation.to_string()).collect();
    assert!(summary.is_good(), "{name}: {failed:?}, never hit: {:?}", summary.missing);
}

fn row(name: &str, value: f64, digits: usize, sense: &str, bar: f64) {
    let met = match sense {
        "at least" => value >= bar,
        "at most" => value <= bar,
        _ => {
            println!("| {name} | {value:.digits$} | | |");
            return;
        }
    };
    let met = if met { "met" } else { "**missed**" };
    println!("| {name} | {value:.digits$} | {sense} {bar} | {met} |");
}

fn beside(name: &str, faults: &str, summary: &Summary) {
    let seconds = summary.wall.as_secs_f64();
    let per_second = |n: f64| n / seconds;
    println!(
        "| {name} | {faults} | {:.1} | {:.0} | {:.0} |",
        per_second(summary.seeds as f64),
        per_second(summary.ops as f64),
        per_second(summary.time.as_secs_f64())
    );
}

/// Runs of the same seed, and of the script of its decisions, that are not the same.
fn mismatches() -> u64 {
    let mut differ = 0;
    for trial in trials() {
        for seed in 0..200 {
            let first = trial.run(Decider::seeded(seed).recording(), false);
            let again = trial.run(Decider::seeded(seed), true);
            let script = trial.run(Decider::script(&first.decisions), false);
            differ += u64::from(first.digest != again.digest || first.digest != script.digest);
        }
    }
    differ
}

/// The planted bugs: how many are caught within their budget, and how small their runs get.
fn tester() {
    let mut survivors = u64::from(Campaign::new(&canary(), 0..20).run().failures.is_empty());
    let (mut walls, mut sizes) = (Vec::new(), Vec::new());
    for bug in planted() {
        let summary = Campaign::new(&*bug.experiment, 0..bug.budget).jobs(2).run();
        let failure = summary.failures.first();
        let caught = failure.filter(|f| bug.catchers.contains(&f.violation.checker));
        let small = caught.and_then(|f| shrink(&*bug.experiment, f, Effort::default()));
        match small {
            Some(small) => {
                walls.push(small.wall.as_secs_f64());
                sizes.push(small.items);
            }
            None => survivors += 1,
        }
    }
    walls.sort_by(f64::total_cmp);
    sizes.sort_unstable();
    row("planted bugs and canary", (walls.len() + 1) as f64, 0, "", 0.0);
    row("of these, not caught within their budget", survivors as f64, 0, "at most", 0.0);
    row("shrinking one, median, s", walls[walls.len() / 2], 2, "at most", 1.0);
    row("what is left of one, median, items", sizes[sizes.len() / 2] as f64, 0, "at most", 10.0);
    let most = *sizes.last().unwrap_or(&0);
    row("what is left of one, most, items", most as f64, 0, "", 0.0);
}

struct Listening {
    listener: TcpListener,
    seed: u64,
}

impl Accept for Listening {
    type Stream = Choppy<TcpStream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        self.seed += 1;
        Ok((Choppy::new(stream, Decider::seeded(self.seed)), Peer::Tcp(address)))
    }
}

fn in_turmoil() -> Summary {
    let begin = Instant::now();
    let mut all = Summary::default();
    while begin.elapsed() < TURMOIL {
        one_in_turmoil(all.seeds, &mut all);
        all.seeds += 1;
    }
    all.wall = begin.elapsed();
    all
}

fn one_in_turmoil(seed: u64, all: &mut Summary) {
    let mut sim = Builder::new()
        .tick_duration(Duration::from_millis(1))
        .tcp_capacity(4096)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        .rng_seed(seed)
        .build();
    sim.host("server", move || async move {
        let mut shape = Shape::draw(&mut Decider::seeded(seed));
        (shape.connections, shape.item_max) = (1024, 1 << 20);
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        Host::new(shape.engine()).serve(Listening { listener, seed }).await;
        Ok(())
    });
    let history: Rc<RefCell<History<Memcache>>> = Rc::default();
    for who in 0..CALLERS {
        let mut decider = Decider::seeded(seed);
        let work = Memcache::timeless(who);
        let history = Rc::clone(&history);
        let mut caller = Caller::new(who, work, HABITS, Faults::NONE, &mut decider, history);
        let around = Surroundings {
            clock: || Tick(turmoil::sim_elapsed().unwrap_or_default().as_nanos() as u64),
            excused: false,
            tainted: false,
        };
        let mut streams = seed << 20 | u64::from(who) << 10;
        sim.client(format!("caller{who}"), async move {
            let connect = async || {
                streams += 1;
                let stream = TcpStream::connect(("server", PORT)).await?;
                Ok(Choppy::new(stream, Decider::seeded(streams)))
            };
            call(&mut caller, &mut decider, around, connect).await.map_err(|v| v.to_string())?;
            Ok(())
        });
    }
    sim.run().unwrap_or_else(|error| panic!("turmoil, seed {seed}: {error}"));
    all.time += sim.elapsed();
    let history = history.borrow();
    all.ops += history.len() as u64;
    assert!(history.iter().all(|op| op.outcome != Outcome::Pending), "seed {seed}: no outcome");
    match (ClientSide { item_max: 1 << 20 }).judge(&history) {
        Ok(undecided) => all.undecided += undecided,
        Err(violation) => panic!("turmoil, seed {seed}: {violation}"),
    }
}
