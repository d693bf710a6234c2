//! Chance that comes out the same for the same seed, so that a run that has failed can be had again.

/// SplitMix64 (Steele, Lea, Flood 2014): every seed gives another good sequence, neighbours included.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` − 1; 0 for bound 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in `probability` of all cases, 0.0..=1.0.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64 <= probability && probability > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_sequence() {
        let mut one = Dice::new(7);
        let mut other = Dice::new(7);
        assert_eq!([one.next(), one.next()], [other.next(), other.next()]);
        assert_ne!(Dice::new(7).next(), Dice::new(8).next());
    }

    #[test]
    fn chances_are_kept() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.chance(0.1)).count();
        assert!((800..1200).contains(&hits), "{hits}");
        assert!((0..100).all(|_| !dice.chance(0.0) && dice.chance(1.0) && dice.below(3) < 3));
    }
}
