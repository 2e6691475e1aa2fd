//! What evaluation goes by: the SLOs, who is told, and how often each probe is due.

use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use crate::model::objective::Slo;
use crate::model::routing::{Heartbeat, Receiver, Route, Routed};
use crate::probe::maintenance::{Maintenance, Rest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The alerting half of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Objectives.
    pub slos: Vec<Arc<Slo>>,
    /// Receivers.
    pub receivers: Vec<Receiver>,
    /// The route tree.
    pub route: Route,
    /// The dead-man's switch.
    pub heartbeat: Option<Heartbeat>,
    /// The longest time between two runs of each probe.
    pub probe_intervals: BTreeMap<String, Duration>,
    /// What keeps each probe from running, where something does.
    pub maintenance: BTreeMap<String, Vec<Arc<Maintenance>>>,
    /// Where our page is, for links in notifications.
    pub external_url: String,
}

impl Policy {
    /// The receivers of an alert.
    #[must_use]
    pub fn receivers_of(&self, labels: &Labels) -> Vec<Routed> {
        self.route.receivers(labels)
    }

    /// A receiver by name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// How maintenance stands for a probe.
    #[must_use]
    pub fn rest_of(&self, probe: &str, now: UnixNanos) -> Rest {
        self.maintenance.get(probe).map(|all| Rest::of(all, now)).unwrap_or_default()
    }

    /// Data of an SLO is missing after this long without any: three runs of its probe, or the SLO's
    /// own `absent_after`.
    #[must_use]
    pub fn missing_after(&self, slo: &Slo) -> Duration {
        let probe = slo.probe().and_then(|name| self.probe_intervals.get(name));
        probe.map_or(slo.absent_after, |every| *every * 3)
    }
}
