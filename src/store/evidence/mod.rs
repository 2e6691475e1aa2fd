//! What every number can link to: the last runs of each probe, the worst spans of each phone SLO,
//! and good/total by combination of dimensions, from which an alert is explained.
//!
//! All of it is bounded: [`RUNS`] and [`FAILED_RUNS`] a probe, [`WORST_SPANS`] each ten minutes for
//! six hours; combinations as [`combinations`] says.

pub mod combinations;

pub use combinations::{Combinations, MAX_COMBINATIONS};

use crate::model::evidence::{Combination, SpanEvidence};
use crate::model::objective::IndicatorId;
use crate::model::probe::{ProbeRun, RunId};
use crate::model::slot::{GoodTotal, Slot};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Runs that are kept of each probe.
pub const RUNS: usize = 100;
/// Failed runs that are kept of each probe beyond those.
pub const FAILED_RUNS: usize = 20;
/// Worst spans kept of an SLO each ten minutes.
pub const WORST_SPANS: usize = 5;
/// Ten-second slots to ten minutes and to six hours.
const TEN_MINUTES: u32 = 60;
const SIX_HOURS: u32 = 2_160;

/// All evidence.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// By probe.
    pub probes: BTreeMap<String, ProbeEvidence>,
    /// By indicator of phone SLOs.
    pub phones: HashMap<IndicatorId, PhoneEvidence>,
}

/// Runs of a probe, the newest last.
#[derive(Clone, Debug, Default)]
pub struct ProbeEvidence {
    /// The last [`RUNS`].
    pub runs: VecDeque<Arc<ProbeRun>>,
    /// The last [`FAILED_RUNS`] that failed.
    pub failed: VecDeque<Arc<ProbeRun>>,
}

/// Spans and combinations of a phone SLO.
#[derive(Clone, Debug, Default)]
pub struct PhoneEvidence {
    /// The worst spans by the ten minutes in which they happened.
    pub worst: BTreeMap<Slot, Vec<SpanEvidence>>,
    /// Good and total by combination.
    pub combinations: Combinations,
}

impl Evidence {
    /// Keeps a run.
    pub fn add_run(&mut self, run: &Arc<ProbeRun>) {
        let probe = self.probes.entry(run.probe.clone()).or_default();
        push(&mut probe.runs, run, RUNS);
        if !run.succeeded() {
            push(&mut probe.failed, run, FAILED_RUNS);
        }
    }

    /// A run that is still kept.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Arc<ProbeRun>> {
        let kept = self.probes.values().flat_map(|probe| probe.runs.iter().chain(&probe.failed));
        kept.into_iter().find(|run| run.id == id)
    }

    /// Forgets probes and indicators that are no longer configured.
    pub fn retain(
        &mut self,
        probe: impl Fn(&str) -> bool,
        indicator: impl Fn(IndicatorId) -> bool,
    ) {
        self.probes.retain(|name, _| probe(name));
        self.phones.retain(|id, _| indicator(*id));
    }

    /// Forgets what is older than six hours; of combinations the sums by hour stay for eight days.
    pub fn settle(&mut self, now: Slot) {
        let horizon = now.minus(SIX_HOURS);
        for phone in self.phones.values_mut() {
            phone.worst = phone.worst.split_off(&horizon.align(TEN_MINUTES));
            phone.combinations.settle(now);
        }
    }
}

impl PhoneEvidence {
    /// Counts events under their combination, the values of `model::evidence::DIMENSIONS`.
    pub fn count(&mut self, slot: Slot, values: [&str; 4], counts: GoodTotal) {
        self.combinations.count(slot, values, counts);
    }

    /// Whether a span of this length would be among the worst of its ten minutes, so that the
    /// caller need not build evidence that nobody keeps.
    #[must_use]
    pub fn wants(&self, slot: Slot, duration_ns: u64) -> bool {
        self.worst.get(&slot.align(TEN_MINUTES)).is_none_or(|kept| {
            kept.len() < WORST_SPANS || kept.iter().any(|span| span.duration_ns < duration_ns)
        })
    }

    /// Keeps a span if it is among the worst of its ten minutes.
    pub fn add_span(&mut self, slot: Slot, span: SpanEvidence) {
        let kept = self.worst.entry(slot.align(TEN_MINUTES)).or_default();
        // Ties are broken by id, so that the same spans are kept whatever their order of arrival.
        kept.push(span);
        kept.sort_by(|a, b| {
            b.duration_ns.cmp(&a.duration_ns).then_with(|| a.span_id.cmp(&b.span_id))
        });
        kept.truncate(WORST_SPANS);
    }

    /// Sums by combination over `from..to`, of the last six hours.
    #[must_use]
    pub fn sums(&self, from: Slot, to: Slot) -> Vec<(&Combination, GoodTotal)> {
        self.combinations.sums(from, to)
    }
}

fn push(queue: &mut VecDeque<Arc<ProbeRun>>, run: &Arc<ProbeRun>, limit: usize) {
    if queue.len() == limit {
        drop(queue.pop_front());
    }
    queue.push_back(Arc::clone(run));
}
