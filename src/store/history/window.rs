//! Retention windows: stretches of event time that are stored, and dropped, as a whole.

use crate::model::series::{SeriesId, Tier};
use crate::model::slot::{SLOT_SECONDS, Slot};
use chrono::{DateTime, NaiveDateTime, Utc};
use std::fmt;

/// How many ten-second slots a window of a tier spans: 12 h of ten-second slots, 2 d of minutes.
#[must_use]
pub const fn window_slots(tier: Tier) -> u32 {
    match tier {
        Tier::TenSeconds => 12 * 360,
        Tier::OneMinute => 2 * 24 * 360,
    }
}

// A block lies in one window.
const _: () = assert!(
    window_slots(Tier::TenSeconds).is_multiple_of(super::block_slots(Tier::TenSeconds))
        && window_slots(Tier::OneMinute).is_multiple_of(super::block_slots(Tier::OneMinute))
);

/// Which window. Its name, and that of its directory, tells tier and start: `10s-2026-11-24T00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WindowId {
    pub(super) tier: Tier,
    pub(super) start: Slot,
}

/// What a directory beside others in the history's own is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// A window.
    Window(WindowId),
    /// A window that did not open and was set aside: `10s-2026-11-24T00.broken-1`.
    Broken(WindowId),
    /// A window whose removal was begun: `10s-2026-11-24T00.dropped`.
    Dropped,
}

/// The key of a block in its window: series (16 bytes), first slot (4), epoch (8), each with its
/// highest byte first, so that blocks stand by series, then time, then the order they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) series: SeriesId,
    pub(super) start: Slot,
    pub(super) epoch: u64,
}

// === impl WindowId ===

impl WindowId {
    /// The window of a tier in which a slot lies.
    pub(super) fn of(tier: Tier, slot: Slot) -> Self {
        Self { tier, start: slot.align(window_slots(tier)) }
    }

    /// The first slot after it.
    pub(super) fn end(self) -> Slot {
        self.start.plus(window_slots(self.tier))
    }

    fn parse(name: &str) -> Option<Self> {
        let (tier, hour) = name.split_once('-')?;
        let tier = Tier::ALL.into_iter().find(|known| known.as_str() == tier)?;
        let at = NaiveDateTime::parse_from_str(&format!("{hour}:00"), "%Y-%m-%dT%H:%M").ok()?;
        let slot = at.and_utc().timestamp() / SLOT_SECONDS as i64;
        let start = Slot(u32::try_from(slot).ok()?);
        let id = Self { tier, start };
        // Only a name that we would write ourselves, so that no two directories are one window.
        (Self::of(tier, start) == id && id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole seconds: nanoseconds end before slots do.
        let seconds = i64::from(self.start.0) * SLOT_SECONDS as i64;
        let start = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
        write!(f, "{}-{}", self.tier.as_str(), start.format("%Y-%m-%dT%H"))
    }
}

// === impl Directory ===

impl Directory {
    /// None for names that are not ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name.split_once('.') {
            None => WindowId::parse(name).map(Self::Window),
            Some((window, "dropped")) => WindowId::parse(window).map(|_| Self::Dropped),
            Some((window, end)) => {
                let _number = end.strip_prefix("broken-")?.parse::<u32>().ok()?;
                WindowId::parse(window).map(Self::Broken)
            }
        }
    }
}

// === impl Key ===

impl Key {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(self.series.0.to_be_bytes());
        bytes.extend(self.start.0.to_be_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (series, rest) = bytes.split_first_chunk::<16>()?;
        let (start, rest) = rest.split_first_chunk::<4>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        rest.is_empty().then_some(Self {
            series: SeriesId(u128::from_be_bytes(*series)),
            start: Slot(u32::from_be_bytes(*start)),
            epoch: u64::from_be_bytes(*epoch),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixNanos;
    use proptest::prelude::*;

    /// Guarantees names that people can read, and that only names of real windows are taken.
    #[test]
    fn names_tell_tier_and_start() {
        // 2026-11-24T13:20:00Z
        let slot = Slot::of(UnixNanos::from_seconds(1_795_526_400));
        let ten = WindowId::of(Tier::TenSeconds, slot);
        assert_eq!(ten.to_string(), "10s-2026-11-24T12");
        assert_eq!(WindowId::of(Tier::OneMinute, slot).to_string(), "1m-2026-11-23T00");
        let check = |name: &str, expected| assert_eq!(Directory::parse(name), expected, "{name}");
        check("10s-2026-11-24T12", Some(Directory::Window(ten)));
        check("10s-2026-11-24T12.broken-3", Some(Directory::Broken(ten)));
        check("10s-2026-11-24T12.dropped", Some(Directory::Dropped));
        check("10s-2026-11-24T13", None);
        check("10s-2026-11-24T1", None);
        check("1h-2026-11-24T12", None);
        check("10s-2026-11-24T12.broken-", None);
        check("lock", None);
    }

    proptest! {
        /// Guarantees that every window's name leads back to it.
        #[test]
        fn every_name_parses_back(slot in any::<u32>(), minutes in any::<bool>()) {
            let tier = if minutes { Tier::OneMinute } else { Tier::TenSeconds };
            let id = WindowId::of(tier, Slot(slot));
            prop_assert_eq!(WindowId::parse(&id.to_string()), Some(id));
        }

        /// Guarantees that keys sort as bytes as they do as blocks, and come back whole.
        #[test]
        fn keys_sort_by_series_time_and_epoch(a in any::<(u128, u32, u64)>(), b in any::<(u128, u32, u64)>()) {
            let key = |(series, start, epoch)| Key { series: SeriesId(series), start: Slot(start), epoch };
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(Key::parse(&a.to_bytes()), Some(a));
        }
    }
}
