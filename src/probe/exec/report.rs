//! What a program says it found: version 1 of the format in the head of this module.

use crate::base::clock::MonoNanos;
use crate::base::duration::humane;
use crate::model::attribute::AttributeValue;
use crate::model::probe::{FailureReason, Phase};
use crate::probe::check::Check;
use crate::probe::failure::{Attempt, failure, quote};
use crate::probe::record::StepRecord;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The version that is understood.
const VERSION: u64 = 1;
/// Phases, checks and attributes, of each.
const MAX_ITEMS: usize = 50;

/// What a program says it found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    #[serde(rename = "version")]
    _version: u64,
    outcome: Outcome,
    reason: Option<String>,
    message: Option<String>,
    value_ms: Option<f64>,
    #[serde(default)]
    phases: Vec<ReportedPhase>,
    #[serde(default)]
    checks: Vec<ReportedCheck>,
    #[serde(default)]
    attributes: Map<String, Value>,
    status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Success,
    Failure,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportedPhase {
    name: String,
    ms: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportedCheck {
    name: String,
    passed: bool,
    found: Option<String>,
}

// === impl Report ===

impl Report {
    /// Reads what a program printed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(output: &[u8]) -> Result<Self, String> {
        if output.trim_ascii().is_empty() {
            return Err("the program printed nothing".to_owned());
        }
        let json: Value = serde_json::from_slice(output)
            .map_err(|error| format!("what the program printed is not one JSON object: {error}"))?;
        match json.get("version").map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            None if json.is_object() => {
                return Err("what the program printed has no version: write \"version\": 1".into());
            }
            None => return Err("what the program printed is not a JSON object".to_owned()),
            Some(_) => {
                return Err("what the program printed is of another version than 1".to_owned());
            }
        }
        let report: Self = serde_json::from_value(json)
            .map_err(|error| format!("what the program printed is not as it must be: {error}"))?;
        let counts = [report.phases.len(), report.checks.len(), report.attributes.len()];
        if counts.iter().any(|count| *count > MAX_ITEMS) {
            return Err(format!("the program tells more than {MAX_ITEMS} of one kind"));
        }
        Ok(report)
    }

    /// Puts all of it into the record of a program that ran between these instants.
    ///
    /// # Errors
    /// What the program says has failed; or a protocol failure, when it says what cannot be.
    pub(super) fn note(
        self,
        began: MonoNanos,
        ended: MonoNanos,
        record: &mut StepRecord,
    ) -> Attempt<()> {
        let ran = ended.since(began);
        let phases = self.timed_phases(ran)?;
        let value = self.value_ms.map(|ms| length("value_ms", ms)).transpose()?;
        within("value_ms", value.unwrap_or_default(), ran)?;
        let reason = self.failure_reason()?;
        if phases.is_empty() {
            record.phase(Phase::Wait, began, ended);
        }
        let mut from = began;
        for (phase, length) in phases {
            record.phase(phase, from, from.plus(length));
            from = from.plus(length);
        }
        if let Some(value) = value {
            record.value(value);
        }
        if let Some(status) = self.status {
            record.status(status);
        }
        for (name, value) in &self.attributes {
            record.attribute(&quote(name), typed(value));
        }
        let checks = self.checks.into_iter().map(ReportedCheck::check);
        let mut complaint = None;
        for check in checks {
            complaint = complaint.or_else(|| check.complaint());
            record.check(check.name, check.found);
        }
        match (self.outcome, self.message, complaint) {
            (Outcome::Success, _, None) => Ok(()),
            (Outcome::Failure, Some(message), _) => Err(failure(reason, quote(&message))),
            (Outcome::Failure, None, None) => {
                Err(failure(reason, "the program found a failure, and does not say which"))
            }
            (_, _, Some(complaint)) => Err(failure(reason, complaint)),
        }
    }

    fn timed_phases(&self, ran: Duration) -> Attempt<Vec<(Phase, Duration)>> {
        let mut phases = Vec::with_capacity(self.phases.len());
        let mut sum = Duration::ZERO;
        for ReportedPhase { name, ms } in &self.phases {
            let Some(phase) = Phase::from_name(name) else {
                let known: Vec<&str> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
                let name = quote(name);
                return Err(refused(format!(
                    "the program names a phase `{name}`; the phases are: {}",
                    known.join(", ")
                )));
            };
            let length = length(name, *ms)?;
            sum = sum.saturating_add(length);
            phases.push((phase, length));
        }
        within("its phases together", sum, ran)?;
        Ok(phases)
    }

    fn failure_reason(&self) -> Attempt<FailureReason> {
        let Some(name) = &self.reason else { return Ok(FailureReason::Check) };
        // The other two are of slots in which nothing ran.
        let allowed =
            |r: &FailureReason| !matches!(r, FailureReason::Overlapped | FailureReason::Missed);
        FailureReason::from_name(name).filter(allowed).ok_or_else(|| {
            let known: Vec<&str> =
                FailureReason::ALL.iter().filter(|r| allowed(r)).map(|r| r.as_str()).collect();
            let name = quote(name);
            refused(format!(
                "the program names a reason `{name}`; the reasons are: {}",
                known.join(", ")
            ))
        })
    }
}

impl ReportedCheck {
    fn check(self) -> Check {
        let found = self.found.unwrap_or_else(|| "it did not pass".to_owned());
        Check::new(quote(&self.name), self.passed, || found)
    }
}

