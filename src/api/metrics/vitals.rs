//! What the daemon's own metrics take from the folded state, set when somebody looks.

use crate::alert::Core;
use crate::base::clock::UnixNanos;
use crate::model::position::Lane;
use crate::telemetry::Telemetry;

/// Sets gauges and counters from the state at `now`. One caller at a time.
pub(super) fn publish(telemetry: &Telemetry, core: &Core, now: UnixNanos) {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    telemetry.series_live.set(count(core.store.head.len()));
    telemetry.streams_tracked.set(count(core.folder.streams.len()));
    telemetry.dedupe_items.set(count(core.folder.dedupe.len()));
    telemetry.dedupe_horizon_seconds.set(core.folder.dedupe.horizon(now).as_secs_f64());
    let evicted = &telemetry.streams_evicted_total;
    evicted.inc_by(core.folder.streams.evicted().saturating_sub(evicted.get()));
    let outbox = &core.book.outbox;
    telemetry.notify_outbox_notifications.set(count(outbox.pending().len()));
    let oldest = outbox.pending().map(|notification| notification.created_at).min();
    let age = oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
    telemetry.notify_outbox_oldest_seconds.set(age);
    begin_at_zero(telemetry);
}

/// A rate needs a value before the first event, so series of closed sets are there from the start.
fn begin_at_zero(telemetry: &Telemetry) {
    for lane in [Lane::Control, Lane::Bulk] {
        let label = &[lane.as_str()];
        let _ = telemetry.fold_records_total.with_label_values(label);
        let _ = telemetry.fold_unreadable_total.with_label_values(label);
        let _ = telemetry.fold_lag_seconds.with_label_values(label);
    }
    for outcome in ["success", "failure"] {
        let _ = telemetry.checkpoints_total.with_label_values(&[outcome]);
    }
}
