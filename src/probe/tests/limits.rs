//! Limits of targets, against real servers: how much reaches them, and what is left out.

use super::super::limits::{Limit, Rate};
use super::super::spec::{Action, ProbeSpec, Repeat};
use super::super::writes::WriteTarget;
use super::super::{Context, SlotStart, run_once};
use super::servers::{Server, echo, http, websocket};
use super::{assert_failure, assert_success, connect, context, get, spec, step};
use crate::base::clock::{Clock, MonoNanos};
use crate::model::probe::{FailureReason, Outcome, ProbeRun};
use axum::Router;
use axum::routing::get as on_get;
use futures::StreamExt;
use futures::future::join_all;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn limit(server: &Server) -> Limit {
    let name = server.address.to_string();
    let target = WriteTarget::parse(&name).expect("an address");
    Limit { name, target, max_runs: None, max_concurrent_runs: None, max_messages: None }
}

fn limited(limit: Limit) -> Context {
    let context = context();
    context.limits.replace(vec![limit]);
    context
}

async fn run(spec: &ProbeSpec, context: &Context) -> ProbeRun {
    run_once(spec, SlotStart::now(&context.clock), context).await
}

/// A probe that sends so many messages as fast as it may.
fn talker(server: &Server, count: u32) -> ProbeSpec {
    let open = step("chat", Action::WebSocket(connect(server.url("ws", "/"))));
    let repeat = Repeat { count, gap: Duration::ZERO };
    let say = step("say", Action::Send { on: "chat".into(), send: "{}".into(), repeat });
    spec(vec![open, say])
}

/// A server that notes when each message came.
async fn listening() -> (Server, Arc<Mutex<Vec<MonoNanos>>>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let (notes, clock) = (Arc::clone(&came), Clock::system());
    let server = websocket(move |mut socket| {
        let (notes, clock) = (Arc::clone(&notes), clock.clone());
        async move {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    notes.lock().push(clock.monotonic());
                }
            }
        }
    });
    (server.await, came)
}

/// Waits until exactly so many messages came: the last may still be under way.
async fn arrived(came: &Mutex<Vec<MonoNanos>>, count: usize) {
    let all = async {
        while came.lock().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("every message arrives");
    assert_eq!(came.lock().len(), count);
}

/// Guarantees that messages of several probes to one target reach it at the rate they are limited
/// to together, within one percent, and that the waiting is told.
#[tokio::test]
async fn messages_keep_their_rate() {
    let (server, came) = listening().await;
    let context = limited(Limit { max_messages: Rate::parse("40"), ..limit(&server) });
    let (one, other) = (talker(&server, 61), talker(&server, 60));
    let (one, other) = tokio::join!(run(&one, &context), run(&other, &context));
    for run in [&one, &other] {
        assert_success(run);
        let waited = run.steps[1].attributes.iter().any(|(name, _)| name == "limit.waited_ns");
        assert!(waited, "{:?}", run.steps[1]);
        assert!(run.uncertainty_ns > 2_000_000_000, "the run's length is mostly our own waiting");
    }
    arrived(&came, 121).await;
    let came = came.lock();
    let (first, last) = (came.first().expect("messages"), came.last().expect("messages"));
    let rate = (came.len() - 1) as f64 / last.since(*first).as_secs_f64();
    assert!((39.6..=40.4).contains(&rate), "{rate} a second");
    assert!(context.telemetry.probe_throttled_messages_total.get() >= 119);
}

/// Guarantees that a message which its limit would let through only after the timeout is not sent,
/// and that this says nothing about the target.
#[tokio::test]
async fn what_cannot_be_sent_in_time_is_not_sent() {
    let (server, came) = listening().await;
    let context = limited(Limit { max_messages: Rate::parse("0.01"), ..limit(&server) });
    let run = run(&talker(&server, 2), &context).await;
    assert_failure(&run, FailureReason::Local, "are limited to 0.01 a second");
    assert!(run.is_local_fault());
    arrived(&came, 1).await;
}

/// Guarantees that of a thousand runs released at random no more go on at once than the target may
/// take, that each is either carried out or missed, and that what was missed is counted.
#[tokio::test]
async fn concurrency_is_never_exceeded() {
    let (now, peak, served) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (counted, highest, done) = (Arc::clone(&now), Arc::clone(&peak), Arc::clone(&served));
    let answer = move || {
        let (counted, highest, done) = (counted.clone(), highest.clone(), done.clone());
        async move {
            let at_once = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let _ = highest.fetch_max(at_once, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..8))).await;
            let _ = counted.fetch_sub(1, Ordering::SeqCst);
            let _ = done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let server = http(Router::new().route("/", on_get(answer))).await;
    let limit = Limit { max_concurrent_runs: Some(4), ..limit(&server) };
    let (name, context) = (limit.name.clone(), limited(limit));
    let spec = spec(vec![step("1", Action::Http(get(server.url("http", "/"))))]);
    let releases = (0..1_000).map(|_| {
        let (context, spec) = (&context, &spec);
        async move {
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..600))).await;
            run(spec, context).await
        }
    });
    let runs = join_all(releases).await;
    let ran = runs.iter().filter(|run| run.outcome == Outcome::Success).count();
    let missed: Vec<&ProbeRun> = runs.iter().filter(|run| run.outcome == Outcome::Missed).collect();
    assert_eq!((ran + missed.len(), ran), (1_000, served.load(Ordering::SeqCst)));
    assert_eq!(peak.load(Ordering::SeqCst), 4, "as many as may, and no more");
    let words = missed.iter().filter_map(|run| run.failure.as_ref());
    assert!(words.clone().count() > 0);
    for failure in words {
        assert_eq!(failure.reason, FailureReason::Missed);
        assert!(failure.message.contains("of 4 runs that may go on at once at 127.0.0.1:"));
    }
    let counter = &context.telemetry.probe_limited_runs_total;
    let counted = counter.with_label_values(&[name.as_str(), "concurrency"]).get();
    assert_eq!(counted, missed.len() as u64);
}

/// Guarantees that caps hold for targets that an entry names and for no others, and that a reload
/// goes on counting.
#[tokio::test]
async fn only_named_targets_are_limited() {
    let (server, other) = (websocket(echo).await, websocket(echo).await);
    let once = Limit { max_runs: Rate::parse("0.001"), ..limit(&server) };
    let context = limited(once.clone());
    let to =
        |server: &Server| spec(vec![step("1", Action::WebSocket(connect(server.url("ws", "/"))))]);
    assert_success(&run(&to(&server), &context).await);
    let twice = Limit { max_concurrent_runs: Some(9), ..once };
    context.limits.replace(vec![twice]);
    let missed = run(&to(&server), &context).await;
    assert_eq!(missed.outcome, Outcome::Missed);
    let words = missed.failure.expect("why").message;
    assert!(words.contains("limited to 0.001 a second"), "{words}");
    assert_success(&run(&to(&other), &context).await);
    assert_success(&run(&to(&other), &context).await);
}
