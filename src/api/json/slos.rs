//! SLOs: where they stand, and the evidence for it.

use super::alerts::FACTOR;
use super::phones::MATRIX;
use super::receive::Named;
use super::runs::RUN;
use super::shape::{
    self, Shape, at, flag, instant, instant_or_null, list, number, number_or_null, refer, severity,
    text, text_or_null, whole, whole_or_null,
};
use super::{missing, replied_list, reply};
use crate::alert::budget::{PairStatus, SloStatus};
use crate::api::page::view::{BudgetVerdict, IncidentRow, LateRow, SloPage};
use crate::api::server::ApiState;
use crate::api::views;
use crate::base::duration;
use crate::model::evidence::SpanEvidence;
use crate::model::objective::Severity;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

/// Where an SLO stands.
pub(in crate::api) const SLO: Shape<SloStatus> = Shape(&[
    ("name", text, "Its name", |slo| slo.slo.name.as_str().into()),
    ("owner", text_or_null, "Who answers for it", |slo| slo.slo.owner.as_deref().into()),
    ("kind", kinds, "What is counted", |slo| slo.slo.indicator.kind().into()),
    ("objective", number, "The share of events that must be good", |slo| slo.slo.objective.into()),
    ("window", text, "The rolling window, 30d", |slo| duration::format(slo.slo.window).into()),
    ("since", instant, "When counting began", |slo| slo.since.to_rfc3339().into()),
    ("good", whole, "Good events in the window", |slo| slo.window.good().into()),
    ("bad", whole, "Bad events in the window", |slo| slo.window.bad.into()),
    ("total", whole, "All events in the window", |slo| slo.window.total.into()),
    ("attained", number_or_null, "The share of good events", |slo| slo.attained().into()),
    ("met", flag, "Whether the objective is met; nothing counted meets it", |slo| {
        slo.is_met().into()
    }),
    ("budget_remaining", number, "1 untouched, 0 gone, below 0 overspent", |slo| {
        slo.remaining.into()
    }),
    ("exhausted_in_seconds", whole_or_null, "At the present rate; null while it lasts", |slo| {
        slo.exhausted_in().map(|left| left.as_secs()).into()
    }),
    (
        "burn",
        || list(&PAIR.schema()),
        "The burn policy and where it stands",
        |slo| PAIR.values(&slo.pairs),
    ),
]);

const PAIR: Shape<PairStatus> = Shape(&[
    ("pair", text, "Long and short window, 1h/5m", |pair| pair.pair.name().into()),
    ("severity", severity, "What it raises", |pair| pair.pair.severity.as_str().into()),
    ("factor", number, "The burn rate at which it fires", |pair| pair.factor.into()),
    ("long_burn_rate", number, "1 spends the budget in exactly the window", |pair| {
        pair.long.burn.into()
    }),
    ("short_burn_rate", number, "The same in the short window", |pair| pair.short.burn.into()),
    ("significant", flag, "Whether the bad events are more than chance", |pair| {
        pair.significant.into()
    }),
    ("holds", flag, "Whether both windows are at or above the factor", |pair| pair.holds().into()),
]);

/// An SLO and why it stands where it does.
pub(in crate::api) struct Examined {
    status: SloStatus,
    page: SloPage,
}

