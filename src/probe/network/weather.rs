//! What a network does at a time, whatever passes: outages, rough moments, the traffic of others.
//!
//! All of it follows from the seed and the time since the run began, so that both directions and all
//! connections of a run live through the same.

use super::dice::{Dice, derive};
use super::profile::{Effect, Overlay};
use crate::base::clock::{MonoNanos, nanos};

/// A moment is rough or calm for so long.
const SPELL_NS: u64 = 100_000_000;
/// One spell of so many is rough.
const ROUGH_ONE_IN: u64 = 8;
/// Other traffic fills its buffer, loses a packet and halves its rate, once in this time.
const TOOTH_NS: u64 = 4_000_000_000;

/// The weather of one run.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    epoch: MonoNanos,
    seed: u64,
    outages: Vec<Outages>,
    /// The longest queue that other traffic leaves, and where its first tooth begins.
    queue_ns: u64,
    tooth_phase_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Outages {
    length_ns: u64,
    every_ns: u64,
    /// The first begins so long after the epoch.
    first_ns: u64,
    packets_wait: bool,
}

// === impl Weather ===

impl Weather {
    /// The weather of a run that began at `epoch`.
    pub(super) fn new(overlays: &[Overlay], seed: u64, epoch: MonoNanos) -> Self {
        let mut outages = Vec::new();
        let mut queue_ns = 0;
        for (overlay, purpose) in overlays.iter().zip(1..) {
            match overlay.effect {
                Effect::Outage { length, every, packets_wait } => {
                    let every_ns = nanos(every).max(1);
                    let first_ns = Dice::new(seed, purpose).below(every_ns);
                    let length_ns = nanos(length).min(every_ns);
                    outages.push(Outages { length_ns, every_ns, first_ns, packets_wait });
                }
                Effect::Queue(depth) => queue_ns = nanos(depth),
                Effect::Bursts(_) => {}
            }
        }
        let tooth_phase_ns = Dice::new(seed, 0).below(TOOTH_NS);
        Self { epoch, seed, outages, queue_ns, tooth_phase_ns }
    }

    /// When a packet that would be sent at `at` can be: then, or at the end of an outage that keeps
    /// packets.
    pub(super) fn sendable(&self, at: MonoNanos) -> MonoNanos {
        let ends = self.outages.iter().filter(|outages| outages.packets_wait);
        ends.filter_map(|outages| outages.end(self.age(at), at)).max().unwrap_or(at)
    }

    /// Whether what is sent at `at` is lost in an outage.
    pub(super) fn is_cut(&self, at: MonoNanos) -> bool {
        let mut cuts = self.outages.iter().filter(|outages| !outages.packets_wait);
        cuts.any(|outages| outages.end(self.age(at), at).is_some())
    }

    /// Whether packets are delayed more than in calm moments.
    pub(super) fn is_rough(&self, at: MonoNanos) -> bool {
        derive(self.seed, !(self.age(at) / SPELL_NS)).is_multiple_of(ROUGH_ONE_IN)
    }

    /// How long a packet waits at the uplink behind the traffic of others.
    pub(super) fn others_ns(&self, at: MonoNanos) -> u64 {
        let tooth = (self.age(at) + self.tooth_phase_ns) % TOOTH_NS;
        let half = self.queue_ns / 2;
        half + (u128::from(half) * u128::from(tooth) / u128::from(TOOTH_NS)) as u64
    }

    /// The longest that [`Self::others_ns`] becomes.
    pub(super) fn most_others_ns(&self) -> u64 {
        self.queue_ns
    }

    fn age(&self, at: MonoNanos) -> u64 {
        at.0.saturating_sub(self.epoch.0)
    }
}

// === impl Outages ===

impl Outages {
    /// When the outage ends that there is at `at`, which is so long after the epoch.
    fn end(&self, age_ns: u64, at: MonoNanos) -> Option<MonoNanos> {
        let into = (age_ns + self.every_ns - self.first_ns) % self.every_ns;
        (into < self.length_ns).then(|| MonoNanos(at.0 + (self.length_ns - into)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::OVERLAYS;
    use super::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn weather(name: &str, seed: u64) -> Weather {
        let overlay = OVERLAYS.iter().find(|overlay| overlay.name == name).expect("built in");
        Weather::new(&[*overlay], seed, MonoNanos(5 * MS))
    }

    /// Guarantees length and distance of outages, whatever the seed, and that all of one end at one
    /// instant.
    #[test]
    fn outages_have_their_length() {
        for seed in 0..20 {
            let (handover, tunnel) = (weather("handover", seed), weather("tunnel", seed));
            let at = |ms: u64| MonoNanos(5 * MS + ms * MS);
            let held = (0..20_000).filter(|ms| handover.sendable(at(*ms)) > at(*ms)).count();
            let cut = (0..120_000).filter(|ms| tunnel.is_cut(at(*ms))).count();
            assert_eq!((held, cut), (160, 20_000), "seed {seed}");
            let mut ends: Vec<MonoNanos> =
                (0..20_000).map(|ms| handover.sendable(at(ms))).collect();
            ends.dedup();
            assert!(ends.len() >= 20_000 - 162, "they end at the same instant");
        }
    }

    /// Guarantees that an eighth of the time is rough and that the queue of others stays in bounds.
    #[test]
    fn moments_are_rough_or_calm() {
        let weather = weather("bufferbloat", 3);
        let at = |spell: u64| MonoNanos(5 * MS + spell * SPELL_NS);
        let rough = (0..8_000).filter(|spell| weather.is_rough(at(*spell))).count();
        assert!((900..1_100).contains(&rough), "{rough}");
        let queues: Vec<u64> = (0..8_000).map(|spell| weather.others_ns(at(spell)) / MS).collect();
        assert!(queues.iter().all(|ms| (500..=1_000).contains(ms)));
        assert!(queues.iter().any(|ms| *ms < 515) && queues.iter().any(|ms| *ms > 985));
        assert_eq!(Weather::new(&[], 3, MonoNanos(0)).others_ns(at(1)), 0);
        assert_eq!(weather.most_others_ns(), Duration::from_secs(1).as_nanos() as u64);
    }
}
