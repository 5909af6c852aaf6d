//! One line an event: time, who, which link, what.

use super::{lane, peer, show};
use crate::trace::{Event, Trace, What};
use core::fmt::Write as _;

/// The run as text. Moments at which nothing happens take no space; a line `...` stands where
/// more than a second was skipped.
#[must_use]
pub fn text(trace: &Trace) -> String {
    let mut out = String::new();
    let width = trace.lanes.iter().map(String::len).max().unwrap_or(0);
    let mut last = 0;
    for event in &trace.events {
        if event.at.0.saturating_sub(last) > 1_000_000_000 {
            out.push_str("...\n");
        }
        last = event.at.0;
        let at = event.at.0 as f64 / 1e6;
        let who = lane(trace, event.node);
        let link = event.link.map_or(String::new(), |l| format!("#{}", l.0));
        let what = say(trace, event);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{at:>14.3} ms  {who:width$}  {link:>5}  {:9}  {what}", event.phase);
    }
    out
}

pub(super) fn say(trace: &Trace, event: &Event) -> String {
    let other = |link| lane(trace, peer(trace, link, event.node));
    match (&event.what, event.link) {
        (What::Opened, Some(link)) => format!("connected with {}", other(link)),
        (What::Sent { bytes, until, full, .. }, Some(link)) => {
            let takes = until.0.saturating_sub(event.at.0) as f64 / 1e6;
            let full = if *full { "  (window full)" } else { "" };
            let (n, bytes) = (bytes.len(), show(bytes, 60));
            format!("──► {}  {n} B, {takes:.3} ms  \"{bytes}\"{full}", other(link))
        }
        (What::Arrived { n, waiting }, _) => format!("◄── {n} B arrive, {waiting} wait"),
        (What::Finished, _) => "ends its direction".to_owned(),
        (What::Closed, _) => "closes".to_owned(),
        (What::Aborted, _) => "resets".to_owned(),
        (What::Ended(how), _) => format!("is told: {}", how.name()),
        (What::Fault(fault, value), _) => format!("⚡ {fault} ({value})"),
        (What::Woke, _) => "wakes".to_owned(),
        (What::Note(text), _) => format!("· {text}"),
        (What::Violation(text), _) => format!("✗ {text}"),
        (What::Opened | What::Sent { .. }, None) => String::new(),
    }
}
