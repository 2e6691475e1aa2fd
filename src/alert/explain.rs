//! Which value of which dimension explains the excess of bad events, and with how much of the
//! traffic.
//!
//! What is usual for a combination of dimensions is its ratio in the same hour a week before
//! ([`Usual`]). The excess is what goes beyond that, so a region that is always slow is not named. A
//! subset qualifies when its bad count is no chance even if its ratio had risen as much as that of the
//! rest: expected = usual + traffic · rise of the rest. Singles and pairs of dimensions are tried; the
//! winner explains the most beyond its share of traffic. Without a week before nothing is usual, and
//! the subset is compared with the rest alone.

use super::binomial;
use crate::model::evidence::{Combination, DIMENSIONS};
use crate::model::slot::{GoodTotal, Slot};
use crate::store::evidence::PhoneEvidence;
use std::collections::{BTreeMap, HashMap};

/// A subset must explain at least this share of the excess to be named.
const MIN_SHARE: f64 = 0.5;
/// A pair of dimensions must explain its traffic this much better than the best single one.
const PAIR_ADVANTAGE: f64 = 0.05;

/// Events of the week before from which a ratio is taken; of fewer the next coarser one.
const MIN_USUAL: u64 = 50;
/// Evidence by the minute reaches back this far, in ten-second slots: six hours.
const REACH: u32 = 2_160;

/// A subset of the traffic and what it explains.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Dimensions and their values, one or two.
    pub dimensions: Vec<(&'static str, String)>,
    /// The share of all excess bad events that falls into it, 0..=1.
    pub excess_share: f64,
    /// Its share of all events, 0..=1.
    pub traffic_share: f64,
    /// Its own counts.
    pub counts: GoodTotal,
}

/// What was bad a week before.
#[derive(Debug, Default)]
pub struct Usual<'a> {
    combinations: HashMap<&'a Combination, GoodTotal>,
    /// Whatever the release: a new one has no week before, its region does.
    any_release: HashMap<&'a [Box<str>], GoodTotal>,
    all: GoodTotal,
}

/// Events of a subset, and how many of them would usually be bad.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    counts: GoodTotal,
    usual_bad: f64,
}

/// The best explanation of what was bad within `from..to`, if there is a good one.
#[must_use]
pub fn within(evidence: &PhoneEvidence, from: Slot, to: Slot) -> Option<Explanation> {
    let from = from.max(to.minus(REACH));
    let usual = Usual::new(&evidence.combinations.a_week_before(from, to));
    explain(&evidence.sums(from, to), &usual)
}

/// The best explanation, if there is a good one.
#[must_use]
pub fn explain(sums: &[(&Combination, GoodTotal)], usual: &Usual<'_>) -> Option<Explanation> {
    let tally = |(combination, counts): &(&Combination, GoodTotal)| Tally {
        counts: *counts,
        usual_bad: counts.total as f64 * usual.ratio(combination),
    };
    let mut all = Tally::default();
    sums.iter().for_each(|sum| all.add(tally(sum)));
    if all.counts.bad == 0 || all.counts.total == 0 {
        return None;
    }
    let of_subsets = subsets(sums.iter().map(|sum| (sum.0, tally(sum))));
    let mut candidates: Vec<Explanation> =
        of_subsets.into_iter().filter_map(|(dims, tally)| judge(dims, tally, all)).collect();
    candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let best_single = candidates.iter().find(|c| c.dimensions.len() == 1);
    let best = candidates.first()?;
    match best_single {
        Some(single) if best.score() - single.score() < PAIR_ADVANTAGE => Some(single.clone()),
        _ => Some(best.clone()),
    }
}

impl<'a> Usual<'a> {
    /// Of the sums of the week before; empty when there are none.
    #[must_use]
    pub fn new(sums: &[(&'a Combination, GoodTotal)]) -> Self {
        let mut usual = Self::default();
        for (combination, counts) in sums {
            usual.combinations.entry(combination).or_default().add(*counts);
            usual.any_release.entry(any_release(combination)).or_default().add(*counts);
            usual.all.add(*counts);
        }
        usual
    }

    /// The share of bad events that is usual for a combination; 0 when nothing is known.
    fn ratio(&self, combination: &Combination) -> f64 {
        let known = [
            self.combinations.get(combination),
            self.any_release.get(any_release(combination)),
            Some(&self.all),
        ];
        let mut enough = known.into_iter().flatten().filter(|counts| counts.total >= MIN_USUAL);
        enough.next().and_then(|counts| counts.bad_ratio()).unwrap_or(0.0)
    }
}

/// All values but the release, which is the first dimension.
fn any_release(combination: &Combination) -> &[Box<str>] {
    combination.0.split_first().map_or(&[], |(_, rest)| rest)
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.usual_bad += other.usual_bad;
    }

    /// Bad events beyond the usual ones; below zero when there were fewer.
    fn beyond_usual(self) -> f64 {
        self.counts.bad as f64 - self.usual_bad
    }
}

impl Explanation {
    /// `app 4.2.0 on cell explains 93 % of it with 6 % of the traffic`
    #[must_use]
    pub fn sentence(&self) -> String {
        let parts: Vec<String> =
            self.dimensions.iter().map(|(name, value)| named(name, value)).collect();
        format!(
            "{} explains {:.0} % of it with {:.0} % of the traffic",
            parts.join(" and "),
            self.excess_share * 100.0,
            self.traffic_share * 100.0
        )
    }

