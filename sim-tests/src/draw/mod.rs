//! Pictures of a run: text for a terminal, one HTML page, a capture for Wireshark.

mod html;
mod pcapng;
mod text;

pub use html::html;
pub use pcapng::pcapng;
pub use text::text;

use crate::net::{LinkId, NodeId};
use crate::trace::Trace;

/// The name of a node.
fn lane(trace: &Trace, node: NodeId) -> &str {
    trace.lanes.get(node.0 as usize).map_or("?", String::as_str)
}

/// The other end of a link.
fn peer(trace: &Trace, link: LinkId, node: NodeId) -> NodeId {
    match trace.links.get(link.0 as usize) {
        Some([a, b]) => {
            if *a == node {
                *b
            } else {
                *a
            }
        }
        None => node,
    }
}

/// The first bytes, readable.
fn show(bytes: &[u8], most: usize) -> String {
    let cut = bytes.len().min(most);
    let mut shown = bytes[..cut].escape_ascii().to_string();
    if cut < bytes.len() {
        shown.push('…');
    }
    shown
}
