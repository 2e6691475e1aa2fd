//! Families by name, made ready for the encoder: ordered, each series once, one kind a name.
//!
//! The daemon's names come first; a metric of phones that would have the name of one of ours, or of
//! a histogram's parts, is left out and counted, so that nobody can shadow what operators rely on.

use crate::telemetry::Telemetry;
use crate::telemetry::catalog::CATALOG;
use crate::telemetry::process;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The parts of a histogram on the wire.
const PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];

/// What a family is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title<'a> {
    /// Its name on the wire.
    pub name: &'a str,
    /// What it means, for people.
    pub help: &'a str,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only grows, until it restarts.
    Counter(f64),
    /// Moves freely.
    Gauge(f64),
    /// Values by bucket.
    Histogram(Buckets),
}

/// A histogram with classic buckets.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Buckets {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Inclusive upper bounds, rising and finite, with how many values are at or below.
    pub cumulative: Vec<(f64, u64)>,
}

/// All families of a scrape.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<String, MetricFamily>,
    omitted: Omitted,
}

/// Series that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omitted {
    /// There were too many.
    pub too_many: usize,
    /// Another metric has their name, or another series their name and labels.
    pub name_taken: usize,
}

// === impl Page ===

impl Page {
    /// Adds a series. It is left out when the name stands for another kind of metric already.
    pub fn add(&mut self, title: Title<'_>, labels: Vec<LabelPair>, value: Value) {
        let kind = value.kind();
        let family = self.families.entry(title.name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(title.name.to_owned());
            family.set_help(title.help.to_owned());
            family.set_field_type(kind);
            family
        });
        if family.get_field_type() == kind {
            family.mut_metric().push(value.with(labels));
        } else {
            self.omitted.name_taken += 1;
        }
    }

    /// Adds a series under a name that phones chose; left out when the name is one of ours.
    pub fn add_foreign(&mut self, title: Title<'_>, labels: Vec<LabelPair>, value: Value) {
        if is_ours(title.name) {
            self.omitted.name_taken += 1;
        } else {
            self.add(title, labels, value);
        }
    }

    /// Notes series that were not even added.
    pub fn omit(&mut self, series: usize) {
        self.omitted.too_many += series;
    }

    /// The families by name, their series by labels, and what was left out.
    pub fn finish(mut self) -> (Vec<MetricFamily>, Omitted) {
        let histograms: BTreeSet<String> = self
            .families
            .values()
            .filter(|family| family.get_field_type() == MetricType::HISTOGRAM)
            .map(|family| family.name().to_owned())
            .collect();
        let omitted = &mut self.omitted;
        self.families.retain(|name, family| {
            let whole = PARTS.iter().find_map(|part| name.strip_suffix(part));
            let shadowed = whole.is_some_and(|whole| histograms.contains(whole));
            if shadowed {
                omitted.name_taken += family.get_metric().len();
            }
            !shadowed
        });
        for family in self.families.values_mut() {
            let series = family.mut_metric();
            // Stable: of series that became the same by translation the first one stays.
            series.sort_by(by_labels);
            let before = series.len();
            series.dedup_by(|later, kept| by_labels(later, kept).is_eq());
            self.omitted.name_taken += before - series.len();
        }
        (self.families.into_values().collect(), self.omitted)
    }
}

// === impl Omitted ===

impl Omitted {
    /// Shows it.
    pub fn publish(self, telemetry: &Telemetry) {
        for (reason, count) in [("too_many", self.too_many), ("name_taken", self.name_taken)] {
            let gauge = telemetry.metrics_omitted_series.with_label_values(&[reason]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

// === impl Value ===

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::COUNTER,
            Self::Gauge(_) => MetricType::GAUGE,
            Self::Histogram(_) => MetricType::HISTOGRAM,
        }
    }

    fn with(self, labels: Vec<LabelPair>) -> Metric {
        let mut metric = Metric::from_label(labels);
        match self {
            Self::Counter(value) => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Self::Gauge(value) => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Self::Histogram(buckets) => metric.set_histogram(buckets.into_proto()),
        }
        metric
    }
}

// === impl Buckets ===

impl Buckets {
    fn into_proto(self) -> Histogram {
        let bucket = |(bound, below)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum);
        histogram.set_bucket(self.cumulative.into_iter().map(bucket).collect());
        histogram
    }
}

/// Whether a name is one of the daemon's, now or in a later version.
fn is_ours(name: &str) -> bool {
    let whole = PARTS.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    [name, whole].iter().any(|name| {
        name.starts_with("radiosonde_")
            || name.starts_with("traces_span_metrics_")
            || matches!(*name, "" | "ALERTS" | "up")
            || process::METRICS.iter().any(|(known, _)| known == name)
            || CATALOG.iter().any(|(known, _, _)| known == name)
    })
}

fn by_labels(a: &Metric, b: &Metric) -> Ordering {
    fn parts(metric: &Metric) -> impl Iterator<Item = (&str, &str)> {
        metric.get_label().iter().map(|pair| (pair.name(), pair.value()))
    }
    parts(a).cmp(parts(b))
}
