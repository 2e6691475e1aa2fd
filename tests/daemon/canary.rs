//! Secrets in every place where they may stand, in probes that pass and that fail: none is shown anywhere.

use super::process::{Daemon, configure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::routing::{any, post};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Stands in every secret and nowhere else; beside it, how it begins in `Basic` credentials of `probe`.
const CANARIES: [&[u8]; 2] = [b"c4n4ry", b"cHJvYmU6YzRuNHJ5"];
/// Names of the environment that hold secrets.
const NAMES: [&str; 12] = [
    "API", "OTLP", "EXPORT", "HOOK", "HEADER", "BODY", "MESSAGE", "PASSWORD", "METADATA", "TURN",
    "EXEC", "WRONG",
];

const SETTINGS: &str = r#"
api: { tokens: { grafana: "${env.C_API}" } }
exec: { allow: [ FOLDER ] }
export: { otlp: { endpoint: "BASE", protocol: http/protobuf, headers: { x-key: "${env.C_EXPORT}" }, probes: true, own: true } }
"#;

const ALERTS: &str = r#"
receivers:
  - { name: hook, webhook: { url: "BASE/fail/${env.C_HOOK}", headers: { X-Key: "${env.C_HEADER}" } } }
  - { name: gone, webhook: { url: "http://127.0.0.1:1/${env.C_HOOK}?key=${env.C_HOOK}" } }
  - { name: am, alertmanager: { url: "BASE/fail/${env.C_HOOK}" } }
  - { name: works, webhook: { url: "BASE/ok/${env.C_HOOK}" } }
route: { receiver: hook }
"#;

const PROBES: &str = r#"
modules:
  web:
    prober: http
    timeout: 5s
    http:
      basic_auth: { username: probe, password: c4n4ry-basic }
      headers: { X-Api-Key: c4n4ry-header }
      http_headers: { X-Token: { secrets: [ c4n4ry-secret ] } }
  bearer:
    prober: http
    http: { method: POST, body: 'key=c4n4ry-body', authorization: { type: Bearer, credentials: c4n4ry-bearer } }
  mail:
    prober: tcp
    timeout: 1s
    tcp: { query_response: [ { send: "AUTH c4n4ry-of-mail" }, { expect: never } ] }
  web_fails:
    prober: http
    http: { basic_auth: { username: probe, password: c4n4ry-basic }, fail_if_body_not_matches_regexp: [ never ] }
probes:
  - name: http-pass
    every: 24h
    http: { post: "BASE/ok", headers: { Authorization: "Bearer ${env.C_HEADER}" }, body: "key=${env.C_BODY}" }
  - name: http-fail
    every: 24h
    http:
      post: "BASE/fail"
      headers: { Authorization: "Bearer ${env.C_HEADER}" }
      json: { key: "${env.C_BODY}", run: "${run.id}" }
      expect: { body: { contains: never } }
  - name: http-refused
    every: 24h
    http: { post: "http://127.0.0.1:1/", headers: { Cookie: "key=${env.C_HEADER}" }, body: "${env.C_BODY}" }
  - name: websocket-pass
    every: 24h
    websocket: { url: "WS/ws", headers: { Cookie: "${env.C_HEADER}" }, send: { key: "${env.C_MESSAGE}" }, expect: { json: { type: pong } } }
  - name: websocket-fail
    every: 24h
    timeout: 1s
    websocket: { url: "WS/ws", headers: { Cookie: "${env.C_HEADER}" }, send: "${env.C_MESSAGE}", expect: { json: { type: never } } }
  - name: websocket-refused
    every: 24h
    websocket: { url: "WS/fail", headers: { Cookie: "${env.C_HEADER}" }, send: "${env.C_MESSAGE}" }
  - name: journey
    every: 24h
    timeout: 2s
    steps:
      - { as: bob, websocket: { url: "WS/ws", headers: { X-Key: "${env.C_HEADER}" } } }
      - { on: bob, send: { key: "${env.C_MESSAGE}", n: "${run.sequence}" }, repeat: 3 }
      - { on: bob, drop: rst }
      - { on: bob, reconnect: { headers: { X-Key: "${env.C_HEADER}" }, send: { key: "${env.C_MESSAGE}" }, resumed: { json: { type: never } } } }
    cleanup:
      - http: { delete: "BASE/fail", headers: { X-Key: "${env.C_HEADER}" } }
  - name: sse-fail
    every: 24h
    sse: { url: "BASE/ok", headers: { Authorization: "${env.C_HEADER}" } }
  - name: poll-fail
    every: 24h
    timeout: 1s
    poll: { url: "BASE/fail", every: 1s, headers: { Authorization: "${env.C_HEADER}" }, expect: { json: { a: 1 } } }
  - name: mqtt-fail
    every: 24h
    timeout: 1s
    mqtt: { url: "mqtt://HOST", username: probe, password: "${env.C_PASSWORD}", publish: { topic: a, message: "${env.C_MESSAGE}" } }
  - name: mqtt-refused
    every: 24h
    mqtt: { url: "mqtt://127.0.0.1:1", username: probe, password: "${env.C_PASSWORD}", publish: { topic: a, message: { key: "${env.C_MESSAGE}" } } }
  - name: grpc-fail
    every: 24h
    timeout: 1s
    grpc: { url: "BASE", method: demo.Chat/Echo, message: { auth: "${env.C_MESSAGE}" }, metadata: { authorization: "Bearer ${env.C_METADATA}" } }
  - name: tcp-fail
    every: 24h
    timeout: 1s
    tcp: { address: "HOST", send: "${env.C_MESSAGE}\r\n", expect: { text: { contains: never } } }
  - name: udp-fail
    every: 24h
    timeout: 1s
    udp: { address: "127.0.0.1:1", send: { key: "${env.C_MESSAGE}" }, expect: { text: never } }
  - name: turn-fail
    every: 24h
    timeout: 1s
    turn: { address: "HOST", transport: tcp, username: probe, password: "${env.C_TURN}" }
  - name: turn-rest-fail
    every: 24h
    timeout: 1s
    turn: { address: "127.0.0.1:1", secret: "${env.C_TURN}" }
  - name: exec-pass
    every: 24h
    exec: { command: [ FOLDER/good ], env: { KEY: "${env.C_EXEC}" }, stdin: { key: "${env.C_EXEC}" } }
  - name: exec-fail
    every: 24h
    exec: { command: [ FOLDER/bad ], env: { KEY: "${env.C_EXEC}" }, stdin: "${env.C_EXEC}" }
slos:
  - { name: web, objective: 99%, window: 1h, availability: { probe: http-fail } }
"#;

/// Secrets where none may stand, and ones that cannot be sent.
const WRONG: &str = r#"
probes:
  - { name: in-url, every: 10s, http: { get: "http://127.0.0.1/${env.C_WRONG}" } }
  - { name: in-name, every: 10s, dns: { server: 127.0.0.1, name: "${env.C_WRONG}.example.com" } }
  - { name: in-expectation, every: 10s, http: { get: "http://127.0.0.1/", expect: { body: { contains: "${env.C_WRONG}" } } } }
  - { name: in-cadence, every: "${env.C_WRONG}", http: { get: "http://127.0.0.1/" } }
  - { name: in-header, every: 10s, http: { get: "http://127.0.0.1/", headers: { "${env.C_WRONG}": a, X-Line: "${env.C_LINE}" } } }
  - { name: in-topic, every: 10s, mqtt: { url: "mqtt://127.0.0.1", publish: { topic: "${env.C_WRONG}", message: a } } }
receivers:
  - { name: no-url, webhook: { url: "${env.C_WRONG}" } }
"#;

/// What was said anywhere, by where.
#[derive(Default)]
struct Outputs(BTreeMap<String, Vec<u8>>);

impl Outputs {
    fn add(&mut self, place: impl Into<String>, said: impl Into<Vec<u8>>) {
        self.0.entry(place.into()).or_default().extend(said.into());
    }

    /// Places in which a secret is, with what surrounds it.
    fn leaks(&self) -> Vec<String> {
        let leak = |(place, said): (&String, &Vec<u8>)| {
            let find = |canary: &&[u8]| said.windows(canary.len()).position(|part| part == *canary);
            let at = CANARIES.iter().find_map(find)?;
            let around = &said[at.saturating_sub(150)..said.len().min(at + 60)];
            Some(format!("{place}: …{}…", String::from_utf8_lossy(around)))
        };
        self.0.iter().filter_map(leak).collect()
    }
}

/// A server for probes, receivers and spans. It repeats nothing of what it is told.
async fn serve(spans: Arc<Mutex<Vec<u8>>>, whole: Arc<Mutex<Vec<u8>>>) -> String {
    let upgrade = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(_)) = socket.recv().await {
                drop(socket.send(Message::text(r#"{"type":"pong"}"#)).await);
            }
        })
    };
    let collect = move |body: Bytes| async move {
        let mut plain = Vec::new();
        let _ = flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        spans.lock().unwrap().extend(plain);
    };
    let fine = move |headers: axum::http::HeaderMap, body: Bytes| async move {
        let mut whole = whole.lock().unwrap();
        headers.values().for_each(|value| whole.extend(value.as_bytes()));
        whole.extend(body);
        "{}"
    };
    let fails = || async { (StatusCode::INTERNAL_SERVER_ERROR, "no") };
    let router = Router::new()
        .route("/ok", any(fine.clone()))
        .route("/ok/{*rest}", any(fine))
        .route("/fail", any(fails))
        .route("/fail/{*rest}", any(fails))
        .route("/ws", any(upgrade))
        .route("/v1/traces", post(collect));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    host
}

