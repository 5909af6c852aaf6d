//! What a server that keeps the guards' rules promises.

use super::life::{Life, Told, living, ns, over, pending};
use super::session::TOLD_AT_MOST;
use super::{DEPARTURE, Guest, INTERVAL, REQUEST, Reply, Request, TIMEOUT, Watch};
use crate::check::{Check, answers, by_link, time_was_tampered_with};
use crate::net::LinkId;
use crate::transcript::{Call, Transcript};
use crate::trial::Run;
use crate::violation::Violation;
use drywire::conn::Limits;
use drywire::guard::PingFloodConfig;
use std::collections::BTreeMap;

/// How late a loop is if its clock shows 1.2 ns a nanosecond.
const ROUNDED: u64 = 1;

type Checked = Result<u64, Violation>;

fn wrong(checker: &'static str, link: usize, text: &str) -> Checked {
    Err(Violation::new(checker, format!("link {link}: {text}")))
}

fn said(transcript: &Transcript, words: &[u8]) -> bool {
    transcript.produced.ends_with(words)
}

macro_rules! check {
    ($(#[$doc:meta])* $name:ident = $f:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Check<Guest> for $name {
            fn check(&self, run: &Run<'_, Guest>) -> Checked {
                for (link, transcript) in run.transcripts().iter().enumerate() {
                    if !transcript.calls.is_empty() {
                        $f(run, link, transcript)?;
                    }
                }
                Ok(0)
            }

            fn needs_transcripts(&self) -> bool {
                true
            }
        }
    };
}

check! {
    /// The silent are dead after three intervals, not before and not much later; the slow and the
    /// living never. Time in which the server itself was away is nobody's silence.
    Alive = alive
}
check! {
    /// Who is silent is asked, in time and whatever else is on its way to it.
    Asked = asked
}
check! {
    /// A request is there in time or its connection ends, however its bytes drip in; and no other
    /// one ends for that.
    Requests = requests
}
check! {
    /// Who pings without end is stopped, and nobody else.
    Floods = floods
}
check! {
    /// Who does not read is given up in time, by each of the three limits, and nobody else.
    Gates = gates
}

/// What the clock jumps by more than this is given back, but for the time that counts as no stall.
const JUMP: u64 = 8_000_000_000;
const JUMP_LOST: u64 = 1_050_000_000;
/// All large jumps are multiples of this.
const TEN: u64 = 10_000_000_000;

/// The silence in `calls` by the server's clock, without what it jumped over.
fn silence(calls: &[Call]) -> u64 {
    let spans = calls.windows(2).map(|pair| {
        let (now, real) = (pair[1].now - pair[0].now, pair[1].real - pair[0].real);
        match now.saturating_sub(real) {
            0..JUMP => now,
            // There may have been several, and small ones among them that are no stall.
            jumped => real * 6 / 5 + JUMP_LOST * jumped.div_ceil(TEN) + jumped % TEN,
        }
    });
    spans.sum()
}

fn alive(run: &Run<'_, Guest>, link: usize, transcript: &Transcript) -> Checked {
    let tampered = time_was_tampered_with(run);
    lived(link, transcript, Hours { end: run.world.now().0, tampered, slack: ROUNDED })
}

/// What is known of a server's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hours {
    /// When nobody looked any more.
    pub(crate) end: u64,
    /// It was frozen or its clock moved.
    pub(crate) tampered: bool,
    /// How late its loop may be.
    pub(crate) slack: u64,
}

