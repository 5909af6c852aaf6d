//! A small protocol with everything that goes wrong in larger ones: lines, a store, slow answers
//! that must keep their order, an idle limit. Correct, or with one [`Mistake`].
//!
//! ```text
//!   S key value\n  ─►  +\n            G key\n  ─►  =value\n or -\n
//!   W key\n        ─►  as G, slowly    anything else  ─►  ?\n, and the end
//!   (5 s of silence)  ─►  ~\n, and the end
//! ```

use crate::check::{Check, Decided, Entry, SilentIsOver, Spec, answers, by_link, linearize};
use crate::decide::{Decider, Key, Site};
use crate::fault::{Fault, Faults};
use crate::serve::Serve;
use crate::trial::{Run, Trial};
use crate::violation::Violation;
use crate::workload::{Draw, Heard, Said, Workload};
use crate::world::Factory;
use core::convert::Infallible;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{
    Cx, Deadline, Fault as Broken, FaultKind, Job, Limits, Outbox, Peer, Session, Stop, Taken,
};
use drywire::engine::{Engine, JobId};
use std::collections::BTreeMap;

/// What the server gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in the table of planted bugs")]
pub enum Mistake {
    AcksBeforeApply,
    Overtakes,
    NeverReapsMidLine,
    ReapsTooEarly,
    DropsWhenFull,
    SplitsLongLines,
    FaultCancels,
}

const LINE: usize = 64;
const IDLE: Duration = Duration::from_secs(5);

/// The store, and what is wrong with the server.
#[derive(Debug, Default)]
pub struct Store {
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Acknowledged and not applied.
    later: Option<(Vec<u8>, Vec<u8>)>,
    mistake: Option<Mistake>,
}

/// One connection.
#[derive(Debug)]
pub struct Kv {
    mistake: Option<Mistake>,
    heard: Tick,
    mid_line: bool,
    jobs: u32,
}

/// Looks a value up, slowly.
#[derive(Debug)]
pub struct Slow(Vec<u8>);

impl Job for Slow {
    type Output = Vec<u8>;
    fn run(self) -> Vec<u8> {
        self.0
    }
}

impl Kv {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn line(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) -> Result<Option<Stop>, Broken> {
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let full = self.is(Mistake::DropsWhenFull) && cx.out.len() > 60;
        let answer = match words[..] {
            [b"S", key, value] => {
                let (key, value) = (key.to_vec(), value.to_vec());
                let now = match self.mistake {
                    Some(Mistake::AcksBeforeApply) => cx.shared.later.replace((key, value)),
                    _ => Some((key, value)),
                };
                cx.shared.items.extend(now);
                b"+\n".to_vec()
            }
            [b"G", key] => look_up(&cx.shared.items, key),
            [b"W", key] => {
                let answer = look_up(&cx.shared.items, key);
                cx.spawn(Slow(answer));
                self.jobs += 1;
                let waits = !self.is(Mistake::Overtakes);
                return Ok(waits.then_some(Stop::Waiting));
            }
            _ => return Err(Broken::new(FaultKind::Malformed, "no such command")),
        };
        if !full {
            cx.out.put(&answer);
        }
        Ok(None)
    }
}

fn look_up(items: &BTreeMap<Vec<u8>, Vec<u8>>, key: &[u8]) -> Vec<u8> {
    match items.get(key) {
        Some(value) => [b"=", &value[..], b"\n"].concat(),
        None => b"-\n".to_vec(),
    }
}

