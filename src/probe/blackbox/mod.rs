//! Modules of blackbox_exporter: how to probe whatever target a request names, and what its answer
//! must be.
//!
//! A module makes a probe of one step (`aim`), which the engine runs as any other. What the engine
//! has no check for is judged afterwards by what was seen on the wire (`verdict`), in the order and with
//! the meaning that blackbox_exporter gives it. Module files are read by `config/`, results are shown
//! by `api/`.

mod aim;
mod verdict;

pub use aim::Aim;
pub use verdict::Verdict;

use super::dns::DnsStep;
use super::guard::AddressGuard;
use super::inspection::Families;
use super::spec::{HeaderText, HttpStep, StatusRange, TlsOptions};
use super::writes::WriteTarget;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// All that a request may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Modules {
    /// By name.
    pub modules: BTreeMap<String, Arc<Module>>,
    /// Where targets may be.
    pub guard: AddressGuard,
    /// Where modules may write to, besides loopback.
    pub writes: Arc<[WriteTarget]>,
}

/// One way to probe a target.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// A run takes no longer.
    pub timeout: Option<Duration>,
    /// Which address of a target's name to talk to.
    pub families: Families,
    /// What to do.
    pub prober: Prober,
    /// Its definition as it is shown: YAML, secrets hidden.
    pub shown: String,
}

/// What a module does.
#[derive(Clone, Debug)]
pub enum Prober {
    /// A request.
    Http(Box<HttpModule>),
    /// A connection, and lines over it.
    Tcp(TcpModule),
    /// A query to the target, which is a server.
    Dns(Box<DnsModule>),
    /// An echo.
    Icmp(IcmpModule),
    /// A health check.
    Grpc(GrpcModule),
    /// A connection, and messages over it.
    WebSocket(WebSocketModule),
}

/// A request and what its answer must be.
#[derive(Clone, Debug)]
pub struct HttpModule {
    /// The request; its URL is the target.
    pub step: HttpStep,
    /// Statuses that pass; empty means 200–299.
    pub valid_statuses: Vec<StatusRange>,
    /// Versions that pass, `HTTP/1.1`; any when empty.
    pub valid_versions: Vec<String>,
    /// The last answer may not come over TLS.
    pub fail_if_ssl: bool,
    /// The last answer must come over TLS.
    pub fail_if_not_ssl: bool,
    /// None may match the body.
    pub body_must_not_match: Vec<Regex>,
    /// All must match the body.
    pub body_must_match: Vec<Regex>,
    /// None may match a value of its header.
    pub headers_must_not_match: Vec<HeaderRule>,
    /// All must match a value of their header.
    pub headers_must_match: Vec<HeaderRule>,
    /// A body may not be longer, once inflated.
    pub body_size_limit: Option<u64>,
    /// Bodies come compressed like this.
    pub compression: Option<Compression>,
}

/// How a body was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// Zlib, RFC 1950.
    Deflate,
}

/// A rule for a header.
#[derive(Clone, Debug)]
pub struct HeaderRule {
    /// Its name.
    pub header: String,
    /// What its values are matched with.
    pub pattern: Regex,
    /// No such header passes.
    pub allow_missing: bool,
}

/// A connection, and lines over it.
#[derive(Clone, Debug)]
pub struct TcpModule {
    /// Over TLS from its beginning.
    pub tls: bool,
    /// TLS, whenever it comes.
    pub options: TlsOptions,
    /// What is said.
    pub dialogue: Vec<Exchange>,
}

/// A turn of a dialogue: expect, then send, then change to TLS.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// A line or message to wait for.
    pub expect: Option<Regex>,
    /// What to send then; a template in which `${1}` is what the first group of `expect` matched.
    pub send: Option<String>,
    /// Labels that are made of what came, name and template.
    pub labels: Vec<(String, String)>,
    /// Change to TLS then.
    pub starttls: bool,
}

/// A query and what its answer must be.
#[derive(Clone, Debug)]
pub struct DnsModule {
    /// The query; its server is the target.
    pub step: DnsStep,
    /// Rules for the answer, the authority and the additional section.
    pub sections: [RecordRules; 3],
}

/// Rules for the records of a section, as zone files write them.
#[derive(Clone, Debug, Default)]
pub struct RecordRules {
    /// None may match any record.
    pub fail_if_matches: Vec<Regex>,
    /// Each must match every record, which is what blackbox_exporter does with them, not what it
    /// calls them.
    pub fail_if_all_match: Vec<Regex>,
    /// Each must match every record.
    pub fail_if_not_matches: Vec<Regex>,
    /// At least one must match a record.
    pub fail_if_none_matches: Vec<Regex>,
}

/// An echo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpModule {
    /// Bytes of payload.
    pub size: u16,
    /// The hop limit of the echo.
    pub hop_limit: Option<u8>,
}

/// A health check.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcModule {
    /// The service that is asked about; the server as a whole when empty.
    pub service: String,
    /// Over TLS.
    pub tls: bool,
    /// TLS.
    pub options: TlsOptions,
    /// Headers of the call.
    pub metadata: Vec<(String, HeaderText)>,
}

/// A connection, and messages over it.
#[derive(Clone, Debug)]
pub struct WebSocketModule {
    /// Headers of the upgrade.
    pub headers: Vec<(String, HeaderText)>,
    /// TLS.
    pub options: TlsOptions,
    /// What is said.
    pub dialogue: Vec<Exchange>,
}

// === impl Module, Prober ===

/// By what is shown of them, and by secrets: patterns have no equality of their own.
impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        let of = |module: &Self| (module.name.clone(), module.timeout, module.shown.clone());
        of(self) == of(other) && format!("{:?}", self.prober) == format!("{:?}", other.prober)
    }
}

impl Prober {
    /// Its name in module files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Dns(_) => "dns",
            Self::Icmp(_) => "icmp",
            Self::Grpc(_) => "grpc",
            Self::WebSocket(_) => "websocket",
        }
    }
}

/// A text in which a run fills nothing in.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}
