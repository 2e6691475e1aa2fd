//! The routes: the JSON operations of `operations`, the pages, and what all answers have in
//! common.

use super::operations::operations;
use super::server::ApiState;
use super::{blackbox, json, metrics, page, pages};
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use std::sync::atomic::Ordering;

/// No request body is longer: silences and acknowledgements are small.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The routes over a state.
pub fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        router = router.route(operation.path, operation.routing);
    }
    for (path, routing) in for_people() {
        router = router.route(path, routing);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), around))
        .with_state(state)
}

/// What is no JSON: pages and what belongs to them, metrics, health.
pub(super) fn for_people() -> [(&'static str, MethodRouter<ApiState>); 14] {
    [
        ("/", get(pages::home)),
        ("/probes/{name}", get(pages::probe)),
        ("/probes/{name}/run", post(pages::run_probe)),
        ("/runs/{id}", get(pages::run)),
        ("/slos/{name}", get(pages::slo)),
        ("/incidents/{id}", get(pages::incident)),
        ("/changes", get(pages::changes)),
        ("/page/style.css", get(|| async { asset("text/css; charset=utf-8", page::STYLE) })),
        (
            "/page/script.js",
            get(|| async { asset("text/javascript; charset=utf-8", page::SCRIPT) }),
        ),
        ("/page/events", get(pages::events)),
        ("/metrics", metrics::route()),
        ("/probe", blackbox::route()),
        ("/-/healthy", get(|| async { "radiosonde is healthy\n" })),
        ("/-/ready", get(ready)),
    ]
}

/// What exists nowhere, in the language of those who asked.
async fn not_found(state: State<ApiState>, request: Request) -> Response {
    let path = request.uri().path();
    if is_api(path) {
        let words = format!("there is no {path}; /api/openapi.json lists what there is");
        return json::problem(StatusCode::NOT_FOUND, &words);
    }
    pages::missing(&state, path)
}

/// What exists, but not by this method.
async fn not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let words = format!("{path} does not take {method}; /api/openapi.json lists what it takes");
    if is_api(path) {
        return json::problem(StatusCode::METHOD_NOT_ALLOWED, &words);
    }
    (StatusCode::METHOD_NOT_ALLOWED, format!("{path} is there to be read\n")).into_response()
}

fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Access, common headers, and the count of requests.
async fn around(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let open = route.starts_with("/-/healthy") || route.starts_with("/-/ready");
    let allowed = state.guard.check(request.method(), request.headers());
    let ready = state.ready.load(Ordering::Acquire);
    let mut response = match allowed {
        Err((status, words)) if !open => json::problem(status, words),
        // Half of the state would look like an answer.
        _ if !ready && route.starts_with("/api/") => {
            json::problem(StatusCode::SERVICE_UNAVAILABLE, "radiosonde is replaying its journal")
        }
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Under `no-referrer` browsers hide the origin of our own forms from us, too.
        (header::REFERRER_POLICY, "same-origin"),
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
