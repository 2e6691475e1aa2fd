//! Alerts about the measuring itself: the daemon's parts, its vantage point, its certainty.

use crate::base::clock::UnixNanos;
use crate::model::labels::Labels;
use crate::model::objective::Severity;
use crate::model::probe::FailureReason;
use crate::store::evidence::Evidence;
use std::collections::BTreeMap;

/// A condition of the daemon itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The alert's identity, unique among conditions; its `alertname` unless `labels` has one.
    pub name: String,
    /// Page or ticket.
    pub severity: Severity,
    /// Whether it holds.
    pub holds: bool,
    /// What is wrong and what to do.
    pub summary: String,
    /// Labels beside alertname and severity.
    pub labels: Labels,
}

/// The share of targets that must be out of reach before the fault is looked for at home.
const VANTAGE_SHARE: f64 = 0.8;
/// Fewer distinct hosts than this say nothing about the vantage point.
const VANTAGE_HOSTS: usize = 3;

/// Whether most targets fail to resolve or connect at once: then the fault is likely our own
/// network's, and one alert replaces the many. Targets on loopback do not count, they are the
/// reference that shows our machine itself to be well.
#[must_use]
pub fn vantage(evidence: &Evidence, now: UnixNanos) -> Condition {
    let mut hosts: BTreeMap<String, bool> = BTreeMap::new();
    for probe in evidence.probes.values() {
        let Some(run) = probe.runs.back() else { continue };
        if now.since(run.ended()).as_secs() > 600 {
            continue;
        }
        for step in &run.steps {
            let unreachable = step.failure.as_ref().is_some_and(|failure| {
                matches!(failure.reason, FailureReason::Resolve | FailureReason::Connect)
            });
            let host = host_of(&step.target);
            if !host.is_empty() && !is_loopback(&host) {
                *hosts.entry(host).or_insert(true) &= unreachable;
            }
        }
    }
    let lost = hosts.values().filter(|unreachable| **unreachable).count();
    let holds = hosts.len() >= VANTAGE_HOSTS && lost as f64 >= VANTAGE_SHARE * hosts.len() as f64;
    Condition {
        name: "RadiosondeVantage".to_owned(),
        severity: Severity::Page,
        holds,
        summary: format!(
            "{lost} of {} targets cannot be resolved or reached from here: look at this machine's \
             network first; pages of probes are held back meanwhile",
            hosts.len()
        ),
        labels: Labels::default(),
    }
}

fn host_of(target: &str) -> String {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    let without_port = authority.rsplit_once(':').map_or(authority, |(host, port)| {
        if port.chars().all(|c| c.is_ascii_digit()) { host } else { authority }
    });
    without_port.trim_matches(['[', ']']).to_owned()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::probe::{Failure, Outcome, ProbeRun, StepResult};
    use std::sync::Arc;

    fn evidence(hosts: &[(&str, Option<FailureReason>)]) -> Evidence {
        let mut evidence = Evidence::default();
        for (host, reason) in hosts {
            evidence.add_run(&Arc::new(ProbeRun {
                probe: format!("probe-{host}"),
                outcome: if reason.is_some() { Outcome::Failure } else { Outcome::Success },
                steps: vec![step(host, *reason)],
                ..ProbeRun::default()
            }));
        }
        evidence
    }

    fn step(host: &str, reason: Option<FailureReason>) -> StepResult {
        StepResult {
            target: format!("https://{host}/x"),
            failure: reason.map(|reason| Failure { reason, message: String::new() }),
            ..StepResult::default()
        }
    }

    /// Guarantees that of a run over several hosts only the one that was out of reach counts as that.
    #[test]
    fn one_host_of_a_journey_is_not_us() {
        let lost = Some(FailureReason::Connect);
        let mut evidence = Evidence::default();
        evidence.add_run(&Arc::new(ProbeRun {
            probe: "journey".to_owned(),
            outcome: Outcome::Failure,
            failure: lost.map(|reason| Failure { reason, message: String::new() }),
            steps: vec![step("a.example", None), step("b.example", None), step("c.example", lost)],
            ..ProbeRun::default()
        }));
        assert!(!vantage(&evidence, UnixNanos(0)).holds);
    }

    /// Guarantees that only an outage of nearly everything remote at once is taken for our own.
    #[test]
    fn most_hosts_at_once_is_us() {
        let lost = Some(FailureReason::Connect);
        let check = |hosts: &[(&str, Option<FailureReason>)], expected| {
            assert_eq!(vantage(&evidence(hosts), UnixNanos(0)).holds, expected, "{hosts:?}");
        };
        check(&[("a.example:443", lost), ("b.example", lost), ("c.example", lost)], true);
        check(&[("a.example", lost), ("b.example", lost), ("c.example", None)], false);
        check(
            &[("a.example", lost), ("b.example", Some(FailureReason::Status)), ("c.example", lost)],
            false,
        );
        check(&[("127.0.0.1:7070", lost), ("localhost:1", lost), ("[::1]:9", lost)], false);
    }
}