/// An SLO and why it stands where it does.
pub(in crate::api) const EVIDENCE: Shape<Examined> = Shape(&[
    ("slo", || refer("Slo"), "Where it stands", |one| SLO.value(&one.status)),
    ("verdict", verdicts, "How it stands, in a word", |one| {
        verdict(one.page.budget.verdict).into()
    }),
    ("description", text_or_null, "Words for people", |one| {
        one.page.budget.description.as_deref().into()
    }),
    ("runbook", text_or_null, "Where to read what to do", |one| one.page.runbook.as_deref().into()),
    ("indicator", text, "What is counted, in words", |one| {
        one.page.budget.indicator.as_str().into()
    }),
    ("indicator_id", text, "Hash of what is counted", |one| one.page.indicator_id.as_str().into()),
    ("probe", text_or_null, "The probe that is counted", |one| one.page.probe.as_deref().into()),
    ("missing_since", instant_or_null, "Since when data is missing", |one| {
        at(one.page.budget.missing_since)
    }),
    ("left_out", whole, "Runs left out lately as too uncertain", |one| {
        one.page.budget.left_out.into()
    }),
    (
        "budget_line",
        || list(&number_or_null()),
        "What was left, in equal steps up to now",
        |one| one.page.budget.line.as_slice().into(),
    ),
    ("budget_line_seconds", whole, "How much time budget_line covers", |one| {
        one.page.budget.line_span.as_secs().into()
    }),
    ("explanation", text_or_null, "What explains the bad events", |one| {
        one.page.explanation.as_deref().into()
    }),
    (
        "factors",
        || list(&refer("Factor")),
        "The traffic behind it",
        |one| FACTOR.values(&one.page.factors),
    ),
    ("matrices_seconds", whole, "Over how much time matrices count", |one| {
        one.page.matrices_over.as_secs().into()
    }),
    (
        "matrices",
        || list(&refer("Matrix")),
        "By two dimensions, of SLOs on phones",
        |one| MATRIX.values(&one.page.matrices),
    ),
    (
        "spans",
        || list(&SPAN.schema()),
        "The worst spans, newest first",
        |one| SPAN.values(&one.page.spans),
    ),
    ("runs", || list(&refer("Run")), "Bad runs, newest first", |one| RUN.values(&one.page.runs)),
    (
        "incidents",
        || list(&INCIDENT.schema()),
        "Newest first",
        |one| INCIDENT.values(&one.page.incidents),
    ),
    (
        "late",
        || list(&LATE.schema()),
        "What late data changed, newest first",
        |one| LATE.values(&one.page.late),
    ),
]);

const SPAN: Shape<SpanEvidence> = Shape(&[
    ("trace_id", text, "32 hex digits; empty when it had none", |span| {
        span.trace_id.as_str().into()
    }),
    ("span_id", text, "16 hex digits; empty when it had none", |span| span.span_id.as_str().into()),
    ("name", text, "Its name", |span| span.name.as_str().into()),
    ("at", instant, "When it happened", |span| span.at.to_rfc3339().into()),
    ("duration_ns", whole, "How long it took", |span| span.duration_ns.into()),
    ("failed", flag, "Whether it failed", |span| span.failed.into()),
    ("attributes", shape::labels, "As journaled, resource included", |span| {
        shape::pairs(&span.attributes)
    }),
]);

const INCIDENT: Shape<IncidentRow> = Shape(&[
    ("id", text, "Its id", |row| row.id.as_str().into()),
    ("severity", severity, "Page or ticket", |row| row.severity.as_str().into()),
    ("started_at", instant, "When it began", |row| row.started_at.to_rfc3339().into()),
    ("ended_at", instant_or_null, "When it was over", |row| at(row.ended_at)),
    ("summary", text, "What it said", |row| row.summary.as_str().into()),
]);

const LATE: Shape<LateRow> = Shape(&[
    ("received_at", instant, "The hour in which it came", |row| row.at.to_rfc3339().into()),
    ("oldest", instant, "The hour that it changed", |row| row.oldest.to_rfc3339().into()),
    ("total", whole, "Events that came", |row| row.total.into()),
    ("bad", whole, "Bad ones among them", |row| row.bad.into()),
]);

/// `GET /api/slos`
pub(in crate::api) async fn slos(State(state): State<ApiState>) -> Response {
    let statuses = state.core.read().statuses(state.clock.now());
    replied_list("slos", statuses.iter().map(|status| SLO.value(status)))
}

/// `GET /api/slos/{name}`
pub(in crate::api) async fn slo(State(state): State<ApiState>, Named(name): Named) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let core = state.core.read();
    let status = core.statuses(now).into_iter().find(|status| status.slo.name == name);
    let page = views::slo(&core, &around, &name, now);
    status.zip(page).map_or_else(
        || missing(&format!("no SLO `{name}` is configured")),
        |(status, page)| reply(EVIDENCE.value(&Examined { status, page })),
    )
}

fn kinds() -> Value {
    shape::one_of(["latency", "availability", "ratio"])
}

fn verdicts() -> Value {
    shape::one_of(["healthy", "burning", "paging", "exhausted", "no_data"])
}

fn verdict(verdict: BudgetVerdict) -> &'static str {
    match verdict {
        BudgetVerdict::Healthy => "healthy",
        BudgetVerdict::Burning(Severity::Ticket) => "burning",
        BudgetVerdict::Burning(Severity::Page) => "paging",
        BudgetVerdict::Exhausted => "exhausted",
        BudgetVerdict::NoData => "no_data",
    }
}
