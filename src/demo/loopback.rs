//! The HTTP client of the demo world: plain HTTP on loopback, no proxy, no redirects.

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// How long a phone waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a phone waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS provider lacks the protocol versions that the client names.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The client refused its settings.
    #[error("cannot set up the client")]
    Http(#[source] reqwest::Error),
}

/// A client for loopback. It brings its own TLS settings, without any trusted root, because the
/// library insists on some even where nothing is encrypted.
pub(super) fn client() -> Result<reqwest::Client, ClientError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(ClientError::Http)
}
