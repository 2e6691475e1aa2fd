//! The daemon at a glance: what the home page says first.

use super::reply;
use super::shape::{
    Shape, at, flag, instant, instant_or_null, list, one_of, text, text_or_null, texts, whole,
};
use crate::api::page::view::{Freshness, SourceFreshness};
use crate::api::page::{Headline, Level};
use crate::api::server::ApiState;
use crate::api::views::{self, Surroundings};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What the glance shows.
pub(in crate::api) struct Glance {
    around: Surroundings,
    verdict: Headline,
    freshness: Freshness,
    ready: bool,
    firing: usize,
    slos: usize,
    outbox: usize,
}

/// The daemon at a glance.
pub(in crate::api) const STATUS: Shape<Glance> = Shape(&[
    ("verdict", || VERDICT.schema(), "Is anything wrong", |glance| VERDICT.value(&glance.verdict)),
    (
        "freshness",
        || FRESHNESS.schema(),
        "How old the data is",
        |glance| FRESHNESS.value(&glance.freshness),
    ),
    ("radiosonde", text, "Version of the daemon", |glance| glance.around.version.as_str().into()),
    ("started_at", instant, "When it started", |glance| {
        glance.around.started_at.to_rfc3339().into()
    }),
    ("ready", flag, "Whether everything durable is folded", |glance| glance.ready.into()),
    ("degraded", text_or_null, "Why the daemon itself is not well", |glance| {
        glance.around.degraded.as_deref().into()
    }),
    (
        "configuration",
        || CONFIGURATION.schema(),
        "The files on disk",
        |glance| CONFIGURATION.value(&glance.around),
    ),
    ("firing", whole, "Alerts that fire or are frozen", |glance| glance.firing.into()),
    ("slos", whole, "SLOs in force", |glance| glance.slos.into()),
    ("probes", whole, "Probes in force", |glance| glance.around.schedules.len().into()),
    ("outbox", whole, "Notifications that wait for delivery", |glance| glance.outbox.into()),
]);

const VERDICT: Shape<Headline> = Shape(&[
    ("level", levels, "How bad it is", |verdict| verdict.level.class().into()),
    ("sentence", text, "Is anything wrong", |verdict| verdict.sentence.as_str().into()),
    ("detail", text_or_null, "For whom and since when", |verdict| verdict.detail.as_deref().into()),
]);

const FRESHNESS: Shape<Freshness> = Shape(&[
    ("evaluated_at", instant_or_null, "When budgets were last evaluated", |fresh| {
        at(fresh.evaluated_at)
    }),
    (
        "sources",
        || list(&SOURCE.schema()),
        "Where data comes from",
        |fresh| SOURCE.values(&fresh.sources),
    ),
]);

const SOURCE: Shape<SourceFreshness> = Shape(&[
    ("name", || one_of(["probes", "phones"]), "Which", |source| source.name.as_str().into()),
    ("newest", instant_or_null, "Its newest item", |source| at(source.newest)),
    ("stale", flag, "Whether that is too old", |source| source.stale.into()),
]);

const CONFIGURATION: Shape<Surroundings> = Shape(&[(
    "problems",
    || json!({ "anyOf": [texts(), { "type": "null" }] }),
    "Why the files on disk are not in force; null when they are",
    |around| around.config_problem.as_ref().map(|problem| problem.problems.clone()).into(),
)]);

/// `GET /api/status`
pub(in crate::api) async fn status(State(state): State<ApiState>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let core = state.core.read();
    let (verdict, freshness) = views::verdict(&core, &around, now);
    reply(STATUS.value(&Glance {
        around,
        verdict,
        freshness,
        ready: state.ready.load(Ordering::Acquire),
        firing: core.book.all_active().count(),
        slos: core.policy.slos.len(),
        outbox: core.book.outbox.pending().len(),
    }))
}

fn levels() -> Value {
    one_of([Level::Good, Level::Unknown, Level::Warning, Level::Bad].map(Level::class))
}
