//! The requests of a memcached client, drawn; their bytes; the replies, read.

use crate::decide::Site;
use crate::workload::{Draw, Heard, Said, Workload};
use core::fmt;
use core::ops::Range;
use std::io::Write as _;

/// A request. Keys are small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A storage command.
    Store {
        /// Which.
        verb: Verb,
        /// The key.
        key: u8,
        /// The client's flags.
        flags: u32,
        /// Seconds to live; 0 = for ever.
        ttl: u32,
        /// The bytes.
        value: Vec<u8>,
        /// Without a reply.
        quiet: bool,
    },
    /// `get`, `gets`, `gat`, `gats`.
    Get {
        /// In order, perhaps more than once.
        keys: Vec<u8>,
        /// With cas uniques.
        cas: bool,
        /// Sets the time to live.
        touch: Option<u32>,
    },
    /// `delete`
    Delete {
        /// The key.
        key: u8,
        /// Without a reply.
        quiet: bool,
    },
    /// `incr`, `decr`
    Count {
        /// The key.
        key: u8,
        /// By how much.
        delta: u64,
        /// `decr`
        down: bool,
        /// Without a reply.
        quiet: bool,
    },
    /// `touch`
    Touch {
        /// The key.
        key: u8,
        /// Seconds to live; 0 = for ever.
        ttl: u32,
        /// Without a reply.
        quiet: bool,
    },
    /// `flush_all`
    Flush {
        /// Without a reply.
        quiet: bool,
    },
    /// `version`
    Version,
    /// Something broken that gets one error line and changes nothing.
    Bad(u8),
    /// `quit`
    Quit,
}

impl Request {
    /// The length of what follows its line.
    pub(super) fn body(&self) -> u64 {
        match self {
            Self::Store { value, .. } => value.len() as u64 + 2,
            _ => 0,
        }
    }
}

/// A storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// In any case.
    Set,
    /// If absent.
    Add,
    /// If present.
    Replace,
    /// Behind.
    Append,
    /// Before.
    Prepend,
    /// If it still has this cas unique.
    Cas(u64),
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `STORED`, `NOT_FOUND`, `OK`, ...
    Word(&'static str),
    /// Hits of a retrieval: key, flags, cas unique, bytes.
    Values(Vec<(u8, u32, Option<u64>, Vec<u8>)>),
    /// After incr or decr.
    Number(u64),
    /// `VERSION`
    Version(String),
    /// An error line.
    Error(String),
}

/// Different keys.
pub(super) const KEYS: u8 = 6;

/// A caller's memcached.
#[derive(Debug)]
pub struct Memcache {
    who: u32,
    /// The cas unique last seen, by key.
    tokens: [u64; KEYS as usize],
    fill: Vec<u8>,
    /// Items may have a time to live.
    ttl: bool,
    /// The reply that is coming in.
    reading: Reading,
}

/// How far a reply that is not whole yet was read: a long one comes in hundreds of pieces, and
/// no piece is a reason to begin again.
#[derive(Debug, Default)]
struct Reading {
    /// Its values that are whole, and where their bytes are.
    values: Vec<(u8, u32, Option<u64>, Range<usize>)>,
    /// What was read ends here.
    at: usize,
    /// The value that comes next ends here.
    end: usize,
}

const KIND: Site = Site::new("op.kind");
const WHICH: Site = Site::new("op.key");
const SIZE: Site = Site::new("op.size");
const FLAGS: Site = Site::new("op.flags");
const TTL: Site = Site::new("op.ttl");
const QUIET: Site = Site::new("op.quiet");
const MORE: Site = Site::new("op.more");
const DELTA: Site = Site::new("op.delta");
const STALE: Site = Site::new("op.stale");
const LARGEST: Site = Site::new("caller.value");

/// What each drawn kind is, by its number; 0 leaves the operation out.
const KINDS: &[Kind] = &[
    Kind::None,
    Kind::Store(Verb::Set),
    Kind::Store(Verb::Set),
    Kind::Get,
    Kind::Get,
    Kind::Get,
    Kind::Gets,
    Kind::Gets,
    Kind::Store(Verb::Cas(0)),
    Kind::Store(Verb::Cas(0)),
    Kind::Store(Verb::Add),
    Kind::Store(Verb::Replace),
    Kind::Store(Verb::Append),
    Kind::Store(Verb::Prepend),
    Kind::Number,
    Kind::Count,
    Kind::Count,
    Kind::Delete,
    Kind::Delete,
    Kind::Touch,
    Kind::Gat,
    Kind::MultiGet,
    Kind::Rare,
];

