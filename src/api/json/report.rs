//! The report of `radiosonde probe --format json`, and its schema.

use super::VERSION;
use super::runs::RUN;
use super::shape::{Shape, list, refer, text, text_or_null, whole, whole_or_null};
use crate::model::probe::{FailureReason, ProbeRun};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What the runs of a probe come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSummary {
    /// The probe's name.
    pub probe: String,
    /// The target of a probe that has several.
    pub target: Option<String>,
    /// How often it ran.
    pub runs: usize,
    /// How many of them failed.
    pub failed: usize,
    /// Why, and how often.
    pub failure_reasons: BTreeMap<&'static str, usize>,
    /// Median, 95th percentile and maximum of its value, by nearest rank; none without a value.
    pub latency_ns: [Option<u64>; 3],
}

const SUMMARY: Shape<ProbeSummary> = Shape(&[
    ("probe", text, "Its name", |one| one.probe.as_str().into()),
    ("target", text_or_null, "The target of a probe that has several", |one| {
        one.target.as_deref().into()
    }),
    ("runs", whole, "How often it ran", |one| one.runs.into()),
    ("failed", whole, "How many of them failed", |one| one.failed.into()),
    ("failure_reasons", counts, "How often they failed, by reason", |one| {
        let times = one.failure_reasons.iter();
        Value::Object(times.map(|(why, times)| ((*why).to_owned(), (*times).into())).collect())
    }),
    (
        "latency_ns",
        || PERCENTILES.schema(),
        "Percentiles of the measured value, by nearest rank",
        |one| PERCENTILES.value(&one.latency_ns),
    ),
]);

const PERCENTILES: Shape<[Option<u64>; 3]> = Shape(&[
    ("p50", whole_or_null, "The median", |[p50, _, _]| (*p50).into()),
    ("p95", whole_or_null, "95 of 100 are no longer", |[_, p95, _]| (*p95).into()),
    ("max", whole_or_null, "The longest", |[_, _, max]| (*max).into()),
]);

/// The report on runs, in order, and on what the runs of each probe come to.
pub fn report_json<'a>(runs: impl Iterator<Item = &'a ProbeRun>, probes: &[ProbeSummary]) -> Value {
    json!({ "version": VERSION, "runs": RUN.values(runs), "probes": SUMMARY.values(probes) })
}

/// The report's schema, JSON Schema 2020-12. Fields may be added under a version; none is removed or
/// changes its meaning.
#[must_use]
pub fn report_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "radiosonde probe --format json",
        "type": "object",
        "required": ["version", "runs", "probes"],
        "properties": {
            "version": { "const": VERSION },
            "runs": list(&refer("Run")),
            "probes": list(&SUMMARY.schema()),
        },
        "components": { "schemas": { "Run": RUN.schema() } },
    })
}

fn counts() -> Value {
    let reasons: Vec<&str> = FailureReason::ALL.iter().map(|reason| reason.as_str()).collect();
    json!({
        "type": "object",
        "propertyNames": { "enum": reasons },
        "additionalProperties": whole(),
    })
}
