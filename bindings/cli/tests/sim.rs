//! `drywire sim` as a program: pipes that close, Ctrl-C, campaigns in parts.

mod common;

use common::{drywire, wait_for};
use std::fs::read_to_string;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REPLAYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sim-tests/replays");

const SCENARIO: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../sim-tests/scenarios/thin-and-narrow.toml");

fn a_replay() -> PathBuf {
    Path::new(REPLAYS).join("memcached-get-cut-in-its-verb.trial")
}

/// Whoever reads less than there is, as `head` does, is no reason to panic.
#[test]
fn a_closed_pipe_is_the_reader_s_choice() {
    let file = a_replay();
    let file = file.to_str().expect("a path");
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy.trial");
    let copy = copy.to_str().expect("a path");
    for args in [
        &["list"][..],
        &["replay", file],
        &["test", file],
        &["shrink", file, "--output", copy],
        &["draw", file],
        &["scenario", SCENARIO, "--arm", "core", "--seeds", "1"],
        &["step", "memcached", "--ask", "nothing"],
        &["run", "memcached", "--seeds", "5"],
        &["run", "memcached", "--seeds", "5", "--json"],
    ] {
        let mut child = drywire()
            .arg("sim")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("drywire ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

/// Ctrl-C gives the summary so far, and the same command goes on where it stopped.
#[test]
fn an_interrupted_campaign_sums_up_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (tally, page) = (dir.path().join("tally.json"), dir.path().join("page.md"));
    let run = |seeds: &str| {
        let mut command = drywire();
        command.args(["sim", "run", "memcached", "sudoku", "--seeds", seeds, "--tally"]);
        command.arg(&tally).arg("--markdown").arg(&page);
        command
    };
    let mut child =
        run("100M").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("drywire runs");
    // Its first line of progress: it is in the middle of it.
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("seeds/s") {
        assert_ne!(err.read_line(&mut said).expect("a line"), 0, "ended: {said}");
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    err.read_to_string(&mut said).expect("text");
    let output = child.wait_with_output().expect("drywire ends");
    let story = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{story}");
    assert!(said.contains("interrupted: the same command goes on"), "{said}");
    assert!(story.starts_with("memcached: ") && story.contains("no failure"), "{story}");
    assert!(!story.contains("sudoku: "), "what was not begun is not summed up: {story}");
    let before = wait_for("the page", || read_to_string(&page).ok());

    // All of what is asked for now was run: nothing is left, and the sums stand.
    let done: u64 = said_seeds(&story);
    let seeds = done.to_string();
    let output = run(&seeds).args(["--failures", "1"]).output().expect("drywire runs");
    let again = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{again}");
    let digest = |page: &str| {
        let row = page.lines().find(|l| l.starts_with("| memcached")).expect("a row").to_owned();
        row.rsplit('`').nth(1).expect("a digest").to_owned()
    };
    assert_eq!(digest(&before), digest(&read_to_string(&page).expect("a page")));
    assert!(again.contains("sudoku: "), "{again}");
}

/// How many seeds a summary is about.
fn said_seeds(story: &str) -> u64 {
    let words = story.strip_prefix("memcached: ").expect("a summary");
    let number: String = words.chars().take_while(|c| *c != ' ').filter(|c| *c != ',').collect();
    number.parse().expect("a number")
}

/// A fault that an arm cannot bring about is refused by its name, and nothing is run.
#[test]
fn a_scenario_is_run_or_refused() {
    let run = |arm: &str| {
        let mut command = drywire();
        command.args(["sim", "scenario", SCENARIO, "--seeds", "1", "--arm", arm]);
        command.output().expect("drywire runs")
    };
    let good = run("core");
    let said = String::from_utf8_lossy(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{said}");
    assert!(said.contains("good: 1 runs"), "{said}");
    let refused = run("turmoil");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("thin: turmoil has no bandwidth") && said.contains("narrow: "), "{said}");
}
