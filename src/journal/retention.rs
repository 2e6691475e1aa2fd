//! Which segments may go, and their removal, oldest first.

use super::lane::{LaneState, Segment, Segments};
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{debug, warn};

/// How much of a lane is kept beyond what checkpoints need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Released segments go at this age.
    pub keep: Duration,
    /// Released segments go when the lane is larger; at twice this, unreleased ones too.
    pub keep_bytes: Option<u64>,
}

/// Why a segment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Spent,
    /// Its records may be in no checkpoint: a restart would not see them again.
    Forced,
}

/// Removes the oldest segments as long as they may go.
pub(super) fn trim(lane: &LaneState, now: UnixNanos) {
    // Whoever removes at this moment does it for us.
    let Some(_removing) = lane.removing.try_lock() else { return };
    loop {
        let oldest = oldest_to_go(&lane.segments.lock(), &lane.limits, now);
        let Some((segment, verdict)) = oldest else { break };
        // Not under the lock, which a commit takes: removing a large file takes a while.
        if let Err(error) = lane.files.remove(segment.number) {
            warn!(lane = lane.files.lane.as_str(), segment = segment.number,
                error = %Chain(&error), "cannot remove a journal segment");
            break;
        }
        let _ = lane.segments.lock().pop_oldest();
        tell(lane, segment, verdict);
    }
    lane.show_disk_bytes();
}

fn tell(lane: &LaneState, gone: Segment, verdict: Verdict) {
    let (name, segment, bytes) = (lane.files.lane.as_str(), gone.number, gone.bytes);
    match verdict {
        Verdict::Spent => debug!(lane = name, segment, bytes, "removed a journal segment"),
        Verdict::Forced => {
            lane.metrics.dropped_bytes.inc_by(bytes);
            let total = lane.dropped_bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
            warn!(
                lane = name,
                segment,
                bytes,
                dropped_bytes = total,
                "dropped a journal segment that no checkpoint holds: the lane outgrew its limit"
            );
        }
    }
}

fn oldest_to_go(
    segments: &Segments,
    limits: &Limits,
    now: UnixNanos,
) -> Option<(Segment, Verdict)> {
    let mut list = segments.list.iter();
    let (oldest, second) = (list.next()?, list.next()?);
    // Its last record is older than the segment after it.
    let age = now.since(second.created_at);
    let bytes = segments.disk_bytes();
    let outgrown = limits.keep_bytes.is_some_and(|keep| bytes > keep);
    let far_outgrown = limits.keep_bytes.is_some_and(|keep| bytes > keep.saturating_mul(2));
    if segments.released.segment > oldest.number && (age > limits.keep || outgrown) {
        Some((*oldest, Verdict::Spent))
    } else if far_outgrown {
        Some((*oldest, Verdict::Forced))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Position;

    /// Guarantees that only released segments go by age or size, unreleased ones only beyond twice
    /// the size, and the newest one never.
    #[test]
    fn segments_go_by_release_age_and_size() {
        let now = UnixNanos::from_seconds(1_000);
        let check = |ages_s: &[u64], bytes: u64, released: u64, expected: Option<Verdict>| {
            let mut segments = Segments::default();
            for (number, age_s) in (1_u64..).zip(ages_s) {
                let created_at = now.minus(Duration::from_secs(*age_s));
                segments.push(Segment { number, created_at, bytes });
            }
            segments.released = Position { segment: released, offset: 36 };
            let limits = Limits { keep: Duration::from_secs(100), keep_bytes: Some(1_000) };
            let got = oldest_to_go(&segments, &limits, now);
            assert_eq!(got.map(|(_, verdict)| verdict), expected, "{ages_s:?} {bytes} {released}");
            if let Some((segment, _)) = got {
                assert_eq!(segment.number, 1, "the oldest goes first");
            }
        };
        check(&[500, 300, 10], 10, 3, Some(Verdict::Spent));
        check(&[500, 300, 10], 10, 1, None);
        check(&[500, 90, 10], 10, 3, None);
        check(&[50, 40, 10], 400, 3, Some(Verdict::Spent));
        check(&[50, 40, 10], 400, 1, None);
        check(&[50, 40, 10], 700, 1, Some(Verdict::Forced));
        check(&[500], 9_000, 9, None);
    }

    /// Guarantees that a lane without a limit in bytes never loses what is not released.
    #[test]
    fn without_a_limit_in_bytes_only_age_counts() {
        let mut segments = Segments::default();
        for number in 1..=3 {
            segments.push(Segment { number, created_at: UnixNanos(0), bytes: u64::MAX / 8 });
        }
        let limits = Limits { keep: Duration::from_secs(10), keep_bytes: None };
        let now = UnixNanos::from_seconds(1_000);
        assert_eq!(oldest_to_go(&segments, &limits, now), None);
        segments.released = Position { segment: 2, offset: 36 };
        let got = oldest_to_go(&segments, &limits, now).map(|(segment, _)| segment.number);
        assert_eq!(got, Some(1));
    }
}
