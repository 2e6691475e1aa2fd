//! All indicators by their identity.

use super::indicator::IndicatorCounts;
use crate::model::objective::{IndicatorId, Slo};
use crate::model::slot::Slot;
use std::collections::HashMap;
use std::time::Duration;

/// How far beyond its SLO's window an indicator's coarse slots reach.
const REACH_BEYOND_WINDOW: Duration = Duration::from_secs(35 * 86_400);

/// Counts by indicator. Names, objectives, windows and owners may change freely: counts belong to
/// what is counted.
#[derive(Clone, Debug, Default)]
pub struct CountsBook {
    entries: HashMap<IndicatorId, Entry>,
    generation: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    counts: IndicatorCounts,
    reach: Duration,
    /// Of a new indicator: the configuration that brought it, until what the journal held of it
    /// before has been counted.
    counting_back: Option<u64>,
}

/// Indicators that are new in a configuration: they count from now on, and what was before is still
/// to be counted from the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewIndicators {
    /// Which.
    pub ids: Vec<IndicatorId>,
    /// Tells this configuration from earlier and later ones.
    generation: u64,
}

impl CountsBook {
    /// Counts for these SLOs from now on: new indicators begin at `now`, known ones go on, others
    /// are forgotten. Returns the indicators that are new: [`CountsBook::complete`] them.
    pub fn configure<'a>(
        &mut self,
        slos: impl IntoIterator<Item = &'a Slo>,
        now: Slot,
    ) -> NewIndicators {
        let mut wanted: HashMap<IndicatorId, (Vec<Duration>, Duration)> = HashMap::new();
        for slo in slos {
            let (windows, reach) = wanted.entry(slo.indicator.id()).or_default();
            windows.push(slo.window);
            windows.extend(slo.burn.iter().flat_map(|pair| [pair.long, pair.short]));
            *reach = (*reach).max(slo.window + REACH_BEYOND_WINDOW);
        }
        self.entries.retain(|id, _| wanted.contains_key(id));
        self.generation += 1;
        let generation = self.generation;
        let mut ids = Vec::new();
        for (id, (windows, reach)) in wanted {
            let entry = self.entries.entry(id).or_insert_with(|| {
                ids.push(id);
                let counting_back = Some(generation);
                Entry { counts: IndicatorCounts::new(now), reach, counting_back }
            });
            entry.reach = reach;
            entry.counts.watch(&windows);
            entry.counts.advance(now);
        }
        NewIndicators { ids, generation }
    }

    /// Whether any of these is still wanted and still to be counted.
    #[must_use]
    pub fn is_counting_back(&self, new: &NewIndicators) -> bool {
        let of_it = |id| self.entries.get(id).map(|entry| entry.counting_back);
        new.ids.iter().any(|id| of_it(id) == Some(Some(new.generation)))
    }

    /// Adds what the journal held of new indicators before they were configured. Those that went
    /// away meanwhile are left out.
    pub fn complete(&mut self, new: &NewIndicators, before: &CountsBook) {
        for id in &new.ids {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if entry.counting_back != Some(new.generation) {
                continue;
            }
            entry.counting_back = None;
            if let Some(before) = before.get(*id) {
                entry.counts.merge(before);
            }
        }
    }

    /// An indicator's counts.
    #[must_use]
    pub fn get(&self, id: IndicatorId) -> Option<&IndicatorCounts> {
        self.entries.get(&id).map(|entry| &entry.counts)
    }

    /// An indicator's counts, to add to.
    pub fn get_mut(&mut self, id: IndicatorId) -> Option<&mut IndicatorCounts> {
        self.entries.get_mut(&id).map(|entry| &mut entry.counts)
    }

    /// Moves all windows to end with `now`.
    pub fn advance(&mut self, now: Slot) {
        self.entries.values_mut().for_each(|entry| entry.counts.advance(now));
    }

    /// Forgets what no window reaches and packs what is at rest.
    pub fn settle(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.counts.settle(entry.reach));
    }

    /// Puts back an indicator of a checkpoint; [`CountsBook::configure`] then decides whether it is
    /// still wanted.
    pub fn restore(&mut self, id: IndicatorId, counts: IndicatorCounts) {
        let entry = Entry { counts, reach: REACH_BEYOND_WINDOW, counting_back: None };
        let _ = self.entries.insert(id, entry);
    }

    /// Every indicator, for a checkpoint. One that is not complete is left out: a start from the
    /// checkpoint finds it new again, and counts all of it.
    pub fn iter(&self) -> impl Iterator<Item = (IndicatorId, &IndicatorCounts)> {
        let complete = self.entries.iter().filter(|(_, entry)| entry.counting_back.is_none());
        complete.map(|(id, entry)| (*id, &entry.counts))
    }
}
