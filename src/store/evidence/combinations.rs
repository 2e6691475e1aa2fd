//! Good and total of a phone SLO by combination of dimensions: by the minute for six hours, and by the
//! hour for eight days, so that a present hour can be held against the same one a week before.
//!
//! Bounds of one SLO: [`MAX_COMBINATIONS`] by the minute and `MAX_KNOWN` in all, further ones count as
//! `other`. An hour that is over keeps its [`HOUR_COMBINATIONS`] largest and `other`: 192 hours of 101
//! combinations in tables of 25 bytes a place are 0.6 MiB; the names of 2,000 combinations about as
//! much; the minutes of 500 combinations 500 · 360 · 20 bytes = 3.4 MiB if each occurs in each minute.

use crate::model::evidence::Combination;
use crate::model::slot::{GoodTotal, Slot};
use std::collections::{BTreeMap, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

/// Combinations that are kept by the minute; further ones count as `other`.
pub const MAX_COMBINATIONS: usize = 500;
/// Combinations whose names are kept, those of past hours included.
const MAX_KNOWN: usize = 2_000;
/// Combinations of an hour that is over, beside `other`.
pub const HOUR_COMBINATIONS: usize = 100;
/// Minutes that are kept of a combination: six hours.
const MINUTES: usize = 360;
/// Ten-second slots to a minute, an hour, six hours, a week and eight days.
const MINUTE: u32 = 6;
const HOUR: u32 = 360;
const SIX_HOURS: u32 = 6 * HOUR;
const WEEK: u32 = 7 * 24 * HOUR;
const EIGHT_DAYS: u32 = 8 * 24 * HOUR;
/// An hour keeps all of its combinations for this long after its end.
const CLOSE_AFTER: u32 = HOUR;
/// Values of the combination of all that found no room.
const OTHER: [&str; 4] = ["other"; 4];

/// The hash of a combination's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CombinationId(u64);

/// Counts by combination.
#[derive(Clone, Debug, Default)]
pub struct Combinations {
    known: HashMap<CombinationId, Known, foldhash::fast::FixedState>,
    /// How many have minutes.
    recent: usize,
    hours: BTreeMap<Slot, Hour>,
}

/// A combination that occurred.
#[derive(Clone, Debug, Default)]
struct Known {
    values: Combination,
    minutes: BTreeMap<Slot, GoodTotal>,
}

/// An hour's sums.
#[derive(Clone, Debug, Default)]
struct Hour {
    sums: HashMap<CombinationId, GoodTotal, foldhash::fast::FixedState>,
    closed: bool,
}

impl Combinations {
    /// Counts events under their combination, or under `other`.
    pub fn count(&mut self, slot: Slot, values: [&str; 4], counts: GoodTotal) {
        let id = self.admit(values);
        self.add_minute(id, slot.align(MINUTE), counts);
        let hour = self.hours.entry(slot.align(HOUR)).or_default();
        let full = hour.closed && !hour.sums.contains_key(&id);
        let id = if full { self.admit(OTHER) } else { id };
        self.add_hour(id, slot.align(HOUR), counts);
    }

    /// Sums by combination over `from..to`, of the last six hours.
    #[must_use]
    pub fn sums(&self, from: Slot, to: Slot) -> Vec<(&Combination, GoodTotal)> {
        let sums = self.known.values().map(|known| {
            let mut sum = GoodTotal::default();
            known.minutes.range(from.align(MINUTE)..to).for_each(|(_, counts)| sum.add(*counts));
            (&known.values, sum)
        });
        sums.filter(|(_, counts)| !counts.is_empty()).collect()
    }

    /// Sums by combination over the hours, a week before, in which `from..to` lies.
    #[must_use]
    pub fn a_week_before(&self, from: Slot, to: Slot) -> Vec<(&Combination, GoodTotal)> {
        let mut sums: HashMap<CombinationId, GoodTotal> = HashMap::new();
        for hour in self.hours.range(from.minus(WEEK).align(HOUR)..to.minus(WEEK)) {
            for (id, counts) in &hour.1.sums {
                sums.entry(*id).or_default().add(*counts);
            }
        }
        let named = |(id, counts)| Some((&self.known.get(&id)?.values, counts));
        sums.into_iter().filter_map(named).collect()
    }

    /// Forgets minutes after six hours and hours after eight days; of hours that are over it keeps the
    /// largest combinations.
    pub fn settle(&mut self, now: Slot) {
        for known in self.known.values_mut() {
            known.minutes = known.minutes.split_off(&now.minus(SIX_HOURS));
        }
        self.recent = self.known.values().filter(|known| !known.minutes.is_empty()).count();
        let kept = self.hours.split_off(&now.minus(EIGHT_DAYS).align(HOUR));
        let dropped = std::mem::replace(&mut self.hours, kept);
        let due: Vec<Slot> = self
            .hours
            .iter()
            .filter(|(start, hour)| !hour.closed && start.plus(HOUR + CLOSE_AFTER) <= now)
            .map(|(start, _)| *start)
            .collect();
        due.iter().for_each(|hour| self.close(*hour));
        if !due.is_empty() || !dropped.is_empty() {
            let in_hours: HashSet<CombinationId> =
                self.hours.values().flat_map(|hour| hour.sums.keys().copied()).collect();
            self.known.retain(|id, known| !known.minutes.is_empty() || in_hours.contains(id));
        }
    }

    /// Every combination: id, values, minutes; for a checkpoint.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (CombinationId, &Combination, &BTreeMap<Slot, GoodTotal>)> {
        self.known.iter().map(|(id, known)| (*id, &known.values, &known.minutes))
    }

    /// Every hour: its first slot, whether it is over, its sums; for a checkpoint.
    pub fn hours(
        &self,
    ) -> impl Iterator<Item = (Slot, bool, impl Iterator<Item = (CombinationId, GoodTotal)>)> {
        let sums = |hour: &Hour| hour.sums.clone().into_iter();
        self.hours.iter().map(move |(start, hour)| (*start, hour.closed, sums(hour)))
    }

    /// Puts back a combination of a checkpoint.
    pub fn restore(&mut self, values: [&str; 4]) -> CombinationId {
        let id = CombinationId::of(values);
        let known = self.known.entry(id).or_default();
        known.values = Combination(values.map(Into::into));
        id
    }

    /// Puts back a minute of a combination.
    pub fn add_minute(&mut self, id: CombinationId, minute: Slot, counts: GoodTotal) {
        let Some(known) = self.known.get_mut(&id) else { return };
        self.recent += usize::from(known.minutes.is_empty());
        known.minutes.entry(minute).or_default().add(counts);
        while known.minutes.len() > MINUTES {
            let _ = known.minutes.pop_first();
        }
    }

    /// Puts back an hour, of which the sums are still to come.
    pub fn restore_hour(&mut self, hour: Slot, closed: bool) {
        self.hours.entry(hour).or_default().closed = closed;
    }

    /// Puts back an hour's sum of a combination.
    pub fn add_hour(&mut self, id: CombinationId, hour: Slot, counts: GoodTotal) {
        self.hours.entry(hour).or_default().sums.entry(id).or_default().add(counts);
    }

    /// The id under which a combination counts: its own while there is room.
    fn admit(&mut self, values: [&str; 4]) -> CombinationId {
        let id = CombinationId::of(values);
        let room = match self.known.get(&id) {
            Some(known) => !known.minutes.is_empty() || self.recent < MAX_COMBINATIONS,
            None => self.recent < MAX_COMBINATIONS && self.known.len() < MAX_KNOWN,
        };
        if room || values == OTHER {
            let named =
                || Known { values: Combination(values.map(Into::into)), ..Known::default() };
            let _ = self.known.entry(id).or_insert_with(named);
            return id;
        }
        self.admit(OTHER)
    }

    /// Keeps the largest combinations of an hour and adds the rest up as `other`.
    fn close(&mut self, start: Slot) {
        let other = self.admit(OTHER);
        let Some(hour) = self.hours.get_mut(&start) else { return };
        hour.closed = true;
        let mut rest = hour.sums.remove(&other).unwrap_or_default();
        let mut sums: Vec<(CombinationId, GoodTotal)> = hour.sums.drain().collect();
        // Ties are broken by id, so that the same stay whatever the order of arrival.
        sums.sort_unstable_by_key(|(id, counts)| (std::cmp::Reverse(counts.total), *id));
        sums.drain(HOUR_COMBINATIONS.min(sums.len())..).for_each(|(_, counts)| rest.add(counts));
        if !rest.is_empty() {
            sums.push((other, rest));
        }
        hour.sums = sums.into_iter().collect();
    }
}

