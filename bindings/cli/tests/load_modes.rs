//! `drywire load`, each mode with each protocol, on a real server: nothing is lost, and what is
//! reported adds up.

mod common;

use common::{Services, drywire};

const CLASSES: [&str; 8] =
    ["ok", "miss", "no_solution", "refused", "late", "error", "wrong", "lost"];

/// Runs a load, which has to be good; what was measured.
fn load(served: &Services, protocol: &str, args: &str) -> serde_json::Value {
    let output = drywire()
        .args(["load", protocol, "--json", "--addr", served.addr(protocol)])
        .args(args.split_whitespace())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{protocol} {args}: {text} {error}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let measured = report["measured"].clone();
    let count = |class: &str| measured[class].as_u64().unwrap();
    assert!(count("sent") > 0, "{args}: {text}");
    let sum: u64 = CLASSES.iter().map(|class| count(class)).sum();
    assert_eq!(count("sent"), sum, "{args}: {text}");
    assert_eq!(count("wrong") + count("lost") + count("error"), 0, "{args}: {text}");
    measured
}

fn served() -> Services {
    Services::start("-p 0 --sudoku 127.0.0.1:0 -t 1 --workers 0 --sudoku-deadline 60s")
}

/// Whether this machine keeps a schedule is not the question here.
const PATIENT: &str = "--max-lag 60s --deadline 60s";

#[test]
fn every_mode_of_both_protocols_accounts_for_every_request() {
    let served = served();
    for protocol in ["memcached", "sudoku"] {
        let small = if protocol == "memcached" { "--op mixed --keys 3000" } else { "" };
        for (mode, sent) in [
            ("local --duration 200ms", None),
            ("pipeline --duration 300ms -c 7 -d 3", None),
            ("pipeline --duration 300ms -c 7 -d 3 -t 2", None),
            ("batch -n 2001 -c 7", Some(2001)),
            ("batch -n 2001 -c 7 -t 3", Some(2001)),
            ("stress -n 3001 -c 7 --hold 200ms", Some(3001)),
        ] {
            let measured = load(&served, protocol, &format!("{mode} {small}"));
            assert!(sent.is_none_or(|sent| measured["sent"] == sent), "{mode}: {measured}");
        }
        for arrivals in ["poisson", "constant", "bursts"] {
            let open = format!("open --rate 3k --duration 400ms -c 7 -t 2 --arrivals {arrivals}");
            let measured = load(&served, protocol, &format!("{open} {PATIENT} {small}"));
            let sent = measured["sent"].as_u64().unwrap();
            assert!((1000..1400).contains(&sent), "{arrivals}: {sent} of 1200");
            assert!(measured["lag_us"]["p99"].is_number());
        }
    }
}

#[test]
fn a_closed_loop_of_sets_wider_than_the_keys_waits_for_them() {
    let served = served();
    let args = "stress -n 2000 -c 4 --op set --keys 60 --hold 300ms";
    let output = drywire()
        .args(["load", "memcached", "--json", "--addr", served.addr("memcached")])
        .args(args.split_whitespace())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // No two sets of one key are under way, so that the right answer is known.
    let measured = &report["measured"];
    assert_eq!(measured["sent"], measured["ok"], "{report}");
    assert!(measured["complaint"].as_str().unwrap().contains("window"), "{report}");
}

#[test]
fn a_late_answer_is_no_right_one() {
    let served = served();
    let measured = load(
        &served,
        "memcached",
        "open --rate 2k --duration 300ms -c 2 --keys 100 --deadline 1ns --max-lag 60s",
    );
    assert_eq!(measured["late"], measured["sent"]);
}

#[test]
fn curves_and_latencies_are_pages_too() {
    let served = served();
    let dir = tempfile::tempdir().unwrap();
    for (protocol, mode, words) in [
        ("memcached", "curve --loads 0.2,0.4", "| 0.40x |"),
        ("sudoku", "curve --board hard --loads 0.2,0.4", "| 0.40x |"),
        ("memcached", "local", "p99.99"),
        ("sudoku", "pipeline", "p99.99"),
    ] {
        let page = dir.path().join("page.html");
        let output = drywire()
            .args(["load", protocol, "--addr", served.addr(protocol), "--html"])
            .arg(&page)
            .args(["--pid", &served.child.id().to_string()])
            .args(format!("{mode} --duration 200ms -c 8 {PATIENT}").split(' '))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && text.contains(words), "{text} {error}");
        let shares = mode.starts_with("curve");
        assert_eq!(error.contains("taskset"), shares, "{error}");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("<polyline") && page.contains(protocol), "{page}");
    }
}
