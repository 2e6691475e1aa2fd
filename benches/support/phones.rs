//! What phones send: batches of spans as a mobile SDK exports them, every span with ids of its own.
//!
//! Modelled on opentelemetry-android and -swift: HTTP client spans of a chat app with screen,
//! session, network and carrier, and screen loads between them. 14 to 19 attributes a span and 14 on
//! its resource, of which redaction removes three a span and one a resource; about 700 bytes a span
//! in protobuf.

use radiosonde::base::clock::UnixNanos;
use radiosonde::wire::attributes::{integer, text};
use radiosonde::wire::otlp::{
    ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans,
    Span, Status,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// Method, template, path and share of a hundred.
const REQUESTS: [(&str, &str, &str, u32); 6] = [
    ("POST", "/rooms/{id}/messages", "/rooms/4711/messages", 30),
    ("GET", "/rooms/{id}/messages", "/rooms/4711/messages", 20),
    ("GET", "/feed", "/feed", 20),
    ("GET", "/rooms", "/rooms", 8),
    ("PUT", "/presence", "/presence", 8),
    ("GET", "/users/{id}", "/users/815", 4),
];
const SCREENS: [&str; 3] = ["RoomScreen", "RoomListScreen", "SettingsScreen"];
const VERSIONS: [&str; 3] = ["4.2.0", "4.1.3", "4.1.2"];
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
/// Connection, its subtype and its share of a hundred.
const NETWORKS: [(&str, &str, u32); 3] =
    [("wifi", "", 60), ("cell", "lte", 30), ("cell", "nr", 10)];

/// One phone's batch of `spans` that ended within the minute before `now`. Batches of different
/// `number` share no span.
pub fn batch(number: u64, spans: usize, now: UnixNanos) -> ExportTraceServiceRequest {
    let mut random = StdRng::seed_from_u64(number);
    let session = format!("{:032x}", random.random::<u128>());
    let resource = resource(&mut random);
    let spans = (0..spans).map(|_| span(&mut random, &session, now)).collect();
    let scope = InstrumentationScope {
        name: "io.opentelemetry.okhttp-3.0".to_owned(),
        version: "2.21.0-alpha".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

fn resource(random: &mut StdRng) -> Vec<KeyValue> {
    let android = random.random_bool(0.6);
    let (os, version, maker, model) = match android {
        true => ("Android", "15", "Google", "Pixel 9"),
        false => ("iOS", "18.5", "Apple", "iPhone17,1"),
    };
    vec![
        text("service.name", "chat-app"),
        text("service.version", pick(random, VERSIONS)),
        text("deployment.environment.name", "production"),
        text("os.name", os),
        text("os.type", if android { "linux" } else { "darwin" }),
        text("os.version", version),
        text("device.manufacturer", maker),
        text("device.model.identifier", model),
        text("device.id", format!("{:032x}", random.random::<u128>())),
        text("region", pick(random, REGIONS)),
        text("rum.sdk.version", "1.6.0"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", if android { "java" } else { "swift" }),
        text("telemetry.sdk.version", "1.56.0"),
    ]
}

fn span(random: &mut StdRng, session: &str, now: UnixNanos) -> Span {
    let screen = pick(random, SCREENS);
    let mut attributes = common(random, session, screen);
    let mut share = random.random_range(0..100);
    let request = REQUESTS.into_iter().find(|(.., part)| {
        let here = share < *part;
        share = share.saturating_sub(*part);
        here
    });
    let failed = random.random_bool(0.01);
    let name = match request {
        Some((method, template, path, _)) => {
            attributes.extend(http(random, method, template, path, failed));
            method.to_owned()
        }
        None => {
            attributes.push(text("activity.name", screen));
            attributes.push(text("start.type", "warm"));
            format!("{screen} load")
        }
    };
    // Right-skewed, some 60 ms in the middle and a few above a second.
    let tail: f64 = random.random_range(0.001..1.0);
    let took = Duration::from_secs_f64(0.04 * tail.powf(-0.6));
    let ended = now.minus(Duration::from_millis(random.random_range(0..60_000)));
    Span {
        trace_id: random.random::<[u8; 16]>().to_vec(),
        span_id: random.random::<[u8; 8]>().to_vec(),
        kind: if request.is_some() { 3 } else { 1 },
        name,
        start_time_unix_nano: ended.minus(took).0,
        end_time_unix_nano: ended.0,
        attributes,
        status: Some(Status { code: if failed { 2 } else { 0 }, ..Status::default() }),
        flags: 0x101,
        ..Span::default()
    }
}

/// Attributes that the SDK puts on every span; the last three never reach the disk.
fn common(random: &mut StdRng, session: &str, screen: &str) -> Vec<KeyValue> {
    let mut share = random.random_range(0..100);
    let network = NETWORKS.into_iter().find(|(.., part)| {
        let here = share < *part;
        share = share.saturating_sub(*part);
        here
    });
    let (connection, subtype, _) = network.unwrap_or(("unavailable", "", 0));
    let mut attributes = vec![
        text("session.id", session),
        text("screen.name", screen),
        text("network.connection.type", connection),
    ];
    if !subtype.is_empty() {
        attributes.extend([
            text("network.connection.subtype", subtype),
            text("network.carrier.name", "Example Mobile"),
            text("network.carrier.mcc", "262"),
            text("network.carrier.mnc", "02"),
        ]);
    }
    attributes.extend([
        text("thread.name", "OkHttp Dispatcher"),
        integer("thread.id", random.random_range(30..300)),
        integer("device.storage.free", 61_298_094_080 - random.random_range(0..1_000_000_u64)),
    ]);
    attributes
}

fn http(
    random: &mut StdRng,
    method: &str,
    template: &str,
    path: &str,
    failed: bool,
) -> Vec<KeyValue> {
    let status = if failed { 503 } else { 200 };
    let mut attributes = vec![
        text("http.request.method", method),
        text(
            "url.full",
            format!("https://chat.example.com{path}?since={}", random.random::<u32>()),
        ),
        text("url.template", template),
        text("server.address", "chat.example.com"),
        integer("server.port", 443),
        text("network.protocol.name", "http"),
        text("network.protocol.version", "2"),
        integer("http.response.status_code", status),
        integer("http.response.body.size", random.random_range(80..9_000)),
    ];
    if failed {
        attributes.push(text("error.type", "503"));
    }
    attributes
}

fn pick<'a, const N: usize>(random: &mut StdRng, values: [&'a str; N]) -> &'a str {
    values.get(random.random_range(0..N)).copied().unwrap_or_default()
}
