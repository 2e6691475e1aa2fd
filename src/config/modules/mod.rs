//! `modules:`, as blackbox_exporter's own file has them, unchanged:
//!
//! ```yaml
//! modules:
//!   http_2xx: { prober: http, timeout: 5s, http: { valid_status_codes: [ 200 ] } }
//! ```
//!
//! Texts mean what they mean there: no `${…}` is filled in, but for the groups of a pattern in what is
//! sent after it. A key that blackbox_exporter knows and that cannot be honoured here is a mistake where
//! ignoring it could make a failing target look good, and a warning elsewhere.

mod dialogue;
mod dns;
mod http;
mod shown;
mod tls;

use super::fields::{Context, Fields};
use super::names::suggestion;
use super::scalar::quoted;
use super::tree::{Entry, Node, Value};
use crate::probe::blackbox::{
    GrpcModule, IcmpModule, Module, Modules, Prober, TcpModule, WebSocketModule,
};
use crate::probe::guard::{AddressGuard, AllowedTarget};
use crate::probe::inspection::Families;
use crate::probe::writes::WriteTarget;
use regex::Regex;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The modules that are there when no file has any.
const BUILT_IN: &str = include_str!("built_in.yaml");
const PROBERS: [&str; 6] = ["http", "tcp", "dns", "icmp", "grpc", "websocket"];
/// A compiled regular expression takes at most this much memory.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// Modules of all files.
const MAX_MODULES: usize = 1_000;
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// What `radiosonde.yaml` says of targets on request: `blackbox: { allow: [ … ] }`.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    /// The list, where one is given.
    pub(super) allow: Option<Vec<AllowedTarget>>,
    /// Only this machine reaches the listener.
    pub(super) is_local: bool,
    /// Targets that probes may write to.
    pub(super) writes: Vec<WriteTarget>,
}

impl Access {
    /// Without a list everything may be probed where only this machine can ask, and else nothing.
    fn guard(&self) -> AddressGuard {
        match &self.allow {
            Some(entries) => AddressGuard::Only(entries.clone()),
            None if self.is_local => AddressGuard::Anywhere,
            None => AddressGuard::Only(Vec::new()),
        }
    }

    /// Whoever lists a target for requests has said that modules may talk to it.
    fn writes(&self) -> Arc<[WriteTarget]> {
        let any = self.allow.as_ref().and_then(|_| WriteTarget::parse("*"));
        self.writes.iter().cloned().chain(any).collect()
    }
}

/// Reads the modules of all files.
pub(super) fn read(cx: &Context<'_>, entries: &[Entry], access: &Access) -> Modules {
    let mut modules: BTreeMap<String, Arc<Module>> = BTreeMap::new();
    if entries.len() > MAX_MODULES
        && let Some(entry) = entries.get(MAX_MODULES)
    {
        cx.problems.wrong(entry.at, format!("more than {MAX_MODULES} modules"));
    }
    let mut places: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().take(MAX_MODULES) {
        if let Some(other) = places.insert(&entry.key, entry) {
            let message = format!("there are two modules `{}`", quoted(&entry.key));
            let hint = format!("the other is at {}", cx.files.display(other.at));
            cx.problems.wrong_hint(entry.at, message, hint);
        }
        let module = cx.module(entry);
        modules.extend(module.map(|module| (entry.key.clone(), Arc::new(module))));
    }
    Modules { modules, guard: access.guard(), writes: access.writes() }
}

/// The modules that are built in, as entries.
pub(super) fn built_in(cx: &Context<'_>) -> Vec<Entry> {
    let documents = super::parse::parse(0, BUILT_IN, &cx.problems);
    let roots = documents.iter().filter_map(|document| entries(document));
    let sections = roots.flatten().filter(|entry| entry.key == "modules");
    sections.filter_map(|entry| entries(&entry.value)).flatten().cloned().collect()
}

fn entries(node: &Rc<Node>) -> Option<&[Entry]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

