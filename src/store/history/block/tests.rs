//! Properties of the encoding, on values of every kind and on bytes of no kind.

use super::{MAX_COMPRESSED_BODY_BYTES, Undecodable, VERSION, ZSTD, bytes, decode, encode};
use crate::model::histogram::{ExpHistogram, ExplicitHistogram};
use crate::model::series::SlotValue;
use crate::model::slot::Slot;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn exponential() -> impl Strategy<Value = SlotValue> {
    let buckets = prop::collection::btree_map(any::<i16>(), 1_u64.., 0..40);
    (any::<u64>(), any::<i128>(), 0_u64..1 << 60, buckets).prop_map(
        |(count, sum, zero, buckets)| {
            let mut histogram = ExpHistogram::default();
            (histogram.count, histogram.sum, histogram.zero) = (count, sum, zero);
            buckets.into_iter().for_each(|(index, count)| histogram.bump(index, count));
            SlotValue::Histogram(histogram)
        },
    )
}

fn explicit() -> impl Strategy<Value = SlotValue> {
    let bounds = prop_oneof![
        Just(vec![0.005, 0.01, 0.025, 0.05, 0.1]),
        prop::collection::vec(-1e9_f64..1e9, 0..20),
    ];
    bounds.prop_flat_map(|bounds| {
        (prop::collection::vec(any::<u64>(), bounds.len() + 1), any::<i128>()).prop_map(
            move |(counts, sum)| {
                SlotValue::Explicit(ExplicitHistogram { bounds: bounds.clone(), counts, sum })
            },
        )
    })
}

fn value() -> impl Strategy<Value = SlotValue> {
    prop_oneof![
        any::<u128>().prop_map(SlotValue::Counter),
        (0_u128..1_000).prop_map(|n| SlotValue::Counter(n * 1_000_000_000)),
        (-1e300_f64..1e300).prop_map(SlotValue::Gauge),
        (-50_i32..50).prop_map(|n| SlotValue::Gauge(f64::from(n))),
        exponential(),
        explicit(),
    ]
}

fn slots() -> impl Strategy<Value = (Slot, Vec<(Slot, SlotValue)>)> {
    (0_u32..u32::MAX - 400, prop::collection::btree_map(0_u32..360, value(), 0..90)).prop_map(
        |(start, values): (u32, BTreeMap<u32, SlotValue>)| {
            let at = |(offset, value)| (Slot(start + offset), value);
            (Slot(start), values.into_iter().map(at).collect())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Guarantees that a block comes back as it was written, whatever it holds.
    #[test]
    fn what_is_encoded_decodes_to_the_same((start, slots) in slots()) {
        prop_assert_eq!(decode(start, &encode(start, &slots)), Ok(slots));
    }

    /// Guarantees that no bytes make the decoder panic, also behind a valid head.
    #[test]
    fn any_bytes_are_answered(head in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(Slot(7), &bytes);
        let _ = decode(Slot(7), &[&[VERSION, head], bytes.as_slice()].concat());
    }

    /// Guarantees that a damaged block is answered: one byte changed, or its end missing.
    #[test]
    fn damaged_blocks_are_answered(
        (start, slots) in slots(), at in any::<prop::sample::Index>(), bits in 1_u8.., keep in any::<prop::sample::Index>(),
    ) {
        let good = encode(start, &slots);
        let mut changed = good.clone();
        changed[at.index(good.len())] ^= bits;
        let _ = decode(start, &changed);
        prop_assert!(decode(start, &good[..keep.index(good.len())]).is_err());
    }
}

/// Guarantees the documented layout to the byte, so that a change of it cannot go unnoticed.
#[test]
fn the_layout_is_the_documented_one() {
    let mut histogram = ExpHistogram::default();
    histogram.record(1_000_000_000);
    let slots = [
        (Slot(90), SlotValue::Counter(3_000_000_000)),
        (Slot(92), SlotValue::Histogram(histogram)),
    ];
    let body = [
        2, // slots
        0, 2, // distances
        0, 2, // a counter, a histogram
        3, 0, // three whole units, no rest
        0, // none is zero
        1, // one bucket,
        1, // which is -1,
        1, // with one value;
        0, // no count is missing
        0x80, 0xa8, 0xd6, 0xb9, 0x07, // 2 * 10^9
    ];
    assert_eq!(encode(Slot(90), &slots), [&[VERSION, 0], body.as_slice()].concat());
}

/// Guarantees that a block which asks for more memory than it may have is refused.
#[test]
fn a_bomb_is_refused() {
    let mut bomb = vec![VERSION, ZSTD];
    bytes::put(&mut bomb, MAX_COMPRESSED_BODY_BYTES as u128 + 1);
    let refused = decode(Slot(0), &bomb);
    assert_eq!(refused, Err(Undecodable { reason: "it inflates to more than a block may have" }));
    let many_of_nothing = [VERSION, 0, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(decode(Slot(0), &many_of_nothing), Err(bytes::CUT_SHORT));
}

/// Guarantees that a newer build's block is named as such instead of misread.
#[test]
fn another_version_is_refused() {
    let refused = decode(Slot(0), &[VERSION + 1, 0, 0]);
    assert!(refused.is_err_and(|error| error.reason.contains("version")));
}
