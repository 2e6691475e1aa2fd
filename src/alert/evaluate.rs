//! Decides, from counts and `now`, which alerts move. Decides only: the transitions are journaled
//! and applied elsewhere, so that a replay need not evaluate.

use super::book::AlertBook;
use super::budget::{Data, PairStatus, SloStatus};
use super::explain::{self, Explanation};
use super::health::{self, Condition};
use super::policy::Policy;
use super::summary;
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertKey, AlertState, Cause, Incident, Transition};
use crate::model::labels::Labels;
use crate::model::objective::{Severity, Slo};
use crate::model::position::Position;
use crate::model::slot::Slot;
use crate::store::Store;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// An alert frozen for this long, or a probe silent for this long, raises a no-data ticket.
pub const NO_DATA_TICKET_AFTER: Duration = Duration::from_secs(3_600);
/// The share of verdicts left out within five minutes above which the measuring itself is wrong.
const UNCERTAIN_SHARE: f64 = 0.2;
/// Fewer left-out verdicts than this say nothing.
const UNCERTAIN_MIN: u64 = 5;

/// What evaluation looks at.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Counts, advanced to `now`, and evidence.
    pub store: &'a Store,
    /// SLOs and routes.
    pub policy: &'a Policy,
    /// How alerts stand.
    pub book: &'a AlertBook,
    /// Conditions of the daemon itself.
    pub conditions: &'a [Condition],
    /// The instant.
    pub now: UnixNanos,
    /// Up to where the control lane is folded.
    pub position: Position,
}

/// What a transition says, and of which incident.
struct Notice {
    incident: String,
    labels: Labels,
    annotations: Labels,
}

/// The transitions that are due.
#[must_use]
pub fn evaluate(inputs: Inputs<'_>) -> Vec<Transition> {
    let mut due = Vec::new();
    let vantage = health::vantage(&inputs.store.evidence, inputs.now);
    for slo in &inputs.policy.slos {
        let status = SloStatus::read(slo, &inputs.store.counts, inputs.policy, inputs.now);
        let Some(status) = status else { continue };
        for severity in Severity::ALL {
            due.extend(inputs.slo(&status, *severity, vantage.holds, &due));
        }
        due.extend(inputs.condition(&no_data(&status, inputs)));
        due.extend(inputs.condition(&uncertain(&status)));
    }
    due.extend(inputs.condition(&vantage));
    due.extend(inputs.conditions.iter().filter_map(|condition| inputs.condition(condition)));
    due.extend(inputs.removed());
    due
}

