//! Publishers and subscribers, drawn: the client machine of the core, and what breaks its rules.

use crate::decide::Site;
use crate::workload::{Draw, Heard, Said, Workload};
use drywire::conn::Outbox;
use drywire::hub::UTC_TIME;
use drywire::hub::client::{Client, Event, Step, Value};
use drywire::hub::codec::{CONTENT_MAX, TOPIC_MAX};
use std::collections::BTreeSet;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The values of a topic, for the caller's how-manieth time.
    Sub(Topic, u32),
    /// Once more, which changes nothing.
    SubAgain(Topic),
    /// No more of a topic; and something that is answered at once, so that it is known when.
    Unsub(Topic),
    /// The caller's own how-manieth value, and its filling.
    Pub(Topic, u64, usize, Echo),
    /// Something that is answered at once: a value for the topic that is the server's own.
    Ask,
    /// A line that breaks the rules: the connection ends.
    Bad(u8),
}

/// Whether a publisher hears its own value: one that is known to be subscribed does, where none is
/// left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It does.
    Due,
    /// Perhaps.
    Perhaps,
}

/// A topic, by its number.
pub(super) type Topic = u8;

/// Two of each fate, and the clock.
pub(super) const TOPICS: [&[u8]; 9] = [
    b"kick/a", b"kick/b", b"last/a", b"last/b", b"drop/a", b"drop/b", b"disk/a", b"disk/b",
    UTC_TIME,
];
/// The clock's number.
pub(super) const CLOCK: Topic = 8;

/// Whether a topic's slow subscribers are kicked.
pub(super) const fn kicks(topic: Topic) -> bool {
    topic < 2
}

/// Whether a topic's slow subscribers get only the latest value.
pub(super) const fn coalesces(topic: Topic) -> bool {
    topic / 2 == 1
}

/// Whether what a slow subscriber has not had moves to disk.
pub(super) const fn spills(topic: Topic) -> bool {
    topic / 2 == 3
}

/// A value: who published it, and its how-manieth it is. The clock's are its own, by their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The topic.
    pub topic: Topic,
    /// The publisher.
    pub who: u32,
    /// The publisher's how-manieth, over all topics.
    pub number: u64,
}

/// What a caller hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A value, on the caller's how-manieth subscription.
    Value(Name, u32),
    /// A stroke of the clock.
    Time(Vec<u8>),
    /// So many values of a topic are lost.
    Lost(Topic, u64),
    /// An answer.
    Error,
    /// Something was refused, and it is not said what.
    Refused,
    /// The connection ends.
    Bye,
}

/// What a client machine does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// Nothing.
    #[default]
    Good,
    /// Takes the first value after coming back for one it never had.
    ForgetsMarks,
}

/// A caller.
#[derive(Debug)]
pub struct Hub {
    who: u32,
    habit: Habit,
    client: Client,
    out: Outbox,
    places: [Place; TOPICS.len()],
    /// Values published, and subscriptions begun.
    published: u64,
    subscribed: u32,
    /// Own values that will come back.
    echoes: BTreeSet<(Topic, u64)>,
    /// It broke the rules on this connection.
    bad: bool,
}

/// Where a caller stands with a topic.
#[derive(Clone, Debug, Default)]
struct Place {
    state: State,
    /// Of its subscriptions, this one.
    nth: u32,
    /// Something came on this connection.
    confirmed: bool,
    /// The last value, since it subscribed, and whether it was on an earlier connection.
    last: Option<Vec<u8>>,
    resuming: bool,
    /// The last stroke of the clock it ever heard.
    time: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Out,
    In,
    /// What is under way may still come until the answer behind the request does.
    Leaving,
}

const KIND: Site = Site::new("op.kind");
const TOPIC: Site = Site::new("op.key");
const TASTE: Site = Site::new("op.taste");
const SIZE: Site = Site::new("op.size");
const BAD: Site = Site::new("op.bad");
/// A value has up to 2^14 bytes of filling.
const FILLING: u64 = 15;
/// Ways to break the rules.
const BADS: u64 = 5;

