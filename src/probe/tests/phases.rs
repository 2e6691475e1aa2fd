//! Phases against a server that is slow in each of them by a known time, or gives up in one.

use super::super::spec::{Action, TlsOptions, WebSocketStep};
use super::servers::{Server, acceptor, raw, read_head, write};
use super::{assert_success, connect, expect_json, median_ms, phases, run, step};
use crate::model::probe::{Phase, ProbeRun};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where the server is slow, and by how many milliseconds. Each sleep begins when what the client
/// has sent in that phase was read, so none begins before its phase.
const SLOW: [(Phase, u64); 4] =
    [(Phase::Tls, 10), (Phase::Upgrade, 20), (Phase::Wait, 30), (Phase::Message, 40)];
/// All that a run goes through; the wait is for the pong.
const ALL: [Phase; 6] =
    [Phase::Connect, Phase::Tls, Phase::Upgrade, Phase::Wait, Phase::Send, Phase::Message];
/// A machine under load adds this much to the median of a phase at most.
const MARGIN_MS: u64 = 60;

/// An echo over `wss` that is slow, and breaks off where `gives_up` says.
async fn slow(gives_up: Option<Phase>) -> (Server, Arc<str>) {
    let (acceptor, authority) = acceptor();
    let server = raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let _ = serve(stream, acceptor, gives_up).await;
        }
    });
    (server.await, authority)
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, gives_up: Option<Phase>) -> Option<()> {
    let _ = stream.peek(&mut [0]).await.ok()?;
    dawdle(Phase::Tls, gives_up).await?;
    let mut stream = acceptor.accept(stream).await.ok()?;
    let head = read_head(&mut stream).await;
    dawdle(Phase::Upgrade, gives_up).await?;
    let (_, key) = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let accepted = derive_accept_key(key.as_bytes());
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    write(&mut stream, format!("{answer}sec-websocket-accept: {accepted}\r\n\r\n")).await;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            // The pong leaves when the socket is read on.
            Message::Ping(_) => dawdle(Phase::Wait, gives_up).await?,
            Message::Text(_) => {
                dawdle(Phase::Message, gives_up).await?;
                socket.send(message).await.ok()?;
            }
            _ => {}
        }
    }
    Some(())
}

async fn dawdle(phase: Phase, gives_up: Option<Phase>) -> Option<()> {
    let (_, ms) = SLOW.into_iter().find(|(slow, _)| *slow == phase)?;
    if gives_up == Some(phase) {
        return None;
    }
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Some(())
}

async fn ask(server: &Server, authority: &Arc<str>) -> ProbeRun {
    let socket = WebSocketStep {
        ping: true,
        send: Some(json!({ "type": "echo" }).to_string()),
        expect: Some(expect_json(json!({ "type": "echo" }))),
        tls: TlsOptions { ca_pem: Some(Arc::clone(authority)), ..TlsOptions::default() },
        ..connect(server.url("wss", "/"))
    };
    run(vec![step("1", Action::WebSocket(socket))]).await
}

/// Guarantees that each phase contains the time for which the server was slow in it and no other's,
/// and that phases add up to the run.
#[tokio::test]
async fn phases_are_additive() {
    let (server, authority) = slow(None).await;
    let mut runs = Vec::new();
    for _ in 0..9 {
        let run = ask(&server, &authority).await;
        assert_success(&run);
        assert_eq!(phases(&run.steps[0]), ALL);
        runs.push(run);
    }
    for (phase, ms) in SLOW {
        let shortest = runs.iter().filter_map(|run| run.phase_ns(phase)).min();
        assert!(shortest >= Some(ms * 1_000_000), "{phase:?}: {shortest:?}");
        let median = median_ms(&runs, phase);
        assert!(median <= ms + MARGIN_MS, "{phase:?}: {median} ms");
    }
    for phase in [Phase::Connect, Phase::Send] {
        let median = median_ms(&runs, phase);
        assert!(median < 10, "{phase:?} is nobody's sleep: {median} ms");
    }
    let mut unexplained: Vec<u64> = runs
        .iter()
        .map(|run| {
            let explained: u64 = ALL.iter().filter_map(|phase| run.phase_ns(*phase)).sum();
            let rest = run.duration_ns.checked_sub(explained).expect("phases do not overlap");
            rest.saturating_sub(run.duration_ns / 100)
        })
        .collect();
    unexplained.sort_unstable();
    let median = unexplained[unexplained.len() / 2];
    assert!(median <= 2_000_000, "1 % of the run and {median} ns are in no phase");
}

/// Guarantees that a run which fails in a phase has those before it, complete, and neither it nor
/// those behind it.
#[tokio::test]
async fn a_phase_that_was_not_reached_is_absent() {
    for (gives_up, _) in SLOW {
        let (server, authority) = slow(Some(gives_up)).await;
        let run = ask(&server, &authority).await;
        assert!(!run.succeeded() && !run.is_local_fault(), "{run:#?}");
        let reached: Vec<Phase> = ALL.into_iter().take_while(|phase| *phase != gives_up).collect();
        assert_eq!(phases(&run.steps[0]), reached, "{gives_up:?}: {:?}", run.failure);
        assert!(run.phase_ns(gives_up).is_none());
        for (phase, ms) in SLOW.into_iter().take_while(|(phase, _)| *phase != gives_up) {
            assert!(run.phase_ns(phase) >= Some(ms * 1_000_000), "{phase:?} of {run:#?}");
        }
        assert_eq!(run.latency_ns, None, "there is no value");
    }
}