/// [`Alive`], of one connection.
pub(crate) fn lived(link: usize, transcript: &Transcript, hours: Hours) -> Checked {
    let calls = living(transcript);
    let Some(life) = Life::of(calls) else { return Ok(0) };
    let silent = said(transcript, b"~s\n") || transcript.timed_out.is_some();
    let silent = silent && !said(transcript, b"~r\n");
    if silent && transcript.unread > 0 {
        let text = format!("given up as silent with {} bytes unread", transcript.unread);
        return wrong("heartbeat", link, &text);
    }
    let sign = life.sign.min(if life.pending > 0 { life.progress } else { u64::MAX });
    let from = transcript.calls.partition_point(|call| call.now < sign);
    let given_up = transcript.calls.iter().position(|c| Some(c.now) == transcript.timed_out);
    if silent
        && let Some(until) = given_up.filter(|until| from <= *until)
        && let silence = silence(&transcript.calls[from..=until])
        && silence < ns(TIMEOUT)
    {
        let text = format!("given up after {silence} ns of silence");
        return wrong("heartbeat", link, &text);
    }
    if hours.tampered {
        return Ok(0);
    }
    let end = over(transcript, hours.end);
    if silent {
        // A drain may end it before its silence is noticed, in its last words.
        let drained =
            transcript.drained.and_then(|_| transcript.producing(transcript.produced.len() as u64));
        let dead = drained.map_or(end, |words| end.max(words.now));
        let stalled = life.pending > 0 && dead >= life.progress + ns(TIMEOUT);
        if dead < life.sign + ns(TIMEOUT) && !stalled {
            let text = format!("dead at {dead} ns, and it lived at {} ns", life.sign);
            return wrong("heartbeat", link, &text);
        }
    }
    // A question that could not leave waits for its answer no longer than all output does.
    let due = life.sign.max(if life.pending > 0 { life.progress } else { 0 }) + ns(TIMEOUT);
    if end > due + hours.slack {
        let text = format!("kept until {end} ns, and it was dead at {due} ns");
        return wrong("heartbeat", link, &text);
    }
    Ok(0)
}

fn asked(run: &Run<'_, Guest>, link: usize, transcript: &Transcript) -> Checked {
    if time_was_tampered_with(run) || Told::of(transcript).watch != Watch::Pings {
        return Ok(0);
    }
    let calls = living(transcript);
    let end = over(transcript, run.world.now().0);
    let pings: Vec<u64> = memchr::memchr_iter(b'?', &transcript.produced)
        .filter_map(|at| transcript.producing(at as u64 + 1))
        .map(|call| call.now)
        .collect();
    let mut heard = calls[..calls.len().min(1)].to_vec();
    heard.extend(calls.windows(2).filter(|p| p[1].fed > p[0].fed).map(|p| p[1]));
    for (nth, from) in heard.iter().enumerate() {
        // The first question is early or late by up to a fifth.
        let by = if nth == 0 { ns(INTERVAL) * 6 / 5 } else { ns(INTERVAL) };
        let until = heard.get(nth + 1).map_or(end, |next| next.now);
        let asked = pings.iter().any(|at| *at >= from.now && *at <= from.now + by + ROUNDED);
        if until > from.now + by + ROUNDED && !asked {
            let text = format!("silent from {} ns to {until} ns, and not asked", from.now);
            return wrong("heartbeat", link, &text);
        }
    }
    Ok(0)
}

fn requests(run: &Run<'_, Guest>, link: usize, transcript: &Transcript) -> Checked {
    if time_was_tampered_with(run) || run.server_tainted(LinkId(link as u32)) {
        return Ok(0);
    }
    let end = over(transcript, run.world.now().0);
    let given_up = said(transcript, b"~r\n");
    for op in run.history.iter().filter(|op| op.link.0 as usize == link) {
        let done = transcript.feeding(op.bytes.end).map_or(u64::MAX, |call| call.now);
        let Some(first) = transcript.feeding(op.bytes.start + 1) else { continue };
        if first.now == done || matches!(op.request, Request::Pings(_)) {
            continue;
        }
        // While answers are not taken, the output gate judges; then it looks at what comes next.
        let mut began = None;
        let (mut fed, mut until) = (op.bytes.start, first.now);
        for call in transcript.calls.iter().filter(|c| c.fed > op.bytes.start && c.now < end) {
            until = call.now;
            if pending(call) > 0 || began.is_some_and(|at| until > at + ns(REQUEST) + ROUNDED) {
                began = began.filter(|_| pending(call) == 0);
            } else if call.caught_up && call.fed > fed {
                began = began.or(Some(call.now));
            }
            if call.fed >= op.bytes.end {
                break;
            }
            fed = call.fed;
        }
        let until = if done == u64::MAX { end } else { until };
        if let Some(began) = began
            && until > began + ns(REQUEST) + ROUNDED
        {
            let text = format!(
                "operation {}.{} began at {began} ns and is waited for at {end} ns",
                op.caller, op.number
            );
            return wrong("request", link, &text);
        }
    }
    // Half a ping or pong also is the beginning of a request.
    let fed = living(transcript).last().map_or(0, |call| call.fed);
    let mut ops = run.history.iter().filter(|op| op.link.0 as usize == link);
    let inside = ops.find(|op| {
        let asks = !matches!(op.request, Request::Pings(_));
        asks && op.bytes.start < fed && fed < op.bytes.end
    });
    if given_up
        && let Some(first) = inside.and_then(|op| transcript.feeding(op.bytes.start + 1))
        && end < first.now + ns(REQUEST)
    {
        let text = format!("ended at {end} ns for a request that began at {} ns", first.now);
        return wrong("request", link, &text);
    }
    Ok(0)
}

