//! Streams that go away and are taken up again, against servers that do it well, badly or not at all.

use super::servers::{Server, http};
use super::{
    assert_failure, assert_success, connect, expect_json, get, phases, run_within, step, subscribe,
};
use crate::model::probe::{FailureReason, Phase, ProbeRun, StepResult};
use crate::probe::ledger::LedgerStep;
use crate::probe::spec::{
    Action, Cut, DropBy, DropStep, FallbackStep, Heartbeat, HeartbeatStep, ReconnectStep, Step,
};
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::{get as on_get, post};
use futures::StreamExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// What a server does with who comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Sends all that was missed, once.
    Exact,
    /// Sends it without the first so many.
    Loses(u64),
    /// Sends so many again that had been received.
    Replays(u64),
    /// Treats it as somebody new.
    None,
}

/// Published messages, numbered from 1.
struct Feed {
    memory: Memory,
    state: Mutex<u64>,
    live: broadcast::Sender<Published>,
}

#[derive(Clone, Copy, Debug)]
enum Published {
    Number(u64),
    Mark(u64),
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
    count: Option<u64>,
}

impl Published {
    fn text(self) -> String {
        match self {
            Self::Number(n) => json!({ "n": n }).to_string(),
            Self::Mark(upto) => json!({ "mark": upto }).to_string(),
        }
    }
}

impl Feed {
    /// What somebody gets who has seen everything up to `after`, and what comes then.
    fn join(&self, after: Option<u64>) -> (Vec<Published>, broadcast::Receiver<Published>) {
        let newest = self.state.lock();
        let first = after.and_then(|after| match self.memory {
            Memory::Exact => Some(after + 1),
            Memory::Loses(k) => Some(after + 1 + k),
            Memory::Replays(k) => Some((after + 1).saturating_sub(k)),
            Memory::None => None,
        });
        let missed = first.map_or_else(Vec::new, |first| (first..=*newest).collect());
        (missed.into_iter().map(Published::Number).collect(), self.live.subscribe())
    }

    fn publish(&self, count: u64) {
        let mut newest = self.state.lock();
        for _ in 0..count {
            *newest += 1;
            let _ = self.live.send(Published::Number(*newest));
        }
        let _ = self.live.send(Published::Mark(*newest));
    }
}

async fn serve(memory: Memory) -> Server {
    let feed = Arc::new(Feed { memory, state: Mutex::new(0), live: broadcast::channel(1024).0 });
    let events = |State(feed): State<Arc<Feed>>, headers: HeaderMap| async move {
        let id = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let (missed, live) = feed.join(id);
        let live = futures::stream::unfold(live, |mut live| async {
            live.recv().await.ok().map(|published| (published, live))
        });
        let events = futures::stream::iter(missed).chain(live).map(|published| {
            let event = Event::default().data(published.text());
            Ok::<_, Infallible>(match published {
                Published::Number(n) => event.id(n.to_string()),
                Published::Mark(_) => event,
            })
        });
        let greeting = Event::default().comment("hello").retry(Duration::from_millis(30));
        Sse::new(futures::stream::iter([Ok(greeting)]).chain(events))
    };
    let socket = |State(feed): State<Arc<Feed>>,
                  Query(query): Query<After>,
                  up: WebSocketUpgrade| async move {
        let (missed, live) = feed.join(query.after);
        up.on_upgrade(move |socket| talk(socket, missed, live))
    };
    let publish = |State(feed): State<Arc<Feed>>, Query(query): Query<After>| async move {
        feed.publish(query.count.unwrap_or(1));
        StatusCode::ACCEPTED
    };
    let router = Router::new()
        .route("/events", on_get(events))
        .route("/socket", on_get(socket))
        .route("/publish", post(publish))
        .route("/refuses", on_get(|| async { StatusCode::SERVICE_UNAVAILABLE.into_response() }))
        .with_state(feed);
    http(router).await
}

