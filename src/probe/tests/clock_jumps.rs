//! Wall clocks that jump in the middle of a run: durations come from the monotonic clock alone.

use super::super::spec::{Action, WebSocketStep};
use super::super::{Context, SlotStart, run_once};
use super::servers::{Server, linger, raw, read_head, websocket, write};
use super::{assert_success, connect, expect_json, get, spec, step};
use crate::base::clock::{Clock, UnixNanos};
use crate::model::probe::ProbeRun;
use crate::telemetry::Telemetry;
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);
/// What the monotonic clock moves by in each answer.
const ANSWER: Duration = Duration::from_millis(20);
const ECHO: Duration = Duration::from_millis(30);
const HOUR_NS: i64 = 3_600_000_000_000;
const HALF_SECOND_NS: i64 = 500_000_000;

/// Time passes, and the wall clock jumps.
fn jolt(clock: &Clock, took: Duration, jump_ns: i64) {
    clock.advance(took);
    clock.step(UnixNanos(clock.wall().0.saturating_add_signed(jump_ns)));
}

async fn web(clock: Clock, jump_ns: i64) -> Server {
    raw(move |mut stream| {
        let clock = clock.clone();
        async move {
            read_head(&mut stream).await;
            jolt(&clock, ANSWER, jump_ns);
            write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            linger(stream).await;
        }
    })
    .await
}

async fn echo(clock: Clock, jump_ns: i64) -> Server {
    websocket(move |mut socket| {
        let clock = clock.clone();
        async move {
            while let Some(Ok(message @ Message::Text(_))) = socket.next().await {
                jolt(&clock, ECHO, jump_ns);
                drop(socket.send(message).await);
            }
        }
    })
    .await
}

/// A run over HTTP and a WebSocket in whose answers the wall clock jumps.
async fn jolted(jump_ns: i64) -> ProbeRun {
    let clock = Clock::manual(START);
    let (web, echo) = (web(clock.clone(), jump_ns).await, echo(clock.clone(), jump_ns).await);
    let socket = WebSocketStep {
        send: Some(json!({ "n": 1 }).to_string()),
        expect: Some(expect_json(json!({ "n": 1 }))),
        ..connect(echo.url("ws", "/"))
    };
    let steps = vec![
        step("1", Action::Http(get(web.url("http", "/")))),
        step("2", Action::WebSocket(socket)),
    ];
    let context = Context::new(clock, Telemetry::new());
    run_once(&spec(steps), SlotStart::now(&context.clock), &context).await
}

/// All durations and offsets of a run, in order.
fn times(run: &ProbeRun) -> Vec<u64> {
    let of_steps = run.steps.iter().flat_map(|step| {
        let phases = step.phases.iter().flat_map(|phase| [phase.offset_ns, phase.duration_ns]);
        [step.offset_ns, step.duration_ns].into_iter().chain(phases)
    });
    of_steps.chain([run.duration_ns, run.lateness_ns]).collect()
}

/// Guarantees that a wall clock that jumps by an hour or half a second, either way and twice in a run,
/// changes no duration and makes none negative, which would be a huge one.
#[tokio::test]
async fn a_jump_of_the_wall_clock_changes_no_duration() {
    let steady = jolted(0).await;
    assert_success(&steady);
    let total = u64::try_from((ANSWER + ECHO).as_nanos()).expect("short");
    assert_eq!(steady.duration_ns, total, "no time passes but the servers': {steady:#?}");
    assert_eq!(steady.latency_ns, Some(u64::try_from(ECHO.as_nanos()).expect("short")));
    for jump_ns in [HOUR_NS, -HOUR_NS, HALF_SECOND_NS, -HALF_SECOND_NS] {
        let run = jolted(jump_ns).await;
        assert_success(&run);
        assert_eq!(run.intended_start, START);
        assert_eq!(run.latency_ns, steady.latency_ns, "{jump_ns}: {run:#?}");
        assert_eq!(times(&run), times(&steady), "{jump_ns}: {run:#?}");
        assert!(run.uncertainty_ns <= total, "{jump_ns}: {run:#?}");
    }
}
