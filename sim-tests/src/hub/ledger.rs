//! What a hub's server took in and gave out, and when: read from its transcripts.
//!
//! The protocol answers neither `sub` nor `pub`. But the transcript of a connection says between
//! which two calls a request was executed, and what was in its output after which call.

use super::work::{CLOCK, Hub, Name, Reply, Request, TOPICS, Topic, heard_error, name};
use crate::check::{OnLink, by_link};
use crate::fanout::Promise;
use crate::net::LinkId;
use crate::serve::LONGEST_MAIL;
use crate::transcript::{Call, Transcript};
use crate::trial::Run;
use drywire::hub::client::{Client, Event, Step};
use std::collections::BTreeMap;

/// When something was executed by a connection's engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// Not before this call.
    pub(super) from: Call,
    /// Not after this one, if that is known.
    pub(super) until: Option<Call>,
}

impl When {
    /// When what ends at byte `end` of its input was.
    fn of(transcript: &Transcript, end: u64) -> Option<Self> {
        let from = *transcript.feeding(end)?;
        let at = transcript.calls.partition_point(|call| call.fed < end);
        let until = transcript.calls[at..].iter().find(|call| call.caught_up).copied();
        Some(Self { from, until })
    }

    /// Whether it surely was by a call for which this holds.
    pub(super) fn until_is(&self, by: impl FnOnce(&Call) -> bool) -> bool {
        self.until.as_ref().is_some_and(by)
    }

    /// Whether this reached a topic's home before `other` did, on one of so many engines.
    pub(super) fn is_before(&self, other: &Self, loops: usize) -> bool {
        self.until.is_some_and(|until| match loops {
            1 => until.event < other.from.event,
            _ => until.real + LONGEST_MAIL.as_nanos() as u64 <= other.from.real,
        })
    }
}

/// A value in the output of a connection.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) topic: Topic,
    /// None for the clock's.
    pub(super) name: Option<Name>,
    /// Its content, of the clock's.
    pub(super) time: Vec<u8>,
    /// Where it ends.
    pub(super) end: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Account<'a> {
    pub(super) link: LinkId,
    pub(super) transcript: &'a Transcript,
    pub(super) promise: Promise,
    pub(super) ops: OnLink<'a, Hub>,
    /// What each of `ops` is and when it was executed, if the server had all of it.
    pub(super) when: Vec<Option<When>>,
    pub(super) given: Vec<Given>,
    /// Values that it was told to have lost, by topic, and where it was first told.
    pub(super) lost: BTreeMap<Topic, (u64, u64)>,
    /// Something was refused, or it was ended with a reason.
    pub(super) refused: bool,
}

impl Account<'_> {
    /// The subscriptions: topic, how-manieth, when.
    pub(super) fn subs(&self) -> impl Iterator<Item = (Topic, u32, When)> {
        self.ops.iter().zip(&self.when).filter_map(|(op, when)| match op.request {
            Request::Sub(topic, nth) => Some((topic, nth, (*when)?)),
            _ => None,
        })
    }

    /// The values published: which, when.
    pub(super) fn pubs(&self) -> impl Iterator<Item = (Name, When)> {
        self.ops.iter().zip(&self.when).filter_map(|(op, when)| match op.request {
            Request::Pub(topic, number, ..) => {
                Some((Name { topic, who: op.caller, number }, (*when)?))
            }
            _ => None,
        })
    }

    /// Whether the topic was given up at or after this. The server may know that of a request of
    /// which it did not get all.
    pub(super) fn is_left(&self, topic: Topic, since: &When) -> bool {
        self.ops.iter().zip(&self.when).any(|(op, when)| {
            op.request == Request::Unsub(topic)
                && when.is_none_or(|when| when.from.event >= since.from.event)
        })
    }

    /// It ended in peace because its peer had said everything, and was told nothing else.
    pub(super) fn went_in_peace(&self) -> bool {
        let t = self.transcript;
        t.in_peace && t.drained.is_none() && t.cut.is_none() && t.kicked.is_none() && !self.refused
    }

    /// The call with which it began to end.
    pub(super) fn end(&self) -> Option<&Call> {
        let over = self.transcript.over?;
        self.transcript.calls.iter().find(|call| call.now >= over)
    }
}

/// All connections on which something was asked.
///
/// # Errors
/// The server said something that no client can read.
pub(super) fn accounts<'a>(run: &Run<'a, Hub>) -> Result<Vec<Account<'a>>, String> {
    let mut all = Vec::new();
    for (link, ops) in by_link(run) {
        let transcript = &run.world.transcripts()[link.0 as usize];
        let when = ops.iter().map(|op| When::of(transcript, op.bytes.end)).collect();
        let promise = Promise::of(transcript);
        let (given, lost, refused) = (Vec::new(), BTreeMap::new(), false);
        let mut account = Account { link, transcript, promise, ops, when, given, lost, refused };
        read(&mut account)?;
        all.push(account);
    }
    Ok(all)
}

/// Reads what a connection was given, sent or not.
fn read(account: &mut Account<'_>) -> Result<(), String> {
    let bytes = &account.transcript.produced;
    let mut client = Client::new();
    let mut at = 0;
    loop {
        let step = client.step(&bytes[at..]).map_err(|fault| fault.to_string())?;
        let Step::Event { event, used } = step else { return Ok(()) };
        at += used;
        match event {
            Event::Value(value) => {
                let topic = TOPICS.iter().position(|name| *name == value.topic);
                let topic = topic.ok_or("a topic that nobody names")? as Topic;
                let (mut of, mut time) = (None, Vec::new());
                match topic {
                    CLOCK => time = value.content.to_vec(),
                    _ => of = Some(name(topic, value.content)?),
                }
                account.given.push(Given { topic, name: of, time, end: at as u64 });
            }
            Event::Error(words) => match heard_error(words) {
                Some(Reply::Error) => {}
                Some(Reply::Lost(topic, count)) => {
                    account.lost.entry(topic).or_insert((0, at as u64)).0 += count;
                }
                _ => account.refused = true,
            },
        }
    }
}