async fn talk(
    mut socket: WebSocket,
    missed: Vec<Published>,
    mut live: broadcast::Receiver<Published>,
) {
    for published in missed {
        if socket.send(Message::text(published.text())).await.is_err() {
            return;
        }
    }
    loop {
        tokio::select! {
            published = live.recv() => {
                let Ok(published) = published else { return };
                if socket.send(Message::text(published.text())).await.is_err() {
                    return;
                }
            }
            received = socket.recv() => if !matches!(received, Some(Ok(_))) { return },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Socket,
    Events,
}

const HEARTBEAT: Heartbeat =
    Heartbeat { every: Some(Duration::from_millis(40)), timeout: Duration::from_millis(60) };
const SILENCE: Heartbeat = Heartbeat { every: None, timeout: Duration::from_millis(80) };

fn publish(name: &str, server: &Server, count: u64) -> Step {
    let mut request = get(server.url("http", &format!("/publish?count={count}")));
    request.method = "POST".to_owned();
    step(name, Action::Http(request))
}

fn seen(name: &str, upto: u64) -> Step {
    let expect = expect_json(json!({ "mark": upto }));
    step(name, Action::Expect { on: vec!["bob".to_owned()], expect })
}

fn dropped(over: Over, by: DropBy) -> Step {
    let watched = by == DropBy::Network(Cut::Silent);
    let heartbeat = watched.then_some(if over == Over::Socket { HEARTBEAT } else { SILENCE });
    step("drop", Action::Drop { on: "bob".to_owned(), drop: DropStep { by, heartbeat } })
}

fn ledger(messages: u64) -> Step {
    let ledger = LedgerStep {
        publishers: None,
        settle: Duration::from_millis(1),
        sequence: "/n".to_owned(),
        publisher: None,
        messages: Some(messages),
        first: 1,
        wraps_at: None,
        listen: Duration::from_millis(400),
        max_lost: 100,
        max_duplicates: 100,
        max_reordered: 100,
    };
    step("books", Action::Ledger { on: "bob".to_owned(), ledger })
}

/// Three messages, the drop, four more, coming back, two more, and the books.
async fn conduct(memory: Memory, over: Over, by: DropBy, step_: ReconnectStep) -> ProbeRun {
    let server = serve(memory).await;
    let (bob, url) = match over {
        Over::Socket => (
            Action::WebSocket(connect(server.url("ws", "/socket"))),
            Some(server.url("ws", "/socket?after=${resume.last}")),
        ),
        Over::Events => (Action::Sse(subscribe(server.url("http", "/events"))), None),
    };
    let reconnect = Box::new(ReconnectStep { url, sequence: Some("/n".to_owned()), ..step_ });
    let steps = vec![
        step("bob", bob),
        publish("before", &server, 3),
        seen("all", 3),
        dropped(over, by),
        publish("away", &server, 4),
        step("return", Action::Reconnect { on: "bob".to_owned(), reconnect }),
        publish("after", &server, 2),
        ledger(9),
    ];
    run_within(Duration::from_secs(20), steps).await
}

fn found(run: &ProbeRun, name: &str, attribute: &str) -> String {
    let found = super::attribute(result(run, name), attribute);
    found.unwrap_or_else(|| unreachable!("no {attribute} in {run:#?}"))
}

fn result<'r>(run: &'r ProbeRun, name: &str) -> &'r StepResult {
    let found = run.steps.iter().find(|step| step.name == name);
    found.unwrap_or_else(|| unreachable!("no step {name} in {run:#?}"))
}

fn tolerant() -> ReconnectStep {
    ReconnectStep { max_missed: 100, ..ReconnectStep::default() }
}

const DROPS: [DropBy; 4] = [
    DropBy::Network(Cut::Reset),
    DropBy::Network(Cut::Finished),
    DropBy::Network(Cut::Silent),
    DropBy::Close(1001),
];

/// Guarantees that exactly what a server loses or replays is found, for each way to lose a connection.
#[tokio::test]
async fn what_is_missed_and_replayed_is_exact() {
    for over in [Over::Socket, Over::Events] {
        for by in DROPS {
            for (memory, lost, doubled) in [
                (Memory::Exact, "0", "0"),
                (Memory::Loses(2), "2", "0"),
                (Memory::Replays(2), "0", "2"),
            ] {
                let run = conduct(memory, over, by, tolerant()).await;
                assert_success(&run);
                let books = |name| found(&run, "books", name);
                assert_eq!(books("ledger.lost"), lost, "{over:?} {by:?} {memory:?}: {run:#?}");
                assert_eq!(books("ledger.duplicates"), doubled, "{over:?} {by:?} {memory:?}");
                assert_eq!(found(&run, "return", "resume.missed"), lost);
                assert!(result(&run, "return").phases.iter().any(|p| p.phase == Phase::Resume));
                assert_eq!(phases(result(&run, "drop")), [Phase::Detect], "{run:#?}");
            }
        }
    }
}

/// Guarantees that a gap is a failure unless it may be, with the numbers in words.
#[tokio::test]
async fn a_gap_is_told() {
    let step = ReconnectStep::default();
    let run = conduct(Memory::Loses(2), Over::Events, DROPS[0], step).await;
    assert_failure(&run, FailureReason::Lost, "it went on at 6 after 3: 2 were");
}

/// Guarantees that a server which silently lets a client begin anew is told from one that resumes.
#[tokio::test]
async fn a_fresh_session_is_a_refusal() {
    for over in [Over::Socket, Over::Events] {
        for by in DROPS {
            let within = Some(Duration::from_millis(200));
            let run = conduct(Memory::None, over, by, ReconnectStep { within, ..tolerant() }).await;
            assert_failure(&run, FailureReason::Lost, "resume refused");
            assert_eq!(found(&run, "return", "resume.outcome"), "refused");
        }
    }
}

