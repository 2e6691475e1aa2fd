//! The counts of one indicator and the running sums of the windows that somebody asks for.

use super::slots::SlotCounts;
use super::{COARSE_WIDTH, FINE_SLOTS};
use crate::model::slot::{GoodTotal, Slot, slots_in};
use std::time::Duration;

/// How many slots of five minutes or hours are packed together.
const FINE_PER_CHUNK: u32 = 360;
const COARSE_PER_CHUNK: u32 = 288;
/// How far a window moves at most until hours are packed again: two minutes.
const EDGE_SLOTS: u32 = 12;
/// Slots within which uncertain runs are remembered: five minutes.
const UNCERTAIN_SLOTS: usize = 30;

/// Good and total events of an indicator.
#[derive(Clone, Debug)]
pub struct IndicatorCounts {
    /// The slot from which it counts: when the first record reached us that counted, or when it was
    /// first configured.
    pub since: Slot,
    /// The last slot in which something counted.
    pub last: Option<Slot>,
    /// Everything ever counted, however long ago it happened.
    pub all: GoodTotal,
    /// The slot at whose end all windows end at present.
    now: Slot,
    fine: SlotCounts,
    coarse: SlotCounts,
    windows: Vec<Window>,
    /// Recent slots with how many verdicts were left out for uncertainty.
    uncertain: Vec<(Slot, u32)>,
}

/// A window that ends with `now` and its sum.
#[derive(Clone, Copy, Debug)]
struct Window {
    slots: u32,
    fine: bool,
    sum: GoodTotal,
}

/// What a checkpoint keeps of an indicator.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct IndicatorState {
    /// The slot from which it counts.
    pub since: Slot,
    /// The last slot with something in it.
    pub last: Option<Slot>,
    /// Everything ever counted.
    pub all: GoodTotal,
    /// Packed hours of ten-second slots.
    pub fine: Vec<(u32, Box<[u8]>)>,
    /// Packed days of five-minute slots.
    pub coarse: Vec<(u32, Box<[u8]>)>,
}

impl IndicatorCounts {
    /// An indicator that counts from `since`.
    #[must_use]
    pub fn new(since: Slot) -> Self {
        Self {
            since,
            last: None,
            all: GoodTotal::default(),
            now: since,
            fine: SlotCounts::new(1, FINE_PER_CHUNK),
            coarse: SlotCounts::new(COARSE_WIDTH, COARSE_PER_CHUNK),
            windows: Vec::new(),
            uncertain: Vec::new(),
        }
    }

