//! The scheduler in real time: what it starts, refuses, replaces and stops.

use super::super::Context;
use super::super::maintenance::Maintenance;
use super::super::spec::{Action, Cadence, HttpStep, ProbeSpec};
use super::super::{RunNowError, Scheduler, SchedulerError, next_slots};
use super::servers::{Server, http, linger, raw};
use super::{context, get, spec, step};
use crate::base::clock::{Clock, UnixNanos};
use crate::model::labels::Labels;
use crate::model::probe::{FailureReason, Outcome, ProbeRun};
use crate::telemetry::Telemetry;
use axum::Router;
use axum::routing::get as on_get;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, channel};

const LONG: Duration = Duration::from_secs(30);

fn every(name: &str, interval_ms: u64, server: &Server) -> ProbeSpec {
    ProbeSpec {
        name: name.to_owned(),
        cadence: Cadence::Every(Duration::from_millis(interval_ms)),
        ..spec(vec![step("1", Action::Http(get(server.url("http", "/"))))])
    }
}

async fn answering() -> Server {
    http(Router::new().route("/", on_get(|| async {}))).await
}

async fn next(results: &mut Receiver<ProbeRun>) -> ProbeRun {
    tokio::time::timeout(LONG, results.recv()).await.expect("a result in time").expect("a result")
}

async fn stop(scheduler: Scheduler, within: Duration) {
    tokio::task::spawn_blocking(move || scheduler.stop(within)).await.expect("threads end");
}

/// Guarantees that slots run at exact multiples of their interval, from their own offset, and that
/// lateness is part of the result.
#[tokio::test]
async fn slots_run_when_they_are_due() {
    let server = answering().await;
    let (sender, mut results) = channel(64);
    let context = context();
    let probe = every("steady", 100, &server);
    let before = context.clock.now();
    let telemetry = context.telemetry.clone();
    let scheduler =
        Scheduler::start(context, sender, vec![Arc::new(probe.clone())]).expect("started");
    let mut runs = Vec::new();
    while runs.len() < 5 {
        runs.push(next(&mut results).await);
    }
    stop(scheduler, LONG).await;
    let slots: Vec<_> = next_slots("steady", &probe.cadence, before).take(50).collect();
    for run in &runs {
        assert!(slots.contains(&run.intended_start), "{:?}", run.intended_start);
    }
    let ran: Vec<_> = runs.iter().filter(|run| run.outcome == Outcome::Success).collect();
    assert!(ran.len() >= 2, "{runs:#?}");
    assert!(ran.iter().all(|run| run.lateness_ns > 0));
    assert!(telemetry.probe_start_lateness_seconds.get_sample_count() >= 2);
}

/// Guarantees that a run which does not end in time makes the slots after it overlapped, and that
/// these count once each.
#[tokio::test]
async fn slots_behind_a_slow_run_are_overlapped() {
    let server = raw(linger).await;
    let (sender, mut results) = channel(64);
    let slow = ProbeSpec { timeout: Duration::from_millis(650), ..every("slow", 200, &server) };
    let scheduler = Scheduler::start(context(), sender, vec![Arc::new(slow)]).expect("started");
    let mut runs: Vec<ProbeRun> = Vec::new();
    while runs.iter().filter(|run| run.outcome == Outcome::Timeout).count() < 2 {
        runs.push(next(&mut results).await);
    }
    stop(scheduler, LONG).await;
    let overlapped: Vec<_> = runs.iter().filter(|run| run.outcome == Outcome::Overlapped).collect();
    assert!(overlapped.len() >= 2, "{runs:#?}");
    let reason = |run: &ProbeRun| run.failure.as_ref().map(|failure| failure.reason);
    assert!(overlapped.iter().all(|run| reason(run) == Some(FailureReason::Overlapped)));
    let mut slots: Vec<_> = runs.iter().map(|run| run.intended_start).collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), runs.len(), "one result a slot");
}

/// Guarantees that runs may overlap when the definition allows it.
#[tokio::test]
async fn runs_overlap_when_allowed() {
    let server = raw(linger).await;
    let (sender, mut results) = channel(64);
    let probe = ProbeSpec {
        overlap: true,
        timeout: Duration::from_millis(500),
        ..every("many", 100, &server)
    };
    let scheduler = Scheduler::start(context(), sender, vec![Arc::new(probe)]).expect("started");
    let mut timeouts = 0;
    while timeouts < 4 {
        let run = next(&mut results).await;
        assert_ne!(run.outcome, Outcome::Overlapped);
        timeouts += usize::from(run.outcome == Outcome::Timeout);
    }
    stop(scheduler, LONG).await;
}

