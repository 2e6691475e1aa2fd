//! What is said about runs: while they happen, and as one document in the end.

use super::super::arguments::ReportFormat;
use super::super::palette::{BAD, DIM, Mark, paint};
use super::super::terminal::{count, print, width};
use super::Series;
use super::junit;
use super::percentiles;
use super::waterfall::waterfall;
use crate::api::json::report_json;
use crate::model::probe::ProbeRun;
use crate::probe::spec::ProbeSpec;
use serde_json::Value;

/// Of a repeated probe only so many failed runs are shown one by one.
const MAX_FAILED_SHOWN: usize = 3;
/// The width of a waterfall where there is no terminal.
const DEFAULT_WIDTH: u16 = 80;

/// The text for people: shown as it grows, and kept for a file.
pub(super) struct Transcript {
    repeat: u32,
    shown: bool,
    width: usize,
    text: String,
    /// Failed runs of the probe at hand.
    failed: usize,
    probe: String,
}

/// The report in that format.
///
/// # Errors
/// When XML cannot be written.
pub(super) fn document(
    format: ReportFormat,
    all: &[Series<'_>],
    transcript: &Transcript,
) -> Result<String, quick_junit::SerializeError> {
    match format {
        ReportFormat::Text => Ok(transcript.text.clone()),
        ReportFormat::Json => Ok(format!("{:#}\n", json_document(all))),
        ReportFormat::Junit => junit::document(all),
    }
}

fn json_document(all: &[Series<'_>]) -> Value {
    let probes: Vec<_> = all.iter().map(percentiles::summary).collect();
    report_json(all.iter().flat_map(|series| &series.runs), &probes)
}

// === impl Transcript ===

impl Transcript {
    /// A text for probes that are each run `repeat` times; `shown` on standard output as it grows.
    pub(super) fn new(repeat: u32, shown: bool) -> Self {
        let width = usize::from(width().unwrap_or(DEFAULT_WIDTH));
        Self { repeat, shown, width, text: String::new(), failed: 0, probe: String::new() }
    }

    /// A run is over. Once for each probe, all runs are drawn; when repeated, those that failed.
    pub(super) fn run(&mut self, probe: &ProbeSpec, run: &ProbeRun) {
        if self.probe != probe.title() {
            self.probe = probe.title();
            self.failed = 0;
        }
        self.failed += usize::from(!run.succeeded());
        let drawn = self.repeat == 1 || (!run.succeeded() && self.failed <= MAX_FAILED_SHOWN);
        if drawn {
            let text = waterfall(run, probe, self.width);
            self.add(&format!("{text}\n"));
        }
    }

    /// All runs are over.
    pub(super) fn end(&mut self, all: &[Series<'_>]) {
        if self.repeat > 1 {
            let hidden: usize = all
                .iter()
                .map(|series| series.failed().count().saturating_sub(MAX_FAILED_SHOWN))
                .sum();
            if hidden > 0 {
                let words = format!(
                    "{} not drawn; --format json has every run",
                    count(hidden, "more failed run is", "more failed runs are")
                );
                self.add(&format!("{}\n\n", paint(DIM, &words)));
            }
            self.add(&percentiles::table(all));
        } else if all.len() > 1 {
            self.add(&summary(all));
        }
    }

    fn add(&mut self, text: &str) {
        if self.shown {
            let _ = print(text);
        }
        self.text.push_str(text);
    }
}

/// `✗ 2 of 7 probes failed: chat-echo, feed`
fn summary(all: &[Series<'_>]) -> String {
    let failed: Vec<String> = all
        .iter()
        .filter(|series| series.failed().next().is_some())
        .map(|series| series.probe.title())
        .collect();
    let probes = count(all.len(), "probe", "probes");
    if failed.is_empty() {
        let sign = paint(Mark::Good.style(), Mark::Good.sign());
        return format!("{sign} all {probes} passed\n");
    }
    let sign = paint(BAD, Mark::Bad.sign());
    format!("{sign} {} of {probes} failed: {}\n", failed.len(), failed.join(", "))
}
