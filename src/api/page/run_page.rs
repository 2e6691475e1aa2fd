//! `/runs/{id}`: one run of a probe, phase by phase.

use super::format::{NOTHING, absolute, ago, latency, latency_or_nothing, share, time};
use super::links;
use super::parts::{calm, facts, figure, section};
use super::shell::{Shell, trail};
use super::svg::{self, Words};
use super::symbol::{Level, state};
use super::view::{RunView, SloOfRun};
use crate::model::probe::{CheckResult, PhaseTiming, ProbeRun, StepResult};
use maud::{Markup, html};

/// Renders the page of a run.
#[must_use]
pub fn render_run(view: &RunView) -> String {
    let run = &view.run;
    let (level, word) = Level::of_outcome(run.outcome);
    let page = links::probe(&run.probe);
    let main = html! {
        (trail(&[(&run.probe, &page)]))
        div .title { h1 { "Run of " (run.probe) } (state(level, word)) }
        p .meta { (time(run.started(), &absolute(run.started()))) ", " (ago(view.now, run.started())) }
        @if let Some(failure) = &run.failure {
            p .failure { b { (failure.reason.as_str()) } ": " (failure.message) }
        }
        (figures(run))
        (verdicts(&view.slos))
        (section("waterfall", "Waterfall", &waterfall(run)))
        @if run.steps.iter().any(|step| !step.checks.is_empty()) { (checks(&run.steps)) }
        (identity(run))
        (neighbours(view))
    };
    let json = format!("/api/runs/{}", run.id.to_hex());
    let title = format!("{word}: run of {}", run.probe);
    Shell::new(&title, level, view.now, &view.version).json(&json).wrap(&main)
}

fn figures(run: &ProbeRun) -> Markup {
    html! {
        dl .figures {
            (figure("Value", latency_or_nothing(run.latency_ns)))
            (figure("Whole run", latency(run.duration_ns)))
            (figure("Started late by", latency(run.lateness_ns)))
            (figure("Uncertainty", html! { @if run.uncertainty_ns > 0 { "−" } (latency(run.uncertainty_ns)) }))
        }
    }
}

fn verdicts(slos: &[SloOfRun]) -> Markup {
    if slos.is_empty() {
        return html! {};
    }
    let verdict = |slo: &SloOfRun| match slo.good {
        Some(true) => state(Level::Good, "Good"),
        Some(false) => state(Level::Bad, "Bad"),
        None => state(Level::Unknown, "Left out"),
    };
    let body = html! {
        ul .verdicts {
            @for slo in slos {
                li {
                    (verdict(slo)) " for " a href=(links::slo(&slo.name)) { (slo.name) }
                    @if let Some(under) = slo.under_ns { span .meta { ", under " (latency(under)) } }
                    @if slo.good.is_none() { span .meta { ", because the threshold lies within the uncertainty" } }
                }
            }
        }
    };
    section("counted", "How it counts", &body)
}

/// The run as a table: a group of rows for each step, a row for each phase, bars on one time axis.
fn waterfall(run: &ProbeRun) -> Markup {
    if run.steps.is_empty() {
        return calm("Nothing was sent.");
    }
    html! {
        table .phases {
            caption .hidden { "Steps and phases, with their place on the time axis" }
            thead {
                tr {
                    th scope="col" { "Phase" }
                    th scope="col" .scale { (scale(run.duration_ns)) }
                    th scope="col" .number { "Took" }
                    th scope="col" .number .share { "Share" }
                }
            }
            @for step in &run.steps { (rows(run, step)) }
        }
    }
}

/// Five marks of the time axis.
fn scale(total_ns: u64) -> Markup {
    html! {
        span .hidden { "Place on the time axis" }
        span .axis aria-hidden="true" {
            span { "0" }
            @for quarter in 1..=4_u64 { span { (latency(total_ns / 4 * quarter)) } }
        }
    }
}

