//! What a hub promises, beyond what each client sees for itself.

use super::ledger::{Account, When, accounts};
use super::work::{
    CLOCK, Hub, Name, Reply, Request, TOPICS, Topic, coalesces, head, kicks, spills,
};
use crate::check::{Check, time_was_tampered_with};
use crate::fanout::{Item, Shape, Streams, UNDER_WAY, behind, meets_its_fate, speaks_freely};
use crate::trial::Run;
use crate::violation::Violation;
use core::time::Duration;
use drywire::hub::utc_time;
use std::collections::{BTreeMap, BTreeSet};

/// One order for everybody who follows a topic, without a gap in silence; a new subscriber begins
/// with the last value or a later one, never with an older one; whoever is there when a value is
/// published and stays gets it, is told of its loss, or gets a later one where only the latest
/// counts.
#[derive(Clone, Copy, Debug)]
pub struct OneOrder;

fn wrong<T>(checker: &'static str, text: String) -> Result<T, Violation> {
    Err(Violation::new(checker, text))
}

impl Check<Hub> for OneOrder {
    fn check(&self, run: &Run<'_, Hub>) -> Result<u64, Violation> {
        let accounts = accounts(run).or_else(|text| wrong("reply", text))?;
        keeps_the_latest(&accounts)?;
        let mut order = Streams::default();
        heard(run, &mut order)?;
        // Between engines things take their time, which a frozen host or a clock makes longer.
        let mut published = Published::default();
        if accounts.iter().all(|a| a.promise.loops == 1) || !time_was_tampered_with(run) {
            published = publish(&accounts, &mut order);
            begin(run, &accounts, &published, &mut order);
        }
        order.check(true).or_else(|text| wrong("order", text))?;
        delivered(&accounts, &published, &order)?;
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

/// By client and topic: its last subscription, and what it heard.
type Heard = BTreeMap<(u32, Topic), (u32, Vec<Item<Name>>)>;

/// What each client heard of each topic, on all its connections.
fn heard(run: &Run<'_, Hub>, order: &mut Streams<Name>) -> Result<(), Violation> {
    let mut streams = Heard::new();
    for word in run.heard {
        match &word.what {
            Reply::Value(name, sub) => {
                let stream = streams.entry((word.caller, name.topic));
                let (at, stream) = stream.or_insert_with(|| (*sub, Vec::new()));
                if core::mem::replace(at, *sub) != *sub {
                    stream.push(Item::Anew);
                } else if coalesces(name.topic) {
                    // What was replaced is not told.
                    stream.push(Item::Gap(None));
                }
                stream.push(Item::Heard(*name));
            }
            Reply::Lost(topic, count) => {
                let stream = streams.entry((word.caller, *topic));
                let exact = (!coalesces(*topic)).then_some(*count);
                stream.or_default().1.push(Item::Gap(exact));
            }
            _ => {}
        }
    }
    for (_, (_, stream)) in streams {
        order.hear(stream).or_else(|text| wrong("order", text))?;
    }
    Ok(())
}

/// By topic and life of the server: what was published, and when.
type Published = BTreeMap<(Topic, u32), Vec<(Name, When)>>;

/// What was published earlier is earlier in the order.
fn publish(accounts: &[Account<'_>], order: &mut Streams<Name>) -> Published {
    let mut published = Published::new();
    let mut loops = 1;
    for account in accounts {
        loops = account.promise.loops;
        let mut last: BTreeMap<Topic, Name> = BTreeMap::new();
        for (name, when) in account.pubs() {
            published.entry((name.topic, account.transcript.life)).or_default().push((name, when));
            // One publisher's keep their order, whatever is known of the time.
            if let Some(before) = last.insert(name.topic, name) {
                order.before(before, name);
            }
        }
    }
    for values in published.values_mut() {
        values.sort_by_key(|(_, when)| when.from.event);
        for (at, (name, when)) in values.iter().enumerate() {
            let mut before = values[..at].iter().rev().filter(|(_, w)| w.is_before(when, loops));
            if let Some((before, _)) = before.next() {
                order.before(*before, *name);
            }
        }
    }
    published
}

/// The first value of a subscription is none that was published before the last one.
fn begin(
    run: &Run<'_, Hub>,
    accounts: &[Account<'_>],
    published: &Published,
    order: &mut Streams<Name>,
) {
    let mut firsts: BTreeMap<(u32, u32), Name> = BTreeMap::new();
    for word in run.heard {
        if let Reply::Value(name, sub) = word.what {
            firsts.entry((word.caller, sub)).or_insert(name);
        }
    }
    for account in accounts {
        let caller = account.ops.first().map_or(0, |op| op.caller);
        for (topic, nth, when) in account.subs() {
            let Some(first) = firsts.get(&(caller, nth)) else { continue };
            for before in last_before(account, topic, &when, published) {
                order.before(before, *first);
            }
        }
    }
}

/// What was surely published before a subscription: of each publisher the last value.
fn last_before(
    account: &Account<'_>,
    topic: Topic,
    when: &When,
    published: &Published,
) -> Vec<Name> {
    let values = published.get(&(topic, account.transcript.life));
    let before = values.into_iter().flatten();
    let before = before.filter(|(_, value)| value.is_before(when, account.promise.loops));
    let mut last: BTreeMap<u32, Name> = BTreeMap::new();
    for (name, _) in before {
        let last = last.entry(name.who).or_insert(*name);
        *last = (*last).max(*name);
    }
    last.into_values().collect()
}

/// Where each value replaces the last, only who leaves loses any: what came after it left does not
/// replace what it was still to have.
fn keeps_the_latest(accounts: &[Account<'_>]) -> Result<(), Violation> {
    for account in accounts {
        let began_to_end = account.end().map_or(u64::MAX, |call| call.event);
        for (topic, (count, at)) in account.lost.iter().filter(|(topic, _)| coalesces(**topic)) {
            let told = account.transcript.producing(*at).map_or(0, |call| call.event);
            let left = account.ops.iter().any(|op| op.request == Request::Unsub(*topic));
            if told < began_to_end && !left {
                let name = TOPICS[usize::from(*topic)].escape_ascii();
                let text = format!(
                    "link {} lost {count} values of {name}, where each replaces the last",
                    account.link.0
                );
                return wrong("reply", text);
            }
        }
    }
    Ok(())
}

/// Whoever went in peace had everything, or the latest, of what was published while it was there.
fn delivered(
    accounts: &[Account<'_>],
    published: &Published,
    order: &Streams<Name>,
) -> Result<(), Violation> {
    for account in accounts.iter().filter(|a| a.went_in_peace()) {
        let Some(end) = account.end() else { continue };
        let loops = account.promise.loops;
        for (topic, _, since) in account.subs().filter(|(topic, ..)| *topic != CLOCK) {
            if account.is_left(topic, &since) {
                continue;
            }
            let due = published.get(&(topic, account.transcript.life)).into_iter().flatten();
            let due = due.filter(|(_, when)| {
                since.is_before(when, loops)
                    // On its way from another engine it may have been behind others.
                    && when.until_is(|call| match loops {
                        1 => call.event < end.event,
                        _ => call.real + UNDER_WAY.as_nanos() as u64 <= end.real,
                    })
            });
            let given = account.given.iter().filter(|g| g.topic == topic);
            let given: Vec<Name> = given.filter_map(|g| g.name).collect();
            for (name, _) in due {
                let given_it = match coalesces(topic) {
                    true => given.last().is_some_and(|last| !order.is_before(last, name)),
                    false => given.contains(name),
                };
                if !given_it && !account.lost.contains_key(&topic) {
                    let text = format!(
                        "link {} followed {} and went in peace without {name:?}; its last was {:?}",
                        account.link.0,
                        TOPICS[usize::from(topic)].escape_ascii(),
                        given.last()
                    );
                    return wrong("delivery", text);
                }
            }
        }
    }
    Ok(())
}

/// Who takes nothing meets its fate in time; nobody who publishes waits for one who does not read;
/// a new subscriber has the last value at once; the clock strikes every second. Where the server is
/// frozen or its clock moved, nothing is promised.
#[derive(Clone, Copy, Debug)]
pub struct Prompt;

impl Check<Hub> for Prompt {
    fn check(&self, run: &Run<'_, Hub>) -> Result<u64, Violation> {
        if time_was_tampered_with(run) {
            return Ok(0);
        }
        // A client asks again for what it followed on an earlier connection.
        let others = run.history.iter().filter_map(|op| match op.request {
            Request::Sub(topic, _) if !kicks(topic) => Some(op.caller),
            _ => None,
        });
        let others: BTreeSet<u32> = others.collect();
        meets_its_fate(run, |ops| {
            let first = ops.and_then(|ops| ops.first());
            first.is_some_and(|op| !others.contains(&op.caller))
        })?;
        speaks_freely(run, |_, op| match op.request {
            Request::Pub(topic, number, ..) if !spills(topic) => {
                let line = [b"pub ", TOPICS[usize::from(topic)], b"\r\n"].concat();
                Some([line, head(op.caller, number)].concat())
            }
            _ => None,
        })?;
        let accounts = accounts(run).or_else(|text| wrong("reply", text))?;
        let published = publish(&accounts, &mut Streams::default());
        for account in accounts.iter().filter(|a| !behind(a.transcript)) {
            at_once(account, &published)?;
            strikes(account)?;
        }
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

/// A new subscriber has the last value at once, or hears at once that it is lost.
fn at_once(account: &Account<'_>, published: &Published) -> Result<(), Violation> {
    let (transcript, promise) = (account.transcript, account.promise);
    if account.refused || !promise.lasting || !promise.roomy {
        return Ok(());
    }
    for (topic, _, when) in account.subs().filter(|(topic, ..)| *topic != CLOCK) {
        let Some(asked) = when.until else { continue };
        let until = asked.now + promise.soon().as_nanos() as u64;
        let gone = [transcript.over, transcript.cut, transcript.released];
        let went = gone.into_iter().flatten().any(|at| at <= until);
        let last = last_before(account, topic, &when, published);
        if went || last.is_empty() || account.is_left(topic, &when) {
            continue;
        }
        let mut given = account.given.iter().filter(|g| g.topic == topic);
        let given = given
            .find_map(|g| transcript.producing(g.end).filter(|made| made.event >= when.from.event));
        // Where the latest is more than may wait, it is told to be lost.
        let told = account.lost.get(&topic).and_then(|(_, end)| transcript.producing(*end));
        let told = told.is_some_and(|told| told.now <= until);
        if !told && given.is_none_or(|made| made.now > until) {
            let text = format!(
                "link {} subscribed to {} at {} ns, of which there was a value, and was given one \
                 at {:?}",
                account.link.0,
                TOPICS[usize::from(topic)].escape_ascii(),
                asked.now,
                given.map(|made| made.now)
            );
            return wrong("deadline", text);
        }
    }
    Ok(())
}

/// Whoever follows the clock hears it strike every second, and hears what time it is.
fn strikes(account: &Account<'_>) -> Result<(), Violation> {
    let transcript = account.transcript;
    let left = account.ops.iter().any(|op| op.request == Request::Unsub(CLOCK));
    let strokes: Vec<_> = account
        .given
        .iter()
        .filter(|g| g.topic == CLOCK)
        .filter_map(|g| Some((&g.time, transcript.producing(g.end)?.now)))
        .collect();
    if strokes.is_empty() || left {
        return Ok(());
    }
    let second = Duration::from_secs(1);
    let soon = account.promise.soon();
    let late = (second + soon).as_nanos() as u64;
    let end = [transcript.over, transcript.cut].into_iter().flatten().min();
    let end = end.or_else(|| transcript.calls.last().map(|call| call.now)).unwrap_or_default();
    let mut before = strokes[0].1;
    for at in strokes.iter().map(|(_, at)| *at).chain([end]) {
        if at > before.saturating_add(late) {
            let text = format!("link {} heard no clock from {before} to {at} ns", account.link.0);
            return wrong("deadline", text);
        }
        before = at;
    }
    let unix_ms = Shape::unix_ms(transcript.life);
    for (nth, (time, at)) in strokes.iter().enumerate() {
        // At first the last value there is, then each new one.
        let old = if nth == 0 { late } else { soon.as_nanos() as u64 };
        let bound = |ns: u64| utc_time(unix_ms + ns / 1_000_000).to_vec();
        if !(bound(at.saturating_sub(old))..=bound(*at)).contains(*time) {
            let text = format!(
                "link {} heard {} when it was {}",
                account.link.0,
                time.escape_ascii(),
                bound(*at).escape_ascii()
            );
            return wrong("deadline", text);
        }
    }
    Ok(())
}
