//! One to many: topics, receivers, and what becomes of a receiver that does not read.
//!
//! A topic is a bounded log of encoded messages in one total order. A receiver is a position in
//! that log. Publishing appends once and wakes the receivers that had caught up; each copies (or,
//! from [`SHARE_FROM`](crate::conn::SHARE_FROM) bytes on, shares) what it has not had into its
//! outbox when there is room. So a message is allocated once however many receive it, a receiver
//! that does not read holds one filled outbox and a number, and costs a sender nothing.
//!
//! ```text
//!   publish ──► log  │ 41 │ 42 │ 43 │ 44 │ 45 │ 46 │ ◄── next
//!                      ▲ evicted ▲         ▲         ▲
//!            bytes limit ends here │       │         └ receivers a, b, d: caught up, to be woken
//!                            receiver e    receiver c: its outbox is full
//!                            fell out: its fate
//! ```
//!
//! # Fates
//! When a receiver counts as slow is for [`OutGateConfig`] to say: bytes, bytes for a time, no
//! progress, over what waits in its outbox and in the logs. What happens then is the topic's
//! [`Fate`]. A receiver is told of each loss by [`Style::lost`]; it never sees a silent gap.
//!
//! # Several engines
//! A topic has a home among the engines of a service ([`Place`]), found by its name; the home
//! gives out sequence numbers. Engines with receivers keep a copy of the log, fed by mail, whose
//! payloads are shared. So all receivers hear one order whatever thread serves them. What two
//! engines have under way to each other is bounded by [`Config::window`], and neither waits for
//! the other: requests are held back or refused, messages stay in the log, and an engine that
//! falls out of it is given the log anew, with a gap that its receivers are told of.
//!
//! # Several processes
//! With a [`Bridge`] beside the engines the order is a broker's, and other processes hear it too.
//!
//! | held | bound |
//! |---|---|
//! | logs | [`Config::log_bytes`] each, [`Config::total_bytes`] in all |
//! | a receiver | its outbox: [`Config::fill`] and one message; [`Config::subscriptions`] positions |
//! | mail between two engines, each way | [`Config::window`] of requests and of what is told, each with one log or roster more; twice as much of requests for connections that open |
//! | on disk | [`Config::spill_bytes`] for each receiver |

mod bridge;
mod exchange;
mod feed;
mod home;
mod log;
mod mail;
mod members;
mod pull;
mod spill;
mod stats;
mod topic;
mod upkeep;

pub use bridge::{Bridge, Mark, Outgoing, Redraft};
pub use exchange::{At, Exchange, Published, with};
pub use feed::Feed;
pub use log::Entry;
pub use pull::Pulled;
pub use spill::{OpenSpill, SpillDone, SpillError, SpillFile, SpillJob};
pub use stats::Stats;

use crate::conn::Limits;
use crate::guard::OutGateConfig;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;

#[expect(unused_imports, reason = "for the documentation")]
use crate::conn::Place;

/// What becomes of a receiver of a topic that is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is told why, if it takes that much, and its connection ends.
    Kick,
    /// The oldest messages it has not had are dropped, and it is told how many.
    DropOldest,
    /// From the moment its outbox was full until it has caught up it gets only the latest
    /// message of each key.
    Coalesce,
    /// What it has not had moves to disk, and is replayed in order when it reads again. With the
    /// disk's share used up it is kicked.
    Spill,
}

