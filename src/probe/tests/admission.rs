//! Whatever a definition is made of, nothing is written outside the allow-list.
//!
//! All names lead to one server on loopback, which notes what reaches it and under which name, and the
//! resolver notes which names were to be dialled. What is allowed is judged here by other means than in the engine.

use super::super::lookup::{Lookups, Resolver};
use super::super::spec::{
    Action, MqttPublish, MqttStep, MqttVersion, ProbeSpec, Qos, Repeat, Step, TcpStep, TextCheck,
    TlsOptions, Turn, UdpStep,
};
use super::super::writes::WriteTarget;
use super::super::{Context, SlotStart, run_once};
use super::servers::{Server, http, websocket};
use super::{connect, context, get, spec, step};
use crate::model::probe::ProbeRun;
use crate::probe::awaited::ExpectText;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{HOST, LOCATION};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Names that resemble each other.
const HOSTS: [&str; 6] = [
    "good.test",
    "chat.good.test",
    "good.test.prod.test",
    "xgood.test",
    "prod.test",
    "127.0.0.1.prod.test",
];
/// Paths and topics that do.
const PATHS: [&str; 6] = [
    "/",
    "/rooms/probe",
    "/rooms/probe/a",
    "/rooms/probes",
    "/rooms/probe/../prod",
    "/Rooms/probe",
];
/// Entries of the allow-list.
const ENTRIES: [&str; 5] = [
    "good.test",
    "*.good.test",
    "good.test/rooms/probe",
    "chat.good.test/rooms/probe",
    "prod.test:1",
];
const METHODS: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD"];

/// What is written, and by which way its place comes about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Request(usize),
    Redirect(usize),
    OpenAndSend,
    Send,
    Publish,
    Tcp,
    Udp,
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    host: &'static str,
    path: &'static str,
    allowed: Vec<&'static str>,
    /// The host was captured, not written down.
    captured: bool,
    cleaning_up: bool,
}

/// What reached the server, and which names were resolved.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    resolved: Vec<String>,
    /// Writes, by the name and path that they were sent to.
    written: Vec<(String, String)>,
}

impl Resolver for Notes {
    fn addresses(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.0.lock().resolved.push(host.to_owned());
        Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
    }
}

impl Notes {
    /// Answers requests, leads elsewhere, and tells a host to capture.
    async fn requests(&self) -> Server {
        let notes = self.clone();
        let answer = move |request: Request| {
            let notes = notes.clone();
            async move { notes.answer(&request) }
        };
        http(Router::new().fallback(answer)).await
    }

    fn answer(&self, request: &Request) -> Response {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(|name| name.as_str())).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned();
        let path = request.uri().path().to_owned();
        if let Some(to) = request.uri().query().and_then(|query| query.strip_prefix("to=")) {
            return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to.to_owned())]).into_response();
        }
        if let Some(host) = path.strip_prefix("/host/") {
            return axum::Json(json!({"host": host})).into_response();
        }
        if !["GET", "HEAD"].contains(&request.method().as_str()) {
            self.0.lock().written.push((host, path));
        }
        StatusCode::OK.into_response()
    }

    /// Notes messages under the name that the WebSocket was opened with: the one that was resolved last.
    async fn messages(&self, path: &'static str) -> Server {
        let notes = self.clone();
        websocket(move |mut socket: tokio_tungstenite::WebSocketStream<_>| {
            let notes = notes.clone();
            async move {
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        let mut noted = notes.0.lock();
                        let host = noted.resolved.last().cloned().unwrap_or_default();
                        noted.written.push((host, path.to_owned()));
                    }
                }
            }
        })
        .await
    }
}

/// The same judgement by comparing words.
fn is_allowed(case: &Case, host: &str, path: &str) -> bool {
    case.allowed.iter().any(|entry| match *entry {
        "good.test" => host == "good.test",
        "*.good.test" => host == "chat.good.test",
        "good.test/rooms/probe" => host == "good.test" && is_below(path),
        "chat.good.test/rooms/probe" => host == "chat.good.test" && is_below(path),
        _ => false,
    })
}

fn is_below(path: &str) -> bool {
    let levels: Vec<&str> = path.split('/').take(3).collect();
    levels == ["", "rooms", "probe"]
}

/// The path as the URL has it.
fn resolved(case: &Case) -> &'static str {
    match (case.kind, case.path) {
        // A topic and a stream without a path are what they are.
        (Kind::Publish, path) => path,
        (Kind::Tcp | Kind::Udp, _) => "",
        (_, "/rooms/probe/../prod") => "/rooms/prod",
        (_, path) => path,
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        3 => (0..METHODS.len()).prop_map(Kind::Request),
        3 => (0..METHODS.len()).prop_map(Kind::Redirect),
        1 => Just(Kind::OpenAndSend),
        1 => Just(Kind::Send),
        2 => Just(Kind::Publish),
        1 => Just(Kind::Tcp),
        1 => Just(Kind::Udp),
    ];
    let allowed = proptest::sample::subsequence(&ENTRIES[..], 0..=2);
    let place = (proptest::sample::select(&HOSTS[..]), proptest::sample::select(&PATHS[..]));
    (kind, place, allowed, any::<bool>(), any::<bool>()).prop_map(
        |(kind, (host, path), allowed, captured, cleaning_up)| Case {
            kind,
            host,
            path,
            allowed,
            captured,
            cleaning_up,
        },
    )
}

