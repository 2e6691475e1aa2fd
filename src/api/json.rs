//! Our own JSON, `"version": 1` in every answer.

use super::actions::Failed;
use super::server::ApiState;
use crate::alert::budget::SloStatus;
use crate::base::clock::UnixNanos;
use crate::base::duration;
use crate::model::alert::{Incident, Silence};
use crate::model::labels::Labels;
use crate::model::matcher::LabelMatcher;
use crate::model::probe::ProbeRun;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A silence as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceRequest {
    /// Matchers in Alertmanager's notation, `severity=page`.
    pub matchers: Vec<String>,
    /// How long: `2h`.
    pub duration: String,
    /// Who.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Who has an incident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// Who.
    pub by: String,
}

/// An error as JSON.
pub(super) fn problem(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "version": 1, "error": words }))).into_response()
}

/// `GET /api/status`
pub async fn status(State(state): State<ApiState>) -> Response {
    let around = (state.surroundings)();
    let core = state.core.read();
    Json(json!({
        "version": 1,
        "radiosonde": around.version,
        "started_at": around.started_at.to_rfc3339(),
        "ready": state.ready.load(std::sync::atomic::Ordering::Acquire),
        "degraded": around.degraded,
        "configuration": { "problems": around.config_problem.map(|p| p.problems) },
        "firing": core.book.all_active().count(),
        "slos": core.policy.slos.len(),
        "probes": around.schedules.len(),
        "outbox": core.book.outbox.pending().len(),
    }))
    .into_response()
}

/// `GET /api/slos`
pub async fn slos(State(state): State<ApiState>) -> Response {
    let core = state.core.read();
    let slos: Vec<Value> = core.statuses(state.clock.now()).iter().map(slo).collect();
    Json(json!({ "version": 1, "slos": slos })).into_response()
}

/// `GET /api/probes`
pub async fn probes(State(state): State<ApiState>) -> Response {
    let around = (state.surroundings)();
    let core = state.core.read();
    let probes: Vec<Value> = around
        .schedules
        .iter()
        .map(|(name, schedule)| {
            let last = core.store.evidence.probes.get(name).and_then(|probe| probe.runs.back());
            json!({ "name": name, "schedule": schedule, "last": last.map(|run| run_json(run)) })
        })
        .collect();
    Json(json!({ "version": 1, "probes": probes })).into_response()
}

/// `GET /api/probes/{name}/runs`
pub async fn runs(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let core = state.core.read();
    let Some(probe) = core.store.evidence.probes.get(&name) else {
        return problem(StatusCode::NOT_FOUND, &format!("no run of a probe `{name}` is kept"));
    };
    let runs: Vec<Value> = probe.runs.iter().rev().map(|run| run_json(run)).collect();
    Json(json!({ "version": 1, "runs": runs })).into_response()
}

/// `POST /api/probes/{name}/run`
pub async fn run_probe(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    answer(state.actions.run_probe(&name))
}

/// `GET /api/alerts`
pub async fn alerts(State(state): State<ApiState>) -> Response {
    let core = state.core.read();
    let now = state.clock.now();
    let alerts: Vec<Value> = core
        .book
        .all_active()
        .map(|alert| {
            let silence =
                core.book.silenced_by(&alert.labels, now).map(|silence| silence.id.clone());
            incident(alert, silence)
        })
        .collect();
    Json(json!({ "version": 1, "alerts": alerts })).into_response()
}

/// `POST /api/incidents/{id}/acknowledge`
pub async fn acknowledge(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Json(request): Json<AcknowledgeRequest>,
) -> Response {
    let known = state.core.read().book.all_active().any(|incident| incident.id == id);
    if !known {
        return problem(StatusCode::NOT_FOUND, &format!("no incident {id} is open"));
    }
    answer(state.actions.acknowledge(id, request.by, state.clock.now()).await)
}

/// `GET /api/silences`
pub async fn silences(State(state): State<ApiState>) -> Response {
    let core = state.core.read();
    let now = state.clock.now();
    let silences: Vec<Value> = core
        .book
        .silences()
        .filter(|silence| silence.ends_at > now)
        .map(|silence| {
            json!({
                "id": silence.id,
                "matchers": silence.matchers.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "starts_at": silence.starts_at.to_rfc3339(),
                "ends_at": silence.ends_at.to_rfc3339(),
                "created_by": silence.created_by,
                "comment": silence.comment,
            })
        })
        .collect();
    Json(json!({ "version": 1, "silences": silences })).into_response()
}

/// `POST /api/silences`
pub async fn create_silence(
    State(state): State<ApiState>,
    Json(request): Json<SilenceRequest>,
) -> Response {
    let now = state.clock.now();
    let silence = match read_silence(&request, now) {
        Ok(silence) => silence,
        Err(words) => return problem(StatusCode::BAD_REQUEST, &words),
    };
    let id = silence.id.clone();
    match state.actions.silence(silence).await {
        Ok(()) => Json(json!({ "version": 1, "id": id })).into_response(),
        Err(failed) => answer(Err(failed)),
    }
}