/// The limits of an [`Exchange`], which is one per engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Output that a receiver's outbox is filled up to from the logs, in bytes. Above
    /// [`Limits::output_low`](crate::conn::Limits::output_low), at which it is filled again, and
    /// below [`Limits::output_high`](crate::conn::Limits::output_high), so that a receiver who is
    /// slow to read may still send. Default 32 KiB.
    pub fill: usize,
    /// When a receiver counts as slow; a soft mark above the hard one counts as that. Default
    /// [`OutGateConfig::CHAT`].
    pub slow: OutGateConfig,
    /// The fate of slow receivers: the first pattern that matches the topic's name. A pattern is
    /// a name, or the beginning of names followed by `*`.
    pub fates: Vec<(Box<[u8]>, Fate)>,
    /// The fate in topics that no pattern matches. Default kick.
    pub fate: Fate,
    /// Messages a topic keeps at most. Default 10,000.
    pub log_messages: usize,
    /// Bytes a topic keeps at most, payloads and bookkeeping. One message is always kept.
    /// Default 1 MiB.
    pub log_bytes: usize,
    /// Bytes all topics of this engine keep at most. Default 64 MiB.
    pub total_bytes: usize,
    /// Keys remembered in a coalescing topic, 1 at least. Default 1,024.
    pub keys: usize,
    /// Topics whose home is this engine. Default 4,096.
    pub topics: usize,
    /// Members of one topic. Default 100,000.
    pub members: usize,
    /// Topics a receiver may follow. Default 1,024.
    pub subscriptions: usize,
    /// How long a topic that nobody follows is kept. Default 10 minutes.
    pub keep_unused: Duration,
    /// Bytes on disk for each receiver. Default 64 MiB.
    pub spill_bytes: u64,
    /// Where that disk is. Without it receivers of topics that spill are kicked. Default none.
    pub spill: Option<OpenSpill>,
    /// Bytes under way to each other engine that it has not answered or confirmed, a letter
    /// counting for 256 beside its payload. Default 1 MiB.
    pub window: usize,
    /// Unix time at the host's tick 0, in milliseconds.
    pub unix_ms: u64,
    /// Whether topics are shared with other processes: the host has a [`Bridge`] beside the
    /// engines. Default no.
    pub bridged: bool,
    /// Differs between processes that share topics. Default 0.
    pub process: u64,
    /// How a topic says what its link to other processes does: the protocol's to set.
    pub mark: fn(&[u8], Mark) -> Draft,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fill: 32 << 10,
            slow: OutGateConfig::CHAT,
            fates: Vec::new(),
            fate: Fate::Kick,
            log_messages: 10_000,
            log_bytes: 1 << 20,
            total_bytes: 64 << 20,
            keys: 1024,
            topics: 4096,
            members: 100_000,
            subscriptions: 1024,
            keep_unused: Duration::from_secs(600),
            spill_bytes: 64 << 20,
            spill: None,
            window: 1 << 20,
            unix_ms: 0,
            bridged: false,
            process: 0,
            mark: |_, _| Draft { notice: true, ..Draft::default() },
        }
    }
}

impl Config {
    /// The fate of slow receivers in a topic.
    #[must_use]
    pub fn fate_of(&self, topic: &[u8]) -> Fate {
        let matches = |pattern: &[u8]| match pattern.strip_suffix(b"*") {
            Some(beginning) => topic.starts_with(beginning),
            None => topic == pattern,
        };
        self.fates.iter().find(|(pattern, _)| matches(pattern)).map_or(self.fate, |(_, fate)| *fate)
    }
}

/// A message on its way into a topic, encoded but for what the topic's home fills in.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The encoded message.
    pub bytes: Vec<u8>,
    /// Where the sequence number goes: a big-endian u64.
    pub number_at: Option<u32>,
    /// Where the time goes: Unix milliseconds, a big-endian u64.
    pub time_at: Option<u32>,
    /// Where the part for receivers of the plain style begins.
    pub plain_at: u32,
    /// An event of the topic rather than a message: not counted as history, not a last value.
    pub notice: bool,
    /// What the message is about, in a coalescing topic.
    pub key: Bytes,
}

/// The limits of a connection that receives, for messages of up to `input` bytes: room for
/// answers above what the topics fill in, so that a slow reader may still send, and time for its
/// fate, which [`Config::slow`] decides long before the connection's own limit does.
#[must_use]
pub fn limits(input: usize) -> Limits {
    Limits {
        input,
        output_high: 256 << 10,
        output_low: 8 << 10,
        output: OutGateConfig { no_progress: GONE, ..OutGateConfig::REPLIES },
        ..Limits::default()
    }
}

/// A peer that has taken nothing for so long is gone, whatever the fate of slow receivers is.
const GONE: Duration = Duration::from_secs(300);

/// Where in a topic a receiver begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next message.
    Next,
    /// With the last so many messages.
    Last(u32),
    /// Behind a message it had before: no gap, no repeat, as far as the log reaches back.
    After {
        /// The life of the topic it was numbered in: [`Reply::Joined`].
        life: u64,
        /// Its sequence number.
        number: u64,
    },
}

/// Messages that a receiver does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The sequence number of the first one.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Why.
    pub why: Why,
}

