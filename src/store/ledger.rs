//! The equation of ingestion, per app and signal:
//! `received = stored + duplicate + rejected + shed + too_late`.
//!
//! Kept by the fold, so that it survives restarts with the counts it speaks of. At most
//! [`MAX_APPS`] apps, or fewer as configured, the rest together as `other`: in series as well as here,
//! so that each app's equation still sums up.

use crate::model::probe::names;
use std::collections::BTreeMap;

/// Apps that have a line of their own at most.
pub const MAX_APPS: usize = 100;
/// The app under which all others are counted.
pub const OTHER: &str = "other";

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemOutcome {
    /// Folded into series and counts.
    Stored,
    /// Seen before.
    Duplicate,
    /// Invalid; its sender was told.
    Rejected,
    /// Not taken because of overload.
    Shed,
    /// More than seven days old.
    TooLate,
}

names!(ItemOutcome {
    Stored = "stored",
    Duplicate = "duplicate",
    Rejected = "rejected",
    Shed = "shed",
    TooLate = "too_late",
});

/// Items by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    counts: [u64; ItemOutcome::ALL.len()],
}

/// Items by app and signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    max_apps: usize,
    apps: BTreeMap<Box<str>, BTreeMap<Box<str>, ItemCounts>>,
}

impl ItemCounts {
    /// Items with an outcome.
    #[must_use]
    pub fn get(&self, outcome: ItemOutcome) -> u64 {
        self.counts.get(outcome as usize).copied().unwrap_or(0)
    }

    /// All items, whatever became of them.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Counts items.
    pub fn add(&mut self, outcome: ItemOutcome, items: u64) {
        if let Some(count) = self.counts.get_mut(outcome as usize) {
            *count = count.saturating_add(items);
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { max_apps: MAX_APPS, apps: BTreeMap::new() }
    }
}

impl Ledger {
    /// How many apps may have a line of their own; more than [`MAX_APPS`] are never allowed. Apps that
    /// have one keep it.
    pub fn set_max_apps(&mut self, max_apps: usize) {
        self.max_apps = max_apps.min(MAX_APPS);
    }

    /// Counts items of an app's signal.
    pub fn add(&mut self, app: &str, signal: &str, outcome: ItemOutcome, items: u64) {
        if items == 0 {
            return;
        }
        let app = self.admit(app);
        let signals = self.apps.entry(app.into()).or_default();
        signals.entry(signal.into()).or_default().add(outcome, items);
    }

    /// The name under which an app is counted: its own while there is room, which is its from then
    /// on, else [`OTHER`].
    pub fn admit<'n>(&mut self, app: &'n str) -> &'n str {
        if self.apps.contains_key(app) {
            return app;
        }
        let lines = self.apps.len() - usize::from(self.apps.contains_key(OTHER));
        if lines >= self.max_apps {
            return OTHER;
        }
        let _ = self.apps.insert(app.into(), BTreeMap::new());
        app
    }

    /// Every line: app, signal, counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &ItemCounts)> {
        self.apps.iter().flat_map(|(app, signals)| {
            signals.iter().map(move |(signal, counts)| (&**app, &**signal, counts))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that apps beyond the cap count as `other`, that those with a line keep it, and that
    /// nothing is lost in the sum.
    #[test]
    fn apps_beyond_the_cap_are_other() {
        let mut ledger = Ledger::default();
        ledger.set_max_apps(2);
        for app in ["a", "b", "c", "d", "a", OTHER] {
            ledger.add(app, "traces", ItemOutcome::Stored, 1);
        }
        let lines: Vec<_> =
            ledger.iter().map(|(app, _, counts)| (app, counts.get(ItemOutcome::Stored))).collect();
        assert_eq!(lines, [("a", 2), ("b", 1), (OTHER, 3)]);
        ledger.set_max_apps(1);
        assert_eq!([ledger.admit("b"), ledger.admit("c")], ["b", OTHER]);
        ledger.set_max_apps(10_000);
        let apps: Vec<String> = (0..2 * MAX_APPS).map(|n| format!("app-{n}")).collect();
        let own = apps.iter().filter(|app| ledger.admit(app) != OTHER).count();
        assert_eq!(own, MAX_APPS - 2);
    }
}
