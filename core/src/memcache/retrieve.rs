//! `get`, `gets`, `gat`, `gats`: a list of keys of any length, answered key by key as it arrives.
//!
//! Holding the line until its end would need a limit that real clients meet (187 KB of keys have
//! been seen), so a list is consumed word by word: what is kept is one incomplete word. A line
//! that fits into [`LINE_MAX`](super::command::LINE_MAX) is checked before anything is answered,
//! so that a bad key gives one error line and nothing else, as in memcached 1.6.45; in a longer
//! one the error line follows the values of the keys before it.

use crate::conn::{Cx, Outbox, Session, Stop};
use crate::engine::Shards;
use crate::memcache::command::{Error, parse_i64};
use crate::memcache::expiry::Expiry;
use crate::memcache::server::{Part, Shared};
use crate::memcache::store::{Hit, KEY_MAX, ValueRef};

/// A key list under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retrieval {
    /// `gets`, `gats`: the reply has the cas unique.
    cas: bool,
    touch: Touch,
    /// At least one key was seen.
    any: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    No,
    /// `gat`, `gats`: the first word is the exptime.
    Awaited,
    To(Expiry),
}

/// How far a key list got.
pub(super) enum Progress {
    /// The line ended and the reply is complete.
    Done,
    /// A word is bad: tell the client, and swallow the line's rest.
    Bad(Error),
    /// Not done.
    Stopped(Stop),
}

impl Retrieval {
    /// Recognises a retrieval command; returns how long its name and the space behind it are.
    #[inline]
    pub(super) fn begin(line: &[u8]) -> Option<(Self, usize)> {
        let kind = |cas, touch| Self { cas, touch, any: false };
        match line {
            [b'g', b'e', b't', b' ', ..] => Some((kind(false, Touch::No), 4)),
            [b'g', b'e', b't', b's', b' ', ..] => Some((kind(true, Touch::No), 5)),
            [b'g', b'a', b't', b' ', ..] => Some((kind(false, Touch::Awaited), 4)),
            [b'g', b'a', b't', b's', b' ', ..] => Some((kind(true, Touch::Awaited), 5)),
            _ => None,
        }
    }

    /// Checks a whole line (its words, without the line end) before anything is answered.
    pub(super) fn check(self, words: &[u8]) -> Result<(), Error> {
        // Shorter than any key that is too long.
        if words.len() <= KEY_MAX {
            return Ok(());
        }
        let long = words.split(|b| *b == b' ').any(|word| word.len() > KEY_MAX);
        if long { Err(Error::BadFormat) } else { Ok(()) }
    }

    /// Answers a list of one key that `input` holds whole, the common case, with a single search.
    /// Returns how many bytes were consumed; `None` if it is anything else.
    #[inline]
    pub(super) fn run_single<S, Sh>(
        mut self,
        cx: &mut Cx<'_, S>,
        input: &[u8],
        ahead: &mut Ahead<'_>,
    ) -> Option<usize>
    where
        S: Session<Shared = Shared<Sh>>,
        Sh: Shards<Part>,
    {
        // The key, CR and LF.
        let window = &input[..input.len().min(KEY_MAX + 2)];
        let end = memchr::memchr2(b' ', b'\n', window).filter(|end| window[*end] == b'\n')?;
        let key = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        if key.is_empty() || key.len() > KEY_MAX || self.touch != Touch::No {
            return None;
        }
        ahead.run(cx.shared, input.len());
        self.word(cx, key).ok()?;
        cx.out.put(b"END\r\n");
        Some(end + 1)
    }

    /// Answers the keys in `input`; returns how many bytes were consumed. `ahead` runs before.
    pub(super) fn run<S, Sh>(
        &mut self,
        cx: &mut Cx<'_, S>,
        input: &[u8],
        ahead: &mut Ahead<'_>,
    ) -> (usize, Progress)
    where
        S: Session<Shared = Shared<Sh>>,
        Sh: Shards<Part>,
    {
        let mut at = 0;
        loop {
            while input.get(at) == Some(&b' ') {
                at += 1;
            }
            ahead.run(cx.shared, input.len() - at);
            let rest = &input[at..];
            let Some(end) = memchr::memchr2(b' ', b'\n', rest) else {
                // One more byte for a CR that belongs to the line end.
                if rest.len() > KEY_MAX + 1 {
                    return (at, Progress::Bad(Error::BadFormat));
                }
                return (at, Progress::Stopped(Stop::NeedInput(rest.len() + 1)));
            };
            let last = rest[end] == b'\n';
            let word = match &rest[..end] {
                [word @ .., b'\r'] if last => word,
                word => word,
            };
            if !word.is_empty() {
                if word.len() > KEY_MAX {
                    return (at, Progress::Bad(Error::BadFormat));
                }
                if self.any
                    && let Some(stop) = cx.stop()
                {
                    return (at, Progress::Stopped(stop));
                }
                // Also in the middle: a list may be begun by many before the first value is asked for.
                if cx.must_shed() {
                    return (at, Progress::Bad(Error::TooBusy));
                }
                if let Err(error) = self.word(cx, word) {
                    return (at, Progress::Bad(error));
                }
            }
            if last {
                if !self.any {
                    return (at, Progress::Bad(Error::BadFormat));
                }
                cx.out.put(b"END\r\n");
                return (at + end + 1, Progress::Done);
            }
            at += end;
        }
    }

