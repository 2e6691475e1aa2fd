//! What the messages of a method look like: between the JSON of definitions and the bytes of the
//! wire, by the JSON mapping of protobuf.
//!
//! In what comes, fields without presence are written out even when they have their default, so
//! that a definition may expect a `0` or a `false`. 64-bit integers are strings, as the mapping
//! has it.

use super::messages::{HealthCheckRequest, HealthCheckResponse, ServingStatus};
use crate::base::error::Chain;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Value, json};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// No more names are listed in an error.
const MAX_LISTED: usize = 10;

/// The descriptions of services and messages in a `FileDescriptorSet`.
#[derive(Clone)]
pub struct Descriptors {
    pool: DescriptorPool,
    /// Of the set's bytes: what it says, for comparisons.
    digest: u64,
}

/// A method and its messages.
#[derive(Clone, Debug)]
pub struct Method(MethodDescriptor);

/// How the messages of a call are read and written.
#[derive(Clone, Debug)]
pub(super) enum Codec {
    /// `grpc.health.v1.Health/Check`.
    Health,
    /// By descriptors.
    Method(Method),
}

/// Cuts `package.Service/Method` in two; none when it is something else.
#[must_use]
pub fn split_path(path: &str) -> Option<(&str, &str)> {
    let is_name = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    path.split_once('/')
        .filter(|(service, method)| is_name(service) && is_name(method) && !method.contains('.'))
}

// === impl Descriptors ===

impl Descriptors {
    /// Reads a set as `protoc --include_imports --descriptor_set_out` and `buf build` write it.
    ///
    /// # Errors
    /// In words, when it is no such set or an import is missing.
    pub fn parse(set: &[u8]) -> Result<Self, String> {
        let pool = DescriptorPool::decode(set).map_err(|error| Chain(&error).to_string())?;
        Ok(Self { pool, digest: xxh3_64(set) })
    }

    /// The method `package.Service/Method`.
    ///
    /// # Errors
    /// In words, with the names that there are.
    pub fn method(&self, path: &str) -> Result<Method, String> {
        let (service, method) =
            split_path(path).ok_or_else(|| format!("`{path}` is not package.Service/Method"))?;
        let Some(found) = self.pool.get_service_by_name(service) else {
            let known: Vec<_> = self.pool.services().map(|s| s.full_name().to_owned()).collect();
            return Err(format!("there is no service `{service}`{}", listed(&known)));
        };
        let named = found.methods().find(|candidate| candidate.name() == method);
        named.map(Method).ok_or_else(|| {
            let known: Vec<_> = found.methods().map(|m| m.name().to_owned()).collect();
            format!("`{service}` has no method `{method}`{}", listed(&known))
        })
    }
}

impl PartialEq for Descriptors {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Files may be large; what tells one from another is enough.
impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptors({:016x})", self.digest)
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_LISTED).map(String::as_str).collect();
    let more = if names.len() > MAX_LISTED { ", …" } else { "" };
    if names.is_empty() {
        String::new()
    } else {
        format!("; there are: {}{more}", shown.join(", "))
    }
}

// === impl Method ===

impl Method {
    /// Whether it takes any number of messages.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.0.is_client_streaming()
    }

    /// Whether it answers with any number of messages.
    #[must_use]
    pub fn answers_many(&self) -> bool {
        self.0.is_server_streaming()
    }

    /// A message for it, as bytes.
    ///
    /// # Errors
    /// In words, when the JSON is not of the message's type.
    pub fn encode(&self, message: &Value) -> Result<Vec<u8>, String> {
        let kind = self.0.input();
        let wrong = format!("the message is not a {}", kind.full_name());
        let message = DynamicMessage::deserialize(kind, message)
            .map_err(|error| format!("{wrong}: {error}"))?;
        Ok(message.encode_to_vec())
    }

    /// [`Self::encode`] of a message that may hold secrets: the error names fields, never values.
    ///
    /// # Errors
    /// In words.
    pub(super) fn encode_filled(&self, message: &Value) -> Result<Vec<u8>, String> {
        self.encode(message).map_err(|_| {
            let kind = self.0.input();
            let fits = |key: &String, value: &Value| {
                let alone = Value::Object([(key.clone(), value.clone())].into_iter().collect());
                DynamicMessage::deserialize(kind.clone(), &alone).is_ok()
            };
            let fields = message.as_object().into_iter().flatten();
            let wrong: Vec<String> = fields
                .filter(|(key, value)| !fits(key, value))
                .map(|(key, _)| {
                    let known = kind.get_field_by_json_name(key);
                    known.or_else(|| kind.get_field_by_name(key)).map_or_else(
                        || format!("there is no field `{key}`"),
                        |field| format!("`{key}` does not fit {:?}", field.kind()),
                    )
                })
                .collect();
            format!("the message is not a {}: {}", kind.full_name(), wrong.join(", "))
        })
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value, String> {
        let kind = self.0.output();
        let wrong = format!("a message is not a {}", kind.full_name());
        let message =
            DynamicMessage::decode(kind, bytes).map_err(|error| format!("{wrong}: {error}"))?;
        let options = SerializeOptions::new().skip_default_fields(false);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|error| format!("{wrong}: {error}"))
    }
}

// === impl Codec ===

impl Codec {
    /// Whether the server answers with any number of messages.
    pub(super) fn answers_many(&self) -> bool {
        matches!(self, Self::Method(method) if method.answers_many())
    }

    /// A message of the server, as JSON.
    ///
    /// # Errors
    /// In words, when the bytes are not of the message's type.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Value, String> {
        let Self::Method(method) = self else {
            let answer = HealthCheckResponse::decode(bytes)
                .map_err(|error| format!("a message is not a HealthCheckResponse: {error}"))?;
            return Ok(match ServingStatus::try_from(answer.status) {
                Ok(status) => json!({ "status": status.as_str() }),
                Err(_) => json!({ "status": answer.status }),
            });
        };
        method.decode(bytes)
    }
}

/// The message that asks for the health of a service.
pub(super) fn health_request(service: String) -> Vec<u8> {
    HealthCheckRequest { service }.encode_to_vec()
}
