//! Reading: round trips, damage, holes.

use super::*;
use proptest::prelude::*;

const LANE: Lane = Lane::Bulk;

fn path(segment: u64) -> PathBuf {
    PathBuf::from(format!("journal/bulk-{segment:016}.log"))
}

/// A closed journal of three records, each in a commit of its own, and where they begin.
fn three_records() -> (FaultyFiles, Vec<usize>) {
    let rig = Rig::new(small_segments());
    let append = |n: u8| rig.append(LANE, &[n; 100]).expect("appended").offset as usize;
    let offsets = (1..=3).map(append).collect();
    rig.journal.close();
    (rig.disk, offsets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Guarantees that records of any size come back in order, over segments of any size and a
    /// restart, from the beginning and from the end of every record.
    #[test]
    fn records_of_any_size_come_back(
        sizes in prop::collection::vec(1_usize..3_000, 1..40),
        segment_bytes in 40_u64..6_000,
        together in any::<bool>(),
    ) {
        let config = Config { segment_bytes, ..small_segments() };
        let mut rig = Rig::new(config.clone());
        let records: Vec<Vec<u8>> = (1_u8..).zip(&sizes).map(|(n, size)| vec![n; *size]).collect();
        if together {
            prop_assert!(rig.append_together(LANE, &records).iter().all(Result::is_ok));
        } else {
            prop_assert!(records.iter().all(|record| rig.append(LANE, record).is_ok()));
        }
        let mut ends = Vec::new();
        while let Ok(committed) = rig.bulk.try_recv() {
            ends.push(committed.next);
        }
        let rig = rig.restart(config);
        prop_assert_eq!(&rig.everything(LANE), &records);
        prop_assert_eq!(rig.journal.torn_bytes(LANE), 0);
        for (index, end) in ends.into_iter().enumerate() {
            let (rest, error) = rig.replay(LANE, end);
            prop_assert!(error.is_none());
            prop_assert_eq!(&rest, &records[index + 1..]);
        }
    }
}

/// Guarantees that a reader ends at what was durable when it was made.
#[test]
fn a_reader_ends_at_the_tail_of_its_time() {
    let rig = Rig::new(small_segments());
    assert!(rig.append(LANE, b"one").is_ok());
    let reader = rig.journal.read_from(LANE, Position::default()).expect("a reader");
    assert!(rig.append(LANE, b"two").is_ok());
    assert_eq!(reader.count(), 1);
    let rest = rig.journal.read_from(LANE, rig.journal.tail(LANE)).expect("a reader");
    assert_eq!(rest.count(), 0);
    let beyond = Position { segment: 9, offset: 36 };
    assert!(matches!(rig.journal.read_from(LANE, beyond), Err(JournalError::Beyond { .. })));
}

/// Guarantees that damage to the last commit is cut away as torn, and that damage before it is
/// reported with its place, wherever in a record it is, and loses nothing that can be read.
#[test]
fn damage_is_told_from_a_torn_write() {
    // Within a record: length, distance, checksum, payload.
    for within in [0, 3, 5, 9, 12, 111] {
        let (disk, offsets) = three_records();
        assert!(disk.rot(&path(1), offsets[2] + within));
        let rig = Rig::open(&disk, small_segments()).expect("opened");
        assert_eq!(rig.everything(LANE), [[1; 100], [2; 100]], "byte {within} of the last");
        assert_eq!(rig.journal.torn_bytes(LANE), 112);
        assert_eq!(rig.append(LANE, b"on").map(|at| at.offset as usize), Ok(offsets[2]));

        let (disk, offsets) = three_records();
        assert!(disk.rot(&path(1), offsets[1] + within));
        let rig = Rig::open(&disk, small_segments()).expect("opened");
        assert_eq!(rig.append(LANE, b"on").map(|at| at.segment), Ok(2), "byte {within}");
        let mut reader = rig.journal.read_from(LANE, Position::default()).expect("a reader");
        let mut payloads = Vec::new();
        let error = take_all(&mut reader, &mut payloads).expect("damage");
        let place = offsets[1] as u64;
        assert!(
            matches!(&error, JournalError::Corrupt { file, offset } if *file == path(1) && *offset == place),
            "byte {within}: {error:?}"
        );
        assert!(reader.next().is_none(), "reported once");
        assert!(reader.skip_to_next_segment());
        assert!(take_all(&mut reader, &mut payloads).is_none());
        assert_eq!(payloads, [vec![1; 100], b"on".to_vec()]);
        assert!(!reader.skip_to_next_segment());
    }
}

/// Guarantees that a commit of several records that was torn at its beginning is torn, not corrupt,
/// although sound records of the same commit follow.
#[test]
fn a_commit_torn_at_its_beginning_is_torn() {
    let rig = Rig::new(small_segments());
    let records: Vec<_> = (1..=4_u8).map(|n| vec![n; 100]).collect();
    rig.append_behind_the_first(LANE, &records);
    rig.journal.close();
    assert!(rig.disk.rot(&path(1), 36 + 112 + 50));
    let rig = Rig::open(&rig.disk, small_segments()).expect("opened");
    assert_eq!(rig.everything(LANE), [[1; 100]]);
    assert_eq!(rig.journal.torn_bytes(LANE), 3 * 112);
}

/// Guarantees that a payload which contains the bytes of records does not pass for them.
#[test]
fn a_record_woven_into_a_payload_is_none() {
    let (disk, offsets) = three_records();
    let records = disk.read(&path(1)).expect("a segment").split_off(offsets[0]);
    let rig = Rig::open(&disk, Config { segment_bytes: 400, ..small_segments() }).expect("opened");
    let woven = rig.append(LANE, &records).expect("appended");
    assert_eq!(woven.segment, 2);
    rig.journal.close();
    // Its own length is damaged, so that what it contains is looked at.
    assert!(disk.rot(&path(2), woven.offset as usize));
    let rig = Rig::open(&disk, small_segments()).expect("opened");
    assert_eq!(rig.journal.tail(LANE), woven);
}

/// Guarantees that a damaged or absent segment in the middle is reported once and can be skipped.
#[test]
fn a_bad_segment_in_the_middle_can_be_skipped() {
    let check = |harm: &dyn Fn(&FaultyFiles), expected: &str| {
        let rig = Rig::new(Config { segment_bytes: 100, ..small_segments() });
        for n in 1..=3 {
            assert!(rig.append(LANE, &[n; 100]).is_ok());
        }
        rig.journal.close();
        harm(&rig.disk);
        let rig = Rig::open(&rig.disk, small_segments()).expect("opened");
        let mut reader = rig.journal.read_from(LANE, Position::default()).expect("a reader");
        let mut payloads = Vec::new();
        let error = take_all(&mut reader, &mut payloads).expect("damage").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("bulk-0000000000000002.log"), "{error}");
        assert!(reader.skip_to_next_segment());
        assert!(take_all(&mut reader, &mut payloads).is_none());
        assert_eq!(payloads, [[1; 100], [3; 100]]);
    };
    let cut = |disk: &FaultyFiles, size| {
        disk.open(&path(2)).and_then(|mut file| file.set_len(size)).expect("cut");
    };
    check(&|disk| assert!(disk.rot(&path(2), 90)), "corrupt at byte 36");
    check(&|disk| assert!(disk.rot(&path(2), 20)), "corrupt at byte 0");
    check(&|disk| cut(disk, 120), "corrupt at byte 36");
    check(&|disk| cut(disk, 0), "corrupt at byte 0");
    check(&|disk| disk.remove(&path(2)).expect("removed"), "missing");
}

