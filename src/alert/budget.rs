//! Where an SLO stands: attained, what is left of its budget, and how fast it burns.
//!
//! Burn rate = bad share ÷ budget share (SRE workbook, "Alerting on SLOs"). The part of a window
//! before the indicator's birth counts as expected traffic without a bad event, as it does in what is
//! left of the budget: a new SLO does not page on its first failure, and no pair fires before its
//! share of the budget is spent.

use super::binomial;
use super::policy::Policy;
use crate::base::clock::UnixNanos;
use crate::model::objective::{BurnPair, Slo};
use crate::model::slot::{GoodTotal, SLOT_SECONDS, Slot, slots_in};
use crate::store::counts::{COARSE_WIDTH, CountsBook, IndicatorCounts};
use std::sync::Arc;
use std::time::Duration;

/// An SLO at an instant.
#[derive(Clone, Debug)]
pub struct SloStatus {
    /// Which.
    pub slo: Arc<Slo>,
    /// Since when its indicator counts.
    pub since: UnixNanos,
    /// Good and total over its window.
    pub window: GoodTotal,
    /// The share left of the budget: 1 untouched, 0 gone, negative overdrawn.
    pub remaining: f64,
    /// Its pairs of windows.
    pub pairs: Vec<PairStatus>,
    /// Whether data comes.
    pub data: Data,
    /// Verdicts left out for uncertainty within five minutes.
    pub uncertain: u64,
}

/// A pair of windows at an instant.
#[derive(Clone, Copy, Debug)]
pub struct PairStatus {
    /// Which.
    pub pair: BurnPair,
    /// The burn rate at which it fires.
    pub factor: f64,
    /// The long window.
    pub long: WindowStatus,
    /// The short window.
    pub short: WindowStatus,
    /// Whether the long window's bad count is more than chance.
    pub significant: bool,
}

/// A window at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowStatus {
    /// Good and total.
    pub counts: GoodTotal,
    /// The burn rate; 0 when nothing came.
    pub burn: f64,
}

/// Whether an SLO's data comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing yet since the indicator was configured.
    None,
    /// It comes.
    Present,
    /// It came, and stopped after this instant.
    Missing(UnixNanos),
}

impl SloStatus {
    /// An SLO's status when windows end at the slot of `now`, to which the counts were advanced.
    #[must_use]
    pub fn read(
        slo: &Arc<Slo>,
        counts: &CountsBook,
        policy: &Policy,
        now: UnixNanos,
    ) -> Option<Self> {
        let indicator = counts.get(slo.indicator.id())?;
        let window = indicator.window(slo.window);
        let budget = slo.budget_ratio();
        let expected = window.total as f64 * unborn_scale(indicator, slo.window);
        let spent =
            if window.bad == 0 { 0.0 } else { window.bad as f64 / (budget * expected).max(1e-9) };
        Some(Self {
            slo: Arc::clone(slo),
            since: indicator.since.start(),
            window,
            remaining: 1.0 - spent,
            pairs: slo.burn.iter().map(|pair| pair_status(slo, indicator, *pair)).collect(),
            data: data_of(indicator, policy.missing_after(slo), now),
            uncertain: indicator.uncertain(indicator.now()),
        })
    }

    /// The share of good events over the window.
    #[must_use]
    pub fn attained(&self) -> Option<f64> {
        self.window.ratio()
    }

    /// Whether the objective is met; an empty window meets it.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.attained().is_none_or(|attained| attained >= self.slo.objective)
    }

    /// The pair that burns, the most urgent first.
    #[must_use]
    pub fn burning(&self) -> Option<&PairStatus> {
        self.pairs.iter().find(|pair| pair.holds())
    }

    /// When the budget will be gone at the present rate: that of the pair that burns, else of the
    /// first. None while it does not shrink.
    #[must_use]
    pub fn exhausted_in(&self) -> Option<Duration> {
        let burn = self.burning().or(self.pairs.first())?.long.burn;
        if self.remaining <= 0.0 {
            return Some(Duration::ZERO);
        }
        // At rate 1 a rolling window gives back as much as it takes.
        let seconds = self.remaining * self.slo.window.as_secs_f64() / burn;
        (burn > 1.0).then(|| Duration::from_secs_f64(seconds.min(3.15e9)))
    }
}

