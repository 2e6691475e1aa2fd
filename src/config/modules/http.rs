//! `http:` of a module, and the credentials of HTTP clients.

use super::super::fields::{Context, Fields};
use super::super::http::{OWN_HEADERS, SECRET_HEADERS};
use super::super::scalar::quoted;
use super::super::tree::{Entry, Node, Value};
use crate::base::secret::Secret;
use crate::probe::blackbox::{Compression, HeaderRule, HttpModule, literal};
use crate::probe::spec::{HeaderText, HttpStep, HttpVersion, StatusRange};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// As many redirects as a browser follows, and blackbox_exporter.
const MAX_REDIRECTS: u8 = 10;
/// All statuses: which of them pass is judged with everything else of the module.
const ANY_STATUS: StatusRange = StatusRange { first: 0, last: u16::MAX };
const VERSIONS: [&str; 3] = ["HTTP/1.0", "HTTP/1.1", "HTTP/2.0"];
const NO_PROXY: &str = "requests go to the target itself; for example a scrape through the proxy";

type Headers = Vec<(String, HeaderText)>;

impl Context<'_> {
    pub(super) fn http_module(&self, fields: &mut Fields<'_>) -> Option<HttpModule> {
        let proxies = ["proxy_url", "proxy_from_environment"];
        self.refuse(fields, &proxies, NO_PROXY);
        let of_proxies = ["no_proxy", "proxy_connect_header", "skip_resolve_phase_with_proxy"];
        self.ignore(fields, &of_proxies, "there is no proxy");
        let cel = ["fail_if_body_json_matches_cel", "fail_if_body_json_not_matches_cel"];
        self.refuse(fields, &cel, "write a pattern, or a probe with expect: { body: { json } }");
        if fields.flag("enable_http3").unwrap_or(false) {
            self.unsupported(fields, "enable_http3", "modules speak HTTP/1.1 and HTTP/2");
        }
        let http2 = fields.flag("enable_http2").unwrap_or(true);
        let mut headers = fields.get("headers").map(|node| self.plain_headers(node, "headers"));
        let mut headers = headers.take().unwrap_or_default();
        self.http_headers(fields, &mut headers);
        self.credentials(fields, &mut headers);
        let compression = self.compression(fields, &mut headers);
        let follow = fields.flag("follow_redirects").unwrap_or(true);
        let follow = follow && !fields.flag("no_follow_redirects").unwrap_or(false);
        let method = fields.text("method").map(|method| self.method(&method, fields));
        let statuses = fields.get("valid_status_codes").map(|node| self.statuses(node));
        let versions = fields.get("valid_http_versions").map(|node| self.http_versions(node));
        let limit = fields.bytes("body_size_limit", 0..=64 << 20).filter(|limit| *limit > 0);
        let body = self.module_body(fields);
        Some(HttpModule {
            step: HttpStep {
                flow_checks: crate::probe::spec::FlowChecks::default(),
                method: method.flatten().unwrap_or_else(|| "GET".to_owned()),
                url: String::new(),
                headers,
                body,
                version: if http2 { HttpVersion::Auto } else { HttpVersion::Http1 },
                status: vec![ANY_STATUS],
                header_checks: Vec::new(),
                body_checks: Vec::new(),
                max_redirects: if follow { MAX_REDIRECTS } else { 0 },
                tls: self.tls_config(fields),
            },
            valid_statuses: statuses.unwrap_or_default(),
            valid_versions: versions.unwrap_or_default(),
            fail_if_ssl: fields.flag("fail_if_ssl").unwrap_or(false),
            fail_if_not_ssl: fields.flag("fail_if_not_ssl").unwrap_or(false),
            body_must_not_match: self.regexes(fields, "fail_if_body_matches_regexp"),
            body_must_match: self.regexes(fields, "fail_if_body_not_matches_regexp"),
            headers_must_not_match: self.header_rules(fields, "fail_if_header_matches"),
            headers_must_match: self.header_rules(fields, "fail_if_header_not_matches"),
            body_size_limit: limit,
            compression,
        })
    }

    fn method(&self, text: &str, fields: &Fields<'_>) -> Option<String> {
        if http::Method::from_bytes(text.as_bytes()).is_ok() && text != "CONNECT" {
            return Some(text.to_owned());
        }
        let message = format!("`{}` is not a method", quoted(text));
        self.problems.wrong(fields.at("method"), message);
        None
    }

    fn statuses(&self, node: &Node) -> Vec<StatusRange> {
        let one = |node: &Node| {
            let code = self.integer(node, "valid_status_codes", 100..=999)?;
            let code = u16::try_from(code).ok()?;
            Some(StatusRange { first: code, last: code })
        };
        self.one_or_many(node).into_iter().filter_map(one).collect()
    }

    fn http_versions(&self, node: &Node) -> Vec<String> {
        let words = VERSIONS.map(|version| (version, version));
        let one = |node: &Node| self.choice(node, "valid_http_versions", &words);
        self.one_or_many(node).into_iter().filter_map(one).map(str::to_owned).collect()
    }

    fn module_body(&self, fields: &mut Fields<'_>) -> Option<String> {
        let body = fields.get("body").and_then(|node| self.literal_text(node, "body"));
        let file = fields.get("body_file").and_then(|node| self.file(node, "body_file"));
        body.or(file).map(|text| literal(&text))
    }

    /// `compression: gzip` asks for it, too.
    fn compression(&self, fields: &mut Fields<'_>, headers: &mut Headers) -> Option<Compression> {
        let words = [
            ("gzip", Some(Compression::Gzip)),
            ("deflate", Some(Compression::Deflate)),
            ("identity", None),
            ("none", None),
        ];
        let node = fields.get("compression")?;
        let compression = self.choice(node, "compression", &words)?;
        let name = match compression {
            Some(Compression::Gzip) => "gzip",
            Some(Compression::Deflate) => "deflate",
            None => "identity",
        };
        if !headers.iter().any(|(header, _)| header == "accept-encoding") {
            headers.push(("accept-encoding".to_owned(), HeaderText::Plain(name.to_owned())));
        }
        compression
    }

    fn header_rules(&self, fields: &mut Fields<'_>, key: &'static str) -> Vec<HeaderRule> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        let rule = |node: &std::rc::Rc<Node>| {
            self.fields(node, "a rule for a header", |fields| {
                let header = fields.need("header", "Content-Type");
                let header = header.and_then(|node| {
                    let text = self.text(node, "header")?;
                    self.header_name(text, node.at)
                });
                let pattern = fields.need("regexp", "text/html");
                let pattern = pattern.and_then(|node| self.pattern(node, "regexp"));
                let allow_missing = fields.flag("allow_missing").unwrap_or(false);
                Some(HeaderRule { header: header?, pattern: pattern?, allow_missing })
            })?
        };
        self.items(node, key).iter().filter_map(rule).collect()
    }

    // === headers and credentials ===

    /// `headers: { Accept: text/html }`.
    pub(super) fn plain_headers(&self, node: &Node, key: &str) -> Headers {
        let Value::Map(entries) = &node.value else {
            self.expected(node, key, "a mapping of names and values");
            return Vec::new();
        };
        self.check_header_count(node, entries.len());
        let mut headers = Headers::new();
        for entry in entries {
            let values = self.one_or_many(&entry.value);
            headers.extend(values.into_iter().filter_map(|value| self.module_header(entry, value)));
        }
        headers
    }

    fn module_header(&self, entry: &Entry, value: &Node) -> Option<(String, HeaderText)> {
        let text = self.literal_text(value, &entry.key)?;
        let name = self.header_name(&entry.key, entry.at)?;
        if OWN_HEADERS.contains(&name.as_str()) {
            let message = format!("the header {name} is set by the probe itself");
            self.problems.wrong_hint(entry.at, message, "remove it");
            return None;
        }
        self.header_text(value, &text)?;
        let is_secret = SECRET_HEADERS.contains(&name.as_str());
        let text = literal(&text);
        Some((name, if is_secret { secret(text) } else { HeaderText::Plain(text) }))
    }

    fn header_text(&self, node: &Node, text: &str) -> Option<()> {
        if HeaderValue::from_str(text).is_err() {
            let hint = "use visible ASCII on one line";
            self.problems.wrong_hint(node.at, "the value holds what no header may", hint);
            return None;
        }
        Some(())
    }

    /// `http_headers: { X-Key: { values, secrets, files } }`.
    fn http_headers(&self, fields: &mut Fields<'_>, headers: &mut Headers) {
        let Some(node) = fields.get("http_headers") else { return };
        let Value::Map(entries) = &node.value else {
            self.expected(node, "http_headers", "a mapping of names and values");
            return;
        };
        self.check_header_count(node, entries.len());
        for entry in entries {
            let _ = self.fields(&entry.value, "a header", |fields| {
                for value in self.all_of(fields, "values") {
                    headers.extend(self.module_header(entry, value));
                }
                for value in self.all_of(fields, "secrets") {
                    let header = self.module_header(entry, value);
                    headers.extend(header.map(|(name, text)| (name, hidden(&text))));
                }
                for value in self.all_of(fields, "files") {
                    let text = self.file(value, "files");
                    let name = self.header_name(&entry.key, entry.at);
                    if let (Some(text), Some(name)) = (text, name)
                        && self.header_text(value, text.trim()).is_some()
                    {
                        headers.push((name, secret(literal(text.trim()))));
                    }
                }
            });
        }
    }

    fn all_of<'t>(&self, fields: &mut Fields<'t>, key: &'static str) -> Vec<&'t Node> {
        fields.get(key).map(|node| self.one_or_many(node)).unwrap_or_default()
    }

    /// `basic_auth`, `authorization`, `bearer_token`, each with its variants in files.
    pub(super) fn credentials(&self, fields: &mut Fields<'_>, headers: &mut Headers) {
        self.refuse(fields, &["oauth2"], "fetch a token elsewhere and give it as a file");
        let mut found: Vec<String> = Vec::new();
        if let Some(node) = fields.get("basic_auth") {
            let pair = self.fields(node, "basic_auth", |fields| {
                let user = self.text_or_file(fields, "username", "username_file");
                let password = self.text_or_file(fields, "password", "password_file");
                format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default())
            });
            found.extend(pair.map(|pair| format!("Basic {}", STANDARD.encode(pair))));
        }
        if let Some(node) = fields.get("authorization") {
            let text = self.fields(node, "authorization", |fields| {
                let kind = fields.text("type").unwrap_or_else(|| "Bearer".to_owned());
                let token = self.text_or_file(fields, "credentials", "credentials_file");
                format!("{kind} {}", token.unwrap_or_default())
            });
            found.extend(text);
        }
        let token = self.text_or_file(fields, "bearer_token", "bearer_token_file");
        found.extend(token.map(|token| format!("Bearer {token}")));
        if found.len() > 1 {
            let message = "basic_auth, authorization and bearer_token are each the Authorization";
            self.problems.wrong_hint(fields.at, message, "give one of them");
        }
        let given = headers.iter().any(|(name, _)| name == "authorization");
        let usable = found.into_iter().find(|text| HeaderValue::from_str(text.trim()).is_ok());
        if let Some(text) = usable.filter(|_| !given) {
            headers.push(("authorization".to_owned(), secret(literal(text.trim()))));
        }
    }

    fn text_or_file(
        &self,
        fields: &mut Fields<'_>,
        key: &'static str,
        file: &'static str,
    ) -> Option<String> {
        let text = fields.get(key).and_then(|node| self.literal_text(node, key));
        let read = fields.get(file).and_then(|node| self.file(node, file));
        text.or_else(|| read.map(|text| text.trim().to_owned()))
    }

    /// The text of a file that a module names, from the folder of its own.
    pub(super) fn file(&self, node: &Node, key: &str) -> Option<String> {
        let name = self.raw_text(node, key)?;
        match self.files.read_beside(node.at.file, name) {
            Ok(text) => Some(text),
            Err(reason) => {
                let message = format!("{} cannot be read: {reason}", quoted(name));
                let hint = "a path counts from the folder of this file";
                self.problems.wrong_hint(node.at, message, hint);
                None
            }
        }
    }
}

fn secret(text: String) -> HeaderText {
    HeaderText::Secret(Secret::new(text))
}

fn hidden(text: &HeaderText) -> HeaderText {
    secret(text.reveal().to_owned())
}