/// The steps that write.
fn writing(case: &Case, requests: &Server, messages: &Server) -> Vec<Step> {
    let host = if case.captured { "${host}" } else { case.host };
    let place = |scheme: &str, server: &Server| {
        format!("{scheme}://{host}:{}{}", server.address.port(), case.path)
    };
    let bare = |scheme: &str| format!("{scheme}://{host}:{}", requests.address.port());
    let ask = |method: usize, url: String| {
        let method = METHODS[method].to_owned();
        super::super::spec::HttpStep {
            method,
            max_redirects: 2,
            body: Some("x".into()),
            ..get(url)
        }
    };
    match case.kind {
        Kind::Request(method) => {
            vec![step("w", Action::Http(ask(method, place("http", requests))))]
        }
        Kind::Redirect(method) => {
            let to = place("http", requests);
            let url = requests.url("http", &format!("/?to={to}"));
            vec![step("w", Action::Http(ask(method, url)))]
        }
        Kind::OpenAndSend => {
            let mut open = connect(place("ws", messages));
            open.send = Some("x".into());
            vec![step("w", Action::WebSocket(open))]
        }
        Kind::Send => {
            let open = step("s", Action::WebSocket(connect(place("ws", messages))));
            let repeat = Repeat { count: 2, gap: Duration::ZERO };
            let send = Action::Send { on: "s".into(), send: "x".into(), repeat };
            vec![open, step("w", send)]
        }
        Kind::Publish => {
            let topic = case.path.trim_start_matches('/').to_owned();
            vec![step("w", Action::Mqtt(publish(bare("mqtt"), topic)))]
        }
        Kind::Tcp => {
            let (url, tls) = (bare("tcp"), TlsOptions::default());
            let turns = vec![Turn::Send("x\r\n\r\n".into())];
            vec![step("w", Action::Tcp(TcpStep { url, tls, turns }))]
        }
        Kind::Udp => {
            let expect = ExpectText { text: Some(TextCheck::Equals("x".into())), within: None };
            vec![step("w", Action::Udp(UdpStep { url: bare("udp"), send: "x".into(), expect }))]
        }
    }
}

fn publish(url: String, topic: String) -> MqttStep {
    let message = Some("x".into());
    MqttStep {
        url,
        version: MqttVersion::V5,
        client_id: None,
        username: None,
        password: None,
        keep_alive: Duration::from_secs(60),
        clean_start: true,
        session_expiry: None,
        subscribe: Vec::new(),
        qos: Qos::AtMostOnce,
        publish: Some(MqttPublish { topic, message, qos: Qos::AtMostOnce, retain: false }),
        resume: false,
        ping: false,
        expect: None,
        accept_retained: false,
        refuse_duplicates: false,
        tls: TlsOptions::default(),
    }
}

async fn run(case: &Case) -> (ProbeRun, Noted) {
    let notes = Notes::default();
    let (requests, messages) = (notes.requests().await, notes.messages(resolved(case)).await);
    let ask = get(requests.url("http", &format!("/host/{}", case.host)));
    let mut place = step("place", Action::Http(ask));
    place.capture = vec![("host".into(), "/host".into())];
    let mut steps = vec![place];
    let mut cleanup = writing(case, &requests, &messages);
    if !case.cleaning_up {
        steps.append(&mut cleanup);
    }
    let writes = case.allowed.iter().map(|text| WriteTarget::parse(text).expect("valid"));
    let (writes, timeout) = (writes.collect(), Duration::from_millis(300));
    let probe = ProbeSpec { writes, timeout, cleanup, ..spec(steps) };
    let context = Context { lookups: Lookups::by(notes.clone(), 8), ..context() };
    let run = run_once(&probe, SlotStart::now(&context.clock), &context).await;
    let noted = std::mem::take(&mut *notes.0.lock());
    (run, noted)
}

/// Whether the case writes at all.
fn writes(case: &Case) -> bool {
    match case.kind {
        Kind::Request(method) | Kind::Redirect(method) => {
            !["GET", "HEAD"].contains(&METHODS[method])
        }
        _ => true,
    }
}

/// Guarantees over generated definitions, by every way in which a place of writing comes about (written down,
/// captured, a redirect, a topic; in steps and in clean-up): what is not allowed fails in words that say so,
/// and is not written; no connection is made for it, unless to listen. What is allowed is not held up.
#[test]
fn nothing_is_written_outside_the_allow_list() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("one");
    let counts = std::cell::Cell::new((0_u32, 0_u32));
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let outcome = runner.run(&cases(), |case| {
        let (run, noted) = runtime.block_on(run(&case));
        let step = run.steps.iter().find(|step| step.name == "w");
        let failure = step.and_then(|step| step.failure.as_ref());
        let is_refused = failure.is_some_and(|failure| failure.message.contains("is not allowed"));
        let allowed = is_allowed(&case, case.host, resolved(&case));
        for (host, path) in &noted.written {
            let to_itself = host == "127.0.0.1" && matches!(case.kind, Kind::Redirect(_));
            prop_assert!(to_itself || is_allowed(&case, host, path), "{host}{path} {run:#?}");
        }
        prop_assert_eq!(is_refused, writes(&case) && !allowed, "{:#?}", run);
        let (refused, passed) = counts.get();
        if is_refused {
            counts.set((refused + 1, passed));
            let listens = matches!(case.kind, Kind::Send);
            let dialled = noted.resolved.iter().any(|host| host == case.host);
            prop_assert_eq!(dialled, listens, "{:#?}", run);
        } else if !noted.written.is_empty() {
            counts.set((refused, passed + 1));
        }
        Ok(())
    });
    if let Err(error) = outcome {
        unreachable!("{error}");
    }
    let (refused, passed) = counts.get();
    assert!(refused > 50 && passed > 2, "{refused} refused, {passed} written");
}
