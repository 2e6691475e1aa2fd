//! Fills the page's views from the folded state. Pure: what is read is passed in.

mod budgets;
mod incidents;
mod phones;
mod probes;

use super::page::view::{
    ChangeKind, ChangeView, ChangesPage, ConfigProblem, Endpoints, Freshness, IncidentView,
    PageView, ProbePage, Readiness, RunView, SloPage, SourceFreshness,
};
use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::alert::AlertState;
use crate::model::probe::RunId;
use crate::model::series::History;
use std::collections::BTreeMap;

/// Changes on a page at most.
const MAX_CHANGES: usize = 100;
/// Probes are stale when none ran for this long.
const STALE_SECONDS: u64 = 120;

/// What pages show beside the folded state.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Version of the daemon.
    pub version: String,
    /// The share of the journal that is replayed, while it is being replayed.
    pub replaying: Option<f64>,
    /// Why the daemon is not well.
    pub degraded: Option<String>,
    /// The configuration on disk was refused.
    pub config_problem: Option<ConfigProblem>,
    /// Reloads and refusals, the newest last.
    pub reloads: Vec<ChangeView>,
    /// Where phones send to.
    pub endpoints: Endpoints,
    /// Every probe with its schedule in words.
    pub schedules: BTreeMap<String, String>,
    /// When the daemon started.
    pub started_at: UnixNanos,
}

/// `/`
#[must_use]
pub fn home(core: &Core, history: &dyn History, around: &Surroundings, now: UnixNanos) -> PageView {
    PageView {
        now,
        version: around.version.clone(),
        readiness: readiness(around),
        freshness: freshness(core, around, now),
        config_problem: around.config_problem.clone(),
        firing: incidents::firing(core, now),
        budgets: core
            .statuses(now)
            .iter()
            .map(|status| budgets::budget(core, status, now))
            .collect(),
        probes: around
            .schedules
            .keys()
            .map(|name| probes::view(core, history, around, name, now))
            .collect(),
        phones: phones::all(core, now),
        changes: all_changes(core, around).into_iter().take(12).collect(),
        endpoints: around.endpoints.clone(),
    }
}

/// `/probes/{name}`
#[must_use]
pub fn probe(
    core: &Core,
    history: &dyn History,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> Option<ProbePage> {
    around.schedules.contains_key(name).then(|| probes::page(core, history, around, name, now))
}

/// `/runs/{id}`
#[must_use]
pub fn run(core: &Core, around: &Surroundings, id: RunId, now: UnixNanos) -> Option<RunView> {
    probes::run(core, around, id, now)
}

/// `/slos/{name}`
#[must_use]
pub fn slo(
    core: &Core,
    _history: &dyn History,
    around: &Surroundings,
    name: &str,
    now: UnixNanos,
) -> Option<SloPage> {
    budgets::page(core, around, name, now)
}

/// `/incidents/{id}`
#[must_use]
pub fn incident(
    core: &Core,
    around: &Surroundings,
    id: &str,
    now: UnixNanos,
) -> Option<IncidentView> {
    incidents::page(core, around, id, now)
}

/// `/changes`
#[must_use]
pub fn changes(core: &Core, around: &Surroundings, now: UnixNanos) -> ChangesPage {
    let changes = all_changes(core, around);
    ChangesPage { now, version: around.version.clone(), changes }
}

fn readiness(around: &Surroundings) -> Readiness {
    around.replaying.map_or(Readiness::Ready, |done| Readiness::Replaying { done })
}

fn freshness(core: &Core, around: &Surroundings, now: UnixNanos) -> Freshness {
    let source = |name: &str, newest: Option<UnixNanos>| SourceFreshness {
        name: name.to_owned(),
        newest,
        stale: newest.is_some_and(|at| now.since(at).as_secs() > STALE_SECONDS),
    };
    let mut sources = vec![source("probes", core.newest.probes)];
    if core.newest.phones.is_some() {
        sources.push(source("phones", core.newest.phones));
    }
    Freshness { evaluated_at: core.evaluated_at, sources, degraded: around.degraded.clone() }
}

/// What happened, newest first.
fn all_changes(core: &Core, around: &Surroundings) -> Vec<ChangeView> {
    let alerts = core.book.changes().map(|change| ChangeView {
        at: change.at,
        kind: match change.to {
            AlertState::Firing => ChangeKind::Fired,
            AlertState::Frozen => ChangeKind::Frozen,
            AlertState::Resolved => ChangeKind::Resolved,
        },
        text: format!("{} ({}): {}", change.key.name, change.key.severity.as_str(), change.summary),
        link: Some(format!("/incidents/{}", change.incident)),
    });
    let releases = core.store.late.releases().map(|(app, version, at)| ChangeView {
        at,
        kind: ChangeKind::Release,
        text: format!("{app} {version} seen for the first time"),
        link: None,
    });
    let late = core.store.late.iter().map(|(key, counts)| ChangeView {
        at: key.received_hour.start(),
        kind: ChangeKind::LateData,
        text: format!(
            "{} late events, {} of them bad, counted into {}",
            counts.total,
            counts.bad,
            key.event_hour.start().to_rfc3339()
        ),
        link: None,
    });
    let started = ChangeView {
        at: around.started_at,
        kind: ChangeKind::Started,
        text: format!("radiosonde {} started", around.version),
        link: None,
    };
    let mut all: Vec<ChangeView> = alerts
        .chain(releases)
        .chain(late)
        .chain(around.reloads.iter().cloned())
        .chain([started])
        .collect();
    all.sort_by_key(|change| std::cmp::Reverse(change.at));
    all.truncate(MAX_CHANGES);
    all
}
