//! The time axis of a waterfall: round ticks, and bars that line up with them.

use super::super::palette::{DIM, paint};
use anstyle::Style;

/// Ticks after 0; more would crowd.
const MAX_TICKS: u64 = 5;
/// A tick's label and the space after it.
const LABEL: usize = 8;

/// Some nanoseconds over some cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// All of it, at least 1.
    span_ns: u64,
    cells: usize,
    /// From tick to tick.
    step_ns: u64,
}

impl Axis {
    /// `span_ns` over `cells`.
    pub(super) fn new(span_ns: u64, cells: usize) -> Self {
        let span_ns = span_ns.max(1);
        let ticks = MAX_TICKS.min((cells / LABEL) as u64).max(1);
        let step_ns = round_up(span_ns.div_ceil(ticks));
        Self { span_ns, cells, step_ns }
    }

    /// The labels: `0   20ms   40ms`.
    pub(super) fn labels(&self) -> String {
        let mut line = String::new();
        for tick in self.ticks() {
            let at = self.cell(tick);
            let label = label(tick);
            let used = line.chars().count();
            if at >= used && at + label.chars().count() <= self.cells {
                line.push_str(&" ".repeat(at - used));
                line.push_str(&label);
                line.push(' ');
            }
        }
        paint(DIM, line.trim_end())
    }

    /// A line of cells with a bar from `offset_ns` for `length_ns`, and ticks where it is not.
    pub(super) fn bar(&self, offset_ns: u64, length_ns: u64, cell: &str, style: Style) -> String {
        let from = self.cell(offset_ns).min(self.cells.saturating_sub(1));
        let to = self
            .cell(offset_ns.saturating_add(length_ns))
            .clamp(from + 1, self.cells.max(from + 1));
        let bar = paint(style, &cell.repeat(to - from));
        format!("{}{bar}{}", self.grid(0, from), self.grid(to, self.cells))
    }

    /// Cells without a bar: ticks show through.
    fn grid(&self, from: usize, to: usize) -> String {
        let at_tick = |cell| self.ticks().skip(1).any(|tick| self.cell(tick) == cell);
        let cells: String = (from..to).map(|cell| if at_tick(cell) { '┊' } else { ' ' }).collect();
        if cells.is_empty() { cells } else { paint(DIM, &cells) }
    }

    fn ticks(&self) -> impl Iterator<Item = u64> {
        (0..)
            .map(|index| self.step_ns.saturating_mul(index))
            .take_while(|tick| *tick < self.span_ns)
    }

    fn cell(&self, ns: u64) -> usize {
        let cell = u128::from(ns) * self.cells as u128 / u128::from(self.span_ns);
        usize::try_from(cell).unwrap_or(self.cells)
    }
}

/// The next of 1, 2, 5, 10, 20, 50, …
fn round_up(ns: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for round in [power, power.saturating_mul(2), power.saturating_mul(5)] {
            if round >= ns {
                return round;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// A round number of nanoseconds in its unit.
fn label(ns: u64) -> String {
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{}ms", ns as f64 / 1e6),
        _ => format!("{}s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::terminal::plain;
    use super::*;

    fn bar(span_ns: u64, cells: usize, offset_ns: u64, length_ns: u64) -> String {
        plain(&Axis::new(span_ns, cells).bar(offset_ns, length_ns, "━", Style::new()))
    }

    /// Guarantees that a bar lies where its time lies, that the shortest phase is seen, and that no
    /// line is longer or shorter than the axis.
    #[test]
    fn bars_lie_where_their_time_lies() {
        assert_eq!(bar(100, 10, 0, 100), "━━━━━━━━━━");
        assert_eq!(bar(100, 10, 30, 40), "   ━━━━   ");
        assert_eq!(bar(100, 10, 99, 0), "         ━");
        assert_eq!(bar(0, 10, 0, 0), "━         ");
        for (offset, length) in [(0, 0), (999, 1), (1_000, 50), (u64::MAX, u64::MAX), (1, 998)] {
            for cells in [1, 7, 53, 134] {
                assert_eq!(bar(1_000, cells, offset, length).chars().count(), cells);
            }
        }
    }

    /// Guarantees round ticks whose labels stand over them and fit.
    #[test]
    fn ticks_are_round() {
        let check = |span_ns: u64, cells: usize, expected: &str| {
            let axis = Axis::new(span_ns, cells);
            assert_eq!(plain(&axis.labels()), expected);
        };
        check(5_000_000, 50, "0         1ms       2ms       3ms       4ms");
        check(90_000_000, 45, "0         20ms      40ms      60ms      80ms");
        check(7_000_000_000, 20, "0             5s");
        check(u64::MAX, 20, "0          10000000000s".split_at(1).0);
        let axis = Axis::new(5_000_000, 50);
        let line = plain(&axis.bar(0, 0, "━", Style::new()));
        assert_eq!(line.chars().filter(|c| *c == '┊').count(), 4);
        assert_eq!(line.chars().nth(10), Some('┊'));
    }
}
