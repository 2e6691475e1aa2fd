//! Somebody is woken when it burns, in time, and left in peace when it is over.

use super::{Bench, DAY, MINUTE, START};
use crate::base::clock::UnixNanos;
use crate::model::alert::AlertState;
use crate::model::objective::Severity;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// An outage of a probe whose SLO of 99.9 % is a day old.
struct Outage {
    every: Duration,
    length: Duration,
    /// Whether a run, counted from the begin of the outage, is good.
    good: Box<dyn FnMut(u64) -> bool>,
}

/// How long after its begin an outage is paged for, and how long after its end the page resolves.
fn paged(outage: &mut Outage) -> (Option<Duration>, Option<Duration>) {
    let mut bench = Bench::new(0.999, outage.every, START);
    let begin = START.plus(DAY);
    let end = begin.plus(outage.length);
    let over = end.plus(MINUTE * 60 * 2);
    let (mut firing, mut resolved) = (None, None);
    let mut run = 0;
    let mut now = START;
    while now < over {
        now = now.plus(outage.every);
        let within = now > begin && now <= end;
        if within {
            run += 1;
        }
        bench.add(now, !within || (outage.good)(run));
        if now <= begin {
            continue;
        }
        for transition in bench.evaluate(now) {
            let at = |from: UnixNanos| Some(now.since(from));
            match (transition.key.severity, transition.to) {
                (Severity::Page, AlertState::Firing) => firing = firing.or(at(begin)),
                (Severity::Page, AlertState::Resolved) => resolved = at(end),
                _ => {}
            }
        }
    }
    (firing, resolved)
}

fn check(every: u64, minutes: u64, good: impl FnMut(u64) -> bool + 'static, within: u64) {
    let every = Duration::from_secs(every);
    let mut outage = Outage { every, length: MINUTE * minutes as u32, good: Box::new(good) };
    let (firing, resolved) = paged(&mut outage);
    let context = format!("every {every:?} for {minutes} min: {firing:?}, {resolved:?}");
    assert!(firing.is_some_and(|after| after <= Duration::from_secs(within)), "{context}");
    // The slower of the pairs that page looks back half an hour.
    assert!(resolved.is_some_and(|after| after <= MINUTE * 31), "{context}");
}

/// Guarantees a page for a total outage after the third failed run of a one-minute probe, within a
/// minute or so when it runs every ten seconds, and a resolve when it is over.
#[test]
fn a_total_outage_is_paged_at_once() {
    check(60, 10, |_| false, 180);
    check(10, 10, |_| false, 70);
    check(60, 3, |_| false, 180);
}

/// Guarantees a page for ten minutes in which every other run fails, whichever comes first.
#[test]
fn half_an_outage_is_paged_in_time() {
    check(60, 10, |run| run % 2 == 0, 360);
    check(60, 10, |run| run % 2 == 1, 360);
    check(10, 10, |run| run % 2 == 0, 130);
    for seed in 0..5 {
        let mut rng = StdRng::seed_from_u64(seed);
        check(10, 10, move |_| rng.random_bool(0.5), 300);
    }
}

/// Guarantees that what is over before it matters is left alone: two failed runs of a one-minute
/// probe.
#[test]
fn a_hiccup_is_not_an_outage() {
    let length = MINUTE * 2;
    let mut outage = Outage { every: MINUTE, length, good: Box::new(|_| false) };
    assert_eq!(paged(&mut outage).0, None);
}

/// Guarantees that data which stops is no recovery, however short the window that runs empty: the alert
/// goes on firing, then freezes, and resolves only on data that is good.
#[test]
fn silence_is_no_recovery() {
    let every = MINUTE * 10;
    let mut bench = Bench::new(0.999, every, START);
    let mut now = START;
    let mut transitions = Vec::new();
    let mut live = |bench: &mut Bench, minutes: u32, good: Option<bool>| {
        transitions.clear();
        for _ in 0..minutes * 6 {
            now = now.plus(Duration::from_secs(10));
            good.into_iter().for_each(|good| bench.add(now, good));
            let due = bench.evaluate(now);
            transitions
                .extend(due.iter().filter(|t| t.key.severity == Severity::Page).map(|t| t.to));
        }
        transitions.clone()
    };
    assert_eq!(live(&mut bench, 10, Some(false)), [AlertState::Firing]);
    // Longer than the short window of five minutes, shorter than three runs.
    assert_eq!(live(&mut bench, 29, None), []);
    assert_eq!(live(&mut bench, 10, None), [AlertState::Frozen]);
    assert_eq!(live(&mut bench, 31, Some(true)), [AlertState::Resolved]);
}
