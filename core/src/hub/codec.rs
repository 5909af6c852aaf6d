//! The lines.

use crate::fanout::{Draft, Mark};
use crate::frame::line::Lines;
use crate::hub::clock::UTC_TIME;
use alloc::vec::Vec;

/// The longest topic, in bytes.
pub const TOPIC_MAX: usize = 255;
/// The longest content, in bytes.
pub const CONTENT_MAX: usize = 65_536;

/// The framing of both directions. LF alone ends a line too.
#[must_use]
pub fn lines() -> Lines {
    Lines::lf_or_crlf(CONTENT_MAX)
}

/// What a line means that is no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Content of this topic follows.
    Pub(&'a [u8]),
    /// Tell me about this topic.
    Sub(&'a [u8]),
    /// Do not any more.
    Unsub(&'a [u8]),
    /// What does the server hold?
    Stats,
    /// From the server: what it does not do, and why.
    Error(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let Some(space) = memchr::memchr(b' ', line) else {
            return match line {
                b"stats" => Ok(Self::Stats),
                _ => Err("a line without a space: allowed are sub, unsub and pub with a topic"),
            };
        };
        let (verb, rest) = (&line[..space], &line[space + 1..]);
        if verb == b"error" {
            return Ok(Self::Error(rest));
        }
        if rest.len() > TOPIC_MAX {
            return Err("a topic over 255 bytes");
        }
        match verb {
            b"pub" => Ok(Self::Pub(rest)),
            b"sub" => Ok(Self::Sub(rest)),
            b"unsub" => Ok(Self::Unsub(rest)),
            _ => Err("an unknown verb: allowed are sub, unsub and pub"),
        }
    }
}

/// A message of a topic, as publishers send and subscribers get it.
#[must_use]
pub fn message(topic: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + topic.len() + 2 + content.len() + 2);
    for part in [&b"pub "[..], topic, b"\r\n", content, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What subscribers hear of the link to other servers.
#[must_use]
pub fn mark(topic: &[u8], mark: Mark) -> Draft {
    let what = match mark {
        Mark::Down => &b"error no link to the other servers: "[..],
        Mark::Up => b"error the link to the other servers is back: ",
        Mark::Gap => b"error messages of other servers may be lost: ",
    };
    Draft { bytes: [what, topic, b"\r\n"].concat(), notice: true, ..Draft::default() }
}

/// A message that another server encoded, for [`Bridge`](crate::fanout::Bridge).
#[must_use]
pub fn redraft(topic: &[u8], bytes: &[u8]) -> Option<Draft> {
    let rest = bytes.strip_prefix(b"pub ")?.strip_prefix(topic)?;
    let content = rest.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let lines = |part: &[u8]| memchr::memchr2(b'\r', b'\n', part).is_some();
    let good = topic.len() <= TOPIC_MAX && topic != UTC_TIME && !lines(topic);
    let good = good && content.len() <= CONTENT_MAX && memchr::memchr(b'\n', content).is_none();
    good.then(|| Draft { bytes: message(topic, content), ..Draft::default() })
}
