//! The tokio host in turmoil: several hosts, partitions, crashes, latency. What the simulator
//! cannot see (the accept loop, tasks, wakers, the order of shutdown) is seen here.
//!
//! turmoil's rules are kept as its version 0.7 needs them: whole milliseconds, a large accept
//! queue, everything under a timeout. What a partition swallows it does not send again: such a
//! connection never recovers, and its caller has to lose patience.

use super::subject::{Asked, Heard, Seen, Subject};
use super::watched::{Logs, Watched};
use super::{Report, Scenario, Twist};
use crate::caller::Caller;
use crate::choppy::Choppy;
use crate::decide::Decider;
use crate::net::LinkId;
use crate::over_tokio::{Surroundings, call};
use crate::panics;
use crate::plan::{Nemesis, Strike, Toward};
use crate::violation::Violation;
use crate::workload::History;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::Peer;
use drywire::engine::Machine;
use drywire_tokio::host::{Accept, Host};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

const PORT: u16 = 11211;
/// In simulated time; the faults and the calm of any scenario fit.
const LONGEST: Duration = Duration::from_secs(600);
/// After the last caller, before nothing may be left: longer than lingering.
const REST: Duration = Duration::from_secs(15);

/// How late a host may be: its time comes in whole milliseconds, and it hears before it judges.
const SLACK: Duration = Duration::from_millis(200);

/// The listener of a simulated host; what it accepts is choppy.
struct Listening {
    listener: TcpListener,
    seed: u64,
    pieces: Arc<AtomicUsize>,
}

impl Accept for Listening {
    type Stream = Choppy<TcpStream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        self.seed += 1;
        let stream = Choppy::new(stream, Decider::seeded(self.seed));
        Ok((stream.pieces(Arc::clone(&self.pieces)), Peer::Tcp(address)))
    }
}

/// What the parts of a run share.
struct Stage<S: Subject> {
    history: Rc<RefCell<History<S::Work>>>,
    heard: Rc<RefCell<Heard<S>>>,
    logs: Logs,
    breaches: Rc<RefCell<Vec<Violation>>>,
    done: Rc<Cell<u32>>,
    host: Arc<Mutex<Option<Host<Watched>>>>,
    /// How often the server was replaced, and the life in which each connection was made.
    life: Rc<Cell<u32>>,
    lives: Rc<RefCell<BTreeMap<LinkId, u32>>>,
    /// The largest piece that a stream carries; 0 for any.
    pieces: Arc<AtomicUsize>,
}

pub(super) fn run<S: Subject>(scenario: &Scenario, subject: S, twist: Twist, seed: u64) -> Report {
    let stage = Stage::<S> {
        history: Rc::default(),
        heard: Rc::default(),
        logs: Logs::default(),
        breaches: Rc::default(),
        done: Rc::default(),
        host: Arc::default(),
        life: Rc::default(),
        lives: Rc::default(),
        pieces: Arc::default(),
    };
    let mut time = Duration::ZERO;
    let driven = panics::catch(|| {
        let mut sim = Builder::new()
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(2))
            .tcp_capacity(4096)
            .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
            .simulation_duration(LONGEST)
            .rng_seed(seed)
            .build();
        stage.add_server(&mut sim, subject, twist, seed);
        for who in 0..scenario.callers {
            stage.add_caller(&mut sim, scenario, seed, who);
        }
        stage.add_auditor(&mut sim, scenario);
        let ended = drive(&mut sim, scenario, &stage);
        time = sim.elapsed();
        ended
    });
    let mut breaches = stage.breaches.take();
    match driven {
        Ok(Ok(())) => {}
        Ok(Err(text)) => breaches.push(Violation::new("live", text)),
        Err(panic) => breaches.insert(0, panic),
    }
    let lives = stage.lives.take();
    let life = |op: &Asked<S>| lives.get(&op.link).copied().unwrap_or_default();
    let (history, heard) = (stage.history.borrow(), stage.heard.borrow());
    let logs = stage.logs.lock().unwrap_or_else(PoisonError::into_inner);
    let (history, heard, life) = (history.as_slice(), heard.as_slice(), &life);
    let seen = Seen { history, heard, life, logs: &logs, slack: SLACK, real: false };
    scenario.judge(subject, &seen, breaches, time)
}

