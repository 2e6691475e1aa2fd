//! Everything for one receiver: its lanes, and a timetable of which may be tried when.
//!
//! Lanes go in parallel up to a bound and in the order in which they fell due, so that one incident
//! that cannot be told holds up no other.

use super::lane::{Entry, Lane, Moment};
use crate::base::clock::MonoNanos;
use crate::model::routing::Receiver;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One receiver's notifications.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// None when it was removed from the configuration while an attempt was under way.
    pub(super) receiver: Option<Arc<Receiver>>,
    lanes: BTreeMap<String, Lane>,
    /// Lanes with something to try, by when; the number keeps the order among equals.
    timetable: BTreeMap<(MonoNanos, u64), String>,
    in_flight: usize,
    sequence: u64,
}

impl Desk {
    /// Takes an entry in; gives back the repetition that it made out of date.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let incident = entry.notification.incident.clone();
        let outdated = self.lanes.entry(incident.clone()).or_default().insert(entry);
        self.reschedule(&incident);
        outdated
    }

    /// When something may be tried next, given at most `limit` attempts at a time.
    pub(super) fn next_due(&self, limit: usize) -> Option<MonoNanos> {
        let (due, _) = self.timetable.keys().next()?;
        (self.in_flight < limit).then_some(*due)
    }

    /// Takes out the entry that is due first; none when nothing is, or `limit` are under way.
    pub(super) fn pop_due(&mut self, now: MonoNanos, limit: usize) -> Option<Entry> {
        let _ = self.next_due(limit).filter(|due| *due <= now)?;
        let (_, incident) = self.timetable.pop_first()?;
        let lane = self.lanes.get_mut(&incident)?;
        lane.slot = None;
        let entry = lane.pop();
        self.reschedule(&incident);
        entry
    }

    /// Marks an entry that was taken out as under way; its lane waits until it came back.
    pub(super) fn set_out(&mut self, entry: Entry) {
        let incident = entry.notification.incident.clone();
        self.lanes.entry(incident.clone()).or_default().set_out(entry);
        self.in_flight += 1;
        self.reschedule(&incident);
    }

    /// The entry of `incident` under way has come back.
    pub(super) fn come_back(&mut self, incident: &str) -> Option<Entry> {
        let entry = self.lanes.get_mut(incident)?.come_back()?;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reschedule(incident);
        Some(entry)
    }

    /// Takes out everything that is not under way.
    pub(super) fn clear(&mut self) -> Vec<Entry> {
        self.timetable.clear();
        let cleared = self.lanes.values_mut().flat_map(|lane| {
            lane.slot = None;
            lane.clear()
        });
        let cleared = cleared.collect();
        self.lanes.retain(|_, lane| !lane.is_empty());
        cleared
    }

    /// Makes everything that waits due now.
    pub(super) fn hurry(&mut self, now: Moment) {
        let incidents: Vec<String> = self.lanes.keys().cloned().collect();
        for incident in incidents {
            self.lanes.entry(incident.clone()).or_default().hurry(now);
            self.reschedule(&incident);
        }
    }

    /// All lanes by incident.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values()
    }

    /// How many attempts are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Brings the timetable in line with a lane, and forgets the lane when it is empty.
    fn reschedule(&mut self, incident: &str) {
        let Some(lane) = self.lanes.get_mut(incident) else { return };
        if let Some(slot) = lane.slot.take() {
            let _ = self.timetable.remove(&slot);
        }
        if let Some(head) = lane.head() {
            self.sequence += 1;
            let slot = (head.due.mono, self.sequence);
            lane.slot = Some(slot);
            let _ = self.timetable.insert(slot, incident.to_owned());
        }
        if lane.is_empty() {
            let _ = self.lanes.remove(incident);
        }
    }
}
