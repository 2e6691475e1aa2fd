//! The equation of ingestion, per app and signal:
//! `received = stored + duplicate + rejected + shed + too_late`.
//!
//! Kept by the fold, so that it survives restarts with the counts it speaks of. At most
//! [`MAX_APPS`] apps, the rest together as `other`.

use crate::model::probe::names;
use std::collections::BTreeMap;

/// Apps that have a line of their own.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
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

impl Ledger {
    /// Counts items of an app's signal.
    pub fn add(&mut self, app: &str, signal: &str, outcome: ItemOutcome, items: u64) {
        if items == 0 {
            return;
        }
        let app = self.line(app);
        let signals = self.apps.entry(app.into()).or_default();
        signals.entry(signal.into()).or_default().add(outcome, items);
    }

    /// The name under which an app is counted: its own while there is room, else [`OTHER`].
    #[must_use]
    pub fn line<'a>(&self, app: &'a str) -> &'a str {
        let known = self.apps.contains_key(app) || self.apps.len() < MAX_APPS;
        if known { app } else { OTHER }
    }

    /// Every line: app, signal, counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &ItemCounts)> {
        self.apps.iter().flat_map(|(app, signals)| {
            signals.iter().map(move |(signal, counts)| (&**app, &**signal, counts))
        })
    }
}
