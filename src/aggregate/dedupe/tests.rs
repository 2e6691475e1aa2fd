//! The promises of the recogniser as a whole: none forgotten, few mistaken, bounded, restorable.

use super::*;
use crate::journal::files::SystemFiles;
use crate::store::dedupe_files;
use proptest::prelude::*;
use std::collections::HashSet;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The tests' beginning: a whole generation and a whole slice.
const START: u64 = 1_800_000_000 * SECOND;

/// The hash of item number `n`.
fn item(n: u64) -> u128 {
    xxh3_128(&n.to_le_bytes())
}

fn small(bytes: usize, generation_items: usize) -> Dedupe {
    Dedupe::new(Limits { bytes, generation_items })
}

/// Sends item `n`, of event time `event`, at `at`.
fn send(dedupe: &mut Dedupe, n: u64, event: u64, at: u64) -> bool {
    dedupe.is_new(item(n), event, UnixNanos(at))
}

/// Guarantees that within fifteen minutes of receipt an item is known exactly, with and without a time
/// of its own, to the last nanosecond; and that one without a time is forgotten after that.
#[test]
fn fifteen_minutes_are_exact() {
    for first in [START, START + MINUTE, START + 5 * MINUTE - 1] {
        let mut dedupe = Dedupe::default();
        assert!(send(&mut dedupe, 1, 0, first));
        for n in 2..500 {
            assert!(send(&mut dedupe, n, 0, first + n * SECOND));
        }
        assert!(!send(&mut dedupe, 1, 0, first + 15 * MINUTE));
        assert_eq!((dedupe.filtered(), dedupe.expected_false()), (0, 0.0));
        assert!(send(&mut dedupe, 1, 0, first + 20 * MINUTE));
    }
}

/// Guarantees that memory of a quiet daemon is small, and that the horizon is the whole one.
#[test]
fn nothing_takes_nothing() {
    let mut dedupe = Dedupe::default();
    assert_eq!(dedupe.bytes(), 0);
    for hour in 0..24 {
        let at = START + hour * HOUR;
        assert!(send(&mut dedupe, hour, at, at));
    }
    assert!(dedupe.bytes() < 16 << 10, "{} bytes", dedupe.bytes());
    assert_eq!(dedupe.horizon(UnixNanos(START + DAY)), LONGEST);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Guarantees that no item is counted twice within the seven days in which it is accepted, whenever
    /// it comes first and however often again, also of phones whose clock is fast or slow.
    #[test]
    fn none_is_forgotten_for_seven_days(
        items in prop::collection::vec(
            // Age at first receipt (below zero: ahead), and later sendings, in minutes.
            (-600_i64..10_080, prop::collection::vec(0_u64..10_080, 1..5)),
            1..120,
        ),
        generation_items in 7_usize..60,
    ) {
        let mut dedupe = small(64 << 20, generation_items);
        // (when, which, its event time)
        let mut sendings: Vec<(u64, u64, u64)> = Vec::new();
        for (n, (age, again)) in (0_u64..).zip(&items) {
            let first = START + 8 * DAY + n * 37 * SECOND;
            let event = first.saturating_add_signed(-age * MINUTE as i64);
            for after in std::iter::once(&0).chain(again) {
                let at = first + after * MINUTE;
                if at <= event + 7 * DAY {
                    sendings.push((at, n, event));
                }
            }
        }
        sendings.sort_unstable();
        let mut seen = HashSet::new();
        for (at, n, event) in sendings {
            prop_assert_eq!(send(&mut dedupe, n, event, at), seen.insert(n));
        }
    }
}

/// Guarantees the rate of false positives: with a slice so full that the formula gives one in a
/// thousand, as many are found as it says (within five standard deviations), and the count of those
/// expected agrees. The formula at capacity then bounds the rate by 1e-6.
#[test]
fn false_positives_are_as_calculated() {
    // The lowest 20 bits of the fingerprint are fixed, which leaves 2^28 values: 1 in 1,024.
    let narrow = |n: u64| item(n) & !(0xf_ffff << 80);
    let mut dedupe = Dedupe { key: 1, ..Dedupe::default() };
    let held = 1 << 18;
    for n in 0..held {
        let _ = dedupe.is_new(narrow(n), START, UnixNanos(START));
    }
    let later = UnixNanos(START + HOUR);
    let asked = 200_000;
    let wrong = (held..held + asked).filter(|n| !dedupe.is_new(narrow(*n), START, later)).count();
    let expected = asked as f64 / 1_024.0;
    let off = (wrong as f64 - expected).abs();
    assert!(off < 5.0 * expected.sqrt(), "{wrong} instead of {expected}");
    assert_eq!(dedupe.filtered(), wrong as u64);
    let as_told = dedupe.expected_false() * (1_u64 << 20) as f64;
    assert!((as_told - expected).abs() < 0.01 * expected, "{as_told} instead of {expected}");
    // At capacity a slice holds 2^48 / 1e6 fingerprints, beyond which it is dropped.
    let most = 281_474_976.0 / (1_u64 << 48) as f64;
    assert!(most <= 1e-6);
}

