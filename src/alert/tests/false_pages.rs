//! Nobody is woken for nothing: healthy probes over months.

use super::{Bench, DAY, MINUTE, START};
use crate::model::alert::AlertState;
use crate::model::objective::Severity;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const DAYS: u64 = 30;

/// Pages within thirty days from the birth of an SLO of 99.9 % on, on a probe that runs once a minute
/// and fails with this probability.
fn pages(failing: f64, seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bench = Bench::new(0.999, MINUTE, START);
    let mut pages = 0;
    let mut restless_until = START;
    for minute in 1..=DAYS * 24 * 60 {
        let now = START.plus(Duration::from_secs(minute * 60));
        let good = !rng.random_bool(failing);
        bench.add(now, good);
        // An alert begins in a minute with a failure or never: in any other all ratios fall. It is
        // evaluated until it has ended, and now and then to be sure.
        if !good {
            restless_until = now.plus(MINUTE * 2);
        }
        let active = bench.book.all_active().next().is_some();
        if now > restless_until && !active && !minute.is_multiple_of(60) {
            continue;
        }
        let due = bench.evaluate(now);
        let firing = due.iter().filter(|t| t.to == AlertState::Firing);
        pages += firing.filter(|t| t.key.severity == Severity::Page).count();
        if now.0.is_multiple_of(DAY.as_nanos() as u64) {
            bench.store.counts.settle();
        }
    }
    pages
}

/// Guarantees that a probe which meets its objective twice over pages at most once in ten months.
#[test]
fn a_healthy_probe_wakes_nobody() {
    let months = 30;
    let pages: Vec<usize> = (0..months).map(|seed| pages(0.0005, seed)).collect();
    let mean = pages.iter().sum::<usize>() as f64 / months as f64;
    assert!(mean <= 0.1, "{mean} pages a month: by seed {pages:?}");
}

/// Guarantees that the gate is no wall: a probe that fails twenty times as often as it may is paged
/// for every month.
#[test]
fn a_sick_probe_wakes_somebody() {
    for seed in 0..3 {
        assert!(pages(0.02, seed) > 0, "seed {seed}");
    }
}

/// Guarantees that a young SLO is measured by its whole budget: nothing fires before the smallest share
/// that a pair allows, two percent, is spent, however bad the little traffic so far looks.
#[test]
fn a_young_slo_has_its_whole_budget() {
    let every = Duration::from_secs(10);
    let mut bench = Bench::new(0.999, every, START);
    let mut failures = 0;
    let told = (0..600).find_map(|run| {
        let now = START.plus(every * run);
        failures += run % 2;
        bench.add(now, run % 2 == 0);
        let due = bench.evaluate(now);
        due.iter().any(|t| t.to == AlertState::Firing).then_some(failures)
    });
    // Thirty days hold 259,200 runs, so 259.2 failures; two percent of those are 5.2.
    assert_eq!(told, Some(6));
}
