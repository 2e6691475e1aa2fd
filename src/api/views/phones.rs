//! What phones report, by app and by pairs of dimensions.

use crate::alert::Core;
use crate::api::page::view::{MatrixCell, MatrixView, PhoneApp, PhoneSlo, PhonesView};
use crate::base::clock::UnixNanos;
use crate::model::evidence::{Combination, DIMENSIONS};
use crate::model::objective::{Indicator, Slo, Source};
use crate::model::slot::{GoodTotal, Slot, slots_in};
use crate::store::ledger::{ItemCounts, ItemOutcome};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// The time over which cells are counted.
pub(super) const OVER: Duration = Duration::from_secs(3_600);
/// Values of a dimension that are shown, the busiest.
const MAX_VALUES: usize = 12;
/// What is shown where items carried no value.
const NO_VALUE: &str = "none";
/// Version by network, version by region: places within [`DIMENSIONS`].
const MATRICES: [(usize, usize); 2] = [(0, 2), (0, 3)];

/// All phones; none as long as no phone ever reported.
#[must_use]
pub fn phones(core: &Core, now: UnixNanos) -> Option<PhonesView> {
    let apps = apps(core);
    if apps.is_empty() && core.newest.phones.is_none() {
        return None;
    }
    let slos = core.policy.slos.iter().filter(|slo| is_on_phones(slo)).map(|slo| PhoneSlo {
        name: slo.name.clone(),
        objective: slo.objective,
        over: OVER,
        matrices: matrices(core, slo, now),
    });
    Some(PhonesView { apps, slos: slos.collect() })
}

/// Whether an SLO counts what phones report.
fn is_on_phones(slo: &Slo) -> bool {
    let source = match &slo.indicator {
        Indicator::Latency { source, .. } | Indicator::Availability { source, .. } => source,
        Indicator::Ratio { total, .. } => &total.source,
    };
    !matches!(source, Source::Probe(_))
}

/// An SLO's breakdowns of the last hour; those without any event are left out.
pub(super) fn matrices(core: &Core, slo: &Slo, now: UnixNanos) -> Vec<MatrixView> {
    let Some(evidence) = core.store.evidence.phones.get(&slo.indicator.id()) else {
        return Vec::new();
    };
    let to = Slot::of(now).plus(1);
    let sums = evidence.sums(to.minus(slots_in(OVER)), to);
    if sums.is_empty() {
        return Vec::new();
    }
    MATRICES.iter().map(|(row, column)| matrix(&sums, *row, *column)).collect()
}

fn matrix(sums: &[(&Combination, GoodTotal)], row: usize, column: usize) -> MatrixView {
    let mut cells: BTreeMap<(&str, &str), GoodTotal> = BTreeMap::new();
    for (combination, counts) in sums {
        let key = (value(combination, row), value(combination, column));
        cells.entry(key).or_default().add(*counts);
    }
    let rows = busiest(cells.iter().map(|((row, _), counts)| (*row, counts.total)));
    let columns = busiest(cells.iter().map(|((_, column), counts)| (*column, counts.total)));
    let cell = |row, column| {
        let counts = cells.get(&(row, column)).filter(|counts| !counts.is_empty())?;
        Some(MatrixCell { good: counts.good(), total: counts.total })
    };
    let dimension = |at: usize| DIMENSIONS.get(at).copied().unwrap_or_default().to_owned();
    let lines = rows.iter().map(|row| {
        let cells = columns.iter().map(|column| cell(*row, *column));
        ((*row).to_owned(), cells.collect())
    });
    MatrixView {
        row_dimension: dimension(row),
        column_dimension: dimension(column),
        rows: lines.collect(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
    }
}

fn value(combination: &Combination, at: usize) -> &str {
    combination
        .0
        .get(at)
        .map(|value| &**value)
        .filter(|value| !value.is_empty())
        .unwrap_or(NO_VALUE)
}

/// The values with the most events, at most [`MAX_VALUES`], by name.
fn busiest<'a>(counted: impl Iterator<Item = (&'a str, u64)>) -> Vec<&'a str> {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (value, total) in counted {
        let sum = totals.entry(value).or_default();
        *sum = sum.saturating_add(total);
    }
    let mut values: Vec<(&str, u64)> = totals.into_iter().collect();
    values.sort_by_key(|(_, total)| Reverse(*total));
    values.truncate(MAX_VALUES);
    let mut values: Vec<&str> = values.into_iter().map(|(value, _)| value).collect();
    values.sort_unstable();
    values
}

/// Apps, busiest first. Receipt of the newest item is known for all apps together.
fn apps(core: &Core) -> Vec<PhoneApp> {
    let mut apps: BTreeMap<&str, PhoneApp> = BTreeMap::new();
    for (name, _, counts) in core.store.ledger.iter() {
        let app = apps.entry(name).or_insert_with(|| PhoneApp {
            name: name.to_owned(),
            newest: core.newest.phones,
            ..PhoneApp::default()
        });
        app.received = app.received.saturating_add(counts.received());
        app.dropped = app.dropped.saturating_add(dropped(counts));
    }
    let mut apps: Vec<PhoneApp> = apps.into_values().collect();
    apps.sort_by_key(|app| Reverse(app.received));
    apps
}

fn dropped(counts: &ItemCounts) -> u64 {
    let dropped = [ItemOutcome::Rejected, ItemOutcome::Shed, ItemOutcome::TooLate];
    dropped.into_iter().map(|outcome| counts.get(outcome)).sum()
}
