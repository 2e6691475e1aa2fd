//! What each step of a run found out: why it failed, its checks, how a message spread, and facts.

use super::facts;
use super::format::latency;
use super::parts::section;
use super::run_messages::messages;
use super::svg::{self, Spread, Words};
use super::symbol::{Level, sign, state};
use crate::model::probe::{CheckResult, ProbeRun, StepResult};
use maud::{Markup, html};

/// Checks that held are listed up to so many, and folded beyond.
const HELD: usize = 4;

/// The steps that have something to say, one block each.
pub(super) fn steps(run: &ProbeRun) -> Markup {
    let says = |step: &StepResult| {
        !step.checks.is_empty()
            || !step.attributes.is_empty()
            || !step.messages.stamps.is_empty()
            || step.failure.is_some()
    };
    if !run.steps.iter().any(says) {
        return html! {};
    }
    let body = html! {
        @for (at, step) in run.steps.iter().enumerate().filter(|(_, step)| says(step)) {
            (block(run, at, step))
        }
    };
    section("steps", "Steps", &body)
}

/// Where the block of a step is on the page.
pub(super) fn id(at: usize) -> String {
    format!("step-{}", at + 1)
}

/// What a step is called; one without a name of its own has its place for one.
pub(super) fn named(step: &StepResult) -> String {
    let is_place = !step.name.is_empty() && step.name.bytes().all(|byte| byte.is_ascii_digit());
    if is_place { format!("step {}", step.name) } else { step.name.clone() }
}

fn block(run: &ProbeRun, at: usize, step: &StepResult) -> Markup {
    // The failure of the run is told at the top.
    let failure = step.failure.as_ref().filter(|failure| run.failure.as_ref() != Some(failure));
    html! {
        article .block id=(id(at)) {
            h3 {
                (named(step)) " " span .meta { (step.protocol) " " (step.target) }
                @if step.failure.is_some() { " " (state(Level::Bad, "Failed")) }
            }
            @if let Some(failure) = failure {
                p .failure { b { (failure.reason.as_str()) } ": " (failure.message) }
            }
            (checks(&step.checks))
            (fan_out(step))
            (messages(run, step))
            @if !step.attributes.is_empty() { div .tables { (facts::tables(&step.attributes)) } }
        }
    }
}

/// Checks that did not hold first; of those that did, many are folded.
fn checks(checks: &[CheckResult]) -> Markup {
    let of = |passed: bool| checks.iter().filter(move |check| check.passed == passed);
    let held = of(true).count();
    html! {
        @if held < checks.len() { ul .verdicts { @for check in of(false) { (one(check)) } } }
        @if held > HELD {
            details { summary { (state(Level::Good, &format!("{held} checks held"))) } ul .verdicts { @for check in of(true) { (one(check)) } } }
        } @else if held > 0 {
            ul .verdicts { @for check in of(true) { (one(check)) } }
        }
    }
}

/// A check that held needs no word that is seen: its sign says so.
fn one(check: &CheckResult) -> Markup {
    html! {
        li {
            @if check.passed { (sign(Level::Good)) span .hidden { "Held: " } " " }
            @else { (state(Level::Bad, "Did not hold")) " " }
            (check.name)
            @if let Some(found) = &check.found { ", found " code { (found) } }
        }
    }
}

/// How a message came to its receivers, where their times are known.
fn fan_out(step: &StepResult) -> Markup {
    let at = |name| facts::nanos(&step.attributes, name);
    let (Some(first), Some(last)) = (at("fanout.first"), at("fanout.last")) else {
        return html! {};
    };
    let median = at("fanout.median").unwrap_or(first);
    let p99 = at("fanout.p99").unwrap_or(last);
    let count = |name| facts::count(&step.attributes, name).unwrap_or(0);
    let (received, receivers) = (count("fanout.received"), count("fanout.receivers"));
    let (from, to) = (latency(first), latency(last));
    let title = format!("{received} of {receivers} receivers had it, from {from} to {to}");
    let detail = format!(
        "Half of them by {}, 99 of 100 by {}, counted from the sending.",
        latency(median),
        latency(p99)
    );
    let words = Words { title: &title, detail: &detail };
    html! {
        p { b { (received) " of " (receivers) " receivers" } " had the message, the last of them after " (latency(last)) "." }
        figure .reach {
            (svg::spread(Spread { first, median, p99, last }, words))
            figcaption {
                span { "0 sent" }
                span { "first " b { (latency(first)) } }
                span { "half " b { (latency(median)) } }
                span { "99% " b { (latency(p99)) } }
                span { "last " b { (latency(last)) } }
            }
        }
    }
}
