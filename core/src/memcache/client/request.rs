//! Requests and how they look on the wire (protocol.txt of memcached, sections "Storage
//! commands" to "Other commands").

use super::{Expected, Verb};
use crate::conn::Outbox;
use crate::memcache::store::KEY_MAX;
use core::fmt;

/// Longest command line that servers accept for anything but get and gets, in bytes.
const MAX_COMMAND: usize = 2048;

/// One request of the classic text protocol.
///
/// `exptime` is in seconds: 0 never expires, up to 30 days counts from now, more is an absolute
/// Unix time, negative has already expired. With `noreply` the server stays silent, so nobody
/// learns what became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request<'a> {
    /// get; gets with `cas`; gat or gats with `touch`, the new exptime of what is found.
    Get {
        /// At least one.
        keys: &'a [&'a [u8]],
        /// Also ask for the cas number of each item.
        cas: bool,
        /// Also give each item this exptime. All keys together then fit in one 2048-byte line.
        touch: Option<i32>,
    },
    /// set, add, replace, append, prepend or cas.
    Store {
        /// Which of them.
        verb: Verb,
        /// Where to.
        key: &'a [u8],
        /// Opaque to the server, kept with the item (append and prepend keep the old ones).
        flags: u32,
        /// When the item dies.
        exptime: i32,
        /// Any bytes, at most [`Limits::value`](super::Limits::value) of them.
        value: &'a [u8],
        /// Ask for no reply.
        noreply: bool,
    },
    /// delete
    Delete {
        /// What.
        key: &'a [u8],
        /// Ask for no reply.
        noreply: bool,
    },
    /// incr: wraps at 2^64.
    Incr {
        /// The item, which holds a decimal number.
        key: &'a [u8],
        /// How much.
        delta: u64,
        /// Ask for no reply.
        noreply: bool,
    },
    /// decr: stops at 0.
    Decr {
        /// The item, which holds a decimal number.
        key: &'a [u8],
        /// How much.
        delta: u64,
        /// Ask for no reply.
        noreply: bool,
    },
    /// touch
    Touch {
        /// What.
        key: &'a [u8],
        /// When it dies now.
        exptime: i32,
        /// Ask for no reply.
        noreply: bool,
    },
    /// flush_all, after `delay` seconds if there is one.
    FlushAll {
        /// Seconds from now; `None` is at once.
        delay: Option<u32>,
        /// Ask for no reply.
        noreply: bool,
    },
    /// verbosity
    Verbosity {
        /// How much the server logs.
        level: u32,
        /// Ask for no reply.
        noreply: bool,
    },
    /// version
    Version,
    /// stats
    Stats(Stats),
    /// quit: the server finishes its replies and closes. Nothing can be sent afterwards.
    Quit,
}

/// The statistics whose lines all start with `STAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stats {
    /// The general ones.
    #[default]
    General,
    /// Counters and settings by name.
    Settings,
    /// By slab class.
    Items,
    /// By slab class, memory.
    Slabs,
    /// Items by size.
    Sizes,
    /// By connection.
    Conns,
    /// Sets the counters to zero; answered with one word.
    Reset,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A retrieval names no key.
    NoKey,
    /// A key is empty, longer than 250 bytes, or has a space or a control character in it.
    BadKey,
    /// The value is longer than the limit.
    ValueTooLarge {
        /// Its length in bytes.
        len: usize,
        /// [`Limits::value`](super::Limits::value).
        limit: usize,
    },
    /// The command line is longer than servers accept: ask for fewer keys at a time.
    LineTooLong {
        /// Its length in bytes.
        len: usize,
        /// What servers accept.
        limit: usize,
    },
    /// As many requests are in flight as the window allows: take replies first.
    WindowFull {
        /// [`Limits::window`](super::Limits::window).
        limit: usize,
    },
    /// `quit` was sent or the connection ended.
    Closed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("a retrieval needs at least one key"),
            Self::BadKey => {
                f.write_str("a key has 1 to 250 bytes, none of them a space or a control character")
            }
            Self::ValueTooLarge { len, limit } => {
                write!(f, "the value has {len} bytes, at most {limit} are allowed")
            }
            Self::LineTooLong { len, limit } => write!(
                f,
                "the command line has {len} bytes, at most {limit} are allowed: name fewer keys"
            ),
            Self::WindowFull { limit } => {
                write!(f, "{limit} requests are in flight, no more are allowed: take replies first")
            }
            Self::Closed => f.write_str("the connection takes no more requests"),
        }
    }
}

impl core::error::Error for Refusal {}