/// Guarantees that an event stream's client stays away as long as its server asked for.
#[tokio::test]
async fn the_server_says_how_long_to_stay_away() {
    let run = conduct(Memory::Exact, Over::Events, DROPS[1], tolerant()).await;
    assert_success(&run);
    let backoff = result(&run, "return").phases.first().copied().expect("a phase");
    assert_eq!(backoff.phase, Phase::Backoff);
    assert!(backoff.duration_ns >= 30_000_000, "{backoff:?}");
}

/// Guarantees that silence is noticed after the timeout and within one period more, two hundred times of
/// two hundred, and that an answered ping is no silence.
#[tokio::test]
async fn silence_is_noticed_in_time() {
    const PERIOD: Duration = Duration::from_millis(40);
    // Long enough that a machine under load answers pings in time.
    const TIMEOUT: Duration = Duration::from_millis(400);
    let watch = Heartbeat { every: Some(PERIOD), timeout: TIMEOUT };
    let server = serve(Memory::Exact).await;
    let trial = || {
        let listen = Duration::from_millis(rand::random_range(50..130));
        let alive = HeartbeatStep { heartbeat: watch, listen };
        let drop = DropStep { by: DropBy::Network(Cut::Silent), heartbeat: Some(watch) };
        let steps = vec![
            step("bob", Action::WebSocket(connect(server.url("ws", "/socket")))),
            step("alive", Action::Heartbeat { on: "bob".to_owned(), heartbeat: alive }),
            step("drop", Action::Drop { on: "bob".to_owned(), drop }),
        ];
        run_within(Duration::from_secs(20), steps)
    };
    for _ in 0..10 {
        for run in futures::future::join_all((0..20).map(|_| trial())).await {
            assert_success(&run);
            let ns = result(&run, "drop").message_latency_ns.expect("a value");
            let noticed = Duration::from_nanos(ns);
            // The watch itself may begin a moment after the cut.
            let latest = TIMEOUT + PERIOD + Duration::from_millis(1);
            assert!((TIMEOUT..=latest).contains(&noticed), "{noticed:?}");
        }
    }
}

/// Guarantees that a server which answers no pings is found by a heartbeat.
#[tokio::test]
async fn a_server_without_pongs_is_lost() {
    let server = super::servers::websocket(|socket| async move {
        // Never read from, so never answered.
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let heartbeat = HeartbeatStep { heartbeat: HEARTBEAT, listen: Duration::from_secs(10) };
    let steps = vec![
        step("bob", Action::WebSocket(connect(server.url("ws", "/")))),
        step("alive", Action::Heartbeat { on: "bob".to_owned(), heartbeat }),
    ];
    let run = run_within(Duration::from_secs(20), steps).await;
    assert_failure(&run, FailureReason::Lost, "a ping was not answered within 60ms");
}

/// Guarantees that the first way that works is taken, that it says what the others cost, and that the
/// books go on over a change of way.
#[tokio::test]
async fn the_next_way_is_tried() {
    let server = serve(Memory::Exact).await;
    let mute = super::servers::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let fallback = FallbackStep {
        each_within: Some(Duration::from_millis(100)),
        streams: vec![
            Action::WebSocket(connect(server.url("ws", "/refuses"))),
            Action::WebSocket(connect(mute.url("ws", "/"))),
            Action::Sse(subscribe(server.url("http", "/events"))),
        ],
    };
    let reconnect =
        Box::new(ReconnectStep { sequence: Some("/n".to_owned()), ..ReconnectStep::default() });
    let steps = vec![
        step("bob", Action::Fallback(fallback)),
        publish("before", &server, 3),
        seen("all", 3),
        dropped(Over::Events, DropBy::Network(Cut::Reset)),
        publish("away", &server, 4),
        step("return", Action::Reconnect { on: "bob".to_owned(), reconnect }),
        publish("after", &server, 2),
        ledger(9),
    ];
    let run = run_within(Duration::from_secs(20), steps).await;
    assert_success(&run);
    assert_eq!(found(&run, "bob", "fallback.used"), "sse");
    let bob = result(&run, "bob");
    let failed: Vec<String> = bob
        .attributes
        .iter()
        .filter(|(name, _)| name == "fallback.failed")
        .map(|(_, words)| words.to_string())
        .collect();
    assert!(failed[0].contains("status 503"), "{failed:?}");
    assert_eq!(failed[1], "websocket: not within 100ms");
    assert_eq!(phases(bob)[0], Phase::Fallback);
    assert!(bob.phases[0].duration_ns >= 100_000_000, "{bob:#?}");
    assert_eq!(found(&run, "books", "ledger.lost"), "0");
}

/// Guarantees that each way's failure is told when none works.
#[tokio::test]
async fn no_way_works() {
    let server = serve(Memory::Exact).await;
    let refuses = Action::WebSocket(connect(server.url("ws", "/refuses")));
    let streams = vec![refuses.clone(), refuses];
    let fallback = FallbackStep { each_within: None, streams };
    let run =
        run_within(Duration::from_secs(20), vec![step("bob", Action::Fallback(fallback))]).await;
    assert_failure(&run, FailureReason::Status, "no way to open the stream works: websocket: ");
}
