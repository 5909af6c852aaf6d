//! What can go wrong, how likely it is, and in which phase it hit.

use crate::decide::{Chance, Decider, Site};
use core::fmt;
use std::collections::BTreeMap;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A kind of fault. The discriminants index [`Faults`] and the coverage [`Matrix`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault { $($(#[$doc])* $variant,)* }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in replay files, matrices and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The kind with that name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.name() == name)
            }

            /// The decision that brings it about.
            #[must_use]
            pub const fn site(self) -> Site {
                match self { $(Self::$variant => const { Site::new(concat!("fault.", $name)) },)* }
            }
        }
    };
}

faults! {
    /// A write travels in pieces.
    Cut = "cut",
    /// A send is taken only in part, as when the socket buffer is nearly full.
    Short = "short",
    /// A piece is late; what follows queues behind it, so that pieces merge.
    Delay = "delay",
    /// A piece is lost and sent again after 200 ms, 400 ms, ...
    Stall = "stall",
    /// One direction swallows everything for a while; the other works.
    Hole = "hole",
    /// The link carries few bytes a second from here on.
    Thin = "thin",
    /// The window between the two programs holds few bytes.
    Narrow = "narrow",
    /// The link takes long: up to a quarter of a second one way.
    Far = "far",
    /// The connection is reset after some byte of a write.
    Reset = "reset",
    /// One bit arrives wrong.
    Flip = "flip",
    /// The caller ends its side after a request and waits for the answers.
    HalfClose = "half-close",
    /// The caller drops the connection in the middle of a request.
    Abort = "abort",
    /// The caller is switched off: no end, no reset, nothing.
    Vanish = "vanish",
    /// The caller stops reading for a while.
    Deaf = "deaf",
    /// The caller reads a few bytes at a time, slowly.
    Drip = "drip",
    /// Many connections come at once and go.
    Storm = "storm",
    /// The server does not run for a while.
    Freeze = "freeze",
    /// The server's clock jumps.
    Clock = "clock",
    /// The server's process dies and is started again.
    Crash = "crash",
    /// The server's machine loses power and comes back.
    PowerLoss = "power-loss",
    /// The server is drained and replaced.
    Drain = "drain",
    /// Connecting fails.
    Unreachable = "unreachable",
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

const KINDS: usize = Fault::ALL.len();

/// How likely each kind of fault is at each opportunity, and how fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    chances: [Chance; KINDS],
    grain: usize,
}

impl Faults {
    /// A perfect world.
    pub const NONE: Self = Self { chances: [Chance::NEVER; KINDS], grain: 1 };

    /// Every kind, at rates at which most operations still work.
    #[must_use]
    pub fn all() -> Self {
        let mut all = Self::NONE;
        for fault in Fault::ALL {
            all.chances[*fault as usize] = usual(*fault);
        }
        all
    }

    /// This kind with that chance.
    #[must_use]
    pub fn with(mut self, fault: Fault, chance: Chance) -> Self {
        self.chances[fault as usize] = chance;
        self
    }

    /// Windows hold `bytes` or more, and so much is read at a time by who reads slowly. For
    /// trials of much data: a window of one byte under a megabyte is a million events that show
    /// what a kilobyte would.
    #[must_use]
    pub fn coarse(self, bytes: usize) -> Self {
        Self { grain: bytes, ..self }
    }

    /// The least that a narrow window holds and a slow reader reads.
    #[must_use]
    pub const fn grain(&self) -> usize {
        self.grain
    }

    /// All but these.
    #[must_use]
    pub fn except(mut self, faults: &[Fault]) -> Self {
        for fault in faults {
            self.chances[*fault as usize] = Chance::NEVER;
        }
        self
    }

    /// Only these.
    #[must_use]
    pub fn only(self, faults: &[Fault]) -> Self {
        let mut only = Self { grain: self.grain, ..Self::NONE };
        for fault in faults {
            only.chances[*fault as usize] = self.chances[*fault as usize];
        }
        only
    }

