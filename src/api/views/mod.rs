//! The read side of the page: fills [`view`] models from everything that was folded.
//!
//! Pure functions of [`Core`], history, [`Surroundings`] and `now`; the caller holds the lock and
//! the clock. What history cannot deliver is shown as missing, never as an error page. Every list
//! is bounded here.

mod budget;
mod changes;
mod explained;
mod firing;
mod home;
mod incident;
mod phones;
mod probe;
mod run;
mod series;
mod slo;
#[cfg(test)]
pub(super) mod tests;

pub use changes::changes;
pub(super) use firing::summary;
pub use home::{home, verdict};
pub use incident::incident;
pub use phones::phones;
pub use probe::probe;
pub use run::run;
pub use slo::slo;

use super::page::view;
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::alert::Incident;
use crate::model::objective::Slo;
use crate::probe::reference::Calibration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the pages show and the fold does not know.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Version of the daemon.
    pub version: String,
    /// The share of the journal that is folded, 0..=1, while it is being replayed.
    pub replaying: Option<f64>,
    /// Why the daemon itself is not well, as a sentence.
    pub degraded: Option<String>,
    /// The configuration on disk was refused.
    pub config_problem: Option<view::ConfigProblem>,
    /// Configurations that came into force or were refused.
    pub reloads: Vec<view::ChangeView>,
    /// Where phones send to.
    pub endpoints: view::Endpoints,
    /// Schedule by probe, in words: `10s`, or the cron expression. Names every configured probe.
    pub schedules: BTreeMap<String, String>,
    /// Of each probe that may have several instances, how many it has, and why its targets are not listed now.
    pub instances: BTreeMap<String, (usize, Option<String>)>,
    /// When the daemon started.
    pub started_at: UnixNanos,
    /// What the instrument measures too much, as it was found last.
    pub calibration: Option<Arc<Calibration>>,
}

impl Surroundings {
    fn readiness(&self) -> view::Readiness {
        self.replaying.map_or(view::Readiness::Ready, |done| view::Readiness::Replaying { done })
    }
}

/// The SLO of a name that is in force.
fn slo_named<'a>(core: &'a Core, name: &str) -> Option<&'a Arc<Slo>> {
    core.policy.slos.iter().find(|slo| slo.name == name)
}

/// The SLO that an incident speaks of: its own, or the one whose data is missing.
fn slo_of<'a>(core: &'a Core, incident: &Incident) -> Option<&'a Arc<Slo>> {
    slo_named(core, incident.labels.get("slo")?)
}

/// Who answers for an incident, also when its SLO is gone.
fn owner(core: &Core, incident: &Incident) -> Option<String> {
    let in_force = slo_of(core, incident).and_then(|slo| slo.owner.clone());
    in_force.or_else(|| incident.labels.get("owner").map(str::to_owned))
}

/// Where to read what to do about an incident, also when its SLO is gone.
fn runbook(core: &Core, incident: &Incident) -> Option<String> {
    let in_force = slo_of(core, incident).and_then(|slo| slo.runbook.clone());
    in_force.or_else(|| incident.annotations.get("runbook_url").map(str::to_owned))
}
