//! The courier over real connections: order, patience, isolation, and silence about secrets.

use super::super::queue::{DeliveryResult, MAX_IN_FLIGHT};
use super::receivers::{Answer, Bench, FakeReceiver, wait_for};
use super::{sample, webhook};
use crate::base::clock::UnixNanos;
use crate::base::secret::Secret;
use crate::model::notification::{Notification, NotificationKind};
use crate::model::routing::{Channel, Receiver};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const PATIENT: Duration = Duration::from_secs(60);

fn resolved(notification: Notification) -> Notification {
    let ends_at = Some(notification.starts_at.plus(Duration::from_secs(300)));
    Notification { resolved: true, ends_at, ..notification }
}

/// The sample, made now: its day has just begun.
fn fresh(bench: &Bench, receiver: &str, incident: &str, transition: u32) -> Notification {
    Notification { created_at: bench.clock.now(), ..sample(receiver, incident, transition) }
}

/// Guarantees that a resolve comes after its firing, however often that fails, while another
/// incident passes by.
#[tokio::test]
async fn a_resolve_never_overtakes_its_firing() {
    let receiver = FakeReceiver::start(|number, seen| match (number, &seen.body["groupKey"]) {
        (0..6, key) if key == "one" => Answer::Status(500, "oops".to_owned()),
        _ => Answer::ok(),
    })
    .await;
    let mut bench = Bench::start(vec![webhook("a", &receiver.url, PATIENT)]);
    let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
    let _ = bench.courier.submit(resolved(fresh(&bench, "a", "one", 2)));
    let _ = bench.courier.submit(fresh(&bench, "a", "two", 1));
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let outcome = bench.outcome().await;
        assert_eq!(outcome.result, DeliveryResult::Delivered);
        outcomes.push((outcome.id, outcome.attempts));
    }
    let place = |id: &str| outcomes.iter().position(|(known, _)| known == id);
    assert!(place("one-1-a") < place("one-2-a"));
    assert!(outcomes.contains(&("two-1-a".to_owned(), 1)));
    let one: Vec<_> = receiver.told().into_iter().filter(|told| told.starts_with("one")).collect();
    let (last, firing) = one.split_last().expect("requests");
    assert_eq!(last, "one resolved");
    assert!(firing.len() >= 4 && firing.iter().all(|told| told == "one firing"), "{one:?}");
    let keys: Vec<_> =
        receiver.seen().iter().map(|s| s.headers["idempotency-key"].clone()).collect();
    assert!(keys.iter().all(|key| key == "one-1" || key == "one-2" || key == "two-1"), "{keys:?}");
    let retried = bench.telemetry.notify_attempts_total.with_label_values(&["a", "retried"]).get();
    assert_eq!(retried as usize, firing.len() - 1);
}

/// Guarantees that a 429 is honoured: not before the time that the receiver named.
#[tokio::test]
async fn waits_as_long_as_the_receiver_asks() {
    let receiver = FakeReceiver::start(|number, _| match number {
        0 => Answer::RetryAfter(429, "1"),
        _ => Answer::ok(),
    })
    .await;
    let mut bench = Bench::start(vec![webhook("a", &receiver.url, PATIENT)]);
    let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
    let outcome = bench.outcome().await;
    assert_eq!((outcome.result, outcome.attempts), (DeliveryResult::Delivered, 2));
    let seen = receiver.seen();
    assert!(seen[1].at.since(seen[0].at) >= Duration::from_millis(990));
}

/// Guarantees that a refusal is final and visible, and that a redirect is one.
#[tokio::test]
async fn a_refusal_is_final() {
    let elsewhere = FakeReceiver::start(|_, _| Answer::ok()).await;
    let away = elsewhere.url.clone();
    let check = async |answer: Answer, expected: &str| {
        let receiver = FakeReceiver::start(move |_, _| answer.clone()).await;
        let mut bench = Bench::start(vec![webhook("a", &receiver.url, PATIENT)]);
        let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
        let outcome = bench.outcome().await;
        let error = match outcome.result {
            DeliveryResult::Refused { error } => error,
            other => format!("not refused: {other:?}"),
        };
        assert!(error.starts_with(&receiver.url) && error.contains(expected), "{error}");
        assert_eq!((outcome.attempts, receiver.seen().len()), (1, 1));
    };
    check(Answer::Status(404, "no such hook".to_owned()), "404 Not Found: no such hook").await;
    check(Answer::Status(400, "bad\r\n  payload".to_owned()), "400 Bad Request: bad payload").await;
    check(Answer::MovedTo(away), "307 Temporary Redirect").await;
    assert!(elsewhere.seen().is_empty());
}

