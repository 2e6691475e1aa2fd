//! What a calibration comes to: a table and a sentence for people, a document for machines, and
//! whether the instrument is good enough.

use super::super::palette::{BAD, DIM, Mark, paint};
use super::super::table::{Column, render};
use crate::base::clock::nanos;
use crate::base::duration;
use crate::probe::reference::{Case, Figures, LIMIT, Percentiles, Protocol, Sample};
use comfy_table::Cell;
use serde_json::{Value, json};
use std::time::Duration;

/// The figures of a calibration; cases without a sample are left out.
pub(super) struct Calibration {
    rows: Vec<Row>,
    /// Over all runs; none when there was none.
    overall: Option<Figures>,
}

/// A protocol and a delay.
struct Row {
    protocol: Protocol,
    delay: Duration,
    figures: Figures,
}

// === impl Calibration ===

impl Calibration {
    /// Of everything that the cases measured.
    pub(super) fn of(cases: Vec<Case>) -> Self {
        let rows = cases.iter().map(|case| (case.protocol, case.delay, case.samples.as_slice()));
        Self::of_samples(&rows.collect::<Vec<_>>())
    }

    fn of_samples(cases: &[(Protocol, Duration, &[Sample])]) -> Self {
        let all: Vec<Sample> =
            cases.iter().flat_map(|(_, _, samples)| samples.iter().copied()).collect();
        let row = |(protocol, delay, samples): &(Protocol, Duration, &[Sample])| {
            Some(Row { protocol: *protocol, delay: *delay, figures: Figures::of(samples)? })
        };
        Self { rows: cases.iter().filter_map(row).collect(), overall: Figures::of(&all) }
    }

    /// Whether no protocol's median error is beyond the limit.
    pub(super) fn is_within_limit(&self) -> bool {
        self.beyond_limit().next().is_none()
    }

    fn beyond_limit(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.figures.is_beyond_limit())
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Some(overall) = &self.overall else { return String::new() };
        let columns = [
            Column::Left("protocol"),
            Column::Right("delay"),
            Column::Right("p50"),
            Column::Right("p90"),
            Column::Right("p99"),
            Column::Right("stated"),
            Column::Right("beyond"),
            Column::Right("bare p50"),
            Column::Right("p99"),
        ];
        let table = render(&columns, self.rows.iter().map(Row::cells));
        let legend = "\
Milliseconds that were measured beyond what the server held back.
stated: the uncertainty that runs give with their value, p99
beyond: runs whose error is more than they stated and 1 ms
bare:   the same by a blocking client that does nothing else
";
        let Percentiles { p50, p99, .. } = overall.errors;
        let bare = overall.bare_errors;
        let verdict = format!(
            "On this machine a latency of this instrument is too large by {} ms (p50),\n\
             {} ms (p99); that of a bare client by {} ms (p50), {} ms (p99).",
            ms(p50),
            ms(p99),
            ms(bare.p50),
            ms(bare.p99),
        );
        let mut text = format!("{table}\n{}\n{verdict}\n", paint(DIM, legend));
        for row in self.beyond_limit() {
            text.push_str(&row.complaint());
        }
        text
    }

    /// For machines.
    pub(super) fn json(&self) -> Value {
        let cases: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({
            "version": 1,
            "limit_ns": nanos(LIMIT),
            "within_limit": self.is_within_limit(),
            "overall": self.overall.as_ref().map(json_of),
            "cases": cases,
        })
    }
}

// === impl Row ===

impl Row {
    fn cells(&self) -> Vec<Cell> {
        let Figures { errors, stated, beyond_stated, bare_errors, .. } = &self.figures;
        let beyond = if *beyond_stated == 0 {
            Cell::new(0)
        } else {
            Mark::Warning.cell(&beyond_stated.to_string())
        };
        let median = ms(errors.p50);
        let median = if self.figures.is_beyond_limit() {
            Mark::Bad.cell(&median)
        } else {
            Cell::new(median)
        };
        vec![
            Cell::new(self.protocol.as_str()),
            Cell::new(duration::format(self.delay)),
            median,
            Cell::new(ms(errors.p90)),
            Cell::new(ms(errors.p99)),
            Cell::new(ms(stated.p99)),
            beyond,
            Cell::new(ms(bare_errors.p50)),
            Cell::new(ms(bare_errors.p99)),
        ]
    }

    fn complaint(&self) -> String {
        let (protocol, delay) = (self.protocol.as_str(), duration::format(self.delay));
        let Figures { errors, bare_errors, .. } = &self.figures;
        let whose = if i128::from(bare_errors.p50) > nanos(LIMIT).into() {
            "the bare client's is, too: this machine is too busy to measure on"
        } else {
            "the bare client's is not: run it again when nothing else is running"
        };
        let sign = paint(BAD, Mark::Bad.sign());
        format!(
            "{sign} {protocol} after {delay}: the median error, {} ms, is over {} ms;\n  {whose}\n",
            ms(errors.p50),
            LIMIT.as_millis()
        )
    }

