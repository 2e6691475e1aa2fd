//! Alerting as a whole: what its rules do over weeks, without the rest of the daemon.

mod burning;
mod false_pages;
mod maintenance;

use crate::alert::evaluate::{Inputs, evaluate};
use crate::alert::{AlertBook, Policy};
use crate::base::clock::UnixNanos;
use crate::model::alert::Transition;
use crate::model::labels::Labels;
use crate::model::matcher::Where;
use crate::model::objective::{Indicator, IndicatorId, Slo, Source, workbook_pairs};
use crate::model::slot::{GoodTotal, Slot};
use crate::store::CountsBook;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// When every test begins: 2026-11-24T09:00:00Z.
const START: UnixNanos = UnixNanos(1_795_510_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// One SLO with the default burn policy, whose events are counted directly.
struct Bench {
    store: Store,
    policy: Policy,
    book: AlertBook,
    id: IndicatorId,
}

impl Bench {
    /// An SLO over 30 days on a probe that runs every so often.
    fn new(objective: f64, every: Duration, start: UnixNanos) -> Self {
        let window = DAY * 30;
        let source = Source::Probe("chat".to_owned());
        let slo = Arc::new(Slo {
            name: "chat-up".to_owned(),
            owner: None,
            description: None,
            runbook: None,
            objective,
            window,
            indicator: Indicator::Availability { source, filter: Where::default() },
            burn: workbook_pairs(window),
            absent_after: Duration::from_secs(300),
            labels: Labels::default(),
        });
        let id = slo.indicator.id();
        let mut store = Store::default();
        let new = store.counts.configure([&*slo], Slot::of(start));
        store.counts.complete(&new, &CountsBook::default());
        let probe_intervals = [("chat".to_owned(), every)].into();
        let policy = Policy { slos: vec![slo], probe_intervals, ..Policy::default() };
        Self { store, policy, book: AlertBook::default(), id }
    }

    /// One event.
    fn add(&mut self, at: UnixNanos, good: bool) {
        if let Some(counts) = self.store.counts.get_mut(self.id) {
            counts.add(Slot::of(at), GoodTotal::one(good));
        }
    }

    /// One evaluation, applied.
    fn evaluate(&mut self, now: UnixNanos) -> Vec<Transition> {
        self.store.counts.advance(Slot::of(now));
        let due = evaluate(Inputs {
            store: &self.store,
            policy: &self.policy,
            book: &self.book,
            conditions: &[],
            now,
            position: Default::default(),
        });
        due.iter().for_each(|transition| self.book.apply(transition));
        due
    }
}
