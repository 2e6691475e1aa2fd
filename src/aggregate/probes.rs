//! Probe runs become series, verdicts and evidence.
//!
//! A verdict is left out only when the measurement's uncertainty straddles that SLO's threshold;
//! failures count unless the fault is our own machine's.

use super::names;
use super::rules::{Role, Rule, Rules};
use crate::model::histogram::ExpHistogram;
use crate::model::labels::Labels;
use crate::model::probe::{Outcome, Phase, ProbeRun};
use crate::model::series::{SeriesKey, SlotValue};
use crate::model::slot::{GoodTotal, Slot};
use crate::store::Store;
use std::sync::Arc;

/// The phase under which a run's value is kept.
pub const TOTAL: &str = "total";

/// What a run says about an indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the objective.
    Good,
    /// Outside.
    Bad,
    /// The value may lie on either side: counted apart.
    Uncertain,
    /// Says nothing about the target.
    Neither,
}

/// Folds a run.
pub fn fold(store: &mut Store, rules: &Rules, run: ProbeRun) -> Arc<ProbeRun> {
    let slot = Slot::of(run.ended());
    add_series(store, slot, &run);
    for rule in rules.of_probe(&run.probe) {
        let Some(counts) = store.counts.get_mut(rule.indicator) else { continue };
        counts.has_counted(slot);
        match verdict(rule, &run) {
            Verdict::Good => counts.add(slot, GoodTotal::one(true)),
            Verdict::Bad => counts.add(slot, GoodTotal::one(false)),
            Verdict::Uncertain => counts.add_uncertain(slot),
            Verdict::Neither => {}
        }
    }
    let run = Arc::new(run);
    store.evidence.add_run(&run);
    run
}

/// What a run says about a rule's indicator.
#[must_use]
pub fn verdict(rule: &Rule, run: &ProbeRun) -> Verdict {
    if run.is_local_fault() {
        return Verdict::Neither;
    }
    if !run.succeeded() {
        return Verdict::Bad;
    }
    match rule.role {
        Role::Latency { under_ns, phase } => {
            let value = phase.map_or(run.latency_ns, |phase| run.phase_ns(phase));
            match value {
                // A phase that the run did not have (a reused name, no TLS) says nothing.
                None => Verdict::Neither,
                Some(value) if value <= under_ns => Verdict::Good,
                Some(value) if value.saturating_sub(run.uncertainty_ns) <= under_ns => {
                    Verdict::Uncertain
                }
                Some(_) => Verdict::Bad,
            }
        }
        Role::Availability | Role::Total => Verdict::Good,
        Role::Bad => Verdict::Neither,
    }
}

fn add_series(store: &mut Store, slot: Slot, run: &ProbeRun) {
    let base = run.labels.with("probe", &run.probe);
    let mut add = |name: &str, labels: Labels, value: &SlotValue| {
        let key = SeriesKey { name: name.into(), labels };
        store.head.add(key.id(), || key.clone(), slot, value);
    };
    let outcome = base.with("outcome", run.outcome.as_str());
    add(names::PROBE_RUNS, outcome, &SlotValue::Counter(1_000_000_000));
    let mut duration = |phase: &str, ns: u64| {
        let mut histogram = ExpHistogram::default();
        histogram.record(ns);
        add(names::PROBE_DURATION, base.with("phase", phase), &SlotValue::Histogram(histogram));
    };
    // A run that timed out is at least that slow: it stands in the histogram with what it took.
    let value = match run.outcome {
        Outcome::Success => run.latency_ns,
        Outcome::Timeout => Some(run.duration_ns),
        _ => None,
    };
    if let Some(ns) = value {
        duration(TOTAL, ns);
    }
    for phase in Phase::ALL {
        if let Some(ns) = run.phase_ns(*phase) {
            duration(phase.as_str(), ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::objective::IndicatorId;
    use crate::model::probe::{Failure, FailureReason};

    /// Guarantees that a run counts unless its error bar straddles the threshold or the fault is ours.
    #[test]
    fn verdicts_follow_the_error_bar() {
        let check = |latency_ns,
                     uncertainty_ns,
                     outcome,
                     reason: Option<FailureReason>,
                     expected| {
            let rule = Rule {
                indicator: IndicatorId(1),
                filter: Default::default(),
                role: Role::Latency { under_ns: 100, phase: None },
            };
            let failure = reason.map(|reason| Failure { reason, message: String::new() });
            let run =
                ProbeRun { latency_ns, uncertainty_ns, outcome, failure, ..ProbeRun::default() };
            assert_eq!(verdict(&rule, &run), expected, "{run:?}");
        };
        check(Some(100), 0, Outcome::Success, None, Verdict::Good);
        check(Some(101), 0, Outcome::Success, None, Verdict::Bad);
        check(Some(101), 1, Outcome::Success, None, Verdict::Uncertain);
        check(Some(500), 1, Outcome::Success, None, Verdict::Bad);
        check(Some(50), 400, Outcome::Success, None, Verdict::Good);
        check(None, 400, Outcome::Timeout, Some(FailureReason::Timeout), Verdict::Bad);
        check(None, 0, Outcome::Failure, Some(FailureReason::Local), Verdict::Neither);
        check(None, 0, Outcome::Overlapped, Some(FailureReason::Overlapped), Verdict::Bad);
        check(None, 0, Outcome::Missed, Some(FailureReason::Missed), Verdict::Neither);
    }
}
