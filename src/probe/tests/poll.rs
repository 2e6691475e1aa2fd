//! Polling: servers that hold requests, answer at once, close, and err.

use super::super::spec::{
    Action, Expect, HttpStep, PollCursor, PollStep, StatusRange, Step, TextCheck, TlsOptions,
};
use super::servers::{Server, http, https, linger, raw, read_head, write};
use super::{
    assert_failure, assert_success, attribute, expect_json, get, phases, run, run_within, step,
};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::{get as on_get, post};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

fn poll(url: impl Into<String>) -> PollStep {
    PollStep {
        url: url.into(),
        headers: Vec::new(),
        every: None,
        wait: Duration::from_secs(30),
        items: None,
        cursor: None,
        empty: [204, 304].map(|status| StatusRange { first: status, last: status }).to_vec(),
        first_answer_within: None,
        expect: None,
        tls: TlsOptions::default(),
    }
}

fn items(url: impl Into<String>) -> PollStep {
    let cursor = Some(PollCursor::Json("/next".into()));
    PollStep { items: Some("/messages".into()), cursor, ..poll(url) }
}

async fn run_poll(ask: PollStep) -> ProbeRun {
    run(vec![step("1", Action::Poll(ask))]).await
}

/// A room of one message at a time: asked for what is after it, it holds the request.
fn room() -> Router {
    let (said, _) = watch::channel((0_u64, String::new()));
    type Said = Arc<watch::Sender<(u64, String)>>;
    let updates = |State(said): State<Said>, Query(asked): Query<HashMap<String, String>>| async move {
        let mut heard = said.subscribe();
        let after = asked.get("after").and_then(|after| after.parse::<u64>().ok());
        let Some(after) = after else {
            return axum::Json(json!({ "messages": [], "next": heard.borrow().0.to_string() }));
        };
        let (number, text) = heard.wait_for(|(number, _)| *number > after).await.unwrap().clone();
        axum::Json(json!({ "messages": [{ "text": text }], "next": number }))
    };
    let say = |State(said): State<Said>, text: String| async move {
        said.send_modify(|(number, last)| (*number, *last) = (*number + 1, text));
    };
    Router::new()
        .route("/updates", on_get(updates))
        .route("/say", post(say))
        .with_state(Arc::new(said))
}

fn delivery(base: &str, tls: TlsOptions, count: u32) -> Vec<Step> {
    let ask = PollStep {
        first_answer_within: Some(Duration::from_secs(10)),
        tls: tls.clone(),
        ..items(format!("{base}/updates?after=${{poll.cursor}}"))
    };
    let say = HttpStep {
        method: "POST".into(),
        body: Some("${run.id}".into()),
        tls,
        ..get(format!("{base}/say"))
    };
    let expect =
        Expect { since: Some("alice".into()), ..expect_json(json!({ "text": "${run.id}" })) };
    vec![
        Step { count, ..step("bob", Action::Poll(ask)) },
        step("alice", Action::Http(say)),
        step("3", Action::Expect { on: vec!["bob".into()], expect }),
    ]
}

/// Guarantees that a message reaches a request that is held, over both versions, and that the phases
/// and the account of the step that opened the stream are there.
#[tokio::test]
async fn a_held_request_delivers() {
    let plain = http(room()).await;
    let (secure, pem) = https(room()).await;
    let tls = TlsOptions { ca_pem: Some(pem), ..TlsOptions::default() };
    let cases = [
        (plain.url("http", ""), TlsOptions::default(), "1.1"),
        (secure.url("https", ""), tls, "2"),
    ];
    for (base, tls, version) in cases {
        let run = run(delivery(&base, tls, 1)).await;
        assert_success(&run);
        let bob = &run.steps[0];
        let opened: Vec<Phase> =
            phases(bob).into_iter().filter(|phase| *phase != Phase::Tls).collect();
        assert_eq!(opened, [Phase::Connect, Phase::Send, Phase::Wait, Phase::Receive]);
        assert_eq!(attribute(bob, "network.protocol.version").as_deref(), Some(version));
        assert_eq!(attribute(bob, "poll.redials").as_deref(), Some("0"), "{bob:#?}");
        assert_eq!(
            (bob.status, attribute(bob, "poll.empty").as_deref()),
            (Some(200), Some("1")),
            "{bob:#?}"
        );
        assert_eq!(run.latency_ns, run.steps[2].message_latency_ns);
    }
}

