//! The client's side, without a socket, over any number of connections.
//!
//! [`Client`] knows what it subscribed to. When a connection is lost, [`Client::disconnected`]
//! says so and [`Client::connected`] asks for everything again on the next one. The protocol
//! numbers nothing, so what was published meanwhile is gone but for the last value; the first
//! value of each topic after coming back is marked ([`Value::resumed`]), and so is one that is
//! the same as the last before ([`Value::repeat`]).

use crate::conn::{Fault, FaultKind, Outbox};
use crate::frame::line::{Lines, State};
use crate::frame::{Framing, Step as Frame};
use crate::hub::codec::{self, CONTENT_MAX, Command, TOPIC_MAX};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A topic's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its topic.
    pub topic: &'a [u8],
    /// What was published.
    pub content: &'a [u8],
    /// The first of this topic after coming back: others may have been missed before it.
    pub resumed: bool,
    /// ... and it is the same as the last one before.
    pub repeat: bool,
}

/// What [`Client::step`] found at the front of the input.
pub type Step<'a> = crate::client::Step<Event<'a>>;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message of a topic.
    Value(Value<'a>),
    /// Something was refused, or messages were lost: the server's words.
    Error(&'a [u8]),
}

/// A client, across connections. Memory: its topics and the digest of the last value of each.
#[derive(Clone, Debug)]
pub struct Client {
    lines: Lines,
    state: State,
    /// Length of the `pub` line at the front of the input, once it was read: its content is next.
    head: usize,
    topics: BTreeMap<Vec<u8>, Topic>,
    connected: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Topic {
    /// Digest of the last value, to know it again.
    last: Option<u64>,
    resuming: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Not connected, subscribed to nothing.
    #[must_use]
    pub fn new() -> Self {
        let (lines, state) = (codec::lines(), State::default());
        Self { lines, state, head: 0, topics: BTreeMap::new(), connected: false }
    }

    /// A connection stands: asks for everything that is subscribed to.
    pub fn connected(&mut self, out: &mut Outbox) {
        self.connected = true;
        (self.state, self.head) = (State::default(), 0);
        for topic in self.topics.keys() {
            line(out, b"sub ", topic);
        }
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        self.connected = false;
        for topic in self.topics.values_mut() {
            topic.resuming = topic.last.is_some();
        }
    }

    /// Subscribes; to what it is subscribed to already, nothing changes. False if this is no topic:
    /// over 255 bytes, or with a line feed.
    pub fn subscribe(&mut self, topic: &[u8], out: &mut Outbox) -> bool {
        let good = is_topic(topic);
        if good && !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), Topic::default());
            if self.connected {
                line(out, b"sub ", topic);
            }
        }
        good
    }

    /// Unsubscribes. What is under way may still come.
    pub fn unsubscribe(&mut self, topic: &[u8], out: &mut Outbox) {
        if self.topics.remove(topic).is_some() && self.connected {
            line(out, b"unsub ", topic);
        }
    }

    /// Publishes. False, and nothing is appended, without a connection or if topic or content
    /// is over its limit or holds a line feed.
    pub fn publish(&mut self, topic: &[u8], content: &[u8], out: &mut Outbox) -> bool {
        let good_content = content.len() <= CONTENT_MAX && memchr::memchr(b'\n', content).is_none();
        // A CR at the end would be taken for a part of the line's end.
        let good = self.connected && is_topic(topic) && good_content && !content.ends_with(b"\r");
        if good {
            out.put(&codec::message(topic, content));
        }
        good
    }

    /// What it is subscribed to, or will be.
    pub fn topics(&self) -> impl Iterator<Item = &[u8]> {
        self.topics.keys().map(|topic| &topic[..])
    }

    /// Reads one event off the front of `input`.
    ///
    /// # Errors
    /// The server broke the protocol: give the connection up.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Fault> {
        let mut topic = None;
        if self.head > 0 {
            let line = input.get(..self.head).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            topic = line.strip_suffix(b"\r").unwrap_or(line).strip_prefix(b"pub ");
        }
        if topic.is_none() {
            let (line, used) = match next(&self.lines, &mut self.state, input)? {
                Ok(found) => found,
                Err(need) => return Ok(Step::Need(need)),
            };
            match Command::parse(line).map_err(|what| Fault::new(FaultKind::Malformed, what))? {
                Command::Error(words) => {
                    return Ok(Step::Event { event: Event::Error(words), used });
                }
                Command::Pub(name) => (topic, self.head) = (Some(name), used),
                Command::Sub(_) | Command::Unsub(_) | Command::Stats => {
                    let what = "a server neither subscribes nor unsubscribes";
                    return Err(Fault::new(FaultKind::Malformed, what));
                }
            }
        }
        let (topic, head) = (topic.unwrap_or_default(), self.head);
        match next(&self.lines, &mut self.state, input.get(head..).unwrap_or_default())? {
            Err(need) => Ok(Step::Need(head + need)),
            Ok((content, used)) => {
                self.head = 0;
                let event = Event::Value(self.value(topic, content));
                Ok(Step::Event { event, used: head + used })
            }
        }
    }

    fn value<'a>(&mut self, topic: &'a [u8], content: &'a [u8]) -> Value<'a> {
        let digest = digest(content);
        let known = self.topics.get_mut(topic);
        let before = known.as_ref().map(|t| **t).unwrap_or_default();
        if let Some(known) = known {
            *known = Topic { last: Some(digest), resuming: false };
        }
        let resumed = before.resuming;
        Value { topic, content, resumed, repeat: resumed && before.last == Some(digest) }
    }
}

fn is_topic(topic: &[u8]) -> bool {
    topic.len() <= TOPIC_MAX && memchr::memchr2(b'\r', b'\n', topic).is_none()
}

fn line(out: &mut Outbox, verb: &[u8], topic: &[u8]) {
    out.put(verb);
    out.put(topic);
    out.put(b"\r\n");
}

/// The next line and the bytes it takes, or how many bytes are needed.
fn next<'a>(
    lines: &Lines,
    state: &mut State,
    input: &'a [u8],
) -> Result<Result<(&'a [u8], usize), usize>, Fault> {
    match lines.step(state, input) {
        Frame::Frame { payload, consumed, .. } => Ok(Ok((payload.of(input), consumed))),
        Frame::Need(more) => Ok(Err(input.len() + more.get())),
        Frame::Skip { .. } => Err(Fault::new(FaultKind::Malformed, "a line that cannot be read")),
        Frame::Error { error, .. } => Err(error.into()),
    }
}

/// FNV-1a: to notice the same value again.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