    fn score(&self) -> f64 {
        self.excess_share - self.traffic_share
    }
}

fn named(dimension: &str, value: &str) -> String {
    let word = match dimension {
        "service.version" => "release",
        "os.name" => "OS",
        "network.connection.type" => "network",
        other => other,
    };
    format!("{word} {value}")
}

type Subset = Vec<(usize, Box<str>)>;

/// Tallies of every value of every dimension, and of every pair of values of two.
fn subsets<'a>(tallies: impl Iterator<Item = (&'a Combination, Tally)>) -> BTreeMap<Subset, Tally> {
    let mut subsets: BTreeMap<Subset, Tally> = BTreeMap::new();
    for (combination, tally) in tallies {
        let values: Vec<(usize, &Box<str>)> =
            combination.0.iter().enumerate().filter(|(_, value)| !value.is_empty()).collect();
        for (at, (first, value)) in values.iter().enumerate() {
            let single = vec![(*first, (*value).clone())];
            for (second, other) in values.iter().skip(at + 1) {
                let mut pair = single.clone();
                pair.push((*second, (*other).clone()));
                subsets.entry(pair).or_default().add(tally);
            }
            subsets.entry(single).or_default().add(tally);
        }
    }
    subsets
}

fn judge(subset: Subset, tally: Tally, all: Tally) -> Option<Explanation> {
    let counts = tally.counts;
    let rest_total = all.counts.total.saturating_sub(counts.total);
    // A subset that is all of the traffic explains nothing.
    if rest_total == 0 {
        return None;
    }
    let rest_beyond = all.beyond_usual() - tally.beyond_usual();
    let rise_of_rest = (rest_beyond / rest_total as f64).clamp(0.0, 0.999_999);
    let traffic = counts.total.max(1) as f64;
    let expected_ratio = (tally.usual_bad / traffic + rise_of_rest).min(0.999_999);
    if counts.bad as f64 <= counts.total as f64 * expected_ratio || all.beyond_usual() <= 0.0 {
        return None;
    }
    let by_chance = expected_ratio.max(1.0 / (rest_total as f64 + 2.0));
    let significant = binomial::is_significant(counts.bad, counts.total.max(counts.bad), by_chance);
    let excess_share = (tally.beyond_usual() / all.beyond_usual()).min(1.0);
    let names = |at: usize| DIMENSIONS.get(at).copied().unwrap_or("");
    (significant && excess_share >= MIN_SHARE).then(|| Explanation {
        dimensions: subset.into_iter().map(|(at, value)| (names(at), value.into())).collect(),
        excess_share,
        traffic_share: counts.total as f64 / all.counts.total as f64,
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combination(version: &str, os: &str, network: &str, region: &str) -> Combination {
        Combination([version, os, network, region].map(Into::into))
    }

    fn fleet(bad_of: impl Fn(&str, &str, &str) -> u64) -> Vec<(Combination, GoodTotal)> {
        let mut fleet = Vec::new();
        for version in ["4.1.0", "4.2.0"] {
            for network in ["wifi", "cell"] {
                for region in ["eu", "us", "ap"] {
                    let counts = GoodTotal { bad: bad_of(version, network, region), total: 1_000 };
                    fleet.push((combination(version, "iOS", network, region), counts));
                }
            }
        }
        fleet
    }

    fn explained(fleet: &[(Combination, GoodTotal)]) -> Option<Vec<(&'static str, String)>> {
        let sums: Vec<_> = fleet.iter().map(|(c, n)| (c, *n)).collect();
        explain(&sums, &Usual::default()).map(|e| e.dimensions)
    }

    /// Guarantees that one guilty value is named alone, two together as a pair, and nobody when
    /// everybody suffers alike.
    #[test]
    fn names_the_guilty_and_nobody_else() {
        let one = fleet(|_, _, region| if region == "ap" { 300 } else { 2 });
        assert_eq!(explained(&one), Some(vec![("region", "ap".to_owned())]));
        let two = fleet(
            |version, network, _| if (version, network) == ("4.2.0", "cell") { 300 } else { 2 },
        );
        let pair = vec![
            ("service.version", "4.2.0".to_owned()),
            ("network.connection.type", "cell".to_owned()),
        ];
        assert_eq!(explained(&two), Some(pair));
        assert_eq!(explained(&fleet(|_, _, _| 40)), None);
        assert_eq!(explained(&fleet(|_, _, _| 0)), None);
        assert_eq!(explained(&[]), None);
    }

    /// Guarantees the shares in the sentence.
    #[test]
    fn the_sentence_has_both_shares() {
        let fleet = fleet(|_, _, region| if region == "ap" { 300 } else { 0 });
        let sums: Vec<_> = fleet.iter().map(|(c, n)| (c, *n)).collect();
        let sentence = explain(&sums, &Usual::default()).expect("explained").sentence();
        assert_eq!(sentence, "region ap explains 100 % of it with 33 % of the traffic");
    }

    /// Traffic by (release, region): bad and total, now and a week before, through the evidence.
    fn a_week_apart(
        now: &[(&str, &str, u64, u64)],
        before: &[(&str, &str, u64, u64)],
    ) -> PhoneEvidence {
        let mut evidence = PhoneEvidence::default();
        for (at, rows) in [(THEN, before), (NOW, now)] {
            for (release, region, bad, total) in rows {
                let counts = GoodTotal { bad: *bad, total: *total };
                evidence.count(at, [release, "iOS", "wifi", region], counts);
            }
        }
        evidence
    }

    const NOW: Slot = Slot(60_480 * 100);
    const THEN: Slot = Slot(60_480 * 99);

    fn named(now: &[(&str, &str, u64, u64)], before: &[(&str, &str, u64, u64)]) -> Option<String> {
        let found = within(&a_week_apart(now, before), NOW, NOW.plus(6));
        found.map(|explanation| explanation.sentence())
    }

    /// Guarantees that a region which is always slow is named neither when nothing changed nor when
    /// another one got worse, and that without a week before it would be.
    #[test]
    fn what_is_always_slow_is_not_to_blame() {
        let usual = [("1", "eu", 10, 1_000), ("1", "ap", 300, 1_000), ("1", "us", 10, 1_000)];
        assert_eq!(named(&usual, &usual), None);
        let alone = named(&usual, &[]);
        // 300 of 320 bad, 1,000 of 3,000 events.
        assert_eq!(
            alone.as_deref(),
            Some("region ap explains 94 % of it with 33 % of the traffic")
        );
        let us_is_worse =
            [("1", "eu", 10, 1_000), ("1", "ap", 300, 1_000), ("1", "us", 110, 1_000)];
        // All of the 100 beyond the usual 320.
        assert_eq!(
            named(&us_is_worse, &usual).as_deref(),
            Some("region us explains 100 % of it with 33 % of the traffic")
        );
        // ap is 300 above 30 %, eu and us 20 each above 1 %: 300 / 340 of the excess.
        let ap_is_worse = [("1", "eu", 30, 1_000), ("1", "ap", 600, 1_000), ("1", "us", 30, 1_000)];
        assert_eq!(
            named(&ap_is_worse, &usual).as_deref(),
            Some("region ap explains 88 % of it with 33 % of the traffic")
        );
    }

    /// Guarantees that nobody is named when everybody got worse alike, however unlike they usually are.
    #[test]
    fn a_rise_of_all_is_nobodys() {
        let usual = [("1", "eu", 10, 1_000), ("1", "ap", 300, 1_000), ("1", "us", 10, 1_000)];
        let all = [("1", "eu", 110, 1_000), ("1", "ap", 400, 1_000), ("1", "us", 110, 1_000)];
        assert_eq!(named(&all, &usual), None);
    }

    /// Guarantees that a new release is judged by what is usual where it runs: not to blame for a slow
    /// region, to blame for what it makes worse itself.
    #[test]
    fn a_new_release_has_the_week_of_its_region() {
        let usual = [("1", "eu", 10, 1_000), ("1", "ap", 300, 1_000)];
        let harmless = [("1", "eu", 10, 1_000), ("1", "ap", 30, 100), ("2", "ap", 270, 900)];
        assert_eq!(named(&harmless, &usual), None);
        let broken = [
            ("1", "eu", 9, 900),
            ("2", "eu", 51, 100),
            ("1", "ap", 270, 900),
            ("2", "ap", 80, 100),
        ];
        // Usual for release 2: 1 + 30 of 131; all of the 100 beyond it, with 200 of 2,000 events.
        assert_eq!(
            named(&broken, &usual).as_deref(),
            Some("release 2 explains 100 % of it with 10 % of the traffic")
        );
    }

    /// Guarantees that a handful of events a week before is not taken for what is usual.
    #[test]
    fn too_little_is_no_week() {
        let now = [("1", "eu", 10, 1_000), ("1", "ap", 300, 1_000)];
        let few = [("1", "eu", 0, 20), ("1", "ap", 9, 20)];
        assert_eq!(named(&now, &few), named(&now, &[]));
        assert!(named(&now, &few).is_some());
    }
}