impl Inputs<'_> {
    /// One SLO at one severity.
    fn slo(
        self,
        status: &SloStatus,
        severity: Severity,
        vantage: bool,
        due: &[Transition],
    ) -> Option<Transition> {
        let key = AlertKey { name: status.slo.name.clone(), severity };
        let pairs = || status.pairs.iter().filter(|status| status.pair.severity == severity);
        let incident = self.book.active(&key);
        if incident.is_some_and(|incident| !counts_the_same(incident, &status.slo)) {
            // It is about to be resolved as removed; what is counted now may fire after that.
            return None;
        }
        let missing = matches!(status.data, Data::Missing(_)) || self.rests(&status.slo);
        let (to, cause, pair) = match incident {
            None => {
                let pair = pairs().find(|pair| pair.fires())?;
                let held = missing || self.held_back(status, severity, vantage, due);
                if held {
                    return None;
                }
                (AlertState::Firing, Cause::Burn, Some(pair))
            }
            Some(incident) => match (incident.state, missing, pairs().find(|pair| pair.holds())) {
                (AlertState::Frozen, true, _) => return self.notifications(incident),
                (_, true, pair) => (AlertState::Frozen, Cause::NoData, pair),
                // Too early to call it missing, but not a recovery either.
                (_, false, None) if pairs().any(PairStatus::is_unknown) => {
                    return self.notifications(incident);
                }
                (_, false, None) => (AlertState::Resolved, Cause::Recovered, None),
                (AlertState::Frozen, false, pair) => (AlertState::Firing, Cause::DataBack, pair),
                (_, false, Some(_)) => return self.notifications(incident),
            },
        };
        let explanation = pair.and_then(|pair| self.explain(&status.slo, pair.pair.long));
        let burns = to != AlertState::Resolved;
        let why = burns
            .then(|| {
                let evidence = &self.store.evidence;
                summary::why(&status.slo, explanation.as_ref(), evidence, self.now)
            })
            .flatten();
        let new = (incident_id(&key, self.now), self.now);
        let (id, since) = incident.map_or(new, |i| (i.id.clone(), i.started_at));
        let labels = summary::labels(&status.slo, severity);
        let annotations =
            summary::annotations(status, pair, why.as_deref(), (&id, since), self.policy);
        Some(self.transition(key, to, cause, Notice { incident: id, labels, annotations }))
    }

    /// Whether the SLO's probe is in maintenance, or has not run since: what comes of that silence is
    /// neither a recovery nor a new alert.
    fn rests(self, slo: &Slo) -> bool {
        let Some(probe) = slo.probe() else { return false };
        let rest = self.policy.rest_of(probe, self.now);
        let last = self.store.counts.get(slo.indicator.id()).and_then(|counts| counts.last);
        let silent = |ended: UnixNanos| last.is_some_and(|last| last < Slot::of(ended));
        rest.window.is_some() || rest.ended.is_some_and(silent)
    }

    /// Whether a new alert is to wait: a ticket while the page fires, a probe's page while our own
    /// vantage point is the likelier culprit.
    fn held_back(
        self,
        status: &SloStatus,
        severity: Severity,
        vantage: bool,
        due: &[Transition],
    ) -> bool {
        let page = AlertKey { name: status.slo.name.clone(), severity: Severity::Page };
        let page_fires = self.book.active(&page).is_some()
            || due.iter().any(|t| t.key == page && t.to == AlertState::Firing);
        (severity == Severity::Ticket && page_fires) || (vantage && status.slo.probe().is_some())
    }

    /// A condition of the daemon itself.
    fn condition(self, condition: &Condition) -> Option<Transition> {
        let key = AlertKey { name: condition.name.clone(), severity: condition.severity };
        let incident = self.book.active(&key);
        let (to, cause) = match (incident, condition.holds) {
            (None, true) => (AlertState::Firing, Cause::Internal),
            (Some(_), false) => (AlertState::Resolved, Cause::Recovered),
            (Some(incident), true) => return self.notifications(incident),
            (None, false) => return None,
        };
        let id =
            incident.map_or_else(|| incident_id(&key, self.now), |incident| incident.id.clone());
        let own = [("severity", condition.severity.as_str())];
        let alertname = condition.labels.get("alertname").unwrap_or(&condition.name).to_owned();
        let labels =
            Labels::new(condition.labels.iter().chain(own).chain([("alertname", &*alertname)]));
        let page = format!("{}/incidents/{id}", self.policy.external_url);
        let annotations = Labels::new([("summary", condition.summary.as_str()), ("page", &page)]);
        Some(self.transition(key, to, cause, Notice { incident: id, labels, annotations }))
    }

    /// Incidents whose SLO is gone or counts something else, or whose condition is not asked about
    /// any more.
    fn removed(self) -> Vec<Transition> {
        let asked = |key: &AlertKey| {
            let is_condition = |slo: &Slo| {
                key.name == no_data_name(&slo.name) || key.name == uncertain_name(&slo.name)
            };
            key.name == "RadiosondeVantage"
                || self.conditions.iter().any(|c| c.name == key.name)
                || self.policy.slos.iter().any(|slo| is_condition(slo))
        };
        let stays = |incident: &Incident| {
            let slo = self.policy.slos.iter().find(|slo| slo.name == incident.key.name);
            slo.is_some_and(|slo| counts_the_same(incident, slo)) || asked(&incident.key)
        };
        let gone = self.book.all_active().filter(|incident| !stays(incident));
        gone.map(|incident| {
            let summary = format!("{} was removed or now counts something else", incident.key.name);
            let notice = Notice {
                incident: incident.id.clone(),
                labels: incident.labels.clone(),
                annotations: incident.annotations.with("summary", &summary),
            };
            self.transition(incident.key.clone(), AlertState::Resolved, Cause::Removed, notice)
        })
        .collect()
    }

    /// Notifications that are due although the alert does not move: a silence is over, a receiver is
    /// new, a route repeats.
    fn notifications(self, incident: &Incident) -> Option<Transition> {
        if self.book.silenced_by(&incident.labels, self.now).is_some() {
            return None;
        }
        let told = |name: &str| {
            incident.notified.iter().find(|(known, _)| known == name).map(|(_, at)| *at)
        };
        let routed = self.policy.receivers_of(&incident.labels);
        let untold: Vec<String> = routed
            .iter()
            .filter(|r| told(&r.receiver).is_none())
            .map(|r| r.receiver.clone())
            .collect();
        let repeats = routed.iter().filter(|r| {
            let due =
                |at: UnixNanos| r.repeat_interval.is_some_and(|every| self.now.since(at) >= every);
            incident.acknowledged.is_none() && told(&r.receiver).is_some_and(due)
        });
        let (cause, receivers) = if untold.is_empty() {
            (Cause::Repeated, repeats.map(|r| r.receiver.clone()).collect::<Vec<_>>())
        } else {
            (Cause::Unsilenced, untold)
        };
        (!receivers.is_empty()).then(|| Transition {
            key: incident.key.clone(),
            to: incident.state,
            cause,
            at: self.now,
            incident: incident.id.clone(),
            labels: incident.labels.clone(),
            annotations: incident.annotations.clone(),
            decided_at: self.position,
            receivers,
        })
    }

    fn transition(self, key: AlertKey, to: AlertState, cause: Cause, notice: Notice) -> Transition {
        let Notice { incident, labels, annotations } = notice;
        let receivers = self.receivers(&key, to, &labels);
        let (at, decided_at) = (self.now, self.position);
        Transition { key, to, cause, at, incident, labels, annotations, decided_at, receivers }
    }

    /// Who hears of a transition: of a firing everybody on the route unless silenced; of a resolve
    /// those who heard of the firing and want to know; of a freeze nobody.
    fn receivers(self, key: &AlertKey, to: AlertState, labels: &Labels) -> Vec<String> {
        match to {
            AlertState::Frozen => Vec::new(),
            AlertState::Firing => {
                let silenced = self.book.silenced_by(labels, self.now).is_some();
                let told =
                    self.book.active(key).is_some_and(|incident| !incident.notified.is_empty());
                if silenced || told {
                    return Vec::new();
                }
                self.policy.receivers_of(labels).into_iter().map(|routed| routed.receiver).collect()
            }
            AlertState::Resolved => {
                let told = self.book.active(key).map(|incident| incident.notified.as_slice());
                let wants =
                    |name: &str| self.policy.receiver(name).is_some_and(|r| r.send_resolved);
                told.unwrap_or_default()
                    .iter()
                    .map(|(name, _)| name.clone())
                    .filter(|name| wants(name))
                    .collect()
            }
        }
    }

    fn explain(self, slo: &Slo, window: Duration) -> Option<Explanation> {
        let evidence = self.store.evidence.phones.get(&slo.indicator.id())?;
        let now = Slot::of(self.now).plus(1);
        explain::within(evidence, now.minus(crate::model::slot::slots_in(window)), now)
    }
}

