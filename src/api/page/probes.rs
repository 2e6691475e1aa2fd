//! *Probes*: a card for each, failing ones first.

use super::empty;
use super::format::{ago, clock, count, hour, latency, latency_or_nothing};
use super::labels::distinct;
use super::links;
use super::parts::counted;
use super::svg::{self, Words};
use super::symbol::{Level, sign};
use super::trust;
use super::view::{CellState, PageView, ProbeView, StripCell};
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::probe::{Outcome, ProbeRun, StepResult};
use maud::{Markup, html};

/// Names beside a small waterfall, as many as it has rows.
const ROWS: usize = 8;

/// The section of the home page.
pub(super) fn section(view: &PageView) -> Markup {
    let mut probes: Vec<&ProbeView> = view.probes.iter().collect();
    probes.sort_by_key(|probe| {
        probe
            .last
            .as_ref()
            .is_none_or(|run| run.outcome == Outcome::Success || run.outcome == Outcome::Missed)
    });
    let body = if probes.is_empty() {
        empty::probes()
    } else {
        html! {
            (legend(true))
            div .cards { @for probe in &probes { (card(view.now, probe)) } }
            @if let Some(calibration) = &view.calibration { (trust::calibrated(view.now, calibration)) }
        }
    };
    counted("probes", "Probes", probes.len(), &body)
}

/// What shapes and shades mean, once for all cards; phases only where waterfalls are.
pub(super) fn legend(with_phases: bool) -> Markup {
    let phases =
        [("setup", 4, "getting there"), ("wait", 10, "waiting"), ("transfer", 7, "moving bytes")];
    let cells =
        [("good", 4, "ok"), ("warning", 8, "slow"), ("bad", 12, "failed"), ("none", 1, "no data")];
    let swatch = |class: &str, height: u32, top: u32| {
        html! { svg viewBox="0 0 12 12" aria-hidden="true" { rect class=(class) y=(top) width="12" height=(height) {} } }
    };
    html! {
        p .legend {
            @for (class, height, word) in phases.iter().filter(|_| with_phases) { span .waterfall { (swatch(class, *height, (12 - height) / 2)) (word) } }
            @for (class, height, word) in cells { span .strip { (swatch(class, height, 12 - height)) (word) } }
        }
    }
}

fn card(now: UnixNanos, probe: &ProbeView) -> Markup {
    let page = links::probe(&probe.name);
    let level = probe.last.as_ref().map_or(Level::Unknown, |run| Level::of_outcome(run.outcome).0);
    html! {
        article .probe data-key=(probe.name) {
            div .top { h3 { (sign(level)) a href=(page) { (probe.name) } } (numbers(probe, &page)) }
            p .target { (probe.protocol) " every " (probe.schedule) " · " (probe.target) }
            (resting(now, probe))
            @match &probe.last {
                Some(run) => { (last(now, run, &probe.differing)) }
                None => { p .calm { "No run yet." } }
            }
            (day(now, probe, &page))
        }
    }
}

/// Why it does not run now, where maintenance keeps it from that.
pub(super) fn resting(now: UnixNanos, probe: &ProbeView) -> Markup {
    html! {
        @if let Some(window) = &probe.maintenance {
            p .resting { b { "In maintenance" } " until " (clock(now, window.until)) ": " (window.name) }
        }
    }
}

/// p50 and p95, and a sign when the tail is over the threshold.
pub(super) fn numbers(probe: &ProbeView, page: &str) -> Markup {
    let over = matches!((probe.p95_ns, probe.under_ns), (Some(p95), Some(under)) if p95 > under);
    let hint = probe.under_ns.map_or_else(
        || "last hour".to_owned(),
        |under| format!("last hour; threshold {}", latency(under)),
    );
    html! {
        a .numbers href={ (page) "#latency" } title=(hint) {
            span { small { "p50" } (latency_or_nothing(probe.p50_ns)) }
            span class=[over.then_some("warning")] { small { "p95" } @if over { (sign(Level::Warning)) } (latency_or_nothing(probe.p95_ns)) }
        }
    }
}

/// The newest run: its outcome in words, and its waterfall.
fn last(now: UnixNanos, run: &ProbeRun, differing: &[String]) -> Markup {
    let (level, word) = Level::of_outcome(run.outcome);
    let value = latency(run.latency_ns.unwrap_or(run.duration_ns));
    let title = format!("Last run: {}, {}", word.to_lowercase(), value);
    html! {
        a .run href=(links::run(run.id)) {
            span .outcome .(level.class()) { (word) }
            @if run.outcome == Outcome::Success { " in " (value) }
            ", " (ago(now, run.ended()))
            @if !differing.is_empty() { span .meta { " · " (distinct(run, differing)) } }
            @if let Some(failure) = &run.failure { span .failure { (failure.reason.as_str()) ": " (failure.message) } }
        }
        @if !run.steps.is_empty() {
            div .fall .named[run.steps.len() > 1] {
                @if run.steps.len() > 1 {
                    ol { @for step in run.steps.iter().take(ROWS) { li { (step.name) } } }
                }
                div {
                    (svg::waterfall(run, Words { title: &title, detail: &phases(run) }))
                    p .axis { span { "0" } span { (latency(run.duration_ns)) } }
                }
            }
        }
    }
}

/// A run's phases in words.
fn phases(run: &ProbeRun) -> String {
    let step = |step: &StepResult| {
        let phases: Vec<String> = step
            .phases
            .iter()
            .map(|timing| format!("{} {}", timing.phase.as_str(), latency(timing.duration_ns)))
            .collect();
        format!("{}: {}", step.name, phases.join(", "))
    };
    run.steps.iter().take(ROWS).map(step).collect::<Vec<_>>().join("; ")
}

/// The last day.
pub(super) fn day(now: UnixNanos, probe: &ProbeView, page: &str) -> Markup {
    let start = probe.strip_start(now);
    let time_of = |at: usize| {
        let cells = u32::try_from(at).unwrap_or(u32::MAX);
        hour(start.plus(probe.strip_step.saturating_mul(cells)))
    };
    let span = now.since(start);
    let title = format!("Last {}", humane(span));
    html! {
        @if !probe.strip.is_empty() {
            a .day href={ (page) "#day" } {
                (svg::strip(&probe.strip, time_of, Words { title: &title, detail: "" }))
            }
            p .axis { span { "−" (humane(span)) } span { (summary(&probe.strip)) } span { "now" } }
        }
    }
}

/// A strip in a few words.
fn summary(strip: &[StripCell]) -> String {
    let sum = |of: fn(&StripCell) -> u32| strip.iter().map(|cell| u64::from(of(cell))).sum::<u64>();
    let (runs, failed, slow) = (sum(|c| c.runs), sum(|c| c.failed), sum(|c| c.slow));
    let missed = sum(|c| c.missed);
    let words = match (failed, slow) {
        _ if strip.iter().all(|cell| cell.state == CellState::NoData) => "no run".to_owned(),
        (0, 0) if runs == 1 => "1 run, in time".to_owned(),
        (0, 0) => format!("{} runs, all in time", count(runs)),
        (0, slow) => format!("{slow} of {} slow", count(runs)),
        (failed, 0) => format!("{failed} of {} failed", count(runs)),
        (failed, slow) => format!("{failed} failed, {slow} slow of {}", count(runs)),
    };
    if missed == 0 { words } else { format!("{words}; {} missed", count(missed)) }
}
