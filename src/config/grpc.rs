//! The `grpc:` block of a probe.
//!
//! ```yaml
//! grpc:
//!   url: https://chat.example.com                # http:// is HTTP/2 in the clear
//!   health: chat.v1.Chat                         # or "" for the server as a whole
//! grpc:
//!   url: https://chat.example.com
//!   method: chat.v1.Chat/Send                    # its messages are asked of the server's reflection, ...
//!   descriptor_set: chat.binpb                   # ... unless this describes them (protoc, buf)
//!   message: { room: probe, text: "${run.id}" }  # JSON mapping of protobuf; a list for client streams
//!   metadata: { authorization: "Bearer ${env.CHAT_TOKEN}" }
//!   status: OK                                   # NOT_FOUND, 5 or a list of these
//!   expect: { json: { text: "${run.id}" }, within: 100ms }
//!   messages: 3                                  # of a stream, at least so many
//!   reads: true                                  # changes nothing: may be called anywhere
//! ```

use super::fields::Fields;
use super::names::nearest;
use super::on_stream::Stream;
use super::scalar::quoted;
use super::steps::{Steps, parse_specimen};
use super::template::Secrets;
use super::tree::{Node, Place, Value};
use crate::probe::grpc::{Call, Code, Descriptors, GrpcStep, split_path};
use crate::probe::spec::{Expect, HeaderText};
use serde_json::Value as Json;

/// Messages of one client stream.
const MAX_MESSAGES: usize = 1_000;
/// Metadata that the protocol sets itself, besides everything that begins with `grpc-`.
const OWN_METADATA: [&str; 2] = ["content-type", "te"];
/// Keys that only a method has.
const METHOD_KEYS: [&str; 4] = ["message", "descriptor_set", "messages", "reads"];

/// What the block says of the method, besides its name.
struct Material {
    /// The messages and where they stand; one that is empty unless given.
    messages: Option<(Place, Vec<Json>)>,
    /// None when there is no descriptor set; nothing within when it is unusable.
    descriptors: Option<(Place, Option<Descriptors>)>,
    /// So many messages must come.
    least: Option<u64>,
}