impl Request<'_> {
    /// What will come back; `None` for nothing.
    #[inline]
    pub(super) fn expects(&self) -> Option<Expected> {
        let (expected, noreply) = match *self {
            Self::Get { keys, cas, .. } => {
                let left = u32::try_from(keys.len()).unwrap_or(u32::MAX);
                (Expected::Values { left, hits: 0, cas }, false)
            }
            Self::Store { noreply, .. } => (Expected::Stored, noreply),
            Self::Delete { noreply, .. } => (Expected::Deleted, noreply),
            Self::Incr { noreply, .. } | Self::Decr { noreply, .. } => (Expected::Number, noreply),
            Self::Touch { noreply, .. } => (Expected::Touched, noreply),
            Self::FlushAll { noreply, .. } | Self::Verbosity { noreply, .. } => {
                (Expected::Ok, noreply)
            }
            Self::Version => (Expected::Version, false),
            Self::Stats(_) => (Expected::Stats { lines: 0 }, false),
            Self::Quit => return None,
        };
        (!noreply).then_some(expected)
    }

    /// Appends the request, or nothing if it is refused.
    #[inline]
    pub(super) fn encode(&self, max_value: usize, out: &mut Outbox) -> Result<(), Refusal> {
        match *self {
            Self::Get { keys, cas, touch } => encode_get(keys, cas, touch, out),
            Self::Store { verb, key, flags, exptime, value, noreply } => {
                check_key(key)?;
                if value.len() > max_value {
                    return Err(Refusal::ValueTooLarge { len: value.len(), limit: max_value });
                }
                out.put(match verb {
                    Verb::Set => b"set ",
                    Verb::Add => b"add ",
                    Verb::Replace => b"replace ",
                    Verb::Append => b"append ",
                    Verb::Prepend => b"prepend ",
                    Verb::Cas(_) => b"cas ",
                });
                out.put(key);
                put_word(out, u64::from(flags));
                put_signed(out, exptime);
                put_word(out, value.len() as u64);
                if let Verb::Cas(unique) = verb {
                    put_word(out, unique);
                }
                finish(noreply, out);
                out.put(value);
                out.put(b"\r\n");
                Ok(())
            }
            Self::Delete { key, noreply } => {
                put_keyed(b"delete ", key, out)?;
                finish(noreply, out);
                Ok(())
            }
            Self::Incr { key, delta, noreply } => {
                put_keyed(b"incr ", key, out)?;
                put_word(out, delta);
                finish(noreply, out);
                Ok(())
            }
            Self::Decr { key, delta, noreply } => {
                put_keyed(b"decr ", key, out)?;
                put_word(out, delta);
                finish(noreply, out);
                Ok(())
            }
            Self::Touch { key, exptime, noreply } => {
                put_keyed(b"touch ", key, out)?;
                put_signed(out, exptime);
                finish(noreply, out);
                Ok(())
            }
            Self::FlushAll { delay, noreply } => {
                out.put(b"flush_all");
                if let Some(delay) = delay {
                    put_word(out, u64::from(delay));
                }
                finish(noreply, out);
                Ok(())
            }
            Self::Verbosity { level, noreply } => {
                out.put(b"verbosity");
                put_word(out, u64::from(level));
                finish(noreply, out);
                Ok(())
            }
            Self::Version => {
                out.put(b"version\r\n");
                Ok(())
            }
            Self::Stats(which) => {
                out.put(match which {
                    Stats::General => b"stats\r\n",
                    Stats::Settings => b"stats settings\r\n",
                    Stats::Items => b"stats items\r\n",
                    Stats::Slabs => b"stats slabs\r\n",
                    Stats::Sizes => b"stats sizes\r\n",
                    Stats::Conns => b"stats conns\r\n",
                    Stats::Reset => b"stats reset\r\n",
                });
                Ok(())
            }
            Self::Quit => {
                out.put(b"quit\r\n");
                Ok(())
            }
        }
    }
}

#[inline]
fn encode_get(
    keys: &[&[u8]],
    cas: bool,
    touch: Option<i32>,
    out: &mut Outbox,
) -> Result<(), Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoKey);
    }
    for key in keys {
        check_key(key)?;
    }
    let before = (out.mark(), out.len());
    out.put(match (cas, touch) {
        (false, None) => b"get",
        (true, None) => b"gets",
        (false, Some(_)) => b"gat",
        (true, Some(_)) => b"gats",
    });
    if let Some(exptime) = touch {
        put_signed(out, exptime);
    }
    for key in keys {
        out.put_u8(b' ');
        out.put(key);
    }
    out.put(b"\r\n");
    // Servers read a get or gets of any length, the others only up to one short line.
    let len = out.len() - before.1;
    if touch.is_some() && len > MAX_COMMAND {
        out.truncate(before.0);
        return Err(Refusal::LineTooLong { len, limit: MAX_COMMAND });
    }
    Ok(())
}

/// The rule of protocol.txt ("Keys"), which every server understands; some take more.
#[inline]
fn check_key(key: &[u8]) -> Result<(), Refusal> {
    let fits = !key.is_empty() && key.len() <= KEY_MAX;
    if fits && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f) {
        Ok(())
    } else {
        Err(Refusal::BadKey)
    }
}

#[inline]
fn put_keyed(command: &[u8], key: &[u8], out: &mut Outbox) -> Result<(), Refusal> {
    check_key(key)?;
    out.put(command);
    out.put(key);
    Ok(())
}

#[inline]
fn put_word(out: &mut Outbox, n: u64) {
    out.put_u8(b' ');
    out.put_u64(n);
}

#[inline]
fn put_signed(out: &mut Outbox, n: i32) {
    out.put(if n < 0 { b" -" } else { b" " });
    out.put_u64(u64::from(n.unsigned_abs()));
}

#[inline]
fn finish(noreply: bool, out: &mut Outbox) {
    out.put(if noreply { b" noreply\r\n" } else { b"\r\n" });
}