    /// A swarm: each kind is in or out with equal chance, at a rate between a sixteenth and four
    /// times its own. Leaving faults *out* matters: some bugs hide behind others' faults
    /// (Groce and others, "Swarm testing", 2012).
    #[must_use]
    pub fn swarm(self, decider: &mut Decider) -> Self {
        let mut drawn = self;
        for fault in Fault::ALL {
            let roll = decider.setting(fault.site(), 14);
            let chance = &mut drawn.chances[*fault as usize];
            chance.0 = match roll {
                0..7 => 0,
                7..11 => chance.0 >> (11 - roll),
                _ => chance.0 << (roll - 11),
            }
            .min(Chance::ALWAYS.0);
        }
        drawn
    }

    /// How likely `fault` is.
    #[inline]
    #[must_use]
    pub const fn chance(&self, fault: Fault) -> Chance {
        self.chances[fault as usize]
    }
}

const fn usual(fault: Fault) -> Chance {
    Chance::one_in(match fault {
        Fault::Cut => 4,
        Fault::Short | Fault::Delay => 8,
        Fault::Stall => 50,
        Fault::Drip | Fault::Deaf => 30,
        Fault::Narrow | Fault::Far => 6,
        Fault::Thin | Fault::Hole => 100,
        Fault::HalfClose => 40,
        Fault::Reset | Fault::Abort | Fault::Vanish | Fault::Unreachable => 80,
        Fault::Flip | Fault::Freeze | Fault::Clock => 150,
        Fault::Storm => 200,
        Fault::Crash | Fault::PowerLoss | Fault::Drain => 300,
    })
}

impl Fault {
    /// What callers do as they begin an operation, or because they do: it seldom meets a
    /// connection in the middle of something.
    pub const OF_CALLERS: &[Self] =
        &[Self::HalfClose, Self::Abort, Self::Vanish, Self::Deaf, Self::Drip, Self::Storm];

    /// Whether it can hit a connection in this phase at all: what belongs to connecting is over
    /// once a connection is up, and a server that is down is not struck again.
    #[must_use]
    pub fn can_hit(self, phase: &str) -> bool {
        match self {
            Self::Narrow | Self::Far | Self::Unreachable => ["opening", "down"].contains(&phase),
            Self::Freeze | Self::Clock | Self::Crash | Self::PowerLoss | Self::Drain => {
                phase != "down"
            }
            _ => true,
        }
    }
}

/// Cells of the matrix that so few runs reach that a campaign is not held to them.
#[derive(Clone, Copy, Debug)]
pub struct Rare {
    /// In this phase, or [any](Self::ANY),
    pub phase: &'static str,
    /// these faults.
    pub faults: &'static [Fault],
    /// Why.
    pub why: &'static str,
}

impl Rare {
    /// Any phase.
    pub const ANY: &str = "*";
}

/// The matrix that a campaign must fill: see [`Trial::covers`](crate::Trial::covers).
#[derive(Clone, Copy, Debug)]
pub struct Covers {
    /// The phases of the server's connections.
    pub phases: &'static [&'static str],
    /// Cells that are excused.
    pub rare: &'static [Rare],
    /// From how many seeds on.
    pub seeds: u64,
}

/// Which fault hit in which phase of the server's connection, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    hits: BTreeMap<(Fault, &'static str), u64>,
}

impl Matrix {
    /// Counts one hit.
    pub fn hit(&mut self, fault: Fault, phase: &'static str) {
        self.add(fault, phase, 1);
    }

    /// How often `fault` hit in `phase`.
    #[must_use]
    pub fn hits(&self, fault: Fault, phase: &str) -> u64 {
        self.hits.iter().filter(|((f, p), _)| *f == fault && *p == phase).map(|(_, n)| n).sum()
    }

