//! Which value of which dimension explains the excess of bad events, and with how much of the
//! traffic.
//!
//! The excess of a subset is its bad events beyond what its traffic would have had at the ratio of
//! the rest. Singles and pairs of dimensions are tried; the winner explains the most beyond its
//! share of traffic. Only subsets whose bad count is no chance qualify.

use super::binomial;
use crate::model::evidence::{Combination, DIMENSIONS};
use crate::model::slot::GoodTotal;
use std::collections::BTreeMap;

/// A subset must explain at least this share of the excess to be named.
const MIN_SHARE: f64 = 0.5;
/// A pair of dimensions must explain its traffic this much better than the best single one.
const PAIR_ADVANTAGE: f64 = 0.05;

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

/// The best explanation, if there is a good one.
#[must_use]
pub fn explain(sums: &[(&Combination, GoodTotal)]) -> Option<Explanation> {
    let mut all = GoodTotal::default();
    sums.iter().for_each(|(_, counts)| all.add(*counts));
    if all.bad == 0 || all.total == 0 {
        return None;
    }
    let mut candidates: Vec<Explanation> =
        subsets(sums).into_iter().filter_map(|(dims, counts)| judge(dims, counts, all)).collect();
    candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let best_single = candidates.iter().find(|c| c.dimensions.len() == 1);
    let best = candidates.first()?;
    match best_single {
        Some(single) if best.score() - single.score() < PAIR_ADVANTAGE => Some(single.clone()),
        _ => Some(best.clone()),
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

/// Counts of every value of every dimension, and of every pair of values of two.
fn subsets(sums: &[(&Combination, GoodTotal)]) -> BTreeMap<Subset, GoodTotal> {
    let mut subsets: BTreeMap<Subset, GoodTotal> = BTreeMap::new();
    for (combination, counts) in sums {
        let values: Vec<(usize, &Box<str>)> =
            combination.0.iter().enumerate().filter(|(_, value)| !value.is_empty()).collect();
        for (at, (first, value)) in values.iter().enumerate() {
            let single = vec![(*first, (*value).clone())];
            for (second, other) in values.iter().skip(at + 1) {
                let mut pair = single.clone();
                pair.push((*second, (*other).clone()));
                subsets.entry(pair).or_default().add(*counts);
            }
            subsets.entry(single).or_default().add(*counts);
        }
    }
    subsets
}

fn judge(subset: Subset, counts: GoodTotal, all: GoodTotal) -> Option<Explanation> {
    let rest =
        GoodTotal { bad: all.bad - counts.bad, total: all.total.saturating_sub(counts.total) };
    // A subset that is all of the traffic explains nothing.
    let rest_ratio = rest.bad_ratio()?.min(0.999_999);
    let excess = counts.bad as f64 - counts.total as f64 * rest_ratio;
    let excess_of_all = all.bad as f64 - all.total as f64 * rest_ratio;
    if excess <= 0.0 || excess_of_all <= 0.0 {
        return None;
    }
    let by_chance = rest_ratio.max(1.0 / (rest.total as f64 + 2.0));
    let significant = binomial::is_significant(counts.bad, counts.total.max(counts.bad), by_chance);
    let share_of_bad = counts.bad as f64 / all.bad as f64;
    let excess_share = (excess / excess_of_all).min(share_of_bad);
    let names = |at: usize| DIMENSIONS.get(at).copied().unwrap_or("");
    (significant && excess_share >= MIN_SHARE).then(|| Explanation {
        dimensions: subset.into_iter().map(|(at, value)| (names(at), value.into())).collect(),
        excess_share,
        traffic_share: counts.total as f64 / all.total as f64,
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
        explain(&sums).map(|e| e.dimensions)
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
        let sentence = explain(&sums).expect("explained").sentence();
        assert_eq!(sentence, "region ap explains 100 % of it with 33 % of the traffic");
    }
}