    fn word<S, Sh>(&mut self, cx: &mut Cx<'_, S>, word: &[u8]) -> Result<(), Error>
    where
        S: Session<Shared = Shared<Sh>>,
        Sh: Shards<Part>,
    {
        let now = cx.shared.secs(cx.now);
        if self.touch == Touch::Awaited {
            let exptime = parse_i64(word).ok_or(Error::InvalidExptime)?;
            self.touch = Touch::To(cx.shared.expiry(exptime, now));
            return Ok(());
        }
        self.any = true;
        let (shared, out) = (&mut *cx.shared, &mut *cx.out);
        let (shard, hash) = shared.place(word);
        shared.shards.with(shard, |part| {
            let hit = match self.touch {
                Touch::To(expiry) => part.store.get_and_touch(now, hash, word, expiry),
                Touch::No | Touch::Awaited => part.store.get(now, hash, word),
            };
            if let Some(hit) = hit {
                put_value(out, word, &hit, self.cas);
            }
        });
        Ok(())
    }
}

/// Reads ahead of the commands being executed, a batch of keys at a time, and has the store bring
/// their memory into the cache. Has no effect that can be seen but speed.
pub(super) struct Ahead<'a> {
    /// Bytes not looked at yet.
    rest: &'a [u8],
    /// Whether `rest` begins inside a list of keys.
    in_list: bool,
}

/// A store of this many bytes is in the processor's cache anyway.
const CACHED: u64 = 1 << 20;
/// Keys looked at together: about as many misses as a core has under way.
const BATCH: usize = 12;

impl<'a> Ahead<'a> {
    /// At the front of `input`, which begins with a line, or with a word of a key list.
    pub(super) const fn new(input: &'a [u8], in_list: bool) -> Self {
        Self { rest: input, in_list }
    }

    /// Called when the execution has `left` bytes to go: looks at the next batch if it has come
    /// to the end of the last one.
    #[inline]
    pub(super) fn run<Sh: Shards<Part>>(&mut self, shared: &mut Shared<Sh>, left: usize) {
        if left <= self.rest.len() {
            self.batch(shared);
        }
    }

    fn batch<Sh: Shards<Part>>(&mut self, shared: &mut Shared<Sh>) {
        // Threads share the parts: their locks cost more than this gains.
        let gains = shared.shards.count() == 1
            && shared.shards.with(0, |part| part.store.footprint() > CACHED);
        if !gains {
            self.rest = &[];
            return;
        }
        let mut hashes = [0; BATCH];
        let mut n = 0;
        while n < BATCH {
            let Some(key) = self.key() else {
                self.rest = &[];
                break;
            };
            hashes[n] = shared.place(key).1;
            n += 1;
        }
        // A single key is looked up at once anyway.
        if n > 1 {
            shared.shards.with(0, |part| part.store.warm(&hashes[..n]));
        }
    }

    /// The next key to get; `None` at anything else, or at the end.
    #[inline]
    fn key(&mut self) -> Option<&'a [u8]> {
        if !self.in_list {
            let (_, name) = Retrieval::begin(self.rest)?;
            self.rest = &self.rest[name..];
        }
        let end = memchr::memchr2(b' ', b'\n', self.rest)?;
        let key = self.rest[..end].strip_suffix(b"\r").unwrap_or(&self.rest[..end]);
        self.in_list = self.rest[end] == b' ';
        self.rest = &self.rest[end + 1..];
        Some(key)
    }
}

/// `VALUE key flags len [cas]`, the value, line ends. Small values are copied, large ones shared.
#[inline]
fn put_value(out: &mut Outbox, key: &[u8], hit: &Hit<'_>, cas: bool) {
    let value = hit.value.as_slice();
    out.put(b"VALUE ");
    out.put(key);
    if hit.flags == 0 {
        out.put(b" 0 ");
    } else {
        out.put_u8(b' ');
        out.put_u64(u64::from(hit.flags));
        out.put_u8(b' ');
    }
    out.put_u64(value.len() as u64);
    if cas {
        out.put_u8(b' ');
        out.put_u64(hit.cas);
    }
    out.put(b"\r\n");
    match hit.value {
        ValueRef::Inline(bytes) => out.put(bytes),
        ValueRef::Shared(bytes) => out.put_shared(bytes),
    }
    out.put(b"\r\n");
}