#[derive(Clone, Copy)]
enum Kind {
    None,
    Store(Verb),
    Get,
    Gets,
    Gat,
    MultiGet,
    Number,
    Count,
    Delete,
    Touch,
    Rare,
}

/// Requests that are broken, each answered by one error line.
const BAD: &[&[u8]] = &[
    b"bogus\r\n",
    b"get\r\n",
    b"set a b c\r\n",
    b"incr n notanumber\r\n",
    b"set k0 0 0 -1\r\n",
    b"set k0 0 0 3\r\nabcXY",
    b"touch k0 soon\r\n",
    b"GET k0\r\n",
    b"\r\n",
];

impl Memcache {
    /// The memcached of caller `who`.
    #[must_use]
    pub fn new(who: u32) -> Self {
        Self {
            who,
            tokens: [0; KEYS as usize],
            fill: Vec::new(),
            ttl: true,
            reading: Reading::default(),
        }
    }

    /// Without times to live, for servers whose clock is not ours.
    #[must_use]
    pub fn timeless(who: u32) -> Self {
        Self { ttl: false, ..Self::new(who) }
    }

    /// The name of a key: the last one is as long as a key may be.
    #[must_use]
    pub fn name(key: u8) -> Vec<u8> {
        let mut name = format!("k{key}").into_bytes();
        if key == KEYS - 1 {
            name.resize(250, b'x');
        }
        name
    }

    /// The number of a key's name.
    #[must_use]
    pub fn number(name: &[u8]) -> Option<u8> {
        let (known, pad) = name.split_at_checked(2)?;
        let key = known[1].wrapping_sub(b'0');
        let padded = if key == KEYS - 1 { 248 } else { 0 };
        let whole = known[0] == b'k' && pad.len() == padded && pad.iter().all(|b| *b == b'x');
        (key < KEYS && whole).then_some(key)
    }

    /// Bytes that tell who wrote them and when.
    fn value(&mut self, draw: &mut Draw<'_>) -> Vec<u8> {
        let who = crate::decide::Key::of(self.who, 0);
        let largest = 64 << (3 * draw.decider.below(LARGEST, who, 5));
        let size = draw.size(SIZE, largest) as usize;
        let mut value = format!("<{}.{}>", self.who, draw.key.op).into_bytes();
        while self.fill.len() < size {
            // Line ends, NULs and things that look like replies, to trip framing.
            self.fill.extend_from_slice(b"0123456789\r\nEND\r\nVALUE \0STORED\r\nset k0 0 0 1\r\n");
        }
        value.extend_from_slice(&self.fill[..size.saturating_sub(value.len())]);
        value
    }
}

