//! How far our own runtime may have spoilt a value.
//!
//! A task on the probe runtime wakes at a fixed pace and notes by how much it woke late. Whatever
//! delayed it, a task that computes for too long or a machine that gave the thread no time, may have
//! delayed a value that was being measured just as much, so the uncertainty of a value is all the stall
//! that lies within its time. Beyond this the kernel knows how long a thread waited for a processor, but only in a file; the stalls
//! seen here contain that wait.

use crate::base::clock::{Clock, MonoNanos};
use crate::telemetry::Telemetry;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How often the watch wakes.
const PACE: Duration = Duration::from_millis(10);
/// Timers of the runtime are late by up to this without any stall.
const BASELINE: Duration = Duration::from_millis(2);
/// The stalls that are remembered: more than an hour of one every second.
const MAX_STALLS: usize = 4096;
/// The span of the published maximum.
const PUBLISHED: Duration = Duration::from_secs(10);

/// The stalls of one runtime. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct StallWatch(Arc<Watch>);

#[derive(Debug)]
struct Watch {
    clock: Clock,
    /// When the watch should wake next.
    due: AtomicU64,
    stalls: Mutex<VecDeque<Stall>>,
}

/// The runtime did not get to its tasks for that long.
#[derive(Clone, Copy, Debug)]
struct Stall {
    from: MonoNanos,
    to: MonoNanos,
}

impl StallWatch {
    /// A watch that has seen nothing. It sees nothing until it is kept, too.
    pub(super) fn new(clock: &Clock) -> Self {
        let due = AtomicU64::new(u64::MAX);
        Self(Arc::new(Watch { clock: clock.clone(), due, stalls: Mutex::default() }))
    }

    /// Keeps watch over the runtime it is called on, until the handle is dropped. Publishes the
    /// longest stall of the last ten seconds where telemetry is given.
    pub(super) fn keep(&self, telemetry: Option<Telemetry>) -> AbortOnDropHandle<()> {
        let watch = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let clock = watch.0.clock.clone();
            loop {
                let due = clock.monotonic().plus(PACE);
                watch.0.due.store(due.0, Ordering::Relaxed);
                tokio::time::sleep(PACE).await;
                let now = clock.monotonic();
                watch.note(due, now);
                if let Some(telemetry) = &telemetry {
                    let worst = watch.worst(MonoNanos(now.0.saturating_sub(span())), now);
                    telemetry.probe_runtime_stall_seconds.set(worst.as_secs_f64());
                }
            }
        }))
    }

    /// The longest stall that touches the time from `from` to `to`, one going on now included.
    pub(super) fn worst(&self, from: MonoNanos, to: MonoNanos) -> Duration {
        let stalls = self.0.stalls.lock();
        let past = stalls
            .iter()
            .rev()
            .filter(|stall| stall.from <= to && from <= stall.to)
            .map(|stall| stall.to.since(stall.from))
            .max();
        let due = MonoNanos(self.0.due.load(Ordering::Relaxed));
        let present = to.since(due);
        let present = if present > BASELINE { present } else { Duration::ZERO };
        past.unwrap_or_default().max(present)
    }

    /// All the stall that lies between `from` and `to`, one going on then included: never more than the
    /// time between them.
    pub(super) fn within(&self, from: MonoNanos, to: MonoNanos) -> Duration {
        let overlap = |stall: &Stall| stall.to.min(to).since(stall.from.max(from));
        let past: Duration = self.0.stalls.lock().iter().map(overlap).sum();
        let due = MonoNanos(self.0.due.load(Ordering::Relaxed));
        let is_late = to.since(due) > BASELINE;
        let present = if is_late { to.since(due.max(from)) } else { Duration::ZERO };
        past.saturating_add(present).min(to.since(from))
    }

    fn note(&self, due: MonoNanos, woke: MonoNanos) {
        if woke.since(due) <= BASELINE {
            return;
        }
        let mut stalls = self.0.stalls.lock();
        if stalls.len() >= MAX_STALLS {
            let _ = stalls.pop_front();
        }
        stalls.push_back(Stall { from: due, to: woke });
    }
}

fn span() -> u64 {
    crate::base::clock::nanos(PUBLISHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a run is charged with stalls that touch it, not with others, and not with
    /// the timer's usual lateness.
    #[test]
    fn a_run_is_charged_with_its_own_stalls() {
        let ms = |ms: u64| MonoNanos(ms * 1_000_000);
        let watch = StallWatch::new(&Clock::system());
        watch.note(ms(10), ms(11));
        watch.note(ms(100), ms(130));
        watch.note(ms(200), ms(205));
        let check = |from, to, worst| {
            assert_eq!(watch.worst(ms(from), ms(to)), Duration::from_millis(worst));
        };
        check(0, 50, 0);
        check(120, 140, 30);
        check(150, 300, 5);
        check(90, 300, 30);
        watch.0.due.store(ms(400).0, Ordering::Relaxed);
        check(390, 450, 50);
    }

    /// Guarantees that a value is charged with all stalls within its time, as far as they lie in it.
    #[test]
    fn a_value_is_charged_with_the_sum() {
        let ms = |ms: u64| MonoNanos(ms * 1_000_000);
        let watch = StallWatch::new(&Clock::system());
        for (from, to) in [(100, 130), (200, 205), (210, 240)] {
            watch.note(ms(from), ms(to));
        }
        let check = |from, to, sum| {
            assert_eq!(watch.within(ms(from), ms(to)), Duration::from_millis(sum));
        };
        check(0, 100, 0);
        check(0, 300, 65);
        check(120, 220, 25);
        check(202, 204, 2);
        watch.0.due.store(ms(400).0, Ordering::Relaxed);
        check(390, 450, 50);
        check(420, 450, 30);
        check(390, 401, 0);
    }

    /// Guarantees that a task which blocks the runtime is noticed.
    #[tokio::test]
    async fn a_blocked_runtime_is_noticed() {
        let clock = Clock::system();
        let watch = StallWatch::new(&clock);
        let handle = watch.keep(None);
        let from = clock.monotonic();
        tokio::time::sleep(PACE / 2).await;
        let block = clock.monotonic().plus(Duration::from_millis(60));
        while clock.monotonic() < block {
            std::hint::spin_loop();
        }
        assert!(watch.worst(from, clock.monotonic()) >= Duration::from_millis(40));
        tokio::time::sleep(PACE).await;
        assert!(watch.worst(from, clock.monotonic()) >= Duration::from_millis(40));
        drop(handle);
    }
}
