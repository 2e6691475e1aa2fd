//! Leaves invalid items out of a request, one by one, and counts why.
//!
//! What the serde mapping of OTLP/JSON drops without a word shows here as well: a point without a
//! value, a metric without data.

mod metrics;
mod traces;

use super::request::DecodedRequest;
use crate::wire::otlp::{ExportLogsServiceRequest, Signal};

/// Why an item is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TraceId,
    SpanId,
    ParentSpanId,
    NoStart,
    EndBeforeStart,
    NoName,
    NoData,
    NoTime,
    TimeBeforeStart,
    NoValue,
    NotFinite,
    Temporality,
    Buckets,
    Bounds,
    Count,
    Scale,
}

/// How many items a request held, and how many of them were rejected for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    items: u64,
    reasons: Vec<(Reason, u64)>,
}

/// Takes the invalid items out of `request`.
pub(super) fn validate(request: &mut DecodedRequest) -> Tally {
    let mut tally = Tally::default();
    match request {
        DecodedRequest::Traces(traces) => traces::validate(traces, &mut tally),
        DecodedRequest::Metrics(metrics) => metrics::validate(metrics, &mut tally),
        DecodedRequest::Logs(logs) => validate_logs(logs, &mut tally),
    }
    tally
}

/// Every log record is taken. Ids of the wrong size count as absent, as OTLP has it.
fn validate_logs(logs: &mut ExportLogsServiceRequest, tally: &mut Tally) {
    let scopes = logs.resource_logs.iter_mut().flat_map(|group| &mut group.scope_logs);
    for record in scopes.flat_map(|scope| &mut scope.log_records) {
        let valid = is_id(&record.trace_id, 16) && is_id(&record.span_id, 8);
        if !valid {
            record.span_id.clear();
        }
        if !is_id(&record.trace_id, 16) {
            record.trace_id.clear();
        }
        let _ = tally.keep(Ok(()), 1);
    }
}

/// Whether `id` has `length` bytes, not all of them zero.
fn is_id(id: &[u8], length: usize) -> bool {
    id.len() == length && id.iter().any(|&byte| byte != 0)
}

// === impl Reason ===

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::TraceId => "trace id is not 16 bytes, or zero",
            Self::SpanId => "span id is not 8 bytes, or zero",
            Self::ParentSpanId => "parent span id is neither empty nor 8 bytes",
            Self::NoStart => "start time is missing",
            Self::EndBeforeStart => "end is before start",
            Self::NoName => "metric has no name",
            Self::NoData => "metric has no readable data",
            Self::NoTime => "time is missing",
            Self::TimeBeforeStart => "time is before start time",
            Self::NoValue => "point has no readable value",
            Self::NotFinite => "value is not a finite number",
            Self::Temporality => "aggregation temporality is neither delta nor cumulative",
            Self::Buckets => "number of buckets does not fit the bounds",
            Self::Bounds => "bounds are not finite and rising",
            Self::Count => "count is not the sum of the buckets",
            Self::Scale => "scale or offset is out of range",
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Counts `items` with one verdict; whether to keep them.
    fn keep(&mut self, verdict: Result<(), Reason>, items: u64) -> bool {
        self.items += items;
        let Err(reason) = verdict else { return true };
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += items,
            None => self.reasons.push((reason, items)),
        }
        false
    }

    /// Items that the request held.
    pub(super) fn items(&self) -> u64 {
        self.items
    }

    /// Items that were left out.
    pub(super) fn rejected(&self) -> u64 {
        self.reasons.iter().map(|(_, count)| count).sum()
    }

    /// What was rejected and why, for the sender's log. Empty when nothing was.
    pub(super) fn explain(&self, signal: Signal) -> String {
        let items = match signal {
            Signal::Traces => "spans",
            Signal::Metrics => "data points",
            Signal::Logs => "log records",
        };
        let mut reasons = Vec::with_capacity(self.reasons.len());
        for (reason, count) in &self.reasons {
            reasons.push(format!("{} ({count})", reason.as_str()));
        }
        if reasons.is_empty() {
            return String::new();
        }
        format!("{} of {} {items} rejected: {}", self.rejected(), self.items, reasons.join("; "))
    }
}

#[cfg(test)]
mod tests;
