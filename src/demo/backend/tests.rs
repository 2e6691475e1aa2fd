//! The back end against real clients on loopback.

use super::*;
use crate::demo::cohort::Region;
use crate::demo::conditions::Fault;
use crate::demo::loopback;
use futures::{SinkExt, StreamExt};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Nothing here takes a fraction of it, unless something hangs.
const CEILING: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    conditions: Arc<Conditions>,
    shutdown: Shutdown,
    client: reqwest::Client,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (conditions, shutdown) = (Arc::new(Conditions::calm()), Shutdown::new());
        shutdown.spawn(start_backend(listener, conditions.clone(), shutdown.clone()));
        Self { address, conditions, shutdown, client: loopback::client().unwrap() }
    }

    async fn socket(&self, path: &str) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://{}{path}", self.address);
        tokio_tungstenite::client_async(url, stream).await.unwrap().0
    }

    async fn post(&self, room: &str, body: &str) -> Response {
        let url = format!("http://{}/rooms/{room}/messages", self.address);
        self.client.post(url).body(body.to_owned()).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    async fn stop(self) {
        assert!(self.shutdown.drain(CEILING).await, "the back end ends");
    }
}

/// The next JSON message, whose type is `kind`; others are passed over.
async fn next(socket: &mut WebSocketStream<TcpStream>, kind: &str) -> Value {
    let wait = async {
        loop {
            let message = socket.next().await.expect("open").expect("well-formed");
            if let Message::Text(text) = message {
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["type"] == kind {
                    return value;
                }
            }
        }
    };
    tokio::time::timeout(CEILING, wait).await.expect("a message comes")
}