/// Why messages are lost to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// It read too slowly.
    Slow = 1,
    /// Later messages with the same key replaced them.
    Replaced = 2,
    /// They were gone when it came back.
    Gone = 3,
}

/// How a receiver wants messages to look.
pub trait Style {
    /// Where in [`Entry::bytes`] this receiver's form of the message begins; `None` if it does
    /// not get this one.
    fn begin(&self, entry: &Entry) -> Option<usize>;
    /// Appends the notice of a loss, in the receiver's terms.
    fn lost(&self, out: &mut Vec<u8>, topic: &[u8], lost: Lost);
    /// Appends the notice that it has left a topic as it asked, and had everything.
    fn left(&self, out: &mut Vec<u8>, topic: &[u8]) {
        let _ = (out, topic);
    }
}

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Refusal {
    /// There are too many topics.
    TooManyTopics = 1,
    /// The topic has too many members.
    TooManyMembers = 2,
    /// This receiver follows too many topics.
    TooManySubscriptions = 3,
    /// Someone else has this name in the topic.
    NameTaken = 4,
    /// Not a member of this topic.
    NotMember = 5,
    /// A member already.
    AlreadyMember = 6,
    /// A field breaks its limit.
    BadField = 7,
    /// The server is too busy at the moment.
    Busy = 8,
    /// There is no link to the other servers.
    Unlinked = 9,
}

impl Refusal {
    /// The reason in words, for wires and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManyTopics => "too many topics",
            Self::TooManyMembers => "too many members in this topic",
            Self::TooManySubscriptions => "too many subscriptions on this connection",
            Self::NameTaken => "the name is taken",
            Self::NotMember => "not a member of this topic",
            Self::AlreadyMember => "already a member of this topic",
            Self::BadField => "a field breaks its limit",
            Self::Busy => "too busy: try again",
            Self::Unlinked => "no link to the other servers: not said, try again",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name a member goes by in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Unique in the topic.
    pub name: Bytes,
    /// Whose it is: the same owner takes its name over from a connection that is not known to be
    /// dead yet.
    pub owner: u64,
}

/// The answer to a request of a connection. Each request gets exactly one, unless the
/// connection is gone.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is in. Messages follow once it says [`Exchange::begin`].
    Joined {
        /// The topic.
        topic: Bytes,
        /// Numbers mean the same for as long as the topic has this life.
        life: u64,
        /// The number of the first message it will get.
        next: u64,
        /// The number after the last message that is there already.
        end: u64,
        /// What it asked for and cannot have. A count of [`u64::MAX`]: nobody knows how many.
        lost: Option<Lost>,
        /// Members of the topic, this one included.
        members: u64,
    },
    /// It is not in.
    NotJoined {
        /// The topic.
        topic: Bytes,
        /// Why.
        why: Refusal,
    },
    /// It is not in, as it asked before the home had refused it.
    Left {
        /// The topic.
        topic: Bytes,
    },
    /// A message published through another engine has its place in the topic, or has none.
    Took {
        /// The publisher's number for it.
        number: u64,
        /// Where it was to go.
        topic: Bytes,
        /// Its sequence number.
        result: Result<u64, Refusal>,
    },
    /// Who is in a topic.
    Roster {
        /// The topic.
        topic: Bytes,
        /// Members, also those without a name.
        total: u64,
        /// The first names, in their order.
        labels: Vec<Label>,
    },
    /// What the engines of the service hold.
    Stats(Stats),
    /// Its name in a topic is now another connection's, of the same owner.
    Displaced {
        /// The topic.
        topic: Bytes,
    },
}

/// What connections and engines of a fan-out protocol send each other; opaque but for replies.
#[derive(Debug)]
pub struct Message(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Reply(Reply),
    Letter(mail::Letter),
}

impl Message {
    /// The topic, if this is mail by which someone wants to join one whose home is here.
    #[must_use]
    pub fn joins(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Letter(mail::Letter::Join(join)) => Some(join.topic()),
            _ => None,
        }
    }

    /// The reply, in [`Session::on_post`](crate::conn::Session::on_post).
    #[must_use]
    pub fn into_reply(self) -> Option<Reply> {
        match self.0 {
            Kind::Reply(reply) => Some(reply),
            Kind::Letter(_) => None,
        }
    }
}