impl PairStatus {
    /// Whether both windows burn at or above the factor.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.long.burn >= self.factor && self.short.burn >= self.factor
    }

    /// Whether it burnt, and nothing came since that would tell whether it still does: an empty window
    /// is not a good one.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let nothing_new = self.short.counts.is_empty() && self.long.burn >= self.factor;
        self.long.counts.is_empty() || nothing_new
    }

    /// Whether it may fire: it holds, and not by chance.
    #[must_use]
    pub fn fires(&self) -> bool {
        self.holds() && self.significant
    }
}

fn pair_status(slo: &Slo, indicator: &IndicatorCounts, pair: BurnPair) -> PairStatus {
    let budget = slo.budget_ratio();
    let status = |window: Duration| {
        let counts = indicator.window(window);
        WindowStatus { counts, burn: burn(counts, budget, unborn_scale(indicator, window)) }
    };
    let long = status(pair.long);
    PairStatus {
        pair,
        factor: pair.factor(slo.window),
        long,
        short: status(pair.short),
        significant: binomial::is_significant(long.counts.bad, long.counts.total, budget),
    }
}

/// The burn rate of a window of which 1/`scale` was lived through; the rest had traffic and burnt
/// nothing. So a pair never fires before its share of the budget is really spent.
fn burn(counts: GoodTotal, budget: f64, scale: f64) -> f64 {
    counts.bad_ratio().map_or(0.0, |bad_ratio| bad_ratio / budget / scale)
}

/// The window's length by the part of it since the indicator's birth; at least 1.
fn unborn_scale(indicator: &IndicatorCounts, window: Duration) -> f64 {
    let age = f64::from(indicator.now().0.saturating_sub(indicator.since.0)) + 1.0;
    (f64::from(slots_in(window)) / age).max(1.0)
}

fn data_of(indicator: &IndicatorCounts, missing_after: Duration, now: UnixNanos) -> Data {
    match indicator.last {
        None => Data::None,
        Some(last) => {
            let end = UnixNanos::from_seconds(u64::from(last.0 + 1) * SLOT_SECONDS);
            if now.since(end) > missing_after { Data::Missing(end) } else { Data::Present }
        }
    }
}

/// What is left of the budget over time, a point every `step` slots: for the line on the page.
/// Below five minutes a point is exact, as far back as ten-second slots reach.
#[must_use]
pub fn remaining_over_time(
    slo: &Slo,
    indicator: &IndicatorCounts,
    from: Slot,
    to: Slot,
    step: u32,
) -> Vec<(Slot, f64)> {
    let window = slots_in(slo.window);
    let slots = if step < COARSE_WIDTH {
        indicator.fine(from.minus(window), to)
    } else {
        indicator.coarse(from.minus(window), to)
    };
    let (mut entering, mut leaving) = (slots.iter().peekable(), slots.iter().peekable());
    let mut sum = GoodTotal::default();
    let mut line = Vec::new();
    let mut at = from;
    while at < to {
        while let Some((_, counts)) = entering.next_if(|(slot, _)| *slot <= at) {
            sum.add(*counts);
        }
        while let Some((_, counts)) = leaving.next_if(|(slot, _)| slot.plus(window) <= at) {
            sum.remove(*counts);
        }
        let age = f64::from(at.0.saturating_sub(indicator.since.0)) + 1.0;
        let expected = sum.total as f64 * (f64::from(window) / age).max(1.0);
        let spent = if sum.bad == 0 {
            0.0
        } else {
            sum.bad as f64 / (slo.budget_ratio() * expected).max(1e-9)
        };
        if at >= indicator.since.align(step) {
            line.push((at, 1.0 - spent));
        }
        at = at.plus(step.max(1));
    }
    line
}
