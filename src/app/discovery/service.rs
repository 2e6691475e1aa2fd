//! One request to a service that lists targets, and what its answer means.
//!
//! What it says decides where probes go. So it is asked nowhere but at the host that is configured, its
//! answer is read up to a bound and must say that it is JSON, and headers, which may be secret, stand in no
//! text.

use crate::base::error::Chain;
use crate::config::{ListedTargets, parse_targets};
use crate::probe::spec::TargetService;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};
use std::time::Duration;
use url::Url;

/// No more is read of an answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// From the request to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// By which a service may know how often it is asked, as by Prometheus.
const REFRESH_HEADER: &str = "x-prometheus-refresh-interval-seconds";

/// A client for all services; none where this machine cannot make one, in words.
pub(super) fn client() -> Result<Client, String> {
    // An error only says that the process has a provider already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let builder = Client::builder()
        .redirect(Policy::custom(follow))
        .user_agent(concat!("radiosonde/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT);
    builder.build().map_err(|error| format!("no client can be made: {}", Chain(&error)))
}

/// Follows what stays on the host, and as secret as it was.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let stays = attempt.previous().last().is_some_and(|from| {
        let to = attempt.url();
        let is_as_secret = from.scheme() == to.scheme() || to.scheme() == "https";
        from.host_str() == to.host_str() && is_as_secret
    });
    if !stays {
        attempt.error("it redirects to another host")
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it redirects again and again")
    } else {
        attempt.follow()
    }
}

/// What a service lists now.
///
/// # Errors
/// Why that is not known, in words that may be shown.
pub(super) async fn ask(client: &Client, service: &TargetService) -> Result<ListedTargets, String> {
    let request = client.get(&service.url).headers(headers(service)?);
    let response = request.send().await.map_err(words)?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answered with status {}", response.status().as_u16()));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or("none").split(';').next().unwrap_or_default().trim().to_lowercase();
    if kind != "application/json" {
        return Err(format!("its answer must be application/json, not {kind:.60}"));
    }
    parse_targets(&text(response).await?)
}

/// An address for logs: without its query, which may hold a secret.
pub(super) fn shown(service: &TargetService) -> String {
    let url = Url::parse(&service.url).ok();
    let shown = url.map(|url| format!("{}{}", url.origin().ascii_serialization(), url.path()));
    shown.unwrap_or_default()
}

fn headers(service: &TargetService) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let _ = headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let refresh = HeaderValue::from(service.refresh.as_secs());
    let _ = headers.insert(HeaderName::from_static(REFRESH_HEADER), refresh);
    for (name, value) in &service.headers {
        let pair = HeaderName::try_from(name).ok().zip(HeaderValue::from_str(value.reveal()).ok());
        let (key, mut value) =
            pair.ok_or_else(|| format!("the header {name} is not allowed in HTTP"))?;
        value.set_sensitive(true);
        let _ = headers.insert(key, value);
    }
    Ok(headers)
}

async fn text(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(words)? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer is longer than {} MiB", MAX_ANSWER_BYTES >> 20));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| "its answer is no UTF-8".to_owned())
}

/// The cause, without the address that reqwest puts into its words.
fn words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", TIMEOUT.as_secs());
    }
    Chain(&error.without_url()).to_string()
}
