//! Latencies over time: time along, latency up (a logarithmic scale), shade for how many.

use super::{Canvas, Words, coordinate, runs};
use crate::api::page::view::HeatColumn;
use crate::model::histogram::upper_bound;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Histogram buckets that make one row: two, so eight shades of a fifth each fill a screen.
const BUCKETS_PER_ROW: i32 = 2;
const SHADES: usize = 5;
/// At most this many rows, from the slowest down: what is faster falls into the lowest.
const MAX_ROWS: i32 = 40;
const CELL_HEIGHT: u32 = 10;
const CELL_WIDTH: u32 = 10;

/// A heatmap and what its edges mean.
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// The drawing.
    pub drawing: Markup,
    /// Latency at the bottom edge, nanoseconds.
    pub low_ns: u64,
    /// Latency at the top edge, nanoseconds.
    pub high_ns: u64,
}

/// Draws a heatmap of columns, oldest first. None when there is no value at all. The threshold is a
/// dashed line; failed runs are hatched at the top.
#[must_use]
pub fn heatmap(columns: &[HeatColumn], under_ns: Option<u64>, words: Words<'_>) -> Option<Heatmap> {
    let rows_of = |column: &HeatColumn| -> Vec<(i32, u64)> {
        column
            .latencies
            .buckets()
            .iter()
            .map(|(index, count)| (i32::from(*index).div_euclid(BUCKETS_PER_ROW), *count))
            .collect()
    };
    let all: Vec<Vec<(i32, u64)>> = columns.iter().map(rows_of).collect();
    let highest = all.iter().flatten().map(|(row, _)| *row).max()?;
    let lowest = all.iter().flatten().map(|(row, _)| *row).min()?.max(highest - MAX_ROWS + 1);
    // One row more above for failed runs.
    let rows = u32::try_from(highest - lowest + 2).unwrap_or(1);
    let counts: Vec<BTreeMap<i32, u64>> = all
        .iter()
        .map(|column| {
            let mut sums = BTreeMap::new();
            for (row, count) in column {
                *sums.entry((*row).max(lowest)).or_default() += *count;
            }
            sums
        })
        .collect();
    let edge = |row: i32| upper_bound(row * BUCKETS_PER_ROW - 1) * 1e9;
    let (low, high) = (edge(lowest), edge(highest + 1));
    let limit = under_ns
        .map(|under| (under as f64 / low).ln() / (high / low).ln())
        .filter(|share| (0.0..=1.0).contains(share));
    let width = u32::try_from(columns.len()).unwrap_or(u32::MAX).saturating_mul(CELL_WIDTH).max(1);
    let drawing = html! {
        @for (shade, path) in shaded(&counts, lowest, highest).iter().enumerate() {
            @if !path.is_empty() { path class={ "heat h" (shade + 1) } d=(path) {} }
        }
        @let failures = failures(columns);
        @if !failures.is_empty() { path fill="url(#hatch)" d=(failures) {} }
        @if let Some(share) = limit {
            @let plot = f64::from((rows - 1) * CELL_HEIGHT);
            path class="limit" d={ "M0 " (coordinate(f64::from(CELL_HEIGHT) + plot * (1.0 - share))) "h" (width) } {}
        }
    };
    let canvas = Canvas { class: "heatmap", width, height: rows * CELL_HEIGHT };
    Some(Heatmap {
        drawing: canvas.draw(words, &drawing),
        low_ns: low as u64,
        high_ns: high as u64,
    })
}

/// The cells of each shade, palest first; neighbours in a row are one.
fn shaded(columns: &[BTreeMap<i32, u64>], lowest: i32, highest: i32) -> [String; SHADES] {
    let most = columns.iter().flat_map(BTreeMap::values).copied().max().unwrap_or(1).max(1);
    // Logarithmic: one slow run among thousands must still be seen.
    let shade = |count: u64| {
        let share = ((count + 1) as f64).ln() / ((most + 1) as f64).ln();
        ((share * SHADES as f64).ceil() as usize).clamp(1, SHADES) - 1
    };
    let mut paths: [String; SHADES] = Default::default();
    for row in lowest..=highest {
        let y = u32::try_from(highest - row + 1).unwrap_or(0) * CELL_HEIGHT;
        let cells = columns.iter().map(|column| column.get(&row).map(|count| shade(*count)));
        for (at, length, found) in runs(cells) {
            if let Some(path) = found.and_then(|shade| paths.get_mut(shade)) {
                path.push_str(&block(at, length, y));
            }
        }
    }
    paths
}

/// The columns in which runs failed.
fn failures(columns: &[HeatColumn]) -> String {
    runs(columns.iter().map(|column| column.failed > 0))
        .into_iter()
        .filter(|(_, _, failed)| *failed)
        .map(|(at, length, _)| block(at, length, 0))
        .collect()
}

fn block(at: usize, length: usize, y: u32) -> String {
    let (x, width) = (at * CELL_WIDTH as usize, length * CELL_WIDTH as usize);
    format!("M{x} {y}h{width}v{CELL_HEIGHT}H{x}z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::ExpHistogram;

    fn column(values: &[u64], failed: u32) -> HeatColumn {
        let mut latencies = ExpHistogram::default();
        values.iter().for_each(|value| latencies.record(*value));
        HeatColumn { latencies, failed }
    }

    /// Guarantees that all values lie between the edges, and that emptiness is told from data.
    #[test]
    fn edges_hold_all_values() {
        let words = Words { title: "t", detail: "d" };
        assert!(heatmap(&[column(&[], 2)], None, words).is_none());
        let columns = [column(&[20_000_000, 21_000_000], 0), column(&[400_000_000], 1)];
        let drawn = heatmap(&columns, Some(100_000_000), words).expect("values");
        assert!(drawn.low_ns <= 20_000_000 && drawn.high_ns >= 400_000_000, "{drawn:?}");
        let text = drawn.drawing.into_string();
        assert!(text.contains("url(#hatch)") && text.contains("class=\"limit\""), "{text}");
    }

    /// Guarantees a bounded drawing for latencies from nanoseconds to centuries.
    #[test]
    fn extremes_stay_bounded() {
        let columns = vec![column(&[1, u64::MAX], 0); 144];
        let drawn = heatmap(&columns, None, Words { title: "t", detail: "d" }).expect("values");
        assert!(drawn.drawing.into_string().len() < 10_000);
    }
}
