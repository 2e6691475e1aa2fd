//! What was shown last at the thresholds of SLOs, so that no bucket ever falls back.
//!
//! Counts at a threshold are exact while an SLO counts there, and estimates from below otherwise. A
//! reload that takes the SLO away takes the better knowledge with it; what was known stays true.

use crate::model::series::SeriesId;
use std::collections::HashMap;

/// Counts by series and threshold. As many as there are on the page: those that were not asked for
/// during a scrape are forgotten.
#[derive(Debug, Default)]
pub struct Shown {
    counts: HashMap<(SeriesId, u64), Count>,
    scrape: u64,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    /// Values of the whole series; less than before means that it restarted.
    of_series: u64,
    at_threshold: u64,
    scrape: u64,
}

impl Shown {
    /// A scrape begins.
    pub(super) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
    }

    /// The larger one of `count` and what was shown before, unless the series restarted.
    pub(super) fn at_least(&mut self, place: (SeriesId, u64), of_series: u64, count: u64) -> u64 {
        let scrape = self.scrape;
        let fresh = Count { of_series, at_threshold: count, scrape };
        let known = self.counts.entry(place).or_insert(fresh);
        let restarted = of_series < known.of_series;
        let at_threshold = if restarted { count } else { count.max(known.at_threshold) };
        *known = Count { at_threshold, ..fresh };
        at_threshold
    }

    /// A scrape ends.
    pub(super) fn end(&mut self) {
        let scrape = self.scrape;
        self.counts.retain(|_, count| count.scrape == scrape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a count does not fall while its series goes on, starts anew with it, and is
    /// forgotten when nobody shows it.
    #[test]
    fn counts_do_not_fall() {
        let mut shown = Shown::default();
        let place = (SeriesId(7), 100);
        let mut scrape = |counts: Option<(u64, u64)>| {
            shown.begin();
            let got = counts.map(|(series, count)| shown.at_least(place, series, count));
            shown.end();
            got
        };
        assert_eq!(scrape(Some((10, 8))), Some(8));
        assert_eq!(scrape(Some((11, 5))), Some(8));
        assert_eq!(scrape(Some((3, 2))), Some(2));
        assert_eq!(scrape(None), None);
        assert_eq!(scrape(Some((12, 1))), Some(1));
    }
}