/// Numbers stay numbers; what is neither number nor truth value is told as it was written.
fn typed(value: &Value) -> AttributeValue {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => AttributeValue::Integer(whole),
            (None, Some(double)) => AttributeValue::Double(double),
            (None, None) => number.to_string().into(),
        },
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

fn refused(words: String) -> crate::model::probe::Failure {
    failure(FailureReason::Protocol, words)
}

fn length(what: &str, ms: f64) -> Attempt<Duration> {
    Duration::try_from_secs_f64(ms / 1_000.0)
        .map_err(|_| refused(format!("the program says that {what} is {ms} ms")))
}

/// Nothing takes longer than the program that measured it.
fn within(what: &str, length: Duration, ran: Duration) -> Attempt<()> {
    if length <= ran {
        return Ok(());
    }
    let (length, ran) = (humane(length), humane(ran));
    Err(refused(format!("the program says that {what} took {length}, but it ran for {ran} only")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock, UnixNanos};
    use crate::model::probe::StepResult;
    use proptest::prelude::*;

    /// Reads a report of a program that ran for a second.
    fn noted(text: &str) -> (StepResult, Result<(), (FailureReason, String)>) {
        let clock = Clock::manual(UnixNanos(0));
        let mut record = StepRecord::begin(&clock, MonoNanos(0), "1", [1; 8]);
        clock.advance(Duration::from_secs(1));
        let done = Report::read(text.as_bytes())
            .map_err(refused)
            .and_then(|report| report.note(MonoNanos(0), MonoNanos(1_000_000_000), &mut record));
        let failure = done.clone().err();
        (record.finish(failure), done.map_err(|f| (f.reason, f.message)))
    }

    /// Guarantees where each part of a report goes.
    #[test]
    fn a_report_becomes_a_result() {
        let (result, done) = noted(
            r#"{"version":1,"outcome":"success","value_ms":12.5,"status":200,
                "phases":[{"name":"connect","ms":1.5},{"name":"wait","ms":20}],
                "checks":[{"name":"badge","passed":true}],"attributes":{"a":"x","n":3}}"#,
        );
        assert_eq!(done, Ok(()));
        let phases: Vec<_> =
            result.phases.iter().map(|p| (p.phase, p.offset_ns, p.duration_ns)).collect();
        let expected = [(Phase::Connect, 0, 1_500_000), (Phase::Wait, 1_500_000, 20_000_000)];
        assert_eq!(phases, expected);
        assert_eq!((result.message_latency_ns, result.status), (Some(12_500_000), Some(200)));
        assert_eq!((result.duration_ns, result.checks.len()), (21_500_000, 1));
        let attributes = [("a".to_owned(), "x".into()), ("n".to_owned(), 3_u32.into())];
        assert_eq!(result.attributes, attributes);
        let (result, done) = noted(r#"{"version":1,"outcome":"success"}"#);
        assert_eq!((done, result.message_latency_ns), (Ok(()), None));
        assert_eq!((result.duration_ns, result.phases.len()), (1_000_000_000, 1));
    }

    /// Guarantees the reason and the words of each failure, and of each report that cannot be.
    #[test]
    fn failures_have_reasons_and_words() {
        use FailureReason::{Check, Late, Protocol};
        let check = |text: &str, reason: FailureReason, part: &str| {
            let (found, words) = noted(text).1.expect_err(text);
            assert_eq!(found, reason, "{words}");
            assert!(words.contains(part), "{words}");
        };
        let failed = r#""version":1,"outcome":"failure""#;
        let passed = r#""version":1,"outcome":"success""#;
        check(&format!(r#"{{{failed},"reason":"late","message":"slow"}}"#), Late, "slow");
        check(&format!(r#"{{{failed}}}"#), Check, "does not say which");
        let unmet = r#""checks":[{"name":"badge","passed":false,"found":"none"}]"#;
        check(&format!(r#"{{{passed},{unmet}}}"#), Check, "expected that badge, found: none");
        check(&format!(r#"{{{failed},"reason":"missed"}}"#), Protocol, "a reason `missed`");
        let phase = |name: &str, ms: &str| {
            format!(r#"{{{passed},"phases":[{{"name":"{name}","ms":{ms}}}]}}"#)
        };
        check(&phase("dns", "1"), Protocol, "a phase `dns`; the phases are: resolve, connect");
        check(&phase("wait", "-1"), Protocol, "wait is -1 ms");
        check(&phase("wait", "1000.1"), Protocol, "its phases together took");
        check(&format!(r#"{{{passed},"value_ms":1e300}}"#), Protocol, "value_ms is");
        check(&format!(r#"{{{passed},"value":1}}"#), Protocol, "unknown field `value`");
        check("", Protocol, "printed nothing");
        check("OK", Protocol, "not one JSON object");
        check("[]", Protocol, "not a JSON object");
        check(r#"{"outcome":"success"}"#, Protocol, "has no version");
        check(r#"{"version":2,"outcome":"fine"}"#, Protocol, "another version than 1");
        check(r#"{"version":1,"outcome":"fine"}"#, Protocol, "unknown variant `fine`");
        let many = vec![r#"{"name":"wait","ms":0}"#; 51].join(",");
        check(&format!(r#"{{{passed},"phases":[{many}]}}"#), Protocol, "more than 50");
    }

    proptest! {
        /// Guarantees that nothing that is printed makes the reader panic.
        #[test]
        fn any_output_is_read(text in "\\PC*", ms: f64) {
            let _ = noted(&text);
            let phase = format!(r#"{{"version":1,"outcome":"success","value_ms":{ms:?}}}"#);
            let _ = noted(&phase);
        }
    }
}
