//! What the API may do to the daemon. Provided by `app/`.

use crate::base::clock::UnixNanos;
use crate::model::alert::Silence;
use crate::model::probe::ProbeRun;
use axum::http::StatusCode;
use futures::future::BoxFuture;

/// Why an action failed: the class decides the status, the words go to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What it names does not exist.
    NotFound(String),
    /// It cannot be done as asked.
    Invalid(String),
    /// It was tried and did not succeed.
    Refused(String),
    /// Something else goes on that it must not meet.
    Conflict(String),
    /// There is no room for it now, or the daemon is starting or ending.
    Busy(String),
}

impl Failed {
    /// The status with which a client learns of it, and the words.
    pub(super) fn status(&self) -> (StatusCode, &str) {
        match self {
            Self::NotFound(words) => (StatusCode::NOT_FOUND, words),
            Self::Invalid(words) => (StatusCode::UNPROCESSABLE_ENTITY, words),
            Self::Refused(words) => (StatusCode::BAD_GATEWAY, words),
            Self::Conflict(words) => (StatusCode::CONFLICT, words),
            Self::Busy(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
        }
    }
}

/// Changes to the daemon. Each is durable when it returns.
pub trait Actions: Send + Sync + 'static {
    /// Reads the configuration anew. The problems, when it is refused.
    fn reload(&self) -> BoxFuture<'_, Result<(), Failed>>;
    /// Runs a probe now, beside its schedule, and waits for the result, which counts like any other. Of
    /// several instances all run, and the result is one that failed, where one did.
    fn run_probe(&self, name: &str) -> BoxFuture<'static, Result<ProbeRun, Failed>>;
    /// Makes, changes or ends a silence.
    fn silence(&self, silence: Silence) -> BoxFuture<'_, Result<(), Failed>>;
    /// A person has an incident.
    fn acknowledge(
        &self,
        incident: String,
        by: String,
        at: UnixNanos,
    ) -> BoxFuture<'_, Result<(), Failed>>;
    /// Sends a test message to a receiver and waits for its answer.
    fn test_receiver(&self, name: String) -> BoxFuture<'_, Result<(), Failed>>;
}
