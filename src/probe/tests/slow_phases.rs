//! Phases of event streams, polls and MQTT against servers that are slow in each by a known time. (For
//! WebSockets see `phases`, for gRPC `grpc`; how exact values are in the median is `benches/probe_latency.rs`.)

use super::super::spec::{
    Action, MqttPublish, MqttStep, MqttVersion, PollStep, Qos, SseStep, StatusRange, TextCheck,
    TlsOptions,
};
use super::servers::{Server, linger, raw, read_head, write};
use super::{assert_success, expect_json, median_ms, run, step, subscribe};
use crate::model::probe::{Phase, ProbeRun};
use crate::probe::spec::Expect;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long servers sleep in the first, second and third phase that is theirs.
const SLEEPS_MS: [u64; 3] = [20, 30, 40];
/// A machine under load adds this much to the median of a phase at most.
const MARGIN_MS: u64 = 60;
const RUNS: usize = 9;

/// Runs the step again and again, and asserts that each of the server's sleeps is in its phase, and in
/// no other.
async fn check(action: Action, slow: [Phase; 3]) {
    let mut runs: Vec<ProbeRun> = Vec::new();
    for _ in 0..RUNS {
        let run = run(vec![step("1", action.clone())]).await;
        assert_success(&run);
        runs.push(run);
    }
    for (phase, ms) in slow.into_iter().zip(SLEEPS_MS) {
        let shortest = runs.iter().filter_map(|run| run.phase_ns(phase)).min();
        assert!(shortest >= Some((ms - 1) * 1_000_000), "{phase:?}: {shortest:?} in {runs:#?}");
        let median = median_ms(&runs, phase);
        assert!(median <= ms + MARGIN_MS, "{phase:?}: {median} ms");
    }
    for timing in runs.iter().flat_map(|run| &run.steps[0].phases) {
        let is_known = slow.contains(&timing.phase);
        let is_quick = matches!(timing.phase, Phase::Connect | Phase::Send);
        assert!(is_known || is_quick, "{:?} is nobody's sleep", timing.phase);
    }
    for phase in [Phase::Connect, Phase::Send] {
        assert!(median_ms(&runs, phase) < 10, "{phase:?} is nobody's sleep");
    }
}

async fn dawdle(turn: usize) {
    tokio::time::sleep(Duration::from_millis(SLEEPS_MS[turn])).await;
}

fn wanted() -> Option<Expect> {
    Some(expect_json(json!({ "wanted": true })))
}

/// Guarantees that an event stream's wait is the head's, the first event its own phase, and the message
/// the rest of the way to the match.
#[tokio::test]
async fn of_an_event_stream() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        dawdle(0).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
        dawdle(1).await;
        write(&mut stream, "data: {}\n\n").await;
        dawdle(2).await;
        write(&mut stream, "data: {\"wanted\":true}\n\n").await;
        linger(stream).await;
    })
    .await;
    let ask = SseStep { expect: wanted(), ..subscribe(server.url("http", "/")) };
    check(Action::Sse(ask), [Phase::Wait, Phase::FirstEvent, Phase::Message]).await;
}

/// Guarantees that a poll's first answer has its wait and its transfer, and what later answers bring is
/// the message.
#[tokio::test]
async fn of_a_poll() {
    let server = raw(|mut stream| async move {
        read_head(&mut stream).await;
        dawdle(0).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{").await;
        dawdle(1).await;
        write(&mut stream, "}").await;
        read_head(&mut stream).await;
        dawdle(2).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"wanted\":true}").await;
        linger(stream).await;
    })
    .await;
    let ask = PollStep {
        url: server.url("http", "/"),
        headers: Vec::new(),
        every: None,
        wait: Duration::from_secs(10),
        items: None,
        cursor: None,
        empty: vec![StatusRange { first: 204, last: 204 }],
        first_answer_within: None,
        expect: wanted(),
        tls: TlsOptions::default(),
    };
    check(Action::Poll(ask), [Phase::Wait, Phase::Receive, Phase::Message]).await;
}

/// A broker of version 3.1.1 for one client, that takes its time over everything.
async fn slow_broker() -> Server {
    raw(|mut stream| async move {
        while let Some((kind, packet)) = read_packet(&mut stream).await {
            match (kind >> 4, &packet[..]) {
                (1, _) => {
                    dawdle(0).await;
                    write(&mut stream, [0x20, 2, 0, 0]).await;
                }
                (8, [high, low, ..]) => {
                    dawdle(1).await;
                    write(&mut stream, [0x90, 3, *high, *low, 0]).await;
                }
                (3, _) => {
                    dawdle(2).await;
                    let length = u8::try_from(packet.len()).expect("short");
                    write(&mut stream, [&[kind, length][..], &packet].concat()).await;
                }
                _ => {}
            }
        }
    })
    .await
}

/// The first byte of a packet and what follows its length, which must be short.
async fn read_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let length = stream.read_u8().await.ok().filter(|length| *length < 128)?;
    let mut packet = vec![0; usize::from(length)];
    let _ = stream.read_exact(&mut packet).await.ok()?;
    Some((kind, packet))
}

/// Guarantees that the handshake, the subscription and the message of MQTT are apart.
#[tokio::test]
async fn of_mqtt() {
    let server = slow_broker().await;
    let message = Some("wanted".into());
    let publish =
        MqttPublish { topic: "a/${run.id}".into(), message, qos: Qos::AtMostOnce, retain: false };
    let text = Some(TextCheck::Equals("wanted".to_owned()));
    let ask = MqttStep {
        url: server.url("mqtt", ""),
        version: MqttVersion::V3_1_1,
        client_id: None,
        username: None,
        password: None,
        keep_alive: Duration::from_secs(60),
        clean_start: true,
        session_expiry: None,
        subscribe: vec!["a/${run.id}".into()],
        qos: Qos::AtMostOnce,
        publish: Some(publish),
        resume: false,
        ping: false,
        expect: Some(Expect { json: None, text, event: None, within: None, since: None }),
        accept_retained: false,
        refuse_duplicates: false,
        tls: TlsOptions::default(),
    };
    check(Action::Mqtt(ask), [Phase::Handshake, Phase::Subscribe, Phase::Message]).await;
}