impl Hub {
    /// Caller number `who`. Four of five follow the topics of one fate and the clock.
    #[must_use]
    pub fn new(who: u32) -> Self {
        Self::with(who, Habit::Good)
    }

    /// A caller with a habit.
    #[must_use]
    pub fn with(who: u32, habit: Habit) -> Self {
        Self {
            who,
            habit,
            client: Client::new(),
            out: Outbox::new(),
            places: Default::default(),
            published: 0,
            subscribed: 0,
            echoes: BTreeSet::new(),
            bad: false,
        }
    }

    fn place(&self, topic: Topic) -> &Place {
        &self.places[usize::from(topic)]
    }

    fn place_mut(&mut self, topic: Topic) -> &mut Place {
        &mut self.places[usize::from(topic)]
    }

    /// A topic to its taste.
    fn taste(&self, draw: &mut Draw<'_>) -> Topic {
        let any = draw.below(TASTE, 16) as Topic;
        match (any, self.who % 5) {
            (0, _) => CLOCK,
            (_, 4) => any % CLOCK,
            (_, class) => class as Topic * 2 + any % 2,
        }
    }

    /// Moves what the client machine says to `to`.
    fn flush(&mut self, to: &mut Vec<u8>) {
        self.out.slices().for_each(|slice| to.extend_from_slice(slice));
        self.out.sent(self.out.len());
    }

    fn publish(&mut self, draw: &mut Draw<'_>) -> Request {
        let topic = draw.below(TOPIC, u64::from(CLOCK)) as Topic;
        let size = draw.size(SIZE, FILLING);
        let size = if size == 0 { 0 } else { 1 << (size - 1) };
        self.published += 1;
        let place = self.place(topic);
        let sure = place.state == State::In && place.confirmed && !coalesces(topic);
        let echo = if sure { Echo::Due } else { Echo::Perhaps };
        Request::Pub(topic, self.published, size, echo)
    }

    fn value(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        value: Value<'_>,
    ) -> Result<Said<Reply>, String> {
        let topic = TOPICS.iter().position(|name| *name == value.topic);
        let Some(topic) = topic.map(|at| at as Topic) else {
            return Err(format!("a value of a topic that nobody names: {:?}", value.topic));
        };
        let (who, habit) = (self.who, self.habit);
        let place = self.place_mut(topic);
        // What is on disk cannot be told apart any more.
        if place.state == State::Out && !(spills(topic) && place.nth > 0) {
            let how = if place.nth > 0 { "after its unsub was answered" } else { "unasked" };
            return Err(format!("a value of topic {topic} {how}"));
        }
        let resumed = core::mem::take(&mut place.resuming) && habit == Habit::Good;
        let repeat = resumed && place.last.as_deref() == Some(value.content);
        // Of a topic that was left the machine knows nothing.
        if place.state == State::In && (value.resumed, value.repeat) != (resumed, repeat) {
            return Err(format!(
                "a value of topic {topic} is marked {:?} and not {:?}",
                (value.resumed, value.repeat),
                (resumed, repeat)
            ));
        }
        place.confirmed = true;
        place.last = Some(value.content.to_vec());
        let nth_sub = place.nth;
        if topic == CLOCK {
            let time = value.content.to_vec();
            if time < place.time {
                return Err(format!("the clock went back to {}", time.escape_ascii()));
            }
            place.time.clone_from(&time);
            return Ok(Said::Event(Reply::Time(time)));
        }
        let name = name(topic, value.content)?;
        let reply = Reply::Value(name, nth_sub);
        let mut said = Said::Event(reply.clone());
        if name.who == who && self.echoes.remove(&(topic, name.number)) {
            let own =
                |r: &Request| matches!(r, Request::Pub(_, n, _, Echo::Due) if *n == name.number);
            if let Some(nth) = nth(owed, &own) {
                said = Said::Answer(nth, reply);
            }
        }
        Ok(said)
    }

