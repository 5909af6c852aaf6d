//! Bugs of the hub: order, last values, fates, the clock.

use super::Planted;
use super::fanout::{self, Told, Wrong};
use super::flawed::{Flaw, Flawed};
use crate::fanout::{Shape, crowd};
use crate::hub::{Habit, Hub, HubEngine, OneOrder, Prompt, engine, held, leftover, shape};
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
use drywire::fanout::Fate;

pub(super) fn planted() -> impl Iterator<Item = Planted> {
    WRONG.iter().map(|&(wrong, name, area, catchers, budget)| {
        let experiment = Box::new(trial(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    })
}

#[rustfmt::skip]
const WRONG: &[super::Row<Wrong<Habit>>] = &[
    (Wrong::Client(Habit::ForgetsMarks), "a client does not mark the first value after coming back", "hub", &["reply"], 400),
    (Wrong::Machine(Flaw::SplitHomes), "two engines each think that a topic's home is theirs", "hub", &["order", "delivery", "deadline", "ledger", "live"], 400),
    (Wrong::Machine(Flaw::ShufflesMail), "a letter between the hub's engines overtakes another", "hub", &["order", "delivery", "deadline", "ledger", "live", "leak"], 100),
    (Wrong::Machine(Flaw::PublishesTwice), "a value is published twice", "hub", &["order", "reply"], 100),
    (Wrong::Machine(Flaw::DeafToUnsub), "an unsub is not understood", "hub", &["reply"], 100),
    (Wrong::Machine(Flaw::StopsClock), "the clock stops", "hub", &["deadline"], 400),
    (Wrong::Machine(Flaw::ForgetsPeer), "a subscriber whose connection was reset stays one", "hub", &["leak", "live"], 100),
    (Wrong::Told(fate_of_drop), "slow subscribers lose values in silence", "hub", &["order", "delivery", "ledger", "live"], 4000),
    (Wrong::Told(fate_of_last), "slow subscribers of a topic that coalesces get old values", "hub", &["reply"], 4000),
    (Wrong::Told(forgets_at_once), "the last value is forgotten when nobody listens", "hub", &["deadline"], 400),
    (Wrong::Told(fanout::reads_the_front), "a subscriber's disk is replayed from the wrong place", "hub", &["reply", "order", "live", "delivery"], 4000),
    (Wrong::Told(fanout::kicks_nobody), "a subscriber that takes nothing is never kicked", "hub", &["deadline"], 4000),
    (Wrong::Told(fanout::forgets_nothing), "a topic that nobody follows is never freed", "hub", &["leak"], 100),
];

fn trial(name: &str, wrong: Wrong<Habit>) -> Trial<Hub> {
    let serve = move |decider: &mut crate::decide::Decider| -> Factory {
        let promised = shape(decider);
        Box::new(move |life| {
            let promised = promised.clone().at(life);
            let Told { shape, flaw } = wrong.told(&promised);
            if flaw != Flaw::Nothing {
                return Box::new(promised.serve(|_| Flawed::new(engine(&shape), flaw)).life(life));
            }
            let serve = promised.serve(|_| engine(&shape)).life(life);
            // It is judged by what it promised.
            let leftover = if Shape::forgets_soon(&promised.fanout) { unused } else { leftover };
            Box::new(serve.leftover(leftover).total_cap(promised.total_cap(), held))
        })
    };
    let habit = if let Wrong::Client(habit) = wrong { habit } else { Habit::Good };
    let trial = crowd(Trial::of(name, serve, move |who| Hub::with(who, habit)));
    wrong.busy(trial).expect(Prompt).expect(OneOrder)
}

/// Topics, a second and more after the last subscriber left.
fn unused(engine: &HubEngine) -> Option<String> {
    let exchange = engine.world().shared.exchange();
    (exchange.topics() > 0).then(|| format!("an unused topic: {exchange:?}"))
}

fn fate_of_drop(shape: &mut Shape) {
    change(shape, Fate::DropOldest, Fate::Coalesce);
}

fn fate_of_last(shape: &mut Shape) {
    change(shape, Fate::Coalesce, Fate::DropOldest);
}

fn change(shape: &mut Shape, from: Fate, to: Fate) {
    let fates = shape.fanout.fates.iter_mut();
    fates.filter(|(_, fate)| *fate == from).for_each(|(_, fate)| *fate = to);
}

fn forgets_at_once(shape: &mut Shape) {
    shape.fanout.keep_unused = Duration::from_millis(1);
}