/// Guarantees that a receiver that was down gets its notification when it is up.
#[tokio::test]
async fn a_receiver_may_be_down_for_a_while() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = closed.local_addr().expect("a bound socket");
    drop(closed);
    let mut bench = Bench::start(vec![webhook("a", &format!("http://{address}"), PATIENT)]);
    let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
    let error = bench.first_error().await;
    assert!(error.starts_with(&format!("http://{address} failed: ")), "{error}");
    let listener = TcpListener::bind(address).await.expect("the same port");
    let receiver = FakeReceiver::serve(listener, |_, _| Answer::ok());
    assert_eq!(bench.outcome().await.result, DeliveryResult::Delivered);
    assert_eq!(receiver.told(), ["one firing"]);
}

/// Guarantees that a receiver that never answers costs its timeout and delays nobody else.
#[tokio::test]
async fn a_mute_receiver_delays_no_other() {
    let mute = FakeReceiver::start(|_, _| Answer::Mute).await;
    let well = FakeReceiver::start(|_, _| Answer::ok()).await;
    let mut bench = Bench::start(vec![
        webhook("mute", &mute.url, Duration::from_millis(50)),
        webhook("stuck", &mute.url, PATIENT),
        webhook("well", &well.url, PATIENT),
    ]);
    for number in 0..MAX_IN_FLIGHT * 2 {
        let _ = bench.courier.submit(fresh(&bench, "stuck", &format!("incident-{number}"), 1));
    }
    let _ = bench.courier.submit(fresh(&bench, "mute", "one", 1));
    let _ = bench.courier.submit(fresh(&bench, "well", "one", 1));
    let outcome = bench.outcome().await;
    assert_eq!((outcome.receiver.as_str(), outcome.result), ("well", DeliveryResult::Delivered));
    let error = bench.first_error().await;
    assert_eq!(error, format!("{} failed: no answer within the timeout", mute.url));
}

/// Guarantees that no more than the bound are under way at one receiver, and all arrive in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_are_under_way_at_once() {
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let (sender, mut arrived) = tokio::sync::mpsc::channel(64);
    let app = axum::Router::new().fallback(move || {
        let sender = sender.clone();
        async move {
            let _ = sender.send(()).await;
            drop(gate.acquire().await);
        }
    });
    drop(tokio::spawn(async move { axum::serve(listener, app).await }));
    let mut bench = Bench::start(vec![webhook("a", &url, PATIENT)]);
    for number in 0..MAX_IN_FLIGHT * 3 {
        let _ = bench.courier.submit(fresh(&bench, "a", &format!("incident-{number}"), 1));
    }
    for _ in 0..MAX_IN_FLIGHT {
        arrived.recv().await.expect("a request");
    }
    let waiting = bench.courier.pending().iter().filter(|v| v.next_attempt_at.is_some()).count();
    assert_eq!(waiting, MAX_IN_FLIGHT * 2);
    assert!(arrived.try_recv().is_err());
    gate.add_permits(MAX_IN_FLIGHT);
    for _ in 0..MAX_IN_FLIGHT * 3 {
        assert_eq!(bench.outcome().await.result, DeliveryResult::Delivered);
    }
}

/// Guarantees that handing over twice sends once, while it is pending and after it was settled.
#[tokio::test]
async fn handing_over_twice_sends_once() {
    let receiver = FakeReceiver::start(|_, _| Answer::ok()).await;
    let mut bench = Bench::start(vec![webhook("a", &receiver.url, PATIENT)]);
    let told = fresh(&bench, "a", "one", 1);
    assert!(bench.courier.submit(told.clone()) && bench.courier.submit(told.clone()));
    assert_eq!(bench.outcome().await.id, told.id);
    assert!(bench.courier.submit(told));
    let last = fresh(&bench, "a", "two", 1);
    let _ = bench.courier.submit(last.clone());
    assert_eq!(bench.outcome().await.id, last.id);
    assert_eq!(receiver.told(), ["one firing", "two firing"]);
    assert!(bench.courier.pending().is_empty());
}

/// Guarantees that repetitions and heartbeats are tried once, whatever the answer.
#[tokio::test]
async fn a_heartbeat_is_tried_once() {
    let receiver = FakeReceiver::start(|_, _| Answer::Status(503, "down".to_owned())).await;
    let mut bench = Bench::start(vec![webhook("a", &receiver.url, PATIENT)]);
    for (kind, incident) in
        [(NotificationKind::Heartbeat, "beat"), (NotificationKind::Resend, "one")]
    {
        let _ = bench.courier.submit(Notification { kind, ..fresh(&bench, "a", incident, 1) });
        let outcome = bench.outcome().await;
        assert!(matches!(outcome.result, DeliveryResult::GivenUp { .. }), "{outcome:?}");
        assert_eq!((outcome.kind, outcome.attempts), (kind, 1));
    }
    assert_eq!(receiver.seen().len(), 2);
}

