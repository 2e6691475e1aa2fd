//! One deadline for a whole run, checked at every wait.
//!
//! Whatever a step waits for, it waits through [`Deadline::run`] or [`Deadline::limit`], so that a
//! mute target costs the timeout and no more.

use super::failure::{Attempt, failure};
use crate::base::clock::{Clock, MonoNanos};
use crate::base::duration;
use crate::model::probe::FailureReason;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

/// The instant after which a run must not wait any longer.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    clock: Clock,
    at: MonoNanos,
    length: Duration,
}

/// The deadline passed before the awaited thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expired;

impl Deadline {
    /// The deadline `length` after `from`.
    pub(super) fn new(clock: &Clock, from: MonoNanos, length: Duration) -> Self {
        Self { clock: clock.clone(), at: from.plus(length), length }
    }

    /// This deadline, or `at` when that is earlier.
    pub(super) fn no_later_than(&self, at: MonoNanos) -> Self {
        Self { at: self.at.min(at), ..self.clone() }
    }

    /// What is left.
    pub(super) fn remaining(&self) -> Duration {
        self.at.since(self.clock.monotonic())
    }

    /// Whether nothing is left.
    pub(super) fn has_passed(&self) -> bool {
        self.clock.monotonic() >= self.at
    }

    /// The failure of a run that this deadline ended while it was `doing` something.
    pub(super) fn failure(&self, doing: impl Display) -> crate::model::probe::Failure {
        let length = duration::format(self.length);
        failure(FailureReason::Timeout, format!("the timeout of {length} passed while {doing}"))
    }

    /// Waits for `future`, at most until the deadline.
    pub(super) async fn limit<F: Future>(&self, future: F) -> Result<F::Output, Expired> {
        let waited = match self.clock.instant_of(self.at) {
            Some(at) => tokio::time::timeout_at(at.into(), future).await,
            // A manual clock has no instants; what is left on it is then waited for in real time.
            None => tokio::time::timeout(self.remaining(), future).await,
        };
        waited.map_err(|_| Expired)
    }

    /// Waits for `future`, at most until the deadline; says what it was `doing` if that passes.
    pub(super) async fn run<F: Future>(
        &self,
        doing: impl Display,
        future: F,
    ) -> Attempt<F::Output> {
        self.limit(future).await.map_err(|Expired| self.failure(doing))
    }
}
