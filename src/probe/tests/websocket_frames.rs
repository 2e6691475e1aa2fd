//! What goes over a WebSocket, frame by frame: against independent implementations of both standards,
//! and against servers that break them.

use super::super::spec::{Action, BinaryText, Deflate, Repeat, Step, WebSocketStep};
use super::servers::{Server, echo, http, raw, read_head, websocket, write};
use super::{assert_failure, assert_success, attribute, connect, expect_json, number, run, step};
use crate::model::probe::{FailureReason, ProbeRun};
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use yawc::{HttpWebSocket, Options};

async fn run_websocket(ask: WebSocketStep) -> ProbeRun {
    run(vec![step("1", Action::WebSocket(ask))]).await
}

fn asking(server: &Server) -> WebSocketStep {
    WebSocketStep {
        send: Some(json!({"n": 1, "pad": "x".repeat(200)}).to_string()),
        expect: Some(expect_json(json!({"n": 1}))),
        ..connect(server.url("ws", "/"))
    }
}

// === servers ===

/// Sends messages of every kind back, compressed where the client offers that.
async fn deflating(options: Options) -> Server {
    let serve = move |mut request: Request| {
        let options = options.clone();
        async move { upgrade(&mut request, options) }
    };
    http(Router::new().route("/", any(serve))).await
}

fn upgrade(request: &mut Request, options: Options) -> Response {
    let (answer, upgraded) =
        HttpWebSocket::upgrade_with_options(request, options).expect("an upgrade");
    drop(tokio::spawn(async move {
        let mut socket = upgraded.await.expect("upgraded");
        while let Ok(frame) = socket.next_frame().await {
            let answer = match frame.opcode() {
                yawc::OpCode::Text => yawc::Frame::text(frame.into_payload()),
                yawc::OpCode::Binary => yawc::Frame::binary(frame.into_payload()),
                _ => continue,
            };
            drop(socket.send(answer).await);
        }
    }));
    answer.into_response()
}

/// A server that consents with these headers, says these bytes after a frame of the client or at
/// once, and hands over the code of the close frame that it is told.
async fn saying(
    headers: &'static str,
    pieces: Vec<Vec<u8>>,
) -> (Server, mpsc::Receiver<Option<u16>>) {
    let (told, codes) = mpsc::channel(1);
    let server = raw(move |mut stream| {
        let (told, pieces) = (told.clone(), pieces.clone());
        async move {
            consent(&mut stream, headers).await;
            for piece in pieces {
                write(&mut stream, piece).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            told.send(close_code(&mut stream).await).await.expect("a listener");
        }
    });
    (server.await, codes)
}

async fn consent(stream: &mut TcpStream, headers: &str) {
    let head = read_head(stream).await;
    let is_key = |name: &str| name.eq_ignore_ascii_case("sec-websocket-key");
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = lines.find(|(name, _)| is_key(name)).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    );
    write(stream, answer).await;
}

/// The code of the first close frame that comes.
async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let [first, second] = [stream.read_u8().await.ok()?, stream.read_u8().await.ok()?];
        let mut key = [0; 4];
        stream.read_exact(&mut key).await.ok()?;
        let mut payload = vec![0; usize::from(second & 0x7F)];
        stream.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        if first == 0x88 {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
    }
}

// === independent peers ===

/// Guarantees that an implementation of permessage-deflate that is not ours understands what is sent,
/// and is understood, message after message, with and without context takeover.
#[tokio::test]
async fn compressed_messages_are_exchanged() {
    let options = || Options::default().with_compression_level(flate2::Compression::best());
    let check = async |options: Options, offer: Deflate, fragment: u32| {
        let server = deflating(options).await;
        let open = WebSocketStep {
            compression: Some(offer),
            fragment: NonZeroU32::new(fragment),
            ..connect(server.url("ws", "/"))
        };
        let text = json!({"n": "${run.sequence}", "id": "${run.id}", "pad": "ab".repeat(300)});
        let repeat = Repeat { count: 30, gap: Duration::ZERO };
        let hear = |n: u32| {
            let expect = expect_json(json!({"n": n.to_string(), "pad": "ab".repeat(300)}));
            step(&format!("hear{n}"), Action::Expect { on: vec!["open".into()], expect })
        };
        let mut steps = vec![
            step("open", Action::WebSocket(open)),
            step("say", Action::Send { on: "open".into(), send: text.to_string(), repeat }),
        ];
        steps.extend((1..=30).map(hear));
        let run = run(steps).await;
        assert_success(&run);
        let told = |name: &str| number(&run.steps[0], name).expect(name);
        assert_eq!(told("websocket.messages"), 30);
        assert!(told("websocket.inflated_bytes") > 30 * 600);
        assert!(told("websocket.wire_bytes") < 30 * 200, "{}", told("websocket.wire_bytes"));
        let extensions = attribute(&run.steps[0], "websocket.extensions").expect("agreed");
        assert!(extensions.starts_with("permessage-deflate"), "{extensions}");
    };
    let plain = Deflate { required: true, ..Deflate::default() };
    check(options(), plain, 0).await;
    check(options(), plain, 16).await;
    check(options().with_max_fragment_size(20), plain, 0).await;
    check(options(), Deflate { client_no_context_takeover: true, ..plain }, 0).await;
    let alone = Deflate { server_no_context_takeover: true, ..plain };
    check(options().server_no_context_takeover(), alone, 0).await;
    check(options().client_no_context_takeover(), plain, 7).await;
}

