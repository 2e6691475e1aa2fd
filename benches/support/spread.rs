//! A figure from several rounds: the median and how far the rounds differ.

use anyhow::Context;
use std::fmt;

/// The same figure from several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> anyhow::Result<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().context("no figures");
        let last = sorted.len().saturating_sub(1);
        Ok(Self { median: at(last / 2)?, low: at(0)?, high: at(last)? })
    }
}

/// Median, and lowest and highest in brackets; with the formatter's precision.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let Self { median, low, high } = self;
        if low == high {
            return write!(f, "{median:.digits$}");
        }
        write!(f, "{median:.digits$} ({low:.digits$}..{high:.digits$})")
    }
}
