//! The hub under fire: publishers and subscribers of a few topics, each with its own fate for
//! those who do not read, on several engines.

mod ledger;
mod order;
mod work;

pub use order::{OneOrder, Prompt};
pub use work::{Habit, Hub, Reply, Request};

use crate::decide::{Decider, Key, Site};
use crate::fanout::{Shape, crowd, phase};
use crate::trial::Trial;
use crate::world::Factory;
use drywire::engine::Engine;
use drywire::fanout::Fate;
use drywire::hub::{Server, Shared, limits};

/// The engine under test.
pub type HubEngine = Engine<Server>;

const TOPICS: Site = Site::new("hub.topics");
const SUBSCRIPTIONS: Site = Site::new("hub.subscriptions");

/// What becomes of slow subscribers, by topic.
const FATES: [(&[u8], Fate); 4] = [
    (b"kick/*", Fate::Kick),
    (b"last/*", Fate::Coalesce),
    (b"drop/*", Fate::DropOldest),
    (b"disk/*", Fate::Spill),
];

/// The limits of one run, drawn.
pub fn shape(decider: &mut Decider) -> Shape {
    let mut shape = Shape::draw(decider, limits(), work::TOPICS.len());
    let mut pick = |site, n| decider.below(site, Key::default(), n) as usize;
    shape.fanout.topics = [4096, 4096, 4096, 2][pick(TOPICS, 4)];
    shape.fanout.subscriptions = [1024, 1024, 1024, 2][pick(SUBSCRIPTIONS, 4)];
    shape.fanout.fates = FATES.map(|(pattern, fate)| (pattern.into(), fate)).to_vec();
    shape
}

/// A hub engine of this shape.
#[must_use]
pub fn engine(shape: &Shape) -> HubEngine {
    let shared = Shared::new(shape.fanout.clone());
    Engine::new(shared, shape.limits, crate::fanout::CONNECTIONS)
}

/// The server, for each of its lives.
#[must_use]
pub fn serve(decider: &mut Decider) -> Factory {
    let shape = shape(decider);
    Box::new(move |life| {
        let shape = shape.clone().at(life);
        let serve = shape.serve(engine).life(life).phases(phase).leftover(leftover);
        Box::new(serve.total_cap(shape.total_cap(), held))
    })
}

/// What the topics of an engine hold.
pub(crate) fn held(engine: &HubEngine) -> usize {
    Shape::held(engine.world().shared.exchange(), engine)
}

/// Topics that nobody follows and that should have been forgotten, and a clock that strikes for
/// nobody.
pub(crate) fn leftover(engine: &HubEngine) -> Option<String> {
    let exchange = engine.world().shared.exchange();
    if Shape::forgets_soon(exchange.config()) && exchange.topics() > 0 {
        return Some(format!("an unused topic: {exchange:?}"));
    }
    let strikes = engine.deadline().is_some_and(|due| due.why == "utc_time");
    strikes.then(|| "a clock that strikes".to_owned())
}

/// The hub under everything but bits flipped, which it has no way to notice.
#[must_use]
pub fn trial() -> Trial<Hub> {
    crowd(Trial::of("hub", serve, Hub::new))
        .expect(Prompt)
        .expect(OneOrder)
        .sometimes("a gap was told", |run| run.listened(|reply| matches!(reply, Reply::Lost(..))))
        .sometimes("the clock struck", |run| run.listened(|reply| matches!(reply, Reply::Time(_))))
        .sometimes("something was refused", |run| {
            run.listened(|reply| matches!(reply, Reply::Refused | Reply::Error))
        })
}
