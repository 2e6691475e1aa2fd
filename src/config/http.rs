//! The `http:` block of a probe.
//!
//! ```yaml
//! http:
//!   post: https://api.example.com/messages     # or url: and method:
//!   headers: { Authorization: "Bearer ${env.API_TOKEN}" }
//!   json: { id: "${run.id}" }                  # or body: as text
//!   status: [201, 202]                         # 2xx unless given
//!   expect: { headers: { content-type: { contains: json } }, body: { json: { ok: true } } }
//!   # of an answer that streams: expect: { first_byte_within: 100ms, max_gap: 200ms, min_chunks: 3 }
//!   redirects: 2                               # none unless given
//!   version: auto                              # auto, 1.1, 2 or 3 (over QUIC)
//!   tls: { ca_file: ca.pem, server_name: api.internal }
//! ```

use super::features;
use super::fields::{Context, Fields};
use super::scalar::quoted;
use super::steps::{Steps, parse_specimen};
use super::template::{Secrets, is_target};
use super::tree::{Entry, Node, Place, Value};
use crate::base::secret::Secret;
use crate::probe::spec::{HeaderText, HttpStep, HttpVersion, TlsOptions};
use crate::probe::writes::is_reading;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// Headers of one request.
pub(super) const MAX_HEADERS: usize = 100;
/// Methods that have a key of their own.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];
/// Headers that the probe sets itself.
pub(super) const OWN_HEADERS: [&str; 11] = [
    "baggage",
    "connection",
    "content-length",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];
/// Headers whose value is a secret even when it stands in the file.
pub(super) const SECRET_HEADERS: [&str; 5] =
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"];

const VERSIONS: &[(&str, HttpVersion)] = &[
    ("auto", HttpVersion::Auto),
    ("1.1", HttpVersion::Http1),
    ("2", HttpVersion::Http2),
    ("3", HttpVersion::Http3),
];

