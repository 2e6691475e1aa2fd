//! Books on real streams: the network's faults are on them, ours are not the target's.

use super::super::ledger::LedgerStep;
use super::super::spec::{Action, Repeat, Step};
use super::servers::{Server, websocket};
use super::{assert_failure, assert_success, connect, number, phases, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use futures::{SinkExt, StreamExt};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// What the server does to the message of that number: how often it sends it back, and whether only
/// after the next one.
type Fault = fn(u64) -> (usize, bool);

/// An echo with faults; it closes after message `last`.
async fn faulty(fault: Fault, last: u64) -> Server {
    websocket(move |mut socket| async move {
        let mut held: Option<(Message, usize)> = None;
        while let Some(Ok(message)) = socket.next().await {
            let Ok(text) = message.to_text() else { continue };
            let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            let Some(number) = json["n"].as_u64() else { continue };
            drop(socket.send(Message::text(r#"{"type":"presence"}"#)).await);
            let (copies, is_held) = fault(number);
            let now =
                if is_held { held.replace((message, copies)) } else { Some((message, copies)) };
            let later = if is_held { None } else { held.take() };
            for (message, copies) in now.into_iter().chain(later) {
                for _ in 0..copies {
                    drop(socket.send(message.clone()).await);
                }
            }
            if number == last {
                break;
            }
        }
        drop(socket.close(None).await);
    })
    .await
}

fn books(messages: Option<u64>) -> LedgerStep {
    LedgerStep {
        sequence: "/n".to_owned(),
        publisher: None,
        publishers: None,
        messages,
        first: 1,
        wraps_at: None,
        listen: Duration::from_secs(10),
        settle: Duration::from_millis(1),
        max_lost: 0,
        max_duplicates: 0,
        max_reordered: 0,
    }
}

/// Sends a hundred numbered messages and keeps books on what comes back.
async fn hundred(server: &Server, ledger: LedgerStep) -> ProbeRun {
    let send = r#"{"n":${run.sequence},"run":"${run.id}"}"#.to_owned();
    let repeat = Repeat { count: 100, gap: Duration::from_millis(1) };
    let steps: Vec<Step> = vec![
        step("chat", Action::WebSocket(connect(server.url("ws", "/")))),
        step("say", Action::Send { on: "chat".into(), send, repeat }),
        step("books", Action::Ledger { on: "chat".into(), ledger }),
    ];
    run_within(Duration::from_secs(20), steps).await
}

fn booked(run: &ProbeRun, sum: &str) -> i64 {
    let step = run.steps.last().expect("three steps");
    number(step, &format!("ledger.{sum}")).expect(sum)
}

/// Guarantees that a whole stream passes as soon as the last message is there, other messages ignored,
/// and that the messages were sent a millisecond apart.
#[tokio::test]
async fn a_whole_stream_passes() {
    let server = faulty(|_| (1, false), 0).await;
    let run = hundred(&server, books(Some(100))).await;
    assert_success(&run);
    assert_eq!(booked(&run, "received"), 100);
    assert!(run.steps[1].duration_ns >= 99_000_000, "{run:#?}");
    assert_eq!(phases(&run.steps[1]), [Phase::Send], "a hundred messages are one phase");
    assert!(run.steps[2].duration_ns < 9_000_000_000, "it did not wait for more");
}

/// Guarantees exact books on what a server did: what it lost, what it doubled, what it held back.
#[tokio::test]
async fn faults_are_on_the_books() {
    let fault: Fault = |n| match n {
        10 | 11 | 90 => (0, false),
        20 => (2, false),
        30 => (1, true),
        _ => (1, false),
    };
    let server = faulty(fault, 100).await;
    let run = hundred(&server, books(Some(100))).await;
    assert_failure(&run, FailureReason::Closed, "but 3 of 100 were");
    let sums = ["received", "lost", "duplicates", "reordered", "gaps", "longest_gap"];
    let found = sums.map(|sum| booked(&run, sum));
    assert_eq!(found, [98, 3, 1, 1, 2, 2]);
    let lenient =
        LedgerStep { max_lost: 3, max_duplicates: 1, max_reordered: 1, ..books(Some(100)) };
    assert_success(&hundred(&server, lenient).await);
}

/// Guarantees that silence fails, whether it is known what was sent or not.
#[tokio::test]
async fn silence_is_a_loss() {
    let server = faulty(|_| (0, false), 0).await;
    let listen = Duration::from_millis(100);
    let run = hundred(&server, LedgerStep { listen, ..books(Some(100)) }).await;
    assert_failure(&run, FailureReason::Lost, "but 100 of 100 were");
    let run = hundred(&server, LedgerStep { listen, ..books(None) }).await;
    assert_failure(&run, FailureReason::Lost, "no message with a number at /n came");
}

/// Guarantees that what is doubled after the last number came is seen as well.
#[tokio::test]
async fn the_last_message_may_come_twice() {
    let server = websocket(|mut socket| async move {
        let mut late = None;
        while let Some(Ok(message)) = socket.next().await {
            if message.to_text().is_ok_and(|text| text.contains(r#""n":100,"#)) {
                late = Some(message.clone());
            }
            drop(socket.send(message).await);
            if let Some(again) = late.take() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(socket.send(again).await);
            }
        }
    })
    .await;
    let settle = Duration::from_secs(1);
    let run = hundred(&server, LedgerStep { settle, ..books(Some(100)) }).await;
    assert_failure(&run, FailureReason::Check, "doubled, but 1 of 100 were");
}

/// Guarantees that a publisher who has not begun when others are done is waited for, and that one who
/// never says anything is missed.
#[tokio::test]
async fn every_publisher_is_waited_for() {
    let server = websocket(|mut socket| async move {
        let say = |from: &str, n: u64| Message::text(format!(r#"{{"n":{n},"from":"{from}"}}"#));
        for n in 1..=3 {
            drop(socket.send(say("alice", n)).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for n in [1, 3] {
            drop(socket.send(say("bob", n)).await);
        }
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    let run = async |publishers| {
        let (publisher, listen) = (Some("/from".to_owned()), Duration::from_secs(1));
        let ledger = LedgerStep { publisher, publishers, listen, ..books(Some(3)) };
        run_within(
            Duration::from_secs(20),
            vec![
                step("chat", Action::WebSocket(connect(server.url("ws", "/")))),
                step("books", Action::Ledger { on: "chat".into(), ledger }),
            ],
        )
        .await
    };
    for publishers in [None, Some(2)] {
        let run = run(publishers).await;
        assert_failure(&run, FailureReason::Lost, "but 1 of 6 were");
    }
    let run = run(Some(3)).await;
    assert_failure(&run, FailureReason::Lost, "all 3 publishers are heard, but nothing came of 1");
    assert_failure(&run, FailureReason::Lost, "but 4 of 9 were");
}
