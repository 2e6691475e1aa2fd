//! OTLP over gRPC: the channel, over TLS of our own where the endpoint asks for it, and one call.

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::{Config, ExportError, http::header_map};
use crate::notify::scrub::Scrub;
use crate::wire::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use ::http::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

/// An idle connection is tried this often, so that a dead one is noticed before it is needed.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Sends traces over one gRPC channel, which connects by itself whenever it must.
pub(super) struct GrpcSender {
    client: TraceServiceClient<Channel>,
    metadata: MetadataMap,
    origin: String,
    scrub: Scrub,
}

impl GrpcSender {
    /// A sender that has not connected yet. Needs a runtime around it.
    pub(super) fn new(config: &Config, tls: Tls) -> Result<Self, ExportError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let client = TraceServiceClient::new(channel(&endpoint, config.timeout, tls)?)
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip);
        Ok(Self {
            client,
            metadata: metadata(config)?,
            origin: endpoint.origin(),
            scrub: Scrub::new(endpoint.url(), &config.headers),
        })
    }

    /// One call.
    pub(super) async fn send(&self, batch: &ExportTraceServiceRequest) -> Answer {
        let mut request = tonic::Request::new(batch.clone());
        *request.metadata_mut() = self.metadata.clone();
        match self.client.clone().export(request).await {
            Ok(response) => accepted(response.into_inner()),
            Err(status) => {
                let Self { origin, scrub, .. } = self;
                let text = format!("{origin} answered {:?}: {}", status.code(), status.message());
                Answer::of_grpc(&status, scrub.clean(&text))
            }
        }
    }
}

/// What a successful answer says: all taken, or not quite.
pub(super) fn accepted(response: ExportTraceServiceResponse) -> Answer {
    let partial = response.partial_success.unwrap_or_default();
    Answer::Accepted { rejected: partial.rejected_spans, message: partial.error_message }
}

/// The configured headers as gRPC knows them.
pub(super) fn metadata(config: &Config) -> Result<MetadataMap, ExportError> {
    Ok(MetadataMap::from_headers(header_map(&config.headers)?))
}

// === the channel ===

/// Whom TLS connections trust.
#[derive(Clone, Debug)]
pub(super) enum Tls {
    /// What the system trusts.
    System,
    /// As given.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests bring a certificate of their own"))]
    Given(Box<rustls::ClientConfig>),
}

/// A channel that connects when first used. tonic's own TLS is a feature that would bring a second
/// way to trust certificates, so TLS is put under it here.
pub(super) fn channel(
    endpoint: &Endpoint,
    timeout: Duration,
    tls: Tls,
) -> Result<Channel, ExportError> {
    let (host, port) = endpoint.host_and_port().ok_or(ExportError::Endpoint)?;
    let origin: Uri = endpoint.origin().parse().map_err(|_| ExportError::Endpoint)?;
    // tonic must see a plain address: it refuses https without its own TLS.
    let authority = origin.authority().ok_or(ExportError::Endpoint)?.clone();
    let target = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query("/")
        .build()
        .map_err(|_| ExportError::Endpoint)?;
    let builder = tonic::transport::Endpoint::from(target)
        .origin(origin)
        .connect_timeout(timeout)
        .timeout(timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .user_agent(concat!("radiosonde/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| ExportError::Endpoint)?;
    if !endpoint.is_https() {
        return Ok(builder.connect_lazy());
    }
    let name = ServerName::try_from(host.clone()).map_err(|_| ExportError::Endpoint)?;
    let connector = TlsConnector::from(Arc::new(client_config(tls)?));
    let dial = tower::service_fn(move |_: Uri| {
        let (connector, host, name) = (connector.clone(), host.clone(), name.clone());
        async move { dial(&connector, &host, port, name).await.map(TokioIo::new) }
    });
    Ok(builder.connect_with_connector_lazy(dial))
}

async fn dial(
    connector: &TlsConnector,
    host: &str,
    port: u16,
    name: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

fn client_config(tls: Tls) -> Result<rustls::ClientConfig, ExportError> {
    // An error only says that the process has a provider already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut config = match tls {
        Tls::System => rustls::ClientConfig::builder()
            .with_platform_verifier()
            .map_err(ExportError::Certificates)?
            .with_no_client_auth(),
        Tls::Given(config) => *config,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
