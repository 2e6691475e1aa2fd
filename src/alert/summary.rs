//! Sentences that a tired person can act on, and the figures behind them as annotations.

use super::budget::{PairStatus, SloStatus};
use super::explain::Explanation;
use super::policy::Policy;
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::labels::Labels;
use crate::model::objective::{Indicator, Severity, Slo};

/// Labels of an SLO's alert.
#[must_use]
pub fn labels(slo: &Slo, severity: Severity) -> Labels {
    let own = [
        ("alertname", slo.name.as_str()),
        ("slo", slo.name.as_str()),
        ("severity", severity.as_str()),
    ];
    let owner = slo.owner.as_deref().map(|owner| ("owner", owner));
    let probe = slo.probe().map(|probe| ("probe", probe));
    Labels::new(slo.labels.iter().chain(owner).chain(probe).chain(own))
}

/// Annotations of an SLO's alert, `summary` first among them.
#[must_use]
pub fn annotations(
    status: &SloStatus,
    pair: Option<&PairStatus>,
    explanation: Option<&Explanation>,
    incident: (&str, UnixNanos),
    policy: &Policy,
) -> Labels {
    let (id, since) = incident;
    let slo = &status.slo;
    let mut pairs = vec![
        ("summary", sentence(status, pair, explanation, since)),
        ("budget_remaining", format!("{:.4}", status.remaining)),
        ("indicator", format!("{:?}", slo.indicator.id())),
        ("page", format!("{}/incidents/{id}", policy.external_url)),
    ];
    if let Some(pair) = pair {
        pairs.push(("burn_pair", pair.pair.name()));
        pairs.push(("burn_rate_long", format!("{:.2}", pair.long.burn)));
        pairs.push(("burn_rate_short", format!("{:.2}", pair.short.burn)));
        pairs.push(("burn_rate_threshold", format!("{:.2}", pair.factor)));
    }
    if let Some(left) = status.exhausted_in() {
        pairs.push(("budget_exhausted_in", humane(left)));
    }
    pairs.extend(explanation.map(|explanation| ("explanation", explanation.sentence())));
    pairs.extend(slo.description.clone().map(|text| ("description", text)));
    pairs.extend(slo.runbook.clone().map(|url| ("runbook_url", url)));
    Labels::new(pairs)
}

/// `send-message-on-phones burns 18x since 02:14 UTC; release 4.2.0 and network cell explains 93 % of
/// it with 6 % of the traffic; 41 % of the budget left, gone in 9h`
#[must_use]
pub fn sentence(
    status: &SloStatus,
    pair: Option<&PairStatus>,
    explanation: Option<&Explanation>,
    since: UnixNanos,
) -> String {
    let rfc = since.to_rfc3339();
    let clock = rfc.get(11..16).unwrap_or("");
    let burn = pair.map_or_else(
        || format!("{} no longer burns too fast", status.slo.name),
        |pair| format!("{} burns {}x since {clock} UTC", status.slo.name, figure(pair.long.burn)),
    );
    let mut parts = vec![burn];
    if let Some(pair) = pair {
        let counts = pair.short.counts;
        let what = what_is_bad(&status.slo);
        let window = humane(pair.pair.short);
        parts.push(format!("{} of {} {what} in the last {window}", counts.bad, counts.total));
    }
    parts.extend(explanation.map(Explanation::sentence));
    parts.push(left(status));
    parts.join("; ")
}

fn what_is_bad(slo: &Slo) -> String {
    match &slo.indicator {
        Indicator::Latency { under_ns, .. } => {
            format!(
                "were slower than {} or failed",
                humane(std::time::Duration::from_nanos(*under_ns))
            )
        }
        Indicator::Availability { .. } => "failed".to_owned(),
        Indicator::Ratio { .. } => "were bad".to_owned(),
    }
}

fn left(status: &SloStatus) -> String {
    if status.remaining <= 0.0 {
        return format!("the budget of {} is gone", humane(status.slo.window));
    }
    let percent = (status.remaining * 100.0).floor();
    let when =
        status.exhausted_in().map(|left| format!(", gone in {}", humane(left))).unwrap_or_default();
    format!("{percent:.0} % of the budget left{when}")
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
