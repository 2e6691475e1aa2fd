//! A pool of memory that all requests in flight draw from.
//!
//! Whoever holds nothing may wait for room at the door; whoever holds something never waits, so
//! that no two requests can wait for each other.

use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes are counted in units of this size, rounded up.
const UNIT: usize = 1024;

/// The pool.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    total: usize,
    gauge: Option<IntGauge>,
}

/// A share of the pool, given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// The pool has no room for that at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Budget {
    /// A pool of `bytes`, at most 4 TiB.
    pub(super) fn new(bytes: usize) -> Self {
        let total = bytes.div_ceil(UNIT).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(total)), total, gauge: None }
    }

    /// Shows in `gauge` how many bytes are taken.
    pub(super) fn shown_in(self, gauge: IntGauge) -> Self {
        Self { gauge: Some(gauge), ..self }
    }

    /// The size of the whole pool in bytes.
    pub(super) fn total(&self) -> usize {
        self.total.saturating_mul(UNIT)
    }

    /// Whether `bytes` would fit into the empty pool.
    pub(super) fn could_hold(&self, bytes: usize) -> bool {
        bytes.div_ceil(UNIT) <= self.total
    }

    /// Takes `bytes`, waiting up to `patience` for room.
    pub(super) async fn enter(
        &self,
        bytes: usize,
        patience: Duration,
    ) -> Result<Reservation, NoRoom> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| NoRoom)?;
        if !self.could_hold(bytes) {
            return Err(NoRoom);
        }
        let waiting = Arc::clone(&self.units).acquire_many_owned(units);
        let permit = timeout(patience, waiting).await.map_err(|_| NoRoom)?.map_err(|_| NoRoom)?;
        self.show(bytes as i64);
        Ok(Reservation { budget: self.clone(), permit: Some(permit), bytes })
    }

    fn show(&self, change: i64) {
        if let Some(gauge) = &self.gauge {
            gauge.add(change);
        }
    }
}

impl Reservation {
    /// Makes the share at least `bytes` large, without waiting.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let missing = bytes.div_ceil(UNIT).saturating_sub(self.bytes.div_ceil(UNIT));
        if missing > 0 {
            let missing = u32::try_from(missing).map_err(|_| NoRoom)?;
            let units = Arc::clone(&self.budget.units);
            let more = units.try_acquire_many_owned(missing).map_err(|_| NoRoom)?;
            match &mut self.permit {
                Some(permit) => permit.merge(more),
                none => *none = Some(more),
            }
        }
        if bytes > self.bytes {
            self.budget.show((bytes - self.bytes) as i64);
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.show(-(self.bytes as i64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// Guarantees that shares never exceed the pool, that growing never waits, and that a dropped
    /// share is there for the next one.
    #[tokio::test]
    async fn shares_never_exceed_the_pool() {
        let gauge = IntGauge::new("g", "h").expect("a gauge");
        let budget = Budget::new(10 * UNIT).shown_in(gauge.clone());
        let mut first = budget.enter(UNIT, NOW).await.expect("room");
        assert_eq!(first.grow_to(10 * UNIT + 1), Err(NoRoom));
        assert_eq!(first.grow_to(9 * UNIT), Ok(()));
        assert_eq!(gauge.get(), 9 * UNIT as i64);
        assert!(budget.enter(2 * UNIT, NOW).await.is_err());
        drop(first);
        assert_eq!(gauge.get(), 0);
        assert!(budget.enter(10 * UNIT, NOW).await.is_ok());
        assert!(!budget.could_hold(11 * UNIT));
    }

    /// Guarantees that a request waits at the door for room instead of being refused at once.
    #[tokio::test]
    async fn who_holds_nothing_may_wait() {
        let budget = Budget::new(UNIT);
        let held = budget.enter(UNIT, NOW).await.expect("room");
        let waiting = budget.enter(UNIT, Duration::from_secs(60));
        let (entered, ()) = tokio::join!(waiting, async { drop(held) });
        assert!(entered.is_ok());
    }
}
