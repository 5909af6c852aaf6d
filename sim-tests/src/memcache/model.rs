//! What a memcached may answer: one key, one operation at a time.

use crate::check::Spec;
use crate::memcache::work::{Memcache, Reply, Request, Verb};
use core::marker::PhantomData;
use drywire::memcache::store::item_limit;
use std::rc::Rc;

/// One key of a memcached in which nothing is evicted.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    item_max: u32,
    ops: PhantomData<KeyOp<'a>>,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    value: Rc<Vec<u8>>,
    flags: u32,
    /// Its cas unique, once a client has seen it.
    token: Option<u64>,
    /// Alive before the first of these seconds, gone from the second one on.
    until: Option<(u64, u64)>,
}

/// A request as far as it concerns one key, with what came of it.
#[derive(Clone, Copy, Debug)]
pub struct KeyOp<'a> {
    /// The request.
    pub request: &'a Request,
    /// Which key.
    pub key: u8,
    /// The reply, if one is known.
    pub reply: Option<&'a Reply>,
    /// For a retrieval with a known reply: which of its hits is this key's; `None` is a miss.
    pub hit: Option<usize>,
    /// The server's clock, in seconds, when the request began to arrive: a time to live may be
    /// counted from there.
    pub began: u64,
    /// The server's clock, in seconds, when it was executed at the earliest ...
    pub since: u64,
    /// ... and at the latest.
    pub now: u64,
}

impl KeyOp<'_> {
    fn until(&self, ttl: u32) -> Option<(u64, u64)> {
        (ttl > 0).then(|| (self.began + u64::from(ttl), self.now + u64::from(ttl)))
    }
}

const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";
const NON_NUMERIC: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value";

/// What the object would answer, and its state afterwards.
type Step = Option<(Reply, Option<Item>)>;

impl Model<'_> {
    /// A memcached whose items are at most `item_max` bytes (`-I`).
    #[must_use]
    pub const fn new(item_max: u32) -> Self {
        Self { item_max, ops: PhantomData }
    }

    /// Whether the line of `request` is enough to refuse it.
    #[must_use]
    pub fn refuses(self, request: &Request) -> bool {
        matches!(request, Request::Store { key, flags, value, .. }
            if self.too_large(*key, *flags, value.len()))
    }

    fn too_large(self, key: u8, flags: u32, len: usize) -> bool {
        len > item_limit(self.item_max, Memcache::name(key).len(), flags) as usize
    }

    fn store(self, live: Option<&Item>, op: &KeyOp<'_>) -> Step {
        let Request::Store { verb, key, flags, ttl, value, .. } = op.request else { return None };
        let word = |w| Reply::Word(w);
        let same = || live.cloned();
        if self.too_large(*key, *flags, value.len()) {
            let after = if *verb == Verb::Set { None } else { same() };
            return Some((Reply::Error(TOO_LARGE.to_owned()), after));
        }
        let fresh = || {
            Some(Item {
                value: Rc::new(value.clone()),
                flags: *flags,
                token: None,
                until: op.until(*ttl),
            })
        };
        let joined = |front: &[u8], back: &[u8], item: &Item| {
            let all = [front, back].concat();
            if self.too_large(*key, item.flags, all.len()) {
                return (word("NOT_STORED"), same());
            }
            (word("STORED"), Some(Item { value: Rc::new(all), token: None, ..item.clone() }))
        };
        Some(match (verb, live) {
            (Verb::Set, _) | (Verb::Add, None) | (Verb::Replace, Some(_)) => {
                (word("STORED"), fresh())
            }
            (Verb::Add, Some(_)) | (Verb::Replace | Verb::Append | Verb::Prepend, None) => {
                (word("NOT_STORED"), same())
            }
            (Verb::Append, Some(item)) => joined(&item.value, value, item),
            (Verb::Prepend, Some(item)) => joined(value, &item.value, item),
            (Verb::Cas(_), None) => (word("NOT_FOUND"), None),
            // A token that nobody has seen yet may be this one, if it is from an earlier life.
            (Verb::Cas(_), Some(Item { token: None, .. })) if op.reply == Some(&word("STORED")) => {
                (word("STORED"), fresh())
            }
            (Verb::Cas(given), Some(item)) if item.token == Some(*given) => {
                (word("STORED"), fresh())
            }
            (Verb::Cas(_), Some(_)) => (word("EXISTS"), same()),
        })
    }

    fn count(self, live: Option<&Item>, delta: u64, down: bool) -> (Reply, Option<Item>) {
        let Some(item) = live else { return (Reply::Word("NOT_FOUND"), None) };
        let Some(number) = number(&item.value) else {
            return (Reply::Error(NON_NUMERIC.to_owned()), live.cloned());
        };
        let next = if down { number.saturating_sub(delta) } else { number.wrapping_add(delta) };
        let mut value = next.to_string().into_bytes();
        // Written in place: a shorter number is padded.
        value.resize(value.len().max(item.value.len()), b' ');
        (Reply::Number(next), Some(Item { value: Rc::new(value), token: None, ..item.clone() }))
    }

    fn get(live: Option<&Item>, op: &KeyOp<'_>) -> Option<Option<Item>> {
        let Request::Get { touch, .. } = op.request else { return None };
        let mut after = live.cloned();
        if let Some(Reply::Values(values)) = op.reply {
            match (&mut after, op.hit.map(|hit| &values[hit])) {
                (None, None) => {}
                (Some(item), Some((_, flags, token, value))) => {
                    if *flags != item.flags || *value != **item.value {
                        return None;
                    }
                    if token.is_some() && item.token.is_some() && *token != item.token {
                        return None;
                    }
                    item.token = token.or(item.token);
                }
                (None, Some(_)) | (Some(_), None) => return None,
            }
        }
        if let (Some(item), Some(ttl)) = (&mut after, touch) {
            item.until = op.until(*ttl);
        }
        Some(after)
    }
}

