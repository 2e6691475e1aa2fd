//! Acknowledgement, order, backpressure, poisoning and closing.

use super::super::files::SystemFiles;
use super::*;
use crate::base::faulty::Fault;

const LANES: [Lane; 2] = [Lane::Control, Lane::Bulk];

/// Guarantees that an acknowledged record is in the sink at the position that was answered, with its
/// note, and that positions follow each other without a gap.
#[test]
fn an_acknowledged_record_is_in_the_sink_with_its_note() {
    let mut rig = Rig::new(small_segments());
    let note: Note = Some(Box::new("of the first"));
    let first = rig.journal.append_blocking(Lane::Control, Bytes::from_static(b"one"), note);
    let first = first.expect("appended");
    assert_eq!(first, rig.journal.first(Lane::Control));
    let committed = rig.control.try_recv().expect("handed over before the answer");
    assert_eq!((committed.lane, committed.position), (Lane::Control, first));
    assert_eq!(committed.bytes, &b"one"[..]);
    let note = committed.note.and_then(|note| note.downcast::<&str>().ok()).expect("a note");
    assert_eq!(*note, "of the first");
    let second = rig.append(Lane::Control, b"two").expect("appended");
    assert_eq!(second, committed.next);
    assert_eq!(rig.control.try_recv().expect("a record").next, rig.journal.tail(Lane::Control));
    assert!(rig.bulk.try_recv().is_err());
    assert_eq!(rig.metric("radiosonde_journal_appended_records_total", Lane::Control), 2.0);
    assert_eq!(rig.metric("radiosonde_journal_appended_bytes_total", Lane::Control), 30.0);
}

/// Guarantees that what cannot be a record is refused without harm.
#[test]
fn what_cannot_be_a_record_is_refused() {
    let rig = Rig::new(small_segments());
    assert_eq!(rig.append(Lane::Bulk, b""), Err(AppendError::Empty));
    let bytes = MAX_RECORD_BYTES + 1;
    assert_eq!(rig.append(Lane::Bulk, &vec![0; bytes]), Err(AppendError::TooLarge { bytes }));
    assert!(rig.append(Lane::Bulk, b"fine").is_ok());
}

/// Guarantees that many callers at once are each answered once, in sink order = position order, and
/// share flushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_share_flushes_and_each_is_answered_once() {
    const CALLERS: u32 = 500;
    let mut rig = Rig::new(Config { segment_bytes: 1 << 20, ..small_segments() });
    let flushes_before = rig.disk.flushes();
    rig.disk.hold_flushes();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let journal = rig.journal.clone();
            let bytes = Bytes::from(caller.to_le_bytes().repeat(10));
            tokio::spawn(async move { journal.append(Lane::Bulk, bytes, None).await })
        })
        .collect();
    // What is not in the queue is in the commits that wait for the first flush.
    let state = Arc::clone(rig.journal.lane(Lane::Bulk));
    let in_first_commit = tokio::task::spawn_blocking(move || {
        wait_until(|| state.queue.claimed_records() == CALLERS as usize);
        wait_until(|| state.queue.len() < CALLERS as usize);
        CALLERS as usize - state.queue.len()
    });
    assert!(in_first_commit.await.expect("no panic") > 0);
    rig.disk.resume_flushes();
    let mut answered = Vec::new();
    for caller in callers {
        answered.push(caller.await.expect("no panic").expect("appended"));
    }
    // One for what came first, one for the others, some for those who had only claimed their room.
    let flushes = rig.disk.flushes() - flushes_before;
    assert!((1..=20).contains(&flushes), "{flushes}");

    let mut sunk = Vec::new();
    while let Ok(committed) = rig.bulk.try_recv() {
        let caller = u32::from_le_bytes(committed.bytes[..4].try_into().expect("four bytes"));
        assert_eq!(answered[caller as usize], committed.position);
        sunk.push(committed);
    }
    assert_eq!(sunk.len(), CALLERS as usize);
    assert!(sunk.windows(2).all(|pair| pair[0].next == pair[1].position));
}

/// Guarantees that a bulk fold that stands still holds up bulk, and control not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_bulk_fold_does_not_delay_control() {
    let (control_sink, mut control) = mpsc::channel(SINK_RECORDS);
    let (bulk_sink, mut bulk) = mpsc::channel(1);
    let sinks = Sinks { control: control_sink, bulk: bulk_sink };
    let files = Arc::new(FaultyFiles::new());
    let journal =
        open(small_segments(), files, Clock::system(), &Telemetry::new(), sinks).expect("opened");
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(Lane::Bulk, vec![1; 99].into(), None).await })
        })
        .collect();
    for _ in 0..100 {
        assert!(journal.append(Lane::Control, vec![2; 99].into(), None).await.is_ok());
        assert!(control.recv().await.is_some());
    }
    assert!(stuck.iter().filter(|append| append.is_finished()).count() <= 1);
    for _ in 0..3 {
        assert!(bulk.recv().await.is_some());
    }
    for append in stuck {
        assert!(append.await.expect("no panic").is_ok());
    }
}

