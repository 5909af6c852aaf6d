//! Jobs on the thread of the sockets, and who does not wait for all of them.

mod common;

use common::{Running, any_port};
use core::time::Duration;
use drywire::engine::{Engine, Local};
use drywire::guard::AdmitConfig;
use drywire::sudoku::{self, Board, Config, Server, Shared, Stats, Verdict, solver};
use drywire_mio::{Host, Locked};
use std::thread;

const BOARD: &str =
    "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
const SERVICE: Duration = Duration::from_millis(2);

fn slowly(board: &Board, guesses: u32) -> Verdict {
    thread::sleep(SERVICE);
    solver::solve(board, guesses)
}

/// Whoever asks for one has its answer while most of the burst of another waits still.
#[test]
fn one_board_is_answered_in_the_middle_of_a_burst() {
    for workers in [0, 1] {
        let admit = AdmitConfig::for_deadline(Duration::from_secs(20));
        let admit = AdmitConfig { service_guess: SERVICE, ..admit };
        let config = Config { admit, solve: slowly, ..Config::DEFAULT };
        let host = Host::new().workers(workers).serve([any_port()], move || {
            let shared = Shared::new(config, Local::one(Stats::default()));
            Engine::<Server<_>>::new(shared, sudoku::limits(), 16)
        });
        let server = Running::run(host, Locked::new([0]));
        let (mut many, mut one) = (server.client(), server.client());
        many.send(&(0..400).map(|id| format!("{id}:{BOARD}\r\n")).collect::<String>());
        many.line();
        // What follows a board without an id is looked at when that is answered.
        one.send(&format!("{BOARD}\r\nstats\r\n"));
        assert!(one.line().starts_with("534678912"));
        let waiting = loop {
            if let Some(waiting) = one.line().strip_prefix("task_queue_size ") {
                break waiting.trim().parse::<u32>().unwrap();
            }
        };
        assert!(waiting >= 64, "{workers} workers: {waiting}");
        assert!((1..400).all(|_| many.line().contains(":534678912")));
    }
}
