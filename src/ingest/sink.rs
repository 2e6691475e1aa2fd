//! The seam behind the front door: who takes admitted requests, and hears of refused ones.

use super::request::DecodedRequest;
use crate::wire::otlp::Signal;
use crate::wire::record::Envelope;
use futures::future::BoxFuture;
use std::time::Duration;

/// A request on its way to the journal: validated and redacted.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// The record: the payload is the redacted request in protobuf, the sender is the name of the
    /// token, and `rejected` counts the items that were left out of the payload as invalid.
    pub envelope: Envelope,
    /// What the payload decodes to.
    pub request: DecodedRequest,
    /// Spans, metric points or log records in it. May be 0 when all of them were rejected: the
    /// record then tells the fold of the rejections alone.
    pub items: u64,
}

/// Takes admitted requests to a durable place.
pub trait Sink: Send + Sync + 'static {
    /// Resolves when the record is durable. The future is dropped when the client goes away; a
    /// record that is stored nevertheless is recognised as a duplicate when it is sent again.
    ///
    /// # Errors
    /// When the record was not and will not be stored; the client is told to retry.
    fn commit(&self, admitted: Admitted) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Whether bulk is to be shed at present, because the fold lags or the lane fails.
    fn pressure(&self) -> Option<Pressure>;

    /// A whole request was refused after it was decoded: `items` of one app, valid or not, that
    /// its sender may send again. Items rejected within a stored request are not told here, they
    /// stand in [`Envelope::rejected`]. Called from the request's thread: must not block.
    fn refused(&self, app: &str, signal: Signal, items: u64, why: Refusal);
}

/// The sink wants less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// When to try again; the answer says between one and three seconds.
    pub retry_after: Duration,
}

/// Why a record was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The queue to the journal has no room.
    #[error("the journal's queue is full")]
    Full,
    /// The journal does not take writes.
    #[error("the journal does not take writes")]
    Unavailable,
}

/// Why a whole request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The sink reported [`Pressure`].
    Pressure,
    /// [`CommitError::Full`]
    Full,
    /// [`CommitError::Unavailable`]
    Unavailable,
}

impl Refusal {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pressure => "pressure",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full => Self::Full,
            CommitError::Unavailable => Self::Unavailable,
        }
    }
}