/// Guarantees that after a failed write or flush the lane refuses everything at once and says so,
/// and that the other lane lives on.
#[test]
fn a_failed_operation_poisons_its_lane_alone() {
    for (lane, other) in [(Lane::Control, Lane::Bulk), (Lane::Bulk, Lane::Control)] {
        for later in 1..=2 {
            let rig = Rig::new(small_segments());
            assert!(rig.append(lane, b"before").is_ok());
            rig.disk.fail_at(rig.disk.operations() + later, Fault::Fail);
            assert_eq!(rig.append(lane, b"failed"), Err(AppendError::Poisoned));
            assert_eq!(rig.append(lane, b"after"), Err(AppendError::Poisoned));
            assert!(rig.journal.is_poisoned(lane) && !rig.journal.is_poisoned(other));
            assert_eq!(rig.metric("radiosonde_journal_poisoned", lane), 1.0);
            assert_eq!(rig.metric("radiosonde_journal_poisoned", other), 0.0);
            assert!(rig.append(other, b"lives").is_ok());
            assert_eq!(rig.everything(lane), [b"before"]);
        }
    }
}

/// Guarantees that closing writes what is queued, then refuses, and that a second close is harmless.
#[test]
fn closing_drains_and_then_refuses() {
    let rig = Rig::new(small_segments());
    rig.disk.hold_flushes();
    let appends: Vec<_> = LANES
        .iter()
        .flat_map(|lane| [*lane; 3])
        .map(|lane| {
            let journal = rig.journal.clone();
            thread::spawn(move || journal.append_blocking(lane, vec![7; 10].into(), None))
        })
        .collect();
    for lane in LANES {
        wait_until(|| rig.journal.lane(lane).queue.claimed_records() == 3);
        wait_until(|| rig.journal.lane(lane).queue.len() < 3);
    }
    let closing = rig.journal.clone();
    let closing = thread::spawn(move || closing.close());
    wait_until(|| LANES.iter().all(|lane| rig.journal.lane(*lane).queue.is_closed()));
    assert_eq!(rig.append(Lane::Bulk, b"late"), Err(AppendError::Closed));
    rig.disk.resume_flushes();
    closing.join().expect("no panic");
    for append in appends {
        assert!(append.join().expect("no panic").is_ok());
    }
    rig.journal.close();
    assert_eq!(rig.append(Lane::Control, b"late"), Err(AppendError::Closed));
}

/// Guarantees that closing does not wait for ever on a fold that stands still.
#[test]
fn closing_is_bounded() {
    let (control_sink, _control) = mpsc::channel(1);
    let (bulk_sink, _bulk) = mpsc::channel(1);
    let sinks = Sinks { control: control_sink, bulk: bulk_sink };
    let files = Arc::new(FaultyFiles::new());
    let journal =
        open(small_segments(), files, Clock::system(), &Telemetry::new(), sinks).expect("opened");
    assert!(journal.append_blocking(Lane::Bulk, vec![1].into(), None).is_ok());
    let other = journal.clone();
    let _stuck = thread::spawn(move || other.append_blocking(Lane::Bulk, vec![2].into(), None));
    wait_until(|| journal.tail(Lane::Bulk).offset == 36 + 2 * 13);
    journal.close_within(Duration::from_millis(50));
}

/// Guarantees that a record is acknowledged, for the next start to replay, when nobody folds.
#[test]
fn without_a_fold_records_are_still_durable() {
    let mut rig = Rig::new(small_segments());
    rig.bulk.close();
    assert!(rig.append(Lane::Bulk, b"one").is_ok());
    assert!(rig.append(Lane::Bulk, b"two").is_ok());
    assert_eq!(rig.restart(small_segments()).everything(Lane::Bulk), [b"one", b"two"]);
}

/// Guarantees that all of it works on the operating system's files too.
#[test]
fn the_operating_systems_files_hold_a_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config {
        dir: dir.path().join("journal"),
        control_reserve_bytes: 100_000,
        ..small_segments()
    };
    let start = || {
        let (sink, receiver) = mpsc::channel(SINK_RECORDS);
        let sinks = Sinks { control: sink.clone(), bulk: sink };
        let files = Arc::new(SystemFiles);
        let journal = open(config.clone(), files, Clock::system(), &Telemetry::new(), sinks);
        (journal.expect("opened"), receiver)
    };
    let (journal, _receiver) = start();
    let records: Vec<Bytes> = (1..30_u8).map(|n| vec![n; usize::from(n) * 20].into()).collect();
    for lane in LANES {
        for record in &records {
            assert!(journal.append_blocking(lane, record.clone(), None).is_ok());
        }
    }
    journal.close();
    let (journal, _receiver) = start();
    for lane in LANES {
        let reader = journal.read_from(lane, Position::default()).expect("a reader");
        let replayed: Vec<_> = reader.map(|item| item.expect("sound").2).collect();
        assert_eq!(replayed, records);
        assert!(journal.tail(lane).segment > 3, "segments were closed on the way");
    }
    journal.close();
}
