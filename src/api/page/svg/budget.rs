//! A budget: what is left as a bar, and above it how it went over the window.

use super::line::{Keep, Scale, Trace, traced};
use super::{Canvas, Words};
use maud::{Markup, html};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 80;
const BAR_TOP: u32 = 68;
/// The line is small: more points than this do not show.
const POINTS: usize = 48;

/// Draws a budget. `left` is 1 when untouched, 0 when gone, below 0 when overspent: the bar is then
/// hatched from the left for as much as is owed. `line` is `left` over the window. Of a healthy
/// budget only the bar has a colour.
#[must_use]
pub fn budget(
    left: Option<f64>,
    line: &[Option<f64>],
    level: &'static str,
    words: Words<'_>,
) -> Markup {
    let lowest = line.iter().flatten().copied().fold(0.0, f64::min).max(-1.0);
    let scale = Scale { low: lowest, high: 1.0, top: 3.0, bottom: f64::from(BAR_TOP) - 8.0 };
    let class = if level == "good" { "calm" } else { level };
    let trace = Trace { points: line, class, area: lowest >= 0.0, keep: Keep::Lowest };
    let bar = |share: f64| {
        let width = (share.clamp(0.0, 1.0) * f64::from(WIDTH)).round() as i64;
        format!("M0 {BAR_TOP}h{width}v{}H0z", HEIGHT - BAR_TOP)
    };
    let drawing = html! {
        (traced(trace, &scale, WIDTH, POINTS))
        // Where the budget is gone: the floor, or a line across when it went below.
        path class=(if lowest < 0.0 { "limit" } else { "zero" }) d={ "M0 " (scale.y(0.0)) "h" (WIDTH) } {}
        path class="track" d=(bar(1.0)) {}
        @match left {
            Some(left) if left < 0.0 => { path fill="url(#hatch)" d=(bar(-left)) {} }
            Some(left) => { path class={ "fill " (level) } d=(bar(left)) {} }
            None => { path fill="url(#dots)" d=(bar(1.0)) {} }
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
        assert!(drawn(Some(0.5)).contains("class=\"fill good\" d=\"M0 68h240v12H0z\""));
        assert!(drawn(Some(0.0)).contains("class=\"fill good\" d=\"M0 68h0v12H0z\""));
        assert!(drawn(Some(-0.25)).contains("url(#hatch)\" d=\"M0 68h120v12H0z\""));
        assert!(drawn(Some(-9.0)).contains("url(#hatch)\" d=\"M0 68h480v12H0z\""));
        assert!(drawn(None).contains("url(#dots)"));
    }
}