fn floods(run: &Run<'_, Guest>, link: usize, transcript: &Transcript) -> Checked {
    let config = PingFloodConfig::DEFAULT;
    let fed = transcript.fed();
    let (mut pings, mut guilty) = (0, false);
    for op in run.history.iter().filter(|op| op.link.0 as usize == link) {
        let Request::Pings(n) = op.request else { continue };
        if op.bytes.start < fed {
            pings += n;
        }
        let began = transcript.feeding(op.bytes.start + 1);
        let ended = transcript.feeding(op.bytes.end);
        if let (Some(began), Some(ended)) = (began, ended)
            && ended.now - began.now < ns(config.gap) / 2
            && ended.caught_up
        {
            // Those at once, one more in that time, and the strikes before and behind that.
            guilty |= n > config.burst + 1 + 2 * config.strikes;
        }
    }
    if run.server_tainted(LinkId(link as u32)) {
        return Ok(0);
    }
    let kicked = said(transcript, b"~f\n");
    if kicked && pings <= config.burst + config.strikes {
        return wrong("flood", link, &format!("ended for {pings} pings"));
    }
    if guilty && !kicked && !time_was_tampered_with(run) {
        return wrong("flood", link, "a flood of pings was served to its end");
    }
    Ok(0)
}

fn gates(run: &Run<'_, Guest>, link: usize, transcript: &Transcript) -> Checked {
    let told = Told::of(transcript);
    let calls = living(transcript);
    let Some(first) = calls.first() else { return Ok(0) };
    let end = over(transcript, run.world.now().0);
    let mut life = Life::new(first);
    let mut soft_since = None;
    let tampered = time_was_tampered_with(run);
    for at in 0..calls.len() {
        let call = calls[at];
        if at > 0 {
            life.next(&calls[at - 1], &call);
        }
        match (life.pending > told.soft, soft_since) {
            (true, None) => soft_since = Some(call.now),
            (false, _) => soft_since = None,
            _ => {}
        }
        // The largest message goes beyond.
        if life.pending >= told.hard + TOLD_AT_MOST {
            return wrong("gate", link, &format!("{} bytes are pending", life.pending));
        }
        let until = calls.get(at + 1).map_or(end, |next| next.now);
        let stuck = life.pending > 0 && until > life.progress + told.no_progress + ROUNDED;
        let fat = soft_since.is_some_and(|since| until > since + told.soft_for + ROUNDED);
        if (stuck || fat) && !tampered {
            let text = format!("{} bytes are pending at {until} ns: {life:?}", life.pending);
            return wrong("gate", link, &text);
        }
    }
    match transcript.kicked {
        Some(kicked) if !tampered => given_up(run, link, &told, kicked),
        _ => Ok(0),
    }
}

/// Whether there was a reason to give up a slow reader.
fn given_up(run: &Run<'_, Guest>, link: usize, told: &Told, kicked: u64) -> Checked {
    let transcript = &run.transcripts()[link];
    // Nothing is called on a connection that was given up.
    let Some((last, calls)) = transcript.calls.split_last() else { return Ok(0) };
    let Some(life) = Life::of(calls) else { return Ok(0) };
    let fat = calls.iter().rposition(|call| pending(call) <= told.soft).map_or(0, |at| at + 1);
    let fat = calls.get(fat).is_some_and(|since| kicked >= since.now + told.soft_for);
    let waits = life.pending > 0;
    // Whose end has begun has the time of a drain to take what is owed, and no gate; but who is
    // drained with requests that wait for room has the gate until the last of them.
    let closing = transcript.over.filter(|over| *over < kicked).unwrap_or(0);
    let gated = closing == 0 || transcript.drained.is_some();
    let stuck = waits
        && (gated && kicked >= life.progress + told.no_progress
            || kicked >= life.progress.max(closing) + ns(Limits::DEFAULT.drain_stall));
    if stuck || fat && gated {
        return Ok(0);
    }
    // What is told is added in the calls of others, and not seen here if it is too much: then
    // there was enough before the last of it.
    let since = calls.last().map_or(0, |call| call.event);
    let Some(told_since) = told_between(run, transcript.life, since, last.event)? else {
        return Ok(0);
    };
    if life.pending + told_since < told.hard {
        let text = format!("given up as a slow reader at {kicked} ns: {life:?}, {told_since} told");
        return wrong("gate", link, &text);
    }
    Ok(0)
}

