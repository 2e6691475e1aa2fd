//! What every engine of history must do, as tests that take the engine as a parameter.
//!
//! A further engine implements [`Engine`] and gets all of them with one line of `conformance!`.

use super::{MAX_READ_SLOTS, block_slots, window_slots};
use crate::model::histogram::{ExpHistogram, ExplicitHistogram};
use crate::model::series::{Block, History, SeriesId, SlotValue, Tier};
use crate::model::slot::Slot;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A place where an engine keeps one history.
pub(super) trait Engine {
    /// The history as a new process would find it; the one opened before was dropped.
    fn open(&self) -> Box<dyn History>;
}

/// A slot on the bound of a window of either tier, far from the epoch.
pub(super) const BASE: Slot = Slot(17_280 * 10_000);

/// A series of the tests.
pub(super) const SERIES: SeriesId = SeriesId(0xfeed);

/// A block of counters: at each offset from `start`, in the tier's own slots, a value.
pub(super) fn counters(tier: Tier, series: SeriesId, start: Slot, values: &[(u32, u128)]) -> Block {
    let at = |(offset, value): &(u32, u128)| {
        (start.plus(offset * tier.slots()), SlotValue::Counter(*value))
    };
    Block { series, start, slots: values.iter().map(at).collect() }
}

/// Guarantees that blocks of several epochs, and of one, add up slot by slot; each kind as it does.
pub(super) fn values_add_up(engine: &impl Engine) {
    let mut first = ExpHistogram::default();
    first.record(80_000_000);
    let mut both = first.clone();
    both.merge(&first);
    let explicit = |n: u64| {
        let (bounds, counts, sum) = (vec![0.1], vec![n, 0], i128::from(n) * 5);
        SlotValue::Explicit(ExplicitHistogram { bounds, counts, sum })
    };
    let values = |n: u64, gauge: f64| {
        vec![
            (BASE, SlotValue::Counter(u128::from(n))),
            (BASE.plus(1), SlotValue::Gauge(gauge)),
            (BASE.plus(2), SlotValue::Histogram(first.clone())),
            (BASE.plus(3), explicit(n)),
        ]
    };
    let block = |slots| Block { series: SERIES, start: BASE, slots };
    let history = engine.open();
    let write = |epoch, blocks: &[Block]| {
        history.write(Tier::TenSeconds, epoch, blocks).expect("written");
    };
    write(1, &[block(values(1, 1.0))]);
    write(2, &[block(values(2, 2.0))]);
    let slots = history.read(Tier::TenSeconds, SERIES, BASE, BASE.plus(90)).expect("read");
    assert_eq!(
        slots,
        [
            (BASE, SlotValue::Counter(3)),
            (BASE.plus(1), SlotValue::Gauge(2.0)),
            (BASE.plus(2), SlotValue::Histogram(both)),
            (BASE.plus(3), explicit(3)),
        ]
    );
    // Twice within an epoch: in one call, and in another.
    let more = counters(Tier::TenSeconds, SERIES, BASE, &[(0, 10)]);
    write(3, &[more.clone(), more.clone()]);
    write(3, &[more]);
    let slots = history.read(Tier::TenSeconds, SERIES, BASE, BASE.plus(1)).expect("read");
    assert_eq!(slots, [(BASE, SlotValue::Counter(33))]);
}

/// Guarantees that values of another kind, or other bounds, replace what earlier epochs hold.
pub(super) fn another_kind_replaces(engine: &impl Engine) {
    let explicit = |bound| {
        SlotValue::Explicit(ExplicitHistogram { bounds: vec![bound], counts: vec![1, 0], sum: 1 })
    };
    let history = engine.open();
    let values = [SlotValue::Counter(7), SlotValue::Gauge(1.5), explicit(1.0), explicit(2.0)];
    for (epoch, value) in (1..).zip(values) {
        let block = Block { series: SERIES, start: BASE, slots: vec![(BASE, value.clone())] };
        history.write(Tier::TenSeconds, epoch, &[block]).expect("written");
        let slots = history.read(Tier::TenSeconds, SERIES, BASE, BASE.plus(1)).expect("read");
        assert_eq!(slots, [(BASE, value)]);
    }
}

