//! A cell of the phones' matrix: how much of its own budget a combination spends.

use super::{Canvas, Words, coordinate};
use maud::{Markup, html};

const WIDTH: u32 = 60;
const HEIGHT: u32 = 4;

/// Draws bad events against what the objective allows: the tick in the middle is exactly the
/// objective, the right end twice as many bad events as allowed or more.
#[must_use]
pub fn cell(
    good: u64,
    total: u64,
    objective: f64,
    class: &'static str,
    words: Words<'_>,
) -> Markup {
    let bad = total.saturating_sub(good) as f64;
    let allowed = (1.0 - objective) * total as f64;
    let spent = if allowed > 0.0 { bad / allowed } else { 0.0 };
    let width = coordinate((spent / 2.0).clamp(0.0, 1.0) * f64::from(WIDTH));
    let drawing = html! {
        rect class="track" width=(WIDTH) height=(HEIGHT) {}
        rect class={ "fill " (class) } width=(width) height=(HEIGHT) {}
        path class="tick" d={ "M" (WIDTH / 2) " 0v" (HEIGHT) } {}
    };
    Canvas { class: "spent", width: WIDTH, height: HEIGHT }.draw(words, &drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the middle is the objective and the end is never passed.
    #[test]
    fn the_middle_is_the_objective() {
        let drawn =
            |good| cell(good, 1_000, 0.99, "good", Words { title: "t", detail: "d" }).into_string();
        assert!(drawn(1_000).contains("width=\"0\""));
        assert!(drawn(990).contains("width=\"30\""));
        assert!(drawn(0).contains("fill good\" width=\"60\""));
    }
}
