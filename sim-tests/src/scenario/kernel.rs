//! The mio host on loopback sockets, in real time: what a kernel says and does. Liveness has
//! generous bounds, so that a busy machine breaks nothing; nothing else is about time.

use super::proxy::{Front, Upstream};
use super::subject::{Asked, Seen, Subject};
use super::watched::{Logs, Watched};
use super::{Report, Scenario, Twist};
use crate::caller::Caller;
use crate::decide::Decider;
use crate::net::LinkId;
use crate::over_tokio::{Surroundings, call};
use crate::plan::{Nemesis, Strike};
use crate::violation::Violation;
use crate::workload::{History, Word, Workload};
use core::time::Duration;
use drywire::Tick;
use drywire_mio::{Ended, Handle, Host, HostError, Listen};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(180);
/// How late a host may be on a busy machine.
const SLACK: Duration = Duration::from_secs(10);
/// After the last caller, nothing may be left within this.
const REST: Duration = Duration::from_secs(60);

pub(super) fn run<S: Subject>(scenario: &Scenario, subject: S, twist: Twist, seed: u64) -> Report {
    let begin = Instant::now();
    let history = Rc::new(RefCell::new(History::<S::Work>::new()));
    let (lives, heard, logs) = (Rc::default(), Rc::default(), Logs::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let breaches = match runtime {
        Ok(runtime) => {
            let stage = async {
                let kept = S::WATCHED.then(|| Arc::clone(&logs));
                let start = |life| Life::start(subject, life, twist, kept.clone());
                let (history, heard, lives) = (&history, &heard, &lives);
                let run = Run { scenario, seed, begin, history, heard, lives };
                run.run::<S>(&start).await
            };
            runtime.block_on(LocalSet::new().run_until(stage))
        }
        Err(error) => vec![system(&error)],
    };
    let lives: BTreeMap<LinkId, u32> = lives.take();
    let life = |op: &Asked<S>| lives.get(&op.link).copied().unwrap_or_default();
    let (history, heard): (_, Vec<_>) = (history.borrow(), heard.take());
    let logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
    let (history, life) = (history.as_slice(), &life);
    let seen = Seen { history, heard: &heard, life, logs: &logs, slack: SLACK, real: true };
    scenario.judge(subject, &seen, breaches, begin.elapsed())
}

/// The machine cannot do what the arm needs: said as a violation, since nothing was tested.
fn system(error: &dyn core::fmt::Display) -> Violation {
    Violation::new("system", error.to_string())
}

/// One life of the server.
struct Life {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<Result<Ended, HostError>>>,
}

impl Life {
    fn start<S: Subject>(
        subject: S,
        life: u32,
        twist: Twist,
        logs: Option<Logs>,
    ) -> Result<Self, HostError> {
        let machine = move || Watched::new(twist.around(subject.engine(life)), logs.clone());
        let server = Host::new()
            .threads(subject.loops())
            .workers(2)
            .max_conns(4096)
            .serve([Listen::tcp((Ipv4Addr::LOCALHOST, 0))], machine)
            .bind()?;
        let (address, handle) = (server.tcp_addrs()[0], server.handle());
        let thread = std::thread::spawn(move || server.run());
        Ok(Self { address, handle, thread: Some(thread) })
    }

    /// Waits for its end; a panic in it is a finding.
    fn join(&mut self) -> Option<Violation> {
        match self.thread.take()?.join() {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(system(&error)),
            Err(_) => Some(Violation::new("panic", "the server's loop panicked")),
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.handle.abort();
        // Whoever wanted to know how it ended has asked.
        drop(self.join());
    }
}

struct Run<'a, W: Workload> {
    scenario: &'a Scenario,
    seed: u64,
    begin: Instant,
    history: &'a Rc<RefCell<History<W>>>,
    heard: &'a Rc<RefCell<Vec<Word<W::Reply>>>>,
    lives: &'a Rc<RefCell<BTreeMap<LinkId, u32>>>,
}

type Start<'a> = &'a dyn Fn(u32) -> Result<Life, HostError>;

impl<W: Workload + 'static> Run<'_, W> {
    async fn run<S: Subject<Work = W>>(&self, start: Start<'_>) -> Vec<Violation> {
        let breaches = Rc::new(RefCell::new(Vec::new()));
        let result = timeout(LONGEST, self.stage::<S>(start, &breaches)).await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => breaches.borrow_mut().push(system(&error)),
            Err(_) => {
                let text = format!("not at its end after {LONGEST:?}");
                breaches.borrow_mut().push(Violation::new("live", text));
            }
        }
        breaches.take()
    }

    async fn stage<S: Subject<Work = W>>(
        &self,
        start: Start<'_>,
        breaches: &Rc<RefCell<Vec<Violation>>>,
    ) -> io::Result<()> {
        let fail = |error: HostError| io::Error::other(error.to_string());
        let mut server = start(0).map_err(fail)?;
        let upstream: Upstream = Rc::new(Cell::new(Some((server.address, 0))));
        let mut fronts = Vec::new();
        let mut callers = Vec::new();
        for who in 0..self.scenario.callers {
            let seed = self.seed << 8 | u64::from(who);
            let (front, address) = Front::open(Rc::clone(&upstream), seed).await?;
            fronts.push(Rc::clone(&front));
            callers.push(spawn_local(self.caller::<S>(who, front, address, breaches)));
        }
        let mut life = 0;
        for (begins, strike) in timeline(&self.scenario.plan) {
            let at = if begins { strike.at } else { end(strike) };
            sleep((self.begin + at.since(Tick::ZERO)).saturating_duration_since(Instant::now()))
                .await;
            if begins {
                let hit = fronts.iter().zip(0..).filter(|(_, who)| strike.hits(*who));
                hit.for_each(|(front, _)| front.strike(strike.nemesis));
            }
            match (strike.nemesis, begins) {
                (Nemesis::Storm { connections, lasts }, true) => {
                    spawn_local(storm(server.address, connections, lasts));
                }
                (Nemesis::Crash { .. } | Nemesis::PowerLoss { .. }, true) => {
                    upstream.set(None);
                    server.handle.abort();
                    breaches.borrow_mut().extend(server.join());
                }
                (Nemesis::Drain { .. }, true) => {
                    upstream.set(None);
                    server.handle.stop();
                }
                (_, false) => {
                    server.handle.abort();
                    breaches.borrow_mut().extend(server.join());
                    if matches!(strike.nemesis, Nemesis::PowerLoss { .. }) {
                        fronts.iter().for_each(|front| front.kill());
                    }
                    life += 1;
                    server = start(life).map_err(fail)?;
                    upstream.set(Some((server.address, life)));
                }
                _ => {}
            }
        }
        for caller in callers {
            caller.await.map_err(io::Error::other)?;
        }
        let patience = Instant::now() + REST;
        while server.handle.connections() > 0 {
            if Instant::now() > patience {
                let held = server.handle.connections();
                let text = format!("everybody has gone, and the server still holds {held}");
                breaches.borrow_mut().push(Violation::new("leak", text));
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        server.handle.stop();
        breaches.borrow_mut().extend(server.join());
        Ok(())
    }

    fn caller<S: Subject<Work = W>>(
        &self,
        who: u32,
        front: Rc<Front>,
        address: SocketAddr,
        breaches: &Rc<RefCell<Vec<Violation>>>,
    ) -> impl Future<Output = ()> + use<S, W> {
        let scenario = self.scenario;
        let mut decider = Decider::seeded(self.seed);
        let history = Rc::clone(self.history);
        let (habits, odds) = (scenario.habits, scenario.odds);
        let caller = Caller::new(who, S::work(who), habits, odds, &mut decider, history);
        let mut caller = caller.plan(&scenario.plan);
        let (breaches, lives) = (Rc::clone(breaches), Rc::clone(self.lives));
        let heard = Rc::clone(self.heard);
        let begin = self.begin;
        let around = Surroundings {
            clock: move || Tick::ZERO + begin.elapsed(),
            excused: scenario.replaces_the_server(),
            tainted: false,
        };
        async move {
            let mut links = 0;
            let mut ports = BTreeMap::new();
            let result = call(&mut caller, &mut decider, around, async || {
                links += 1;
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                ports.insert(LinkId(who << 16 | links), stream.local_addr()?.port());
                Ok(stream)
            })
            .await;
            let reached = ports.iter().filter_map(|(link, port)| Some((*link, front.life(*port)?)));
            lives.borrow_mut().extend(reached);
            breaches.borrow_mut().extend(result.err());
            heard.borrow_mut().extend(caller.take_heard());
        }
    }
}

/// Strikes, and the ends of those after which the server comes back, in their order.
fn timeline(plan: &[Strike]) -> Vec<(bool, &Strike)> {
    let mut all: Vec<_> = plan.iter().map(|s| (true, s)).collect();
    all.extend(plan.iter().filter(|s| s.nemesis.replaces_the_server()).map(|s| (false, s)));
    all.sort_by_key(|(begins, s)| if *begins { s.at } else { end(s) });
    all
}

fn end(strike: &Strike) -> Tick {
    match strike.nemesis {
        Nemesis::Crash { lasts } | Nemesis::PowerLoss { lasts } | Nemesis::Drain { lasts } => {
            strike.at + lasts
        }
        _ => strike.at,
    }
}

/// Connections that come at once, some of them to be refused, and go.
async fn storm(address: SocketAddr, connections: u32, lasts: Duration) {
    let mut crowd = Vec::new();
    for _ in 0..connections {
        crowd.push(TcpStream::connect(address).await);
    }
    sleep(lasts).await;
}
