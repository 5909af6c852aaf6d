//! What a chat server promises, beyond what each member sees for itself.

use super::work::{Chat, LOBBY, Reply, Request, key};
use crate::check::{Check, time_was_tampered_with};
use crate::fanout::{Item, Promise, Streams, meets_its_fate, speaks_freely};
use crate::net::LinkId;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::{Outcome, Word};
use std::collections::{BTreeMap, BTreeSet};

/// One order for everybody, in each life of each room; nothing is in it twice without a mark; and
/// who is slow in a room that coalesces has the latest message of each key.
#[derive(Clone, Copy, Debug)]
pub struct OneOrder;

/// What has a place in a room: whose it is, its number, its mark, the head of its text.
type Message<'a> = (u64, u64, bool, &'a [u8]);
/// By room and life, by place.
type Rooms<'a> = BTreeMap<(u8, u64), BTreeMap<u64, Message<'a>>>;

fn wrong<T>(text: String) -> Result<T, Violation> {
    Err(Violation::new("order", text))
}

impl Check<Chat> for OneOrder {
    fn check(&self, run: &Run<'_, Chat>) -> Result<u64, Violation> {
        let rooms = rooms(run.heard)?;
        latest(run, &rooms)?;
        let answers = run.history.iter().filter_map(|op| match &op.outcome {
            Outcome::Answered(Reply::Said { room: LOBBY, again: false, text, .. }) => {
                Some(&text[..])
            }
            _ => None,
        });
        // Who heard itself does not say it again.
        plain(run.heard, &rooms, answers)?;
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}

impl OneOrder {
    /// Judges by what the members of a run heard alone.
    ///
    /// # Errors
    /// The breach.
    pub fn holds(heard: &[Word<Reply>]) -> Result<(), Violation> {
        plain(heard, &rooms(heard)?, core::iter::empty())
    }
}

/// What extended members know of the rooms: the same, and nothing twice without a mark.
fn rooms(heard: &[Word<Reply>]) -> Result<Rooms<'_>, Violation> {
    let mut rooms = Rooms::new();
    for word in heard {
        let Reply::Said { room, life, seq, from, number, again, text } = &word.what else {
            continue;
        };
        let message = (*from, *number, *again, &text[..]);
        let place = rooms.entry((*room, *life)).or_default();
        let known = place.entry(*seq).or_insert(message);
        if *known != message {
            return wrong(format!(
                "member {} hears {message:?} as {seq} of room {room}, others {known:?}",
                word.caller
            ));
        }
    }
    for ((room, life), messages) in &rooms {
        let mut said = BTreeSet::new();
        for (seq, (from, number, again, text)) in messages {
            let own = *from == 0 || text.is_empty() || {
                text.starts_with(format!("{}.", from - 1).as_bytes())
            };
            if !own {
                return wrong(format!("member {from} never said {}", text.escape_ascii()));
            }
            let numbered = *from > 0 && !text.is_empty();
            if numbered && !said.insert((from, number)) && !again {
                return wrong(format!(
                    "{} of member {from} is in room {room} ({life}) once more as {seq}, unmarked",
                    number
                ));
            }
        }
    }
    Ok(rooms)
}

/// What is said to be replaced was replaced, and with room enough nothing else is lost where the
/// latest is kept: so whoever is slow has the latest message of each key.
fn latest(run: &Run<'_, Chat>, rooms: &Rooms<'_>) -> Result<(), Violation> {
    let byes = run.heard.iter().filter(|word| word.what == Reply::Bye);
    let byes: BTreeSet<LinkId> = byes.map(|word| word.link).collect();
    for word in run.heard {
        let Reply::Lost { room, life, from, count, why } = &word.what else { continue };
        let transcript = &run.transcripts()[word.link.0 as usize];
        if *why == 1 && Promise::of(transcript).keeps {
            return wrong(format!(
                "member {} loses {count} from {from} of room {room}, which keeps the latest",
                word.caller
            ));
        }
        let Some(messages) = rooms.get(&(*room, *life)).filter(|_| *why == 2) else { continue };
        let end = from.saturating_add(*count);
        for (seq, (_, _, _, text)) in messages.range(from..&end).filter(|(_, m)| !m.3.is_empty()) {
            let mut later = messages.range(seq + 1..).filter(|(_, m)| !m.3.is_empty());
            let replaced = later.any(|(_, m)| key(m.3) == key(text));
            // Who heard everything until it went knows what replaced it.
            if !replaced && transcript.in_peace && !byes.contains(&word.link) {
                return wrong(format!(
                    "{} is the latest about {:?} in room {room} ({life}), and member {} was told \
                     that it was replaced",
                    text.escape_ascii(),
                    key(text),
                    word.caller
                ));
            }
        }
    }
    Ok(())
}

