//! `GET /probe?target=&module=`: blackbox_exporter's contract, so that a scrape job moves over by
//! another port.
//!
//! A run that is asked for here is nobody's but the asker's: it is on no schedule, enters no series
//! and no objective. Where it may go is decided by address, when it goes there
//! ([`crate::probe::guard`]); who may ask by the same tokens as everywhere, and by no page of another
//! site that happens to be open in a browser here.

mod debug;
mod families;
mod gauges;
mod http_families;

use super::server::ApiState;
use crate::model::probe::ProbeRun;
use crate::probe::blackbox::{Aim, Module, Modules, Verdict};
use crate::probe::inspection::{Inspection, Seen};
use crate::probe::{OnDemand, OnDemandError};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// The answer must be on its way before Prometheus gives up.
const HEADROOM: f64 = 0.5;
/// Where neither module nor scrape says anything.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_MODULE: &str = "http_2xx";
/// Longer targets and names are no targets.
const MAX_TEXT: usize = 8 << 10;

/// What requests are answered with.
#[derive(Debug)]
pub struct Blackbox {
    modules: RwLock<Arc<Modules>>,
    place: OnDemand,
    /// Only this machine reaches the listener, and nobody needs a token.
    is_open_here: bool,
}

/// A run and what is known of it.
pub(super) struct Report<'a> {
    module: &'a Module,
    target: &'a str,
    timeout: Duration,
    run: &'a ProbeRun,
    seen: &'a Seen,
    verdict: &'a Verdict,
}

/// A request that gets no run.
type Refused = (StatusCode, String);

// === impl Blackbox ===

impl Blackbox {
    /// Answers with these modules; `is_open_here` when the listener is on loopback and asks for no
    /// token.
    #[must_use]
    pub fn new(modules: Arc<Modules>, place: OnDemand, is_open_here: bool) -> Self {
        Self { modules: RwLock::new(modules), place, is_open_here }
    }

    /// Leaves no room for a run, as long as what is handed back is kept.
    #[cfg(test)]
    pub(crate) fn crowd(&self) -> Option<impl Drop + use<>> {
        self.place.crowd(0)
    }

    /// Other modules from now on.
    pub fn replace(&self, modules: Arc<Modules>) {
        *self.modules.write() = modules;
    }
}

/// The route.
pub(super) fn route() -> MethodRouter<ApiState> {
    get(probe)
}

async fn probe(
    State(state): State<ApiState>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    match answer(&state, &query, &headers).await {
        Ok((media_type, text)) => ([(header::CONTENT_TYPE, media_type)], text).into_response(),
        Err((status, words)) => (status, format!("{words}\n")).into_response(),
    }
}

async fn answer(
    state: &ApiState,
    query: &HashMap<String, String>,
    headers: &HeaderMap,
) -> Result<(&'static str, String), Refused> {
    let blackbox = &state.blackbox;
    check_asker(headers, blackbox.is_open_here)?;
    let of = |name: &str| query.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let bad = |words: String| (StatusCode::BAD_REQUEST, words);
    if query.values().any(|text| text.len() > MAX_TEXT) {
        return Err(bad(format!("a parameter is longer than {MAX_TEXT} bytes")));
    }
    let modules = Arc::clone(&blackbox.modules.read());
    let name = of("module").unwrap_or(DEFAULT_MODULE);
    let module = modules.modules.get(name).cloned().ok_or_else(|| {
        state.telemetry.blackbox_module_unknown_total.inc();
        bad(format!("Unknown module {name:?}"))
    })?;
    let target = of("target").ok_or_else(|| bad("Target parameter is missing".to_owned()))?;
    let timeout = timeout(headers, module.timeout).map_err(bad)?;
    let writes = Arc::clone(&modules.writes);
    let aim = Aim { target, hostname: of("hostname"), timeout, writes };
    let spec = module.probe(&aim).map_err(bad)?;
    let inspection = Arc::new(Inspection::new(modules.guard.clone(), module.families));
    let run = blackbox.place.run(spec, Arc::clone(&inspection)).await.map_err(|error| {
        let reason = if error == OnDemandError::Busy { "busy" } else { "cut_off" };
        refused(state, reason, StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    let seen = inspection.seen();
    if let Some(refusal) = seen.refusal.as_ref().filter(|refusal| refusal.is_first) {
        let words = refusal.words.clone();
        return Err(refused(state, "address", StatusCode::FORBIDDEN, words));
    }
    let verdict = module.judge(&run, &seen);
    let report =
        Report { module: &module, target, timeout, run: &run, seen: &seen, verdict: &verdict };
    let metrics = families::text(&report).map_err(|error| {
        tracing::error!(%error, "the metrics of a probe cannot be rendered");
        (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    })?;
    if of("debug") == Some("true") {
        return Ok(("text/plain; charset=utf-8", debug::text(&report, &metrics)));
    }
    Ok((MEDIA_TYPE, metrics))
}

fn refused(state: &ApiState, reason: &str, status: StatusCode, words: String) -> Refused {
    state.telemetry.blackbox_refused_total.with_label_values(&[reason]).inc();
    (status, words)
}

/// Asking makes this machine send something, so it is more than reading: pages of other sites may not,
/// even where everybody who reaches the listener may.
fn check_asker(headers: &HeaderMap, is_open_here: bool) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_foreign = text("sec-fetch-site")
        .is_some_and(|site| !matches!(site, "none" | "same-origin"))
        || text("origin").is_some_and(|origin| {
            let host = text("host").unwrap_or_default();
            origin.split_once("://").is_none_or(|(_, authority)| authority != host)
        });
    // A name may have been made to resolve to us by a page that wants to read the answer.
    let is_rebound = is_open_here && !text("host").is_some_and(is_this_machine);
    if is_foreign || is_rebound {
        let words = "a page of another site may not ask for probes; ask for them under this \
                     machine's address";
        return Err((StatusCode::FORBIDDEN, words.to_owned()));
    }
    Ok(())
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

/// The module's own or what the scrape leaves, whichever is less.
fn timeout(headers: &HeaderMap, of_module: Option<Duration>) -> Result<Duration, String> {
    let text = headers.get(SCRAPE_TIMEOUT).map(|value| value.to_str().unwrap_or("?"));
    let seconds = text.map(|text| {
        let seconds = text.parse::<f64>().ok();
        let usable = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        usable.ok_or_else(|| format!("{SCRAPE_TIMEOUT} must be seconds, not {text:?}"))
    });
    let scrape = seconds.transpose()?.filter(|seconds| *seconds > 0.0).map(|seconds| {
        // Of a scrape shorter than the headroom all is taken: it is too short anyhow.
        let left = if seconds > HEADROOM { seconds - HEADROOM } else { seconds };
        Duration::from_secs_f64(left.min(MAX_TIMEOUT.as_secs_f64()))
    });
    let least = of_module.into_iter().chain(scrape).min();
    Ok(least.unwrap_or(DEFAULT_TIMEOUT).clamp(Duration::from_millis(1), MAX_TIMEOUT))
}
