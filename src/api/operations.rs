//! Every JSON operation in one table, from which the router and `/api/openapi.json` are both made.

use super::json::{
    alerts, calibration, changes, daemon, incidents, phones, probes, runs, silences, slos, status,
};
use super::openapi;
use super::server::ApiState;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

/// What a client may ask for.
pub(super) struct Operation {
    /// `get`, `post`, `put` or `delete`.
    pub(super) method: &'static str,
    /// Its path, `/api/slos/{name}`.
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// Name of the schema of the body that it takes.
    pub(super) body: Option<&'static str>,
    /// Name of the schema of its answer.
    pub(super) answer: &'static str,
    /// Who answers.
    pub(super) routing: MethodRouter<ApiState>,
}

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    reads().into_iter().chain(changes()).collect()
}

/// Those that only tell.
fn reads() -> [Operation; 15] {
    [
        get(
            "/api/status",
            "Status",
            "Whether anything is wrong, and how fresh the data is",
            status::status,
        ),
        get(
            "/api/calibration",
            "Calibration",
            "What this instrument measures too much on this machine",
            calibration::calibration,
        ),
        get("/api/slos", "Slos", "Where every SLO stands", slos::slos),
        get(
            "/api/slos/{name}",
            "SloEvidence",
            "An SLO, and why it stands where it does",
            slos::slo,
        ),
        get("/api/probes", "Probes", "Every probe and its newest run", probes::probes),
        get(
            "/api/probes/{name}",
            "ProbeEvidence",
            "A probe, its latencies and its runs",
            probes::probe,
        ),
        get(
            "/api/probes/{name}/runs",
            "Runs",
            "The last runs of a probe, newest first",
            runs::runs,
        ),
        get("/api/runs/{id}", "RunEvidence", "A run, phase by phase, and how it counts", runs::run),
        get(
            "/api/phones",
            "Phones",
            "What phones report, by version, network and region",
            phones::phones,
        ),
        get("/api/alerts", "Alerts", "Alerts that fire or are frozen", alerts::alerts),
        get(
            "/api/incidents",
            "Incidents",
            "Incidents, also those that are over",
            incidents::incidents,
        ),
        get(
            "/api/incidents/{id}",
            "IncidentEvidence",
            "What happened, who was told",
            incidents::incident,
        ),
        get("/api/changes", "Changes", "What happened lately, newest first", changes::changes),
        get("/api/silences", "Silences", "Silences that are not over", silences::silences),
        get("/api/openapi.json", "Document", "This document", openapi::serve),
    ]
}

/// Those that change something.
fn changes() -> [Operation; 7] {
    let (reload, put) = ("/-/reload", MethodFilter::PUT);
    let (silence, delete) = ("/api/silences/{id}", MethodFilter::DELETE);
    let (acknowledge, test) = ("/api/incidents/{id}/acknowledge", "/api/receivers/{name}/test");
    [
        post(
            "/api/probes/{name}/run",
            "Ran",
            "Runs a probe now, beside its schedule, and waits for the result",
            probes::run_now,
        ),
        post(acknowledge, "Done", "Tells that somebody has an incident", alerts::acknowledge)
            .taking("Acknowledgement"),
        post("/api/silences", "SilenceMade", "Makes a silence", silences::create)
            .taking("SilenceRequest"),
        operation((delete, "delete"), silence, "Done", "Ends a silence", silences::end),
        post(test, "Done", "Sends a test message and waits for its answer", daemon::test_receiver),
        post(reload, "Done", "Reads the configuration anew", daemon::reload),
        operation((put, "put"), reload, "Done", "The same as POST", daemon::reload),
    ]
}

// === impl Operation ===

impl Operation {
    /// The same, with a body.
    fn taking(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }
}

fn get<T: 'static>(
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
    handler: impl Handler<T, ApiState>,
) -> Operation {
    operation((MethodFilter::GET, "get"), path, answer, summary, handler)
}

fn post<T: 'static>(
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
    handler: impl Handler<T, ApiState>,
) -> Operation {
    operation((MethodFilter::POST, "post"), path, answer, summary, handler)
}

fn operation<T: 'static>(
    (filter, method): (MethodFilter, &'static str),
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
    handler: impl Handler<T, ApiState>,
) -> Operation {
    Operation { method, path, summary, body: None, answer, routing: on(filter, handler) }
}