/// Guarantees that data is sent as data, compressed or not, and that fragments are put together by a
/// peer that knows nothing of them.
#[tokio::test]
async fn data_is_sent_as_data() {
    let kinds = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(data) = message {
                let said = json!({ "data": data.to_vec() }).to_string();
                drop(socket.send(Message::text(said)).await);
            }
        }
    })
    .await;
    for (form, text) in [(BinaryText::Hex, "00 ff 0a"), (BinaryText::Base64, "AP8K")] {
        let ask = WebSocketStep {
            binary: Some(form),
            fragment: NonZeroU32::new(1),
            send: Some(text.into()),
            expect: Some(expect_json(json!({"data": [0, 255, 10]}))),
            ..connect(kinds.url("ws", "/"))
        };
        assert_success(&run_websocket(ask).await);
    }
    let wrong = WebSocketStep {
        binary: Some(BinaryText::Hex),
        send: Some("no data".into()),
        ..connect(kinds.url("ws", "/"))
    };
    let run = run_websocket(wrong).await;
    assert_failure(&run, FailureReason::Local, "`no data` is not hex");

    let server = websocket(echo).await;
    let ask = WebSocketStep { fragment: NonZeroU32::new(16), ..asking(&server) };
    assert_success(&run_websocket(ask).await);
}

/// Guarantees that pings between the fragments of a message are answered with their payload, and that
/// what was noticed of frames is told.
#[tokio::test]
async fn pings_between_fragments_are_answered() {
    let server = websocket(|mut socket: WebSocketStream<TcpStream>| async move {
        let Some(Ok(_)) = socket.next().await else { return };
        let part = |text: &'static str, kind, last| {
            Message::Frame(Frame::message(text.as_bytes(), OpCode::Data(kind), last))
        };
        drop(socket.send(part("{\"n\"", Data::Text, false)).await);
        drop(socket.send(Message::Ping(b"alive?".as_slice().into())).await);
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::Pong(b"alive?".as_slice().into()) {
                drop(socket.send(part(":1}", Data::Continue, true)).await);
            }
        }
    })
    .await;
    let run = run_websocket(asking(&server)).await;
    assert_success(&run);
    let told = |name: &str| number(&run.steps[0], name);
    assert_eq!(told("websocket.messages"), Some(1));
    assert_eq!(told("websocket.wire_bytes"), Some(7));
    assert_eq!(told("websocket.fragments"), Some(2));
    assert_eq!(told("websocket.pings"), Some(1));
    assert_eq!(told("websocket.inflated_bytes"), None);
}

// === timing ===

/// Guarantees that a message in pieces arrives with its last one.
#[tokio::test]
async fn a_message_arrives_with_its_last_frame() {
    let pieces = [&b"\x01\x03{\"n"[..], b"\x00\x02\":", b"\x80\x021}"].map(<[u8]>::to_vec).to_vec();
    let (server, _codes) = saying("", pieces).await;
    let run = run_websocket(WebSocketStep { send: None, ..asking(&server) }).await;
    assert_success(&run);
    assert!(run.latency_ns >= Some(200_000_000), "{:?}", run.latency_ns);
}

/// Guarantees that a gap between messages is found while waiting.
#[tokio::test]
async fn gaps_between_messages_are_found() {
    let server = websocket(echo).await;
    let ask = WebSocketStep {
        expect: Some(expect_json(json!({"n": 2}))),
        max_gap: Some(Duration::from_millis(80)),
        ..asking(&server)
    };
    let run = run_websocket(ask).await;
    assert_failure(&run, FailureReason::Check, "nothing came for 80ms");
}

// === servers that break the standards ===