impl Steps<'_> {
    /// The block.
    pub(super) fn http(&self, node: &Node) -> Option<HttpStep> {
        self.cx.fields(node, "an http block", |fields| {
            let (method, url) = self.request_line(fields);
            let mut headers = self.headers(fields);
            let body = self.body(fields, &mut headers);
            if let (Some(method), Some(_)) = (reading(method.as_deref()), &body) {
                let hint = "write post: instead";
                self.cx.problems.wrong_hint(fields.at, format!("{method} sends no body"), hint);
            }
            let expect = fields.get("expect").map(|node| self.answer(node)).unwrap_or_default();
            let status = fields.get("status").map(|node| self.status(node));
            let redirects = fields.integer("redirects", 0..=10);
            let version =
                fields.get("version").and_then(|n| self.cx.choice(n, "version", VERSIONS));
            if version == Some(HttpVersion::Http3) {
                self.check_http3(fields, url.as_deref());
            }
            let tls = self.tls(fields, url.as_deref());
            Some(HttpStep {
                method: method?,
                url: url?,
                headers,
                body,
                version: version.unwrap_or_default(),
                status: status.unwrap_or_default(),
                header_checks: expect.headers,
                body_checks: expect.body,
                flow_checks: expect.flow,
                max_redirects: redirects.and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
                tls,
            })
        })?
    }

    /// What HTTP/3 needs: a build that has it, and a URL of which all is encrypted.
    fn check_http3(&self, fields: &Fields<'_>, url: Option<&str>) {
        let at = fields.at("version");
        self.cx.need(features::HTTP3, at);
        if url.is_some_and(|url| url.starts_with("http:")) {
            let message = "HTTP/3 is always encrypted";
            self.cx.problems.wrong_hint(at, message, "use https:// in the URL");
        }
    }

    /// Method and URL: `post: URL`, or `url:` with `method:`.
    fn request_line(&self, fields: &mut Fields<'_>) -> (Option<String>, Option<String>) {
        let given = fields.get("method").and_then(|node| self.method(node));
        let keys: Vec<&'static str> = std::iter::once("url").chain(METHODS).collect();
        let Some((key, node)) = fields.exactly_one(&keys) else { return (None, None) };
        let url = self.url(node, key, &["http", "https"]);
        let method = if key == "url" {
            given.unwrap_or_else(|| "GET".to_owned())
        } else {
            if fields.has("method") {
                let message = format!("`{key}` is a method already");
                self.cx.problems.wrong_hint(
                    fields.at("method"),
                    message,
                    "write url: with method:",
                );
            }
            key.to_uppercase()
        };
        if let (Some(url), None) = (&url, reading(Some(&method))) {
            self.check_write(node.at, url);
        }
        (Some(method), url)
    }

    fn method(&self, node: &Node) -> Option<String> {
        let text = self.cx.text(node, "method")?;
        let upper = text.to_uppercase();
        if http::Method::from_bytes(upper.as_bytes()).is_ok() && upper != "CONNECT" {
            return Some(upper);
        }
        self.cx.problems.wrong(node.at, format!("`{}` is not a method", quoted(text)));
        None
    }

    fn body(
        &self,
        fields: &mut Fields<'_>,
        headers: &mut Vec<(String, HeaderText)>,
    ) -> Option<String> {
        let text = fields.get("body");
        let json = fields.get("json");
        if text.is_some() && json.is_some() {
            let message = "`body` and `json` are both the body";
            self.cx.problems.wrong_hint(fields.at("json"), message, "give one of them");
        }
        if let Some(node) = text {
            return self.message(node, "body");
        }
        let json = self.json(json?, Secrets::Allowed)?;
        if !headers.iter().any(|(name, _)| name == "content-type") {
            let value = HeaderText::Plain("application/json".to_owned());
            headers.push(("content-type".to_owned(), value));
        }
        Some(json.to_string())
    }

    /// A URL with one of `schemes`; its query may be completed by the run.
    pub(super) fn url(&self, node: &Node, key: &str, schemes: &[&str]) -> Option<String> {
        let text = self.cx.raw_text(node, key)?.trim();
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        let wrong = |message: String, hint: String| {
            self.cx.problems.wrong_hint(node.at, message, hint);
            None
        };
        // Each run sees what its target is.
        if is_target(&filled.text) {
            return Some(filled.text);
        }
        let Some(url) = parse_specimen(&filled.text) else {
            let scheme = schemes.last().copied().unwrap_or("https");
            let example = format!("for example {scheme}://chat.example.com/path");
            return wrong(format!("`{}` is not a URL", quoted(text)), example);
        };
        if !schemes.contains(&url.scheme()) {
            let message = format!("`{key}` cannot begin with {}://", quoted(url.scheme()));
            return wrong(message, format!("write {}://", schemes.join(":// or ")));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return wrong(format!("`{}` names no host", quoted(text)), "add one".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            let hint = "send them as headers: { Authorization: \"Basic ${env.BASIC}\" }";
            return wrong("a URL may not hold credentials".to_owned(), hint.to_owned());
        }
        Some(filled.text)
    }

    /// Headers to send, names in lower case.
    pub(super) fn headers(&self, fields: &mut Fields<'_>) -> Vec<(String, HeaderText)> {
        self.headers_under("headers", fields)
    }

    /// Headers to send that stand under `key`, names in lower case.
    pub(super) fn headers_under(
        &self,
        key: &'static str,
        fields: &mut Fields<'_>,
    ) -> Vec<(String, HeaderText)> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            self.cx.expected(node, key, "a mapping of names and values");
            return Vec::new();
        };
        self.cx.check_header_count(node, entries.len());
        let mut headers: Vec<(String, HeaderText)> = Vec::new();
        for entry in entries.iter().take(MAX_HEADERS) {
            let value = self.header_value(entry);
            let Some(name) = self.cx.header_name(&entry.key, entry.at) else { continue };
            if OWN_HEADERS.contains(&name.as_str()) {
                let message = format!("the header {name} is set by the probe itself");
                self.cx.problems.wrong_hint(entry.at, message, "remove it");
            } else if headers.iter().any(|(known, _)| *known == name) {
                self.cx.problems.wrong(entry.at, format!("the header {name} is given twice"));
            } else if let Some((text, is_secret)) = value {
                let is_secret = is_secret || SECRET_HEADERS.contains(&name.as_str());
                let text = if is_secret {
                    HeaderText::Secret(Secret::new(text))
                } else {
                    HeaderText::Plain(text)
                };
                headers.push((name, text));
            }
        }
        headers
    }

    fn header_value(&self, entry: &Entry) -> Option<(String, bool)> {
        let text = self.cx.raw_text(&entry.value, &entry.key)?;
        let at = entry.value.at;
        let filled = self.cx.run_text(at, text, &self.scope, Secrets::Allowed)?;
        if HeaderValue::from_str(&filled.text).is_err() {
            let message = format!("the value of {} holds what no header may", quoted(&entry.key));
            self.cx.problems.wrong_hint(at, message, "use visible ASCII on one line");
            return None;
        }
        Some((filled.text, filled.is_secret))
    }

    /// `tls: { ca_file, server_name, insecure_skip_verify }`.
    pub(super) fn tls(&self, fields: &mut Fields<'_>, url: Option<&str>) -> TlsOptions {
        let Some(node) = fields.get("tls") else { return TlsOptions::default() };
        if url.is_some_and(|url| url.starts_with("http:") || url.starts_with("ws:")) {
            let hint = "remove it, or use https:// or wss://";
            self.cx.problems.warn(node.at, "`tls` has no effect without TLS", hint);
        }
        let options = self.cx.fields(node, "a tls block", |fields| self.tls_options(fields));
        options.unwrap_or_default()
    }

    /// What stands in a `tls:` block of any protocol.
    pub(super) fn tls_options(&self, fields: &mut Fields<'_>) -> TlsOptions {
        TlsOptions {
            ca_pem: fields.get("ca_file").and_then(|node| self.ca_pem(node)),
            server_name: fields.text("server_name"),
            insecure_skip_verify: fields.flag("insecure_skip_verify").unwrap_or(false),
        }
    }

    fn ca_pem(&self, node: &Node) -> Option<Arc<str>> {
        let name = self.cx.text(node, "ca_file")?;
        let wrong = |message: String| {
            let hint = "a path counts from the folder of this file";
            self.cx.problems.wrong_hint(node.at, message, hint);
            None
        };
        match self.cx.files.read_beside(node.at.file, name) {
            Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Some(pem.into()),
            Ok(_) => wrong(format!("{} holds no certificate in PEM form", quoted(name))),
            Err(reason) => wrong(format!("{} cannot be read: {reason}", quoted(name))),
        }
    }
}

/// The method, when it is one that only reads.
fn reading(method: Option<&str>) -> Option<&str> {
    method.filter(|method| is_reading(method))
}

impl Context<'_> {
    /// Reports more headers than a request has.
    pub(super) fn check_header_count(&self, node: &Node, count: usize) {
        if count > MAX_HEADERS {
            self.problems.wrong(node.at, format!("more than {MAX_HEADERS} headers"));
        }
    }

    /// The name of a header, in lower case.
    pub(super) fn header_name(&self, text: &str, at: Place) -> Option<String> {
        match HeaderName::from_bytes(text.as_bytes()) {
            Ok(name) => Some(name.as_str().to_owned()),
            Err(_) => {
                let message = format!("`{}` is not the name of a header", quoted(text));
                self.problems.wrong(at, message);
                None
            }
        }
    }
}
