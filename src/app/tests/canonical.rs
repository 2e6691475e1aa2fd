//! Folded state in a form in which two that are equal look equal, whatever order their maps have.

use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::slot::{GoodTotal, Slot};
use crate::wire::state::{CheckpointState, GenerationMessage, PhoneMessage};
use std::time::Duration;

/// Windows of any length that is asked for, and of lengths that nobody watches.
const WINDOWS: [u64; 7] = [20, 50, 600, 3_600, 8_640, 86_400, 7 * 86_400];
/// Older ten-second slots are out of every window's reach, and who still has them is left open.
const FINE_REACH: u32 = 3 * 8_640;

/// Everything that a checkpoint would hold, and what windows say at an instant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canonical {
    pub(super) state: CheckpointState,
    pub(super) fine: Vec<Vec<(Slot, GoodTotal)>>,
    pub(super) windows: Vec<GoodTotal>,
}

/// The state as of `now`, to which its windows are moved.
pub(super) fn canonical(core: &mut Core, now: UnixNanos) -> Canonical {
    let slot = Slot::of(now);
    core.store.counts.advance(slot);
    core.store.counts.settle();
    core.store.evidence.settle(slot);
    core.folder.settle(&core.store, now);
    let mut state = core.save(0, UnixNanos(0));
    state.indicators.sort_by(|a, b| a.id.cmp(&b.id));
    state.indicators.iter_mut().for_each(|indicator| indicator.fine.clear());
    state.series.sort_by_cached_key(|series| format!("{} {:?}", series.name, series.labels));
    state.streams.sort_by(|a, b| a.id.cmp(&b.id));
    state.phones.sort_by(|a, b| a.indicator.cmp(&b.indicator));
    state.phones.iter_mut().for_each(sort_combinations);
    // What is remembered matters, not by which secret it is spread nor in how many parts.
    if let Some(dedupe) = &mut state.dedupe {
        dedupe.key.clear();
        let items = dedupe.generations.drain(..).map(|generation| generation.items).sum();
        dedupe.generations.push(GenerationMessage { id: 0, items });
    }
    let mut counts: Vec<_> = core.store.counts.iter().collect();
    counts.sort_by_key(|(id, _)| *id);
    let fine = counts.iter().map(|(_, c)| c.fine(slot.minus(FINE_REACH), slot.plus(8_640)));
    let windows = counts
        .iter()
        .flat_map(|(_, counts)| WINDOWS.map(|seconds| counts.window(Duration::from_secs(seconds))));
    Canonical { state, fine: fine.collect(), windows: windows.collect() }
}

/// Combinations of the last hours, by their values. Which of an hour that is over are kept by name
/// follows the checkpoints, so hours are left out.
fn sort_combinations(phone: &mut PhoneMessage) {
    phone.hours.clear();
    phone.combinations.retain(|combination| !combination.slots.is_empty());
    phone.combinations.sort_by(|a, b| a.values.cmp(&b.values));
}

/// Compares part by part, so that a failure names the part and not the whole state.
pub(super) fn assert_same(found: &Canonical, expected: &Canonical, context: &str) {
    assert_eq!(found.windows, expected.windows, "windows: {context}");
    assert_eq!(found.fine, expected.fine, "fine slots: {context}");
    let (f, e) = (&found.state, &expected.state);
    assert_eq!(f.indicators, e.indicators, "indicators: {context}");
    assert_eq!(f.alerts, e.alerts, "alerts: {context}");
    assert_eq!(f.ledger, e.ledger, "ledger: {context}");
    assert_eq!(f.late, e.late, "late data: {context}");
    assert_eq!(f.dedupe, e.dedupe, "dedupe: {context}");
    assert!(f.runs == e.runs, "evidence of probes: {context}");
    assert_eq!(f.phones, e.phones, "evidence of phones: {context}");
    assert_eq!(f.series, e.series, "series: {context}");
    assert!(f == e, "something else: {context}");
}
