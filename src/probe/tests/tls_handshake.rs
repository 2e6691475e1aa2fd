//! TLS handshakes with certificates of every kind: sound, expired, of others, from nobody, old.

use super::super::certificate::Chain;
use super::super::spec::{Action, NameCheck, TlsOptions, TlsStep, TlsVersion};
use super::super::{Context, SlotStart, run_once};
use super::servers::{Server, linger, raw, write};
use super::{assert_failure, assert_success, attribute, phases, run, run_within, step};
use crate::base::clock::{Clock, UnixNanos};
use crate::model::probe::{FailureReason, Phase, ProbeRun};
use crate::telemetry::Telemetry;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// An authority, and the certificates that it gives.
struct Authority {
    pem: Arc<str>,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Given {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    fn new(name: &str, until: (i32, u8)) -> Self {
        Self::under(None, name, until)
    }

    fn under(parent: Option<&Self>, name: &str, until: (i32, u8)) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(until.0, until.1, 1);
        let key = KeyPair::generate().expect("a key");
        let made = match parent {
            Some(parent) => params.signed_by(&key, &parent.issuer),
            None => params.self_signed(&key),
        };
        let made = made.expect("a certificate");
        let (pem, certificate) = (made.pem().into(), made.der().clone());
        Self { pem, certificate, issuer: Issuer::new(params, key) }
    }

    /// A certificate for `localhost`, `*.example.com` and 127.0.0.1.
    fn give(&self, from: (i32, u8), until: (i32, u8)) -> Given {
        let names = ["localhost", "*.example.com", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "chat");
        params.not_before = date_time_ymd(from.0, from.1, 1);
        params.not_after = date_time_ymd(until.0, until.1, 1);
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        Given { certificate: made.der().clone(), key: key.serialize_der() }
    }

    fn trusted(&self) -> TlsOptions {
        TlsOptions { ca_pem: Some(Arc::clone(&self.pem)), ..TlsOptions::default() }
    }
}

/// A server that presents these certificates and then says nothing.
async fn serve(
    given: Given,
    authorities: &[&Authority],
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Server {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(given.key));
    let mut chain = vec![given.certificate];
    chain.extend(authorities.iter().map(|authority| authority.certificate.clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a matching key");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                linger(stream.into_inner().0).await;
            }
        }
    })
    .await
}

async fn plainly(given: Given) -> Server {
    serve(given, &[], rustls::ALL_VERSIONS, &[]).await
}

fn shake(server: &Server, tls: TlsOptions) -> TlsStep {
    TlsStep {
        url: server.url("tls", ""),
        tls,
        alpn: Vec::new(),
        min_version: None,
        valid_for: None,
        names: Vec::new(),
    }
}

async fn run_tls(tls: TlsStep) -> ProbeRun {
    run(vec![step("1", Action::Tls(tls))]).await
}

fn names(names: &[&str]) -> Vec<NameCheck> {
    names.iter().map(|name| NameCheck::parse(name).expect("a name")).collect()
}

#[track_caller]
fn assert_attribute(run: &ProbeRun, name: &str, value: &str) {
    assert_eq!(attribute(&run.steps[0], name).as_deref(), Some(value), "{run:#?}");
}

/// Guarantees the facts that a sound handshake reports, its phases, and that every check can hold.
#[tokio::test]
async fn a_sound_handshake_tells_all() {
    let authority = Authority::new("Sound Authority", (2090, 1));
    let given = authority.give((2020, 1), (2089, 6));
    let server = serve(given, &[&authority], rustls::ALL_VERSIONS, &["mqtt", "h2"]).await;
    let run = run_tls(TlsStep {
        alpn: vec!["h2".into()],
        min_version: Some(TlsVersion::V1_3),
        valid_for: Some(Duration::from_secs(14 * 86_400)),
        names: names(&["localhost", "api.example.com", "*.Example.com", "127.0.0.1"]),
        ..shake(&server, authority.trusted())
    })
    .await;
    assert_success(&run);
    assert_eq!(phases(&run.steps[0]), [Phase::Connect, Phase::Tls]);
    assert_eq!(run.latency_ns, Some(run.steps[0].duration_ns));
    assert_eq!(run.steps[0].checks.len(), 7);
    assert_attribute(&run, "tls.protocol.version", "1.3");
    assert_attribute(&run, "tls.next_protocol", "h2");
    assert_attribute(&run, "tls.server.subject", "CN=chat");
    assert_attribute(&run, "tls.server.issuer", "CN=Sound Authority");
    assert_attribute(&run, "tls.server.not_after", "2089-06-01T00:00:00Z");
    assert_attribute(&run, "tls.server.chain.length", "2");
    assert_attribute(&run, "tls.server.chain.not_after", "2089-06-01T00:00:00Z");
    let alternatives = "localhost, *.example.com, 127.0.0.1";
    assert_attribute(&run, "tls.server.x509.alternative_names", alternatives);
}