fn environment() -> Vec<(String, String)> {
    let secret = |name: &&str| (format!("C_{name}"), format!("c4n4ry-of-{name}-0123456789"));
    let mut all: Vec<_> = NAMES.iter().map(secret).collect();
    all.push(("C_LINE".to_owned(), "c4n4ry\nof two lines".to_owned()));
    all
}

fn write(dir: &Path, host: &str) {
    let folder = dir.join("programs");
    let fill = |text: &str| {
        let text = text.replace("BASE", &format!("http://{host}"));
        let text = text.replace("WS/", &format!("ws://{host}/")).replace("HOST", host);
        text.replace("FOLDER", folder.to_str().unwrap())
    };
    for name in ["programs", "probes", "alerts"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
    }
    for (name, script) in [
        ("good", "#!/bin/sh\ncat > /dev/null\necho '{\"version\":1,\"outcome\":\"success\"}'\n"),
        ("bad", "#!/bin/sh\ncat > /dev/null\necho something is wrong >&2\nexit 3\n"),
    ] {
        std::fs::write(folder.join(name), script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join(name), executable).unwrap();
    }
    configure(dir, &fill(SETTINGS));
    let path = dir.join("radiosonde.yaml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let settings = settings.replace("log: { format: json }", "log: { format: json, level: debug }");
    let tokens = r#"http: 127.0.0.1:0, tokens: { app: "${env.C_OTLP}" }"#;
    std::fs::write(&path, settings.replace("http: 127.0.0.1:0", tokens)).unwrap();
    std::fs::write(dir.join("probes/all.yaml"), fill(PROBES)).unwrap();
    std::fs::write(dir.join("alerts/all.yaml"), fill(ALERTS)).unwrap();
}

/// Runs a command of the binary; both of its outputs.
fn command(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_radiosonde"));
    let output = command.args(arguments).current_dir(dir).envs(environment()).output().unwrap();
    assert!(output.stdout.len() + output.stderr.len() > 20, "{arguments:?} says nothing");
    [output.stdout, output.stderr].concat()
}

/// Every page, and every answer of the API, that can be reached by links and by the names of probes.
async fn crawl(daemon: &Daemon, client: &reqwest::Client, outputs: &mut Outputs) -> usize {
    let operations = [
        "status",
        "slos",
        "slos/web",
        "probes",
        "phones",
        "alerts",
        "incidents",
        "changes",
        "silences",
        "openapi.json",
    ];
    let mut open: Vec<String> = operations.iter().map(|path| format!("/api/{path}")).collect();
    open.extend(
        ["/", "/metrics", "/changes", "/slos/web", "/-/ready", "/-/healthy", "/api/nothing"]
            .map(str::to_owned),
    );
    for line in PROBES.lines().filter_map(|line| line.strip_prefix("  - name: ")) {
        open.extend([format!("/api/probes/{line}"), format!("/api/probes/{line}/runs")]);
    }
    let mut seen = BTreeSet::new();
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) || seen.len() > 300 || path.starts_with("/page/events") {
            continue;
        }
        let answer = client.get(format!("{}{path}", daemon.page)).send().await.unwrap();
        let said = answer.text().await.unwrap();
        for cut in ["href=\"/", "\"id\":\""] {
            let links = said.split(cut).skip(1).filter_map(|rest| rest.split('"').next());
            let to = if cut.starts_with("href") { "/" } else { "/api/runs/" };
            open.extend(links.map(|link| format!("{to}{link}")));
        }
        outputs.add(path, said);
    }
    seen.len()
}

