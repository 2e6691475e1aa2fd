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
mod tests;

pub use changes::changes;
pub use home::home;
pub use incident::incident;
pub use probe::probe;
pub use run::run;
pub use slo::slo;

use super::page::view;
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::objective::Slo;
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
    /// When the daemon started.
    pub started_at: UnixNanos,
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

/// The SLO that an alert's labels speak of: its own, or the one whose data is missing.
fn slo_of<'a>(core: &'a Core, labels: &crate::model::labels::Labels) -> Option<&'a Arc<Slo>> {
    slo_named(core, labels.get("slo")?)
}
