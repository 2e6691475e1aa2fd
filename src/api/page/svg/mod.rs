//! Charts, drawn as SVG without a script.
//!
//! Every chart scales with its `viewBox`, carries its own words (`title`, which names it, and `desc`),
//! takes its colours from the style sheet by class, and shows every distinction by shape or
//! pattern as well as by colour. Charts hold no text: labels stand beside them as HTML, so that
//! they keep their size on a phone.

mod arrivals;
mod budget;
mod heatmap;
mod line;
mod matrix;
mod spread;
mod strip;
mod waterfall;

pub use arrivals::arrivals;
pub use budget::budget;
pub use heatmap::{Heatmap, heatmap};
pub use line::{Chart, Keep, Trace, chart};
pub use matrix::cell;
pub use spread::{Spread, spread};
pub use strip::strip;
pub use waterfall::{ROW_HEIGHT, bar, gave_up, hatched, rest, swatch, waterfall};

use maud::{Markup, html};

/// What a chart says to people who do not see it.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// What it is: also its tooltip.
    pub title: &'a str,
    /// What it shows, in a sentence; nothing where the same stands beside it.
    pub detail: &'a str,
}

/// The drawing area of a chart, in units that the style sheet stretches.
#[derive(Clone, Copy, Debug)]
struct Canvas {
    class: &'static str,
    width: u32,
    height: u32,
}

impl Canvas {
    /// The chart around what is drawn. It fills its box; strokes keep their width.
    fn draw(self, words: Words<'_>, drawing: &Markup) -> Markup {
        html! {
            svg class=(self.class) viewBox={ "0 0 " (self.width) " " (self.height) } preserveAspectRatio="none" role="img" {
                title { (words.title) }
                @if !words.detail.is_empty() { desc { (words.detail) } }
                (drawing)
            }
        }
    }
}

/// A coordinate with one decimal at most, as short as it can be: pages are mostly coordinates.
fn coordinate(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Equal neighbours as one: start, length and value of each run.
fn runs<T: PartialEq + Copy>(values: impl IntoIterator<Item = T>) -> Vec<(usize, usize, T)> {
    let mut found: Vec<(usize, usize, T)> = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        match found.last_mut() {
            Some((_, length, last)) if *last == value => *length += 1,
            _ => found.push((at, 1, value)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees short coordinates, and a number whatever comes.
    #[test]
    fn coordinates_are_short_and_finite() {
        for (value, expected) in
            [(1.0, "1"), (1.25, "1.2"), (-0.01, "0"), (f64::NAN, "0"), (f64::INFINITY, "0")]
        {
            assert_eq!(coordinate(value), expected);
        }
    }

    /// Guarantees that neighbours merge and nothing is lost.
    #[test]
    fn neighbours_merge() {
        assert_eq!(runs([1, 1, 2, 1]), [(0, 2, 1), (2, 1, 2), (3, 1, 1)]);
    }
}
