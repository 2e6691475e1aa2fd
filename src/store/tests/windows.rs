//! Running sums of windows at any instant, over restarts too, against sums over the events.

use crate::model::slot::{GoodTotal, Slot, slots_in};
use crate::store::counts::{COARSE_WIDTH, FINE_SLOTS, IndicatorCounts};
use proptest::prelude::*;
use std::time::Duration;

const DAY_SLOTS: u32 = 8_640;
/// Watched ones of either kind, and the last that nobody watches.
const WINDOWS: [u64; 7] = [10, 20, 300, 21_600, 3 * 86_400, 30 * 86_400, 7_200];
const REACH: Duration = Duration::from_secs(65 * 86_400);

/// One thing that happens to an indicator.
#[derive(Clone, Debug)]
enum Step {
    /// Events so many slots before the present, or after it.
    Add { ago: i32, bad: u64, total: u64 },
    /// Time goes on.
    Advance(u32),
    /// A checkpoint packs and forgets.
    Settle,
    /// The process starts again from a checkpoint.
    Restart,
    /// The configuration watches its windows anew.
    Watch,
}

fn step() -> impl Strategy<Value = Step> {
    let ago = prop_oneof![
        4 => 0..40_i32,
        2 => 0..30_000_i32,
        1 => 0..(64 * DAY_SLOTS as i32),
        1 => -60..0_i32,
    ];
    prop_oneof![
        6 => (ago, 0_u64..3, 0_u64..4).prop_map(|(ago, bad, total)| Step::Add { ago, bad, total }),
        3 => prop_oneof![0_u32..3, 0_u32..400, 0_u32..30_000].prop_map(Step::Advance),
        1 => Just(Step::Settle),
        1 => Just(Step::Restart),
        1 => Just(Step::Watch),
    ]
}

/// The sum over the events of a window that ends with the slot `now`: windows up to three days to
/// the slot, longer ones in whole five minutes.
fn brute_force(events: &[(Slot, GoodTotal)], window: Duration, now: Slot) -> GoodTotal {
    let slots = slots_in(window);
    let (to, slots) = if slots <= FINE_SLOTS - 360 {
        (now.plus(1), slots)
    } else {
        (now.align(COARSE_WIDTH).plus(COARSE_WIDTH), slots.next_multiple_of(COARSE_WIDTH))
    };
    let mut sum = GoodTotal::default();
    let within = |slot: Slot| slot >= to.minus(slots) && slot < to;
    events.iter().filter(|(slot, _)| within(*slot)).for_each(|(_, counts)| sum.add(*counts));
    sum
}

proptest! {
    /// Guarantees that after every step, whatever came before, every window is the sum over its events.
    #[test]
    fn windows_are_sums_at_any_instant(steps in prop::collection::vec(step(), 1..60)) {
        let watched = WINDOWS.map(Duration::from_secs);
        let watched = &watched[..WINDOWS.len() - 1];
        let mut now = Slot(200 * DAY_SLOTS + 17);
        let mut counts = IndicatorCounts::new(now);
        counts.watch(watched);
        let mut events: Vec<(Slot, GoodTotal)> = Vec::new();
        for step in steps {
            match &step {
                Step::Add { ago, bad, total } => {
                    let slot = Slot(now.0.saturating_add_signed(-*ago));
                    let pair = GoodTotal { bad: *bad, total: *total };
                    counts.add(slot, pair);
                    events.push((slot, pair));
                }
                Step::Advance(slots) => {
                    now = now.plus(*slots);
                    counts.advance(now);
                }
                Step::Settle => counts.settle(REACH),
                Step::Restart => {
                    counts = IndicatorCounts::restore(counts.state());
                    counts.watch(watched);
                    counts.advance(now);
                }
                Step::Watch => counts.watch(watched),
            }
            for window in WINDOWS.map(Duration::from_secs) {
                let expected = brute_force(&events, window, now);
                prop_assert_eq!(counts.window(window), expected, "{:?} after {:?}", window, step);
            }
        }
    }
}
