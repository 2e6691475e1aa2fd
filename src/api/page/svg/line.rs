//! Lines over time, with or without the area below; gaps stay gaps.
//!
//! Points lie on a grid finer than a pixel, so whole and relative coordinates are enough: they are
//! a third of the length of exact ones.

use super::{Canvas, Words};
use maud::{Markup, html};

const WIDTH: u32 = 1_200;
const HEIGHT: u32 = 300;
/// Above this many points neighbours are joined: more cannot be seen.
const POINTS: usize = 240;

/// A chart of one or more lines.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Class of the drawing, which gives it its size.
    pub class: &'static str,
    /// The lines, drawn in this order.
    pub traces: &'a [Trace<'a>],
    /// The value at the bottom edge.
    pub low: f64,
    /// The value at the top edge.
    pub high: f64,
    /// A value that is marked by a dashed line across.
    pub threshold: Option<f64>,
    /// A place on the time axis that is marked, 0 left to 1 right.
    pub mark: Option<f64>,
}

/// A line of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// Values in equal steps; None is a gap.
    pub points: &'a [Option<f64>],
    /// Class of the line.
    pub class: &'static str,
    /// Whether the area below is filled.
    pub area: bool,
    /// What stays when there are more points than can be seen.
    pub keep: Keep,
}

/// Which of several points in one place is drawn: the one that must not be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Of shares and budgets.
    Lowest,
    /// Of latencies.
    Highest,
}

/// Draws a chart of lines.
#[must_use]
pub fn chart(chart: &Chart<'_>, words: Words<'_>) -> Markup {
    let scale =
        Scale { low: chart.low, high: chart.high, top: 6.0, bottom: f64::from(HEIGHT) - 6.0 };
    let drawing = html! {
        @for trace in chart.traces { (traced(*trace, &scale, WIDTH, POINTS)) }
        @if let Some(value) = chart.threshold {
            path class="limit" d={ "M0 " (scale.y(value)) "h" (WIDTH) } {}
        }
        @if let Some(place) = chart.mark {
            path class="mark" d={ "M" ((place.clamp(0.0, 1.0) * f64::from(WIDTH)) as i64) " 0v" (HEIGHT) } {}
        }
    };
    Canvas { class: chart.class, width: WIDTH, height: HEIGHT }.draw(words, &drawing)
}

/// How values become heights.
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Scale {
    /// The height of a value, within the edges.
    pub(super) fn y(&self, value: f64) -> i64 {
        let span = self.high - self.low;
        let share = if span > 0.0 { (value - self.low) / span } else { 0.5 };
        (self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)).round() as i64
    }
}

/// A line and its area over the whole width, of at most `limit` points.
pub(super) fn traced(trace: Trace<'_>, scale: &Scale, width: u32, limit: usize) -> Markup {
    let points = joined(trace.points, limit, trace.keep);
    let step = f64::from(width) / points.len().saturating_sub(1).max(1) as f64;
    let (mut line, mut area, mut dots) = (String::new(), String::new(), String::new());
    // A piece is what lies between two gaps.
    let mut piece: Vec<(i64, i64)> = Vec::new();
    for (at, point) in points.into_iter().chain([None]).enumerate() {
        match point.filter(|value| value.is_finite()) {
            Some(value) => piece.push(((at as f64 * step).round() as i64, scale.y(value))),
            None => {
                match piece.as_slice() {
                    [] => {}
                    // A lone point between two gaps has no line to be seen by.
                    [(x, y)] => dots.push_str(&format!("M{x} {y}h0")),
                    [(left, _), ..] => {
                        let outline = outline(&piece);
                        area.push_str(&format!("{outline}V{}H{left}z", scale.bottom as i64));
                        line.push_str(&outline);
                    }
                }
                piece.clear();
            }
        }
    }
    html! {
        @if trace.area && !area.is_empty() { path class={ "area " (trace.class) } d=(area) {} }
        @if !line.is_empty() { path class={ "line " (trace.class) } d=(line) {} }
        @if !dots.is_empty() { path class={ "line dot " (trace.class) } d=(dots) {} }
    }
}

/// A piece as a path: its start, and steps from point to point; equal steps are one.
fn outline(piece: &[(i64, i64)]) -> String {
    let Some((x, y)) = piece.first().copied() else { return String::new() };
    let mut steps: Vec<(i64, i64)> = Vec::new();
    let mut last = (0, 0);
    for (from, to) in piece.iter().zip(piece.iter().skip(1)) {
        let step = (to.0 - from.0, to.1 - from.1);
        match steps.last_mut() {
            // The same direction as before: the point between them is not needed.
            Some(run) if step == last || (step.1 == 0 && last.1 == 0) => {
                *run = (run.0 + step.0, run.1 + step.1);
            }
            _ => steps.push(step),
        }
        last = step;
    }
    let mut path = format!("M{x} {y}");
    for (at, (dx, dy)) in steps.iter().enumerate() {
        path.push(if at == 0 { 'l' } else { ' ' });
        // A minus sign parts numbers as well as a space does.
        path.push_str(&format!("{dx}{}{dy}", if *dy < 0 { "" } else { " " }));
    }
    path
}

/// At most `limit` points: neighbours are joined into the one that must not be missed.
fn joined(points: &[Option<f64>], limit: usize, keep: Keep) -> Vec<Option<f64>> {
    let size = points.len().div_ceil(limit.max(1)).max(1);
    let worse = match keep {
        Keep::Lowest => f64::min,
        Keep::Highest => f64::max,
    };
    points.chunks(size).map(|chunk| chunk.iter().flatten().copied().reduce(worse)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a gap breaks the line, a lone point shows, and a straight line is short.
    #[test]
    fn gaps_stay_and_straight_lines_are_short() {
        let drawn = |points: &[Option<f64>]| {
            let trace = Trace { points, class: "a", area: true, keep: Keep::Lowest };
            let chart_of = Chart {
                class: "c",
                traces: &[trace],
                low: 0.0,
                high: 1.0,
                threshold: Some(0.9),
                mark: Some(2.0),
            };
            chart(&chart_of, Words { title: "t", detail: "d" }).into_string()
        };
        let gaps = drawn(&[Some(1.0), Some(0.5), None, Some(0.25), None]);
        assert!(gaps.contains("class=\"line a\" d=\"M0 6l300 144\""), "{gaps}");
        assert!(gaps.contains("class=\"area a\" d=\"M0 6l300 144V294H0z\""));
        assert!(gaps.contains("class=\"line dot a\" d=\"M900 222h0\""), "{gaps}");
        assert!(gaps.contains("class=\"limit\"") && gaps.contains("M1200 0v300"), "{gaps}");
        assert!(drawn(&[Some(0.5); 50]).contains("d=\"M0 150l1200 0\""));
    }

    /// Guarantees that the point that matters survives joining.
    #[test]
    fn dips_and_spikes_survive() {
        let mut points = vec![Some(1.0); 1_000];
        points[501] = Some(0.0);
        points[777] = Some(9.0);
        assert!(joined(&points, 60, Keep::Lowest).contains(&Some(0.0)));
        assert!(joined(&points, 60, Keep::Highest).contains(&Some(9.0)));
        assert!(joined(&points, 60, Keep::Lowest).len() <= 60);
    }
}
