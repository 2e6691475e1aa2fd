//! When the next request goes out: at once, or at its own time; and never so often that it hurts.

use crate::base::clock::{MonoNanos, nanos};
use std::time::Duration;

/// From one request to the next, at least: over time where answers bring something, and each time
/// where they do not.
const MIN_GAP: Duration = Duration::from_millis(10);
/// Requests may run ahead of that by so much, so that a message on the heels of another is not
/// measured later than it came.
const LEEWAY: Duration = Duration::from_millis(100);
/// While answers are empty and come at once, requests keep further and further apart, up to this.
const MAX_GAP: Duration = Duration::from_millis(100);
/// An empty answer that comes within this was not held back for a message.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The rhythm of requests.
#[derive(Debug)]
pub(super) struct Pace {
    every: Option<Duration>,
    /// When the last request was to go out.
    intended: MonoNanos,
    /// When it would have gone out with [`MIN_GAP`] between all of them.
    steady: MonoNanos,
    gap: Duration,
}

/// When a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Not before.
    pub at: MonoNanos,
    /// Whether it would have gone out earlier but for the limits.
    pub held_back: bool,
}

impl Pace {
    /// The rhythm after a first request that went out then.
    pub(super) fn new(every: Option<Duration>, first: MonoNanos) -> Self {
        Self { every, intended: first, steady: first, gap: MIN_GAP }
    }

    /// The turn after an answer to a request that went out at `asked`; `idle` when it brought neither
    /// a message nor a new cursor.
    pub(super) fn next(&mut self, asked: MonoNanos, answered: MonoNanos, idle: bool) -> Turn {
        let Some(every) = self.every else {
            let at_once = idle && answered.since(asked) < AT_ONCE;
            self.steady = self.steady.max(asked).plus(MIN_GAP);
            let ahead = MonoNanos(self.steady.0.saturating_sub(nanos(LEEWAY)));
            let (at, gap) = match at_once {
                true => (asked.plus(self.gap), (self.gap * 2).min(MAX_GAP)),
                false => (ahead, MIN_GAP),
            };
            self.gap = gap;
            return Turn { at: at.max(answered), held_back: at > answered };
        };
        // What an answer made us miss is not caught up with: the last of it is due at once.
        let missed = nanos(answered.since(self.intended)) / nanos(every).max(1);
        let steps = u32::try_from(missed).unwrap_or(u32::MAX).max(1);
        self.intended = self.intended.plus(every.saturating_mul(steps));
        Turn { at: self.intended.max(answered), held_back: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> MonoNanos {
        MonoNanos(ms * 1_000_000)
    }

    /// Guarantees that a long poll goes on at once, but that a server which holds nothing back is
    /// asked less and less often, until it holds something back again.
    #[test]
    fn a_server_that_answers_at_once_is_spared() {
        let mut pace = Pace::new(None, ms(0));
        let turn = |at, held_back| Turn { at: ms(at), held_back };
        assert_eq!(pace.next(ms(0), ms(900), true), turn(900, false));
        assert_eq!(pace.next(ms(900), ms(901), false), turn(901, false));
        assert_eq!(pace.next(ms(901), ms(902), true), turn(911, true));
        assert_eq!(pace.next(ms(911), ms(912), true), turn(931, true));
        assert_eq!(pace.next(ms(931), ms(932), true), turn(971, true));
        assert_eq!(pace.next(ms(971), ms(972), true), turn(1_051, true));
        assert_eq!(pace.next(ms(1_051), ms(1_052), true), turn(1_151, true));
        assert_eq!(pace.next(ms(1_151), ms(1_152), true), turn(1_251, true));
        assert_eq!(pace.next(ms(1_251), ms(2_000), true), turn(2_000, false));
        assert_eq!(pace.next(ms(2_000), ms(2_001), true), turn(2_010, true));
    }

    /// Guarantees that a server which always has something at once is asked a hundred times a second
    /// at most, and a few times more in the beginning.
    #[test]
    fn a_second_has_an_end() {
        let (mut pace, mut at, mut asked) = (Pace::new(None, ms(0)), ms(0), 0);
        while at < ms(1_000) {
            asked += 1;
            at = pace.next(at, at.plus(Duration::from_millis(1)), false).at;
        }
        assert!((100..=111).contains(&asked), "{asked}");
    }

    /// Guarantees that short polls keep to their own times, whatever answers take, and that missed
    /// ones are not caught up with.
    #[test]
    fn short_polls_keep_their_times() {
        let mut pace = Pace::new(Some(Duration::from_millis(100)), ms(0));
        let mut next = |asked, answered| pace.next(ms(asked), ms(answered), true).at;
        assert_eq!(next(0, 30), ms(100));
        assert_eq!(next(103, 120), ms(200));
        assert_eq!(next(200, 470), ms(470), "that of 400 is late");
        assert_eq!(next(470, 480), ms(500));
    }
}
