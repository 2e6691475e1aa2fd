//! Silences: alerts that match are not notified.

use super::receive::{Given, Named};
use super::shape::{Shape, instant, text, texts};
use super::{missing, outcome, problem, replied_list, reply};
use crate::api::server::ApiState;
use crate::base::clock::UnixNanos;
use crate::base::duration;
use crate::model::alert::Silence;
use crate::model::matcher::LabelMatcher;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

/// A silence.
pub(in crate::api) const SILENCE: Shape<Silence> = Shape(&[
    ("id", text, "Its id", |silence| silence.id.as_str().into()),
    ("matchers", texts, "All of which an alert's labels must match", |silence| {
        silence.matchers.iter().map(ToString::to_string).collect()
    }),
    ("starts_at", instant, "From when", |silence| silence.starts_at.to_rfc3339().into()),
    ("ends_at", instant, "Until when", |silence| silence.ends_at.to_rfc3339().into()),
    ("created_by", text, "Who", |silence| silence.created_by.as_str().into()),
    ("comment", text, "Why", |silence| silence.comment.as_str().into()),
]);

/// A silence that was made.
pub(in crate::api) const MADE: Shape<String> =
    Shape(&[("id", text, "Of the new silence", |id| id.as_str().into())]);

/// A silence as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Asked {
    matchers: Vec<String>,
    duration: String,
    created_by: String,
    comment: String,
}

/// A silence as a client asks for it.
pub(in crate::api) const ASKED: Shape<Asked> = Shape(&[
    ("matchers", texts, "In Alertmanager's notation, severity=page", |asked| {
        asked.matchers.as_slice().into()
    }),
    ("duration", text, "How long, 2h", |asked| asked.duration.as_str().into()),
    ("created_by", text, "Who", |asked| asked.created_by.as_str().into()),
    ("comment", text, "Why", |asked| asked.comment.as_str().into()),
]);

/// `GET /api/silences`
pub(in crate::api) async fn silences(State(state): State<ApiState>) -> Response {
    let (core, now) = (state.core.read(), state.clock.now());
    let open = core.book.silences().filter(|silence| silence.ends_at > now);
    replied_list("silences", open.map(|silence| SILENCE.value(silence)))
}

/// `POST /api/silences`
pub(in crate::api) async fn create(
    State(state): State<ApiState>,
    Given(asked): Given<Asked>,
) -> Response {
    let silence = match read(&asked, state.clock.now()) {
        Ok(silence) => silence,
        Err(words) => return problem(StatusCode::BAD_REQUEST, &words),
    };
    let id = silence.id.clone();
    match state.actions.silence(silence).await {
        Ok(()) => reply(MADE.value(&id)),
        Err(failed) => outcome(Err(failed)),
    }
}

/// `DELETE /api/silences/{id}`
pub(in crate::api) async fn end(State(state): State<ApiState>, Named(id): Named) -> Response {
    let found = state.core.read().book.silences().find(|silence| silence.id == id).cloned();
    match found {
        Some(silence) => {
            let ended = Silence { ends_at: state.clock.now(), ..silence };
            outcome(state.actions.silence(ended).await)
        }
        None => missing(&format!("there is no silence {id}")),
    }
}

fn read(asked: &Asked, now: UnixNanos) -> Result<Silence, String> {
    if asked.matchers.is_empty() {
        return Err("a silence needs at least one matcher, for example severity=page".to_owned());
    }
    let matchers: Result<Vec<_>, _> =
        asked.matchers.iter().map(|text| LabelMatcher::parse(text)).collect();
    let length = duration::parse(&asked.duration).map_err(|error| error.to_string())?;
    Ok(Silence {
        id: format!("{:016x}", rand::random::<u64>()),
        matchers: matchers.map_err(|error| error.to_string())?,
        starts_at: now,
        ends_at: now.plus(length),
        created_by: asked.created_by.clone(),
        comment: asked.comment.clone(),
    })
}