impl CombinationId {
    fn of(values: [&str; 4]) -> Self {
        let mut bytes: smallvec::SmallVec<[u8; 128]> = smallvec::SmallVec::new();
        for value in values {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0xff);
        }
        Self(xxh3_64(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: GoodTotal = GoodTotal { bad: 1, total: 1 };

    fn at(week: u32, hour: u32, minute: u32) -> Slot {
        Slot((1_000 + week) * WEEK + hour * HOUR + minute * MINUTE)
    }

    fn named(sums: Vec<(&Combination, GoodTotal)>) -> Vec<(&str, u64)> {
        let mut named: Vec<_> = sums.into_iter().map(|(c, n)| (&*c.0[3], n.total)).collect();
        named.sort_unstable();
        named
    }

    /// Guarantees that the hours a week before are those in which the window lies, that they outlive
    /// the minutes, and that they are gone after eight days.
    #[test]
    fn the_same_hour_last_week() {
        let mut combinations = Combinations::default();
        let counted =
            [(at(0, 9, 59), "a"), (at(0, 10, 0), "b"), (at(0, 11, 59), "c"), (at(0, 12, 0), "d")];
        for (slot, region) in counted {
            combinations.count(slot, ["", "", "", region], BAD);
        }
        combinations.settle(at(0, 30, 0));
        assert_eq!(combinations.sums(at(0, 0, 0), at(0, 30, 0)), []);
        let week = |c: &Combinations, from, to| {
            named(c.a_week_before(from, to))
                .iter()
                .map(|(r, _)| (*r).to_owned())
                .collect::<String>()
        };
        assert_eq!(week(&combinations, at(1, 10, 15), at(1, 11, 15)), "bc");
        assert_eq!(week(&combinations, at(1, 10, 0), at(1, 11, 0)), "b");
        assert_eq!(week(&combinations, at(1, 9, 0), at(1, 13, 0)), "abcd");
        combinations.settle(at(1, 24 + 10, 59));
        assert_eq!(week(&combinations, at(1, 9, 0), at(1, 13, 0)), "bcd");
        combinations.settle(at(2, 24, 0));
        assert_eq!(combinations.iter().count(), 0);
    }

    /// Guarantees that an hour that is over keeps its largest combinations, the rest as `other`, also
    /// for data that comes later, and that no event is lost in its sum.
    #[test]
    fn an_hour_keeps_its_largest() {
        let mut combinations = Combinations::default();
        let regions: Vec<String> = (0..150).map(|n| format!("r{n:03}")).collect();
        for (number, region) in regions.iter().enumerate() {
            let counts = GoodTotal { bad: 1, total: number as u64 + 1 };
            combinations.count(at(0, 1, 0), ["", "", "", region], counts);
        }
        combinations.settle(at(0, 3, 0));
        combinations.count(at(0, 1, 5), ["", "", "", "r000"], BAD);
        combinations.count(at(0, 1, 5), ["", "", "", "r149"], BAD);
        let sums = named(combinations.a_week_before(at(1, 1, 0), at(1, 2, 0)));
        assert_eq!(sums.len(), HOUR_COMBINATIONS + 1);
        let of = |region: &str| sums.iter().find(|(known, _)| *known == region).map(|(_, n)| *n);
        // 1 + 2 + … + 50, and the one that came later.
        assert_eq!(of("other"), Some(50 * 51 / 2 + 1));
        assert_eq!((of("r049"), of("r050"), of("r149")), (None, Some(51), Some(151)));
        assert_eq!(sums.iter().map(|(_, n)| n).sum::<u64>(), 150 * 151 / 2 + 2);
    }

    /// Guarantees the bound by the minute: further combinations count as `other`, none is lost, and
    /// there is room again when the old ones are silent.
    #[test]
    fn combinations_are_bounded() {
        let mut combinations = Combinations::default();
        for number in 0..MAX_COMBINATIONS + 7 {
            combinations.count(at(0, 1, 0), ["", "", "", &number.to_string()], BAD);
        }
        let sums = named(combinations.sums(at(0, 1, 0), at(0, 2, 0)));
        assert_eq!(sums.len(), MAX_COMBINATIONS + 1);
        assert_eq!(sums.last(), Some(&("other", 7)));
        combinations.settle(at(0, 8, 0));
        combinations.count(at(0, 8, 0), ["", "", "", "new"], BAD);
        assert_eq!(named(combinations.sums(at(0, 8, 0), at(0, 9, 0))), [("new", 1)]);
    }
}
