//! TCP against servers that answer, speak first, dawdle, and break; dialogues that change to TLS.

use super::super::spec::{Action, ExpectText, TcpStep, TextCheck, TlsOptions, Turn};
use super::servers::{Server, acceptor, linger, raw, write};
use super::{assert_failure, assert_success, median_ms, phases, run, run_within, step};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn contains(text: &str) -> ExpectText {
    ExpectText { text: Some(TextCheck::Contains(text.to_owned())), within: None }
}

fn within(text: &str, ms: u64) -> ExpectText {
    ExpectText { within: Some(Duration::from_millis(ms)), ..contains(text) }
}

fn starts(pattern: &str) -> Turn {
    let pattern = regex::Regex::new(&format!("^{pattern}")).expect("valid");
    Turn::ExpectLine(ExpectText { text: Some(TextCheck::Matches(pattern)), within: None })
}

fn say(text: &str) -> Turn {
    Turn::Send(text.to_owned())
}

fn talk(server: &Server, turns: Vec<Turn>) -> TcpStep {
    TcpStep { url: server.url("tcp", ""), tls: TlsOptions::default(), turns }
}

async fn run_tcp(tcp: TcpStep) -> ProbeRun {
    run(vec![step("1", Action::Tcp(tcp))]).await
}

async fn run_briefly(tcp: TcpStep) -> ProbeRun {
    run_within(Duration::from_millis(300), vec![step("1", Action::Tcp(tcp))]).await
}

/// Sends everything back.
async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    drop(tokio::io::copy(&mut reader, &mut writer).await);
}

/// Guarantees the bare connection, whose value is the connecting.
#[tokio::test]
async fn a_connection_is_enough() {
    let server = raw(linger).await;
    let run = run_tcp(talk(&server, Vec::new())).await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Connect]);
    assert_eq!(run.latency_ns, Some(run.steps[0].duration_ns));
    assert_eq!(run.steps[0].protocol, "tcp");
    let dead = TcpStep { url: "tcp://127.0.0.1:1".into(), ..talk(&server, Vec::new()) };
    assert_failure(&run_tcp(dead).await, FailureReason::Connect, "127.0.0.1:1");
}

/// Guarantees the round trip as the value, templates filled in, and that JSON can be captured.
#[tokio::test]
async fn a_text_goes_there_and_back() {
    let server = raw(echo).await;
    let turns = vec![say(r#"{"id":"${run.id}"}"#), Turn::Expect(contains("${run.id}\"}"))];
    let mut first = step("first", Action::Tcp(talk(&server, turns)));
    first.capture = vec![("id".into(), "/id".into())];
    let turns = vec![say("${id}"), Turn::Expect(contains("${run.id}"))];
    let run = run(vec![first, step("2", Action::Tcp(talk(&server, turns)))]).await;
    assert_success(&run);
    for step in &run.steps {
        assert_eq!(phases(step), [Phase::Connect, Phase::Send, Phase::Message]);
        assert!(step.message_latency_ns < Some(step.duration_ns));
    }
    assert_eq!(run.latency_ns, run.steps[1].message_latency_ns);
}

/// Guarantees that a match may lie across reads, and that a server may have the first word.
#[tokio::test]
async fn a_text_may_come_in_pieces() {
    let server = raw(|mut stream: TcpStream| async move {
        for piece in ["SSH-", "2.", "0-x\r\n"] {
            write(&mut stream, piece).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        linger(stream).await;
    })
    .await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = run_tcp(talk(&server, vec![Turn::Expect(contains("SSH-2.0"))])).await;
        assert_success(&run);
        assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Message]);
        runs.push(run);
    }
    let median = median_ms(&runs, Phase::Message);
    assert!((70..200).contains(&median), "{median} ms");
}