    fn error(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        words: &[u8],
    ) -> Result<Said<Reply>, String> {
        let asks = |r: &Request| matches!(r, Request::Ask | Request::Unsub(_));
        if words == OWN {
            let owed: Vec<&Request> = owed.collect();
            let Some(nth) = nth(&mut owed.iter().copied(), &asks) else {
                return Err("an answer that nobody waits for".to_owned());
            };
            if let Request::Unsub(topic) = owed[nth] {
                let place = self.place_mut(*topic);
                (place.state, place.resuming, place.last) = (State::Out, false, None);
            }
            return Ok(Said::Answer(nth, Reply::Error));
        }
        match heard_error(words) {
            Some(Reply::Lost(topic, count)) => {
                self.echoes.retain(|(at, _)| *at != topic);
                return Ok(Said::Lost(Reply::Lost(topic, count)));
            }
            Some(reply) => return Ok(Said::Event(reply)),
            None => {}
        }
        let earned = BYES.iter().any(|bye| words.starts_with(bye));
        if !earned && !self.bad {
            return Err(format!("an error that nobody earned: {}", words.escape_ascii()));
        }
        // A fault does not cancel what was asked before it and answered at once.
        if !earned && nth(owed, &asks).is_some() {
            return Err("a fault cancels an answer that was owed".to_owned());
        }
        Ok(Said::Refusal(Reply::Bye))
    }
}

/// What the server says to a value for its own topic.
const OWN: &[u8] = b"utc_time is the server's own topic";
/// What it may refuse.
const REFUSALS: [&[u8]; 3] =
    [b"too many topics", b"too many subscriptions on this connection", b"too busy: try again"];
/// Why it may end a connection of its own accord.
const BYES: [&[u8]; 3] = [
    b"too slow",
    b"the storage for slow receivers failed",
    b"the server takes no more connections",
];

