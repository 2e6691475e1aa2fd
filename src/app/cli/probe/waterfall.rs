//! A run as a waterfall: a line a phase, its bar where it lay in time, and why the run failed.

use super::super::palette::{BAD, CONNECTING, DIM, MOVING, Mark, STRONG, WAITING, paint};
use super::super::terminal::{cut, wrap};
use super::axis::Axis;
use crate::base::duration;
use crate::model::probe::{
    Failure, FailureReason, Outcome, Phase, PhaseTiming, ProbeRun, StepResult,
};
use crate::probe::spec::ProbeSpec;
use anstyle::Style;
use std::time::Duration;

/// Names of phases stand in so many columns,
const NAMES: usize = 17;
/// and durations in so many.
const DURATIONS: usize = 9;
/// No axis is shorter.
const MIN_CELLS: usize = 10;
/// A wait that is shorter than this share of the run is not drawn: it is ours, not the target's.
const SHOWN_SHARE: u64 = 100;
/// After an answer that was judged, not unless it is as long as this, either.
const SHOWN_JUDGED_NS: u64 = 10_000_000;
/// Our own doing is mentioned from this share of the value on.
const STALL_SHARE: u64 = 20;

/// The run in lines of at most `width` characters, but for long words.
pub(super) fn waterfall(run: &ProbeRun, probe: &ProbeSpec, width: usize) -> String {
    let cells = width.saturating_sub(NAMES + DURATIONS).max(MIN_CELLS);
    let is_cleanup = |step: &&StepResult| probe.cleanup.iter().any(|c| c.name == step.name);
    let (cleanup, taken): (Vec<_>, Vec<_>) = run.steps.iter().partition(is_cleanup);
    let axis = Axis::new(span(&taken).unwrap_or(run.duration_ns), cells);
    let mut lines = vec![headline(run, probe)];
    if run.steps.iter().any(|step| step.failure.is_some() || !step.phases.is_empty()) {
        lines.push(format!("{:NAMES$}{}", "", axis.labels()));
    }
    lines.extend(taken.iter().flat_map(|step| step_lines(step, probe, &axis, width)));
    let reached = |name: &str| run.steps.iter().any(|step| step.name == name);
    for step in probe.steps.iter().filter(|step| !reached(&step.name)) {
        lines.push(paint(DIM, &format!("  {}not reached", label(&step.name, probe))));
    }
    lines.extend(cleanup.iter().flat_map(|step| step_lines(step, probe, &axis, width)));
    lines.extend(last_lines(run, width));
    lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// From the start to the last thing that these steps draw.
fn span(steps: &[&StepResult]) -> Option<u64> {
    let phases = steps.iter().flat_map(|step| &step.phases).map(end);
    let failed = steps.iter().filter(|step| step.failure.is_some());
    phases.chain(failed.map(|step| step.offset_ns.saturating_add(step.duration_ns))).max()
}

fn end(timing: &PhaseTiming) -> u64 {
    timing.offset_ns.saturating_add(timing.duration_ns)
}

fn humane(ns: u64) -> String {
    if ns < 1_000 { "<1us".to_owned() } else { duration::humane(Duration::from_nanos(ns)) }
}

/// `✓ chat-echo  PASSED  0.90ms, of 4.51ms in all`
fn headline(run: &ProbeRun, probe: &ProbeSpec) -> String {
    let (mark, word) = match run.outcome {
        Outcome::Success => (Mark::Good, "PASSED"),
        Outcome::Failure => (Mark::Bad, "FAILED"),
        Outcome::Timeout => (Mark::Bad, "TIMED OUT"),
        Outcome::Overlapped => (Mark::Bad, "OVERLAPPED"),
        Outcome::Missed => (Mark::Unknown, "MISSED"),
    };
    let reason = match &run.failure {
        Some(failure) if run.outcome == Outcome::Failure => {
            format!(" ({})", failure.reason.as_str())
        }
        _ => String::new(),
    };
    let time = match run.latency_ns {
        Some(value) => {
            let (value, all) = (humane(value), humane(run.duration_ns));
            let whole = paint(DIM, &format!(", of {all} in all"));
            let whole = if value == all { String::new() } else { whole };
            format!("{}{whole}", paint(STRONG, &value))
        }
        None => format!("after {}", humane(run.duration_ns)),
    };
    let said = paint(mark.style(), &format!("{word}{reason}"));
    let sign = paint(mark.style(), mark.sign());
    format!("{sign} {}  {said}  {time}", paint(STRONG, &probe.title()))
}

fn step_lines(step: &StepResult, probe: &ProbeSpec, axis: &Axis, width: usize) -> Vec<String> {
    let mut lines = vec![step_line(step, probe, width)];
    lines.extend(step.phases.iter().map(|timing| phase_line(timing, axis)));
    lines.extend(
        step.attributes.iter().map(|(name, value)| attribute_line(name, &value.shown(name), width)),
    );
    if let Some(failure) = &step.failure {
        lines.extend(failure_lines(step, failure, axis, width));
    }
    lines
}

/// `  bob  websocket ws://127.0.0.1:7070/rooms/probe`
fn step_line(step: &StepResult, probe: &ProbeSpec, width: usize) -> String {
    let name = label(&step.name, probe);
    let status = step.status.map(|status| format!("  {status}")).unwrap_or_default();
    let used = 2 + name.chars().count() + step.protocol.len() + 1 + status.len();
    let target = cut(&step.target, width.saturating_sub(used));
    format!("  {}{} {}{status}", paint(STRONG, &name), step.protocol, paint(DIM, &target))
}

/// The step's name, and the space after it; nothing where there is no other step.
fn label(name: &str, probe: &ProbeSpec) -> String {
    let is_only = probe.steps.len() + probe.cleanup.len() <= 1;
    if is_only { String::new() } else { format!("{name}  ") }
}

fn phase_line(timing: &PhaseTiming, axis: &Axis) -> String {
    let bar = axis.bar(timing.offset_ns, timing.duration_ns, "━", style(timing.phase));
    let length = humane(timing.duration_ns);
    let names = NAMES - 4;
    format!("    {:<names$}{bar}{length:>DURATIONS$}", timing.phase.as_str())
}

/// `      tls.protocol.version  1.3`
fn attribute_line(name: &str, value: &str, width: usize) -> String {
    let value = cut(value, width.saturating_sub(7 + name.chars().count()));
    format!("      {} {value}", paint(DIM, name))
}

const fn style(phase: Phase) -> Style {
    match phase {
        Phase::Resolve
        | Phase::Connect
        | Phase::Tls
        | Phase::Quic
        | Phase::Ice
        | Phase::Dtls
        | Phase::Upgrade
        | Phase::Handshake
        | Phase::Subscribe => CONNECTING,
        Phase::Wait
        | Phase::FirstEvent
        | Phase::Message
        | Phase::Detect
        | Phase::Backoff
        | Phase::Fallback
        | Phase::Resume => WAITING,
        Phase::Send | Phase::Receive | Phase::Close => MOVING,
    }
}

/// That the step failed, how long it waited for nothing, what was expected, and what came.
fn failure_lines(step: &StepResult, failure: &Failure, axis: &Axis, width: usize) -> Vec<String> {
    let ended = step.offset_ns.saturating_add(step.duration_ns);
    let from = step.phases.iter().map(end).max().unwrap_or(step.offset_ns);
    let waited = ended.saturating_sub(from);
    let said = format!("{} FAILED", Mark::Bad.sign());
    let names = NAMES - 4;
    // An answer that is judged fails when it is there: what follows is our own doing.
    let is_judged = matches!(failure.reason, FailureReason::Status | FailureReason::Check);
    let is_drawn = waited.saturating_mul(SHOWN_SHARE) >= ended;
    let head = if is_drawn && (!is_judged || waited >= SHOWN_JUDGED_NS) {
        let bar = axis.bar(from, waited, "╌", BAD);
        let said = paint(BAD, &format!("{said:<names$}"));
        format!("    {said}{bar}{:>DURATIONS$}", humane(waited))
    } else {
        format!("    {}", paint(BAD, &said))
    };
    let mut lines = vec![head];
    let mut checks = step.checks.iter().filter(|check| !check.passed).peekable();
    if checks.peek().is_none() {
        lines.extend(entry("why", &failure.message, width));
    }
    for check in checks {
        lines.extend(entry("expected", &check.name, width));
        let found = check.found.as_deref().unwrap_or("nothing");
        let more = more_words(&failure.message, &check.name, found);
        lines.extend(entry("found", &format!("{found}{more}"), width));
    }
    lines
}

/// What a failure says beyond the check that it is about: often the target's own words.
fn more_words<'a>(message: &'a str, name: &str, found: &str) -> &'a str {
    let after = message.strip_prefix("expected that ").and_then(|rest| rest.strip_prefix(name));
    after.and_then(|rest| rest.split_once(found)).map_or("", |(_, more)| more)
}

