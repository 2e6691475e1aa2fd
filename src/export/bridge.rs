//! Lets the OpenTelemetry SDK use our HTTP client.
//!
//! The SDK's batch processor runs on a thread of its own, outside any runtime, where an
//! asynchronous client cannot work; so each request is run on the daemon's runtime.

use super::http::read_bounded;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// An HTTP client for the SDK, whose requests run on a given runtime.
#[derive(Debug)]
pub(super) struct Bridge {
    client: reqwest::Client,
    runtime: Handle,
}

impl Bridge {
    /// Runs requests of `client` on the current runtime.
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self { client, runtime: Handle::current() }
    }
}

#[tonic::async_trait]
impl HttpClient for Bridge {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        let exchange = async move {
            let mut response =
                client.execute(request).await.map_err(reqwest::Error::without_url)?;
            let mut answer = Response::new(read_bounded(&mut response).await);
            *answer.status_mut() = response.status();
            *answer.headers_mut() = response.headers().clone();
            Ok(answer)
        };
        self.runtime.spawn(exchange).await?
    }
}
