//! Whether a run of memcached is linearizable.

use crate::check::{Check, Decided, Entry, Spec, answers, by_link, linearize};
use crate::memcache::model::{KeyOp, Model};
use crate::memcache::work::{KEYS, Memcache, Reply, Request};
use crate::transcript::Call;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::{Op, Outcome};
use std::collections::BTreeMap;

/// Holds each server to the order in which it executed the requests, which its transcript gives:
/// the check is linear in the history. Only where that order is not certain (a quiet request
/// behind a full output, a list of keys served in several turns) does it search.
///
/// Where a bit was flipped on the way to the server, it may have been told anything: the keys of
/// such a run are not judged.
#[derive(Clone, Copy, Debug)]
pub struct Witness;

/// Judges by what clients saw alone: for servers in another process. The workload must not use
/// times to live. A server that is started again meanwhile begins another life:
/// [`ClientSide::judge_lives`].
#[derive(Clone, Copy, Debug)]
pub struct ClientSide {
    /// The server's item size limit.
    pub item_max: u32,
}

/// Steps that a search may take for one key.
const BUDGET: u64 = 200_000;
const SECOND: u64 = 1_000_000_000;

/// Before the first call.
const START: Call =
    Call { event: 0, now: 0, real: 0, fed: 0, produced: 0, sent: 0, caught_up: true };

/// The server's clock, in seconds: see [`KeyOp`].
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    began: u64,
    since: u64,
    now: u64,
}

impl Times {
    const fn at(call: &Call) -> Self {
        let now = call.now / SECOND;
        Self { began: now, since: now, now }
    }
}

fn later(a: &Call, b: &Call) -> Call {
    if a.event >= b.event { *a } else { *b }
}

type Asked = Op<Request, Reply>;
/// What was done to one key, in one life of the server.
type Histories<'a> = BTreeMap<(u32, u8), Vec<Entry<KeyOp<'a>>>>;