/// Guarantees that late, lost and mute are told apart, each with what came instead.
#[tokio::test]
async fn late_lost_and_mute_are_told_apart() {
    let slow = raw(|mut stream: TcpStream| async move {
        write(&mut stream, "wait\n").await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        write(&mut stream, "ready").await;
        linger(stream).await;
    })
    .await;
    let run = run_tcp(talk(&slow, vec![Turn::Expect(within("ready", 30))])).await;
    assert_failure(&run, FailureReason::Late, r#"a text that contains "ready" comes within 30ms"#);
    assert!(run.latency_ns >= Some(100_000_000));
    assert!(!run.steps[0].checks[0].passed);

    let run = run_briefly(talk(&slow, vec![Turn::Expect(within("never", 30))])).await;
    assert_failure(&run, FailureReason::Lost, "it never came (10 bytes came: wait ready)");

    let mute = raw(linger).await;
    let run = run_briefly(talk(&mute, vec![Turn::Expect(contains("x"))])).await;
    let words = r#"timeout of 300ms passed while waiting over tcp://127.0.0.1"#;
    assert_failure(&run, FailureReason::Timeout, words);
    assert!((300_000_000..2_000_000_000).contains(&run.duration_ns));
}

/// Guarantees that a server that closes is told as such, with what it said before.
#[tokio::test]
async fn a_server_may_close() {
    let rude = raw(|mut stream: TcpStream| async move { write(&mut stream, "busy").await }).await;
    let run = run_tcp(talk(&rude, vec![Turn::Expect(contains("welcome"))])).await;
    assert_failure(&run, FailureReason::Closed, "closed the connection (4 bytes came: busy)");
    let run = run_tcp(talk(&rude, vec![starts("busy")])).await;
    assert_success(&run);
}

/// Guarantees that a server that never stops is not read for ever, whatever bytes it sends.
#[tokio::test]
async fn what_is_read_is_bounded() {
    let flood = raw(|mut stream: TcpStream| async move {
        while stream.write_all(&[0xff; 4096]).await.is_ok() {}
    })
    .await;
    let run = run_tcp(talk(&flood, vec![Turn::Expect(contains("x"))])).await;
    assert_failure(&run, FailureReason::Check, "not within the first 65536 bytes");
    let run = run_tcp(talk(&flood, vec![starts("x")])).await;
    assert_failure(&run, FailureReason::Check, "not within the first 65536 bytes");
}

/// Guarantees TLS from the first byte, and that its certificate counts.
#[tokio::test]
async fn tls_may_come_first() {
    let (acceptor, ca_pem) = acceptor();
    let server = raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut text = [0; 4];
            drop(stream.read_exact(&mut text).await);
            drop(stream.write_all(b"pong").await);
            drop(stream.flush().await);
            let _ = stream.read(&mut text).await;
        }
    })
    .await;
    let secure = |tls| TcpStep {
        url: server.url("tls", ""),
        tls,
        turns: vec![say("ping"), Turn::Expect(contains("pong"))],
    };
    let run = run_tcp(secure(TlsOptions { ca_pem: Some(ca_pem), ..TlsOptions::default() })).await;
    assert_success(&run);
    let expected = [Phase::Connect, Phase::Tls, Phase::Send, Phase::Message];
    assert_eq!(phases(&run.steps[0]), expected);
    let run = run_tcp(secure(TlsOptions::default())).await;
    assert_failure(&run, FailureReason::Tls, "certificate");
}

/// Speaks enough of SMTP to change to TLS; what it says next in the clear is not to be believed.
async fn mail(stream: TcpStream, acceptor: tokio_rustls::TlsAcceptor) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    write(stream.get_mut(), "220-mail.example.com\r\n220 ready\r\n").await;
    drop(stream.read_line(&mut line).await);
    write(stream.get_mut(), "250-SIZE 1000\r\n250 STARTTLS\r\n").await;
    drop(stream.read_line(&mut line).await);
    write(stream.get_mut(), "220 go ahead\r\n").await;
    let Ok(stream) = acceptor.accept(stream.into_inner()).await else { return };
    let mut stream = BufReader::new(stream);
    drop(stream.read_line(&mut line).await);
    let answer = format!("250 you said {}\r\n", line.replace("\r\n", "|"));
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.flush().await);
}

