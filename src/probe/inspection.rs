//! A look into a run for whoever asked for it: what was seen on the wire, whole, and which addresses
//! may be talked to at all.
//!
//! The attributes of a step are short and for people. What is derived from a run by rules that are
//! not the engine's own (those of blackbox_exporter) needs headers, bodies and certificates as they
//! came. Nothing of it is kept beyond the run.

use super::dns::Sections;
use super::failure::{Attempt, failure};
use super::guard::{AddressGuard, Place};
use super::target::Target;
use crate::model::probe::FailureReason;
use ::http::{HeaderMap, Version, response};
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{ClientConnection, ProtocolVersion};
use std::net::{IpAddr, SocketAddr};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// No more answers, handshakes, addresses or lines of one run are kept.
const MAX_KEPT: usize = 64;
/// No more certificates of a chain are looked at.
const MAX_CHAIN: usize = 16;
/// No more names of a certificate are kept.
const MAX_NAMES: usize = 100;

/// What goes along with a run.
#[derive(Debug)]
pub struct Inspection {
    guard: AddressGuard,
    families: Families,
    seen: Mutex<Seen>,
}

/// Which of a name's addresses is talked to: one, of this family where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv6 rather than IPv4.
    pub prefers_v6: bool,
    /// The other family will do.
    pub fallback: bool,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The address of the target, and of each target after it.
    pub addresses: Vec<IpAddr>,
    /// The answers to HTTP requests, redirects first.
    pub answers: Vec<SeenAnswer>,
    /// TLS handshakes that succeeded.
    pub handshakes: Vec<SeenHandshake>,
    /// The answer to a DNS query.
    pub dns: Option<Sections>,
    /// Lines and messages that were waited for and came.
    pub lines: Vec<String>,
    /// The JSON of the last message of a gRPC call.
    pub grpc: Option<Bytes>,
    /// Why a target was not talked to, and whether it was the one that was asked for.
    pub refusal: Option<Refusal>,
}

/// An address that may not be talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub words: String,
    /// It is the target's own, not where a redirect leads.
    pub is_first: bool,
}

/// An answer to an HTTP request.
#[derive(Clone, Debug)]
pub struct SeenAnswer {
    /// Its status.
    pub status: u16,
    /// The version that the server speaks.
    pub version: Version,
    /// Its headers.
    pub headers: HeaderMap,
    /// The first megabyte of its body.
    pub body: Bytes,
    /// How long the body was.
    pub length: u64,
    /// Whether it came over TLS.
    pub tls: bool,
}

/// A TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenHandshake {
    /// `TLS 1.3`.
    pub version: &'static str,
    /// By its IANA name.
    pub cipher: String,
    /// What the server presented, its own first; what cannot be read is left out.
    pub chain: Vec<SeenCertificate>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenCertificate {
    /// SHA-256 of all of it, in hex.
    pub fingerprint: String,
    /// `CN=chat.example.com,O=Example`.
    pub subject: String,
    /// Likewise.
    pub issuer: String,
    /// Names of hosts that it is for.
    pub names: Vec<String>,
    /// In hex.
    pub serial: String,
    /// Valid until then, Unix seconds.
    pub not_after: i64,
}

// === impl Inspection ===

impl Inspection {
    /// Lets a run talk to what the guard admits.
    #[must_use]
    pub fn new(guard: AddressGuard, families: Families) -> Self {
        Self { guard, families, seen: Mutex::default() }
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// The one address of a target that is to be talked to.
    ///
    /// # Errors
    /// A local failure when it may not be, and a failure to resolve when none is of the family.
    pub(super) fn choose(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
    ) -> Attempt<Vec<SocketAddr>> {
        let Families { prefers_v6, fallback } = self.families;
        let preferred = addresses.iter().find(|address| address.is_ipv6() == prefers_v6);
        let other = addresses.first().filter(|_| fallback);
        let address = preferred.or(other).copied().ok_or_else(|| {
            let family = if prefers_v6 { "IPv6" } else { "IPv4" };
            let words = format!("{} has no {family} address", target.host);
            failure(FailureReason::Resolve, words)
        })?;
        let port = (target.url().scheme() != "icmp").then_some(target.port);
        let place = Place { host: &target.host, port, address: address.ip() };
        let mut seen = self.seen.lock();
        self.guard.admit(place).map_err(|why| {
            let words = format!("{target} is refused: {why}");
            let is_first = seen.addresses.is_empty();
            seen.refusal = Some(Refusal { words: words.clone(), is_first });
            failure(FailureReason::Local, words)
        })?;
        keep(&mut seen.addresses, address.ip());
        Ok(vec![address])
    }

    /// A handshake succeeded.
    pub(super) fn secured(&self, session: &ClientConnection) {
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "unknown",
        };
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let presented = session.peer_certificates().unwrap_or_default();
        let chain = presented.iter().take(MAX_CHAIN).filter_map(|der| SeenCertificate::read(der));
        let handshake = SeenHandshake {
            version,
            cipher: suite.unwrap_or("unknown").replace("TLS13_", "TLS_"),
            chain: chain.collect(),
        };
        keep(&mut self.seen.lock().handshakes, handshake);
    }

    /// An HTTP answer was read.
    pub(super) fn answered(&self, head: &response::Parts, body: (&Bytes, u64), tls: bool) {
        let (body, length) = body;
        let answer = SeenAnswer {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers.clone(),
            body: body.clone(),
            length,
            tls,
        };
        keep(&mut self.seen.lock().answers, answer);
    }

    /// A DNS answer was read.
    pub(super) fn resolved(&self, sections: Sections) {
        self.seen.lock().dns = Some(sections);
    }

    /// A line or message came that was waited for.
    pub(super) fn heard(&self, line: &[u8]) {
        keep(&mut self.seen.lock().lines, String::from_utf8_lossy(line).into_owned());
    }

    /// A message of a gRPC call came.
    pub(super) fn called(&self, json: &Bytes) {
        self.seen.lock().grpc = Some(json.clone());
    }
}

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_KEPT {
        list.push(item);
    }
}

// === impl SeenCertificate ===

impl SeenCertificate {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self {
            fingerprint: sha256(der),
            subject: turned(&certificate.subject().to_string()),
            issuer: turned(&certificate.issuer().to_string()),
            names: dns_names(&certificate),
            serial: format!("{:x}", certificate.tbs_certificate.serial),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

/// A distinguished name from its end to its beginning, as RFC 2253 writes it.
fn turned(name: &str) -> String {
    name.split(", ").collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(",")
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(MAX_NAMES).collect()
}

/// By the hash of a cipher suite: TLS brings the one implementation that there is.
fn sha256(bytes: &[u8]) -> String {
    let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() else { return String::new() };
    let hash = suite.common.hash_provider.hash(bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
