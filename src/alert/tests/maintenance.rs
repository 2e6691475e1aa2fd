//! Alerts of a probe that rests because its target is worked on.

use super::{Bench, MINUTE, START};
use crate::base::clock::UnixNanos;
use crate::model::alert::{AlertState, Transition};
use crate::model::labels::Labels;
use crate::model::objective::Severity;
use crate::probe::maintenance::Maintenance;
use std::sync::Arc;
use std::time::Duration;

/// A probe of every minute, in maintenance from ten to one, UTC.
struct Night {
    bench: Bench,
    now: UnixNanos,
}

impl Night {
    fn new() -> Self {
        let mut bench = Bench::new(0.999, MINUTE, START);
        let when = ("0 10 * * *", chrono_tz::UTC);
        let window =
            Maintenance::new("work", when, MINUTE * 180, vec!["*".into()], Labels::default());
        let windows = vec![Arc::new(window.expect("valid"))];
        bench.policy.maintenance = [("chat".to_owned(), windows)].into();
        Self { bench, now: START }
    }

    /// Goes on to so many minutes after nine, with a run each minute that is good or bad, or without.
    fn until(&mut self, minutes: u32, runs: Option<bool>) -> Vec<(String, Severity, AlertState)> {
        let mut seen = Vec::new();
        while self.now < START.plus(MINUTE * minutes) {
            self.now = self.now.plus(Duration::from_secs(60));
            runs.into_iter().for_each(|good| self.bench.add(self.now, good));
            let due = self.bench.evaluate(self.now);
            let told = |t: &Transition| (t.key.name.clone(), t.key.severity, t.to);
            seen.extend(due.iter().map(told));
        }
        seen
    }
}

fn page(to: AlertState) -> (String, Severity, AlertState) {
    ("chat-up".to_owned(), Severity::Page, to)
}

/// Guarantees that an alert freezes when maintenance begins, stays frozen through it and until the
/// probe has run again, whatever its windows hold by then, and that good runs resolve it.
#[test]
fn an_alert_freezes_over_maintenance() {
    let mut night = Night::new();
    assert_eq!(night.until(40, Some(true)), []);
    assert_eq!(night.until(59, Some(false)), [page(AlertState::Firing)]);
    assert_eq!(night.until(60, None), [page(AlertState::Frozen)], "at once, at ten");
    assert_eq!(night.until(240, None), [], "until one");
    assert_eq!(night.until(250, None), [], "still nothing ran: that is no recovery");
    let back = night.until(320, Some(true));
    assert_eq!(back.first(), Some(&page(AlertState::Resolved)), "{back:?}");
}

/// Guarantees that the silence of maintenance raises no ticket, neither within the window nor at its
/// end, and that one which goes on for an hour longer does.
#[test]
fn maintenance_is_no_missing_data() {
    let mut night = Night::new();
    assert_eq!(night.until(59, Some(true)), []);
    assert_eq!(night.until(299, None), [], "three hours of maintenance, and one that is waited");
    let ticket = ("NoData/chat-up".to_owned(), Severity::Ticket, AlertState::Firing);
    assert_eq!(night.until(301, None), [ticket]);
    // The next day's window neither resolves it nor raises another.
    assert_eq!(night.until(30 * 60, None), []);
}

/// Guarantees that a probe which is well before and after its maintenance raises nothing at all.
#[test]
fn a_calm_night_is_calm() {
    let mut night = Night::new();
    assert_eq!(night.until(59, Some(true)), []);
    assert_eq!(night.until(240, None), []);
    assert_eq!(night.until(600, Some(true)), []);
}
