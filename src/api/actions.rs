//! What the API may do to the daemon. Provided by `app/`.

use crate::base::clock::UnixNanos;
use crate::model::alert::Silence;
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
}

/// Changes to the daemon. Each is durable when it returns.
pub trait Actions: Send + Sync + 'static {
    /// Reads the configuration anew. The problems, when it is refused.
    fn reload(&self) -> BoxFuture<'_, Result<(), Failed>>;
    /// Runs a probe now, beside its schedule.
    fn run_probe(&self, name: &str) -> Result<(), Failed>;
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