impl Check<Memcache> for Witness {
    fn check(&self, run: &Run<'_, Memcache>) -> Result<u64, Violation> {
        let links = by_link(run);
        if links.keys().any(|link| run.server_tainted(*link)) {
            return Ok(0);
        }
        let mut replies = BTreeMap::new();
        for (link, ops) in &links {
            let replied: Vec<_> = answers(run, *link, ops)?.into_iter().flatten().collect();
            replies.insert(*link, replied);
        }
        let mut histories = Histories::new();
        let mut item_max = 1 << 20;
        for (link, ops) in &links {
            let transcript = &run.transcripts()[link.0 as usize];
            item_max = if transcript.remark > 0 { transcript.remark as u32 } else { item_max };
            let mut answered = replies[link].iter();
            let mut last = START;
            for (nth, op) in ops.iter().enumerate() {
                // A value is behind its line, and the line is what a server looks at first.
                let line = op.bytes.end - op.request.body().min(op.bytes.end - op.bytes.start);
                let Some(begun) = transcript.feeding(line) else { break };
                let place = |event: u64| (event << 20) | nth as u64;
                // A value that is too large drops the old one as soon as its line is read.
                let refused = Model::new(item_max).refuses(&op.request);
                let executed = transcript.feeding(op.bytes.end).and_then(|fed| {
                    if op.silent {
                        let first = if refused { begun } else { fed };
                        let mut calls = transcript.calls.iter();
                        let until = calls.find(|c| c.event >= fed.event && c.caught_up);
                        return Some((later(first, &last), until, None));
                    }
                    let (reply, call) = answered.next()?;
                    let from = match &op.request {
                        Request::Get { keys, .. } if keys.len() > 1 => later(fed, &last),
                        _ if refused => later(begun, &last),
                        _ => *call,
                    };
                    last = *call;
                    Some((from, Some(call), Some(reply)))
                });
                let Some((from, until, reply)) = executed else {
                    // Cut off: anything else must not have had an effect.
                    if refused {
                        let entry = (place(begun.event), None, Times::at(begun));
                        project(&mut histories, transcript.life, &op.request, None, entry);
                    }
                    break;
                };
                let until_now = until.map_or(u64::MAX, |c| c.now);
                let times = Times {
                    began: begun.now.min(until_now) / SECOND,
                    since: from.now / SECOND,
                    now: until_now / SECOND,
                };
                let entry = (place(from.event), until.map(|c| place(c.event)), times);
                project(&mut histories, transcript.life, &op.request, reply, entry);
            }
        }
        judge(Model::new(item_max), histories)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

impl Check<Memcache> for ClientSide {
    fn check(&self, run: &Run<'_, Memcache>) -> Result<u64, Violation> {
        self.judge(run.history)
    }
}

impl ClientSide {
    /// Judges a history; returns how many keys could not be decided.
    ///
    /// # Errors
    /// The key whose history no memcached could have produced.
    pub fn judge(&self, history: &[Asked]) -> Result<u64, Violation> {
        self.judge_lives(history, |_| 0)
    }

    /// The same, where `life` says which life of the server an operation belongs to: each begins
    /// without items.
    ///
    /// # Errors
    /// The key whose history no memcached could have produced.
    pub fn judge_lives(
        &self,
        history: &[Asked],
        life: impl Fn(&Asked) -> u32,
    ) -> Result<u64, Violation> {
        let mut histories = Histories::new();
        for (nth, op) in history.iter().enumerate() {
            let place = |t: drywire::Tick| (t.0 << 12) | (nth as u64 & 0xfff);
            let (until, reply) = match &op.outcome {
                Outcome::Answered(reply) => (op.returned, Some(reply)),
                Outcome::Refused => continue,
                // In effect before a later request of the connection is answered.
                Outcome::Silent => (
                    history[nth..]
                        .iter()
                        .filter(|o| o.link == op.link && o.caller == op.caller)
                        .find(|o| matches!(o.outcome, Outcome::Answered(_)))
                        .and_then(|o| o.returned),
                    None,
                ),
                Outcome::Pending | Outcome::Failed(_) | Outcome::Abandoned => (None, None),
            };
            let entry = (place(op.invoked), until.map(place), Times::default());
            project(&mut histories, life(op), &op.request, reply, entry);
        }
        judge(Model::new(self.item_max), histories)
    }
}

/// Enters a request in the history of each key it concerns.
fn project<'a>(
    histories: &mut Histories<'a>,
    life: u32,
    request: &'a Request,
    reply: Option<&'a Reply>,
    (call, ret, times): (u64, Option<u64>, Times),
) {
    let mut enter = |key: u8, hit: Option<usize>| {
        // Only the time to live of a value may be counted from its line.
        let stores = matches!(request, Request::Store { .. });
        let Times { began, since, now } = times;
        let began = if stores { began } else { since };
        let op = KeyOp { request, key, reply, hit, began, since, now };
        histories.entry((life, key)).or_default().push(Entry { call, ret, op });
    };
    match request {
        Request::Store { key, .. }
        | Request::Delete { key, .. }
        | Request::Count { key, .. }
        | Request::Touch { key, .. } => enter(*key, None),
        Request::Get { keys, .. } => {
            let mut hits: &[_] = &[];
            if let Some(Reply::Values(values)) = reply {
                hits = values;
            }
            let mut next = 0;
            for key in keys {
                let hit = hits.get(next).is_some_and(|(k, ..)| k == key).then_some(next);
                next += usize::from(hit.is_some());
                enter(*key, hit);
            }
        }
        Request::Flush { .. } => (0..KEYS).for_each(|key| enter(key, None)),
        Request::Version | Request::Bad(_) | Request::Quit => {}
    }
}

fn judge(model: Model<'_>, histories: Histories<'_>) -> Result<u64, Violation> {
    let mut undecided = 0;
    for ((_, key), mut history) in histories {
        history.sort_by_key(|e| e.ret.unwrap_or(u64::MAX));
        let Some(wrong) = replay(model, &history) else { continue };
        match linearize(&model, &history, BUDGET) {
            Decided::Yes => {}
            Decided::Undecided => undecided += 1,
            Decided::No(_) => return Err(complain(key, &history, wrong)),
        }
    }
    Ok(undecided)
}

/// Runs the history in its most likely order; the first operation that does not fit, if any.
fn replay<'a>(model: Model<'a>, history: &[Entry<KeyOp<'a>>]) -> Option<usize> {
    let mut state = model.start();
    for (nth, entry) in history.iter().enumerate() {
        if entry.ret.is_none() {
            continue;
        }
        match model.step(&state, &entry.op) {
            Some(next) => state = next,
            None => return Some(nth),
        }
    }
    None
}

fn complain(key: u8, history: &[Entry<KeyOp<'_>>], wrong: usize) -> Violation {
    let show = |e: &Entry<KeyOp<'_>>| {
        let (from, to) =
            (e.call >> 20, e.ret.map_or_else(|| "?".to_owned(), |r| (r >> 20).to_string()));
        format!("[{from}, {to}] {}", brief(&e.op))
    };
    let last: Vec<String> =
        history.iter().take(wrong + 8).skip(wrong.saturating_sub(8)).map(show).collect();
    Violation::new(
        "linearizable",
        format!("no memcached answers like this about one key: `k{key}: {}`", last.join("; ")),
    )
}

/// A request and what came of it, as far as one key is concerned, in few words.
fn brief(op: &KeyOp<'_>) -> String {
    let text = |bytes: &[u8]| {
        let cut = bytes.len().min(16);
        format!("\"{}\"({})", bytes[..cut].escape_ascii(), bytes.len())
    };
    let asked = match op.request {
        Request::Store { verb, flags, ttl, value, .. } => {
            format!("{verb:?} flags {flags} ttl {ttl} {}", text(value))
        }
        Request::Get { cas, touch, .. } => format!("get cas {cas} touch {touch:?}"),
        other => format!("{other:?}"),
    };
    let got = match (op.reply, op.hit) {
        (Some(Reply::Values(values)), Some(hit)) => {
            let (_, flags, token, value) = &values[hit];
            format!("flags {flags} cas {token:?} {}", text(value))
        }
        (Some(Reply::Values(_)), None) => "miss".to_owned(),
        (Some(reply), _) => format!("{reply:?}"),
        (None, _) => "?".to_owned(),
    };
    format!("{}s {asked} -> {got}", op.now)
}
