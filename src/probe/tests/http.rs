//! HTTP against servers that answer, err, and break.

use super::super::spec::{
    Action, BodyCheck, FlowChecks, HeaderCheck, HeaderText, HttpStep, HttpVersion, StatusRange,
    TextCheck, TlsOptions,
};
use super::servers::{http, https, linger, raw, read_head, write};
use super::{
    assert_failure, assert_success, attribute, get, median_ms, number, phases, run, run_http,
    run_within, step,
};
use crate::base::secret::Secret;
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use axum::Router;
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::Redirect;
use axum::routing::{any, get as on_get, post};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Answers with what it was asked.
fn mirror() -> Router {
    let answer = |method: axum::http::Method,
                  version: Version,
                  headers: HeaderMap,
                  body: String| async move {
        let headers: serde_json::Map<String, Value> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), Value::from(value.to_str().unwrap_or("?"))))
            .collect();
        axum::Json(json!({
            "method": method.as_str(),
            "version": format!("{version:?}"),
            "headers": headers,
            "body": body,
        }))
    };
    Router::new().route("/", any(answer))
}

fn json_check(json: Value) -> Vec<BodyCheck> {
    vec![BodyCheck::Json(Arc::new(json))]
}

/// Guarantees each version, in the clear and over TLS, and which phases each has.
#[tokio::test]
async fn every_version_is_spoken() {
    let plain = http(mirror()).await;
    let (secure, ca_pem) = https(mirror()).await;
    let tls = TlsOptions { ca_pem: Some(ca_pem), ..TlsOptions::default() };
    for (secured, version, spoken) in [
        (false, HttpVersion::Auto, "HTTP/1.1"),
        (false, HttpVersion::Http2, "HTTP/2.0"),
        (true, HttpVersion::Auto, "HTTP/2.0"),
        (true, HttpVersion::Http1, "HTTP/1.1"),
        (true, HttpVersion::Http2, "HTTP/2.0"),
    ] {
        let url = if secured { secure.url("https", "/") } else { plain.url("http", "/") };
        let ask = HttpStep {
            method: "POST".into(),
            version,
            tls: tls.clone(),
            body: Some("run ${run.id}".into()),
            ..get(url)
        };
        let run = run_http(ask.clone()).await;
        let wanted = json!({"version": spoken, "body": format!("run {}", run.id.to_hex())});
        assert_success(&run);
        let mut expected = vec![Phase::Connect, Phase::Send, Phase::Wait, Phase::Receive];
        if secured {
            expected.insert(1, Phase::Tls);
        }
        assert_eq!(phases(&run.steps[0]), expected, "{spoken}");
        assert_eq!(run.steps[0].status, Some(200));
        assert_eq!(run.latency_ns, Some(run.steps[0].duration_ns));
        let wrong = wanted.to_string().replace(&run.id.to_hex(), "${run.id}");
        let body_checks = json_check(serde_json::from_str(&wrong).expect("JSON"));
        assert_success(&run_http(HttpStep { body_checks, ..ask }).await);
    }
}

/// Guarantees that a name is resolved, and that an address which refuses is passed over.
#[tokio::test]
async fn a_name_has_a_resolve_phase() {
    let server = http(mirror()).await;
    // `localhost` may be ::1 as well, where nobody listens.
    let run = run_http(get(format!("http://localhost:{}/", server.address.port()))).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0])[..2], [Phase::Resolve, Phase::Connect]);
}