/// Guarantees that real hashes have no more false positives than that: none among some hundred
/// thousands, all of which the filter alone decides about.
#[test]
fn new_items_are_new() {
    let mut dedupe = Dedupe::default();
    let count = 300_000;
    for n in 0..count {
        assert!(send(&mut dedupe, n, START, START));
    }
    let later = START + HOUR;
    assert!((count..2 * count).all(|n| send(&mut dedupe, n, START, later)));
    assert!((0..count).all(|n| !send(&mut dedupe, n, START, later)));
    assert_eq!(dedupe.filtered(), count);
    assert!(dedupe.expected_false() < 0.001, "{}", dedupe.expected_false());
}

/// Guarantees the bound under a flood: memory stays below it, the oldest event times go first, the
/// horizon says so and recovers after the flood, and what lies within it is still recognised.
#[test]
fn a_flood_shortens_the_horizon() {
    let limit = 2 << 20;
    let mut dedupe = small(limit, 7 << 10);
    let quiet = 20;
    for n in 0..quiet {
        assert!(send(&mut dedupe, n, START + n * HOUR, START + n * HOUR));
    }
    let begin = START + quiet * HOUR;
    assert_eq!(dedupe.horizon(UnixNanos(begin)), LONGEST);
    let (flood, step) = (700_000, 10_000_000);
    let mut peak = 0;
    for n in 0..flood {
        let at = begin + n * step;
        assert!(send(&mut dedupe, 1_000 + n, at, at));
        if n % 1_000 == 0 {
            peak = peak.max(dedupe.bytes());
        }
    }
    assert!(peak <= limit, "{peak} bytes");
    let now = begin + flood * step;
    let horizon = dedupe.horizon(UnixNanos(now));
    assert!(
        horizon > Duration::from_secs(900) && horizon < Duration::from_secs(4_000),
        "{horizon:?}"
    );
    let within = (horizon.as_nanos() as u64 / step) - 1;
    for n in (flood - within..flood).step_by(97) {
        let at = begin + n * step;
        assert!(!send(&mut dedupe, 1_000 + n, at, now), "{n} of {within}");
    }
    let calm = UnixNanos(now + DAY);
    assert!(dedupe.is_new(1, calm.0, calm));
    assert!(dedupe.horizon(calm) >= Duration::from_secs(86_400));
    assert_eq!(dedupe.horizon(calm.plus(LONGEST)), LONGEST);
}

/// Guarantees that an exact memory which is too small hands over to the filters and not to oblivion.
#[test]
fn exact_hashes_move_on_early() {
    let mut dedupe = small(4 << 20, 7 << 10);
    for n in 0..200_000 {
        let at = START + n * 100_000;
        assert!(send(&mut dedupe, n, at, at));
    }
    let now = START + 21 * SECOND;
    assert!(dedupe.len() < 100_000);
    assert!((0..200_000).all(|n| !send(&mut dedupe, n, START + n * 100_000, now)));
    assert!(dedupe.filtered() > 100_000);
}

/// Writes an epoch as a checkpoint does, without committing it. Returns what the checkpoint keeps.
fn write(dir: &Path, epoch: u64, dedupe: &mut Dedupe) -> crate::wire::state::DedupeMessage {
    let full = dedupe_files::wants_full(&SystemFiles, dir).unwrap();
    let (state, pieces) = (dedupe.state(), dedupe.take(full));
    let _ = dedupe_files::write(&SystemFiles, dir, epoch, full, pieces.iter().map(Piece::encode))
        .unwrap();
    state
}

/// Restores as a start does; the limits are the test's own.
fn restore(
    dir: &Path,
    epoch: u64,
    state: &crate::wire::state::DedupeMessage,
    limits: Limits,
) -> (Dedupe, bool) {
    let mut dedupe = Dedupe { limits, ..Dedupe::of_state(state) };
    let mut readable = true;
    let whole = dedupe_files::recover(&SystemFiles, dir, epoch, |piece| {
        readable &= dedupe.restore(piece, state)
    });
    let whole = dedupe.restored(state, UnixNanos(START), whole.unwrap() && readable);
    (dedupe, whole)
}

/// One sending of the restart tests: mostly live, some late, one in five a repetition.
fn sending(n: u64) -> (u64, u64, u64) {
    let at = START + n * 400_000_000;
    let which = if n % 5 == 4 { xxh3_128(&[n as u8]) as u64 % n.max(1) } else { n };
    let late = if which % 7 == 0 { (which % 140) * HOUR } else { 0 };
    (which, START + which * 400_000_000 - late, at)
}