impl Session for Kv {
    type Shared = Store;
    type Message = Infallible;
    type Job = Slow;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self { mistake: cx.shared.mistake, heard: cx.now, mid_line: false, jobs: 0 }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Broken> {
        if !self.is(Mistake::ReapsTooEarly) || input.contains(&b'\n') {
            self.heard = cx.now;
        }
        let begin = cx.out.mark();
        let mut used = 0;
        loop {
            let rest = &input[used..];
            self.mid_line = !rest.is_empty();
            let window = &rest[..rest.len().min(LINE)];
            let end = match window.iter().position(|b| *b == b'\n') {
                Some(end) => end,
                None if rest.len() >= LINE && self.is(Mistake::SplitsLongLines) => LINE - 1,
                None if rest.len() >= LINE => {
                    return Err(Broken::new(FaultKind::TooLong, "a line over 64 bytes"));
                }
                None => return Ok(Taken { used, stop: Stop::NeedInput(rest.len() + 1) }),
            };
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            used += end + 1;
            match self.line(cx, &rest[..end]) {
                Ok(None) => {}
                Ok(Some(stop)) => return Ok(Taken { used, stop }),
                Err(broken) => {
                    if self.is(Mistake::FaultCancels) {
                        cx.out.truncate(begin);
                    }
                    return Err(broken);
                }
            }
        }
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, answer: Vec<u8>) {
        (self.heard, self.jobs) = (cx.now, self.jobs - 1);
        cx.out.put(&answer);
    }

    fn owes(&self) -> bool {
        self.jobs > 0
    }

    fn deadline(&self) -> Option<Deadline> {
        let never = self.is(Mistake::NeverReapsMidLine) && self.mid_line;
        (!never && self.jobs == 0).then(|| Deadline { at: self.heard + IDLE, why: "idle" })
    }

    fn on_tick(&mut self, _: &mut Cx<'_, Self>) -> Result<(), Broken> {
        Err(Broken::new(FaultKind::TimedOut, "nothing was heard for 5 s"))
    }

    fn on_fault(&mut self, fault: Broken, out: &mut Outbox) {
        match fault.kind {
            FaultKind::TimedOut => out.put(b"~\n"),
            FaultKind::Truncated => {}
            _ => out.put(b"?\n"),
        }
    }
}

/// A request of the small protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `S`
    Set(u8, String),
    /// `G`
    Get(u8),
    /// `W`
    Slow(u8),
    /// A line of so many bytes that no server takes.
    Bad(usize),
}

/// The client's side of the small protocol.
#[derive(Debug)]
pub struct Work;

const KIND: Site = Site::new("op.kind");
const WHICH: Site = Site::new("op.key");
const SIZE: Site = Site::new("op.size");

impl Workload for Work {
    type Request = Request;
    /// `None` is a miss, an acknowledgement or a refusal, by the request.
    type Reply = Option<String>;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let key = draw.below(WHICH, 3) as u8;
        Some(match draw.below(KIND, 24) {
            0 => return None,
            1..9 => {
                let mut value = format!("{}.{}", draw.key.who, draw.key.op);
                let pad = draw.size(SIZE, 40) as usize;
                value.extend(core::iter::repeat_n('x', pad));
                Request::Set(key, value)
            }
            9..18 => Request::Get(key),
            18..23 => Request::Slow(key),
            _ => Request::Bad(draw.size(SIZE, 120) as usize),
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let line = match request {
            Request::Set(key, value) => format!("S {key} {value}\n"),
            Request::Get(key) => format!("G {key}\n"),
            Request::Slow(key) => format!("W {key}\n"),
            // Too long, though it would make sense.
            Request::Bad(len) if *len > LINE => format!("S 0 {}\n", "y".repeat(*len)),
            Request::Bad(len) => format!("{}\n", "G".repeat(len + 2)),
        };
        to.extend_from_slice(line.as_bytes());
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Self::Reply>>, String> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let used = end + 1;
        if line == "~" {
            return Ok(Some(Heard { used, what: Said::Refusal(None) }));
        }
        let request = owed.next();
        let reply = match (request, line.split_at_checked(1)) {
            (Some(Request::Set(..)), Some(("+", "")))
            | (Some(Request::Bad(_)), Some(("?", "")))
            | (Some(Request::Get(_) | Request::Slow(_)), Some(("-", ""))) => None,
            (Some(Request::Get(_) | Request::Slow(_)), Some(("=", value))) => {
                Some(value.to_owned())
            }
            _ => return Err(format!("`{request:?}` was answered with `{line}`")),
        };
        Ok(Some(Heard { used, what: Said::Answer(0, reply) }))
    }

    fn last(&self, request: &Request) -> bool {
        matches!(request, Request::Bad(_))
    }
}

/// A register for each key.
struct Register;

type Access<'a> = (&'a Request, &'a Option<String>);

impl<'a> Spec for &'a Register {
    type State = Option<String>;
    type Op = Access<'a>;

