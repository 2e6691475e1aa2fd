//! `debug=true`: the run in words, the metrics that would have been returned, and the module.

use super::Report;
use crate::model::probe::StepResult;
use std::fmt::Write as _;

/// The three blocks.
pub(super) fn text(report: &Report<'_>, metrics: &str) -> String {
    let mut out = String::from("Logs for the probe:\n");
    let mut log = Log { out: &mut out, report };
    let prober = report.module.prober.name();
    log.line(
        "info",
        "Beginning probe",
        &[("probe", prober), ("timeout_seconds", &seconds(report))],
    );
    for step in &report.run.steps {
        log.step(step);
    }
    for address in &report.seen.addresses {
        log.line("info", "Talked to address", &[("ip", &address.to_string())]);
    }
    for answer in &report.seen.answers {
        let fields =
            [("status_code", answer.status.to_string()), ("body_bytes", answer.length.to_string())];
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        log.line("info", "Received HTTP response", &fields);
    }
    for words in &report.verdict.log {
        log.line("error", words, &[]);
    }
    let duration = format!("{:.6}", report.run.duration_ns as f64 / 1e9);
    let (level, words) = match report.verdict.success {
        true => ("info", "Probe succeeded"),
        false => ("error", "Probe failed"),
    };
    log.line(level, words, &[("duration_seconds", &duration)]);
    let shown = &report.module.shown;
    let _ = write!(
        out,
        "\n\n\nMetrics that would have been returned:\n{metrics}\n\n\nModule configuration:\n{shown}"
    );
    out
}

fn seconds(report: &Report<'_>) -> String {
    report.timeout.as_secs_f64().to_string()
}

/// Writes lines in logfmt.
struct Log<'o, 'r> {
    out: &'o mut String,
    report: &'o Report<'r>,
}

impl Log<'_, '_> {
    fn step(&mut self, step: &StepResult) {
        for timing in &step.phases {
            let length = format!("{:.6}", timing.duration_ns as f64 / 1e9);
            let fields = [("phase", timing.phase.as_str()), ("duration_seconds", length.as_str())];
            self.line("info", "Phase completed", &fields);
        }
        // Of HTTP the module judges, and its words follow.
        for check in step.checks.iter().filter(|_| step.protocol != "http") {
            let found = check.found.as_deref().unwrap_or("as expected");
            let level = if check.passed { "info" } else { "error" };
            self.line(level, &check.name, &[("found", found)]);
        }
    }

    fn line(&mut self, level: &str, message: &str, fields: &[(&str, &str)]) {
        let Report { module, target, .. } = self.report;
        let _ = write!(
            self.out,
            "module={} target={} level={level} msg={}",
            value(&module.name),
            value(without_credentials(target).as_str()),
            value(message)
        );
        for (name, text) in fields {
            let _ = write!(self.out, " {name}={}", value(text));
        }
        self.out.push('\n');
    }
}

fn value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

/// What stands before an `@` in a URL is nobody's business.
fn without_credentials(target: &str) -> String {
    let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let colon = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{colon}{place}{path}")
}
