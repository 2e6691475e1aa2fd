//! `/api/phones`: what phones report, app by app, in the cells of the page's matrix.

use super::reply;
use super::shape::{Shape, at, instant_or_null, list, number, refer, text, texts, whole};
use crate::api::page::view::{MatrixCell, MatrixView, PhoneApp, PhoneSlo, PhonesView};
use crate::api::server::ApiState;
use crate::api::views;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

/// All phones.
pub(in crate::api) const PHONES: Shape<PhonesView> = Shape(&[
    (
        "apps",
        || list(&APP.schema()),
        "That report, busiest first",
        |phones| APP.values(&phones.apps),
    ),
    (
        "slos",
        || list(&BROKEN_DOWN.schema()),
        "SLOs on what they report",
        |phones| BROKEN_DOWN.values(&phones.slos),
    ),
]);

const APP: Shape<PhoneApp> = Shape(&[
    ("name", text, "service.name", |app| app.name.as_str().into()),
    ("newest", instant_or_null, "When phones last reported", |app| at(app.newest)),
    ("received", whole, "Items received", |app| app.received.into()),
    ("dropped", whole, "Of those, rejected, shed or too late", |app| app.dropped.into()),
]);

const BROKEN_DOWN: Shape<PhoneSlo> = Shape(&[
    ("slo", text, "Its name", |slo| slo.name.as_str().into()),
    ("objective", number, "The share that must be good", |slo| slo.objective.into()),
    ("seconds", whole, "Over how much time it is counted", |slo| slo.over.as_secs().into()),
    (
        "matrices",
        || list(&refer("Matrix")),
        "By two dimensions each",
        |slo| MATRIX.values(&slo.matrices),
    ),
]);

/// Counts by two dimensions.
pub(in crate::api) const MATRIX: Shape<MatrixView> = Shape(&[
    ("row_dimension", text, "service.version", |matrix| matrix.row_dimension.as_str().into()),
    ("column_dimension", text, "network.connection.type", |matrix| {
        matrix.column_dimension.as_str().into()
    }),
    ("columns", texts, "Values along the top", |matrix| matrix.columns.as_slice().into()),
    ("rows", || list(&ROW.schema()), "Values down the side", |matrix| ROW.values(&matrix.rows)),
]);

const ROW: Shape<(String, Vec<Option<MatrixCell>>)> = Shape(&[
    ("value", text, "Its value", |(value, _)| value.as_str().into()),
    (
        "cells",
        || list(&cell_or_null()),
        "In the order of columns; null is no event",
        |(_, cells)| cells.iter().map(|cell| cell.as_ref().map(|cell| CELL.value(cell))).collect(),
    ),
]);

const CELL: Shape<MatrixCell> = Shape(&[
    ("good", whole, "Good events", |cell| cell.good.into()),
    ("total", whole, "All events", |cell| cell.total.into()),
]);

/// `GET /api/phones`
pub(in crate::api) async fn phones(State(state): State<ApiState>) -> Response {
    let phones = views::phones(&state.core.read(), state.clock.now());
    reply(PHONES.value(&phones.unwrap_or_default()))
}

fn cell_or_null() -> Value {
    json!({ "anyOf": [CELL.schema(), { "type": "null" }] })
}
