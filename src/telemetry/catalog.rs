//! Every metric about the daemon itself, in one table. Metrics of the domain (probe runs, SLOs,
//! phones) are rendered by `api/` from the read models instead.
//!
//! Names: `radiosonde_` + subsystem + what + unit. Labels come from closed sets or configuration,
//! never from what phones send.

use super::process::ProcessCollector;
use super::readings::Readings;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};
use std::sync::Arc;

/// Buckets for what takes from a hundred microseconds to some seconds, and up to an hour where a
/// receiver cannot be reached.
const LATENCY_BUCKETS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0, 300.0, 3_600.0,
];

macro_rules! catalog {
    ($( $(#[doc = $help:literal])+ $field:ident: $type:ident = $name:literal $([$($label:literal),+])? ),+ $(,)?) => {
        /// The daemon's own metrics, registered and ready to be moved. Clones share them.
        #[derive(Clone, Debug)]
        pub struct Telemetry {
            registry: Registry,
            readings: Arc<Readings>,
            $( $(#[doc = $help])+ pub $field: $type, )+
        }

        /// Names, help texts and labels of every metric in the catalogue.
        pub const CATALOG: &[(&str, &str, &[&str])] =
            &[$(($name, concat!($($help),+), &[$($($label),+)?])),+];

        impl Telemetry {
            /// Registers every metric of the catalogue.
            #[must_use]
            pub fn new() -> Self {
                let registry = Registry::new();
                $( let $field = <$type as Metric>::build(
                    &registry, $name, concat!($($help),+), &[$($($label),+)?]); )+
                let process = registry.register(Box::new(ProcessCollector::new()));
                process.expect("the process's metrics are registered once, here");
                Self { registry, readings: Arc::default(), $($field),+ }
            }
        }
    };
}

catalog! {
    /// Version of the daemon, always 1.
    build_info: IntGaugeVec = "radiosonde_build_info" ["version"],
    /// Unix time at which the daemon started.
    start_time_seconds: Gauge = "radiosonde_start_time_seconds",
    /// Whether the configuration as it was read last came into force.
    config_last_reload_successful: IntGauge = "radiosonde_config_last_reload_successful",
    /// Unix time at which the configuration in force was read.
    config_last_reload_success_timestamp_seconds: Gauge = "radiosonde_config_last_reload_success_timestamp_seconds",
    /// The configuration in force by the hash of its meaning, always 1.
    config_info: IntGaugeVec = "radiosonde_config_info" ["revision"],
    /// Requests at the OTLP front door by transport, signal and answer.
    ingest_requests_total: IntCounterVec = "radiosonde_ingest_requests_total" ["transport", "signal", "code"],
    /// Bytes of OTLP requests as received, still compressed.
    ingest_received_bytes_total: IntCounterVec = "radiosonde_ingest_received_bytes_total" ["transport"],
    /// Bytes of OTLP requests admitted and not yet answered.
    ingest_inflight_bytes: IntGauge = "radiosonde_ingest_inflight_bytes",
    /// Bytes of inflated OTLP requests that are being worked on.
    ingest_inflated_bytes: IntGauge = "radiosonde_ingest_inflated_bytes",
    /// Bytes that requests may take together before further ones wait, as received and inflated.
    ingest_budget_bytes: IntGaugeVec = "radiosonde_ingest_budget_bytes" ["budget"],
    /// From the whole request received to its durable acknowledgement.
    ingest_ack_duration_seconds: HistogramVec = "radiosonde_ingest_ack_duration_seconds" ["transport"],
    /// Attributes removed before the journal because the allow-list does not name them.
    ingest_redacted_attributes_total: IntCounter = "radiosonde_ingest_redacted_attributes_total",
    /// Bytes appended to the journal.
    journal_appended_bytes_total: IntCounterVec = "radiosonde_journal_appended_bytes_total" ["lane"],
    /// Records appended to the journal.
    journal_appended_records_total: IntCounterVec = "radiosonde_journal_appended_records_total" ["lane"],
    /// One group commit: write and fdatasync.
    journal_commit_duration_seconds: HistogramVec = "radiosonde_journal_commit_duration_seconds" ["lane"],
    /// Bytes that the journal takes on disk.
    journal_disk_bytes: IntGaugeVec = "radiosonde_journal_disk_bytes" ["lane"],
    /// Bytes of unacknowledged writes that were cut away when the journal was opened.
    journal_torn_bytes_total: IntCounterVec = "radiosonde_journal_torn_bytes_total" ["lane"],
    /// Bytes of segments that went although no checkpoint held them, because the lane outgrew its limit.
    journal_dropped_bytes_total: IntCounterVec = "radiosonde_journal_dropped_bytes_total" ["lane"],
    /// Records that wait for their commit or for the fold.
    journal_queue_records: IntGaugeVec = "radiosonde_journal_queue_records" ["lane"],
    /// Bytes of the records that wait for their commit or for the fold.
    journal_queue_bytes: IntGaugeVec = "radiosonde_journal_queue_bytes" ["lane"],
    /// Whether a lane refuses writes after a failed one.
    journal_poisoned: IntGaugeVec = "radiosonde_journal_poisoned" ["lane"],
    /// Records folded into series and counts.
    fold_records_total: IntCounterVec = "radiosonde_fold_records_total" ["lane"],
    /// Age of the record being folded.
    fold_lag_seconds: GaugeVec = "radiosonde_fold_lag_seconds" ["lane"],
    /// Records that could not be read and were passed over.
    fold_unreadable_total: IntCounterVec = "radiosonde_fold_unreadable_total" ["lane"],
    /// Series in the live head.
    series_live: IntGauge = "radiosonde_series_live",
    /// Cumulative streams that are tracked.
    streams_tracked: IntGauge = "radiosonde_streams_tracked",
    /// Cumulative streams that were forgotten because they were idle or too many.
    streams_evicted_total: IntCounter = "radiosonde_streams_evicted_total",
    /// Items within which duplicates are recognised exactly.
    dedupe_items: IntGauge = "radiosonde_dedupe_items",
    /// How far back duplicates are recognised at present.
    dedupe_horizon_seconds: Gauge = "radiosonde_dedupe_horizon_seconds",
    /// One checkpoint: history blocks, state, fsync, rename.
    checkpoint_duration_seconds: Histogram = "radiosonde_checkpoint_duration_seconds",
    /// Size of the last checkpoint.
    checkpoint_bytes: IntGauge = "radiosonde_checkpoint_bytes",
    /// Unix time of the state in the last checkpoint.
    checkpoint_last_success_timestamp_seconds: Gauge = "radiosonde_checkpoint_last_success_timestamp_seconds",
    /// Checkpoints by result.
    checkpoints_total: IntCounterVec = "radiosonde_checkpoints_total" ["outcome"],
    /// Bytes that history takes on disk.
    history_disk_bytes: IntGauge = "radiosonde_history_disk_bytes",
    /// Windows of history, each a database of its own.
    history_windows: IntGauge = "radiosonde_history_windows",
    /// Windows of history that were found damaged since the start and set aside: each is a gap.
    history_windows_set_aside: IntGauge = "radiosonde_history_windows_set_aside",
    /// Time spanned by the windows of history that were set aside since the start.
    history_gap_seconds: Gauge = "radiosonde_history_gap_seconds",
    /// Windows of history that retention dropped.
    history_windows_dropped_total: IntCounter = "radiosonde_history_windows_dropped_total",
    /// Blocks written to history.
    history_blocks_total: IntCounterVec = "radiosonde_history_blocks_total" ["tier"],
    /// Blocks that came for a time which retention had dropped already.
    history_blocks_expired_total: IntCounter = "radiosonde_history_blocks_expired_total",
    /// Reads of history that failed.
    history_read_failures_total: IntCounter = "radiosonde_history_read_failures_total",
    /// One evaluation of all SLOs.
    evaluation_duration_seconds: Histogram = "radiosonde_evaluation_duration_seconds",
    /// How late probe runs start against their schedule.
    probe_start_lateness_seconds: Histogram = "radiosonde_probe_start_lateness_seconds",
    /// Longest stall of the probe runtime in the last ten seconds.
    probe_runtime_stall_seconds: Gauge = "radiosonde_probe_runtime_stall_seconds",
    /// What latencies measured on this machine are too large by, at the last calibration: of probes, and of a
    /// bare client that does nothing else.
    calibration_error_seconds: GaugeVec = "radiosonde_calibration_error_seconds" ["protocol", "client", "quantile"],
    /// Unix time of the last calibration.
    calibration_last_success_timestamp_seconds: Gauge = "radiosonde_calibration_last_success_timestamp_seconds",
    /// Probe runs dropped because nobody took the result.
    probe_results_dropped_total: IntCounter = "radiosonde_probe_results_dropped_total",
    /// Announcements of probe runs that were not kept: after a kill nothing cleans up behind those runs.
    probe_intents_dropped_total: IntCounter = "radiosonde_probe_intents_dropped_total",
    /// Probe runs that were not run because they would have broken a limit, by entry and cap.
    probe_limited_runs_total: IntCounterVec = "radiosonde_probe_limited_runs_total" ["target", "cap"],
    /// Slots of probes that were not run because of maintenance, by its name.
    probe_maintenance_slots_total: IntCounterVec = "radiosonde_probe_maintenance_slots_total" ["maintenance"],
    /// Targets or addresses for which a probe has an instance now.
    probe_targets: IntGaugeVec = "radiosonde_probe_targets" ["probe"],
    /// Targets that are listed for a probe and left out, because it has too many.
    probe_targets_dropped: IntGaugeVec = "radiosonde_probe_targets_dropped" ["probe"],
    /// Failed attempts to find the targets of a probe out, by how that is done; those known before stay.
    probe_discovery_failures_total: IntCounterVec = "radiosonde_probe_discovery_failures_total" ["probe", "kind"],
    /// Messages of probes that waited because of a limit.
    probe_throttled_messages_total: IntCounter = "radiosonde_probe_throttled_messages_total",
    /// Requests for a probe by a module that does not exist.
    blackbox_module_unknown_total: IntCounter = "blackbox_module_unknown_total",
    /// Requests for a probe that were refused: too many at once, or an address that is not allowed.
    blackbox_refused_total: IntCounterVec = "radiosonde_blackbox_refused_total" ["reason"],
    /// Attempts to deliver notifications by result.
    notify_attempts_total: IntCounterVec = "radiosonde_notify_attempts_total" ["receiver", "outcome"],
    /// Notifications that are decided and not yet delivered, refused or given up.
    notify_outbox_notifications: IntGauge = "radiosonde_notify_outbox_notifications",
    /// Age of the oldest notification in the outbox; 0 when there is none.
    notify_outbox_oldest_seconds: Gauge = "radiosonde_notify_outbox_oldest_seconds",
    /// From the decision to the receiver's answer.
    notify_delivery_duration_seconds: HistogramVec = "radiosonde_notify_delivery_duration_seconds" ["receiver"],
    /// OTLP requests that we sent ourselves, by result.
    export_requests_total: IntCounterVec = "radiosonde_export_requests_total" ["outcome"],
    /// Probe traces dropped because the collector did not keep up.
    export_dropped_total: IntCounter = "radiosonde_export_dropped_total",
    /// Jumps of the wall clock, suspends among them.
    clock_jumps_total: IntCounter = "radiosonde_clock_jumps_total",
    /// HTTP requests of page and API by route and status.
    api_requests_total: IntCounterVec = "radiosonde_api_requests_total" ["route", "code"],
    /// Series left out of this page: there are too many, or another metric has their name.
    metrics_omitted_series: IntGaugeVec = "radiosonde_metrics_omitted_series" ["reason"],
}

impl Telemetry {
    /// The current values of every metric that was used, after every reading was taken. A time that
    /// was never set is left out.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.gather_after(|_| ())
    }

    /// [`Telemetry::gather`] after `refresh` has set what only the caller knows. One caller at a time.
    #[must_use]
    pub fn gather_after(&self, refresh: impl FnOnce(&Self)) -> Vec<MetricFamily> {
        let _alone = self.readings.take();
        refresh(self);
        let mut families = self.registry.gather();
        families.retain(|family| !is_unset_time(family));
        families
    }

    /// Leaves a reading that is taken before metrics are gathered: it sets gauges from their source,
    /// and says false when the source is gone.
    pub fn on_gather(&self, reading: impl Fn() -> bool + Send + Sync + 'static) {
        self.readings.add(reading);
    }

    /// A configuration of this revision came into force.
    pub fn configured(&self, revision: u64, at_seconds: f64) {
        self.config_last_reload_successful.set(1);
        self.config_last_reload_success_timestamp_seconds.set(at_seconds);
        self.config_info.reset();
        self.config_info.with_label_values(&[format!("{revision:016x}")]).set(1);
    }
}

/// Whether a family is a time that nobody has set: 1970 would be taken for one.
fn is_unset_time(family: &MetricFamily) -> bool {
    family.name().ends_with("_timestamp_seconds")
        && family.get_metric().iter().all(|metric| metric.get_gauge().get_value() == 0.0)
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// A metric type that the catalogue can build and register.
trait Metric: Sized + Clone + prometheus::core::Collector + 'static {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self>;

    fn build(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let metric = Self::make(name, help.trim(), labels)
            .and_then(|metric| registry.register(Box::new(metric.clone())).map(|()| metric));
        metric.expect("names in the catalogue are constants, valid and unique: a test builds it")
    }
}

macro_rules! plain {
    ($($type:ident),+) => { $(impl Metric for $type {
        fn make(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
            Self::with_opts(Opts::new(name, help))
        }
    })+ };
}
macro_rules! labelled {
    ($($type:ident),+) => { $(impl Metric for $type {
        fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
            Self::new(Opts::new(name, help), labels)
        }
    })+ };
}
plain!(Gauge, IntGauge, IntCounter);
labelled!(GaugeVec, IntGaugeVec, IntCounterVec);

impl Metric for Histogram {
    fn make(name: &str, help: &str, _: &[&str]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()))
    }
}

impl Metric for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec()), labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the catalogue builds: names valid, none twice, each with a help text.
    #[test]
    fn the_catalogue_builds() {
        let telemetry = Telemetry::new();
        telemetry.start_time_seconds.set(1.0);
        let names: Vec<_> = telemetry.gather().iter().map(|f| f.name().to_owned()).collect();
        assert!(names.iter().any(|name| name == "radiosonde_start_time_seconds"));
        assert!(!names.iter().any(|name| name.ends_with("_timestamp_seconds")), "{names:?}");
        telemetry.configured(0xab, 5.0);
        telemetry.configured(0xcd, 6.0);
        let info = telemetry.gather().into_iter().find(|f| f.name() == "radiosonde_config_info");
        assert_eq!(info.map(|family| family.get_metric().len()), Some(1));
        assert!(CATALOG.iter().all(|(name, help, _)| !name.is_empty() && help.ends_with('.')));
    }
}
