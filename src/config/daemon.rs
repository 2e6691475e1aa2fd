//! `radiosonde.yaml`: the process and how it reads phones. The keys are in `example.yaml`.

use super::fields::{Context, Fields};
use super::routing::secret_headers;
use super::scalar::{YEAR, quoted};
use super::selector::{Selectors, is_template};
use super::settings::{
    Daemon, HistoryLimits, JournalLimits, NamedSecret, OtlpExport, OtlpProtocol, Phones,
};
use super::tree::{Entry, Node, Place, Value};
use crate::export::forwards_to_self;
use crate::telemetry::logs::LogFormat;
use crate::wire::semconv;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use url::Url;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const HOUR: Duration = Duration::from_secs(3_600);
/// How often a calibration may be: each takes some seconds of loopback traffic.
const CALIBRATION: std::ops::RangeInclusive<Duration> = Duration::from_secs(600)..=YEAR;
/// A token that is shorter can be guessed.
const MIN_TOKEN: usize = 16;

const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const PROTOCOLS: &[(&str, OtlpProtocol)] =
    &[("grpc", OtlpProtocol::Grpc), ("http/protobuf", OtlpProtocol::HttpProtobuf)];

/// Attributes that identify somebody: usable as identity, never as a label.
const IDENTITIES: [&str; 3] =
    [semconv::APP_INSTALLATION_ID, semconv::SESSION_ID, semconv::SERVICE_INSTANCE_ID];

/// A listener, for checks over all of them.
struct Listener {
    key: &'static str,
    address: SocketAddr,
    at: Place,
    has_tokens: bool,
    /// Where its tokens belong.
    tokens: &'static str,
}