    fn json(&self) -> Value {
        let mut figures = json_of(&self.figures);
        if let Some(members) = figures.as_object_mut() {
            let _ = members.insert("protocol".to_owned(), self.protocol.as_str().into());
            let _ = members.insert("delay_ns".to_owned(), nanos(self.delay).into());
        }
        figures
    }
}

/// The members of figures.
fn json_of(figures: &Figures) -> Value {
    let percentiles = |of: &Percentiles| json!({ "p50": of.p50, "p90": of.p90, "p99": of.p99 });
    json!({
        "runs": figures.runs,
        "error_ns": percentiles(&figures.errors),
        "stated_ns": percentiles(&figures.stated),
        "beyond_stated": figures.beyond_stated,
        "bare_error_ns": percentiles(&figures.bare_errors),
    })
}

/// Milliseconds to the hundredth: finer is chance.
fn ms(ns: i64) -> String {
    // Adding zero takes the sign from a negative one.
    format!("{:.2}", (ns as f64 / 1e4).round() / 1e2 + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(errors: [i64; 4], stated_ns: u64, bare_error_ns: i64) -> Vec<Sample> {
        errors.map(|error_ns| Sample { error_ns, stated_ns, bare_error_ns }).to_vec()
    }

    fn calibration(websocket: [i64; 4]) -> Calibration {
        let http = samples([100_000, 110_000, 120_000, 1_900_000], 0, 90_000);
        let websocket = samples(websocket, 0, 80_000);
        let ms = Duration::from_millis;
        Calibration::of_samples(&[
            (Protocol::Http, ms(2), &http),
            (Protocol::WebSocket, ms(10), &websocket),
            (Protocol::Sse, ms(10), &[]),
        ])
    }

    /// Guarantees the table's figures, the sentence, and that nothing is wider than 80 columns.
    #[test]
    fn people_read_a_table_and_a_sentence() {
        let good = calibration([200_000, 210_000, 220_000, 230_000]);
        assert!(good.is_within_limit());
        let text = anstream::adapter::strip_str(&good.text()).to_string();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let row = |name: &str| words(text.lines().find(|line| line.starts_with(name)).unwrap());
        let http = "http 2ms 0.11 1.90 1.90 0.00 ! 1 0.09 0.09";
        assert_eq!(row("http"), words(http));
        let websocket = "websocket 10ms 0.21 0.23 0.23 0.00 0 0.08 0.08";
        assert_eq!(row("websocket"), words(websocket));
        assert!(!text.contains("sse"), "{text}");
        let sentence = "is too large by 0.20 ms (p50), 1.90 ms (p99); that of a bare client by";
        assert!(text.replace('\n', " ").contains(sentence), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    /// Guarantees that a protocol whose median error is over the limit is named, however good the
    /// others are.
    #[test]
    fn a_median_over_the_limit_is_named() {
        let bad = calibration([0, 1_000_001, 1_000_002, 2_000_000]);
        assert!(!bad.is_within_limit());
        let text = anstream::adapter::strip_str(&bad.text()).to_string();
        assert!(text.contains("websocket after 10ms: the median error, 1.00 ms, is over 1 ms"));
        assert!(!text.contains("http after"));
        assert!(calibration([0, 1_000_000, 1_000_002, 2_000_000]).is_within_limit());
    }

    /// Guarantees the members that machines read.
    #[test]
    fn machines_read_nanoseconds() {
        let document = calibration([-5, 210_000, 220_000, 230_000]).json();
        assert_eq!(document["version"], 1);
        assert_eq!(document["within_limit"], true);
        assert_eq!(document["overall"]["runs"], 8);
        let cases = document["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0]["protocol"], "http");
        assert_eq!(cases[0]["delay_ns"], 2_000_000);
        assert_eq!(
            cases[0]["error_ns"],
            json!({ "p50": 110_000, "p90": 1_900_000, "p99": 1_900_000 })
        );
        assert_eq!(cases[0]["beyond_stated"], 1);
        assert_eq!(cases[1]["bare_error_ns"]["p99"], 80_000);
    }

    /// Guarantees words for a calibration that was interrupted before it had begun.
    #[test]
    fn nothing_measured_is_nothing_shown() {
        let nothing = Calibration::of_samples(&[]);
        assert_eq!(nothing.text(), "");
        assert_eq!(nothing.json()["overall"], Value::Null);
    }
}
