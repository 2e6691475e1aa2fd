//! One message for many receivers, over one protocol and over two.

use super::super::spec::{Action, Expect, HttpStep, Step, WebSocketStep};
use super::servers::{Server, http};
use super::{
    assert_failure, assert_success, connect, expect_json, get, number, run_within, step, subscribe,
};
use crate::model::probe::{FailureReason, Phase, StepResult};
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get as on_get, post};
use serde_json::json;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// When a subscriber of that number gets what is posted; `None` for never.
type Delay = Arc<dyn Fn(u32) -> Option<Duration> + Send + Sync>;

#[derive(Clone)]
struct Room {
    messages: broadcast::Sender<String>,
    delay: Delay,
}

impl Room {
    /// The next message at the time at which this subscriber is to get it.
    async fn next(&self, of: &mut broadcast::Receiver<String>, number: u32) -> Option<String> {
        let text = of.recv().await.ok()?;
        match (self.delay)(number) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => std::future::pending().await,
        }
        Some(text)
    }
}

/// Whatever is posted goes to everybody in the room, to each with its own delay.
async fn room(delay: impl Fn(u32) -> Option<Duration> + Send + Sync + 'static) -> Server {
    type Number = Query<HashMap<String, u32>>;
    async fn enter(
        State(room): State<Room>,
        n: Number,
        upgrade: WebSocketUpgrade,
    ) -> impl IntoResponse {
        let mut messages = room.messages.subscribe();
        upgrade.on_upgrade(async move |mut socket: WebSocket| {
            while let Some(text) = room.next(&mut messages, n["n"]).await {
                if socket.send(Message::text(text)).await.is_err() {
                    break;
                }
            }
        })
    }
    async fn feed(State(room): State<Room>, n: Number) -> impl IntoResponse {
        let start = (room.messages.subscribe(), room, n["n"]);
        let events = futures::stream::unfold(start, async |(mut messages, room, n)| {
            let text = room.next(&mut messages, n).await?;
            Some((Ok::<_, Infallible>(Event::default().data(text)), (messages, room, n)))
        });
        Sse::new(events)
    }
    let say = async |State(room): State<Room>, body: String| {
        drop(room.messages.send(body));
        StatusCode::ACCEPTED
    };
    let router = Router::new()
        .route("/room", any(enter))
        .route("/feed", on_get(feed))
        .route("/messages", post(say))
        .with_state(Room { messages: broadcast::Sender::new(16), delay: Arc::new(delay) });
    http(router).await
}

fn crowd(server: &Server, count: u32) -> Step {
    let url = format!("{}?n=${{run.receiver}}", server.url("ws", "/room"));
    Step { count, ..step("crowd", Action::WebSocket(connect(url))) }
}

fn feeds(server: &Server, count: u32) -> Step {
    let url = format!("{}?n=${{run.receiver}}", server.url("http", "/feed"));
    Step { count, ..step("feeds", Action::Sse(subscribe(url))) }
}