/// Reads the settings from their entries. Wrong values are reported and replaced by defaults, so
/// that the rest can be checked against something.
pub(super) fn read(
    cx: &Context<'_>,
    entries: &[Entry],
    file: u32,
    definitions: &[&'static str],
    insecure: bool,
) -> (Daemon, Phones) {
    cx.entries(entries, Place::of_file(file), "the settings", |fields| {
        fields.allow(definitions);
        let insecure = fields.flag("insecure").unwrap_or(false) || insecure;
        let mut daemon = Daemon { insecure, ..Daemon::default() };
        if let Some(data) = fields.text("data") {
            daemon.data = PathBuf::from(data);
        }
        if let Some(node) = fields.get("external_url") {
            daemon.external_url = external_url(cx, node);
        }
        let listeners = listeners(fields, &mut daemon);
        check_listeners(cx, &listeners, daemon.insecure);
        let _ = fields.get("journal").map(|node| journal(cx, node, &mut daemon.journal));
        let _ = fields.get("history").map(|node| history(cx, node, &mut daemon.history));
        let _ = fields.get("log").map(|node| log(cx, node, &mut daemon));
        if let Some(node) = fields.get("export") {
            daemon.export = export(cx, node, &listeners);
        }
        if let Some(node) = fields.get("writes") {
            let allowed = cx.fields(node, "writes", |fields| {
                let node = fields.need("allow", "[ chat.example.com ]")?;
                let items = cx.items(node, "allow");
                Some(items.iter().filter_map(|node| cx.write_target(node)).collect())
            });
            daemon.writes_allowed = allowed.flatten().unwrap_or_default();
        }
        if let Some(node) = fields.get("limits") {
            daemon.limits = cx.limits(node);
        }
        if let Some(node) = fields.get("exec") {
            daemon.programs_allowed = cx.programs(node);
        }
        if let Some(node) = fields.get("blackbox") {
            daemon.blackbox_allowed = super::modules::allow(cx, node);
        }
        if let Some(node) = fields.get("calibration") {
            daemon.calibration_every = calibration(cx, node, daemon.calibration_every);
        }
        let phones = fields.get("phones").map(|node| phones(cx, node));
        (daemon, phones.unwrap_or_default())
    })
}

/// `listen`, `otlp: { grpc, http, tokens }`, `api: { tokens }`.
fn listeners(fields: &mut Fields<'_>, daemon: &mut Daemon) -> Vec<Listener> {
    let cx = fields.cx;
    daemon.listen = fields.address("listen").unwrap_or(daemon.listen);
    if let Some(node) = fields.get("api") {
        let tokens = cx.fields(node, "api", |fields| fields.get("tokens").map(|n| tokens(cx, n)));
        daemon.api_tokens = tokens.flatten().unwrap_or_default();
    }
    let mut places = (fields.at("listen"), fields.at("listen"));
    if let Some(node) = fields.get("otlp") {
        let _ = cx.fields(node, "otlp", |fields| {
            daemon.otlp_grpc = fields.address("grpc").unwrap_or(daemon.otlp_grpc);
            daemon.otlp_http = fields.address("http").unwrap_or(daemon.otlp_http);
            let tokens = fields.get("tokens").map(|node| tokens(cx, node));
            daemon.otlp_tokens = tokens.unwrap_or_default();
            places = (fields.at("grpc"), fields.at("http"));
        });
    }
    let listener = |key, address, at, tokens: &[NamedSecret], place| Listener {
        key,
        address,
        at,
        has_tokens: !tokens.is_empty(),
        tokens: place,
    };
    vec![
        listener("listen", daemon.listen, fields.at("listen"), &daemon.api_tokens, "api"),
        listener("grpc", daemon.otlp_grpc, places.0, &daemon.otlp_tokens, "otlp"),
        listener("http", daemon.otlp_http, places.1, &daemon.otlp_tokens, "otlp"),
    ]
}

/// No two on one address, and none reachable from elsewhere without tokens.
fn check_listeners(cx: &Context<'_>, listeners: &[Listener], insecure: bool) {
    for (index, listener) in listeners.iter().enumerate() {
        let Listener { key, address, at, has_tokens, tokens } = listener;
        if !address.ip().is_loopback() && !has_tokens && !insecure {
            let message = format!("{address} can be reached by others, and `{key}` has no tokens");
            let hint = format!(
                "add {tokens}: {{ tokens: {{ NAME: \"${{env.TOKEN}}\" }} }}, or say insecure: true"
            );
            cx.problems.wrong_hint(*at, message, hint);
        }
        let mut before = listeners.iter().take(index);
        if let Some(other) = before.find(|o| o.address == *address && address.port() != 0) {
            let message = format!("`{key}` listens on {address}, and so does `{}`", other.key);
            cx.problems.wrong_hint(*at, message, "give each a port of its own");
        }
    }
}

/// `tokens: { grafana: "${env.GRAFANA_TOKEN}" }`.
fn tokens(cx: &Context<'_>, node: &Node) -> Vec<NamedSecret> {
    let Value::Map(entries) = &node.value else {
        cx.expected(node, "tokens", "a mapping of names and tokens");
        return Vec::new();
    };
    let one = |entry: &Entry| {
        let secret = cx.secret(&entry.value, &entry.key)?;
        if !super::names::is_name(&entry.key) {
            let message = format!("`{}` is not a name", quoted(&entry.key));
            cx.problems.wrong_hint(entry.at, message, "use letters, digits and . _ - only");
            return None;
        }
        if secret.reveal().len() < MIN_TOKEN {
            let message =
                format!("the token `{}` is shorter than {MIN_TOKEN} characters", entry.key);
            let hint = "make one with: openssl rand -hex 24";
            cx.problems.wrong_hint(entry.value.at, message, hint);
            return None;
        }
        Some((entry.key.clone(), secret))
    };
    entries.iter().filter_map(one).collect()
}

fn journal(cx: &Context<'_>, node: &Node, limits: &mut JournalLimits) {
    let _ = cx.fields(node, "journal", |fields| {
        let read = JournalLimits {
            bulk_keep: fields.duration("bulk_keep", HOUR..=YEAR).unwrap_or(limits.bulk_keep),
            bulk_keep_bytes: fields
                .bytes("bulk_keep_bytes", 256 * MIB..=64 * TIB)
                .unwrap_or(limits.bulk_keep_bytes),
            control_keep: fields
                .duration("control_keep", 24 * HOUR..=10 * YEAR)
                .unwrap_or(limits.control_keep),
            segment_bytes: fields
                .bytes("segment_bytes", MIB..=1_024 * MIB)
                .unwrap_or(limits.segment_bytes),
        };
        *limits = read;
    });
}

fn history(cx: &Context<'_>, node: &Node, limits: &mut HistoryLimits) {
    let _ = cx.fields(node, "history", |fields| {
        let read = HistoryLimits {
            ten_seconds_keep: fields
                .duration("ten_seconds_keep", HOUR..=YEAR)
                .unwrap_or(limits.ten_seconds_keep),
            one_minute_keep: fields
                .duration("one_minute_keep", HOUR..=YEAR)
                .unwrap_or(limits.one_minute_keep),
            max_disk_bytes: fields
                .bytes("max_disk_bytes", 64 * MIB..=64 * TIB)
                .unwrap_or(limits.max_disk_bytes),
        };
        *limits = read;
    });
}

fn log(cx: &Context<'_>, node: &Node, daemon: &mut Daemon) {
    let _ = cx.fields(node, "log", |fields| {
        let format = fields.get("format").and_then(|n| cx.choice(n, "format", LOG_FORMATS));
        daemon.log_format = format.unwrap_or_default();
        if let Some(level) = fields.text("level") {
            if EnvFilter::try_new(&level).is_ok() {
                daemon.log_level = level;
            } else {
                let message = format!("`{}` is not a log filter", quoted(&level));
                let hint =
                    "error, warn, info, debug or trace, or as in info,radiosonde::probe=debug";
                cx.problems.wrong_hint(fields.at("level"), message, hint);
            }
        }
    });
}

/// `calibration: { every: 6h }`, or `off`.
fn calibration(cx: &Context<'_>, node: &Node, default: Option<Duration>) -> Option<Duration> {
    if let Value::Map(_) = &node.value {
        let every = cx.fields(node, "calibration", |fields| fields.duration("every", CALIBRATION));
        return every.flatten().or(default);
    }
    cx.choice(node, "calibration", &[("off", None)]).unwrap_or(default)
}

/// `export: { otlp: { endpoint, protocol, headers, probes, own } }`.
fn export(cx: &Context<'_>, node: &Node, listeners: &[Listener]) -> Option<OtlpExport> {
    let otlp = cx.fields(node, "export", |fields| fields.need("otlp", "{ endpoint: … }"))??;
    cx.fields(otlp, "otlp", |fields| {
        let endpoint = fields.need("endpoint", "http://collector.example.com:4317");
        let endpoint = endpoint.and_then(|node| endpoint_url(cx, node, listeners));
        let protocol = fields.get("protocol").and_then(|n| cx.choice(n, "protocol", PROTOCOLS));
        let headers = fields.get("headers").map(|node| secret_headers(cx, node));
        let probes = fields.flag("probes").unwrap_or(true);
        let own = fields.flag("own").unwrap_or(false);
        Some(OtlpExport {
            endpoint: endpoint?,
            protocol: protocol.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            probes,
            own,
        })
    })?
}

fn endpoint_url(cx: &Context<'_>, node: &Node, listeners: &[Listener]) -> Option<String> {
    let url = http_url(cx, node, "endpoint")?;
    let own: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    if forwards_to_self(url.as_str(), &own) {
        let message = "this is radiosonde's own listener: it would report to itself";
        cx.problems.wrong_hint(node.at, message, "name your collector");
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn external_url(cx: &Context<'_>, node: &Node) -> Option<String> {
    let url = http_url(cx, node, "external_url")?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

fn http_url(cx: &Context<'_>, node: &Node, key: &str) -> Option<Url> {
    let text = cx.text(node, key)?;
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        let message = format!("`{}` is not an http:// or https:// address", quoted(text));
        let hint = "for example https://radiosonde.example.com";
        cx.problems.wrong_hint(node.at, message, hint);
    }
    url
}

/// `phones: { region, routes, keep_attributes, labels, max_series_per_app, max_apps }`.
fn phones(cx: &Context<'_>, node: &Node) -> Phones {
    let mut phones = Phones::default();
    let _ = cx.fields(node, "phones", |fields| {
        phones.region_attribute = fields.text("region").unwrap_or(phones.region_attribute.clone());
        phones.routes = fields.get("routes").map(|node| routes(cx, node)).unwrap_or_default();
        let kept = fields.get("keep_attributes").map(|node| texts(cx, node, "keep_attributes"));
        phones.keep_attributes =
            kept.unwrap_or_default().into_iter().map(|(text, _)| text).collect();
        let series = fields.integer("max_series_per_app", 10..=1_000_000);
        let apps = fields.integer("max_apps", 1..=100);
        let size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        phones.max_series_per_app = size(series).unwrap_or(phones.max_series_per_app);
        phones.max_apps = size(apps).unwrap_or(phones.max_apps);
        if let Some(node) = fields.get("labels") {
            phones.labels = phone_labels(cx, node, &phones);
        }
    });
    phones
}

fn routes(cx: &Context<'_>, node: &Node) -> Vec<String> {
    let one = |(text, at): (String, Place)| {
        if !is_template(&text) {
            let message = format!("`{}` is not a path template", quoted(&text));
            cx.problems.wrong_hint(at, message, "for example /rooms/{id}/messages");
            return None;
        }
        Some(text)
    };
    texts(cx, node, "routes").into_iter().filter_map(one).collect()
}

/// Attributes that become labels: kept by redaction, and of nobody in particular.
fn phone_labels(cx: &Context<'_>, node: &Node, phones: &Phones) -> Vec<String> {
    let probes = super::probe::Probes::default();
    let selectors = Selectors { cx, probes: &probes, phones };
    let one = |(key, at): (String, Place)| {
        if IDENTITIES.contains(&key.as_str()) {
            let message = format!("`{key}` identifies one installation or session");
            let hint = "as a label it would make a series for each of them";
            cx.problems.wrong_hint(at, message, hint);
            return None;
        }
        selectors.check_attribute(&key, at).then_some(key)
    };
    texts(cx, node, "labels").into_iter().filter_map(one).collect()
}

fn texts(cx: &Context<'_>, node: &Node, key: &str) -> Vec<(String, Place)> {
    let items = cx.items(node, key).iter();
    items.filter_map(|item| Some((cx.text(item, key)?.to_owned(), item.at))).collect()
}