/// At most so many bytes were told by one life of the server between two of its calls, before the
/// last that it told; `None` if bits were flipped on their way to it.
fn told_between(
    run: &Run<'_, Guest>,
    life: u32,
    since: u64,
    until: u64,
) -> Result<Option<u64>, Violation> {
    let (mut bytes, mut least) = (0, u64::MAX);
    for (link, ops) in by_link(run) {
        let transcript = &run.transcripts()[link.0 as usize];
        if transcript.life != life {
            continue;
        }
        for (op, answer) in ops.iter().zip(answers(run, link, &ops)?) {
            let Request::Tell(size) = op.request else { continue };
            // Without an answer it may have been executed at any time since it was read.
            let now = match (answer, transcript.feeding(op.bytes.end)) {
                (Some((Reply::Done, call)), _) => since < call.event && call.event <= until,
                (Some(_), _) | (None, None) => false,
                (None, Some(fed)) => fed.event <= until,
            };
            if now && run.server_tainted(link) {
                return Ok(None);
            }
            if now {
                let size = u64::from(size) * 1000 + 2;
                (bytes, least) = (bytes + size, least.min(size));
            }
        }
    }
    Ok(Some(bytes.saturating_sub(least)))
}

/// A server that goes away refuses what comes then, not executed; closes its connections one by
/// one; and is gone in time, whoever holds on.
#[derive(Clone, Copy, Debug)]
pub struct Departs;

impl Check<Guest> for Departs {
    fn check(&self, run: &Run<'_, Guest>) -> Checked {
        let links = by_link(run);
        let tampered = time_was_tampered_with(run);
        // By life: when each connection was ended by the server itself.
        let mut closes: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (link, transcript) in run.transcripts().iter().enumerate() {
            let id = LinkId(link as u32);
            let Some(began) = transcript.departing else { continue };
            let end = over(transcript, run.world.now().0);
            let gone = [transcript.released, transcript.cut].into_iter().flatten().min();
            let gone = gone.unwrap_or_else(|| run.world.now().0);
            if gone > began + ns(DEPARTURE.hard) + ROUNDED && !tampered {
                let text = format!("the server left at {began} ns, it is here at {gone} ns");
                return wrong("drain", link, &text);
            }
            if transcript.drained.is_some() {
                closes.entry(transcript.life).or_default().push(end);
            }
            let (Some(refusing), Some(ops)) = (transcript.refusing, links.get(&id)) else {
                continue;
            };
            if run.tainted(id) {
                continue;
            }
            for (op, answer) in ops.iter().zip(answers(run, id, ops)?) {
                let late = transcript.feeding(op.bytes.end).is_some_and(|c| c.now > refusing);
                // Of what was read before, but waited, nobody knows.
                let waited = transcript.calls.iter().rfind(|c| c.now <= refusing);
                let late = late && waited.is_some_and(|call| call.fed <= op.bytes.start);
                if late && matches!(answer, Some((Reply::Done, _))) {
                    let text = format!("{:?} was executed after work was refused", op.request);
                    return wrong("drain", link, &text);
                }
            }
        }
        for (life, mut times) in closes {
            times.sort_unstable();
            let gap = ns(DEPARTURE.spread) / held(run, life).max(1);
            let early = times.windows(2).find(|pair| pair[1] - pair[0] + 2 * ROUNDED < gap);
            if let Some(pair) = early.filter(|_| !tampered) {
                let text = format!("life {life} closed two at {pair:?} ns, less than {gap} apart");
                return Err(Violation::new("drain", text));
            }
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

/// How many connections a life of the server may have held when it began to close them.
fn held(run: &Run<'_, Guest>, life: u32) -> u64 {
    let of = run.transcripts().iter().filter(|t| t.life == life && !t.calls.is_empty());
    let refusing = of.clone().find_map(|t| t.refusing).unwrap_or(0);
    of.filter(|t| t.released.is_none_or(|at| at >= refusing)).count() as u64
}
