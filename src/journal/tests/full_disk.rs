//! A full disk: bulk is refused, control goes on in its reserve, and both recover.

use super::*;

const RESERVE_BYTES: u64 = 6_000;

fn config() -> Config {
    Config { control_reserve_bytes: RESERVE_BYTES, ..small_segments() }
}

/// A journal whose reserve is claimed, on a disk that has no room left.
fn on_a_full_disk() -> Rig {
    let rig = Rig::new(config());
    assert!(rig.append(Lane::Control, b"before").is_ok());
    wait_until(|| rig.journal.disk_bytes(Lane::Control) >= RESERVE_BYTES);
    rig.disk.set_capacity(Some(rig.disk.used_bytes()));
    rig
}

/// Guarantees that on a full disk bulk is refused while control goes on for as long as its reserve
/// lasts, that neither lane is poisoned, and that nothing acknowledged is lost.
#[test]
fn control_goes_on_in_its_reserve_on_a_full_disk() {
    let rig = on_a_full_disk();
    assert_eq!(rig.append(Lane::Bulk, &[1; 500]), Err(AppendError::Full));
    let mut acknowledged = 0;
    while rig.append(Lane::Control, &[2; 500]).is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 100, "the disk is full");
    }
    assert!(acknowledged >= RESERVE_BYTES / 512 - 1, "{acknowledged}");
    assert_eq!(rig.append(Lane::Control, &[2; 5_000]), Err(AppendError::Full));
    assert!(!rig.journal.is_poisoned(Lane::Control) && !rig.journal.is_poisoned(Lane::Bulk));

    rig.disk.set_capacity(None);
    assert!(rig.append(Lane::Control, b"after").is_ok());
    assert!(rig.append(Lane::Bulk, b"after").is_ok());
    let rig = rig.restart(config());
    let control = rig.everything(Lane::Control);
    assert_eq!(control.len() as u64, acknowledged + 2);
    assert_eq!(control.last().map(Vec::as_slice), Some(&b"after"[..]));
    assert_eq!(rig.everything(Lane::Bulk), [b"after"]);
}

/// Guarantees that a half-used reserve reads to its last record after a restart, and is used on.
#[test]
fn a_restart_in_the_reserve_goes_on_in_it() {
    let rig = on_a_full_disk();
    for _ in 0..4 {
        assert!(rig.append(Lane::Control, &[2; 500]).is_ok());
    }
    let rig = rig.restart(config());
    assert_eq!(rig.journal.torn_bytes(Lane::Control), 0);
    for _ in 0..4 {
        assert!(rig.append(Lane::Control, &[3; 500]).is_ok());
    }
    assert_eq!(rig.everything(Lane::Control).len(), 9);
    assert_eq!(rig.append(Lane::Bulk, &[1; 500]), Err(AppendError::Full));
}

/// Guarantees that the reserve is claimed anew once there is room again.
#[test]
fn the_reserve_is_claimed_again() {
    let rig = on_a_full_disk();
    assert!(rig.append(Lane::Control, &[2; 500]).is_ok());
    rig.disk.set_capacity(None);
    rig.clock.advance(Duration::from_secs(60));
    let used = rig.journal.tail(Lane::Control).segment;
    assert_eq!(used, 2, "the reserve became the second segment");
    assert!(rig.append(Lane::Control, &[2; 500]).is_ok());
    wait_until(|| rig.journal.disk_bytes(Lane::Control) >= 2 * RESERVE_BYTES);
}

/// Guarantees that a reserve which cannot be claimed is no reason not to run.
#[test]
fn a_reserve_without_room_is_no_error() {
    let disk = FaultyFiles::new();
    disk.set_capacity(Some(2_000));
    let rig = Rig::open(&disk, config()).expect("opened");
    let outcomes: Vec<_> = (0..20).map(|_| rig.append(Lane::Control, &[1; 100])).collect();
    assert!(outcomes.iter().filter(|outcome| outcome.is_ok()).count() > 2);
    assert!(!rig.journal.is_poisoned(Lane::Control));
}