/// Guarantees that an answer is judged in full: status, headers and body, each as a check.
#[tokio::test]
async fn answers_are_judged() {
    let answer =
        || async { (StatusCode::SERVICE_UNAVAILABLE, [("x-zone", "b")], r#"{"up":false}"#) };
    let server = http(Router::new().route("/", on_get(answer))).await;
    let ask = HttpStep {
        header_checks: vec![HeaderCheck {
            name: "x-zone".into(),
            text: TextCheck::Equals("a".into()),
        }],
        body_checks: json_check(json!({"up": true})),
        ..get(server.url("http", "/"))
    };
    let run = run_http(ask.clone()).await;
    assert_failure(&run, FailureReason::Status, r#"found: 503; it says: {"up":false}"#);
    let passed: Vec<bool> = run.steps[0].checks.iter().map(|check| check.passed).collect();
    assert_eq!(passed, [false, false, false]);
    assert_eq!((run.latency_ns, run.steps[0].status), (None, Some(503)));

    let status = vec![StatusRange { first: 500, last: 599 }];
    let run = run_http(HttpStep { status, header_checks: Vec::new(), ..ask }).await;
    assert_failure(&run, FailureReason::Check, "json.up is false, not true");
    assert!(run.steps[0].checks[0].passed);
}

/// Guarantees that a mute server costs the timeout, not more, and that the wait is absent.
#[tokio::test]
async fn a_mute_server_costs_the_timeout() {
    let server = raw(linger).await;
    let timeout = Duration::from_millis(300);
    let steps = vec![step("1", Action::Http(get(server.url("http", "/"))))];
    let run = run_within(timeout, steps).await;
    assert_failure(
        &run,
        FailureReason::Timeout,
        "timeout of 300ms passed while waiting for the answer",
    );
    assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Send]);
    assert!(run.duration_ns >= 300_000_000 && run.duration_ns < 2_000_000_000);
    assert_eq!(run.latency_ns, None);
}

/// Guarantees that every way to break off is the peer's closing, and says where it happened.
#[tokio::test]
async fn broken_connections_are_closed_ones() {
    let check = async |answer: &'static str, reset: bool, part: &str| {
        let server = raw(move |mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, answer).await;
            if reset {
                stream.set_zero_linger().expect("a socket");
            } else {
                drop(stream.shutdown().await);
                linger(stream).await;
            }
        });
        let run = run_http(get(server.await.url("http", "/"))).await;
        assert_failure(&run, FailureReason::Closed, part);
    };
    check("", false, "waiting for the answer").await;
    check("", true, "waiting for the answer").await;
    check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", false, "reading the body").await;
}

/// Guarantees that nonsense is a protocol failure.
#[tokio::test]
async fn nonsense_is_a_protocol_failure() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, "SSH-2.0-nonsense\r\n").await;
        linger(stream).await;
    });
    let run = run_http(get(server.await.url("http", "/"))).await;
    assert_failure(&run, FailureReason::Protocol, "waiting for the answer");
}

/// Guarantees that certificates are verified, by name and authority, unless that is waived.
#[tokio::test]
async fn certificates_are_verified() {
    let (server, ca_pem) = https(mirror()).await;
    let ask = |tls: TlsOptions| HttpStep { tls, ..get(server.url("https", "/")) };
    let ca = TlsOptions { ca_pem: Some(ca_pem), ..TlsOptions::default() };
    let foreign = Some(https(mirror()).await.1);
    let run = run_http(ask(TlsOptions { ca_pem: foreign, ..TlsOptions::default() })).await;
    assert_failure(&run, FailureReason::Tls, "certificate");
    assert_eq!(phases(&run.steps[0]), [Phase::Connect]);
    let other = Some("other.test".to_owned());
    let run = run_http(ask(TlsOptions { server_name: other, ..ca.clone() })).await;
    assert_failure(&run, FailureReason::Tls, "other.test");
    let named = Some("localhost".to_owned());
    assert_success(&run_http(ask(TlsOptions { server_name: named, ..ca })).await);
    let waived = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    assert_success(&run_http(ask(waived)).await);
}

/// Guarantees that a server without TLS, and one that is mute in the handshake, are told apart.
#[tokio::test]
async fn handshakes_fail_as_such() {
    let plain = http(mirror()).await;
    let run = run_http(get(plain.url("https", "/"))).await;
    assert_failure(&run, FailureReason::Tls, "the TLS handshake");
    let mute = raw(linger).await;
    let steps = vec![step("1", Action::Http(get(mute.url("https", "/"))))];
    let run = run_within(Duration::from_millis(200), steps).await;
    assert_failure(&run, FailureReason::Timeout, "the TLS handshake");
}

/// Guarantees that a port where nobody listens and a name that nobody has are told apart.
#[tokio::test]
async fn refused_and_unresolved_are_told_apart() {
    let address = raw(linger).await.address;
    let run = run_http(get(format!("http://{address}/"))).await;
    assert_failure(&run, FailureReason::Connect, &address.to_string());
    assert!(phases(&run.steps[0]).is_empty());
    let label = "x".repeat(64);
    let run = run_http(get(format!("http://{label}.invalid/"))).await;
    assert_failure(&run, FailureReason::Resolve, "resolving");
    assert!(phases(&run.steps[0]).is_empty());
}

