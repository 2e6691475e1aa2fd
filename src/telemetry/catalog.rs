//! Every metric about the daemon itself, in one table. Metrics of the domain (probe runs, SLOs,
//! phones) are rendered by `api/` from the read models instead.
//!
//! Names: `radiosonde_` + subsystem + what + unit. Labels come from closed sets or configuration,
//! never from what phones send.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Buckets for what takes from a hundred microseconds to some seconds.
const LATENCY_BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

macro_rules! catalog {
    ($( $(#[doc = $help:literal])+ $field:ident: $type:ident = $name:literal $([$($label:literal),+])? ),+ $(,)?) => {
        /// The daemon's own metrics, registered and ready to be moved. Clones share them.
        #[derive(Clone, Debug)]
        pub struct Telemetry {
            registry: Registry,
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
                Self { registry, $($field),+ }
            }
        }
    };
}

catalog! {
    /// Version of the daemon, always 1.
    build_info: IntGaugeVec = "radiosonde_build_info" ["version"],
    /// Unix time at which the daemon started.
    start_time_seconds: Gauge = "radiosonde_start_time_seconds",
    /// Whether the last reload of the configuration succeeded.
    config_last_reload_successful: IntGauge = "radiosonde_config_last_reload_successful",
    /// Unix time of the last successful reload.
    config_last_reload_success_timestamp_seconds: Gauge = "radiosonde_config_last_reload_success_timestamp_seconds",
    /// Requests at the OTLP front door by transport, signal and answer.
    ingest_requests_total: IntCounterVec = "radiosonde_ingest_requests_total" ["transport", "signal", "code"],
    /// Bytes of OTLP requests as received, still compressed.
    ingest_received_bytes_total: IntCounterVec = "radiosonde_ingest_received_bytes_total" ["transport"],
    /// Bytes of OTLP requests admitted and not yet answered.
    ingest_inflight_bytes: IntGauge = "radiosonde_ingest_inflight_bytes",
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
    /// Checkpoints by result.
    checkpoints_total: IntCounterVec = "radiosonde_checkpoints_total" ["outcome"],
    /// Bytes that history takes on disk.
    history_disk_bytes: IntGauge = "radiosonde_history_disk_bytes",
    /// One evaluation of all SLOs.
    evaluation_duration_seconds: Histogram = "radiosonde_evaluation_duration_seconds",
    /// How late probe runs start against their schedule.
    probe_start_lateness_seconds: Histogram = "radiosonde_probe_start_lateness_seconds",
    /// Longest stall of the probe runtime in the last ten seconds.
    probe_runtime_stall_seconds: Gauge = "radiosonde_probe_runtime_stall_seconds",
    /// Probe runs dropped because nobody took the result.
    probe_results_dropped_total: IntCounter = "radiosonde_probe_results_dropped_total",
    /// Attempts to deliver notifications by result.
    notify_attempts_total: IntCounterVec = "radiosonde_notify_attempts_total" ["receiver", "outcome"],
    /// Notifications in the outbox.
    notify_outbox_notifications: IntGauge = "radiosonde_notify_outbox_notifications",
    /// From the decision to the receiver's answer.
    notify_delivery_duration_seconds: HistogramVec = "radiosonde_notify_delivery_duration_seconds" ["receiver"],
    /// OTLP requests that we sent ourselves, by result.
    export_requests_total: IntCounterVec = "radiosonde_export_requests_total" ["outcome"],
    /// Probe traces dropped because the collector did not keep up.
    export_dropped_total: IntCounter = "radiosonde_export_dropped_total",
    /// Jumps of the wall clock, suspends among them.
    clock_jumps_total: IntCounter = "radiosonde_clock_jumps_total",
    /// Memory that the process holds, resident.
    process_resident_memory_bytes: IntGauge = "process_resident_memory_bytes",
    /// CPU time that the process has used.
    process_cpu_seconds_total: Gauge = "process_cpu_seconds_total",
    /// HTTP requests of page and API by route and status.
    api_requests_total: IntCounterVec = "radiosonde_api_requests_total" ["route", "code"],
}

impl Telemetry {
    /// The current values of every metric that was used.
    #[must_use]
    pub fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }
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
        assert!(!telemetry.gather().is_empty());
        assert!(CATALOG.iter().all(|(name, help, _)| !name.is_empty() && help.ends_with('.')));
    }
}
