//! A receiver on loopback that answers as scripted and remembers what it was sent.

use super::super::courier::Courier;
use super::super::queue::{Outcome, Queue};
use crate::base::backoff::Backoff;
use crate::base::clock::{Clock, MonoNanos};
use crate::base::shutdown::Shutdown;
use crate::model::routing::Receiver;
use crate::telemetry::Telemetry;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Longer than any test should take; a wait that gets here has failed.
const CEILING: Duration = Duration::from_secs(60);

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(u16, String),
    RetryAfter(u16, &'static str),
    MovedTo(String),
    /// Takes the request and never answers.
    Mute,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) at: MonoNanos,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: serde_json::Value,
}

type Script = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

/// The receiver. Its script gets the number of the request, from 0, and the request.
#[derive(Clone)]
pub(super) struct FakeReceiver {
    pub(super) url: String,
    clock: Clock,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
}

/// A courier with quick backoff, and everything around it.
pub(super) struct Bench {
    pub(super) courier: Courier,
    pub(super) clock: Clock,
    pub(super) telemetry: Telemetry,
    pub(super) shutdown: Shutdown,
    outcomes: mpsc::Receiver<Outcome>,
}

impl Answer {
    pub(super) fn ok() -> Self {
        Self::Status(200, String::new())
    }
}

// === impl FakeReceiver ===

impl FakeReceiver {
    pub(super) async fn start<F>(script: F) -> Self
    where
        F: Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::serve(listener, script)
    }

    pub(super) fn serve<F>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    {
        let address = listener.local_addr().expect("a bound socket");
        let receiver = Self {
            url: format!("http://{address}"),
            clock: Clock::system(),
            seen: Arc::default(),
            script: Arc::new(script),
        };
        let app = axum::Router::new().fallback(take).with_state(receiver.clone());
        drop(tokio::spawn(async move { axum::serve(listener, app).await }));
        receiver
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Incident and status of every request, in order.
    pub(super) fn told(&self) -> Vec<String> {
        let word = |seen: &Seen, key: &str| seen.body[key].as_str().unwrap_or("?").to_owned();
        self.seen()
            .iter()
            .map(|s| format!("{} {}", word(s, "groupKey"), word(s, "status")))
            .collect()
    }
}

async fn take(State(receiver): State<FakeReceiver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_else(|_| Bytes::new());
    let seen = Seen {
        at: receiver.clock.monotonic(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let number = {
        let mut all = receiver.seen.lock();
        all.push(seen.clone());
        all.len() - 1
    };
    let status = |code| StatusCode::from_u16(code).expect("a status");
    match (receiver.script)(number, &seen) {
        Answer::Status(code, body) => (status(code), body).into_response(),
        Answer::RetryAfter(code, when) => {
            (status(code), [("retry-after", when)], "slow down").into_response()
        }
        Answer::MovedTo(url) => (status(307), [("location", url)], "").into_response(),
        Answer::Mute => std::future::pending().await,
    }
}

// === impl Bench ===

impl Bench {
    pub(super) fn start(receivers: Vec<Receiver>) -> Self {
        let backoff = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) };
        let (clock, telemetry) = (Clock::system(), Telemetry::new());
        let shutdown = Shutdown::new();
        let (sender, outcomes) = mpsc::channel(64);
        let queue = Queue::new(receivers, backoff);
        let courier =
            Courier::start_with(queue, clock.clone(), telemetry.clone(), &shutdown, sender);
        Self { courier, clock, telemetry, shutdown, outcomes }
    }

    /// The next outcome.
    pub(super) async fn outcome(&mut self) -> Outcome {
        tokio::time::timeout(CEILING, self.outcomes.recv())
            .await
            .expect("an outcome in time")
            .expect("a running courier")
    }

    /// The error with which the first pending notification waits for its next attempt.
    pub(super) async fn first_error(&self) -> String {
        wait_for(|| self.courier.pending().into_iter().find_map(|view| view.last_error)).await
    }
}

/// Asks again and again until there is an answer.
pub(super) async fn wait_for<T>(ask: impl Fn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(CEILING, asking).await.expect("the condition in time")
}