/// Guarantees that redirects are followed only when asked for, and no further than asked.
#[tokio::test]
async fn redirects_are_followed_when_asked_for() {
    let router = Router::new()
        .route("/a", post(|| async { Redirect::to("/b") }))
        .route("/b", on_get(|| async { Redirect::temporary("/c") }))
        .route("/c", on_get(|body: String| async move { format!("end{body}") }));
    let server = http(router).await;
    let ask = |max_redirects| HttpStep {
        method: "POST".into(),
        body: Some("body".into()),
        max_redirects,
        body_checks: vec![BodyCheck::Text(TextCheck::Equals("end".into()))],
        ..get(server.url("http", "/a"))
    };
    let run = run_http(ask(0)).await;
    assert_failure(&run, FailureReason::Status, "found: 303; it redirects to /b");
    assert_failure(&run_http(ask(1)).await, FailureReason::Status, "it redirects to /c");
    let run = run_http(ask(2)).await;
    assert_success(&run);
    let waits = run.steps[0].phases.iter().filter(|timing| timing.phase == Phase::Wait);
    assert_eq!(waits.count(), 3, "every hop is measured");
}

/// Guarantees that secrets do not follow a redirect to another server.
#[tokio::test]
async fn secrets_stay_with_their_server() {
    let other = http(mirror()).await;
    let place = other.url("http", "/");
    let router = Router::new().route("/", on_get(move || async move { Redirect::to(&place) }));
    let server = http(router).await;
    let header = |name: &str, text| (name.to_owned(), text);
    let ask = HttpStep {
        max_redirects: 1,
        headers: vec![
            header("x-key", HeaderText::Secret(Secret::new("hush"))),
            header("cookie", HeaderText::Plain("hush".into())),
            header("x-open", HeaderText::Plain("fine".into())),
        ],
        body_checks: vec![
            BodyCheck::Json(Arc::new(json!({"headers": {"x-open": "fine"}}))),
            BodyCheck::Text(TextCheck::Contains("hush".into())),
        ],
        ..get(format!("http://me:hush@{}/", server.address))
    };
    let run = run_http(ask).await;
    assert_failure(&run, FailureReason::Check, "body contains \"hush\"");
    assert!(run.steps[0].checks[1].passed);
    assert!(!format!("{run:?}").contains("aHVzaA"), "credentials of the URL are not shown");
}

/// Guarantees that every request is marked as synthetic and belongs to the run's trace.
#[tokio::test]
async fn requests_are_marked() {
    let (server, _) = https(mirror()).await;
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let marks = json!({"headers": {
            "baggage": "user_agent.synthetic.type=test,radiosonde.probe.name=probe",
            "user-agent": super::super::marking::user_agent(),
        }});
        let ask = HttpStep {
            version,
            body_checks: json_check(marks),
            tls: TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() },
            ..get(server.url("https", "/"))
        };
        let mut mirror = step("1", Action::Http(ask));
        mirror.capture = vec![("parent".into(), "/headers/traceparent".into())];
        // What was captured comes back in the words of a failure: the only way out of a run.
        let unequal = HttpStep {
            tls: TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() },
            body: Some("${parent}".into()),
            body_checks: vec![BodyCheck::Text(TextCheck::Equals("${1.parent}".into()))],
            ..get(server.url("https", "/"))
        };
        let run = run(vec![mirror, step("2", Action::Http(unequal))]).await;
        let span: String = run.steps[0].span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let parent = format!("00-{}-{span}-01", run.id.to_hex());
        assert_failure(&run, FailureReason::Check, &parent);
    }
}

/// Guarantees that phases tell where the time went: delays that the server inserts are found in
/// their phase and in no other.
#[tokio::test]
async fn phases_tell_where_the_time_went() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1").await;
        tokio::time::sleep(Duration::from_millis(160)).await;
        write(&mut stream, "2").await;
    })
    .await;
    let mut runs: Vec<ProbeRun> = Vec::new();
    for _ in 0..5 {
        let run = run_http(get(server.url("http", "/"))).await;
        assert_success(&run);
        runs.push(run);
    }
    let check = |phase, least, most| {
        let median = median_ms(&runs, phase);
        assert!((least..most).contains(&median), "{phase:?}: {median} ms");
    };
    check(Phase::Connect, 0, 40);
    check(Phase::Send, 0, 40);
    check(Phase::Wait, 79, 140);
    check(Phase::Receive, 159, 260);
    let gap = |run: &ProbeRun| {
        let sum: u64 = run.steps[0].phases.iter().map(|timing| timing.duration_ns).sum();
        run.duration_ns.checked_sub(sum).expect("phases do not add up to more than the run")
    };
    let least = runs.iter().map(gap).min().expect("five runs");
    assert!(least < 20_000_000, "{least} ns belong to no phase");
}