/// Guarantees that a message for many reaches all who poll.
#[tokio::test]
async fn many_may_poll() {
    let server = http(room()).await;
    let run = run(delivery(&server.url("http", ""), TlsOptions::default(), 20)).await;
    assert_success(&run);
    let polls = run.steps[0].attributes.iter().filter(|(name, _)| name == "poll.polls").count();
    assert_eq!(polls, 1, "the first speaks for all");
}

/// A server that answers each request with the next of these, then stays silent; and what it was asked.
async fn script<const N: usize>(answers: [&'static str; N]) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let server = raw(move |mut stream| {
        let log = Arc::clone(&log);
        async move {
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                let number = log.lock().len();
                log.lock().push(head);
                let Some(answer) = answers.get(number) else { return linger(stream).await };
                write(&mut stream, answer).await;
                if answer.contains("connection: close") {
                    return;
                }
            }
        }
    });
    (server.await, asked)
}

/// A held request instead of an answer.
const SILENCE: &str = "";

fn request_lines(asked: &Mutex<Vec<String>>) -> Vec<String> {
    let first = |head: &String| head.lines().next().unwrap_or_default().to_owned();
    asked.lock().iter().map(first).collect()
}

/// Guarantees that each element is a message of its own, that the cursor goes on, escaped, and that an
/// answer without news leaves it.
#[tokio::test]
async fn the_cursor_goes_on() {
    let (server, asked) = script([
        "HTTP/1.1 200 OK\r\ncontent-length: 47\r\n\r\n{\"messages\":[{\"n\":1},{\"n\":2}],\"next\":\"a b&c=1\"}\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 33\r\n\r\n{\"messages\":[{\"n\":3}],\"next\":\"z\"}",
    ])
    .await;
    let ask = items(server.url("http", "/u?after=${poll.cursor}"));
    let wait = |n: u32| {
        let on = vec!["bob".to_owned()];
        step(&n.to_string(), Action::Expect { on, expect: expect_json(json!({ "n": n })) })
    };
    let run = run(vec![step("bob", Action::Poll(ask)), wait(1), wait(2), wait(3)]).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Send], "its answer may be held");
    let lines = request_lines(&asked);
    let of = |cursor: &str| format!("GET /u?after={cursor} HTTP/1.1");
    assert_eq!(lines[..3], [of(""), of("a+b%26c%3D1"), of("a+b%26c%3D1")]);
    assert_eq!(attribute(&run.steps[0], "poll.empty").as_deref(), Some("1"));
    assert!(asked.lock()[2].contains("traceparent: 00-"), "every request is marked");
}

/// Guarantees that a connection which the server closes is dialled anew, and that a header may be the
/// cursor.
#[tokio::test]
async fn a_closed_connection_is_dialled_again() {
    let (server, asked) = script([
        "HTTP/1.1 200 OK\r\nx-next: 7\r\nconnection: close\r\ncontent-length: 1\r\n\r\na",
        "HTTP/1.1 200 OK\r\nx-next: 8\r\nconnection: close\r\ncontent-length: 1\r\n\r\nb",
        "HTTP/1.1 200 OK\r\nx-next: 9\r\ncontent-length: 1\r\n\r\nc",
    ])
    .await;
    let text = Some(TextCheck::Equals("c".into()));
    let ask = PollStep {
        cursor: Some(PollCursor::Header("x-next".into())),
        expect: Some(Expect { json: None, text, event: None, within: None, since: None }),
        ..poll(server.url("http", "/${poll.cursor}"))
    };
    let run = run_poll(ask).await;
    assert_success(&run);
    assert_eq!(
        request_lines(&asked)[..3],
        ["GET / HTTP/1.1", "GET /7 HTTP/1.1", "GET /8 HTTP/1.1"]
    );
    assert_eq!(attribute(&run.steps[0], "poll.redials").as_deref(), Some("2"));
}