/// `blackbox: { allow: [ "*.example.com:443", 10.0.0.0/8 ] }`.
pub(super) fn allow(cx: &Context<'_>, node: &Node) -> Option<Vec<AllowedTarget>> {
    let one = |node: &Rc<Node>| {
        let text = cx.text(node, "allow")?;
        let entry = AllowedTarget::parse(text);
        if entry.is_none() {
            let message = format!("`{}` is not a target", quoted(text));
            let hint = "for example \"*.example.com:443\", 10.0.0.0/8 or \"127.0.0.1:*\"";
            cx.problems.wrong_hint(node.at, message, hint);
        }
        entry
    };
    let list = cx.fields(node, "blackbox", |fields| {
        let node = fields.need("allow", "[ \"*.example.com:443\" ]")?;
        Some(cx.items(node, "allow").iter().filter_map(one).collect())
    });
    list.flatten()
}

// === a module ===

impl Context<'_> {
    fn module(&self, entry: &Entry) -> Option<Module> {
        let before = self.problems.count();
        let read = self.fields(&entry.value, "a module", |fields| {
            let prober = fields.need("prober", "http").and_then(|node| self.text(node, "prober"));
            let longest = Duration::ZERO..=MAX_TIMEOUT;
            let timeout = fields.duration("timeout", longest).filter(|timeout| !timeout.is_zero());
            let nothing = Node::new(entry.at, Value::Map(Vec::new()));
            let (mut found, mut families) = (None, Families { prefers_v6: true, fallback: true });
            fields.allow(&PROBERS);
            fields.allow(&["unix"]);
            let name = prober?;
            if !PROBERS.contains(&name) {
                let message = format!("there is no prober `{}`", quoted(name));
                let at = fields.at("prober");
                self.problems.wrong_hint(at, message, suggestion(name, &PROBERS, "prober"));
            }
            let block = PROBERS.iter().find(|known| **known == name);
            let block =
                block.and_then(|known| if fields.peek(known) { fields.get(known) } else { None });
            let block = block.unwrap_or(&nothing);
            let _ = self.fields(block, "a prober's block", |fields| {
                families = self.families(fields);
                found = match name {
                    "http" => self.http_module(fields).map(|http| Prober::Http(Box::new(http))),
                    "tcp" => self.tcp_module(fields).map(Prober::Tcp),
                    "dns" => self.dns_module(fields).map(|dns| Prober::Dns(Box::new(dns))),
                    "icmp" => self.icmp_module(fields).map(Prober::Icmp),
                    "grpc" => self.grpc_module(fields).map(Prober::Grpc),
                    "websocket" => self.websocket_module(fields).map(Prober::WebSocket),
                    _ => None,
                };
            });
            Some((found?, families, timeout))
        });
        let (prober, families, timeout) = read.flatten()?;
        (self.problems.count() == before).then(|| Module {
            name: entry.key.clone(),
            timeout,
            families,
            prober,
            shown: shown::yaml(&entry.value),
        })
    }

    /// `preferred_ip_protocol`, IPv6 unless given, and `ip_protocol_fallback`.
    fn families(&self, fields: &mut Fields<'_>) -> Families {
        let words = [("ip4", false), ("ip6", true), ("", true)];
        let key = "preferred_ip_protocol";
        let preferred = fields.get(key).and_then(|node| self.choice(node, key, &words));
        let fallback = fields.flag("ip_protocol_fallback").unwrap_or(true);
        Families { prefers_v6: preferred.unwrap_or(true), fallback }
    }

    fn tcp_module(&self, fields: &mut Fields<'_>) -> Option<TcpModule> {
        self.refuse(fields, &["source_ip_address"], "connections leave by the system's choice");
        let tls = fields.flag("tls").unwrap_or(false);
        let options = self.tls_config(fields);
        let dialogue = fields.get("query_response").map(|node| self.dialogue(node, true));
        Some(TcpModule { tls, options, dialogue: dialogue.unwrap_or_default() })
    }

    fn icmp_module(&self, fields: &mut Fields<'_>) -> Option<IcmpModule> {
        self.refuse(fields, &["source_ip_address"], "echoes leave by the system's choice");
        if fields.flag("dont_fragment") == Some(true) {
            self.unsupported(
                fields,
                "dont_fragment",
                "whether packets are cut up is the system's choice",
            );
        }
        let narrow = |number: Option<u64>| number.and_then(|number| u16::try_from(number).ok());
        let size = narrow(fields.integer("payload_size", 0..=1_400)).unwrap_or(28);
        let limit = fields.integer("ttl", 0..=255).and_then(|limit| u8::try_from(limit).ok());
        Some(IcmpModule { size, hop_limit: limit.filter(|limit| *limit > 0) })
    }

    fn grpc_module(&self, fields: &mut Fields<'_>) -> Option<GrpcModule> {
        let service = fields.get("service").and_then(|node| self.literal_text(node, "service"));
        let tls = fields.flag("tls").unwrap_or(false);
        let options = self.tls_config(fields);
        let metadata = fields.get("metadata").map(|node| self.plain_headers(node, "metadata"));
        let metadata = metadata.unwrap_or_default();
        Some(GrpcModule { service: service.unwrap_or_default(), tls, options, metadata })
    }

    fn websocket_module(&self, fields: &mut Fields<'_>) -> Option<WebSocketModule> {
        let mut headers = fields.get("headers").map(|node| self.plain_headers(node, "headers"));
        let mut all = headers.take().unwrap_or_default();
        let options = match fields.get("http_config") {
            Some(node) => self.fields(node, "http_config", |fields| {
                self.credentials(fields, &mut all);
                self.tls_config(fields)
            }),
            None => {
                self.credentials(fields, &mut all);
                Some(self.tls_config(fields))
            }
        };
        let dialogue = fields.get("query_response").map(|node| self.dialogue(node, false));
        let dialogue = dialogue.unwrap_or_default();
        Some(WebSocketModule { headers: all, options: options.unwrap_or_default(), dialogue })
    }

    // === what modules have in common ===

    /// A pattern. What it is written in is RE2, as there.
    fn pattern(&self, node: &Node, key: &str) -> Option<Regex> {
        let text = self.raw_text(node, key)?;
        match regex::RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
                let message = format!("`{}` is not a regular expression", quoted(text));
                self.problems.wrong_hint(node.at, message, reason);
                None
            }
        }
    }

    /// A list of patterns.
    fn regexes(&self, fields: &mut Fields<'_>, key: &'static str) -> Vec<Regex> {
        let Some(node) = fields.get(key) else { return Vec::new() };
        self.one_or_many(node).into_iter().filter_map(|node| self.pattern(node, key)).collect()
    }

    /// A text that stays as it is; it may be empty.
    fn literal_text(&self, node: &Node, key: &str) -> Option<String> {
        match &node.value {
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => {
                self.expected(node, key, "a text");
                None
            }
        }
    }

    /// Reports keys that cannot be honoured.
    fn refuse(&self, fields: &mut Fields<'_>, keys: &[&'static str], why: &str) {
        for key in keys {
            if fields.has(key) {
                self.unsupported(fields, key, why);
            }
        }
    }

    /// Reports a key without which a failing target could look good.
    fn unsupported(&self, fields: &Fields<'_>, key: &str, why: &str) {
        let message = format!("`{key}` of blackbox_exporter cannot be honoured here");
        self.problems.wrong_hint(fields.at(key), message, why);
    }

    /// Reports keys without which the verdict is the same.
    fn ignore(&self, fields: &mut Fields<'_>, keys: &[&'static str], why: &str) {
        for key in keys {
            if fields.has(key) {
                let message = format!("`{key}` of blackbox_exporter is ignored");
                self.problems.warn(fields.at(key), message, why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
