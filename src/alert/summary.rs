//! Sentences that a tired person can act on, and the figures behind them as annotations.

use super::budget::{PairStatus, SloStatus};
use super::explain::Explanation;
use super::policy::Policy;
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::labels::Labels;
use crate::model::objective::{Indicator, Severity, Slo};
use crate::store::evidence::Evidence;
use std::time::Duration;

/// A failed run that is older explains nothing that burns now.
const RECENT: Duration = Duration::from_secs(3_600);
/// Characters of a failure that a sentence holds.
const MAX_WORDS: usize = 160;

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
    why: Option<&str>,
    incident: (&str, UnixNanos),
    policy: &Policy,
) -> Labels {
    let (id, since) = incident;
    let slo = &status.slo;
    let mut pairs = vec![
        ("summary", sentence(status, pair, why, since)),
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
    pairs.extend(why.map(|why| ("explanation", why.to_owned())));
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
    why: Option<&str>,
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
    parts.extend(why.map(str::to_owned));
    parts.push(left(status));
    parts.join("; ")
}

/// Why it burns, as far as that is known: the part of the phones' traffic that explains it, or what the
/// probe's last failed run found within the hour before `now`.
#[must_use]
pub fn why(
    slo: &Slo,
    explanation: Option<&Explanation>,
    evidence: &Evidence,
    now: UnixNanos,
) -> Option<String> {
    if let Some(explanation) = explanation {
        return Some(explanation.sentence());
    }
    let run = evidence.probes.get(slo.probe()?)?.failed.back()?;
    let failure = run.failure.as_ref().filter(|_| now.since(run.ended()) < RECENT)?;
    let words: String = failure.message.chars().take(MAX_WORDS).collect();
    Some(format!("the last run that failed: {}, {words}", failure.reason.as_str()))
}

fn what_is_bad(slo: &Slo) -> String {
    match &slo.indicator {
        Indicator::Latency { under_ns, .. } => {
            format!("were slower than {} or failed", humane(Duration::from_nanos(*under_ns)))
        }
        Indicator::Availability { .. } => "failed".to_owned(),
        Indicator::Ratio { .. } => "were bad".to_owned(),
    }
}

fn left(status: &SloStatus) -> String {
    if status.remaining <= 0.0 {
        return format!("the budget of {} is gone", humane(status.slo.window));
    }
    // Cut, so that a budget that was touched does not read as whole, and to a tenth where little is left.
    let percent = status.remaining * 100.0;
    let percent = if percent < 10.0 { (percent * 10.0).floor() / 10.0 } else { percent.floor() };
    let when =
        status.exhausted_in().map(|left| format!(", gone in {}", humane(left))).unwrap_or_default();
    format!("{percent} % of the budget left{when}")
}

fn figure(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixNanos;
    use crate::model::labels::Labels;
    use crate::model::matcher::Where;
    use crate::model::objective::Source;
    use crate::model::probe::{Failure, FailureReason, Outcome, ProbeRun};
    use std::sync::Arc;

    /// Guarantees that an SLO on a probe is explained by what its last failed run found, while that is
    /// recent.
    #[test]
    fn a_probe_says_what_it_found() {
        let source = Source::Probe("chat".to_owned());
        let slo = Slo {
            name: "chat-up".to_owned(),
            owner: None,
            description: None,
            runbook: None,
            objective: 0.99,
            window: Duration::from_secs(3_600),
            indicator: Indicator::Availability { source, filter: Where::default() },
            burn: Vec::new(),
            absent_after: Duration::from_secs(300),
            labels: Labels::default(),
        };
        let mut evidence = Evidence::default();
        assert_eq!(why(&slo, None, &evidence, UnixNanos(0)), None);
        let message = "the upgrade was answered with 503".to_owned();
        evidence.add_run(&Arc::new(ProbeRun {
            probe: "chat".to_owned(),
            outcome: Outcome::Failure,
            failure: Some(Failure { reason: FailureReason::Status, message }),
            ..ProbeRun::default()
        }));
        let soon = UnixNanos(0).plus(Duration::from_secs(60));
        assert_eq!(
            why(&slo, None, &evidence, soon).as_deref(),
            Some("the last run that failed: status, the upgrade was answered with 503")
        );
        assert_eq!(why(&slo, None, &evidence, soon.plus(RECENT)), None);
    }
}