/// A word in the column of names, and a text beside it.
fn entry(word: &str, text: &str, width: usize) -> Vec<String> {
    let names = NAMES - 6;
    let words = wrap(text, width.saturating_sub(NAMES));
    let labels = std::iter::once(word).chain(std::iter::repeat(""));
    words
        .into_iter()
        .zip(labels)
        .map(|(line, label)| format!("      {}{line}", paint(DIM, &format!("{label:<names$}"))))
        .collect()
}

/// What no step says: a failure of the run itself, our own part in the value, where to look.
fn last_lines(run: &ProbeRun, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(failure) = &run.failure else {
        if run.uncertainty_ns.saturating_mul(STALL_SHARE) > run.latency_ns.unwrap_or(u64::MAX) {
            let stall = humane(run.uncertainty_ns);
            let words = format!(
                "  {} this machine stalled: up to {stall} of it is its own",
                Mark::Warning.sign()
            );
            lines.push(paint(Mark::Warning.style(), &words));
        }
        return lines;
    };
    if run.steps.iter().all(|step| step.failure.is_none()) {
        lines.extend(entry("why", &failure.message, width));
    }
    lines.push(paint(DIM, &format!("  trace {}", run.id.to_hex())));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::terminal::plain;
    use super::*;
    use crate::config;
    use crate::model::probe::{CheckResult, RunId};

    const MS: u64 = 1_000_000;

    fn probe() -> ProbeSpec {
        let text = "probes:
  - name: room
    every: 9s
    steps:
      - { as: bob, websocket: { url: 'ws://127.0.0.1:1/rooms' } }
      - { on: bob, expect: { text: hi, within: 100ms } }
      - { as: after, http: { get: 'http://127.0.0.1:1/' } }";
        let settings = config::load_embedded(&[("p.yaml", text)], &|_| true).settings;
        settings.expect("fine").probes[0].as_ref().clone()
    }

    fn run() -> ProbeRun {
        let phase = |phase, offset_ns, duration_ns| PhaseTiming { phase, offset_ns, duration_ns };
        let failure = Some(Failure {
            reason: FailureReason::Late,
            message: "expected that it comes, but it was late".to_owned(),
        });
        let bob = StepResult {
            name: "bob".to_owned(),
            protocol: "websocket".to_owned(),
            target: "ws://127.0.0.1:1/rooms".to_owned(),
            duration_ns: 20 * MS,
            phases: vec![
                phase(Phase::Connect, 0, 10 * MS),
                phase(Phase::Upgrade, 10 * MS, 10 * MS),
            ],
            ..StepResult::default()
        };
        let expect = StepResult {
            name: "2".to_owned(),
            protocol: "expect".to_owned(),
            target: "ws://127.0.0.1:1/rooms".to_owned(),
            offset_ns: 20 * MS,
            duration_ns: 180 * MS,
            phases: vec![phase(Phase::Message, 20 * MS, 180 * MS)],
            checks: vec![CheckResult {
                name: "a message whose text is hi comes within 100ms".to_owned(),
                passed: false,
                found: Some("it came after 180ms".to_owned()),
            }],
            failure: failure.clone(),
            ..StepResult::default()
        };
        ProbeRun {
            probe: "room".to_owned(),
            id: RunId([0xab; 16]),
            outcome: Outcome::Failure,
            failure,
            latency_ns: Some(180 * MS),
            duration_ns: 200 * MS,
            steps: vec![bob, expect],
            ..ProbeRun::default()
        }
    }

    /// Guarantees the whole picture without colours: the axis, the bars over it, what was expected
    /// and what came, the step that was not reached.
    #[test]
    fn a_late_message_as_a_picture() {
        let expected = "\
✗ room  FAILED (late)  180ms, of 200ms in all
                 0          50ms       100ms      150ms
  bob  websocket ws://127.0.0.1:1/rooms
    connect      ━━         ┊          ┊          ┊               10ms
    upgrade        ━━       ┊          ┊          ┊               10ms
  2  expect ws://127.0.0.1:1/rooms
    message          ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    180ms
    ✗ FAILED
      expected   a message whose text is hi comes within 100ms
      found      it came after 180ms
  after  not reached
  trace abababababababababababababababab
";
        let got = plain(&waterfall(&run(), &probe(), 70));
        assert_eq!(got, expected, "\n{got}");
    }

    /// Guarantees that the time for which nothing came is drawn, and that the picture keeps to its
    /// width however narrow or wide.
    #[test]
    fn a_wait_for_nothing_is_drawn_and_lines_fit() {
        let mut lost = run();
        lost.steps[1].phases.clear();
        let drawn = plain(&waterfall(&lost, &probe(), 70));
        let line = drawn.lines().find(|line| line.contains("FAILED  ")).expect("a line");
        assert!(line.contains("╌╌╌╌╌╌") && line.ends_with("180ms"), "{drawn}");
        for width in [40, 80, 120] {
            for line in plain(&waterfall(&run(), &probe(), width)).lines() {
                assert!(line.chars().count() <= width.max(60), "{line}");
            }
        }
    }
}
