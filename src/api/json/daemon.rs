//! Requests about the daemon itself.

use super::outcome;
use super::receive::Named;
use crate::api::server::ApiState;
use axum::extract::State;
use axum::response::Response;

/// `POST /-/reload`
pub async fn reload(State(state): State<ApiState>) -> Response {
    outcome(state.actions.reload().await)
}

/// `POST /api/receivers/{name}/test`
pub(in crate::api) async fn test_receiver(
    State(state): State<ApiState>,
    Named(name): Named,
) -> Response {
    outcome(state.actions.test_receiver(name).await)
}
