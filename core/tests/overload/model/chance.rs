//! Seeded chance: the same numbers on every machine (up to the last bit of a logarithm).

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub u64);

impl Chance {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }
}

/// How service times are distributed around their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Fixed,
    Exponential,
    /// Nine of ten take half the mean, one takes 5.5 times it.
    Bimodal,
}

impl Shape {
    pub(crate) fn draw(self, chance: &mut Chance, mean: u64) -> u64 {
        match self {
            Self::Fixed => mean,
            Self::Exponential => chance.exponential(mean as f64) as u64,
            Self::Bimodal if chance.unit() <= 0.9 => mean / 2,
            Self::Bimodal => mean * 11 / 2,
        }
    }
}
