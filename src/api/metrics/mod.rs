//! `/metrics`: the daemon's own metrics and, made of the read models, those of probes, SLOs, alerts
//! and phones, in Prometheus' text format. OpenTelemetry names are translated by its rules.
//!
//! What is shown is copied under the state's lock and rendered outside of it, on a thread that may
//! take its time. `own` holds the families of the domain, [`series`] those of the live head, `edges`
//! the buckets of our histograms; `page` gathers and orders, `vitals` sets what the daemon's own
//! metrics take from the folded state, and [`shown`] remembers.
//!
//! Promised on every scrape: each family once, with help and type; no series twice; no bucket, count
//! or counter below what it showed before, while the set of bucket edges is the same; at most
//! [`series::MAX_SAMPLES`] samples of the live head, and a metric that says what was left out.

mod edges;
mod names;
mod own;
mod page;
pub mod series;
pub mod shown;
mod vitals;

use super::server::ApiState;
use crate::alert::SharedCore;
use crate::base::clock::UnixNanos;
use crate::telemetry::Telemetry;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use page::Page;
use parking_lot::Mutex;
use prometheus::TextEncoder;
use series::Snapshot;
use shown::Shown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The media type of the text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The route: it remembers what it showed.
pub fn route() -> MethodRouter<ApiState> {
    let shown = Arc::new(Mutex::new(Shown::default()));
    get(move |State(state): State<ApiState>| serve(state, shown))
}

async fn serve(state: ApiState, shown: Arc<Mutex<Shown>>) -> Response {
    let work = move || {
        // While the journal is replayed, counters of the state would look as if they had been reset.
        if !state.ready.load(Ordering::Acquire) {
            return TextEncoder::new().encode_to_string(&state.telemetry.gather());
        }
        let mut shown = shown.lock();
        text(&state.core, &state.telemetry, &mut shown, state.clock.now())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Ok(Err(error)) => failed(&error.to_string()),
        Err(error) => failed(&error.to_string()),
    }
}

/// Everything at `now`, as text.
///
/// # Errors
/// When a family cannot be encoded, which is a fault of ours.
pub fn text(
    core: &SharedCore,
    telemetry: &Telemetry,
    shown: &mut Shown,
    now: UnixNanos,
) -> Result<String, prometheus::Error> {
    let mut page = Page::default();
    let snapshot = {
        let core = core.read();
        own::add(&mut page, &core, now);
        Snapshot::take(&core)
    };
    snapshot.add(&mut page, shown);
    let (mut families, omitted) = page.finish();
    families.extend(telemetry.gather_after(|telemetry| {
        vitals::publish(telemetry, &core.read(), now);
        omitted.publish(telemetry);
    }));
    families.sort_by(|a, b| a.name().cmp(b.name()));
    TextEncoder::new().encode_to_string(&families)
}

fn failed(reason: &str) -> Response {
    tracing::error!(reason, "the metrics cannot be rendered");
    (StatusCode::INTERNAL_SERVER_ERROR, reason.to_owned()).into_response()
}