impl Steps<'_> {
    /// The block.
    pub(super) fn grpc(&self, node: &Node) -> Option<GrpcStep> {
        self.cx.fields(node, "a grpc block", |fields| {
            let url = fields.need("url", "https://chat.example.com");
            let url = url.and_then(|node| self.grpc_url(node));
            let messages = fields.get("message");
            let descriptors = fields.get("descriptor_set");
            let material = Material {
                messages: messages.map(|node| (node.at, self.grpc_messages(node))),
                descriptors: descriptors.map(|node| (node.at, self.descriptors(node))),
                least: fields.integer("messages", 1..=1_000_000),
            };
            let reads = fields.flag("reads").unwrap_or(false);
            let call = match fields.exactly_one(&["health", "method"]) {
                Some(("health", node)) => {
                    self.refuse_beside_health(fields);
                    self.health(node)
                }
                Some((_, node)) => self.method_call(node, url.as_deref(), reads, &material),
                None => None,
            };
            let status = fields.get("status").map(|node| self.codes(node));
            Some(GrpcStep {
                metadata: self.metadata(fields),
                status: status.unwrap_or_default(),
                expect: self.answer_message(fields),
                messages: material.least,
                reads,
                tls: self.tls(fields, url.as_deref()),
                call: call?,
                url: url?,
            })
        })?
    }

    /// A URL without a path, which is the method's.
    fn grpc_url(&self, node: &Node) -> Option<String> {
        let url = self.url(node, "url", &["http", "https"])?;
        let parsed = parse_specimen(&url)?;
        if parsed.path() != "/" || parsed.query().is_some() {
            let message = "the URL of a gRPC server has neither path nor query";
            self.cx.problems.wrong_hint(node.at, message, "give method: package.Service/Method");
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    fn health(&self, node: &Node) -> Option<Call> {
        let Value::Scalar { text, .. } = &node.value else {
            self.cx.expected(node, "health", "the name of a service, or \"\"");
            return None;
        };
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        Some(Call::Health { service: filled.text })
    }

    fn refuse_beside_health(&self, fields: &mut Fields<'_>) {
        for key in METHOD_KEYS {
            if fields.has(key) {
                let message = format!("`{key}` means nothing beside `health`");
                self.cx.problems.wrong_hint(fields.at(key), message, "it belongs to `method`");
            }
        }
    }

    fn method_call(
        &self,
        node: &Node,
        url: Option<&str>,
        reads: bool,
        material: &Material,
    ) -> Option<Call> {
        let path = self.cx.text(node, "method")?;
        if split_path(path).is_none() {
            let message = format!("`{}` is not a method", quoted(path));
            let hint = "write package.Service/Method, for example chat.v1.Chat/Send";
            self.cx.problems.wrong_hint(node.at, message, hint);
            return None;
        }
        if let Some(url) = url.filter(|_| !reads) {
            self.check_write(node.at, &format!("{url}/{path}"));
        }
        let messages = match &material.messages {
            Some((_, messages)) => messages.clone(),
            None => vec![Json::Object(serde_json::Map::new())],
        };
        let descriptors = match &material.descriptors {
            Some((at, descriptors)) => {
                let descriptors = descriptors.as_ref()?;
                self.check_call(node.at, *at, path, descriptors, material);
                Some(descriptors.clone())
            }
            None => None,
        };
        Some(Call::Method { path: path.to_owned(), messages: messages.into(), descriptors })
    }

    /// Says what the descriptors know to be wrong.
    fn check_call(
        &self,
        at: Place,
        set: Place,
        path: &str,
        descriptors: &Descriptors,
        material: &Material,
    ) {
        let wrong = |at: Place, message: String| self.cx.problems.wrong(at, message);
        let method = match descriptors.method(path) {
            Ok(method) => method,
            Err(reason) => return wrong(set, reason),
        };
        if material.least.is_some_and(|least| least > 1) && !method.answers_many() {
            wrong(at, format!("`{path}` answers with one message, and `messages` asks for more"));
        }
        let Some((at, messages)) = &material.messages else { return };
        if messages.len() != 1 && !method.takes_many() {
            wrong(*at, format!("`{path}` takes one message, not {}", messages.len()));
        }
        // What a run fills in may be of any type.
        let is_final = |message: &&Json| !message.to_string().contains('$');
        for message in messages.iter().filter(is_final) {
            if let Err(reason) = method.encode(message) {
                wrong(*at, reason);
            }
        }
    }

    /// A message as a mapping, or a list of them.
    fn grpc_messages(&self, node: &Node) -> Vec<Json> {
        let items = self.cx.one_or_many(node);
        if items.len() > MAX_MESSAGES {
            self.cx.problems.wrong(node.at, format!("more than {MAX_MESSAGES} messages"));
        }
        let message = |node: &Node| match node.value {
            Value::Map(_) => self.json(node, Secrets::Allowed),
            _ => {
                self.cx.expected(node, "message", "a mapping of fields and values");
                None
            }
        };
        items.into_iter().take(MAX_MESSAGES).filter_map(message).collect()
    }

    fn descriptors(&self, node: &Node) -> Option<Descriptors> {
        let name = self.cx.text(node, "descriptor_set")?;
        let wrong = |message: String, hint: &str| {
            self.cx.problems.wrong_hint(node.at, message, hint);
            None
        };
        match self
            .cx
            .files
            .read_bytes_beside(node.at.file, name)
            .map(|set| Descriptors::parse(&set))
        {
            Ok(Ok(descriptors)) => Some(descriptors),
            Ok(Err(reason)) => wrong(
                format!("{} is no usable descriptor set: {}", quoted(name), quoted(&reason)),
                "make it with protoc --include_imports --descriptor_set_out=FILE or buf build -o FILE",
            ),
            Err(reason) => wrong(
                format!("{} cannot be read: {reason}", quoted(name)),
                "a path counts from the folder of this file",
            ),
        }
    }

    fn metadata(&self, fields: &mut Fields<'_>) -> Vec<(String, HeaderText)> {
        let metadata = self.headers_under("metadata", fields);
        for (name, _) in &metadata {
            if name.starts_with("grpc-") || OWN_METADATA.contains(&name.as_str()) {
                let message = format!("the metadata {} is set by the probe itself", quoted(name));
                self.cx.problems.wrong_hint(fields.at("metadata"), message, "remove it");
            }
        }
        metadata
    }

    /// `OK`, `5`, or a list of these.
    fn codes(&self, node: &Node) -> Vec<Code> {
        let one = |node: &Node| {
            let text = self.cx.text(node, "status")?;
            let code = Code::parse(text);
            if code.is_none() {
                let message = format!("`{}` is not a status of gRPC", quoted(text));
                let hint = match nearest(text, Code::names().iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write {} or a number from 0 to 16", Code::names().join(", ")),
                };
                self.cx.problems.wrong_hint(node.at, message, hint);
            }
            code
        };
        self.cx.one_or_many(node).into_iter().filter_map(one).collect()
    }

    fn answer_message(&self, fields: &mut Fields<'_>) -> Option<Expect> {
        let expect = fields.get("expect").and_then(|node| self.expect(node, Stream::WebSocket))?;
        if expect.since.is_some() {
            let message = "`since` means nothing here: a call counts from its own sending";
            self.cx.problems.wrong_hint(fields.at("expect"), message, "remove it");
        }
        Some(expect)
    }
}

#[cfg(test)]
mod tests;