impl<'a> Spec for Model<'a> {
    /// All that the key may hold: more than one thing when a request whose reply is not known met
    /// an item that had expired, or had not yet.
    type State = Vec<Option<Item>>;
    type Op = KeyOp<'a>;

    fn start(&self) -> Self::State {
        vec![None]
    }

    fn step(&self, state: &Self::State, op: &KeyOp<'a>) -> Option<Self::State> {
        let mut after = Vec::with_capacity(1);
        for held in state {
            let until = held.as_ref().and_then(|item| item.until);
            let (alive, gone) =
                until.map_or((true, false), |(from, to)| (op.since < to, op.now >= from));
            for (possible, live) in [(alive, held.as_ref()), (gone, None)] {
                if possible
                    && let Some(next) = self.answer(live, op)
                    && !after.contains(&next)
                {
                    after.push(next);
                }
            }
        }
        (!after.is_empty()).then_some(after)
    }
}

impl Model<'_> {
    fn answer(&self, live: Option<&Item>, op: &KeyOp<'_>) -> Option<Option<Item>> {
        let (reply, after) = match op.request {
            Request::Store { .. } => self.store(live, op)?,
            Request::Get { .. } => return Self::get(live, op),
            Request::Delete { .. } => match live {
                Some(_) => (Reply::Word("DELETED"), None),
                None => (Reply::Word("NOT_FOUND"), None),
            },
            Request::Count { delta, down, .. } => self.count(live, *delta, *down),
            Request::Touch { ttl, .. } => match live {
                Some(item) => {
                    let until = op.until(*ttl);
                    (Reply::Word("TOUCHED"), Some(Item { until, ..item.clone() }))
                }
                None => (Reply::Word("NOT_FOUND"), None),
            },
            Request::Flush { .. } => (Reply::Word("OK"), None),
            Request::Version | Request::Bad(_) | Request::Quit => return Some(live.cloned()),
        };
        op.reply.is_none_or(|given| *given == reply).then_some(after)
    }
}

/// A stored number: white space around it and a sign `+` are tolerated.
fn number(value: &[u8]) -> Option<u64> {
    let text = value.trim_ascii();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}
