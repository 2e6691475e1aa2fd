//! Fills the home page: what is wrong, for whom, and what is left of the budgets.

use super::series::Reader;
use super::{Surroundings, budget, changes, firing, phones, probe};
use crate::alert::Core;
use crate::api::page::view::{Freshness, PageView, SourceFreshness};
use crate::api::page::{Headline, headline};
use crate::base::clock::UnixNanos;
use crate::model::series::Past;
use std::time::Duration;

/// Changes that the home page shows.
const CHANGES: usize = 20;
/// Phones are silent for longer than this only when something is wrong, or nobody is awake.
const PHONES_STALE_AFTER: Duration = Duration::from_secs(600);
/// Probes are never called stale before this.
const PROBES_STALE_AFTER: Duration = Duration::from_secs(60);

/// `/`. Every scheduled probe has its card, also before its first run.
#[must_use]
pub fn home(core: &Core, history: &dyn Past, around: &Surroundings, now: UnixNanos) -> PageView {
    let reader = Reader { core, history };
    let cards = around.schedules.iter();
    PageView {
        probes: cards.map(|(name, schedule)| probe::card(reader, name, schedule, now)).collect(),
        phones: phones::phones(core, now),
        changes: changes::newest(core, around, now, CHANGES),
        ..judged(core, around, now)
    }
}

/// The verdict of the home page and what it rests on, without the rest of that page.
#[must_use]
pub fn verdict(core: &Core, around: &Surroundings, now: UnixNanos) -> (Headline, Freshness) {
    let view = judged(core, around, now);
    (headline(&view), view.freshness)
}

/// Everything that goes into the verdict.
fn judged(core: &Core, around: &Surroundings, now: UnixNanos) -> PageView {
    PageView {
        now,
        version: around.version.clone(),
        readiness: around.readiness(),
        freshness: freshness(core, around, now),
        config_problem: around.config_problem.clone(),
        firing: firing::all(core, now),
        budgets: core.policy.slos.iter().map(|slo| budget::view(core, slo, now)).collect(),
        endpoints: around.endpoints.clone(),
        calibration: around.calibration.clone(),
        ..PageView::default()
    }
}

fn freshness(core: &Core, around: &Surroundings, now: UnixNanos) -> Freshness {
    let source = |name: &str, newest: Option<UnixNanos>, stale_after: Duration| SourceFreshness {
        name: name.to_owned(),
        newest,
        stale: newest.is_some_and(|newest| now.since(newest) > stale_after),
    };
    // The most frequent probe sets the pace of the newest run.
    let shortest = core.policy.probe_intervals.values().min().copied().unwrap_or_default();
    let stale_after = shortest.saturating_mul(3).max(PROBES_STALE_AFTER);
    let mut sources = Vec::new();
    if !around.schedules.is_empty() {
        sources.push(source("probes", core.newest.probes, stale_after));
    }
    if core.newest.phones.is_some() {
        sources.push(source("phones", core.newest.phones, PHONES_STALE_AFTER));
    }
    Freshness { evaluated_at: core.evaluated_at, sources, degraded: around.degraded.clone() }
}
