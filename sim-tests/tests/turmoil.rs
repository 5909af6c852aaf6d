//! The tokio host inside turmoil: several hosts, partitions, crashes, latency. What the simulator
//! of this crate cannot see (the accept loop, tasks, wakers, the order of shutdown) is seen here.
//!
//! turmoil's rules are kept as its version 0.7 needs them: whole milliseconds, a large accept
//! queue, no lost segment on a connection that is expected to go on, everything under a timeout.

use drywire::Tick;
use drywire::conn::Peer;
use drywire::engine::Machine as _;
use drywire_sim::choppy::Choppy;
use drywire_sim::decide::{Chance, Decider};
use drywire_sim::memcache::{ClientSide, Memcache, MemcacheEngine, Shape};
use drywire_sim::over_tokio::{Surroundings, call};
use drywire_sim::planted::flawed::{Flaw, Flawed};
use drywire_sim::{Caller, Fault, Faults, Habits, History, Outcome};
use drywire_tokio::host::{Accept, Host};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

const PORT: u16 = 11211;
const CALLERS: u32 = 4;

/// The listener of a simulated host; what it accepts is choppy.
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

/// What goes wrong meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nemesis {
    Nothing,
    Latency,
    Partition,
    OneWay,
    Hold,
    Crash,
    PowerLoss,
    Drain,
    BadCallers,
    Storm,
}

const ALL: [Nemesis; 10] = [
    Nemesis::Nothing,
    Nemesis::Latency,
    Nemesis::Partition,
    Nemesis::OneWay,
    Nemesis::Hold,
    Nemesis::Crash,
    Nemesis::PowerLoss,
    Nemesis::Drain,
    Nemesis::BadCallers,
    Nemesis::Storm,
];

impl Nemesis {
    /// The server loses its items, or may end in peace while answers are owed.
    fn replaces_the_server(self) -> bool {
        matches!(self, Self::Crash | Self::PowerLoss | Self::Drain)
    }

    /// Strikes at `at` milliseconds.
    fn strike(
        self,
        sim: &mut Sim<'_>,
        at: u64,
        host: &Mutex<Option<Host<Flawed<MemcacheEngine>>>>,
    ) {
        let names: Vec<String> = (0..CALLERS).map(|c| format!("caller{c}")).collect();
        let some = &names[..2];
        match (self, at) {
            (Self::Partition, 40) => some.iter().for_each(|n| sim.partition(n.as_str(), "server")),
            (Self::Partition, 900) => some.iter().for_each(|n| sim.repair(n.as_str(), "server")),
            (Self::OneWay, 40) => {
                sim.partition_oneway("server", names[0].as_str());
                sim.partition_oneway(names[1].as_str(), "server");
            }
            (Self::OneWay, 900) => {
                sim.repair_oneway("server", names[0].as_str());
                sim.repair_oneway(names[1].as_str(), "server");
            }
            (Self::Hold, 30 | 400 | 800) => {
                some.iter().for_each(|n| sim.hold(n.as_str(), "server"));
            }
            (Self::Hold, 200 | 500 | 1500) => {
                some.iter().for_each(|n| sim.release(n.as_str(), "server"));
            }
            (Self::Crash, 60) => sim.crash("server"),
            (Self::Crash, 300) | (Self::Drain, 2000) => sim.bounce("server"),
            (Self::PowerLoss, 60) => {
                names.iter().for_each(|n| sim.partition(n.as_str(), "server"));
                sim.crash("server");
            }
            (Self::PowerLoss, 500) => {
                names.iter().for_each(|n| sim.repair(n.as_str(), "server"));
                sim.bounce("server");
            }
            (Self::Drain, 60) => {
                if let Some(host) = &*host.lock().expect("no panic") {
                    host.drain();
                }
            }
            _ => {}
        }
    }
}

type Shared<T> = Rc<RefCell<T>>;

struct Scenario {
    nemesis: Nemesis,
    flaw: Flaw,
    seed: u64,
    history: Shared<History<Memcache>>,
    breaches: Shared<Vec<String>>,
    done: Rc<Cell<u32>>,
    host: Arc<Mutex<Option<Host<Flawed<MemcacheEngine>>>>>,
}

impl Scenario {
    fn new(nemesis: Nemesis, seed: u64) -> Self {
        Self {
            nemesis,
            flaw: Flaw::Nothing,
            seed,
            history: Rc::default(),
            breaches: Rc::default(),
            done: Rc::default(),
            host: Arc::default(),
        }
    }

