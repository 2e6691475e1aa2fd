//! `/incidents/{id}`: one life of an alert: what happened, who was told, and whether they got it.

use super::firing::{factors, runbook_link, word};
use super::format::{NOTHING, ago, coarse};
use super::links;
use super::shell::{Shell, trail};
use super::symbol::{self, Level, state};
use super::view::{DeliveryView, IncidentView, TimelineEntry};
use crate::base::clock::UnixNanos;
use crate::model::alert::AlertState;
use crate::model::labels::Labels;
use maud::{Markup, html};

/// Renders the page of an incident.
#[must_use]
pub fn render_incident(view: &IncidentView) -> String {
    let incident = &view.incident;
    let (level, status) = match incident.state {
        AlertState::Resolved => (Level::Good, "Resolved"),
        AlertState::Frozen => (Level::Unknown, "Frozen"),
        AlertState::Firing => (Level::of_severity(view.severity), "Firing"),
    };
    let page = links::slo(&view.name);
    let slo = [(view.name.as_str(), page.as_str())];
    let main = html! {
        (trail(if view.is_slo { &slo } else { &[] }))
        div .title { h1 { (word(view.severity)) ": " (view.name) } (state(level, status)) }
        p .summary { (view.summary) }
        p .meta {
            @if let Some(owner) = &view.owner { (owner) " · " }
            @if let Some((who, at)) = &incident.acknowledged { "acknowledged by " (who) ", " (ago(view.now, *at)) " · " }
            @if let Some(since) = incident.frozen_since { "data is missing since " (ago(view.now, since)) " · " }
            "cause: " (incident.cause.as_str().replace('_', " "))
            @if let Some(runbook) = &view.runbook { " · " (runbook_link(runbook)) }
        }
        (figures(view))
        (factors(&view.factors))
        section #timeline aria-labelledby="timeline-title" {
            h2 #timeline-title { "Timeline" }
            @if view.timeline.is_empty() { p .calm { "Nothing is recorded." } }
            (timeline(view.now, incident.started_at, &view.timeline))
        }
        section #deliveries aria-labelledby="deliveries-title" {
            h2 #deliveries-title { "Notifications" }
            @if view.deliveries.is_empty() { p .calm { "Nobody was to be told." } } @else { (deliveries(view.now, &view.deliveries)) }
        }
        section aria-labelledby="labels-title" {
            h2 #labels-title { "Labels and annotations" }
            (pairs(&incident.labels))
            (pairs(&incident.annotations))
        }
    };
    let json = format!("/api{}", links::incident(&incident.id));
    let title = format!("{status}: {}", view.name);
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

fn figures(view: &IncidentView) -> Markup {
    let incident = &view.incident;
    let end = incident.ended_at.unwrap_or(view.now);
    html! {
        dl .figures {
            div { dt { "Began" } dd { (ago(view.now, incident.started_at)) } }
            div { dt { @if incident.ended_at.is_some() { "Lasted" } @else { "Lasts" } } dd { (coarse(end.since(incident.started_at))) } }
            div { dt { "Transitions" } dd { (incident.transitions) } }
            div { dt { "Incident" } dd { code { (incident.id) } } }
        }
    }
}

fn timeline(now: UnixNanos, began: UnixNanos, entries: &[TimelineEntry]) -> Markup {
    html! {
        ol .changes {
            @for entry in entries {
                li {
                    span .when { (ago(now, entry.at)) }
                    (symbol::change(entry.kind))
                    span {
                        (entry.text) " "
                        @if entry.at > began { span .meta { "after " (coarse(entry.at.since(began))) } }
                        @if entry.at < began { span .meta { (coarse(began.since(entry.at))) " before" } }
                    }
                }
            }
        }
    }
}

fn deliveries(now: UnixNanos, deliveries: &[DeliveryView]) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Notifications" {
            table .rows {
                caption .hidden { "Notifications and what became of them, oldest first" }
                thead { tr {
                    th scope="col" { "Due" } th scope="col" { "Receiver" } th scope="col" { "Of" }
                    th scope="col" { "State" } th scope="col" .number { "After" } th scope="col" .number { "Attempts" } th scope="col" { "Answer" }
                } }
                tbody {
                    @for delivery in deliveries {
                        @let (level, word) = Level::of_delivery(delivery.state);
                        tr {
                            th scope="row" { (ago(now, delivery.created_at)) }
                            td { (delivery.receiver) }
                            td { (delivery.of) }
                            td { (state(level, word)) }
                            td .number { (crate::base::duration::humane(delivery.changed_at.since(delivery.created_at))) }
                            td .number { (delivery.attempts) }
                            td { (delivery.error.as_deref().unwrap_or(NOTHING)) }
                        }
                    }
                }
            }
        }
    }
}

fn pairs(labels: &Labels) -> Markup {
    html! {
        @if !labels.is_empty() {
            dl .facts { @for (name, value) in labels.iter() { dt { (name) } dd { (value) } } }
        }
    }
}
