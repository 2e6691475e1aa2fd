//! Whether runs know when not to be believed: something takes the processor from them.

use super::super::reference::{DelayServer, Percentiles, Protocol};
use super::super::spec::{Action, Expect, TextCheck, WebSocketStep};
use super::super::stall::StallWatch;
use super::super::{Context, SlotStart, run_once};
use super::{assert_success, connect, context, spec, step};
use crate::base::clock::Clock;
use crate::model::probe::ProbeRun;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

const RUNS: usize = 1_000;
/// What the server holds back, so that a value is long beside the machine's own noise.
const DELAY: Duration = Duration::from_millis(5);
/// A task takes the probe runtime for so long, and leaves it alone for so long.
const TAKEN: Duration = Duration::from_millis(20);
const LEFT: Duration = Duration::from_millis(30);

/// Threads that compute until they are dropped.
struct Hog(Arc<AtomicBool>);

impl Hog {
    fn start(threads: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let is_over = Arc::clone(&is_over);
            drop(std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        Self(is_over)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task that takes the runtime again and again.
fn take_runtime(clock: Clock) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEFT).await;
            let until = clock.monotonic().plus(TAKEN);
            while clock.monotonic() < until {
                std::hint::spin_loop();
            }
        }
    }))
}

async fn runs(server: &DelayServer, context: &Context) -> Vec<ProbeRun> {
    let text = Some(TextCheck::Equals("echo".to_owned()));
    let echo = WebSocketStep {
        send: Some("echo".to_owned()),
        expect: Some(Expect { json: None, text, event: None, within: None, since: None }),
        ..connect(format!("ws://{}/", server.address()))
    };
    let spec = spec(vec![step("1", Action::WebSocket(echo))]);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let run = run_once(&spec, SlotStart::now(&context.clock), context).await;
        assert_success(&run);
        let _ = server.held_back();
        runs.push(run);
    }
    runs
}

/// How many of a thousand runs are uncertain by more than a tenth of their value, and the 99th
/// percentile of the values of all others.
fn judged(runs: &[ProbeRun]) -> (usize, i64) {
    let value = |run: &ProbeRun| run.latency_ns.expect("a value");
    let is_certain = |run: &&ProbeRun| run.uncertainty_ns <= value(run) / 10;
    let certain: Vec<i64> =
        runs.iter().filter(is_certain).map(|run| value(run).cast_signed()).collect();
    let uncertain = (runs.len() - certain.len()) * 1_000 / runs.len();
    (uncertain, Percentiles::of(certain).expect("some are certain").p99)
}

/// Asserts that under load more runs say that they are uncertain, and that the 99th percentile of those
/// that do not stays within twice that without it.
async fn check(threads: usize, takes_runtime: bool) {
    let server = DelayServer::start(Protocol::WebSocket, DELAY, Clock::system()).expect("started");
    let mut context = context();
    let stalls = StallWatch::new(&context.clock);
    let _watch = stalls.keep(None);
    context.stalls = Some(stalls);
    let idle = judged(&runs(&server, &context).await);
    let _hog = Hog::start(threads);
    let _task = takes_runtime.then(|| take_runtime(context.clock.clone()));
    let hogged = judged(&runs(&server, &context).await);
    let found =
        format!("of 1,000 uncertain, p99 of the others in ns: idle {idle:?}, then {hogged:?}");
    assert!(hogged.0 > idle.0, "{found}");
    assert!(hogged.1 <= 2 * idle.1, "{found}");
    eprintln!("{threads} threads, runtime taken: {takes_runtime}: {found}");
}

/// Guarantees that a task that takes the probe runtime for itself shows in what runs say of themselves.
#[tokio::test]
#[ignore = "timed: needs a machine that does nothing else"]
async fn under_a_task_that_takes_the_runtime() {
    check(0, true).await;
}

/// Guarantees that threads that take the processors as well do so, too.
#[tokio::test]
#[ignore = "timed: needs a machine that does nothing else"]
async fn under_threads_that_take_the_machine_too() {
    check(2, true).await;
}
