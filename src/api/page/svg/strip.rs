//! A day in equal cells: the height of a cell says the same as its colour.

use super::{Canvas, Words, runs};
use crate::api::page::view::{CellState, StripCell};
use maud::{Markup, html};

/// Units of width of a cell.
const CELL: usize = 3;
const HEIGHT: usize = 24;

/// Draws a day. Good is a low even bar, slow one of middle height, failed full height and hatched,
/// no data a thin line at the bottom. `time_of` names the start of a cell for tooltips.
#[must_use]
pub fn strip(cells: &[StripCell], time_of: impl Fn(usize) -> String, words: Words<'_>) -> Markup {
    let width = u32::try_from(cells.len().max(1) * CELL).unwrap_or(u32::MAX);
    let pieces = runs(cells.iter().map(|cell| cell.state));
    let drawing = html! {
        @for state in [CellState::NoData, CellState::Good] {
            @let path = outline(&pieces, state);
            @if !path.is_empty() { path class=(class(state)) d=(path) {} }
        }
        // What went wrong says when and how much.
        @for (at, length, state) in pieces.iter().copied() {
            @if matches!(state, CellState::Slow | CellState::Failed) {
                path class=(class(state)) d=(outline(&[(at, length, state)], state)) {
                    title { (time_of(at)) @if length > 1 { "–" (time_of(at + length)) } " " (told(cells, at, length)) }
                }
            }
        }
    };
    Canvas { class: "strip", width, height: HEIGHT as u32 }.draw(words, &drawing)
}

fn class(state: CellState) -> &'static str {
    match state {
        CellState::NoData => "none",
        CellState::Good => "good",
        CellState::Slow => "warning",
        CellState::Failed => "bad",
    }
}

/// The bars of all pieces in a state.
fn outline(pieces: &[(usize, usize, CellState)], state: CellState) -> String {
    let height = match state {
        CellState::NoData => 1,
        CellState::Good => 8,
        CellState::Slow => 16,
        CellState::Failed => HEIGHT,
    };
    pieces
        .iter()
        .filter(|(_, _, found)| *found == state)
        .map(|(at, length, _)| {
            let (x, y, width) = (at * CELL, HEIGHT - height, length * CELL);
            format!("M{x} {y}h{width}v{height}H{x}z")
        })
        .collect()
}

/// Counts of a piece in words.
fn told(cells: &[StripCell], at: usize, length: usize) -> String {
    let (mut runs, mut failed, mut slow) = (0_u32, 0_u32, 0_u32);
    for cell in cells.iter().skip(at).take(length) {
        runs = runs.saturating_add(cell.runs);
        failed = failed.saturating_add(cell.failed);
        slow = slow.saturating_add(cell.slow);
    }
    match (failed, slow) {
        (0, _) => format!("{slow} of {runs} slow"),
        (_, 0) => format!("{failed} of {runs} failed"),
        _ => format!("{failed} of {runs} failed, {slow} slow"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that states differ in shape, neighbours merge, and trouble is told in words.
    #[test]
    fn states_differ_in_height_and_trouble_has_words() {
        let cell = |state, failed, slow| StripCell { state, runs: 60, failed, slow, missed: 0 };
        let cells = [
            cell(CellState::Good, 0, 0),
            cell(CellState::Good, 0, 0),
            cell(CellState::Failed, 3, 1),
            cell(CellState::Failed, 2, 0),
            cell(CellState::Slow, 0, 7),
            StripCell::default(),
        ];
        let drawn =
            strip(&cells, |at| format!("t{at}"), Words { title: "t", detail: "d" }).into_string();
        assert!(drawn.contains("M0 16h6v8H0z"), "{drawn}");
        assert!(drawn.contains("<title>t2–t4 5 of 120 failed, 1 slow</title>"), "{drawn}");
        assert!(drawn.contains("<title>t4 7 of 60 slow</title>"), "{drawn}");
        assert!(drawn.contains("M15 23h3v1H15z"), "{drawn}");
    }
}
