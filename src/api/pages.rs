//! The page's handlers: a view of the state, rendered.

use super::page;
use super::past;
use super::server::ApiState;
use super::views;
use crate::alert::Core;
use crate::model::probe::RunId;
use crate::model::series::Past;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::Stream;
use std::convert::Infallible;
use std::time::Duration;

/// A run can be shown so soon after it has ended, or else the probe is.
const FOLDED_WITHIN: Duration = Duration::from_secs(2);
/// Live pages are told of news at most this often.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);
/// And at least this often, so that ages on the page stay true.
const LONGEST_REFRESH: Duration = Duration::from_secs(10);

/// `/`
pub async fn home(State(state): State<ApiState>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let view = past::view(&state, move |core, past| views::home(core, past, &around, now)).await;
    found(&state, "/", view, page::render_home)
}

/// `/probes/{name}`
pub async fn probe(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let path = format!("/probes/{name}");
    let fill = move |core: &Core, past: &dyn Past| views::probe(core, past, &around, &name, now);
    let view = past::view(&state, fill).await.flatten();
    found(&state, &path, view, page::render_probe)
}

/// `POST /probes/{name}/run`: runs it and leads to the run, or says why not. Needs no script.
pub async fn run_probe(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    match state.actions.run_probe(&name).await {
        Ok(run) => {
            let kept = tokio::time::timeout(FOLDED_WITHIN, is_kept(&state, run.id)).await.is_ok();
            let place = if kept { page::run_path(run.id) } else { page::probe_path(&name) };
            Redirect::to(&place).into_response()
        }
        Err(failed) => {
            let (status, words) = failed.status();
            let now = state.clock.now();
            let text = page::render_refused(now, env!("CARGO_PKG_VERSION"), &name, words);
            (status, html(text)).into_response()
        }
    }
}

/// Returns when a run can be shown: it is journaled and folded after it has ended.
async fn is_kept(state: &ApiState, run: RunId) {
    let mut seen = state.seen.clone();
    while state.core.read().store.evidence.run(run).is_none() {
        if seen.changed().await.is_err() {
            return;
        }
    }
}

/// `/runs/{id}`
pub async fn run(State(state): State<ApiState>, Path(id): Path<String>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let view = run_id(&id).and_then(|run| views::run(&state.core.read(), &around, run, now));
    found(&state, &format!("/runs/{id}"), view, page::render_run)
}

/// `/slos/{name}`
pub async fn slo(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let view = views::slo(&state.core.read(), &around, &name, now);
    found(&state, &format!("/slos/{name}"), view, page::render_slo)
}

/// `/incidents/{id}`
pub async fn incident(State(state): State<ApiState>, Path(id): Path<String>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    let view = views::incident(&state.core.read(), &around, &id, now);
    found(&state, &format!("/incidents/{id}"), view, page::render_incident)
}

/// `/changes`
pub async fn changes(State(state): State<ApiState>) -> Response {
    let (around, now) = ((state.surroundings)(), state.clock.now());
    html(page::render_changes(&views::changes(&state.core.read(), &around, now)))
}

/// `/page/events`: tells an open page to fetch itself again.
pub async fn events(
    State(state): State<ApiState>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = futures::stream::unfold(state, |mut state| async move {
        let shutdown = state.shutdown.clone();
        tokio::select! {
            () = shutdown.begun() => return None,
            () = tokio::time::sleep(LONGEST_REFRESH) => {}
            changed = state.seen.changed() => {
                changed.ok()?;
                tokio::time::sleep(SHORTEST_REFRESH).await;
                let _ = state.seen.borrow_and_update();
            }
        }
        // Browsers drop an event without data.
        Some((Ok(Event::default().event("refresh").data("now")), state))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// A run id of 32 hex digits.
pub(in crate::api) fn run_id(text: &str) -> Option<RunId> {
    (text.len() == 32)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
        .map(|id| RunId(id.to_be_bytes()))
}

/// A page, or that there is none at `path`.
fn found<V>(state: &ApiState, path: &str, view: Option<V>, render: fn(&V) -> String) -> Response {
    view.map_or_else(|| missing(state, path), |view| html(render(&view)))
}

fn html(text: String) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Html(text)).into_response()
}

/// The answer to what is not there, or no longer.
pub(super) fn missing(state: &ApiState, what: &str) -> Response {
    let text = page::render_not_found(state.clock.now(), env!("CARGO_PKG_VERSION"), what);
    (StatusCode::NOT_FOUND, Html(text)).into_response()
}