/// Guarantees runs on request: their result goes to who asked and to everybody, and they neither
/// overlap another run nor happen for a probe that is gone.
#[tokio::test]
async fn runs_on_request() {
    let connected = Arc::new(Notify::new());
    let seen = Arc::clone(&connected);
    let mute = raw(move |stream| {
        seen.notify_one();
        linger(stream)
    });
    let (server, mute) = (answering().await, mute.await);
    let (sender, mut results) = channel(64);
    let hourly = |name: &str, server: &Server| Arc::new(every(name, 36_000_000, server));
    let probes = vec![hourly("good", &server), hourly("stuck", &mute)];
    let scheduler = Scheduler::start(context(), sender, probes).expect("started");
    let asked = scheduler.run_now("good").expect("accepted");
    let run = tokio::time::timeout(LONG, asked).await.expect("in time").expect("a result");
    assert_eq!(run.outcome, Outcome::Success);
    assert_eq!(next(&mut results).await, run);
    assert_eq!(scheduler.run_now("nobody").expect_err("refused"), RunNowError::Unknown);
    let stuck = scheduler.run_now("stuck").expect("accepted");
    assert_eq!(scheduler.run_now("stuck").expect_err("refused"), RunNowError::Running);
    scheduler.replace(vec![hourly("stuck", &mute)]).expect("replaced");
    assert_eq!(scheduler.run_now("good").expect_err("refused"), RunNowError::Unknown);
    assert_eq!(scheduler.run_now("stuck").expect_err("refused"), RunNowError::Running);
    tokio::time::timeout(LONG, connected.notified()).await.expect("the run is under way");
    stop(scheduler, Duration::from_millis(100)).await;
    let run = stuck.await.expect("a result");
    assert_eq!(run.outcome, Outcome::Missed, "a run that we interrupt is missed by us");
    assert_eq!(next(&mut results).await, run);
    assert!(results.recv().await.is_none(), "everybody who could send has ended");
}

/// Guarantees that a reload adds and removes, and that a wrong one changes nothing.
#[tokio::test]
async fn probes_come_and_go() {
    let server = answering().await;
    let (sender, mut results) = channel(256);
    let first = Arc::new(every("first", 100, &server));
    let scheduler =
        Scheduler::start(context(), sender.clone(), vec![first.clone()]).expect("started");
    assert_eq!(next(&mut results).await.probe, "first");
    let second = Arc::new(every("second", 100, &server));
    scheduler.replace(vec![second.clone()]).expect("replaced");
    while next(&mut results).await.probe != "second" {}
    let cadence = Cadence::Cron { expression: "x".into(), zone: chrono_tz::UTC };
    let wrong = Arc::new(ProbeSpec { cadence, ..every("wrong", 1, &server) });
    let refused = scheduler.replace(vec![first, Arc::clone(&wrong)]).expect_err("refused");
    assert!(matches!(refused, SchedulerError::Cadence { probe, .. } if probe == "wrong"));
    for _ in 0..3 {
        assert_eq!(next(&mut results).await.probe, "second");
    }
    stop(scheduler, LONG).await;
    let refused = Scheduler::start(context(), sender, vec![wrong]).expect_err("refused");
    assert!(refused.to_string().contains("probe `wrong` has a cadence"));
}

/// Guarantees that a consumer that does not keep up loses results, counted, and blocks nothing.
#[tokio::test]
async fn results_that_nobody_takes_are_counted() {
    let server = answering().await;
    let (sender, _results) = channel(1);
    let context = context();
    let telemetry = context.telemetry.clone();
    let probe = Arc::new(every("busy", 20, &server));
    let scheduler = Scheduler::start(context, sender, vec![probe]).expect("started");
    let counted = async {
        while telemetry.probe_results_dropped_total.get() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, counted).await.expect("dropped results are counted");
    stop(scheduler, LONG).await;
}

