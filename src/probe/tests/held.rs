//! Streams that stay open between runs.

use super::servers::{echo, websocket};
use super::{connect, context, expect_json, spec, step};
use crate::base::clock::Clock;
use crate::model::probe::{FailureReason, Outcome, Phase, ProbeRun};
use crate::probe::scheduler::Scheduler;
use crate::probe::spec::{Action, Cadence, Expect, Heartbeat, Hold, ProbeSpec, Step};
use futures::StreamExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::watch;

/// Longer than any of this takes.
const CEILING: Duration = Duration::from_secs(30);

fn held(hold: Hold, step: Step) -> ProbeSpec {
    let every = Cadence::Every(Duration::from_millis(200));
    let timeout = Duration::from_millis(200);
    ProbeSpec { cadence: every, timeout, ..spec(vec![Step { hold: Some(hold), ..step }]) }
}

/// Sends its number and expects it back.
fn echoed(url: String) -> Step {
    let id = || json!({ "id": "${run.id}" });
    let expect = Some(Expect { within: None, ..expect_json(id()) });
    let send = Some(id().to_string());
    step("bob", Action::WebSocket(super::WebSocketStep { send, expect, ..connect(url) }))
}

async fn next(runs: &mut mpsc::Receiver<ProbeRun>) -> ProbeRun {
    let run = tokio::time::timeout(CEILING, runs.recv()).await;
    run.expect("a run in time").expect("the schedule lives")
}

fn start(spec: ProbeSpec) -> (Scheduler, mpsc::Receiver<ProbeRun>) {
    let (results, runs) = mpsc::channel(100);
    let scheduler = Scheduler::start(context(), results, vec![Arc::new(spec)]);
    (scheduler.expect("two threads"), runs)
}

/// Guarantees that one connection serves many runs, that the first is told from the others, and that a
/// message of an earlier run is not taken for one of this.
#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_runs() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = {
        let connections = Arc::clone(&connections);
        websocket(move |socket| {
            connections.fetch_add(1, Ordering::SeqCst);
            echo(socket)
        })
        .await
    };
    let (scheduler, mut runs) = start(held(Hold::default(), echoed(server.url("ws", "/"))));
    for number in 0..4 {
        let run = next(&mut runs).await;
        assert_eq!(run.outcome, Outcome::Success, "{run:#?}");
        let reused = run.steps[0].attributes.iter().any(|(name, _)| name == "connection");
        assert_eq!(reused, number > 0, "{run:#?}");
        let connected = run.phase_ns(Phase::Connect).is_some();
        assert_eq!(connected, number == 0, "a phase that was not reached is absent");
        let latency = run.latency_ns.expect("a value");
        assert!(latency < 150_000_000, "from this run's sending: {run:#?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    scheduler.stop(Duration::from_secs(1));
}

/// Guarantees that the end of a held stream is told when it happens, not when the next run finds it, and
/// that the next run opens it anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_between_runs_is_told_at_once() {
    let (close, closing) = watch::channel(false);
    let server = websocket(move |mut socket| {
        let mut closing = closing.clone();
        async move {
            let _ = closing.wait_for(|now| *now).await;
            drop(socket.close(None).await);
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
    let mut spec =
        held(Hold::default(), step("bob", Action::WebSocket(connect(server.url("ws", "/")))));
    spec.cadence = Cadence::Every(Duration::from_secs(1000));
    let (scheduler, mut runs) = start(spec);
    let first = scheduler.run_now("probe").expect("a run").await.expect("a result");
    assert_eq!(first.outcome, Outcome::Success);
    assert_eq!(next(&mut runs).await.id, first.id);
    close.send(true).expect("the server listens");
    let told = next(&mut runs).await;
    let failure = told.failure.expect("told as a failure");
    assert_eq!(failure.reason, FailureReason::Closed);
    assert!(failure.message.contains("was held, the server closed the stream"), "{failure:?}");
    assert!(told.intended_start.0 <= Clock::system().now().0);
    scheduler.stop(Duration::from_secs(1));
}

/// Guarantees that a peer which is gone without a word is noticed while nobody runs.
#[tokio::test(flavor = "multi_thread")]
async fn silence_between_runs_is_told() {
    let server = websocket(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let heartbeat =
        Heartbeat { every: Some(Duration::from_millis(50)), timeout: Duration::from_millis(100) };
    let hold = Hold { heartbeat: Some(heartbeat) };
    let mut spec = held(hold, step("bob", Action::WebSocket(connect(server.url("ws", "/")))));
    spec.cadence = Cadence::Every(Duration::from_secs(1000));
    let (scheduler, mut runs) = start(spec);
    let first = scheduler.run_now("probe").expect("a run").await.expect("a result");
    assert_eq!(next(&mut runs).await.id, first.id);
    let failure = next(&mut runs).await.failure.expect("told as a failure");
    assert_eq!(failure.reason, FailureReason::Lost);
    assert!(failure.message.contains("a ping was not answered within 100ms"), "{failure:?}");
    scheduler.stop(Duration::from_secs(1));
}

/// Guarantees that a probe which is gone leaves no stream behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_gone_lets_go() {
    let (open, mut opened) = watch::channel(0_i32);
    let open = Arc::new(open);
    let server = websocket(move |socket| {
        let open = Arc::clone(&open);
        async move {
            open.send_modify(|open| *open += 1);
            echo(socket).await;
            open.send_modify(|open| *open -= 1);
        }
    })
    .await;
    let (scheduler, mut runs) = start(held(Hold::default(), echoed(server.url("ws", "/"))));
    let _ = next(&mut runs).await;
    assert_eq!(*opened.borrow_and_update(), 1);
    scheduler.replace(Vec::new()).expect("nothing to misunderstand");
    let gone = tokio::time::timeout(CEILING, opened.wait_for(|open| *open == 0)).await;
    assert!(gone.is_ok(), "the stream was closed");
    scheduler.stop(Duration::from_secs(1));
}
