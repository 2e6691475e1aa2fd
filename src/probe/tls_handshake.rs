//! The TLS step: the handshake alone, and what it tells of the server's certificates.
//!
//! The facts are reported whether the certificates are accepted or not. The verifier is the one
//! that every other probe uses; a witness in front of it keeps what was presented.

use super::certificate::{Chain, MAX_CHAIN, NameCheck};
use super::check::Check;
use super::dial::{StepContext, dial_tcp, handshake, handshake_with};
use super::failure::{Attempt, failure, of_io};
use super::record::StepRecord;
use super::spec::TlsOptions;
use super::target::Target;
use crate::base::clock::Clock;
use crate::base::duration;
use crate::model::probe::FailureReason;
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Makes a TLS handshake.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsStep {
    /// `tls://host:port`.
    pub url: String,
    /// Whom to trust, and as whom the server must prove itself.
    pub tls: TlsOptions,
    /// Protocols to offer, one of which the server must choose; none are offered when empty.
    pub alpn: Vec<String>,
    /// No older version may come out of the handshake.
    pub min_version: Option<TlsVersion>,
    /// Every certificate that the server presents must still be valid for so long.
    pub valid_for: Option<Duration>,
    /// What the server's own certificate must be for.
    pub names: Vec<NameCheck>,
}

/// A version of TLS that can come out of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

/// Keeps what a server presents, and leaves the judgement to the verifier behind.
#[derive(Debug)]
struct Witness {
    verifier: Arc<dyn ServerCertVerifier>,
    presented: Mutex<Vec<CertificateDer<'static>>>,
}

/// Tells rustls the time by our clock.
#[derive(Debug)]
struct Time(Clock);

/// Carries out the step.
pub(super) async fn run(
    step: &TlsStep,
    with: StepContext<'_>,
    record: &mut StepRecord,
) -> Attempt<Option<Bytes>> {
    let target = Target::parse(&with.variables.fill(&step.url)?, ["tcp", "tls"])?;
    record.talks("tls", target.to_string());
    let witness = Arc::new(Witness {
        verifier: with.context.tls.verifier_for(&step.tls)?,
        presented: Mutex::new(Vec::new()),
    });
    let config = Arc::new(config(step, Arc::clone(&witness), with)?);
    let tcp = dial_tcp(&target, with, record).await?;
    let name = step.tls.server_name.as_deref().unwrap_or(&target.host);
    let shaken = handshake(tcp, name, config, with, record).await;
    let now = i64::try_from(with.context.clock.now().0 / 1_000_000_000).unwrap_or(i64::MAX);
    let chain = Chain::read(&witness.presented.lock());
    if let Some(chain) = &chain {
        chain.note(record);
    }
    let stream = shaken?.map_err(|error| refused(&error, name, chain.as_ref(), now))?;
    judge(step, stream.get_ref().1, chain.as_ref(), now, record)?;
    Ok(None)
}

fn config(step: &TlsStep, witness: Arc<Witness>, with: StepContext<'_>) -> Attempt<ClientConfig> {
    let time = Arc::new(Time(with.context.clock.clone()));
    let mut config = ClientConfig::builder_with_details(with.context.tls.provider(), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| failure(FailureReason::Local, format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(witness)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = step.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// Why the handshake failed: what is wrong with the certificate, where it is that.
fn refused(
    error: &io::Error,
    name: &str,
    chain: Option<&Chain>,
    now: i64,
) -> crate::model::probe::Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if let (Some(Error::InvalidCertificate(why)), Some(chain)) = (inner, chain) {
        let words = chain.refusal(why, name, now);
        let text = format!("the certificate of {name} is refused: {words}");
        return failure(FailureReason::Tls, text);
    }
    of_io(error, FailureReason::Tls, &handshake_with(name))
}

/// Makes all the checks, so that a report shows everything that is wrong at once.
fn judge(
    step: &TlsStep,
    session: &ClientConnection,
    chain: Option<&Chain>,
    now: i64,
    record: &mut StepRecord,
) -> Attempt<()> {
    let mut checks = Vec::new();
    let agreed = session.alpn_protocol().map(String::from_utf8_lossy);
    if let Some(agreed) = &agreed {
        record.attribute("tls.next_protocol", agreed.as_ref());
    }
    if !step.alpn.is_empty() {
        // A server cannot choose what was not offered: the handshake would have failed.
        let name = format!("the server chooses {}", step.alpn.join(" or "));
        checks.push(Check::new(name, agreed.is_some(), || "no protocol was chosen".to_owned()));
    }
    if let Some(least) = step.min_version {
        let version = session.protocol_version().and_then(TlsVersion::of);
        let holds = version.is_some_and(|version| version >= least);
        checks.push(Check::new(format!("the version is {least} or later"), holds, || {
            version.map_or_else(|| "another".to_owned(), |version| version.to_string())
        }));
    }
    let mut ask = |name: String, found: &dyn Fn(&Chain) -> Result<(), String>| {
        let unread = || Err("the certificate cannot be read".to_owned());
        checks.push(Check { name, found: chain.map_or_else(unread, found) });
    };
    if let Some(length) = step.valid_for {
        let name = format!("the certificates are valid for {} more", duration::format(length));
        ask(name, &|chain| chain.valid_for(length, now));
    }
    for name in &step.names {
        ask(format!("the certificate is for {name}"), &|chain| chain.covers(name));
    }
    let complaint = checks.iter().find_map(Check::complaint);
    for Check { name, found } in checks {
        record.check(name, found);
    }
    complaint.map_or(Ok(()), |complaint| Err(failure(FailureReason::Check, complaint)))
}

// === impl TlsVersion ===

impl TlsVersion {
    fn of(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::V1_2),
            ProtocolVersion::TLSv1_3 => Some(Self::V1_3),
            _ => None,
        }
    }
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "TLS 1.2",
            Self::V1_3 => "TLS 1.3",
        })
    }
}

// === impl Time, Witness ===

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_nanos(self.0.now().0)))
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates);
        let kept = all.take(MAX_CHAIN).map(|certificate| certificate.clone().into_owned());
        *self.presented.lock() = kept.collect();
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
