//! TLS configurations, made once and kept: by authorities, by what is offered, by whether anything
//! is verified.
//!
//! Sessions are never resumed, so that every handshake that is measured is a whole one. The
//! system's authorities are read when the [`TlsConfigs`] are made, not during a run.

use super::failure::{Attempt, failure};
use super::spec::TlsOptions;
use crate::model::probe::FailureReason;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::sync::Arc;

/// No more configurations are kept than this; a reload with many new ones starts anew.
const MAX_KEPT: usize = 256;

/// The protocols to offer within the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Alpn {
    /// HTTP/1.1, which WebSockets need as well.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3, within the handshake of QUIC.
    Http3,
    /// Whichever the server likes better.
    Either,
    /// DNS over TLS.
    Dot,
    /// None: the protocol has no name in the handshake.
    None,
}

/// The configurations made so far.
#[derive(Debug)]
pub(super) struct TlsConfigs {
    provider: Arc<CryptoProvider>,
    system: Result<Arc<dyn ServerCertVerifier>, Error>,
    kept: Mutex<HashMap<Key, Arc<ClientConfig>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    ca_pem: Option<Arc<str>>,
    insecure_skip_verify: bool,
    alpn: Alpn,
}

/// Accepts any certificate, but only from a peer that holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Whether a PEM text holds certificates of authorities that can be trusted.
///
/// # Errors
/// What is wrong with the text.
pub fn check_authorities(pem: &str) -> Result<(), String> {
    authorities(pem).map(drop)
}

// === impl TlsConfigs ===

impl TlsConfigs {
    /// Reads the system's authorities.
    pub(super) fn new() -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
            .map(|verifier| Arc::new(verifier) as Arc<dyn ServerCertVerifier>);
        Self { provider, system, kept: Mutex::new(HashMap::new()) }
    }

    /// The configuration for these options.
    ///
    /// # Errors
    /// A local failure: authorities that cannot be read are not the target's fault.
    pub(super) fn get(&self, options: &TlsOptions, alpn: Alpn) -> Attempt<Arc<ClientConfig>> {
        let TlsOptions { ca_pem, insecure_skip_verify, .. } = options.clone();
        let key = Key { ca_pem, insecure_skip_verify, alpn };
        if let Some(config) = self.kept.lock().get(&key) {
            return Ok(Arc::clone(config));
        }
        let made = self.make(&key).map_err(|why| failure(FailureReason::Local, why))?;
        let config = Arc::new(made);
        let mut kept = self.kept.lock();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// Who judges certificates by these options.
    ///
    /// # Errors
    /// As [`TlsConfigs::get`].
    pub(super) fn verifier_for(
        &self,
        options: &TlsOptions,
    ) -> Attempt<Arc<dyn ServerCertVerifier>> {
        let TlsOptions { ca_pem, insecure_skip_verify, .. } = options.clone();
        let key = Key { ca_pem, insecure_skip_verify, alpn: Alpn::None };
        self.verifier(&key).map_err(|why| failure(FailureReason::Local, why))
    }

    /// The cryptography of all configurations.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    fn make(&self, key: &Key) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(key)?)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = match key.alpn {
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            Alpn::Http2 => vec![b"h2".to_vec()],
            Alpn::Http3 => vec![b"h3".to_vec()],
            Alpn::Either => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Dot => vec![b"dot".to_vec()],
            Alpn::None => Vec::new(),
        };
        Ok(config)
    }

    fn verifier(&self, key: &Key) -> Result<Arc<dyn ServerCertVerifier>, String> {
        if key.insecure_skip_verify {
            return Ok(Arc::new(AnyCertificate(Arc::clone(&self.provider))));
        }
        let Some(pem) = &key.ca_pem else {
            return self.system.clone().map_err(|error| {
                format!("the system's certificate authorities cannot be read: {error}")
            });
        };
        let roots = Arc::new(authorities(pem)?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        Ok(verifier.build().map_err(|error| format!("TLS cannot be set up: {error}"))?)
    }
}

fn authorities(pem: &str) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("not a PEM text: {error}"))?;
        store.add(certificate).map_err(|error| format!("not a usable authority: {error}"))?;
    }
    if store.is_empty() {
        return Err("the PEM text holds no certificate".to_owned());
    }
    Ok(store)
}

// === impl AnyCertificate ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that unusable authorities are found when the definition is read.
    #[test]
    fn authorities_are_checked() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(check_authorities("").is_err_and(|why| why.contains("no certificate")));
        assert!(check_authorities(broken).is_err_and(|why| why.contains("authority")));
    }

    /// Guarantees that equal options share one configuration, and that none resumes sessions.
    #[test]
    fn configurations_are_kept() {
        let configs = TlsConfigs::new();
        let options = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        let one = configs.get(&options, Alpn::Either).expect("made");
        let two = configs.get(&options, Alpn::Either).expect("kept");
        let other = configs.get(&options, Alpn::Http1).expect("made");
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        assert_eq!(other.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
