//! One request of a phone, measured as its HTTP instrumentation would: a client span around radio,
//! network and back end, with the attributes of the HTTP semantic conventions.

use super::phone::Phone;
use crate::demo::backend::REGION_HEADER;
use crate::demo::cohort::Os;
use crate::wire::semconv;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, SpanContext, SpanKind, Status, Tracer};
use rand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;

/// How long a phone tries a network that has dropped it.
const LOST_AFTER: Duration = Duration::from_millis(700);

/// What is asked of the back end.
pub(super) struct Call {
    pub(super) method: Method,
    /// The path with its variable parts named.
    pub(super) template: &'static str,
    pub(super) path: String,
    /// The id of the message that it posts.
    pub(super) sends: Option<String>,
}

// === impl Phone: requests ===

impl Phone {
    /// Makes the call, reports how it went, and tells whether it was fulfilled.
    pub(super) async fn request(&mut self, call: &Call, session: &str) -> bool {
        let url = format!("http://{}{}", self.backend, call.path);
        let mut attributes = self.attributes_of(call);
        let began = self.clock.monotonic();
        let tracer = &self.sdk.tracer;
        let mut span = tracer
            .span_builder(call.method.to_string())
            .with_kind(SpanKind::Client)
            .with_attributes(attributes.iter().cloned().chain([
                KeyValue::new(semconv::URL_FULL, url.clone()),
                KeyValue::new(semconv::SESSION_ID, session.to_owned()),
                KeyValue::new(semconv::NETWORK_CONNECTION_TYPE, self.cohort.network.as_str()),
            ]))
            .start(tracer);
        let status = self.exchange(call, url, span.span_context().clone()).await;
        let outcome = self.outcome_of(status);
        if outcome.iter().any(|attribute| attribute.key.as_str() == semconv::ERROR_TYPE) {
            span.set_status(Status::error(""));
        }
        span.set_attributes(outcome.iter().cloned());
        span.end();
        if let Some(durations) = &self.sdk.durations {
            attributes.extend(outcome);
            durations.record(self.clock.monotonic().since(began).as_secs_f64(), &attributes);
        }
        status.is_some_and(|status| status.is_success())
    }

    /// What span and histogram say of a request alike.
    fn attributes_of(&self, call: &Call) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new(semconv::HTTP_REQUEST_METHOD, call.method.to_string()),
            KeyValue::new(semconv::SERVER_ADDRESS, self.backend.ip().to_string()),
            KeyValue::new(semconv::SERVER_PORT, i64::from(self.backend.port())),
        ];
        if self.cohort.os == Os::Android {
            attributes.push(KeyValue::new(semconv::URL_TEMPLATE, call.template));
        }
        attributes
    }

    /// What they say of its end.
    fn outcome_of(&self, status: Option<StatusCode>) -> Vec<KeyValue> {
        let Some(status) = status else {
            return vec![KeyValue::new(semconv::ERROR_TYPE, self.cohort.os.connection_error())];
        };
        let code = i64::from(status.as_u16());
        let mut attributes = vec![KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, code)];
        if status.is_client_error() || status.is_server_error() {
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, status.as_str().to_owned()));
        }
        attributes
    }

    /// The status of the answer, once it is read to its end; `None` when there was none.
    async fn exchange(
        &mut self,
        call: &Call,
        url: String,
        context: SpanContext,
    ) -> Option<StatusCode> {
        if self.luck.random_bool(self.conditions.lost_ratio(&self.cohort)) {
            tokio::time::sleep(LOST_AFTER).await;
            return None;
        }
        let (shortest, longest) = self.cohort.network.radio_ms();
        let radio = Duration::from_millis(self.luck.random_range(shortest..=longest));
        tokio::time::sleep(radio).await;
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(REGION_HEADER, self.cohort.region.as_str())
            .header("traceparent", traceparent(&context));
        if let Some(id) = &call.sends {
            let message = json!({ "id": id, "text": "hello" }).to_string();
            request = request.header("content-type", "application/json").body(message);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        // A message has arrived when its last byte has.
        answer.bytes().await.ok()?;
        Some(status)
    }
}

/// The W3C header that continues this span in the back end.
fn traceparent(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}
