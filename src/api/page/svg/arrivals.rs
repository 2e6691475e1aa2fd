//! Messages on a run's time axis: a tick each, a tall one for what a step was waiting for.

use super::{Canvas, ROW_HEIGHT, Words};
use crate::model::probe::MessageStamp;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Units of width; ticks that fall on the same one are drawn once.
const WIDTH: u32 = 600;

/// Draws when messages came in a run that took `total_ns`.
#[must_use]
pub fn arrivals(total_ns: u64, stamps: &[MessageStamp], words: Words<'_>) -> Markup {
    let ticks = |matched: bool, height: u32| -> String {
        let of_kind = stamps.iter().filter(|stamp| stamp.matched == matched);
        let places: BTreeSet<u32> = of_kind.map(|stamp| place(stamp.offset_ns, total_ns)).collect();
        let y = (ROW_HEIGHT - height) / 2;
        places.into_iter().map(|x| format!("M{x} {y}h2v{height}h-2z")).collect()
    };
    let (other, awaited) = (ticks(false, 6), ticks(true, 12));
    let drawing = html! {
        path class="extent" d={ "M0 6h" (WIDTH) "v2H0z" } {}
        @if !other.is_empty() { path class="transfer" d=(other) {} }
        @if !awaited.is_empty() { path class="wait" d=(awaited) {} }
    };
    Canvas { class: "spread", width: WIDTH, height: ROW_HEIGHT }.draw(words, &drawing)
}

fn place(offset_ns: u64, total_ns: u64) -> u32 {
    let share = offset_ns as f64 / total_ns.max(1) as f64;
    (share.clamp(0.0, 1.0) * f64::from(WIDTH - 2)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees ticks in proportion to time, two kinds, and a bound for very many messages.
    #[test]
    fn ticks_lie_on_the_axis() {
        let stamp =
            |offset_ns, matched| MessageStamp { offset_ns, size_bytes: 1, receiver: 0, matched };
        let words = Words { title: "t", detail: "d" };
        let drawn = arrivals(100, &[stamp(0, false), stamp(50, true)], words).into_string();
        assert!(drawn.contains("class=\"transfer\" d=\"M0 4h2v6h-2z\""), "{drawn}");
        assert!(drawn.contains("class=\"wait\" d=\"M299 1h2v12h-2z\""), "{drawn}");
        let many: Vec<_> = (0..50_000).map(|at| stamp(at, false)).collect();
        assert!(arrivals(7, &many, words).into_string().len() < 16_384);
    }
}