/// Whether an incident was about what the SLO counts now.
fn counts_the_same(incident: &Incident, slo: &Slo) -> bool {
    incident.annotations.get("indicator") == Some(&format!("{:?}", slo.indicator.id()))
}

fn no_data_name(slo: &str) -> String {
    format!("NoData/{slo}")
}

fn uncertain_name(slo: &str) -> String {
    format!("MeasurementUncertain/{slo}")
}

fn no_data(status: &SloStatus, inputs: Inputs<'_>) -> Condition {
    let slo = &status.slo;
    let frozen = Severity::ALL.iter().any(|severity| {
        let key = AlertKey { name: slo.name.clone(), severity: *severity };
        inputs.book.active(&key).is_some_and(|incident| incident.state == AlertState::Frozen)
    });
    let since = match status.data {
        Data::Missing(since) => Some(since),
        Data::None | Data::Present => None,
    };
    let expected = slo.probe().is_some() || frozen;
    let excused = excused_until(slo, inputs);
    let is_overdue = |since: UnixNanos| {
        excused.is_none_or(|until| inputs.now.since(since.max(until)) >= NO_DATA_TICKET_AFTER)
            && inputs.now.since(since) >= NO_DATA_TICKET_AFTER
    };
    let holds = expected && since.is_some_and(is_overdue);
    let last = since.unwrap_or(inputs.now).to_rfc3339();
    Condition {
        name: no_data_name(&slo.name),
        severity: Severity::Ticket,
        holds,
        summary: format!(
            "{} has had no data since {last}: neither good nor bad is known",
            slo.name
        ),
        labels: Labels::new([("alertname", "NoData"), ("slo", slo.name.as_str())]),
    }
}

/// Until when maintenance excuses an SLO's silence; one that was told of before is not excused.
fn excused_until(slo: &Slo, inputs: Inputs<'_>) -> Option<UnixNanos> {
    let key = AlertKey { name: no_data_name(&slo.name), severity: Severity::Ticket };
    let probe = slo.probe().filter(|_| inputs.book.active(&key).is_none())?;
    let rest = inputs.policy.rest_of(probe, inputs.now);
    rest.window.map(|window| window.until).or(rest.ended)
}

fn uncertain(status: &SloStatus) -> Condition {
    let slo = &status.slo;
    let counted = status.pairs.first().map_or(0, |pair| pair.short.counts.total);
    let share = status.uncertain as f64 / (status.uncertain + counted).max(1) as f64;
    Condition {
        name: uncertain_name(&slo.name),
        severity: Severity::Ticket,
        holds: status.uncertain >= UNCERTAIN_MIN && share > UNCERTAIN_SHARE,
        summary: format!(
            "{:.0} % of the verdicts of {} were left out within five minutes: this machine is too \
             busy to measure to its threshold",
            share * 100.0,
            slo.name
        ),
        labels: Labels::new([("alertname", "MeasurementUncertain"), ("slo", slo.name.as_str())]),
    }
}

/// The same decision has the same id, so that an interrupted one is not taken for another.
fn incident_id(key: &AlertKey, at: UnixNanos) -> String {
    let text = format!("{}|{}|{}", key.name, key.severity.as_str(), at.0);
    format!("{:016x}", xxh3_64(text.as_bytes()))
}