/// `DELETE /api/silences/{id}`
pub async fn end_silence(State(state): State<ApiState>, Path(id): Path<String>) -> Response {
    let found = state.core.read().book.silences().find(|silence| silence.id == id).cloned();
    match found {
        Some(silence) => {
            answer(state.actions.silence(Silence { ends_at: state.clock.now(), ..silence }).await)
        }
        None => problem(StatusCode::NOT_FOUND, &format!("there is no silence {id}")),
    }
}

/// `POST /api/receivers/{name}/test`
pub async fn test_receiver(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    answer(state.actions.test_receiver(name).await)
}

/// `POST /-/reload`
pub async fn reload(State(state): State<ApiState>) -> Response {
    answer(state.actions.reload().await)
}

/// A probe run; also what `radiosonde probe --format json` prints.
#[must_use]
pub fn run_json(run: &ProbeRun) -> Value {
    let failure = run.failure.as_ref();
    let steps: Vec<Value> = run
        .steps
        .iter()
        .map(|step| {
            let phases: Vec<Value> = step
                .phases
                .iter()
                .map(|p| json!({ "phase": p.phase.as_str(), "offset_ns": p.offset_ns, "duration_ns": p.duration_ns }))
                .collect();
            let checks: Vec<Value> = step
                .checks
                .iter()
                .map(|c| json!({ "name": c.name, "passed": c.passed, "found": c.found }))
                .collect();
            json!({
                "name": step.name,
                "protocol": step.protocol,
                "target": step.target,
                "offset_ns": step.offset_ns,
                "duration_ns": step.duration_ns,
                "message_latency_ns": step.message_latency_ns,
                "status": step.status,
                "phases": phases,
                "checks": checks,
                "failure": step.failure.as_ref().map(|f| f.message.clone()),
            })
        })
        .collect();
    json!({
        "id": run.id.to_hex(),
        "probe": run.probe,
        "labels": labels(&run.labels),
        "intended_start": run.intended_start.to_rfc3339(),
        "lateness_ns": run.lateness_ns,
        "duration_ns": run.duration_ns,
        "latency_ns": run.latency_ns,
        "uncertainty_ns": run.uncertainty_ns,
        "outcome": run.outcome.as_str(),
        "failure_reason": failure.map(|f| f.reason.as_str()),
        "failure_message": failure.map(|f| f.message.clone()),
        "steps": steps,
    })
}

fn slo(status: &SloStatus) -> Value {
    let pairs: Vec<Value> = status
        .pairs
        .iter()
        .map(|pair| {
            json!({
                "pair": pair.pair.name(),
                "severity": pair.pair.severity.as_str(),
                "factor": pair.factor,
                "long_burn_rate": pair.long.burn,
                "short_burn_rate": pair.short.burn,
                "significant": pair.significant,
                "holds": pair.holds(),
            })
        })
        .collect();
    json!({
        "name": status.slo.name,
        "owner": status.slo.owner,
        "kind": status.slo.indicator.kind(),
        "objective": status.slo.objective,
        "window": duration::format(status.slo.window),
        "since": status.since.to_rfc3339(),
        "good": status.window.good(),
        "bad": status.window.bad,
        "total": status.window.total,
        "attained": status.attained(),
        "met": status.is_met(),
        "budget_remaining": status.remaining,
        "exhausted_in_seconds": status.exhausted_in().map(|left| left.as_secs()),
        "burn": pairs,
    })
}

fn incident(incident: &Incident, silence: Option<String>) -> Value {
    json!({
        "id": incident.id,
        "alertname": incident.labels.get("alertname"),
        "severity": incident.key.severity.as_str(),
        "state": incident.state.as_str(),
        "started_at": incident.started_at.to_rfc3339(),
        "labels": labels(&incident.labels),
        "annotations": labels(&incident.annotations),
        "acknowledged_by": incident.acknowledged.as_ref().map(|(by, _)| by.clone()),
        "silenced_by": silence,
    })
}

fn labels(labels: &Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn read_silence(request: &SilenceRequest, now: UnixNanos) -> Result<Silence, String> {
    if request.matchers.is_empty() {
        return Err("a silence needs at least one matcher, for example severity=page".to_owned());
    }
    let matchers: Result<Vec<_>, _> =
        request.matchers.iter().map(|text| LabelMatcher::parse(text)).collect();
    let length = duration::parse(&request.duration).map_err(|error| error.to_string())?;
    Ok(Silence {
        id: format!("{:016x}", rand::random::<u64>()),
        matchers: matchers.map_err(|error| error.to_string())?,
        starts_at: now,
        ends_at: now.plus(length),
        created_by: request.created_by.clone(),
        comment: request.comment.clone(),
    })
}

fn answer(outcome: Result<(), Failed>) -> Response {
    match outcome {
        Ok(()) => Json(json!({ "version": 1, "ok": true })).into_response(),
        Err(Failed::NotFound(words)) => problem(StatusCode::NOT_FOUND, &words),
        Err(Failed::Invalid(words)) => problem(StatusCode::UNPROCESSABLE_ENTITY, &words),
        Err(Failed::Refused(words)) => problem(StatusCode::BAD_GATEWAY, &words),
    }
}
