//! What the front door is configured with. `config/` fills it in from YAML.

use super::redact::IdentityKey;
use crate::base::secret::Secret;
use std::net::{Ipv4Addr, SocketAddr};

const MIB: usize = 1024 * 1024;

/// Addresses, limits, tokens and privacy of the front door.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where OTLP/gRPC is served; the application binds it.
    pub grpc_listen: SocketAddr,
    /// Where OTLP/HTTP is served; the application binds it.
    pub http_listen: SocketAddr,
    /// The largest request in bytes, as received and again after inflation.
    pub max_request_bytes: usize,
    /// Inflated bytes of all requests in flight; decoded ones weigh on it with a quarter of what
    /// they take.
    pub inflight_inflated_bytes: usize,
    /// Bytes of all requests in flight as received.
    pub inflight_compressed_bytes: usize,
    /// Who may send. Empty: anybody.
    pub tokens: Vec<Token>,
    /// Attributes to keep beyond [`redact::DEFAULT_ALLOWED`](super::redact::DEFAULT_ALLOWED).
    pub extra_attributes: Vec<String>,
    /// Key of the hash that stands in for installation and session ids.
    pub identity_key: IdentityKey,
}

/// A bearer token and the name that its sender goes by.
#[derive(Clone, Debug)]
pub struct Token {
    /// The sender's name in the journal.
    pub name: String,
    /// The token itself.
    pub secret: Secret,
}

impl Config {
    /// The defaults: loopback, 64 MiB a request, no tokens.
    #[must_use]
    pub fn new(identity_key: IdentityKey) -> Self {
        Self {
            grpc_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            http_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            max_request_bytes: 64 * MIB,
            inflight_inflated_bytes: 256 * MIB,
            inflight_compressed_bytes: 64 * MIB,
            tokens: Vec::new(),
            extra_attributes: Vec::new(),
            identity_key,
        }
    }
}
