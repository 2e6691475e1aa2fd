//! Knows when the probe runtime itself was late: the part of a value that may be our own doing.
//!
//! A watchdog task wakes each [`PERIOD`] on the runtime that runs the probes and notes by how much it
//! overslept. Oversleeping beyond [`BASELINE`] while a run was going is that run's uncertainty. The
//! kernel's run-queue delay would need a file of /proc and is not read: a stall shows here anyway,
//! since the watchdog waits in the same queue.

use crate::base::clock::{Clock, MonoNanos, nanos};
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// How often the watchdog wakes.
const PERIOD: Duration = Duration::from_millis(10);
/// What the runtime's timer is late by when nothing is wrong: its wheel has a tick of a millisecond.
const BASELINE: Duration = Duration::from_millis(2);
/// Stalls that are remembered.
const MAX_STALLS: usize = 512;
/// How far back the published figure looks.
const PUBLISHED: Duration = Duration::from_secs(10);

/// Stalls of the runtime, the newest last.
#[derive(Debug, Default)]
pub(super) struct StallLog(Mutex<VecDeque<Stall>>);

#[derive(Clone, Copy, Debug)]
struct Stall {
    from: MonoNanos,
    to: MonoNanos,
    length_ns: u64,
}

impl StallLog {
    /// The longest stall that touched the time between the two readings, nanoseconds.
    pub(super) fn longest(&self, from: MonoNanos, to: MonoNanos) -> u64 {
        let stalls = self.0.lock();
        let touching = stalls.iter().filter(|stall| stall.to >= from && stall.from <= to);
        touching.map(|stall| stall.length_ns).max().unwrap_or(0)
    }

    /// Watches the runtime that polls this future, for ever.
    pub(super) async fn watch(&self, clock: &Clock, telemetry: &Telemetry) {
        loop {
            let from = clock.monotonic();
            tokio::time::sleep(PERIOD).await;
            let to = clock.monotonic();
            self.note(from, to);
            let recent = self.longest(MonoNanos(to.0.saturating_sub(nanos(PUBLISHED))), to);
            telemetry.probe_runtime_stall_seconds.set(recent as f64 / 1e9);
        }
    }

    fn note(&self, from: MonoNanos, to: MonoNanos) {
        let late = to.since(from).saturating_sub(PERIOD);
        if late <= BASELINE {
            return;
        }
        let mut stalls = self.0.lock();
        stalls.push_back(Stall { from, to, length_ns: nanos(late) });
        if stalls.len() > MAX_STALLS {
            let _ = stalls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a stall spoils the runs that it touched and no others.
    #[test]
    fn a_stall_counts_where_it_was() {
        let log = StallLog::default();
        let at = |ms: u64| MonoNanos(ms * 1_000_000);
        log.note(at(100), at(111));
        log.note(at(200), at(260));
        assert_eq!(log.longest(at(0), at(150)), 0);
        assert_eq!(log.longest(at(150), at(210)), 50_000_000);
        assert_eq!(log.longest(at(261), at(300)), 0);
    }
}