impl Workload for Memcache {
    type Request = Request;
    type Reply = Reply;

    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Request> {
        let kind = KINDS[draw.below(KIND, KINDS.len() as u64) as usize];
        let key = draw.below(WHICH, u64::from(KEYS)) as u8;
        let quiet = draw.below(QUIET, 8) == 7;
        // Only the keys in the middle ever expire, and the first never does.
        let mortal = self.ttl && key % 2 == 1;
        let ttl = |draw: &mut Draw<'_>| match draw.below(TTL, 6) {
            n @ 4..6 if mortal => (n - 3) as u32 * 2,
            _ => 0,
        };
        Some(match kind {
            Kind::None => return None,
            Kind::Store(verb) => {
                let verb = match verb {
                    Verb::Cas(_) => {
                        let stale = draw.below(STALE, 6) == 5;
                        Verb::Cas(self.tokens[usize::from(key)] ^ u64::from(stale) << 62)
                    }
                    verb => verb,
                };
                let flags = draw.below(FLAGS, 3) as u32 * 0x7fff_ffff;
                let ttl = ttl(draw);
                // Whether a quiet cas took effect could not be told from its token.
                let quiet = quiet && !matches!(verb, Verb::Cas(_));
                Request::Store { verb, key, flags, ttl, value: self.value(draw), quiet }
            }
            Kind::Number => {
                let value = draw.size(DELTA, u64::MAX).to_string().into_bytes();
                Request::Store { verb: Verb::Set, key, flags: 0, ttl: 0, value, quiet }
            }
            Kind::Get => Request::Get { keys: vec![key], cas: false, touch: None },
            Kind::Gets => Request::Get { keys: vec![key], cas: true, touch: None },
            Kind::Gat => {
                let touch = Some(ttl(draw));
                Request::Get { keys: vec![key], cas: draw.below(MORE, 2) == 1, touch }
            }
            Kind::MultiGet => {
                let n = 1 + draw.size(MORE, 40);
                let keys =
                    (0..n).map(|i| (u64::from(key) + i * 5) % u64::from(KEYS)).map(|k| k as u8);
                Request::Get { keys: keys.collect(), cas: draw.below(STALE, 2) == 1, touch: None }
            }
            Kind::Count => {
                let delta = draw.size(DELTA, u64::MAX);
                Request::Count { key, delta, down: draw.below(MORE, 3) == 2, quiet }
            }
            Kind::Delete => Request::Delete { key, quiet },
            Kind::Touch => Request::Touch { key, ttl: ttl(draw), quiet },
            Kind::Rare => match draw.below(MORE, 16) {
                0..5 => Request::Version,
                5..7 => Request::Flush { quiet },
                7 => Request::Quit,
                n => Request::Bad((n as usize % BAD.len()) as u8),
            },
        })
    }

    fn encode(&mut self, request: &Request, to: &mut Vec<u8>) {
        let key = |to: &mut Vec<u8>, key: u8| to.extend_from_slice(&Self::name(key));
        let line = |to: &mut Vec<u8>, verb: &str, k: u8, rest: fmt::Arguments<'_>| {
            to.extend_from_slice(verb.as_bytes());
            key(to, k);
            // A vector takes everything.
            let _ = to.write_fmt(rest);
        };
        match request {
            Request::Store { verb, key, flags, ttl, value, .. } => {
                let word = match verb {
                    Verb::Set => "set ",
                    Verb::Add => "add ",
                    Verb::Replace => "replace ",
                    Verb::Append => "append ",
                    Verb::Prepend => "prepend ",
                    Verb::Cas(_) => "cas ",
                };
                line(to, word, *key, format_args!(" {flags} {ttl} {}", value.len()));
                if let Verb::Cas(token) = verb {
                    let _ = write!(to, " {token}");
                }
            }
            Request::Get { keys, cas, touch } => {
                to.extend_from_slice(if touch.is_some() { b"gat" } else { b"get" });
                if *cas {
                    to.push(b's');
                }
                if let Some(ttl) = touch {
                    let _ = write!(to, " {ttl}");
                }
                for k in keys {
                    to.push(b' ');
                    key(to, *k);
                }
            }
            Request::Delete { key, .. } => line(to, "delete ", *key, format_args!("")),
            Request::Count { key, delta, down, .. } => {
                let verb = if *down { "decr " } else { "incr " };
                line(to, verb, *key, format_args!(" {delta}"));
            }
            Request::Touch { key, ttl, .. } => line(to, "touch ", *key, format_args!(" {ttl}")),
            Request::Flush { .. } => to.extend_from_slice(b"flush_all"),
            Request::Version => to.extend_from_slice(b"version"),
            Request::Quit => to.extend_from_slice(b"quit"),
            Request::Bad(n) => {
                to.extend_from_slice(BAD[usize::from(*n)]);
                return;
            }
        }
        if self.silent(request) && *request != Request::Quit {
            to.extend_from_slice(b" noreply");
        }
        to.extend_from_slice(b"\r\n");
        if let Request::Store { value, .. } = request {
            to.extend_from_slice(value);
            to.extend_from_slice(b"\r\n");
        }
    }

    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Reply>>, String> {
        let read = self.reading.read(bytes);
        if read.is_err() {
            self.reading = Reading::default();
        }
        let Some((reply, used)) = read? else { return Ok(None) };
        let what = match (&reply, owed.next()) {
            (Reply::Error(text), _) if text == "ERROR Too many open connections" => {
                Said::Refusal(reply)
            }
            (_, None) => return Err(format!("a reply without a request: `{reply:?}`")),
            (_, Some(request)) if !fits(request, &reply) => {
                return Err(format!("a reply that does not fit: `{request:?}` got `{reply:?}`"));
            }
            _ => {
                if let Reply::Values(values) = &reply {
                    for (key, _, token, _) in values {
                        self.tokens[usize::from(*key)] =
                            token.unwrap_or(self.tokens[usize::from(*key)]);
                    }
                }
                Said::Answer(0, reply)
            }
        };
        Ok(Some(Heard { used, what }))
    }

    fn connected(&mut self) {
        self.reading = Reading::default();
    }

    fn silent(&self, request: &Request) -> bool {
        match request {
            Request::Store { quiet, .. }
            | Request::Delete { quiet, .. }
            | Request::Count { quiet, .. }
            | Request::Touch { quiet, .. }
            | Request::Flush { quiet } => *quiet,
            Request::Quit => true,
            Request::Get { .. } | Request::Version | Request::Bad(_) => false,
        }
    }

    fn last(&self, request: &Request) -> bool {
        *request == Request::Quit
    }
}

