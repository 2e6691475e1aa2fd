//! *Firing now*: what a tired person reads first, and what they can do about it.

use super::format::{ago, burn, clock, coarse, dimension, objective, sentence, share};
use super::links;
use super::parts::{counted, figure};
use super::svg::{Chart, Keep, Trace, Words, chart};
use super::symbol::{Level, sign, state};
use super::view::{ChangeKind, Exhaustion, Factor, FiringView, PageView};
use crate::base::clock::UnixNanos;
use crate::base::duration::{format, humane};
use crate::model::alert::AlertState;
use crate::model::objective::Severity;
use maud::{Markup, html};

/// At most this many parts of an explanation.
const FACTORS: usize = 4;

/// The section of the home page.
pub(super) fn section(view: &PageView) -> Markup {
    let body = html! {
        @if view.firing.is_empty() { (nothing(view)) }
        @for alert in &view.firing { (card(view.now, alert)) }
    };
    counted("firing", "Firing now", view.firing.len(), &body)
}

fn nothing(view: &PageView) -> Markup {
    let last = view.changes.iter().find(|change| change.kind == ChangeKind::Resolved);
    html! {
        p .calm {
            "Nothing is firing."
            @if let Some(change) = last {
                " Last: " (links::maybe(change.link.as_deref(), &change.text)) ", " (ago(view.now, change.at)) "."
            }
        }
    }
}

fn card(now: UnixNanos, alert: &FiringView) -> Markup {
    let level = Level::of_severity(alert.severity);
    html! {
        article .alert .(level.class()) data-key=(alert.incident) {
            div .headline {
                (state(level, word(alert.severity)))
                h3 { a href=(evidence(alert)) { (alert.name) } }
                p .meta {
                    "since " (clock(now, alert.since)) ", " (coarse(now.since(alert.since)))
                    @if let Some(owner) = &alert.owner { " · " (owner) }
                }
                (flags(now, alert))
            }
            p .summary { (sentence(&alert.summary)) }
            (factors(&alert.explanation))
            (figures(alert))
            @if alert.recent.iter().flatten().next().is_some() { (recent(now, alert)) }
            (actions(alert))
        }
    }
}

/// The word for a severity.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "Page",
        Severity::Ticket => "Ticket",
    }
}

fn evidence(alert: &FiringView) -> String {
    if alert.is_slo { links::slo(&alert.name) } else { links::incident(&alert.incident) }
}

/// What keeps the alert from being an ordinary one.
fn flags(now: UnixNanos, alert: &FiringView) -> Markup {
    html! {
        @if alert.state == AlertState::Frozen || alert.acknowledged.is_some() || alert.silenced.is_some() {
            ul .flags {
                @if alert.state == AlertState::Frozen {
                    li { (sign(Level::Unknown)) b { "Frozen" } " data is missing"
                        @if let Some(since) = alert.frozen_since { " since " (clock(now, since)) } }
                }
                @if let Some((who, at)) = &alert.acknowledged {
                    li { b { "Acknowledged" } " by " (who) ", " (ago(now, *at)) }
                }
                @if let Some(silence) = &alert.silenced {
                    li { b { "Silenced" } " by " (silence.by) " until " (clock(now, silence.until))
                        @if !silence.comment.is_empty() { ": " (silence.comment) } }
                }
            }
        }
    }
}

/// The parts of the traffic that explain bad events.
pub(super) fn factors(factors: &[Factor]) -> Markup {
    html! {
        @if !factors.is_empty() {
            ul .factors aria-label="What explains it" {
                @for factor in factors.iter().take(FACTORS) {
                    li {
                        @for (attribute, value) in &factor.values {
                            span title=(attribute) { (dimension(attribute)) " " b { (value) } } " "
                        }
                        span .meta { (share(factor.share_of_bad)) " of bad, " (share(factor.share_of_traffic)) " of traffic" }
                    }
                }
            }
        }
    }
}

fn figures(alert: &FiringView) -> Markup {
    let page = evidence(alert);
    html! {
        dl .figures {
            @if let Some(rate) = alert.burn {
                @let name = html! { "Burn" @if let Some(pair) = &alert.pair { " " (pair) } };
                (figure(name, html! { a href={ (page) "#burn" } { (burn(rate)) } }))
            }
            @if let Some(left) = alert.budget_left {
                (figure("Budget left", html! { a href={ (page) "#budget" } { (share(left)) } }))
            }
            @if alert.exhaustion != Exhaustion::Unknown {
                (figure("Gone in", exhaustion(alert.exhaustion)))
            }
            (figure("Told", html! {
                a href={ (links::incident(&alert.incident)) "#deliveries" } {
                    @if alert.told.is_empty() { "nobody" } @else { (alert.told.join(", ")) }
                }
            }))
            @if !alert.not_told.is_empty() {
                (figure("Not reached", html! {
                    span .warning { (sign(Level::Warning)) (alert.not_told.join(", ")) }
                }))
            }
        }
    }
}

/// When a budget will be gone, in a word or two.
pub(super) fn exhaustion(exhaustion: Exhaustion) -> String {
    match exhaustion {
        Exhaustion::Unknown => super::format::NOTHING.to_owned(),
        Exhaustion::Never => "never".to_owned(),
        Exhaustion::In(time) => humane(time),
        Exhaustion::Gone => "gone".to_owned(),
    }
}

/// The share of good events before now, and where the alert began to fire.
fn recent(now: UnixNanos, alert: &FiringView) -> Markup {
    let lowest =
        alert.recent.iter().flatten().copied().fold(alert.objective.unwrap_or(1.0), f64::min);
    // A little air below, so that the worst point does not lie on the edge.
    let low = (lowest - (1.0 - lowest) * 0.1).max(0.0);
    let span = alert.recent_span.as_secs_f64().max(1.0);
    let began = 1.0 - now.since(alert.since).as_secs_f64() / span;
    let title = format!("Good events, last {}", format(alert.recent_span));
    let detail = format!("Lowest {}; the vertical line is where it began to fire.", share(lowest));
    let drawing = chart(
        &Chart {
            class: "chart",
            traces: &[Trace {
                points: &alert.recent,
                class: Level::of_severity(alert.severity).class(),
                area: true,
                keep: Keep::Lowest,
            }],
            low,
            high: 1.0,
            threshold: alert.objective,
            mark: (began >= 0.0).then_some(began),
        },
        Words { title: &title, detail: &detail },
    );
    html! {
        figure {
            (drawing)
            figcaption {
                span { (title) }
                span { "lowest " (share(lowest)) @if let Some(goal) = alert.objective { " · dashed " (objective(goal)) } }
            }
        }
    }
}

fn actions(alert: &FiringView) -> Markup {
    html! {
        p .actions {
            @if let Some(runbook) = &alert.runbook { (runbook_link(runbook)) }
            a href={ (evidence(alert)) "#evidence" } { "Evidence" }
            a href=(links::incident(&alert.incident)) { "Timeline" }
        }
    }
}

/// A link to a runbook, or its words when it is not a web address.
pub(super) fn runbook_link(runbook: &str) -> Markup {
    html! {
        @match links::outside(runbook) {
            Some(url) => { a .runbook href=(url) rel="noopener noreferrer" { "Runbook" } }
            None => { span { "Runbook: " (runbook) } }
        }
    }
}
