//! A budget: what is left as a bar, and above it how it went over the window.

use super::line::{Scale, Trace, few, traced};
use super::{Canvas, Words, coordinate};
use maud::{Markup, html};

const WIDTH: u32 = 240;
const HEIGHT: u32 = 40;
const BAR_TOP: u32 = 33;
const BAR_HEIGHT: u32 = 7;

/// Draws a budget. `left` is 1 when untouched, 0 when gone, below 0 when overspent: the bar is then
/// hatched from the left for as much as is owed. `line` is `left` over the window.
#[must_use]
pub fn budget(
    left: Option<f64>,
    line: &[Option<f64>],
    level: &'static str,
    words: Words<'_>,
) -> Markup {
    let lowest = line.iter().flatten().copied().fold(0.0, f64::min).max(-1.0);
    let scale = Scale { low: lowest, high: 1.0, top: 1.5, bottom: f64::from(BAR_TOP) - 4.0 };
    let points = few(line);
    let trace = Trace { points: &points, class: level, area: lowest >= 0.0 };
    let width = |share: f64| coordinate(share.clamp(0.0, 1.0) * f64::from(WIDTH));
    let drawing = html! {
        (traced(&trace, &scale, f64::from(WIDTH)))
        // Where the budget is gone: the floor, or a line across when it went below.
        path class="zero" d={ "M0 " (coordinate(scale.y(0.0))) "h" (WIDTH) } {}
        rect class="track" y=(BAR_TOP) width=(WIDTH) height=(BAR_HEIGHT) {}
        @match left {
            Some(left) if left < 0.0 => {
                rect fill="url(#hatch)" y=(BAR_TOP) width=(width(-left)) height=(BAR_HEIGHT) {}
            }
            Some(left) => {
                rect class={ "fill " (level) } y=(BAR_TOP) width=(width(left)) height=(BAR_HEIGHT) {}
            }
            None => { rect fill="url(#dots)" y=(BAR_TOP) width=(WIDTH) height=(BAR_HEIGHT) {} }
        }
    };
    Canvas { class: "budget", width: WIDTH, height: HEIGHT }.draw(words, &drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that left, gone, overspent and unknown look different without colour.
    #[test]
    fn the_bar_tells_left_from_owed_and_from_unknown() {
        let drawn =
            |left| budget(left, &[], "good", Words { title: "t", detail: "d" }).into_string();
        assert!(drawn(Some(0.5)).contains("width=\"120\""));
        assert!(drawn(Some(0.0)).contains("width=\"0\""));
        assert!(drawn(Some(-0.25)).contains("url(#hatch)\" y=\"33\" width=\"60\""));
        assert!(drawn(Some(-9.0)).contains("url(#hatch)\" y=\"33\" width=\"240\""));
        assert!(drawn(None).contains("url(#dots)"));
    }
}
