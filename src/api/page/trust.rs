//! How far figures can be trusted: what the instrument itself adds, and what runs say of themselves.

use super::facts;
use super::format::{clock, latency};
use super::parts::{Column, rows};
use super::symbol::{Level, sign};
use super::view::ProbePage;
use crate::base::clock::UnixNanos;
use crate::model::probe::ProbeRun;
use crate::probe::reference::{Calibration, Figures, Percentiles};
use maud::{Markup, html};

/// What latencies are too large by on this machine, as it was measured last.
pub(super) fn calibrated(now: UnixNanos, calibration: &Calibration) -> Markup {
    html! {
        div .trust {
            (sentence(now, calibration))
        }
    }
}

/// What the newest runs of a probe say of themselves, and the calibration.
pub(super) fn of_runs(view: &ProbePage) -> Markup {
    let own = uncertain(&view.runs, view.probe.under_ns);
    let held = held(&view.runs);
    html! {
        @if own.is_some() || held.is_some() || view.calibration.is_some() {
            div .trust {
                @if let Some(words) = held { p { (words) } }
                @if let Some(words) = own { p { (words) } }
                @if let Some(calibration) = &view.calibration {
                    (sentence(view.now, calibration))
                    details { summary { "By protocol" } (table(calibration)) }
                }
            }
        }
    }
}

fn sentence(now: UnixNanos, calibration: &Calibration) -> Markup {
    let Percentiles { p50, p99, .. } = calibration.overall.errors;
    let bare = calibration.overall.bare_errors;
    html! {
        p {
            @if !calibration.is_within_limit() { (sign(Level::Warning)) " " }
            "Measuring on this machine adds "
            a href="/api/calibration" { b { (excess(p50)) " at p50, " (excess(p99)) " at p99" } }
            " to a latency; a bare client would add " (excess(bare.p50)) " and " (excess(bare.p99))
            ". Calibrated " (clock(now, calibration.at)) "."
            @if !calibration.is_within_limit() { " More than 1 ms at p50 is too much: this machine is too busy to measure on." }
        }
    }
}

fn table(calibration: &Calibration) -> Markup {
    const COLUMNS: [Column<'_>; 6] = [
        Column::Text("Protocol"),
        Column::Number("Runs"),
        Column::Number("p50"),
        Column::Number("p99"),
        Column::Number("Bare p50"),
        Column::Number("Bare p99"),
    ];
    let row = |name: &str, figures: &Figures| {
        let Figures { runs, errors, bare_errors, .. } = figures;
        html! {
            tr {
                th scope="row" { (name) @if figures.is_beyond_limit() { " " (sign(Level::Warning)) } }
                td .number { (runs) }
                @for ns in [errors.p50, errors.p99, bare_errors.p50, bare_errors.p99] {
                    td .number { (excess(ns)) }
                }
            }
        }
    };
    let body = html! {
        @for (protocol, figures) in &calibration.protocols { (row(protocol.as_str(), figures)) }
    };
    rows("What measuring adds, by protocol", &COLUMNS, &body)
}

/// How many runs went over a stream that was kept open for them.
fn held(runs: &[ProbeRun]) -> Option<Markup> {
    let is_held = |run: &&ProbeRun| {
        let mut steps = run.steps.iter();
        steps.any(|step| facts::is_held(&step.attributes))
    };
    let (held, all) = (runs.iter().filter(is_held).count(), ran(runs).count());
    (held > 0).then(|| {
        html! {
            b { (held) " of the newest " (all) " runs" } " went over a stream that the run before had kept open; the others opened it, which is not part of the value."
        }
    })
}

/// How uncertain runs are, and how many of them cannot be judged for that.
fn uncertain(runs: &[ProbeRun], under_ns: Option<u64>) -> Option<Markup> {
    let mut stated: Vec<u64> = ran(runs).map(|run| run.uncertainty_ns).collect();
    stated.sort_unstable();
    let (median, most) = (*stated.get(stated.len() / 2)?, *stated.last()?);
    let straddles = |run: &&ProbeRun| {
        let value = run.latency_ns.filter(|_| run.succeeded());
        value.zip(under_ns).is_some_and(|(value, under)| {
            value > under && value.saturating_sub(run.uncertainty_ns) <= under
        })
    };
    let left_out = ran(runs).filter(straddles).count();
    Some(html! {
        @if most == 0 {
            "This machine did not stall while any of the newest " (stated.len()) " values was measured."
        } @else {
            "Each run says by how much its value may be too large, because this machine stalled meanwhile: "
            (latency(median)) " at p50, at most " (latency(most)) " in the newest " (stated.len()) " runs. "
        }
        @match (under_ns, left_out) {
            (None, _) => {}
            (Some(_), 0) if most == 0 => {}
            (Some(under), 0) => { "For none of them that decides whether it was within " (latency(under)) "." }
            (Some(under), _) => {
                b { "For " (left_out) " of them" } " that decides whether it was within " (latency(under)) ": counted neither way."
            }
        }
    })
}

/// Slots that were run.
fn ran(runs: &[ProbeRun]) -> impl Iterator<Item = &ProbeRun> {
    runs.iter().filter(|run| !run.steps.is_empty())
}

/// An error of measuring; below zero there is none to speak of.
fn excess(ns: i64) -> String {
    format!("{:.2} ms", (ns.max(0) as f64 / 1e4).round() / 1e2)
}
