//! Incidents, also those that are over: what happened, and who was told.

use super::alerts::{ALERT, FACTOR, Heard};
use super::changes::{kind, kinds};
use super::receive::Named;
use super::shape::{Shape, instant, list, one_of, refer, text, text_or_null, whole};
use super::{missing, replied_list, reply};
use crate::api::page::view::{DeliveryState, DeliveryView, IncidentView, TimelineEntry};
use crate::api::server::ApiState;
use crate::api::views;
use crate::model::alert::Incident;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use std::cmp::Reverse;

/// An incident and what is known of it.
pub(in crate::api) struct Examined {
    heard: Heard,
    page: IncidentView,
}

/// An incident and what is known of it.
pub(in crate::api) const EVIDENCE: Shape<Examined> = Shape(&[
    ("incident", || refer("Alert"), "The incident", |one| ALERT.value(&one.heard)),
    ("owner", text_or_null, "Who answers for it", |one| one.page.owner.as_deref().into()),
    ("runbook", text_or_null, "Where to read what to do", |one| one.page.runbook.as_deref().into()),
    ("summary", text, "What it said when it last moved", |one| one.page.summary.as_str().into()),
    (
        "factors",
        || list(&refer("Factor")),
        "What explains it now, best first",
        |one| FACTOR.values(&one.page.factors),
    ),
    (
        "timeline",
        || list(&ENTRY.schema()),
        "What happened, oldest first",
        |one| ENTRY.values(&one.page.timeline),
    ),
    (
        "deliveries",
        || list(&DELIVERY.schema()),
        "Notifications, oldest first",
        |one| DELIVERY.values(&one.page.deliveries),
    ),
]);

const ENTRY: Shape<TimelineEntry> = Shape(&[
    ("at", instant, "When", |entry| entry.at.to_rfc3339().into()),
    ("kind", kinds, "What kind of thing", |entry| kind(entry.kind).into()),
    ("text", text, "In words", |entry| entry.text.as_str().into()),
]);

const DELIVERY: Shape<DeliveryView> = Shape(&[
    ("receiver", text, "Who was to be told", |delivery| delivery.receiver.as_str().into()),
    ("of", text, "firing, frozen or resolved", |delivery| delivery.of.as_str().into()),
    ("created_at", instant, "When it was due", |delivery| delivery.created_at.to_rfc3339().into()),
    ("changed_at", instant, "When its state last changed", |delivery| {
        delivery.changed_at.to_rfc3339().into()
    }),
    ("attempts", whole, "How often it was tried", |delivery| delivery.attempts.into()),
    ("state", delivery_states, "What became of it", |delivery| {
        delivery_state(delivery.state).into()
    }),
    ("error", text_or_null, "What the receiver said, when it did not take it", |delivery| {
        delivery.error.as_deref().into()
    }),
]);

/// `GET /api/incidents`
pub(in crate::api) async fn incidents(State(state): State<ApiState>) -> Response {
    let (core, now) = (state.core.read(), state.clock.now());
    let mut all: Vec<&Incident> = core.book.all_active().chain(core.book.all_ended()).collect();
    all.sort_by_key(|incident| Reverse(incident.started_at));
    let all = all.into_iter().map(|one| ALERT.value(&Heard::new(&core, one, now)));
    replied_list("incidents", all)
}

/// `GET /api/incidents/{id}`
pub(in crate::api) async fn incident(State(state): State<ApiState>, Named(id): Named) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let core = state.core.read();
    views::incident(&core, &around, &id, now).map_or_else(
        || missing(&format!("incident {id} is not kept")),
        |page| {
            let heard = Heard::new(&core, &page.incident, now);
            reply(EVIDENCE.value(&Examined { heard, page }))
        },
    )
}

fn delivery_states() -> Value {
    one_of(["pending", "delivered", "refused", "given_up"])
}

fn delivery_state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Refused => "refused",
        DeliveryState::Expired => "given_up",
    }
}