/// Guarantees that a server which breaks the protocol is told so with the right code, and that the run
/// says what it did.
#[tokio::test]
async fn servers_that_break_the_protocol() {
    let check = async |headers: &'static str, bytes: &[u8], code: u16, part: &str| {
        let (server, mut codes) = saying(headers, vec![bytes.to_vec()]).await;
        let compression = (!headers.is_empty()).then(Deflate::default);
        let run = run_websocket(WebSocketStep { send: None, compression, ..asking(&server) }).await;
        assert_failure(&run, FailureReason::Protocol, part);
        assert_failure(&run, FailureReason::Protocol, &format!("we close with code {code}"));
        let told = tokio::time::timeout(Duration::from_secs(20), codes.recv()).await;
        assert_eq!(told, Ok(Some(Some(code))), "{part}");
    };
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    check("", b"\x83\x00", 1002, "a frame of unknown kind").await;
    check("", b"\xC1\x01a", 1002, "compression was not agreed on").await;
    check("", b"\x81\x85abcdhello", 1002, "a masked frame").await;
    check("", b"\x81\x02\xFF\xFE", 1007, "a text message that is not UTF-8").await;
    check("", b"\x88\x02\x03\xEE", 1002, "code 1006").await;
    check("", b"\x82\x7F\x00\x00\x00\x00\x00\x10\x00\x01", 1009, "too long").await;
    check(deflate, b"\xC1\x03\xFF\xFF\xFF", 1007, "cannot be inflated").await;
}

/// Guarantees that a close frame is answered with its own code, and an empty one with an empty one.
#[tokio::test]
async fn a_close_is_answered() {
    for (bytes, code) in [(&b"\x88\x02\x0F\xA1"[..], Some(4001)), (b"\x88\x00", None)] {
        let (server, mut codes) = saying("", vec![bytes.to_vec()]).await;
        let close_code = Some(code.unwrap_or(1005));
        let ask = WebSocketStep { close_code, ..connect(server.url("ws", "/")) };
        let run = run_websocket(ask).await;
        assert!(run.steps[0].checks.iter().all(|check| check.passed), "{run:#?}");
        let told = tokio::time::timeout(Duration::from_secs(20), codes.recv()).await;
        assert_eq!(told, Ok(Some(code)));
    }
}

/// Guarantees which answers to the upgrade are refused: a foreign key, no upgrade, extensions and
/// subprotocols that nobody asked for.
#[tokio::test]
async fn answers_to_the_upgrade_are_judged() {
    let check = async |headers: &'static str, change: fn(&mut WebSocketStep), part: &str| {
        let (server, _codes) = saying(headers, Vec::new()).await;
        let mut ask = connect(server.url("ws", "/"));
        change(&mut ask);
        let run = run_websocket(ask).await;
        match part {
            "" => assert_success(&run),
            part => assert_failure(&run, FailureReason::Protocol, part),
        }
        run
    };
    fn two(ask: &mut WebSocketStep) {
        ask.subprotocols = vec!["v2".into(), "v1".into()];
    }
    fn newest(ask: &mut WebSocketStep) {
        two(ask);
        ask.chosen_subprotocol = Some("v2".into());
    }
    fn demanding(ask: &mut WebSocketStep) {
        ask.compression = Some(Deflate { required: true, ..Deflate::default() });
    }
    fn willing(ask: &mut WebSocketStep) {
        ask.compression = Some(Deflate::default());
    }
    let chosen = "Sec-WebSocket-Protocol: v1\r\n";
    let run = check(chosen, two, "").await;
    assert_eq!(attribute(&run.steps[0], "websocket.subprotocol").as_deref(), Some("v1"));
    check(chosen, newest, "the subprotocol is v2, found: v1").await;
    check(chosen, |_| {}, "the subprotocol is none, found: v1").await;
    check("Sec-WebSocket-Protocol: v3\r\n", two, "is v2 or v1, found: v3").await;
    check("", two, "is v2 or v1, found: none").await;
    check("Sec-WebSocket-Extensions: mux\r\n", |_| {}, "`mux`, which was not offered").await;
    check("Sec-WebSocket-Extensions: permessage-deflate; x\r\n", willing, "`x`").await;
    check("", demanding, "compression is agreed on, found: the server declined it").await;
    let run = check("", willing, "").await;
    assert_eq!(attribute(&run.steps[0], "websocket.extensions").as_deref(), Some("none"));

    let answers = |answer: &'static str| {
        raw(move |mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, answer).await;
        })
    };
    let key = answers(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let run = run_websocket(connect(key.await.url("ws", "/"))).await;
    assert_failure(&run, FailureReason::Protocol, "does not answer our key");
    let other = answers("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n");
    let run = run_websocket(connect(other.await.url("ws", "/"))).await;
    assert_failure(&run, FailureReason::Protocol, "not `upgrade: websocket`");
}

/// Guarantees that what many receivers notice is told once.
#[tokio::test]
async fn many_receivers_are_told_of_once() {
    let server = websocket(echo).await;
    let open =
        Step { count: 3, ..step("crowd", Action::WebSocket(connect(server.url("ws", "/")))) };
    let run = run(vec![open]).await;
    let told = run.steps[0].attributes.iter().filter(|(name, _)| name == "websocket.messages");
    assert_eq!(told.count(), 1, "{run:#?}");
}
