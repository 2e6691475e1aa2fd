//! What phones report, broken down.

use crate::alert::Core;
use crate::api::page::view::{MatrixCell, MatrixView, PhoneApp, PhoneSlo, PhonesView};
use crate::base::clock::UnixNanos;
use crate::model::evidence::DIMENSIONS;
use crate::model::slot::{Slot, slots_in};
use crate::store::evidence::PhoneEvidence;
use crate::store::ledger::ItemOutcome;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The time over which cells are counted.
pub(super) const OVER: Duration = Duration::from_secs(3_600);
/// Places of version, network and region among the dimensions.
const VERSION: usize = 0;
const NETWORK: usize = 2;
const REGION: usize = 3;
/// Rows and columns of a matrix at most.
const MAX_VALUES: usize = 12;

/// All phones; none as long as no phone ever reported.
pub(super) fn all(core: &Core, now: UnixNanos) -> Option<PhonesView> {
    let newest = core.newest.phones;
    let mut apps: BTreeMap<&str, PhoneApp> = BTreeMap::new();
    for (app, _, counts) in core.store.ledger.iter() {
        let line = apps.entry(app).or_insert_with(|| PhoneApp {
            name: app.to_owned(),
            newest,
            ..PhoneApp::default()
        });
        line.received += counts.received();
        line.dropped += [ItemOutcome::Rejected, ItemOutcome::Shed, ItemOutcome::TooLate]
            .map(|outcome| counts.get(outcome))
            .iter()
            .sum::<u64>();
    }
    if apps.is_empty() {
        return None;
    }
    let slos = core.policy.slos.iter().filter_map(|slo| {
        let evidence = core.store.evidence.phones.get(&slo.indicator.id())?;
        let (name, objective) = (slo.name.clone(), slo.objective);
        Some(PhoneSlo { name, objective, over: OVER, matrices: matrices(evidence, now) })
    });
    let mut apps: Vec<PhoneApp> = apps.into_values().collect();
    apps.sort_by_key(|app| std::cmp::Reverse(app.received));
    Some(PhonesView { apps, slos: slos.collect() })
}

/// Version by network and version by region.
pub(super) fn matrices(evidence: &PhoneEvidence, now: UnixNanos) -> Vec<MatrixView> {
    [NETWORK, REGION].into_iter().map(|column| matrix(evidence, column, now)).collect()
}

fn matrix(evidence: &PhoneEvidence, column: usize, now: UnixNanos) -> MatrixView {
    let to = Slot::of(now).plus(1);
    let mut cells: BTreeMap<(String, String), MatrixCell> = BTreeMap::new();
    let (mut rows, mut columns) = (BTreeSet::new(), BTreeSet::new());
    for (combination, counts) in evidence.sums(to.minus(slots_in(OVER)), to) {
        let value = |at: usize| {
            let value = combination.0.get(at).map_or("", |value| &**value);
            if value.is_empty() { "unknown".to_owned() } else { value.to_owned() }
        };
        let (row, column) = (value(VERSION), value(column));
        let _ = rows.insert(row.clone());
        let _ = columns.insert(column.clone());
        let cell = cells.entry((row, column)).or_default();
        cell.good += counts.good();
        cell.total += counts.total;
    }
    let columns: Vec<String> = columns.into_iter().take(MAX_VALUES).collect();
    let row = |name: String| {
        let found =
            columns.iter().map(|column| cells.get(&(name.clone(), column.clone())).copied());
        let found = found.collect();
        (name, found)
    };
    let dimension = |at: usize| DIMENSIONS.get(at).copied().unwrap_or("").to_owned();
    MatrixView {
        row_dimension: dimension(VERSION),
        column_dimension: dimension(column),
        rows: rows.into_iter().rev().take(MAX_VALUES).map(row).collect(),
        columns,
    }
}
