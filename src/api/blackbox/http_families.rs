//! The families of the HTTP prober.

use super::Report;
use super::families::{by_phase, flag, phases, tls};
use super::gauges::Gauges;
use crate::model::probe::Phase;
use crate::probe::inspection::SeenAnswer;
use axum::http::{Version, header};
use chrono::DateTime;

/// Adds them.
pub(super) fn add(report: &Report<'_>, gauges: &mut Gauges) {
    let (run, seen, verdict) = (report.run, report.seen, report.verdict);
    let lengths = [
        ("resolve", phases(run, &[Phase::Resolve])),
        ("connect", phases(run, &[Phase::Connect])),
        ("tls", phases(run, &[Phase::Tls])),
        ("processing", phases(run, &[Phase::Send, Phase::Wait])),
        ("transfer", phases(run, &[Phase::Receive])),
    ];
    // Of a target without an address no other phase is told.
    let known = if seen.addresses.is_empty() { 1 } else { lengths.len() };
    by_phase("probe_http_duration_seconds", lengths.get(..known).unwrap_or_default(), gauges);
    let last = seen.answers.last();
    let status = last.map(|answer| answer.status);
    // An answer whose body broke off was not seen whole, but its status was.
    let status = status.or_else(|| run.steps.last()?.status).unwrap_or_default();
    gauges.set("probe_http_status_code", &[], f64::from(status));
    gauges.set("probe_http_version", &[], last.map_or(0.0, version));
    // One that was not followed counts as well.
    let redirects = seen.answers.iter().filter(|answer| is_redirect(answer)).count();
    gauges.set("probe_http_redirects", &[], redirects as f64);
    gauges.set("probe_http_ssl", &[], flag(last.is_some_and(|answer| answer.tls)));
    gauges.set("probe_http_content_length", &[], last.map_or(0.0, content_length));
    let length = verdict.inflated_length as f64;
    gauges.set("probe_http_uncompressed_body_length", &[], length);
    if let Some(modified) = last.and_then(last_modified) {
        gauges.set("probe_http_last_modified_timestamp_seconds", &[], modified);
    }
    gauges.set("probe_failed_due_to_regex", &[], flag(verdict.failed_by_pattern));
    gauges.set("probe_failed_due_to_cel", &[], 0.0);
    if let Some(handshake) = seen.handshakes.last().filter(|_| last.is_some_and(|a| a.tls)) {
        tls(handshake, gauges);
        gauges.set("probe_tls_cipher_info", &[("cipher", &handshake.cipher)], 1.0);
    }
}

fn is_redirect(answer: &SeenAnswer) -> bool {
    matches!(answer.status, 301 | 302 | 303 | 307 | 308)
        && answer.headers.contains_key(header::LOCATION)
}

fn version(answer: &SeenAnswer) -> f64 {
    match answer.version {
        Version::HTTP_10 => 1.0,
        Version::HTTP_2 => 2.0,
        Version::HTTP_3 => 3.0,
        _ => 1.1,
    }
}

/// As the head says it; -1 where it does not.
fn content_length(answer: &SeenAnswer) -> f64 {
    let text = answer.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(-1.0)
}

fn last_modified(answer: &SeenAnswer) -> Option<f64> {
    let text = answer.headers.get(header::LAST_MODIFIED)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.timestamp() as f64)
}
