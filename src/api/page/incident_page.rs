//! `/incidents/{id}`: one life of an alert: what happened, who was told, and whether they got it.

use super::firing::{factors, runbook_link, word};
use super::format::{NOTHING, ago, coarse, sentence};
use super::links;
use super::parts::{Column, calm, event, events, facts, figure, rows, section};
use super::shell::{Shell, trail};
use super::symbol::{self, Level, state};
use super::view::{DeliveryView, IncidentView, TimelineEntry};
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::alert::AlertState;
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
        p .summary { (sentence(&view.summary)) }
        p .meta {
            @if let Some(owner) = &view.owner { (owner) " · " }
            @if let Some((who, at)) = &incident.acknowledged { "acknowledged by " (who) ", " (ago(view.now, *at)) " · " }
            @if let Some(since) = incident.frozen_since { "data is missing since " (ago(view.now, since)) " · " }
            "cause: " (incident.cause.as_str().replace('_', " "))
            @if let Some(runbook) = &view.runbook { " · " (runbook_link(runbook)) }
        }
        (figures(view))
        (factors(&view.factors))
        (section("timeline", "Timeline", &timeline(view.now, incident.started_at, &view.timeline)))
        (section("deliveries", "Notifications", &deliveries(view.now, &view.deliveries)))
        (section("labels", "Labels and annotations", &facts(incident.labels.iter().chain(incident.annotations.iter()))))
    };
    let json = format!("/api{}", links::incident(&incident.id));
    let title = format!("{status}: {}", view.name);
    Shell::new(&title, level, view.now, &view.version).live().json(&json).wrap(&main)
}

fn figures(view: &IncidentView) -> Markup {
    let incident = &view.incident;
    let end = incident.ended_at.unwrap_or(view.now);
    html! {
        dl .figures {
            (figure("Began", ago(view.now, incident.started_at)))
            (figure(if incident.ended_at.is_some() { "Lasted" } else { "Lasts" }, coarse(end.since(incident.started_at))))
            (figure("Transitions", incident.transitions))
            (figure("Incident", html! { code { (incident.id) } }))
        }
    }
}

fn timeline(now: UnixNanos, began: UnixNanos, entries: &[TimelineEntry]) -> Markup {
    if entries.is_empty() {
        return calm("Nothing is recorded.");
    }
    let told = |entry: &TimelineEntry| {
        html! {
            (entry.text) " "
            @if entry.at > began { span .meta { "after " (coarse(entry.at.since(began))) } }
            @if entry.at < began { span .meta { (coarse(began.since(entry.at))) " before" } }
        }
    };
    events(&html! {
        @for entry in entries { (event(now, entry.at, symbol::change(entry.kind), told(entry))) }
    })
}

fn deliveries(now: UnixNanos, deliveries: &[DeliveryView]) -> Markup {
    const COLUMNS: [Column<'_>; 7] = [
        Column::Text("Due"),
        Column::Text("Receiver"),
        Column::Text("Of"),
        Column::Text("State"),
        Column::Number("After"),
        Column::Number("Attempts"),
        Column::Text("Answer"),
    ];
    if deliveries.is_empty() {
        return calm("Nobody was to be told.");
    }
    let body = html! {
        @for delivery in deliveries {
            @let (level, word) = Level::of_delivery(delivery.state);
            tr {
                th scope="row" { (ago(now, delivery.created_at)) }
                td { (delivery.receiver) }
                td { (delivery.of) }
                td { (state(level, word)) }
                td .number { (humane(delivery.changed_at.since(delivery.created_at))) }
                td .number { (delivery.attempts) }
                td { (delivery.error.as_deref().unwrap_or(NOTHING)) }
            }
        }
    };
    rows("Notifications and what became of them, oldest first", &COLUMNS, &body)
}
