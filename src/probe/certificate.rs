//! What the certificates of a server say: who, by whom, for which names, how long.
//!
//! Read from what was presented, whether it was accepted or not, so that a refusal can say what is
//! wrong. Certificates are a stranger's bytes: what cannot be read is left out.

use super::record::StepRecord;
use crate::base::duration::humane;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, OtherError};
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// No more certificates of a chain are kept.
pub(super) const MAX_CHAIN: usize = 16;
/// No more names of a certificate are kept.
const MAX_NAMES: usize = 100;
/// So many of them are said.
const SAID_NAMES: usize = 5;

/// A name that a certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameCheck {
    /// A host or an address: named itself, or covered by a wildcard.
    Server(ServerName<'static>),
    /// A wildcard, `*.example.com`, which must be there as it is.
    Wildcard(String),
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `CN=chat.example.com, O=Example`.
    pub subject: String,
    /// The subject of the certificate that signed it.
    pub issuer: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// Whether it may sign others, and so is no server's own.
    is_authority: bool,
    /// Valid until then, Unix seconds.
    pub not_after: i64,
}

/// The certificates that a server presented, its own and those of the authorities above it.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    leaf: CertificateDer<'static>,
    /// In the order presented; the first is the server's own.
    facts: Vec<Facts>,
    length: usize,
}

// === impl NameCheck ===

impl NameCheck {
    /// Reads a name as certificates have them; none when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(parent) = text.strip_prefix("*.") {
            let is_name = matches!(ServerName::try_from(parent), Ok(ServerName::DnsName(_)));
            return is_name.then(|| Self::Wildcard(text.to_lowercase()));
        }
        ServerName::try_from(text.to_owned()).ok().map(Self::Server)
    }
}

impl std::fmt::Display for NameCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(name) => f.write_str(&name.to_str()),
            Self::Wildcard(text) => f.write_str(text),
        }
    }
}

// === impl Chain ===

impl Chain {
    /// Reads what was presented; none when the server's own certificate cannot be read.
    pub(super) fn read(presented: &[CertificateDer<'static>]) -> Option<Self> {
        let (leaf, authorities) = presented.split_first()?;
        let mut facts = vec![Facts::read(leaf)?];
        facts.extend(authorities.iter().filter_map(Facts::read));
        Some(Self { leaf: leaf.clone(), facts, length: presented.len() })
    }

    /// The server's own.
    pub(super) fn own(&self) -> &Facts {
        self.facts.first().expect("reading a chain begins with its first certificate")
    }

    /// The one that expires first.
    fn first_to_expire(&self) -> &Facts {
        self.facts.iter().min_by_key(|facts| facts.not_after).unwrap_or(self.own())
    }

    /// Adds what the certificates say to a step, by the names of OpenTelemetry where it has them.
    pub(super) fn note(&self, record: &mut StepRecord) {
        let own = self.own();
        record.attribute("tls.server.subject", own.subject.as_str());
        record.attribute("tls.server.issuer", own.issuer.as_str());
        record.attribute("tls.server.x509.alternative_names", own.names.join(", "));
        record.attribute("tls.server.not_after", date(own.not_after));
        record.attribute("tls.server.chain.length", self.length);
        record.attribute("tls.server.chain.not_after", date(self.first_to_expire().not_after));
    }

    /// Whether all certificates are still valid `length` after `now`, or else which is not.
    pub(super) fn valid_for(&self, length: Duration, now: i64) -> Result<(), String> {
        let first = self.first_to_expire();
        let needed = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
        if first.not_after.saturating_sub(now) >= needed {
            return Ok(());
        }
        let whose = if first == self.own() { "it".to_owned() } else { first.subject.clone() };
        Err(format!("{whose} {}", expiry(first.not_after, now)))
    }

    /// Whether the server's own certificate is for that name, or else which it is for.
    pub(super) fn covers(&self, name: &NameCheck) -> Result<(), String> {
        let holds = match name {
            NameCheck::Wildcard(text) => {
                self.own().names.iter().any(|known| known.eq_ignore_ascii_case(text))
            }
            NameCheck::Server(name) => ParsedCertificate::try_from(&self.leaf)
                .is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok()),
        };
        if holds { Ok(()) } else { Err(format!("it is for {}", self.said_names())) }
    }

    /// The names, as many as somebody wants to read.
    fn said_names(&self) -> String {
        let names = &self.own().names;
        let said: Vec<&str> = names.iter().take(SAID_NAMES).map(String::as_str).collect();
        match names.len().saturating_sub(said.len()) {
            0 if said.is_empty() => "no name at all".to_owned(),
            0 => said.join(", "),
            more => format!("{} and {more} more", said.join(", ")),
        }
    }

    /// What is wrong with it, in words.
    pub(super) fn refusal(&self, why: &CertificateError, name: &str, now: i64) -> String {
        let own = self.own();
        let whose = |matches: &dyn Fn(&Facts) -> bool| {
            let other = self.facts.iter().find(|facts| matches(facts) && *facts != own);
            other
                .map_or_else(|| "it".to_owned(), |facts| format!("its authority {}", facts.subject))
        };
        match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                let expired = if own.not_after < now { own } else { self.first_to_expire() };
                format!("{} {}", whose(&|facts| facts == expired), expiry(expired.not_after, now))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                let from = i64::try_from(not_before.as_secs()).unwrap_or(i64::MAX);
                let ahead = Duration::from_secs(from.saturating_sub(now).unsigned_abs());
                format!("it is valid only from {} on, in {}", date(from), humane(ahead))
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("it is for {}, not for {name}", self.said_names())
            }
            CertificateError::UnknownIssuer if own.subject == own.issuer => {
                "it is signed by itself, and not one of the trusted authorities".to_owned()
            }
            CertificateError::UnknownIssuer if self.length == 1 => {
                let issuer = &own.issuer;
                format!(
                    "its issuer {issuer} is not trusted, or the server leaves out the certificates \
                     between"
                )
            }
            CertificateError::UnknownIssuer => {
                let last = self.facts.last().unwrap_or(own);
                format!("its chain ends with {}, which is not trusted", last.issuer)
            }
            CertificateError::Other(_) if own.is_authority => {
                "it is an authority's certificate, which cannot be a server's own as well; give \
                 the server one that is not"
                    .to_owned()
            }
            CertificateError::Other(OtherError(error)) => error.to_string(),
            // Its Display names what it is: revoked, not for servers, and so on.
            other => other.to_string(),
        }
    }
}

// === impl Facts ===

impl Facts {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            is_authority: certificate.is_ca(),
            not_after: certificate.validity().not_after.timestamp(),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(MAX_NAMES).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// RFC 3339 in UTC.
fn date(seconds: i64) -> String {
    chrono::DateTime::<chrono::Utc>::from_timestamp(seconds, 0).map_or_else(
        || format!("{seconds} s after 1970"),
        |at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    )
}

/// `expired 2026-11-20T00:00:00Z, 4d ago`.
fn expiry(not_after: i64, now: i64) -> String {
    let distance = humane(Duration::from_secs(not_after.saturating_sub(now).unsigned_abs()));
    if not_after < now {
        format!("expired {}, {distance} ago", date(not_after))
    } else {
        format!("expires {}, in {distance}", date(not_after))
    }
}