/// Guarantees that every refusal says what is wrong, and that the facts are there nevertheless.
#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let authority = Authority::new("Known Authority", (2090, 1));
    let stranger = Authority::new("Stranger", (2090, 1));
    let check = async |server: &Server, tls: TlsOptions, part: &str| {
        let run = run_tls(shake(server, tls)).await;
        assert_failure(&run, FailureReason::Tls, part);
        assert_eq!(phases(&run.steps[0]), [Phase::Connect]);
        assert_attribute(&run, "tls.server.subject", "CN=chat");
    };
    let expired = plainly(authority.give((2020, 1), (2021, 2))).await;
    let words = "is refused: it expired 2021-02-01T00:00:00Z, ";
    check(&expired, authority.trusted(), words).await;

    let early = plainly(authority.give((2088, 1), (2089, 1))).await;
    check(&early, authority.trusted(), "valid only from 2088-01-01T00:00:00Z on, in ").await;

    let sound = plainly(authority.give((2020, 1), (2089, 1))).await;
    let other = TlsOptions { server_name: Some("chat.test".into()), ..authority.trusted() };
    let words = "it is for localhost, *.example.com, 127.0.0.1, not for chat.test";
    check(&sound, other, words).await;
    check(&sound, stranger.trusted(), "its issuer CN=Known Authority is not trusted").await;

    let given = authority.give((2020, 1), (2089, 1));
    let whole = serve(given, &[&authority], rustls::ALL_VERSIONS, &[]).await;
    let words = "its chain ends with CN=Known Authority, which is not trusted";
    check(&whole, stranger.trusted(), words).await;
    let between = Authority::under(Some(&authority), "Between", (2021, 4));
    let given = between.give((2020, 1), (2089, 1));
    let stale = serve(given, &[&between], rustls::ALL_VERSIONS, &[]).await;
    let words = "its authority CN=Between expired 2021-04-01T00:00:00Z, ";
    check(&stale, authority.trusted(), words).await;
    let insecure = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    assert_success(&run_tls(shake(&expired, insecure)).await);
}

/// Guarantees that an authority's certificate in the place of a server's is called that.
#[tokio::test]
async fn an_authority_is_no_server() {
    let authority = Authority::new("Both", (2090, 1));
    let key = authority.issuer.key().serialize_der();
    let both = Given { certificate: authority.certificate.clone(), key };
    let run = run_tls(shake(&plainly(both).await, authority.trusted())).await;
    assert_failure(&run, FailureReason::Tls, "is refused: it is an authority's certificate");
}

/// Guarantees that validity is judged by the clock of the run.
#[tokio::test]
async fn the_clock_decides_what_is_valid() {
    let authority = Authority::new("Known Authority", (2090, 1));
    let server = plainly(authority.give((2020, 1), (2089, 1))).await;
    let valid_for = Some(Duration::from_secs(14 * 86_400));
    let tls = TlsStep { valid_for, ..shake(&server, authority.trusted()) };
    let spec = super::spec(vec![step("1", Action::Tls(tls))]);
    let run_at = async |now: &str| {
        let now = chrono::DateTime::parse_from_rfc3339(now).expect("an instant").timestamp();
        let clock = Clock::manual(UnixNanos::from_seconds(now as u64));
        let context = Context::new(clock, Telemetry::new());
        run_once(&spec, SlotStart::now(&context.clock), &context).await
    };
    let early = run_at("2019-12-31T00:00:00Z").await;
    let words = "it is valid only from 2020-01-01T00:00:00Z on, in 1d";
    assert_failure(&early, FailureReason::Tls, words);
    assert_success(&run_at("2088-12-18T00:00:00Z").await);
    let soon = run_at("2088-12-18T00:00:01Z").await;
    let words = "expected that the certificates are valid for 14d more, found: it expires \
                 2089-01-01T00:00:00Z, in 13d 23h";
    assert_failure(&soon, FailureReason::Check, words);
    let late = run_at("2089-01-03T00:00:00Z").await;
    assert_failure(&late, FailureReason::Tls, "it expired 2089-01-01T00:00:00Z, 2d");
}

