//! The waterfall of a run: a group of rows for each step, a row for each phase, bars on one time
//! axis; and what the phases that occur in it mean.

use super::facts;
use super::format::{latency, share};
use super::parts::calm;
use super::run_steps::named;
use super::svg::{self, Words};
use crate::model::probe::{Phase, PhaseTiming, ProbeRun, StepResult};
use maud::{Markup, html};

/// Draws a run as a table, with a legend below.
pub(super) fn waterfall(run: &ProbeRun) -> Markup {
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
        (legend(run))
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
                    (named(step)) " "
                    span .meta { (step.protocol) " " (step.target)
                        @if let Some(status) = step.status { " · status " (status) }
                        @if facts::is_held(&step.attributes) { " · kept open by the run before" }
                        @if let Some(value) = step.message_latency_ns { " · " (value_of(step)) " " (latency(value)) }
                    }
                }
                td .number { (latency(step.duration_ns)) }
                td .number .share { (share(ratio(step.duration_ns, run.duration_ns))) }
            }
            @for timing in &step.phases { (phase(run, *timing)) }
            @if step.failure.is_some() { (unreached(run, step)) }
        }
    }
}

/// What the value of a step is the time of.
fn value_of(step: &StepResult) -> &'static str {
    match step.protocol.as_str() {
        "drop" => "noticed after",
        "reconnect" => "back after",
        "heartbeat" => "slowest answer",
        _ => "send to match",
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
    let name = word(timing.phase);
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

/// The phases that occur, in the order of a conversation, each with its meaning.
fn legend(run: &ProbeRun) -> Markup {
    let timings = || run.steps.iter().flat_map(|step| &step.phases);
    let occurring =
        Phase::ALL.iter().filter(|phase| timings().any(|timing| timing.phase == **phase));
    let gave_up = run.steps.iter().any(|step| step.failure.is_some() && svg::rest(step).1 > 0);
    html! {
        dl .meanings {
            @for phase in occurring {
                div { dt { (svg::swatch(*phase)) (word(*phase)) } dd { (phase.meaning()) } }
            }
            @if gave_up {
                div { dt { (svg::hatched()) "then nothing" } dd { "From the last phase until the step gave up" } }
            }
        }
    }
}

fn word(phase: Phase) -> String {
    phase.as_str().replace('_', " ")
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