/// Guarantees a dialogue line by line, continuation lines passed over, and the change to TLS in it.
#[tokio::test]
async fn a_dialogue_may_change_to_tls() {
    let (acceptor, ca_pem) = acceptor();
    let server = raw(move |stream| mail(stream, acceptor.clone())).await;
    let turns = |last: &str| {
        vec![
            starts("220 "),
            say("EHLO a\r\n"),
            starts("250 STARTTLS"),
            say("STARTTLS\r\n"),
            starts("220 "),
            Turn::StartTls,
            say("EHLO b\r\n"),
            starts(last),
        ]
    };
    let ask = |ca_pem: Option<Arc<str>>, last: &str| TcpStep {
        tls: TlsOptions { ca_pem, ..TlsOptions::default() },
        ..talk(&server, turns(last))
    };
    let run =
        run_tcp(ask(Some(Arc::clone(&ca_pem)), r"250 you said EHLO a\|STARTTLS\|EHLO b")).await;
    assert_success(&run);
    let found = phases(&run.steps[0]);
    assert_eq!(found[..2], [Phase::Connect, Phase::Message]);
    assert_eq!(found[found.len() - 3..], [Phase::Tls, Phase::Send, Phase::Message]);
    assert_eq!(run.latency_ns, Some(run.steps[0].duration_ns), "the whole dialogue");
    assert!(run.steps[0].attributes.iter().any(|(name, _)| name == "tls.protocol.version"));

    let run = run_tcp(ask(None, "250")).await;
    assert_failure(&run, FailureReason::Tls, "certificate");
    let run = run_tcp(ask(Some(ca_pem), "354")).await;
    assert_failure(&run, FailureReason::Closed, "a line that matches /^354/ comes");
}

/// Guarantees that nothing is sent to where nothing may be written, and that listening is free.
#[tokio::test]
async fn sending_is_writing() {
    let server = raw(|mut stream: TcpStream| async move {
        write(&mut stream, "hello").await;
        linger(stream).await;
    })
    .await;
    // It reaches this machine without being loopback.
    let url = format!("tcp://0.0.0.0:{}", server.address.port());
    let elsewhere = |turns| TcpStep { url: url.clone(), ..talk(&server, turns) };
    assert_success(&run_tcp(elsewhere(vec![Turn::Expect(contains("hello"))])).await);
    let run = run_tcp(elsewhere(vec![say("x")])).await;
    assert_failure(&run, FailureReason::Local, "writing to tcp://0.0.0.0");
    assert_eq!(phases(&run.steps[0]), []);
}

/// Guarantees that what a server said before it was asked does not pass for an answer, neither as a
/// text nor as a line, and that the rest of a line which had begun does not either.
#[tokio::test]
async fn a_greeting_is_no_answer() {
    let server = raw(|mut stream| async move {
        write(&mut stream, b"220-mail.test\r\n220 ready\r\n250 O").await;
        let mut asked = [0; 64];
        let _ = stream.read(&mut asked).await;
        write(&mut stream, b"K\r\n").await;
        linger(stream).await;
    })
    .await;
    let pause = || Turn::ExpectLine(contains("mail.test"));
    let lines = vec![pause(), say("EHLO x\r\n"), starts("250 OK")];
    assert_failure(&run_briefly(talk(&server, lines)).await, FailureReason::Timeout, "250 OK");
    let text = vec![Turn::Expect(contains("ready")), say("x"), Turn::Expect(contains("ready"))];
    assert_failure(&run_briefly(talk(&server, text)).await, FailureReason::Timeout, "ready");
    let both = vec![Turn::Expect(contains("250 O")), say("x"), Turn::Expect(contains("K"))];
    assert_success(&run_tcp(talk(&server, both)).await);
}