    fn start(&self) -> Option<String> {
        None
    }

    fn step(&self, state: &Option<String>, (request, reply): &Access<'a>) -> Option<Self::State> {
        match request {
            Request::Set(_, value) => Some(Some(value.clone())),
            _ => (*reply == state).then(|| state.clone()),
        }
    }
}

/// Linearizability, by the order in which the server answered. A slow read may have looked at any
/// time between its line and its answer.
struct Linear;

impl Check<Work> for Linear {
    fn check(&self, run: &Run<'_, Work>) -> Result<u64, Violation> {
        let links = by_link(run);
        if links.keys().any(|link| run.tainted(*link)) {
            return Ok(0);
        }
        let mut answered = BTreeMap::new();
        for (link, ops) in &links {
            answered.insert(*link, answers(run, *link, ops)?);
        }
        let mut histories: [Vec<Entry<Access<'_>>>; 3] = Default::default();
        for (link, ops) in &links {
            let transcript = &run.transcripts()[link.0 as usize];
            let answered = answered[link].iter();
            for (nth, (op, answer)) in ops.iter().zip(answered).enumerate() {
                let Some((reply, call)) = answer else { continue };
                let place = |event: u64| (event << 20) | nth as u64;
                let (key, from) = match &op.request {
                    Request::Set(key, _) | Request::Get(key) => (*key, call),
                    Request::Slow(key) => (*key, transcript.feeding(op.bytes.end).unwrap_or(call)),
                    Request::Bad(_) => continue,
                };
                let (call, ret) = (place(from.event), Some(place(call.event)));
                let entry = Entry { call, ret, op: (&op.request, reply) };
                histories[usize::from(key) % 3].push(entry);
            }
        }
        let mut undecided = 0;
        for history in histories {
            match linearize(&&Register, &history, 100_000) {
                Decided::Yes => {}
                Decided::Undecided => undecided += 1,
                Decided::No(n) => {
                    let text = format!("no register answers like this after {n} operations");
                    return Err(Violation::new("linearizable", text));
                }
            }
        }
        Ok(undecided)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

const INPUT: Site = Site::new("kv.output");

/// The server, right or wrong.
pub fn serve(decider: &mut Decider, mistake: Option<Mistake>) -> Factory {
    let mut limits = Limits { input: 4096, ..Limits::default() };
    limits.output_high >>= decider.below(INPUT, Key::default(), 11);
    limits.output_low = limits.output_high / 4;
    Box::new(move |life| {
        let store = Store { mistake, ..Store::default() };
        let engine: Engine<Kv> = Engine::new(store, limits, 1000);
        Box::new(Serve::new(engine).workers(2).cap(160 << 10).life(life))
    })
}

/// The small protocol under fire.
#[must_use]
pub fn trial(name: &str, mistake: Option<Mistake>) -> Trial<Work> {
    // What freezes or replaces the server also moves or excuses its deadlines.
    let faults = Faults::all().except(&[
        Fault::Freeze,
        Fault::Clock,
        Fault::Crash,
        Fault::PowerLoss,
        Fault::Drain,
    ]);
    Trial::of(name, move |decider| serve(decider, mistake), |_| Work)
        .faults(faults)
        .keepalive(Duration::from_secs(20))
        .expect(Linear)
        .expect(SilentIsOver { after: IDLE, slack: Duration::from_secs(2) })
}
