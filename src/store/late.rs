//! What changed besides alerts: budget changes that late data made, and releases as they were first
//! seen.

use crate::base::clock::UnixNanos;
use crate::model::objective::IndicatorId;
use crate::model::slot::{GoodTotal, Slot};
use std::collections::BTreeMap;

/// Hours of change that are kept.
const MAX_ENTRIES: usize = 2_000;
/// Releases that are remembered over all apps.
const MAX_RELEASES: usize = 500;
const HOUR: u32 = 360;

/// An account: which hour of which indicator changed in which hour of receipt, and by how much. The
/// oldest lines go when there are too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateLedger {
    entries: BTreeMap<LateKey, GoodTotal>,
    /// By app and version.
    releases: BTreeMap<Box<str>, BTreeMap<Box<str>, UnixNanos>>,
}

/// One line of the account. Sorted by receipt, so that the oldest is dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LateKey {
    /// The hour in which it was received.
    pub received_hour: Slot,
    /// The hour of event time that it changed.
    pub event_hour: Slot,
    /// Whose budget.
    pub indicator: IndicatorId,
}

impl LateLedger {
    /// Accounts for events that came late.
    pub fn add(&mut self, indicator: IndicatorId, event: Slot, received: Slot, counts: GoodTotal) {
        let key = LateKey {
            received_hour: received.align(HOUR),
            event_hour: event.align(HOUR),
            indicator,
        };
        self.entries.entry(key).or_default().add(counts);
        if self.entries.len() > MAX_ENTRIES {
            let _ = self.entries.pop_first();
        }
    }

    /// Lines by rising time of receipt.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&LateKey, &GoodTotal)> {
        self.entries.iter()
    }

    /// Remembers when a release was first seen.
    pub fn see_release(&mut self, app: &str, version: &str, at: UnixNanos) {
        let known = self.releases.get_mut(app).and_then(|versions| versions.get_mut(version));
        if let Some(first) = known {
            *first = (*first).min(at);
            return;
        }
        if self.releases.values().map(BTreeMap::len).sum::<usize>() >= MAX_RELEASES {
            self.forget_oldest_release();
        }
        let _ = self.releases.entry(app.into()).or_default().insert(version.into(), at);
    }

    fn forget_oldest_release(&mut self) {
        let all = self.releases.iter().flat_map(|(app, versions)| {
            versions.iter().map(move |(version, at)| (*at, app.clone(), version.clone()))
        });
        let Some((_, app, version)) = all.min() else { return };
        if let Some(versions) = self.releases.get_mut(&app) {
            let _ = versions.remove(&version);
        }
        self.releases.retain(|_, versions| !versions.is_empty());
    }

    /// Releases: app, version, first seen.
    pub fn releases(&self) -> impl Iterator<Item = (&str, &str, UnixNanos)> {
        self.releases.iter().flat_map(|(app, versions)| {
            versions.iter().map(move |(version, at)| (&**app, &**version, *at))
        })
    }

    /// Puts back a line of a checkpoint.
    pub fn restore(&mut self, key: LateKey, counts: GoodTotal) {
        let _ = self.entries.insert(key, counts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a release is remembered once with its earliest sight, and not beyond the bound.
    #[test]
    fn releases_are_first_seen_once() {
        let mut ledger = LateLedger::default();
        let at = UnixNanos::from_seconds;
        ledger.see_release("chat", "4.2.0", at(20));
        ledger.see_release("chat", "4.2.0", at(10));
        ledger.see_release("chat", "4.2.0", at(30));
        assert_eq!(ledger.releases().collect::<Vec<_>>(), [("chat", "4.2.0", at(10))]);
        for number in 0..2 * MAX_RELEASES {
            ledger.see_release("feed", &number.to_string(), at(1));
        }
        assert_eq!(ledger.releases().count(), MAX_RELEASES);
    }
}