/// Guarantees that a certificate that only itself vouches for is called that.
#[tokio::test]
async fn a_certificate_may_be_its_own_authority() {
    let (acceptor, _) = super::servers::acceptor();
    let server = raw(move |stream| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(stream).await) }
    })
    .await;
    let trusting = Authority::new("Another", (2090, 1)).trusted();
    let run = run_tls(shake(&server, trusting)).await;
    assert_failure(&run, FailureReason::Tls, "is refused: it is signed by itself");
}

/// Guarantees that each check can fail, that all are made, and that the chain's weakest counts.
#[tokio::test]
async fn checks_look_behind_a_good_handshake() {
    let authority = Authority::new("Known Authority", (2090, 1));
    // Presented, and not needed to trust the server's own certificate.
    let old = Authority::new("Old Authority", (2021, 3));
    let given = authority.give((2020, 1), (2089, 1));
    let server = serve(given, &[&old], &[&version::TLS12], &[]).await;
    let run = run_tls(TlsStep {
        min_version: Some(TlsVersion::V1_3),
        valid_for: Some(Duration::from_secs(86_400)),
        names: names(&["localhost", "api.example.org", "*.example.org"]),
        alpn: vec!["h2".into(), "mqtt".into()],
        ..shake(&server, authority.trusted())
    })
    .await;
    assert_failure(&run, FailureReason::Check, "expected that the server chooses h2 or mqtt");
    assert_attribute(&run, "tls.protocol.version", "1.2");
    let checks = &run.steps[0].checks;
    let found = |name: &str| {
        let check = checks.iter().find(|check| check.name == name);
        check.unwrap_or_else(|| panic!("{name}: {checks:#?}")).found.clone().unwrap_or_default()
    };
    assert_eq!(found("the version is TLS 1.3 or later"), "TLS 1.2");
    let expired = found("the certificates are valid for 1d more");
    assert!(expired.starts_with("CN=Old Authority expired 2021-03-01T00:00:00Z, "), "{expired}");
    assert_eq!(found("the certificate is for localhost"), "");
    let others = "it is for localhost, *.example.com, 127.0.0.1";
    assert_eq!(found("the certificate is for api.example.org"), others);
    assert_eq!(found("the certificate is for *.example.org"), others);
}

/// Guarantees the failures that are not the certificate's: no TLS at all, a closed connection, and
/// a mute server, which costs the timeout.
#[tokio::test]
async fn a_handshake_may_come_to_nothing() {
    let options = TlsOptions::default;
    let plain = raw(|mut stream| async move {
        write(&mut stream, "220 mail.example.com ready\r\n").await;
        linger(stream).await;
    })
    .await;
    let run = run_tls(shake(&plain, options())).await;
    assert_failure(&run, FailureReason::Tls, "the TLS handshake with 127.0.0.1: ");
    let closing = raw(async |stream| drop(stream)).await;
    let run = run_tls(shake(&closing, options())).await;
    assert_failure(&run, FailureReason::Tls, "the TLS handshake with 127.0.0.1: ");
    let mute = raw(linger).await;
    let steps = vec![step("1", Action::Tls(shake(&mute, options())))];
    let run = run_within(Duration::from_millis(300), steps).await;
    assert_failure(&run, FailureReason::Timeout, "the TLS handshake with 127.0.0.1");
    assert!((300_000_000..2_000_000_000).contains(&run.duration_ns));
}

proptest! {
    /// Guarantees that no bytes in the place of a certificate make reading it panic.
    #[test]
    fn any_bytes_may_be_presented(bytes: Vec<u8>, cut in 0..600_usize, flip in 0..600_usize) {
        drop(Chain::read(&[CertificateDer::from(bytes)]));
        let mut real = Authority::new("A", (2090, 1)).certificate.to_vec();
        real.truncate(cut.max(1));
        let at = flip % real.len();
        real[at] ^= 0x55;
        drop(Chain::read(&[CertificateDer::from(real)]));
    }
}
