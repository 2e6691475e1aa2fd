//! Runs of probes, phase by phase.

use super::receive::Named;
use super::shape::{
    self, Shape, flag, instant, list, refer, text, text_or_null, whole, whole_or_null,
};
use super::{missing, problem, replied_list, reply};
use crate::api::page::view::{RunView, SloOfRun};
use crate::api::pages::run_id;
use crate::api::server::ApiState;
use crate::api::views;
use crate::model::attribute::{Attribute, AttributeValue};
use crate::model::probe::{
    CheckResult, FailureReason, MessageStamp, Outcome, Phase, PhaseTiming, ProbeRun, RunId,
    StepResult,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

/// A run.
pub(in crate::api) const RUN: Shape<ProbeRun> = Shape(&[
    ("id", text, "32 hex digits, also the trace id", |run| run.id.to_hex().into()),
    ("probe", text, "Whose run", |run| run.probe.as_str().into()),
    ("labels", shape::labels, "The probe's own", |run| shape::pairs(&run.labels)),
    ("intended_start", instant, "When the schedule wanted it to start", |run| {
        run.intended_start.to_rfc3339().into()
    }),
    ("started", instant, "When it did start", |run| run.started().to_rfc3339().into()),
    ("lateness_ns", whole, "How much later it did start", |run| run.lateness_ns.into()),
    ("duration_ns", whole, "From the actual start to the end", |run| run.duration_ns.into()),
    ("latency_ns", whole_or_null, "The measured value", |run| run.latency_ns.into()),
    ("uncertainty_ns", whole, "How far the value may be too large by our own doing", |run| {
        run.uncertainty_ns.into()
    }),
    ("outcome", outcomes, "What came of it", |run| run.outcome.as_str().into()),
    ("failure_reason", reasons, "Why it failed, from a closed set", |run| {
        run.failure.as_ref().map(|failure| failure.reason.as_str()).into()
    }),
    ("failure_message", text_or_null, "Why it failed, in words", |run| {
        run.failure.as_ref().map(|failure| failure.message.as_str()).into()
    }),
    (
        "steps",
        || list(&STEP.schema()),
        "In the order in which they ran",
        |run| STEP.values(&run.steps),
    ),
]);

const STEP: Shape<StepResult> = Shape(&[
    ("name", text, "`as:` of the definition, or its place", |step| step.name.as_str().into()),
    ("protocol", text, "The block of the definition, or expect and send", |step| {
        step.protocol.as_str().into()
    }),
    ("target", text, "URL without credentials and query", |step| step.target.as_str().into()),
    ("offset_ns", whole, "From the run's start to the step's", |step| step.offset_ns.into()),
    ("duration_ns", whole, "How long it took", |step| step.duration_ns.into()),
    ("message_latency_ns", whole_or_null, "From send to match, of message steps", |step| {
        step.message_latency_ns.into()
    }),
    ("status", whole_or_null, "Status of the answer, in the protocol's own numbers", |step| {
        step.status.into()
    }),
    (
        "attributes",
        scalars,
        "What else was found out: a value, or several in order; names end in units",
        |step| attributes(&step.attributes),
    ),
    (
        "messages",
        || list(&MESSAGE.schema()),
        "What came over the stream that it opened, to the end of the run; the first ones",
        |step| MESSAGE.values(&step.messages.stamps),
    ),
    ("messages_omitted", whole, "How many more came", |step| step.messages.omitted.into()),
    ("span_id", text, "16 hex digits, under which the target saw it", |step| {
        step.span_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }),
    (
        "phases",
        || list(&PHASE.schema()),
        "Phases that were reached",
        |step| PHASE.values(&step.phases),
    ),
    (
        "checks",
        || list(&CHECK.schema()),
        "Checks that were made",
        |step| CHECK.values(&step.checks),
    ),
    ("failure", text_or_null, "Why it failed", |step| {
        step.failure.as_ref().map(|failure| failure.message.as_str()).into()
    }),
]);

const PHASE: Shape<PhaseTiming> = Shape(&[
    ("phase", phases, "Which", |timing| timing.phase.as_str().into()),
    ("offset_ns", whole, "From the run's start to the phase's", |timing| timing.offset_ns.into()),
    ("duration_ns", whole, "How long it took", |timing| timing.duration_ns.into()),
]);

const MESSAGE: Shape<MessageStamp> = Shape(&[
    ("offset_ns", whole, "From the run's start to its arrival", |stamp| stamp.offset_ns.into()),
    ("size_bytes", whole, "Its length, without framing", |stamp| stamp.size_bytes.into()),
    (
        "receiver",
        whole,
        "Which of the step's streams it came over, from 1; 0 when alone",
        |stamp| stamp.receiver.into(),
    ),
    ("matched", flag, "A step was waiting for it", |stamp| stamp.matched.into()),
]);

const CHECK: Shape<CheckResult> = Shape(&[
    ("name", text, "What was asserted", |check| check.name.as_str().into()),
    ("passed", flag, "Whether it held", |check| check.passed.into()),
    ("found", text_or_null, "What was found instead", |check| check.found.as_deref().into()),
]);

/// A run and what surrounds it.
pub(in crate::api) const EVIDENCE: Shape<RunView> = Shape(&[
    ("run", || refer("Run"), "The run", |view| RUN.value(&view.run)),
    ("slos", || list(&VERDICT.schema()), "How it counts", |view| VERDICT.values(&view.slos)),
    ("previous", text_or_null, "Id of the run before, if it is kept", |view| id(view.previous)),
    ("next", text_or_null, "Id of the run after, if it is kept", |view| id(view.next)),
]);

const VERDICT: Shape<SloOfRun> = Shape(&[
    ("slo", text, "Name of the SLO", |slo| slo.name.as_str().into()),
    ("under_ns", whole_or_null, "Its threshold", |slo| slo.under_ns.into()),
    ("good", good, "Null when the run was left out as uncertain", |slo| slo.good.into()),
]);

/// `GET /api/runs/{id}`
pub(in crate::api) async fn run(State(state): State<ApiState>, Named(id): Named) -> Response {
    let Some(run) = run_id(&id) else {
        return problem(StatusCode::BAD_REQUEST, "the id of a run is 32 hex digits");
    };
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let view = views::run(&state.core.read(), &around, run, now);
    view.map_or_else(
        || missing(&format!("run {id} is not kept: only the newest of each probe are")),
        |view| reply(EVIDENCE.value(&view)),
    )
}

/// `GET /api/probes/{name}/runs`
pub(in crate::api) async fn runs(State(state): State<ApiState>, Named(name): Named) -> Response {
    let core = state.core.read();
    match core.store.evidence.probes.get(&name) {
        Some(probe) => replied_list("runs", probe.runs.iter().rev().map(|run| RUN.value(run))),
        None => missing(&format!("no run of a probe `{name}` is kept")),
    }
}

/// Attributes by name; one that was found out several times has a list.
fn attributes(found: &[Attribute]) -> Value {
    let mut fields = Map::new();
    for (name, value) in found {
        let value = scalar(value);
        match fields.get_mut(name) {
            None => drop(fields.insert(name.clone(), value)),
            Some(Value::Array(several)) => several.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(fields)
}

fn scalar(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Text(text) => text.as_str().into(),
        AttributeValue::Integer(number) => (*number).into(),
        AttributeValue::Double(number) => (*number).into(),
        AttributeValue::Flag(truth) => (*truth).into(),
    }
}

fn scalars() -> Value {
    let one = serde_json::json!({ "type": ["string", "number", "boolean"] });
    serde_json::json!({
        "type": "object",
        "additionalProperties": { "anyOf": [one, list(&one)] },
    })
}

fn id(run: Option<RunId>) -> Value {
    run.map(RunId::to_hex).into()
}

fn outcomes() -> Value {
    shape::one_of(Outcome::ALL.iter().map(|outcome| outcome.as_str()))
}

fn phases() -> Value {
    shape::one_of(Phase::ALL.iter().map(|phase| phase.as_str()))
}

fn reasons() -> Value {
    let reasons = FailureReason::ALL.iter().map(|reason| Value::from(reason.as_str()));
    let reasons: Vec<Value> = reasons.chain([Value::Null]).collect();
    serde_json::json!({ "type": ["string", "null"], "enum": reasons })
}

fn good() -> Value {
    serde_json::json!({ "type": ["boolean", "null"] })
}
