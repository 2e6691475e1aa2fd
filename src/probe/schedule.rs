//! When a probe runs: pure arithmetic on instants.
//!
//! Slots of an interval lie at offset + k × interval since the epoch, where the offset is a hash of
//! the probe's name. So probes are spread over their interval, the period is exact, and a restart,
//! a reload or another machine finds the same slots.

use super::cron::{CronSchedule, parse_cron};
use super::spec::Cadence;
use crate::base::clock::{UnixNanos, nanos};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// No interval is shorter.
const MIN_INTERVAL_NS: u64 = 1_000_000;
/// So many slots of a cron schedule are counted when it is known that they were missed.
const MAX_COUNTED: u64 = 100_000;

/// The slots of a probe.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// At offset + k × interval.
    Every {
        /// From slot to slot.
        interval_ns: u64,
        /// Less than the interval.
        offset_ns: u64,
    },
    /// By the calendar.
    Cron(Box<CronSchedule>),
}

/// Slots between two instants.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Slots {
    /// The first ones.
    pub first: Vec<UnixNanos>,
    /// How many more there were.
    pub more: u64,
}

/// The slots of a probe after an instant, in order; empty when the cadence cannot be understood.
pub fn next_slots(
    name: &str,
    cadence: &Cadence,
    after: UnixNanos,
) -> impl Iterator<Item = UnixNanos> + use<> {
    let schedule = Schedule::of(name, cadence).ok();
    let next = move |at: UnixNanos| schedule.as_ref().and_then(|schedule| schedule.next_after(at));
    let first = next(after);
    std::iter::successors(first, move |at| next(*at))
}

/// The longest time between two of the next slots: after thrice as long without a run, data is
/// missing.
#[must_use]
pub fn longest_interval(name: &str, cadence: &Cadence, now: UnixNanos) -> Duration {
    if let Cadence::Every(interval) = cadence {
        return *interval;
    }
    let slots: Vec<UnixNanos> = next_slots(name, cadence, now).take(64).collect();
    let gaps = slots.iter().zip(slots.iter().skip(1)).map(|(a, b)| b.since(*a));
    gaps.max().unwrap_or(Duration::from_secs(86_400))
}

impl Schedule {
    /// The slots of the probe of that name.
    ///
    /// # Errors
    /// When the cadence is a cron expression that cannot be understood.
    pub(super) fn of(name: &str, cadence: &Cadence) -> Result<Self, String> {
        Ok(match cadence {
            Cadence::Every(interval) => {
                let interval_ns = nanos(*interval).max(MIN_INTERVAL_NS);
                Self::Every { interval_ns, offset_ns: xxh3_64(name.as_bytes()) % interval_ns }
            }
            Cadence::Cron { expression, zone } => {
                Self::Cron(Box::new(parse_cron(expression, *zone)?))
            }
        })
    }

    /// The first slot after an instant.
    pub(super) fn next_after(&self, after: UnixNanos) -> Option<UnixNanos> {
        match self {
            Self::Every { interval_ns, offset_ns } => {
                let passed = match after.0.checked_sub(*offset_ns) {
                    Some(since) => since / interval_ns + 1,
                    None => 0,
                };
                passed.checked_mul(*interval_ns)?.checked_add(*offset_ns).map(UnixNanos)
            }
            Self::Cron(cron) => cron.next_after(after),
        }
    }

    /// The slots from `first`, which is one, up to but without `until`; at most `limit` of them.
    pub(super) fn between(&self, first: UnixNanos, until: UnixNanos, limit: usize) -> Slots {
        let mut slots = Slots::default();
        let mut next = Some(first);
        while let Some(slot) = next.filter(|slot| *slot < until) {
            if slots.first.len() < limit {
                slots.first.push(slot);
            } else if let Self::Every { interval_ns, .. } = self {
                slots.more = (until.0 - slot.0).div_ceil(*interval_ns);
                break;
            } else if slots.more < MAX_COUNTED {
                slots.more += 1;
            } else {
                break;
            }
            next = self.next_after(slot);
        }
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every(name: &str, interval: Duration) -> Schedule {
        Schedule::of(name, &Cadence::Every(interval)).expect("an interval")
    }

    /// Guarantees that probes of one interval do not all start together.
    #[test]
    fn names_spread_over_the_interval() {
        let interval = Duration::from_secs(10);
        let first = |name: String| every(&name, interval).next_after(UnixNanos(0)).expect("a slot");
        let mut quarters = [0; 4];
        for n in 0..400 {
            quarters[(first(format!("probe-{n}")).0 / 2_500_000_000) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| *count > 60), "{quarters:?}");
    }

    /// Guarantees that a cron schedule yields slots like an interval does.
    #[test]
    fn slots_of_a_cron_expression() {
        let cadence = Cadence::Cron { expression: "*/5 * * * *".into(), zone: chrono_tz::UTC };
        let slots: Vec<u64> = next_slots("x", &cadence, UnixNanos(0))
            .map(|at| at.0 / 1_000_000_000)
            .take(3)
            .collect();
        assert_eq!(slots, [300, 600, 900]);
        let schedule = Schedule::of("x", &cadence).expect("an expression");
        let first = UnixNanos::from_seconds(300);
        let between = schedule.between(first, UnixNanos::from_seconds(3_000), 2);
        assert_eq!((between.first.len(), between.more), (2, 7));
    }

    proptest! {
        /// Guarantees an exact period for ever, and that counting agrees with walking.
        #[test]
        fn slots_are_exactly_periodic(ms in 1_u64..100_000, after in 0_u64..2_000_000_000_000_000_000,
                                      name in "[a-z]{1,8}", walked in 0_usize..300, limit in 0_usize..300) {
            let interval = Duration::from_millis(ms);
            let cadence = Cadence::Every(interval);
            let slots: Vec<UnixNanos> =
                next_slots(&name, &cadence, UnixNanos(after)).take(walked + 1).collect();
            prop_assert!(slots[0].0 > after && slots[0].0 - after <= nanos(interval));
            prop_assert!(slots.windows(2).all(|pair| pair[1].0 - pair[0].0 == nanos(interval)));
            let between = every(&name, interval).between(slots[0], slots[walked], limit);
            prop_assert_eq!(between.first.len() as u64 + between.more, walked as u64);
        }
    }
}