/// Guarantees that ranges begin and end where they say, across blocks, windows, series and tiers.
pub(super) fn ranges_have_exact_edges(engine: &impl Engine) {
    let history = engine.open();
    for tier in Tier::ALL {
        let (step, window) = (tier.slots(), window_slots(tier));
        let last = window - step;
        let block = |series, slot: Slot| {
            let value = SlotValue::Counter(u128::from(slot.0));
            Block { series, start: slot.align(block_slots(tier)), slots: vec![(slot, value)] }
        };
        let slots = [0, step, block_slots(tier) - step, block_slots(tier), last, window];
        let blocks: Vec<_> = slots
            .iter()
            .flat_map(|at| [SERIES.0 - 1, SERIES.0, SERIES.0 + 1].map(|id| (SeriesId(id), *at)))
            .map(|(series, at)| block(series, BASE.plus(at)))
            .collect();
        history.write(tier, 1, &blocks).expect("written");
        let check = |from: u32, to: u32| {
            let (from, to) = (BASE.plus(from), BASE.plus(to));
            let read = history.read(tier, SERIES, from, to).expect("read");
            let expected: Vec<_> = slots
                .iter()
                .map(|at| BASE.plus(*at))
                .filter(|slot| (from..to).contains(slot))
                .map(|slot| (slot, SlotValue::Counter(u128::from(slot.0))))
                .collect();
            assert_eq!(read, expected, "{tier:?} {from:?}..{to:?}");
        };
        check(0, window + step);
        check(0, window);
        check(step, last);
        check(block_slots(tier) - step, block_slots(tier));
        check(window, 2 * window);
        check(2 * window, 3 * window);
        check(5, 5);
        check(window, 0);
        let all = history.read(tier, SERIES, Slot(0), Slot(u32::MAX)).expect("read");
        assert_eq!(all.len(), slots.len());
        assert_eq!(history.read(tier, SeriesId(1), Slot(0), Slot(u32::MAX)).expect("read"), []);
    }
}

/// Guarantees that slots are found however they were cut into blocks and in whatever order they
/// came: a block that reaches beyond its bounds, slots that fall, an older window after a newer.
pub(super) fn order_and_cut_do_not_matter(engine: &impl Engine) {
    let history = engine.open();
    let long = block_slots(Tier::TenSeconds) + 3;
    let write = |epoch, block: Block| {
        history.write(Tier::TenSeconds, epoch, &[block]).expect("written");
    };
    let fives = (0..long).rev().map(|offset| (offset, 5)).collect::<Vec<_>>();
    write(1, counters(Tier::TenSeconds, SERIES, BASE, &fives));
    write(2, counters(Tier::TenSeconds, SERIES, BASE.minus(90), &[(7, 1)]));
    write(3, counters(Tier::TenSeconds, SERIES, BASE, &[(7, 1), (7, 1)]));
    let slots = history.read(Tier::TenSeconds, SERIES, BASE.minus(90), BASE.plus(500));
    let slots: BTreeMap<_, _> = slots.expect("read").into_iter().collect();
    assert_eq!(slots.len() as u32, long + 1);
    assert_eq!(slots[&BASE.minus(83)], SlotValue::Counter(1));
    assert_eq!(slots[&BASE.plus(7)], SlotValue::Counter(7));
    assert_eq!(slots[&BASE.plus(long - 1)], SlotValue::Counter(5));
}

/// Guarantees that what was written stays when the engine is opened again, and that uncommitted
/// epochs go, in every window and tier, and can be written once more.
pub(super) fn recovery_drops_uncommitted_epochs(engine: &impl Engine) {
    let late = BASE.minus(3 * window_slots(Tier::OneMinute));
    let history = engine.open();
    for tier in Tier::ALL {
        for (epoch, value) in [(4, 1), (5, 10), (6, 100), (7, 1_000)] {
            let blocks = [BASE, late].map(|at| counters(tier, SERIES, at, &[(0, value)]));
            history.write(tier, epoch, &blocks).expect("written");
        }
    }
    drop(history);
    let sum = |history: &dyn History, tier, at: Slot| {
        let slots = history.read(tier, SERIES, at, at.plus(1)).expect("read");
        slots.first().map(|(_, value)| value.clone())
    };
    let history = engine.open();
    history.recover(5).expect("recovered");
    history.recover(5).expect("recovered again");
    for (tier, at) in Tier::ALL.into_iter().flat_map(|tier| [(tier, BASE), (tier, late)]) {
        assert_eq!(sum(&*history, tier, at), Some(SlotValue::Counter(11)), "{tier:?} {at:?}");
    }
    history
        .write(Tier::TenSeconds, 6, &[counters(Tier::TenSeconds, SERIES, BASE, &[(0, 7)])])
        .expect("written once more");
    drop(history);
    let history = engine.open();
    history.recover(6).expect("nothing to recover");
    assert_eq!(sum(&*history, Tier::TenSeconds, BASE), Some(SlotValue::Counter(18)));
    history.recover(0).expect("recovered to nothing");
    assert_eq!(sum(&*history, Tier::TenSeconds, BASE), None);
}

/// Guarantees that retention drops what ended before the horizon, of its tier alone, and nothing
/// that did not.
pub(super) fn retention_drops_what_has_ended(engine: &impl Engine) {
    let history = engine.open();
    let window = window_slots(Tier::TenSeconds);
    let starts = [0, 1, 2].map(|n| BASE.plus(n * window));
    for tier in Tier::ALL {
        let blocks = starts.map(|start| counters(tier, SERIES, start, &[(0, 1)]));
        history.write(tier, 1, &blocks).expect("written");
    }
    let kept = |tier| {
        let all = history.read(tier, SERIES, Slot(0), Slot(u32::MAX)).expect("read");
        all.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>()
    };
    history.retain(Tier::TenSeconds, starts[0]).expect("nothing has ended");
    assert_eq!(kept(Tier::TenSeconds), starts);
    history.retain(Tier::TenSeconds, starts[1]).expect("retained");
    assert_eq!(kept(Tier::TenSeconds), starts[1..]);
    assert_eq!(kept(Tier::OneMinute), starts);
    history.retain(Tier::TenSeconds, starts[2].plus(window)).expect("retained");
    assert_eq!(kept(Tier::TenSeconds), []);
}

