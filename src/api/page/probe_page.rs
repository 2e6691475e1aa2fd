//! `/probes/{name}`: a probe, its day, its latencies and its runs.

use super::format::{ago, latency, latency_or_nothing};
use super::links;
use super::parts::{Column, calm, plot, rows, section};
use super::probes::{day, legend, numbers, resting};
use super::shell::{Shell, trail};
use super::svg::{self, Chart, Keep, Trace, Words, chart};
use super::symbol::{Level, state};
use super::view::ProbePage;
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::probe::{Outcome, ProbeRun};
use crate::probe::instances;
use maud::{Markup, html};

/// Runs that are listed.
const RUNS: usize = 100;

/// Renders the page of a probe.
#[must_use]
pub fn render_probe(view: &ProbePage) -> String {
    let probe = &view.probe;
    let (level, word) = probe
        .last
        .as_ref()
        .map_or((Level::Unknown, "No run yet"), |run| Level::of_outcome(run.outcome));
    let page = links::probe(&probe.name);
    let main = html! {
        (trail(&[("Probes", "/#probes")]))
        div .title { h1 { (probe.name) } (state(level, word)) (numbers(probe, &page)) }
        p .target { (probe.protocol) " " (probe.target) " every " (probe.schedule)
            @for (name, value) in probe.labels.iter() { " · " (name) " " (value) } }
        (resting(view.now, probe))
        form .actions method="post" action={ (page) "/run" } { button type="submit" { "Run now" } }
        @if !view.slos.is_empty() {
            p { "Counted by " @for (at, slo) in view.slos.iter().enumerate() {
                @if at > 0 { ", " }
                a href=(links::slo(slo)) { (slo) } } }
        }
        (section("day", lately(view), &day_body(view, &page)))
        (section("latency", "Latency", &latencies(view)))
        (section("failed", "Last failed runs", &listed(view.now, &view.failed, "Last failed runs", "None is kept: no run has failed lately.")))
        (section("runs", "Last runs", &listed(view.now, view.runs.get(..RUNS).unwrap_or(&view.runs), "Last runs, newest first", "No run yet.")))
    };
    let json = format!("/api{page}");
    let title = format!("{word}: probe {}", probe.name);
    Shell::new(&title, level, view.now, &view.version).live().json(&json).wrap(&main)
}

/// The title of what the strip shows.
fn lately(view: &ProbePage) -> String {
    format!("Last {}", humane(view.now.since(view.probe.strip_start(view.now))))
}

fn day_body(view: &ProbePage, page: &str) -> Markup {
    if view.probe.strip.is_empty() {
        return calm("No run yet.");
    }
    html! {
        (legend(false))
        div .wide { (day(view.now, &view.probe, page)) }
    }
}

fn latencies(view: &ProbePage) -> Markup {
    let span = humane(view.span);
    let title = format!("Latencies, last {span}");
    let detail = "Time along, latency up on a logarithmic scale, stronger for more runs; hatched at the top where runs failed.";
    let map = svg::heatmap(&view.heatmap, view.probe.under_ns, Words { title: &title, detail });
    let threshold = view.probe.under_ns.map(|ns| format!(" · dashed {}", latency(ns)));
    html! {
        @if view.quantiles.iter().all(|point| point.p50_ns.is_none()) {
            (calm("No run with a value yet."))
        } @else { (quantiles(view)) }
        @if let Some(map) = map {
            @let meaning = format!("stronger: more runs{} · hatched at the top: failed", threshold.unwrap_or_default());
            (plot(&[latency(map.high_ns), latency(map.low_ns)], &map.drawing, &span, &meaning))
        }
    }
}

/// Median and 95th percentile, from zero.
fn quantiles(view: &ProbePage) -> Markup {
    let seconds = |ns: Option<u64>| ns.map(|ns| ns as f64);
    let p50: Vec<Option<f64>> = view.quantiles.iter().map(|point| seconds(point.p50_ns)).collect();
    let p95: Vec<Option<f64>> = view.quantiles.iter().map(|point| seconds(point.p95_ns)).collect();
    let highest = p95.iter().chain(&p50).flatten().copied().fold(0.0, f64::max);
    // The threshold belongs into the picture unless everything is far below it.
    let limit = view.probe.under_ns.map(|ns| ns as f64).filter(|limit| *limit < highest * 4.0);
    let high = limit.map_or(highest, |limit| limit.max(highest)) * 1.08;
    let title = format!("p50 and p95, last {}", humane(view.span));
    let detail = format!(
        "p50 {}, p95 {} in the last hour.",
        latency_or_nothing(view.probe.p50_ns),
        latency_or_nothing(view.probe.p95_ns)
    );
    let drawing = chart(
        &Chart {
            class: "chart tall",
            traces: &[
                Trace { points: &p95, class: "p95", area: false, keep: Keep::Highest },
                Trace { points: &p50, class: "p50", area: true, keep: Keep::Highest },
            ],
            low: 0.0,
            high,
            threshold: limit,
            mark: None,
        },
        Words { title: &title, detail: &detail },
    );
    let scale = [latency(high as u64), latency((high / 2.0) as u64), "0".to_owned()];
    let threshold = limit.map(|limit| format!(" · dashed {}", latency(limit as u64)));
    let meaning = format!("thick p50 · thin p95{}", threshold.unwrap_or_default());
    plot(&scale, &drawing, &humane(view.span), &meaning)
}

fn listed(now: UnixNanos, runs: &[ProbeRun], caption: &str, nothing: &str) -> Markup {
    if runs.is_empty() { calm(nothing) } else { table(now, runs, caption) }
}

/// Runs as a table; each links to its waterfall.
pub(super) fn table(now: UnixNanos, runs: &[ProbeRun], caption: &str) -> Markup {
    const COLUMNS: [Column<'_>; 5] = [
        Column::Text("Run"),
        Column::Text("Outcome"),
        Column::Number("Value"),
        Column::Number("Whole run"),
        Column::Text("Why"),
    ];
    rows(caption, &COLUMNS, &html! { @for run in runs { (row(now, run)) } })
}

fn row(now: UnixNanos, run: &ProbeRun) -> Markup {
    let (level, word) = Level::of_outcome(run.outcome);
    html! {
        tr data-key=(run.id.to_hex()) {
            th scope="row" {
                a href=(links::run(run.id)) { (ago(now, run.started())) }
                @if let Some(instance) = instances::of(&run.labels) { " " code { (instance) } }
            }
            td { (state(level, word)) }
            td .number { (latency_or_nothing(run.latency_ns)) }
            td .number { @if matches!(run.outcome, Outcome::Missed | Outcome::Overlapped) { "–" } @else { (latency(run.duration_ns)) } }
            td { @if let Some(failure) = &run.failure { (failure.reason.as_str()) ": " (failure.message) } }
        }
    }
}