/// Guarantees that a kill at any point between epochs, a checkpoint that failed included, gives the
/// same answers after restart and replay as without it: nothing forgotten, and no replayed record a
/// duplicate of itself.
#[test]
fn a_restart_changes_no_answer() {
    let limits = Limits { bytes: 64 << 20, generation_items: 700 };
    let total = 30_000;
    let mut unbroken = Dedupe::new(limits);
    let answers: Vec<bool> = (0..total)
        .map(sending)
        .map(|(which, event, at)| send(&mut unbroken, which, event, at))
        .collect();
    assert!(answers.iter().filter(|new| !**new).count() > 5_000);

    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut dedupe = Dedupe::new(limits);
    let mut committed = (0, 0, dedupe.state());
    let mut epoch = 0;
    let mut next = 0;
    let mut restarts = 0;
    while next < total {
        let (which, event, at) = sending(next);
        let new = send(&mut dedupe, which, event, at);
        assert_eq!(new, answers[next as usize], "item {next} after {restarts} restarts");
        next += 1;
        if next % 150 == 0 {
            epoch += 1;
            let state = write(dir, epoch, &mut dedupe);
            // Otherwise the checkpoint failed, or the process is killed before it.
            if epoch % 11 != 0 && epoch % 7 != 0 {
                dedupe.committed();
                committed = (epoch, next, state);
                dedupe_files::retain(&SystemFiles, dir, epoch).unwrap();
            }
        }
        if next % 1_111 == 0 || next % (150 * 7) == 0 && epoch % 7 == 0 {
            restarts += 1;
            let (restored, whole) = restore(dir, committed.0, &committed.2, limits);
            assert!(whole);
            (dedupe, epoch, next) = (restored, committed.0 + 1_000 * restarts, committed.1);
            // Every restart is made once: the positions move on before the next.
            while next < total && (next % 1_111 != 1) {
                let (which, event, at) = sending(next);
                assert_eq!(send(&mut dedupe, which, event, at), answers[next as usize]);
                next += 1;
            }
        }
    }
    assert!(restarts > 10);
    assert_eq!(dedupe.filtered(), unbroken.filtered());
    assert_eq!(dedupe.len(), unbroken.len());
}

/// Guarantees that a delta is what is new and no more, that a commit is needed for it to count as saved,
/// and that a full epoch holds everything.
#[test]
fn a_checkpoint_takes_what_is_new() {
    let mut dedupe = Dedupe::default();
    let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.encode().len()).sum::<usize>();
    assert_eq!(dedupe.take(false).len(), 0);
    for n in 0..10_000 {
        assert!(send(&mut dedupe, n, START, START));
    }
    assert_eq!(dedupe.take(false).len(), 1);
    assert_eq!(dedupe.take(false).len(), 1);
    dedupe.committed();
    assert_eq!(dedupe.take(false).len(), 0);
    // The first generation has moved on: its run is new, and the generation of this item.
    let later = START + HOUR;
    assert!(send(&mut dedupe, 10_000, later, later));
    let pieces = dedupe.take(false);
    assert_eq!(pieces.len(), 2);
    assert!(bytes(&pieces) < 50_000, "{} bytes", bytes(&pieces));
    dedupe.committed();
    assert!(send(&mut dedupe, 10_001, later, later));
    assert!(bytes(&dedupe.take(false)) < 100);
    assert!(bytes(&dedupe.take(true)) > 40_000);
}

/// Guarantees that missing hashes are told and begin the horizon anew, and that the rest still counts.
#[test]
fn missing_hashes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut dedupe = Dedupe::default();
    for n in 0..1_000 {
        assert!(send(&mut dedupe, n, START, START));
    }
    let _ = write(dir, 1, &mut dedupe);
    dedupe.committed();
    let later = START + HOUR;
    for n in 1_000..2_000 {
        assert!(send(&mut dedupe, n, later, later));
    }
    let state = write(dir, 2, &mut dedupe);
    let (whole, told) = restore(dir, 2, &state, Limits::default());
    assert!(told);
    assert_eq!(whole.horizon(UnixNanos(later)), LONGEST);
    std::fs::remove_file(dir.join("00000000000000000002.delta")).unwrap();
    let (rest, told) = restore(dir, 2, &state, Limits::default());
    assert!(!told);
    assert_eq!(rest.horizon(UnixNanos(START + MINUTE)), Duration::from_secs(60));
    let again = Dedupe::of_state(&rest.state());
    assert_eq!(again.horizon(UnixNanos(START + MINUTE)), Duration::from_secs(60));
}
