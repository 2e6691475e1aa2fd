//! Slots of a schedule: pure arithmetic from the intended start.
//!
//! A probe with an interval runs at offset + k × interval, counted from the epoch. The offset is the
//! hash of its name, so that probes do not start together, and stays the same over restarts; the
//! period is exact, so nothing drifts.

use super::cron::{CronSchedule, parse_cron};
use super::spec::{Cadence, ProbeSpec};
use crate::base::clock::{UnixNanos, nanos};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// When a probe is due.
#[derive(Clone, Debug)]
pub(super) enum Slots {
    /// At `offset_ns` + k × `interval_ns`.
    Every {
        /// Above zero.
        interval_ns: u64,
        /// Below the interval.
        offset_ns: u64,
    },
    /// By the calendar.
    Cron(Box<CronSchedule>),
}

impl Slots {
    /// The slots of a probe; none when its cron expression does not parse (which `config/` refuses).
    pub(super) fn of(spec: &ProbeSpec) -> Option<Self> {
        match &spec.cadence {
            Cadence::Every(interval) => {
                let interval_ns = nanos(*interval).max(1);
                Some(Self::Every {
                    interval_ns,
                    offset_ns: xxh3_64(spec.name.as_bytes()) % interval_ns,
                })
            }
            Cadence::Cron { expression, zone } => {
                parse_cron(expression, *zone).ok().map(|cron| Self::Cron(Box::new(cron)))
            }
        }
    }

    /// The first slot after an instant.
    pub(super) fn next_after(&self, after: UnixNanos) -> Option<UnixNanos> {
        match self {
            Self::Every { interval_ns, offset_ns } => {
                let next = match after.0.checked_sub(*offset_ns) {
                    Some(since) => offset_ns + (since / interval_ns + 1) * interval_ns,
                    None => *offset_ns,
                };
                Some(UnixNanos(next))
            }
            Self::Cron(cron) => cron.next_after(after),
        }
    }
}

/// The slots of a probe after an instant, for as long as there are any.
pub fn next_slots(spec: &ProbeSpec, after: UnixNanos) -> impl Iterator<Item = UnixNanos> {
    let slots = Slots::of(spec);
    let mut at = after;
    std::iter::from_fn(move || {
        at = slots.as_ref()?.next_after(at)?;
        Some(at)
    })
}

/// The longest time between two of the next slots: after thrice as long without a run, data is
/// missing.
#[must_use]
pub fn longest_interval(spec: &ProbeSpec, now: UnixNanos) -> Duration {
    if let Cadence::Every(interval) = &spec.cadence {
        return *interval;
    }
    let slots: Vec<UnixNanos> = next_slots(spec, now).take(64).collect();
    let gaps = slots.iter().zip(slots.iter().skip(1)).map(|(a, b)| b.since(*a));
    gaps.max().unwrap_or(Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Guarantees an exact period without drift, from any instant.
        #[test]
        fn slots_are_exactly_periodic(interval in 1_u64..10_000_000_000, after in 0_u64..1 << 60, offset in 0_u64..u64::MAX) {
            let slots = Slots::Every { interval_ns: interval, offset_ns: offset % interval };
            let first = slots.next_after(UnixNanos(after)).expect("a slot");
            prop_assert!(first.0 > after || after < offset % interval);
            prop_assert!(first.0 - after <= interval);
            prop_assert_eq!(slots.next_after(first), Some(UnixNanos(first.0 + interval)));
        }
    }
}
