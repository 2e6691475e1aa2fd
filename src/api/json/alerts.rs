//! Alerts that fire or are frozen, and who has them.

use super::receive::{Given, Named};
use super::shape::{
    self, Shape, at, instant, instant_or_null, list, number, one_of, severity, text, text_or_null,
    texts,
};
use super::{missing, outcome, replied_list};
use crate::alert::Core;
use crate::api::page::view::Factor;
use crate::api::server::ApiState;
use crate::api::views;
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Cause, Incident};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

/// An incident and the silence over it.
pub(in crate::api) struct Heard {
    incident: Incident,
    summary: String,
    silenced_by: Option<String>,
}

/// One life of an alert.
pub(in crate::api) const ALERT: Shape<Heard> = Shape(&[
    ("id", text, "Of the incident: stable, the dedup key of every notification", |alert| {
        alert.incident.id.as_str().into()
    }),
    ("alertname", text_or_null, "The SLO, or one of the daemon's own", |alert| {
        alert.incident.labels.get("alertname").into()
    }),
    ("severity", severity, "Page or ticket", |alert| alert.incident.key.severity.as_str().into()),
    ("state", states, "Where it stands", |alert| alert.incident.state.as_str().into()),
    ("cause", causes, "Why it last moved", |alert| alert.incident.cause.as_str().into()),
    ("started_at", instant, "When it began to fire", |alert| {
        alert.incident.started_at.to_rfc3339().into()
    }),
    ("changed_at", instant, "When it last moved", |alert| {
        alert.incident.changed_at.to_rfc3339().into()
    }),
    ("ended_at", instant_or_null, "When it resolved", |alert| at(alert.incident.ended_at)),
    ("frozen_since", instant_or_null, "Since when data is missing", |alert| {
        at(alert.incident.frozen_since)
    }),
    ("summary", text, "What is wrong, with the figures of now while it fires", |alert| {
        alert.summary.as_str().into()
    }),
    ("labels", shape::labels, "By which it is routed", |alert| {
        shape::pairs(&alert.incident.labels)
    }),
    ("annotations", shape::labels, "Words and figures for people, as of the last move", |alert| {
        shape::pairs(&alert.incident.annotations)
    }),
    ("acknowledged_by", text_or_null, "Who has it", |alert| {
        alert.incident.acknowledged.as_ref().map(|(by, _)| by.as_str()).into()
    }),
    ("acknowledged_at", instant_or_null, "Since when", |alert| {
        at(alert.incident.acknowledged.as_ref().map(|(_, at)| *at))
    }),
    ("silenced_by", text_or_null, "Id of the silence that holds it back", |alert| {
        alert.silenced_by.as_deref().into()
    }),
    ("receivers", texts, "Who was to be told", |alert| {
        alert.incident.notified.iter().map(|(receiver, _)| receiver.as_str()).collect()
    }),
]);

/// A part of the traffic that explains bad events.
pub(in crate::api) const FACTOR: Shape<Factor> = Shape(&[
    (
        "values",
        || list(&VALUE.schema()),
        "All of which hold",
        |factor| VALUE.values(&factor.values),
    ),
    ("share_of_bad", number, "Its share of the bad events", |factor| factor.share_of_bad.into()),
    ("share_of_traffic", number, "Its share of all events", |factor| {
        factor.share_of_traffic.into()
    }),
]);

const VALUE: Shape<(String, String)> = Shape(&[
    ("attribute", text, "service.version", |(attribute, _)| attribute.as_str().into()),
    ("value", text, "4.2.0", |(_, value)| value.as_str().into()),
]);

/// Who has an incident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Acknowledgement {
    by: String,
}

/// What a client sends to acknowledge.
pub(in crate::api) const ACKNOWLEDGEMENT: Shape<Acknowledgement> =
    Shape(&[("by", text, "Who has it", |request| request.by.as_str().into())]);

// === impl Heard ===

impl Heard {
    /// An incident as of now; one that is over needs no silence.
    pub(super) fn new(core: &Core, incident: &Incident, now: UnixNanos) -> Self {
        let silence = core.book.silenced_by(&incident.labels, now);
        let silence = silence.filter(|_| incident.ended_at.is_none());
        Self {
            incident: incident.clone(),
            summary: views::summary(core, incident, now),
            silenced_by: silence.map(|silence| silence.id.clone()),
        }
    }
}

/// `GET /api/alerts`
pub(in crate::api) async fn alerts(State(state): State<ApiState>) -> Response {
    let (core, now) = (state.core.read(), state.clock.now());
    let alerts = core.book.all_active().map(|one| ALERT.value(&Heard::new(&core, one, now)));
    replied_list("alerts", alerts)
}

/// `POST /api/incidents/{id}/acknowledge`
pub(in crate::api) async fn acknowledge(
    State(state): State<ApiState>,
    Named(id): Named,
    Given(request): Given<Acknowledgement>,
) -> Response {
    let known = state.core.read().book.all_active().any(|incident| incident.id == id);
    if !known {
        return missing(&format!("no incident {id} is open"));
    }
    outcome(state.actions.acknowledge(id, request.by, state.clock.now()).await)
}

fn states() -> Value {
    one_of(AlertState::ALL.iter().map(|state| state.as_str()))
}

fn causes() -> Value {
    one_of(Cause::ALL.iter().map(|cause| cause.as_str()))
}
