//! `/runs/{id}`: one run of a probe, from what came of it down to what each step found out.

use super::format::{NOTHING, absolute, ago, latency, latency_or_nothing, time};
use super::links;
use super::parts::{facts, figure, section};
use super::run_steps;
use super::run_waterfall::waterfall;
use super::shell::{Shell, trail};
use super::symbol::{Level, sign, state};
use super::view::{RunView, SloOfRun};
use crate::model::probe::{Outcome, ProbeRun};
use maud::{Markup, html};

/// Spans that are listed; those of more steps are folded.
const SPANS: usize = 3;

/// Renders the page of a run.
#[must_use]
pub fn render_run(view: &RunView) -> String {
    let run = &view.run;
    let (level, word) = Level::of_outcome(run.outcome);
    let page = links::probe(&run.probe);
    let main = html! {
        (trail(&[(&run.probe, &page)]))
        div .title { h1 { "Run of " (run.probe) } (state(level, word)) }
        p .meta {
            (time(run.started(), &absolute(run.started()))) ", " (ago(view.now, run.started()))
            @for (name, value) in run.labels.iter() { " · " (name) " " b { (value) } }
        }
        (failure(run, level))
        @if is_run(run) { (figures(run)) }
        (verdicts(&view.slos))
        @if is_run(run) { (section("waterfall", "Waterfall", &waterfall(run))) }
        (run_steps::steps(run))
        (identity(run))
        (neighbours(view))
    };
    let json = format!("/api/runs/{}", run.id.to_hex());
    let title = format!("{word}: run of {}", run.probe);
    Shell::new(&title, level, view.now, &view.version).json(&json).wrap(&main)
}

/// Whether the slot was run at all.
fn is_run(run: &ProbeRun) -> bool {
    !matches!(run.outcome, Outcome::Missed | Outcome::Overlapped)
}

/// Why it failed, in words, with the way to the step; and what that means where it is not plain.
fn failure(run: &ProbeRun, level: Level) -> Markup {
    let Some(failure) = &run.failure else { return html! {} };
    let at = run.steps.iter().position(|step| step.failure.as_ref() == Some(failure));
    let step = at.and_then(|at| Some((at, run.steps.get(at)?)));
    html! {
        div .why .(level.class()) {
            p {
                (sign(level)) " " b { (failure.reason.as_str()) }
                @if let Some((at, step)) = step {
                    " in " a href={ "#" (run_steps::id(at)) } { (run_steps::named(step)) }
                }
            }
            p .summary { (failure.message) }
            @if let Some(meaning) = meaning(run) { p .meta { (meaning) } }
        }
    }
}

/// How a slot counts that said nothing about the target, or was not run.
fn meaning(run: &ProbeRun) -> Option<&'static str> {
    match run.outcome {
        Outcome::Overlapped => Some(
            "The slot was not run. It counts as bad: the run before took longer than the time between two.",
        ),
        Outcome::Missed => {
            Some("The slot was not run. It counts neither as good nor as bad: the reason is ours.")
        }
        _ if run.is_local_fault() => {
            Some("It counts neither as good nor as bad: the fault is our own machine's.")
        }
        _ => None,
    }
}

fn figures(run: &ProbeRun) -> Markup {
    html! {
        dl .figures {
            (figure("Value", latency_or_nothing(run.latency_ns)))
            (figure("Whole run", latency(run.duration_ns)))
            (figure("Started late by", latency(run.lateness_ns)))
            (figure("Uncertainty", html! { @if run.uncertainty_ns > 0 { "−" } (latency(run.uncertainty_ns)) }))
        }
        @if run.uncertainty_ns > 0 && let Some(value) = run.latency_ns {
            p .meta {
                "The true value lies between " (latency(value.saturating_sub(run.uncertainty_ns))) " and " (latency(value))
                ": this machine stalled for so long while it was measured."
            }
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
                    @if slo.good.is_none() { span .meta { ", because it says nothing about the target for sure" } }
                }
            }
        }
    };
    section("counted", "How it counts", &body)
}

/// Under what identity the target and a tracing back end saw the run.
fn identity(run: &ProbeRun) -> Markup {
    let code = |words: &str| html! { code { (words) } };
    let labels = html! {
        @if run.labels.is_empty() { (NOTHING) }
        @for (name, value) in run.labels.iter() { code { (name) "=" (value) } " " }
    };
    let known = [
        ("Trace id", code(&run.id.to_hex())),
        ("Intended start", time(run.intended_start, &absolute(run.intended_start))),
        ("Labels", labels),
    ];
    let spans = facts(run.steps.iter().map(|step| {
        let id: String = step.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("Span of {}", run_steps::named(step)), code(&id))
    }));
    let body = html! {
        (facts(known))
        @if run.steps.len() > SPANS {
            details { summary { (run.steps.len()) " spans" } (spans) }
        } @else if !run.steps.is_empty() { (spans) }
    };
    section("trace", "Trace", &body)
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