fn rows(run: &ProbeRun, step: &StepResult) -> Markup {
    html! {
        tbody {
            tr .step {
                th scope="rowgroup" colspan="2" {
                    (step.name) " "
                    span .meta { (step.protocol) " " (step.target)
                        @if let Some(status) = step.status { " · status " (status) }
                        @if let Some(value) = step.message_latency_ns { " · send to match " (latency(value)) }
                    }
                }
                td .number { (latency(step.duration_ns)) }
                td .number .share { (share(ratio(step.duration_ns, run.duration_ns))) }
            }
            @for timing in &step.phases { (phase(run, *timing)) }
            @if let Some(failure) = &step.failure {
                (unreached(run, step))
                tr { td colspan="4" .failure { b { (failure.reason.as_str()) } ": " (failure.message) } }
            }
        }
    }
}

/// The time between the last phase and the failure.
fn unreached(run: &ProbeRun, step: &StepResult) -> Markup {
    let (offset, length) = svg::rest(step);
    let title = format!("then nothing: {}", latency(length));
    let detail = format!("From {} of {}.", latency(offset), latency(run.duration_ns));
    html! {
        @if length > 0 && let Some(bar) = svg::gave_up(run.duration_ns, step, Words { title: &title, detail: &detail }) {
            tr {
                th scope="row" { "then nothing" }
                td .scale { (bar) }
                td .number { (latency(length)) }
                td .number .share { (share(ratio(length, run.duration_ns))) }
            }
        }
    }
}

fn phase(run: &ProbeRun, timing: PhaseTiming) -> Markup {
    let name = timing.phase.as_str().replace('_', " ");
    let title = format!("{name}: {}", latency(timing.duration_ns));
    let detail = format!("From {} of {}.", latency(timing.offset_ns), latency(run.duration_ns));
    html! {
        tr {
            th scope="row" { (name) }
            td .scale { (svg::bar(run.duration_ns, timing, Words { title: &title, detail: &detail })) }
            td .number { (latency(timing.duration_ns)) }
            td .number .share { (share(ratio(timing.duration_ns, run.duration_ns))) }
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn checks(steps: &[StepResult]) -> Markup {
    let one = |step: &StepResult, check: &CheckResult| {
        let (level, word) =
            if check.passed { (Level::Good, "Held") } else { (Level::Bad, "Did not hold") };
        html! {
            li {
                (state(level, word)) " " span .meta { (step.name) ": " } (check.name)
                @if let Some(found) = &check.found { ", found " code { (found) } }
            }
        }
    };
    let body = html! {
        ul .verdicts {
            @for step in steps { @for check in &step.checks { (one(step, check)) } }
        }
    };
    section("checks", "Checks", &body)
}

/// Under what identity the target and a tracing back end saw the run.
fn identity(run: &ProbeRun) -> Markup {
    let code = |words: &str| html! { code { (words) } };
    let labels = html! {
        @if run.labels.is_empty() { (NOTHING) }
        @for (name, value) in run.labels.iter() { code { (name) "=" (value) } " " }
    };
    let spans = run.steps.iter().map(|step| {
        let id: String = step.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("Span of {}", step.name), code(&id))
    });
    let found = run.steps.iter().flat_map(|step| {
        let of = move |name: &str| format!("{name} of {}", step.name);
        step.attributes.iter().map(move |(name, value)| (of(name), code(&value.shown(name))))
    });
    let known = [
        ("Trace id".to_owned(), code(&run.id.to_hex())),
        ("Intended start".to_owned(), time(run.intended_start, &absolute(run.intended_start))),
        ("Labels".to_owned(), labels),
    ];
    section("trace", "Trace", &facts(known.into_iter().chain(spans).chain(found)))
}

fn neighbours(view: &RunView) -> Markup {
    html! {
        nav .actions aria-label="Runs" {
            @if let Some(id) = view.previous { a href=(links::run(id)) rel="prev" { "← Run before" } }
            @if let Some(id) = view.next { a href=(links::run(id)) rel="next" { "Run after →" } }
            a href={ (links::probe(&view.run.probe)) "#runs" } { "All runs" }
        }
    }
}
