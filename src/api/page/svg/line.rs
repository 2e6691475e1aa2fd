//! Lines over time, with or without the area below; gaps stay gaps.

use super::{Canvas, Words, coordinate};
use maud::{Markup, html};

const WIDTH: u32 = 400;
const HEIGHT: u32 = 100;
/// Above this many points neighbours are joined: more cannot be seen.
const POINTS: usize = 180;

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
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// Values in equal steps; None is a gap.
    pub points: &'a [Option<f64>],
    /// Class of the line.
    pub class: &'static str,
    /// Whether the area below is filled.
    pub area: bool,
}

/// Draws a chart of lines.
#[must_use]
pub fn chart(chart: &Chart<'_>, words: Words<'_>) -> Markup {
    let scale =
        Scale { low: chart.low, high: chart.high, top: 2.0, bottom: f64::from(HEIGHT) - 2.0 };
    let drawing = html! {
        @for trace in chart.traces { (traced(trace, &scale, f64::from(WIDTH))) }
        @if let Some(value) = chart.threshold {
            path class="limit" d={ "M0 " (coordinate(scale.y(value))) "h" (WIDTH) } {}
        }
        @if let Some(place) = chart.mark {
            path class="mark" d={ "M" (coordinate(place.clamp(0.0, 1.0) * f64::from(WIDTH))) " 0v" (HEIGHT) } {}
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
    pub(super) fn y(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let share = if span > 0.0 { (value - self.low) / span } else { 0.5 };
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

/// A line and its area, over the whole width.
pub(super) fn traced(trace: &Trace<'_>, scale: &Scale, width: f64) -> Markup {
    let points = joined(trace.points, POINTS);
    let step = width / points.len().saturating_sub(1).max(1) as f64;
    let (mut line, mut area) = (String::new(), String::new());
    // Starts of the present piece; a piece ends with a gap.
    let mut piece: Vec<(f64, f64)> = Vec::new();
    for (at, point) in points.iter().map(Some).chain([None]).enumerate() {
        match point.copied().flatten().filter(|value| value.is_finite()) {
            Some(value) => piece.push((at as f64 * step, scale.y(value))),
            None => end_piece(&mut piece, &mut line, &mut area, scale.bottom),
        }
    }
    html! {
        @if trace.area && !area.is_empty() { path class={ "area " (trace.class) } d=(area) {} }
        @if !line.is_empty() { path class={ "line " (trace.class) } d=(line) {} }
    }
}

fn end_piece(piece: &mut Vec<(f64, f64)>, line: &mut String, area: &mut String, bottom: f64) {
    let (Some(first), Some(last)) = (piece.first().copied(), piece.last().copied()) else { return };
    let mut outline = String::new();
    for (at, (x, y)) in piece.iter().enumerate() {
        outline.push(if at == 0 { 'M' } else { 'L' });
        outline.push_str(&format!("{} {}", coordinate(*x), coordinate(*y)));
    }
    if piece.len() == 1 {
        // A lone point between two gaps is a dot.
        outline.push_str("h1");
    }
    line.push_str(&outline);
    let (left, right, floor) = (coordinate(first.0), coordinate(last.0), coordinate(bottom));
    area.push_str(&format!("{outline}L{right} {floor}H{left}z"));
    piece.clear();
}

/// At most `limit` points: neighbours are joined into their lowest value, so that a dip stays.
fn joined(points: &[Option<f64>], limit: usize) -> Vec<Option<f64>> {
    let size = points.len().div_ceil(limit.max(1)).max(1);
    points.chunks(size).map(|chunk| chunk.iter().flatten().copied().reduce(f64::min)).collect()
}

/// [`joined`] for small drawings.
pub(super) fn few(points: &[Option<f64>]) -> Vec<Option<f64>> {
    joined(points, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a gap breaks the line, a lone point shows, and a dip survives joining.
    #[test]
    fn gaps_and_dips_stay() {
        let points = [Some(1.0), Some(0.5), None, Some(0.2), None];
        let trace = Trace { points: &points, class: "a", area: true };
        let drawn = chart(
            &Chart {
                class: "c",
                traces: &[trace],
                low: 0.0,
                high: 1.0,
                threshold: Some(0.9),
                mark: Some(2.0),
            },
            Words { title: "t", detail: "d" },
        )
        .into_string();
        assert!(drawn.contains("M0 2L100 50M300 78.8h1"), "{drawn}");
        assert!(drawn.contains("class=\"limit\""), "{drawn}");
        assert!(drawn.contains("M400 0v100"), "{drawn}");
        let mut many = vec![Some(1.0); 1_000];
        many[501] = Some(0.0);
        assert!(joined(&many, 60).contains(&Some(0.0)));
        assert!(joined(&many, 60).len() <= 60);
    }
}
