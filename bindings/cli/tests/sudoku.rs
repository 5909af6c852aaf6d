//! `drywire serve --sudoku` under `drywire load sudoku`: each shape of the server, each mode of the
//! load, and the ledger of both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

const EASY: &str =
    "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
const SOLVED: &str =
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

/// A server of sudoku alone, on a free port.
struct Served {
    child: Child,
    addr: String,
}

impl Served {
    fn start(args: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_drywire"))
            .args("serve --no-memcache --sudoku 127.0.0.1:0".split(' '))
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("sudoku on ").expect("where it is").to_owned();
        Self { child, addr }
    }

    /// Runs a load, which has to be good; its report.
    fn load(&self, args: &str) -> serde_json::Value {
        let output = Command::new(env!("CARGO_BIN_EXE_drywire"))
            .args(["load", "sudoku", "--json", "--addr", &self.addr])
            .args(args.split_whitespace())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args}: {text} {error}");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a script, ends it, reads all answers.
    fn says(&self, script: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.write_all(script.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn four_shapes_answer_every_board() {
    for shape in ["-t 1 --workers 0", "-t 1 --workers 2", "-t 2 --workers 0", "-t 2 --workers 2"] {
        let served = Served::start(&format!("{shape} --sudoku-deadline 60s"));
        let report = served.load("batch -n 3000 -c 7 --board mixed");
        let measured = &report["measured"];
        assert_eq!(measured["sent"], 3000, "{shape}");
        let right = measured["ok"].as_u64().unwrap() + measured["no_solution"].as_u64().unwrap();
        assert_eq!(right, 3000, "{shape}: {measured}");
        let stats = served.says("stats\r\n");
        for line in ["total_requests 3000", "total_responses 3000", "dropped_requests 0"] {
            assert!(stats.contains(&format!("{line}\r\n")), "{shape}: no {line} in {stats}");
        }
    }
}

#[test]
fn what_is_owed_comes_before_last_words_and_after_a_half_close() {
    let served = Served::start("-t 1 --workers 2");
    let good = format!("{EASY}\r\n");
    assert_eq!(served.says(&good.repeat(50)), format!("{SOLVED}\r\n").repeat(50));
    let said = served.says(&format!("a:{EASY}\r\nabc\r\nb:{EASY}\r\n"));
    assert_eq!(said, format!("a:{SOLVED}\r\nBad Request!\r\n"));
}

#[test]
fn a_flood_that_is_not_read_is_answered_or_refused_to_the_last_board() {
    let served = Served::start("-t 1 --workers 0");
    let report = served.load("stress -n 60k -c 4 --hold 1s --board easy");
    let measured = &report["measured"];
    assert_eq!((&measured["sent"], &measured["lost"]), (&60_000.into(), &0.into()), "{measured}");
}

#[test]
fn overload_keeps_the_ledger() {
    let served = Served::start("-t 1 --workers 1 --sudoku-deadline 20ms");
    // Whether this machine keeps the schedule is not the question here.
    let report = served
        .load("open --rate 40k --duration 1s --board hard -c 20 --max-lag 60s --deadline 60s");
    let measured = &report["measured"];
    assert_eq!((&measured["wrong"], &measured["lost"]), (&0.into(), &0.into()), "{measured}");
    assert!(measured["sent"].as_u64().unwrap() > 35_000);
}

#[test]
fn the_curve_is_a_table_and_a_page() {
    let served = Served::start("-t 1 --workers 0");
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("curve.html");
    let output = Command::new(env!("CARGO_BIN_EXE_drywire"))
        .args(["load", "sudoku", "curve", "--addr", &served.addr, "--html"])
        .arg(&page)
        .args("--loads 0.2,0.5 --duration 300ms -c 10 --max-lag 60s --board hard".split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("| 0.20x |") && text.contains("| 0.50x |"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("polyline") && page.contains("0.50x"));
}

#[test]
fn without_a_service_there_is_nothing_to_serve() {
    let output = Command::new(env!("CARGO_BIN_EXE_drywire"))
        .args(["serve", "--no-memcache"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--sudoku"));
}
