//! `/probes/{name}`: a probe, its day, its latencies and its runs.

use super::format::{ago, latency, latency_or_nothing};
use super::links;
use super::probes::{day, legend, numbers};
use super::shell::{Shell, trail};
use super::svg::{self, Chart, Keep, Trace, Words, chart};
use super::symbol::{Level, state};
use super::view::ProbePage;
use crate::base::clock::UnixNanos;
use crate::base::duration::format;
use crate::model::probe::{Outcome, ProbeRun};
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
        @if !view.slos.is_empty() {
            p { "Counted by " @for (at, slo) in view.slos.iter().enumerate() {
                @if at > 0 { ", " }
                a href=(links::slo(slo)) { (slo) } } }
        }
        section #day aria-labelledby="day-title" {
            h2 #day-title { "Day" }
            (legend())
            @if probe.strip.is_empty() { p .calm { "No run yet." } }
            div .wide { (day(view.now, probe, &page)) }
        }
        (latencies(view))
        section #failed aria-labelledby="failed-title" {
            h2 #failed-title { "Last failed runs" }
            @if view.failed.is_empty() { p .calm { "None is kept: no run has failed lately." } }
            @else { (runs(view.now, &view.failed, "Last failed runs")) }
        }
        section #runs aria-labelledby="runs-title" {
            h2 #runs-title { "Last runs" }
            @if view.runs.is_empty() { p .calm { "No run yet." } }
            @else { (runs(view.now, view.runs.get(..RUNS).unwrap_or(&view.runs), "Last runs, newest first")) }
        }
    };
    let json = format!("/api{page}");
    let title = format!("{word}: probe {}", probe.name);
    Shell {
        title: &title,
        level,
        now: view.now,
        version: &view.version,
        live: true,
        json: Some(&json),
    }
    .wrap(&main)
}

fn latencies(view: &ProbePage) -> Markup {
    html! {
        section #latency aria-labelledby="latency-title" {
            h2 #latency-title { "Latency" }
            @if view.quantiles.iter().all(|point| point.p50_ns.is_none()) {
                p .calm { "No run with a value yet." }
            } @else { (quantiles(view)) }
            @let span = format(view.span);
            @let title = format!("Latencies, last {span}");
            @let detail = "Time along, latency up on a logarithmic scale, stronger for more runs; hatched at the top where runs failed.";
            @if let Some(map) = svg::heatmap(&view.heatmap, view.probe.under_ns, Words { title: &title, detail }) {
                figure {
                    div .plot {
                        p .scale { span { (latency(map.high_ns)) } span { (latency(map.low_ns)) } }
                        (map.drawing)
                    }
                    figcaption { span { "−" (span) }
                        span { "stronger: more runs" @if let Some(under) = view.probe.under_ns { " · dashed " (latency(under)) } " · hatched at the top: failed" }
                        span { "now" } }
                }
            }
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
    let title = format!("p50 and p95, last {}", format(view.span));
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
    html! {
        figure {
            div .plot {
                p .scale { span { (latency(high as u64)) } span { (latency((high / 2.0) as u64)) } span { "0" } }
                (drawing)
            }
            figcaption { span { "−" (format(view.span)) }
                span { "thick p50 · thin p95" @if let Some(limit) = limit { " · dashed " (latency(limit as u64)) } }
                span { "now" } }
        }
    }
}

/// Runs as a table; each links to its waterfall.
pub(super) fn runs(now: UnixNanos, runs: &[ProbeRun], caption: &str) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label=(caption) {
            table .rows {
                caption .hidden { (caption) }
                thead { tr {
                    th scope="col" { "Run" } th scope="col" { "Outcome" } th scope="col" .number { "Value" }
                    th scope="col" .number { "Whole run" } th scope="col" { "Why" }
                } }
                tbody { @for run in runs { (row(now, run)) } }
            }
        }
    }
}

fn row(now: UnixNanos, run: &ProbeRun) -> Markup {
    let (level, word) = Level::of_outcome(run.outcome);
    html! {
        tr data-key=(run.id.to_hex()) {
            th scope="row" { a href=(links::run(run.id)) { (ago(now, run.started())) } }
            td { (state(level, word)) }
            td .number { (latency_or_nothing(run.latency_ns)) }
            td .number { @if matches!(run.outcome, Outcome::Missed | Outcome::Overlapped) { "–" } @else { (latency(run.duration_ns)) } }
            td { @if let Some(failure) = &run.failure { (failure.reason.as_str()) ": " (failure.message) } }
        }
    }
}
