//! Everything that `drywire serve` can be told about its limits is visible in `stats`, and a new
//! flag cannot be forgotten here.

mod common;

use common::{Client, Services, drywire, wait_for};
use std::collections::BTreeSet;
use std::io::Read;

/// What a flag sets, as `stats` of a service shows it: a key and its value.
struct Setting {
    flag: &'static str,
    value: &'static str,
    memcached: Option<(&'static str, &'static str)>,
    sudoku: Option<(&'static str, &'static str)>,
}

const fn both(
    flag: &'static str,
    value: &'static str,
    key: &'static str,
    told: &'static str,
) -> Setting {
    Setting { flag, value, memcached: Some((key, told)), sudoku: Some((key, told)) }
}

const fn memcached(
    flag: &'static str,
    value: &'static str,
    key: &'static str,
    told: &'static str,
) -> Setting {
    Setting { flag, value, memcached: Some((key, told)), sudoku: None }
}

const fn sudoku(
    flag: &'static str,
    value: &'static str,
    key: &'static str,
    told: &'static str,
) -> Setting {
    Setting { flag, value, memcached: None, sudoku: Some((key, told)) }
}

/// No value is a default.
const SETTINGS: &[Setting] = &[
    memcached("--memory-limit", "80M", "maxbytes", "83886080"),
    memcached("--max-item-size", "2M", "item_size_max", "2097152"),
    memcached("--disable-evictions", "", "evictions", "off"),
    memcached("--disable-flush-all", "", "flush_enabled", "no"),
    both("--conn-limit", "77", "maxconns", "77"),
    both("--threads", "7", "num_threads", "7"),
    both("--workers", "37", "num_workers", "37"),
    both("--grace", "7s", "grace_us", "7000000"),
    both("--announce", "9s", "announce_us", "9000000"),
    both("--max-reqs-per-event", "99", "reqs_per_event", "99"),
    both("--output-limit", "9k", "output_limit", "9216"),
    both("--buffer-limit", "3M", "buffer_limit", "3145728"),
    both("--refusal-pause", "2ms", "refusal_pause_us", "2000"),
    both("--refusal-pause-from", "21", "refusal_pause_from", "21"),
    both("--stall", "11s", "stall_us", "11000000"),
    both("--idle", "13m", "idle_us", "780000000"),
    sudoku("--sudoku-deadline", "60ms", "deadline_us", "60000"),
    sudoku("--sudoku-guesses", "123", "guesses", "123"),
    sudoku("--sudoku-window", "45", "window", "45"),
];

/// Where to listen, which is said at the start; what is logged; and chat and hub, which have no
/// `stats`.
const OTHERS: &[&str] = &[
    "--listen",
    "--port",
    "--unix-socket",
    "--unix-mask",
    "--no-memcache",
    "--sudoku",
    "--chat",
    "--hub",
    "--verbose",
    "--help",
    "--version",
    "--slow",
    "--fanout-memory",
    "--topic-memory",
    "--topics",
    "--spill-dir",
    "--spill-size",
    "--bridge",
    "--bridge-name",
    "--bridge-size",
];

#[test]
fn every_flag_is_a_setting_or_known_to_be_none() {
    let help =
        String::from_utf8(drywire().args(["serve", "--help"]).output().unwrap().stdout).unwrap();
    let flags: BTreeSet<_> = help
        .lines()
        .filter(|line| {
            let text = line.trim_start();
            text.starts_with('-') && (2..10).contains(&(line.len() - text.len()))
        })
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")))
        .map(|flag| flag.trim_end_matches(',').trim_end_matches("..."))
        .collect();
    let known: BTreeSet<_> =
        SETTINGS.iter().map(|s| s.flag).chain(OTHERS.iter().copied()).collect();
    assert!(flags.len() > 30, "{help}");
    assert_eq!(
        flags, known,
        "a flag of `drywire serve` is to be in `stats`, or among those that are not"
    );
}

/// The answer to a `stats` command, line by line.
fn stats(client: &mut Client, command: &str) -> Vec<String> {
    client.send(format!("{command}\r\n"));
    core::iter::repeat_with(|| client.line()).take_while(|line| line != "END").collect()
}

#[test]
fn what_was_set_is_visible() {
    let flags: Vec<_> = SETTINGS.iter().map(|s| format!("{} {}", s.flag, s.value)).collect();
    let served = Services::start(&format!("-p 0 --sudoku 127.0.0.1:0 {}", flags.join(" ")));
    let plain = Services::start("-p 0 --sudoku 127.0.0.1:0");
    let [told, default] = [&served, &plain].map(|services| {
        let cache = stats(&mut services.client("memcached"), "stats settings");
        [cache, stats(&mut services.client("sudoku"), "stats")]
    });
    for Setting { flag, memcached, sudoku, .. } in SETTINGS {
        let lines = [
            memcached.map(|(key, value)| format!("STAT {key} {value}")),
            sudoku.map(|(key, value)| format!("{key} {value}")),
        ];
        for (place, line) in lines.into_iter().enumerate() {
            let Some(line) = line else { continue };
            assert!(told[place].contains(&line), "{flag}: no `{line}` in {:?}", told[place]);
            assert!(!default[place].contains(&line), "{flag}: `{line}` is the default");
        }
    }
}

#[test]
fn who_says_nothing_for_long_is_closed_and_counted() {
    let served = Services::start("-p 0 --sudoku 127.0.0.1:0 -t 1 --idle 300ms");
    for service in ["memcached", "sudoku"] {
        let (mut silent, mut other) = (served.client(service), served.client(service));
        wait_for("the silent one to be counted", || {
            (other.stat("stats", "idle_kicks") == Some(1)).then_some(())
        });
        assert_eq!(silent.0.read_to_end(&mut Vec::new()).ok(), Some(0), "an end in peace");
        assert_eq!(other.stat("stats", "curr_connections"), Some(1));
    }
}