/// Guarantees that no secret of a receiver shows in any error, even when the receiver repeats it,
/// and that an error stays short however long the answer.
#[tokio::test]
async fn secrets_stay_inside() {
    let echo = FakeReceiver::start(|number, seen| {
        let token = seen.headers["authorization"].to_str().unwrap_or_default().to_owned();
        let long = format!("{} {token} {}", seen.path, "x".repeat(1 << 20));
        Answer::Status(if number == 0 { 500 } else { 403 }, long)
    })
    .await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = format!("http://{}", closed.local_addr().expect("a bound socket"));
    drop(closed);
    for base in [&echo.url, &nobody] {
        let url = base.replace("http://", "http://user:CANARY-0@");
        let receiver = Receiver {
            name: "a".to_owned(),
            send_resolved: true,
            channel: Channel::Webhook {
                url: Secret::new(format!("{url}/hooks/CANARY-1/in?key=CANARY-2")),
                headers: vec![("authorization".to_owned(), Secret::new("Bearer CANARY-3"))],
                timeout: PATIENT,
            },
        };
        let bench = Bench::start(vec![receiver.clone()]);
        let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
        let error = bench.first_error().await;
        assert!(error.starts_with(base.as_str()), "{error}");
        assert!(!error.contains("CANARY") && error.chars().count() <= 200, "{error}");
        let shown = format!("{receiver:?} {:?}", bench.courier);
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

/// Guarantees what an Alertmanager and a webhook are sent: place, headers and body.
#[tokio::test]
async fn each_channel_speaks_its_protocol() {
    let receiver = FakeReceiver::start(|_, _| Answer::ok()).await;
    let client = super::super::client();
    let headers = vec![("X-Scope-OrgID".to_owned(), Secret::new("tenant"))];
    let url = Secret::new(format!("{}/am", receiver.url));
    let now = UnixNanos::from_seconds(1_700_000_600);
    let told = sample("a", "c0ffee", 1);
    for channel in [
        Channel::Alertmanager { url: url.clone(), headers: headers.clone(), timeout: PATIENT },
        Channel::Webhook { url, headers, timeout: PATIENT },
    ] {
        let to = Receiver { name: "a".to_owned(), send_resolved: true, channel };
        let delivery = super::super::deliver(&client, &to, &told, now).await;
        assert_eq!(delivery, crate::model::notification::Delivery::Delivered);
    }
    let seen = receiver.seen();
    assert_eq!((seen[0].path.as_str(), seen[1].path.as_str()), ("/am/api/v2/alerts", "/am"));
    assert_eq!(seen[0].body[0]["endsAt"], "2023-11-14T23:23:20.000Z");
    assert_eq!(seen[1].body["version"], "4");
    assert!(seen.iter().all(|s| s.headers["x-scope-orgid"] == "tenant"));
    assert!(seen.iter().all(|s| s.headers["content-type"] == "application/json"));
    assert_eq!(seen[1].headers["idempotency-key"], "c0ffee-1");
}

/// Guarantees that a corrected address is tried at once, without waiting for the backoff.
#[tokio::test]
async fn a_corrected_address_is_tried_at_once() {
    let wrong = FakeReceiver::start(|_, _| Answer::RetryAfter(503, "600")).await;
    let right = FakeReceiver::start(|_, _| Answer::ok()).await;
    let mut bench = Bench::start(vec![webhook("a", &wrong.url, PATIENT)]);
    let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
    let error = bench.first_error().await;
    assert!(error.contains("503 Service Unavailable: slow down"), "{error}");
    bench.courier.replace_receivers(vec![webhook("a", &right.url, PATIENT)]);
    let outcome = bench.outcome().await;
    assert_eq!((outcome.result, outcome.attempts), (DeliveryResult::Delivered, 2));
}

/// Guarantees that a shutdown lets attempts finish, reports them, and leaves the rest to the outbox.
#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way() {
    let gate: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
    let app = axum::Router::new().fallback(move || async move { drop(gate.acquire().await) });
    drop(tokio::spawn(async move { axum::serve(listener, app).await }));
    let mut bench = Bench::start(vec![webhook("a", &url, PATIENT)]);
    let _ = bench.courier.submit(fresh(&bench, "a", "one", 1));
    let _ = bench.courier.submit(resolved(fresh(&bench, "a", "one", 2)));
    let courier = bench.courier.clone();
    let all_wait = || courier.pending().iter().all(|v| v.next_attempt_at.is_none()).then_some(());
    wait_for(all_wait).await;
    bench.shutdown.begin();
    gate.add_permits(1);
    assert_eq!(bench.outcome().await.id, "one-1-a");
    assert!(bench.shutdown.drain(PATIENT).await);
    let left: Vec<_> = bench.courier.pending().into_iter().map(|view| view.id).collect();
    assert_eq!(left, ["one-2-a"]);
}
