//! JUnit's XML, as CI systems read it: a test suite a probe or instance of it, a test case a step of a run.
//!
//! A step that was not reached is skipped; a failure is the target's, an error this machine's own.

use super::Series;
use crate::base::clock::UnixNanos;
use crate::model::probe::{CheckResult, Failure, FailureReason, ProbeRun, StepResult};
use crate::probe::spec::ProbeSpec;
use chrono::{DateTime, FixedOffset};
use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};
use std::time::Duration;

/// The report of all runs.
///
/// # Errors
/// When XML cannot be written.
pub(super) fn document(all: &[Series<'_>]) -> Result<String, SerializeError> {
    let mut report = Report::new("radiosonde");
    let _ = report.set_time(Duration::from_nanos(
        all.iter().flat_map(|series| &series.runs).map(|run| run.duration_ns).sum(),
    ));
    if let Some(first) = all.first().and_then(|series| series.runs.first()) {
        let _ = report.set_timestamp(timestamp(first.started()));
    }
    let _ = report.add_test_suites(all.iter().map(suite));
    report.to_string()
}

fn suite(series: &Series<'_>) -> TestSuite {
    let mut suite = TestSuite::new(series.probe.title());
    let spent = series.runs.iter().map(|run| run.duration_ns).sum();
    let _ = suite.set_time(Duration::from_nanos(spent));
    if let Some(first) = series.runs.first() {
        let _ = suite.set_timestamp(timestamp(first.started()));
    }
    let _ = suite.add_properties(series.probe.labels.iter().map(|(k, v)| Property::new(k, v)));
    let repeated = series.runs.len() > 1;
    for (run, number) in series.runs.iter().zip(1_u32..) {
        let which = if repeated { format!(" (run {number})") } else { String::new() };
        let _ = suite.add_test_cases(cases(series.probe, run, &which));
    }
    suite
}

/// The steps of a run. What no step says is a case of its own, `run`.
fn cases(probe: &ProbeSpec, run: &ProbeRun, which: &str) -> Vec<TestCase> {
    let is_cleanup = |step: &&StepResult| probe.cleanup.iter().any(|c| c.name == step.name);
    let taken: Vec<&StepResult> = run.steps.iter().filter(|step| !is_cleanup(step)).collect();
    let mut cases: Vec<TestCase> = taken
        .iter()
        .map(|step| {
            let mut case =
                case(probe, &step.name, which, status(step.failure.as_ref(), &step.checks));
            let begun = run.started().plus(Duration::from_nanos(step.offset_ns));
            let _ = case
                .set_time(Duration::from_nanos(step.duration_ns))
                .set_timestamp(timestamp(begun))
                .set_assertions(step.checks.len())
                .set_system_out(output(run, step));
            case
        })
        .collect();
    let reached = |name: &str| taken.iter().any(|step| step.name == name);
    for step in probe.steps.iter().filter(|step| !reached(&step.name)) {
        let mut skipped = TestCaseStatus::skipped();
        let _ = skipped.set_message("not reached: a step before it failed");
        cases.push(case(probe, &step.name, which, skipped));
    }
    if run.failure.is_some() && taken.iter().all(|step| step.failure.is_none()) {
        let mut case = case(probe, "run", which, status(run.failure.as_ref(), &[]));
        let _ = case.set_time(Duration::from_nanos(run.duration_ns));
        cases.push(case);
    }
    cases
}

fn case(probe: &ProbeSpec, step: &str, which: &str, status: TestCaseStatus) -> TestCase {
    let is_only = probe.steps.len() == 1 && step == "1";
    let name = match step {
        _ if is_only => probe.title(),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("step {number}"),
        name => name.to_owned(),
    };
    let mut case = TestCase::new(format!("{name}{which}"), status);
    let _ = case.set_classname(probe.title());
    case
}

fn status(failure: Option<&Failure>, checks: &[CheckResult]) -> TestCaseStatus {
    let Some(failure) = failure else { return TestCaseStatus::success() };
    let kind = match failure.reason {
        FailureReason::Local | FailureReason::Missed => NonSuccessKind::Error,
        _ => NonSuccessKind::Failure,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let _ = status.set_type(failure.reason.as_str()).set_message(&failure.message);
    let failed = checks.iter().filter(|check| !check.passed).map(|check| {
        let found = check.found.as_deref().unwrap_or("nothing");
        format!("expected: {}\nfound: {found}\n", check.name)
    });
    let words: String = failed.collect();
    let _ = status.set_description(if words.is_empty() { &failure.message } else { &words });
    status
}

/// Where to, and every phase in milliseconds.
fn output(run: &ProbeRun, step: &StepResult) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    let mut text = format!("{} {}\n", step.protocol, step.target);
    if let Some(status) = step.status {
        text.push_str(&format!("status {status}\n"));
    }
    for timing in &step.phases {
        text.push_str(&format!(
            "{:<11} {:>12.3} ms, from {:.3} ms\n",
            timing.phase.as_str(),
            ms(timing.duration_ns),
            ms(timing.offset_ns)
        ));
    }
    if let Some(latency) = step.message_latency_ns {
        text.push_str(&format!("from send to match {:.3} ms\n", ms(latency)));
    }
    text.push_str(&format!("trace {}\n", run.id.to_hex()));
    text
}

fn timestamp(at: UnixNanos) -> DateTime<FixedOffset> {
    DateTime::from_timestamp_nanos(i64::try_from(at.0).unwrap_or(i64::MAX)).fixed_offset()
}
