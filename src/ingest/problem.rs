//! Why a request is refused, and how HTTP and gRPC say so.
//!
//! OTLP lets a client retry 429, 502, 503 and 504, and `UNAVAILABLE`; everything that another
//! attempt cannot mend must stay outside of these.

use super::budget::NoRoom;
use super::sink::Refusal;
use ::http::StatusCode;
use std::time::Duration;
use tonic::Code;

/// The shortest delay that is asked for.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
/// The longest. JavaScript and Python SDKs give an export ten seconds in all: a longer delay
/// makes them drop the batch.
const LONGEST_RETRY: Duration = Duration::from_secs(3);

/// A refused request. The text goes to the sender.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// HTTP: an unknown path. gRPC: an unknown method.
    #[error("nothing is served here; OTLP goes to /v1/traces, /v1/metrics and /v1/logs")]
    NotFound,
    /// Not a POST.
    #[error("OTLP requests are sent with POST")]
    Method,
    /// The content type is none of ours.
    #[error("the content type is not one of {0}")]
    MediaType(&'static str),
    /// The compression is none of ours.
    #[error("the encoding `{0}` is not supported; send gzip, zstd or identity")]
    Compression(String),
    /// No token, or an unknown one.
    #[error("this endpoint needs a known bearer token")]
    Unauthenticated,
    /// More bytes than are allowed, before or after inflation, or more memory than there is.
    #[error("the request is larger than {limit} bytes; send smaller batches")]
    TooLarge {
        /// The limit that it exceeds.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the request took too long to arrive")]
    TooSlow,
    /// The connection broke within the body.
    #[error("the request broke off")]
    Interrupted,
    /// Not OTLP.
    #[error("{0}")]
    Undecodable(String),
    /// No room at present.
    #[error("too many requests are in flight; retry later")]
    Overloaded,
    /// The sink refuses at present.
    #[error("telemetry is not taken at present ({}); retry later", why.as_str())]
    Refused {
        /// Why.
        why: Refusal,
        /// When to come back, as the sink sees it.
        retry_after: Duration,
    },
    /// A fault of ours.
    #[error("the request could not be processed because of an internal fault")]
    Internal,
}

impl Problem {
    /// The status of an HTTP answer.
    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType(_) | Self::Compression(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Interrupted | Self::Undecodable(_) => StatusCode::BAD_REQUEST,
            Self::Overloaded | Self::Refused { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code of a gRPC answer, and of the status body over HTTP.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::NotFound | Self::Method | Self::Compression(_) => Code::Unimplemented,
            Self::MediaType(_) | Self::Interrupted | Self::Undecodable(_) => Code::InvalidArgument,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            // Not DEADLINE_EXCEEDED, which clients retry: the sender is too slow for its batch.
            Self::TooSlow => Code::FailedPrecondition,
            Self::Overloaded | Self::Refused { .. } => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }

    /// When to retry, for the problems that time may mend: one to three whole seconds.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let asked = match self {
            Self::Overloaded => SHORTEST_RETRY,
            Self::Refused { retry_after, .. } => *retry_after,
            _ => return None,
        };
        let whole = Duration::from_secs(asked.as_secs() + u64::from(asked.subsec_nanos() > 0));
        Some(whole.clamp(SHORTEST_RETRY, LONGEST_RETRY))
    }

    /// What is wrong with the data, when it is the data.
    pub(super) fn bad_data(&self) -> Option<&str> {
        match self {
            Self::Undecodable(what) => Some(what),
            _ => None,
        }
    }
}

impl From<NoRoom> for Problem {
    fn from(_: NoRoom) -> Self {
        Self::Overloaded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees that only what time may mend is retryable, in both protocols alike, and that no
    /// delay outlasts an SDK's export.
    #[test]
    fn only_overload_is_retryable() {
        let refused = |seconds| Problem::Refused {
            why: Refusal::Full,
            retry_after: Duration::from_secs_f64(seconds),
        };
        for (problem, seconds) in [
            (Problem::Overloaded, Some(1)),
            (refused(0.0), Some(1)),
            (refused(1.2), Some(2)),
            (refused(3600.0), Some(3)),
            (Problem::NotFound, None),
            (Problem::Method, None),
            (Problem::MediaType("x"), None),
            (Problem::Compression(String::new()), None),
            (Problem::Unauthenticated, None),
            (Problem::TooLarge { limit: 1 }, None),
            (Problem::TooSlow, None),
            (Problem::Interrupted, None),
            (Problem::Undecodable(String::new()), None),
            (Problem::Internal, None),
        ] {
            assert_eq!(problem.retry_after(), seconds.map(Duration::from_secs), "{problem:?}");
            let http = matches!(problem.http_status().as_u16(), 429 | 502 | 503 | 504);
            let grpc = matches!(
                problem.code(),
                Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Aborted
                    | Code::OutOfRange
                    | Code::Unavailable
                    | Code::DataLoss
            );
            assert_eq!((http, grpc), (seconds.is_some(), seconds.is_some()), "{problem:?}");
        }
    }
}
