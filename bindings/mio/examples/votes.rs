//! A protocol from nothing, explained line by line in `docs/write-a-protocol.md`.
//! Run it: `cargo run -p drywire-mio --example votes`, then `nc 127.0.0.1 9000`.

use drywire::Tick;
use drywire::conn::{
    Cx, Deadline, Fault, FaultKind, Intake, Limits, NoJob, Outbox, Peer, Session, Stop, Taken,
};
use drywire::engine::{ConnId, Engine};
use drywire::frame::line::{Lines, State};
use drywire_mio::{Host, Listen};
use std::collections::BTreeMap;
use std::time::Duration;

/// What all connections share.
#[derive(Default)]
pub struct Tally {
    votes: BTreeMap<Vec<u8>, u64>,
    watchers: Vec<ConnId>,
}

/// One connection: `vote NAME` counts, `watch` hears of every vote from then on, `quit` ends.
pub struct Voter {
    lines: State,
    heard: Tick,
}

const LINE_MAX: usize = 64;
const NAMES_MAX: usize = 1000;
const SILENCE_MAX: Duration = Duration::from_secs(60);

impl Session for Voter {
    type Shared = Tally;
    type Message = (Vec<u8>, u64);
    type Job = NoJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self { lines: State::default(), heard: cx.now }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        self.heard = cx.now;
        let codec = Lines::lf_or_crlf(LINE_MAX);
        let mut intake = Intake::new(&codec, self.lines, input);
        while let Some(line) = intake.next(cx)? {
            match line?.payload {
                b"watch" if !cx.shared.watchers.contains(&cx.id) => cx.shared.watchers.push(cx.id),
                b"quit" => {
                    intake.stop(Stop::Closing);
                    break;
                }
                line => match line.strip_prefix(b"vote ") {
                    Some(name) => vote(cx, name),
                    None => cx.out.put(b"error: say vote NAME, watch (once) or quit\n"),
                },
            }
        }
        self.lines = intake.state();
        Ok(intake.taken())
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, (name, votes): Self::Message) {
        put_count(cx.out, &name, votes);
    }

    fn deadline(&self) -> Option<Deadline> {
        Some(Deadline { at: self.heard + SILENCE_MAX, why: "silence" })
    }

    fn on_tick(&mut self, _: &mut Cx<'_, Self>) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::TimedOut, "silent for 60 seconds"))
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        out.put(b"goodbye: ");
        out.put(fault.what.as_bytes());
        out.put(b"\n");
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        cx.shared.watchers.retain(|id| *id != cx.id);
    }
}

fn vote(cx: &mut Cx<'_, Voter>, name: &[u8]) {
    if cx.shared.votes.len() >= NAMES_MAX && !cx.shared.votes.contains_key(name) {
        return cx.out.put(b"error: 1000 names are enough\n");
    }
    let count = cx.shared.votes.entry(name.to_vec()).or_default();
    *count += 1;
    put_count(cx.out, name, *count);
    let message = (name.to_vec(), *count);
    for watcher in cx.shared.watchers.clone() {
        cx.post(watcher, message.clone());
    }
}

fn put_count(out: &mut Outbox, name: &[u8], votes: u64) {
    out.put(name);
    out.put(b" ");
    out.put_u64(votes);
    out.put(b"\n");
}

/// How a host serves it: an engine around the shared state.
pub fn engine() -> Engine<Voter> {
    Engine::new(Tally::default(), Limits::default(), 1000)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = Listen::tcp(([127, 0, 0, 1], 9000));
    let _ended = Host::new().stop_on_signals().serve([listen], engine).bind()?.run()?;
    Ok(())
}
