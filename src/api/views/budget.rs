//! An SLO's budget as the page shows it.

use super::series::Grid;
use crate::alert::Core;
use crate::alert::budget::{Data, PairStatus, SloStatus, WindowStatus, remaining_over_time};
use crate::api::page::view::{BudgetVerdict, BudgetView, BurnView, Exhaustion};
use crate::base::clock::UnixNanos;
use crate::base::duration::humane;
use crate::model::alert::{AlertKey, AlertState};
use crate::model::matcher::Where;
use crate::model::objective::{Indicator, Selector, Severity, Slo, Source};
use crate::model::slot::{Slot, slots_in};
use std::sync::Arc;
use std::time::Duration;

/// Points of the line over the window.
const LINE_POINTS: u32 = 48;

/// An SLO's status; none when nothing is counted for it.
pub(super) fn status(core: &Core, slo: &Arc<Slo>, now: UnixNanos) -> Option<SloStatus> {
    SloStatus::read(slo, &core.store.counts, &core.policy, now)
}

/// The budget of an SLO, with or without counts.
pub(super) fn view(core: &Core, slo: &Arc<Slo>, now: UnixNanos) -> BudgetView {
    let named = BudgetView {
        name: slo.name.clone(),
        owner: slo.owner.clone(),
        description: slo.description.clone(),
        indicator: in_words(&slo.indicator),
        objective: slo.objective,
        window: slo.window,
        ..BudgetView::default()
    };
    let Some(status) = status(core, slo, now) else { return named };
    let mut burn: Vec<BurnView> = status.pairs.iter().map(burn_view).collect();
    burn.sort_by_key(|pair| pair.long);
    let (line, line_span) = line(core, &status);
    BudgetView {
        counted_since: (status.since > now.minus(slo.window)).then_some(status.since),
        good: status.window.good(),
        total: status.window.total,
        left_out: status.uncertain,
        left: left(&status),
        line,
        line_span,
        burn,
        exhaustion: exhaustion(&status),
        verdict: verdict(core, &status),
        missing_since: match status.data {
            Data::Missing(since) => Some(since),
            Data::None | Data::Present => None,
        },
        ..named
    }
}

/// The share of the budget that is left; none without data.
pub(super) fn left(status: &SloStatus) -> Option<f64> {
    (!status.window.is_empty()).then_some(status.remaining)
}

/// When the budget will be gone.
pub(super) fn exhaustion(status: &SloStatus) -> Exhaustion {
    if status.window.is_empty() {
        return Exhaustion::Unknown;
    }
    match status.exhausted_in() {
        _ if status.remaining <= 0.0 => Exhaustion::Gone,
        Some(after) if after <= status.slo.window => Exhaustion::In(after),
        Some(_) | None => Exhaustion::Never,
    }
}

fn verdict(core: &Core, status: &SloStatus) -> BudgetVerdict {
    if status.window.is_empty() || status.data != Data::Present {
        return BudgetVerdict::NoData;
    }
    let fires = |severity: &&Severity| {
        let key = AlertKey { name: status.slo.name.clone(), severity: **severity };
        core.book.active(&key).is_some_and(|incident| incident.state == AlertState::Firing)
    };
    match Severity::ALL.iter().find(fires) {
        Some(severity) => BudgetVerdict::Burning(*severity),
        None if status.remaining <= 0.0 => BudgetVerdict::Exhausted,
        None => BudgetVerdict::Healthy,
    }
}

fn burn_view(status: &PairStatus) -> BurnView {
    let rate = |window: WindowStatus| (!window.counts.is_empty()).then_some(window.burn);
    BurnView {
        long: status.pair.long,
        short: status.pair.short,
        severity: status.pair.severity,
        budget: status.pair.budget,
        factor: status.factor,
        long_rate: rate(status.long),
        short_rate: rate(status.short),
        bad: status.long.counts.bad,
        total: status.long.counts.total,
        significant: status.significant,
        firing: status.fires(),
    }
}

/// What was left at the end of each of at most [`LINE_POINTS`] steps, the last as of now; and how
/// much time they cover: the window, or as much of it as was counted.
fn line(core: &Core, status: &SloStatus) -> (Vec<Option<f64>>, Duration) {
    let slo = &status.slo;
    let Some(indicator) = core.store.counts.get(slo.indicator.id()) else {
        return (Vec::new(), Duration::ZERO);
    };
    let to = indicator.now().plus(1);
    let age = to.0.saturating_sub(Slot::of(status.since).0);
    let grid = Grid::ending(to, slots_in(slo.window).min(age), LINE_POINTS);
    let first = grid.from.plus(grid.step.saturating_sub(1));
    let points = remaining_over_time(slo, indicator, first, to, grid.step);
    let mut line: Vec<Option<f64>> = points.into_iter().map(|(_, left)| Some(left)).collect();
    if let Some(last) = line.last_mut() {
        *last = left(status);
    }
    (line, grid.span())
}

/// What is counted: `latency of probe chat-echo under 100ms`.
fn in_words(indicator: &Indicator) -> String {
    match indicator {
        Indicator::Latency { source, filter, under_ns, phase } => {
            let phase = phase.map(|phase| format!("{} ", phase.as_str())).unwrap_or_default();
            let under = humane(Duration::from_nanos(*under_ns));
            format!("{phase}latency of {}{} under {under}", name(source), filtered(filter))
        }
        Indicator::Availability { source, filter } => {
            format!("availability of {}{}", name(source), filtered(filter))
        }
        Indicator::Ratio { bad, total } => {
            let select = |one: &Selector| format!("{}{}", name(&one.source), filtered(&one.filter));
            format!("ratio of {} to {}", select(bad), select(total))
        }
    }
}

fn name(source: &Source) -> String {
    match source {
        Source::Probe(name) => format!("probe {name}"),
        Source::Http { method, path } => format!("{method} {path}"),
        Source::Span(name) | Source::Event(name) => name.clone(),
    }
}

fn filtered(filter: &Where) -> String {
    let parts = filter.0.iter().map(|one| format!("{} {}", one.key, one.values.join(" or ")));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::new() } else { format!(" with {}", parts.join(", ")) }
}