    /// Keeps a running sum for each of these windows, and no others. Costs a pass over the slots of
    /// those that are new.
    pub fn watch(&mut self, windows: &[Duration]) {
        let mut wanted: Vec<u32> = windows.iter().map(|window| slots_in(*window)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.windows = wanted
            .into_iter()
            .map(|slots| {
                let fine = slots <= FINE_SLOTS - FINE_PER_CHUNK;
                let mut window = Window { slots, fine, sum: GoodTotal::default() };
                window.sum = self.recount(&window, self.now);
                window
            })
            .collect();
    }

    /// Adds events of a slot; any order, any lateness.
    pub fn add(&mut self, slot: Slot, counts: GoodTotal) {
        self.all.add(counts);
        self.coarse.add(slot, counts);
        if slot.plus(FINE_SLOTS) > self.now {
            self.fine.add(slot, counts);
        }
        self.last = self.last.max(Some(slot));
        let now = self.now;
        for window in &mut self.windows {
            let (from, to) = window.span(now);
            if slot >= from && slot < to {
                window.sum.add(counts);
            }
        }
    }

    /// Something was received at `received` that counts: it counts from then on at the latest. Moves
    /// `since` only when the journal is read again.
    pub fn has_counted(&mut self, received: Slot) {
        self.since = self.since.min(received);
    }

    /// Adds all of another one's counts, of the same indicator and other records.
    pub fn merge(&mut self, other: &Self) {
        self.since = self.since.min(other.since);
        self.last = self.last.max(other.last);
        self.all.add(other.all);
        let everything = (Slot(0), Slot(u32::MAX));
        let horizon = self.now.minus(FINE_SLOTS);
        other.fine.for_each(horizon, everything.1, |slot, counts| self.fine.add(slot, counts));
        other.coarse.for_each(everything.0, everything.1, |slot, counts| {
            self.coarse.add(slot, counts);
        });
        let mut windows = std::mem::take(&mut self.windows);
        for window in &mut windows {
            window.sum = self.recount(window, self.now);
        }
        self.windows = windows;
    }

    /// Counts a verdict that was left out because the measurement was too uncertain.
    pub fn add_uncertain(&mut self, slot: Slot) {
        match self.uncertain.last_mut() {
            Some((last, count)) if *last == slot => *count += 1,
            _ => self.uncertain.push((slot, 1)),
        }
        if self.uncertain.len() > UNCERTAIN_SLOTS {
            let _ = self.uncertain.remove(0);
        }
    }

    /// Verdicts left out within the five minutes that end with `now`.
    #[must_use]
    pub fn uncertain(&self, now: Slot) -> u64 {
        let from = now.minus(UNCERTAIN_SLOTS as u32);
        self.uncertain.iter().filter(|(slot, _)| *slot > from).map(|(_, n)| u64::from(*n)).sum()
    }

    /// Moves all windows to end with the slot `now`; time does not run backwards.
    pub fn advance(&mut self, now: Slot) {
        if now <= self.now {
            return;
        }
        let before = std::mem::replace(&mut self.now, now);
        let mut windows = std::mem::take(&mut self.windows);
        for window in &mut windows {
            window.sum = self.moved(window, before, now);
        }
        self.windows = windows;
    }

    /// Forgets what no window can reach (`reach` back from now), and packs hours at rest: those that
    /// no window enters or leaves before this is called again, a minute later.
    pub fn settle(&mut self, reach: Duration) {
        let edges = |fine: bool| -> Vec<Slot> {
            let windows = self.windows.iter().filter(|window| window.fine == fine);
            let first = windows.map(|window| window.span(self.now).0);
            first.flat_map(|slot| [slot, slot.plus(EDGE_SLOTS)]).collect()
        };
        let (fine, coarse) = (edges(true), edges(false));
        self.fine.settle(self.now.minus(FINE_SLOTS), self.now.minus(FINE_PER_CHUNK), &fine);
        let reach = self.now.minus(slots_in(reach));
        self.coarse.settle(reach, self.now.minus(COARSE_WIDTH * COARSE_PER_CHUNK), &coarse);
    }

    /// The sum of a window that ends now. Watched windows cost nothing, others a pass.
    #[must_use]
    pub fn window(&self, window: Duration) -> GoodTotal {
        let slots = slots_in(window);
        let watched = self.windows.iter().find(|w| w.slots == slots).map(|w| w.sum);
        watched.unwrap_or_else(|| {
            let fine = slots <= FINE_SLOTS - FINE_PER_CHUNK;
            self.recount(&Window { slots, fine, sum: GoodTotal::default() }, self.now)
        })
    }

    /// The slot with which windows end.
    #[must_use]
    pub fn now(&self) -> Slot {
        self.now
    }

    /// Counts of five-minute slots within `from..to`, empty ones left out.
    #[must_use]
    pub fn coarse(&self, from: Slot, to: Slot) -> Vec<(Slot, GoodTotal)> {
        let mut found = Vec::new();
        self.coarse
            .for_each(from.align(COARSE_WIDTH), to, |slot, counts| found.push((slot, counts)));
        found
    }

    /// Counts of ten-second slots within `from..to`, empty ones left out.
    #[must_use]
    pub fn fine(&self, from: Slot, to: Slot) -> Vec<(Slot, GoodTotal)> {
        let mut found = Vec::new();
        self.fine.for_each(from, to, |slot, counts| found.push((slot, counts)));
        found
    }

    /// What a checkpoint keeps.
    #[must_use]
    pub fn state(&self) -> IndicatorState {
        IndicatorState {
            since: self.since,
            last: self.last,
            all: self.all,
            fine: self.fine.packed().collect(),
            coarse: self.coarse.packed().collect(),
        }
    }

    /// Back from a checkpoint, at rest; watch and advance it afterwards. Its windows do not end with
    /// the last event, which a phone's clock may have put ahead of the time.
    #[must_use]
    pub fn restore(state: IndicatorState) -> Self {
        let mut counts = Self::new(state.since);
        counts.last = state.last;
        counts.all = state.all;
        state.fine.into_iter().for_each(|(number, bytes)| counts.fine.restore(number, bytes));
        state.coarse.into_iter().for_each(|(number, bytes)| counts.coarse.restore(number, bytes));
        counts
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.fine.heap_bytes()
            + self.coarse.heap_bytes()
            + self.windows.len() * size_of::<Window>()
    }

    fn recount(&self, window: &Window, now: Slot) -> GoodTotal {
        let (from, to) = window.span(now);
        self.slots(window).sum(from, to)
    }

    fn moved(&self, window: &Window, before: Slot, now: Slot) -> GoodTotal {
        let ((old_from, old_to), (from, to)) = (window.span(before), window.span(now));
        if from >= old_to {
            return self.recount(window, now);
        }
        let slots = self.slots(window);
        let mut sum = window.sum;
        sum.add(slots.sum(old_to, to));
        sum.remove(slots.sum(old_from, from));
        sum
    }

    fn slots(&self, window: &Window) -> &SlotCounts {
        if window.fine { &self.fine } else { &self.coarse }
    }
}

impl Window {
    /// First slot and the one after the last, when the window ends with the slot `now`. Long
    /// windows move in coarse steps, so that they begin and end with whole coarse slots.
    fn span(&self, now: Slot) -> (Slot, Slot) {
        if self.fine {
            return (now.plus(1).minus(self.slots), now.plus(1));
        }
        let end = now.align(COARSE_WIDTH).plus(COARSE_WIDTH);
        (end.minus(self.slots.next_multiple_of(COARSE_WIDTH)), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u32 = 8_640;

    proptest! {
        /// Guarantees running sums equal to a recount by brute force, whatever the order of events
        /// and however time advances between them.
        #[test]
        fn windows_are_brute_force_sums(
            steps in prop::collection::vec((0_u32..40_000, 1_u64..4, 0_u64..3, 0_u32..2_000), 1..60),
        ) {
            let windows = [20, 300, 3_600, 3 * 86_400, 30 * 86_400].map(Duration::from_secs);
            let start = Slot(100 * DAY);
            let mut counts = IndicatorCounts::new(start);
            counts.watch(&windows);
            let mut events = Vec::new();
            let mut now = start;
            for (ago, total, bad, forward) in steps {
                now = now.plus(forward);
                counts.advance(now);
                let slot = now.minus(ago);
                let pair = GoodTotal { bad, total };
                counts.add(slot, pair);
                events.push((slot, pair));
                if forward % 7 == 0 {
                    counts.settle(Duration::from_secs(65 * 86_400));
                }
            }
            for window in windows {
                let slots = slots_in(window);
                let (from, to) = Window { slots, fine: slots <= FINE_SLOTS - 360, sum: GoodTotal::default() }.span(now);
                let mut expected = GoodTotal::default();
                events.iter().filter(|(slot, _)| *slot >= from && *slot < to).for_each(|(_, pair)| expected.add(*pair));
                prop_assert_eq!(counts.window(window), expected, "window {:?}", window);
            }
        }

        /// Guarantees that arrival order does not change anything that is kept.
        #[test]
        fn order_of_arrival_does_not_matter(mut slots in prop::collection::vec(0_u32..2_000, 1..100)) {
            let window = [Duration::from_secs(3_600)];
            let build = |slots: &[u32]| {
                let mut counts = IndicatorCounts::new(Slot(0));
                counts.watch(&window);
                for slot in slots {
                    counts.add(Slot(*slot), GoodTotal { bad: u64::from(slot % 2), total: 1 });
                }
                counts.advance(Slot(2_000));
                (counts.state(), counts.window(window[0]))
            };
            let in_order = build(&slots);
            slots.reverse();
            prop_assert_eq!(build(&slots), in_order);
        }
    }

    /// Guarantees that a checkpoint brings back the same counts.
    #[test]
    fn a_checkpoint_brings_counts_back() {
        let window = Duration::from_secs(600);
        let mut counts = IndicatorCounts::new(Slot(50_000));
        for at in 0..5_000 {
            counts.add(Slot(50_000 + at), GoodTotal { bad: u64::from(at % 3), total: 3 });
        }
        counts.watch(&[window]);
        counts.advance(Slot(55_000));
        let mut back = IndicatorCounts::restore(counts.state());
        back.watch(&[window]);
        back.advance(Slot(55_000));
        assert_eq!(back.window(window), counts.window(window));
        assert_eq!(back.state(), counts.state());
    }

    /// Guarantees the promised memory: a busy indicator over its whole reach stays below 150 KiB.
    #[test]
    fn a_busy_indicator_stays_small() {
        let mut counts = IndicatorCounts::new(Slot(0));
        let end = 65 * DAY;
        for at in 0..end {
            let noise = u64::from(at.wrapping_mul(2_654_435_761) >> 25);
            let bad = u64::from(noise % 16 == 0);
            counts.add(Slot(at), GoodTotal { bad, total: 200 + noise });
            if at % DAY == 0 {
                counts.advance(Slot(at));
                counts.settle(Duration::from_secs(65 * 86_400));
            }
        }
        counts.advance(Slot(end));
        counts.settle(Duration::from_secs(65 * 86_400));
        let kib = counts.memory_bytes() / 1024;
        assert!(kib <= 150, "{kib} KiB");
    }
}
