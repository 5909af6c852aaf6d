//! The sudoku service: its options, its engines.

use super::fanout::Place;
use crate::units;
use core::net::SocketAddr;
use core::time::Duration;
use drywire::conn::{HostSettings, Limits};
use drywire::engine::{Engine, Local};
use drywire::guard::AdmitConfig;
use drywire::sudoku::{self, Config, Server, Shared, Stats};
use drywire_mio::{Host, Listen, Locked};
use std::net::ToSocketAddrs;

#[derive(clap::Args)]
#[command(next_help_heading = "Sudoku")]
#[group(id = "sudoku")]
pub(super) struct Options {
    /// Also serve sudoku on HOST:PORT; its own port is 9981
    #[arg(long = "sudoku", value_name = "HOST:PORT", value_parser = address)]
    address: Option<SocketAddr>,
    /// Threads that solve boards, over all loops; with 0 the loops solve themselves
    /// [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: Option<u16>,
    /// After how long clients give up: what would be answered later is refused at once
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = deadline)]
    sudoku_deadline: Duration,
    /// Guesses spent on one board before it is refused
    #[arg(long, value_name = "N", default_value = "10k", value_parser = guesses)]
    sudoku_guesses: u32,
    /// Boards of one connection under way; it is not read while there are more
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    sudoku_window: u32,
}

impl Options {
    /// Where it is served, if it was asked for.
    pub(super) fn place(&self) -> Option<Place> {
        let listen = vec![Listen::tcp(self.address?)];
        Some(Place { service: "sudoku", listen })
    }

    pub(super) fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, Into::into);
        self.workers.map_or_else(cores, usize::from)
    }

    /// Adds the service to a host that was `told` so, if it was asked for.
    pub(super) fn serve(&self, host: Host, told: HostSettings, limits: Limits) -> Host {
        let Some(address) = self.address else { return host };
        let (threads, conns) = (told.threads as usize, told.max_connections);
        let listen = Listen::tcp(address);
        let workers = self.workers();
        let pause = limits.refusal_pause.min(self.sudoku_deadline / 8);
        let limits = Limits { input: sudoku::limits().input, refusal_pause: pause, ..limits };
        let config = Config {
            admit: AdmitConfig::for_deadline_after(self.sudoku_deadline, pause),
            // Loops share the pool; one that solves itself is its own worker.
            workers: workers.div_ceil(threads).max(1) as u32,
            guesses: self.sudoku_guesses,
            under_way: self.sudoku_window,
            deadline: self.sudoku_deadline,
            host: told,
            ..Config::DEFAULT
        };
        if threads == 1 {
            host.serve([listen], move || {
                let shared = Shared::new(config, Local::one(Stats::default()));
                Engine::<Server<_>>::new(shared, limits, conns as usize)
            })
        } else {
            let parts = threads.next_power_of_two();
            let stats = Locked::new((0..parts).map(|_| Stats::default()));
            host.serve([listen], move || {
                let shared = Shared::new(config, stats.clone());
                Engine::<Server<_>>::new(shared, limits, conns as usize)
            })
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{text}` is not HOST:PORT, such as 127.0.0.1:9981");
    let mut found = text.to_socket_addrs().map_err(|error| format!("{} ({error})", wrong()))?;
    found.next().ok_or_else(wrong)
}

fn deadline(text: &str) -> Result<Duration, String> {
    let time = units::time(text)?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(60);
    if allowed.contains(&time) {
        Ok(time)
    } else {
        Err(format!("`{text}` as a deadline: allowed are 1ms to 60s"))
    }
}

fn guesses(text: &str) -> Result<u32, String> {
    let n = units::count(text)?;
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=10_000_000).contains(n))
        .ok_or_else(|| format!("`{text}` guesses: allowed are 1 to 10M"))
}
