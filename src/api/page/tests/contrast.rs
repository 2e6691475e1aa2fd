//! The style sheet's colours can be told apart.

use super::super::STYLE;

/// The style sheet's colours of a scheme: those of the first or the second block of variables.
fn colour(name: &str, dark: bool) -> [f64; 3] {
    let marker = format!("--{name}: #");
    let at = STYLE
        .match_indices(&marker)
        .nth(usize::from(dark))
        .expect("every colour is in both schemes")
        .0;
    let hex = &STYLE[at + marker.len()..at + marker.len() + 6];
    [0, 2, 4].map(|place| {
        let value = f64::from(u8::from_str_radix(&hex[place..place + 2], 16).expect("hex")) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let light = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    let (a, b) = (light(one), light(other));
    a.max(b) / a.min(b)
}

/// Guarantees WCAG AA in both colour schemes: 4.5 for every colour of text on every ground that it
/// stands on, 3 for every mark of a chart on paper and cards.
#[test]
fn contrast_is_enough_in_light_and_dark() {
    let grounds = ["paper", "raised", "sunken", "good-wash", "warning-wash", "bad-wash"];
    for dark in [false, true] {
        for text in ["text", "muted", "link", "good", "warning", "bad"] {
            for ground in grounds {
                let found = contrast(colour(text, dark), colour(ground, dark));
                assert!(found >= 4.5, "{text} on {ground}, dark {dark}: {found:.2}");
            }
        }
        for mark in ["good-mark", "warning-mark", "bad-mark", "unknown-mark", "wait"] {
            for ground in ["paper", "raised"] {
                let found = contrast(colour(mark, dark), colour(ground, dark));
                assert!(found >= 3.0, "{mark} on {ground}, dark {dark}: {found:.2}");
            }
        }
    }
}
