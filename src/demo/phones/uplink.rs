//! The way of a phone's reports: the HTTP client that the SDK's exporters send through.
//!
//! Exporters run on plain threads of the SDK and block there, so each request is handed to the
//! fleet's runtime. It crosses the same network as the phone's own requests: when that drops
//! connections, reports are tried again until one holds, and arrive late.

use crate::demo::cohort::Cohort;
use crate::demo::conditions::Conditions;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The pause before a lost connection is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// After so many lost connections the report is given back to the SDK as failed.
const MAX_TRIES: u32 = 12;
/// Answers are short; more than this is no answer of an OTLP endpoint, bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a report did not get through.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// Every connection was lost.
    #[error("the phone's network lost {MAX_TRIES} connections in a row")]
    Lost,
    /// The answer does not end.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    AnswerTooLong,
}

/// One phone's way out.
#[derive(Clone, Debug)]
pub(super) struct Uplink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    runtime: Handle,
    cohort: Cohort,
    conditions: Arc<Conditions>,
    luck: Mutex<StdRng>,
}

// === impl Uplink ===

impl Uplink {
    pub(super) fn new(
        client: reqwest::Client,
        runtime: Handle,
        cohort: Cohort,
        conditions: Arc<Conditions>,
        seed: u64,
    ) -> Self {
        let luck = Mutex::new(StdRng::seed_from_u64(seed));
        Self(Arc::new(Inner { client, runtime, cohort, conditions, luck }))
    }
}

impl HttpClient for Uplink {
    // What `#[async_trait]` makes of the trait's `async fn`, written out.
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let inner = self.0.clone();
        let sending = self.0.runtime.spawn(async move { inner.send(request).await });
        Box::pin(async move { sending.await? })
    }
}

// === impl Inner ===

impl Inner {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut tries = 0;
        while self.is_lost() {
            tries += 1;
            if tries >= MAX_TRIES {
                return Err(UplinkError::Lost.into());
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let mut answer = self.client.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(UplinkError::AnswerTooLong.into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }

    fn is_lost(&self) -> bool {
        let ratio = self.conditions.lost_ratio(&self.cohort);
        ratio > 0.0 && self.luck.lock().random_bool(ratio)
    }
}
