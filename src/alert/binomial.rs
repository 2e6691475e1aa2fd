//! The low-traffic gate: how unlikely are this many bad events if the objective is just met?
//!
//! Plain burn-rate rules page a healthy one-minute probe some twenty times a month, because one
//! failure is 1.67 % of an hour. The exact one-sided binomial test tells chance from a burn.

/// A pair fires only when chance explains its bad count with less than this probability.
pub const SIGNIFICANCE: f64 = 1e-4;

/// P(X ≥ `bad`) for X binomial with `total` trials of probability `p`: the regularised incomplete
/// beta function I_p(bad, total − bad + 1). Relative error below 1e-9.
#[must_use]
pub fn tail_probability(bad: u64, total: u64, p: f64) -> f64 {
    if bad == 0 {
        return 1.0;
    }
    if bad > total || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    regularised_beta(p, bad as f64, (total - bad) as f64 + 1.0)
}

/// Whether the bad count is significant against an objective that admits `budget_ratio` bad ones.
#[must_use]
pub fn is_significant(bad: u64, total: u64, budget_ratio: f64) -> bool {
    tail_probability(bad.min(total), total, budget_ratio) < SIGNIFICANCE
}

/// I_x(a, b) by Lentz's continued fraction (DLMF 8.17.22), on the side where it converges fast.
fn regularised_beta(x: f64, a: f64, b: f64) -> f64 {
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(x, a, b) / a
    } else {
        1.0 - front * continued_fraction(1.0 - x, b, a) / b
    }
}

fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-14 {
            break;
        }
    }
    fraction
}

/// ln Γ(x) for x > 0 by Lanczos' approximation (g = 7, n = 9), relative error below 1e-13.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let series = COEFFICIENTS
        .iter()
        .zip(1..)
        .fold(0.999_999_999_999_809_9, |sum, (c, k)| sum + c / (x + f64::from(k)));
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The sum itself, term by term: the definition.
    fn brute_force(bad: u64, total: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powi(total as i32);
        let mut below = 0.0;
        for k in 0..bad {
            below += term;
            term *= (total - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        1.0 - below
    }

    proptest! {
        /// Guarantees agreement with the definition where that can be summed: its first term, (1-p)^n,
        /// must not underflow.
        #[test]
        fn agrees_with_the_sum(total in 1_u64..400, part in 0.0_f64..1.0, p in 0.001_f64..0.5) {
            let bad = (total as f64 * part) as u64;
            let (got, expected) = (tail_probability(bad, total, p), brute_force(bad, total, p));
            prop_assert!((got - expected).abs() < 1e-9, "{got} against {expected}");
        }
    }

    /// Guarantees the decisive cases of a 99.9 % objective: how many failures of a one-minute probe
    /// make an hour significant.
    #[test]
    fn a_single_failure_is_chance_and_three_are_not() {
        assert!(!is_significant(1, 60, 0.001));
        assert!(!is_significant(2, 60, 0.001));
        assert!(is_significant(3, 60, 0.001));
        assert!(is_significant(2, 2, 0.001));
        assert!(!is_significant(0, 0, 0.001));
    }

    /// Guarantees sanity at millions of events.
    #[test]
    fn large_counts_converge() {
        let at_mean = tail_probability(10_000, 10_000_000, 0.001);
        assert!((at_mean - 0.5).abs() < 0.01, "{at_mean}");
        assert!(tail_probability(11_000, 10_000_000, 0.001) < 1e-20);
    }
}
