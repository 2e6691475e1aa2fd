//! What history takes on disk.

use super::{SERIES, on_disk, open_whole};
use crate::model::histogram::ExpHistogram;
use crate::model::series::{Block, History, SeriesId, SlotValue, Tier};
use crate::store::history::block;
use crate::store::history::block_slots;
use crate::store::history::conformance::BASE;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Few, so that sled's segments weigh more than they would in a daemon's history.
const SERIES_COUNT: u128 = 12;
const BLOCKS_A_DAY: u32 = 96;

/// A block of latencies around 80 ms with a long tail, `events` in each slot.
fn latencies(random: &mut StdRng, series: SeriesId, number: u32, events: u32) -> Block {
    let start = BASE.plus(number * block_slots(Tier::TenSeconds));
    let slots = (0..block_slots(Tier::TenSeconds)).map(|offset| {
        let mut histogram = ExpHistogram::default();
        for _ in 0..events {
            // The sum of uniform draws is about normal, its exponential about what latencies are.
            let normal = (0..6).map(|_| random.random_range(-1.0_f64..1.0)).sum::<f64>() / 1.41;
            histogram.record((80e6 * (0.6 * normal).exp()) as u64);
        }
        (start.plus(offset), SlotValue::Histogram(histogram))
    });
    Block { series, start, slots: slots.collect() }
}

/// Bytes that one series takes a day: encoded, and on disk with all of sled around it.
fn bytes_a_series_day(events: u32) -> (u64, u64) {
    let mut random = StdRng::seed_from_u64(u64::from(events));
    let place = on_disk();
    let history = open_whole(place.0.path());
    let mut encoded = 0;
    for number in 0..BLOCKS_A_DAY {
        let blocks: Vec<_> = (0..SERIES_COUNT)
            .map(|n| SeriesId(SERIES.0.wrapping_mul(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c))))
            .map(|series| latencies(&mut random, series, number, events))
            .collect();
        encoded +=
            blocks.iter().map(|b| block::encode(b.start, &b.slots).len() as u64).sum::<u64>();
        history.write(Tier::TenSeconds, u64::from(number), &blocks).expect("written");
    }
    let series = SERIES_COUNT as u64;
    (encoded / series, history.disk_bytes() / series)
}

/// Guarantees a bound on what a histogram of ten-second slots takes on disk for a day: at the rate
/// of a probe, and at that of a busy endpoint.
#[test]
#[ignore = "writes a day of blocks: minutes without optimisation; run with --release"]
fn a_histogram_takes_less_than_the_bound_a_day() {
    for (events, bound) in [(1, 200_000), (20, 600_000)] {
        let (encoded, on_disk) = bytes_a_series_day(events);
        println!("{events} events a slot: {encoded} bytes encoded, {on_disk} on disk");
        assert!(on_disk < bound, "{events} events a slot: {on_disk} bytes on disk");
    }
}
