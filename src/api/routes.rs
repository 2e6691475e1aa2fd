//! Every route in one table, and what all answers have in common.

use super::server::ApiState;
use super::{json, metrics, page, pages};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use std::sync::atomic::Ordering;

/// No request body is longer: silences and acknowledgements are small.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The routes over a state.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/", get(pages::home))
        .route("/probes/{name}", get(pages::probe))
        .route("/runs/{id}", get(pages::run))
        .route("/slos/{name}", get(pages::slo))
        .route("/incidents/{id}", get(pages::incident))
        .route("/changes", get(pages::changes))
        .route("/page/style.css", get(|| async { asset("text/css; charset=utf-8", page::STYLE) }))
        .route(
            "/page/script.js",
            get(|| async { asset("text/javascript; charset=utf-8", page::SCRIPT) }),
        )
        .route("/page/events", get(pages::events))
        .route("/metrics", metrics::route())
        .route("/-/healthy", get(|| async { "radiosonde is healthy\n" }))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(json::reload).put(json::reload))
        .route("/api/status", get(json::status))
        .route("/api/slos", get(json::slos))
        .route("/api/probes", get(json::probes))
        .route("/api/probes/{name}/runs", get(json::runs))
        .route("/api/probes/{name}/run", post(json::run_probe))
        .route("/api/alerts", get(json::alerts))
        .route("/api/incidents/{id}/acknowledge", post(json::acknowledge))
        .route("/api/silences", get(json::silences).post(json::create_silence))
        .route("/api/silences/{id}", delete(json::end_silence))
        .route("/api/receivers/{name}/test", post(json::test_receiver))
        .fallback(pages::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), around))
        .with_state(state)
}

/// Access, common headers, and the count of requests.
async fn around(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let open = route.starts_with("/-/healthy") || route.starts_with("/-/ready");
    let allowed = state.guard.check(request.method(), request.headers());
    let mut response = match allowed {
        Err((status, words)) if !open => json::problem(status, words),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        let _ = headers.insert(name, HeaderValue::from_static(value));
    }
    let code = response.status().as_u16().to_string();
    state.telemetry.api_requests_total.with_label_values(&[&route, &code]).inc();
    response
}

async fn ready(State(state): State<ApiState>) -> (StatusCode, &'static str) {
    if state.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "radiosonde is ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "radiosonde is replaying its journal\n")
    }
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "max-age=300")], text)
        .into_response()
}