/// Guarantees that a read that would return more than the bound is refused and says what to do.
pub(super) fn long_ranges_are_refused(engine: &impl Engine) {
    let history = engine.open();
    let tier = Tier::TenSeconds;
    let ones = (0..block_slots(tier)).map(|offset| (offset, 1)).collect::<Vec<_>>();
    let blocks: Vec<_> = (0..=MAX_READ_SLOTS / block_slots(tier))
        .map(|n| counters(tier, SERIES, BASE.plus(n * block_slots(tier)), &ones))
        .collect();
    history.write(tier, 1, &blocks).expect("written");
    let refused = history.read(tier, SERIES, Slot(0), Slot(u32::MAX)).expect_err("too long");
    assert!(crate::base::error::Chain(&refused).to_string().contains("shorter range"), "{refused}");
    let most = history.read(tier, SERIES, BASE, BASE.plus(MAX_READ_SLOTS)).expect("the bound");
    assert_eq!(most.len() as u32, MAX_READ_SLOTS);
}

/// What the model test does to a history.
#[derive(Clone, Debug)]
enum Act {
    Write { tier: Tier, series: u128, slot: u32, value: u128 },
    Checkpoint,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let tier = prop::sample::select(Tier::ALL.to_vec());
    let write = (tier, 0_u128..3, 0_u32..60, 0_u128..1 << 40);
    prop_oneof![
        8 => write.prop_map(|(tier, series, at, value)| {
            // Six slots a block, some blocks a window, some windows.
            let slot = at * 15 * tier.slots() + (at % 4) * window_slots(tier);
            Act::Write { tier, series, slot, value }
        }),
        2 => Just(Act::Checkpoint),
        1 => Just(Act::Crash),
    ]
}

/// Guarantees that after any order of writes, checkpoints and crashes history holds exactly the sum
/// of what was committed and what was written since.
pub(super) fn history_is_the_sum_of_its_writes<E: Engine>(fresh: impl Fn() -> E, cases: u32) {
    type Sums = BTreeMap<(Tier, u128, u32), u128>;
    proptest!(ProptestConfig::with_cases(cases), |(acts in prop::collection::vec(act(), 1..40))| {
        let engine = fresh();
        let mut history = engine.open();
        let (mut committed, mut sums): (Sums, Sums) = Default::default();
        let mut epoch = 1;
        for act in acts {
            match act {
                Act::Write { tier, series, slot, value } => {
                    let start = BASE.plus(slot).align(block_slots(tier));
                    let slots = vec![(BASE.plus(slot), SlotValue::Counter(value))];
                    let block = Block { series: SeriesId(series), start, slots };
                    history.write(tier, epoch, &[block]).expect("written");
                    *sums.entry((tier, series, slot)).or_default() += value;
                }
                Act::Checkpoint => {
                    committed = sums.clone();
                    epoch += 1;
                }
                Act::Crash => {
                    drop(history);
                    history = engine.open();
                    history.recover(epoch - 1).expect("recovered");
                    sums = committed.clone();
                }
            }
        }
        let mut found = Sums::new();
        for (tier, series) in Tier::ALL.into_iter().flat_map(|tier| [0, 1, 2].map(|id| (tier, id))) {
            let all = history.read(tier, SeriesId(series), Slot(0), Slot(u32::MAX)).expect("read");
            for (slot, value) in all {
                let SlotValue::Counter(value) = value else { continue };
                let _new = found.insert((tier, series, slot.0 - BASE.0), value);
            }
        }
        prop_assert_eq!(found, sums);
    });
}

/// Runs every test of this file on an engine, as tests of a module of its own.
macro_rules! conformance {
    ($module:ident, $fresh:expr, $cases:expr; $($test:ident)+) => {
        mod $module {
            use super::*;
            $(
                /// Guarantees what the test of this name in `conformance` says, of this engine.
                #[test]
                fn $test() {
                    crate::store::history::conformance::$test(&$fresh());
                }
            )+
            /// Guarantees what the test of this name in `conformance` says, of this engine.
            #[test]
            fn history_is_the_sum_of_its_writes() {
                crate::store::history::conformance::history_is_the_sum_of_its_writes($fresh, $cases);
            }
        }
    };
    ($module:ident, $fresh:expr, $cases:expr) => {
        conformance!($module, $fresh, $cases; values_add_up another_kind_replaces
            ranges_have_exact_edges order_and_cut_do_not_matter recovery_drops_uncommitted_epochs
            retention_drops_what_has_ended long_ranges_are_refused);
    };
}
pub(super) use conformance;