impl Workload for Hub {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let kind = draw.below(KIND, 40);
        let topic = self.taste(draw);
        let place = self.place(topic);
        let waits = self.echoes.iter().any(|(at, _)| *at == topic);
        Some(match (kind, place.state) {
            (0, _) => return None,
            (1, _) => Request::Bad(draw.below(BAD, BADS) as u8),
            (2..4, _) => Request::Ask,
            (4..7, State::In) if !waits => Request::Unsub(topic),
            (7..9, State::In) => Request::SubAgain(topic),
            // What is on disk cannot be told from what comes anew.
            (9..18, State::Out) if !(spills(topic) && place.nth > 0) => {
                self.subscribed += 1;
                Request::Sub(topic, self.subscribed)
            }
            _ => self.publish(draw),
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let name = |topic: &Topic| TOPICS[usize::from(*topic)];
        match request {
            Request::Sub(topic, nth) => {
                let place = self.place_mut(*topic);
                (place.state, place.nth) = (State::In, *nth);
                (place.confirmed, place.resuming, place.last) = (false, false, None);
                self.client.subscribe(name(topic), &mut self.out);
            }
            Request::SubAgain(topic) => {
                // The machine knows that it is, and says nothing.
                self.client.subscribe(name(topic), &mut self.out);
                self.out.put(&[b"sub ", name(topic), b"\n"].concat());
            }
            Request::Unsub(topic) => {
                self.place_mut(*topic).state = State::Leaving;
                self.client.unsubscribe(name(topic), &mut self.out);
                self.client.publish(UTC_TIME, b"noon", &mut self.out);
            }
            Request::Pub(topic, number, size, echo) => {
                if *echo == Echo::Due {
                    self.echoes.insert((*topic, *number));
                }
                let content = content(self.who, *number, *size);
                self.client.publish(name(topic), &content, &mut self.out);
            }
            Request::Ask => drop(self.client.publish(UTC_TIME, b"noon", &mut self.out)),
            Request::Bad(way) => {
                self.bad = true;
                let long = vec![b't'; TOPIC_MAX.max(CONTENT_MAX) + 3];
                self.out.put(match way {
                    0 => b"nonsense\r\n",
                    1 => b"get kick/a\r\n",
                    2 => b"error of mine\r\n",
                    3 => b"sub ",
                    _ => b"pub kick/a\r\n",
                });
                match way {
                    3 => self.out.put(&[&long[..=TOPIC_MAX], b"\r\n"].concat()),
                    4 => self.out.put(&long),
                    _ => {}
                }
            }
        }
        self.flush(to);
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let step = self.client.step(bytes).map_err(|fault| fault.to_string())?;
        let Step::Event { event, used } = step else { return Ok(None) };
        let what = match event {
            Event::Value(value) => self.value(owed, value)?,
            Event::Error(words) => self.error(owed, words)?,
        };
        Ok(Some(Heard { used, what }))
    }

    fn silent(&self, request: &Request) -> bool {
        match request {
            Request::Sub(..) | Request::SubAgain(_) => true,
            Request::Pub(.., echo) => *echo == Echo::Perhaps,
            Request::Unsub(_) | Request::Ask | Request::Bad(_) => false,
        }
    }

    fn lost_with(&self, request: &Request, loss: &Reply) -> bool {
        matches!((request, loss), (Request::Pub(topic, ..), Reply::Lost(at, _)) if topic == at)
    }

    fn last(&self, request: &Request) -> bool {
        matches!(request, Request::Bad(_))
    }

    fn connected(&mut self) {
        self.bad = false;
        self.echoes.clear();
        self.out = Outbox::new();
        for place in &mut self.places {
            place.confirmed = false;
            match place.state {
                State::In => {
                    // It asks again.
                    self.subscribed += 1;
                    place.nth = self.subscribed;
                    place.resuming = place.last.is_some();
                }
                State::Leaving => (place.state, place.last) = (State::Out, None),
                State::Out => {}
            }
            if place.state == State::Out {
                // Nothing of it is on this connection's disk.
                place.nth = 0;
            }
        }
        self.client.disconnected();
        self.client.connected(&mut self.out);
    }

    fn react(&mut self, to: &mut Vec<u8>) {
        self.flush(to);
    }

    fn listens(&self) -> bool {
        true
    }
}

/// The content of a value.
fn content(who: u32, number: u64, size: usize) -> Vec<u8> {
    let mut text = head(who, number);
    text.resize(text.len() + size, b'a' + (number % 26) as u8);
    text
}

/// The beginning of a value's content.
pub(super) fn head(who: u32, number: u64) -> Vec<u8> {
    format!("{who}.{number}.").into_bytes()
}

/// Whose a value is, if it is as its publisher made it.
pub(super) fn name(topic: Topic, text: &[u8]) -> Result<Name, String> {
    let mut parts = text.splitn(3, |b| *b == b'.');
    let mut part = || core::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
    if let (Some(who), Some(number)) = (part(), part())
        && let Some(rest) = parts.next()
        && rest.iter().all(|b| *b == b'a' + (number % 26) as u8)
    {
        return Ok(Name { topic, who: who as u32, number });
    }
    Err(format!("a value that nobody published: {}", text[..text.len().min(40)].escape_ascii()))
}

/// What an error means that does not end the connection.
pub(super) fn heard_error(words: &[u8]) -> Option<Reply> {
    if words == OWN {
        return Some(Reply::Error);
    }
    if REFUSALS.contains(&words) {
        return Some(Reply::Refused);
    }
    lost(words).map(|(topic, count)| Reply::Lost(topic, count))
}

/// Which topic's values are lost, and how many.
fn lost(words: &[u8]) -> Option<(Topic, u64)> {
    let words = core::str::from_utf8(words).ok()?;
    let (count, topic) = words.split_once(" messages lost, too slow: ")?;
    let topic = TOPICS.iter().position(|name| *name == topic.as_bytes())?;
    Some((topic as Topic, count.parse().ok()?))
}

/// Which of the requests it is that waits.
fn nth(owed: &mut dyn Iterator<Item = &Request>, is: &dyn Fn(&Request) -> bool) -> Option<usize> {
    owed.enumerate().find(|(_, request)| is(request)).map(|(nth, _)| nth)
}
