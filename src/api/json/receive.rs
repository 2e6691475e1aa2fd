//! What requests bring: a name in the path, JSON in the body. Where it cannot be read, the answer is
//! JSON too.

use super::problem;
use crate::api::server::ApiState;
use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

/// The one name or id in the path.
pub(in crate::api) struct Named(pub(super) String);

/// The body.
pub(in crate::api) struct Given<T>(pub(super) T);

impl FromRequestParts<ApiState> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        read.map(|Path(name)| Self(name))
            .map_err(|refused| problem(refused.status(), &refused.body_text()))
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for Given<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Response> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(body)| Self(body))
            .map_err(|refused| problem(refused.status(), &refused.body_text()))
    }
}
