//! Writing lines.

use super::config::{Ending, Lines, Lone, Terminator};
use crate::frame::{Encode, EncodeError, Meta, Sink};

/// `Meta::default()` writes the terminator of the configuration: CR LF where both are read, LF
/// for [`Lines::any_newline`], the first byte of the set for [`Lines::any_of`]. The meta of a
/// decoded line writes the terminator it had, except that a lone CR is written as CR LF: what
/// follows it could be an LF.
impl Encode for Lines {
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError> {
        let (terminator, len) = self.terminator_for(meta)?;
        if payload.len() > self.max {
            let (len, limit) = (payload.len() as u64, self.max as u64);
            return Err(EncodeError::TooLarge { len, limit });
        }
        let terminator = terminator.get(..len).unwrap_or_default();
        match self.forbidden(payload, terminator) {
            Some(at) => Err(EncodeError::Forbidden { at }),
            None => Ok(payload.len() + len),
        }
    }

    fn write_checked<S: Sink>(&self, meta: Meta, payload: &[u8], out: &mut S) {
        if let Ok((terminator, len)) = self.terminator_for(meta) {
            out.put(payload);
            out.put(terminator.get(..len).unwrap_or_default());
        }
    }
}

impl Lines {
    /// The bytes that end a line with this meta.
    fn terminator_for(&self, meta: Meta) -> Result<([u8; 8], usize), EncodeError> {
        let ending = match (meta.kind, Ending::of(meta)) {
            (0, _) => None,
            (_, Some(ending)) => Some(ending),
            _ => return Err(EncodeError::BadMeta),
        };
        let lf = Ok(([b'\n', 0, 0, 0, 0, 0, 0, 0], 1));
        let crlf = Ok(([b'\r', b'\n', 0, 0, 0, 0, 0, 0], 2));
        match (&self.terminator, ending) {
            (Terminator::Delimiter { bytes, len }, None | Some(Ending::Delimiter)) => {
                Ok((*bytes, usize::from(*len)))
            }
            (Terminator::AnyOf { written }, None) => Ok(([*written, 0, 0, 0, 0, 0, 0, 0], 1)),
            (Terminator::AnyOf { .. }, Some(Ending::Delimiter)) => match u8::try_from(meta.extra) {
                Ok(byte) if self.needles.contain(byte) => Ok(([byte, 0, 0, 0, 0, 0, 0, 0], 1)),
                _ => Err(EncodeError::BadMeta),
            },
            (Terminator::Lf | Terminator::AnyNewline, None | Some(Ending::Lf)) => lf,
            (Terminator::LfOrCrLf, Some(Ending::Lf)) => lf,
            (Terminator::CrLf | Terminator::LfOrCrLf, None | Some(Ending::CrLf)) => crlf,
            (Terminator::AnyNewline, Some(Ending::Cr | Ending::CrLf)) => crlf,
            _ => Err(EncodeError::BadMeta),
        }
    }

    /// The first byte of `payload` that would end or break the line.
    fn forbidden(&self, payload: &[u8], terminator: &[u8]) -> Option<usize> {
        let position = |bad: &dyn Fn(usize, u8) -> bool| {
            payload.iter().enumerate().position(|(i, &byte)| bad(i, byte))
        };
        let strict_cr = self.lone_cr == Lone::Error;
        match &self.terminator {
            Terminator::Lf => memchr::memchr(b'\n', payload),
            Terminator::AnyNewline => memchr::memchr2(b'\r', b'\n', payload),
            // With a plain LF after it, a CR at the end would be taken for the terminator's.
            Terminator::LfOrCrLf => {
                let last = payload.len().saturating_sub(1);
                position(&|i, byte| {
                    let lost = terminator == b"\n" && i == last;
                    byte == b'\n' || (byte == b'\r' && (strict_cr || lost))
                })
            }
            Terminator::CrLf => position(&|i, byte| {
                let after_cr = i > 0 && payload.get(i - 1) == Some(&b'\r');
                (byte == b'\n' && (after_cr || self.lone_lf == Lone::Error))
                    || (byte == b'\r' && strict_cr)
            }),
            Terminator::AnyOf { .. } => position(&|_, byte| self.needles.contain(byte)),
            Terminator::Delimiter { .. } => {
                // Also where it would begin inside the payload and end in the terminator.
                let len = terminator.len();
                (0..payload.len()).find(|&at| {
                    let rest = payload.get(at..).unwrap_or_default();
                    let inside = rest.get(..len).unwrap_or(rest);
                    let (front, back) = terminator.split_at(inside.len());
                    inside == front && terminator.starts_with(back)
                })
            }
        }
    }
}
