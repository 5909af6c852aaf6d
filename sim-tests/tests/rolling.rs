//! A rolling restart of the tokio host in turmoil: several hosts, of which one after the other is
//! drained or crashes and comes back, and the clients of `drywire sim run rolling`.

use drywire::Tick;
use drywire::conn::{Leave, Peer};
use drywire_sim::choppy::Choppy;
use drywire_sim::decide::Decider;
use drywire_sim::over_tokio::balance;
use drywire_sim::sudoku::{Asked, DEPARTURE, End, Mover, Request, Service, Sudoku, WAYS};
use drywire_sim::{History, Outcome};
use drywire_tokio::host::{Accept, Host};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

const PORT: u16 = 9981;
const SERVERS: usize = 3;
const CLIENTS: u32 = 3;
const FIRST: u64 = 200;
const AWAY: u64 = 400;
const ROUND: u64 = 1500;
/// In ms: calling again, and forgetting what was thought of it.
const RECOVERS: u64 = 400;

struct Listening(TcpListener, u64);

impl Accept for Listening {
    type Stream = Choppy<TcpStream>;

    async fn accept(&mut self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = self.0.accept().await?;
        self.1 += 1;
        Ok((Choppy::new(stream, Decider::seeded(self.1)), Peer::Tcp(address)))
    }
}

/// Serves until it is told to leave; then leaves, step by step, and says whether all had gone.
fn add_server(sim: &mut Sim<'_>, at: usize, seed: u64, told: Arc<Notify>, left: Rc<Cell<u32>>) {
    sim.host(name(at), move || {
        let (told, left) = (Arc::clone(&told), Rc::clone(&left));
        async move {
            let service = Service {
                workers: 1,
                service: Duration::from_millis(1),
                deadline: Duration::from_millis(40),
                pause: Duration::ZERO,
            };
            let host = Host::new(service.shape().engine(service.config()));
            let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
            let leaving = async {
                told.notified().await;
                host.with(|machine, now| machine.leave(now, Leave::Announce));
                sleep(DEPARTURE.announce).await;
                host.with(|machine, now| machine.leave(now, Leave::RefuseNew));
                host.drain();
                let gone = timeout(DEPARTURE.grace + DEPARTURE.spread, host.empty()).await;
                left.set(left.get() + u32::from(gone.is_ok()));
            };
            tokio::select! {
                () = host.serve(Listening(listener, seed << 8 | at as u64)) => {}
                () = leaving => {}
            }
            // Until it is replaced, nobody listens.
            std::future::pending::<()>().await;
            Ok(())
        }
    });
}

fn name(at: usize) -> String {
    format!("server{at}")
}

/// What became of the boards, and how many servers had been left by everybody when they ended.
struct Seen {
    boards: Vec<(u32, u32, Asked)>,
    history: History<Sudoku>,
    left: u32,
}

/// Restarts one server after the other.
fn restart(seed: u64, crash: bool) -> Seen {
    let mut sim = Builder::new()
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        .tcp_capacity(4096)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .simulation_duration(Duration::from_secs(60))
        .rng_seed(seed)
        .build();
    let told: [Arc<Notify>; SERVERS] = Default::default();
    let (left, history) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(History::<Sudoku>::new())));
    for (at, told) in told.iter().enumerate() {
        add_server(&mut sim, at, seed, Arc::clone(told), Rc::clone(&left));
    }
    let boards = Rc::new(RefCell::new(Vec::new()));
    let mut ways = WAYS;
    ways.boards = ((FIRST + ROUND * SERVERS as u64) / 8) as u32;
    ways.config.repeat = false;
    for who in 0..CLIENTS {
        let mut mover = Mover::new(who, SERVERS, ways, Rc::clone(&history));
        let (mut decider, boards) = (Decider::seeded(seed), Rc::clone(&boards));
        let clock = || Tick(turmoil::sim_elapsed().unwrap_or_default().as_nanos() as u64);
        sim.client(format!("client{who}"), async move {
            let mut links = 0;
            let ended = balance(&mut mover, &mut decider, SERVERS, clock, |at| {
                links += 1;
                let chance = Decider::seeded(seed << 20 | u64::from(who << 16 | links));
                Box::pin(async move {
                    let stream = TcpStream::connect((name(at), PORT));
                    let stream = timeout(Duration::from_millis(100), stream).await??;
                    Ok(Choppy::new(stream, chance))
                })
            });
            ended.await.map_err(|violation| violation.to_string())?;
            boards.borrow_mut().extend(mover.boards().map(|(number, asked)| (who, number, asked)));
            Ok(())
        });
    }
    let mut next = 0;
    loop {
        let now = sim.elapsed().as_millis() as u64;
        let at = next / 2;
        let due = FIRST + ROUND * at as u64 + if next % 2 == 0 { 0 } else { AWAY };
        if at < SERVERS && now >= due {
            match (next % 2, crash) {
                (0, true) => sim.crash(name(at)),
                (0, false) => told[at].notify_one(),
                _ => sim.bounce(name(at)),
            }
            next += 1;
        }
        if sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            break;
        }
    }
    drop(sim);
    Seen { boards: boards.take(), history: history.take(), left: left.get() }
}

/// Whoever is back gets its share again, a quarter of an even one at least.
fn shares(seen: &Seen, seed: u64) {
    for at in 0..SERVERS {
        let begin = FIRST + ROUND * at as u64;
        let window = Tick::from_millis(begin + AWAY + RECOVERS)..Tick::from_millis(begin + ROUND);
        let boards = seen.history.iter().filter(|op| op.request != Request::Ping);
        let asked: Vec<usize> = boards
            .filter(|op| window.contains(&op.invoked))
            .map(|op| op.link.0 as usize & 15)
            .collect();
        let its = asked.iter().filter(|server| **server == at).count();
        let all = asked.len();
        assert!(all > 100, "seed {seed}: {all} boards");
        assert!(its * 4 * SERVERS >= all, "seed {seed}: server {at} gets {its} of {all}");
    }
}

#[test]
fn one_drain_after_the_other_loses_nothing() {
    for seed in 0..6 {
        let seen = restart(seed, false);
        assert_eq!(seen.left, SERVERS as u32, "seed {seed}: left before the last moment");
        for (who, number, asked) in &seen.boards {
            let answered = matches!(asked.end, Some((_, End::Answered)));
            assert!(answered, "seed {seed}: board {who}.{number}: {asked:?}");
        }
        shares(&seen, seed);
    }
}

/// What was with a server that crashed may be lost; its client is told so in time, and nothing
/// else is lost.
#[test]
fn one_crash_after_the_other_loses_what_was_there() {
    let mut lost = 0;
    for seed in 0..6 {
        let seen = restart(seed, true);
        for (who, number, asked) in &seen.boards {
            let (at, end) = asked.end.expect("an end");
            let took = at.since(asked.at);
            assert!(took <= WAYS.config.patience + Duration::from_millis(2), "{took:?}");
            if end == End::Answered {
                continue;
            }
            lost += 1;
            let failed = seen.history.iter().any(|op| {
                let its = (op.caller, op.number) == (*who, *number) && op.request != Request::Ping;
                its && matches!(op.outcome, Outcome::Failed(_))
            });
            assert!(failed, "seed {seed}: board {who}.{number}: {asked:?}");
        }
        shares(&seen, seed);
    }
    assert!(lost > 0, "no crash met a board");
}