/// Lets the world run to its end, with the strikes of the plan.
fn drive<S: Subject>(
    sim: &mut Sim<'_>,
    scenario: &Scenario,
    stage: &Stage<S>,
) -> Result<(), String> {
    // What is due when: strikes and their ends.
    let mut due: BTreeMap<(u128, usize), (bool, &Strike)> = BTreeMap::new();
    for (nth, strike) in scenario.plan.iter().enumerate() {
        let at = strike.at.since(Tick::ZERO);
        due.insert((at.as_millis(), nth), (true, strike));
        if let Some(lasts) = lasts(strike.nemesis) {
            due.insert(((at + lasts).as_millis(), nth), (false, strike));
        }
    }
    loop {
        while let Some(next) = due.first_entry()
            && next.key().0 <= sim.elapsed().as_millis()
        {
            let (begins, strike) = next.remove();
            stage.strike(sim, scenario, strike, begins);
        }
        if sim.step().map_err(|error| error.to_string())? {
            return Ok(());
        }
    }
}

/// How long what the world has to end by itself lasts.
fn lasts(nemesis: Nemesis) -> Option<Duration> {
    match nemesis {
        Nemesis::Hold { lasts }
        | Nemesis::Partition { lasts }
        | Nemesis::Hole { lasts, .. }
        | Nemesis::Crash { lasts }
        | Nemesis::PowerLoss { lasts }
        | Nemesis::Drain { lasts } => Some(lasts),
        _ => None,
    }
}

fn name(who: u32) -> String {
    format!("caller{who}")
}

impl<S: Subject> Stage<S> {
    fn strike(&self, sim: &mut Sim<'_>, scenario: &Scenario, strike: &Strike, begins: bool) {
        let all = || (0..scenario.callers).filter(|who| strike.hits(*who)).map(name);
        match (strike.nemesis, begins) {
            (Nemesis::Latency { least, most }, _) => {
                for caller in all() {
                    // One that is too small for the least is refused: first the larger.
                    sim.set_link_max_message_latency(caller.as_str(), "server", most);
                    if least == most {
                        sim.set_link_latency(caller.as_str(), "server", most);
                    }
                }
            }
            (Nemesis::Cut { bytes }, _) => self.pieces.store(bytes, Relaxed),
            (Nemesis::Hold { .. }, true) => all().for_each(|c| sim.hold(c.as_str(), "server")),
            (Nemesis::Hold { .. }, false) => all().for_each(|c| sim.release(c.as_str(), "server")),
            (Nemesis::Partition { .. }, true) => {
                all().for_each(|c| sim.partition(c.as_str(), "server"));
            }
            (Nemesis::Partition { .. }, false) => {
                all().for_each(|c| sim.repair(c.as_str(), "server"));
            }
            (Nemesis::Hole { toward, .. }, begins) => {
                for caller in all() {
                    let caller = caller.as_str();
                    match (toward, begins) {
                        (Toward::Server, true) => sim.partition_oneway(caller, "server"),
                        (Toward::Server, false) => sim.repair_oneway(caller, "server"),
                        (Toward::Callers, true) => sim.partition_oneway("server", caller),
                        (Toward::Callers, false) => sim.repair_oneway("server", caller),
                    }
                }
            }
            (Nemesis::Crash { .. }, true) => sim.crash("server"),
            (Nemesis::PowerLoss { .. }, true) => {
                all().for_each(|c| sim.partition(c.as_str(), "server"));
                sim.crash("server");
            }
            (Nemesis::Drain { .. }, true) => {
                let host = self.host.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(host) = host {
                    host.drain();
                }
            }
            (Nemesis::PowerLoss { .. }, false) => {
                all().for_each(|c| sim.repair(c.as_str(), "server"));
                self.bounce(sim);
            }
            (Nemesis::Crash { .. } | Nemesis::Drain { .. }, false) => self.bounce(sim),
            // Callers' own, and what was refused.
            _ => {}
        }
    }