/// Guarantees that a newest segment without a header is taken for a creation that was cut off only
/// when it holds nothing.
#[test]
fn a_headless_segment_is_removed_only_when_blank() {
    let (disk, _) = three_records();
    let mut file = disk.create(&path(2)).expect("created");
    file.write_at(0, &[0; 500]).expect("written");
    let rig = Rig::open(&disk, small_segments()).expect("opened");
    assert_eq!(rig.journal.tail(LANE).segment, 1);
    assert_eq!(rig.everything(LANE).len(), 3);
    drop(rig);

    let (disk, _) = three_records();
    assert!(disk.rot(&path(1), 20));
    let rig = Rig::open(&disk, small_segments()).expect("opened");
    assert_eq!(rig.journal.tail(LANE).segment, 2);
    let (none, error) = rig.replay(LANE, Position::default());
    assert!(none.is_empty());
    assert!(matches!(error, Some(JournalError::Corrupt { offset: 0, .. })), "{error:?}");
}

/// Guarantees that a journal of a later version is refused, untouched, with file and version.
#[test]
fn a_newer_journal_is_refused() {
    let (disk, _) = three_records();
    disk.open(&path(1)).and_then(|mut file| file.write_at(8, &[2])).expect("written");
    let before = disk.operations();
    let error = Rig::open(&disk, small_segments()).err().expect("refused");
    assert!(matches!(&error, JournalError::Newer { file, version: 2 } if *file == path(1)));
    assert_eq!(disk.operations(), before, "both lanes were only looked at");
}
