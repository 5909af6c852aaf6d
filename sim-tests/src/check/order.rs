//! When each request took effect, from the transcript of its server: for protocols that answer
//! in order.

use crate::net::LinkId;
use crate::transcript::Call;
use crate::trial::Run;
use crate::violation::Violation;
use crate::workload::{Op, Said, Workload};
use std::collections::BTreeMap;

/// The operations of one connection, in order.
pub type OnLink<'a, W> = Vec<&'a Op<<W as Workload>::Request, <W as Workload>::Reply>>;

/// The operations of each connection.
#[must_use]
pub fn by_link<'a, W: Workload>(run: &Run<'a, W>) -> BTreeMap<LinkId, OnLink<'a, W>> {
    let mut links: BTreeMap<LinkId, OnLink<'a, W>> = BTreeMap::new();
    for op in run.history {
        links.entry(op.link).or_default().push(op);
    }
    links
}

/// The answers in what the server of `link` said, sent or not, each with the call that completed
/// it: the moment at which the request had taken effect.
///
/// # Errors
/// If the server said something that the workload cannot read.
pub fn answers<W: Workload>(
    run: &Run<'_, W>,
    link: LinkId,
    ops: &OnLink<'_, W>,
) -> Result<Vec<(W::Reply, Call)>, Violation> {
    let mut work = (run.work)();
    work.connected();
    let transcript = &run.transcripts()[link.0 as usize];
    let said = &transcript.produced;
    let mut owed = ops.iter().filter(|op| !op.silent).map(|op| &op.request).peekable();
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        match work.hear(&mut owed.clone(), &said[at..]) {
            Ok(None) => return Ok(found),
            Ok(Some(heard)) => {
                at += heard.used;
                if let Said::Answer(_, reply) = heard.what
                    && let Some(call) = transcript.producing(at as u64)
                {
                    owed.next();
                    found.push((reply, *call));
                }
            }
            Err(text) => return Err(Violation::new("reply", format!("the server said: {text}"))),
        }
    }
}
