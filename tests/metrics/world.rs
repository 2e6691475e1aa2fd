//! A daemon with everything to measure: probes that pass, fail, rest and break limits, phones that
//! report all kinds of telemetry, SLOs on both, an alert that fires, receivers that take it and refuse it.

use super::daemon::Daemon;
use super::target::{Target, write};
use super::text_format::{self, Family};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// `localhost`, under which only one probe asks, has a limit that it always breaks.
const SETTINGS: &str = "phones: { routes: [ \"/rooms/{id}/messages\" ] }
limits: [ { target: localhost, max_runs_per_second: 0.01 } ]
";

/// The daemon and its surroundings.
pub struct World {
    pub daemon: Daemon,
    reports: u64,
    _dir: tempfile::TempDir,
}

// === impl World ===

impl World {
    /// Starts everything. The daemon was stopped and started once, so that it has a checkpoint.
    pub async fn start() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().expect("a folder");
        let target = Target::start().await;
        write(dir.path(), "probes/all.yaml", &probes(&target.url));
        write(dir.path(), "alerts/all.yaml", &alerts(&target.url));
        Daemon::start(dir.path(), SETTINGS).await.stop().await;
        let daemon = Daemon::start(dir.path(), SETTINGS).await;
        Self { daemon, reports: 0, _dir: dir }
    }

    /// What a scrape sees.
    pub async fn scrape(&self) -> Vec<Family> {
        let text = self.daemon.metrics().await;
        text_format::parse(&text).unwrap_or_else(|what| panic!("{what}"))
    }

    /// Phones report: new items each time.
    pub async fn report(&mut self) {
        self.reports += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = now.as_nanos() as u64;
        let traces = traces(now, self.reports);
        self.daemon.send("traces", &traces).await;
        // The answer was lost, and the phone sends again.
        self.daemon.send("traces", &traces).await;
        self.daemon.send("logs", &logs(now)).await;
        self.daemon.send("metrics", &metrics(now)).await;
    }
}

fn probes(target: &str) -> String {
    let limited = target.replace("127.0.0.1", "localhost");
    format!(
        "probes:
  - {{ name: well, every: 200ms, labels: {{ feature: chat }}, http: {{ get: \"{target}/well\" }} }}
  - {{ name: sick, every: 200ms, http: {{ get: \"{target}/sick\" }} }}
  - {{ name: limited, every: 200ms, http: {{ get: \"{limited}/well\" }} }}
  - name: returning
    every: 2s
    timeout: 2s
    steps:
      - {{ as: bob, sse: {{ url: \"{target}/feed\", expect: {{ json: {{ again: false }} }} }} }}
      - {{ on: bob, drop: rst }}
      - {{ on: bob, reconnect: {{ after: 50ms, resumed: {{ json: {{ again: true }} }} }} }}
  - {{ name: resting, every: 200ms, http: {{ get: \"{target}/well\" }} }}
maintenance: [ {{ name: always, cron: \"* * * * *\", for: 2m, probes: [ resting ] }} ]
"
    )
}

fn alerts(target: &str) -> String {
    format!(
        "slos:
  - name: well-fast
    owner: messaging
    objective: 99.9%
    window: 30d
    latency: {{ probe: well, under: 100ms }}
  - name: sick-up
    objective: 90%
    window: 10m
    availability: {{ probe: sick }}
    burn: [ {{ budget: 20%, long: 40s, short: 20s, severity: page }} ]
  - name: sick-at-times
    objective: 5%
    window: 30d
    availability: {{ probe: sick }}
  - name: send-message-on-phones
    objective: 99%
    window: 30d
    latency: {{ http: \"POST /rooms/{{id}}/messages\", where: {{ os.name: [ Android, iOS ] }}, under: 300ms }}
  - name: crash-ratio
    objective: 99.5%
    window: 28d
    ratio: {{ bad: {{ event: app.crash }}, total: {{ event: session.start }} }}
receivers:
  - {{ name: oncall, webhook: {{ url: \"{target}/page\" }} }}
  - {{ name: strict, webhook: {{ url: \"{target}/refuse\" }} }}
route:
  receiver: oncall
  routes:
    - {{ receiver: strict, matchers: [ 'severity=\"page\"' ], continue: true }}
    - {{ receiver: oncall }}
heartbeat: {{ receiver: oncall, every: 10s }}
"
    )
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn resource() -> Value {
    json!({ "attributes": [
        attribute("service.name", "chat-app"),
        attribute("service.version", "4.2.0"),
        attribute("os.name", "iOS"),
        attribute("region", "eu-west"),
        attribute("not.on.the.list", "removed"),
    ] })
}

fn traces(now: u64, number: u64) -> Value {
    let span = |id: u64, took_ms: u64, ago: u64, failed: bool| {
        json!({
            "traceId": format!("{:032x}", number * 100 + id),
            "spanId": format!("{id:016x}"),
            "name": "POST",
            "kind": 3,
            "startTimeUnixNano": (now - ago - took_ms * 1_000_000).to_string(),
            "endTimeUnixNano": (now - ago).to_string(),
            "status": { "code": if failed { 2 } else { 0 } },
            "attributes": [
                attribute("http.request.method", "POST"),
                attribute("url.template", "/rooms/{id}/messages"),
                attribute("http.response.status_code", if failed { "503" } else { "202" }),
                attribute("network.connection.type", "cell"),
            ],
        })
    };
    let mut spans: Vec<Value> = (1..9).map(|id| span(id, 40 * id, 0, id == 8)).collect();
    spans.push(span(9, 5, 8 * 86_400_000_000_000, false));
    let mut nameless = span(10, 5, 0, false);
    nameless["traceId"] = json!("");
    spans.push(nameless);
    json!({ "resourceSpans": [{ "resource": resource(), "scopeSpans": [{ "spans": spans }] }] })
}

fn logs(now: u64) -> Value {
    let event = |name: &str| {
        json!({
            "timeUnixNano": now.to_string(),
            "eventName": name,
            "attributes": [attribute("network.connection.type", "cell")],
        })
    };
    let records = ["session.start", "session.start", "app.crash"].map(event);
    json!({ "resourceLogs": [{ "resource": resource(), "scopeLogs": [{ "logRecords": records }] }] })
}

fn metrics(now: u64) -> Value {
    let times = |mut point: Value| {
        point["startTimeUnixNano"] = json!((now - 1_000_000_000).to_string());
        point["timeUnixNano"] = json!(now.to_string());
        json!([point])
    };
    let delta = 1;
    let all = json!([
        { "name": "jvm.memory.used", "gauge": { "dataPoints": times(json!({ "asDouble": 5.5 })) } },
        { "name": "taps", "sum": {
            "aggregationTemporality": delta, "isMonotonic": true,
            "dataPoints": times(json!({ "asInt": "3" })) } },
        { "name": "app.startup", "histogram": {
            "aggregationTemporality": delta,
            "dataPoints": times(json!({
                "count": "3", "sum": 6.5, "bucketCounts": ["1", "1", "1"], "explicitBounds": [1, 2.5] })) } },
        { "name": "frame.time", "exponentialHistogram": {
            "aggregationTemporality": delta,
            "dataPoints": times(json!({
                "count": "4", "sum": 50, "scale": 2, "zeroCount": "1",
                "positive": { "offset": 8, "bucketCounts": ["1", "0", "2"] } })) } },
    ]);
    json!({ "resourceMetrics": [{ "resource": resource(), "scopeMetrics": [{ "metrics": all }] }] })
}
