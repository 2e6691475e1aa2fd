//! What phones report: per SLO a matrix of two dimensions.

use crate::base::clock::UnixNanos;
use std::time::Duration;

/// All phones.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PhonesView {
    /// The apps that report, busiest first.
    pub apps: Vec<PhoneApp>,
    /// SLOs on what phones report.
    pub slos: Vec<PhoneSlo>,
}

/// An app that reports.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PhoneApp {
    /// `service.name`.
    pub name: String,
    /// Event time of its newest item.
    pub newest: Option<UnixNanos>,
    /// Items received.
    pub received: u64,
    /// Of those, items that were rejected, shed or too late.
    pub dropped: u64,
}

/// An SLO broken down.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PhoneSlo {
    /// The SLO's name.
    pub name: String,
    /// The share of events that must be good.
    pub objective: f64,
    /// The time over which the cells are counted, up to now.
    pub over: Duration,
    /// App version by network, app version by region.
    pub matrices: Vec<MatrixView>,
}

/// Counts by two dimensions.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MatrixView {
    /// Attribute down the side: `service.version`.
    pub row_dimension: String,
    /// Attribute along the top: `network.connection.type`.
    pub column_dimension: String,
    /// Values along the top.
    pub columns: Vec<String>,
    /// Value down the side, and its cells in the order of `columns`; None where there was nothing.
    pub rows: Vec<(String, Vec<Option<MatrixCell>>)>,
}

/// Counts of one combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MatrixCell {
    /// Good events.
    pub good: u64,
    /// All events.
    pub total: u64,
}
