//! Why a connection ended.

use crate::conn::Fault;
use core::fmt;

/// Why a connection ended: the one answer to that question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its input and everything owed was delivered.
    PeerDone,
    /// The protocol ended it (`quit`).
    Finished,
    /// This side closed it (drain, shutdown).
    Local,
    /// Refused at the door: too many connections.
    Refused,
    /// The peer broke the protocol.
    Fault(Fault),
    /// The peer took none of its output for too long, or too much of it was waiting
    /// ([`Limits::output`](crate::conn::Limits::output)).
    SlowReader,
    /// Nothing happened for too long ([`Limits::idle`](crate::conn::Limits::idle)).
    Idle,
    /// The transport failed.
    Transport(TransportError),
}

impl CloseReason {
    /// Something owed may be lost with the connection. A host resets the transport then instead
    /// of ending it in peace: a peer could take a peaceful end for the end of the answers.
    #[must_use]
    pub const fn breaks_off(self) -> bool {
        matches!(self, Self::SlowReader | Self::Transport(_))
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerDone => f.write_str("the peer was done"),
            Self::Finished => f.write_str("the protocol ended it"),
            Self::Local => f.write_str("closed by this side"),
            Self::Refused => f.write_str("refused: too many connections"),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::SlowReader => f.write_str("the peer did not take its output"),
            Self::Idle => f.write_str("idle for too long"),
            Self::Transport(e) => write!(f, "transport failed: {e}"),
        }
    }
}

/// How a transport failed, as far as hosts tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer reset the connection.
    Reset,
    /// The peer cannot be reached any more.
    TimedOut,
    /// Anything else.
    Other,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset by peer",
            Self::TimedOut => "timed out",
            Self::Other => "I/O error",
        })
    }
}
