//! Bugs on purpose: the tester is tested. Each names the checkers that may catch it and how many
//! seeds that may take; `tests/planted.rs` fails on a survivor and on a wrong catcher.
//!
//! They are planted from outside: [`flawed`] stands between an engine and its host and breaks
//! the contract of one side, [`kv`] is a small protocol with a switch for each mistake. The
//! product itself contains none of this.

mod chat;
mod fanout;
pub mod flawed;
mod guard;
mod hub;
pub mod kv;
mod sudoku;

use crate::fault::Faults;
use crate::memcache::{Memcache, Shape, Witness};
use crate::serve::Serve;
use crate::trial::{Experiment, Trial};
use flawed::{Flaw, Flawed};
use kv::Mistake;

/// A bug that must be caught.
pub struct Planted {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// Where such bugs live: `framing`, `lifecycle`, `back-pressure`, `deadlines`, `host`, ...
    pub area: &'static str,
    /// The checkers that count as having caught it.
    pub catchers: &'static [&'static str],
    /// Seeds that it may take.
    pub budget: u64,
    /// The experiment that has it.
    pub experiment: Box<dyn Experiment>,
}

impl core::fmt::Debug for Planted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Planted").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All planted bugs.
#[must_use]
pub fn planted() -> Vec<Planted> {
    let mut all = Vec::new();
    for (flaw, name, area, catchers, budget) in FLAWS {
        let experiment = Box::new(flawed_memcached(name, *flaw));
        all.push(Planted { name, area, catchers, budget: *budget, experiment });
    }
    for (mistake, name, area, catchers, budget) in MISTAKES {
        let experiment = Box::new(kv::trial(name, Some(*mistake)));
        all.push(Planted { name, area, catchers, budget: *budget, experiment });
    }
    all.extend(guard::planted());
    all.extend(sudoku::planted());
    all.extend(chat::planted());
    all.extend(hub::planted());
    all
}

/// A server that never answers: whoever calls this fine is broken.
#[must_use]
pub fn canary() -> impl Experiment {
    flawed_memcached("canary", Flaw::Mute)
}

type Row<B> = (B, &'static str, &'static str, &'static [&'static str], u64);

#[rustfmt::skip]
const FLAWS: &[Row<Flaw>] = &[
    (Flaw::PartialSendIsWhole, "a partial send is taken for a whole one", "host", &["reply", "ledger", "live"], 50),
    (Flaw::SendsTwice, "the last byte of a partial send goes out twice", "host", &["reply", "ledger", "linearizable"], 50),
    (Flaw::EndIsTheEnd, "the peer's end throws owed answers away", "lifecycle", &["ledger", "reply"], 50),
    (Flaw::EndWhilePausedIsLost, "an end that comes while paused is forgotten", "lifecycle", &["live", "leak"], 400),
    (Flaw::NeverAgain, "AGAIN is never asked for", "back-pressure", &["live"], 100),
    (Flaw::ReadsOn, "reading goes on while output is full", "back-pressure", &["footprint"], 400),
    (Flaw::NeverShutsDown, "the write side is never shut down", "lifecycle", &["live", "leak"], 50),
    (Flaw::NoDeadlines, "deadlines are never told", "deadlines", &["live", "leak"], 3000),
    (Flaw::AlwaysDue, "a deadline stays due", "deadlines", &["live"], 50),
    (Flaw::NeverReleases, "a closed connection keeps its place", "lifecycle", &["leak", "live"], 50),
    (Flaw::TornLine, "CR at the end of a read is a line end", "framing", &["reply", "ledger", "linearizable", "live"], 50),
    (Flaw::DropsLargeRead, "a read of 1460 bytes and more loses one", "framing", &["reply", "ledger", "linearizable", "live"], 100),
    (Flaw::DropsOddRead, "a read of exactly 613 bytes loses one", "framing", &["reply", "ledger", "linearizable", "live"], 4000),
    (Flaw::DropsRareRead, "the fourth place loses a byte of a read of 1021", "framing", &["reply", "ledger", "linearizable", "live"], 10_000),
    (Flaw::ForgetsPeer, "a reset peer is kept", "lifecycle", &["leak", "live"], 100),
    (Flaw::WrongTenant, "a late call reaches the next tenant of the place", "lifecycle", &["ledger", "reply", "live", "linearizable", "leak", "panic"], 4000),
    (Flaw::WrongShard, "one access in a thousand goes to another shard", "memcached", &["linearizable", "panic"], 1000),
    (Flaw::LosesLargeInput, "what does not fit into the input is dropped", "back-pressure", &["reply", "ledger", "linearizable", "live"], 400),
];

#[rustfmt::skip]
const MISTAKES: &[Row<Mistake>] = &[
    (Mistake::AcksBeforeApply, "a set is acknowledged before it is applied", "memcached-like store", &["linearizable"], 100),
    (Mistake::Overtakes, "a slow answer is overtaken by a fast one", "order", &["reply", "linearizable"], 100),
    (Mistake::NeverReapsMidLine, "a peer that dies in the middle of a line is kept", "deadlines", &["deadline"], 400),
    (Mistake::ReapsTooEarly, "a peer that was heard a moment ago is reaped", "deadlines", &["deadline"], 400),
    (Mistake::DropsWhenFull, "an answer is dropped when output is full", "back-pressure", &["live", "reply", "ledger", "linearizable"], 400),
    (Mistake::SplitsLongLines, "a line that is too long becomes two", "framing", &["reply", "ledger"], 400),
    (Mistake::FaultCancels, "a bad line throws away the answers before it", "lifecycle", &["ledger", "reply"], 200),
];

fn flawed_memcached(name: &str, flaw: Flaw) -> Trial<Memcache> {
    let serve = move |decider: &mut crate::decide::Decider| -> crate::world::Factory {
        let shape = Shape::draw(decider);
        Box::new(move |life| {
            let engine = flawed::engine(&shape, flaw);
            let serve = Serve::new(Flawed::new(engine, flaw)).cap(shape.cap());
            Box::new(serve.life(life).remark(u64::from(shape.item_max)))
        })
    };
    Trial::of(name, serve, Memcache::new).faults(Faults::all()).expect(Witness)
}