    fn run(self) {
        let name = format!("{:?} {}", self.nemesis, self.seed);
        let mut builder = Builder::new();
        builder
            .tick_duration(Duration::from_millis(1))
            .tcp_capacity(4096)
            .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
            .simulation_duration(Duration::from_secs(300))
            .rng_seed(self.seed);
        if self.nemesis == Nemesis::Latency {
            builder.min_message_latency(Duration::from_millis(1));
            builder.max_message_latency(Duration::from_millis(80));
        } else {
            builder.min_message_latency(Duration::from_millis(1));
            builder.max_message_latency(Duration::from_millis(2));
        }
        let mut sim = builder.build();
        self.add_server(&mut sim);
        for who in 0..CALLERS {
            self.add_caller(&mut sim, who);
        }
        self.add_auditor(&mut sim);
        let mut struck = 0;
        loop {
            let at = sim.elapsed().as_millis() as u64;
            for at in struck..at {
                self.nemesis.strike(&mut sim, at, &self.host);
            }
            struck = at;
            match sim.step() {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
        drop(sim);
        self.judge(&name);
    }

    fn add_server(&self, sim: &mut Sim<'_>) {
        let (seed, flaw, slot) = (self.seed, self.flaw, Arc::clone(&self.host));
        let small = self.nemesis == Nemesis::Storm;
        sim.host("server", move || {
            let slot = Arc::clone(&slot);
            async move {
                let mut shape = Shape::draw(&mut Decider::seeded(seed));
                shape.connections = if small { 8 } else { 1024 };
                shape.item_max = 1 << 20;
                let host = Host::new(Flawed::new(shape.engine(), flaw));
                *slot.lock().expect("no panic") = Some(host.clone());
                let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
                host.serve(Listening { listener, seed }).await;
                Ok(())
            }
        });
    }

    fn add_caller(&self, sim: &mut Sim<'_>, who: u32) {
        let faults = match self.nemesis {
            Nemesis::BadCallers => Faults::NONE
                .with(Fault::HalfClose, Chance::one_in(8))
                .with(Fault::Abort, Chance::one_in(12))
                .with(Fault::Deaf, Chance::one_in(10))
                .with(Fault::Drip, Chance::one_in(20)),
            _ => Faults::NONE,
        };
        let mut decider = Decider::seeded(self.seed);
        let habits = Habits { ops: 60, patience: Duration::from_secs(3), ..Habits::default() };
        let history = Rc::clone(&self.history);
        let work = Memcache::timeless(who);
        let mut caller = Caller::new(who, work, habits, faults, &mut decider, history);
        let (breaches, done) = (Rc::clone(&self.breaches), Rc::clone(&self.done));
        let around = Surroundings {
            clock: || Tick(turmoil::sim_elapsed().unwrap_or_default().as_nanos() as u64),
            excused: self.nemesis.replaces_the_server(),
            tainted: false,
        };
        let mut streams = self.seed << 20 | u64::from(who) << 10;
        let storm = self.nemesis == Nemesis::Storm && who == 0;
        sim.client(format!("caller{who}"), async move {
            // Connections that come at once, most of them to be refused, and go.
            let mut crowd = Vec::new();
            for _ in 0..if storm { 40 } else { 0 } {
                crowd.push(TcpStream::connect(("server", PORT)).await);
            }
            if storm {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            drop(crowd);
            let result = call(&mut caller, &mut decider, around, async || {
                streams += 1;
                let stream = TcpStream::connect(("server", PORT)).await?;
                Ok(Choppy::new(stream, Decider::seeded(streams)))
            })
            .await;
            if let Err(violation) = result {
                breaches.borrow_mut().push(violation.to_string());
            }
            done.set(done.get() + 1);
            Ok(())
        });
    }

    /// Once all callers are done, and some time for lingering has passed, the server holds
    /// nothing.
    fn add_auditor(&self, sim: &mut Sim<'_>) {
        let (done, host) = (Rc::clone(&self.done), Arc::clone(&self.host));
        let breaches = Rc::clone(&self.breaches);
        // Connections that a partition cut stay until somebody writes: no keepalive in turmoil.
        let cut = matches!(self.nemesis, Nemesis::Partition | Nemesis::OneWay);
        sim.client("auditor", async move {
            while done.get() < CALLERS {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(Duration::from_secs(15)).await;
            let host = host.lock().expect("no panic").clone();
            let held = host.map_or(0, |h| h.with(|m, _| m.len()));
            if held > 0 && !cut {
                breaches.borrow_mut().push(format!("leak: {held} connections are still held"));
            }
            Ok(())
        });
    }

    fn judge(self, name: &str) {
        assert_eq!(*self.breaches.borrow(), [] as [String; 0], "{name}");
        let history = self.history.borrow();
        let answered = history.iter().filter(|o| matches!(o.outcome, Outcome::Answered(_))).count();
        let pending = history.iter().filter(|o| o.outcome == Outcome::Pending).count();
        assert_eq!(pending, 0, "{name}: each operation has one outcome");
        assert!(answered > 40, "{name}: {answered} of {} answered", history.len());
        if !self.nemesis.replaces_the_server() {
            match (ClientSide { item_max: 1 << 20 }).judge(&history) {
                Ok(undecided) => assert_eq!(undecided, 0, "{name}"),
                Err(violation) => panic!("{name}: {violation}"),
            }
        }
    }
}

/// Fifty scenarios.
#[test]
fn the_tokio_host_survives_turmoil() {
    for seed in 0..5 {
        for nemesis in ALL {
            Scenario::new(nemesis, seed).run();
        }
    }
}

/// The arm is worth something only if it notices: bugs planted between the engine and the host.
#[test]
fn turmoil_notices_planted_bugs() {
    for flaw in [
        Flaw::PartialSendIsWhole,
        Flaw::SendsTwice,
        Flaw::EndIsTheEnd,
        Flaw::NeverShutsDown,
        Flaw::NeverReleases,
    ] {
        let noticed = (0..12).any(|seed| {
            let nemesis = [Nemesis::BadCallers, Nemesis::Nothing][seed as usize % 2];
            let scenario = Scenario { flaw, ..Scenario::new(nemesis, seed) };
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario.run())).is_err()
        });
        assert!(noticed, "{flaw:?} was not noticed");
    }
}