    fn bounce(&self, sim: &mut Sim<'_>) {
        self.life.set(self.life.get() + 1);
        sim.bounce("server");
    }

    fn add_server(&self, sim: &mut Sim<'_>, subject: S, twist: Twist, seed: u64) {
        let (slot, pieces) = (Arc::clone(&self.host), Arc::clone(&self.pieces));
        let (life, logs) = (Rc::clone(&self.life), S::WATCHED.then(|| Arc::clone(&self.logs)));
        sim.host("server", move || {
            let (slot, pieces) = (Arc::clone(&slot), Arc::clone(&pieces));
            let (life, logs) = (life.get(), logs.clone());
            async move {
                let host = Host::new(Watched::new(twist.around(subject.engine(life)), logs));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(host.clone());
                let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
                host.serve(Listening { listener, seed, pieces }).await;
                Ok(())
            }
        });
    }

    fn add_caller(&self, sim: &mut Sim<'_>, scenario: &Scenario, seed: u64, who: u32) {
        let mut decider = Decider::seeded(seed);
        let history = Rc::clone(&self.history);
        let (habits, odds) = (scenario.habits, scenario.odds);
        let caller = Caller::new(who, S::work(who), habits, odds, &mut decider, history);
        let mut caller = caller.plan(&scenario.plan);
        let (breaches, done) = (Rc::clone(&self.breaches), Rc::clone(&self.done));
        let heard = Rc::clone(&self.heard);
        let (life, lives) = (Rc::clone(&self.life), Rc::clone(&self.lives));
        let pieces = Arc::clone(&self.pieces);
        let around = Surroundings {
            clock: || Tick(turmoil::sim_elapsed().unwrap_or_default().as_nanos() as u64),
            excused: scenario.replaces_the_server(),
            tainted: false,
        };
        let storms: Vec<_> = scenario.plan.iter().filter(|_| who == 0).cloned().collect();
        sim.client(name(who), async move {
            for strike in storms {
                if let Nemesis::Storm { connections, lasts } = strike.nemesis {
                    tokio::task::spawn_local(storm(strike.at, connections, lasts));
                }
            }
            let mut links = 0;
            let result = call(&mut caller, &mut decider, around, async || {
                links += 1;
                let stream = TcpStream::connect(("server", PORT)).await?;
                lives.borrow_mut().insert(LinkId(who << 16 | links), life.get());
                let chance = Decider::seeded(seed << 20 | u64::from(who << 10 | links));
                Ok(Choppy::new(stream, chance).pieces(Arc::clone(&pieces)))
            })
            .await;
            breaches.borrow_mut().extend(result.err());
            heard.borrow_mut().extend(caller.take_heard());
            done.set(done.get() + 1);
            Ok(())
        });
    }

    /// Once all callers are done, and some time for lingering has passed, the server holds
    /// nothing.
    fn add_auditor(&self, sim: &mut Sim<'_>, scenario: &Scenario) {
        let (done, host) = (Rc::clone(&self.done), Arc::clone(&self.host));
        let (breaches, callers) = (Rc::clone(&self.breaches), scenario.callers);
        // Connections that a partition cut stay until somebody writes: no keepalive in turmoil.
        let cut = scenario
            .plan
            .iter()
            .any(|s| matches!(s.nemesis, Nemesis::Partition { .. } | Nemesis::Hole { .. }));
        sim.client("auditor", async move {
            while done.get() < callers {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(REST).await;
            let host = host.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let held = host.map_or(0, |h| h.with(|m, _| m.len()));
            if held > 0 && !cut {
                let text = format!("everybody has gone, and the server still holds {held}");
                breaches.borrow_mut().push(Violation::new("leak", text));
            }
            Ok(())
        });
    }
}

/// Connections that come at once, some of them to be refused, and go.
async fn storm(at: Tick, connections: u32, lasts: Duration) {
    tokio::time::sleep(at.since(Tick::ZERO)).await;
    let mut crowd = Vec::new();
    for _ in 0..connections {
        crowd.push(TcpStream::connect(("server", PORT)).await);
    }
    tokio::time::sleep(lasts).await;
}
