//! OTLP over HTTP: protobuf, compressed, by POST to `/v1/traces`.

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::{Config, ExportError, grpc::accepted};
use crate::base::error::Chain;
use crate::base::secret::Secret;
use crate::notify::scrub::Scrub;
use crate::wire::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use prost::Message;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use std::io::Write;
use url::Url;

/// No more than this is read of an answer's body.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends traces by HTTP requests. Not for `Debug`: its address may hold a secret.
pub(super) struct HttpSender {
    client: reqwest::Client,
    url: Url,
    origin: String,
    scrub: Scrub,
}

impl HttpSender {
    /// A sender with connections of its own.
    pub(super) fn new(config: &Config) -> Result<Self, ExportError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        Ok(Self {
            client: client(config)?,
            url: endpoint.traces_url(),
            origin: endpoint.origin(),
            scrub: Scrub::new(endpoint.url(), &config.headers),
        })
    }

    /// One request.
    pub(super) async fn send(&self, batch: &ExportTraceServiceRequest) -> Answer {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "gzip")
            .body(compress(&batch.encode_to_vec()));
        match request.send().await {
            Ok(response) => self.read(response).await,
            Err(error) => {
                let text = format!("{} failed: {}", self.origin, Chain(&error.without_url()));
                Answer::Retry { error: self.scrub.clean(&text), wait: None }
            }
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Answer {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let body = read_bounded(&mut response).await;
        if status.is_success() {
            // An answer that is not OTLP says no more than its status did.
            return accepted(ExportTraceServiceResponse::decode(body).unwrap_or_default());
        }
        let error = self.scrub.clean(&format!("{} answered {status}", self.origin));
        Answer::of_http(status, retry_after.as_ref().and_then(|v| v.to_str().ok()), error)
    }
}

/// A client for the collector: with its headers and timeout, without redirects.
pub(super) fn client(config: &Config) -> Result<reqwest::Client, ExportError> {
    // An error only says that the process has a provider already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut builder = reqwest::Client::builder();
    if !Endpoint::parse(&config.endpoint)?.is_https() {
        // Plain HTTP must not fail for want of certificates that it does not need.
        builder = builder.tls_certs_only([]);
    }
    builder
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("radiosonde/", env!("CARGO_PKG_VERSION")))
        .default_headers(header_map(&config.headers)?)
        .timeout(config.timeout)
        .tcp_nodelay(true)
        .build()
        .map_err(ExportError::Client)
}

/// Headers as HTTP knows them, marked so that nothing prints their values.
pub(super) fn header_map(headers: &[(String, Secret)]) -> Result<HeaderMap, ExportError> {
    let parse = |(name, value): &(String, Secret)| {
        let (key, mut value) = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::from_str(value.reveal()).ok())
            .ok_or_else(|| ExportError::Header(name.clone()))?;
        value.set_sensitive(true);
        Ok((key, value))
    };
    headers.iter().map(parse).collect()
}

/// The body up to [`MAX_ANSWER_BYTES`]; a torn one as far as it came.
pub(super) async fn read_bounded(response: &mut reqwest::Response) -> Bytes {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend(chunk.iter().take(MAX_ANSWER_BYTES - body.len())),
            Ok(None) | Err(_) => break,
        }
    }
    body.into()
}

fn compress(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing into memory does not fail")
}
