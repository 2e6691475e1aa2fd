//! Probes, and everything that is known of one.

use super::receive::Named;
use super::runs::RUN;
use super::shape::{
    self, Shape, at, instant_or_null, list, number, refer, refer_or_null, text, text_or_null,
    texts, whole, whole_or_null,
};
use super::{missing, outcome, replied_list, reply};
use crate::alert::Core;
use crate::api::page::view::{CellState, HeatColumn, ProbePage, QuantilePoint, StripCell};
use crate::api::server::ApiState;
use crate::api::{past, views};
use crate::model::histogram::upper_bound;
use crate::model::probe::ProbeRun;
use crate::model::series::Past;
use crate::probe::maintenance::Window;
use axum::extract::State;
use axum::response::Response;

/// A probe in the list.
pub(in crate::api) struct Scheduled {
    name: String,
    schedule: String,
    maintenance: Option<Window>,
    instances: Option<(usize, Option<String>)>,
    last: Option<ProbeRun>,
}

/// A probe in the list.
pub(in crate::api) const PROBE: Shape<Scheduled> = Shape(&[
    ("name", text, "Its name", |probe| probe.name.as_str().into()),
    ("schedule", text, "An interval, or a cron expression", |probe| probe.schedule.as_str().into()),
    ("maintenance", text_or_null, "The maintenance that keeps it from running now", |probe| {
        probe.maintenance.as_ref().map(|window| window.name.as_str()).into()
    }),
    ("maintenance_until", instant_or_null, "When that ends", |probe| {
        at(probe.maintenance.as_ref().map(|window| window.until))
    }),
    (
        "instances",
        whole_or_null,
        "For how many targets or addresses it runs; null where it is not for several",
        |probe| probe.instances.as_ref().map(|(count, _)| *count).into(),
    ),
    ("targets_problem", text_or_null, "Why its targets cannot be found out now", |probe| {
        probe.instances.as_ref().and_then(|(_, problem)| problem.as_deref()).into()
    }),
    (
        "last",
        || refer_or_null("Run"),
        "Its newest run",
        |probe| probe.last.as_ref().map(|run| RUN.value(run)).into(),
    ),
]);

/// All that is known of a probe.
pub(in crate::api) const EVIDENCE: Shape<ProbePage> = Shape(&[
    ("name", text, "Its name", |page| page.probe.name.as_str().into()),
    ("schedule", text, "An interval, or a cron expression", |page| {
        page.probe.schedule.as_str().into()
    }),
    ("maintenance", text_or_null, "The maintenance that keeps it from running now", |page| {
        page.probe.maintenance.as_ref().map(|window| window.name.as_str()).into()
    }),
    ("maintenance_until", instant_or_null, "When that ends", |page| {
        at(page.probe.maintenance.as_ref().map(|window| window.until))
    }),
    ("protocol", text, "Protocols of its steps, joined by +", |page| {
        page.probe.protocol.as_str().into()
    }),
    ("target", text, "URL without credentials and query", |page| page.probe.target.as_str().into()),
    ("labels", shape::labels, "Its own labels", |page| shape::pairs(&page.probe.labels)),
    ("slos", texts, "Names of the SLOs that count it", |page| page.slos.as_slice().into()),
    ("p50_ns", whole_or_null, "Median of the last hour", |page| page.probe.p50_ns.into()),
    ("p95_ns", whole_or_null, "95th percentile of the last hour", |page| page.probe.p95_ns.into()),
    ("under_ns", whole_or_null, "The strictest threshold on it", |page| page.probe.under_ns.into()),
    ("cell_seconds", whole, "How much time a cell covers", |page| {
        page.probe.strip_step.as_secs().into()
    }),
    (
        "cells",
        || list(&CELL.schema()),
        "Its latest time in equal cells, up to now",
        |page| CELL.values(&page.probe.strip),
    ),
    ("span_seconds", whole, "How much time quantiles and histograms cover", |page| {
        page.span.as_secs().into()
    }),
    (
        "quantiles",
        || list(&QUANTILES.schema()),
        "In equal steps up to now",
        |page| QUANTILES.values(&page.quantiles),
    ),
    (
        "histograms",
        || list(&HISTOGRAM.schema()),
        "In equal steps up to now",
        |page| HISTOGRAM.values(&page.heatmap),
    ),
    ("runs", || list(&refer("Run")), "The last runs, newest first", |page| RUN.values(&page.runs)),
    (
        "failed",
        || list(&refer("Run")),
        "The last failed runs, newest first",
        |page| RUN.values(&page.failed),
    ),
]);

