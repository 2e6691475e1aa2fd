//! A cell of the phones' matrix: how much of its own budget a combination spends.

use maud::{Markup, html};

const WIDTH: u32 = 60;
const HEIGHT: u32 = 4;

/// Draws bad events against what the objective allows: the middle, which the style sheet ticks, is
/// exactly the objective, the right end twice as many bad events as allowed or more. A table has
/// many of these: `words` are its name and its tooltip at once.
#[must_use]
pub fn cell(good: u64, total: u64, objective: f64, words: &str) -> Markup {
    let bad = total.saturating_sub(good) as f64;
    let allowed = (1.0 - objective) * total as f64;
    let spent = if allowed > 0.0 { bad / allowed } else { 0.0 };
    let width = ((spent / 2.0).clamp(0.0, 1.0) * f64::from(WIDTH)).round() as i64;
    html! {
        svg .spent viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" {
            title { (words) }
            path d={ "M0 0h" (width) "v" (HEIGHT) "H0z" } {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that the middle is the objective and the end is never passed.
    #[test]
    fn the_middle_is_the_objective() {
        for (good, expected) in [(1_000, "M0 0h0v"), (990, "M0 0h30v"), (0, "M0 0h60v")] {
            let drawn = cell(good, 1_000, 0.99, "words").into_string();
            assert!(drawn.contains(expected) && drawn.contains("<title>words"), "{drawn}");
        }
    }
}
