//! A host made of nothing: drives one connection of an engine through any schedule of input
//! pieces and partial sends, and fails where a real host would hang.

use drywire::Tick;
use drywire::conn::{CloseReason, Peer, Session, Wants};
use drywire::engine::{ConnId, Engine};
use proptest::prelude::*;

/// What came out of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) bytes: Vec<u8>,
    pub(crate) reason: Option<CloseReason>,
}

/// How input is cut and output is taken: both lists are repeated as often as needed.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) pieces: Vec<usize>,
    pub(crate) sends: Vec<usize>,
}

impl Schedule {
    pub(crate) fn whole() -> Self {
        Self { pieces: vec![usize::MAX], sends: vec![usize::MAX] }
    }

    #[allow(dead_code, reason = "not every test file needs every schedule")]
    pub(crate) fn byte_by_byte() -> Self {
        Self { pieces: vec![1], sends: vec![1] }
    }

    #[allow(dead_code, reason = "not every test file needs every schedule")]
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let sizes = || {
            let size = prop_oneof![4 => 1usize..4, 3 => 1usize..100, 1 => 1usize..100_000];
            prop::collection::vec(size, 1..12)
        };
        (sizes(), sizes()).prop_map(|(pieces, sends)| Self { pieces, sends })
    }
}

/// Accepts a connection, feeds `script`, ends the input and drives until the connection is over.
pub(crate) fn run<S: Session>(
    engine: &mut Engine<S>,
    script: &[u8],
    schedule: &Schedule,
) -> Outcome {
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).expect("room for a connection");
    drive(engine, id, script, schedule)
}

/// As [`run`], on a connection that is open. Time stands still.
pub(crate) fn drive<S: Session>(
    engine: &mut Engine<S>,
    id: ConnId,
    script: &[u8],
    schedule: &Schedule,
) -> Outcome {
    let now = Tick::ZERO;
    let mut pieces = schedule.pieces.iter().cycle();
    let mut sends = schedule.sends.iter().cycle();
    let (mut fed, mut ended) = (0, false);
    let mut bytes = Vec::new();
    loop {
        let wants = engine.wants(id);
        if wants.has(Wants::CLOSE) {
            let reason = engine.close_reason(id);
            engine.release(id, now);
            return Outcome { bytes, reason };
        }
        let mut moved = false;
        if wants.has(Wants::READ) {
            if fed < script.len() {
                let n = (*pieces.next().unwrap()).min(script.len() - fed);
                fed += engine.receive(id, now, &script[fed..fed + n]);
                moved = true;
            } else if !ended {
                engine.end_of_input(id, now);
                ended = true;
                moved = true;
            }
        }
        if engine.wants(id).has(Wants::WRITE) {
            let mut n = (*sends.next().unwrap()).min(10_000_000);
            let before = bytes.len();
            for slice in engine.outgoing(id) {
                let part = n.min(slice.len());
                bytes.extend_from_slice(&slice[..part]);
                n -= part;
            }
            engine.sent(id, now, bytes.len() - before);
            moved = true;
        }
        if engine.wants(id).has(Wants::AGAIN) {
            engine.resume(id, now);
            moved = true;
        }
        if engine.wants(id).has(Wants::SHUTDOWN) {
            engine.was_shut_down(id, now);
            moved = true;
        }
        if let Some((job, work)) = engine.next_job(now) {
            engine.complete(now, job, drywire::conn::Job::run(work));
            moved = true;
        }
        moved |= engine.next_dirty(now).is_some();
        assert!(moved, "stuck with {wants:?} after {fed} of {} bytes", script.len());
    }
}
