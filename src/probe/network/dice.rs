//! Chance that can be repeated: the same seed yields the same numbers on every machine and in every
//! version, which the generators of libraries do not promise.

/// What one purpose draws from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

/// The probability one, in the unit of [`Dice::hits`].
pub(super) const CERTAIN_PPM: u32 = 1_000_000;

/// A seed for one purpose among several; neighbouring numbers yield unrelated seeds.
pub(super) fn derive(seed: u64, purpose: u64) -> u64 {
    scramble(seed ^ scramble(purpose.wrapping_add(GOLDEN)))
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn scramble(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

// === impl Dice ===

impl Dice {
    /// The numbers of that purpose.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self(derive(seed, purpose))
    }

    /// A number from 0 to below `bound`, each as likely; 0 when there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let product = u128::from(scramble(self.0)) * u128::from(bound);
        (product >> 64) as u64
    }

    /// True with this probability, in parts per million.
    pub(super) fn hits(&mut self, ppm: u32) -> bool {
        self.below(CERTAIN_PPM.into()) < ppm.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees the numbers themselves: a seed that somebody noted down stays good.
    #[test]
    fn the_numbers_stay_the_same() {
        let mut dice = Dice::new(7, 1);
        let first: Vec<u64> = (0..5).map(|_| dice.below(1_000)).collect();
        assert_eq!(first, [797, 509, 339, 478, 323]);
        assert_ne!(derive(7, 1), derive(7, 2));
        assert_ne!(derive(7, 1), derive(8, 1));
    }
}