/// Plain members hear texts only: what they heard fits into one order with each other's and with
/// the places that extended members know, without a gap in silence.
fn plain<'a>(
    heard: &'a [Word<Reply>],
    rooms: &Rooms<'a>,
    once: impl Iterator<Item = &'a [u8]>,
) -> Result<(), Violation> {
    let once: BTreeSet<&[u8]> = once.chain(said_plainly(heard)).collect();
    let once = |text: &[u8]| match once.get(text) {
        Some(text) => Item::Heard(*text),
        None => Item::Gap(None),
    };
    let mut streams = Streams::default();
    for ((_, _), messages) in rooms.iter().filter(|((room, _), _)| *room == LOBBY) {
        let mut next = None;
        let mut places = Vec::new();
        for (seq, (.., text)) in messages {
            if next.is_some_and(|next| next != *seq) {
                places.push(Item::Gap(None));
            }
            next = Some(seq + 1);
            // A presence has no plain form.
            if !text.is_empty() {
                places.push(once(text));
            }
        }
        streams.hear(places).or_else(wrong)?;
    }
    let mut members: BTreeMap<u32, (_, Vec<Item<&[u8]>>)> = BTreeMap::new();
    for word in heard {
        let item = match &word.what {
            Reply::Plain(text) => once(text),
            Reply::PlainLost(count) => Item::Gap(Some(*count)),
            _ => continue,
        };
        let (link, stream) = members.entry(word.caller).or_insert((word.link, Vec::new()));
        if core::mem::replace(link, word.link) != word.link {
            stream.push(Item::Anew);
        }
        stream.push(item);
    }
    for (_, stream) in members.into_values() {
        streams.hear(stream).or_else(wrong)?;
    }
    // What is lost counts those who come and go too.
    streams.check(false).or_else(wrong)
}

/// What plain members said, who say nothing again.
fn said_plainly(heard: &[Word<Reply>]) -> impl Iterator<Item = &[u8]> {
    heard.iter().filter_map(|word| match &word.what {
        Reply::Plain(text) if is_plain(text) => Some(&text[..]),
        Reply::Said { room: LOBBY, from: 0, text, .. } if !text.is_empty() => Some(&text[..]),
        _ => None,
    })
}

/// Whether a plain member said it.
fn is_plain(text: &[u8]) -> bool {
    let who = text.split(|b| *b == b'.').next().and_then(|who| core::str::from_utf8(who).ok());
    who.and_then(|who| who.parse::<u32>().ok()).is_some_and(|who| who % 3 == 2)
}

/// Who takes nothing meets its fate in time, and nobody who speaks waits for one who does not
/// read. Where the server is frozen or its clock moved, nothing is promised.
#[derive(Clone, Copy, Debug)]
pub struct Prompt;

impl Check<Chat> for Prompt {
    fn check(&self, run: &Run<'_, Chat>) -> Result<u64, Violation> {
        if time_was_tampered_with(run) {
            return Ok(0);
        }
        meets_its_fate(run, |_| true)?;
        speaks_freely(run, |promise, op| match op.request {
            Request::Say(_, number, _) if !promise.disk => {
                Some(format!("{}.{number}.", op.caller).into_bytes())
            }
            _ => None,
        })?;
        Ok(0)
    }

    fn needs_transcripts(&self) -> bool {
        true
    }
}