/// A run that was asked for.
pub(in crate::api) const RAN: Shape<ProbeRun> = Shape(&[
    ("ok", shape::flag, "Always true: it was carried out, whatever came of it", |_| true.into()),
    ("run", || refer("Run"), "The run", |run| RUN.value(run)),
]);

const CELL: Shape<StripCell> = Shape(&[
    (
        "state",
        || shape::one_of(["none", "good", "slow", "failed"]),
        "The worst in it",
        |cell| state_name(cell.state).into(),
    ),
    ("runs", whole, "Runs in it", |cell| cell.runs.into()),
    ("failed", whole, "Runs that failed", |cell| cell.failed.into()),
    ("slow", whole, "Runs over the strictest threshold", |cell| cell.slow.into()),
    ("missed", whole, "Slots that were not run through our own doing", |cell| cell.missed.into()),
]);

const QUANTILES: Shape<QuantilePoint> = Shape(&[
    ("p50_ns", whole_or_null, "Median", |point| point.p50_ns.into()),
    ("p95_ns", whole_or_null, "95th percentile", |point| point.p95_ns.into()),
]);

const HISTOGRAM: Shape<HeatColumn> = Shape(&[
    ("count", whole, "Runs with a value", |column| column.latencies.count.into()),
    ("failed", whole, "Runs that failed without one", |column| column.failed.into()),
    (
        "buckets",
        || list(&BUCKET.schema()),
        "Those that hold something",
        |column| BUCKET.values(column.latencies.buckets()),
    ),
]);

const BUCKET: Shape<(i16, u64)> = Shape(&[
    ("le_seconds", number, "Upper bound", |(index, _)| upper_bound(i32::from(*index)).into()),
    ("count", whole, "Values in it", |(_, count)| (*count).into()),
]);

/// `GET /api/probes`
pub(in crate::api) async fn probes(State(state): State<ApiState>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let core = state.core.read();
    let probes = around.schedules.into_iter().map(|(name, schedule)| {
        let evidence = core.store.evidence.probes.get(&name);
        let last = evidence.and_then(|kept| kept.runs.back()).map(|run| ProbeRun::clone(run));
        let maintenance = core.policy.rest_of(&name, now).window;
        let instances = around.instances.get(&name).cloned();
        PROBE.value(&Scheduled { name, schedule, maintenance, instances, last })
    });
    replied_list("probes", probes)
}

/// `GET /api/probes/{name}`
pub(in crate::api) async fn probe(State(state): State<ApiState>, Named(name): Named) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let unknown = format!("no probe `{name}` is configured");
    let fill = move |core: &Core, past: &dyn Past| views::probe(core, past, &around, &name, now);
    let view = past::view(&state, fill).await.flatten();
    view.map_or_else(|| missing(&unknown), |view| reply(EVIDENCE.value(&view)))
}

/// `POST /api/probes/{name}/run`
pub(in crate::api) async fn run_now(State(state): State<ApiState>, Named(name): Named) -> Response {
    match state.actions.run_probe(&name).await {
        Ok(run) => reply(RAN.value(&run)),
        Err(failed) => outcome(Err(failed)),
    }
}

fn state_name(state: CellState) -> &'static str {
    match state {
        CellState::NoData => "none",
        CellState::Good => "good",
        CellState::Slow => "slow",
        CellState::Failed => "failed",
    }
}