/// Guarantees that a suspend is counted as one jump of the clock, that the slots within it are
/// missed by us, each reported once, and that those beyond the bound are counted.
#[tokio::test]
async fn a_suspend_misses_slots() {
    let server = answering().await;
    let (sender, mut results) = channel(256);
    let clock = Clock::manual(UnixNanos::from_seconds(1_000_000));
    let context = Context::new(clock.clone(), Telemetry::new());
    let telemetry = context.telemetry.clone();
    let probe = every("asleep", 60_000, &server);
    let before = next_slots("asleep", &probe.cadence, clock.now()).next().expect("a slot");
    let scheduler = Scheduler::start(context, sender, vec![Arc::new(probe)]).expect("started");
    clock.step(before.plus(Duration::from_secs(60 * 109)));
    let mut slots = Vec::new();
    for _ in 0..100 {
        let run = next(&mut results).await;
        assert_eq!(run.outcome, Outcome::Missed);
        assert!(run.is_local_fault(), "it says nothing about the target");
        slots.push(run.intended_start);
    }
    stop(scheduler, LONG).await;
    let expected = (0..100).map(|n| before.plus(Duration::from_secs(60 * n)));
    assert!(slots.iter().copied().eq(expected), "{slots:?}");
    assert_eq!(telemetry.clock_jumps_total.get(), 1);
    assert_eq!(telemetry.probe_results_dropped_total.get(), 10, "of 110 slots 100 are reported");
    assert!(results.recv().await.is_none(), "none is caught up");
}

/// Guarantees that a slot within maintenance is missed by arrangement, in words that name it, counted and
/// without a run; that nobody can make it run meanwhile; and that the first slot after it runs.
#[tokio::test]
async fn probes_rest_during_maintenance() {
    let server = answering().await;
    let (sender, mut results) = channel(256);
    let clock = Clock::manual(UnixNanos::from_seconds(1_795_510_800));
    let context = Context::new(clock.clone(), Telemetry::new());
    let telemetry = context.telemetry.clone();
    let when = ("0 * * * *", chrono_tz::UTC);
    let half_an_hour = Duration::from_secs(1_800);
    let window = Maintenance::new("work", when, half_an_hour, vec!["*".into()], Labels::default());
    context.maintenance.replace(vec![Arc::new(window.expect("valid"))]);
    let probe = every("resting", 60_000, &server);
    let begin = clock.now();
    let scheduler = Scheduler::start(context, sender, vec![Arc::new(probe)]).expect("started");
    assert_eq!(scheduler.run_now("resting").expect_err("refused"), RunNowError::Maintenance);
    clock.advance(Duration::from_secs(60));
    let missed = next(&mut results).await;
    assert_eq!(missed.outcome, Outcome::Missed);
    assert!(missed.is_local_fault() && missed.intended_start > begin);
    let words = missed.failure.expect("why").message;
    assert_eq!(words, "not run: in maintenance: work until 2026-11-24T09:30:00.000Z");
    let counter = &telemetry.probe_maintenance_slots_total;
    assert_eq!(counter.with_label_values(&["work"]).get(), 1);
    // A jump of the clock is reported first; the slot after it is the one that counts.
    clock.step(begin.plus(half_an_hour));
    loop {
        clock.advance(Duration::from_secs(60));
        let run = next(&mut results).await;
        if run.outcome == Outcome::Success {
            assert!(run.intended_start >= begin.plus(half_an_hour));
            break;
        }
    }
    stop(scheduler, LONG).await;
}

/// Guarantees that a run which the daemon's stop interrupts cleans up what it left, and is missed.
#[tokio::test]
async fn an_interrupted_run_cleans_up() {
    let (seen, mut sees) = tokio::sync::watch::channel((false, false));
    let seen = Arc::new(seen);
    let (began, deleted) = (Arc::clone(&seen), Arc::clone(&seen));
    let mute = move || async move {
        began.send_modify(|seen| seen.0 = true);
        std::future::pending::<()>().await;
    };
    let delete = move || async move { deleted.send_modify(|seen| seen.1 = true) };
    let router = Router::new().route("/", axum::routing::post(mute).delete(delete));
    let server = http(router).await;
    let request = |method: &str| {
        let method = method.to_owned();
        Action::Http(HttpStep { method, ..get(server.url("http", "/")) })
    };
    let mut probe = spec(vec![step("create", request("POST"))]);
    probe.cleanup = vec![step("delete", request("DELETE"))];
    probe.cadence = Cadence::Every(Duration::from_secs(3600));
    let (sender, mut results) = channel(4);
    let scheduler = Scheduler::start(context(), sender, vec![Arc::new(probe)]).expect("started");
    let reply = scheduler.run_now("probe").expect("a run");
    let begun = tokio::time::timeout(LONG, sees.wait_for(|seen| seen.0)).await;
    drop(begun.expect("in time").expect("the server lives"));
    stop(scheduler, Duration::ZERO).await;
    assert!(sees.borrow().1, "what the run left was cleaned up before the stop was over");
    assert_eq!(next(&mut results).await.outcome, Outcome::Missed);
    assert_eq!(reply.await.expect("a result").steps.len(), 1, "the steps that were taken");
}
