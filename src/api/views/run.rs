//! One run of a probe, and what SLOs make of it.

use super::Surroundings;
use crate::aggregate::probes::{Verdict, verdict};
use crate::alert::Core;
use crate::api::page::view::{RunView, SloOfRun};
use crate::base::clock::UnixNanos;
use crate::model::objective::{Indicator, Slo};
use crate::model::probe::{ProbeRun, RunId};

/// `/runs/{id}`; none when the run is no longer kept.
#[must_use]
pub fn run(core: &Core, around: &Surroundings, id: RunId, now: UnixNanos) -> Option<RunView> {
    let run = core.store.evidence.run(id)?;
    let kept = core.store.evidence.probes.get(&run.probe).map(|probe| &probe.runs);
    let neighbour = |is_next: bool| {
        let kept = kept?;
        let at = kept.iter().position(|other| other.id == id)?;
        let at = if is_next { at.checked_add(1) } else { at.checked_sub(1) }?;
        kept.get(at).map(|other| other.id)
    };
    let on_probe = core.policy.slos.iter().filter(|slo| slo.probe() == Some(&*run.probe));
    Some(RunView {
        now,
        version: around.version.clone(),
        slos: on_probe.map(|slo| slo_of_run(core, slo, run)).collect(),
        previous: neighbour(false),
        next: neighbour(true),
        run: ProbeRun::clone(run),
    })
}

fn slo_of_run(core: &Core, slo: &Slo, run: &ProbeRun) -> SloOfRun {
    let under_ns = match &slo.indicator {
        Indicator::Latency { under_ns, .. } => Some(*under_ns),
        _ => None,
    };
    let good = match verdict_of(core, slo, run) {
        Some(Verdict::Good) => Some(true),
        Some(Verdict::Bad) => Some(false),
        Some(Verdict::Uncertain | Verdict::Neither) | None => None,
    };
    SloOfRun { name: slo.name.clone(), under_ns, good }
}

/// What a run says about an SLO, by the same rule with which the fold counted it.
pub(super) fn verdict_of(core: &Core, slo: &Slo, run: &ProbeRun) -> Option<Verdict> {
    let id = slo.indicator.id();
    let mut rules = core.rules.of_probe(&run.probe).iter();
    rules.find(|rule| rule.indicator == id).map(|rule| verdict(rule, run))
}
