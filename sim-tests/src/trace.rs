//! What happened, for pictures and for people. Only recorded when somebody will look.

use crate::fault::Fault;
use crate::net::{LinkId, NodeId};
use crate::node::Ending;
use drywire::Tick;

/// Everything a picture needs of one run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The names of the nodes.
    pub lanes: Vec<String>,
    /// The two ends of each link: who opened it, who accepted it.
    pub links: Vec<[NodeId; 2]>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Tick,
    /// To whom.
    pub node: NodeId,
    /// On which link, if on one.
    pub link: Option<LinkId>,
    /// The phase of the accepting side's connection then.
    pub phase: &'static str,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The node's side of the link is up.
    Opened,
    /// The node sent a piece that arrives at `until`.
    Sent {
        /// Stream offset of the first byte.
        offset: u64,
        /// The bytes, as they will arrive.
        bytes: Vec<u8>,
        /// When it arrives.
        until: Tick,
        /// The window is full behind it.
        full: bool,
    },
    /// So many bytes arrived; `waiting` are now untaken.
    Arrived {
        /// How many.
        n: usize,
        /// Untaken bytes, these included.
        waiting: usize,
    },
    /// The node ended its direction.
    Finished,
    /// The node closed the link.
    Closed,
    /// The node reset the link.
    Aborted,
    /// The node was told that the link ended.
    Ended(Ending),
    /// A fault hit.
    Fault(Fault, u64),
    /// A deadline came.
    Woke,
    /// What a node wants a reader to know.
    Note(String),
    /// A rule was broken here.
    Violation(String),
}