/// Whether a reply is one that the request can have, whatever the state of the store.
fn fits(request: &Request, reply: &Reply) -> bool {
    match (request, reply) {
        (Request::Bad(_), reply) => matches!(reply, Reply::Error(_)),
        (Request::Store { .. } | Request::Count { .. }, Reply::Error(_))
        | (Request::Count { .. }, Reply::Number(_) | Reply::Word("NOT_FOUND"))
        | (Request::Touch { .. }, Reply::Word("TOUCHED" | "NOT_FOUND"))
        | (Request::Delete { .. }, Reply::Word("DELETED" | "NOT_FOUND"))
        | (Request::Flush { .. }, Reply::Word("OK"))
        | (Request::Version, Reply::Version(_)) => true,
        (Request::Store { verb, .. }, Reply::Word(word)) => match verb {
            Verb::Set => *word == "STORED",
            Verb::Cas(_) => ["STORED", "EXISTS", "NOT_FOUND"].contains(word),
            _ => ["STORED", "NOT_STORED"].contains(word),
        },
        (Request::Get { keys, cas, .. }, Reply::Values(values)) => {
            // The hits are a subsequence of the keys.
            let mut keys = keys.iter();
            values
                .iter()
                .all(|(key, _, token, _)| token.is_some() == *cas && keys.any(|asked| asked == key))
        }
        _ => false,
    }
}

impl Reading {
    /// Reads one whole reply: a line, or all values of a retrieval. `bytes` begin with the reply,
    /// and hold at least what they held when it was not whole yet.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
        if bytes.len() < self.end {
            return Ok(None);
        }
        loop {
            let Some(end) = memchr::memchr(b'\n', &bytes[self.at..]) else {
                return if bytes.len() - self.at > 2048 {
                    Err("an endless line".to_owned())
                } else {
                    Ok(None)
                };
            };
            let line = &bytes[self.at..self.at + end];
            let shown = || line.escape_ascii().to_string();
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(format!("a line without CR: `{}`", shown()));
            };
            let at = self.at + end + 1;
            let text = core::str::from_utf8(line).map_err(|_| format!("no text: `{}`", shown()))?;
            if let Some(rest) = text.strip_prefix("VALUE ") {
                let Some((key, flags, token, len)) = header(rest) else {
                    return Err(format!("a bad header: `{}`", shown()));
                };
                self.end = at + len + 2;
                let Some(data) = bytes.get(at..self.end) else { return Ok(None) };
                if !data.ends_with(b"\r\n") {
                    return Err(format!("a value that does not end in CR LF: `{}`", shown()));
                }
                self.values.push((key, flags, token, at..at + len));
                self.at = self.end;
                continue;
            }
            if !self.values.is_empty() && text != "END" {
                return Err(format!("values, and then `{text}`"));
            }
            (self.at, self.end) = (0, 0);
            let reply = if text == "END" {
                let values = self.values.drain(..);
                let copied =
                    values.map(|(k, flags, token, at)| (k, flags, token, bytes[at].to_vec()));
                Reply::Values(copied.collect())
            } else {
                one_line(text)?
            };
            return Ok(Some((reply, at)));
        }
    }
}

/// What stands behind `VALUE`: key, flags, cas unique if there is one, and the value's length.
fn header(text: &str) -> Option<(u8, u32, Option<u64>, usize)> {
    let mut words = text.split(' ');
    let key = Memcache::number(words.next()?.as_bytes())?;
    let flags = words.next()?.parse().ok()?;
    let len = words.next()?.parse().ok()?;
    let token = words.next().map(str::parse).transpose().ok()?;
    words.next().is_none().then_some((key, flags, token, len))
}

/// A reply without values.
fn one_line(text: &str) -> Result<Reply, String> {
    const WORDS: [&str; 7] =
        ["STORED", "NOT_STORED", "EXISTS", "NOT_FOUND", "DELETED", "TOUCHED", "OK"];
    const ERRORS: [&str; 3] = ["ERROR", "CLIENT_ERROR ", "SERVER_ERROR "];
    if let Some(word) = WORDS.into_iter().find(|word| *word == text) {
        Ok(Reply::Word(word))
    } else if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.parse().map(Reply::Number).map_err(|_| format!("no number: `{text}`"))
    } else if let Some(version) = text.strip_prefix("VERSION ") {
        Ok(Reply::Version(version.to_owned()))
    } else if ERRORS.iter().any(|error| text.starts_with(error)) {
        Ok(Reply::Error(text.to_owned()))
    } else {
        Err(format!("no reply of memcached: `{text}`"))
    }
}
