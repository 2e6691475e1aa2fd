//! What this instrument measures too much on this machine.

use super::reply;
use super::shape::{Shape, flag, instant, list, one_of, whole};
use crate::api::server::ApiState;
use crate::probe::reference::{Calibration, Figures, Percentiles, Protocol};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// The last calibration.
pub(in crate::api) const CALIBRATION: Shape<Option<Arc<Calibration>>> = Shape(&[(
    "calibration",
    || json!({ "anyOf": [MEASURED.schema(), { "type": "null" }] }),
    "The newest; null before the first, and where it is switched off",
    |newest| newest.as_deref().map(|calibration| MEASURED.value(calibration)).into(),
)]);

const MEASURED: Shape<Calibration> = Shape(&[
    ("measured_at", instant, "When it was over", |one| one.at.to_rfc3339().into()),
    ("within_limit", flag, "Whether no protocol's median error is over 1 ms", |one| {
        one.is_within_limit().into()
    }),
    ("overall", || FIGURES.schema(), "Over all runs", |one| FIGURES.value(&one.overall)),
    (
        "protocols",
        || list(&OF_PROTOCOL.schema()),
        "By protocol",
        |one| OF_PROTOCOL.values(&one.protocols),
    ),
]);

const OF_PROTOCOL: Shape<(Protocol, Figures)> = Shape(&[
    ("protocol", protocols, "Which", |(protocol, _)| protocol.as_str().into()),
    ("figures", || FIGURES.schema(), "Its own", |(_, figures)| FIGURES.value(figures)),
]);

const FIGURES: Shape<Figures> = Shape(&[
    ("runs", whole, "Runs that were made", |figures| figures.runs.into()),
    (
        "error_ns",
        || PERCENTILES.schema(),
        "What runs measured beyond what the server held back",
        |figures| PERCENTILES.value(&figures.errors),
    ),
    (
        "stated_ns",
        || PERCENTILES.schema(),
        "The uncertainty that runs gave with their value",
        |figures| PERCENTILES.value(&figures.stated),
    ),
    ("beyond_stated", whole, "Runs whose error is more than they stated and 1 ms", |figures| {
        figures.beyond_stated.into()
    }),
    (
        "bare_error_ns",
        || PERCENTILES.schema(),
        "The same error by a blocking client that does nothing else",
        |figures| PERCENTILES.value(&figures.bare_errors),
    ),
]);

const PERCENTILES: Shape<Percentiles> = Shape(&[
    ("p50", signed, "Half are no larger", |of| of.p50.into()),
    ("p90", signed, "Nine of ten are no larger", |of| of.p90.into()),
    ("p99", signed, "All but one of a hundred are no larger", |of| of.p99.into()),
]);

/// `GET /api/calibration`
pub(in crate::api) async fn calibration(State(state): State<ApiState>) -> Response {
    reply(CALIBRATION.value(&(state.surroundings)().calibration))
}

fn protocols() -> Value {
    one_of(Protocol::ALL.iter().map(|protocol| protocol.as_str()))
}

fn signed() -> Value {
    json!({ "type": "integer" })
}
