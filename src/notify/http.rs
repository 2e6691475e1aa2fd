//! One POST and what its answer means; the only place of `notify/` that knows reqwest.
//!
//! Redirects are not followed (a page must not end where nobody configured it), answers are read up
//! to a bound, and every error text is scrubbed of the receiver's secrets.

use super::scrub::Scrub;
use crate::base::clock::UnixNanos;
use crate::base::error::Chain;
use crate::base::secret::Secret;
use crate::model::notification::Delivery;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use std::time::Duration;
use url::Url;

/// No more than this is read of an answer's body.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Connections to a receiver are kept this long for the next notification.
const IDLE_CONNECTION: Duration = Duration::from_secs(90);

/// A request that is ready to be sent, as often as need be.
pub(super) struct Message {
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    body: Vec<u8>,
    scrub: Scrub,
}

/// Why a notification cannot even be sent. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    /// The address is none.
    #[error("the receiver's address is not an http or https URL")]
    Address,
    /// A header that HTTP does not allow.
    #[error(
        "header `{0}` of the receiver cannot be sent: its name or value is not allowed in HTTP"
    )]
    Header(String),
    /// The body could not be written as JSON.
    #[error("the notification cannot be written as JSON")]
    Body,
}

/// A client for all receivers: redirects off, roots from the system. Where the system has no roots
/// at all, plain HTTP still works and HTTPS fails at each attempt.
#[must_use]
pub fn client() -> reqwest::Client {
    // An error only says that the process has a provider already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("radiosonde/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true)
    };
    builder().build().unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "no trusted certificates found, https receivers will fail");
        builder()
            .tls_certs_only([])
            .build()
            .expect("without roots to load nothing in a client's construction can fail")
    })
}

// === impl Message ===

impl Message {
    /// A POST of `body` as JSON.
    pub(super) fn json(
        url: &Secret,
        headers: &[(String, Secret)],
        timeout: Duration,
        body: &impl serde::Serialize,
    ) -> Result<Self, MessageError> {
        let url = Url::parse(url.reveal())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(MessageError::Address)?;
        let scrub = Scrub::new(&url, headers);
        let mut map = HeaderMap::new();
        let _ = map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            let (key, mut value) = HeaderName::try_from(name)
                .ok()
                .zip(HeaderValue::from_str(value.reveal()).ok())
                .ok_or_else(|| MessageError::Header(name.clone()))?;
            value.set_sensitive(true);
            let _ = map.insert(key, value);
        }
        let body = serde_json::to_vec(body).map_err(|_| MessageError::Body)?;
        Ok(Self { url, headers: map, timeout, body, scrub })
    }

    /// The same with the header by which receivers recognise a repetition.
    pub(super) fn with_idempotency_key(mut self, key: &str) -> Result<Self, MessageError> {
        // Incidents are named by us, but a header must never depend on that.
        let key = key.replace(|c: char| !c.is_ascii_graphic(), "_");
        let value = HeaderValue::from_str(&key)
            .map_err(|_| MessageError::Header("Idempotency-Key".to_owned()))?;
        let _ = self.headers.insert(HeaderName::from_static("idempotency-key"), value);
        Ok(self)
    }

    /// The same to an address below the given one.
    pub(super) fn below(mut self, path: &[&str]) -> Result<Self, MessageError> {
        let mut segments = self.url.path_segments_mut().map_err(|()| MessageError::Address)?;
        let _ = segments.pop_if_empty().extend(path);
        drop(segments);
        Ok(self)
    }

    /// `text` about this message, fit to be shown: with scheme and host, without secrets.
    fn describe(&self, text: &str) -> String {
        self.scrub.clean(&format!("{} {text}", self.url.origin().ascii_serialization()))
    }
}

/// Sends a message once and classifies the outcome.
pub(super) async fn post(client: &reqwest::Client, message: Message, now: UnixNanos) -> Delivery {
    let request = client
        .post(message.url.clone())
        .headers(message.headers.clone())
        .timeout(message.timeout)
        .body(message.body.clone());
    match request.send().await {
        Ok(response) => classify(&message, response, now).await,
        Err(error) => {
            let permanent = error.is_builder();
            let text = message.describe(&format!("failed: {}", reason(error)));
            if permanent {
                Delivery::Refused { error: text }
            } else {
                Delivery::Retry { error: text, after_seconds: None }
            }
        }
    }
}

/// The cause in words, without the address that reqwest puts into its own.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within the timeout".to_owned();
    }
    Chain(&error.without_url()).to_string()
}

async fn classify(message: &Message, mut response: Response, now: UnixNanos) -> Delivery {
    let status = response.status();
    let after_seconds = retry_after(response.headers(), now);
    // Read even when nobody wants it: a connection is used again only after its answer was taken.
    let body = read_bounded(&mut response).await;
    if status.is_success() {
        return Delivery::Delivered;
    }
    let error = message.describe(&format!("answered {status}: {}", body.trim()));
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        Delivery::Retry { error, after_seconds }
    } else {
        Delivery::Refused { error }
    }
}

async fn read_bounded(response: &mut Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend(chunk.iter().take(MAX_ANSWER_BYTES - body.len())),
            // The status has decided already; a torn body changes nothing.
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// `Retry-After` in seconds from now, written as seconds or as a date.
fn retry_after(headers: &HeaderMap, now: UnixNanos) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    text.parse().ok().or_else(|| {
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        let at = UnixNanos::from_seconds(u64::try_from(date.timestamp()).ok()?);
        Some(at.since(now).as_secs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees both spellings of `Retry-After`, and that nonsense is no wish at all.
    #[test]
    fn reads_retry_after() {
        let now = UnixNanos::from_seconds(1_445_412_420);
        let check = |text: &'static str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        };
        check("120", Some(120));
        check("Wed, 21 Oct 2015 07:28:00 GMT", Some(60));
        check("Wed, 21 Oct 2015 07:20:00 GMT", Some(0));
        check("soon", None);
        check("-5", None);
    }

    /// Guarantees that the address of an Alertmanager is extended, whatever its own path.
    #[test]
    fn joins_below_a_base() {
        let check = |base: &str, expected: &str| {
            let message = Message::json(&Secret::new(base), &[], Duration::ZERO, &())
                .and_then(|message| message.below(&["api", "v2", "alerts"]));
            assert_eq!(message.map(|m| m.url.to_string()).ok().as_deref(), Some(expected));
        };
        check("http://am:9093", "http://am:9093/api/v2/alerts");
        check("http://am:9093/", "http://am:9093/api/v2/alerts");
        check("https://host/am/?token=x", "https://host/am/api/v2/alerts?token=x");
    }

    /// Guarantees that what cannot be sent is said without the secret that stands in it.
    #[test]
    fn refuses_what_cannot_be_sent() {
        let check = |url: &str, header: (&str, &str), expected: &str| {
            let headers = [(header.0.to_owned(), Secret::new(header.1))];
            let message = Message::json(&Secret::new(url), &headers, Duration::ZERO, &());
            let error = message.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && !error.contains("CANARY"), "{error}");
        };
        check("CANARY", ("a", "b"), "not an http or https URL");
        check("ftp://host/CANARY", ("a", "b"), "not an http or https URL");
        check("http://host", ("x-token", "CANARY\n"), "header `x-token`");
        check("http://host", ("not a name", "CANARY"), "header `not a name`");
    }
}