fn publish(server: &Server) -> Step {
    let ask = HttpStep {
        method: "POST".into(),
        body: Some(r#"{"id":"${run.id}"}"#.into()),
        ..get(server.url("http", "/messages"))
    };
    step("alice", Action::Http(ask))
}

fn everybody(on: &[&str], within: Option<Duration>) -> Step {
    let since = Some("alice".to_owned());
    let expect = Expect { since, within, ..expect_json(json!({"id": "${run.id}"})) };
    let on = on.iter().map(|on| (*on).to_owned()).collect();
    step("all", Action::Expect { on, expect })
}

/// Milliseconds of an attribute in nanoseconds.
fn ms(step: &StepResult, name: &str) -> f64 {
    number(step, name).expect(name) as f64 / 1e6
}

/// Guarantees that everybody's delay is recovered, over two protocols in one room: the value is the last
/// receiver's, and first, median and spread are what the server made them.
#[tokio::test]
async fn delays_of_receivers_are_recovered() {
    let server = room(|n| Some(Duration::from_millis(10) * n)).await;
    let steps = vec![
        crowd(&server, 20),
        feeds(&server, 20),
        publish(&server),
        everybody(&["crowd", "feeds"], None),
    ];
    let run = run_within(Duration::from_secs(20), steps).await;
    assert_success(&run);
    let [crowd, _, _, all] = &run.steps[..] else { unreachable!("{run:#?}") };
    assert_eq!(crowd.phases.iter().map(|p| p.phase).collect::<Vec<_>>(), [Phase::Subscribe]);
    assert_eq!(number(crowd, "fanout.receivers"), Some(20));
    assert_eq!(number(all, "fanout.received"), Some(40));
    // Wide margins above: timers are late on a busy machine, never early.
    for (name, expected) in
        [("fanout.first_ns", 10.0), ("fanout.median_ns", 100.0), ("fanout.last_ns", 200.0)]
    {
        let found = ms(all, name);
        assert!(found >= expected - 1.0 && found < expected + 80.0, "{name} is {found}");
    }
    assert_eq!(run.latency_ns, all.message_latency_ns);
    assert!(run.latency_ns.is_some_and(|ns| ns >= 199_000_000), "{run:#?}");
}

/// Guarantees that of a thousand receivers exactly those are named that got nothing.
#[tokio::test]
async fn who_missed_it_is_named() {
    const COUNT: u32 = 1_000;
    let server = room(|n| (![7, 8, 9, 500].contains(&n)).then_some(Duration::ZERO)).await;
    let steps = vec![crowd(&server, COUNT), publish(&server), everybody(&["crowd"], None)];
    let run = run_within(Duration::from_secs(8), steps).await;
    assert_failure(&run, FailureReason::Lost, "4 of 1000 did not get it: crowd[7-9, 500]");
    let all = run.steps.last().expect("three steps");
    assert_eq!(number(all, "fanout.received"), Some(996));
    let messages = &run.steps[0].messages;
    assert_eq!((messages.stamps.len(), messages.omitted), (996, 0));
    assert!(messages.stamps.iter().all(|stamp| stamp.matched), "{run:#?}");
}

/// Guarantees that late is told from lost, receiver by receiver.
#[tokio::test]
async fn who_got_it_late_is_named() {
    let server = room(|n| Some(Duration::from_millis(if n == 3 { 900 } else { 0 }))).await;
    let within = Some(Duration::from_millis(600));
    let steps = vec![crowd(&server, 5), publish(&server), everybody(&["crowd"], within)];
    let run = run_within(Duration::from_secs(20), steps).await;
    assert_failure(&run, FailureReason::Late, "1 of 5 got it later: crowd[3], the last after");
}

/// Guarantees that a receiver that cannot be opened is named, and that the run ends there.
#[tokio::test]
async fn a_receiver_that_is_refused_is_named() {
    let server = room(|_| Some(Duration::ZERO)).await;
    let gone = Step {
        count: 3,
        ..step("crowd", Action::WebSocket(connect(server.url("ws", "/nowhere"))))
    };
    let run = run_within(Duration::from_secs(20), vec![gone, publish(&server)]).await;
    assert_failure(&run, FailureReason::Status, "receiver 1 of 3");
    assert_eq!(run.steps.len(), 1);
}

/// Guarantees that however many receivers a step has, it gets one phase and one check for the ends of
/// their streams, and is told which of them ended otherwise.
#[tokio::test]
async fn ends_are_told_once() {
    async fn end(n: Query<HashMap<String, u16>>, upgrade: WebSocketUpgrade) -> impl IntoResponse {
        let code = if n["n"] == n["odd"] { 1011 } else { 1000 };
        upgrade.on_upgrade(async move |mut socket: WebSocket| {
            let reason = "".into();
            drop(socket.send(Message::Close(Some(CloseFrame { code, reason }))).await);
        })
    }
    let server = http(Router::new().route("/end", any(end))).await;
    let run = async |odd: u16| {
        let url = format!("{}?n=${{run.receiver}}&odd={odd}", server.url("ws", "/end"));
        let open = WebSocketStep { close_code: Some(1000), ..connect(url) };
        let crowd = Step { count: 9, ..step("crowd", Action::WebSocket(open)) };
        run_within(Duration::from_secs(20), vec![crowd]).await
    };
    let whole = run(0).await;
    assert_success(&whole);
    let closes = whole.steps[0].phases.iter().filter(|timing| timing.phase == Phase::Close);
    assert_eq!((closes.count(), whole.steps[0].checks.len()), (1, 1), "{whole:#?}");
    let odd = run(3).await;
    assert_failure(
        &odd,
        FailureReason::Check,
        "closes all 9 receivers with code 1000, but of receiver 3",
    );
    assert_eq!(odd.steps[0].checks.len(), 1);
}