/// All files below a folder, and what is packed in them.
fn files(dir: &Path, outputs: &mut Outputs) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, outputs);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let packed = bytes.windows(4).enumerate().filter(|(_, part)| *part == magic);
        for (at, _) in packed {
            let mut plain = Vec::new();
            // What cannot be unpacked is looked at as it is.
            if let Ok(mut decoder) = zstd::Decoder::new(&bytes[at..]) {
                drop(decoder.read_to_end(&mut plain));
            }
            outputs.add(format!("{} unpacked", path.display()), plain);
        }
        outputs.add(path.display().to_string(), bytes);
    }
}

/// Guarantees that no secret is in a page, an answer of the API, /metrics, a log line at debug, an output of the
/// command line, an answer of /probe with debug, a span that is exported, a file of the data folder, or
/// the words about a configuration that is refused; while the targets do get them.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (spans, whole) = (Arc::default(), Arc::default());
    let host = serve(Arc::clone(&spans), Arc::clone(&whole)).await;
    write(dir.path(), &host);
    let mut outputs = Outputs::default();
    for arguments in [
        &["check"][..],
        &["check", "--format", "json"],
        &["probe"],
        &["probe", "--format", "json"],
        &["probe", "--format", "junit"],
    ] {
        outputs.add(format!("{arguments:?}"), command(dir.path(), arguments));
    }

    let daemon = Daemon::listening_with(dir.path(), &environment());
    daemon.until("ready", async || daemon.status("/-/ready").await == 200).await;
    let token = environment()[0].1.clone();
    let mut headers = reqwest::header::HeaderMap::new();
    let _ = headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let client = reqwest::Client::builder().default_headers(headers).build().unwrap();
    let page = daemon.page.clone();
    let mut outcomes = BTreeMap::new();
    for probe in PROBES.lines().filter_map(|line| line.strip_prefix("  - name: ")) {
        let path = format!("/api/probes/{probe}/run");
        let mut said = String::new();
        // 409 while its schedule runs it, 503 while the daemon has only just become ready.
        daemon
            .until("the probe runs", async || {
                let answer = client.post(format!("{page}{path}")).send().await.unwrap();
                let status = answer.status().as_u16();
                assert!([200, 409, 503].contains(&status), "{probe}: {status}");
                said = answer.text().await.unwrap();
                status == 200
            })
            .await;
        let passed = said.contains(r#""outcome":"success""#);
        assert_eq!(passed, probe.ends_with("-pass"), "{said}");
        let _ = outcomes.insert(probe, passed);
        outputs.add(path, said);
    }
    let (fine, fails) = (format!("http://{host}/ok"), format!("http://{host}/fail"));
    for (module, target) in [
        ("web", &fine),
        ("web", &fails),
        ("bearer", &fine),
        ("web_fails", &fine),
        ("mail", &host),
        ("none", &fine),
    ] {
        let path = format!("/probe?module={module}&debug=true&target={target}");
        let answer = client.get(format!("{page}{path}")).send().await.unwrap();
        outputs.add(path, answer.text().await.unwrap());
    }
    for receiver in ["hook", "gone", "am", "works"] {
        let path = format!("/api/receivers/{receiver}/test");
        let answer = client.post(format!("{page}{path}")).send().await.unwrap();
        outputs.add(path, answer.text().await.unwrap());
        let arguments = ["alerts", "--server", &page, "--token", &token, "test", receiver];
        outputs.add(format!("alerts test {receiver}"), command(dir.path(), &arguments));
    }
    let stranger = reqwest::Client::new().get(format!("{page}/api/probes"));
    let answer = stranger.bearer_auth("c4n4ry".replace('4', "a")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    outputs.add("refused", answer.text().await.unwrap());
    assert!(crawl(&daemon, &client, &mut outputs).await > 40);

    std::fs::write(dir.path().join("probes/wrong.yaml"), WRONG).unwrap();
    let answer = client.post(format!("{page}/-/reload")).send().await.unwrap();
    let refused = answer.text().await.unwrap();
    assert!(refused.contains("wrong.yaml"), "{refused}");
    outputs.add("/-/reload", refused);
    outputs.add("check of what is wrong", command(dir.path(), &["check"]));
    let home = client.get(&page).send().await.unwrap();
    outputs.add("/ with what is wrong", home.text().await.unwrap());

    daemon.signal("TERM");
    let logs = Arc::clone(&daemon.logs);
    assert_eq!(daemon.ended().await, Some(0));
    let logs = logs.lock().unwrap().clone();
    assert!(logs.contains("DEBUG"), "logs at debug");
    outputs.add("logs", logs);
    files(&dir.path().join("data"), &mut outputs);
    let spans = spans.lock().unwrap().clone();
    assert!(spans.windows(9).any(|part| part == b"http-pass"), "spans were exported");
    outputs.add("spans", spans);

    let leaks = outputs.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    // The search finds what is there.
    let mut told = Outputs::default();
    told.add("target", whole.lock().unwrap().clone());
    assert_eq!(told.leaks().len(), 1);
}
