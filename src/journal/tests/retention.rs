//! What goes when it is released, and what goes although it was not.

use super::*;

const LANE: Lane = Lane::Bulk;

fn config() -> Config {
    Config {
        segment_bytes: 200,
        bulk_keep: Duration::from_secs(3_600),
        bulk_keep_bytes: 2_000,
        ..small_segments()
    }
}

/// Guarantees that released segments go when they are old, never the one that is written to, and
/// that reading begins at what is left.
#[test]
fn released_segments_go_when_old() {
    let rig = Rig::new(config());
    for n in 1..=5 {
        assert!(rig.append(LANE, &[n; 150]).is_ok());
        rig.clock.advance(Duration::from_secs(1_800));
    }
    let now = rig.clock.now();
    let third = Position { segment: 3, offset: 36 };
    rig.journal.release(LANE, third, now.minus(Duration::from_secs(9_000)));
    assert_eq!(rig.journal.first(LANE).segment, 1, "released but young");
    rig.journal.release(LANE, third, now.plus(Duration::from_secs(900_000)));
    assert_eq!(rig.journal.first(LANE).segment, 3, "old but not released");
    assert_eq!(rig.everything(LANE).first(), Some(&vec![3; 150]));
    rig.journal.release(LANE, rig.journal.tail(LANE), now.plus(Duration::from_secs(900_000)));
    assert_eq!(rig.everything(LANE), [[5; 150]]);
    assert_eq!(rig.journal.dropped_bytes(LANE), 0);
    let on_disk = rig.disk.used_bytes() - rig.journal.disk_bytes(Lane::Control);
    assert_eq!(rig.journal.disk_bytes(LANE), on_disk);
    let shown = rig.metric("radiosonde_journal_disk_bytes", LANE);
    assert_eq!(shown, on_disk as f64);
    let rig = rig.restart(config());
    assert_eq!(rig.everything(LANE), [[5; 150]]);
}

/// Guarantees that bulk which nobody releases stays below twice its limit, its losses counted, and
/// that control is never dropped.
#[test]
fn bulk_is_bounded_even_unreleased_and_control_never_dropped() {
    let rig = Rig::new(config());
    for _ in 0..60 {
        assert!(rig.append(Lane::Bulk, &[1; 150]).is_ok());
        assert!(rig.append(Lane::Control, &[1; 150]).is_ok());
    }
    assert!(rig.journal.disk_bytes(Lane::Bulk) <= 2 * 2_000 + 200);
    let kept = rig.everything(Lane::Bulk).len() as u64;
    assert_eq!(rig.journal.dropped_bytes(Lane::Bulk), (60 - kept) * (36 + 12 + 150));
    assert_eq!(rig.everything(Lane::Control).len(), 60);
    assert_eq!(rig.journal.dropped_bytes(Lane::Control), 0);
}

/// Guarantees that a reader whose segment was dropped says so instead of leaving a silent hole.
#[test]
fn a_reader_notices_what_was_dropped_under_it() {
    let rig = Rig::new(config());
    for n in 1..=5 {
        assert!(rig.append(LANE, &[n; 150]).is_ok());
    }
    let mut reader = rig.journal.read_from(LANE, Position::default()).expect("a reader");
    assert!(reader.next().is_some_and(|first| first.is_ok()));
    let late = rig.clock.now().plus(Duration::from_secs(900_000));
    rig.journal.release(LANE, Position { segment: 4, offset: 36 }, late);
    let mut payloads = Vec::new();
    let error = take_all(&mut reader, &mut payloads);
    assert!(matches!(error, Some(JournalError::Missing { .. })), "{error:?}");
    assert!(reader.skip_to_next_segment());
    assert!(take_all(&mut reader, &mut payloads).is_none());
    assert_eq!(payloads, [[4; 150], [5; 150]]);
}