/// Guarantees the bounds: a long body is counted in full, kept in part, and not read as JSON.
#[tokio::test]
async fn long_bodies_are_counted_and_not_kept() {
    let body = Arc::new("x".repeat(3 << 20));
    let answer = move || async move { body.as_str().to_owned() };
    let server = http(Router::new().route("/", on_get(answer))).await;
    let ask = |body_checks| HttpStep { body_checks, ..get(server.url("http", "/")) };
    let long = run_http(ask(vec![BodyCheck::MaxBytes(3 << 20)])).await;
    assert_success(&long);
    let longer = run_http(ask(vec![BodyCheck::MaxBytes((3 << 20) - 1)])).await;
    assert_failure(&longer, FailureReason::Check, "3145728 bytes");
    let json = run_http(ask(json_check(json!({})))).await;
    assert_failure(&json, FailureReason::Check, "too long to be read as JSON");
}

/// Guarantees that what cannot be sent is our own fault, and that the value of a secret is not said.
#[tokio::test]
async fn what_cannot_be_sent_is_a_local_failure() {
    let check = async |ask: HttpStep, part: &str| {
        assert_failure(&run_http(ask).await, FailureReason::Local, part);
    };
    check(get("gopher://x/"), "scheme must be http or https").await;
    check(get("http://127.0.0.1:1/${nobody}"), "`nobody` has no value").await;
    check(HttpStep { method: "GE T".into(), ..get("http://127.0.0.1:1/") }, "method").await;
}

/// A body in three chunks: with the head, after 40 ms, and after 120 ms more.
fn streaming() -> Router {
    let chunk = |(text, ms): (&'static str, u64)| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok::<_, std::convert::Infallible>(text)
    };
    let answer = move || async move {
        let chunks = futures::stream::iter([("a", 0), ("b", 40), ("c", 120)]);
        axum::body::Body::from_stream(futures::StreamExt::then(chunks, chunk))
    };
    Router::new().route("/", on_get(answer))
}

/// Guarantees that the chunks of an answer that streams are told apart by when they came, over both
/// versions, and judged.
#[tokio::test]
async fn streamed_answers_are_judged_by_their_flow() {
    let server = http(streaming()).await;
    let fine = FlowChecks {
        first_byte_within: Some(Duration::from_secs(10)),
        max_gap: Some(Duration::from_secs(10)),
        min_chunks: Some(3),
    };
    let short = Some(Duration::from_millis(80));
    for (version, spoken) in [(HttpVersion::Http1, "1.1"), (HttpVersion::Http2, "2")] {
        let url = server.url("http", "/");
        let ask = |flow_checks| HttpStep { version, flow_checks, ..get(url.clone()) };
        let run = run_http(ask(fine)).await;
        assert_success(&run);
        let step = &run.steps[0];
        assert_eq!(attribute(step, "network.protocol.version").as_deref(), Some(spoken));
        assert_eq!(number(step, "http.response.chunks"), Some(3), "{step:#?}");
        let gap = number(step, "http.response.max_gap_ns").expect("it is told");
        assert!((119_000_000..1_000_000_000).contains(&gap), "{gap}");
        assert!(run.phase_ns(Phase::Receive) >= Some(159_000_000), "{step:#?}");

        let run = run_http(ask(FlowChecks { max_gap: short, ..fine })).await;
        assert_failure(
            &run,
            FailureReason::Check,
            "nothing is waited for longer than 80ms, found: 1",
        );
        let run = run_http(ask(FlowChecks { min_chunks: Some(4), ..fine })).await;
        assert_failure(&run, FailureReason::Check, "in at least 4 chunks, found: 3");
    }
}

/// Guarantees that an answer whose first byte is slow is told, and that frames which one read brings
/// are one chunk: what a proxy held back is no stream.
#[tokio::test]
async fn what_was_held_back_is_one_chunk() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunks = "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n";
        write(&mut stream, format!("{head}{chunks}")).await;
        linger(stream).await;
    })
    .await;
    let ask = |flow_checks| HttpStep { flow_checks, ..get(server.url("http", "/")) };
    let two = FlowChecks { min_chunks: Some(2), ..FlowChecks::default() };
    let run = run_http(ask(two)).await;
    assert_failure(&run, FailureReason::Check, "in at least 2 chunks, found: 1");
    let within = Some(Duration::from_millis(40));
    let run =
        run_http(ask(FlowChecks { first_byte_within: within, ..FlowChecks::default() })).await;
    assert_failure(&run, FailureReason::Check, "the first byte comes within 40ms, found: ");
}
