//! The items that left the exact memory, up to seven days back by event time: a set of fingerprints
//! for each quarter of an hour.
//!
//! An item is looked up in the one slice of its own event time, so false positives do not grow with
//! the horizon. A slice holds runs that shrink geometrically: a run that arrives is merged with those
//! before it that are less than [`RATIO`] times as large, so a late straggler costs its own few bytes
//! and not a copy of the slice. When memory is short the slices oldest by event time go first. A
//! quarter, because an hour at 100,000 items/s is more than all the memory there is.

use super::run::{BITS, Run};
use crate::base::clock::UnixNanos;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Length of a slice.
const SLICE_SECONDS: u64 = 900;
/// Slices of the seven days for which items are accepted, and the one that is not over.
pub(super) const SLICES: u32 = 7 * 96 + 1;
/// Slices ahead of now: items of phones whose clock is up to a day fast find themselves again.
pub(super) const SLICES_AHEAD: u32 = 96;
/// A run is merged with those before it that are less than this many times as large.
const RATIO: u64 = 4;
/// Runs are not merged beyond this: the time of one merge stays below some tenths of a second.
const MAX_MERGED: u64 = 16_000_000;
/// Fingerprints in a slice at which ε = n / 2^48 reaches 1e-6.
const MAX_FINGERPRINTS: u64 = (1 << BITS) / 1_000_000;

/// All slices.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    slices: BTreeMap<u32, Slice>,
    bytes: usize,
    /// The first slice that was not dropped for want of memory.
    pub(super) floor: u32,
}

/// The items of a quarter of an hour of event time.
#[derive(Clone, Debug, Default)]
struct Slice {
    /// The largest first.
    runs: Vec<Arc<Run>>,
    /// What arrived since the last checkpoint, as it arrived.
    unsaved: Vec<Arc<Run>>,
    /// How many of those are in the checkpoint under way.
    taken: usize,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lookup {
    /// Whether the fingerprint is there.
    pub(super) found: bool,
    /// How likely a new item would be found by chance.
    pub(super) false_positive: f64,
}

impl Filters {
    pub(super) fn lookup(&self, slice: u32, fingerprint: u64) -> Lookup {
        let Some(slice) = self.slices.get(&slice) else { return Lookup::default() };
        let found = slice.runs.iter().any(|run| run.contains(fingerprint));
        Lookup { found, false_positive: slice.len() as f64 / (1_u64 << BITS) as f64 }
    }

    /// Adds sorted fingerprints to a slice; those below the floor are not kept.
    pub(super) fn absorb(&mut self, slice: u32, sorted: &[u64]) {
        if slice < self.floor {
            return;
        }
        let run = Arc::new(Run::build(sorted.iter().copied(), sorted.len() as u64));
        let at = self.slices.entry(slice).or_default();
        self.bytes -= at.bytes();
        at.unsaved.push(Arc::clone(&run));
        at.add(run);
        self.bytes += at.bytes();
        if at.len() > MAX_FINGERPRINTS {
            self.drop_below(slice + 1);
        }
    }

    /// Forgets slices that no accepted item can fall into any more.
    pub(super) fn expire(&mut self, now: UnixNanos) {
        let kept = self.slices.split_off(&slice_of(now.0).saturating_sub(SLICES));
        let gone = std::mem::replace(&mut self.slices, kept);
        self.bytes -= gone.values().map(Slice::bytes).sum::<usize>();
    }

    /// Drops the oldest slices until no more than `bytes` are held.
    pub(super) fn shrink(&mut self, bytes: usize) {
        while self.bytes > bytes
            && let Some((oldest, _)) = self.slices.first_key_value()
        {
            self.drop_below(oldest + 1);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn fingerprints(&self) -> u64 {
        self.slices.values().map(Slice::len).sum()
    }

    /// Runs that arrived since the last checkpoint, or all. They count as saved after
    /// [`Filters::committed`].
    pub(super) fn take(&mut self, all: bool) -> impl Iterator<Item = (u32, &Arc<Run>)> {
        self.slices.iter_mut().flat_map(move |(number, slice)| {
            slice.taken = slice.unsaved.len();
            let runs = if all { &slice.runs } else { &slice.unsaved };
            runs.iter().map(|run| (*number, run))
        })
    }

    pub(super) fn committed(&mut self) {
        for slice in self.slices.values_mut().filter(|slice| slice.taken > 0) {
            self.bytes -= slice.bytes();
            let taken = std::mem::take(&mut slice.taken);
            drop(slice.unsaved.drain(..taken.min(slice.unsaved.len())));
            self.bytes += slice.bytes();
        }
    }

    /// Puts a run of a checkpoint back.
    pub(super) fn restore(&mut self, slice: u32, run: Run) {
        if slice >= self.floor {
            let at = self.slices.entry(slice).or_default();
            self.bytes -= at.bytes();
            at.add(Arc::new(run));
            self.bytes += at.bytes();
        }
    }

    fn drop_below(&mut self, floor: u32) {
        self.floor = self.floor.max(floor);
        let kept = self.slices.split_off(&self.floor);
        let gone = std::mem::replace(&mut self.slices, kept);
        self.bytes -= gone.values().map(Slice::bytes).sum::<usize>();
    }
}

impl Slice {
    fn add(&mut self, mut run: Arc<Run>) {
        while let Some(last) = self.runs.last()
            && last.len() < RATIO * run.len()
            && last.len() + run.len() <= MAX_MERGED
        {
            run = Arc::new(last.merge(&run));
            drop(self.runs.pop());
        }
        self.runs.push(run);
    }

    fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// A run that is both in use and unsaved counts twice, until the next checkpoint.
    fn bytes(&self) -> usize {
        self.runs.iter().chain(&self.unsaved).map(|run| run.bytes()).sum()
    }
}

/// The slice of an event time in nanoseconds.
pub(super) fn slice_of(at: u64) -> u32 {
    (at / 1_000_000_000 / SLICE_SECONDS) as u32
}

/// The instant with which a slice begins.
pub(super) fn slice_start(slice: u32) -> UnixNanos {
    UnixNanos::from_seconds(u64::from(slice) * SLICE_SECONDS)
}
