//! The families of the domain: SLOs, alerts, probes, and what became of phones' items. One table of
//! names and meanings; the rest of this file fills it from the folded state.

use super::names;
use super::page::{Page, Title, Value};
use crate::alert::Core;
use crate::alert::budget::SloStatus;
use crate::base::clock::UnixNanos;
use crate::base::duration;
use crate::model::labels::Labels;
use crate::store::ledger::ItemOutcome;

macro_rules! titles {
    ($($(#[doc = $help:literal])+ $constant:ident = $name:literal;)+) => {
        $($(#[doc = $help])+
        pub const $constant: Title<'static> =
            Title { name: $name, help: trimmed(concat!($($help),+)) };)+
    };
}

titles! {
    /// Alerts that fire.
    ALERTS = "ALERTS";
    /// The share of events that must be good.
    SLO_OBJECTIVE = "radiosonde_slo_objective_ratio";
    /// The rolling window in which the objective must hold.
    SLO_WINDOW = "radiosonde_slo_window_seconds";
    /// The share of events that was good within the window; absent before the first event.
    SLO_ATTAINED = "radiosonde_slo_attained_ratio";
    /// The share left of the error budget: 1 untouched, 0 gone, negative overdrawn.
    SLO_REMAINING = "radiosonde_slo_error_budget_remaining_ratio";
    /// When the budget is gone at the present rate; absent when it does not shrink.
    SLO_EXHAUSTION = "radiosonde_slo_time_to_exhaustion_seconds";
    /// How many times faster the budget burns than it may, over each window of the burn policy; absent while
    /// a window holds no event.
    SLO_BURN = "radiosonde_slo_burn_rate";
    /// Owner and kind of each SLO, always 1.
    SLO_INFO = "radiosonde_slo_info";
    /// Events that the SLO counted, since its indicator was configured.
    SLO_EVENTS = "radiosonde_slo_events_total";
    /// Verdicts left out within five minutes because the measurement was too uncertain.
    SLO_UNCERTAIN = "radiosonde_slo_uncertain_verdicts";
    /// Items of phones by what became of them; received is the sum of the others.
    INGEST_ITEMS = "radiosonde_ingest_items_total";
    /// Items whose time lay more than ten minutes ahead, or was missing: booked at their receipt.
    INGEST_SKEWED = "radiosonde_ingest_skewed_items_total";
    /// Whether the last run of the probe succeeded.
    PROBE_UP = "radiosonde_probe_up";
    /// Unix time of the end of the probe's last run.
    PROBE_LAST_RUN = "radiosonde_probe_last_run_timestamp_seconds";
    /// Probe runs by outcome; missed ones did not take place through our own doing.
    PROBE_RUNS = "radiosonde_probe_runs_total";
    /// Time that probe runs took by phase; phase total is the measured value, and of a run that timed out
    /// what it took. Buckets at powers of two are exact; at the threshold of an SLO on a probe the count is
    /// exact since the SLO began, and off by one bucket of 9 % at most otherwise.
    PROBE_DURATION = "radiosonde_probe_duration_seconds";
    /// Spans of phones.
    SPAN_CALLS = "traces_span_metrics_calls_total";
    /// Time that spans of phones took. Buckets at powers of two are exact; at the threshold of an SLO the
    /// count is of those surely within it, too few by what one bucket of 9 % holds at most.
    SPAN_DURATION = "traces_span_metrics_duration_seconds";
    /// Log events of phones.
    EVENTS = "radiosonde_events_total";
    /// A metric of phones under its own name, added up since the series was first seen.
    FOREIGN = "";
}

/// Adds every family that does not come from the live head.
pub(super) fn add(page: &mut Page, core: &Core, now: UnixNanos) {
    for status in core.statuses(now) {
        add_slo(page, core, &status);
    }
    for incident in core.book.all_active() {
        let labels = incident.labels.with("alertstate", "firing");
        gauge(page, ALERTS, &labels, 1.0);
    }
    add_items(page, core);
    for (name, probe) in &core.store.evidence.probes {
        let Some(run) = probe.runs.back() else { continue };
        let labels = Labels::new([("probe", name.as_str())]);
        gauge(page, PROBE_UP, &labels, f64::from(u8::from(run.succeeded())));
        gauge(page, PROBE_LAST_RUN, &labels, run.ended().as_seconds());
    }
}

fn add_slo(page: &mut Page, core: &Core, status: &SloStatus) {
    let slo = &status.slo;
    let base = Labels::new([("slo", slo.name.as_str())]);
    gauge(page, SLO_OBJECTIVE, &base, slo.objective);
    gauge(page, SLO_WINDOW, &base, slo.window.as_secs_f64());
    gauge(page, SLO_UNCERTAIN, &base, status.uncertain as f64);
    if let Some(attained) = status.attained() {
        gauge(page, SLO_ATTAINED, &base, attained);
        gauge(page, SLO_REMAINING, &base, status.remaining);
    }
    if let Some(left) = status.exhausted_in() {
        gauge(page, SLO_EXHAUSTION, &base, left.as_secs_f64());
    }
    let mut windows: Vec<_> = status
        .pairs
        .iter()
        .flat_map(|pair| [(pair.pair.long, pair.long), (pair.pair.short, pair.short)])
        // Nothing came: absent, since 0 would read as healthy.
        .filter(|(_, status)| !status.counts.is_empty())
        .collect();
    // Pairs may share a window, which then has one burn rate.
    windows.sort_by_key(|(window, _)| *window);
    windows.dedup_by_key(|(window, _)| *window);
    for (window, status) in windows {
        gauge(page, SLO_BURN, &base.with("window", &duration::format(window)), status.burn);
    }
    let owner = slo.owner.as_deref().unwrap_or("");
    let info = base.with("owner", owner).with("kind", slo.indicator.kind());
    gauge(page, SLO_INFO, &info, 1.0);
    if let Some(counts) = core.store.counts.get(slo.indicator.id()) {
        for (outcome, count) in [("good", counts.all.good()), ("bad", counts.all.bad)] {
            counter(page, SLO_EVENTS, &base.with("outcome", outcome), count);
        }
    }
}

fn add_items(page: &mut Page, core: &Core) {
    for (app, signal, counts) in core.store.ledger.iter() {
        let base = Labels::new([("app", app), ("signal", signal)]);
        for outcome in ItemOutcome::ALL {
            let labels = base.with("outcome", outcome.as_str());
            counter(page, INGEST_ITEMS, &labels, counts.get(*outcome));
        }
        counter(page, INGEST_ITEMS, &base.with("outcome", "received"), counts.received());
    }
    counter(page, INGEST_SKEWED, &Labels::default(), core.folder.skewed);
}

fn gauge(page: &mut Page, title: Title<'_>, labels: &Labels, value: f64) {
    page.add(title, names::labels(labels), Value::Gauge(value));
}

fn counter(page: &mut Page, title: Title<'_>, labels: &Labels, count: u64) {
    page.add(title, names::labels(labels), Value::Counter(count as f64));
}

/// A doc comment without the space that follows its slashes.
const fn trimmed(text: &'static str) -> &'static str {
    text.trim_ascii()
}
