//! The only place that asks the machine for the time.
//!
//! Everything else takes `now` as an argument, so that evaluation replays and simulations run on a
//! clock of their own. Wall-clock values ([`UnixNanos`]) name instants; durations come from the
//! monotonic clock ([`MonoNanos`]) alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

/// A reading of the monotonic clock: nanoseconds since the process (or the simulation) began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct MonoNanos(pub u64);

/// A source of time. Clones share the same source.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System { origin: Instant, floor: AtomicU64 },
    Manual { wall: AtomicU64, mono: AtomicU64 },
}

/// The wall clock moved against the monotonic one: a step, or a suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockJump {
    /// How far the wall clock moved beyond what elapsed; negative means backwards.
    pub nanos: i64,
}

/// Compares wall and monotonic time between calls and reports jumps.
#[derive(Clone, Copy, Debug)]
pub struct JumpDetector {
    tolerance: Duration,
    last: Option<(UnixNanos, MonoNanos)>,
}

// === impl UnixNanos ===

impl UnixNanos {
    /// This instant moved later, saturating at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// This instant moved earlier, saturating at the epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the epoch, with fractions.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// From whole seconds since the epoch.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The instant in RFC 3339 with milliseconds, UTC.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let seconds = i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX);
        let fraction = (self.0 % 1_000_000_000) as u32;
        chrono::DateTime::<chrono::Utc>::from_timestamp(seconds, fraction)
            .map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
    }
}

impl fmt::Debug for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

// === impl MonoNanos ===

impl MonoNanos {
    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This reading moved later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

// === impl Clock ===

impl Clock {
    /// The machine's clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    pub fn system() -> Self {
        Self(Arc::new(Source::System { origin: Instant::now(), floor: AtomicU64::new(0) }))
    }

    /// A clock that stands at `start` until [`Clock::advance`] or [`Clock::step`] moves it.
    #[must_use]
    pub fn manual(start: UnixNanos) -> Self {
        Self(Arc::new(Source::Manual { wall: AtomicU64::new(start.0), mono: AtomicU64::new(0) }))
    }

    /// The current instant. Never runs backwards within a process: after the wall clock was set
    /// back, it stands still until the wall clock has caught up.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        match &*self.0 {
            Source::System { floor, .. } => {
                let wall = machine_wall();
                UnixNanos(floor.fetch_max(wall, Ordering::AcqRel).max(wall))
            }
            Source::Manual { wall, .. } => UnixNanos(wall.load(Ordering::Acquire)),
        }
    }

    /// The wall clock as the machine shows it, jumps included; for [`JumpDetector`] only.
    #[must_use]
    pub fn wall(&self) -> UnixNanos {
        match &*self.0 {
            Source::System { .. } => UnixNanos(machine_wall()),
            Source::Manual { wall, .. } => UnixNanos(wall.load(Ordering::Acquire)),
        }
    }

    /// The monotonic clock, for durations.
    #[must_use]
    pub fn monotonic(&self) -> MonoNanos {
        match &*self.0 {
            Source::System { origin, .. } => MonoNanos(nanos(origin.elapsed())),
            Source::Manual { mono, .. } => MonoNanos(mono.load(Ordering::Acquire)),
        }
    }

    /// The instant of a monotonic reading as a `std` instant, for timers. Manual clocks have none.
    #[must_use]
    pub fn instant_of(&self, reading: MonoNanos) -> Option<Instant> {
        match &*self.0 {
            Source::System { origin, .. } => origin.checked_add(Duration::from_nanos(reading.0)),
            Source::Manual { .. } => None,
        }
    }

    /// Moves a manual clock on; wall and monotonic time together. Without effect on the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { wall, mono } = &*self.0 {
            let _ = wall.fetch_add(nanos(by), Ordering::AcqRel);
            let _ = mono.fetch_add(nanos(by), Ordering::AcqRel);
        }
    }

    /// Sets the wall clock of a manual clock, leaving monotonic time as it is: a jump.
    pub fn step(&self, to: UnixNanos) {
        if let Source::Manual { wall, .. } = &*self.0 {
            wall.store(to.0, Ordering::Release);
        }
    }
}

// === impl JumpDetector ===

impl JumpDetector {
    /// A detector that overlooks differences up to `tolerance` between two calls.
    #[must_use]
    pub fn new(tolerance: Duration) -> Self {
        Self { tolerance, last: None }
    }

    /// Takes a reading of both clocks; tells of a jump since the call before.
    pub fn observe(&mut self, wall: UnixNanos, mono: MonoNanos) -> Option<ClockJump> {
        let before = self.last.replace((wall, mono));
        let (last_wall, last_mono) = before?;
        let wall_moved = wall.0 as i128 - last_wall.0 as i128;
        let elapsed = mono.0 as i128 - last_mono.0 as i128;
        let difference = wall_moved - elapsed;
        (difference.unsigned_abs() > self.tolerance.as_nanos()).then(|| ClockJump {
            nanos: difference.clamp(i64::MIN as i128, i64::MAX as i128) as i64,
        })
    }
}

/// The machine's wall clock, nanoseconds since the epoch; 0 when it stands before.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
fn machine_wall() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration in whole nanoseconds, saturating after 584 years.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that a step of the wall clock is told from elapsed time, with its sign.
    #[test]
    fn a_jump_is_the_wall_clock_against_the_monotonic_one() {
        let clock = Clock::manual(UnixNanos::from_seconds(1_000));
        let mut detector = JumpDetector::new(Duration::from_millis(200));
        assert_eq!(detector.observe(clock.wall(), clock.monotonic()), None);
        clock.advance(Duration::from_secs(5));
        assert_eq!(detector.observe(clock.wall(), clock.monotonic()), None);
        clock.step(UnixNanos::from_seconds(500));
        let jump = detector.observe(clock.wall(), clock.monotonic()).expect("a jump");
        assert_eq!(jump.nanos, -505_000_000_000);
    }

    /// Guarantees that `now` of the system clock is not before an earlier `now`.
    #[test]
    fn now_never_runs_backwards() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
