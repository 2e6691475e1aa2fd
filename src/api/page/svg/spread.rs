//! A message on its way to many receivers: from the sending to the last who got it.
//!
//! The first half of the receivers is drawn full, the rest up to 99 of 100 lower, the tail lowest.

use super::{Canvas, ROW_HEIGHT, Words, coordinate};
use maud::{Markup, html};

const WIDTH: u32 = 300;

/// When receivers had a message, nanoseconds since it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The first of them.
    pub first: u64,
    /// Half of them.
    pub median: u64,
    /// All but one of a hundred.
    pub p99: u64,
    /// The last.
    pub last: u64,
}

/// Draws a spread on an axis from the sending to the last receiver.
#[must_use]
pub fn spread(spread: Spread, words: Words<'_>) -> Markup {
    let Spread { first, median, p99, last } = spread;
    let x = |ns: u64| ns as f64 / last.max(1) as f64 * f64::from(WIDTH);
    let block = |from: u64, to: u64, height: u32| {
        let start = x(from.min(last)).min(f64::from(WIDTH) - 1.0);
        let width = (x(to.min(last)) - start).max(1.0);
        let (x, y) = (coordinate(start), (ROW_HEIGHT - height) / 2);
        format!("M{x} {y}h{}v{height}H{x}z", coordinate(width))
    };
    let drawing = html! {
        path class="extent" d=(block(0, first, 2)) {}
        path class="setup" d=(block(p99, last, 4)) {}
        path class="transfer" d=(block(median, p99, 8)) {}
        path class="wait" d=(block(first, median, 12)) {}
    };
    Canvas { class: "spread", width: WIDTH, height: ROW_HEIGHT }.draw(words, &drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees places in proportion to time, and a drawing within its bounds for odd times.
    #[test]
    fn receivers_lie_on_the_axis() {
        let words = Words { title: "t", detail: "d" };
        let drawn = |first, median, p99, last| {
            spread(Spread { first, median, p99, last }, words).into_string()
        };
        let usual = drawn(100, 150, 200, 300);
        assert!(usual.contains("class=\"wait\" d=\"M100 1h50v12H100z\""), "{usual}");
        assert!(usual.contains("class=\"setup\" d=\"M200 5h100v4H200z\""), "{usual}");
        for odd in [drawn(0, 0, 0, 0), drawn(u64::MAX, 0, 7, 1)] {
            assert!(odd.contains("class=\"wait\" d=\"M"), "{odd}");
            assert!(!odd.contains("h-") && !odd.contains("NaN"), "{odd}");
        }
    }
}
