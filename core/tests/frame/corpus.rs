//! The committed corpus of the fuzz targets, replayed.

use std::path::Path;

use super::targets;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&dir).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        std::panic::catch_unwind(|| run(&input))
            .unwrap_or_else(|_| panic!("{} fails", path.display()));
        inputs += 1;
    }
    assert!(inputs > 0, "no inputs in {}", dir.display());
}

#[test]
fn step_any() {
    replay("step_any", targets::step_any);
}

#[test]
fn encode_decode() {
    replay("encode_decode", targets::encode_decode);
}

#[test]
fn resync() {
    replay("resync", targets::resync);
}

#[test]
fn batches() {
    replay("batches", targets::batches);
}

#[test]
fn eof() {
    replay("eof", targets::eof);
}