/// Guarantees that what is wrong with an answer ends the stream and is said.
#[tokio::test]
async fn wrong_answers_end_the_stream() {
    let check = async |answers: [&'static str; 2], reason, part: &str| {
        let (server, _) = script(answers).await;
        let ask = PollStep {
            expect: Some(expect_json(json!({ "n": 1 }))),
            wait: Duration::from_millis(200),
            ..items(server.url("http", "/"))
        };
        assert_failure(&run_poll(ask).await, reason, part);
    };
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"messages\":[]}";
    let broken = "HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\ndown";
    let words = "expected that status is 200, found: 500; it says: down";
    check([broken, SILENCE], FailureReason::Status, words).await;
    check([empty, broken], FailureReason::Status, words).await;
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n<p>";
    check([empty, page], FailureReason::Check, "the answer is not JSON").await;
    let other = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    check([other, SILENCE], FailureReason::Check, "the answer has nothing at /messages").await;
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"messages\":1}";
    check([one, SILENCE], FailureReason::Check, "at /messages of the answer is no list: 1").await;
    check(
        [empty, SILENCE],
        FailureReason::Protocol,
        "did not answer within 200ms, so it is broken",
    )
    .await;
    let cut = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 99\r\n\r\n{";
    check([cut, SILENCE], FailureReason::Closed, "reading an answer").await;
}

/// Guarantees that the first answer is judged by its own budget, late told from lost.
#[tokio::test]
async fn the_first_answer_has_a_budget() {
    let slow = Router::new().route(
        "/",
        on_get(|| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "x"
        }),
    );
    let server = http(slow).await;
    let ask =
        |url, ms| PollStep { first_answer_within: Some(Duration::from_millis(ms)), ..poll(url) };
    let run = run_poll(ask(server.url("http", "/"), 20)).await;
    assert_failure(
        &run,
        FailureReason::Late,
        "the first answer comes within 20ms, but it came after",
    );
    assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Send, Phase::Wait, Phase::Receive]);
    let mute = raw(linger).await;
    let steps = vec![step("1", Action::Poll(ask(mute.url("http", "/"), 20)))];
    let run = run_within(Duration::from_millis(200), steps).await;
    assert_failure(&run, FailureReason::Lost, "it never came");
}

/// A server that counts what it is asked and answers with the count, or with nothing new.
async fn counter(has_news: bool) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move |State(asked): State<Arc<AtomicUsize>>| async move {
        let number = asked.fetch_add(1, Ordering::Relaxed) + 1;
        let status = if has_news { 200_u16 } else { 304 };
        (axum::http::StatusCode::from_u16(status).unwrap(), json!({ "n": number }).to_string())
    };
    let router = Router::new().route("/", on_get(answer)).with_state(Arc::clone(&asked));
    (http(router).await, asked)
}

/// Guarantees that short polls go out at their own times: the fifth answer cannot come before four
/// intervals are over.
#[tokio::test]
async fn short_polls_keep_their_times() {
    let (server, _) = counter(true).await;
    let ask = PollStep {
        every: Some(Duration::from_millis(40)),
        expect: Some(expect_json(json!({ "n": 5 }))),
        ..poll(server.url("http", "/"))
    };
    let run = run_poll(ask).await;
    assert_success(&run);
    assert!(run.latency_ns >= Some(159_000_000), "{run:#?}");
    assert_eq!(attribute(&run.steps[0], "poll.redials").as_deref(), Some("0"));
}

/// Guarantees that a server which says at once that there is nothing new is not hammered, and that this
/// is noted.
#[tokio::test]
async fn a_server_that_holds_nothing_is_spared() {
    let (server, asked) = counter(false).await;
    let ask = PollStep { expect: Some(expect_json(json!({}))), ..poll(server.url("http", "/")) };
    let timeout = Duration::from_millis(600);
    let run = run_within(timeout, vec![step("1", Action::Poll(ask))]).await;
    assert_failure(&run, FailureReason::Lost, "it never came (nothing else did)");
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=10).contains(&asked), "asked {asked} times");
    assert!(attribute(&run.steps[0], "poll.held_back").is_some(), "{run:#?}");
}
