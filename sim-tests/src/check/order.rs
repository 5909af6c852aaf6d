//! When each request took effect, from the transcript of its server.

use crate::net::LinkId;
use crate::transcript::Call;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::{Op, Said, Workload};
use std::collections::BTreeMap;

/// The operations of one connection, in order.
pub type OnLink<'a, W> = Vec<&'a Op<<W as Workload>::Request, <W as Workload>::Reply>>;

/// Beside each operation of a connection: its answer, and the call that completed it.
pub type Answers<W> = Vec<Option<(<W as Workload>::Reply, Call)>>;

/// The operations of each connection.
#[must_use]
pub fn by_link<'a, W: Workload>(run: &Run<'a, W>) -> BTreeMap<LinkId, OnLink<'a, W>> {
    let mut links: BTreeMap<LinkId, OnLink<'a, W>> = BTreeMap::new();
    for op in run.history {
        links.entry(op.link).or_default().push(op);
    }
    links
}

/// The answers in what the server of `link` said, sent or not, beside `ops`: each with the call
/// that completed it, which for a protocol that answers as it executes is the moment at which the
/// request took effect. `None` where there is none (yet).
///
/// # Errors
/// If the server said something that the workload cannot read.
pub fn answers<W: Workload>(
    run: &Run<'_, W>,
    link: LinkId,
    ops: &OnLink<'_, W>,
) -> Result<Answers<W>, Violation> {
    said(run, link, ops).map(|(answers, _)| answers)
}

/// The answers, and whether the server refused everything else that was asked.
pub(super) fn said<W: Workload>(
    run: &Run<'_, W>,
    link: LinkId,
    ops: &OnLink<'_, W>,
) -> Result<(Answers<W>, bool), Violation> {
    let mut refused = false;
    let mut work = (run.work)();
    work.connected();
    let transcript = &run.transcripts()[link.0 as usize];
    let said = &transcript.produced;
    let mut owed: Vec<usize> = (0..ops.len()).filter(|i| !ops[*i].silent).collect();
    let mut found: Vec<_> = ops.iter().map(|_| None).collect();
    let mut at = 0;
    loop {
        // What the server had not begun to read by then is not what it answered.
        let fed = transcript.producing(at as u64 + 1).map_or(0, |call| call.fed);
        let read = owed.partition_point(|i| ops[*i].bytes.start < fed);
        let heard = work.hear(&mut owed[..read].iter().map(|i| &ops[*i].request), &said[at..]);
        match heard {
            Ok(None) => return Ok((found, refused)),
            Ok(Some(heard)) => {
                at += heard.used;
                refused |= matches!(heard.what, Said::Refusal(_));
                if let Said::Answer(nth, reply) = heard.what
                    && let Some(call) = transcript.producing(at as u64)
                    && nth < owed.len()
                {
                    found[owed.remove(nth)] = Some((reply, *call));
                }
            }
            Err(text) => return Err(Violation::new("reply", format!("the server said: {text}"))),
        }
    }
}