/// Reads an event stream until `needle` was seen; returns all of it.
async fn read_until(stream: &mut Response, needle: &str) -> String {
    let mut seen = String::new();
    let read = async {
        while !seen.contains(needle) {
            let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(CEILING, read).await.expect("the event comes");
    seen
}

/// Guarantees the echo by id, an answer to what is no echo, and pongs.
#[tokio::test]
async fn chat_echoes() {
    let running = Running::start().await;
    let mut socket = running.socket("/chat").await;
    socket.send(Message::text("not json")).await.unwrap();
    assert_eq!(next(&mut socket, "error").await["message"], "this is not JSON");
    socket.send(Message::text(r#"{"type":"shout"}"#)).await.unwrap();
    let _ = next(&mut socket, "error").await;
    socket.send(Message::Ping("p".into())).await.unwrap();
    socket.send(Message::text(r#"{"type":"echo","id":"run-1"}"#)).await.unwrap();
    assert_eq!(next(&mut socket, "echo").await, json!({ "type": "echo", "id": "run-1" }));
    running.stop().await;
}

/// Guarantees that a message posted to a room reaches those in it, over WebSocket and feed, those
/// in no other room, and can be read back.
#[tokio::test]
async fn rooms_deliver() {
    let running = Running::start().await;
    let mut here = running.socket("/rooms/here").await;
    let mut there = running.socket("/rooms/there").await;
    let mut feed = running.get("/feed").await;
    assert_eq!(feed.headers()["content-type"], "text/event-stream");
    let greeting = read_until(&mut feed, "\n\n").await;
    assert!(greeting.contains("event: hello") && greeting.contains("retry: 2000"), "{greeting}");

    let answer = running.post("here", r#"{"id":"one","text":"hi"}"#).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let named: Value =
        serde_json::from_slice(&running.post("there", "{}").await.bytes().await.unwrap()).unwrap();

    let said = json!({ "type": "message", "id": "one", "room": "here", "text": "hi" });
    assert_eq!(next(&mut here, "message").await, said);
    assert_eq!(next(&mut there, "message").await["id"], named["id"]);
    let events = read_until(&mut feed, "\"there\"").await;
    assert!(events.contains("id: 1\n") && events.contains("event: message\n"), "{events}");

    let read: Value =
        serde_json::from_slice(&running.get("/messages/one").await.bytes().await.unwrap()).unwrap();
    assert_eq!(read, said);
    let history = running.get("/rooms/here/messages").await.text().await.unwrap();
    assert!(history.contains("\"one\""), "{history}");
    running.stop().await;
}

/// Guarantees that `Last-Event-ID` resumes after that event.
#[tokio::test]
async fn the_feed_resumes() {
    let running = Running::start().await;
    for id in ["one", "two", "three"] {
        let _ = running.post("room", &json!({ "id": id }).to_string()).await;
    }
    let url = format!("http://{}/feed", running.address);
    let mut feed = running.client.get(url).header("last-event-id", "1").send().await.unwrap();
    let events = read_until(&mut feed, "three").await;
    assert!(events.contains("two") && !events.contains("one"), "{events}");
    running.stop().await;
}

/// Guarantees what is refused, and with which status.
#[tokio::test]
async fn bad_requests_are_refused() {
    let running = Running::start().await;
    let too_long = json!({ "id": "x".repeat(200) }).to_string();
    let too_large = json!({ "text": "x".repeat(MAX_BODY) }).to_string();
    let check = async |status: StatusCode, answer: Response| {
        assert_eq!(answer.status(), status);
    };
    check(StatusCode::BAD_REQUEST, running.post("r", "[1]").await).await;
    check(StatusCode::BAD_REQUEST, running.post("r", &too_long).await).await;
    check(StatusCode::PAYLOAD_TOO_LARGE, running.post("r", &too_large).await).await;
    check(StatusCode::NOT_FOUND, running.get("/messages/none").await).await;
    check(StatusCode::NOT_FOUND, running.get("/nowhere").await).await;
    check(StatusCode::OK, running.get("/health").await).await;
    running.stop().await;
}

/// Guarantees that a slow region is slow for its phones and for nobody else, while it lasts.
#[tokio::test]
async fn a_slow_region_is_slow() {
    let running = Running::start().await;
    let extra = Duration::from_millis(500);
    let slow = Fault::SlowRegion { region: Region::ApSouth, extra };
    let clock = Clock::system();
    let took = async |region: &str| {
        let began = clock.monotonic();
        let url = format!("http://{}/rooms/r/messages", running.address);
        let request = running.client.post(url).header(REGION_HEADER, region).body("{}");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
        clock.monotonic().since(began)
    };
    let median = async |region: &str| {
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(took(region).await);
        }
        all.sort();
        all[2]
    };
    running.conditions.begin(slow);
    assert!(median("ap-south").await >= extra);
    assert!(median("us-east").await < extra);
    running.conditions.end(&slow);
    assert!(median("ap-south").await < extra);
    running.stop().await;
}

/// Guarantees that errors are answered in the ratio given, and health checks stay well.
#[tokio::test]
async fn errors_come_and_go() {
    let running = Running::start().await;
    let errors = Fault::Errors { ratio: 1.0 };
    running.conditions.begin(errors);
    assert_eq!(running.post("r", "{}").await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(running.get("/health").await.status(), StatusCode::OK);
    running.conditions.end(&errors);
    assert_eq!(running.post("r", "{}").await.status(), StatusCode::ACCEPTED);
    running.stop().await;
}

/// Guarantees that a stalled gateway holds back echoes and room messages, each by its delay.
#[tokio::test]
async fn a_stalled_gateway_holds_messages_back() {
    let running = Running::start().await;
    let extra = Duration::from_millis(300);
    let clock = Clock::system();
    let (mut chat, mut room) = (running.socket("/chat").await, running.socket("/rooms/r").await);
    let _ = next(&mut chat, "hello").await;
    running.conditions.begin(Fault::SlowChat { extra });

    let began = clock.monotonic();
    chat.send(Message::text(r#"{"type":"echo","id":1}"#)).await.unwrap();
    let _ = next(&mut chat, "echo").await;
    // Echoes vary by three tenths.
    assert!(clock.monotonic().since(began) >= extra.mul_f64(0.7));

    let began = clock.monotonic();
    let _ = running.post("r", "{}").await;
    let _ = next(&mut room, "message").await;
    assert!(clock.monotonic().since(began) >= extra);
    running.stop().await;
}

/// Guarantees that there is a limit to open streams, and that leaving makes room.
#[tokio::test]
async fn streams_are_limited() {
    let running = Running::start().await;
    let mut open = Vec::new();
    for _ in 0..MAX_STREAMS {
        open.push(running.get("/feed").await);
    }
    assert_eq!(running.get("/feed").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(open);
    let room = async {
        while running.get("/feed").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(CEILING, room).await.expect("room again");
    running.stop().await;
}

/// Guarantees that rooms nobody is in make room for new ones, and that full is full.
#[tokio::test]
async fn rooms_are_limited() {
    let hub = Hub::new(Clock::system());
    for room in 0..1_000 {
        drop(hub.enter(&format!("passing-{room}")).expect("nobody stays"));
    }
    let staying: Vec<_> = (0..1_000).filter_map(|room| hub.enter(&format!("{room}"))).collect();
    assert_eq!(staying.len(), 256);
}

/// Guarantees that open streams do not delay the end.
#[tokio::test]
async fn streams_end_with_the_back_end() {
    let running = Running::start().await;
    let mut socket = running.socket("/rooms/r").await;
    let mut feed = running.get("/feed").await;
    let _ = read_until(&mut feed, "hello").await;
    running.stop().await;
    let end = async {
        while let Some(Ok(_)) = socket.next().await {}
        while let Ok(Some(_)) = feed.chunk().await {}
    };
    tokio::time::timeout(CEILING, end).await.expect("both streams end");
}

/// Guarantees that the shipped probe that polls passes, and that a room's messages alone answer a
/// request that is held.
#[tokio::test]
async fn updates_are_held() {
    let running = Running::start().await;
    let text = crate::demo::aimed_at(&[(DEFAULT_ADDRESS, running.address)]);
    let text = text.into_iter().find(|(path, _)| path == "probes/poll.yaml").expect("shipped").1;
    let loaded = crate::config::load_embedded(&[("probes.yaml", &text)], &|_| true);
    let probe = loaded.settings.expect("the file is fine").probes.remove(0);
    let context = crate::probe::Context::new(Clock::system(), Default::default());
    let slot = crate::probe::SlotStart::now(&context.clock);
    let run = crate::probe::run_once(&probe, slot, &context).await;
    assert!(run.succeeded(), "{run:#?}");

    let (elsewhere, here) = (running.post("b", "{}").await, running.post("a", "{}").await);
    assert_eq!((elsewhere.status(), here.status()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    let answer: Value = serde_json::from_slice(
        &running.get("/rooms/a/updates?after=1").await.bytes().await.unwrap(),
    )
    .unwrap();
    assert_eq!((&answer["messages"][0]["room"], &answer["next"]), (&json!("a"), &json!(3)));
    running.stop().await;
}