    /// The phases that were ever hit.
    #[must_use]
    pub fn phases(&self) -> Vec<&'static str> {
        let mut phases: Vec<_> = self.hits.keys().map(|(_, p)| *p).collect();
        phases.sort_unstable();
        phases.dedup();
        phases
    }

    /// The cells that nothing hit although something could: each kind of fault in each of
    /// `phases`, without the impossible ones and without those that `rare` declares.
    #[must_use]
    pub fn missing(&self, phases: &[&'static str], rare: &[Rare]) -> Vec<(Fault, &'static str)> {
        let cells = Fault::ALL.iter().flat_map(|f| phases.iter().map(|p| (*f, *p)));
        cells
            .filter(|(fault, phase)| {
                let here = |r: &&Rare| [*phase, Rare::ANY].contains(&r.phase);
                let declared = rare.iter().filter(here).any(|r| r.faults.contains(fault));
                fault.can_hit(phase) && !declared && !self.hits.contains_key(&(*fault, *phase))
            })
            .collect()
    }

    /// All cells that were hit, and how often.
    pub fn cells(&self) -> impl Iterator<Item = (Fault, &'static str, u64)> {
        self.hits.iter().map(|((fault, phase), n)| (*fault, *phase, *n))
    }

    /// Counts `n` hits.
    pub fn add(&mut self, fault: Fault, phase: &'static str, n: u64) {
        *self.hits.entry((fault, phase)).or_default() += n;
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        for (cell, n) in &other.hits {
            *self.hits.entry(*cell).or_default() += n;
        }
    }
}

impl fmt::Display for Matrix {
    /// A table: one line a fault, one column a phase; `.` where nothing hit, empty where nothing
    /// can.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = self.phases();
        write!(f, "{:12}", "fault")?;
        for phase in &phases {
            write!(f, " {phase:>10}")?;
        }
        for fault in Fault::ALL {
            write!(f, "\n{fault:12}")?;
            for phase in &phases {
                match self.hits(*fault, phase) {
                    0 if !fault.can_hit(phase) => write!(f, " {:>10}", "")?,
                    0 => write!(f, " {:>10}", ".")?,
                    n => write!(f, " {n:>10}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_missing_unless_it_was_hit_or_cannot_be_or_is_excused() {
        let mut matrix = Matrix::default();
        for fault in Fault::ALL {
            if !["cut", "storm"].contains(&fault.name()) {
                matrix.hit(*fault, "idle");
            }
        }
        let rare = [Rare { phase: "idle", faults: Fault::OF_CALLERS, why: "a test" }];
        assert_eq!(
            matrix.missing(&["idle"], &[]),
            [(Fault::Cut, "idle"), (Fault::Storm, "idle")],
            "and not what belongs to connecting"
        );
        assert_eq!(matrix.missing(&["idle"], &rare), [(Fault::Cut, "idle")]);
        let rare = [Rare { phase: Rare::ANY, faults: &[Fault::Cut], why: "a test" }];
        assert_eq!(matrix.missing(&["idle"], &rare), [(Fault::Storm, "idle")]);
        let down = matrix.missing(&["down"], &[]);
        assert!(down.contains(&(Fault::Far, "down")) && !down.contains(&(Fault::Crash, "down")));
    }

    #[test]
    fn a_swarm_leaves_kinds_out_and_keeps_others() {
        let all = Faults::all();
        let drawn: Vec<Faults> =
            (0..200).map(|seed| all.swarm(&mut Decider::seeded(seed))).collect();
        for fault in Fault::ALL {
            let off = drawn.iter().filter(|f| f.chance(*fault) == Chance::NEVER).count();
            assert!((60..140).contains(&off), "{fault} off in {off} of 200");
        }
        let except = all.except(&[Fault::Flip]);
        assert!((0..50).all(|s| {
            except.swarm(&mut Decider::seeded(s)).chance(Fault::Flip) == Chance::NEVER
        }));
    }
}
